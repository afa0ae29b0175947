"""Compare finished runs on the cases that none of them learned from, and keep the best together.

Enters: folders of runs on one dataset, with other recipes. Leaves: an ensemble folder. Every
case is predicted by those folds that have not seen it, the models' probabilities averaged on
its own grid. Comparing the runs' stored label maps was rejected: label maps cannot be averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from acinus import progress
from acinus.cohort import Case, Dataset, Split, open_dataset, read_split
from acinus.errors import ConfigError, DataError, PlanError
from acinus.predict import Cleaning, Evidence, Member, Model, load_model
from acinus.predict.average import average_subsets, check_alike
from acinus.predict.ensemble import (
    EnsembleChoice,
    choose_ensemble,
    member_names,
    refuse_other_folder,
    singles_and_pairs,
    write_ensemble,
)
from acinus.predict.folder import check_one_locator, read_card
from acinus.predict.model import with_previous
from acinus.prepare import PreparedCase, load_case, prepare_case
from acinus.scans import Volume, read_labelmap
from acinus.study.cascade import low_resolution
from acinus.study.folders import StudyFolder
from acinus.study.job import ArmJob
from acinus.study.locating import case_locator
from acinus.study.schema import read_study
from acinus.study.session import reopen_session


@dataclass(frozen=True)
class EnsembleOutcome:
    """What was compared and written.

    Attributes:
        folder: The ensemble.
        choice: Members and numbers.
        n_cases: Validation cases that it rests on.
    """

    folder: Path
    choice: EnsembleChoice
    n_cases: int


@dataclass(frozen=True, eq=False)
class _Run:
    """A finished run.

    Attributes:
        name: In the ensemble.
        folder: Where it lies.
        dataset: What it learned from.
        split: Who it learned from.
        folds: Case to the fold that has not seen it.
    """

    name: str
    folder: StudyFolder
    dataset: Dataset
    split: Split
    folds: dict[str, int]

    @property
    def model(self) -> Path:
        """Its model folder."""
        return self.folder.root / "model"

    def member(self, fold: int, device: str) -> Member:
        """The network of one fold."""
        return load_model(self.model, folds=[fold], device=device).members[0]

    @cached_property
    def job(self) -> ArmJob:
        """Its arm, which knows where each case was located."""
        return reopen_session(self.folder.root).final_jobs()[0]


def ensemble_runs(runs: Sequence[Path], *, out: Path, device: str = "auto") -> EnsembleOutcome:
    """Compare runs and all pairs of them on validation cases, and write the best as an ensemble.

    Args:
        runs: Folders of finished runs on the same dataset with the same hold-out; two or more.
        out: Folder of the ensemble.
        device: See `load_model`.

    Raises:
        ConfigError: Fewer than two runs.
        PlanError: A run is not finished, or does not fit the others.
        DataError: No case was held back by all of them.
    """
    if len(runs) < 2:
        raise ConfigError(f"an ensemble needs at least two runs; got {len(runs)}.")
    refuse_other_folder(out)  # now, and not after hours of predictions
    opened = [_open(run, name) for run, name in zip(runs, member_names(runs), strict=True)]
    _check_alike(opened)
    cases = _common_cases(opened)
    first = opened[0].dataset
    subsets = singles_and_pairs(len(opened))
    candidates = [tuple(opened[index].name for index in subset) for subset in subsets]
    values = {name: first.regions.get(name, (value,)) for name, value in first.labels.items()}
    evidence = {names: Evidence(values, first.ignore_label) for names in candidates}
    members: dict[tuple[int, ...], list[Member]] = {}
    with progress.stage("Comparing models", total=len(cases), unit="case") as bar:
        for case, folds in cases:
            if folds not in members:  # cases are in order of their folds: one set at a time
                members = {
                    folds: [
                        run.member(fold, device) for run, fold in zip(opened, folds, strict=True)
                    ]
                }
                check_alike([member.plan for member in members[folds]])
            _compare(
                case,
                first.annotated.get(case.case_id),
                members[folds],
                subsets,
                [evidence[names] for names in candidates],
                opened,
            )
            bar.advance(1)
    choice = choose_ensemble({names: evidence[names].mean_dice() for names in candidates})
    chosen = {run.name: run.model for run in opened if run.name in choice.members}
    cleanings = _cleanings(first, evidence[choice.members])
    write_ensemble(
        out,
        chosen,
        cleanings,
        validation_dice=choice.validation_dice,
        n_validation_cases=len(cases),
    )
    return EnsembleOutcome(out, choice, len(cases))


def _open(root: Path, name: str) -> _Run:
    folder = StudyFolder(root, is_run=True)
    if not folder.study.is_file() or (root / "arms").is_dir():
        raise PlanError(
            f"{root}: must be the folder of a run of one dataset, made by 'acinus run'; it is not."
        )
    if not (root / "model" / "model.json").is_file():
        raise PlanError(
            f"{root}: must be trained before it is compared; model/model.json is missing. "
            f"Run 'acinus train {root}' first."
        )
    (arm,) = read_study(folder.study).arms.values()
    dataset = open_dataset(Path(arm.dataset))
    split = read_split(folder.split)
    trained = {weights.fold for weights in read_card(root / "model").weights}
    folds = {
        case.case_id: fold
        for fold in sorted(trained)
        for case in split.cases(dataset, "validation", fold=fold)
        if case.label is not None
    }
    return _Run(name, folder, dataset, split, folds)


def _check_alike(runs: Sequence[_Run]) -> None:
    first = runs[0]
    for other in runs[1:]:
        if other.dataset.fingerprint_hash() != first.dataset.fingerprint_hash():
            raise PlanError(
                f"{other.folder.root}: must be a run on the dataset of {first.folder.root}; it is "
                "on another one, or the dataset was changed in between."
            )
        ours, theirs = (set(run.split.participants("holdout")) for run in (first, other))
        if ours != theirs:
            raise PlanError(
                f"{other.folder.root}: must keep the same participants for the test as "
                f"{first.folder.root}, else one model has learned what the other is tested on; "
                f"{len(ours ^ theirs)} differ. Make both with one --seed and --holdout."
            )
    check_one_locator([run.model for run in runs])


def _common_cases(runs: Sequence[_Run]) -> list[tuple[Case, tuple[int, ...]]]:
    """Cases that every run held back in a trained fold, in order of these folds."""
    common = set.intersection(*(set(run.folds) for run in runs))
    if not common:
        raise DataError(
            "runs can be compared only on cases that each of them held back for validation; there "
            "are none. Train more --folds of each."
        )
    found = [
        (runs[0].dataset.case(case_id), tuple(run.folds[case_id] for run in runs))
        for case_id in sorted(common)
    ]
    return sorted(found, key=lambda one: one[1])


def _compare(
    case: Case,
    annotated: tuple[str, ...] | None,
    members: Sequence[Member],
    subsets: Sequence[tuple[int, ...]],
    evidence: Sequence[Evidence],
    runs: Sequence[_Run],
) -> None:
    """Add one case to what is known of every candidate; all share the boxes of the first run."""
    channels, _ = load_case(case, with_label=False)
    if case.label is None:
        raise DataError(f"case '{case.case_id}': must have a label to compare with; it has none.")
    reference = read_labelmap(case.label)
    plan = members[0].plan
    if plan.is_located:
        locator = case_locator(runs[0].job, plan, case)
        models = [Model(tuple(members[k] for k in subset), locator=locator) for subset in subsets]
        # Each by itself, since boxes grow where a candidate's own mask touches them.
        predictions: Iterator[Volume] = (
            model.predict(channels, postprocess="none", allow_nothing=True) for model in models
        )
    else:
        entries = [
            (member.networks, member.plan, _prepared(run, member, channels, case))
            for run, member in zip(runs, members, strict=True)
        ]
        predictions = iter(average_subsets(entries, subsets))
    for prediction, known in zip(predictions, evidence, strict=True):
        known.add(reference, prediction, annotated)


def _prepared(
    run: _Run, member: Member, channels: Sequence[Volume | None], case: Case
) -> PreparedCase:
    """The case as a member sees it; of a cascade with what the fold found that held it back.

    All folds of the low resolution together have learned from it but for one.
    """
    first = low_resolution(run.job)
    if first is None:
        return member.prepare(channels)
    found = first.folder.predictions("validation") / f"{case.case_id}.nii.gz"
    if not found.is_file():
        raise PlanError(
            f"{found}: the low resolution of a cascade must have segmented each case that it held "
            f"back; this one is missing. Run 'acinus train {run.folder.root}' again."
        )
    prepared = prepare_case(channels, member.plan.settings.prepare)
    return with_previous(prepared, read_labelmap(found))


def _cleanings(dataset: Dataset, evidence: Evidence) -> dict[str, Cleaning]:
    if dataset.regions:
        return {name: Cleaning(rule="regions are left as they are") for name in dataset.labels}
    return evidence.cleanings()
