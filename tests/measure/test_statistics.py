"""Statistics against SciPy, hand computation, simulation and the lacrimal study's figures."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from acinus.errors import DataError
from acinus.measure.statistics import (
    chi_squared,
    clustered_pearson,
    paired_difference,
    pearson,
    shapiro_wilk,
    summarise,
    t_from_summaries,
    two_sample_t,
)

AGE_TEST = (48.4, 17.6, 14)
AGE_AX = (54.9, 20.7, 66)
AGE_POST = (56.6, 19.8, 60)


def glands(rng, patients=14, between=0.2, within=0.05, noise=0.1):
    """Reference and predicted volume of two glands of each patient, and the patient."""
    patient = np.repeat(np.arange(patients), 2)
    shared = rng.normal(0, between, patients)[patient]
    reference = 0.6 + shared + rng.normal(0, within, patient.size)
    prediction = reference + rng.normal(0, noise, patients)[patient]
    return reference, prediction, patient


def test_summary_by_hand():
    found = summarise([1.0, None, 2.0, 4.0, math.nan, 9.0])
    assert (found.n, found.n_undefined) == (4, 2)
    assert found.mean == 4.0
    assert found.sd == pytest.approx(math.sqrt((9 + 4 + 0 + 25) / 3))
    assert (found.q25, found.median, found.q75) == (1.75, 3.0, 5.25)
    assert found.shapiro_w == pytest.approx(stats.shapiro([1, 2, 4, 9]).statistic)
    assert found.low < 4.0 < found.high
    assert found.reasons == {}


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ([], {"mean", "sd", "median", "q25", "q75", "low", "high", "shapiro_w", "shapiro_p"}),
        ([None], {"mean", "sd", "median", "q25", "q75", "low", "high", "shapiro_w", "shapiro_p"}),
        ([0.7], {"sd", "low", "high", "shapiro_w", "shapiro_p"}),
        ([0.7, 0.8], {"low", "high", "shapiro_w", "shapiro_p"}),
        ([0.7, 0.8, 0.9], {"low", "high"}),  # the bootstrap would give the least and the greatest
        ([0.7, 0.7, 0.7, 0.7], {"shapiro_w", "shapiro_p"}),
    ],
)
def test_figures_that_cannot_be_computed_have_reasons(values, missing):
    found = summarise(values)
    names = ("mean", "sd", "median", "q25", "q75", "low", "high", "shapiro_w", "shapiro_p")
    assert {name for name in names if getattr(found, name) is None} == missing
    assert set(found.reasons) == missing
    assert all(found.reasons.values())


def test_infinite_values_are_refused():
    with pytest.raises(DataError, match=r"finite or undefined \(None\)"):
        summarise([1.0, math.inf])
    with pytest.raises(DataError, match="equally many; got 1 and 2"):
        pearson([1.0], [1.0, 2.0])


def test_interval_is_seeded_and_leaves_the_global_state(rng):
    values = rng.normal(size=20)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert summarise(values) == summarise(values)
    assert summarise(values).low != summarise(values, seed=1).low
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_interval_of_the_mean_agrees_with_scipy(rng):
    values = rng.gamma(2.0, size=40)
    ours = summarise(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=1)
    width = ours.high - ours.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)


def test_interval_widens_where_patients_have_twins(rng):
    values = rng.normal(size=15)
    alone = summarise(values)
    as_if_independent = summarise(np.repeat(values, 2))
    clustered = summarise(np.repeat(values, 2), cluster=np.repeat(np.arange(15), 2))
    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high))
    narrow = as_if_independent.high - as_if_independent.low
    assert narrow < 0.85 * (clustered.high - clustered.low)


def test_shapiro_needs_three_different_values():
    assert shapiro_wilk([1.0, 2.0]).reason == "needs at least 3 values; got 2"
    assert shapiro_wilk([2.0, 2.0, 2.0]).reason == "all values are equal"
    assert shapiro_wilk([1.0, 2.0, 4.0]).p == pytest.approx(stats.shapiro([1, 2, 4]).pvalue)


def test_t_tests_equal_scipy(rng):
    a, b = rng.normal(50, 10, 23), rng.normal(45, 20, 9)
    found = two_sample_t([*a, None], b)
    student, welch = stats.ttest_ind(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert (found.n_a, found.n_b, found.n) == (23, 9, 32)
    assert found.student_t == pytest.approx(student.statistic)
    assert (found.student_p, found.student_df) == pytest.approx((student.pvalue, student.df))
    assert (found.welch_p, found.welch_df) == pytest.approx((welch.pvalue, welch.df))


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([], [], "needs at least 2 values in each group; got 0"),
        ([1.0], [1.0, 2.0], "needs at least 2 values in each group; got 1"),
        ([3.0, 3.0], [4.0, 4.0], "all values of both groups are equal within their group"),
    ],
)
def test_t_tests_without_spread_have_a_reason(a, b, reason):
    found = two_sample_t(a, b)
    assert found.reason == reason
    assert found.student_p is found.welch_p is None


@pytest.mark.parametrize(("train", "printed"), [(AGE_AX, 0.29), (AGE_POST, 0.17)])
def test_printed_ages_give_the_printed_p_within_rounding(train, printed):
    """Student's test reproduces both age p-values of Tables 1 and 2; Welch's does neither.

    The printed means and deviations are rounded to 0.1, so the p-value of the
    unrounded ages lies in a range; the printed one must lie in it.
    """
    shifts = list(itertools.product((-0.05, 0.05), repeat=4))
    results = [
        t_from_summaries(
            (train[0] + a, train[1] + b, train[2]), (AGE_TEST[0] + c, AGE_TEST[1] + d, AGE_TEST[2])
        )
        for a, b, c, d in shifts
    ]
    student = [result.student_p for result in results]
    welch = [result.welch_p for result in results]
    assert min(student) < printed + 0.005 and max(student) > printed - 0.005
    assert max(welch) < printed - 0.005


def test_printed_sexes_of_table_1_give_the_printed_p():
    found = chi_squared([[19, 4], [43, 10], [4, 0]])
    assert (found.n, found.df) == (80, 2)
    assert round(found.p, 2) == 0.63
    assert not found.is_yates_corrected
    assert found.smallest_expected == pytest.approx(4 * 14 / 80)


def test_printed_sexes_of_table_2_do_not_give_the_printed_p():
    """Table 2 prints 0.48; its own counts give 0.53, and no kind of the test that gives
    0.63 for Table 1 gives 0.48 for Table 2. One unreported patient more would give 0.47."""
    assert round(chi_squared([[17, 4], [38, 10], [5, 0]]).p, 2) == 0.53


def test_chi_squared_without_the_unreported():
    found = chi_squared([[19, 4], [43, 10]])
    assert found.is_yates_corrected
    assert found.p == pytest.approx(stats.chi2_contingency([[19, 4], [43, 10]]).pvalue)
    assert chi_squared([[19, 4], [0, 0], [43, 10]]) == found


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([], "no observations"),
        ([[0, 0], [0, 0]], "no observations"),
        ([[5, 3], [0, 0]], "only one category has observations"),
        ([[5, 0], [3, 0]], "only one group has observations"),
    ],
)
def test_chi_squared_without_a_table_has_a_reason(counts, reason):
    found = chi_squared(counts)
    assert (found.p, found.reason) == (None, reason)


def test_impossible_counts_are_refused():
    with pytest.raises(DataError, match="at least 0; got -1"):
        chi_squared([[1, -1], [2, 3]])
    with pytest.raises(DataError, match=r"one length; got lengths \[2, 1\]"):
        chi_squared([[1, 1], [2]])


def test_pearson_equals_scipy(rng):
    x, y = rng.normal(size=(2, 30))
    found = pearson([*x, None, 1.0], [*y, 1.0, math.nan])
    expected = stats.pearsonr(x, y)
    assert found.n == 30
    assert (found.r, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([], [], "needs at least 3 pairs; got 0"),
        ([1.0, 2.0], [1.0, 2.0], "needs at least 3 pairs; got 2"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "all values of the first quantity are equal"),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], "all values of the second quantity are equal"),
    ],
)
def test_correlations_without_spread_have_a_reason(x, y, reason):
    assert (pearson(x, y).r, pearson(x, y).reason) == (None, reason)
    clustered = clustered_pearson(x, y, list(range(len(x))))
    assert (clustered.r, clustered.p_clustered, clustered.reason) == (None, None, reason)


def test_few_patients_give_r_but_no_clustered_p():
    found = clustered_pearson([1.0, 2.0, 3.0, 4.5], [1.0, 2.0, 2.5, 4.0], ["a", "a", "b", "b"])
    assert found.r is not None and found.p_naive is not None
    assert found.p_clustered is found.low is None
    assert found.reason == "needs at least 4 patients; got 2"


def test_cluster_robust_p_by_hand(rng):
    """The sandwich written out: bread, meat summed over patients, correction, t with G - 1."""
    x, y, patient = glands(rng)
    found = clustered_pearson(x, y, patient)
    design = np.c_[np.ones_like(x), x]
    bread = np.linalg.inv(design.T @ design)
    slope = bread @ design.T @ y
    residual = y - design @ slope
    meat = sum(
        np.outer(score, score)
        for score in (design[patient == p].T @ residual[patient == p] for p in range(14))
    )
    correction = 14 / 13 * (28 - 1) / (28 - 2)
    t = slope[1] / math.sqrt((correction * bread @ meat @ bread)[1, 1])
    assert found.p_clustered == pytest.approx(2 * stats.t.sf(abs(t), 13), rel=1e-6)
    assert found.n_clusters == 14
    assert found.p_naive == pytest.approx(stats.pearsonr(x, y).pvalue)


def test_cluster_bootstrap_equals_resampling_rows(rng):
    x, y, patient = glands(rng, patients=10)
    found = clustered_pearson(x, y, patient)
    plain = np.random.default_rng(3)
    drawn = []
    for _ in range(1500):
        rows = np.concatenate(
            [np.flatnonzero(patient == p) for p in plain.integers(0, 10, size=10)]
        )
        drawn.append(np.corrcoef(x[rows], y[rows])[0, 1])
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.05)
    assert found.high == pytest.approx(high, abs=0.02)


def test_clustering_guards_against_copies(rng):
    """Every gland counted three times: naively p shrinks, with clusters it does not."""
    x, y = rng.normal(size=(2, 20))
    y += 0.4 * x
    once = clustered_pearson(x, y, np.arange(20))
    thrice = clustered_pearson(np.tile(x, 3), np.tile(y, 3), np.tile(np.arange(20), 3))
    assert thrice.p_naive < once.p_naive / 3
    assert thrice.p_clustered == pytest.approx(once.p_clustered, rel=0.5)  # (n-1)/(n-2) differs
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_a_perfect_line_is_not_an_error():
    x = [0.2, 0.4, 0.5, 0.9, 1.1, 1.3]
    found = clustered_pearson(x, [2 * one + 1 for one in x], list("aabbcd"))
    assert found.r == pytest.approx(1.0)
    assert found.p_clustered == pytest.approx(0.0, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((1.0, 1.0))


def test_paired_difference_equals_scipy(rng):
    a, b = rng.normal(0.7, 0.1, 16), rng.normal(0.6, 0.1, 16)
    found = paired_difference([*a, None], [*b, 0.5])
    assert (found.n, found.n_undefined, found.n_clusters) == (16, 1, 16)
    assert found.mean == pytest.approx((a - b).mean())
    assert found.mean_a - found.mean_b == pytest.approx(found.mean)
    assert found.t_p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found.low < found.mean < found.high


def test_paired_difference_takes_the_patient_as_one_observation(rng):
    a, b = rng.normal(0.7, 0.1, 12), rng.normal(0.6, 0.1, 12)
    patient = np.repeat(list("uvwxyz"), 2)
    found = paired_difference(a, b, patient)
    means = paired_difference(a.reshape(6, 2).mean(axis=1), b.reshape(6, 2).mean(axis=1))
    assert (found.n, found.n_clusters) == (12, 6)
    assert found.t_p == pytest.approx(means.t_p)
    assert (found.low, found.high) == pytest.approx((means.low, means.high))


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([], [], "no pair has both values"),
        ([1.0, None], [None, 1.0], "no pair has both values"),
        ([1.0], [2.0], "needs at least 2 patients or pairs; got 1"),
        ([1.0, 2.0], [1.0, 2.0], "all differences are 0"),
        ([1.0, 2.0], [2.0, 3.0], "all differences are equal"),
    ],
)
def test_paired_differences_without_spread_have_a_reason(a, b, reason):
    found = paired_difference(a, b)
    assert found.reason == reason
    assert found.t_p is found.wilcoxon_p is None
