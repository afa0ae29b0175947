"""A box in the world, and the voxels of a grid that it holds.

Enters: boxes along the axes of the world, in mm. Leaves: slices of an array, and parts of a
scan that know their grid. Boxes in voxels were rejected: what one scan, resolution or program
finds must mean the same place in another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from acinus.scans.volume import Grid, Volume
from acinus.types import Affine, Array

Slices = tuple[slice, slice, slice]
"""(Z, Y, X) part of an array; starts and stops are given."""

_SLACK_VOX = 1e-4
"""A box that ends so little beyond a voxel's face does not hold the next voxel."""


@dataclass(frozen=True)
class Box:
    """A box along the axes of the world.

    Attributes:
        low_mm: (right, anterior, superior) RAS+ mm of its lowest corner.
        high_mm: The same of its highest corner.
    """

    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """(right, anterior, superior) edge lengths, mm."""
        x, y, z = (float(high - low) for low, high in zip(self.low_mm, self.high_mm, strict=True))
        return x, y, z

    @property
    def volume_ml(self) -> float:
        """Its content, mL."""
        return float(np.prod(self.size_mm)) / 1000

    def grown(self, low_mm: float | Sequence[float], high_mm: float | Sequence[float]) -> Box:
        """The box with its low and its high faces moved outwards, mm, alike or one by one."""
        return _box(
            np.array(self.low_mm) - np.asarray(low_mm), np.array(self.high_mm) + np.asarray(high_mm)
        )

    def shrunk(self, rim_mm: float) -> Box:
        """The box without a rim, mm; along an axis with no more than that its middle alone."""
        middle = (np.array(self.low_mm) + np.array(self.high_mm)) / 2
        low = np.minimum(np.array(self.low_mm) + rim_mm, middle)
        high = np.maximum(np.array(self.high_mm) - rim_mm, middle)
        return _box(low, high)

    def sized(self, size_mm: Sequence[float]) -> Box:
        """The box of another size about the same centre; `size_mm` (right, anterior, superior)."""
        middle = (np.array(self.low_mm) + np.array(self.high_mm)) / 2
        half = np.asarray(size_mm, dtype=np.float64) / 2
        return _box(middle - half, middle + half)

    def united(self, other: Box) -> Box:
        """The smallest box that holds both."""
        return _box(np.minimum(self.low_mm, other.low_mm), np.maximum(self.high_mm, other.high_mm))

    def common_ml(self, other: Box) -> float:
        """Volume that lies in both, mL."""
        low = np.maximum(self.low_mm, other.low_mm)
        high = np.minimum(self.high_mm, other.high_mm)
        return float(np.prod(np.maximum(high - low, 0))) / 1000


def box_of_voxels(grid: Grid, part: Sequence[slice]) -> Box:
    """The smallest box in the world around some voxels of a grid, to their outer faces.

    Args:
        grid: Any grid; of an oblique one the box holds more than these voxels.
        part: (Z, Y, X) slices.
    """
    ends = [(edge.start - 0.5, edge.stop - 0.5) for edge in part]
    corners = grid.world(np.array(list(itertools.product(*ends))))
    return _box(corners.min(axis=0), corners.max(axis=0))


def voxels_in(grid: Grid, box: Box) -> Slices | None:
    """The voxels of a grid that a box holds, in whole or in part; None if there are none.

    Args:
        grid: Any grid; of an oblique one more voxels than the box holds.
        box: In the world.
    """
    ends = zip(box.low_mm, box.high_mm, strict=True)
    corners = np.array(list(itertools.product(*ends)))
    index_xyz = np.linalg.solve(grid.affine[:3, :3], (corners - grid.affine[:3, 3]).T).T
    low, high = index_xyz.min(axis=0)[::-1], index_xyz.max(axis=0)[::-1]
    starts = np.clip(np.floor(low + 0.5 + _SLACK_VOX), 0, grid.shape).astype(int)
    stops = np.clip(np.ceil(high + 0.5 - _SLACK_VOX), 0, grid.shape).astype(int)
    if (stops <= starts).any():
        return None
    z, y, x = (slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True))
    return z, y, x


def part_affine(affine: Affine, part: Sequence[slice]) -> Affine:
    """The affine of a part of an array whose affine is given; `part` as (Z, Y, X) slices."""
    moved = np.array(affine, dtype=np.float64)
    moved[:3, 3] += moved[:3, :3] @ [edge.start for edge in reversed(part)]
    return moved


def hull(parts: Iterable[Slices]) -> Slices:
    """The smallest part of an array that holds some parts, at least one, as (Z, Y, X) slices."""
    z, y, x = (
        slice(min(edge.start for edge in edges), max(edge.stop for edge in edges))
        for edges in zip(*parts, strict=True)
    )
    return z, y, x


def within(part: Slices, whole: Slices) -> Slices:
    """Where a part of an array lies in a larger part of it; both as (Z, Y, X) slices."""
    z, y, x = (
        slice(edge.start - outer.start, edge.stop - outer.start)
        for edge, outer in zip(part, whole, strict=True)
    )
    return z, y, x


def crop(volume: Volume, part: Sequence[slice]) -> Volume:
    """Some voxels of a volume where they lie, as a view; `part` as (Z, Y, X) slices."""
    return Volume(volume.array[tuple(part)], part_affine(volume.affine, part), volume.meta)


def _box(low: Array, high: Array) -> Box:
    (a, b, c), (d, e, f) = (tuple(map(float, corner)) for corner in (low, high))
    return Box((a, b, c), (d, e, f))
