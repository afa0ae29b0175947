"""Agreement of two measurements of the same thing: numbers, or yes and no.

Enters: paired values, or the four counts of two yes-or-no readings. Leaves:
limits of agreement, concordance, kappa, each with interval and number. A
correlation alone was rejected: it does not see a reader who finds half of all.
Pairs count as independent; where a patient has two structures, the intervals
are too narrow, and `clustered_pearson` or `paired_difference` are the ones to read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy

from acinus.errors import ConfigError, DataError, unknown_name
from acinus.measure.statistics.bootstrap import CONFIDENCE
from acinus.measure.statistics.values import Floats, defined_in_both, is_constant, too_few

LIMIT_Z = 1.96
"""Limits of agreement lie this many standard deviations from the bias (Bland and Altman)."""

LIMIT_INTERVALS = {
    "exact": "exact, noncentral t (Carkeet 2015)",
    "approximate": "approximate, t (Bland and Altman 1999)",
}
"""How the interval of a limit of agreement is made."""


@dataclass(frozen=True)
class LimitsOfAgreement:
    """Bland and Altman's analysis of first minus second values.

    Attributes:
        n: Pairs the figures are over.
        n_undefined: Pairs left out because a value is undefined.
        n_mean_zero: Pairs left out because their mean is 0; only of percentages.
        is_percent: Whether differences are in % of the pair's mean, otherwise in
            the unit of the values.
        method: How the intervals of the limits are made, in words.
        bias: Mean difference; None without pairs.
        bias_low: Lower end of its 95% interval (t).
        bias_high: Upper end.
        sd: Sample standard deviation (n - 1) of the differences; None below 2 pairs.
        lower: Lower limit of agreement, bias - 1.96 sd.
        lower_low: Lower end of its 95% interval.
        lower_high: Upper end.
        upper: Upper limit of agreement, bias + 1.96 sd.
        upper_low: Lower end of its 95% interval.
        upper_high: Upper end.
        reason: Why a figure is None; empty if none is.
    """

    n: int
    n_undefined: int
    n_mean_zero: int
    is_percent: bool
    method: str
    bias: float | None = None
    bias_low: float | None = None
    bias_high: float | None = None
    sd: float | None = None
    lower: float | None = None
    lower_low: float | None = None
    lower_high: float | None = None
    upper: float | None = None
    upper_low: float | None = None
    upper_high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Concordance:
    """Lin's concordance correlation of pairs.

    Attributes:
        n: Pairs with both values.
        n_undefined: Pairs left out because a value is undefined.
        value: In [-1, 1]; 1 if all pairs lie on the line of identity. None if undefined.
        low: Lower end of the 95% interval.
        high: Upper end.
        precision: Pearson's r, how near the pairs lie to some line, [-1, 1].
        accuracy: How near that line lies to identity, (0, 1]; value = precision · accuracy.
        reason: Why a figure is None; empty if none is.
    """

    n: int
    n_undefined: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
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


def limits_of_agreement(
    a: Sequence[float | None],
    b: Sequence[float | None],
    *,
    is_percent: bool = False,
    limit_interval: Literal["exact", "approximate"] = "exact",
) -> LimitsOfAgreement:
    """Bias and limits of agreement of `a` minus `b`, with intervals.

    Bias d ± t s/√n; limits d ± 1.96 s. Exact ends of a limit's interval are
    d ± s q/√n with q a quantile of the noncentral t with n - 1 degrees of freedom
    and noncentrality 1.96 √n; the approximate ones are the limit ±
    t s √(1/n + 1.96²/(2(n - 1))).

    Args:
        a: First values, e.g. predicted volumes; None or NaN where undefined.
        b: Second values, in the same order.
        is_percent: Whether to take each difference in % of the mean of its pair,
            for quantities >= 0 whose differences grow with their size.
        limit_interval: Key of `LIMIT_INTERVALS`.

    Returns:
        Only the bias with one pair; no intervals if all differences are equal.

    Raises:
        ConfigError: The kind of interval is not known.
        DataError: The lists differ in length, a value is infinite, or one is
            negative where percentages are wanted.

    Source: Bland and Altman 1986, Lancet 327:307-310, and 1999, Statistical Methods
    in Medical Research 8(2):135-160; Carkeet 2015, Optometry and Vision Science
    92(3):e71-80.
    """
    if limit_interval not in LIMIT_INTERVALS:
        raise ConfigError(unknown_name("limit_interval", limit_interval, LIMIT_INTERVALS))
    left, right, both = defined_in_both(a, b)
    n_undefined = int(both.size - left.size)
    differences = _percent_of_mean(left, right) if is_percent else left - right
    n = int(differences.size)
    known = LimitsOfAgreement(
        n, n_undefined, int(left.size) - n, is_percent, LIMIT_INTERVALS[limit_interval]
    )
    if n == 0:
        what = "a pair with both values" + (" and a mean above 0" if is_percent else "")
        return replace(known, reason=f"there is not {what}")
    bias = float(differences.mean())
    if n < 2:
        return replace(known, bias=bias, reason=too_few(2, n, "pairs"))
    sd = float(differences.std(ddof=1))
    lower, upper = bias - LIMIT_Z * sd, bias + LIMIT_Z * sd
    known = replace(known, bias=bias, sd=sd, lower=lower, upper=upper)
    if is_constant(differences):
        return replace(known, reason="all differences are equal")
    half = float(scipy.stats.t.ppf((1.0 + CONFIDENCE) / 2.0, n - 1)) * sd / math.sqrt(n)
    inner, outer = _beyond_bias(n, sd, is_exact=limit_interval == "exact")
    return replace(
        known,
        bias_low=bias - half,
        bias_high=bias + half,
        lower_low=bias - outer,
        lower_high=bias - inner,
        upper_low=bias + inner,
        upper_high=bias + outer,
    )


def concordance(a: Sequence[float | None], b: Sequence[float | None]) -> Concordance:
    """Lin's concordance correlation: how near pairs lie to the line of identity.

    2 s_ab / (s_a² + s_b² + (mean a - mean b)²), with variances over n; the
    interval by Fisher's z with Lin's asymptotic variance over n - 2.

    Args:
        a: First values; None or NaN where undefined.
        b: Second values, in the same order.

    Returns:
        Undefined below 3 pairs or if one list is constant.

    Raises:
        DataError: The lists differ in length, or a value is infinite.

    Source: Lin 1989, Biometrics 45(1):255-268, with the correction of the variance
    in Biometrics 56(1):324-325, 2000.
    """
    left, right, both = defined_in_both(a, b)
    n, n_undefined = int(left.size), int(both.size - left.size)
    known = Concordance(n, n_undefined)
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


def _percent_of_mean(a: Floats, b: Floats) -> Floats:
    """Differences in % of the mean of each pair; pairs with mean 0 are left out."""
    smallest = min((float(one.min()) for one in (a, b) if one.size), default=0.0)
    if smallest < 0.0:
        raise DataError(
            "differences in % of the mean need values of at least 0; "
            f"got {smallest:g}. Leave is_percent at False."
        )
    means = (a + b) / 2.0
    kept = means > 0.0
    return np.asarray(100.0 * (a - b)[kept] / means[kept])


def _beyond_bias(n: int, sd: float, *, is_exact: bool) -> tuple[float, float]:
    """Distance from the bias to the inner and the outer end of a limit's interval."""
    tails = ((1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0)
    if is_exact:
        inner, outer = (
            float(scipy.stats.nct.ppf(tail, n - 1, LIMIT_Z * math.sqrt(n))) * sd / math.sqrt(n)
            for tail in tails
        )
        return inner, outer
    t = float(scipy.stats.t.ppf(tails[1], n - 1))
    half = t * sd * math.sqrt(1.0 / n + LIMIT_Z**2 / (2.0 * (n - 1)))
    return LIMIT_Z * sd - half, LIMIT_Z * sd + half
