"""Agreement of two measurements of the same thing: numbers, or yes and no.

Enters: paired values, or the four counts of two yes-or-no readings. Leaves:
concordance and kappa, each with interval and number; limits of agreement stand in
`limits`. A correlation alone was rejected: it does not see a reader who finds half of all.
Where a patient has several pairs, `cluster` says so, and the intervals take the patient as
the independent unit; without it pairs count as independent.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from acinus.errors import DataError
from acinus.measure.statistics.bootstrap import (
    CLUSTER_BOOTSTRAP,
    CONFIDENCE,
    FEWEST_CLUSTERS,
    SEED,
    are_alone,
    cluster_codes,
    percentile_interval,
    resampled_sums,
)
from acinus.measure.statistics.values import Floats, defined_in_both, is_constant, too_few

FISHER_Z = "Fisher's z with Lin's variance"
"""How the interval of a concordance of independent pairs is made."""


@dataclass(frozen=True)
class Concordance:
    """Lin's concordance correlation of pairs.

    Attributes:
        n: Pairs with both values.
        n_undefined: Pairs left out because a value is undefined.
        n_clusters: Patients that the pairs are of.
        value: In [-1, 1]; 1 if all pairs lie on the line of identity. None if undefined.
        low: Lower end of the 95% interval.
        high: Upper end.
        method: How the interval is made, in words.
        precision: Pearson's r, how near the pairs lie to some line, [-1, 1].
        accuracy: How near that line lies to identity, (0, 1]; value = precision · accuracy.
        reason: Why a figure is None; empty if none is.
    """

    n: int
    n_undefined: int
    n_clusters: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = FISHER_Z
    precision: float | None = None
    accuracy: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two yes-or-no readings.

    Attributes:
        region: What was read: kappa depends on how much of "neither" it holds.
        n: Units read, e.g. voxels of the region.
        observed: Share of units on which both readings agree, [0, 1]; None without units.
        expected: The same if the readings were independent of each other.
        value: (observed - expected) / (1 - expected), in [-1, 1]; None if undefined.
        low: Lower end of the 95% interval.
        high: Upper end.
        reason: Why a figure is None; empty if none is.
    """

    region: str
    n: int
    observed: float | None = None
    expected: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def concordance(
    a: Sequence[float | None],
    b: Sequence[float | None],
    cluster: Sequence[Hashable] | None = None,
    *,
    seed: int = SEED,
) -> Concordance:
    """Lin's concordance correlation: how near pairs lie to the line of identity.

    2 s_ab / (s_a² + s_b² + (mean a - mean b)²), with variances over n; the
    interval by Fisher's z with Lin's asymptotic variance over n - 2, or, where a patient has
    several pairs, by resampling patients.

    Args:
        a: First values; None or NaN where undefined.
        b: Second values, in the same order.
        cluster: Patient of each pair, where one patient has several. By default each pair is
            its own.
        seed: Of the bootstrap.

    Returns:
        Undefined below 3 pairs or if one list is constant; no interval of clustered pairs
        below `FEWEST_CLUSTERS` patients.

    Raises:
        DataError: The lists differ in length, or a value is infinite.

    Source: Lin 1989, Biometrics 45(1):255-268, with the correction of the variance
    in Biometrics 56(1):324-325, 2000.
    """
    left, right, both = defined_in_both(a, b)
    n, n_undefined = int(left.size), int(both.size - left.size)
    members = None if cluster is None else [c for c, k in zip(cluster, both, strict=True) if k]
    codes, n_clusters = cluster_codes(members, n)
    known = Concordance(n, n_undefined, n_clusters)
    if n < 3:
        return replace(known, reason=too_few(3, n, "pairs"))
    for which, values in (("first", left), ("second", right)):
        if is_constant(values):
            return replace(known, reason=f"all values of the {which} list are equal")
    var_a, var_b = float(left.var()), float(right.var())
    covariance = float(((left - left.mean()) * (right - right.mean())).mean())
    sd_product = math.sqrt(var_a) * math.sqrt(var_b)
    shift = float(left.mean() - right.mean()) ** 2 / sd_product  # u² of Lin
    r = min(1.0, max(-1.0, covariance / sd_product))
    accuracy = 2.0 / ((var_a + var_b) / sd_product + shift)
    value = r * accuracy
    known = replace(known, value=value, precision=r, accuracy=accuracy)
    if not are_alone(codes, n_clusters):
        known = replace(known, method=CLUSTER_BOOTSTRAP)
        if n_clusters < FEWEST_CLUSTERS:
            why = "an interval " + too_few(FEWEST_CLUSTERS, n_clusters, "patients")
            return replace(known, reason=why)
        low, high = _concordance_interval(left, right, codes, n_clusters, seed)
        return replace(known, low=low, high=high)
    room = 1.0 - value**2
    if room < 1e-12:
        return replace(known, low=value, high=value)
    variance = (
        (1.0 - r**2) * accuracy**2 / room
        + 2.0 * value**2 * accuracy * (1.0 - value) * shift / room**2
        - value**2 * accuracy**2 * shift**2 / (2.0 * room**2)
    ) / (n - 2)
    z = float(scipy.stats.norm.ppf((1.0 + CONFIDENCE) / 2.0)) * math.sqrt(max(0.0, variance))
    center = math.atanh(value)
    return replace(known, low=math.tanh(center - z), high=math.tanh(center + z))


