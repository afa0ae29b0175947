"""Agreement against published tables, statsmodels, the delta method, simulation and laws."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

from acinus.errors import ConfigError, DataError
from acinus.measure.statistics import (
    ICC_FORMS,
    cohens_kappa,
    concordance,
    intraclass_correlation,
    limits_of_agreement,
)

SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]
"""Shrout and Fleiss 1979, Table 2: six targets, four judges."""

WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
"""Bland and Altman 1986, Table 1: peak flow in L/min by two meters, first readings."""


def readings(rng, n=12, k=3):
    subject = rng.normal(10.0, 3.0, (n, 1))
    return subject + rng.normal(0.0, 1.0, (1, k)) + rng.normal(0.0, 1.0, (n, k))


@pytest.mark.parametrize(
    ("form", "printed", "low", "high"),
    [
        ("ICC(1,1)", 0.17, -0.133, 0.723),
        ("ICC(2,1)", 0.29, 0.019, 0.761),
        ("ICC(3,1)", 0.71, 0.342, 0.946),
        ("ICC(1,k)", 0.44, -0.884, 0.912),
        ("ICC(2,k)", 0.62, 0.071, 0.927),
        ("ICC(3,k)", 0.91, 0.676, 0.986),
    ],
)
def test_table_of_shrout_and_fleiss(form, printed, low, high):
    """Printed coefficients; the intervals are those that R's psych gives for the table."""
    found = intraclass_correlation(SHROUT_FLEISS, form)
    assert round(found.value, 2) == printed
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)
    assert (found.n, found.k, found.n_undefined, found.reason) == (6, 4, 0, "")
    assert found.name == ICC_FORMS[form]


def test_icc_from_the_mean_squares_of_statsmodels(rng):
    table = readings(rng)
    n, k = table.shape
    long = pd.DataFrame(
        {"y": table.ravel(), "s": np.repeat(np.arange(n), k), "r": np.tile(np.arange(k), n)}
    )
    squares = anova_lm(ols("y ~ C(s) + C(r)", long).fit())["mean_sq"]
    msr, msc, mse = squares["C(s)"], squares["C(r)"], squares["Residual"]
    msw = anova_lm(ols("y ~ C(s)", long).fit())["mean_sq"]["Residual"]
    expected = {
        "ICC(1,1)": (msr - msw) / (msr + (k - 1) * msw),
        "ICC(2,1)": (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n),
        "ICC(3,1)": (msr - mse) / (msr + (k - 1) * mse),
        "ICC(1,k)": (msr - msw) / msr,
        "ICC(2,k)": (msr - mse) / (msr + (msc - mse) / n),
        "ICC(3,k)": (msr - mse) / msr,
    }
    for form, value in expected.items():
        assert intraclass_correlation(table, form).value == pytest.approx(value), form


@pytest.mark.parametrize("form", ICC_FORMS)
def test_laws_of_icc(rng, form):
    table = readings(rng)
    found = intraclass_correlation(table, form)
    figures = (found.value, found.low, found.high)
    for other in (table + 100.0, -3.0 * table, rng.permutation(table), table[:, ::-1]):
        again = intraclass_correlation(other, form)
        assert (again.value, again.low, again.high) == pytest.approx(figures)
    assert found.low < found.value < found.high
    biased = intraclass_correlation(table + np.array([0.0, 0.0, 9.0]), form)
    if form.startswith("ICC(3"):
        assert biased.value == pytest.approx(found.value)
    else:
        assert biased.value < found.value - 0.1


@pytest.mark.parametrize("form", ICC_FORMS)
def test_readers_who_agree_have_icc_1(form):
    table = [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [4.5, 4.5, 4.5]]
    found = intraclass_correlation([*table, [None, 1.0, 2.0]], form)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert (found.n, found.n_undefined) == (3, 1)


def test_consistent_readers_with_a_bias():
    table = [[1.0, 3.0], [2.0, 4.0], [4.0, 6.0], [7.0, 9.0]]
    assert intraclass_correlation(table, "ICC(3,1)").value == 1.0
    found = intraclass_correlation(table)
    assert 0.0 < found.low < found.value < found.high < 1.0


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([], "needs at least 2 subjects with all readings; got 0"),
        ([[1.0, math.nan], [1.0, 2.0]], "needs at least 2 subjects with all readings; got 1"),
        ([[1.0], [2.0]], "needs at least 2 readers; got 1"),
        ([[1.0, 1.0], [1.0, 1.0]], "all subjects have the same mean reading"),
        ([[1.0, 3.0], [3.0, 1.0]], "all subjects have the same mean reading"),
    ],
)
def test_undefined_icc_has_a_reason(table, reason):
    found = intraclass_correlation(table)
    assert (found.value, found.low, found.reason) == (None, None, reason)


def test_an_interval_that_misses_its_value_is_left_out():
    found = intraclass_correlation([[-1.58, 0.04], [-0.9, -0.65]])
    assert found.value < 0.0
    assert found.low is found.high is None
    assert found.reason == (
        "too few subjects for the approximate degrees of freedom of the interval"
    )


