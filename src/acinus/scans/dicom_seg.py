"""DICOM segmentation objects (SEG): named masks on the grid of the series that was segmented.

Enters: BINARY, LABELMAP and FRACTIONAL objects of any program. Leaves: `DicomSegments`. Frames
are placed by their position and orientation, whatever their order; frames that are not stored
are empty, as the standard has it. Reading the grid off the number of frames was rejected: most
programs leave empty frames out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import ConfigError, DataError, GridError
from acinus.progress import plural
from acinus.scans.coding import SIDES, Side, sides_of_codes
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
from acinus.scans.orientation import describe_grid, require_usable_affine
from acinus.scans.segments import SEGMENT_COLORS
from acinus.scans.slices import dicom_faults
from acinus.scans.volume import Grid
from acinus.types import Affine, Array, Mask

SEG_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
}

_WHAT = "DICOM segmentation (SEG)"

OFF_GRID_VOX = 0.05
"""How far a stored voxel may lie beside the voxel of the grid that it is taken for, voxels.
Positions are rounded in files, and slices of a series are not spaced to the last digit."""

SAME_PLACE_MM = 1e-3
"""Frames nearer than this along their normal lie at one place, mm."""


@dataclass(frozen=True, eq=False)
class _Frame:
    """Where a frame lies and which segment it shows.

    Attributes:
        index: From 0, in the file.
        affine: (4, 4), (column, row, 1 mm along the normal, 1) to RAS+ mm.
        number: Of its segment; None: a label map, all of them.
    """

    index: int
    affine: Affine
    number: int | None

    @property
    def along_mm(self) -> float:
        """Position along the normal, mm."""
        return float(self.affine[:3, 3] @ self.affine[:3, 2])


def read_dicom_seg(
    path: Path | str, grid: Grid | None = None, *, threshold: float = 0.5
) -> DicomSegments:
    """The segments of a DICOM SEG on the grid of the series that was segmented.

    Args:
        path: The file.
        grid: Grid of the series. None: from the first to the last stored slice, at the distance
            that the file states (SpacingBetweenSlices) if their positions fit it, or else at the
            smallest one between them; a file that left out its empty slices gives a smaller grid
            than the series has. A contradiction stands in the notes.
        threshold: Of a fractional segment: what is at least this share counts as inside, in
            (0, 1].

    Returns:
        Named segments, drawn when they are asked for; empty ones have empty masks.

    Raises:
        ConfigError: The threshold cannot be.
        DataError: The file is no SEG, damaged, or does not say where its frames lie.
        GridError: Its frames do not lie on `grid`.
    """
    path = Path(path)
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold must be above 0 and at most 1; got {threshold:g}.")
    dataset = open_object(path, SEG_CLASSES, _WHAT)
    try:
        frames = _frames(dataset, path)
        notes: list[str] = []
        structures = tuple(_structures(dataset, notes))
        series_uid = _series_uid(dataset)
        size = int(dataset.Rows), int(dataset.Columns)
        level = _level(dataset, threshold)
        stated = _stated(dataset)
    except dicom_faults() as error:
        if isinstance(error, DataError):
            raise
        raise damaged(path, _WHAT, error) from error
    if not structures:
        raise DataError(f"{path}: a {_WHAT} must describe its segments; found none.")
    whole = grid or _stack(frames, size, stated, path, notes)
    places = [_place(frame, size, whole, path) for frame in frames]
    of_number: dict[int | None, list[int]] = defaultdict(list)
    for frame in frames:
        of_number[frame.number].append(frame.index)

    def draw(structure: Structure) -> Mask:
        mask = np.zeros(whole.shape, dtype=bool)
        chosen = of_number[structure.number] + of_number[None]
        n_lost = 0
        for index, pixels in zip(chosen, _decoded(dataset, chosen, path), strict=True):
            inside = pixels >= level
            if frames[index].number is None:
                inside = pixels == structure.number
            n_lost += places[index].put(inside, mask)
        if n_lost:
            raise GridError(
                f"{path}: segment '{structure.name}' must lie inside the grid; {n_lost} voxels "
                f"lie outside of {describe_grid(whole)}. Give the series that was segmented."
            )
        return mask

    notes += [*_notes(dataset, threshold), *_undescribed(frames, dataset)]
    return DicomSegments(path, structures, series_uid, whole, tuple(notes), draw)


def _frames(dataset: Any, path: Path) -> list[_Frame]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    own = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    stated = dataset.get("NumberOfFrames")
    n_frames = 1 if stated in (None, "") else int(stated)  # 0: every segment is empty
    if len(own) != n_frames:
        raise DataError(
            f"{path}: each of the {n_frames} frames must say where it lies; found "
            f"{len(own)} descriptions. Export it again."
        )
    is_labelmap = str(dataset.get("SegmentationType", "BINARY")) == "LABELMAP"
    frames = []
    for index, item in enumerate(own):
        groups = {
            name: _group(name, item, shared)
            for name in (
                "PlanePositionSequence",
                "PlaneOrientationSequence",
                "PixelMeasuresSequence",
                "SegmentIdentificationSequence",
            )
        }
        position = groups["PlanePositionSequence"].get("ImagePositionPatient")
        cosines = groups["PlaneOrientationSequence"].get("ImageOrientationPatient")
        pixel_mm = groups["PixelMeasuresSequence"].get("PixelSpacing")
        if not position or not cosines or not pixel_mm:
            raise DataError(
                f"{path}: frame {index + 1} must state position, orientation and pixel spacing; "
                "found no patient coordinates. Segmentations of pictures without a place in the "
                "patient cannot be read."
            )
        number = groups["SegmentIdentificationSequence"].get("ReferencedSegmentNumber")
        affine = _plane_affine(position, cosines, pixel_mm)
        require_usable_affine(affine, f"{path}: frame {index + 1}")
        frames.append(_Frame(index, affine, None if is_labelmap else int(number)))
    return frames


def _group(name: str, own: Any, shared: Any) -> Any:
    """A functional group of a frame, or else that of all frames."""
    return (own.get(name) or shared.get(name) or [{}])[0]


def _plane_affine(position: Any, cosines: Any, pixel_mm: Any) -> Affine:
    row, column = np.array([float(one) for one in cosines]).reshape(2, 3)
    lps = np.eye(4)
    lps[:3, 0] = row * float(pixel_mm[1])
    lps[:3, 1] = column * float(pixel_mm[0])
    lps[:3, 2] = np.cross(row, column)
    lps[:3, 3] = [float(one) for one in position]
    return np.asarray(LPS_TO_RAS @ lps)


def _structures(dataset: Any, notes: list[str]) -> Iterable[Structure]:
    of_frames = _sides_of_frames(dataset)
    for order, item in enumerate(dataset.get("SegmentSequence") or ()):
        number = int(item.SegmentNumber)
        code = first_code(item, "SegmentedPropertyTypeCodeSequence")
        coded = {*coded_sides(item), *of_frames[number]}
        sides = tuple(side for side in SIDES if side in coded)
        color = SEGMENT_COLORS[order % len(SEGMENT_COLORS)]
        if number:  # 0: background of a label map
            name = structure_name(item.get("SegmentLabel"), number, "Segment", notes)
            yield Structure(name, number, color, code, sides)


def _sides_of_frames(dataset: Any) -> dict[int, set[Side]]:
    """Sides by number of the segment that the frames of each state (FrameLaterality)."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    sides: dict[int, set[Side]] = defaultdict(set)
    for item in dataset.get("PerFrameFunctionalGroupsSequence") or ():
        number = _group("SegmentIdentificationSequence", item, shared).get(
            "ReferencedSegmentNumber"
        )
        stated = _group("FrameAnatomySequence", item, shared).get("FrameLaterality")
        if number is not None and stated:
            sides[int(number)].update(sides_of_codes([str(stated)]))
    return sides


