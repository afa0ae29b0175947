"""Radiotherapy structure sets (RTSTRUCT): contours of named structures as masks on a series' grid.

Enters: closed planar contours of any program. Leaves: `DicomSegments`. A voxel is inside where
its centre is. A contour within another one of its slice is a hole (so most programs write
holes), keyholes stay holes, contours that overlap in part are united. Contours between two slices
go to the nearest one, and the notes say so; joining slices by interpolation was rejected: it
would add what nobody drew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError, GridError
from acinus.scans.dicom_segments import (
    DicomSegments,
    Structure,
    coded_sides,
    damaged,
    first_code,
    open_object,
    structure_name,
)
from acinus.scans.itk import LPS_TO_RAS
from acinus.scans.orientation import describe_grid
from acinus.scans.polygons import Points, fill_polygon, signed_area
from acinus.scans.segments import SEGMENT_COLORS, Color
from acinus.scans.series import Series
from acinus.scans.slices import dicom_faults
from acinus.scans.volume import Grid
from acinus.types import Array, Mask

RTSTRUCT_CLASSES = {"1.2.840.10008.5.1.4.1.1.481.3": "RT Structure Set Storage"}

_WHAT = "DICOM structure set (RTSTRUCT)"

COPY_VOX = 0.05
"""Contours of one slice that lie so close all the way round are one, stored twice, pixels."""

ON_SLICE_VOX = 0.05
"""A contour so far from the middle of a slice, in slices, counts as drawn on it."""

BEYOND_VOX = 0.5
"""Contours may reach so far beyond the outer face of the image, pixels, as they do that follow it
by the centres of pixels or their corners."""

NARROW_VOX = 0.75
"""Area over length of the outline, pixels, from which on a contour holds a voxel's centre."""

FLAT_VOX = 0.1
"""The points of a contour may differ so much across its plane, in slices."""

_XOR = "CLOSEDPLANAR_XOR"
_CLOSED = ("CLOSED_PLANAR", _XOR)


@dataclass(frozen=True, eq=False)
class _Contour:
    """One contour.

    Attributes:
        level: Position along the third axis of the grid, in slices; rarely a whole number.
        points: (n, 2) row and column, voxels.
        is_xor: Whether it is to be combined with the others of its plane by exclusive or.
    """

    level: float
    points: Points
    is_xor: bool


def read_rtstruct(
    path: Path | str,
    grid: Grid,
    series: Series | None = None,
    names: Collection[str] | None = None,
) -> DicomSegments:
    """The structures of an RTSTRUCT as masks.

    Args:
        path: The file.
        grid: Grid of the series that the contours were drawn on: an RTSTRUCT holds none.
        series: That series. Then structures of another frame of reference are refused when they
            are drawn, unless their contours name its images: their coordinates mean other places.
        names: Structures that were drawn on it; None: all. Nothing is said of the others.

    Returns:
        Named structures, drawn when they are asked for. Those without closed contours (points,
        lines) have empty masks, and the notes name them.

    Raises:
        DataError: The file is no RTSTRUCT, or damaged.
        GridError: No structure's contours lie in slices of `grid`. Where those of some do, the
            others are refused when they are drawn, as are damaged ones: a couch may reach beyond
            the images.
    """
    path = Path(path)
    dataset = open_object(path, RTSTRUCT_CLASSES, _WHAT)
    notes: list[str] = []
    try:
        structures = tuple(
            one for one in _structures(dataset, notes) if names is None or one.name in names
        )
        contours, refused = _contours_of_all(dataset, structures, grid, path, notes)
        if series is not None:
            for number, error in _of_other_frames(dataset, structures, series, path).items():
                contours[number] = []
                refused[number] = error
        series_uid = rtstruct_series_uid(dataset)
    except dicom_faults() as error:
        if isinstance(error, DataError | GridError):
            raise
        raise damaged(path, _WHAT, error) from error
    if not structures:
        raise DataError(f"{path}: a {_WHAT} must describe its structures; found none.")
    if refused and not any(contours.values()):
        raise next(iter(refused.values()))
    _refuse_other_grid(contours, grid, path)
    for one in structures:
        own = contours[one.number]
        notes += [*_between(one, own), *_skipping(one, own), *_narrow(one, own, grid)]

    def draw(structure: Structure) -> Mask:
        if structure.number in refused:
            raise refused[structure.number]
        return _draw(contours[structure.number], grid)

    outlined = frozenset(number for number, own in contours.items() if own)
    return DicomSegments(path, structures, series_uid, grid, tuple(notes), draw, outlined)


def rtstruct_series_uid(dataset: Any) -> str:
    """SeriesInstanceUID of the images that the contours were drawn on; empty: not stated.

    Args:
        dataset: The pydicom dataset of an RTSTRUCT.
    """
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                return str(series.get("SeriesInstanceUID", ""))
    return ""


