"""``acinus plan``: decide, write the decisions down, train nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import acinus
from acinus.cli.options import (
    Budget,
    Changes,
    Folds,
    Holdout,
    Out,
    Recipe,
    Seed,
    Trainings,
    as_holdout,
)


def plan(
    dataset: Path,
    /,
    *,
    out: Out,
    recipe: Recipe = "auto",
    budget: Budget = None,
    folds: Folds = None,
    seed: Seed = 2018,
    settings: Changes = (),
    holdout: Holdout = None,
    jobs: Trainings = 1,
    explain: bool = False,
) -> int:
    """Check a dataset, take its fingerprint and decide how to train on it.

    The decisions are in plan.yaml, each with its value, its rule and the facts it came from.

    ```console
    acinus plan Dataset001_Glands --budget 15m --out runs/glands --explain
    ```

    Args:
        dataset: Folder in nnU-Net's raw layout.
        out: Folder of the run; 'acinus train' goes on from there.
        recipe: Preset.
        budget: Ceiling.
        folds: Number of folds to train.
        seed: Seed.
        settings: Changes to the recipe.
        holdout: Participants kept for the final test.
        jobs: Trainings that will run side by side; a time budget is divided accordingly.
        explain: Read every decision aloud with its reason, and what memory and time it will take.
    """
    path = acinus.plan_dataset(
        dataset,
        recipe=recipe,
        budget=budget,
        out=out,
        folds=folds,
        seed=seed,
        settings=settings,
        holdout=as_holdout(holdout),
        jobs=jobs,
    )
    if explain:
        sys.stdout.write(acinus.plan_outlook(out))
    sys.stdout.write(f"Plan: {path}\n")
    return 0