def _series_uid(dataset: Any) -> str:
    for item in dataset.get("ReferencedSeriesSequence") or ():
        return str(item.get("SeriesInstanceUID", ""))
    return ""


@dataclass(frozen=True)
class _Stated:
    """What a file says of its slices, mm; None: nothing.

    Attributes:
        spacing_mm: From the middle of one to that of the next (SpacingBetweenSlices).
        thickness_mm: How thick one is (SliceThickness): slices overlap, or leave gaps.
    """

    spacing_mm: float | None
    thickness_mm: float | None


def _stated(dataset: Any) -> _Stated:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    own = (dataset.get("PerFrameFunctionalGroupsSequence") or [{}])[0]
    group = _group("PixelMeasuresSequence", own, shared)
    found = (group.get(name) for name in ("SpacingBetweenSlices", "SliceThickness"))
    return _Stated(*(abs(float(one)) if one else None for one in found))


def _level(dataset: Any, threshold: float) -> float:
    """Smallest stored value that counts as inside."""
    if str(dataset.get("SegmentationType", "BINARY")) != "FRACTIONAL":
        return 1
    return threshold * float(dataset.get("MaximumFractionalValue") or 255)


def _notes(dataset: Any, threshold: float) -> tuple[str, ...]:
    if str(dataset.get("SegmentationType", "BINARY")) != "FRACTIONAL":
        return ()
    kind = str(dataset.get("SegmentationFractionalType", "")).lower() or "fraction"
    return (f"Segments are fractional ({kind}); what is at least {threshold:g} counts as inside.",)


