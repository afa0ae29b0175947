"""``acinus study``: a whole study from its YAML file."""

from __future__ import annotations

from pathlib import Path

import acinus
from acinus.cli.options import Budget, Changes, Folds, On, Out, Trainings
from acinus.cli.outcome import show_outcome


def study(
    path: Path,
    /,
    *,
    out: Out,
    data: Path | None = None,
    budget: Budget = None,
    folds: Folds = None,
    seed: int | None = None,
    settings: Changes = (),
    arms: tuple[str, ...] = (),
    no_vary: bool = False,
    full: bool = False,
    anatomy: Path | None = None,
    jobs: Trainings = 1,
    on: On = "here",
) -> int:
    """Run a study: all its arms and variations, their comparison, tables, figures and report.

    The file names the arms, the split, what to vary and what to measure.

    ```console
    acinus study studies/lacrimal-mri.yaml --data cohort --out studies-out/lacrimal
    ```

    Args:
        path: YAML file of the study.
        out: Folder of the study.
        data: Folder that holds the datasets which the study names. Default: as the study says.
        budget: Ceiling, shared by all arms and variations.
        folds: Number of folds to train.
        seed: Seed; default: the study's own.
        settings: Changes to the recipe of every arm.
        arms: Run only this arm; may be repeated. Default: all.
        no_vary: Train the main models only, without the study's variations and benchmark.
        full: The whole study: leave out what its file states for small machines.
        anatomy: Folder of real organ maps, as of 'acinus phantom headneck', from which the
            study's synthetic heads are made.
        jobs: Trainings side by side.
        on: Where trainings run.
    """
    outcome = acinus.run_study(
        path,
        out=out,
        budget=budget,
        folds=folds,
        seed=seed,
        settings=settings,
        data=data,
        arms=arms or None,
        vary=not no_vary,
        full=full,
        anatomy=anatomy,
        jobs=jobs,
        on=on,
    )
    return show_outcome(outcome.report, outcome.failed, outcome.summary)
