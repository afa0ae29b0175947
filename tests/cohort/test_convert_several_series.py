"""Several images in one study or series: each structure to its own, and nothing drawn is lost."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from test_convert import GLANDS, LEFT, RIGHT, convert, labels, mapped, mask_of

from acinus.cohort.convert.mapping import read_mapping
from acinus.errors import ConfigError
from acinus.scans import list_export, read_series
from made_export import (
    AXIAL,
    CORNER,
    STEP_MM,
    affine_of,
    ct_values,
    instance,
    uid,
    write_enhanced,
    write_rtstruct,
    write_seg,
    write_series,
)

MRN = "MRN123456"
N_FINE = 11


def changed(path: Path, change: Any) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def half_steps(z: int) -> np.ndarray:
    return np.array(CORNER) + np.array([0, 0, STEP_MM / 2]) * z


def two_reconstructions(folder: Path) -> None:
    """AX, and FINE with slices at half of its distances and so nearly twice as many."""
    write_series(folder / "ax", ct_values())
    write_series(folder / "fine", ct_values((N_FINE, 10, 12)), series="FINE", positions=half_steps)


def image(series: str, z: int) -> Dataset:
    named = Dataset()
    named.ReferencedSOPInstanceUID = instance(MRN, "head", series, z)
    return named


def list_both(dataset: Dataset) -> None:
    """As planning systems list all series that were shown, with all of their images."""
    within = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    fine = Dataset()
    fine.SeriesInstanceUID = uid(MRN, "head", "FINE")
    fine.ContourImageSequence = [image("FINE", z) for z in range(N_FINE)]
    within.RTReferencedSeriesSequence = [*within.RTReferencedSeriesSequence, fine]


def name_images(dataset: Dataset, roi: int, series: str) -> None:
    """Let each contour of a structure, drawn on slices 1 to 3 of AX, name its image."""
    for z, contour in enumerate(dataset.ROIContourSequence[roi].ContourSequence, start=1):
        contour.ContourImageSequence = [image(series, z if series == "AX" else 2 * z)]


def drawn_on(tmp_path: Path, right: str, left: str) -> None:
    """Both series and a set that lists both; each gland was drawn on one of them."""
    two_reconstructions(tmp_path / "export")
    path = tmp_path / "export" / "rs"
    write_rtstruct(path, GLANDS, affine_of(AXIAL))
    dataset = pydicom.dcmread(path)
    list_both(dataset)
    name_images(dataset, 0, right)
    name_images(dataset, 1, left)
    dataset.save_as(path)


def taking(tmp_path: Path, description: str, **changes: Any) -> Path:
    channels = {"CT": {"modality": "CT", "description": f"^{description}"}}
    return mapped(tmp_path, channels=channels, **changes)


def test_a_structure_set_that_lists_two_series_belongs_to_the_one_drawn_on(tmp_path) -> None:
    drawn_on(tmp_path, right="AX", left="AX")
    outcome = convert(tmp_path, mapping=taking(tmp_path, "AX"))
    assert outcome.failed == {} and outcome.left_out == ("P001_1: no rule asks for 'FINE' (CT)",)
    expected = mask_of(RIGHT) * 1 + mask_of(LEFT) * 2
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T, expected)


def test_structures_of_one_set_go_to_the_series_of_their_own_contours(tmp_path) -> None:
    drawn_on(tmp_path, right="AX", left="FINE")
    outcome = convert(tmp_path, mapping=taking(tmp_path, "AX"))
    assert outcome.failed == {}
    assert "P001_1: RTSTRUCT 'glands' (parotid_l) was drawn on 'FINE', no channel" in (
        outcome.left_out
    )
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T, mask_of(RIGHT) * 1)


def test_a_seg_belongs_to_the_series_that_its_frames_were_drawn_on(tmp_path) -> None:
    two_reconstructions(tmp_path / "export")
    masks = {"Parotid_R": mask_of(RIGHT), "parotid_l": mask_of(LEFT)}
    write_seg(tmp_path / "export" / "seg", masks)

    def change(dataset: Dataset) -> None:
        referred = []
        for series, n in (("AX", 6), ("FINE", N_FINE)):
            one = Dataset()
            one.SeriesInstanceUID = uid(MRN, "head", series)
            one.ReferencedInstanceSequence = [image(series, z) for z in range(n)]
            referred.append(one)
        dataset.ReferencedSeriesSequence = referred
        for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            derived = Dataset()
            derived.SourceImageSequence = [image("AX", 1 + number % 3)]
            frame.DerivationImageSequence = [derived]

    changed(tmp_path / "export" / "seg", change)
    outcome = convert(tmp_path, mapping=taking(tmp_path, "AX"))
    assert outcome.failed == {}
    expected = mask_of(RIGHT) * 1 + mask_of(LEFT) * 2
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T, expected)


@pytest.mark.parametrize("missing", ["not_annotated", "absent"])
def test_a_structure_that_vanishes_on_the_image_s_grid_is_not_absent(missing, tmp_path) -> None:
    """One voxel of the finer series lies between the slices of the first channel."""
    two_reconstructions(tmp_path / "export")
    one_voxel = (slice(3, 4), slice(4, 5), slice(3, 4))
    boxes = {"Parotid_R": one_voxel, "parotid_l": (slice(2, 7), slice(3, 6), slice(8, 11))}
    affine = affine_of(AXIAL, step=(0, 0, STEP_MM / 2))
    write_rtstruct(tmp_path / "export" / "rs", boxes, affine, series="FINE", n_slices=N_FINE)
    channels = {
        "first": {"modality": "CT", "description": "^AX"},
        "second": {"modality": "CT", "description": "^FINE"},
    }
    mapping = mapped(tmp_path, channels=channels, align=True, missing=missing)
    outcome = convert(tmp_path, mapping=mapping)
    assert outcome.failed == {}
    notes = str(outcome.notes)
    assert "'Parotid_R', of 0.0006 mL as drawn, has no voxel on the image's grid" in notes
    assert "is empty" not in notes
    header = json.loads((tmp_path / "dataset" / "dataset.json").read_text())
    assert header["annotated"] == {"P001_1": ["parotid_left"]}


def test_contours_that_hold_no_voxel_are_told(tmp_path) -> None:
    write_series(tmp_path / "export" / "ax", ct_values())
    write_rtstruct(tmp_path / "export" / "rs", GLANDS, affine_of(AXIAL))

    def narrow(dataset: Dataset) -> None:
        world = affine_of(AXIAL)
        for roi, narrowed in ((0, [0, 1]), (1, [0, 1, 2])):
            for number in narrowed:
                z = number + 1
                index = np.array(
                    [(x, y, z, 1.0) for x, y in ((2, 3.1), (5, 3.1), (5, 3.9), (2, 3.9))]
                )
                points = (index @ (np.diag([-1.0, -1.0, 1.0, 1.0]) @ world).T)[:, :3]
                contour = dataset.ROIContourSequence[roi].ContourSequence[number]
                contour.ContourData = [round(float(value), 4) for value in points.ravel()]

    changed(tmp_path / "export" / "rs", narrow)
    outcome = convert(tmp_path)
    assert outcome.failed == {}
    notes = str(outcome.notes)
    assert "'Parotid_R': 2 of 3 contours hold no voxel's centre" in notes
    assert "'parotid_l' has contours, but none holds the centre of a voxel" in notes


def test_a_contour_that_reaches_beyond_the_image_is_refused(tmp_path) -> None:
    write_series(tmp_path / "export" / "ax", ct_values())
    beyond = {**GLANDS, "parotid_l": (slice(1, 4), slice(3, 6), slice(8, 15))}
    write_rtstruct(tmp_path / "export" / "rs", beyond, affine_of(AXIAL))
    (reason,) = convert(tmp_path).failed.values()
    assert "contours must lie inside the series" in reason and "columns 7.6 to 14.4" in reason
    # One that follows the edge of the image, by the outer corners of its pixels, does not.
    edge = {**GLANDS, "parotid_l": (slice(1, 4), slice(3, 6), slice(8, 12.5))}
    write_rtstruct(tmp_path / "export" / "rs", edge, affine_of(AXIAL))
    assert convert(tmp_path).failed == {}


@pytest.mark.parametrize(
    ("tag", "values"),
    [
        ("EchoTime", [10.0, 100.0]),
        ("ConvolutionKernel", ["B30", "B70"]),
        ("SliceThickness", [2, 5]),
    ],
)
def test_images_that_lie_in_each_other_are_two(tag: str, values: list[Any], tmp_path) -> None:
    write_series(tmp_path, ct_values(), each=lambda z: {tag: values[z % 2]})
    found = list_export(tmp_path).series
    assert [(one.n_slices, one.spacing_mm[0], one.faults) for one in found] == [
        (3, 2 * STEP_MM, ())
    ] * 2
    assert all(f"[{tag} " in one.description for one in found)


def test_one_above_the_other_is_told_and_stays_one(tmp_path) -> None:
    write_series(
        tmp_path / "export", ct_values(), each=lambda z: {"ConvolutionKernel": ["A", "B"][z // 3]}
    )
    (one,) = list_export(tmp_path / "export").series
    assert one.n_slices == 6
    outcome = convert(tmp_path, mapping=mapped(tmp_path, labels={}, mirror_pairs=[]))
    assert outcome.failed == {}
    assert "slices differ in ConvolutionKernel: A (3), B (3)" in str(outcome.notes)


@pytest.mark.parametrize("told", ["kernel", "trigger"])
def test_frames_of_two_kernels_or_phases_are_two_series(told: str, tmp_path) -> None:
    write_enhanced(tmp_path / "one", ct_values(), n_times=2)

    def change(dataset: Dataset) -> None:
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            time = int(frame.FrameContentSequence[0].TemporalPositionIndex)
            del frame.FrameContentSequence
            says = Dataset()
            if told == "kernel":
                says.ConvolutionKernel = ["B30", "B70"][time - 1]
                frame.CTReconstructionSequence = [says]
            else:
                says.NominalCardiacTriggerDelayTime = 50.0 * time
                frame.CardiacSynchronizationSequence = [says]

    changed(tmp_path / "one", change)
    found = list_export(tmp_path).series
    assert [(one.n_slices, one.faults) for one in found] == [(6, ())] * 2


def test_padding_that_is_no_hounsfield_unit_becomes_air(tmp_path) -> None:
    """-32,768 with an intercept of -1,024 is padding, not a CT that lost its rescaling."""
    values = ct_values().astype(np.int32)
    values[:, 0, :2] = -32768 - 1024
    write_series(tmp_path / "export", values, PixelPaddingValue=-32768)
    (one,) = list_export(tmp_path / "export").series
    read = read_series(one)
    expected = np.where(values < -2000, -1024, values)
    np.testing.assert_array_equal(read.array, expected)
    assert read.meta["notes"] == (
        "12 voxels outside of the field of view, PixelPaddingValue -32768, are set to -1024 HU",
    )


def test_padding_that_is_a_hounsfield_unit_stays(tmp_path) -> None:
    values = ct_values().astype(np.int32)
    values[:, 0, :2] = -3024
    write_series(tmp_path / "export", values, PixelPaddingValue=-2000)
    (one,) = list_export(tmp_path / "export").series
    np.testing.assert_array_equal(read_series(one).array, values)


def test_bits_that_lie_nobody_knows_where_are_refused(tmp_path) -> None:
    write_series(tmp_path / "export" / "bad", ct_values(), BitsStored=12, HighBit=15, series="X")
    write_series(tmp_path / "export" / "good", ct_values())
    outcome = convert(tmp_path, mapping=mapped(tmp_path, labels={}, mirror_pairs=[]))
    assert outcome.written == ("P001_1",)
    assert "whose HighBit, 15, is not one less than their BitsStored, 12" in str(outcome.failed)


def test_more_labels_than_a_byte_holds_are_refused_by_their_number(tmp_path) -> None:
    many = {f"s{n}": {"roi": [f"S{n}"]} for n in range(300)}
    with pytest.raises(ConfigError, match="can have 254 labels; got 300"):
        read_mapping(mapped(tmp_path, labels=many, mirror_pairs=[]))


def test_frames_of_a_segment_without_description_are_told(tmp_path) -> None:
    write_series(tmp_path / "export" / "ax", ct_values())
    masks = {"Parotid_R": mask_of(RIGHT), "parotid_l": mask_of(LEFT)}
    write_seg(tmp_path / "export" / "seg", masks)

    def forget(dataset: Dataset) -> None:
        dataset.SegmentSequence = [dataset.SegmentSequence[0]]

    changed(tmp_path / "export" / "seg", forget)
    outcome = convert(tmp_path)
    assert outcome.failed == {}
    assert "3 frames of segments that are not described (number 2)" in str(outcome.notes)


def test_pydicom_s_own_warnings_are_not_shown(tmp_path) -> None:
    (path,) = write_series(tmp_path / "export", ct_values((1, 10, 12)))
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\x08\x00\x60\x00CS")
    raw[at + 4 : at + 6] = b"\x02\x00"
    path.write_bytes(bytes(raw))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list_export(tmp_path / "export")


def test_a_volume_on_a_tilted_grid_is_that_of_its_sheared_voxels(tmp_path) -> None:
    """30 degrees: the distance of slices along their shear is 15% more than across them."""
    step = np.array([0, STEP_MM * np.tan(np.radians(30)), STEP_MM])
    write_series(
        tmp_path / "export" / "ax", ct_values(), positions=lambda z: np.array(CORNER) + step * z
    )
    write_rtstruct(tmp_path / "export" / "rs", GLANDS, affine_of(AXIAL, step=step))
    outcome = convert(tmp_path)
    assert outcome.failed == {}
    assert "gantry tilt of 30 degrees" in str(outcome.notes)
    assert "mL on the image's grid" not in str(outcome.notes)