def _undescribed(frames: Sequence[_Frame], dataset: Any) -> list[str]:
    """A note on frames of segments that the object does not describe."""
    described = {int(item.SegmentNumber) for item in dataset.get("SegmentSequence") or ()}
    lost = sorted({one.number for one in frames if one.number is not None} - described)
    if not lost:
        return []
    n = sum(one.number in lost for one in frames)
    return [
        f"{n} {plural('frame', n)} of segments that are not described (number "
        f"{', '.join(map(str, lost[:5]))}{', …' if lost[5:] else ''}) were left out."
    ]


def _stack(
    frames: Sequence[_Frame],
    size: tuple[int, int],
    stated: _Stated,
    path: Path,
    notes: list[str],
) -> Grid:
    """Grid from the first to the last stored slice; what contradicts it is noted."""
    if not frames:
        raise DataError(f"{path}: a segmentation without frames needs the grid of its series.")
    first = min(frames, key=lambda frame: frame.along_mm)
    last = max(frames, key=lambda frame: frame.along_mm)
    along = np.array([frame.along_mm for frame in frames])
    along = np.sort(along)[np.flatnonzero(np.diff(np.sort(along), prepend=-np.inf) > SAME_PLACE_MM)]
    step_mm = _step_mm(np.diff(along), stated, path, notes)
    length = float(along[-1] - along[0])
    n_slices = round(length / step_mm) + 1
    affine = first.affine.copy()
    way = last.affine[:3, 3] - first.affine[:3, 3]
    affine[:3, 2] = way / (n_slices - 1) if n_slices > 1 else affine[:3, 2] * step_mm
    return Grid((n_slices, *size), affine)


def _step_mm(gaps: Array, stated: _Stated, path: Path, notes: list[str]) -> float:
    """Distance of slices: as stated where the positions of all frames fit it, else as they lie.

    The thickness counts for a single slice alone, or where nothing else fits.
    """
    nearest_mm = float(gaps.min()) if len(gaps) else None
    candidates = (stated.spacing_mm, nearest_mm, stated.thickness_mm)
    step_mm = next((one for one in candidates if one and _fits(gaps, one)), None)
    if step_mm is None and not len(gaps):
        raise DataError(
            f"{path}: a single slice must state SpacingBetweenSlices or SliceThickness; found "
            "neither. Give the grid of the series."
        )
    if step_mm is None:
        raise DataError(
            f"{path}: slices must lie at multiples of one distance; found {gaps.min():.4g} to "
            f"{gaps.max():.4g} mm. Give the grid of the series that was segmented."
        )
    claim = "SpacingBetweenSlices" if stated.spacing_mm else "SliceThickness"
    claimed_mm = stated.spacing_mm or stated.thickness_mm
    if nearest_mm and claimed_mm and abs(claimed_mm - nearest_mm) > OFF_GRID_VOX * nearest_mm:
        follows = "what lies between counts as empty" if step_mm < nearest_mm else "that counts"
        notes.append(
            f"{claim} is {claimed_mm:g} mm and the nearest two slices lie {nearest_mm:.4g} mm "
            f"apart; {follows}. Give the grid of the series if it is another."
        )
    return step_mm


