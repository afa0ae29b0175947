"""``acinus slurm``: scripts that run a study, or one dataset, on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import acinus
from acinus.cli.options import Budget, Changes, Folds, Holdout, Out, as_holdout
from acinus.errors import ConfigError


def slurm(
    source: Path,
    /,
    *,
    out: Out,
    recipe: str | None = None,
    budget: Budget = None,
    folds: Folds = None,
    seed: int | None = None,
    settings: Changes = (),
    holdout: Holdout = None,
    data: Path | None = None,
    arms: tuple[str, ...] = (),
    no_vary: bool = False,
    full: bool = False,
    anatomy: Path | None = None,
    partition: str | None = None,
    time: str | None = None,
    memory: str | None = None,
    cpus: int | None = None,
    gpus: int = 0,
    at_a_time: int | None = None,
    sbatch: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
) -> int:
    """Write the scripts that run a study or a dataset on a cluster under Slurm.

    One job plans and prepares, an array has a task for each fold of each arm, one job completes,
    evaluates and reports. What a cascade or a locate stage needs is trained in an array before.
    Nothing is submitted: 'bash OUT/slurm/submit.sh' does that, and does it again to go on after a
    limit or a failure.

    ```console
    acinus slurm Dataset001_Glands --out runs/glands --partition gpu --gpus 1 --time 4:00:00
    ```

    Args:
        source: YAML file of a study, or folder of a dataset in nnU-Net's raw layout.
        out: Folder of the results, on a disk that all machines of the cluster share.
        recipe: Preset by name or YAML file, for a dataset; a study names its own. Default: auto.
        budget: Ceiling; a time is that of the whole work, with all trainings side by side.
        folds: Number of folds to train.
        seed: Seed; default: the study's own, or 2018.
        settings: Changes to the recipe.
        holdout: Participants kept for the final test, for a dataset.
        data: Folder that holds the datasets which a study names.
        arms: Only this arm of a study; may be repeated.
        no_vary: Without the study's variations.
        full: The whole study: leave out what its file states for small machines.
        anatomy: Folder of real organ maps for a study's synthetic heads.
        partition: Partition of the cluster.
        time: Longest time of a job, such as 4:00:00.
        memory: Memory of a job, such as 16G.
        cpus: Cores of a job. Default: the threads that a training computes with.
        gpus: GPUs of a job.
        at_a_time: Most trainings at a time. Default: as many as the cluster gives.
        sbatch: Further option of sbatch as it stands, such as --account=glands; may be repeated.
    """
    request = acinus.SlurmRequest(
        partition=partition,
        time=time,
        memory=memory,
        cpus=cpus,
        gpus=gpus,
        at_a_time=at_a_time,
        further=sbatch,
    )
    shared: dict[str, Any] = {"out": out, "budget": budget, "folds": folds, "settings": settings}
    if source.is_dir():
        if data or arms or no_vary or full or anatomy:
            raise ConfigError(
                "--data, --arms, --no-vary, --full and --anatomy belong to a study; got a dataset."
            )
        named: dict[str, Any] = {} if recipe is None else {"recipe": recipe}
        named |= {} if seed is None else {"seed": seed}
        script = acinus.slurm_dataset(
            source, **shared, **named, holdout=as_holdout(holdout), request=request
        )
    else:
        if recipe or holdout is not None:
            raise ConfigError("--recipe and --holdout belong to a dataset; a study states its own.")
        script = acinus.slurm_study(
            source,
            **shared,
            seed=seed,
            data=data,
            arms=arms or None,
            vary=not no_vary,
            full=full,
            anatomy=anatomy,
            request=request,
        )
    sys.stdout.write(f"Submit with: bash {script}\n")
    return 0
