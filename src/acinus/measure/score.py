"""One measured value, or the reason why there is none.

Enters: a number with its unit. Leaves: a `Score`, never a sentinel. Raising on
an empty mask was rejected: an undefined distance is an outcome of a case, and
the statistics must count it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A measure of one case and label.

    Attributes:
        value: The number; None if undefined.
        unit: ``"1"`` for a share, ``"mm"``, ``"mL"``, ``"%"``, ``"count"``.
        reason: Why the value is undefined; empty if it is defined.
    """

    value: float | None
    unit: str = "1"
    reason: str = ""

    @classmethod
    def undefined(cls, reason: str, unit: str = "1") -> Score:
        """A score without value; the reason is shown in every table."""
        return cls(None, unit, reason)

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @property
    def status(self) -> str:
        """``"ok"`` or ``"undefined"``."""
        return "ok" if self.is_defined else "undefined"

    def __float__(self) -> float:
        return math.nan if self.value is None else self.value