def _structures(dataset: Any, notes: list[str]) -> list[Structure]:
    codes = {
        int(item.ReferencedROINumber): (
            first_code(item, "RTROIIdentificationCodeSequence"),
            coded_sides(item),
        )
        for item in dataset.get("RTROIObservationsSequence") or ()
        if "ReferencedROINumber" in item
    }
    colors = {
        int(item.ReferencedROINumber): item.get("ROIDisplayColor")
        for item in dataset.get("ROIContourSequence") or ()
    }
    found = []
    for order, item in enumerate(dataset.get("StructureSetROISequence") or ()):
        number = int(item.ROINumber)
        code, sides = codes.get(number, (None, ()))
        name = structure_name(item.get("ROIName"), number, "ROI", notes)
        found.append(Structure(name, number, _color(colors.get(number), order), code, sides))
    return found


def _color(given: Any, order: int) -> Color:
    try:
        red, green, blue = (min(max(int(part) / 255, 0.0), 1.0) for part in given)
    except (TypeError, ValueError):  # none, or not three numbers
        return SEGMENT_COLORS[order % len(SEGMENT_COLORS)]
    return red, green, blue


def _contours_of_all(
    dataset: Any, structures: Sequence[Structure], grid: Grid, path: Path, notes: list[str]
) -> tuple[dict[int, list[_Contour]], dict[int, DataError | GridError]]:
    """Contours by number of their structure, and why those of some are refused; these have none."""
    contours: dict[int, list[_Contour]] = {}
    refused: dict[int, DataError | GridError] = {}
    for one in structures:
        try:
            contours[one.number] = _contours(dataset, one, grid, path, notes)
        except dicom_faults() as error:
            contours[one.number] = []
            what = f"{_WHAT} with the contours of '{one.name}'"
            refused[one.number] = (
                error if isinstance(error, DataError | GridError) else damaged(path, what, error)
            )
    return contours, refused


def _of_other_frames(
    dataset: Any, structures: Sequence[Structure], series: Series, path: Path
) -> dict[int, GridError]:
    """Why structures are refused that were drawn in another frame of reference, by number."""
    own = series.tags.get("FrameOfReferenceUID", "")
    images = {item.tags.get("SOPInstanceUID", "") for item in series.slices}
    on_images = {
        int(roi.ReferencedROINumber)
        for roi in dataset.get("ROIContourSequence") or ()
        for contour in roi.get("ContourSequence") or ()
        for image in contour.get("ContourImageSequence") or ()
        if str(image.get("ReferencedSOPInstanceUID", "")) in images
    }
    frames = {
        int(item.ROINumber): str(item.get("ReferencedFrameOfReferenceUID") or "")
        for item in dataset.get("StructureSetROISequence") or ()
    }
    return {
        one.number: GridError(
            f"{path}: structures must be drawn in the frame of reference of the series; "
            f"'{one.name}' was drawn in another. Give the series that it was drawn on."
        )
        for one in structures
        if own and frames.get(one.number, "") not in ("", own) and one.number not in on_images
    }


def _contours(
    dataset: Any, structure: Structure, grid: Grid, path: Path, notes: list[str]
) -> list[_Contour]:
    """The closed contours of a structure in index coordinates."""
    into = np.linalg.inv(grid.affine) @ LPS_TO_RAS
    found = []
    n_open = 0
    for roi in dataset.get("ROIContourSequence") or ():
        if int(roi.ReferencedROINumber) != structure.number:
            continue
        for item in roi.get("ContourSequence") or ():
            kind = str(item.get("ContourGeometricType", ""))
            points = np.array(item.get("ContourData") or [], dtype=np.float64)
            if kind not in _CLOSED or len(points) < 9:
                n_open += 1
                continue
            index = points.reshape(-1, 3) @ into[:3, :3].T + into[:3, 3]
            if not np.all(np.isfinite(index)):
                raise DataError(f"{path}: '{structure.name}' has points that are not finite.")
            found.append(_flat(index, kind == _XOR, structure, grid, path))
    if n_open:
        notes.append(f"'{structure.name}': {n_open} points or open lines were left out.")
    return found


def _flat(index: Array, is_xor: bool, structure: Structure, grid: Grid, path: Path) -> _Contour:
    """A contour in a slice of the grid, from (n, 3) column, row and slice."""
    level = float(np.median(index[:, 2]))
    if np.abs(index[:, 2] - level).max() > FLAT_VOX:
        raise GridError(
            f"{path}: contours must lie in slices of the series; one of '{structure.name}' reaches "
            f"from slice {index[:, 2].min():.2f} to {index[:, 2].max():.2f} of "
            f"{describe_grid(grid)}. Give the series that they were drawn on."
        )
    low, high = index[:, :2].min(axis=0), index[:, :2].max(axis=0)
    size = np.array(grid.shape[:0:-1])
    is_beyond = not ON_SLICE_VOX - 1 < level < grid.shape[0] - ON_SLICE_VOX
    margin = 0.5 + BEYOND_VOX + 1e-3  # coordinates are rounded in the file
    if np.any(low < -margin) or np.any(high > size - 1 + margin) or is_beyond:
        raise GridError(
            f"{path}: contours must lie inside the series; one of '{structure.name}' lies in slice "
            f"{level:.2f}, columns {low[0]:.1f} to {high[0]:.1f}, rows {low[1]:.1f} to "
            f"{high[1]:.1f} of {describe_grid(grid)}. Give the series that they were drawn on."
        )
    return _Contour(level, index[:, 1::-1], is_xor)


