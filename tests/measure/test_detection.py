"""Detection lesion by lesion: by hand, and against an exhaustive matching."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from acinus.measure import measure_case

KINDS = (
    "lesion_recall_iou{}",
    "lesion_precision_iou{}",
    "lesion_f1_iou{}",
    "panoptic_quality_iou{}",
    "lesion_dice_iou{}",
)


def judged(reference, prediction, percent):
    names = [kind.format(percent) for kind in KINDS]
    scores = measure_case(reference, prediction, (3.0, 1.0, 1.0), names)
    return [scores[name].value for name in names]


def exhaustive(reference, prediction, threshold):
    """All one-to-one matchings of components, the one with the largest sum of IoU."""
    whole = np.ones((3, 3, 3))
    parts, sizes = [], []
    for mask in (reference, prediction):
        labels, n = ndimage.label(mask, whole)
        parts.append([labels == value for value in range(1, n + 1)])
        sizes.append(n)
    ours, theirs = parts
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in theirs] for a in ours])
    iou = iou.reshape(sizes)
    best: list[float] = []
    flipped = iou if sizes[0] <= sizes[1] else iou.T
    for order in itertools.permutations(range(flipped.shape[1]), flipped.shape[0]):
        values = [
            v
            for row, v in zip(flipped, (flipped[i, j] for i, j in enumerate(order)), strict=True)
            if v > threshold
        ]
        if sum(values) > sum(best) + 1e-12:
            best = values
    return best, *sizes


@given(masks=arrays.arrays(np.bool_, (2, 2, 6, 6)), percent=st.sampled_from([0, 10, 50, 75]))
@settings(max_examples=60, deadline=None)
def test_random_masks_equal_the_exhaustive_matching(masks, percent):
    reference, prediction = (ndimage.binary_opening(mask, np.ones((1, 2, 1))) for mask in masks)
    found = judged(reference, prediction, percent)
    values, n_ours, n_theirs = exhaustive(reference, prediction, percent / 100)
    total = sum(values)
    n = len(values)
    if n_ours + n_theirs == 0:
        assert found == [None] * 5
        return
    if percent >= 50:
        assert found[2] == pytest.approx(2 * n / (n_ours + n_theirs))
    assert found[3] == pytest.approx(2 * total / (n_ours + n_theirs))
    assert found[0] is None if n_ours == 0 else 0 <= found[0] <= 1
    assert found[1] is None if n_theirs == 0 else 0 <= found[1] <= 1


def test_one_found_one_missed_one_made_up():
    reference, prediction = np.zeros((2, 3, 8, 30), bool)
    reference[1, 2:6, 2:6] = True  # found: shifted by one, 12 of 20 voxels shared
    prediction[1, 2:6, 3:7] = True
    reference[1, 2:4, 12:14] = True  # missed
    prediction[1, 5:7, 20:22] = True  # made up
    recall, precision, f1, quality, dice = judged(reference, prediction, 50)
    assert (recall, precision, f1) == (0.5, 0.5, 0.5)
    assert quality == pytest.approx(0.6 / 2)
    assert dice == pytest.approx(0.75 / 3)
    assert judged(reference, prediction, 60) == [0, 0, 0, 0, 0]


def test_one_large_prediction_finds_one_lesion_only():
    reference, prediction = np.zeros((2, 1, 10, 10), bool)
    reference[0, 2, 2] = reference[0, 2, 7] = reference[0, 7, 2] = True
    prediction[0] = True
    recall, precision, *_ = judged(reference, prediction, 0)
    assert (recall, precision) == (pytest.approx(1 / 3), 1.0)


def test_corners_that_touch_are_one_lesion():
    reference = np.zeros((2, 2, 2), bool)
    reference[0, 0, 0] = reference[1, 1, 1] = True
    assert judged(reference, reference, 50) == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(("drawn", "predicted"), [(False, False), (True, False), (False, True)])
def test_empty_masks(drawn, predicted):
    reference, prediction = np.zeros((2, 2, 3, 3), bool)
    reference[0, 0, 0], prediction[0, 0, 0] = drawn, predicted
    recall, precision, *others = judged(reference, prediction, 50)
    assert recall == (0 if drawn else None)
    assert precision == (0 if predicted else None)
    assert others == ([0, 0, 0] if drawn or predicted else [None, None, None])
