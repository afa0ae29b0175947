"""Multi-frame objects, mixed series and compressed pixels, against known affines and SimpleITK."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import SecondaryCaptureImageStorage

from acinus.errors import DataError
from acinus.scans import Series, list_export, read_series, write_volume
from acinus.scans import slices as slices_module
from made_export import (
    AXIAL,
    CORNER,
    CORONAL,
    LPS_TO_RAS,
    OBLIQUE,
    SAGITTAL,
    affine_of,
    ct_values,
    write_enhanced,
    write_series,
)

ORIENTATIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "oblique": OBLIQUE}


def only_series(source: Path) -> Series:
    (one,) = list_export(source).series
    return one


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_orientation_goes_through_dicom_and_nifti(name, tmp_path) -> None:
    """Classic against SimpleITK's series reader; both against the affine they were made with."""
    cosines = ORIENTATIONS[name]
    values = ct_values()
    paths = write_series(tmp_path / "classic", values, cosines=cosines)
    write_enhanced(tmp_path / "enhanced" / "one", values, cosines=cosines)
    image = sitk.ReadImage([str(path) for path in paths])
    for folder in ("classic", "enhanced"):
        series = only_series(tmp_path / folder)
        volume = read_series(series)
        np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
        write_volume(volume, tmp_path / f"{folder}.nii.gz")
        written = nibabel.load(tmp_path / f"{folder}.nii.gz")
        np.testing.assert_allclose(written.affine, affine_of(cosines), atol=1e-5)
        np.testing.assert_array_equal(np.asarray(written.dataobj).T, values)
        for index in ((0, 0, 0), (11, 9, 5), (3, 0, 2)):
            lps = np.array(image.TransformIndexToPhysicalPoint(index))
            world = written.affine @ [*index, 1.0]
            np.testing.assert_allclose(world[:3], lps * (-1, -1, 1), atol=1e-4)
    assert series.plane == ("axial" if name == "oblique" else name)


def test_frames_have_their_own_rescaling(tmp_path) -> None:
    values = np.arange(5 * 4 * 3).reshape(5, 4, 3) * 0.5
    write_enhanced(tmp_path / "pet", values, rescale=lambda z: (0.25 * (z + 1), -0.5 * z))
    found = read_series(only_series(tmp_path)).array
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, values, atol=0.7)
    whole = 4 * np.round(values)
    write_enhanced(tmp_path / "pet", whole, rescale=lambda z: (2.0, 0.0))
    np.testing.assert_array_equal(read_series(only_series(tmp_path)).array, whole)


def test_time_points_in_one_object_are_series_of_their_own(tmp_path) -> None:
    values = ct_values()
    write_enhanced(tmp_path / "dynamic", values, n_times=3)
    series = list_export(tmp_path).series
    assert [one.description for one in series] == [
        f"enhanced [TemporalPositionIdentifier {time}]" for time in (1, 2, 3)
    ]
    for time, one in enumerate(series):
        assert one.faults == ()
        np.testing.assert_array_equal(read_series(one).array, values + 100 * time)


def test_images_at_one_place_that_nothing_tells_apart_are_a_fault(tmp_path) -> None:
    write_series(tmp_path / "a", ct_values())
    write_series(tmp_path / "b", ct_values(seed=8), each=lambda z: {"InstanceNumber": 100 + z})
    for path in (tmp_path / "b").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID[:-2]}.9"
        dataset.save_as(path)
    one = only_series(tmp_path)
    assert one.n_slices == 12 and [fault.code for fault in one.faults] == ["repeated"]
    assert (
        "found 6 repeated" in one.faults[0].found
        and "two images of different UIDs" in one.faults[0].found
    )
    for repair in (False, True):
        with pytest.raises(DataError, match=r"each position must hold one slice"):
            read_series(one, repair=repair)


def test_one_series_is_divided_by_what_tells_its_images_apart(tmp_path) -> None:
    values = ct_values()
    write_series(tmp_path / "a", values, modality="MR", each=lambda z: {"EchoTime": 10})
    write_series(
        tmp_path / "b", values[1:] + 5, modality="MR",
        positions=lambda z: np.add(CORNER, (0, 0, 3.0 * (z + 1))),
        each=lambda z: {"EchoTime": 80, "InstanceNumber": z + 50},
        names=lambda z: f"second{z}",
    )  # fmt: skip
    one, two = list_export(tmp_path).series
    assert (one.description, one.n_slices) == ("AX [EchoTime 10]", 6)
    assert (two.description, two.n_slices) == (
        "AX [EchoTime 80]",
        5,
    )  # a slice lost does not matter
    np.testing.assert_array_equal(read_series(two).array, values[1:] + 5)


