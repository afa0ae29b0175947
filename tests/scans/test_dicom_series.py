"""DICOM series: geometry against SimpleITK on made and real files, faults with their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from acinus.errors import DataError
from acinus.scans import (
    canonical,
    choose_series,
    list_series,
    on_grid_of,
    read_grid,
    read_series,
    read_volume,
    write_volume,
)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.99619470, 0.08715574, 0.0, -0.08420953, 0.96251899, 0.25783416)


def slice_file(path: Path, pixels: np.ndarray, position: np.ndarray, **tags: Any) -> Path:
    """One MR slice; `tags` replace or, where None, remove the usual values."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    values: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesDescription": "AX T1",
        "SeriesNumber": 4,
        "Modality": "MR",
        "PatientID": "P1",
        "ImageOrientationPatient": list(STRAIGHT),
        "ImagePositionPatient": [round(float(value), 6) for value in position],
        "PixelSpacing": [0.8, 0.5],
        "SliceThickness": 5,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **tags,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series_files(
    folder: Path,
    n_slices: int = 6,
    *,
    cosines: tuple[float, ...] = STRAIGHT,
    step: Callable[[int], np.ndarray] | None = None,
    **tags: Any,
) -> np.ndarray:
    """A series whose file names do not follow its positions; returns (Z, Y, X) values."""
    values = np.random.default_rng(7).integers(0, 900, (n_slices, 5, 4)).astype(np.int16)
    normal = np.cross(cosines[:3], cosines[3:])
    for z in range(n_slices):
        away = normal * 3.25 * z if step is None else step(z)
        position = np.array([-20.0, 30.0, -7.0]) + away
        name = f"IM{(z * 5) % 7:03d}"  # no suffix, shuffled
        slice_file(
            folder / name, values[z], position, ImageOrientationPatient=list(cosines), **tags
        )
    return values


def by_itk(paths: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Values and RAS+ affine as SimpleITK's series reader gives them, sorted by GDCM."""
    reader = sitk.ImageSeriesReader()
    uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent), uid))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), LPS_TO_RAS @ affine


def test_all_real_series_agree_with_simpleitk(real_data, tmp_path) -> None:
    folder = real_data / "dicom" / "PGBM-003"
    series = list_series(folder)
    assert [one.description for one in series] == ["T1post", "T1pre_reg", "FLAIR_reg", "T2_reg"]
    for number, one in enumerate(series, start=1):
        volume = read_volume(folder, series=str(number))
        values, affine = by_itk(one.paths)
        np.testing.assert_array_equal(volume.array, values)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-3)
        np.testing.assert_allclose(volume.spacing_mm, (6.5, 0.6875, 0.6875), atol=1e-3)
        assert read_grid(folder, series=one.uid).matches(volume.grid, 1e-9)
        turned = canonical(volume)
        labels = turned.with_array(turned.array > np.median(turned.array))
        back = on_grid_of(labels, volume.grid)
        write_volume(back, tmp_path / "labels.nii.gz")
        image = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(image), values > np.median(turned.array)
        )
        corner = [int(n) - 1 for n in image.GetSize()]
        left, back_mm, up = image.TransformIndexToPhysicalPoint(corner)
        world = affine @ [*corner, 1.0]
        np.testing.assert_allclose((-left, -back_mm, up), world[:3], atol=1e-3)


@pytest.mark.parametrize("cosines", [STRAIGHT, OBLIQUE, (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)])
def test_slices_are_sorted_by_position_and_spaced_by_it(cosines, tmp_path) -> None:
    values = series_files(tmp_path, cosines=cosines)
    volume = read_volume(tmp_path)
    oracle, affine = by_itk(list_series(tmp_path)[0].paths)
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_array_equal(volume.array, oracle)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_allclose(volume.spacing_mm, (3.25, 0.8, 0.5), atol=1e-4)
    assert volume.meta["description"] == "AX T1" and volume.meta["modality"] == "MR"


def test_the_patients_left_is_on_the_left(tmp_path) -> None:
    """A bright pixel at LPS x = +18 lies on the patient's left: negative in RAS."""
    pixels = np.zeros((5, 80), np.int16)
    pixels[2, 76] = 1000
    for z in range(3):
        slice_file(tmp_path / str(z), pixels, np.array([-20.0, 0, 2.0 * z]))
    volume = read_volume(tmp_path)
    world = volume.grid.world(np.argwhere(volume.array == 1000)[1])
    np.testing.assert_allclose(world, (-18.0, -1.6, 2.0))


def test_rescaling_is_applied(tmp_path) -> None:
    values = series_files(tmp_path / "whole", RescaleSlope=1, RescaleIntercept=-1024)
    whole = read_volume(tmp_path / "whole")
    assert whole.array.dtype == np.int16
    np.testing.assert_array_equal(whole.array, values.astype(int) - 1024)
    values = series_files(tmp_path / "part", RescaleSlope=0.25, RescaleIntercept=3)
    part = read_volume(tmp_path / "part")
    assert part.array.dtype == np.float32
    np.testing.assert_array_equal(part.array, values * 0.25 + 3)
    np.testing.assert_allclose(part.array, by_itk(list_series(tmp_path / "part")[0].paths)[0])


