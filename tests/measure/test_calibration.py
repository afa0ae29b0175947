"""Probabilities: by hand, against slow definitions, and by their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from acinus.errors import DataError, GridError
from acinus.measure.calibration import (
    average_precision,
    brier,
    expected_calibration_error,
    negative_log_likelihood,
)

ALL = (brier, negative_log_likelihood, expected_calibration_error, average_precision)
GIVEN = given(
    truth=arrays.arrays(np.bool_, 24),
    probs=arrays.arrays(np.float64, 24, elements=st.sampled_from([0, 0.1, 0.25, 0.5, 0.8, 1.0])),
)


@GIVEN
@settings(max_examples=60, deadline=None)
def test_slow_definitions(truth, probs):
    assert brier(truth, probs).value == pytest.approx(
        sum((p - t) ** 2 for p, t in zip(probs, truth, strict=True)) / 24
    )
    likelihoods = [p if t else 1 - p for p, t in zip(probs, truth, strict=True)]
    assert negative_log_likelihood(truth, probs).value == pytest.approx(
        -np.mean([np.log(max(value, 1e-7)) for value in likelihoods])
    )
    total = 0.0
    for number in range(10):
        low, high = number / 10, (number + 1) / 10
        chosen = (probs >= low - 1e-12) & ((probs < high - 1e-12) | (number == 9))
        if chosen.any():
            total += chosen.sum() / 24 * abs(truth[chosen].mean() - probs[chosen].mean())
    assert expected_calibration_error(truth, probs, n_bins=10).value == pytest.approx(total)
    area, before = 0.0, 0.0
    for threshold in sorted(set(probs), reverse=True):
        chosen = probs >= threshold
        if not truth.any():
            break
        recall = (truth & chosen).sum() / truth.sum()
        area += (recall - before) * (truth & chosen).sum() / chosen.sum()
        before = recall
    found = average_precision(truth, probs)
    assert found.value == (pytest.approx(area) if truth.any() else None)


def test_sure_and_right_is_best_and_sure_and_wrong_is_worst():
    truth = np.array([True, False, True, False])
    right, wrong = truth.astype(float), 1 - truth.astype(float)
    assert [one(truth, right).value for one in ALL] == pytest.approx([0, 0, 0, 1], abs=1e-6)
    assert [one(truth, wrong).value for one in ALL[:3]] == pytest.approx([1, 16.118, 1], abs=1e-3)


def test_an_honest_forecast_is_calibrated(rng):
    probs = rng.random(40_000)
    truth = rng.random(40_000) < probs
    assert expected_calibration_error(truth, probs).value < 0.02
    assert expected_calibration_error(truth, np.sqrt(probs)).value > 0.1
    blind = average_precision(truth, rng.random(40_000)).value
    assert blind == pytest.approx(truth.mean(), abs=0.02)
    assert average_precision(truth, probs).value > blind + 0.2
    assert average_precision(truth, probs**3).value == average_precision(truth, probs).value


def test_nothing_to_judge_and_wrong_input():
    nothing = np.zeros(0, bool)
    assert [one(nothing, nothing.astype(float)).reason for one in ALL] == [
        "no voxel",
        "no voxel",
        "no voxel",
        "reference empty",
    ]
    truth = np.zeros(3, bool)
    for one in ALL:
        with pytest.raises(DataError, match=r"between 0 and 1; got -2 to 3\. Give prob"):
            one(truth, np.array([-2.0, 0.0, 3.0]))
        with pytest.raises(DataError, match="between 0 and 1; got nan"):
            one(truth, np.array([0.0, np.nan, 0.5]))
        with pytest.raises(GridError, match=r"got shapes \(3,\) and \(4,\)"):
            one(truth, np.zeros(4))
        with pytest.raises(DataError, match="must be a bool mask"):
            one(truth.astype(int), np.zeros(3))
    with pytest.raises(DataError, match="n_bins must be at least 1"):
        expected_calibration_error(truth, np.zeros(3), n_bins=0)
