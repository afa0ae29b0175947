"""RTSTRUCT: written ones face dciodvfy and matplotlib, made ones face our reader."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from acinus.errors import DataError, GridError
from acinus.scans import (
    LabelledStructure,
    Origin,
    Volume,
    canonical,
    list_series,
    read_grid,
    read_labelmap,
    read_rtstruct,
    read_series,
    write_rtstruct,
)
from acinus.scans.components import bounding_box
from made_series import PLANES, write_series

SHAPE = (5, 14, 16)
SPACING = (2.5, 0.8, 0.5)
ORIGIN = Origin("made-model", "1.2", warning="Learned from synthetic images only.")
STRUCTURES = [LabelledStructure("parotid_left", (1,), "left"), LabelledStructure("brain", (2,))]
NAMES = {"parotid_left": 1, "brain": 2}


def labels() -> np.ndarray:
    """A ring with an island, two holes in one row, single voxels, parts that touch at corners."""
    array = np.zeros(SHAPE, np.uint8)
    array[1:4, 2:12, 2:14] = 1
    array[1:4, 4:10, 4:8] = 0
    array[1:4, 5:8, 10:12] = 0
    array[2, 6, 6] = 1
    array[0, 13, 15] = array[4, 0, 0] = array[4, 1, 1] = 1
    array[2, 5:7, 10:12] = 2
    return array


def by_matplotlib(path: Path, images: Sequence[Dataset], name: str) -> tuple[np.ndarray, float]:
    """(Z, Y, X) mask by even-odd over all contours of a slice, and the volume of the polygons.

    Contours are taken to the slice that they refer to, in the coordinates of its own header.
    """
    dataset = pydicom.dcmread(path)
    number = {roi.ROIName: roi.ROINumber for roi in dataset.StructureSetROISequence}[name]
    roi = next(one for one in dataset.ROIContourSequence if one.ReferencedROINumber == number)
    z_of = {image.SOPInstanceUID: z for z, image in enumerate(images)}
    mask, volume_mm3 = np.zeros(SHAPE, bool), 0.0
    centres = np.argwhere(np.ones(SHAPE[1:], bool))
    for item in roi.get("ContourSequence", ()):
        z = z_of[item.ContourImageSequence[0].ReferencedSOPInstanceUID]
        column, row = np.array(images[z].ImageOrientationPatient, float).reshape(2, 3)
        points = np.array(item.ContourData, float).reshape(-1, 3)
        away = points - np.array(images[z].ImagePositionPatient, float)
        assert np.abs(away @ np.cross(column, row)).max() < 1e-3
        flat = np.stack([away @ row / SPACING[1], away @ column / SPACING[2]], axis=1)
        inside = Outline(np.vstack([flat, flat[:1]])).contains_points(centres)
        mask[z] ^= inside.reshape(SHAPE[1:])
        y, x = flat.T
        area = abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
        volume_mm3 += area * np.prod(SPACING)
    return mask, volume_mm3


@pytest.mark.parametrize("plane", list(PLANES))
def test_written_contours_return_with_holes_islands_and_single_voxels(plane, tmp_path) -> None:
    images = write_series(tmp_path / "s", np.zeros(SHAPE), plane=plane)
    grid, series = read_grid(tmp_path / "s"), list_series(tmp_path / "s")[0]
    drawn = Volume(labels(), grid.affine)
    path = tmp_path / "a.dcm"
    write_rtstruct(canonical(drawn), STRUCTURES, series, path, origin=ORIGIN)
    for one in STRUCTURES:
        expected = drawn.array == one.values[0]
        mask, volume_mm3 = by_matplotlib(path, images, one.name)
        np.testing.assert_array_equal(mask, expected)  # asked for: Dice of at least 0.98
        assert volume_mm3 == pytest.approx(expected.sum() * np.prod(SPACING), rel=1e-3)
    read = read_rtstruct(path, grid)
    np.testing.assert_array_equal(read.labelmap(NAMES).array, drawn.array)
    assert read.series_uid == series.uid and read.notes == ()
    assert [one.side for one in read.structures] == ["left", None]
    assert read.structures[0].code.meaning == "Parotid gland"


def test_a_written_structure_set_is_valid_and_tells_who_made_it(tmp_path) -> None:
    images = write_series(tmp_path / "s", np.zeros(SHAPE))
    grid, series = read_grid(tmp_path / "s"), list_series(tmp_path / "s")[0]
    path = tmp_path / "a.dcm"
    write_rtstruct(Volume(labels(), grid.affine), STRUCTURES, series, path, origin=ORIGIN)
    header = pydicom.dcmread(path)
    assert header.StudyInstanceUID == images[0].StudyInstanceUID
    assert header.PatientName == images[0].PatientName
    assert header.StructureSetROISequence[0].ROIGenerationAlgorithm == "AUTOMATIC"
    assert "made-model 1.2" in header.StructureSetDescription
    assert header.StructureSetROISequence[1].ROIDescription == ORIGIN.warning
    empty = Volume(np.zeros(SHAPE, np.uint8), grid.affine)
    write_rtstruct(empty, STRUCTURES, series, tmp_path / "e", origin=Origin("", "", "MANUAL"))
    assert not read_rtstruct(tmp_path / "e", grid).labelmap(NAMES).array.any()
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy not found (Debian package dicom3tools)")
    for one in (path, tmp_path / "e"):
        run = subprocess.run(["dciodvfy", str(one)], capture_output=True, text=True, check=False)
        assert "Error" not in run.stderr, run.stderr


def test_random_masks_return_whatever_their_holes(tmp_path, rng) -> None:
    write_series(tmp_path / "s", np.zeros(SHAPE), plane="oblique")
    grid, series = read_grid(tmp_path / "s"), list_series(tmp_path / "s")[0]
    for share in (0.2, 0.5, 0.8):
        array = (rng.random(SHAPE) < share).astype(np.uint8)
        path = tmp_path / "a.dcm"
        write_rtstruct(Volume(array, grid.affine), STRUCTURES, series, path, origin=ORIGIN)
        np.testing.assert_array_equal(read_rtstruct(path, grid).labelmap(NAMES).array, array)


Contour = tuple[str, float, list[tuple[float, float]]]


def structure_set(path: Path, contours: list[Contour], name: str = "gland") -> Path:
    """A structure set of one structure on the axial series: kind, slice, (row, column) points."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    roi, contour = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = 7, name, "MANUAL"
    contour.ReferencedROINumber, contour.ContourSequence = 7, []
    for kind, z, points in contours:
        item = Dataset()
        item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
        lps = [(-6 + 0.5 * x, -9 + 0.8 * y, 4 + 2.5 * z) for y, x in points]
        item.ContourData = [f"{value:.4f}" for point in lps for value in point]
        contour.ContourSequence.append(item)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [contour]
    dataset.save_as(path, enforce_file_format=True)
    return path


