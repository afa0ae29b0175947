"""Overlap and volume beyond Dice: by hand, by counting every voxel, by their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from acinus.measure import measure_case

MASKS = arrays.arrays(np.bool_, (2, 4, 6, 5))
SPACING_MM = (3.0, 1.0, 0.5)


def counted(reference, prediction, margin_mm):
    """TP, FP, FN, TN in the box around both, wider by a margin, on a padded copy."""
    pads = [(round(margin_mm / step),) * 2 for step in SPACING_MM]
    a, b = (np.pad(mask, pads) for mask in (reference, prediction))
    where = np.argwhere(a | b)
    low = where.min(0) - [pad[0] for pad in pads]
    high = where.max(0) + 1 + [pad[0] for pad in pads]
    box = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    a, b = a[box], b[box]
    return (a & b).sum(), (~a & b).sum(), (a & ~b).sum(), (~a & ~b).sum()


@given(masks=MASKS, margin_mm=st.sampled_from([1.0, 2.5, 10.0]))
@settings(max_examples=60, deadline=None)
def test_measures_of_a_region_count_its_voxels(masks, margin_mm):
    reference, prediction = masks
    names = [f"{kind}_{margin_mm:g}mm" for kind in ("specificity", "accuracy", "kappa")]
    scores = measure_case(reference, prediction, SPACING_MM, names)
    if not (reference | prediction).any():
        assert {score.reason for score in scores.values()} == {"both masks empty"}
        return
    tp, fp, fn, tn = (int(n) for n in counted(reference, prediction, margin_mm))
    n = tp + fp + fn + tn
    expected = (tp + fn) * (tp + fp) / n**2 + (tn + fp) * (tn + fn) / n**2
    assert scores[names[0]].value == pytest.approx(tn / (tn + fp))
    assert scores[names[1]].value == pytest.approx((tp + tn) / n)
    assert scores[names[2]].value == pytest.approx(((tp + tn) / n - expected) / (1 - expected))


def test_kappa_of_a_large_region_is_the_dice_coefficient(rng):
    reference, prediction = rng.random((2, 5, 9, 9)) < 0.4
    scores = measure_case(reference, prediction, (1, 1, 1), ["dice", "kappa_1mm", "kappa_500mm"])
    assert scores["kappa_500mm"].value == pytest.approx(scores["dice"].value, abs=1e-4)
    assert scores["kappa_1mm"].value < scores["dice"].value - 0.05


def test_a_region_without_outside_has_no_specificity():
    full = np.ones((2, 3, 4), bool)
    scores = measure_case(full, full, (1, 1, 1), ["specificity_0.1mm", "kappa_0.1mm"])
    assert scores["specificity_0.1mm"].reason == "no voxel outside the reference"
    assert scores["kappa_0.1mm"].reason == "no voxel outside the masks"


def test_ignored_voxels_are_of_no_region(rng):
    reference, prediction, ignored = rng.random((3, 4, 8, 8)) < 0.3
    names = ["specificity_2mm", "accuracy_2mm"]
    scores = measure_case(reference, prediction, (1, 1, 1), names, ignored=ignored)
    a, b, c = (np.pad(mask, 2) for mask in (reference, prediction, ignored))
    where = np.argwhere((a | b) & ~c)
    box = tuple(
        slice(low - 2, high + 3) for low, high in zip(where.min(0), where.max(0), strict=True)
    )
    a, b, known = a[box], b[box], ~c[box]
    tn, fp = (~a & ~b & known).sum(), (~a & b & known).sum()
    assert scores["specificity_2mm"].value == pytest.approx(tn / (tn + fp))
    assert scores["accuracy_2mm"].value == pytest.approx((a == b)[known].mean())


@given(masks=MASKS, beta=st.sampled_from([0.5, 1.0, 2.0, 3.0]))
@settings(max_examples=40, deadline=None)
def test_f_beta_is_the_weighted_harmonic_mean(masks, beta):
    names = ["precision", "recall", "dice", f"f_{beta:g}"]
    scores = measure_case(*masks, SPACING_MM, names)
    found = scores[names[-1]]
    p, r = scores["precision"].value, scores["recall"].value
    if p and r:
        assert found.value == pytest.approx((1 + beta**2) * p * r / (beta**2 * p + r))
    elif found.is_defined:
        assert found.value == 0
    if beta == 1:
        assert found.value == scores["dice"].value


@given(masks=MASKS)
@settings(max_examples=40, deadline=None)
def test_volumes_add_up(masks):
    names = [
        "reference_volume_ml",
        "prediction_volume_ml",
        "volume_error_ml",
        "absolute_volume_error_ml",
        "false_positive_ml",
        "false_negative_ml",
        "volume_error_percent",
        "absolute_volume_error_percent",
    ]
    scores = measure_case(*masks, SPACING_MM, names)
    ours, theirs, error, absolute, false, missed, percent, positive = scores.values()
    assert error.value == pytest.approx(theirs.value - ours.value)
    assert absolute.value == pytest.approx(abs(error.value))
    assert false.value - missed.value == pytest.approx(error.value)
    assert false.value == pytest.approx((masks[1] & ~masks[0]).sum() * 1.5e-3)
    if masks[0].any():
        assert percent.value == pytest.approx(100 * error.value / ours.value)
        assert positive.value == abs(percent.value)
        assert percent.unit == "%"
    else:
        assert percent.reason == positive.reason != ""
