"""Bootstrap intervals by resampling whole clusters (patients), seeded.

Enters: a value per observation and the cluster it belongs to. Leaves: the
percentile interval of a statistic. Resampling single glands was rejected where
one patient has two: their values go together, and the interval would be too
narrow. The percentile method is plain and stated; with fewer than about ten
clusters it is somewhat too narrow as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 5000
"""Bootstrap resamples; the interval's ends then repeat to about a hundredth of its width."""

CONFIDENCE = 0.95
"""Coverage that intervals aim at."""

SEED = 2018
"""Seed of the resampling unless another is given."""

FEWEST_CLUSTERS = 4
"""Fewest patients for a bootstrap interval; that of the mean of two or three patients reaches from
the least to the greatest and holds the truth in one half or three quarters of the studies."""

CLUSTER_BOOTSTRAP = f"percentile bootstrap of whole clusters, {N_RESAMPLES} resamples"
"""How intervals of clustered values are made, in words."""

Floats = NDArray[np.float64]


def cluster_codes(cluster: Sequence[Hashable] | None, n: int) -> tuple[NDArray[np.intp], int]:
    """Number of the cluster of each of `n` observations, and how many clusters there are.

    Without clusters each observation is its own.
    """
    if cluster is None:
        return np.arange(n), n
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(one, len(numbers)) for one in cluster]
    return np.asarray(codes, dtype=np.intp), len(numbers)


def are_alone(codes: NDArray[np.intp], n_clusters: int) -> bool:
    """Whether each cluster has one observation, so that formulas for independent ones hold."""
    return int(codes.size) == n_clusters


def resampled_sums(terms: Floats, codes: NDArray[np.intp], n_clusters: int, *, seed: int) -> Floats:
    """Sum of each term over the observations of every resample, (terms, resamples).

    The terms are added up once per cluster; a resample then is a weighted sum over clusters.

    Args:
        terms: (n, terms) of the observations.
        codes: (n,) number of each observation's cluster.
        n_clusters: How many clusters there are.
        seed: Of the resampling.
    """
    sums = np.zeros((n_clusters, terms.shape[1]))
    np.add.at(sums, codes, terms)
    return np.asarray((resample_counts(n_clusters, seed=seed) @ sums).T)


def resample_counts(n_clusters: int, *, seed: int, n_resamples: int = N_RESAMPLES) -> Floats:
    """How often each cluster is drawn in each resample, (resamples, clusters)."""
    draws = np.random.default_rng(seed).multinomial(
        n_clusters, np.full(n_clusters, 1.0 / n_clusters), size=n_resamples
    )
    return draws.astype(np.float64)


def mean_interval(
    values: Floats, codes: NDArray[np.intp], n_clusters: int, *, seed: int
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (n,) when whole clusters are resampled."""
    sums = np.bincount(codes, weights=values, minlength=n_clusters)
    sizes = np.bincount(codes, minlength=n_clusters).astype(np.float64)
    counts = resample_counts(n_clusters, seed=seed)
    return percentile_interval((counts @ sums) / (counts @ sizes))


def resampled_means(values: Floats, *, seed: int) -> Floats:
    """Mean of `values` (n,), one a cluster, in each resample, (resamples,)."""
    return (resample_counts(values.size, seed=seed) @ values) / values.size


def percentile_interval(estimates: Floats) -> tuple[float, float]:
    """Central interval of the resampled estimates (resamples,) at `CONFIDENCE`."""
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.percentile(estimates, [tail, 100.0 - tail])
    return float(low), float(high)
