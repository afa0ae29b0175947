"""NRRD and MetaImage: LPS to RAS and back, against SimpleITK, and broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from acinus.errors import DataError
from acinus.scans import (
    Volume,
    canonical,
    on_grid_of,
    read_grid,
    read_labelmap,
    read_volume,
    write_volume,
)

SUFFIXES = (".nrrd", ".mha", ".mhd")


def world_by_itk(path: Path, index_zyx: tuple[int, int, int]) -> np.ndarray:
    """RAS+ mm of a voxel, by ITK's own arithmetic."""
    right, back, up = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint(index_zyx[::-1])
    return np.array([-right, -back, up])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip_in_all_orientations(suffix, affines, rng, tmp_path) -> None:
    array = rng.integers(-50, 300, (4, 5, 6)).astype(np.int16)
    path = tmp_path / f"scan{suffix}"
    for affine in affines:
        volume = Volume(array, affine)
        write_volume(volume, path)
        back = read_volume(path)
        assert np.array_equal(back.array, array) and back.array.dtype == np.int16
        np.testing.assert_allclose(back.affine, affine, atol=1e-9)
        assert read_grid(path).matches(volume.grid, 1e-9)
        np.testing.assert_allclose(
            volume.grid.world(np.array((3, 1, 4))), world_by_itk(path, (3, 1, 4)), atol=1e-9
        )
        assert np.array_equal(on_grid_of(canonical(back), back.grid).array, array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_shear_is_kept(suffix, sheared_affine, tmp_path) -> None:
    path = tmp_path / f"tilted{suffix}"
    write_volume(Volume(np.ones((3, 4, 5)), sheared_affine), path)
    np.testing.assert_allclose(read_volume(path).affine, sheared_affine, atol=1e-9)


def test_a_metaimage_pair_moves_together(tmp_path) -> None:
    volume = Volume(np.arange(24.0).reshape(2, 3, 4), np.eye(4))
    write_volume(volume, tmp_path / "a.mhd")
    write_volume(volume.with_array(volume.array + 1), tmp_path / "a.mhd")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mhd", "a.zraw"]
    assert read_volume(tmp_path / "a.mhd").array[0, 0, 0] == 1


def nrrd(tmp_path: Path, *lines: str, n_bytes: int = 60) -> Path:
    path = tmp_path / "scan.nrrd"
    header = ["NRRD0004", "type: uchar", "encoding: raw", *lines, "", ""]
    path.write_bytes("\n".join(header).encode() + bytes(n_bytes))
    return path


SIZES = ("dimension: 3", "sizes: 3 4 5")
AXES = "space directions: (1,0,0) (0,1,0) (0,0,2)"


def test_nrrd_in_ras_and_las_is_understood(tmp_path) -> None:
    for space, sign in (("right-anterior-superior", 1), ("left-anterior-superior", -1)):
        path = nrrd(tmp_path, *SIZES, f"space: {space}", AXES, "space origin: (5,6,7)")
        grid = read_grid(path)
        np.testing.assert_allclose(grid.affine[:3, 3], (5 * sign, 6, 7))
        np.testing.assert_allclose(np.diag(grid.affine), (sign, 1, 2, 1))


@pytest.mark.parametrize("read", [read_volume, read_grid])
def test_nrrd_without_a_space_is_refused(read, tmp_path) -> None:
    path = nrrd(tmp_path, *SIZES, "spacings: 1 1 2")
    with pytest.raises(DataError, match=r"must name its space.*found none, so left and right"):
        read(path)


@pytest.mark.parametrize("read", [read_volume, read_grid])
def test_more_axes_or_values_are_refused(read, tmp_path) -> None:
    image = sitk.Image([3, 4, 5, 2], sitk.sitkUInt8)
    sitk.WriteImage(image, str(tmp_path / "4d.mha"))
    with pytest.raises(DataError, match=r"must be one three-dimensional image.*found 4 axes"):
        read(tmp_path / "4d.mha")
    sitk.WriteImage(sitk.Image([3, 4, 5, 1], sitk.sitkUInt8), str(tmp_path / "one.mha"))
    assert read(tmp_path / "one.mha").shape == (5, 4, 3)


def test_vectors_are_refused_as_image(tmp_path) -> None:
    image = sitk.Image([3, 4, 5], sitk.sitkVectorUInt8, 3)
    sitk.WriteImage(image, str(tmp_path / "colour.mha"))
    with pytest.raises(DataError, match="found 3 values a voxel"):
        read_volume(tmp_path / "colour.mha")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [True, False])