def cohens_kappa(
    n_both: int, n_first_only: int, n_second_only: int, n_neither: int, *, region: str
) -> Kappa:
    """Cohen's kappa of two yes-or-no readings of the same units.

    The region must be named: the more units neither reader marked, the nearer
    kappa comes to the Dice of the two readings, and in a tight box it lies far
    below. The interval takes the units as independent. Voxels are not: for
    masks take one kappa a case and the interval of their mean.

    Args:
        n_both: Units that both readers marked, >= 0.
        n_first_only: Units that only the first marked.
        n_second_only: Units that only the second marked.
        n_neither: Units of the region that neither marked.
        region: Where the units were counted, in words, e.g. ``"box around both
            masks"``.

    Returns:
        Undefined without units, or if both readers gave all units one and the
        same answer, since chance then agrees as well.

    Raises:
        DataError: A count is negative or no whole number, or the region is not named.

    Source: Cohen 1960, Educational and Psychological Measurement 20(1):37-46; standard
    error: Fleiss, Cohen and Everitt 1969, Psychological Bulletin 72(5):323-327.
    """
    counts = (n_both, n_first_only, n_second_only, n_neither)
    wrong = [one for one in counts if not math.isfinite(one) or one < 0 or one != int(one)]
    if wrong:
        raise DataError(f"counts must be whole numbers of at least 0; got {wrong[0]}.")
    if not region.strip():
        raise DataError("kappa must name the region that was counted; got an empty 'region'.")
    n = sum(int(one) for one in counts)
    if n == 0:
        return Kappa(region, 0, reason="no units")
    table = np.array([[n_both, n_first_only], [n_second_only, n_neither]], dtype=np.float64) / n
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed, expected = float(np.trace(table)), float(rows @ columns)
    known = Kappa(region, n, observed, expected)
    if n in (n_both, n_neither):
        return replace(known, reason="both readers gave all units the same answer")
    value = (observed - expected) / (1.0 - expected)
    agreeing = sum(
        table[i, i] * (1.0 - (rows[i] + columns[i]) * (1.0 - value)) ** 2 for i in (0, 1)
    )
    differing = (1.0 - value) ** 2 * sum(
        table[i, 1 - i] * (columns[i] + rows[1 - i]) ** 2 for i in (0, 1)
    )
    rest = (value - expected * (1.0 - value)) ** 2
    variance = float(agreeing + differing - rest) / (n * (1.0 - expected) ** 2)
    half = float(scipy.stats.norm.ppf((1.0 + CONFIDENCE) / 2.0)) * math.sqrt(max(0.0, variance))
    return replace(known, value=value, low=max(-1.0, value - half), high=min(1.0, value + half))


def _concordance_interval(
    a: Floats, b: Floats, codes: NDArray[np.intp], n_clusters: int, seed: int
) -> tuple[float, float]:
    """Percentile interval when whole patients are resampled; those without spread are left out."""
    center, scale = float(np.concatenate([a, b]).mean()), max(float(a.std()), float(b.std()))
    x, y = (a - center) / scale, (b - center) / scale
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    n, sx, sy, sxx, syy, sxy = resampled_sums(terms, codes, n_clusters, seed=seed)
    # Times n²: 2 s_ab over s_a² + s_b² + (mean a - mean b)².
    above = 2.0 * (n * sxy - sx * sy)
    below = n * (sxx + syy) - 2.0 * sx * sy
    usable = below > 1e-12 * n**2
    return percentile_interval(np.clip(above[usable] / below[usable], -1.0, 1.0))