@pytest.mark.parametrize(
    ("stored", "shift"),
    [(np.uint16([39_000, 40_050]), -40_000), (np.int16([-32_768, -32_700]), 32_768)],
)
def test_an_intercept_may_be_larger_than_the_values_it_leads_to(stored, shift, tmp_path) -> None:
    pixels = np.tile(stored, (5, 2))
    for z in range(2):
        place = np.array([0, 0, 2.0 * z])
        slice_file(tmp_path / str(z), pixels, place, RescaleSlope=1, RescaleIntercept=shift)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array[0], pixels.astype(int) + shift)


def test_a_tilted_gantry_stays_in_the_affine(tmp_path) -> None:
    values = series_files(tmp_path, step=lambda z: np.array([0.0, 0.8 * z, 3.0 * z]))
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, values)
    assert volume.meta["tilt_degrees"] == pytest.approx(np.degrees(np.arctan2(0.8, 3.0)))
    for z in range(6):  # the first pixel of each slice lies at its ImagePositionPatient
        left, back, up = -20.0, 30.0 + 0.8 * z, -7.0 + 3.0 * z
        np.testing.assert_allclose(volume.grid.world(np.array((z, 0, 0))), (-left, -back, up))
    assert volume.grid.voxel_volume_ml == pytest.approx(0.8 * 0.5 * 3.0 / 1000)


def test_rounded_positions_pass(tmp_path) -> None:
    series_files(tmp_path, step=lambda z: np.array([0, 0, round(1.0 / 3 * z, 2)]))
    assert read_volume(tmp_path).spacing_mm[0] == pytest.approx(1 / 3, abs=0.01)


def test_a_missing_slice_is_an_error_with_the_distances(tmp_path) -> None:
    series_files(tmp_path)
    (tmp_path / "IM001").unlink()  # the fourth of six positions
    for read in (read_volume, read_grid):
        with pytest.raises(DataError) as caught:
            read(tmp_path)
        message = str(caught.value)
        assert "slices must be evenly spaced" in message
        assert "distances of 3.25 to 6.5 mm, median 3.25 mm" in message
        assert "(1 missing there)" in message and "Export the whole series" in message


def test_uneven_positions_are_an_error_with_the_distances(tmp_path) -> None:
    series_files(tmp_path, step=lambda z: np.array([0, 0, 3.0 * z + (0.4 if z == 2 else 0)]))
    with pytest.raises(DataError, match=r"distances of 2\.6 to 3\.4 mm, median 3 mm"):
        read_volume(tmp_path)


def test_a_bent_stack_is_an_error(tmp_path) -> None:
    series_files(tmp_path, step=lambda z: np.array([0.1 * z**2, 0, 3.0 * z]))
    with pytest.raises(DataError, match=r"must lie on a straight line within 0\.06 mm"):
        read_volume(tmp_path)


def test_a_repeated_slice_names_both_files(tmp_path) -> None:
    series_files(tmp_path)
    (tmp_path / "copy").write_bytes((tmp_path / "IM000").read_bytes())
    with pytest.raises(
        DataError, match=r"found 1 repeated, first IM000 and copy at.*copies of one"
    ):
        read_volume(tmp_path)
    (tmp_path / "copy").unlink()
    slice_file(tmp_path / "other", np.ones((5, 4), np.int16), np.array([-20.0, 30, -7]))
    with pytest.raises(DataError, match="two images of different UIDs"):
        read_volume(tmp_path)


def two_series(folder: Path) -> None:
    series_files(folder / "a", SeriesInstanceUID="1.1", SeriesDescription="AX T1", SeriesNumber=12)
    series_files(
        folder / "b", SeriesInstanceUID="1.2", SeriesDescription="AX T1 FS", SeriesNumber=3
    )


