"""The chain: a study, or a run of one dataset, from its file to its report.

Enters: a `Study` and an output folder. Leaves: everything in it. A run is a
study of one arm whose files lie in the root of the folder. The same command on
its own folder goes on where it was stopped; a folder of another study, dataset
or seed is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from acinus import progress
from acinus.cohort import Dataset, Split, check_split, make_split, open_dataset, write_split
from acinus.cohort.phantom import make_orbit_cohort
from acinus.config import merge, validate
from acinus.errors import ConfigError, DataError, PlanError, unknown_name
from acinus.evaluate import read_scores, write_scores
from acinus.files import hash_file, read_json, write_json, write_text
from acinus.plan import Budget, parse_budget, parse_settings
from acinus.prepare import Store
from acinus.report import write_report
from acinus.study.arm import (
    ArmJob,
    check_arm,
    evaluate_arm,
    plan_arm,
    train_arm,
)
from acinus.study.claim import arm_recipe, check_parts, claim, refuse_foreign, study_identity
from acinus.study.clock import Clock
from acinus.study.content import FINAL, arm_content, report_content
from acinus.study.folders import StudyFolder
from acinus.study.machine import command_line, describe_machine, package_versions
from acinus.study.schema import Study, read_study
from acinus.train import check_cases

OPTIONS = {
    "recipe": "--recipe",
    "budget": "--budget",
    "folds_trained": "--folds",
    "split.seed": "--seed",
    "split.holdout": "--holdout",
}
"""Keys of a study that options of the command line stand for."""

REPORT_S = 4.0
"""Set aside for the report of one arm before any was made, s."""


@dataclass(frozen=True)
class RunOutcome:
    """What a run or study made.

    Attributes:
        report: The HTML report.
        failed: Sentences on cases that failed; empty if all went through.
        summary: A sentence an arm with the Dice it reached.
    """

    report: Path | None
    failed: tuple[str, ...]
    summary: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Session:
    """A study on its folder: what every stage needs.

    Attributes:
        study: As resolved, with all changes of the command line.
        folder: Output folder.
        datasets: Arm to dataset.
        split: By participant, over all arms.
        clock: Time used and left.
        jobs: Processes.
    """

    study: Study
    folder: StudyFolder
    datasets: dict[str, Dataset]
    split: Split
    clock: Clock
    jobs: int

    def arm_jobs(self) -> list[ArmJob]:
        """All arms, each followed by its variants."""
        budget = parse_budget(self.study.budget)
        jobs = []
        for arm in self.study.arms:
            jobs.append(self._job(arm, {}, budget))
            recipe = jobs[-1].recipe
            for variant in self.study.variants():
                if any(getattr(recipe, part).name != name for part, name in variant.items()):
                    jobs.append(self._job(arm, variant, budget))
        return jobs

    def timed(self, jobs: Sequence[ArmJob]) -> list[ArmJob]:
        """The jobs with their share of the time left, if there is a time budget."""
        if self.clock.budget_s is None:
            return list(jobs)
        report_s = REPORT_S * len(self.study.arms)
        return [
            replace(job, share_left_s=self._share(len(jobs) - index, report_s))
            for index, job in enumerate(jobs)
        ]

    def _share(self, n_left: int, report_s: float) -> Callable[[], float]:
        """Seconds left for a job: its part of what was left when it was first asked."""
        begin: list[float] = []

        def left_s() -> float:
            remaining_s = self.clock.left_s - report_s
            if not begin:
                begin.append(remaining_s)
            return begin[0] / n_left - (begin[0] - remaining_s)

        return left_s

    def _job(self, arm: str, variant: Mapping[str, str], budget: Budget | None) -> ArmJob:
        final = self.folder.arm(arm)
        name = ",".join(f"{part}={value}" for part, value in variant.items())
        return ArmJob(
            name=arm,
            model=name or FINAL,
            dataset=self.datasets[arm],
            recipe=arm_recipe(self.study, arm, variant),
            split=self.split,
            folder=self.folder.variant(name, arm) if name else final,
            store=final.store,
            seed=self.study.split.seed,
            budget=budget,
            measures=tuple(self.study.measure),
            explain=self.study.explain.method == "grad_cam",
            share_left_s=None,
            jobs=self.jobs,
        )


def run_dataset(
    dataset: Path,
    *,
    recipe: str = "unet-2d",
    budget: str | None = None,
    out: Path,
    folds: int | None = None,
    seed: int = 2018,
    settings: Sequence[str] = (),
    holdout: int | float | None = None,
    jobs: int = 1,
) -> RunOutcome:
    """Check, plan, prepare, train, evaluate and report one dataset.

    Args:
        dataset: nnU-Net raw dataset folder.
        recipe: Name of a recipe, or a recipe file.
        budget: ``15m``, ``200steps`` or None.
        out: Run folder; the same command goes on in it.
        folds: How many of the recipe's folds are trained; None: all.
        seed: Of split, weights, sampling and augmentation.
        settings: Changes such as ``train.lr=0.01``.
        holdout: Participants kept for the test: a number or a share.
        jobs: Processes for scoring.

    Raises:
        AcinusError: One sentence on what cannot be.
    """
    study = _study_of_dataset(
        dataset, recipe, budget, out, folds, seed, parse_settings(settings), holdout
    )
    session = open_session(study, StudyFolder(out, is_run=True), jobs=jobs)
    with session.clock.running():
        return _run(session)


def run_study(
    path: Path,
    *,
    out: Path,
    budget: str | None = None,
    folds: int | None = None,
    seed: int | None = None,
    settings: Sequence[str] = (),
    data: Path | None = None,
    arms: Sequence[str] | None = None,
    vary: bool = True,
    jobs: int = 1,
) -> RunOutcome:
    """Run a study from its YAML file.

    Args:
        path: The study.
        out: Output folder; the same command goes on in it.
        budget: Instead of the study's own.
        folds: How many folds are trained.
        seed: Instead of the study's own.
        settings: Changes to the recipe of all arms.
        data: Folder of the datasets, instead of the study's own or its phantom.
        arms: Only these arms.
        vary: Whether the study's variants are trained too; False: the final models only.
        jobs: Processes for scoring and phantoms.
    """
    changes: dict[str, Any] = {}
    if budget is not None:
        changes["budget"] = budget
    if folds is not None:
        changes["folds_trained"] = folds
    if seed is not None:
        changes["split"] = {"seed": seed}
    if settings:
        changes["set"] = parse_settings(settings)
    if data is not None:
        changes["data"] = str(data)
    stated = read_study(path).model_dump(mode="json", exclude_unset=True)
    study = validate(Study, merge(stated, changes), where=str(path))
    if arms is not None:
        for name in arms:
            if name not in study.arms:
                raise ConfigError(unknown_name("arm", name, study.arms))
        study = study.model_copy(
            update={"arms": {name: arm for name, arm in study.arms.items() if name in arms}}
        )
    if not vary:
        study = study.model_copy(update={"vary": {}})
    check_parts(study, where=str(path))
    session = open_session(study, StudyFolder(out), jobs=jobs)
    with session.clock.running():
        return _run(session)


def plan_dataset(
    dataset: Path,
    *,
    recipe: str = "unet-2d",
    budget: str | None = None,
    out: Path,
    seed: int = 2018,
    settings: Sequence[str] = (),
    folds: int | None = None,
    holdout: int | float | None = None,
) -> Path:
    """Check and plan one dataset; returns ``plan.yaml``."""
    study = _study_of_dataset(
        dataset, recipe, budget, out, folds, seed, parse_settings(settings), holdout
    )
    session = open_session(study, StudyFolder(out, is_run=True), jobs=1)
    job = session.timed(session.arm_jobs())[0]
    with session.clock.running():
        check_arm(job)
        plan_arm(job)
    return job.folder.plan


def train_run(run_folder: Path, *, dataset: Path | None = None, jobs: int = 1) -> Path:
    """Train, or go on training, a planned run or study; returns its folder."""
    session = reopen_session(run_folder, dataset=dataset, jobs=jobs)
    with session.clock.running():
        for job in session.timed(session.arm_jobs()):
            train_arm(job, plan_arm(job))
    return run_folder


def evaluate_run(run_folder: Path) -> Path:
    """Predict the hold-out of a trained run or study and score it; returns ``scores.csv``."""
    session = reopen_session(run_folder)
    for job in session.arm_jobs():
        _needs_model(job)
        evaluate_arm(job, plan_arm(job))
    return _collect_scores(session)


def report_run(run_folder: Path) -> Path:
    """Write the report of an evaluated run or study; returns it."""
    session = reopen_session(run_folder)
    for job in session.arm_jobs():
        if not job.folder.scores.is_file():
            raise PlanError(
                f"{job.folder.root}: must be evaluated before it is reported; scores.csv is "
                f"missing. Run 'acinus evaluate {run_folder}' first."
            )
    _collect_scores(session)
    if not session.folder.provenance.is_file():
        _write_provenance(session, datetime.now(UTC))
    return _report(session, [])


def open_session(study: Study, folder: StudyFolder, *, jobs: int) -> Session:
    """Datasets opened, split made, folder claimed for this study.

    Raises:
        PlanError: The folder belongs to another study, dataset or seed.
    """
    identity = {"study": study_identity(study)}
    if refuse_foreign(folder, study, identity).get("study") != identity["study"]:
        folder.clock.unlink(missing_ok=True)
    clock = Clock(folder.clock, _seconds(study))
    with clock.running() if study.phantom is not None else nullcontext():
        datasets = _open_datasets(study, folder, jobs)
    hashes = {arm: dataset.fingerprint_hash() for arm, dataset in datasets.items()}
    claim(folder, study, {**identity, "datasets": hashes})
    if not folder.study.is_file():
        write_study(study, folder)
    split = _make_split(study, datasets)
    check_split(split, datasets)
    write_split(split, folder.split)
    return Session(study, folder, datasets, split, clock, jobs)


def write_study(study: Study, folder: StudyFolder) -> None:
    """Write ``study.yaml``: what the commands of later stages read."""
    data = study.model_dump(mode="json", exclude_unset=True)
    write_text(folder.study, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def reopen_session(root: Path, *, dataset: Path | None = None, jobs: int = 1) -> Session:
    """The session of an existing folder.

    Args:
        root: Folder of a run or study.
        dataset: Where the only dataset lies now; later commands will look there.
        jobs: Processes.

    Raises:
        PlanError: No such folder, or a study of several datasets cannot take one place.
    """
    folder = StudyFolder(root, is_run=not (root / "arms").is_dir())
    if not folder.study.is_file():
        raise PlanError(
            f"{root}: must be the folder of a run or study, with study.yaml; there is none. "
            "Make one with 'acinus run', 'acinus plan' or 'acinus study'."
        )
    study = read_study(folder.study)
    if dataset is None:
        return open_session(study, folder, jobs=jobs)
    if len(study.arms) != 1:
        raise PlanError(
            f"{root}: --dataset names the place of one dataset, and this study has "
            f"{len(study.arms)}. Repeat the 'acinus study' command with --data FOLDER."
        )
    (name, arm), *_ = study.arms.items()
    moved = arm.model_copy(update={"dataset": str(dataset.resolve())})
    study = study.model_copy(update={"arms": {name: moved}})
    session = open_session(study, folder, jobs=jobs)
    write_study(study, folder)
    return session


def _run(session: Session) -> RunOutcome:
    begin, started = time.monotonic(), datetime.now(UTC)
    notes: list[str] = []
    jobs = session.timed(session.arm_jobs())
    for job in jobs:
        title = job.name if job.model == FINAL else f"{job.name}, {job.model}"
        progress.say(f"{title}: {len(job.dataset.cases)} cases, recipe {job.recipe.name}")
        if job.model == FINAL:
            notes += [f"{job.name}, warning of the check: {line}" for line in check_arm(job)]
        plan = plan_arm(job)
        train_arm(job, plan)
        evaluate_arm(job, plan)
        notes += [
            f"{job.name}: {sentence}"
            for sentence in check_cases(Store(job.store), [c.case_id for c in job.dataset_cases()])
        ]
    _collect_scores(session)
    _write_provenance(session, started)
    report = _report(session, list(dict.fromkeys(notes)))
    scores = read_scores(session.folder.root / "scores.csv")
    failed = scores[scores["status"] == "failed"]
    progress.say(f"Done after {progress.duration(time.monotonic() - begin)}.")
    return RunOutcome(
        report,
        tuple(sorted({f"{row.arm}, {row.case}: {row.reason}" for row in failed.itertuples()})),
        dice_sentences(scores, session.datasets),
    )


def dice_sentences(scores: pd.DataFrame, datasets: Mapping[str, Dataset]) -> tuple[str, ...]:
    """A sentence an arm: mean hold-out Dice of the final model, with how many and how many not."""
    sentences = []
    chosen = scores[
        (scores["metric"] == "dice") & (scores["model"] == FINAL) & (scores["part"] == "holdout")
    ]
    for arm, dataset in datasets.items():
        rows = chosen[chosen["arm"] == arm]
        if not len(rows):
            sentences.append(f"{arm}: no hold-out was kept, so no Dice is stated for it")
            continue
        values = rows["value"].dropna()
        per_label = ", ".join(
            f"{label} {part['value'].mean():.2f}" for label, part in rows.groupby("label")
        )
        mean = f"{values.mean():.2f} ± {values.std():.2f}" if len(values) > 1 else "undefined"
        made = " (synthetic images)" if dataset.synthetic else ""
        sentences.append(
            f"{arm}: Dice {mean} over {len(values)} structures of {rows['case'].nunique()} "
            f"hold-out cases, {len(rows) - len(values)} undefined; {per_label}{made}"
        )
    return tuple(sentences)


def _report(session: Session, notes: list[str]) -> Path:
    everyone = _everyone(session.datasets)
    arms = [
        arm_content(name, dataset, session.split, session.folder.arm(name), everyone)
        for name, dataset in session.datasets.items()
    ]
    content = report_content(
        session.study,
        "run" if session.folder.is_run else "study",
        arms,
        read_scores(session.folder.root / "scores.csv"),
        session.split,
        session.folder,
        notes or _check_notes(session),
    )
    return write_report(content, session.folder.root)


def _check_notes(session: Session) -> list[str]:
    notes = []
    for arm in session.datasets:
        path = session.folder.arm(arm).check
        rows = read_json(path) if path.is_file() else []
        notes += [
            f"{arm}, warning of the check: {row['case'] or 'dataset'}: {row['found']}"
            for row in rows
        ]
    return notes


def _collect_scores(session: Session) -> Path:
    path = session.folder.root / "scores.csv"
    tables = [read_scores(job.folder.scores) for job in session.arm_jobs()]
    table = pd.concat(tables, ignore_index=True).drop_duplicates(ignore_index=True)
    write_scores(table, path)
    return path


def _write_provenance(session: Session, started: datetime) -> None:
    hashes: dict[str, str] = {}
    for arm, dataset in session.datasets.items():
        folder = session.folder.arm(arm)
        hashes[f"{arm}: dataset"] = dataset.fingerprint_hash()
        hashes[f"{arm}: plan.yaml"] = hash_file(folder.plan)
        hashes[f"{arm}: model.json"] = hash_file(folder.model / "model.json")
    kept = read_json(session.folder.provenance) if session.folder.provenance.is_file() else {}
    if kept.get("hashes") == hashes:
        return  # A finished run that is started again was still made when it was made.
    write_json(
        session.folder.provenance,
        {
            "command": command_line(),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(session.clock.used_s, 1),
            "machine": describe_machine(),
            "versions": package_versions(),
            "seed": session.study.split.seed,
            "budget": session.study.budget,
            "hashes": hashes,
        },
    )


def _study_of_dataset(
    dataset: Path,
    recipe: str,
    budget: str | None,
    out: Path,
    folds: int | None,
    seed: int,
    changes: dict[str, Any],
    holdout: int | float | None,
) -> Study:
    name = dataset.resolve().name
    stated = {
        "study": out.resolve().name or "run",
        "title": f"{name}: segmentation with {recipe}",
        "recipe": recipe,
        "set": changes,
        "arms": {name: {"dataset": str(dataset.resolve())}},
        "split": {"holdout": holdout, "seed": seed},
        "folds_trained": folds,
        "budget": budget,
    }
    try:
        study = validate(Study, stated, where="option")
    except ConfigError as error:
        raise ConfigError(_option_words(str(error))) from None
    check_parts(study)
    return study


def _option_words(text: str) -> str:
    """A fault in a study made from options, in the words of the options."""
    for key, option in OPTIONS.items():
        text = text.replace(f"option: '{key}': {option} ", f"{option} ")
        text = text.replace(f"option: '{key}': ", f"{option}: ")
    return text


def _open_datasets(study: Study, folder: StudyFolder, jobs: int) -> dict[str, Dataset]:
    base = Path(study.data) if study.data is not None else folder.root / "data"
    if study.data is None and study.phantom is not None:
        _make_phantom(study, base, jobs)
    return {name: open_dataset(base / arm.dataset) for name, arm in study.arms.items()}


def _make_phantom(study: Study, base: Path, jobs: int) -> None:
    phantom = study.phantom
    if phantom is None:
        return
    stamp = base / "phantom.json"
    wanted = phantom.model_dump(mode="json")
    if stamp.is_file() and read_json(stamp) == wanted:
        return
    sequences = {"Dataset001_OrbitT1": "AX-T1", "Dataset002_OrbitPostFS": "POST-AX-T1-FS"}
    sequences |= {"Dataset003_OrbitT1FS": "AX-T1-FS", "Dataset004_OrbitPostT1": "POST-AX-T1"}
    for arm in study.arms.values():
        if arm.dataset not in sequences:
            raise DataError(
                f"{base / arm.dataset}: no such dataset. "
                + unknown_name("phantom dataset", arm.dataset, sequences)
            )
    make_orbit_cohort(
        base,
        patients=phantom.patients,
        seed=phantom.seed,
        size=phantom.size,
        sequences=[sequences[arm.dataset] for arm in study.arms.values()],
        counts=phantom.counts,
        jobs=jobs,
    )
    write_json(stamp, wanted)


def _make_split(study: Study, datasets: Mapping[str, Dataset]) -> Split:
    settings = study.split
    recipe = arm_recipe(study, next(iter(study.arms)), {})
    return make_split(
        datasets,
        holdout=recipe.holdout if settings.holdout is None else settings.holdout,
        folds=recipe.folds,
        seed=settings.seed,
        holdout_needs=settings.holdout_needs,
        stratify_by=settings.stratify_by,
        group_by=settings.group_by,
    )


def _everyone(datasets: Mapping[str, Dataset]) -> list[str]:
    names: set[str] = set()
    for dataset in datasets.values():
        names |= {case.participant_id for case in dataset.cases}
        if dataset.participants is not None:
            names |= set(dataset.participants["participant_id"].astype(str))
    return sorted(names)


def _needs_model(job: ArmJob) -> None:
    if not (job.folder.model / "model.json").is_file():
        raise PlanError(
            f"{job.folder.root}: must be trained before it is evaluated; model/model.json is "
            f"missing. Run 'acinus train {job.folder.root}' first."
        )


def _seconds(study: Study) -> float | None:
    budget = parse_budget(study.budget)
    return budget.seconds if budget else None