def _fits(gaps: Array, step_mm: float) -> bool:
    """Whether all distances are multiples of one, as far as positions are rounded."""
    steps = gaps / step_mm
    rounded = np.rint(steps)
    return bool(np.all(np.abs(steps - rounded) < OFF_GRID_VOX * np.maximum(steps, 1)))


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the pixels of a frame go.

    Attributes:
        axes: Of the (Z, Y, X) mask, for the frame's rows, columns and normal.
        rows: Index along the first axis for each row.
        columns: Index along the second axis for each column.
        level: Index along the third axis.
    """

    axes: tuple[int, int, int]
    rows: Array
    columns: Array
    level: int

    def put(self, inside: Mask, mask: Mask) -> int:
        """Add a frame to a mask; answers how many of its pixels lie outside."""
        plane = np.transpose(mask, self.axes)
        n_rows, n_columns, n_levels = plane.shape
        keep_rows = (self.rows >= 0) & (self.rows < n_rows)
        keep_columns = (self.columns >= 0) & (self.columns < n_columns)
        if not 0 <= self.level < n_levels:
            return int(np.count_nonzero(inside))
        kept = inside[np.ix_(keep_rows, keep_columns)]
        target = np.ix_(self.rows[keep_rows], self.columns[keep_columns])
        plane[..., self.level][target] |= kept
        return int(np.count_nonzero(inside) - np.count_nonzero(kept))


def _place(frame: _Frame, size: tuple[int, int], grid: Grid, path: Path) -> _Place:
    """Where a frame lies on a grid.

    Raises:
        GridError: Its pixels do not lie on the grid's voxels.
    """
    n_rows, n_columns = size
    into = np.linalg.inv(grid.affine) @ frame.affine
    # The normal may be slanted against the grid's third axis (tilted gantry): it is not asked.
    turn = np.rint(into[:3, :2])
    start = np.rint(into[:3, 3])
    corners = np.array([(x, y) for x in (0, n_columns - 1) for y in (0, n_rows - 1)]).T
    exact = into[:3, :2] @ corners + into[:3, 3:]
    off = np.abs(exact - (turn @ corners + start[:, np.newaxis])).max()
    is_turn = np.all(np.abs(turn).sum(axis=0) == 1) and np.all(np.abs(turn).sum(axis=1) <= 1)
    if not is_turn or off > OFF_GRID_VOX:
        beside = f"{off:.2g} voxels beside them" if is_turn else _in_other_plane(into)
        raise GridError(
            f"{path}: frame {frame.index + 1} must lie on the voxels of the grid; it lies "
            f"{beside} ({describe_grid(grid)}). Give the series that was segmented."
        )
    axis_x, axis_y = (int(np.argmax(np.abs(turn[:, one]))) for one in (0, 1))
    normal = 3 - axis_x - axis_y
    rows = start[axis_y] + turn[axis_y, 1] * np.arange(n_rows)
    columns = start[axis_x] + turn[axis_x, 0] * np.arange(n_columns)
    axes = (2 - axis_y, 2 - axis_x, 2 - normal)
    return _Place(axes, rows.astype(np.int64), columns.astype(np.int64), int(start[normal]))


def _in_other_plane(into: Array) -> str:
    """What sets a frame apart that lies in no plane of voxels.

    Args:
        into: (4, 4), from the frame's indices to those of the grid.
    """
    sizes = np.abs(into[:3, :2])
    is_along = np.all((sizes > OFF_GRID_VOX).sum(axis=0) == 1)
    if not is_along:
        return "in another plane"
    rows, columns = sizes[:, 1].max(), sizes[:, 0].max()
    return f"in their plane with pixels of {rows:.3g} by {columns:.3g} voxels"


def _decoded(dataset: Any, indices: Sequence[int], path: Path) -> Iterable[Array]:
    """(rows, columns) stored values of some frames."""
    from pydicom.pixels import iter_pixels

    if not indices:
        return
    faults: tuple[type[Exception], ...] = (*dicom_faults(), RuntimeError)
    try:
        compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
        if int(dataset.BitsAllocated) == 1 and not compressed:
            yield from _unpacked(dataset, indices)
        else:
            yield from iter_pixels(dataset, raw=True, indices=list(indices))
    except faults as error:
        raise damaged(path, _WHAT, error) from error


def _unpacked(dataset: Any, indices: Sequence[int]) -> Iterable[Array]:
    """Frames of single bits, packed one after the other without a gap (PS3.5, 8.1.1).

    Not by pydicom, which reads frames one by one only where each begins with a byte.
    """
    n_rows, n_columns = int(dataset.Rows), int(dataset.Columns)
    packed = np.frombuffer(dataset.PixelData, dtype=np.uint8)
    n_bits = n_rows * n_columns
    for index in indices:
        first = index * n_bits
        part = packed[first // 8 : -(-(first + n_bits) // 8)]
        bits = np.unpackbits(part, bitorder="little")[first % 8 : first % 8 + n_bits]
        yield bits.reshape(n_rows, n_columns)
