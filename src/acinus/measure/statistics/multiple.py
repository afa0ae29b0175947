"""p-values of many comparisons, corrected for their number.

Enters: the p-values of one family of tests. Leaves: adjusted ones, to be
compared with the same level as a single one. Undefined p-values are no tests
and are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from acinus.errors import ConfigError, DataError, unknown_name
from acinus.measure.statistics.values import Floats, with_gaps

CORRECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "holm": "Holm (family-wise error rate)",
        "bonferroni": "Bonferroni (family-wise error rate)",
        "benjamini_hochberg": "Benjamini-Hochberg (false discovery rate)",
    }
)
"""Ways to correct, and what each keeps below the level."""


@dataclass(frozen=True)
class AdjustedP:
    """p-values adjusted for the number of comparisons.

    Attributes:
        method: Key of `CORRECTIONS`.
        name: The same in words, with the error rate that it controls.
        n: Comparisons, i.e. defined p-values.
        n_undefined: p-values that are undefined.
        p: Adjusted p-values in [0, 1] in the order given; None where undefined.
        reason: Why all are None; empty if some are not.
    """

    method: str
    name: str
    n: int
    n_undefined: int
    p: tuple[float | None, ...] = ()
    reason: str = ""


def adjusted_p(
    p_values: Iterable[float | None],
    method: Literal["holm", "bonferroni", "benjamini_hochberg"] = "holm",
) -> AdjustedP:
    """p-values of a family of comparisons, adjusted for their number m.

    With p(1) <= ... <= p(m): Bonferroni m p(i); Holm the largest of
    (m - j + 1) p(j) over j <= i; Benjamini-Hochberg the smallest of m p(j) / j over
    j >= i; each at most 1. Holm rejects whatever Bonferroni does and needs no
    more assumptions, hence the default. Benjamini-Hochberg needs independent or
    positively dependent tests.

    Args:
        p_values: In [0, 1]; None or NaN where a test is undefined.
        method: Key of `CORRECTIONS`.

    Raises:
        ConfigError: The method is not known.
        DataError: A p-value lies outside [0, 1].

    Source: Holm 1979, Scandinavian Journal of Statistics 6(2):65-70; Benjamini and
    Hochberg 1995, Journal of the Royal Statistical Society B 57(1):289-300.
    """
    if method not in CORRECTIONS:
        raise ConfigError(unknown_name("correction", method, CORRECTIONS))
    given = with_gaps(p_values)
    is_defined = ~np.isnan(given)
    found = given[is_defined]
    outside = found[(found < 0) | (found > 1)]
    if outside.size:
        raise DataError(f"p-values must lie in [0, 1]; got {outside[0]:g}.")
    n = int(found.size)
    adjusted = np.full(given.size, np.nan)
    adjusted[is_defined] = _ADJUST[method](found)
    return AdjustedP(
        method,
        CORRECTIONS[method],
        n,
        int(given.size) - n,
        tuple(None if np.isnan(one) else float(one) for one in adjusted),
        "" if n else "no p-value is defined",
    )


def _bonferroni(p: Floats) -> Floats:
    return np.minimum(1.0, p.size * p)


def _holm(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.arange(p.size, 0, -1) * p[order])
    return np.minimum(1.0, adjusted)


def _benjamini_hochberg(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")[::-1]
    adjusted = np.empty_like(p)
    ranks = np.arange(p.size, 0, -1)
    adjusted[order] = np.minimum.accumulate(p.size * p[order] / ranks)
    return np.minimum(1.0, adjusted)


_ADJUST = {"holm": _holm, "bonferroni": _bonferroni, "benjamini_hochberg": _benjamini_hochberg}