def test_wrong_use_of_icc_is_refused():
    with pytest.raises(ConfigError, match=r"unknown form .* 'ICC\(2\)'.*Did you mean"):
        intraclass_correlation(SHROUT_FLEISS, "ICC(2)")
    with pytest.raises(DataError, match=r"rows of lengths \[1, 2\]"):
        intraclass_correlation([[1.0, 2.0], [1.0]])


def test_interval_of_icc_covers_the_truth(rng):
    """True ICC(A,1) = 4 / (4 + 0.25 + 1)."""
    truth, hits, n_tables = 4.0 / 5.25, 0, 200
    for _ in range(n_tables):
        table = (
            rng.normal(0.0, 2.0, (20, 1))
            + rng.normal(0.0, 0.5, (1, 4))
            + rng.normal(0.0, 1.0, (20, 4))
        )
        found = intraclass_correlation(table)
        hits += found.low <= truth <= found.high
    assert 0.9 < hits / n_tables < 0.99


def test_peak_flow_of_bland_and_altman():
    found = limits_of_agreement(WRIGHT, MINI, limit_interval="approximate")
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    assert (found.bias_low, found.bias_high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert (found.lower, found.upper) == pytest.approx((-2.1 - 76.0, -2.1 + 76.0), abs=0.15)
    assert (found.n, found.method) == (17, "approximate, t (Bland and Altman 1999)")
    half = scipy.stats.t.ppf(0.975, 16) * found.sd * math.sqrt(1 / 17 + 1.96**2 / 32)
    assert found.upper_high - found.upper == pytest.approx(half)
    assert found.lower - found.lower_low == pytest.approx(half)


def test_exact_interval_of_a_limit_covers_it(rng):
    """Both tails hold 2.5 % for ten pairs; the approximate interval's do not."""
    pairs = rng.normal(size=10)
    misses = {}
    samples = rng.normal(size=(40_000, 10))
    mean, sd = samples.mean(axis=1), samples.std(axis=1, ddof=1)
    for kind in ("exact", "approximate"):
        found = limits_of_agreement(pairs, np.zeros(10), limit_interval=kind)
        low, high = ((end - found.bias) / found.sd for end in (found.upper_low, found.upper_high))
        misses[kind] = (np.mean(mean + low * sd > 1.96), np.mean(mean + high * sd < 1.96))
        assert found.lower_low - found.bias == pytest.approx(found.bias - found.upper_high)
    assert misses["exact"] == pytest.approx((0.025, 0.025), abs=0.003)
    assert misses["approximate"][1] > 0.04


def test_a_constant_moves_the_bias_only(rng):
    a, b = rng.normal(10.0, 2.0, (2, 15))
    found, moved = limits_of_agreement(a, b), limits_of_agreement(a + 3.0, b)
    assert moved.bias - found.bias == pytest.approx(3.0)
    assert moved.sd == pytest.approx(found.sd)
    for name in ("bias_low", "bias_high", "lower", "lower_low", "upper", "upper_high"):
        assert getattr(moved, name) - getattr(found, name) == pytest.approx(3.0)
    swapped = limits_of_agreement(b, a)
    assert (swapped.lower_low, swapped.upper_low) == pytest.approx(
        (-found.upper_high, -found.lower_high)
    )


def test_percentages_do_not_depend_on_the_unit(rng):
    a, b = rng.uniform(1.0, 5.0, (2, 15))
    found = limits_of_agreement([*a, 0.0, None], [*b, 0.0, 1.0], is_percent=True)
    assert (found.n, found.n_mean_zero, found.n_undefined) == (15, 1, 1)
    assert found.bias == pytest.approx(np.mean(200.0 * (a - b) / (a + b)))
    scaled = limits_of_agreement(1000 * a, 1000 * b, is_percent=True)
    assert (scaled.bias, scaled.upper_low) == pytest.approx((found.bias, found.upper_low))


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([], [], "there is not a pair with both values"),
        ([None], [1.0], "there is not a pair with both values"),
        ([2.0], [1.0], "needs at least 2 pairs; got 1"),
        ([2.0, 3.0], [1.0, 2.0], "all differences are equal"),
    ],
)
def test_undefined_limits_have_a_reason(a, b, reason):
    found = limits_of_agreement(a, b)
    assert found.reason == reason
    assert found.bias_low is found.upper_high is None
    assert (found.bias is None) == (found.n == 0)


def test_wrong_use_of_limits_is_refused():
    with pytest.raises(ConfigError, match="unknown limit_interval 'exakt'"):
        limits_of_agreement([1.0], [1.0], limit_interval="exakt")
    with pytest.raises(DataError, match="at least 0; got -1"):
        limits_of_agreement([1.0, -1.0], [1.0, 2.0], is_percent=True)
    with pytest.raises(DataError, match="finite"):
        limits_of_agreement([math.inf], [1.0])


