"""What can be said about one list of values: mean, spread, interval, normality.

Enters: values of a measure, one per case, undefined ones as None. Leaves: a
`Summary` over the defined ones that counts the undefined ones beside it.
Replacing undefined values by a worst value was rejected: for distances there
is none, and each choice of one makes another mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy

from acinus.measure.statistics.bootstrap import (
    FEWEST_CLUSTERS,
    SEED,
    cluster_codes,
    mean_interval,
)
from acinus.measure.statistics.values import Floats, defined, is_constant, too_few, with_gaps

CONSTANT = "all values are equal"


@dataclass(frozen=True)
class Normality:
    """Shapiro-Wilk test of one list of values.

    Attributes:
        n: Defined values.
        w: Statistic in (0, 1], near 1 for normal values; None if undefined.
        p: Probability of a smaller W if the values were normal.
        reason: Why it is undefined; empty if it is defined.
    """

    n: int
    w: float | None = None
    p: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Summary:
    """Description of the defined values of a list.

    Attributes:
        n: Defined values; all figures below are over these.
        n_undefined: Undefined values, left out.
        mean: Arithmetic mean.
        sd: Sample standard deviation (n - 1).
        median: 50th percentile.
        q25: 25th percentile, linear between order statistics.
        q75: 75th percentile.
        low: Lower end of the 95% bootstrap interval of the mean.
        high: Upper end.
        shapiro_w: Statistic of the Shapiro-Wilk test, of one value a patient, their mean.
        shapiro_p: Its p-value.
        reasons: Figure to reason, for each figure that is None.
    """

    n: int
    n_undefined: int
    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    q25: float | None = None
    q75: float | None = None
    low: float | None = None
    high: float | None = None
    shapiro_w: float | None = None
    shapiro_p: float | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


def shapiro_wilk(values: Iterable[float | None]) -> Normality:
    """Shapiro-Wilk test of the defined values; undefined below 3 or if all are equal.

    Source: Shapiro and Wilk 1965, Biometrika 52(3-4):591-611; SciPy's AS R94.
    """
    return _shapiro_wilk(defined(values))


def summarise(
    values: Iterable[float | None],
    *,
    cluster: Sequence[Hashable] | None = None,
    seed: int = SEED,
) -> Summary:
    """Mean, spread, quartiles, bootstrap interval and normality of the defined values.

    Args:
        values: One per case; None or NaN where undefined.
        cluster: Patient of each value, where one patient has several: the
            interval then resamples patients, and the test of normality takes the mean of each.
            By default each value is its own.
        seed: Of the bootstrap.

    Returns:
        A summary whose figures are None, with reasons, where they cannot be
        computed: all without values, `sd`, interval and normality with too few.

    Raises:
        DataError: A value is infinite.
    """
    given = with_gaps(values)
    kept = ~np.isnan(given)
    found = given[kept]
    n, n_undefined = int(found.size), int(given.size - found.size)
    if n == 0:
        figures = ("mean", "sd", "median", "q25", "q75", "low", "high", "shapiro_w", "shapiro_p")
        why = "no values" if n_undefined == 0 else f"all {n_undefined} values are undefined"
        return Summary(0, n_undefined, reasons=dict.fromkeys(figures, why))
    reasons: dict[str, str] = {}
    if n < 2:
        reasons["sd"] = too_few(2, n)
    members = None if cluster is None else [c for c, k in zip(cluster, kept, strict=True) if k]
    codes, n_clusters = cluster_codes(members, n)
    low, high = None, None
    if n_clusters < FEWEST_CLUSTERS:
        why = "an interval " + too_few(FEWEST_CLUSTERS, n_clusters, "patients or values")
        reasons |= dict.fromkeys(("low", "high"), why)
    else:
        low, high = mean_interval(found, codes, n_clusters, seed=seed)
    sizes = np.bincount(codes, minlength=n_clusters)
    normality = _shapiro_wilk(np.bincount(codes, weights=found, minlength=n_clusters) / sizes)
    if normality.reason:
        reasons |= dict.fromkeys(("shapiro_w", "shapiro_p"), normality.reason)
    q25, median, q75 = (float(q) for q in np.percentile(found, [25, 50, 75]))
    return Summary(
        n=n,
        n_undefined=n_undefined,
        mean=float(found.mean()),
        sd=float(found.std(ddof=1)) if n > 1 else None,
        median=median,
        q25=q25,
        q75=q75,
        low=low,
        high=high,
        shapiro_w=normality.w,
        shapiro_p=normality.p,
        reasons=reasons,
    )


def _shapiro_wilk(values: Floats) -> Normality:
    n = int(values.size)
    if n < 3:
        return Normality(n, reason=too_few(3, n))
    if is_constant(values):
        return Normality(n, reason=CONSTANT)
    result = scipy.stats.shapiro(values)
    return Normality(n, w=float(result.statistic), p=float(result.pvalue))
