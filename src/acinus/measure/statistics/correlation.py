"""Correlation of two measured quantities, naive and with patients as clusters.

Enters: paired values, e.g. reference and predicted volume of each gland.
Leaves: Pearson's r with p-values and intervals. Published studies treat the
right and left gland of a patient as two patients; that p-value is given for
comparison, beside the one that does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from acinus.measure.statistics.bootstrap import (
    CONFIDENCE,
    FEWEST_CLUSTERS,
    SEED,
    cluster_codes,
    percentile_interval,
    resampled_sums,
)
from acinus.measure.statistics.values import Floats, defined_in_both, is_constant, too_few


@dataclass(frozen=True)
class Correlation:
    """Pearson correlation of pairs taken as independent.

    Attributes:
        n: Pairs with both values.
        r: Correlation in [-1, 1]; None if undefined.
        p: Two-tailed p-value of r = 0.
        low: Lower end of the 95% interval (Fisher's z); None below 4 pairs.
        high: Upper end.
        reason: Why a figure is None; empty if none is.
    """

    n: int
    r: float | None = None
    p: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class ClusteredCorrelation:
    """Pearson correlation of pairs of which several belong to one patient.

    Attributes:
        n: Pairs with both values.
        n_clusters: Patients.
        r: Correlation of all pairs in [-1, 1]; None if undefined.
        p_naive: Two-tailed p-value as if all pairs were independent.
        p_clustered: Two-tailed p-value of the slope of the second quantity on
            the first, with cluster-robust variance and t with G - 1 degrees of
            freedom.
        low: Lower end of the 95% interval of r, patients resampled.
        high: Upper end.
        reason: Why a figure is None; empty if none is.
    """

    n: int
    n_clusters: int
    r: float | None = None
    p_naive: float | None = None
    p_clustered: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def pearson(x: Sequence[float | None], y: Sequence[float | None]) -> Correlation:
    """Pearson correlation of the pairs with both values.

    Raises:
        DataError: The lists differ in length, or a value is infinite.
    """
    left, right, _ = defined_in_both(x, y)
    return _pearson(left, right)


def clustered_pearson(
    x: Sequence[float | None],
    y: Sequence[float | None],
    cluster: Sequence[Hashable],
    *,
    seed: int = SEED,
) -> ClusteredCorrelation:
    """Pearson correlation with a p-value and an interval that respect the patients.

    Args:
        x: First quantity, e.g. reference volume; None or NaN where undefined.
        y: Second quantity, e.g. predicted volume.
        cluster: Patient of each pair.
        seed: Of the bootstrap.

    Returns:
        r is that of all pairs; p-value and interval take whole patients as the
        independent observations.

    Raises:
        DataError: The lists differ in length, or a value is infinite.

    Source: Cameron and Miller 2015, Journal of Human Resources 50(2):317-372
    (cluster-robust variance with few clusters).
    """
    left, right, both = defined_in_both(x, y)
    members = [one for one, kept in zip(cluster, both, strict=True) if kept]
    n = int(left.size)
    codes, n_clusters = cluster_codes(members, n)
    naive = _pearson(left, right)
    if naive.r is None or n_clusters < FEWEST_CLUSTERS:
        reason = (
            naive.reason if naive.r is None else too_few(FEWEST_CLUSTERS, n_clusters, "patients")
        )
        return ClusteredCorrelation(n, n_clusters, naive.r, naive.p, reason=reason)
    low, high = _cluster_interval(left, right, codes, n_clusters, seed)
    return ClusteredCorrelation(
        n, n_clusters, naive.r, naive.p, _cluster_robust_p(left, right, codes), low, high
    )


def _pearson(x: Floats, y: Floats) -> Correlation:
    n = int(x.size)
    if n < 3:
        return Correlation(n, reason=too_few(3, n, "pairs"))
    if is_constant(x) or is_constant(y):
        which = "first" if is_constant(x) else "second"
        return Correlation(n, reason=f"all values of the {which} quantity are equal")
    result = scipy.stats.pearsonr(x, y)
    r, p = float(result.statistic), float(result.pvalue)
    if n < 4:
        return Correlation(n, r, p, reason="an interval " + too_few(4, n, "pairs"))
    interval = result.confidence_interval(CONFIDENCE)
    return Correlation(n, r, p, float(interval.low), float(interval.high))


def _cluster_robust_p(x: Floats, y: Floats, codes: NDArray[np.intp]) -> float:
    """p of the slope of y on x: robust variance times G/(G-1)·(n-1)/(n-2), t with G - 1 df."""
    from statsmodels.api import OLS, add_constant

    slope_only = (x - x.mean()) / x.std()
    scaled = (y - y.mean()) / y.std()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a perfect line divides by a residual of 0; p is then 0
        fit = OLS(scaled, add_constant(slope_only)).fit(
            cov_type="cluster",
            cov_kwds={"groups": codes, "use_correction": True, "df_correction": True},
            use_t=True,
        )
        p = float(fit.pvalues[1])
    return p if np.isfinite(p) else 0.0


def _cluster_interval(
    x: Floats, y: Floats, codes: NDArray[np.intp], n_clusters: int, seed: int
) -> tuple[float | None, float | None]:
    """Percentile interval of r when whole patients are resampled.

    Resamples without spread have no r and are left out.
    """
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    n, sx, sy, sxx, syy, sxy = resampled_sums(terms, codes, n_clusters, seed=seed)
    spread = (sxx - sx * sx / n) * (syy - sy * sy / n)
    usable = spread > 1e-18
    r = (sxy - sx * sy / n)[usable] / np.sqrt(spread[usable])
    return percentile_interval(np.clip(r, -1.0, 1.0)) if r.size else (None, None)
