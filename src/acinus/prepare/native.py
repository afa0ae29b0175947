"""From what a network says back to a label map on the native grid.

Enters: class maps on the prepared grid, a few planes at a time. Leaves: a label
map on exactly the grid of the input. The maps of all classes are never held for
the whole volume: planes are resampled, decoded to labels and let go. Rejected:
resampling the labels, which roughens surfaces, and resampling where all voxels
around are background, which cannot be anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acinus.errors import GridError
from acinus.prepare.geometry import Geometry, turn_to
from acinus.prepare.resample import Kind, Taps, part_of, reached, resample, taps_along
from acinus.scans import Volume, on_grid_of
from acinus.types import Array

CHUNK_BYTES = 16 * 2**20
"""Most memory for the resampled class maps of the planes that are decoded together."""

Decode = Callable[[Tensor], Tensor]
"""Class maps (n, K, R, Q) to label values (n, R, Q) uint8, voxel by voxel."""


_Box = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True, eq=False)
class _Way:
    """The way back along one axis: `taps` make the native voxels of `native`; others are 0."""

    taps: Taps
    native: slice


def restore(slabs: Iterable[Tensor], geometry: Geometry, decode: Decode) -> Volume:
    """The label map on the native grid.

    Args:
        slabs: (K, s, R, Q) class maps of consecutive planes of the prepared array,
            in order and without gap, on any device. Probabilities or logits: they
            are interpolated linearly (nearest along a coarse axis, where nnU-Net's
            rules hold), then decoded.
        geometry: Of the prepared case.
        decode: Class maps to labels. Where it says 0 for several voxels it must say
            0 for every average of them; arg-max and thresholds do.

    Returns:
        (Z, Y, X) uint8 with the affine of the input. 0 where the preparation cropped.

    Raises:
        GridError: The maps are no maps of this prepared case, or end too early.
    """
    labels = np.zeros(geometry.scanned_vox, dtype=np.uint8)
    target = labels[geometry.box]
    ways = _ways(geometry)
    look = decode
    if all(way.taps.positions.shape[1] == 1 for way in ways):
        # Voxels only move: labels may move in the place of class maps.
        slabs, look = (decode(slab.transpose(0, 1))[None] for slab in slabs), _only_map
    boxes: dict[int, _Box | None] = {}
    for ready in _ready(slabs, geometry, ways[0].taps):
        _find_boxes(ready, boxes, look)
        _write_labels(ready, boxes, ways, look, target)
    return to_native(labels, geometry)


def to_native(labels: Array, geometry: Geometry) -> Volume:
    """Labels (S, R, Q) of all scanned voxels along the prepared axes, on the native grid."""
    array = np.transpose(labels, np.argsort(geometry.order))
    blank = np.broadcast_to(np.uint8(0), geometry.native_shape)
    stands = turn_to(Volume(blank, geometry.native_grid.affine), geometry.orientation)
    return on_grid_of(Volume(array, stands.affine), geometry.native_grid)


def native_maps(
    slabs: Iterable[Tensor], geometry: Geometry, background: Sequence[float]
) -> Iterator[Tensor]:
    """The class maps themselves at the scanned voxels, for averages over several models.

    Args:
        slabs: As of `restore`.
        geometry: Of the prepared case.
        background: K values of the maps where the preparation cropped.

    Yields:
        (K, n, R, Q) float32 of consecutive planes along the prepared slice axis, in order and
        without gap, each plane as large as it was scanned; about `CHUNK_BYTES` at once.
    """
    ways = _ways(geometry)
    n_planes, *plane = geometry.scanned_vox
    inner = [
        slice(box.start + way.native.start, box.start + way.native.stop)
        for box, way in zip(geometry.box, ways, strict=True)
    ]
    at_once = max(1, CHUNK_BYTES // (4 * len(background) * math.prod(plane)))
    outside = torch.tensor(background)[:, None, None, None]

    def empty(n: int) -> Iterator[Tensor]:
        for start in range(0, n, at_once):
            yield outside.expand(-1, min(at_once, n - start), *plane)

    yield from empty(inner[0].start)
    for ready in _ready(slabs, geometry, ways[0].taps):
        for start in range(ready.start, ready.stop, at_once):
            slices, source = ready.part(ways[0].taps, start, min(ready.stop, start + at_once))
            maps = outside.to(source).expand(-1, slices.n_new, *plane).clone()
            maps[:, :, inner[1], inner[2]] = resample(source, (slices, ways[1].taps, ways[2].taps))
            yield maps
    yield from empty(n_planes - inner[0].stop)


@dataclass(frozen=True, eq=False)
class _Ready:
    """Prepared planes, and the native planes `start` to `stop` that they suffice for."""

    planes: Tensor
    first: int
    start: int
    stop: int

    def part(self, taps: Taps, start: int, stop: int) -> tuple[Taps, Tensor]:
        """Taps of some of these native planes, and the prepared planes that they need."""
        slices, old = part_of(taps, slice(start, stop))
        return slices, self.planes[:, old.start - self.first : old.stop - self.first]


def _ready(slabs: Iterable[Tensor], geometry: Geometry, taps: Taps) -> Iterator[_Ready]:
    """Native planes as soon as all they are made of is there; what is not needed is let go."""
    low, high = taps.positions.min(axis=1), taps.positions.max(axis=1) + 1
    held: Tensor | None = None
    first = made = n_known = 0
    for slab in slabs:
        _refuse_misfit(slab, n_known, geometry)
        new = slab.float() if slab.is_floating_point() else slab
        held = torch.cat([held, new], dim=1) if held is not None and held.shape[1] else new
        n_known += slab.shape[1]
        stop = int(np.searchsorted(high, n_known, side="right"))
        if stop > made:
            yield _Ready(held, first, made, stop)
            made = stop
        keep = min(int(low[made]), n_known) if made < len(low) else n_known
        # A copy, so that the planes that are done do not stay in memory with it.
        held, first = held[:, keep - first :].clone(), keep
    if n_known != geometry.prepared_vox[0]:
        raise GridError(
            f"class maps must come for all {geometry.prepared_vox[0]} planes of the prepared "
            f"array; got {n_known}."
        )


def _refuse_misfit(slab: Tensor, n_known: int, geometry: Geometry) -> None:
    n_planes, *plane = geometry.prepared_vox
    if list(slab.shape[2:]) != plane or n_known + slab.shape[1] > n_planes:
        raise GridError(
            f"class maps must be (K, s, {plane[0]}, {plane[1]}), {n_planes} planes in all; got "
            f"{tuple(slab.shape)} after {n_known} planes. Give the geometry of this prepared case."
        )


def _only_map(labels: Tensor) -> Tensor:
    return labels[:, 0]


def _find_boxes(ready: _Ready, boxes: dict[int, _Box | None], decode: Decode) -> None:
    """Add the box of what is not background of each new plane; drop planes that are done."""
    for index in [index for index in boxes if index < ready.first]:
        del boxes[index]
    n_known = ready.first + ready.planes.shape[1]
    begin = max(boxes, default=ready.first - 1) + 1
    labels = decode(ready.planes[:, begin - ready.first :].transpose(0, 1)) != 0
    rows, columns = labels.any(dim=2).cpu().numpy(), labels.any(dim=1).cpu().numpy()
    for index in range(begin, n_known):
        r, q = np.flatnonzero(rows[index - begin]), np.flatnonzero(columns[index - begin])
        boxes[index] = (slice(r[0], r[-1] + 1), slice(q[0], q[-1] + 1)) if len(r) else None


def _write_labels(
    ready: _Ready,
    boxes: dict[int, _Box | None],
    ways: tuple[_Way, _Way, _Way],
    decode: Decode,
    target: Array,
) -> None:
    """Resample, decode and write native planes, within what is not background."""
    over_slices, *in_plane = ways
    plane_bytes = 4 * ready.planes.shape[0] * math.prod(way.taps.n_new for way in in_plane)
    at_once = max(1, CHUNK_BYTES // max(1, plane_bytes))
    for start in range(ready.start, ready.stop, at_once):
        stop = min(ready.stop, start + at_once)
        slices, old = part_of(over_slices.taps, slice(start, stop))
        found = [box for index in range(old.start, old.stop) if (box := boxes[index])]
        if not found:
            continue
        hull = [
            slice(min(edge.start for edge in edges), max(edge.stop for edge in edges))
            for edges in zip(*found, strict=True)
        ]
        new = [reached(way.taps, edge) for way, edge in zip(in_plane, hull, strict=True)]
        if any(part.start == part.stop for part in new):
            continue
        (rows, old_rows), (columns, old_columns) = (
            part_of(way.taps, part) for way, part in zip(in_plane, new, strict=True)
        )
        _, source = ready.part(over_slices.taps, start, stop)
        maps = resample(source[:, :, old_rows, old_columns], (slices, rows, columns))
        r, q = (
            slice(way.native.start + part.start, way.native.start + part.stop)
            for way, part in zip(in_plane, new, strict=True)
        )
        target[start:stop, r, q] = decode(maps.transpose(0, 1)).cpu().numpy()


def _ways(geometry: Geometry) -> tuple[_Way, _Way, _Way]:
    coarse = geometry.coarse_axis(back=True)
    kind: Kind = "antialiased" if geometry.interpolation == "linear" else "linear"
    s, r, q = (
        _way(*sizes, "nearest" if axis == coarse else kind)
        for axis, sizes in enumerate(
            zip(geometry.prepared_vox, geometry.resampled_vox, geometry.cropped_vox, strict=True)
        )
    )
    return s, r, q


def _way(prepared: int, resampled: int, native: int, kind: Kind) -> _Way:
    """Taps from the prepared voxels to the native ones that they cover."""
    taps = taps_along(resampled, native, kind)
    # Index of the first resampled voxel within the prepared ones; negative where it was cut.
    offset = (
        (prepared - resampled) // 2 if prepared >= resampled else -((resampled - prepared) // 2)
    )
    centres = (np.arange(native) + 0.5) * resampled / native - 0.5 + offset
    covered = np.flatnonzero((centres >= -0.5) & (centres < prepared - 0.5))
    part = slice(int(covered[0]), int(covered[-1]) + 1) if len(covered) else slice(0, 0)
    positions = np.clip(taps.positions[part] + offset, 0, prepared - 1)
    return _Way(Taps(positions, taps.weights[part], prepared), part)
