"""Labels that are grown on a coarse grid: none is lost, and their boxes can be taken back."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.plan.settings import PrepareSettings
from acinus.prepare import prepare_case
from acinus.prepare.grow import grow_labels
from acinus.scans import Volume
from acinus.scans.box import box_of_voxels
from acinus.types import IGNORE

SPACING_MM = np.array([6.0, 5.0, 4.0])


def by_hand(label: np.ndarray, shape: tuple[int, ...], grow_mm: float) -> np.ndarray:
    """Voxel by voxel: the nearest label within reach, the one of fewest voxels where two are."""
    result = np.zeros(shape, np.uint8)
    cells = {
        int(value): np.floor((np.argwhere(label == value) + 0.5) * shape / label.shape)
        for value in np.unique(label)
        if value not in (0, IGNORE)
    }
    order = sorted(cells, key=lambda value: int((label == value).sum()))
    for index in np.ndindex(shape):
        reached = []
        for rank, value in enumerate(order):
            away_mm = np.linalg.norm((cells[value] - index) * SPACING_MM, axis=1).min()
            if away_mm <= grow_mm + 1e-3:
                reached.append((round(float(away_mm), 6), rank, value))
        if reached:
            result[index] = min(reached)[2]
    return result


@pytest.mark.parametrize("grow_mm", [0.0, 4.0, 6.0, 9.5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_nearest_label_within_reach_takes_a_voxel(seed: int, grow_mm: float) -> None:
    rng = np.random.default_rng(seed)
    label = np.zeros((36, 30, 33), np.uint8)
    for value in (1, 2, 3, 4):
        z, y, x = (rng.integers(0, n - 9) for n in label.shape)
        size = rng.integers(1, 9, 3)
        label[z : z + size[0], y : y + size[1], x : x + size[2]] = value
    shape = (6, 6, 8)
    grown = grow_labels(label, np.zeros(shape, np.uint8), tuple(SPACING_MM), grow_mm)
    np.testing.assert_array_equal(grown, by_hand(label, shape, grow_mm))


def test_what_is_unknown_stays_unknown_but_where_a_label_lies() -> None:
    label = np.zeros((12, 12, 12), np.uint8)
    label[5, 5, 5] = 1
    resampled = np.zeros((6, 6, 6), np.uint8)
    resampled[2, 2, 2:] = IGNORE
    grown = grow_labels(label, resampled, (2.0, 2.0, 2.0), 2.0)
    assert grown[2, 2, 2] == 1 and grown[2, 2, 1] == 1
    assert (grown[2, 2, 3:] == IGNORE).all()
    assert (grown == IGNORE).sum() == 3


@pytest.mark.parametrize(("one", "other"), [(5, 20), (20, 5), (8, 8)])
@pytest.mark.parametrize("grow_mm", [2.0, 6.0])
def test_two_labels_in_one_coarse_voxel_are_both_kept(one: int, other: int, grow_mm: float) -> None:
    label = np.zeros((24, 24, 24), np.uint8)
    inside = np.zeros(6**3, np.uint8)
    inside[:one], inside[one : one + other] = 1, 2
    label[12:18, 12:18, 12:18] = inside.reshape(6, 6, 6)
    grown = grow_labels(label, np.zeros((4, 4, 4), np.uint8), (6.0, 6.0, 6.0), grow_mm)
    kept = set(np.unique(grown)) - {0}
    assert kept == ({1, 2} if grow_mm == 6.0 else {1 if one <= other else 2})


def test_slices_thicker_than_coarse_voxels_leave_no_gaps() -> None:
    """Five slices of 10 mm at 3 mm: all that resampling gave the label is in it."""
    label = np.zeros((9, 30, 30), np.uint8)
    label[2:7, 9:21, 9:21] = 1
    affine = np.diag([1.0, 1.0, 10.0, 1.0])
    scan, labels = Volume(label.astype(np.float32), affine), Volume(label, affine)
    plain, kept = (
        prepare_case([scan], PrepareSettings(spacing_mm=(3.0, 3.0, 3.0), grow_mm=mm), labels).label
        for mm in (0.0, 3.0)
    )
    assert plain is not None and kept is not None
    assert plain.any() and (kept[plain == 1] == 1).all()
    along = np.flatnonzero(kept.any(axis=(1, 2)))
    assert (np.diff(along) == 1).all()
    drawn = np.flatnonzero(plain.any(axis=(1, 2)))
    assert (along[0], along[-1]) == (drawn[0] - 1, drawn[-1] + 1)


@pytest.mark.parametrize("spacing_mm", [3.0, 4.3, 6.0])
def test_a_gland_that_resampling_loses_is_kept_and_its_box_holds_it(spacing_mm: float) -> None:
    """A sheet of 3 x 9 x 12 mm, as thin as a lacrimal gland, on a grid of 1 x 1 x 2 mm."""
    label = np.zeros((60, 90, 100), np.uint8)
    label[30:36, 40:43, 61:70] = 1
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = -50, -45, -60
    scan, labels = Volume(label.astype(np.float32), affine), Volume(label, affine)
    kept = prepare_case(
        [scan], PrepareSettings(spacing_mm=(spacing_mm,) * 3, grow_mm=spacing_mm), labels
    )
    assert kept.label is not None
    if spacing_mm == 6.0:
        plain = prepare_case([scan], PrepareSettings(spacing_mm=(spacing_mm,) * 3), labels)
        assert plain.label is not None and not plain.label.any()
    assert np.count_nonzero(kept.label) >= 27
    # The outer faces of the coarse grid are those of the scan.
    found = [np.flatnonzero(kept.label.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    step = np.array([120, 90, 100]) / kept.label.shape
    low = np.array([one[0] for one in found]) * step + spacing_mm
    high = np.array([one[-1] + 1 for one in found]) * step - spacing_mm
    true = box_of_voxels(labels.grid, (slice(30, 36), slice(40, 43), slice(61, 70)))
    origin = affine[:3, 3] - np.diag(affine)[:3] / 2
    # Half a voxel of the scan, whose centres decide; whole coarse voxels do not fill every scan.
    slack_mm = np.array([1.0, 0.5, 0.5]) + np.abs(step - spacing_mm).max()
    assert (low <= (np.array(true.low_mm) - origin)[::-1] + slack_mm).all()
    assert (high >= (np.array(true.high_mm) - origin)[::-1] - slack_mm).all()
