"""Differences between two groups of different patients: two centres, two age bands.

Enters: two lists of values, clustered by patient. Leaves: the difference of the
means with its interval, tests and effect size, and the relative drop from the
first group to the second. A patient with several structures counts once, with
their mean.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from acinus.measure.statistics.bootstrap import (
    FEWEST_CLUSTERS,
    SEED,
    cluster_codes,
    percentile_interval,
    resample_counts,
)
from acinus.measure.statistics.groups import two_sample_t
from acinus.measure.statistics.values import Floats, too_few, with_gaps

NO_VALUE = "a group has no value"
NO_DROP = "the mean of the first group is 0, so there is no relative drop"

LARGEST_EXACT_RANKS = 30
"""Most patients of a group for which the distribution of ranks is computed exactly."""

MOST_DIVISIONS = 9999
"""Most ways to divide the patients into two groups that are all tried where there are ties."""


@dataclass(frozen=True)
class UnpairedDifference:
    """First minus second group.

    Attributes:
        n_a: Defined values of the first group.
        n_b: Of the second.
        n_undefined_a: Undefined values of the first group, left out.
        n_undefined_b: Of the second.
        n_clusters_a: Patients of the first group; all figures below are over one value each.
        n_clusters_b: Of the second.
        mean_a: Mean of the first group; None without values.
        mean_b: Of the second.
        mean: Difference of the means.
        low: Lower end of its 95% bootstrap interval, patients resampled in each group.
        high: Upper end.
        drop_percent: 100 (mean_a - mean_b) / mean_a; below 0 where the second is higher.
        drop_low: Lower end of its 95% bootstrap interval.
        drop_high: Upper end.
        welch_p: Two-tailed p-value of Welch's unpaired t-test.
        rank_p: Two-tailed p-value of the Mann-Whitney test.
        rank_method: How `rank_p` is made: ``"exact"``; ``"exact, all divisions permuted"``
            (few patients with ties); ``"normal approximation"``.
        hedges_g: Difference over the pooled standard deviation, times Hedges' factor.
        g_low: Lower end of its 95% bootstrap interval.
        g_high: Upper end.
        reason: Why a figure is None; empty if none is.
    """

    n_a: int
    n_b: int
    n_undefined_a: int
    n_undefined_b: int
    n_clusters_a: int
    n_clusters_b: int
    mean_a: float | None = None
    mean_b: float | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    drop_percent: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    welch_p: float | None = None
    rank_p: float | None = None
    rank_method: str = ""
    hedges_g: float | None = None
    g_low: float | None = None
    g_high: float | None = None
    reason: str = ""


def unpaired_difference(
    a: Sequence[float | None],
    b: Sequence[float | None],
    cluster_a: Sequence[Hashable] | None = None,
    cluster_b: Sequence[Hashable] | None = None,
    *,
    seed: int = SEED,
) -> UnpairedDifference:
    """Mean of `a` minus mean of `b`, over different patients.

    Args:
        a: Values of the first group; None or NaN where undefined.
        b: Of the second.
        cluster_a: Patient of each value of `a`; by default each value is its own.
        cluster_b: Of `b`. Patients of the two groups are different ones, whatever their names.
        seed: Of the bootstrap.

    Returns:
        Tests are undefined below 2 patients in a group or if no group has any spread,
        intervals below `FEWEST_CLUSTERS` patients in a group.

    Raises:
        DataError: A value is infinite.

    Source: Hedges 1981, Journal of Educational Statistics 6(2):107-128.
    """
    left, n_left, n_gaps_left = _patient_values(a, cluster_a)
    right, n_right, n_gaps_right = _patient_values(b, cluster_b)
    known = UnpairedDifference(
        n_left,
        n_right,
        n_gaps_left,
        n_gaps_right,
        int(left.size),
        int(right.size),
        float(left.mean()) if left.size else None,
        float(right.mean()) if right.size else None,
    )
    if not left.size or not right.size:
        return replace(known, reason=NO_VALUE)
    mean_a, mean_b = float(left.mean()), float(right.mean())
    known = replace(known, mean=mean_a - mean_b)
    if mean_a > 0:
        known = replace(known, drop_percent=100 * (1 - mean_b / mean_a))
    if min(left.size, right.size) < 2:
        fewest = min(int(left.size), int(right.size))
        return replace(known, reason=too_few(2, fewest, "patients in each group"))
    counts = resample_counts(left.size, seed=seed), resample_counts(right.size, seed=seed + 1)
    means = counts[0] @ left / left.size, counts[1] @ right / right.size
    fewest = min(int(left.size), int(right.size))
    why = "" if mean_a > 0 else NO_DROP
    if fewest >= FEWEST_CLUSTERS:
        low, high = percentile_interval(means[0] - means[1])
        known = replace(known, low=low, high=high)
    if fewest >= FEWEST_CLUSTERS and mean_a > 0:
        usable = means[0] > 0
        low, high = percentile_interval(100 * (1 - means[1][usable] / means[0][usable]))
        known = replace(known, drop_low=low, drop_high=high)
    t = two_sample_t(left.tolist(), right.tolist())
    if t.reason:
        return replace(known, reason="; ".join(part for part in (why, t.reason) if part))
    rank_p, rank_method = _mann_whitney(left, right)
    known = replace(
        known, welch_p=t.welch_p, rank_p=rank_p, rank_method=rank_method, hedges_g=_g(left, right)
    )
    if fewest < FEWEST_CLUSTERS:
        more = "an interval " + too_few(FEWEST_CLUSTERS, fewest, "patients in each group")
        return replace(known, reason="; ".join(part for part in (why, more) if part))
    g_low, g_high = _g_interval(left, right, counts)
    return replace(known, g_low=g_low, g_high=g_high, reason=why)


def _patient_values(
    values: Sequence[float | None], cluster: Sequence[Hashable] | None
) -> tuple[Floats, int, int]:
    """Mean of each patient's defined values, how many are defined, and how many are not."""
    given = with_gaps(values)
    kept = ~np.isnan(given)
    found = given[kept]
    members = None if cluster is None else [c for c, k in zip(cluster, kept, strict=True) if k]
    codes, n_clusters = cluster_codes(members, int(found.size))
    sizes = np.bincount(codes, minlength=n_clusters)
    means = np.bincount(codes, weights=found, minlength=n_clusters) / sizes
    return means, int(found.size), int(given.size - found.size)


