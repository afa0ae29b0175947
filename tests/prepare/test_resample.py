"""Resampling against scipy and torch, and its own laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from acinus.prepare.resample import (
    BAND,
    Kind,
    apply_taps,
    coarse_axis,
    label_boxes,
    resample,
    resample_image,
    resample_label,
    taps_along,
)

SIZES = [(1, 1), (1, 4), (2, 5), (7, 7), (9, 4), (10, 21), (40, 3 * BAND + 5), (200, 61)]
KINDS: tuple[Kind, ...] = ("nearest", "linear", "antialiased", "cubic")


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize(("kind", "order"), [("nearest", 0), ("linear", 1), ("cubic", 3)])
def test_one_axis_is_what_scipy_makes_of_it(
    rng: np.random.Generator, old: int, new: int, kind: Kind, order: int
) -> None:
    values = rng.normal(size=(3, old, 2))
    expected = ndimage.zoom(values, (1, new / old, 1), order=order, mode="nearest", grid_mode=True)
    result = apply_taps(torch.from_numpy(values), taps_along(old, new, kind), 1)
    assert result.shape == (3, new, 2)
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new"), [((31, 40), (12, 25)), ((31, 12), (31, 40)), ((9, 8), (4, 3))]
)
def test_anti_aliasing_is_torchs(
    rng: np.random.Generator, old: tuple[int, int], new: tuple[int, int]
) -> None:
    values = torch.from_numpy(rng.normal(size=(2, *old)))
    expected = torch.nn.functional.interpolate(
        values[None], new, mode="bilinear", align_corners=False, antialias=True
    )[0]
    taps = [taps_along(a, b, "antialiased") for a, b in zip(old, new, strict=True)]
    torch.testing.assert_close(resample(values, taps), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_stays_and_every_weight_counts_once(old: int, new: int, kind: Kind) -> None:
    taps = taps_along(old, new, kind)
    assert taps.n_new == new
    np.testing.assert_allclose(taps.weights.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(taps.matrix(slice(0, new), slice(0, old)).sum(axis=1), 1, atol=1e-12)
    assert taps.is_identity == (old == new)


@pytest.mark.parametrize("kind", ["linear", "antialiased", "cubic"])
def test_mirrored_in_mirrored_out(rng: np.random.Generator, kind: Kind) -> None:
    values = torch.from_numpy(rng.normal(size=(17, 3)))
    for new in (5, 16, 40):
        taps = taps_along(17, new, kind)
        torch.testing.assert_close(
            apply_taps(values.flip(0), taps, 0).flip(0), apply_taps(values, taps, 0)
        )


def test_splines_pass_through_what_they_are_made_of(rng: np.random.Generator) -> None:
    values = rng.normal(size=11)
    # Three times as many voxels: every middle one lies on an old centre.
    new = apply_taps(torch.from_numpy(values), taps_along(11, 33, "cubic"), 0)
    np.testing.assert_allclose(new[1::3], values, atol=1e-6)


def test_any_axis_of_any_number_of_axes(rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.normal(size=(2, 6, 5, 7)))
    taps = taps_along(6, 4, "cubic")
    expected = apply_taps(values, taps, 1)
    for axis in range(4):
        moved = apply_taps(values.movedim(1, axis), taps, axis)
        torch.testing.assert_close(moved.movedim(axis, 1), expected)


def test_16_bits_of_a_network_around_it_change_nothing(rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.normal(size=(2, 6, 5)).astype(np.float32))
    taps = taps_along(6, 9, "cubic")
    for axis, turned in ((1, values), (2, values.transpose(1, 2))):
        expected = apply_taps(turned, taps, axis)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(apply_taps(turned, taps, axis), expected)


def test_splines_stay_within_the_range_of_the_image() -> None:
    step = torch.zeros(8, 8, 8)
    step[4:] = 1
    free = apply_taps(step, taps_along(8, 20, "cubic"), 0)
    assert free.max() > 1.01
    kept = resample_image(step, (20, 8, 8), "cubic", None)
    assert (kept.min(), kept.max()) == (0, 1)


def test_splines_stay_within_the_range_of_each_slice_of_a_coarse_scan() -> None:
    step = torch.zeros(3, 8, 8)
    step[0, 4:] = 1
    step[1, 4:] = 5
    kept = resample_image(step, (6, 20, 8), "cubic", 0)
    assert [float(value) for value in kept.amax((1, 2))] == [1, 1, 5, 5, 0, 0]
    assert kept.min() == 0


@pytest.mark.parametrize(
    ("old", "new", "axis"),
    [
        ((3.1, 1.0, 1.0), (1.0, 1.0, 1.0), 0),
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        ((1.0, 1.0, 1.0), (1.0, 1.0, 3.1), 2),
        ((1.0, 4.0, 1.0), (5.0, 1.0, 1.0), 1),
        ((0.3, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        # Equal but for the rounding of an oblique affine: no single axis is the coarse one.
        ((0.3, 1.25, 1.2500001), (1.0, 1.0, 1.0), None),
        ((0.3, 1.25, 1.3), (1.0, 1.0, 1.0), 2),
    ],
)
def test_the_coarse_axis(old: tuple[float, ...], new: tuple[float, ...], axis: int | None) -> None:
    assert coarse_axis(old, new) == axis  # type: ignore[arg-type]


def slow_label(label: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Arg-max of the shares of all values, each by scipy; ties left to the caller."""
    zoom = [new / old for new, old in zip(size, label.shape, strict=True)]
    values = np.unique(label)
    shares = [
        ndimage.zoom((label == value).astype(float), zoom, order=1, mode="nearest", grid_mode=True)
        for value in values
    ]
    best = np.sort(shares, axis=0)
    clear = np.ones(size, bool) if len(values) == 1 else best[-1] - best[-2] > 1e-6
    return np.where(clear, values[np.argmax(shares, axis=0)], 99)


