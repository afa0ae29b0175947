"""NIfTI: geometry against nibabel and SimpleITK, and files that are not what they say."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
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
    strip_suffix,
    write_volume,
)
from acinus.scans.nifti import geometry_codes, read_nifti_grid
from acinus.scans.slabs import open_slabs

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_affine(image: sitk.Image) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """`array` has axes (x, y, z)."""
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def with_codes(path: Path, sform: np.ndarray, sform_code: int, qform_code: int) -> Path:
    """A file whose sform is `sform` and whose qform is a shift by (5, 6, 7)."""
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    shift = np.eye(4)
    shift[:3, 3] = (5, 6, 7)
    image.header.set_qform(shift, qform_code)
    image.header.set_sform(sform, sform_code)
    nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), None, image.header).to_filename(path)
    return path


def test_what_is_written_lies_where_two_other_readers_see_it(affines, rng, tmp_path) -> None:
    array = rng.integers(0, 300, (4, 5, 6))
    path = tmp_path / "scan.nii.gz"
    for affine in affines:
        write_volume(Volume(array, affine), path)
        by_nibabel, by_itk = nibabel.load(path), sitk.ReadImage(str(path))
        np.testing.assert_array_equal(np.asanyarray(by_nibabel.dataobj).T, array)
        np.testing.assert_allclose(by_nibabel.affine, affine, atol=1e-5)
        np.testing.assert_allclose(by_nibabel.header.get_qform(), affine, atol=1e-4)
        assert int(by_nibabel.header["sform_code"]) == int(by_nibabel.header["qform_code"]) == 1
        assert by_nibabel.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_array_equal(sitk.GetArrayFromImage(by_itk), array)
        np.testing.assert_allclose(itk_affine(by_itk), affine, atol=1e-4)


def test_labels_return_to_the_inputs_grid_in_all_orientations(affines, rng, tmp_path) -> None:
    values = rng.integers(0, 900, (4, 5, 6)).astype(np.int16)
    for number, affine in enumerate(affines):
        source = save(tmp_path / "in.nii.gz", values.T, affine)
        volume = read_volume(source)
        turned = canonical(volume)
        labels = turned.with_array((turned.array > 450).astype(np.int64) * (1 + number % 2))
        write_volume(on_grid_of(labels, volume.grid), tmp_path / "out.nii.gz")
        ours, theirs = nibabel.load(tmp_path / "out.nii.gz"), nibabel.load(source)
        assert np.array_equal(ours.affine, theirs.affine)
        assert ours.get_data_dtype() == np.uint8
        expected = (np.asanyarray(theirs.dataobj) > 450) * (1 + number % 2)
        np.testing.assert_array_equal(np.asanyarray(ours.dataobj), expected)


def test_shear_is_kept_by_the_sform_and_never_shown_by_the_qform(sheared_affine, tmp_path) -> None:
    path = tmp_path / "tilted.nii.gz"
    write_volume(Volume(np.ones((3, 40, 50)), sheared_affine), path)
    np.testing.assert_allclose(read_volume(path).affine, sheared_affine, atol=1e-6)
    assert int(nibabel.load(path).header["qform_code"]) == 0


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ([False, True], np.uint8),
        ([0, 255], np.uint8),
        ([0, 256], np.uint16),
        ([-1024, 3071], np.int16),
        ([0, 70000], np.int32),
        (np.array([0.5, 1.0], np.float16), np.float32),
        (np.array([0.5, 1.0], np.float64), np.float64),
    ],
)
def test_number_types_are_the_smallest_that_hold_the_values(values, stored, tmp_path) -> None:
    array = np.resize(np.asarray(values), (2, 3, 4))
    write_volume(Volume(array, np.eye(4)), tmp_path / "a.nii.gz")
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == stored
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).T, array)


def test_equal_volumes_give_equal_bytes(rng, tmp_path) -> None:
    volume = Volume(rng.integers(0, 9, (3, 4, 5)), np.eye(4))
    write_volume(volume, tmp_path / "a.nii.gz")
    write_volume(volume, tmp_path / "b.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_scale_slope_and_big_endian_are_applied(tmp_path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nibabel.Nifti1Image(np.arange(24.0).reshape(2, 3, 4) * 0.5 + 3, np.eye(4), header)
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    volume = read_volume(tmp_path / "scaled.nii.gz")
    assert volume.array.dtype == np.float32 and volume.array.dtype.isnative
    np.testing.assert_allclose(
        volume.array.T, np.arange(24.0).reshape(2, 3, 4) * 0.5 + 3, atol=1e-3
    )


def test_sform_goes_before_qform_and_qform_counts_without_it(tmp_path) -> None:
    sform = np.diag([2.0, 2.0, 2.0, 1.0])
    both = read_grid(with_codes(tmp_path / "both.nii", sform, 2, 1))
    assert np.array_equal(both.affine, sform)
    only_qform = read_grid(with_codes(tmp_path / "qform.nii", sform, 0, 1))
    np.testing.assert_allclose(only_qform.affine[:3, 3], (5, 6, 7))
    assert only_qform.spacing_mm == (1, 1, 1)


def test_geometry_in_metres_becomes_millimetres_as_in_itk(tmp_path) -> None:
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.diag([0.001, 0.001, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "metres.nii")
    np.testing.assert_allclose(read_grid(tmp_path / "metres.nii").spacing_mm, (3, 1, 1), rtol=1e-5)
    by_itk = sitk.ReadImage(str(tmp_path / "metres.nii"))
    np.testing.assert_allclose(by_itk.GetSpacing(), (1, 1, 3), rtol=1e-5)


@pytest.mark.parametrize("read", [read_volume, read_grid])
@pytest.mark.parametrize(
    ("sform", "codes", "message"),
    [
        (np.zeros((4, 4)), (1, 0), "sform affine must place.*found a zero affine"),
        (np.zeros((4, 4)), (1, 1), "zero affine.*The qform is usable: set sform_code to 0"),
        (np.diag([1.0, 1.0, 0.0, 1.0]), (1, 0), r"singular affine \(axis z has length 0\)"),
        (np.eye(4)[[0, 0, 2, 3]], (1, 0), "singular affine"),
        (np.diag([np.nan, 1.0, 1.0, 1.0]), (1, 0), "not finite"),
        (np.eye(4), (0, 0), "both are 0, so left and right are unknown"),
    ],
)
def test_an_affine_that_places_nothing_is_named(read, sform, codes, message, tmp_path) -> None:
    path = with_codes(tmp_path / "scan.nii.gz", sform, *codes)
    with pytest.raises(DataError, match=f"scan.nii.gz.*{message}"):
        read(path)


@pytest.mark.parametrize("read", [read_volume, read_grid])
def test_four_axes_are_refused_unless_the_last_is_one(read, tmp_path) -> None:
    with pytest.raises(DataError, match=r"4d\.nii.*found 4 axes.*\(3, 4, 5, 2\).*Save the volume"):
        read(save(tmp_path / "4d.nii.gz", np.zeros((3, 4, 5, 2), np.uint8)))
    assert read(save(tmp_path / "one.nii.gz", np.zeros((3, 4, 5, 1), np.uint8))).shape == (5, 4, 3)


def good_bytes(tmp_path: Path) -> bytes:
    array = np.random.default_rng(0).integers(0, 999, (20, 30, 10)).astype(np.int16)
    return save(tmp_path / "good.nii.gz", array).read_bytes()


def hostile(kind: str, good: bytes) -> bytes:
    flipped = bytearray(good)
    flipped[-6] ^= 0xFF
    return {
        "half": good[: len(good) // 2],
        "tail": good[:-4],
        "checksum": bytes(flipped),
        "text": b"hello world, this is no image",
        "zipped text": gzip.compress(b"hello"),
        "empty": b"",
        "plain": gzip.decompress(good),
        "noise": bytes(range(256)) * 4,
    }[kind]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("half", "found a truncated file of"),
        ("tail", "found a truncated file of"),
        ("checksum", "CRC check failed"),
        ("text", "found a text file that begins 'hello world, this is no image'"),
        ("zipped text", "found a gzip file that holds a text file that begins 'hello'"),
        ("empty", "found an empty file"),
        ("plain", "found an uncompressed NIfTI image"),
        ("noise", "found bytes that begin 00 01 02"),
    ],
)
def test_a_file_that_is_no_whole_image_is_one_sentence(kind, found, tmp_path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(hostile(kind, good_bytes(tmp_path)))
    with pytest.raises(DataError) as caught:
        read_volume(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: must be a whole NIfTI image")
    assert found in message
    assert message.endswith("Export or copy the scan again, or remove the file.")
    assert "\n" not in message


def test_a_truncated_plain_file_is_found_by_its_header_alone(tmp_path) -> None:
    path = save(tmp_path / "scan.nii", np.zeros((20, 30, 10), np.int16))
    path.write_bytes(path.read_bytes()[:5000])
    for read in (read_volume, read_grid):
        with pytest.raises(DataError, match="announces 12000 bytes of voxels, the file has 5000"):
            read(path)


def test_a_header_of_impossible_size_is_refused_before_memory_is_taken(tmp_path) -> None:
    path = save(tmp_path / "bomb.nii.gz", np.zeros((3, 4, 5), np.int16))
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[40:48] = np.array([3, 32000, 32000, 32000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(DataError, match="announces 65536000000000 bytes"):
        read_volume(path)


def test_missing_folders_and_unknown_suffixes(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_volume(tmp_path / "nothing.nii.gz")
    (tmp_path / "folder.nii.gz").mkdir()
    with pytest.raises(DataError, match="must be a file; found a folder"):
        read_nifti_grid(tmp_path / "folder.nii.gz")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"must end with one of .*\.nii\.gz.*found a PNG picture"):
        read_volume(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.tiff: the name must end with one of"):
        write_volume(Volume(np.zeros((1, 1, 1)), np.eye(4)), tmp_path / "a.tiff")


def test_colours_and_complex_numbers_are_refused(tmp_path) -> None:
    path = save(tmp_path / "complex.nii.gz", np.zeros((3, 4, 5), np.complex64))
    with pytest.raises(DataError, match=r"single numbers.*found complex64"):
        read_volume(path)


def test_labels_must_be_whole_numbers(tmp_path) -> None:
    array = np.zeros((3, 4, 5), np.float32)
    array[0, 0, 0] = 2
    assert read_labelmap(save(tmp_path / "ok.nii.gz", array)).array.dtype == np.uint8
    array[1, 1, 1:3] = 0.25
    with pytest.raises(DataError, match=r"bad\.nii\.gz.*found 2 voxels that are not, e\.g\. 0\.25"):
        read_labelmap(save(tmp_path / "bad.nii.gz", array))


def test_nothing_half_written_stays_behind(tmp_path) -> None:
    singular = Volume(np.zeros((2, 3, 4)), np.diag([1.0, 1.0, 0.0, 1.0]))
    with pytest.raises(DataError, match="singular affine"):
        write_volume(singular, tmp_path / "a.nii.gz")
    write_volume(Volume(np.zeros((2, 3, 4)), np.eye(4)), tmp_path / "b.nii.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["b.nii.gz"]


def test_a_volume_does_not_change_with_its_file(tmp_path) -> None:
    path = save(tmp_path / "a.nii", np.ones((3, 4, 5), np.int16))
    volume = read_volume(path)
    assert not isinstance(volume.array, np.memmap) and volume.array.flags.writeable
    raw = path.read_bytes()
    path.write_bytes(raw[:352] + bytes(len(raw) - 352))
    assert np.all(volume.array == 1)


def test_a_description_travels_with_the_scan(tmp_path) -> None:
    marked = Volume(np.zeros((2, 3, 4)), np.eye(4), {"description": "synthetic"})
    write_volume(marked, tmp_path / "a.nii.gz")
    assert read_volume(tmp_path / "a.nii.gz").meta["description"] == "synthetic"
    assert bytes(nibabel.load(tmp_path / "a.nii.gz").header["descrip"].item()) == b"synthetic"


@pytest.mark.parametrize(
    ("codes", "moved", "written"),
    [
        ((2, 1), False, (2, 1)),
        ((4, 0), False, (4, 0)),
        ((0, 3), False, (3, 3)),  # the qform holds; its place is stated as sform too
        ((2, 1), True, (2, 2)),  # the qform speaks of another space, which nothing is put in
    ],
)
def test_a_label_map_inherits_the_codes_of_its_image_and_not_its_description(
    codes, moved, written, tmp_path
) -> None:
    sform = np.eye(4)
    sform[:3, 3] = (0, 0, 9) if moved else (5, 6, 7)
    path = with_codes(tmp_path / "scan.nii.gz", sform, *codes)
    image = nibabel.load(path)
    image.header["descrip"] = b"of whom it is"
    image.to_filename(path)
    affine = nibabel.load(path).affine
    for meta in (read_volume(path).meta, open_slabs(path).meta):
        assert meta["description"] == "of whom it is"
        labels = Volume(np.zeros((5, 4, 3), np.uint8), affine, geometry_codes(meta))
        write_volume(labels, tmp_path / "labels.nii.gz")
        header = nibabel.load(tmp_path / "labels.nii.gz").header
        assert (int(header["sform_code"]), int(header["qform_code"])) == written
        assert bytes(header["descrip"].item()) == b""
        np.testing.assert_array_equal(header.get_sform(), affine)
        if written[1]:
            np.testing.assert_allclose(header.get_qform(), affine, atol=1e-6)


def test_suffixes_are_stripped_whole() -> None:
    assert strip_suffix("folder/a_0000.nii.gz") == "a_0000"
    assert strip_suffix("b.seg.nrrd") == "b"
    assert strip_suffix("c.1.NII") == "c.1"
    assert strip_suffix("d.txt") == "d.txt"


def test_real_scans_agree_with_nibabel_and_itk(real_data) -> None:
    paths = sorted((real_data / "head_mri_4seq").rglob("*.nii.gz"))
    paths += sorted((real_data / "Dataset004_Hippocampus" / "imagesTr").glob("*.nii.gz"))[:3]
    assert len(paths) >= 7
    for path in paths:
        volume, by_nibabel, by_itk = (
            read_volume(path),
            nibabel.load(path),
            sitk.ReadImage(str(path)),
        )
        np.testing.assert_array_equal(volume.array, np.asanyarray(by_nibabel.dataobj).T)
        np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(by_itk))
        np.testing.assert_allclose(volume.affine, by_nibabel.affine, atol=1e-6)
        np.testing.assert_allclose(volume.affine, itk_affine(by_itk), atol=1e-3)
        assert read_grid(path).matches(volume.grid)
