"""The chain: a study, or a run of one dataset, from its file to its report.

Enters: a `Study` and an output folder. Leaves: everything in it. A run is a
study of one arm whose files lie in the root of the folder. The same command on
its own folder goes on where it was stopped; a folder of another study, dataset
or seed is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from acinus import progress
from acinus.cohort import Dataset, open_dataset
from acinus.errors import ConfigError, PlanError, unknown_name
from acinus.evaluate import annotated_scores, read_scores, write_scores
from acinus.evaluate.wording import decimals, mean_and_sd
from acinus.files import hash_file, read_json, write_json
from acinus.plan import Plan, load_recipe, parse_settings
from acinus.prepare import Store, is_prepared
from acinus.report import write_report
from acinus.study.arm import (
    before,
    check_arm,
    evaluate_arm,
    plan_arm,
    prepare_arm,
    train_arm,
    train_one_fold,
)
from acinus.study.cascade import TIME_SHARE, first_share, keep_found, low_resolution
from acinus.study.content import (
    FINAL,
    arm_content,
    cost_table,
    mirror_pairs,
    report_content,
    split_sizes,
)
from acinus.study.costs import costed_jobs, count_topologies, measure_network_costs
from acinus.study.failures import failed_cases
from acinus.study.folders import StudyFolder
from acinus.study.inside import look_inside
from acinus.study.job import ArmJob
from acinus.study.locating import LOCATOR, entries_of, locator_arm
from acinus.study.locating import TIME_SHARE as LOCATOR_SHARE
from acinus.study.machine import command_line, describe_machine, package_versions
from acinus.study.memory import fits_memory
from acinus.study.outlook import outlook
from acinus.study.parallel import Workers
from acinus.study.readings import score_readings
from acinus.study.session import Session, open_session, reopen_session
from acinus.study.spread import Place, open_workers, refuse_no_jobs, spread_arms
from acinus.study.stated import study_of_dataset, study_of_file
from acinus.study.unlabelled import (
    find_unlabelled,
    read_agreement,
    read_unlabelled,
    segment_unlabelled,
)
from acinus.train import check_cases


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


def run_dataset(
    dataset: Path,
    *,
    recipe: str = "auto",
    budget: str | None = None,
    out: Path,
    folds: int | None = None,
    seed: int = 2018,
    settings: Sequence[str] = (),
    holdout: int | float | None = None,
    jobs: int = 1,
    on: Place = "here",
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
        jobs: Trainings side by side, each in a process of its own.
        on: ``here``, or ``ray``: a Ray cluster, with `jobs` above 1 as the most tasks at a time.

    Raises:
        AcinusError: One sentence on what cannot be.
    """
    study = study_of_dataset(
        dataset,
        recipe=recipe,
        budget=budget,
        out=out,
        folds=folds,
        seed=seed,
        settings=settings,
        holdout=holdout,
    )
    session = open_session(study, StudyFolder(out, is_run=True), jobs=jobs)
    with session.clock.running():
        return _run(session, on)


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
    full: bool = False,
    anatomy: Path | None = None,
    jobs: int = 1,
    on: Place = "here",
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
        vary: Whether the study's variants and its benchmark are trained too; False: the final
            models only.
        full: Whether to leave out what the study states for small machines.
        anatomy: Folder of real organ maps from which the study's phantom is made, instead of
            its own.
        jobs: Trainings side by side, each in a process of its own.
        on: ``here``, or ``ray``: a Ray cluster, with `jobs` above 1 as the most tasks at a time.
    """
    study = study_of_file(
        path,
        budget=budget,
        folds=folds,
        seed=seed,
        settings=settings,
        data=data,
        arms=arms,
        vary=vary,
        full=full,
        anatomy=anatomy,
    )
    session = open_session(study, StudyFolder(out), jobs=jobs)
    with session.clock.running():
        return _run(session, on)


def plan_dataset(
    dataset: Path,
    *,
    recipe: str = "auto",
    budget: str | None = None,
    out: Path,
    seed: int = 2018,
    settings: Sequence[str] = (),
    folds: int | None = None,
    holdout: int | float | None = None,
    jobs: int = 1,
) -> Path:
    """Check and plan one dataset; returns ``plan.yaml``.

    Arguments as for `run_dataset`; a time budget is divided for `jobs` trainings side by side.
    """
    refuse_no_jobs(jobs)
    if holdout is None and not any(one.startswith("folds=") for one in settings):
        stated_folds = load_recipe(recipe, parse_settings(settings)).folds
        n = len({case.participant_id for case in open_dataset(dataset).labelled_cases})
        if 2 <= n <= stated_folds:
            holdout, settings = 0, [*settings, f"folds={n}"]
            progress.say(
                f"{dataset.name}: {n} participants are too few for a hold-out and {stated_folds} "
                f"folds; planned without hold-out, in {n} folds."
            )
    study = study_of_dataset(
        dataset,
        recipe=recipe,
        budget=budget,
        out=out,
        folds=folds,
        seed=seed,
        settings=settings,
        holdout=holdout,
    )
    session = open_session(study, StudyFolder(out, is_run=True), jobs=1)
    job = session.timed(session.arm_jobs(), jobs, share_machine=True)[0]
    with session.clock.running():
        check_arm(job)
        plan = plan_arm(job, is_for_here=False)
        if plan.settings.rules == "nnunet" and not fits_memory(plan, job.places_here):
            progress.say(
                f"{job.name}: a batch of {plan.settings.train.batch} does not fit into the free "
                "memory of this machine; trained here it would be made smaller."
            )
    return job.folder.plan


def plan_outlook(run_folder: Path) -> str:
    """The plans of a run or study read aloud: decisions, warnings, memory and time.

    Of a cascade that of its low resolution comes first, of a locate stage that of its network.

    Args:
        run_folder: Of a planned run or study.
    """
    session = reopen_session(run_folder)
    jobs = [job for job in session.arm_jobs() if job.model == FINAL]
    plans = {job.name: plan_arm(job, is_for_here=False) for job in jobs}
    stages = [stage for job in jobs for stage in (*before(job, plans[job.name]), job)]
    return "\n".join(outlook(stage) for stage in stages)


def prepare_run(run_folder: Path, *, n_places: int = 1) -> Path:
    """Check, plan and prepare all arms and variants, and train nothing; returns the folder.

    Args:
        run_folder: Folder of a run or study.
        n_places: Trainings that will run side by side: a time budget is divided accordingly.
    """
    refuse_no_jobs(n_places)
    session = reopen_session(run_folder)
    _check_beforehand(session)
    with session.clock.running():
        for job in session.timed(session.arm_jobs(), n_places, plans_first=True):
            plan = _checked_plan(job, [])
            prepare_arm(job, plan)
            for first in before(job, plan):
                prepare_arm(first, plan_arm(first))
    return run_folder


def train_run(
    run_folder: Path, *, dataset: Path | None = None, jobs: int = 1, on: Place = "here"
) -> Path:
    """Train, or go on training, a planned run or study; returns its folder.

    Args:
        run_folder: Folder of a run or study.
        dataset: Where the only dataset lies now, if it was moved.
        jobs: Trainings side by side.
        on: ``here``, or ``ray``: a Ray cluster.
    """
    session = reopen_session(run_folder, dataset=dataset, jobs=jobs)
    _check_beforehand(session)
    with session.clock.running(), open_workers(on, session.arm_jobs(), session.jobs) as workers:
        if workers is None:
            for job in session.timed(session.arm_jobs()):
                train_arm(job, plan_arm(job))
            return run_folder
        _side_by_side(session, workers, evaluate=False)
    return run_folder


def train_part(
    run_folder: Path, *, arm: str | None = None, variant: str | None = None, fold: int
) -> Path:
    """Train one fold of one arm of a planned run or study; returns the folder.

    Any number of these may run at a time, on any machines that see the folder. The number of
    steps is the plan's: no clock runs over tasks that a cluster starts when it likes.

    Args:
        run_folder: Folder of a run or study, planned and prepared.
        arm: Name of the arm; may be left out where there is one.
        variant: Such as ``loss=dice``, or ``lowres`` for the low resolution of a cascade and
            ``locator`` for the network of a locate stage, which come first; None: the main model.
        fold: From 0. One that the split has and the plan does not train is passed over.

    Raises:
        ConfigError: No such arm, variant or fold.
        PlanError: It was not planned.
    """
    session = reopen_session(run_folder)
    job = _chosen_job(session, arm, variant)
    if job is None:
        progress.say("The plan has no locate stage: there is no locator to train.")
        return run_folder
    if not job.folder.plan.is_file():
        raise PlanError(
            f"{job.folder.plan}: must exist before a part of it is trained; it does not. "
            f"Run 'acinus train {run_folder} --prepare-only' first."
        )
    # As it was prepared: tasks side by side, on machines of different memory, train one plan.
    plan = plan_arm(job, is_for_here=False)
    if not 0 <= fold < plan.settings.folds:
        raise ConfigError(f"--fold must be one of 1 to {plan.settings.folds}; got {fold + 1}.")
    if fold in plan.folds_to_train:
        _require_prepared(job, plan, fold, run_folder)
        if plan.settings.rules == "nnunet" and not fits_memory(plan, job.places_here):
            progress.say(
                f"{job.name}: a batch of {plan.settings.train.batch} may not fit into the free "
                "memory of this machine; the plan was made for another."
            )
        keep_found(job, plan)
        train_one_fold(job, plan, fold)
    else:
        n = len(plan.folds_to_train)
        progress.say(f"Fold {fold + 1} is not trained: the plan trains the first {n}.")
    return run_folder


def _require_prepared(job: ArmJob, plan: Plan, fold: int, run_folder: Path) -> None:
    """Refuse to train a fold whose cases are not prepared for this plan."""
    cases = [*job.split.cases(job.dataset, "train", fold=fold)]
    cases += job.split.cases(job.dataset, "validation", fold=fold)
    store = job.open_store()
    missing = [case.case_id for case in cases if not is_prepared(store, case.case_id, plan)]
    if missing:
        raise PlanError(
            f"{job.store}: must hold the prepared cases of fold {fold + 1}; {len(missing)} of "
            f"{len(cases)} are missing, first '{missing[0]}'. Run 'acinus train {run_folder} "
            "--prepare-only' first."
        )


def _locator_of(job: ArmJob) -> ArmJob | None:
    return locator_arm(job, plan_arm(job, is_for_here=False))


def _chosen_job(session: Session, arm: str | None, variant: str | None) -> ArmJob | None:
    """The arm that is meant; None: a locator that might have been planned and was not."""
    names = list(session.study.arms)
    if arm is None and len(names) > 1:
        raise ConfigError(f"--arm must name one of the arms: {', '.join(names)}; none is given.")
    if arm is not None and arm not in names:
        raise ConfigError(unknown_name("arm", arm, names))
    models = {job.model: job for job in session.arm_jobs() if job.name == (arm or names[0])}
    firsts = [first for job in models.values() if (first := low_resolution(job)) is not None]
    # Whether a network locates is known once it is planned.
    planned = [job for job in models.values() if job.folder.plan.is_file()]
    firsts += [first for job in planned if (first := _locator_of(job)) is not None]
    could_locate = [job for job in planned if job.recipe.locate.stage == "auto"]
    if variant in {job.name_of_first(LOCATOR) for job in could_locate}:
        return next((first for first in firsts if first.model == variant), None)
    models |= {first.model: first for first in firsts}
    if (variant or FINAL) not in models:
        variants = [model for model in models if model != FINAL]
        raise ConfigError(unknown_name("variant", str(variant), variants))
    return models[variant or FINAL]


def evaluate_run(run_folder: Path) -> Path:
    """Predict the hold-out of a trained run or study and score it; returns ``scores.csv``."""
    session = reopen_session(run_folder)
    for job in session.arm_jobs():
        _needs_model(job, run_folder)
        evaluate_arm(job, plan_arm(job))
    _segment_unlabelled(session)
    measure_network_costs(session, session.study.cost)
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


def _run(session: Session, on: Place) -> RunOutcome:
    begin, started = time.monotonic(), datetime.now(UTC)
    _check_beforehand(session)
    with open_workers(on, session.arm_jobs(), session.jobs) as workers:
        if workers is None:
            notes = _one_after_the_other(session)
        else:
            notes = _side_by_side(session, workers, evaluate=True)
    _segment_unlabelled(session)
    _collect_scores(session)
    measure_network_costs(session, session.study.cost)
    _write_provenance(session, started)
    report = _report(session, list(dict.fromkeys(notes)))
    scores = read_scores(session.folder.root / "scores.csv")
    progress.say(f"Done after {progress.duration(time.monotonic() - begin)}.")
    return RunOutcome(
        report,
        tuple(failed_cases(session.folder.root)),
        dice_sentences(scores, session.datasets),
    )


def _check_beforehand(session: Session) -> None:
    """Refuse, before anything is trained, what would fail only when all is trained."""
    if session.study.unlabelled is not None:
        for dataset in session.datasets.values():
            find_unlabelled(dataset, session.study.unlabelled)
    count_topologies(session.study.cost)


def _segment_unlabelled(session: Session) -> None:
    for job in session.final_jobs():
        segment_unlabelled(job, session.study.unlabelled)


def _one_after_the_other(session: Session) -> list[str]:
    """Every arm from its check to its scores; sentences for the report."""
    notes: list[str] = []
    for job in session.timed(session.arm_jobs()):
        plan = _checked_plan(job, notes)
        train_arm(job, plan)
        evaluate_arm(job, plan)
        notes += _cut_notes(job)
    return notes


def _side_by_side(session: Session, workers: Workers, *, evaluate: bool) -> list[str]:
    """All arms planned and prepared, then all their folds spread; sentences for the report."""
    notes: list[str] = []
    jobs = session.timed(
        session.arm_jobs(),
        workers.n_places,
        share_machine=workers.share_machine,
        plans_first=True,
    )
    for job in jobs:
        prepare_arm(job, _checked_plan(job, notes))
        notes += _cut_notes(job)
    left_s = session.left_s if session.clock.budget_s is not None else None
    firsts = [first for job in jobs for first in before(job, plan_arm(job))]
    if firsts:
        is_located = any(first.model.endswith(LOCATOR) for first in firsts)
        share = (LOCATOR_SHARE if is_located else TIME_SHARE) * len(firsts) / len(jobs)
        for first in firsts:
            prepare_arm(first, plan_arm(first))
        spread_arms(firsts, workers, left_s=first_share(left_s, share), evaluate=False)
        for job in jobs:
            keep_found(job, plan_arm(job))
    spread_arms(jobs, workers, left_s=left_s, evaluate=evaluate)
    return notes


def _checked_plan(job: ArmJob, notes: list[str]) -> Plan:
    """The plan of an arm whose dataset was checked; warnings are added to the notes."""
    title = job.name if job.model == FINAL else f"{job.name}, {job.model}"
    progress.say(f"{title}: {len(job.dataset.cases)} cases, recipe {job.recipe.name}")
    if job.model == FINAL:
        notes += [f"{job.name}, warning of the check: {line}" for line in check_arm(job)]
    return plan_arm(job)


def _cut_notes(job: ArmJob) -> list[str]:
    cases = entries_of(job, job.dataset_cases())
    return [f"{job.name}: {sentence}" for sentence in check_cases(Store(job.store), cases)]


def dice_sentences(scores: pd.DataFrame, datasets: Mapping[str, Dataset]) -> tuple[str, ...]:
    """A sentence an arm: mean hold-out Dice of the final model, with how many and how many not."""
    sentences = []
    chosen = scores[
        (scores["metric"] == "dice") & (scores["model"] == FINAL) & (scores["part"] == "holdout")
    ]
    chosen = annotated_scores(chosen)
    for arm, dataset in datasets.items():
        rows = chosen[chosen["arm"] == arm]
        if not len(rows):
            sentences.append(f"{arm}: no hold-out was kept, so no Dice is stated for it")
            continue
        values = rows["value"].dropna()
        per_label = ", ".join(
            f"{label} {decimals(part['value'].mean())}" for label, part in rows.groupby("label")
        )
        mean = mean_and_sd(values.mean(), values.std()) if len(values) else "undefined"
        n_failed = int((rows["status"] == "failed").sum())
        left_out = f"{len(rows) - len(values) - n_failed} undefined"
        left_out += f", {n_failed} failed" if n_failed else ""
        made = " (synthetic images)" if dataset.synthetic else ""
        sentences.append(
            f"{arm}: Dice {mean} over {len(values)} structures of {rows['case'].nunique()} "
            f"hold-out cases, {left_out}; {per_label}{made}"
        )
    return tuple(sentences)


def _report(session: Session, notes: list[str]) -> Path:
    everyone = _everyone(session.datasets)
    arms = [
        arm_content(
            name,
            dataset,
            session.split,
            session.folder.arm(name),
            everyone,
            session.study.external(name),
        )
        for name, dataset in session.datasets.items()
    ]
    if session.study.unlabelled is not None:
        arms = [
            replace(
                arm,
                unlabelled=read_unlabelled(session.folder.arm(arm.name)),
                series_agreement=read_agreement(session.folder.arm(arm.name)),
            )
            for arm in arms
        ]
    content = report_content(
        session.study,
        "run" if session.folder.is_run else "study",
        arms,
        read_scores(session.folder.root / "scores.csv"),
        session.split,
        session.folder,
        notes or _check_notes(session),
        split_sizes(session.benchmark_splits),
        cost_table(
            costed_jobs(session),
            count_topologies(session.study.cost),
            session.study.published,
        ),
    )
    content = replace(content, mirror_pairs=mirror_pairs(session.datasets.values()))
    if session.study.look_inside:
        found = look_inside(
            {arm.name: arm for arm in arms},
            session.datasets,
            session.split,
            {name: session.folder.arm(name).store for name in session.datasets},
            _variant_predictions(session),
        )
        content = replace(content, **found)
    return write_report(content, session.folder.root)


def _variant_predictions(session: Session) -> dict[str, dict[str, Path]]:
    """By arm, variants of the study to the folder of their predicted hold-out."""
    found: dict[str, dict[str, Path]] = {}
    for job in session.arm_jobs():
        if job.model != FINAL and job.part == "holdout":
            found.setdefault(job.name, {})[job.model] = job.folder.predictions("holdout")
    return found


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
    tables = [_scores_of(job) for job in session.arm_jobs()]
    tables += [score_readings(job, session.study.readings) for job in session.final_jobs()]
    missing = [job.folder.missing_channels for job in session.final_jobs()]
    tables += [read_scores(one) for one in missing if one.is_file()]
    table = pd.concat([one for one in tables if len(one)], ignore_index=True).drop_duplicates(
        ignore_index=True
    )
    write_scores(table, path)
    return path


def _scores_of(job: ArmJob) -> pd.DataFrame:
    """Scores of an arm; of a network of the benchmark those of its test, under its own name."""
    table = read_scores(job.folder.scores)
    if job.part == "holdout":
        return table
    tested = table[table["part"] == "holdout"]
    return tested.assign(part=job.part, model=job.model.split("=", 1)[1])


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


def _everyone(datasets: Mapping[str, Dataset]) -> list[str]:
    names: set[str] = set()
    for dataset in datasets.values():
        names |= {case.participant_id for case in dataset.cases}
        if dataset.participants is not None:
            names |= set(dataset.participants["participant_id"].astype(str))
    return sorted(names)


def _needs_model(job: ArmJob, root: Path) -> None:
    if not (job.folder.model / "model.json").is_file():
        raise PlanError(
            f"{job.folder.root}: must be trained before it is evaluated; model/model.json is "
            f"missing. Run 'acinus train {root}' first."
        )
