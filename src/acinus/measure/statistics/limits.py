"""Bland and Altman's limits of agreement, of pairs that are independent or of few patients.

Enters: paired values, and the patient of each where one patient has several. Leaves: bias and
limits with intervals. Pooling both glands of a patient as two patients was rejected: the interval
of the bias would narrow by copies of the same person.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from acinus.errors import ConfigError, DataError, unknown_name
from acinus.measure.statistics.bootstrap import CONFIDENCE, are_alone, cluster_codes
from acinus.measure.statistics.values import Floats, defined_in_both, is_constant, too_few

LIMIT_Z = 1.96
"""Limits of agreement lie this many standard deviations from the bias (Bland and Altman)."""

LIMIT_INTERVALS = {
    "exact": "exact, noncentral t (Carkeet 2015)",
    "approximate": "approximate, t (Bland and Altman 1999)",
}
"""How the interval of a limit of agreement is made."""

CLUSTERED_LIMITS = "clustered, MOVER (Zou 2013)"
"""The same where a cluster has several pairs."""


@dataclass(frozen=True)
class LimitsOfAgreement:
    """Bland and Altman's analysis of first minus second values.

    Attributes:
        n: Pairs the figures are over.
        n_undefined: Pairs left out because a value is undefined.
        n_mean_zero: Pairs left out because their mean is 0; only of percentages.
        n_clusters: Patients that the pairs are of; as many as pairs where nothing else is said.
        is_percent: Whether differences are in % of the pair's mean, otherwise in
            the unit of the values.
        method: How the intervals of the limits are made, in words.
        bias: Mean difference, a patient counting once; None without pairs.
        bias_low: Lower end of its 95% interval (t).
        bias_high: Upper end.
        sd: Standard deviation of a single difference: of the sample (n - 1), or, where patients
            have several pairs, from its parts between and within patients; None below 2 patients.
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
    n_clusters: int
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


