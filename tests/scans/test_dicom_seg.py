"""DICOM SEG: written ones face dciodvfy and highdicom, highdicom's own face our reader."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from acinus.errors import ConfigError, DataError, GridError
from acinus.scans import (
    LabelledStructure,
    Origin,
    Series,
    Volume,
    canonical,
    list_series,
    read_dicom_seg,
    read_grid,
    read_rtstruct,
    read_series,
    write_dicom_seg,
    write_rtstruct,
)
from acinus.scans import coding as coding_module
from acinus.scans.coding import BILATERAL, SIDES, TISSUE, coding_of
from made_export import AXIAL, OBLIQUE, write_enhanced, write_seg
from made_series import PLANES, write_series

SHAPE = (7, 9, 11)
NAMES = {"parotid_left": 1, "lacrimal_right": 3, "brain": 4}
STRUCTURES = [
    LabelledStructure("parotid_left", (1,), "left"),
    LabelledStructure("lacrimal_right", (3,), "right"),
    LabelledStructure("brain", (4,)),
]
ORIGIN = Origin("made-model", "1.2", warning="Learned from synthetic images only.")


def labels(rng: np.random.Generator) -> np.ndarray:
    """Labels 1 and 3, none of 4, with an empty slice between and single voxels at corners."""
    array = rng.choice([0, 1, 3], SHAPE, p=[0.8, 0.1, 0.1]).astype(np.uint8)
    array[[0, 3, 6]] = 0
    array[2, 0, 0], array[5, -1, -1] = 1, 3
    return array


def made_series(folder: Path, plane: str = "axial", **options: object) -> Series:
    write_series(folder, np.arange(np.prod(SHAPE)).reshape(SHAPE) % 700, plane=plane, **options)
    return list_series(folder)[0]


def faults_of(path: Path) -> list[str]:
    """What the independent validator calls an error."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy not found (Debian package dicom3tools)")
    run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in run.stderr.splitlines() if line.startswith("Error")]


def by_highdicom(path: Path, uids: list[str], number: int) -> np.ndarray:
    """(Z, Y, X) of a segment, frames found by the images that they were made from."""
    return highdicom.seg.segread(path).get_pixels_by_source_instance(
        uids,
        segment_numbers=[number],
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )[..., 0]


def by_positions(path: Path, affine: np.ndarray, number: int) -> np.ndarray:
    """(Z, Y, X) of a segment with pydicom alone, every voxel by its place in the world."""
    header = pydicom.dcmread(path)
    shared = header.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down_mm, across_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    to_voxel = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    found = np.zeros(SHAPE, bool)
    frames = header.PerFrameFunctionalGroupsSequence
    pixels = header.pixel_array.reshape(len(frames), header.Rows, header.Columns)
    for frame, layer in zip(frames, pixels, strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(layer)
        world = corner + np.outer(columns * across_mm, cosines[:3])
        world += np.outer(rows * down_mm, cosines[3:])
        voxels = to_voxel[:3, :3] @ world.T + to_voxel[:3, 3:]
        np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-3)
        found[tuple(np.rint(voxels).astype(int)[::-1])] = True
    return found


@pytest.mark.parametrize("plane", list(PLANES))
def test_a_written_segmentation_returns_voxel_by_voxel(plane, tmp_path, rng) -> None:
    images = write_series(tmp_path / "s", np.zeros(SHAPE), plane=plane)
    series = list_series(tmp_path / "s")[0]
    grid = read_grid(tmp_path / "s")
    drawn = Volume(labels(rng), grid.affine)
    write_dicom_seg(canonical(drawn), STRUCTURES, series, tmp_path / "a.dcm", origin=ORIGIN)
    assert faults_of(tmp_path / "a.dcm") == []
    uids = [image.SOPInstanceUID for image in images]
    for number, one in enumerate(STRUCTURES[:2], start=1):
        expected = drawn.array == one.values[0]
        np.testing.assert_array_equal(by_highdicom(tmp_path / "a.dcm", uids, number), expected)
        placed = by_positions(tmp_path / "a.dcm", grid.affine, number)
        np.testing.assert_array_equal(placed, expected)
    read = read_dicom_seg(tmp_path / "a.dcm", grid)
    np.testing.assert_array_equal(read.labelmap(NAMES).array, drawn.array)
    assert read.series_uid == series.uid and read.names == tuple(NAMES)
    left, right, brain = read.segments
    assert (left.side, right.side, brain.side) == ("left", "right", None)
    assert left.code.meaning == "Parotid gland" and not brain.mask.array.any()
    alone = read_dicom_seg(tmp_path / "a.dcm").labelmap(NAMES)  # from the first slice to the last
    np.testing.assert_array_equal(alone.array, drawn.array[1:6])
    np.testing.assert_allclose(
        alone.grid.world(np.array((0, 0, 0))), grid.world(np.array((1, 0, 0))), atol=1e-4
    )


