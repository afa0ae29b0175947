"""``acinus train``: prepare and train what a plan says, or one part of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acinus
from acinus.cli.options import On, Trainings
from acinus.errors import ConfigError


def train(
    run: Path,
    /,
    *,
    dataset: Path | None = None,
    jobs: Trainings = 1,
    on: On = "here",
    arm: str | None = None,
    variant: str | None = None,
    fold: int | None = None,
    prepare_only: Annotated[bool, Parameter(show_default=False)] = False,
) -> int:
    """Prepare the data and train the folds of a planned run; resumes where it was stopped.

    With --fold only that fold is trained: commands for several folds may run at the same time, on
    any machines that see the folder. The same command without it completes the model.

    ```console
    acinus train runs/glands
    ```

    Args:
        run: Folder that 'acinus plan', 'acinus run', 'acinus study' or 'acinus slurm' made.
        dataset: Where the dataset lies now, if it was moved since it was planned.
        jobs: Trainings side by side.
        on: Where trainings run.
        arm: With --fold: the arm of a study.
        variant: With --fold: a variation of a study, such as loss=dice.
        fold: Train this fold only, counted from 1.
        prepare_only: Check, plan and prepare all arms, and train nothing; a time budget is divided
            for --jobs trainings side by side.
    """
    if fold is None and (arm or variant):
        raise ConfigError("--arm and --variant must come with --fold; it is not given.")
    if fold is not None and (prepare_only or dataset or jobs != 1 or on != "here"):
        raise ConfigError("--fold goes with --arm and --variant only; leave the other options out.")
    if prepare_only and (dataset or on != "here"):
        raise ConfigError("--prepare-only goes with --jobs only; leave --dataset and --on out.")
    if prepare_only:
        acinus.prepare_run(run, n_places=jobs)
        sys.stdout.write(f"Prepared: {run}\n")
        return 0
    if fold is not None:
        acinus.train_part(run, arm=arm, variant=variant, fold=fold - 1)
        sys.stdout.write(f"Trained: {run}, fold {fold}\n")
        return 0
    acinus.train_run(run, dataset=dataset, jobs=jobs, on=on)
    for model in (run / "model", *sorted(run.glob("arms/*/model"))):
        if model.is_dir():
            sys.stdout.write(f"Model: {model}\n")
    return 0
