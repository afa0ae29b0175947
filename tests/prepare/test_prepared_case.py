"""From a scan to the array that a network sees, and back to the voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_scans import (
    FINEST_AND_COARSE,
    OBLIQUE,
    ORIENTATIONS,
    dice,
    glands,
    most_probable,
    restored,
    stored,
)

from acinus.errors import GridError
from acinus.plan.settings import PrepareSettings
from acinus.prepare import prepare_case, restore
from acinus.scans import Volume


def there_and_back(native: Volume, settings: PrepareSettings) -> Volume:
    image = native.with_array(native.array.astype(np.float32))
    case = prepare_case([image], settings, native)
    back = restored(case)
    assert back.shape == native.shape
    np.testing.assert_array_equal(back.affine, native.affine)
    return back


@pytest.mark.parametrize("slice_axis", ["Z", "Y", "X"])
@pytest.mark.parametrize("turned", [None, OBLIQUE], ids=["straight", "oblique"])
def test_every_orientation_returns_to_the_voxel_without_resampling(
    slice_axis: str, turned: np.ndarray | None
) -> None:
    spacing_mm = FINEST_AND_COARSE[slice_axis]
    label = glands(spacing_mm)
    settings = PrepareSettings(slice_axis=slice_axis)
    for order, flips in ORIENTATIONS:
        native = stored(label, spacing_mm, order, flips, turned)
        back = there_and_back(native, settings)
        np.testing.assert_array_equal(back.array, native.array, err_msg=f"{order} {flips}")


@pytest.mark.parametrize("slice_axis", ["Z", "Y", "X"])
@pytest.mark.parametrize("turned", [None, OBLIQUE], ids=["straight", "oblique"])
def test_every_orientation_returns_nearly_exactly_after_resampling(
    slice_axis: str, turned: np.ndarray | None
) -> None:
    spacing_mm = FINEST_AND_COARSE[slice_axis]
    label = glands(spacing_mm)
    settings = PrepareSettings(slice_axis=slice_axis, spacing_mm=(None, 0.6, 0.6))
    worst = 1.0
    for order, flips in ORIENTATIONS:
        native = stored(label, spacing_mm, order, flips, turned)
        back = there_and_back(native, settings)
        worst = min(worst, *(dice(native.array == n, back.array == n) for n in (1, 2)))
    assert worst > 0.97


def test_the_orientation_on_disk_does_not_reach_the_network() -> None:
    spacing_mm = FINEST_AND_COARSE["Z"]
    label = glands(spacing_mm)
    settings = PrepareSettings(slice_axis="Z", spacing_mm=(None, 0.6, 0.6), size_vox=(48, 64))
    prepared = [
        prepare_case([native.with_array(native.array.astype(np.float32))], settings, native)
        for order, flips in ORIENTATIONS
        for native in [stored(label, spacing_mm, order, flips)]
    ]
    for case in prepared[1:]:
        np.testing.assert_array_equal(case.label, prepared[0].label)
        np.testing.assert_array_equal(case.image, prepared[0].image)


def test_prepared_axes_are_slice_row_column_in_anatomical_order() -> None:
    native = Volume(np.zeros((5, 7, 9), np.float32), np.eye(4))
    native.array[3, 5, 8] = 1
    expected = {"Z": (3, 5, 8), "Y": (5, 3, 8), "X": (8, 3, 5)}
    for slice_axis, voxel in expected.items():
        image = prepare_case([native], PrepareSettings(slice_axis=slice_axis)).image[0]
        assert np.unravel_index(image.argmax(), image.shape) == voxel


@pytest.mark.parametrize("size_vox", [None, (40, 96), (97, 61)])
@pytest.mark.parametrize("in_plane_mm", [(1.0, 0.5), (0.5, 1.0), (0.4, 0.4)])
def test_a_circle_stays_a_circle(
    in_plane_mm: tuple[float, float], size_vox: tuple[int, int] | None
) -> None:
    rows, columns = (round(40 / step) for step in in_plane_mm)
    y = (np.arange(rows) - (rows - 1) / 2)[:, None] * in_plane_mm[0]
    x = (np.arange(columns) - (columns - 1) / 2)[None, :] * in_plane_mm[1]
    disc = np.repeat((y**2 + x**2 <= 12.0**2)[None].astype(np.uint8), 2, axis=0)
    native = Volume(disc, np.diag([in_plane_mm[1], in_plane_mm[0], 3.0, 1.0]))
    settings = PrepareSettings(slice_axis="Z", spacing_mm=(None, 0.7, 0.7), size_vox=size_vox)
    image = native.with_array(disc.astype(np.float32))
    label = prepare_case([image], settings, native).label
    assert label is not None
    if size_vox is not None:
        assert label.shape[1:] == size_vox
    height, width = (int(label[0].any(axis=axis).sum()) for axis in (1, 0))
    assert height == pytest.approx(24 / 0.7, abs=1.6)
    assert width == pytest.approx(24 / 0.7, abs=1.6)
    assert label[0].sum() == pytest.approx(np.pi * 12.0**2 / 0.7**2, rel=0.03)


def test_image_and_label_are_moved_alike() -> None:
    spacing_mm = FINEST_AND_COARSE["Z"]
    label = glands(spacing_mm)
    native = stored(label, spacing_mm)
    image = native.with_array((label > 0).astype(np.float32))
    settings = PrepareSettings(
        normalisation="min_max", slice_axis="Z", spacing_mm=(None, 0.6, 0.6), size_vox=(50, 70)
    )
    case = prepare_case([image], settings, native)
    assert case.label is not None
    assert dice(case.image[0] > 0.5, case.label > 0) > 0.99


@pytest.mark.parametrize("size_vox", [(11, 14), (12, 13), (31, 40), (32, 41), (20, 41), (31, 14)])
def test_crop_and_pad_keep_the_middle(size_vox: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    array = rng.integers(0, 3, (3, 21, 27)).astype(np.uint8)
    native = Volume(array, np.eye(4))
    image = native.with_array(array.astype(np.float32))
    settings = PrepareSettings(normalisation="min_max", slice_axis="Z", size_vox=size_vox)
    case = prepare_case([image], settings, native)
    assert case.label is not None
    assert case.image.shape == (1, 3, *size_vox)
    expected = np.zeros((3, *size_vox), np.uint8)
    inside = []
    for have, want in zip(array.shape[1:], size_vox, strict=True):
        cut, gap = max(have - want, 0) // 2, max(want - have, 0) // 2
        inside.append((slice(gap, gap + min(have, want)), slice(cut, cut + min(have, want))))
    (to_r, from_r), (to_q, from_q) = inside
    expected[:, to_r, to_q] = array[:, from_r, from_q]
    np.testing.assert_array_equal(case.label, expected)
    np.testing.assert_array_equal(case.image[0], expected / np.float32(2))
    back = np.zeros_like(array)
    back[:, from_r, from_q] = array[:, from_r, from_q]
    np.testing.assert_array_equal(restored(case).array, back)


def test_what_lies_outside_of_the_image_is_zero_also_after_z_scores() -> None:
    native = Volume(np.full((2, 8, 8), 5.0, np.float32), np.eye(4))
    native.array[0, 0, 0] = 9
    settings = PrepareSettings(normalisation="z_score", slice_axis="Z", size_vox=(12, 12))
    image = prepare_case([native], settings).image[0]
    assert not image[:, :2].any()
    assert not image[:, :, -2:].any()
    assert image[:, 2:-2, 2:-2].all()


def test_a_missing_channel_is_zero() -> None:
    native = Volume(np.arange(2 * 6 * 6, dtype=np.float32).reshape(2, 6, 6), np.eye(4))
    case = prepare_case([None, native], PrepareSettings(slice_axis="Z"))
    assert case.label is None
    assert case.image.shape == (2, 2, 6, 6)
    assert not case.image[0].any()
    assert case.image[1].std() == pytest.approx(1, abs=1e-5)


def test_a_case_needs_a_channel() -> None:
    with pytest.raises(GridError, match="at least one channel; all are missing"):
        prepare_case([None], PrepareSettings(slice_axis="Z"))


@pytest.mark.parametrize("part", ["label", "channel"])
def test_different_grids_are_refused_with_both_shapes(part: str) -> None:
    image = Volume(np.zeros((4, 6, 6), np.float32), np.eye(4))
    other = Volume(np.zeros((4, 6, 7), np.uint8), np.eye(4))
    channels, label = ([image], other) if part == "label" else ([image, other], None)
    with pytest.raises(GridError, match=r"\(4, 6, 6\) and \(4, 6, 7\).*Export them on one grid"):
        prepare_case(channels, PrepareSettings(slice_axis="Z"), label)


def test_a_label_that_is_shifted_is_refused_and_rounding_is_not() -> None:
    image = Volume(np.zeros((4, 6, 6), np.float32), np.eye(4))
    for shift_mm, fits in ((0.005, True), (0.5, False)):
        affine = np.eye(4)
        affine[0, 3] = shift_mm
        label = Volume(np.zeros((4, 6, 6), np.uint8), affine)
        if fits:
            prepare_case([image], PrepareSettings(slice_axis="Z"), label)
            continue
        with pytest.raises(GridError, match=r"GRID_TOLERANCE_MM = 0\.01.*corners 0\.5 mm apart"):
            prepare_case([image], PrepareSettings(slice_axis="Z"), label)


def test_slabs_of_slices_give_what_the_whole_gives(rng: np.random.Generator) -> None:
    spacing_mm = FINEST_AND_COARSE["Z"]
    native = stored(glands(spacing_mm), spacing_mm)
    image = native.with_array(native.array.astype(np.float32))
    settings = PrepareSettings(slice_axis="Z", spacing_mm=(None, 0.6, 0.6), size_vox=(48, 48))
    case = prepare_case([image], settings, native)
    probs = torch.from_numpy(rng.random((3, *case.image.shape[1:]), dtype=np.float32))
    whole = restore([probs], case.geometry, most_probable)
    parts = restore(probs.split(4, dim=1), case.geometry, most_probable)
    np.testing.assert_array_equal(parts.array, whole.array)


def test_probabilities_are_compared_after_resampling_and_ties_go_to_the_lower_label() -> None:
    native = Volume(np.zeros((1, 4, 4), np.float32), np.eye(4))
    geometry = prepare_case([native], PrepareSettings(slice_axis="Z")).geometry
    probs = torch.full((3, 1, 4, 4), 0.2)
    probs[1:, 0, 1, 1] = 0.4
    probs[2, 0, 2, 2] = 0.21
    expected = np.zeros((1, 4, 4), np.uint8)
    expected[0, 1, 1], expected[0, 2, 2] = 1, 2
    np.testing.assert_array_equal(restore([probs], geometry, most_probable).array, expected)


def test_the_geometry_survives_json() -> None:
    spacing_mm = FINEST_AND_COARSE["Y"]
    native = stored(glands(spacing_mm), spacing_mm, (2, 0, 1), (True, False, True), OBLIQUE)
    image = native.with_array(native.array.astype(np.float32))
    geometry = prepare_case([image], PrepareSettings(slice_axis="Y")).geometry
    again = type(geometry).model_validate_json(geometry.model_dump_json())
    assert again == geometry
    np.testing.assert_array_equal(again.native_grid.affine, native.affine)