def test_the_header_tells_who_made_it_and_of_what(tmp_path, rng) -> None:
    series = made_series(tmp_path / "s")
    grid = read_grid(tmp_path / "s")
    write_dicom_seg(
        Volume(labels(rng), grid.affine), STRUCTURES, series, tmp_path / "a.dcm", origin=ORIGIN
    )
    header = pydicom.dcmread(tmp_path / "a.dcm")
    source = pydicom.dcmread(series.paths[0])
    for keyword in ("PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert header[keyword].value == source[keyword].value
    assert header.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert header.SeriesInstanceUID != source.SeriesInstanceUID
    segment = header.SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("made-model", "1.2")
    assert segment.SegmentDescription == ORIGIN.warning
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    assert kind.CodeValue == codes.SCT.ParotidGland.value
    side = kind.SegmentedPropertyTypeModifierCodeSequence[0]
    assert side.CodeValue == codes.SCT.Left.value


def test_an_empty_segmentation_and_overlapping_regions_are_written(tmp_path) -> None:
    series = made_series(tmp_path / "s")
    grid = read_grid(tmp_path / "s")
    array = np.zeros(SHAPE, np.uint8)
    write_dicom_seg(Volume(array, grid.affine), STRUCTURES, series, tmp_path / "e", origin=ORIGIN)
    assert faults_of(tmp_path / "e") == []
    assert not read_dicom_seg(tmp_path / "e", grid).labelmap(NAMES).array.any()
    array[2:4, 3:6, 3:6], array[3, 4, 4] = 1, 2
    regions = [LabelledStructure("whole", (1, 2)), LabelledStructure("core", (2,))]
    manual = Origin("", "", "MANUAL")
    write_dicom_seg(Volume(array, grid.affine), regions, series, tmp_path / "r", origin=manual)
    assert faults_of(tmp_path / "r") == []
    read = read_dicom_seg(tmp_path / "r", grid)
    whole, core = read.segments
    np.testing.assert_array_equal(whole.mask.array, array > 0)
    np.testing.assert_array_equal(core.mask.array, array == 2)
    with pytest.raises(DataError, match=r"must not overlap; 'core' shares 1 voxels"):
        read.labelmap({"whole": 1, "core": 2})
    painted = read.labelmap({"whole": 1, "core": 2}, overlap="order")
    np.testing.assert_array_equal(painted.array, array)
    assert not np.any(read.labelmap({"core": 2, "whole": 1}, overlap="order").array == 2)


def test_names_and_patients_in_any_script_and_a_tilted_gantry(tmp_path, rng) -> None:
    images = write_series(
        tmp_path / "s", np.zeros(SHAPE), SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jö"
    )
    for z, image in enumerate(images):
        image.ImagePositionPatient[1] += 0.7 * z
        image.save_as(tmp_path / "s" / f"im{z:03d}", enforce_file_format=True)
    grid, series = read_grid(tmp_path / "s"), list_series(tmp_path / "s")[0]
    array = labels(rng)
    names = {"Drüse 腺": 1, "b": 3}
    structures = [LabelledStructure(name, (value,)) for name, value in names.items()]
    for write, read in ((write_dicom_seg, read_dicom_seg), (write_rtstruct, read_rtstruct)):
        path = tmp_path / "a.dcm"
        write(Volume(array, grid.affine), structures, series, path, origin=ORIGIN)
        np.testing.assert_array_equal(read(path, grid).labelmap(names).array, array)
        assert str(pydicom.dcmread(path).PatientName) == "Müller^Jö"
    write_dicom_seg(Volume(array, grid.affine), structures, series, path, origin=ORIGIN)
    alone = read_dicom_seg(path)
    np.testing.assert_allclose(alone.grid.affine[:3, :3], grid.affine[:3, :3], atol=1e-6)
    np.testing.assert_array_equal(alone.labelmap(names).array, array[1:6])


def test_headers_need_be_no_better_than_the_reader_asks(tmp_path, rng) -> None:
    """Directions that differ in the last digit, and no thickness, which the standard allows."""
    images = write_series(tmp_path / "s", np.zeros(SHAPE), plane="oblique")
    for number, path in enumerate(sorted((tmp_path / "s").iterdir())):
        image = pydicom.dcmread(path)
        cosines = [float(value) for value in image.ImageOrientationPatient]
        cosines[0] += 1e-7 * number
        image.ImageOrientationPatient = cosines
        del image.SliceThickness
        image.save_as(path)
    assert len(images) == SHAPE[0]
    series, grid = list_series(tmp_path / "s")[0], read_grid(tmp_path / "s")
    array = labels(rng)
    write_dicom_seg(
        Volume(array, grid.affine), STRUCTURES, series, tmp_path / "a.dcm", origin=ORIGIN
    )
    found = read_dicom_seg(tmp_path / "a.dcm", grid).labelmap(NAMES)
    np.testing.assert_array_equal(found.array, array)


def test_names_that_dicom_cannot_hold_are_written_as_it_can(tmp_path, rng) -> None:
    long = "a structure whose name is longer than the sixty-four characters of DICOM, "
    given = [f"{long}right", f"{long}left", "back\\slash", "new\nline"]
    structures = [LabelledStructure(name, (n,)) for n, name in enumerate(given, start=1)]
    series, grid = made_series(tmp_path / "s"), read_grid(tmp_path / "s")
    array = rng.integers(0, 5, SHAPE).astype(np.uint8)
    for write, read in ((write_dicom_seg, read_dicom_seg), (write_rtstruct, read_rtstruct)):
        path = tmp_path / f"{write.__name__}.dcm"
        write(Volume(array, grid.affine), structures, series, path, origin=ORIGIN)
        assert faults_of(path) == []
        names = [one.name for one in read(path, grid).segments]
        assert len(set(names)) == 4 and all(len(name) <= 64 for name in names)
        assert names[2:] == ["back slash", "new line"]
        found = read(path, grid).labelmap({name: n for n, name in enumerate(names, start=1)})
        if write is write_dicom_seg:
            np.testing.assert_array_equal(found.array, array)


@pytest.mark.parametrize("write", [write_dicom_seg, write_rtstruct])
def test_a_result_on_synthetic_images_says_so(write, tmp_path, rng) -> None:
    write_series(tmp_path / "s", np.zeros(SHAPE))
    for path in (tmp_path / "s").iterdir():
        image = pydicom.dcmread(path)
        image.SyntheticData, image.SeriesNumber = "YES", 2**31 - 1
        image.save_as(path)
    series, grid = list_series(tmp_path / "s")[0], read_grid(tmp_path / "s")
    write(Volume(labels(rng), grid.affine), STRUCTURES, series, tmp_path / "a", origin=ORIGIN)
    assert pydicom.dcmread(tmp_path / "a").SeriesDescription.startswith("SYNTHETIC ")
    assert faults_of(tmp_path / "a") == []


def test_what_is_abnormal_is_no_organ(tmp_path, rng) -> None:
    series, grid = made_series(tmp_path / "s"), read_grid(tmp_path / "s")
    structures = [LabelledStructure("kidney_tumour", (1,)), LabelledStructure("kidney", (2,))]
    write_rtstruct(
        Volume(labels(rng), grid.affine), structures, series, tmp_path / "a", origin=ORIGIN
    )
    kinds = pydicom.dcmread(tmp_path / "a").RTROIObservationsSequence
    assert [one.RTROIInterpretedType for one in kinds] == ["", "ORGAN"]


def test_frames_may_each_state_what_they_share(tmp_path, rng) -> None:
    write_enhanced(tmp_path / "s" / "mf", np.zeros(SHAPE))
    image = pydicom.dcmread(tmp_path / "s" / "mf")
    shared = image.SharedFunctionalGroupsSequence[0]
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        for frame in image.PerFrameFunctionalGroupsSequence:
            setattr(frame, keyword, shared[keyword].value)
        delattr(shared, keyword)
    for frame in image.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence[0].pop("SliceThickness", None)  # they share the item
    image.save_as(tmp_path / "s" / "mf")
    series = list_series(tmp_path / "s")[0]
    grid, array = read_series(series).grid, labels(rng)
    write_dicom_seg(
        Volume(array, grid.affine), STRUCTURES, series, tmp_path / "a.dcm", origin=ORIGIN
    )
    assert faults_of(tmp_path / "a.dcm") == []
    found = read_dicom_seg(tmp_path / "a.dcm", grid).labelmap(NAMES)
    np.testing.assert_array_equal(found.array, array)


@pytest.mark.parametrize("cosines", [AXIAL, OBLIQUE])
def test_a_multi_frame_object_carries_results_too(cosines, tmp_path, rng) -> None:
    """Its frames are stored last slice first, and twice: two time points."""
    write_enhanced(tmp_path / "s" / "mf", np.zeros(SHAPE), cosines=cosines, n_times=2)
    series = list_series(tmp_path / "s")[1]
    grid = read_series(series).grid
    array = labels(rng)
    for write, read in ((write_dicom_seg, read_dicom_seg), (write_rtstruct, read_rtstruct)):
        write(Volume(array, grid.affine), STRUCTURES, series, tmp_path / "a.dcm", origin=ORIGIN)
        found = read(tmp_path / "a.dcm", grid)
        np.testing.assert_array_equal(found.labelmap(NAMES).array, array)
        assert found.series_uid == series.uid
        assert faults_of(tmp_path / "a.dcm") == []
        if write is write_dicom_seg:
            own = {item.frame + 1 for item in series.slices}
            for frame in pydicom.dcmread(tmp_path / "a.dcm").PerFrameFunctionalGroupsSequence:
                (derived,) = frame.DerivationImageSequence
                (source,) = derived.SourceImageSequence  # of this time point, not of the other
                assert source.ReferencedFrameNumber in own
    roi = pydicom.dcmread(tmp_path / "a.dcm").ROIContourSequence[0]
    frames = {
        int(item.ContourImageSequence[0].ReferencedFrameNumber) - 1 for item in roi.ContourSequence
    }
    drawn = np.flatnonzero((array == 1).any(axis=(1, 2)))
    assert frames == {series.slices[z].frame for z in drawn}


def highdicom_seg(
    series: Series, masks: np.ndarray, kind: str, path: Path, syntax: str = ExplicitVRLittleEndian
) -> Path:
    """A segmentation by highdicom alone: (Z, Y, X, 2) for one and two."""
    described = [
        SegmentDescription(
            number, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL", display_color=None
        )
        for number, name in enumerate(("one", "two"), start=1)
    ]
    images = [pydicom.dcmread(one) for one in series.paths]
    for image in images:
        for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber"):
            setattr(image, keyword, "")
    uid = highdicom.UID
    names = ("maker", "model", "1", "number")
    Segmentation(
        images, masks, kind, described, uid(), 9, uid(), 1, *names, transfer_syntax_uid=syntax
    ).save_as(path)
    return path


@pytest.mark.parametrize("plane", ["axial", "oblique"])
@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("FRACTIONAL", ExplicitVRLittleEndian),
        ("FRACTIONAL", JPEGLSLossless),
        ("LABELMAP", ExplicitVRLittleEndian),
    ],
)
def test_every_kind_of_segmentation_is_read(kind, syntax, plane, tmp_path, rng) -> None:
    series = made_series(tmp_path / "s", plane)
    masks = np.stack([labels(rng) == 1, labels(rng) == 3], axis=-1)
    masks[..., 1] &= ~masks[..., 0]
    given = masks.astype(float) * 0.7 if kind == "FRACTIONAL" else masks
    if kind == "LABELMAP":
        given = masks @ np.array([1, 2], np.uint8)
    path = highdicom_seg(series, given, kind, tmp_path / "a.dcm", syntax)
    read = read_dicom_seg(path, read_grid(tmp_path / "s"))
    assert read.names == ("one", "two")
    for number, segment in enumerate(read.segments):
        np.testing.assert_array_equal(segment.mask.array, masks[..., number])
    if kind == "FRACTIONAL":
        assert "what is at least 0.5 counts as inside" in read.notes[0]
        strict = read_dicom_seg(path, read.grid, threshold=0.8)
        assert not any(segment.mask.array.any() for segment in strict.segments)
        with pytest.raises(ConfigError, match=r"threshold must be above 0"):
            read_dicom_seg(path, threshold=0)


