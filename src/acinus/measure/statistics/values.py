"""Lists of values as statistics take them: numbers, with gaps where undefined.

Enters: numbers, None or NaN. Leaves: float64 arrays. Infinite values are
refused, since a mean with one is no mean; a missed structure is a gap that is
counted, never a large number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from acinus.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def with_gaps(values: Iterable[float | None]) -> Floats:
    """Values as float64 (n,), NaN where undefined.

    Raises:
        DataError: A value is infinite.
    """
    array = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
    if np.isinf(array).any():
        raise DataError(
            "values must be finite or undefined (None); got an infinite one. "
            "Give an undefined measure as None, so that it is counted."
        )
    return array


def defined(values: Iterable[float | None]) -> Floats:
    """The defined values as float64 (n,)."""
    array = with_gaps(values)
    return array[~np.isnan(array)]


def defined_in_both(
    a: Sequence[float | None], b: Sequence[float | None]
) -> tuple[Floats, Floats, Bools]:
    """Pairs of which both values are defined, and which of the given pairs these are.

    Raises:
        DataError: The lists differ in length, or a value is infinite.
    """
    if len(a) != len(b):
        raise DataError(f"paired values must be equally many; got {len(a)} and {len(b)}.")
    left, right = with_gaps(a), with_gaps(b)
    both = ~(np.isnan(left) | np.isnan(right))
    return left[both], right[both], both


def is_constant(values: Floats) -> bool:
    """Whether all values are equal up to rounding; True for none or one."""
    if values.size < 2:
        return True
    return bool(np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())))


def too_few(needed: int, n: int, what: str = "values") -> str:
    """Reason for a statistic that lacks observations."""
    return f"needs at least {needed} {what}; got {n}"