def test_two_stacks_of_one_series_are_divided_by_acquisition(tmp_path) -> None:
    values = ct_values()

    def at(z: int) -> np.ndarray:
        return np.add(CORNER, (0, 0, 3.0 * z if z < 3 else 100 + 3.0 * z))

    write_series(
        tmp_path, values, positions=at, each=lambda z: {"AcquisitionNumber": 1 + int(z > 2)}
    )
    one, two = list_export(tmp_path).series
    assert [one.description, two.description] == [
        "AX [AcquisitionNumber 1]",
        "AX [AcquisitionNumber 2]",
    ]
    np.testing.assert_array_equal(read_series(two).array, values[3:])


@pytest.mark.parametrize("lost", [(3,), (4,), (3, 4), (3, 8)])
def test_a_stack_that_lost_slices_between_acquisitions_stays_one(lost, tmp_path) -> None:
    """A table that moves in steps of four slices: each part by itself would look whole."""
    values = ct_values((12, 10, 12))
    paths = write_series(tmp_path, values, each=lambda z: {"AcquisitionNumber": z // 4 + 1})
    for z in lost:
        paths[z].unlink()
    one = only_series(tmp_path)
    assert one.description == "AX" and [fault.code for fault in one.faults] == ["missing"]
    found = read_series(one, repair=True)
    assert found.meta["interpolated"] == lost
    np.testing.assert_array_equal(np.delete(found.array, lost, 0), np.delete(values, lost, 0))


def test_localizers_and_derived_images_stand_apart(tmp_path) -> None:
    values = ct_values()
    write_series(tmp_path / "a", values, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    write_series(
        tmp_path / "b", values[:2], cosines=CORONAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    write_series(tmp_path / "c", values, series="MIP", ImageType=["DERIVED", "SECONDARY"])
    found = {one.description: one.kind for one in list_export(tmp_path).series}
    assert found == {
        "AX [original, axial]": "original",
        "AX [localizer, coronal]": "localizer",
        "MIP": "derived",
    }


def test_what_is_no_slice_is_passed_over_with_a_reason(tmp_path) -> None:
    values = ct_values()
    write_series(tmp_path / "scan", values)
    gone = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
    write_series(tmp_path / "shot", values[:1], SOPClassUID=SecondaryCaptureImageStorage, **gone)
    write_series(tmp_path / "xray", values[:1], modality="CR", **gone)
    write_series(
        tmp_path / "report", values[:1], SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", modality="SR"
    )
    write_series(
        tmp_path / "dose",
        values[:1],
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2",
        modality="RTDOSE",
    )
    write_series(tmp_path / "huge", values[:1])[0].write_bytes(
        next((tmp_path / "scan").iterdir()).read_bytes()[:700]
    )
    export = list_export(tmp_path)
    assert [one.n_slices for one in export.series] == [6]
    assert sorted((one.reason, one.is_fault) for one in export.skipped) == [
        ("DICOM images without orientation, position or pixel spacing", False),
        ("DICOM without an image (Basic Text SR)", False),
        ("DICOM without an image (RT Dose)", False),
        ("damaged DICOM, a CT Image without rows and columns", True),
        ("secondary captures (screenshots)", False),
    ]


def test_a_damaged_class_is_a_damaged_file(tmp_path) -> None:
    """A value that pydicom reads late: its kind of value is none that the standard has."""
    for path in write_series(tmp_path, ct_values()[:1]):
        data = path.read_bytes()
        path.write_bytes(data.replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00WI"))
    (skipped,) = list_export(tmp_path).skipped
    assert skipped.reason == "damaged DICOM" and skipped.is_fault


@pytest.mark.parametrize(
    "frames", ["fewer groups than frames", "no groups", "no position"]
)  # fmt: skip
def test_frames_that_do_not_say_where_they_lie_are_refused(frames, tmp_path) -> None:
    write_enhanced(tmp_path / "one", ct_values())
    dataset = pydicom.dcmread(tmp_path / "one")
    if frames == "fewer groups than frames":
        del dataset.PerFrameFunctionalGroupsSequence[-1]
    elif frames == "no groups":
        del dataset.PerFrameFunctionalGroupsSequence
    else:
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            del frame.PlanePositionSequence
    dataset.save_as(tmp_path / "one")
    export = list_export(tmp_path)
    assert export.series == () and len(export.skipped) == 1
    wanted = {
        "fewer groups than frames": "contradicts",
        "no groups": "does not say",
        "no position": "position",
    }
    assert wanted[frames] in export.skipped[0].reason


@pytest.mark.parametrize(
    "syntax", ["RLELossless", "JPEGLSLossless", "JPEG2000Lossless", "JPEGLosslessSV1"]
)
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_compressed_pixels_are_the_same(syntax, modality, tmp_path) -> None:
    """Whatever decodes them: the values are those that were written."""
    values = ct_values((3, 10, 12)) + (1100 if modality == "MR" else 0)
    rescale = (1.0, -1024.0) if modality == "CT" else (0.0, 0.0)
    uid = getattr(pydicom.uid, syntax)
    for path in write_series(tmp_path / "a", values, modality=modality, rescale=rescale):
        compressed = compress(path, uid)
        assert compressed.file_meta.TransferSyntaxUID == uid
    np.testing.assert_array_equal(read_series(only_series(tmp_path / "a")).array, values)


def compress(path: Path, uid: str) -> pydicom.Dataset:
    """Compress a file in place with GDCM, or for RLE with pydicom."""
    if uid == pydicom.uid.RLELossless:
        dataset = pydicom.dcmread(path)
        dataset.compress(uid)
        dataset.save_as(path)
        return dataset
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    kinds = {
        pydicom.uid.JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
        pydicom.uid.JPEG2000Lossless: gdcm.TransferSyntax.JPEG2000Lossless,
        pydicom.uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    }
    change.SetTransferSyntax(gdcm.TransferSyntax(kinds[uid]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return pydicom.dcmread(path)


def test_deflated_files_are_read_only_where_they_cannot_fill_the_memory(
    tmp_path, monkeypatch
) -> None:
    values = ct_values()
    for path in write_series(tmp_path, values):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    np.testing.assert_array_equal(read_series(only_series(tmp_path)).array, values)
    monkeypatch.setattr(slices_module, "MAX_DEFLATED_BYTES", 100)
    export = list_export(tmp_path)
    assert export.series == () and len(export.skipped) == 6
    assert export.skipped[0].reason.startswith("deflated DICOM") and export.skipped[0].is_fault


def test_world_of_a_bright_frame(tmp_path) -> None:
    """A voxel of an enhanced sagittal object lies where its own frame's header puts it."""
    values = np.zeros((4, 5, 6), np.int16)
    values[2, 3, 1] = 900
    write_enhanced(tmp_path / "one", values, cosines=SAGITTAL)
    volume = read_series(only_series(tmp_path))
    frame = 4 - 1 - 2  # frames are stored last slice first
    header = pydicom.dcmread(tmp_path / "one").PerFrameFunctionalGroupsSequence[frame]
    first = np.array(header.PlanePositionSequence[0].ImagePositionPatient, float)
    lps = first + np.array(SAGITTAL[:3]) * 0.5 * 1 + np.array(SAGITTAL[3:]) * 0.8 * 3
    world = volume.grid.world(np.argwhere(volume.array == 900)[0])
    np.testing.assert_allclose(world, (LPS_TO_RAS[:3, :3] @ lps), atol=1e-6)


def test_numbers_of_floating_point_keep_their_fractions(tmp_path) -> None:
    """A parametric map, such as diffusion coefficients of 0 to 0.003."""
    values = np.linspace(0, 0.003, 6 * 10 * 12, dtype=np.float32).reshape(6, 10, 12)
    for path, layer in zip(
        write_series(tmp_path, ct_values(), rescale=(0, 0)), values, strict=True
    ):
        dataset = pydicom.dcmread(path)
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        dataset.BitsAllocated, dataset.FloatPixelData = 32, layer.tobytes()
        dataset.save_as(path)
    (series,) = list_export(tmp_path).series
    np.testing.assert_allclose(read_series(series).array, values, rtol=1e-6)
