"""Options that several commands share: their types, spelling and help, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from acinus.errors import ConfigError

Budget = Annotated[
    str | None,
    Parameter(
        help="Ceiling on the wall time of the whole command, such as 15m, 2h or 1h30m, "
        "or steps of each training, such as 200steps. Without it the recipe's epochs are run."
    ),
]
Recipe = Annotated[
    str,
    Parameter(help="Preset by name (see 'acinus list recipes') or the path of a YAML file."),
]
Changes = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        help="Change one setting of the recipe, such as train.lr=0.01; may be repeated.",
        show_default=False,
    ),
]
Folds = Annotated[
    int | None,
    Parameter(help="How many of the folds are trained; 1 trains one model. Default: all."),
]
Holdout = Annotated[
    float | None,
    Parameter(
        help="Participants kept for the final test: a number of them (14) or a share (0.2). "
        "Default: the recipe's share."
    ),
]
Seed = Annotated[int, Parameter(help="Seed of the split, the weights and all random choices.")]
Jobs = Annotated[int, Parameter(help="Processes that work side by side where that is possible.")]
Trainings = Annotated[
    int,
    Parameter(
        name="--jobs",
        help="Trainings (folds, arms, variations) side by side, each in a process of its own with "
        "the plan's number of threads; the results are the same.",
    ),
]
On = Annotated[
    Literal["here", "ray"],
    Parameter(
        help="Where trainings run: here, or on a Ray cluster (pip install 'acinus[ray]') whose "
        "machines share the folders of data and results. There --jobs above 1 is the most at a "
        "time, else the cluster is filled."
    ),
]
Out = Annotated[Path, Parameter(help="Folder of the results; the same folder again resumes.")]
Series = Annotated[
    str | None,
    Parameter(
        help="Which series of a DICOM folder: its number in the list, its UID, or part of its "
        "description. Without it a folder with several series is refused with their list."
    ),
]


def as_holdout(number: float | None) -> int | float | None:
    """A number of participants as an integer, a share below 1 as it is.

    Args:
        number: What was given; None leaves it to the recipe.

    Raises:
        ConfigError: The number is negative, or above 1 and not whole.
    """
    if number is None or 0 <= number < 1:
        return number
    if number < 0 or number != int(number):
        raise ConfigError(
            f"--holdout must be a whole number of participants such as 14, or a share below 1 "
            f"such as 0.2; got {number:g}."
        )
    return int(number)
