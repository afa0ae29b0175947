"""Repair and removal of tilt: measured slices stay, what is made is named and close to truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from acinus.errors import DataError
from acinus.scans import Series, list_export, read_series
from made_export import AXIAL, CORNER, CORONAL, affine_of, ct_values, write_series


def only_series(source: Path) -> Series:
    (one,) = list_export(source).series
    return one


def ramp(shape: tuple[int, int, int]) -> np.ndarray:
    """Values that are linear in every index, so that interpolation must hit them."""
    z, y, x = np.indices(shape)
    return (40 * z + 6 * y + 4 * x).astype(np.int16)


def test_a_missing_slice_is_filled_only_on_request(tmp_path) -> None:
    values = ramp((6, 8, 9))
    write_series(tmp_path, values)[3].unlink()
    one = only_series(tmp_path)
    assert [fault.code for fault in one.faults] == ["missing"]
    assert "(1 missing there)" in one.faults[0].found
    with pytest.raises(DataError, match="must be evenly spaced"):
        read_series(one)
    volume = read_series(one, repair=True)
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_allclose(volume.affine, affine_of(AXIAL), atol=1e-6)
    assert volume.meta["interpolated"] == (3,)
    assert "1 of 6 slices interpolated" in volume.meta["notes"][0]


def test_uneven_distances_are_resampled_only_on_request(tmp_path) -> None:
    at = [0.0, 3.0, 6.0, 9.0, 10.5, 12.0, 15.0]
    values = np.stack([np.full((4, 5), 10 * place, np.int16) for place in at])
    write_series(tmp_path, values, positions=lambda z: np.add(CORNER, (0, 0, at[z])))
    one = only_series(tmp_path)
    assert [fault.code for fault in one.faults] == ["uneven"]
    volume = read_series(one, repair=True)
    np.testing.assert_allclose(volume.spacing_mm[0], 3.0)
    np.testing.assert_array_equal(volume.array[:, 0, 0], [0, 30, 60, 90, 120, 150])
    assert volume.meta["interpolated"] == ()
    assert volume.meta["notes"] == ("1 of 7 measured slices left out, between even places",)


def test_copies_are_left_out_only_on_request(tmp_path) -> None:
    values = ct_values()
    shutil.copy(write_series(tmp_path, values)[2], tmp_path / "again")
    one = only_series(tmp_path)
    assert [fault.code for fault in one.faults] == ["copies"]
    with pytest.raises(DataError, match="copies of one image"):
        read_series(one)
    volume = read_series(one, repair=True)
    np.testing.assert_array_equal(volume.array, values)
    assert volume.meta["notes"] == ("1 copy of slices left out",)


def test_a_wide_gap_is_not_bridged(tmp_path) -> None:
    values = ramp((12, 4, 5))
    for path in write_series(tmp_path, values)[3:9]:
        path.unlink()
    with pytest.raises(DataError, match=r"at most 4.5 times the usual 3 mm.*found 21 mm"):
        read_series(only_series(tmp_path), repair=True)


@pytest.mark.parametrize("cosines", [AXIAL, CORONAL])
@pytest.mark.parametrize("tilt_mm", [0.8, -1.1])
def test_tilt_is_removed_onto_a_grid_without_shear(cosines, tilt_mm, tmp_path) -> None:
    """Linear values are hit by linear interpolation: the sheared grid says what they must be."""
    values = ramp((6, 12, 14)) + 1
    normal, down = np.cross(cosines[:3], cosines[3:]), np.array(cosines[3:])
    step = normal * 3.0 + down * tilt_mm
    write_series(tmp_path, values, cosines=cosines, positions=lambda z: np.array(CORNER) + step * z)
    one = only_series(tmp_path)
    sheared = read_series(one)
    volume = read_series(one, orthogonal=True)
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(volume.spacing_mm, (3.0, 0.8, 0.5), atol=1e-6)
    degrees = np.degrees(np.arctan(abs(tilt_mm) / 3.0))
    assert f"gantry tilt of {degrees:.3g} degrees removed" in volume.meta["notes"][0]
    index = np.argwhere(np.ones(volume.shape, bool))
    into = np.linalg.inv(sheared.affine)
    xyz = volume.grid.world(index) @ into[:3, :3].T + into[:3, 3]
    inside = np.all((xyz > 0.01) & (xyz < np.array([13, 11, 5]) - 0.01), axis=1)
    assert inside.sum() > 200
    wanted = 1 + 4 * xyz[:, 0] + 6 * xyz[:, 1] + 40 * xyz[:, 2]
    found = volume.array[tuple(index.T)]
    assert np.abs(found - wanted)[inside].max() <= 0.5 + 1e-3  # linear: exact up to rounding
    outside = np.any((xyz < -1) | (xyz > np.array([14, 12, 6])), axis=1)
    assert np.all(found[outside] == values.min())


def test_nothing_is_done_to_an_even_upright_stack(tmp_path) -> None:
    values = ct_values()
    write_series(tmp_path, values)
    volume = read_series(only_series(tmp_path), repair=True, orthogonal=True)
    np.testing.assert_array_equal(volume.array, values)
    assert volume.meta["notes"] == ()


def test_two_images_of_one_uid_with_other_pixels_are_never_chosen_from(tmp_path) -> None:
    """A slice that was exported twice, once masked: which is right cannot be told."""
    paths = write_series(tmp_path / "a", ct_values())
    masked = ct_values()
    masked[2] = -1000
    shutil.copy(write_series(tmp_path / "b", masked)[2], tmp_path / "a" / "again")
    shutil.rmtree(tmp_path / "b")
    assert len(paths) == 6
    one = only_series(tmp_path)
    with pytest.raises(DataError, match="their pixels differ"):
        read_series(one, repair=True)