def test_truncated_files_are_refused(suffix, compressed, rng, tmp_path) -> None:
    path = tmp_path / f"scan{suffix}"
    image = sitk.GetImageFromArray(rng.integers(1, 999, (10, 20, 30)).astype(np.int16))
    sitk.WriteImage(image, str(path), useCompression=compressed)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataError, match=rf"scan\{suffix}: must be a whole .*Export or copy"):
        read_volume(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_metaimage_of_another_type_than_announced(compressed, rng, tmp_path) -> None:
    """ITK alone writes beyond its memory where compressed data are too long."""
    path = tmp_path / "scan.mha"
    image = sitk.GetImageFromArray(rng.integers(1, 999, (10, 20, 30)).astype(np.int16))
    sitk.WriteImage(image, str(path), useCompression=compressed)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"MET_SHORT", b"MET_FLOAT"))
    with pytest.raises(DataError, match="announces 24000 bytes of voxels"):
        read_volume(path)
    if compressed:
        path.write_bytes(raw.replace(b"MET_SHORT", b"MET_UCHAR"))
        with pytest.raises(DataError, match="announces 6000 bytes of voxels, there are"):
            read_volume(path)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_metaimages_of_itk_are_read(suffix, compressed, affines, rng, tmp_path) -> None:
    path = tmp_path / f"scan{suffix}"
    for number, dtype in enumerate(("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")):
        values = rng.integers(0, 99, (4, 5, 6)).astype(dtype)
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affines[40 + number]
        image = sitk.GetImageFromArray(values)
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        sitk.WriteImage(image, str(path), useCompression=compressed)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, values)
        np.testing.assert_allclose(volume.affine, affines[40 + number], atol=1e-9)


def test_big_endian_metaimage_with_data_at_the_end_of_a_file(tmp_path) -> None:
    values = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    (tmp_path / "a.bin").write_bytes(b"some other header" + values.tobytes())
    (tmp_path / "a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementSpacing = 1 1 3\n"
        "Position = 1 2 3\nElementByteOrderMSB = True\nElementType = MET_SHORT\n"
        "HeaderSize = -1\nElementDataFile = a.bin\n"
    )
    volume = read_volume(tmp_path / "a.mhd")
    np.testing.assert_array_equal(
        volume.array, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.mhd")))
    )
    assert volume.array[1, 2, 3] == 23
    np.testing.assert_allclose(volume.affine[:3, 3], (-1, -2, 3))


def test_metaimage_header_without_or_with_short_data(tmp_path) -> None:
    image = sitk.GetImageFromArray(np.ones((10, 20, 30), np.int16))
    path = tmp_path / "scan.mhd"
    sitk.WriteImage(image, str(path))
    (tmp_path / "scan.raw").write_bytes(b"\1\0" * 100)
    with pytest.raises(DataError, match=r"scan\.raw.*announces 12000 bytes"):
        read_volume(path)
    (tmp_path / "scan.raw").unlink()
    with pytest.raises(DataError, match=r"scan\.mhd: must be a whole MetaImage.*No such file"):
        read_volume(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_text_under_a_medical_name(suffix, tmp_path) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_text("hello world")
    for read in (read_volume, read_grid, read_labelmap):
        with pytest.raises(DataError, match=r"found a text file that begins 'hello world'"):
            read(path)