def test_concordance_by_definition(rng):
    """1 minus the squared distance from identity over that of unrelated values."""
    a = rng.normal(10.0, 2.0, 30)
    b = 0.8 * a + rng.normal(3.0, 1.0, 30)
    found = concordance([*a, None], [*b, 1.0])
    by_chance = np.mean((a[:, None] - b[None, :]) ** 2)
    assert found.value == pytest.approx(1.0 - np.mean((a - b) ** 2) / by_chance)
    assert found.precision == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert found.precision * found.accuracy == pytest.approx(found.value)
    assert (found.n, found.n_undefined) == (30, 1)


@pytest.mark.parametrize(("slope", "shift", "noise"), [(0.8, 3.0, 1.0), (-0.5, 1.0, 2.0)])
def test_interval_of_concordance_by_the_delta_method(rng, slope, shift, noise):
    """Numerical gradient of Fisher's z over the moments of a bivariate normal."""
    a = rng.normal(10.0, 2.0, 25)
    b = slope * a + rng.normal(shift, noise, 25)

    def z(moments):
        mean_a, mean_b, var_a, var_b, both = moments
        return math.atanh(2 * both / (var_a + var_b + (mean_a - mean_b) ** 2))

    v, w, c = a.var(), b.var(), np.cov(a, b, ddof=0)[0, 1]
    moments = np.array([a.mean(), b.mean(), v, w, c])
    spread = np.zeros((5, 5))
    spread[:2, :2] = [[v, c], [c, w]]
    spread[2:, 2:] = [
        [2 * v * v, 2 * c * c, 2 * v * c],
        [2 * c * c, 2 * w * w, 2 * w * c],
        [2 * v * c, 2 * w * c, v * w + c * c],
    ]
    steps = 1e-5 * np.eye(5)
    gradient = np.array([(z(moments + one) - z(moments - one)) / 2e-5 for one in steps])
    half = scipy.stats.norm.ppf(0.975) * math.sqrt(gradient @ spread @ gradient / (25 - 2))
    found = concordance(a, b)
    assert found.low == pytest.approx(math.tanh(z(moments) - half), rel=1e-6)
    assert found.high == pytest.approx(math.tanh(z(moments) + half), rel=1e-6)


def test_laws_of_concordance(rng):
    a = rng.normal(10.0, 2.0, 20)
    b = a + rng.normal(0.0, 1.0, 20)
    found = concordance(a, b)
    assert concordance(b, a).value == pytest.approx(found.value)
    both = concordance(5.0 * a - 1.0, 5.0 * b - 1.0)
    assert (both.low, both.value, both.high) == pytest.approx((found.low, found.value, found.high))
    assert concordance(a, b + 4.0).value < found.value
    assert concordance(a, b + 4.0).precision == pytest.approx(found.precision)
    same = concordance(a, a)
    assert (same.value, same.low, same.high) == pytest.approx((1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ([1.0, 2.0, None], [1.0, 2.0, 3.0], "needs at least 3 pairs; got 2"),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "all values of the first list are equal"),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], "all values of the second list are equal"),
    ],
)
def test_undefined_concordance_has_a_reason(a, b, reason):
    found = concordance(a, b)
    assert (found.value, found.low, found.reason) == (None, None, reason)


@pytest.mark.parametrize("counts", [(20, 5, 10, 15), (3, 40, 2, 55), (0, 5, 5, 90), (7, 0, 0, 3)])
def test_kappa_equals_statsmodels(counts):
    found = cohens_kappa(*counts, region="box around both masks")
    expected = statsmodels_kappa(np.reshape(counts, (2, 2)))
    assert found.value == pytest.approx(expected.kappa)
    assert (found.low, found.high) == pytest.approx(
        (max(-1.0, expected.kappa_low), min(1.0, expected.kappa_upp))
    )
    assert (found.n, found.region) == (sum(counts), "box around both masks")


def test_kappa_depends_on_the_region_and_nears_dice():
    dice = 2 * 80 / (2 * 80 + 30 + 10)
    values = [
        cohens_kappa(80, 30, 10, rest, region=f"{rest} voxels around").value
        for rest in (20, 100, 1000, 10**9)
    ]
    assert values == sorted(values)
    assert values[0] < 0.4
    assert values[-1] == pytest.approx(dice, abs=1e-6)


def test_undefined_kappa_and_wrong_use():
    assert cohens_kappa(0, 0, 0, 0, region="box").reason == "no units"
    for counts in ((5, 0, 0, 0), (0, 0, 0, 5)):
        found = cohens_kappa(*counts, region="box")
        assert (found.value, found.observed) == (None, 1.0)
        assert found.reason == "both readers gave all units the same answer"
    with pytest.raises(DataError, match="at least 0; got -1"):
        cohens_kappa(1, -1, 0, 0, region="box")
    with pytest.raises(DataError, match="name the region"):
        cohens_kappa(1, 1, 1, 1, region=" ")
