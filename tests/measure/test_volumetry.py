"""Volumes against statsmodels, and bounds of their error against small and random masks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.api import OLS, add_constant

from acinus.errors import ConfigError, DataError
from acinus.measure.statistics import (
    concordance,
    dice_for_volume_error,
    mean_volume_error_bound,
    pearson,
    volume_comparison,
    volume_error_bounds,
)


def dice_and_error(overlap, reference_only, prediction_only):
    """Dice and relative volume error from three counts of voxels."""
    reference, prediction = overlap + reference_only, overlap + prediction_only
    return 2 * overlap / (reference + prediction), (prediction - reference) / reference


def test_comparison_equals_statsmodels(rng):
    reference = rng.uniform(40.0, 120.0, 25)
    prediction = 5.0 + 0.85 * reference + rng.normal(0.0, 6.0, 25)
    found = volume_comparison([*reference, None], [*prediction, 3.0])
    fit = OLS(prediction, add_constant(reference)).fit()
    (intercept, slope), ends = fit.params, fit.conf_int()
    assert (found.n, found.n_undefined, found.n_reference_zero) == (25, 1, 0)
    assert (found.intercept_ml, found.slope) == pytest.approx((intercept, slope))
    assert (found.intercept_low_ml, found.intercept_high_ml) == pytest.approx(tuple(ends[0]))
    assert (found.slope_low, found.slope_high) == pytest.approx(tuple(ends[1]))
    assert found.r_squared == pytest.approx(fit.rsquared)
    assert found.r == pytest.approx(pearson(reference, prediction).r)
    assert found.concordance == pytest.approx(concordance(reference, prediction).value)
    errors = prediction - reference
    assert found.bias_ml == pytest.approx(errors.mean())
    assert found.absolute_error_ml == pytest.approx(np.abs(errors).mean())
    assert found.bias_percent == pytest.approx((100 * errors / reference).mean())
    assert found.absolute_error_percent == pytest.approx((100 * np.abs(errors) / reference).mean())
    unexplained = (errors.var() + errors.mean() ** 2) / reference.var()
    assert found.identity_r_squared == pytest.approx(1 - unexplained)
    assert found.reasons == {}


def test_half_of_every_volume_correlates_perfectly():
    reference = [40.0, 55.0, 80.0, 100.0]
    found = volume_comparison(reference, [one / 2 for one in reference])
    assert (found.r, found.r_squared, found.slope) == pytest.approx((1.0, 1.0, 0.5))
    assert found.identity_r_squared < 0.0
    assert found.concordance < 0.35
    assert (found.bias_percent, found.absolute_error_percent) == pytest.approx((-50.0, 50.0))


def test_order_unit_and_a_constant(rng):
    reference, noise = rng.uniform(40.0, 120.0, 12), rng.normal(0.0, 6.0, 12)
    found = volume_comparison(reference, reference + noise)
    order = rng.permutation(12)
    assert volume_comparison(reference[order], (reference + noise)[order]).slope_low == (
        pytest.approx(found.slope_low)
    )
    litres = volume_comparison(reference / 1000, (reference + noise) / 1000)
    assert litres.absolute_error_percent == pytest.approx(found.absolute_error_percent)
    assert litres.intercept_ml == pytest.approx(found.intercept_ml / 1000)
    moved = volume_comparison(reference, reference + noise + 7.0)
    assert moved.bias_ml == pytest.approx(found.bias_ml + 7.0)
    assert (moved.r, moved.slope) == pytest.approx((found.r, found.slope))
    assert moved.intercept_ml == pytest.approx(found.intercept_ml + 7.0)


def test_an_absent_reference_counts_apart():
    found = volume_comparison([0.0, 10.0, 20.0], [4.0, 11.0, 18.0])
    assert (found.n, found.n_reference_zero) == (3, 1)
    assert found.absolute_error_percent == pytest.approx(10.0)
    assert found.absolute_error_ml == pytest.approx(7 / 3)
    assert found.bias_percent == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("reference", "prediction", "name", "reason"),
    [
        ([], [], "bias_ml", "no case has both volumes"),
        ([None], [1.0], "bias_percent", "no case has both volumes"),
        ([0.0], [1.0], "absolute_error_percent", "no case has a reference above 0 mL"),
        ([1.0, 2.0], [1.0, 3.0], "slope", "needs at least 3 cases; got 2"),
        ([2.0] * 3, [1.0, 2.0, 3.0], "r", "all reference volumes are equal"),
        ([1.0, 2.0, 3.0], [0.0] * 3, "concordance", "all predicted volumes are equal"),
    ],
)
def test_undefined_figures_have_reasons(reference, prediction, name, reason):
    found = volume_comparison(reference, prediction)
    assert getattr(found, name) is None
    assert found.reasons[name] == reason
    figures = set(vars(found)) - {"n", "n_undefined", "n_reference_zero", "reasons"}
    assert {one for one in figures if getattr(found, one) is None} == set(found.reasons)


def test_wrong_volumes_are_refused():
    with pytest.raises(DataError, match="at least 0 mL; got -1 mL"):
        volume_comparison([1.0], [-1.0])
    with pytest.raises(DataError, match="equally many"):
        volume_comparison([1.0], [])


def test_no_small_pair_of_masks_breaks_the_bounds_and_some_reach_them():
    reached = set()
    for overlap, missed, added in itertools.product(range(13), repeat=3):
        if overlap + missed == 0:
            continue
        dice, error = dice_and_error(overlap, missed, added)
        bounds = volume_error_bounds(dice)
        assert bounds.low <= error + 1e-12
        assert dice == 0 or error <= bounds.high + 1e-12
        if dice and math.isclose(error, bounds.high, abs_tol=1e-12):
            reached.add("high")
            assert missed == 0
        if math.isclose(error, bounds.low, abs_tol=1e-12):
            reached.add("low")
            assert added == 0 or overlap == 0
    assert reached == {"low", "high"}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.floats(0.0, 1.0))
def test_no_random_pair_of_masks_breaks_the_bounds(seed, fill, copied):
    rng = np.random.default_rng(seed)
    reference = rng.random((3, 5, 4)) < fill
    reference[0, 0, 0] = True
    prediction = np.where(rng.random((3, 5, 4)) < copied, reference, rng.random((3, 5, 4)) < 0.5)
    overlap = int((reference & prediction).sum())
    dice, error = dice_and_error(
        overlap, int(reference.sum()) - overlap, int(prediction.sum()) - overlap
    )
    bounds = volume_error_bounds(dice)
    assert bounds.low - 1e-12 <= error
    assert bounds.high is None or error <= bounds.high + 1e-12
    if dice > 0 and abs(error) > 1e-9:
        assert dice <= dice_for_volume_error(abs(error)) + 1e-12


def test_bounds_by_hand():
    found = volume_error_bounds(0.5)
    assert (found.low, found.high) == pytest.approx((-2 / 3, 2.0))
    assert (volume_error_bounds(1.0).low, volume_error_bounds(1.0).high) == (0.0, 0.0)
    nothing = volume_error_bounds(0.0)
    assert (nothing.low, nothing.high) == (-1.0, None)
    assert nothing.reason == "a Dice of 0 allows any overestimation"
    assert volume_error_bounds(None).reason == "the Dice is undefined"
    assert volume_error_bounds(math.nan).low is None


def test_dice_that_guarantees_an_error():
    assert round(dice_for_volume_error(0.05), 3) == 0.976
    assert dice_for_volume_error(0.0) == 1.0
    for error in (0.03, 0.1, 0.2, 2.0):
        bounds = volume_error_bounds(dice_for_volume_error(error))
        assert bounds.high == pytest.approx(error)
        assert -bounds.low <= error


def test_the_mean_dice_does_not_bound_the_mean_error():
    """A part of a third among perfect cases: Dice 1 and 0.5, errors 0 and 2."""
    dices, errors = zip(dice_and_error(6, 0, 0), dice_and_error(6, 0, 12), strict=True)
    assert dices == (1.0, 0.5)
    mean_error = float(np.mean(np.abs(errors)))
    assert mean_error == pytest.approx(1.0)
    assert 2 / np.mean(dices) - 2 < mean_error  # the published bound, two thirds
    assert mean_volume_error_bound(dices).value == pytest.approx(mean_error)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1))
def test_the_mean_bound_holds(cases):
    found = [dice_and_error(*case) for case in cases]
    bound = mean_volume_error_bound([dice for dice, _ in found])
    assert np.mean([abs(error) for _, error in found]) <= bound.value + 1e-9
    assert bound.value >= 2 / np.mean([dice for dice, _ in found]) - 2 - 1e-9


def test_undefined_mean_bound():
    assert mean_volume_error_bound([None]).reason == "no case has a Dice"
    found = mean_volume_error_bound([0.8, 0.0, None])
    assert (found.value, found.n, found.n_undefined) == (None, 2, 1)
    assert found.reason == "a Dice of 0 allows any overestimation; 1 of 2 cases have it"


def test_wrong_use_of_bounds_is_refused():
    with pytest.raises(DataError, match=r"\[0, 1\]; got 88"):
        volume_error_bounds(88.0)
    with pytest.raises(DataError, match=r"\[0, 1\]; got -0.1"):
        mean_volume_error_bound([0.5, -0.1])
    with pytest.raises(ConfigError, match=r"at least 0; got -0\.05"):
        dice_for_volume_error(-0.05)
