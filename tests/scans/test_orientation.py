"""Turning to canonical axes and back, against nibabel and by laws."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from acinus.errors import DataError, GridError
from acinus.scans import (
    Grid,
    Volume,
    axis_codes,
    canonical,
    on_grid_of,
    oriented,
    place_on_grid,
    resample_onto,
)


def test_canonical_agrees_with_nibabel_in_all_orientations(affines, rng) -> None:
    array = rng.integers(0, 1000, (4, 5, 6))
    for affine in affines:
        turned = canonical(Volume(array, affine))
        oracle = nibabel.as_closest_canonical(nibabel.Nifti1Image(array.T.astype("i4"), affine))
        np.testing.assert_array_equal(turned.array.T, np.asanyarray(oracle.dataobj))
        np.testing.assert_allclose(turned.affine, oracle.affine, atol=1e-12)
        assert axis_codes(affine) == "".join(nibabel.aff2axcodes(affine))
        assert axis_codes(turned.affine) == "RAS"


@pytest.mark.parametrize("codes", ["LPS", "RPI", "PIR", "SLA"])
def test_any_orientation_agrees_with_nibabel(affines, rng, codes: str) -> None:
    array = rng.integers(0, 1000, (4, 5, 6))
    wanted = nibabel.orientations.axcodes2ornt(codes)
    for affine in affines:
        turned = oriented(Volume(array, affine), codes)
        image = nibabel.Nifti1Image(array.T.astype("i4"), affine)
        way = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted)
        oracle = image.as_reoriented(way)
        np.testing.assert_array_equal(turned.array.T, np.asanyarray(oracle.dataobj))
        np.testing.assert_allclose(turned.affine, oracle.affine, atol=1e-12)


@pytest.mark.parametrize("codes", ["RAX", "RRS", "RA", "ras", "RLS", ""])
def test_codes_that_name_no_three_axes_are_refused(codes: str) -> None:
    with pytest.raises(GridError, match=rf"such as RAS or LPS; got '{codes}'\."):
        oriented(Volume(np.zeros((2, 2, 2)), np.eye(4)), codes)


def test_every_voxel_stays_where_it_was(affines, rng) -> None:
    array = rng.permutation(4 * 5 * 6).reshape(4, 5, 6)
    for affine in affines:
        volume = Volume(array, affine)
        turned = canonical(volume)
        for value in (0, 37, 119):
            before = volume.grid.world(np.argwhere(volume.array == value)[0])
            after = turned.grid.world(np.argwhere(turned.array == value)[0])
            np.testing.assert_allclose(after, before, atol=1e-9)


def test_the_way_back_is_exact_to_the_bit(affines, rng) -> None:
    array = rng.normal(size=(4, 5, 6))
    for affine in affines:
        volume = Volume(array, affine)
        back = on_grid_of(canonical(volume), volume.grid)
        assert np.array_equal(back.array, array)
        assert np.array_equal(back.affine, affine)
        assert back.array.flags.c_contiguous


def test_turning_leaves_the_input_alone(affines, rng) -> None:
    array = rng.normal(size=(2, 3, 4))
    before = array.copy()
    for affine in affines:
        canonical(Volume(array, affine)).array.sum()
    assert np.array_equal(array, before)


def test_a_cube_is_turned_by_its_affine_and_not_by_its_shape(affines, rng) -> None:
    array = rng.normal(size=(4, 4, 4))
    for affine in affines:
        volume = Volume(array, affine)
        assert np.array_equal(on_grid_of(canonical(volume), volume.grid).array, array)


def test_other_voxels_are_refused_with_both_grids() -> None:
    volume = Volume(np.zeros((3, 4, 5)), np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = 0.5
    with pytest.raises(GridError, match=r"same voxels.*0\.01 mm.*\(0\.50, 0\.00, 0\.00\)"):
        on_grid_of(volume, Grid((3, 4, 5), shifted))
    with pytest.raises(GridError, match=r"shape \(3, 4, 6\)"):
        on_grid_of(volume, Grid((3, 4, 6), np.eye(4)))


def test_a_grid_a_whole_voxel_away_holds_other_voxels(affines, rng) -> None:
    """They were once taken for the same ones, and every value came out a voxel off."""
    array = rng.integers(1, 9, (4, 5, 6))
    for affine in affines:
        volume = Volume(array, affine)
        turned = canonical(volume)
        shifted = turned.affine.copy()
        shifted[:3, 3] += shifted[:3, 0]
        grid = Grid(turned.shape, shifted)
        with pytest.raises(GridError, match="same voxels"):
            on_grid_of(volume, grid)
        moved = resample_onto(volume, grid, order=0).array
        np.testing.assert_array_equal(moved[..., :-1], turned.array[..., 1:])
        assert not moved[..., -1].any()


def test_a_singular_grid_is_named() -> None:
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(DataError, match=r"the grid.*singular affine \(axis z has length 0\)"):
        on_grid_of(Volume(np.zeros((3, 4, 5)), np.eye(4)), Grid((3, 4, 5), flat))


def test_a_cropped_turned_part_goes_back_to_its_place(affines, rng) -> None:
    whole = Volume(rng.integers(1, 9, (6, 7, 8)), affines[60])
    box = np.zeros(whole.shape, dtype=int)
    box[1:4, 2:6, 3:5] = whole.array[1:4, 2:6, 3:5]
    start = np.eye(4)
    start[:3, 3] = (3, 2, 1)
    part = Volume(whole.array[1:4, 2:6, 3:5], whole.affine @ start)
    for turned in (part, canonical(part)):
        placed = place_on_grid(turned, whole.grid)
        assert np.array_equal(placed.array, box)
        assert np.array_equal(placed.affine, whole.affine)


def test_labelled_voxels_outside_the_grid_are_counted() -> None:
    part = Volume(np.ones((2, 2, 2), dtype=np.uint8), np.eye(4))
    with pytest.raises(GridError, match="found 4 outside"):
        place_on_grid(part, Grid((1, 5, 5), np.eye(4)))