def box(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, low), (low, high), (high, high), (high, low)]


@pytest.fixture
def grid(tmp_path: Path):
    write_series(tmp_path / "series", np.zeros(SHAPE))
    return read_grid(tmp_path / "series")


def drawn(path: Path, grid) -> tuple[np.ndarray, tuple[str, ...]]:
    read = read_rtstruct(path, grid)
    return read.segments[0].mask.array, read.notes


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_contours_within_contours_are_holes_and_islands(kind, tmp_path, grid) -> None:
    nested = [(kind, 1, box(4.5, 5.5)), (kind, 1, box(0.5, 9.5)), (kind, 1, box(2.5, 7.5))]
    mask, notes = drawn(structure_set(tmp_path / "a", nested), grid)
    expected = np.zeros(SHAPE, bool)
    expected[1, 1:10, 1:10] = True
    expected[1, 3:8, 3:8] = False
    expected[1, 5, 5] = True
    np.testing.assert_array_equal(mask, expected)
    assert notes == ()


def test_overlapping_and_repeated_contours_are_united(tmp_path, grid) -> None:
    one, other = ("CLOSED_PLANAR", 2, box(0.5, 4.5)), ("CLOSED_PLANAR", 2, box(2.5, 8.5))
    mask, _ = drawn(structure_set(tmp_path / "a", [one, other, one]), grid)
    expected = np.zeros(SHAPE, bool)
    expected[2, 1:5, 1:5] = expected[2, 3:9, 3:9] = True
    np.testing.assert_array_equal(mask, expected)


def rectangle(rows: tuple[float, float], columns: tuple[float, float]) -> list[tuple[float, float]]:
    return [
        (rows[0], columns[0]),
        (rows[0], columns[1]),
        (rows[1], columns[1]),
        (rows[1], columns[0]),
    ]


