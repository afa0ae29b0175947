"""What a run may cost: wall time of the whole command, or steps of each training.

Enters: text such as ``15m``. Leaves: a `Budget`. A budget in epochs was
rejected: an epoch means another number of steps on every dataset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from acinus.errors import ConfigError

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Budget:
    """A ceiling on the wall time, or a number of steps; exactly one is given.

    Attributes:
        seconds: Wall time of the whole command, s.
        steps: Optimiser steps of each training.
    """

    seconds: float | None = None
    steps: int | None = None

    def __str__(self) -> str:
        return f"{self.steps}steps" if self.steps else f"{self.seconds:.15g}s"


def parse_budget(text: str | None) -> Budget | None:
    """A budget from ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m`` or ``200steps``.

    Raises:
        ConfigError: The text is none of these, or zero.
    """
    if text is None:
        return None
    compact = text.strip().lower().replace(" ", "")
    steps = re.fullmatch(r"(\d+)steps?", compact)
    if steps and int(steps[1]) > 0:
        return Budget(steps=int(steps[1]))
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", compact)
    seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != compact or seconds <= 0:
        raise ConfigError(
            f"--budget must be a time such as 90s, 15m or 2h, or steps such as 200steps; "
            f"got '{text}'."
        )
    return Budget(seconds=seconds)
