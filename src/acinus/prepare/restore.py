"""From what a network says back to a label map on the native grid.

Enters: class maps on the prepared grid, a few planes at a time. Leaves: a label
map on exactly the grid of the input. The maps of all classes are never held for
the whole volume: planes are resampled, decoded to labels and let go. Rejected:
resampling the labels, which roughens surfaces, and resampling where all voxels
around are background, which cannot be anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acinus.prepare.geometry import Geometry
from acinus.prepare.resample import Kind, Taps, part_of, reached, resample, taps_along
from acinus.scans import Volume, canonical, on_grid_of
from acinus.types import Array

CHUNK_BYTES = 48 * 2**20
"""Most memory for the resampled class maps of the planes that are decoded together."""

Decode = Callable[[Tensor], Tensor]
"""Class maps (n, K, R, Q) to label values (n, R, Q) uint8, voxel by voxel."""


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
    """
    canonical_labels = np.zeros(geometry.scanned_vox, dtype=np.uint8)
    target = canonical_labels[geometry.box]
    ways = _ways(geometry)
    if all(way.taps.positions.shape[1] == 1 for way in ways):
        # Voxels only move: labels may move in the place of class maps.
        window = _Window(ways, target, _only_map)
        slabs = (decode(slab.transpose(0, 1))[None] for slab in slabs)
    else:
        window = _Window(ways, target, decode)
    for slab in slabs:
        window.add(slab.float() if slab.is_floating_point() else slab)
    array = np.transpose(canonical_labels, np.argsort(geometry.order))
    blank = np.broadcast_to(np.uint8(0), geometry.native_shape)
    stands = canonical(Volume(blank, geometry.native_grid.affine))
    return on_grid_of(Volume(array, stands.affine), geometry.native_grid)


def _only_map(labels: Tensor) -> Tensor:
    return labels[:, 0]


class _Window:
    """Planes that are still needed, and the native planes that they make."""

    def __init__(self, ways: tuple[_Way, _Way, _Way], target: Array, decode: Decode) -> None:
        self._slices, self._rows, self._columns = ways
        self._target = target
        self._decode = decode
        self._held: Tensor | None = None
        self._boxes: list[tuple[int, int, int, int] | None] = []
        self._first = 0
        self._next = 0
        positions = self._slices.taps.positions
        self._low, self._high = positions.min(axis=1), positions.max(axis=1) + 1

    def add(self, slab: Tensor) -> None:
        """Take planes; write all native planes that can now be made."""
        self._boxes.extend(self._find_boxes(slab))
        held = slab if self._held is None else torch.cat([self._held, slab], dim=1)
        n_known = self._first + held.shape[1]
        stop = int(np.searchsorted(self._high, n_known, side="right"))
        while self._next < stop:
            self._next = self._make(held, self._next, stop)
        keep = min(int(self._low[stop]), n_known) if stop < len(self._low) else n_known
        # A copy, so that the planes that are done can be let go.
        self._held = held[:, keep - self._first :].clone() if keep < n_known else None
        del self._boxes[: keep - self._first]
        self._first = keep

    def _find_boxes(self, slab: Tensor) -> list[tuple[int, int, int, int] | None]:
        """Per plane the box (rows, columns) of what is not background."""
        labels = self._decode(slab.transpose(0, 1)) != 0
        rows, columns = labels.any(dim=2).cpu().numpy(), labels.any(dim=1).cpu().numpy()
        boxes: list[tuple[int, int, int, int] | None] = []
        for in_rows, in_columns in zip(rows, columns, strict=True):
            if not in_rows.any():
                boxes.append(None)
                continue
            r, q = np.flatnonzero(in_rows), np.flatnonzero(in_columns)
            boxes.append((int(r[0]), int(r[-1]) + 1, int(q[0]), int(q[-1]) + 1))
        return boxes

    def _make(self, held: Tensor, start: int, stop: int) -> int:
        """Write some native planes from `start` on; the index of the next."""
        plane_bytes = 4 * held.shape[0] * self._rows.taps.n_new * self._columns.taps.n_new
        stop = min(stop, start + max(1, CHUNK_BYTES // max(1, plane_bytes)))
        low, high = int(self._low[start:stop].min()), int(self._high[start:stop].max())
        boxes = [box for box in self._boxes[low - self._first : high - self._first] if box]
        if not boxes:
            return stop
        r0, r1, q0, q1 = np.array(boxes).T
        ways = (self._rows, slice(r0.min(), r1.max())), (self._columns, slice(q0.min(), q1.max()))
        new = [reached(way.taps, old) for way, old in ways]
        if any(part.start == part.stop for part in new):
            return stop
        parts = [part_of(way.taps, out) for (way, _), out in zip(ways, new, strict=True)]
        slices, _ = part_of(self._slices.taps, slice(start, stop))
        (rows, old_rows), (columns, old_columns) = parts
        source = held[:, low - self._first : high - self._first, old_rows, old_columns]
        maps = resample(source, (slices, rows, columns))
        labels = self._decode(maps.transpose(0, 1)).cpu().numpy()
        where = [
            slice(way.native.start + out.start, way.native.start + out.stop)
            for (way, _), out in zip(ways, new, strict=True)
        ]
        self._target[start:stop, where[0], where[1]] = labels
        return stop


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
