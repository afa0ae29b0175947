"""Differences within the same patients: two arms, two models, two readers.

Enters: two lists of values, one of each for a structure. Leaves: the mean
difference with its interval and tests. Where a patient has several structures
the patient's mean difference is the observation: treating right and left gland
as independent was rejected, as it halves the p-values for no reason.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from acinus.measure.statistics.bootstrap import SEED, cluster_codes, mean_interval
from acinus.measure.statistics.values import defined_in_both, is_constant, too_few

NO_SPREAD = "all differences are equal"
NO_DIFFERENCE = "all differences are 0"


@dataclass(frozen=True)
class PairedDifference:
    """First minus second value within the same patients.

    Attributes:
        n: Pairs with both values.
        n_undefined: Pairs left out because a value is undefined.
        n_clusters: Patients; all figures below are over one value each.
        mean_a: Mean of the first values over patients; None without pairs.
        mean_b: Mean of the second.
        mean: Mean difference.
        sd: Sample standard deviation (n_clusters - 1) of the differences.
        low: Lower end of the 95% bootstrap interval of the mean, patients resampled.
        high: Upper end.
        t_p: Two-tailed p-value of the paired t-test.
        wilcoxon_p: Two-tailed p-value of Wilcoxon's signed-rank test.
        reason: Why a figure is None; empty if none is.
    """

    n: int
    n_undefined: int
    n_clusters: int
    mean_a: float | None = None
    mean_b: float | None = None
    mean: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    t_p: float | None = None
    wilcoxon_p: float | None = None
    reason: str = ""


def paired_difference(
    a: Sequence[float | None],
    b: Sequence[float | None],
    cluster: Sequence[Hashable] | None = None,
    *,
    seed: int = SEED,
) -> PairedDifference:
    """Mean of `a` minus `b` over patients, with interval and tests.

    Args:
        a: First values; None or NaN where undefined.
        b: Second values, in the same order.
        cluster: Patient of each pair, where one patient has several. By default
            each pair is its own.
        seed: Of the bootstrap.

    Raises:
        DataError: The lists differ in length, or a value is infinite.
    """
    left, right, both = defined_in_both(a, b)
    n, n_undefined = int(left.size), int(both.size - left.size)
    if n == 0:
        return PairedDifference(0, n_undefined, 0, reason="no pair has both values")
    members = None if cluster is None else [c for c, k in zip(cluster, both, strict=True) if k]
    codes, n_clusters = cluster_codes(members, n)
    sizes = np.bincount(codes, minlength=n_clusters)
    firsts = np.bincount(codes, weights=left, minlength=n_clusters) / sizes
    seconds = np.bincount(codes, weights=right, minlength=n_clusters) / sizes
    differences = firsts - seconds
    mean = float(differences.mean())
    known = PairedDifference(
        n, n_undefined, n_clusters, float(firsts.mean()), float(seconds.mean()), mean
    )
    if n_clusters < 2:
        return replace(known, reason=too_few(2, n_clusters, "patients or pairs"))
    low, high = mean_interval(differences, np.arange(n_clusters), n_clusters, seed=seed)
    known = replace(known, sd=float(differences.std(ddof=1)), low=low, high=high)
    if is_constant(differences):
        return replace(known, reason=NO_DIFFERENCE if abs(mean) < 1e-12 else NO_SPREAD)
    return replace(
        known,
        t_p=float(scipy.stats.ttest_1samp(differences, 0.0).pvalue),
        wilcoxon_p=float(scipy.stats.wilcoxon(differences).pvalue),
    )
