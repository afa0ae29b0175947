"""The largest component: kept exactly, and only where validation gains by it."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from acinus.errors import DataError, GridError
from acinus.predict.postprocess import choose_by_validation, keep_largest_component
from acinus.types import Labelmap


def flood_oracle(labelmap: Labelmap, label: int) -> Labelmap:
    """Voxel-by-voxel flood over the 26 neighbours; the largest island by a plain comparison."""
    left = {tuple(int(i) for i in v) for v in np.argwhere(labelmap == label)}
    islands = []
    while left:
        start = min(left)
        queue, island = deque([start]), {start}
        left.discard(start)
        while queue:
            z, y, x = queue.popleft()
            for shift in np.ndindex(3, 3, 3):
                near = (z + shift[0] - 1, y + shift[1] - 1, x + shift[2] - 1)
                if near in left:
                    left.discard(near)
                    island.add(near)
                    queue.append(near)
        islands.append(island)
    kept = max(islands, key=len) if islands else set()  # of equals the first
    cleaned = labelmap.copy()
    for voxel in np.argwhere(labelmap == label):
        if tuple(int(i) for i in voxel) not in kept:
            cleaned[tuple(voxel)] = 0
    return cleaned


@pytest.mark.parametrize("density", [0.03, 0.08, 0.15])
def test_it_equals_a_flood_over_26_neighbours(rng: np.random.Generator, density: float) -> None:
    labelmap = rng.choice([0, 1, 2], p=[1 - 2 * density, density, density], size=(5, 12, 14))
    expected = flood_oracle(flood_oracle(labelmap, 1), 2)
    np.testing.assert_array_equal(keep_largest_component(labelmap, [1, 2]), expected)
    only_first = keep_largest_component(labelmap, [1])
    np.testing.assert_array_equal(only_first, flood_oracle(labelmap, 1))


def test_corner_neighbours_on_the_next_slice_belong_together() -> None:
    labelmap = np.zeros((3, 5, 5), dtype=np.uint8)
    labelmap[0, 1, 1] = labelmap[1, 2, 2] = labelmap[2, 3, 3] = 1
    labelmap[0, 4, 3:] = 1  # an island of two, nearest other voxel further than a corner
    cleaned = keep_largest_component(labelmap, [1])
    assert cleaned.dtype == np.uint8
    assert [tuple(v) for v in np.argwhere(cleaned)] == [(0, 1, 1), (1, 2, 2), (2, 3, 3)]
    assert labelmap.sum() == 5, "the caller's array stays"


def test_labels_that_touch_do_not_hold_each_other_together() -> None:
    labelmap = np.array([[[1, 1, 2, 1, 2, 2, 2]]])
    assert keep_largest_component(labelmap, [1, 2]).tolist() == [[[1, 1, 0, 0, 2, 2, 2]]]


def test_cleaning_twice_changes_nothing_more_and_absent_labels_are_no_fault(
    rng: np.random.Generator,
) -> None:
    labelmap = rng.integers(0, 3, size=(4, 6, 6))
    once = keep_largest_component(labelmap, [1, 2, 9])
    np.testing.assert_array_equal(keep_largest_component(once, [1, 2, 9]), once)
    empty = np.zeros((2, 2, 2), dtype=np.int16)
    np.testing.assert_array_equal(keep_largest_component(empty, [1]), empty)


def row(*values: int) -> Labelmap:
    return np.array([[values]])


REFERENCE = row(0, 1, 1, 1, 0, 0, 0, 0)
STRAY = row(0, 1, 1, 1, 0, 0, 0, 1)  # Dice 6/7, cleaned 1
TWO_LOBES = row(0, 1, 1, 1, 0, 0, 1, 1)


def test_it_is_kept_where_validation_gains() -> None:
    (decision,) = choose_by_validation([(REFERENCE, STRAY), (REFERENCE, REFERENCE)], [1])
    assert decision.keep_largest
    assert decision.dice_before == pytest.approx((6 / 7 + 1) / 2)
    assert decision.dice_after == pytest.approx(1)
    assert (decision.n_cases, decision.n_gained, decision.n_lost) == (2, 1, 0)


def test_it_is_not_kept_where_a_real_lobe_would_be_cut_off() -> None:
    (decision,) = choose_by_validation([(TWO_LOBES, TWO_LOBES)], [1])
    assert not decision.keep_largest
    assert decision.dice_before == 1
    assert decision.dice_after == pytest.approx(6 / 8)


def test_it_is_not_kept_where_nothing_changes() -> None:
    (decision,) = choose_by_validation([(REFERENCE, REFERENCE)], [1])
    assert not decision.keep_largest
    assert (decision.n_gained, decision.n_lost) == (0, 0)


def test_one_large_gain_does_not_cost_more_cases_their_lobe() -> None:
    many_strays = row(0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1)
    alone = np.pad(REFERENCE, ((0, 0), (0, 0), (0, 8)))
    small_loss = (row(1, 1, 1, 1, 1, 1, 1, 0, 1), row(1, 1, 1, 1, 1, 1, 1, 0, 1))
    (decision,) = choose_by_validation([(alone, many_strays), small_loss, small_loss], [1])
    assert decision.dice_after is not None
    assert decision.dice_before is not None
    assert decision.dice_after > decision.dice_before
    assert (decision.n_gained, decision.n_lost) == (1, 2)
    assert not decision.keep_largest


def test_labels_are_decided_one_by_one() -> None:
    both = (
        np.concatenate([REFERENCE, 2 * TWO_LOBES], axis=1),
        np.concatenate([STRAY, 2 * TWO_LOBES], axis=1),
    )
    first, second = choose_by_validation([both], [1, 2])
    assert (first.label, first.keep_largest) == (1, True)
    assert (second.label, second.keep_largest) == (2, False)


def test_a_label_absent_from_both_is_undefined_and_counted() -> None:
    (decision,) = choose_by_validation([(REFERENCE, REFERENCE)], [7])
    assert decision.dice_before is None
    assert decision.dice_after is None
    assert (decision.n_cases, decision.n_undefined) == (0, 1)
    assert not decision.keep_largest


def test_faulty_input_is_named() -> None:
    with pytest.raises(DataError, match="only on validation cases; got none"):
        choose_by_validation([], [1])
    with pytest.raises(GridError, match=r"validation case 1: .*\(1, 1, 8\) and \(1, 1, 2\)"):
        choose_by_validation([(REFERENCE, row(0, 1))], [1])
    with pytest.raises(GridError, match=r"must be \(Z, Y, X\); got \(2, 2\)"):
        keep_largest_component(np.zeros((2, 2), dtype=int), [1])