def test_frames_are_placed_by_position_whatever_their_order(tmp_path, rng) -> None:
    series = made_series(tmp_path / "s", "sagittal")
    given = labels(rng)
    masks = np.stack([given == 1, given == 3], axis=-1)
    path = highdicom_seg(series, masks @ np.array([1, 2], np.uint8), "LABELMAP", tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array
    order = rng.permutation(len(frames))
    dataset.PixelData = frames[order].tobytes()
    groups = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = [groups[index] for index in order]
    dataset.save_as(path)
    flipped = canonical(read_series(series)).grid  # another order and direction of axes
    read = read_dicom_seg(path, flipped)
    expected = canonical(Volume(masks[..., 0], read_grid(tmp_path / "s").affine))
    np.testing.assert_array_equal(read.segments[0].mask.array, expected.array)


@pytest.mark.parametrize(
    ("spacing_mm", "thickness_mm", "filled", "step_mm", "told"),
    [
        (None, 1.0, (1, 2, 4), 3.0, "SliceThickness is 1 mm and the nearest two slices lie 3 mm"),
        (None, 5.0, (1, 2, 4), 3.0, "SliceThickness is 5 mm"),
        (3.0, 5.0, (1, 2, 4), 3.0, ""),  # slices overlap
        (3.0, 3.0, (1, 3, 5), 3.0, "what lies between counts as empty"),
        (2.0, 2.0, (1, 2, 4), 3.0, "SpacingBetweenSlices is 2 mm"),
        (None, 3.0, (1, 3, 6), 3.0, "what lies between counts as empty"),  # 6 and 9 mm apart
        (None, 4.0, (2,), 4.0, ""),  # a single slice has its thickness alone
    ],
)
def test_without_a_grid_the_positions_of_frames_count(
    spacing_mm, thickness_mm, filled, step_mm, told, tmp_path
) -> None:
    """Slices of the series are 3 mm apart."""
    series = made_series(tmp_path / "s", spacing_mm=(3, 2, 2))
    masks = np.zeros((*SHAPE, 2), bool)
    masks[list(filled), 2:5, 3:6, 0] = True
    path = highdicom_seg(series, masks, "BINARY", tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    for keyword, value in (
        ("SpacingBetweenSlices", spacing_mm),
        ("SliceThickness", thickness_mm),
    ):
        if keyword in measures:
            delattr(measures, keyword)
        if value is not None:
            setattr(measures, keyword, value)
    dataset.save_as(path)
    read = read_dicom_seg(path)
    assert read.grid.spacing_mm[0] == pytest.approx(step_mm)
    mask = read.segments[0].mask.array
    places = np.flatnonzero(mask.any(axis=(1, 2)))
    expected = [round(3 * (z - filled[0]) / step_mm) for z in filled]
    assert list(places) == expected
    assert mask.sum() == 9 * len(filled)
    assert told in " ".join(read.notes) and bool(told) == bool(read.notes)


def test_a_segmentation_of_no_frames_holds_empty_segments(tmp_path) -> None:
    series = made_series(tmp_path / "s")
    write_seg(tmp_path / "a", {"brain": np.ones(SHAPE, bool)})
    dataset = pydicom.dcmread(tmp_path / "a")
    dataset.NumberOfFrames, dataset.PerFrameFunctionalGroupsSequence = 0, []
    dataset.PixelData = b""
    dataset.save_as(tmp_path / "a")
    read = read_dicom_seg(tmp_path / "a", read_series(series).grid)
    assert read.names == ("brain",) and not read.segments[0].mask.array.any()


def test_segments_without_a_name_are_called_by_number(tmp_path, rng) -> None:
    series = made_series(tmp_path / "s")
    masks = np.stack([labels(rng) == 1, labels(rng) == 3], axis=-1)
    path = highdicom_seg(series, masks, "BINARY", tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence[1].SegmentLabel = ""
    dataset.save_as(path)
    read = read_dicom_seg(path, read_grid(tmp_path / "s"))
    assert read.names == ("one", "Segment_2")
    assert "Segment number 2 has no name; it is called 'Segment_2' here." in read.notes
    found = read.labelmap({"one": 1, "Segment_2": 2}, overlap="order").array
    np.testing.assert_array_equal(found == 2, masks[..., 1])


@pytest.mark.parametrize("write", [write_dicom_seg, write_rtstruct])
def test_a_region_of_both_sides_is_coded_as_bilateral(write, tmp_path) -> None:
    """Whatever unites right and left; what holds only one side of something has no side."""
    series = made_series(tmp_path / "s")
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 1:3, 1:3], array[2:4, 1:3, 7:9], array[2:4, 6:8, 4:6] = 1, 2, 3
    structures = [
        LabelledStructure("parotid glands", (1, 2)),
        LabelledStructure("parotid_right", (1,), "right"),
        LabelledStructure("parotid_left", (2,), "left"),
        LabelledStructure("all tumour", (1, 3)),
        LabelledStructure("glands of the right", (1,)),
    ]
    grid = read_grid(tmp_path / "s")
    write(Volume(array, grid.affine), structures, series, tmp_path / "a.dcm", origin=ORIGIN)
    assert faults_of(tmp_path / "a.dcm") == []
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    if write is write_dicom_seg:
        items = [one.SegmentedPropertyTypeCodeSequence[0] for one in dataset.SegmentSequence]
    else:
        items = [
            one.RTROIIdentificationCodeSequence[0] for one in dataset.RTROIObservationsSequence
        ]
    coded = [
        [side.CodeMeaning for side in item.get("SegmentedPropertyTypeModifierCodeSequence", ())]
        for item in items
    ]
    assert coded == [["Bilateral"], ["Right"], ["Left"], [], ["Right"]]
    read = read_dicom_seg if write is write_dicom_seg else read_rtstruct
    sides = [one.side for one in read(tmp_path / "a.dcm", grid).structures]
    assert sides == [None, "right", "left", None, "right"]


def test_a_segmentation_of_another_series_is_refused(tmp_path, rng) -> None:
    series = made_series(tmp_path / "s")
    grid = read_grid(tmp_path / "s")
    path = tmp_path / "a.dcm"
    write_dicom_seg(Volume(labels(rng), grid.affine), STRUCTURES, series, path, origin=ORIGIN)
    made_series(tmp_path / "shifted", seed=2, first_lps=(-5.75, -9.0, 4.0))
    with pytest.raises(GridError, match=r"frame 1 must lie on the voxels.*0\.5 voxels beside"):
        read_dicom_seg(path, read_grid(tmp_path / "shifted"))
    made_series(tmp_path / "turned", "oblique", seed=3)
    with pytest.raises(GridError, match=r"frame 1 must lie on the voxels"):
        read_dicom_seg(path, read_grid(tmp_path / "turned"))
    write_series(tmp_path / "part", np.zeros((3, 9, 11)), seed=4)
    with pytest.raises(GridError, match=r"'parotid_left' must lie inside the grid; \d+ voxels"):
        _ = read_dicom_seg(path, read_grid(tmp_path / "part")).segments
    with pytest.raises(GridError, match=r"must lie on the grid of series 'made oblique'"):
        turned = list_series(tmp_path / "turned")[0]
        write_dicom_seg(Volume(labels(rng), grid.affine), STRUCTURES, turned, path, origin=ORIGIN)


def test_damaged_and_other_files_are_refused(tmp_path, rng) -> None:
    series = made_series(tmp_path / "s")
    grid = read_grid(tmp_path / "s")
    path = tmp_path / "a.dcm"
    write_dicom_seg(Volume(labels(rng), grid.affine), STRUCTURES, series, path, origin=ORIGIN)
    whole = path.read_bytes()
    for length in (len(whole) - 40, len(whole) // 2, len(whole) // 10, 200, 3):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.dcm: "):
            _ = read_dicom_seg(path, grid).segments
    with pytest.raises(DataError, match=r"must be a DICOM segmentation.*found CT Image Storage"):
        read_dicom_seg(series.paths[0])
    with pytest.raises(DataError, match="there is none"):
        read_dicom_seg(tmp_path / "nothing.dcm")
    path.write_text("no DICOM")
    with pytest.raises(DataError, match="must be a whole DICOM segmentation"):
        read_dicom_seg(path)


def test_names_that_the_table_lacks_never_look_like_a_missed_structure(tmp_path, rng) -> None:
    series = made_series(tmp_path / "s")
    grid = read_grid(tmp_path / "s")
    path = tmp_path / "a.dcm"
    write_dicom_seg(Volume(labels(rng), grid.affine), STRUCTURES, series, path, origin=ORIGIN)
    read = read_dicom_seg(path, grid)
    assert read.labelmap({"brain": 1, "parotid_left": 2}).meta["unnamed"] == ("lacrimal_right",)
    assert not np.any(read.labelmap({**NAMES, "liver": 9}).array == 9)
    with pytest.raises(DataError, match=r"'parotid_lft' is not there, and 'parotid_left' has no"):
        read.labelmap({"parotid_lft": 1, "brain": 2, "lacrimal_right": 3})


def test_a_series_that_cannot_carry_a_result_is_refused(tmp_path) -> None:
    write_series(tmp_path / "s", np.zeros(SHAPE), FrameOfReferenceUID=None)
    grid = read_grid(tmp_path / "s")
    with pytest.raises(DataError, match="FrameOfReferenceUID is missing"):
        write_dicom_seg(
            Volume(np.zeros(SHAPE, np.uint8), grid.affine),
            STRUCTURES,
            list_series(tmp_path / "s")[0],
            tmp_path / "a.dcm",
            origin=ORIGIN,
        )
    assert not (tmp_path / "a.dcm").exists()


def test_codes_are_those_of_the_standard() -> None:
    known = {value for group in concepts["SCT"].values() for value in group}
    meanings = {
        (value, entry[0].casefold())
        for group in concepts["SCT"].values()
        for value, entry in group.items()
    }
    ours = [code for _, code in coding_module._STRUCTURES]
    ours += [*SIDES.values(), *coding_module.PARTS.values(), BILATERAL, TISSUE]
    for code in ours:
        assert code.value in known, code
        assert (code.value, code.meaning.casefold()) in meanings, code


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("lacrimal_right", "Lacrimal gland"),
        ("Parotid-L", "Parotid gland"),
        ("lacrimal sac", "Tissue"),
        ("hippocampus anterior", "Hippocampus"),
        ("brainstem", "Brain Stem"),
        ("whole tumour", "Neoplasm"),
        ("label 7", "Tissue"),
        ("kidney_tumor", "Neoplasm"),
        ("liver lesions", "Lesion"),
        ("parotid_lymph_nodes", "Tissue"),
        ("eye_lens", "Tissue"),
        ("left parotid gland 2", "Parotid gland"),
        ("Glnd_Submand_R", "Submandibular gland"),
        ("Glnd_Lacrimal_L", "Lacrimal gland"),
        ("LacrimalGlandRight", "Lacrimal gland"),
        ("kidneys", "Kidney"),
        ("pancreas", "Pancreas"),
        ("eyes lens", "Tissue"),
    ],
)
def test_names_are_coded_or_stay_generic(name: str, meaning: str) -> None:
    assert coding_of(name).structure.meaning == meaning
    assert coding_of(name, "left").modifiers[0].meaning == "Left"


@pytest.mark.real_data
def test_real_series_carry_a_result(real_data, tmp_path, rng) -> None:
    for series in list_series(real_data / "dicom" / "PGBM-003")[:2]:  # two vendors' headers
        grid = read_series(series).grid
        array = np.zeros(grid.shape, np.uint8)
        array[8:12, 90:120, 100:130] = rng.integers(0, 2, (4, 30, 30)) * 3
        path = tmp_path / "a.dcm"
        write_dicom_seg(Volume(array, grid.affine), STRUCTURES, series, path, origin=ORIGIN)
        assert faults_of(path) == []
        np.testing.assert_array_equal(read_dicom_seg(path, grid).labelmap(NAMES).array, array)
        uids = [
            pydicom.dcmread(one, stop_before_pixels=True).SOPInstanceUID for one in series.paths
        ]
        np.testing.assert_array_equal(by_highdicom(path, uids, 2), array == 3)
