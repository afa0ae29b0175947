"""Find first, then segment: boxes from a locator, the segment stage inside, boxes that grow.

Enters: the channels of a scan, slab by slab. Leaves: pieces of a label map where the boxes lie,
and what became of each box. Nothing as large as the scan is held: neither its voxels nor its
labels. A mask that touches a face of its box, where the scan goes on beyond, moves that face
outwards and the box is segmented again; what still touches after the last time is flagged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from acinus.cohort import mirror_partners
from acinus.errors import DataError, GridError, MemoryLimitError
from acinus.plan import Plan
from acinus.predict.locate.locators import KnownPlaces, Locator, Watch, values_of
from acinus.predict.locate.place import LabelValues, Place
from acinus.scans import GRID_TOLERANCE_MM, Grid, Volume
from acinus.scans.box import Box, Slices, box_of_voxels, part_affine, voxels_in
from acinus.scans.slabs import SlabReader, overview, overview_shape, read_parts
from acinus.types import Labelmap

FACE_MM = 1.0
"""A mask touches a face when it comes so close, or within a voxel."""

GROUP_VOX = 2**25
"""Boxes are read together up to so many voxels, or one box: memory must not grow with their
number."""

WatchGrids = Callable[[Sequence[Grid]], None]
"""Told the grids of the parts that will be read together and then segmented one by one."""

Segment = Callable[[Place, Sequence[Volume | None]], Volume]
"""A place, and the channels of a part of a scan, to the label map of the part."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One place after it was segmented.

    Attributes:
        place: As it was located.
        part: (Z, Y, X) slices of the scan that were segmented at last; None if there is no box.
        labelmap: uint8 of the place's labels there; None if there is no box.
        n_growths: How many times the box grew.
        cut: Labels that touch a face at last though the scan goes on beyond it.
        others: Labels of other places that the network gave to voxels of this box; left out.
        astray: uint8 of the partners of the place's labels there, which are written only where
            they are relabelled; None if there are none.
        is_moved: Whether this is no place but what was taken out of one to bear other names.
    """

    place: Place
    part: Slices | None
    labelmap: Volume | None
    n_growths: int = 0
    cut: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    astray: Volume | None = None
    is_moved: bool = False

    def box(self, grid: Grid) -> Box | None:
        """The box that was segmented at last, in the world; `grid` is that of the scan."""
        return None if self.part is None else box_of_voxels(grid, self.part)


@dataclass(frozen=True, eq=False)
class Located:
    """A scan whose places were found and segmented.

    Attributes:
        grid: Of the scan.
        pieces: One a place, and perhaps what was moved out of some.
        overview: First channel at coarse resolution.
        locate_s: Seconds to read the overview and find the places; NaN if they were known.
        segment_s: Seconds for the rest.
    """

    grid: Grid
    pieces: tuple[Piece, ...]
    overview: Volume
    locate_s: float
    segment_s: float

    def parts(self) -> list[tuple[Slices, Labelmap]]:
        """What to write, see `write_pieces`."""
        return [
            (piece.part, piece.labelmap.array)
            for piece in self.pieces
            if piece.part is not None and piece.labelmap is not None
        ]


def locate(
    sources: Sequence[SlabReader | None], locator: Locator, watch: Watch | None = None
) -> tuple[list[Place], Volume, float]:
    """The places in a scan, its first channel as overview, and the seconds that it took.

    Args:
        sources: The channels, on one grid.
        locator: Finds the places.
        watch: Told the bytes that the overview, and a network which locates, will take, before
            they do.

    Raises:
        GridError: Channels lie on different grids.
    """
    begin = time.monotonic()
    grid = common_grid(sources)
    spacing_mm = min(locator.overview_mm, max(4.0, min(grid.spacing_mm)))
    if watch is not None:
        there = sum(one is not None for one in sources)
        watch(4 * there * math.prod(overview_shape(grid, spacing_mm)))
    seen = [
        None if one is None else overview(one, spacing_mm, limits)
        for one, limits in zip(sources, locator.limits or (None,) * len(sources), strict=True)
    ]
    first = next(one for one in seen if one is not None)
    found = locator.find(seen, watch)
    # Of places that were found before, nobody knows here how long that took.
    seconds = math.nan if isinstance(locator, KnownPlaces) else time.monotonic() - begin
    return found, first, seconds


def segment_places(
    sources: Sequence[SlabReader | None],
    places: Sequence[Place],
    segment: Segment,
    plan: Plan,
    watch: WatchGrids | None = None,
) -> list[Piece]:
    """Every place segmented, its box grown where a mask touched it.

    A grown box for which the memory does not suffice is given up: the place stays as its smaller
    box showed it, and what that cuts off is flagged.

    Args:
        sources: The channels, on one grid.
        places: With their boxes.
        segment: The segment stage.
        plan: Labels, margin and the most times that a box grows.
        watch: May refuse what is too large, before it is read.

    Raises:
        MemoryLimitError: `watch` or `segment` refuses a box that has not grown.
    """
    settings, values, grid = plan.settings.locate, values_of(plan), common_grid(sources)
    partner = mirror_partners(plan.dataset.mirror_pairs)
    pieces: list[Piece] = []
    for place in places:
        part = None if place.box is None else voxels_in(grid, place.box)
        if place.box is not None and part is None:
            place = Place(place.name, place.labels, None, "the box lies outside of the scan")
        pieces.append(Piece(place, part, None))
    smaller: dict[int, Piece] = {}
    waiting = [index for index, piece in enumerate(pieces) if piece.part is not None]
    for n_growths in range(settings.growths + 1):
        grown: list[int] = []
        for index, channels in _read_in_groups(sources, pieces, waiting, watch):
            place, part = pieces[index].place, pieces[index].part
            try:
                answer = (
                    channels if isinstance(channels, MemoryLimitError) else segment(place, channels)
                )
            except MemoryLimitError as error:
                answer = error
            if isinstance(answer, MemoryLimitError):
                if index not in smaller:
                    raise answer
                pieces[index] = smaller[index]
                continue
            labelmap = _only(answer, [values[name] for name in place.labels])
            others = tuple(name for name in _present(answer, values) if name not in place.labels)
            if part is None:
                continue
            strays = [values[name] for name in others if partner.get(name) in place.labels]
            astray = _only(answer, strays) if strays else None
            touched = _touched(labelmap, part, grid)
            cut = _labels_at(labelmap, touched, {name: values[name] for name in place.labels})
            pieces[index] = Piece(place, part, labelmap, n_growths, cut, others, astray)
            if cut and n_growths < settings.growths:
                smaller[index] = pieces[index]
                pieces[index] = Piece(
                    place, _grown(part, touched, grid, settings.margin_mm), None, n_growths
                )
                grown.append(index)
        waiting = grown
    return pieces


def still_cut(piece: Piece, grid: Grid, plan: Plan) -> tuple[str, ...]:
    """Labels of a piece that touch a face of its box though the scan goes on beyond it.

    Args:
        piece: After anything was removed from it.
        grid: Of the scan.
        plan: Labels.
    """
    if piece.labelmap is None or piece.part is None:
        return ()
    values = values_of(plan)
    touched = _touched(piece.labelmap, piece.part, grid)
    return _labels_at(piece.labelmap, touched, {name: values[name] for name in piece.place.labels})


def common_grid(sources: Sequence[SlabReader | None]) -> Grid:
    """The grid of all channels.

    Raises:
        DataError: There is no channel.
        GridError: They differ.
    """
    there = [one.grid for one in sources if one is not None]
    if not there:
        raise DataError("a case must have at least one channel; all of them are missing.")
    first, *others = there
    for other in others:
        if first.displacement_mm(other) > GRID_TOLERANCE_MM:
            raise GridError(
                f"channels of a case must share a grid; shapes (Z, Y, X) {first.shape} and "
                f"{other.shape}. Export them on one grid."
            )
    return first


def _read_in_groups(
    sources: Sequence[SlabReader | None],
    pieces: Sequence[Piece],
    waiting: Sequence[int],
    watch: WatchGrids | None,
) -> Iterator[tuple[int, list[Volume | None] | MemoryLimitError]]:
    """Index and channels of each waiting piece; the scan is read once for as many as fit."""
    n_channels = sum(one is not None for one in sources)
    group: list[tuple[int, Slices]] = []
    held = 0
    for index in waiting:
        part = pieces[index].part
        if part is None:
            continue
        n = n_channels * math.prod(edge.stop - edge.start for edge in part)
        if group and held + n > GROUP_VOX:
            yield from _read_group(sources, group, watch)
            group, held = [], 0
        group.append((index, part))
        held += n
    if group:
        yield from _read_group(sources, group, watch)


def _read_group(
    sources: Sequence[SlabReader | None],
    group: Sequence[tuple[int, Slices]],
    watch: WatchGrids | None,
) -> Iterator[tuple[int, list[Volume | None] | MemoryLimitError]]:
    numbers, parts = zip(*group, strict=True)
    if watch is not None:
        affine = common_grid(sources).affine
        try:
            watch([Grid(_shape(part), part_affine(affine, part)) for part in parts])
        except MemoryLimitError as error:
            if len(group) == 1:
                yield numbers[0], error
                return
            for one in group:  # one alone may fit
                yield from _read_group(sources, [one], watch)
            return
    yield from zip(numbers, _read(sources, parts), strict=True)


def _read(
    sources: Sequence[SlabReader | None], parts: Sequence[Slices]
) -> list[list[Volume | None]]:
    """For each part its channels; every channel is read once."""
    read = [None if one is None else read_parts(one, parts) for one in sources]
    return [[None if one is None else one[i] for one in read] for i in range(len(parts))]


def _shape(part: Slices) -> tuple[int, int, int]:
    z, y, x = (edge.stop - edge.start for edge in part)
    return z, y, x


def _only(labelmap: Volume, kept: Sequence[tuple[int, ...]]) -> Volume:
    """The label map with the labels of its place alone: the others have boxes of their own."""
    array = np.asarray(labelmap.array, dtype=np.uint8)
    known = np.unique([value for values in kept for value in values])
    return labelmap.with_array(np.where(np.isin(array, known), array, np.uint8(0)))


def _present(labelmap: Volume, values: LabelValues) -> tuple[str, ...]:
    there = {int(value) for value in np.unique(labelmap.array)}
    return tuple(name for name, those in values.items() if there & set(those))


def _touched(labelmap: Volume, part: Slices, grid: Grid) -> list[tuple[int, int]]:
    """(axis, 0 low or -1 high) of the faces that a label touches and the scan goes on beyond."""
    found = []
    for axis, (edge, n) in enumerate(zip(part, grid.shape, strict=True)):
        for end, is_inner in ((0, edge.start > 0), (-1, edge.stop < n)):
            if is_inner and _layer(labelmap, axis, end).any():
                found.append((axis, end))
    return found


def _layer(labelmap: Volume, axis: int, end: int) -> Labelmap:
    """The voxels at a face, about `FACE_MM` thick."""
    n = max(1, round(FACE_MM / labelmap.spacing_mm[axis]))
    part = slice(0, n) if end == 0 else slice(-n, None)
    return np.asarray(labelmap.array[(slice(None),) * axis + (part,)])


def _labels_at(
    labelmap: Volume, faces: Sequence[tuple[int, int]], values: dict[str, tuple[int, ...]]
) -> tuple[str, ...]:
    present = {int(v) for axis, end in faces for v in np.unique(_layer(labelmap, axis, end))}
    return tuple(name for name, those in values.items() if present & set(those))


def _grown(part: Slices, faces: Sequence[tuple[int, int]], grid: Grid, margin_mm: float) -> Slices:
    """The part with the touched faces moved outwards, at least a voxel, within the scan."""
    ends = [[edge.start, edge.stop] for edge in part]
    for axis, end in faces:
        n = max(1, math.ceil(margin_mm / grid.spacing_mm[axis]))
        if end == 0:
            ends[axis][0] = max(0, ends[axis][0] - n)
        else:
            ends[axis][1] = min(grid.shape[axis], ends[axis][1] + n)
    z, y, x = (slice(start, stop) for start, stop in ends)
    return z, y, x
