"""What a cascade's low resolution found, made less reliable: against SciPy and by its laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from acinus.train.augment import no_changes
from acinus.train.augment.changes import Changes
from acinus.train.augment.previous import CLOSE, GROW, OPEN, SHRINK, change_previous, grown
from acinus.train.augment.sides import SideSwap

SHAPE = (9, 17, 14)
PAIR = SideSwap((0, 2, 1), axis=2, previous=(1, 0))
ALONE = SideSwap((0, 1), axis=2, previous=(0,))


def ball(radius: float) -> np.ndarray:
    reach = int(radius)
    squares = np.indices([2 * reach + 1] * 3) - reach
    return (squares**2).sum(axis=0) <= radius**2


def blobs(seed: int, threshold: float = 0.7, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A few compact parts, some of which touch the border."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1.2)
    return np.asarray(noise > np.quantile(noise, threshold))


def as_maps(*masks: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(masks)[None].astype(np.float32))


def changed(maps: torch.Tensor, changes: Changes, swap: SideSwap) -> np.ndarray:
    result = maps.clone()
    change_previous(result, changes, swap)
    assert set(result.unique().tolist()) <= {0.0, 1.0}
    return result[0].numpy() > 0


def one(n_labels: int = 1, **stated: object) -> Changes:
    """Changes of one patch; an entry a label."""
    rows = {name: np.array([value]) for name, value in stated.items()}
    return replace(no_changes(1, n_previous=n_labels), **rows)


@pytest.mark.parametrize("radius", [1.0, 1.5, 2.0, 3.9, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_growing_is_dilation_with_a_ball(radius: float, seed: int) -> None:
    mask = blobs(seed, 0.97)
    ours = grown(torch.from_numpy(mask), radius).numpy()
    np.testing.assert_array_equal(ours, ndimage.binary_dilation(mask, ball(radius)))


@pytest.mark.parametrize(
    ("shape", "theirs"),
    [
        (GROW, lambda mask, element: ndimage.binary_dilation(mask, element)),
        (SHRINK, lambda mask, element: ~ndimage.binary_dilation(~mask, element)),
        (
            CLOSE,
            lambda mask, element: (
                ~ndimage.binary_dilation(~ndimage.binary_dilation(mask, element), element)
            ),
        ),
        (
            OPEN,
            lambda mask, element: ndimage.binary_dilation(
                ~ndimage.binary_dilation(~mask, element), element
            ),
        ),
    ],
    ids=["grow", "shrink", "close", "open"],
)
def test_each_change_of_shape_is_what_it_says(shape: int, theirs: object) -> None:
    mask = blobs(4)
    changes = one(previous_shapes=[shape], previous_radii_vox=[2.0])
    ours = changed(as_maps(mask), changes, ALONE)
    np.testing.assert_array_equal(ours[0], theirs(mask, ball(2.0)))  # type: ignore[operator]
    assert ours[0].any() and (ours[0] != mask).any()


def test_what_a_label_wins_the_others_lose() -> None:
    first, second = blobs(1), blobs(2)
    second &= ~first
    changes = one(2, previous_shapes=[GROW, 0], previous_radii_vox=[2.0, 1.0])
    ours = changed(as_maps(first, second), changes, PAIR)
    assert not (ours[0] & ours[1]).any()
    np.testing.assert_array_equal(ours[1], second & ~ours[0])
    assert ours[1].sum() < second.sum()


def test_of_two_labels_that_grow_the_later_one_wins() -> None:
    first, second = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    first[4, 8, 4], second[4, 8, 7] = True, True
    stated = {"previous_shapes": [GROW, GROW], "previous_radii_vox": [2.0, 2.0]}
    forth = changed(as_maps(first, second), one(2, previous_order=[0, 1], **stated), PAIR)
    back = changed(as_maps(first, second), one(2, previous_order=[1, 0], **stated), PAIR)
    assert forth[1, 4, 8, 5] and not forth[0, 4, 8, 5]
    assert back[0, 4, 8, 6] and not back[1, 4, 8, 6]


def test_one_small_part_is_taken_away_and_a_large_one_never() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[0:2, 0:2, 0:2] = mask[7:9, 14:17, 10:14] = True
    mask[3:6, 3:12, 2:12] = True  # 270 of 2142 voxels, 13 %
    for draw, corner in ((0.0, (0, 0, 0)), (0.5, (3, 3, 2)), (0.99, (8, 16, 13))):
        ours = changed(as_maps(mask), one(previous_parts=[draw]), ALONE)[0]
        parts, n_parts = ndimage.label(mask)
        gone = parts == parts[corner]
        assert n_parts == 3
        np.testing.assert_array_equal(ours, mask & ~gone)
    mask[3:6, 3:15, 2:12] = True  # 360, 17 %
    for draw in (0.0, 0.5, 0.99):
        ours = changed(as_maps(mask), one(previous_parts=[draw]), ALONE)[0]
        assert ours[4, 8, 8] and ours.sum() < mask.sum()


def test_nothing_is_taken_from_an_empty_label() -> None:
    empty = np.zeros(SHAPE, bool)
    stated = {"previous_parts": [0.3], "previous_shapes": [GROW], "previous_radii_vox": [3.0]}
    assert not changed(as_maps(empty), one(**stated), ALONE).any()


@pytest.mark.parametrize("axis", range(3))
def test_labels_change_places_only_where_the_sagittal_axis_is_flipped(axis: int) -> None:
    first, second = blobs(1, 0.9), blobs(2, 0.9)
    flips = np.zeros((1, 3), bool)
    flips[0, axis] = True
    changes = replace(no_changes(1, n_previous=2), flips=flips)
    ours = changed(as_maps(first, second), changes, PAIR)
    expected = (second, first) if axis == PAIR.axis else (first, second)
    np.testing.assert_array_equal(ours, np.stack(expected))


def test_half_covered_voxels_count_as_covered() -> None:
    maps = torch.zeros(1, 1, *SHAPE)
    maps[0, 0, 4, 8, 4:8] = torch.tensor([0.49, 0.5, 0.51, 1.0])
    ours = changed(maps, no_changes(1, n_previous=1), ALONE)[0]
    assert ours[4, 8, 4:8].tolist() == [False, True, True, True]
