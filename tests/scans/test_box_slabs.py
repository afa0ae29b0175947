"""Boxes in the world, and scans read and written slab by slab."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acinus.errors import DataError
from acinus.scans import Volume, oriented, place_on_grid, read_labelmap, write_volume
from acinus.scans import slabs as slabs_module
from acinus.scans.box import Box, box_of_voxels, crop, voxels_in
from acinus.scans.slabs import (
    open_slabs,
    overview,
    read_parts,
    write_pieces,
)

SHAPE = (23, 10, 11)
PART = (slice(2, 9), slice(1, 5), slice(3, 7))


@pytest.fixture
def scan(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """Int16 noise of anisotropic voxels whose x runs to the left; slabs are four planes."""
    monkeypatch.setattr(slabs_module, "SLAB_VOX", 4 * 110)
    affine = np.diag([-2.0, 3.0, 1.5, 1.0])
    affine[:3, 3] = -20, 4, 7
    return Volume(rng.integers(-1000, 1000, SHAPE).astype(np.int16), affine)


def test_a_box_of_voxels_holds_these_voxels_again_in_any_order(scan: Volume) -> None:
    box = box_of_voxels(scan.grid, PART)
    assert box == Box((-33.0, 5.5, 9.25), (-25.0, 17.5, 19.75))
    assert box.volume_ml == pytest.approx(8 * 12 * 10.5 / 1000)
    assert voxels_in(scan.grid, box) == PART
    turned = oriented(scan, "PSR")
    part = voxels_in(turned.grid, box)
    assert part is not None
    assert crop(turned, part).array.size == 7 * 4 * 4
    np.testing.assert_array_equal(
        np.sort(crop(turned, part).array.ravel()), np.sort(scan.array[PART].ravel())
    )


def test_a_box_on_an_oblique_grid_holds_every_voxel_whose_centre_it_holds(
    rng: np.random.Generator,
) -> None:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.0, 2.0, 3.0]
    volume = Volume(np.zeros((9, 8, 7), np.uint8), affine)
    box = box_of_voxels(volume.grid, (slice(3, 6), slice(2, 5), slice(1, 4)))
    part = voxels_in(volume.grid, box)
    assert part is not None
    index = np.indices(volume.shape).reshape(3, -1).T
    world = volume.grid.world(index)
    inside = ((world >= box.low_mm) & (world <= box.high_mm)).all(axis=1)
    for zyx in index[inside]:
        assert all(edge.start <= i < edge.stop for i, edge in zip(zyx, part, strict=True))


def test_a_box_beside_the_grid_holds_no_voxel(scan: Volume) -> None:
    assert voxels_in(scan.grid, Box((500, 0, 0), (600, 10, 10))) is None


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
def test_parts_and_overview_of_a_file_are_those_of_its_voxels(
    scan: Volume, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"scan{ending}"
    write_volume(scan, path)
    source = open_slabs(path)
    assert source.grid.matches(scan.grid)
    parts = [PART, (slice(20, 23), slice(0, 10), slice(10, 11)), PART]
    for part, found in zip(parts, read_parts(source, parts), strict=True):
        np.testing.assert_array_equal(found.array, scan.array[part])
        whole = place_on_grid(found, scan.grid)
        np.testing.assert_array_equal(whole.array[part], scan.array[part])
    seen = overview(source, 4.6)
    assert seen.spacing_mm == pytest.approx((4.5, 3.0, 4.0))
    for z, y, x in np.ndindex(seen.shape):
        block = scan.array[3 * z : 3 * z + 3, y : y + 1, 2 * x : 2 * x + 2]
        assert seen.array[z, y, x] == pytest.approx(block.mean(), abs=1e-3)
    np.testing.assert_allclose(
        seen.grid.world(np.array([0, 0, 0])), scan.grid.world(np.array([1, 0, 0.5]))
    )


def test_nothing_as_large_as_the_scan_is_ever_held(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slabs_module, "SLAB_VOX", 4 * 96**2)
    shape = (400, 96, 96)
    path = tmp_path / "scan.nii.gz"
    write_volume(Volume(rng.integers(0, 9, shape).astype(np.int16), np.eye(4)), path)
    part = (slice(90, 98), slice(8, 16), slice(8, 16))
    open_slabs(path)  # what is imported at the first use is no part of the scan
    tracemalloc.start()
    source = open_slabs(path)
    seen = overview(source, 8.0)
    found = read_parts(source, [part])[0]
    write_pieces([(part, np.ones(found.shape, np.uint8))], source.grid, {}, tmp_path / "o.nii.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen.shape == (50, 12, 12)
    assert peak < 0.3 * 2 * np.prod(shape)
    assert read_labelmap(tmp_path / "o.nii.gz").array.sum() == 8**3


def test_scaled_and_swapped_files_read_alike(scan: Volume, tmp_path: Path) -> None:
    image = nib.Nifti1Image(scan.array.T.astype(">i2"), scan.affine)
    image.header.set_slope_inter(0.5, -100)
    nib.save(image, tmp_path / "scaled.nii.gz")
    expected = np.asarray(nib.load(tmp_path / "scaled.nii.gz").dataobj).T[PART]
    found = read_parts(open_slabs(tmp_path / "scaled.nii.gz"), [PART])[0].array
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_cut_file_is_refused_by_name(scan: Volume, tmp_path: Path) -> None:
    path = tmp_path / "cut.nii"
    write_volume(scan, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"cut\.nii"):
        overview(open_slabs(path), 3.0)


def test_pieces_written_by_slabs_are_the_label_map_written_whole(
    scan: Volume, tmp_path: Path
) -> None:
    low, high = np.full((7, 4, 4), 3, np.uint8), np.full((4, 2, 11), 5, np.uint8)
    pieces = [(PART, low), ((slice(7, 11), slice(3, 5), slice(0, 11)), high)]
    whole = np.zeros(SHAPE, np.uint8)
    whole[7:11, 3:5] = 5
    whole[PART] = 3  # the first of two holds
    for ending in (".nii.gz", ".nii", ".nrrd"):
        write_pieces(pieces, scan.grid, {}, tmp_path / f"pieces{ending}")
        found = read_labelmap(tmp_path / f"pieces{ending}")
        assert found.grid.matches(scan.grid)
        np.testing.assert_array_equal(found.array, whole)
    write_volume(Volume(whole, scan.affine), tmp_path / "whole.nii.gz")
    bytes_of = [gzip.decompress((tmp_path / f"{name}.nii.gz").read_bytes())
                for name in ("pieces", "whole")]  # fmt: skip
    assert bytes_of[0] == bytes_of[1]