def limits_of_agreement(
    a: Sequence[float | None],
    b: Sequence[float | None],
    cluster: Sequence[Hashable] | None = None,
    *,
    is_percent: bool = False,
    limit_interval: Literal["exact", "approximate"] = "exact",
) -> LimitsOfAgreement:
    """Bias and limits of agreement of `a` minus `b`, with intervals.

    Bias d ± t s/√n; limits d ± 1.96 s. Exact ends of a limit's interval are
    d ± s q/√n with q a quantile of the noncentral t with n - 1 degrees of freedom
    and noncentrality 1.96 √n; the approximate ones are the limit ±
    t s √(1/n + 1.96²/(2(n - 1))).

    Where one of G patients has several pairs, d is the mean of the patients' means, whose
    deviation s_B gives the bias d ± t s_B/√G with G - 1 degrees of freedom, and a single
    difference has the variance s² = s_B² + (1 - 1/m) s_W², with m the harmonic mean of the
    pairs of a patient and s_W² the variance within patients. The interval of a limit joins those
    of d and s (MOVER); s_W² has a degree of freedom for each patient whose differences vary, which
    is fewer than in the source, so that copies of a patient's pairs never narrow an interval.

    Args:
        a: First values, e.g. predicted volumes; None or NaN where undefined.
        b: Second values, in the same order.
        cluster: Patient of each pair, where one patient has several. By default each pair is
            its own.
        is_percent: Whether to take each difference in % of the mean of its pair,
            for quantities >= 0 whose differences grow with their size.
        limit_interval: Key of `LIMIT_INTERVALS`, where no patient has several pairs.

    Returns:
        Only the bias with one patient; no intervals if all differences are equal.

    Raises:
        ConfigError: The kind of interval is not known.
        DataError: The lists differ in length, a value is infinite, or one is
            negative where percentages are wanted.

    Source: Bland and Altman 1986, Lancet 327:307-310, and 1999, Statistical Methods
    in Medical Research 8(2):135-160; Carkeet 2015, Optometry and Vision Science
    92(3):e71-80; several pairs a patient: Bland and Altman 2007, J Biopharm Stat
    17(4):571-582, and Zou 2013, Statistical Methods in Medical Research 22(6):630-642.
    """
    if limit_interval not in LIMIT_INTERVALS:
        raise ConfigError(unknown_name("limit_interval", limit_interval, LIMIT_INTERVALS))
    left, right, both = defined_in_both(a, b)
    n_undefined = int(both.size - left.size)
    usable = (left + right > 0.0) | (not is_percent)
    differences = _percent_of_mean(left, right) if is_percent else left - right
    differences = differences[usable]
    n = int(differences.size)
    members = None if cluster is None else [c for c, k in zip(cluster, both, strict=True) if k]
    if members is not None:
        members = [c for c, k in zip(members, usable, strict=True) if k]
    codes, n_clusters = cluster_codes(members, n)
    known = LimitsOfAgreement(
        n,
        n_undefined,
        int(left.size) - n,
        n_clusters,
        is_percent,
        LIMIT_INTERVALS[limit_interval] if are_alone(codes, n_clusters) else CLUSTERED_LIMITS,
    )
    if n == 0:
        what = "a pair with both values" + (" and a mean above 0" if is_percent else "")
        return replace(known, reason=f"there is not {what}")
    means, sizes = _cluster_means(differences, codes, n_clusters)
    bias = float(means.mean())
    if n_clusters < 2:
        what = "pairs" if n == 1 else "patients"
        return replace(known, bias=bias, reason=too_few(2, n_clusters, what))
    sd_means = float(means.std(ddof=1))
    apart = (differences - means[codes]) ** 2
    within = (1.0 - float((1.0 / sizes).mean())) * float(apart.sum()) / max(1, n - n_clusters)
    sd = math.sqrt(sd_means**2 + within)
    lower, upper = bias - LIMIT_Z * sd, bias + LIMIT_Z * sd
    known = replace(known, bias=bias, sd=sd, lower=lower, upper=upper)
    if is_constant(differences):
        return replace(known, reason="all differences are equal")
    t = float(scipy.stats.t.ppf((1.0 + CONFIDENCE) / 2.0, n_clusters - 1))
    half = t * sd_means / math.sqrt(n_clusters)
    if are_alone(codes, n_clusters):
        inner, outer = _beyond_bias(n, sd, is_exact=limit_interval == "exact")
    else:
        varied = np.bincount(codes, weights=apart) > (1e-12 * sd) ** 2
        parts = ((sd_means**2, n_clusters - 1), (within, max(1, int(varied.sum()))))
        low, high = _ends_of_sd(parts)
        inner = LIMIT_Z * sd - math.hypot(half, LIMIT_Z * (sd - low))
        outer = LIMIT_Z * sd + math.hypot(half, LIMIT_Z * (high - sd))
    return replace(
        known,
        bias_low=bias - half,
        bias_high=bias + half,
        lower_low=bias - outer,
        lower_high=bias - inner,
        upper_low=bias + inner,
        upper_high=bias + outer,
    )


def _percent_of_mean(a: Floats, b: Floats) -> Floats:
    """Differences in % of the mean of each pair; NaN for pairs with mean 0."""
    smallest = min((float(one.min()) for one in (a, b) if one.size), default=0.0)
    if smallest < 0.0:
        raise DataError(
            "differences in % of the mean need values of at least 0; "
            f"got {smallest:g}. Leave is_percent at False."
        )
    means = (a + b) / 2.0
    return np.asarray(100.0 * (a - b) / np.where(means > 0.0, means, np.nan))


def _cluster_means(
    values: Floats, codes: NDArray[np.intp], n_clusters: int
) -> tuple[Floats, Floats]:
    """Mean and number of the values of each cluster, both (n_clusters,)."""
    sizes = np.bincount(codes, minlength=n_clusters).astype(np.float64)
    return np.bincount(codes, weights=values, minlength=n_clusters) / sizes, sizes


def _ends_of_sd(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """95% interval of the root of a sum of variances, from each and its degrees of freedom."""
    total = sum(variance for variance, _ in parts)
    down, up = (
        math.hypot(*(v * (1.0 - df / float(scipy.stats.chi2.ppf(tail, df))) for v, df in parts))
        for tail in ((1.0 + CONFIDENCE) / 2.0, (1.0 - CONFIDENCE) / 2.0)
    )
    return math.sqrt(max(0.0, total - down)), math.sqrt(total + up)


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
