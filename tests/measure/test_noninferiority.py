"""Non-inferiority and effect sizes against SciPy, hand computation and plain resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy

from acinus.errors import ConfigError
from acinus.measure.statistics import (
    noninferiority,
    paired_difference,
    paired_effect,
)


def agreements(rng, shift, n=30, sd=0.02):
    readers = rng.normal(0.80, 0.05, n)
    return readers + rng.normal(shift, sd, n), readers


@pytest.mark.parametrize(
    ("shift", "sd", "verdict"),
    [(0.0, 0.02, "not inferior"), (-0.1, 0.02, "inferior"), (-0.05, 0.05, "undecided")],
)
def test_verdicts(rng, shift, sd, verdict):
    model, readers = agreements(rng, shift, sd=sd)
    found = noninferiority(model, readers, margin=0.05)
    assert found.verdict == verdict
    assert (found.margin, found.n, found.n_clusters, found.reason) == (0.05, 30, 30, "")


def test_p_and_interval_equal_scipy(rng):
    model, readers = agreements(rng, -0.03)
    found = noninferiority([*model, None], [*readers, 0.8], margin=0.05)
    expected = scipy.stats.ttest_1samp(model - readers, -0.05, alternative="greater")
    ends = scipy.stats.ttest_1samp(model - readers, 0.0).confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert (found.tested_mean, found.reference_mean) == pytest.approx(
        (model.mean(), readers.mean())
    )
    assert found.mean == pytest.approx((model - readers).mean())
    assert found.n_undefined == 1


@pytest.mark.parametrize("margin", [0.031, 0.034, 0.037, 0.04])
def test_p_and_interval_decide_alike(rng, margin):
    model, readers = agreements(rng, -0.03)
    found = noninferiority(model, readers, margin=margin)
    assert (found.low > -margin) == (found.p < 0.025)
    assert (found.bootstrap_low > -margin) == (found.bootstrap_p < 0.025)


def test_a_wider_margin_never_makes_a_model_inferior(rng):
    model, readers = agreements(rng, -0.03, sd=0.05)
    order = ["inferior", "undecided", "not inferior"]
    ranks = [
        order.index(noninferiority(model, readers, margin=margin).verdict)
        for margin in (0.001, 0.01, 0.03, 0.05, 0.2)
    ]
    assert ranks == sorted(ranks) and ranks[-1] == 2


def test_distances_are_turned_round(rng):
    model, readers = agreements(rng, -0.03)
    dice = noninferiority(model, readers, margin=0.05)
    distance = noninferiority(-model, -readers, margin=0.05, higher_is_better=False)
    assert distance.verdict == dice.verdict
    assert (distance.mean, distance.p) == pytest.approx((dice.mean, dice.p))
    assert distance.tested_mean == pytest.approx(-dice.tested_mean)


def test_patients_with_two_glands_count_once(rng):
    model, readers = agreements(rng, -0.02, n=12)
    once = noninferiority(model, readers, margin=0.05)
    twice = noninferiority(
        np.repeat(model, 2), np.repeat(readers, 2), np.repeat(np.arange(12), 2), margin=0.05
    )
    assert (twice.n, twice.n_clusters) == (24, 12)
    assert (twice.p, twice.low, twice.bootstrap_low) == pytest.approx(
        (once.p, once.low, once.bootstrap_low)
    )


def test_few_cases_are_undecided_not_equal(rng):
    """Four cases without a significant difference prove nothing."""
    model = [0.70, 0.82, 0.66, 0.80]
    readers = [0.80, 0.80, 0.79, 0.81]
    assert paired_difference(model, readers).t_p > 0.05
    assert noninferiority(model, readers, margin=0.05).verdict == "undecided"


@pytest.mark.parametrize(
    ("model", "readers", "reason"),
    [
        ([], [], "no pair has both values"),
        ([0.8], [0.8], "needs at least 2 patients or pairs; got 1"),
        ([0.8, 0.7], [0.8, 0.7], "all differences are 0"),
    ],
)
def test_undefined_is_undecided_with_a_reason(model, readers, reason):
    found = noninferiority(model, readers, margin=0.05)
    assert (found.verdict, found.p, found.reason) == ("undecided", None, reason)


@pytest.mark.parametrize("margin", [0.0, -0.05, math.inf, math.nan])
def test_a_margin_must_be_positive(margin):
    with pytest.raises(ConfigError, match="margin must be a finite number above 0"):
        noninferiority([0.8], [0.8], margin=margin)


def test_effect_size_by_hand(rng):
    differences = rng.normal(0.3, 1.0, 18)
    found = paired_effect(differences)
    assert found.dz == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert found.dz == pytest.approx(
        scipy.stats.ttest_1samp(differences, 0.0).statistic / math.sqrt(18)
    )
    assert found.hedges_g == pytest.approx(found.dz * (1 - 3 / (4 * 17 - 1)), rel=1e-3)
    assert found.low < found.hedges_g < found.high


def test_interval_of_the_effect_equals_resampling_rows(rng):
    differences = rng.normal(0.5, 1.0, 20)
    found = paired_effect(differences)
    rows = differences[np.random.default_rng(4).integers(0, 20, (4000, 20))]
    drawn = rows.mean(axis=1) / rows.std(axis=1, ddof=1) * found.hedges_g / found.dz
    low, high = np.percentile(drawn, [2.5, 97.5])
    width = high - low
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * width)


def test_laws_of_the_effect_size(rng):
    differences = rng.normal(0.5, 1.0, 20)
    found = paired_effect(differences)
    scaled, turned = paired_effect(1e-3 * differences), paired_effect(-differences)
    assert (scaled.dz, scaled.low) == pytest.approx((found.dz, found.low))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_hedges_factor_removes_the_bias(rng):
    samples = rng.normal(0.5, 1.0, (20_000, 6))
    mean_dz = (samples.mean(axis=1) / samples.std(axis=1, ddof=1)).mean()
    one = paired_effect(samples[0])
    assert mean_dz > 0.55
    assert mean_dz * one.hedges_g / one.dz == pytest.approx(0.5, abs=0.02)


def test_undefined_effects_have_a_reason():
    assert paired_effect(np.array([1.0, 2.0])).reason == "needs at least 3 patients or pairs; got 2"
    assert paired_effect(np.full(5, 2.0)).reason == "all differences are equal"
    three = paired_effect(np.array([1.0, 2.0, 4.0]))
    assert three.dz is not None and three.low is None
    assert three.reason == "an interval needs at least 4 patients or pairs; got 3"
    assert paired_difference([], []).effect.reason == "no pair has both values"


def test_comparison_of_two_models_is_over_patients(rng):
    a, b = rng.normal(0.80, 0.05, 24), rng.normal(0.77, 0.05, 24)
    patient = np.repeat(np.arange(12), 2)
    found = paired_difference(a, b, patient)
    differences = (a - b).reshape(12, 2).mean(axis=1)
    ends = scipy.stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (found.t_low, found.t_high) == pytest.approx((ends.low, ends.high))
    assert found.effect.dz == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert found.wilcoxon_method == "exact"


@pytest.mark.parametrize(
    ("differences", "method"),
    [
        ([1.0, 2.0, -3.0, 4.5, 6.0], "exact"),
        (list(range(-20, 31)), "normal approximation"),
        ([1.0, 1.0, -3.0, 4.5, 6.0], "exact, all signs permuted"),
        ([0.0, 1.0, -3.0, 4.5, 6.0], "exact, all signs permuted"),
        ([0.5 * (i % 7 - 2) for i in range(20)], "normal approximation"),
        ([0.1 * i - 1.03 for i in range(50)], "exact"),
        ([0.1 * i - 1.03 for i in range(51)], "normal approximation"),
    ],
)
def test_wilcoxon_says_how_and_equals_the_default_of_scipy(differences, method):
    found = paired_difference(differences, [0.0] * len(differences))
    assert found.wilcoxon_method == method
    assert found.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(differences).pvalue)
