"""``acinus run``: one dataset from check to report."""

from __future__ import annotations

from pathlib import Path

import acinus
from acinus.cli.options import (
    Budget,
    Changes,
    Folds,
    Holdout,
    On,
    Out,
    Recipe,
    Seed,
    Trainings,
    as_holdout,
)
from acinus.cli.outcome import show_outcome


def run(
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
    on: On = "here",
) -> int:
    """Check, plan, prepare, train the folds, predict, evaluate and report, in one command.

    Whatever is already done in the output folder is not done again.

    ```console
    acinus run Dataset001_Glands --budget 15m --out runs/glands
    ```

    Args:
        dataset: Folder in nnU-Net's raw layout: dataset.json, imagesTr, labelsTr.
        out: Folder of the run.
        recipe: Preset.
        budget: Ceiling.
        folds: Number of folds to train.
        seed: Seed.
        settings: Changes to the recipe.
        holdout: Participants kept for the final test.
        jobs: Trainings side by side.
        on: Where trainings run.
    """
    outcome = acinus.run_dataset(
        dataset,
        recipe=recipe,
        budget=budget,
        out=out,
        folds=folds,
        seed=seed,
        settings=settings,
        holdout=as_holdout(holdout),
        jobs=jobs,
        on=on,
    )
    return show_outcome(outcome.report, outcome.failed, outcome.summary)
