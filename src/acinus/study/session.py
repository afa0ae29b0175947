"""A study on its folder: datasets opened, people divided, the clock running.

Enters: a `Study` and an output folder. Leaves: a `Session`, which knows the jobs
of all arms and variants and the time that each may take. A folder of another
study, dataset or seed is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from acinus.cohort import (
    Dataset,
    Split,
    check_split,
    make_shares_split,
    make_split,
    open_dataset,
    read_split,
    select_channels,
    write_split,
)
from acinus.cohort.layout import HEADER
from acinus.cohort.phantom import (
    ABDOMEN_DATASETS,
    HEADNECK_DATASETS,
    ORBIT_DATASETS,
    REGISTERED,
    make_abdomen_cohort,
    make_headneck_cohort,
    make_orbit_cohort,
    make_registered_orbits,
)
from acinus.errors import ConfigError, DataError, PlanError, unknown_name
from acinus.evaluate.tables import BENCHMARK
from acinus.files import read_json, write_json, write_text
from acinus.networks.device import best_device
from acinus.plan import Budget, Recipe, parse_budget
from acinus.study.claim import (
    arm_recipe,
    benchmark_recipe,
    claim,
    is_begun,
    refuse_foreign,
    study_identity,
    varied_value,
)
from acinus.study.clock import Clock
from acinus.study.content import FINAL
from acinus.study.folders import StudyFolder
from acinus.study.job import ArmJob
from acinus.study.schema import External, Study, Variant, read_study
from acinus.study.shares import crowding, planned_share

REPORT_S = 4.0
"""Set aside for the report of one arm before any was made, s."""


@dataclass(frozen=True, eq=False)
class Session:
    """A study on its folder: what every stage needs.

    Attributes:
        study: As resolved, with all changes of the command line.
        folder: Output folder.
        datasets: Arm to dataset.
        split: By participant, over all arms.
        benchmark_splits: Arm of the benchmark to its own split.
        clock: Time used and left.
        jobs: Processes.
    """

    study: Study
    folder: StudyFolder
    datasets: dict[str, Dataset]
    split: Split
    benchmark_splits: dict[str, Split]
    clock: Clock
    jobs: int

    def arm_jobs(self) -> list[ArmJob]:
        """All arms, each followed by its variants; then the networks of the benchmark, by arm."""
        budget = parse_budget(self.study.budget)
        jobs = []
        for arm in self.study.arms:
            jobs.append(self._job(arm, {}, budget))
            recipe = jobs[-1].recipe
            for variant in self.study.variants():
                if any(varied_value(recipe, part) != value for part, value in variant.items()):
                    jobs.append(self._job(arm, variant, budget))
        return jobs + self.benchmark_jobs()

    def timed(
        self,
        jobs: Sequence[ArmJob],
        n_places: int = 1,
        *,
        share_machine: bool = False,
        plans_first: bool = False,
    ) -> list[ArmJob]:
        """The jobs with their share of the time left, if there is a time budget.

        Args:
            jobs: In the order in which they will be planned.
            n_places: Trainings side by side.
            share_machine: Whether the places are on this machine, and not each with its own cores.
            plans_first: Whether all are planned before any is trained; else each arm is planned
                when the arm before it is done.
        """
        trainings = [_trainings(job.recipe, n_places) for job in jobs]
        places = min(n_places, sum(trainings))
        jobs = [
            replace(
                job,
                places=places,
                places_here=places if share_machine else 1,
                crowding=_crowding(job, places) if share_machine else 1.0,
            )
            for job in jobs
        ]
        if self.clock.budget_s is None:
            return jobs
        if not plans_first:
            shares = [self._share(len(jobs) - index) for index in range(len(jobs))]
        else:
            shares = [
                planned_share(self.left_s, trainings, index, places) for index in range(len(jobs))
            ]
        return [replace(job, share_left_s=share) for job, share in zip(jobs, shares, strict=True)]

    def left_s(self) -> float:
        """Seconds left for all arms; the report is set aside."""
        return self.clock.left_s - REPORT_S * len(self.study.arms)

    def _share(self, n_left: int) -> Callable[[], float]:
        """Seconds left for a job: its part of what was left when it was first asked."""
        begin: list[float] = []

        def left_s() -> float:
            remaining_s = self.left_s()
            if not begin:
                begin.append(remaining_s)
            return begin[0] / n_left - (begin[0] - remaining_s)

        return left_s

    def final_jobs(self) -> list[ArmJob]:
        """The arms' own models, without variants and benchmark."""
        budget = parse_budget(self.study.budget)
        return [self._job(arm, {}, budget) for arm in self.study.arms]

    def benchmark_jobs(self) -> list[ArmJob]:
        """The networks of the benchmark on each of its arms."""
        return [
            self._benchmark_job(job, name)
            for job in self.final_jobs()
            if job.name in self.study.benchmark_arms()
            for name in self._network_names()
        ]

    def _network_names(self) -> list[str]:
        return [] if self.study.benchmark is None else list(self.study.benchmark.networks)

    def _benchmark_job(self, final: ArmJob, name: str) -> ArmJob:
        """A network of the benchmark on an arm, whose prepared scans it shares where it can."""
        recipe = benchmark_recipe(self.study, final.name, name)
        folder = self.folder.benchmark(name, final.name)
        is_alike = _decides_arrays(recipe) == _decides_arrays(final.recipe)
        return replace(
            final,
            model=f"{BENCHMARK}={name}",
            recipe=recipe,
            split=self.benchmark_splits[final.name],
            folder=folder,
            store=final.store if is_alike else folder.store,
            explain=False,
            part=BENCHMARK,
            external_model="folds_mean",
        )

    def _job(self, arm: str, variant: Variant, budget: Budget | None) -> ArmJob:
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
            external_model=self.study.split.external_model
            if self.study.external(arm)
            else "folds_mean",
        )


