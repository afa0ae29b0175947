"""Side errors against hand-drawn heads, loops over voxels, and laws of exchanging sides."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from acinus.errors import DataError
from acinus.measure import MEASURES, SIDE_MEASURES, MaskPair, measure_case

SPACING = (3.0, 0.5, 0.8)
VOXEL_ML = 3.0 * 0.5 * 0.8 / 1000
SHAPE = (5, 12, 30)


def blocks(*corners: tuple[int, int, int]) -> np.ndarray:
    """Blocks of 2 x 3 x 4 voxels at the given corners."""
    mask = np.zeros(SHAPE, bool)
    for z, y, x in corners:
        mask[z : z + 2, y : y + 3, x : x + 4] = True
    return mask


RIGHT, LEFT = (1, 4, 24), (1, 4, 2)


def judge(prediction, reference=None, partner=None, spacing_mm=SPACING, **kept):
    own = blocks(RIGHT) if reference is None else reference
    other = blocks(LEFT) if partner is None else partner
    found = measure_case(own, prediction, spacing_mm, SIDE_MEASURES, partner=other, **kept)
    return found["side_errors"].value, found["side_error_ml"].value


@pytest.mark.parametrize(
    ("predicted", "n_errors", "n_voxels"),
    [
        ((), 0, 0),
        ((RIGHT,), 0, 0),
        ((LEFT,), 1, 24),
        ((RIGHT, LEFT), 1, 24),
        (((1, 4, 22),), 0, 0),  # half on the gland, half beside it, on its own side
        (((1, 4, 10),), 1, 24),  # touches nothing, beyond the middle plane at x = 14.5
        (((1, 4, 15),), 0, 0),
        (((1, 4, 13),), 0, 2 * 3 * 2),  # across the plane: its centroid lies on it, half of it errs
        (((1, 4, 3), (1, 9, 2), (3, 0, 25)), 2, 48),
    ],
    ids=["nothing", "right", "wrong gland", "both", "near", "stray beyond", "stray before",
         "across", "two of three"],
)  # fmt: skip
def test_parts_are_judged_by_what_they_touch_or_where_they_lie(predicted, n_errors, n_voxels):
    assert judge(blocks(*predicted)) == (n_errors, pytest.approx(n_voxels * VOXEL_ML))


def test_the_reference_outvotes_the_plane():
    """A long gland reaches across the middle: what lies in it is no error wherever it is."""
    long = blocks(RIGHT, (1, 4, 20), (1, 4, 16), (1, 4, 12))
    assert judge(long.copy(), reference=long) == (0, 0)
    on_its_end = blocks((1, 4, 12))
    assert judge(on_its_end, reference=long) == (0, 0)


def test_a_bridge_counts_once_by_its_larger_share_and_by_voxels():
    bridge = blocks(RIGHT, LEFT)
    bridge[1, 4, 6:24] = True
    n_beyond = 24 + 9  # the left gland, and x = 6..14 of the bridge (the plane lies at 14.5)
    assert judge(bridge) == (0, pytest.approx(n_beyond * VOXEL_ML))  # a tie is no error
    more = bridge.copy()
    more[1, 4, 27] = False  # one voxel of the right gland fewer: the left one outweighs it
    assert judge(more)[0] == 1


def test_one_side_alone_has_no_plane():
    """A patient without left gland: what lies anywhere is a false find, not a side error."""
    nothing = np.zeros(SHAPE, bool)
    assert judge(blocks(LEFT), partner=nothing) == (0, 0)
    assert judge(blocks(LEFT), reference=nothing) == (1, pytest.approx(24 * VOXEL_ML))
    assert judge(blocks((1, 9, 10)), reference=nothing) == (0, 0)


def test_what_cannot_be_judged_says_why():
    nothing = np.zeros(SHAPE, bool)
    for name in SIDE_MEASURES:
        alone = MEASURES[name].factory(blocks(RIGHT), blocks(LEFT), SPACING)
        assert (alone.value, alone.reason) == (
            None,
            "no reference of a partner on the other side",
        )
        absent = MEASURES[name].factory(nothing, blocks(LEFT), SPACING, partner=nothing)
        assert (absent.value, absent.reason) == (None, "neither side in the reference")
        assert MEASURES[name].factory(nothing, nothing, SPACING, partner=nothing).value == 0


def test_ignored_voxels_are_no_side_errors():
    ignored = np.zeros(SHAPE, bool)
    ignored[:, :, :15] = True
    assert judge(blocks(RIGHT, (1, 4, 8)), ignored=ignored) == (0, 0)


def test_the_axes_may_lie_in_any_order(rng):
    """Turned and transposed arrays with their spacing: the same patient, the same score."""
    prediction = rng.random(SHAPE) < 0.1
    expected = judge(prediction)
    for order in ((2, 1, 0), (1, 2, 0), (0, 2, 1)):
        turned = [
            np.flip(mask.transpose(order), 1) for mask in (prediction, blocks(RIGHT), blocks(LEFT))
        ]
        spacing = tuple(SPACING[axis] for axis in order)
        assert judge(*turned, spacing_mm=spacing) == pytest.approx(expected)


def slow_side_error_ml(reference, prediction, partner, spacing_mm) -> float:
    """Voxel by voxel, by distance to both centroids instead of the plane."""

    def centroid(mask):
        where = [np.multiply(index, spacing_mm) for index in np.argwhere(mask)]
        return np.mean(where, axis=0) if where else None

    own, other = centroid(reference), centroid(partner)
    n_wrong = 0
    for index in product(*map(range, reference.shape)):
        if not prediction[index] or reference[index]:
            continue
        if partner[index]:
            n_wrong += 1
        elif own is not None and other is not None:
            place = np.multiply(index, spacing_mm)
            apart = np.linalg.norm(place - own) - np.linalg.norm(place - other)
            n_wrong += apart > 1e-9
    return n_wrong * float(np.prod(spacing_mm)) / 1000


@given(masks=arrays.arrays(np.uint8, (3, 2, 4, 5), elements=st.integers(0, 2)))
@settings(max_examples=50, deadline=None)
def test_the_volume_agrees_with_loops_over_voxels(masks):
    reference, partner, prediction = masks[0] == 1, masks[0] == 2, masks[1] > 0
    found = MEASURES["side_error_ml"].factory(reference, prediction, SPACING, partner=partner)
    if found.is_defined:
        expected = slow_side_error_ml(reference, prediction, partner, SPACING)
        assert found.value == pytest.approx(expected)
    else:
        assert not reference.any() and not partner.any() and prediction.any()


def test_every_part_on_a_gland_is_wrong_for_one_of_the_two_labels(rng):
    """Predictions within two glands lying apart: right for one label is wrong for the other."""
    right, left = blocks(RIGHT), blocks(LEFT)
    for _ in range(20):
        prediction = (rng.random(SHAPE) < 0.2) & (right | left)
        n_parts = ndimage.label(prediction, np.ones((3, 3, 3)))[1]
        found = [judge(prediction), judge(prediction, reference=left, partner=right)]
        assert sum(n for n, _ in found) == n_parts
        assert sum(ml for _, ml in found) == pytest.approx(prediction.sum() * VOXEL_ML)


def test_the_partner_must_be_a_mask():
    mask = blocks(RIGHT)
    with pytest.raises(DataError, match="partner's reference must be a bool mask"):
        MaskPair(mask, mask, SPACING, partner=mask.astype(np.uint8))