def _mann_whitney(a: Floats, b: Floats) -> tuple[float, str]:
    """p-value and its kind."""
    pooled = np.concatenate([a, b])
    has_ties = np.unique(pooled).size < pooled.size
    if not has_ties and max(a.size, b.size) <= LARGEST_EXACT_RANKS:
        method, name = "exact", "exact"
    elif has_ties and math.comb(pooled.size, a.size) <= MOST_DIVISIONS:
        method = scipy.stats.PermutationMethod(n_resamples=MOST_DIVISIONS)
        name = "exact, all divisions permuted"
    else:
        method, name = "asymptotic", "normal approximation"
    return float(scipy.stats.mannwhitneyu(a, b, method=method).pvalue), name


def _factor(df: int) -> float:
    """Hedges' factor for few observations."""
    half = df / 2.0
    return math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)


def _g(a: Floats, b: Floats) -> float:
    df = int(a.size + b.size) - 2
    pooled = math.sqrt((float(a.var()) * a.size + float(b.var()) * b.size) / df)
    return _factor(df) * float(a.mean() - b.mean()) / pooled


def _g_interval(a: Floats, b: Floats, counts: tuple[Floats, Floats]) -> tuple[float, float]:
    """95% interval of g from the resamples of both groups; those without spread are left out."""
    df = int(a.size + b.size) - 2
    squares = np.zeros(counts[0].shape[0])
    means = []
    for values, drawn in zip((a, b), counts, strict=True):
        centered = values - values.mean()
        shifts = drawn @ centered / values.size
        squares += drawn @ centered**2 - values.size * shifts**2
        means.append(shifts + float(values.mean()))
    variances = squares / df
    has_spread = variances > 1e-12 * max(float(a.var()), float(b.var()))
    estimates = (means[0] - means[1])[has_spread] / np.sqrt(variances[has_spread])
    return percentile_interval(_factor(df) * estimates)