@pytest.mark.parametrize("size", [(9, 12, 10), (4, 5, 6), (13, 7, 10), (1, 1, 1), (20, 21, 22)])
@pytest.mark.parametrize("kind", ["noise", "blobs", "empty", "full"])
def test_labels_are_those_of_the_largest_share(
    rng: np.random.Generator, size: tuple[int, int, int], kind: str
) -> None:
    label = np.zeros((9, 12, 10), np.uint8)
    if kind == "noise":
        label = rng.choice(np.array([0, 1, 2, 7, 255], np.uint8), label.shape)
    elif kind == "blobs":
        label[2:5, 3:8, 1:4], label[4:8, 5:11, 4:9] = 3, 255
    elif kind == "full":
        label[:] = 4
    result = resample_label(label, size, "cubic", None)
    expected = slow_label(label, size)
    assert result.dtype == np.uint8
    assert result.shape == size
    np.testing.assert_array_equal(result[expected != 99], expected[expected != 99])
    assert set(np.unique(result)) <= set(np.unique(label))


def test_of_even_shares_the_nearest_label_wins() -> None:
    label = np.array([1, 2, 0, 3], np.uint8).reshape(1, 1, 4)
    # Halved: each new voxel lies between two old ones, whose upper one counts as nearest.
    assert resample_label(label, (1, 1, 2), "cubic", None).tolist() == [[[2, 3]]]
    assert resample_label(label[..., ::-1].copy(), (1, 1, 2), "cubic", None).tolist() == [[[0, 1]]]


def test_the_boxes_of_labels() -> None:
    label = np.zeros((4, 5, 6), np.uint8)
    assert label_boxes(label) == {}
    label[1:3, 2, 4:], label[0, 0, 0] = 255, 3
    assert label_boxes(label) == {
        3: (slice(0, 1), slice(0, 1), slice(0, 1)),
        255: (slice(1, 3), slice(2, 3), slice(4, 6)),
    }


def test_labels_between_the_new_voxels_leave_background() -> None:
    """Old slices 3 to 6 of 1 mm are not looked at by new ones of 5 mm, which take 2, 7, …"""
    label = np.zeros((20, 8, 8), np.uint8)
    label[3:7, 2:6, 2:6] = 1
    assert not resample_label(label, (4, 8, 8), "cubic", 0).any()
    label[7, 2:6, 2:6] = 1
    assert resample_label(label, (4, 8, 8), "cubic", 0)[1].any()
