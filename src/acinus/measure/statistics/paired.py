"""Differences within the same patients: two arms, two models, two readers.

Enters: two lists of values, one of each for a structure. Leaves: the mean
difference with its intervals, tests and effect size. Where a patient has several structures
the patient's mean difference is the observation: treating right and left gland
as independent was rejected, as it halves the p-values for no reason.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from acinus.measure.statistics.bootstrap import (
    CONFIDENCE,
    FEWEST_CLUSTERS,
    SEED,
    cluster_codes,
    percentile_interval,
    resample_counts,
)
from acinus.measure.statistics.values import Floats, defined_in_both, is_constant, too_few

NO_SPREAD = "all differences are equal"
NO_DIFFERENCE = "all differences are 0"
NO_PAIR = "no pair has both values"

FEWEST_FOR_EFFECT = 4
"""Fewest patients for the interval of an effect size; resamples of fewer often lack spread."""

LARGEST_EXACT_WILCOXON = 50
"""Most differences whose signed-rank distribution is computed exactly."""

LARGEST_PERMUTED_WILCOXON = 13
"""Most differences of which, with ties or zeros, all signs are permuted."""


@dataclass(frozen=True)
class PairedEffect:
    """Size of a paired difference in standard deviations of the differences.

    Attributes:
        dz: Cohen's d_z, mean over sample standard deviation; None if undefined.
        hedges_g: d_z times Hedges' factor for few observations, which removes its bias.
        low: Lower end of the 95% bootstrap interval of `hedges_g`, patients resampled.
        high: Upper end.
        reason: Why a figure is None; empty if none is.
    """

    dz: float | None = None
    hedges_g: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


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
        t_low: Lower end of the 95% interval of the mean by t.
        t_high: Upper end.
        wilcoxon_method: How `wilcoxon_p` is made: ``"exact"``; ``"exact, all signs
            permuted"`` (few differences with ties or zeros); ``"normal approximation"``.
        effect: The difference in standard deviations, with its own reason.
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
    t_low: float | None = None
    t_high: float | None = None
    wilcoxon_method: str = ""
    effect: PairedEffect = PairedEffect(reason=NO_PAIR)


@dataclass(frozen=True)
class PatientMeans:
    """First and second value of each patient, means over the pairs with both values.

    Attributes:
        first: (n_clusters,) float64.
        second: (n_clusters,) float64.
        n: Pairs with both values.
        n_undefined: Pairs left out.
    """

    first: Floats
    second: Floats
    n: int
    n_undefined: int


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
    patients = patient_means(a, b, cluster)
    n, n_undefined, n_clusters = patients.n, patients.n_undefined, int(patients.first.size)
    if n == 0:
        return PairedDifference(0, n_undefined, 0, reason=NO_PAIR)
    differences = patients.first - patients.second
    mean = float(differences.mean())
    known = PairedDifference(
        n,
        n_undefined,
        n_clusters,
        float(patients.first.mean()),
        float(patients.second.mean()),
        mean,
    )
    if n_clusters < 2:
        why = too_few(2, n_clusters, "patients or pairs")
        return replace(known, reason=why, effect=PairedEffect(reason=why))
    counts = resample_counts(n_clusters, seed=seed)
    sd = float(differences.std(ddof=1))
    known = replace(known, sd=sd, effect=_effect(differences, counts))
    if is_constant(differences):
        return replace(known, reason=_lack_of_spread(differences))
    if n_clusters < FEWEST_CLUSTERS:
        why = "a bootstrap interval " + too_few(FEWEST_CLUSTERS, n_clusters, "patients or pairs")
        known = replace(known, reason=why)
    else:
        low, high = percentile_interval(counts @ differences / n_clusters)
        known = replace(known, low=low, high=high)
    half = float(scipy.stats.t.ppf((1.0 + CONFIDENCE) / 2.0, n_clusters - 1)) * sd
    half /= math.sqrt(n_clusters)
    wilcoxon_p, wilcoxon_method = _wilcoxon(differences)
    return replace(
        known,
        t_p=float(scipy.stats.ttest_1samp(differences, 0.0).pvalue),
        t_low=mean - half,
        t_high=mean + half,
        wilcoxon_p=wilcoxon_p,
        wilcoxon_method=wilcoxon_method,
    )


def patient_means(
    a: Sequence[float | None],
    b: Sequence[float | None],
    cluster: Sequence[Hashable] | None = None,
) -> PatientMeans:
    """First and second value of each patient, over the pairs with both values.

    Args:
        a: First values; None or NaN where undefined.
        b: Second values, in the same order.
        cluster: Patient of each pair; by default each pair is its own.

    Raises:
        DataError: The lists differ in length, or a value is infinite.
    """
    left, right, both = defined_in_both(a, b)
    n = int(left.size)
    members = None if cluster is None else [c for c, k in zip(cluster, both, strict=True) if k]
    codes, n_clusters = cluster_codes(members, n)
    sizes = np.bincount(codes, minlength=n_clusters)
    first, second = (
        np.bincount(codes, weights=one, minlength=n_clusters) / sizes for one in (left, right)
    )
    return PatientMeans(first, second, n, int(both.size) - n)


def paired_effect(differences: Floats, *, seed: int = SEED) -> PairedEffect:
    """Cohen's d_z and Hedges' g of differences, one a patient.

    d_z = mean / sd; g = J d_z with J = Γ(m/2) / (√(m/2) Γ((m - 1)/2)) and m = n - 1.

    Args:
        differences: (n,) float64, defined.
        seed: Of the bootstrap.

    Returns:
        Undefined below 3 differences or if all are equal; no interval below
        `FEWEST_FOR_EFFECT`. Resamples without spread are left out.

    Source: Hedges 1981, Journal of Educational Statistics 6(2):107-128; Lakens 2013,
    Frontiers in Psychology 4:863.
    """
    return _effect(differences, resample_counts(max(1, differences.size), seed=seed))


def _lack_of_spread(differences: Floats) -> str:
    """Reason for a test of differences that are all equal."""
    return NO_DIFFERENCE if abs(float(differences.mean())) < 1e-12 else NO_SPREAD


def _effect(differences: Floats, counts: Floats) -> PairedEffect:
    """Effect size of differences (n,) with the interval from resamples (resamples, n)."""
    n = int(differences.size)
    if n < 3:
        return PairedEffect(reason=too_few(3, n, "patients or pairs"))
    if is_constant(differences):
        return PairedEffect(reason=_lack_of_spread(differences))
    dz = float(differences.mean() / differences.std(ddof=1))
    half = (n - 1) / 2.0
    unbiased = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
    known = PairedEffect(dz, unbiased * dz)
    if n < FEWEST_FOR_EFFECT:
        why = "an interval " + too_few(FEWEST_FOR_EFFECT, n, "patients or pairs")
        return replace(known, reason=why)
    scale = float(differences.std())
    centered = (differences - differences.mean()) / scale
    shifts = counts @ centered / n
    variances = (counts @ centered**2 - n * shifts**2) / (n - 1)
    means = shifts + float(differences.mean()) / scale
    has_spread = variances > 1e-12
    estimates = unbiased * means[has_spread] / np.sqrt(variances[has_spread])
    low, high = percentile_interval(estimates)
    return replace(known, low=low, high=high)


def _wilcoxon(differences: Floats) -> tuple[float, str]:
    """p-value and its kind; zeros are dropped, as Wilcoxon did."""
    sizes = np.abs(differences)
    is_plain = bool((sizes > 0).all()) and np.unique(sizes).size == sizes.size
    if is_plain and sizes.size <= LARGEST_EXACT_WILCOXON:
        method, name = "exact", "exact"
    elif not is_plain and sizes.size <= LARGEST_PERMUTED_WILCOXON:
        method, name = scipy.stats.PermutationMethod(), "exact, all signs permuted"
    else:
        method, name = "asymptotic", "normal approximation"
    return float(scipy.stats.wilcoxon(differences, method=method).pvalue), name