def test_a_contour_across_two_that_overlap_is_no_hole(tmp_path, grid) -> None:
    """Strokes of a brush: the third lies within both together, and within neither."""
    strokes = [((1.6, 7.4), (0.6, 7.4)), ((1.6, 7.4), (5.6, 13.4)), ((3.6, 5.4), (4.6, 8.4))]
    contours = [("CLOSED_PLANAR", 2, rectangle(*stroke)) for stroke in strokes]
    mask, _ = drawn(structure_set(tmp_path / "a", contours), grid)
    expected = np.zeros(SHAPE, bool)
    expected[2, 2:8, 1:14] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_wall_thinner_than_a_voxel_is_not_filled(tmp_path, grid) -> None:
    """Two outlines around the same centres are a ring without voxels, and not one stored twice."""
    ring = [("CLOSED_PLANAR", 2, box(1.3, 8.7)), ("CLOSED_PLANAR", 2, box(1.4, 8.6))]
    mask, _ = drawn(structure_set(tmp_path / "a", ring), grid)
    assert not mask.any()
    around = [("CLOSED_PLANAR", 2, box(0.5, 11.5)), *ring]  # an island that fills its hole
    mask, _ = drawn(structure_set(tmp_path / "b", around[::-1]), grid)
    expected = np.zeros(SHAPE, bool)
    expected[2, 1:12, 1:12] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_contour_stored_twice_from_another_corner_is_no_hole(tmp_path, grid) -> None:
    corners = box(1.3, 8.7)
    again = [("CLOSED_PLANAR", 2, corners), ("CLOSED_PLANAR", 2, corners[2::-1] + corners[3:])]
    mask, _ = drawn(structure_set(tmp_path / "a", again), grid)
    assert np.count_nonzero(mask) == 49


def test_points_and_open_lines_are_left_out_with_a_note(tmp_path, grid) -> None:
    contours = [("POINT", 1, [(3, 3)]), ("OPEN_PLANAR", 1, box(1, 4))]
    mask, notes = drawn(structure_set(tmp_path / "a", contours), grid)
    assert not mask.any()
    assert notes == ("'gland': 2 points or open lines were left out.",)


def test_contours_between_slices_go_to_the_nearest_and_are_named(tmp_path, grid) -> None:
    contours = [
        ("CLOSED_PLANAR", 1, box(0.5, 4.5)),
        ("CLOSED_PLANAR", 1.4, box(0.5, 8.5)),
        ("CLOSED_PLANAR", 2.6, box(2.5, 4.5)),
    ]
    mask, notes = drawn(structure_set(tmp_path / "a", contours), grid)
    expected = np.zeros(SHAPE, bool)
    expected[1, 1:5, 1:5] = expected[3, 3:5, 3:5] = True
    np.testing.assert_array_equal(mask, expected)
    assert "contours at 2 places between slices (slice 1.4, 2.6)" in notes[0]


def test_contours_half_way_between_slices_go_to_one_slice_each(tmp_path, grid) -> None:
    contours = [("CLOSED_PLANAR", z + 0.5, box(0.5, 4.5)) for z in range(4)]
    contours.append(("CLOSED_PLANAR", 0, box(0.5, 4.5)))
    mask, notes = drawn(structure_set(tmp_path / "a", contours), grid)
    assert mask.any(axis=(1, 2)).all()
    assert len(notes) == 1 and "contours at 4 places between slices" in notes[0]


def test_contours_of_one_slice_are_drawn_together_however_they_were_rounded(tmp_path, grid) -> None:
    contours = [
        ("CLOSED_PLANAR", 1.0148, box(0.5, 2.5)),
        ("CLOSED_PLANAR", 1.0152, box(4.5, 6.5)),
    ]
    mask, notes = drawn(structure_set(tmp_path / "a", contours), grid)
    expected = np.zeros(SHAPE, bool)
    expected[1, 1:3, 1:3] = expected[1, 5:7, 5:7] = True
    np.testing.assert_array_equal(mask, expected)
    assert notes == ()


def test_a_structure_set_on_another_grid_is_refused(tmp_path, grid) -> None:
    between = structure_set(tmp_path / "a", [("CLOSED_PLANAR", z + 0.5, box(1, 5)) for z in (0, 1)])
    with pytest.raises(GridError, match="all 2 lie between slices"):
        read_rtstruct(between, grid)
    outside = structure_set(tmp_path / "b", [("CLOSED_PLANAR", 9, box(1, 5))])
    with pytest.raises(
        GridError, match=r"must lie inside the series; one of 'gland' lies in slice 9"
    ):
        read_rtstruct(outside, grid)
    beside = structure_set(tmp_path / "c", [("CLOSED_PLANAR", 1, box(90, 95))])
    with pytest.raises(GridError, match=r"must lie inside the series"):
        read_rtstruct(beside, grid)
    write_series(tmp_path / "turned", np.zeros(SHAPE), plane="oblique", seed=2)
    flat = structure_set(tmp_path / "d", [("CLOSED_PLANAR", 1, box(1, 5))])
    with pytest.raises(GridError, match=r"must lie in slices of the series.*'gland' reaches"):
        read_rtstruct(flat, read_grid(tmp_path / "turned"))


