"""``acinus profile``: what a network costs."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Literal

from cyclopts import Parameter

import acinus
from acinus.cli.options import Changes
from acinus.errors import ConfigError


def profile(
    target: str,
    /,
    *,
    patch: Annotated[str | None, Parameter(help="Size of the input, Z,Y,X or Y,X.")] = None,
    batch: int = 1,
    channels: int | None = None,
    classes: int | None = None,
    runs: int = 100,
    warm_up: int = 10,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    settings: Changes = (),
    json_: Annotated[bool, Parameter(name="--json", show_default=False)] = False,
) -> int:
    """Parameters, multiply-adds, FLOPs, memory and time of a network at prediction.

    ```console
    acinus profile pansegnet-3d --patch 32,224,224 --runs 100
    ```

    Args:
        target: Model folder, or the name of a recipe or network.
        patch: Size of the input. Default: the model's patch, or what the recipe states.
        batch: Inputs at once.
        channels: Channels of the input. Default: the model's, else 1.
        classes: Outputs, with background. Default: the model's, else 2.
        runs: Timed passes.
        warm_up: Passes before them that are not timed.
        device: Where it is timed.
        precision: Of products; auto: as a prediction would.
        settings: Changes to a recipe or network.
        json_: Print everything as JSON.
    """
    found = acinus.profile_network(
        target,
        patch=None if patch is None else as_size(patch),
        batch=batch,
        channels=channels,
        classes=classes,
        runs=runs,
        warm_up=warm_up,
        device=device,
        precision=precision,
        settings=settings,
    )
    if json_:
        sys.stdout.write(json.dumps(found.as_data(), indent=2) + "\n")
    else:
        sys.stdout.write(acinus.profile_text(found))
    return 0


def as_size(text: str) -> tuple[int, ...]:
    """A size such as ``32,224,224``.

    Args:
        text: As it was given.

    Raises:
        ConfigError: It is none.
    """
    parts = text.split(",")
    if len(parts) not in (2, 3) or not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(
            f"--patch must be two or three whole numbers, Y,X or Z,Y,X, such as 32,224,224; "
            f"got '{text}'."
        )
    return tuple(int(part) for part in parts)
