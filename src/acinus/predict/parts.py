"""A scan that is too large for the memory, segmented part by part.

Enters: the channels of a scan, slab by slab, and how many bytes may be taken. Leaves: the label
map where it is not background. Parts overlap by half a patch, so that every voxel is judged with
as much around it as in the whole scan, and each voxel is taken from the part in whose middle it
lies. Intensities are normalised as those of the whole scan. Tiles lie elsewhere than in the whole,
so that what the networks are not sure of may differ. Rejected: prepared arrays in a file of their
own, since what is mapped from a file counts as taken as well.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from acinus import progress
from acinus.plan import Plan
from acinus.predict.locate.place import Place
from acinus.predict.locate.stage import FACE_MM, Located, Piece, common_grid
from acinus.predict.memory import COUNTING_BYTES
from acinus.predict.model import Model
from acinus.prepare import look_over
from acinus.prepare.geometry import axis_order, make_geometry, turn_to
from acinus.scans import Grid, Volume
from acinus.scans.box import Slices, box_of_voxels, hull, part_affine, within
from acinus.scans.components import bounding_box
from acinus.scans.slabs import SlabReader, overview, read_parts
from acinus.types import Labelmap

OVERVIEW_MM = 4.0
"""Spacing of the overview in which the middle of the body is looked for."""

TAPS = 2
"""Voxels of either grid that interpolation looks at beyond an edge."""

ROOM_SHARE = 0.8
"""Of the room that there is at first, what a part may take: a program keeps some of what it let
go."""


@dataclass(frozen=True)
class Part:
    """A part of a scan.

    Attributes:
        seen: (Z, Y, X) voxels that are read and segmented.
        kept: (Z, Y, X) voxels within them whose labels are taken; those of all parts meet.
    """

    seen: Slices
    kept: Slices


def why_whole(model: Model) -> str | None:
    """Why a model must see a scan at once; None if it need not."""
    for member in model.members:
        prepare = member.plan.settings.prepare
        if member.previous is not None:
            return "its cascade looks at the whole scan first"
        if prepare.normalise_nonzero:
            return "its intensities are those of what is not 0, holes within it included"
        if prepare.size_vox is not None and (len(prepare.size_vox) == 3 or prepare.crop_to_nonzero):
            return f"it is cropped or padded to {prepare.size_vox} voxels about its middle"
    return None


def segment_in_parts(
    model: Model,
    sources: Sequence[SlabReader | None],
    room: Callable[[], int],
    watch: Callable[[int], None],
) -> tuple[Located, int]:
    """The label map of a scan where it is not background, and the number of parts.

    Args:
        model: Without a locate stage, and no reason in `why_whole`.
        sources: One a channel, on one grid; None is missing.
        room: Bytes that may be taken beside those that are.
        watch: Told the bytes that a step will take; it may refuse them.

    Returns:
        One piece that holds all labels, before post-processing.

    Raises:
        MemoryLimitError: Even the smallest parts, or their labels, are too large.
        DataError: As of `Model.predict`.
    """
    begin = time.monotonic()
    grid = common_grid(sources)
    wholes = [look_over(sources, member.plan.settings.prepare) for member in model.members]
    region = hull(whole.region for whole in wholes)
    # One byte a voxel in the end; the system gives memory for what is written, not for zeros.
    n_bytes = math.prod(grid.shape)
    parts = parts_that_fit(model, grid, region, int(ROOM_SHARE * (room() - n_bytes)), watch)
    intensities = [whole.intensities for whole in wholes]
    labels = np.zeros(grid.shape, dtype=np.uint8)
    found: list[Slices] = []
    with progress.stage("Segmenting in parts", total=len(parts), unit="part") as bar:
        for part in parts:
            labelmap = model.segment_part(_read(sources, part.seen), intensities)
            found += _keep(labelmap.array, part, labels)
            bar.advance(1)
    first = next(one for one in sources if one is not None)
    piece = _around(found, labels, grid, model.plan)
    watch(_counting_bytes(piece.labelmap, model.plan))
    seen = overview(first, max(OVERVIEW_MM, min(grid.spacing_mm)))
    return Located(grid, (piece,), seen, math.nan, time.monotonic() - begin), len(parts)


def parts_that_fit(
    model: Model,
    grid: Grid,
    region: Slices,
    n_bytes: int,
    watch: Callable[[int], None],
) -> list[Part]:
    """As few parts as fit, cut where their rims cost least.

    Args:
        model: Patches and spacings of its members decide on the rims.
        grid: Of the scan.
        region: Of it what is segmented.
        n_bytes: That a part may take.
        watch: Refuses the smallest parts, if even these do not fit.
    """
    rim, is_whole = rim_vox([member.plan for member in model.members], grid)
    lengths, n = [edge.stop - edge.start for edge in region], [1, 1, 1]
    while True:
        size = [
            min(length, math.ceil(length / many) + (2 * by if many > 1 else 0))
            for length, many, by in zip(lengths, n, rim, strict=True)
        ]
        needed = model.part_bytes(_grid_of(grid, [slice(0, one) for one in size]))
        if needed <= n_bytes:
            return list(_cut(region, n, rim))
        # Of each axis how long a part is beside its rim, once it is cut once more: one that is
        # shorter than its rim costs more than it saves.
        worth = [
            -1.0 if whole or length / (many + 1) < by else length / (many + 1) / by
            for length, many, by, whole in zip(lengths, n, rim, is_whole, strict=True)
        ]
        if max(worth) < 0:
            watch(needed)
            return list(_cut(region, n, rim))
        n[worth.index(max(worth))] += 1


def rim_vox(plans: Sequence[Plan], grid: Grid) -> tuple[list[int], list[bool]]:
    """For each axis (Z, Y, X) of a scan the voxels of a rim, and whether it must stay whole.

    Args:
        plans: Of all members of a model: half a patch of the largest, with what interpolation
            looks at. Slices need nothing before and behind them but the latter.
        grid: Of the scan.
    """
    rims, is_whole = [1, 1, 1], [False] * 3
    stands = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.affine)
    for plan in plans:
        prepare = plan.settings.prepare
        turned = turn_to(stands, prepare.orientation).grid
        geometry = make_geometry(grid, turned, prepare, None)
        order = axis_order(prepare.slice_axis if prepare.slice_axis != "auto" else "Z")
        n_fixed = len(prepare.size_vox or ())
        for index, axis in enumerate(order):
            stored = _same_axis(turned, axis, grid)
            step_mm, own_mm = geometry.resampled_mm[index], geometry.scanned_mm[index]
            around = plan.patch_vox[index] / 2 if plan.n_dims == 3 or index > 0 else 0.0
            rim_mm = around * step_mm + TAPS * max(step_mm, own_mm)
            rims[stored] = max(rims[stored], math.ceil(rim_mm / own_mm))
            is_whole[stored] |= index >= 3 - n_fixed
    return rims, is_whole


def _same_axis(turned: Grid, axis: int, grid: Grid) -> int:
    """Axis (0 Z, 1 Y, 2 X) of a grid that runs along an axis of the same grid, turned."""
    along = turned.affine[:3, 2 - axis]
    alike = [abs(float(along @ grid.affine[:3, 2 - own])) for own in range(3)]
    lengths = [float(np.linalg.norm(grid.affine[:3, 2 - own])) for own in range(3)]
    return int(np.argmax(np.divide(alike, lengths)))


def _cut(region: Slices, n: Sequence[int], rim: Sequence[int]) -> Iterator[Part]:
    """The parts of a region in `n` parts along each axis."""
    axes = []
    for edge, many, by in zip(region, n, rim, strict=True):
        ends = np.linspace(edge.start, edge.stop, many + 1).round().astype(int).tolist()
        axes.append(
            [
                (slice(max(edge.start, a - by), min(edge.stop, b + by)), slice(a, b))
                for a, b in itertools.pairwise(ends)
            ]
        )
    for (a, a_kept), (b, b_kept), (c, c_kept) in itertools.product(*axes):
        yield Part((a, b, c), (a_kept, b_kept, c_kept))


def _grid_of(grid: Grid, part: Sequence[slice]) -> Grid:
    return Grid(_shape(part), part_affine(grid.affine, part))


def _read(sources: Sequence[SlabReader | None], part: Slices) -> list[Volume | None]:
    return [None if one is None else read_parts(one, [part])[0] for one in sources]


def _keep(seen: Labelmap, part: Part, labels: Labelmap) -> list[Slices]:
    """Write what is taken of a part into the labels of all; where it is, if anywhere."""
    own = seen[within(part.kept, part.seen)]
    box = bounding_box(own != 0)
    if box is None:
        return []
    z, y, x = (
        slice(kept.start + edge.start, kept.start + edge.stop)
        for kept, edge in zip(part.kept, box, strict=True)
    )
    labels[z, y, x] = own[box]
    return [(z, y, x)]


def _around(found: Sequence[Slices], labels: Labelmap, grid: Grid, plan: Plan) -> Piece:
    """All labels as one piece, a little larger than they are: nothing cuts them off."""
    part: Slices = (slice(0, 1), slice(0, 1), slice(0, 1))
    if found:
        rim = [1 + math.ceil(FACE_MM / step) for step in grid.spacing_mm]
        z, y, x = (
            slice(max(0, edge.start - by), min(n, edge.stop + by))
            for edge, by, n in zip(hull(found), rim, grid.shape, strict=True)
        )
        part = z, y, x
    place = Place("scan", tuple(plan.dataset.labels), box_of_voxels(grid, part))
    return Piece(place, part, Volume(labels[part], part_affine(grid.affine, part)))


def _counting_bytes(labelmap: Volume | None, plan: Plan) -> int:
    """What looking at the connected parts of each label takes, in the box of the largest."""
    if labelmap is None:
        return 0
    boxes = [bounding_box(labelmap.array == value) for value in plan.dataset.labels.values()]
    largest = max(math.prod(_shape(box)) if box else 0 for box in boxes)
    # Beside it masks of all; the 32 bits of each voxel outside of the box are never written.
    return COUNTING_BYTES * largest + 2 * labelmap.array.size


def _shape(part: Sequence[slice]) -> tuple[int, int, int]:
    z, y, x = (edge.stop - edge.start for edge in part)
    return z, y, x