def open_session(study: Study, folder: StudyFolder, *, jobs: int) -> Session:
    """Datasets opened, split made, folder claimed for this study.

    Raises:
        PlanError: The folder belongs to another study, dataset or seed.
    """
    _refuse_lost_scans(study)
    identity = {"study": study_identity(study)}
    if refuse_foreign(folder, study, identity).get("study") != identity["study"]:
        folder.clock.unlink(missing_ok=True)
    clock = Clock(folder.clock, _seconds(study))
    with clock.running() if study.phantom is not None else nullcontext():
        datasets = _open_datasets(study, folder, jobs)
    _refuse_lost_readings(study, datasets)
    hashes = {arm: dataset.fingerprint_hash() for arm, dataset in datasets.items()}
    claim(folder, study, {**identity, "datasets": hashes})
    if not folder.is_run:
        (folder.root / "arms").mkdir(exist_ok=True)  # by which later commands know a study
    write_study(study, folder)
    split = _make_split(study, datasets)
    check_split(split, datasets)
    _refuse_other_split(folder, split)
    write_split(split, folder.split)
    benchmark_splits = _make_benchmark_splits(study, datasets)
    for arm, one in benchmark_splits.items():
        write_split(one, folder.benchmark_split(arm))
    return Session(study, folder, datasets, split, benchmark_splits, clock, jobs)


def _refuse_other_split(folder: StudyFolder, split: Split) -> None:
    """Raise PlanError if participants would be judged who were learned from."""
    if not is_begun(folder) or not folder.split.is_file():
        return
    kept = read_split(folder.split)
    if (kept.holdout, kept.folds) != (split.holdout, split.folds):
        moved = sorted(set(kept.holdout) ^ set(split.holdout))
        who = f"; {', '.join(moved[:3])} would change sides" if moved else ""
        raise PlanError(
            f"{folder.split}: must be the split that the trainings of this folder were planned with"
            f"; the participants.tsv of now gives another one{who}. A column by which the split "
            "groups, stratifies or takes centres was changed: put it back, or train in a new "
            "folder."
        )


def _refuse_lost_scans(study: Study) -> None:
    """Scans without a reference that are not there: before a synthetic cohort is made for them."""
    places = {} if study.unlabelled is None else study.unlabelled.scans
    for name, place in places.items():
        if not Path(place).exists():
            raise DataError(
                f"{place}: no such file or folder. The study segments the scans of '{name}' there; "
                "correct unlabelled.scans, or leave it out."
            )


def _refuse_lost_readings(study: Study, datasets: Mapping[str, Dataset]) -> None:
    """An arm may lack readings; a folder that no arm has is a slip of the pen."""
    for name, place in (study.readings.folders if study.readings else {}).items():
        if not any((dataset.folder / place).is_dir() for dataset in datasets.values()):
            raise ConfigError(
                f"readings.folders.{name}: some arm's dataset must have the folder '{place}'; "
                f"none of {', '.join(str(one.folder) for one in datasets.values())} has it. "
                "Correct the name, or leave the reading out."
            )


def write_study(study: Study, folder: StudyFolder) -> None:
    """Write ``study.yaml``: what the commands of later stages read."""
    left_out = {"arms"} if study.sequences is not None else set()
    data = study.model_dump(mode="json", exclude_unset=True, exclude=left_out)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    if not folder.study.is_file() or folder.study.read_text(encoding="utf-8") != text:
        write_text(folder.study, text)


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
    update: dict[str, Any] = {"arms": {name: moved}}
    if study.sequences is not None:
        # The arm follows from the sequences; the file states either.
        place = {"dataset": moved.dataset}
        update["sequences"] = study.sequences.model_copy(update=place)
    study = study.model_copy(update=update)
    session = open_session(study, folder, jobs=jobs)
    write_study(study, folder)
    return session


