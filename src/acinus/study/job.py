"""What one arm, or one variant of it, needs: plain data that any process can work on.

Enters: a study on its folder. Leaves: an `ArmJob`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acinus.cohort import Case, Dataset, Split
from acinus.plan import Budget, Recipe
from acinus.prepare import Store
from acinus.study.folders import RunFolder

ExternalModel = Literal["folds_mean", "best_fold"]
"""What segments external cases: the mean of the networks of all folds, or the one network whose
score on its own validation cases is highest."""


@dataclass(frozen=True)
class ArmJob:
    """All that one arm, or one variant of it, needs.

    Attributes:
        name: The arm.
        model: ``final``, or the variant such as ``sampling=random``.
        dataset: Opened dataset.
        recipe: With all changes.
        split: By participant, over all arms.
        folder: Where its files go.
        store: Folder of the prepared cases; variants share that of their arm.
        seed: Of weights, sampling and augmentation.
        budget: As given for the whole command.
        measures: Names of the measures.
        explain: Whether Grad-CAM is made.
        share_left_s: Seconds that this arm may still take, asked anew each time; None
            without a time budget.
        jobs: Processes for scoring.
        places: Trainings that run side by side, of this arm and others.
        places_here: How many of them share this machine and its memory.
        crowding: How many times as long a step takes for that.
        part: What its test cases are called in the score table: ``holdout``, or ``benchmark``
            where networks are compared on a split of their own.
        is_judged: Whether the test cases are segmented and scored with it; an earlier stage is
            judged within the whole.
        external_model: What segments the test cases, if they are external: see `SplitSettings`.
    """

    name: str
    model: str
    dataset: Dataset
    recipe: Recipe
    split: Split
    folder: RunFolder
    store: Path
    seed: int
    budget: Budget | None
    measures: tuple[str, ...]
    explain: bool
    share_left_s: Callable[[], float] | None
    jobs: int = 1
    places: int = 1
    places_here: int = 1
    crowding: float = 1.0
    part: Literal["holdout", "benchmark"] = "holdout"
    is_judged: bool = True
    external_model: ExternalModel = "folds_mean"

    def holdout(self) -> tuple[Case, ...]:
        """Cases kept for the test."""
        return self.split.cases(self.dataset, "holdout")

    def dataset_cases(self) -> tuple[Case, ...]:
        """All labelled cases of the split."""
        return (*self.split.cases(self.dataset, "train"), *self.holdout())

    def name_of_first(self, stage: str) -> str:
        """What the model of an earlier stage is called, such as ``locator`` or ``lowres``."""
        return stage if self.model == "final" else f"{self.model}, {stage}"

    def open_store(self) -> Store:
        """Prepared cases; of a cascade with what its low resolution found in them."""
        return Store(self.store, self.folder.previous if is_cascade(self.recipe) else None)


def is_cascade(recipe: Recipe) -> bool:
    """Whether a recipe asks for a model that sees the labels of one at low resolution."""
    return recipe.rules == "nnunet" and recipe.nnunet.configuration == "3d_cascade"