def _slice_of(level: float) -> int:
    """The nearest slice; of two that are equally near the higher one, so that contours half-way
    between slices go to one slice each."""
    return floor(round(level, 2) + 0.5)


def _is_between(contour: _Contour) -> bool:
    return abs(contour.level - _slice_of(contour.level)) > ON_SLICE_VOX


def _refuse_other_grid(contours: Mapping[int, Sequence[_Contour]], grid: Grid, path: Path) -> None:
    every = [one for of_structure in contours.values() for one in of_structure]
    if every and all(_is_between(one) for one in every):
        raise GridError(
            f"{path}: contours must lie on the slices of the series; all {len(every)} lie between "
            f"slices of {describe_grid(grid)}. Give the series that they were drawn on."
        )


def _between(structure: Structure, contours: Sequence[_Contour]) -> list[str]:
    levels = sorted({round(one.level, 2) for one in contours if _is_between(one)})
    if not levels:
        return []
    shown = ", ".join(f"{level:g}" for level in levels[:5]) + (", ..." if levels[5:] else "")
    return [
        f"'{structure.name}': contours at {len(levels)} places between slices (slice {shown}) "
        "were taken for the nearest slice, unless that has contours of its own."
    ]


def _skipping(structure: Structure, contours: Sequence[_Contour]) -> list[str]:
    """A remark on slices within a structure on which nothing is drawn."""
    drawn = sorted({_slice_of(one.level) for one in contours})
    n_between = drawn[-1] - drawn[0] + 1 - len(drawn) if drawn else 0
    if not n_between:
        return []
    return [
        f"'{structure.name}': nothing is drawn on {n_between} of the {drawn[-1] - drawn[0] + 1} "
        "slices that it reaches over."
    ]


def _narrow(structure: Structure, contours: Sequence[_Contour], grid: Grid) -> list[str]:
    """A remark on contours that hold no voxel's centre, where others do."""
    n_lost = sum(
        0 < abs(signed_area(one.points)) < NARROW_VOX * _length(one)
        and not fill_polygon(one.points, grid.shape[1:]).any()
        for one in contours
    )
    if n_lost in (0, len(contours)):  # of a structure without a voxel more is to be told
        return []
    return [
        f"'{structure.name}': {n_lost} of {len(contours)} contours hold no voxel's centre; nothing "
        "is drawn there."
    ]


def _length(contour: _Contour) -> float:
    """Of the outline, pixels."""
    steps = contour.points - np.roll(contour.points, 1, axis=0)
    return float(np.linalg.norm(steps, axis=1).sum())


def _draw(contours: Sequence[_Contour], grid: Grid) -> Mask:
    """All contours as one mask; of several planes nearest to one slice the nearest counts."""
    mask = np.zeros(grid.shape, dtype=bool)
    planes: dict[float, list[_Contour]] = defaultdict(list)
    for one in contours:
        # All that is drawn on a slice is one plane, however its points were rounded in the file.
        level = round(one.level, 2) if _is_between(one) else float(_slice_of(one.level))
        planes[level].append(one)
    slices = {level: min(max(_slice_of(level), 0), grid.shape[0] - 1) for level in planes}
    nearest: dict[int, float] = {}
    for level in sorted(planes, key=lambda place: abs(place - slices[place])):
        nearest.setdefault(slices[level], level)
    for slice_index, level in nearest.items():
        mask[slice_index] = _combine(planes[level], grid.shape[1:])
    return mask


def _is_copy(one: _Contour, other: _Contour) -> bool:
    """Whether two contours that fill the same pixels are one, to the rounding of their points.

    Else there is a wall between them, thinner than a pixel.
    """
    apart = abs(abs(signed_area(one.points)) - abs(signed_area(other.points)))
    return apart <= COPY_VOX * _length(one)


def _combine(contours: Sequence[_Contour], shape: tuple[int, int]) -> Mask:
    """One slice: larger contours first; what lies wholly within one is a hole, or an island in it.

    What lies within several together and within none of them crosses outlines: it is united.
    """
    filled = [(one, fill_polygon(one.points, shape)) for one in contours]
    # The area tells apart what fills the same pixels: a wall thinner than a pixel.
    filled.sort(key=lambda pair: (-np.count_nonzero(pair[1]), -abs(signed_area(pair[0].points))))
    whole = np.zeros(shape, dtype=bool)
    larger: list[tuple[_Contour, Mask]] = []
    for contour, one in filled:
        alike = (other for other, mask in larger if np.array_equal(one, mask))
        if not contour.is_xor and any(_is_copy(contour, other) for other in alike):
            continue  # one contour stored twice is no hole
        is_hole = not np.any(one & ~whole) and any(not np.any(one & ~mask) for _, mask in larger)
        larger.append((contour, one))
        if contour.is_xor or is_hole:
            whole ^= one
        else:
            whole |= one
    return whole