def _open_datasets(study: Study, folder: StudyFolder, jobs: int) -> dict[str, Dataset]:
    base = Path(study.data) if study.data is not None else folder.root / "data"
    if study.data is None and study.phantom is not None:
        _make_phantom(study, base, jobs)
    folders = dict.fromkeys(arm.dataset for arm in study.arms.values())
    opened = {folder: open_dataset(base / folder) for folder in folders}
    return {
        name: opened[arm.dataset]
        if arm.channels is None
        else select_channels(opened[arm.dataset], arm.channels)
        for name, arm in study.arms.items()
    }


def _make_phantom(study: Study, base: Path, jobs: int) -> None:
    phantom = study.phantom
    if phantom is None:
        return
    stamp = base / "phantom.json"
    wanted = phantom.model_dump(mode="json")
    is_there = all((base / arm.dataset / HEADER).is_file() for arm in study.arms.values())
    if is_there and stamp.is_file() and read_json(stamp) == wanted:
        return
    folders: dict[str, dict[str, str]] = {
        "orbit": {**ORBIT_DATASETS, "all four on one grid": REGISTERED},
        "abdomen": dict(ABDOMEN_DATASETS),
        "headneck": {str(contrast): folder for contrast, folder in HEADNECK_DATASETS.items()},
    }
    known = folders[phantom.kind]
    contrast_of = {folder: name for name, folder in known.items()}
    for arm in study.arms.values():
        if arm.dataset not in contrast_of:
            raise DataError(
                f"{base / arm.dataset}: no such dataset. "
                + unknown_name("phantom dataset", arm.dataset, contrast_of)
            )
    wish: dict[str, Any] = {"patients": phantom.patients, "seed": phantom.seed}
    wish |= {"size": phantom.size, "jobs": jobs}
    if phantom.kind == "abdomen":
        make_abdomen_cohort(base, **wish)
        write_json(stamp, wanted)
        return
    used = list(dict.fromkeys(contrast_of[arm.dataset] for arm in study.arms.values()))
    if phantom.kind == "headneck":
        maps = None if phantom.anatomy is None else Path(phantom.anatomy)
        contrasts = [contrast for contrast in HEADNECK_DATASETS if contrast in used]
        wish |= {"contrasts": contrasts, "anatomy": maps, "body": phantom.body}
        make_headneck_cohort(base, glands=phantom.glands, **wish)
    else:
        single = [name for name in used if name in ORBIT_DATASETS]
        if single:
            make_orbit_cohort(base, sequences=single, counts=phantom.counts, **wish)
        if len(single) < len(used):
            make_registered_orbits(base, **wish)
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
        external=settings.external,
        external_by_arm=_external_by_arm(study),
    )


def _external_by_arm(study: Study) -> dict[str, External] | None:
    """What each arm states on who is external; None where no arm does so itself."""
    if not any(arm.external for arm in study.arms.values()):
        return None
    found = {arm: study.external(arm) for arm in study.arms}
    return {arm: external for arm, external in found.items() if external}


def _make_benchmark_splits(study: Study, datasets: Mapping[str, Dataset]) -> dict[str, Split]:
    """A split by shares for each arm of the benchmark, centres spread over its parts."""
    splits: dict[str, Split] = {}
    if study.benchmark is None:
        return splits
    for arm in study.benchmark_arms():
        column = study.split.stratify_by or next(iter(study.external(arm) or {}), None)
        splits[arm] = make_shares_split(
            arm,
            datasets[arm],
            validation=study.benchmark.validation,
            test=study.benchmark.test,
            seed=study.split.seed,
            stratify_by=column,
            group_by=study.split.group_by,
        )
    return splits


def _decides_arrays(recipe: Recipe) -> tuple[object, ...]:
    """All of a recipe that decides how scans are prepared, by itself or by a rule."""
    return recipe.rules, recipe.prepare, recipe.nnunet, recipe.locate, recipe.train.patch_vox


def _crowding(job: ArmJob, n_places: int) -> float:
    train = job.recipe.train
    device = best_device() if train.device == "auto" else train.device
    if device == "cpu":
        return crowding(n_places, train.threads * train.devices, device)
    return crowding(n_places * train.devices, train.threads, device)


def _trainings(recipe: Recipe, n_places: int) -> int:
    """Trainings of an arm; where the budget decides on folds, as many as find a place."""
    if recipe.folds_trained is not None:
        return recipe.folds_trained
    return min(recipe.folds, n_places) if recipe.rules == "auto" else recipe.folds


def _seconds(study: Study) -> float | None:
    budget = parse_budget(study.budget)
    return budget.seconds if budget else None
