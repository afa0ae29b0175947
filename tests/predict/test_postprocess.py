"""Cleaning a label: exact, and only where validation gains by it."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from acinus.errors import DataError, GridError
from acinus.predict import Cleaning, Evidence, clean
from acinus.predict.postprocess import keep_largest_of_all
from acinus.scans import Volume
from acinus.types import Labelmap

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
VOXEL_ML = 6e-3


def volume(array: object) -> Volume:
    return Volume(np.asarray(array), AFFINE)


def largest(labelmap: object, labels: list[int]) -> Labelmap:
    return clean(volume(labelmap), keep_largest_of_all(labels)).array


def islands(labelmap: Labelmap, label: int) -> list[set[tuple[int, ...]]]:
    """Voxel-by-voxel flood over the 26 neighbours."""
    left = {tuple(int(i) for i in v) for v in np.argwhere(labelmap == label)}
    found = []
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
        found.append(island)
    return found


def only(labelmap: Labelmap, label: int, kept: list[set[tuple[int, ...]]]) -> Labelmap:
    cleaned = labelmap.copy()
    cleaned[cleaned == label] = 0
    for voxel in (voxel for island in kept for voxel in island):
        cleaned[voxel] = label
    return cleaned


@pytest.mark.parametrize("density", [0.03, 0.08, 0.15])
def test_it_equals_a_flood_over_26_neighbours(rng: np.random.Generator, density: float) -> None:
    labelmap = rng.choice([0, 1, 2], p=[1 - 2 * density, density, density], size=(5, 12, 14))
    expected = labelmap
    for label in (1, 2):
        expected = only(expected, label, [max(islands(labelmap, label), key=len)])
    np.testing.assert_array_equal(largest(labelmap, [1, 2]), expected)
    first = only(labelmap, 1, [max(islands(labelmap, 1), key=len)])
    np.testing.assert_array_equal(largest(labelmap, [1]), first)
    small = clean(volume(labelmap), {1: Cleaning(smallest_ml=3 * VOXEL_ML)}).array
    stay = [island for island in islands(labelmap, 1) if len(island) >= 3]
    np.testing.assert_array_equal(small, only(labelmap, 1, stay))


def test_both_ways_together_leave_the_largest_if_it_is_large_enough() -> None:
    labelmap = np.array([[[1, 1, 0, 1, 1, 1, 0, 1]]], dtype=np.uint8)
    both = Cleaning(keep_largest=True, smallest_ml=3 * VOXEL_ML)
    assert clean(volume(labelmap), {1: both}).array.tolist() == [[[0, 0, 0, 1, 1, 1, 0, 0]]]
    more = Cleaning(keep_largest=True, smallest_ml=4 * VOXEL_ML)
    assert not clean(volume(labelmap), {1: more}).array.any()


def test_corner_neighbours_on_the_next_slice_belong_together() -> None:
    labelmap = np.zeros((3, 5, 5), dtype=np.uint8)
    labelmap[0, 1, 1] = labelmap[1, 2, 2] = labelmap[2, 3, 3] = 1
    labelmap[0, 4, 3:] = 1  # an island of two, nearest other voxel further than a corner
    cleaned = largest(labelmap, [1])
    assert cleaned.dtype == np.uint8
    assert [tuple(v) for v in np.argwhere(cleaned)] == [(0, 1, 1), (1, 2, 2), (2, 3, 3)]
    assert labelmap.sum() == 5, "the caller's array stays"


def test_labels_that_touch_do_not_hold_each_other_together() -> None:
    labelmap = np.array([[[1, 1, 2, 1, 2, 2, 2]]])
    assert largest(labelmap, [1, 2]).tolist() == [[[1, 1, 0, 0, 2, 2, 2]]]


def test_cleaning_twice_changes_nothing_more_and_absent_labels_are_no_fault(
    rng: np.random.Generator,
) -> None:
    labelmap = rng.integers(0, 3, size=(4, 6, 6))
    once = largest(labelmap, [1, 2, 9])
    np.testing.assert_array_equal(largest(once, [1, 2, 9]), once)
    empty = np.zeros((2, 2, 2), dtype=np.int16)
    np.testing.assert_array_equal(largest(empty, [1]), empty)


def test_what_removes_nothing_gives_the_input_back() -> None:
    labelmap = volume([[[1, 0, 1]]])
    assert clean(labelmap, {1: Cleaning()}) is labelmap


def row(*values: int) -> Volume:
    return volume([[values]])


REFERENCE = row(0, 1, 1, 1, 0, 0, 0, 0)
STRAY = row(0, 1, 1, 1, 0, 0, 0, 1)  # Dice 6/7, cleaned 1
TWO_LOBES = row(0, 1, 1, 1, 0, 0, 1, 1)


def chosen(*pairs: tuple[Volume, Volume], ignore_label: int | None = None) -> Cleaning:
    evidence = Evidence({"gland": (1,)}, ignore_label)
    for reference, prediction in pairs:
        evidence.add(reference, prediction)
    return evidence.cleanings()["gland"]


def test_small_components_go_where_validation_gains() -> None:
    cleaning = chosen((REFERENCE, STRAY), (REFERENCE, REFERENCE))
    # The least that removes one voxel beside a median of three: half of the median.
    assert cleaning.smallest_ml == pytest.approx(1.5 * VOXEL_ML)
    assert not cleaning.keep_largest
    assert cleaning.facts == {
        "n_cases": 2,
        "validation_dice_before": pytest.approx((6 / 7 + 1) / 2),
        "validation_dice_after": pytest.approx(1),
        "n_gained": 1,
        "n_lost": 0,
    }
    np.testing.assert_array_equal(clean(STRAY, {1: cleaning}).array, REFERENCE.array)


def test_only_the_largest_stays_where_strays_are_large() -> None:
    large_stray = row(0, 1, 1, 1, 0, 0, 1, 1)
    cleaning = chosen((REFERENCE, large_stray), (REFERENCE, REFERENCE))
    assert cleaning.keep_largest
    assert cleaning.smallest_ml is None


def test_a_real_lobe_is_not_cut_off() -> None:
    cleaning = chosen((TWO_LOBES, TWO_LOBES))
    assert not cleaning.removes
    assert cleaning.facts["validation_dice_before"] == 1


def test_it_is_not_kept_where_nothing_changes() -> None:
    assert not chosen((REFERENCE, REFERENCE)).removes


def test_one_large_gain_does_not_cost_more_cases_their_lobe() -> None:
    many_strays = row(0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1)
    alone = row(0, 1, 1, 1, *[0] * 12)
    lobes = row(1, 1, 1, 1, 1, 1, 1, 0, 1)
    assert chosen((alone, many_strays)).removes
    assert chosen((alone, many_strays), (lobes, lobes)).removes
    assert not chosen((alone, many_strays), (lobes, lobes), (lobes, lobes)).removes


def test_a_false_positive_where_there_is_nothing_is_worth_removing() -> None:
    nothing, speck = row(0, 0, 0, 0, 0, 0), row(0, 0, 0, 1, 0, 0)
    whole = row(1, 1, 1, 1, 1, 1)
    cleaning = chosen((nothing, speck), (whole, whole))
    # A fifth of the median of six voxels is the least that removes the one.
    assert cleaning.smallest_ml == pytest.approx(1.2 * VOXEL_ML)
    assert cleaning.facts["validation_dice_before"] == pytest.approx(0.5)
    assert cleaning.facts["validation_dice_after"] == pytest.approx(1)


def test_labels_are_decided_one_by_one() -> None:
    first = np.concatenate([REFERENCE.array, 2 * TWO_LOBES.array], axis=1)
    second = np.concatenate([STRAY.array, 2 * TWO_LOBES.array], axis=1)
    evidence = Evidence({"a": (1,), "b": (2,)})
    evidence.add(volume(first), volume(second))
    decisions = evidence.cleanings()
    assert decisions["a"].removes
    assert not decisions["b"].removes


def test_a_label_that_was_not_annotated_says_nothing() -> None:
    alone, both, nowhere = (Evidence({"a": (1,)}) for _ in range(3))
    for evidence in (alone, both):
        evidence.add(REFERENCE, STRAY, ("a",))
    both.add(TWO_LOBES, TWO_LOBES, ())
    assert both.cleanings() == alone.cleanings()
    nowhere.add(REFERENCE, STRAY, ())
    assert not nowhere.cleanings()["a"].removes
    assert "no validation case" in nowhere.cleanings()["a"].rule
    assert nowhere.mean_dice() is None


def test_the_mean_is_that_of_the_labels_means() -> None:
    evidence = Evidence({"a": (1,), "b": (2,), "both": (1, 2), "none": (7,)})
    evidence.add(row(1, 1, 2, 2, 0), row(1, 0, 0, 2, 0))
    evidence.add(row(1, 1, 0, 0, 0), row(1, 1, 0, 0, 0))
    # a: (2/3 + 1) / 2, b: 2/3 in its only case, both: (4/6 + 1) / 2.
    expected = ((2 / 3 + 1) / 2 + 2 / 3 + (4 / 6 + 1) / 2) / 3
    assert evidence.mean_dice() == pytest.approx(expected)


def test_voxels_that_the_reference_ignores_are_not_judged() -> None:
    reference = row(0, 1, 1, 1, 0, 0, 0, 9)
    assert chosen((reference, STRAY)).removes
    assert not chosen((reference, STRAY), ignore_label=9).removes


def test_faulty_input_is_named() -> None:
    evidence = Evidence({"a": (1,)})
    with pytest.raises(DataError, match="only on validation cases; got none"):
        evidence.cleanings()
    with pytest.raises(GridError, match=r"validation case 1: .*\(1, 1, 8\) and \(1, 1, 2\)"):
        evidence.add(REFERENCE, row(0, 1))