def test_damaged_and_other_files_are_refused(tmp_path, grid) -> None:
    path = structure_set(tmp_path / "a.dcm", [("CLOSED_PLANAR", 1, box(1, 5))])
    dataset = pydicom.dcmread(path)
    whole = path.read_bytes()
    for length in (len(whole) - 8, len(whole) * 2 // 3, 200, 3):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.dcm: "):
            read_rtstruct(path, grid)
    image = list_series(tmp_path / "series")[0].paths[0]
    with pytest.raises(DataError, match=r"must be a DICOM structure set.*found CT Image Storage"):
        read_rtstruct(image, grid)
    dataset.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2", "3", "4", "5"] * 2
    dataset.save_as(path)
    with pytest.raises(DataError, match="must be a whole DICOM structure set"):
        read_rtstruct(path, grid)


def test_a_structure_that_is_damaged_does_not_stop_the_others(tmp_path, grid) -> None:
    path = structure_set(tmp_path / "a", [("CLOSED_PLANAR", 1, box(0.5, 4.5))])
    dataset = pydicom.dcmread(path)
    roi, contour = (
        deepcopy(one[0]) for one in (dataset.StructureSetROISequence, dataset.ROIContourSequence)
    )
    roi.ROINumber = contour.ReferencedROINumber = 8
    roi.ROIName = "couch"
    contour.ContourSequence[0].ContourData = list(contour.ContourSequence[0].ContourData)[:-1]
    dataset.StructureSetROISequence.append(roi)
    dataset.ROIContourSequence.append(contour)
    dataset.save_as(path)
    read = read_rtstruct(path, grid)
    gland, couch = read.structures
    assert np.count_nonzero(read.draw(gland)) == 16
    with pytest.raises(DataError, match="with the contours of 'couch'; it cannot be read"):
        read.draw(couch)


def test_what_only_decorates_a_structure_may_be_wrong(tmp_path, grid) -> None:
    path = structure_set(tmp_path / "a", [("CLOSED_PLANAR", 1, box(0.5, 4.5))])
    dataset = pydicom.dcmread(path)
    dataset.ROIContourSequence[0].ROIDisplayColor = 255
    of_nothing = Dataset()
    of_nothing.ObservationNumber = 1
    dataset.RTROIObservationsSequence = [of_nothing]
    dataset.save_as(path)
    assert np.count_nonzero(drawn(path, grid)[0]) == 16


def test_structures_without_any_contour_are_empty(tmp_path, grid) -> None:
    path = structure_set(tmp_path / "a", [])
    dataset = pydicom.dcmread(path)
    del dataset.ROIContourSequence
    dataset.save_as(path)
    mask, notes = drawn(path, grid)
    assert not mask.any() and notes == ()


@pytest.mark.real_data
def test_real_glands_return_on_a_real_oblique_series(real_data, tmp_path) -> None:
    """Shapes of real readers, on the slices of a real scanner."""
    drawn = read_labelmap(real_data / "head_ct_glands" / "oncologist" / "0522c0014.nii.gz")
    box = bounding_box(drawn.array)
    series = list_series(real_data / "dicom" / "PGBM-003")[0]
    grid = read_series(series).grid
    array = np.zeros(grid.shape, np.uint8)
    part = drawn.array[box][::3][: grid.shape[0], : grid.shape[1], : grid.shape[2]]
    array[tuple(slice(0, n) for n in part.shape)] = part
    names = {f"gland {value}": value for value in range(1, 7)}
    structures = [LabelledStructure(name, (value,)) for name, value in names.items()]
    path = tmp_path / "a.dcm"
    write_rtstruct(Volume(array, grid.affine), structures, series, path, origin=ORIGIN)
    np.testing.assert_array_equal(read_rtstruct(path, grid).labelmap(names).array, array)


def test_slices_that_were_left_out_of_a_structure_are_told(tmp_path, grid) -> None:
    contours = [("CLOSED_PLANAR", z, box(1, 4)) for z in (0, 2, 4)]
    mask, notes = drawn(structure_set(tmp_path / "a", contours), grid)
    assert mask.any(axis=(1, 2)).tolist() == [True, False, True, False, True]
    assert notes == ("'gland': nothing is drawn on 2 of the 5 slices that it reaches over.",)
