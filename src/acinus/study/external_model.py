"""Which networks segment the cases of external centres: those of all folds, or the best of them.

Enters: an arm whose folds are trained and validated. Leaves: the folds, and
``external_model.json`` with the score that chose. PanSegNet tests outside with "the best
performance model from cross-validation" (Zhang et al. 2025, Medical Image Analysis 99:103382,
section 4.4). Choosing by the external cases themselves was rejected: that is no test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acinus.errors import PlanError
from acinus.files import read_json, write_json
from acinus.plan import Plan
from acinus.predict import Evidence
from acinus.scans import read_labelmap
from acinus.study.folders import RunFolder
from acinus.study.job import ArmJob


@dataclass(frozen=True)
class ExternalChoice:
    """What segments the external cases.

    Attributes:
        folds: Whose networks are averaged, from 0.
        validation_dice: Fold to its mean Dice over labels on its own validation cases, not
            post-processed; None where no case had any. Empty where nothing was chosen.
    """

    folds: tuple[int, ...]
    validation_dice: dict[int, float | None]

    @property
    def words(self) -> str:
        """For the report: ``the network of fold 2 of 5, …``."""
        n = len(self.validation_dice)
        if not n:
            return ALL_NETWORKS
        (best,) = self.folds
        dice = self.validation_dice[best]
        score = "" if dice is None else f" (mean Dice {dice:.3f} on its own validation cases)"
        return f"the network of fold {best + 1} of {n}, the best in cross-validation{score}"


ALL_NETWORKS = "the mean of all networks of the arm"


def choose_external_model(job: ArmJob, plan: Plan) -> ExternalChoice:
    """The networks for the external cases, by the setting of the study; written beside the arm.

    Args:
        job: The arm, its folds trained and their validation cases predicted.
        plan: Of the arm.

    Returns:
        All folds, or the one with the highest validation Dice; of equal ones the first.
    """
    if job.external_model == "folds_mean":
        choice = ExternalChoice(plan.folds_to_train, {})
    else:
        dice = {fold: _validation_dice(job, fold) for fold in plan.folds_to_train}
        best = max(dice, key=lambda fold: -1.0 if (found := dice[fold]) is None else found)
        choice = ExternalChoice((best,), dice)
    write_json(
        job.folder.external_model,
        {
            "external_model": job.external_model,
            "folds": list(choice.folds),
            "validation_dice": {str(fold): found for fold, found in choice.validation_dice.items()},
        },
    )
    return choice


def read_external_choice(folder: RunFolder) -> ExternalChoice:
    """The choice that an arm was tested with; all folds where none was written.

    Raises:
        PlanError: The file says something else.
    """
    if not folder.external_model.is_file():
        return ExternalChoice((), {})
    data: Any = read_json(folder.external_model)
    try:
        return ExternalChoice(
            tuple(int(fold) for fold in data["folds"]),
            {int(fold): dice for fold, dice in data["validation_dice"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise PlanError(
            f"{folder.external_model}: must say which folds segmented the external cases; it does "
            "not. Delete it, and evaluate again."
        ) from None


def _validation_dice(job: ArmJob, fold: int) -> float | None:
    """Mean over labels of the mean Dice of the cases that a fold left out."""
    dataset = job.dataset
    values = {name: tuple(those) for name, those in dataset.values.items()}
    evidence = Evidence(values, dataset.ignore_label)
    folder = job.folder.predictions("validation")
    for case in job.split.cases(dataset, "validation", fold=fold):
        if case.label is not None:
            evidence.add(
                read_labelmap(case.label),
                read_labelmap(folder / f"{case.case_id}.nii.gz"),
                dataset.annotated.get(case.case_id),
            )
    return evidence.mean_dice()