def test_several_series_are_listed_and_never_chosen_silently(tmp_path) -> None:
    two_series(tmp_path)
    with pytest.raises(DataError) as caught:
        read_volume(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: exactly one DICOM series must be chosen; found 2")
    assert "1: 'AX T1 FS' (MR, 6 slices, 3.25 x 0.8 x 0.5 mm, UID 1.2)" in message
    assert "2: 'AX T1' (MR, 6 slices" in message


def test_a_series_is_chosen_by_number_uid_or_description(tmp_path) -> None:
    two_series(tmp_path)
    series = list_series(tmp_path)
    assert choose_series(series, "1").uid == "1.2"
    assert choose_series(series, "1.1").description == "AX T1"
    assert choose_series(series, "fs").uid == "1.2"
    assert choose_series(series, "ax t1").uid == "1.1"  # the whole description goes first
    assert choose_series(series[:1], None) is series[0]
    assert read_volume(tmp_path, series="1.1").meta["series_uid"] == "1.1"
    with pytest.raises(DataError, match=r"'T1' fits 2 of them \('AX T1 FS', 'AX T1'\)"):
        choose_series(series, "T1")
    with pytest.raises(DataError, match="'T2' fits none of them"):
        choose_series(series, "T2")


def test_orientations_inside_one_series_are_entries_of_their_own(tmp_path) -> None:
    series_files(tmp_path / "a", 3, SeriesDescription="localizer")
    series_files(tmp_path / "b", 4, cosines=(0, 1, 0, 0, 0, -1), SeriesDescription="localizer")
    series = list_series(tmp_path)
    assert [(one.description, one.n_slices) for one in series] == [
        ("localizer [axial]", 3),
        ("localizer [sagittal]", 4),
    ]
    with pytest.raises(DataError, match=r"'1\.2\.3\.4' fits 2 of them"):
        choose_series(series, "1.2.3.4")
    assert read_series(choose_series(series, "sagittal")).shape == (4, 5, 4)


def test_echoes_at_the_same_positions_are_entries_of_their_own(tmp_path) -> None:
    series_files(tmp_path / "a", EchoTime=20)
    series_files(tmp_path / "b", EchoTime=90)
    assert [one.description for one in list_series(tmp_path)] == [
        "AX T1 [EchoTime 20]",
        "AX T1 [EchoTime 90]",
    ]


def test_other_files_are_skipped_with_count_and_reason(tmp_path) -> None:
    values = series_files(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "README").write_text("hello again")
    (tmp_path / "cut").write_bytes((tmp_path / "IM000").read_bytes()[:300])
    (tmp_path / "empty.dcm").write_bytes(b"")
    slice_file(tmp_path / "report", values[0], np.zeros(3), Rows=None)
    slice_file(tmp_path / "film", values[0], np.zeros(3), NumberOfFrames=20)
    slice_file(tmp_path / "colour", values[0], np.zeros(3), SamplesPerPixel=3)
    slice_file(tmp_path / "shot", values[0], np.zeros(3), ImagePositionPatient=None)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, values)
    skipped = volume.meta["skipped"]
    assert skipped["not DICOM (a text file)"] == 2
    assert sum(skipped.values()) == 8
    assert any(reason.startswith("multi-frame") for reason in skipped)
    assert "colour pictures" in skipped


def test_a_folder_without_slices_says_what_it_holds(tmp_path) -> None:
    with pytest.raises(DataError, match=r"must hold the DICOM slices.*found no files at all"):
        read_volume(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DataError, match=r"found 1 not DICOM \(a text file\)"):
        read_volume(tmp_path)
    with pytest.raises(DataError, match="must be a folder"):
        list_series(tmp_path / "nothing")


def test_a_slice_cut_off_inside_its_pixels_is_named(tmp_path) -> None:
    series_files(tmp_path)
    path = tmp_path / "IM003"
    path.write_bytes(path.read_bytes()[:-13])
    with pytest.raises(DataError, match=r"IM003: must hold the whole pixels.*Export the series"):
        read_volume(tmp_path)


def test_old_files_without_preamble_are_read(tmp_path) -> None:
    values = series_files(tmp_path / "new", RescaleSlope=1, RescaleIntercept=-5)
    (tmp_path / "old").mkdir()
    for path in (tmp_path / "new").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta = FileMetaDataset()
        dataset.preamble = None
        dataset.save_as(tmp_path / "old" / path.name, implicit_vr=True, little_endian=True)
    assert (tmp_path / "old" / "IM000").read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_volume(tmp_path / "old").array, values.astype(int) - 5)


def test_a_single_slice_takes_its_thickness_and_needs_one(tmp_path) -> None:
    series_files(tmp_path / "a", 1)
    assert read_volume(tmp_path / "a").spacing_mm == pytest.approx((5, 0.8, 0.5))
    series_files(tmp_path / "b", 1, SliceThickness=None)
    with pytest.raises(DataError, match="single slice must state SliceThickness"):
        read_volume(tmp_path / "b")


def test_compressed_pixels_are_decoded(tmp_path) -> None:
    values = series_files(tmp_path / "plain", 3)
    for path in (tmp_path / "plain").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.RLELossless)
        (tmp_path / "rle").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "rle" / path.name)
        image = sitk.ReadImage(str(path))
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.KeepOriginalImageUIDOn()
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")  # lossless, which pydicom alone cannot decode
        (tmp_path / "jpeg").mkdir(exist_ok=True)
        writer.SetFileName(str(tmp_path / "jpeg" / f"{path.name}.dcm"))
        writer.Execute(image)
    np.testing.assert_array_equal(read_volume(tmp_path / "rle").array, values)
    first = next((tmp_path / "jpeg").iterdir())
    assert pydicom.dcmread(first).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(tmp_path / "jpeg").array, values)
