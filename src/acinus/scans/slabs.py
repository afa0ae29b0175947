"""A scan read slab by slab: what is larger than the memory must never be there at once.

Enters: a NIfTI file, compressed or not, or a volume that is there already. Leaves: runs of
planes in the order of the file, an overview at coarse resolution, and parts cut out on the way.
A compressed file is read from its begin each time and never searched in: going back costs as
much as reading anew. Other formats are read whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from acinus.files import whole_file
from acinus.scans.box import Box, Slices, box_of_voxels, part_affine
from acinus.scans.components import bounding_box
from acinus.scans.dtypes import as_labelmap
from acinus.scans.formats import read_labelmap, read_volume, write_volume
from acinus.scans.nifti import nifti_planes, read_nifti_header, write_nifti_planes
from acinus.scans.volume import Grid, Volume
from acinus.types import Array

SLAB_VOX = 2**23
"""About as many voxels are held of a file while it is read."""


class SlabReader(Protocol):
    """A scan that gives its planes in order."""

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """What is known besides, as of a volume."""

    def slabs(self, n_planes: int, stop: int | None = None) -> Iterator[tuple[int, Array]]:
        """First index and (n, Y, X) values of runs of planes, the last one maybe shorter.

        Args:
            n_planes: Planes of a run.
            stop: Planes from this one on are not needed.
        """


@dataclass(frozen=True, eq=False)
class VolumeSlabs:
    """A volume in memory."""

    volume: Volume

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return self.volume.grid

    @property
    def meta(self) -> Mapping[str, Any]:
        """What is known besides."""
        return self.volume.meta

    def slabs(self, n_planes: int, stop: int | None = None) -> Iterator[tuple[int, Array]]:
        """Views of its planes; arguments as of `SlabReader`."""
        for start in range(0, min(stop or math.inf, self.grid.shape[0]), n_planes):  # type: ignore[arg-type]
            yield start, self.volume.array[start : start + n_planes]


@dataclass(frozen=True, eq=False)
class NiftiSlabs:
    """A NIfTI file, read anew each time."""

    path: Path
    grid: Grid
    meta: Mapping[str, Any]

    def slabs(self, n_planes: int, stop: int | None = None) -> Iterator[tuple[int, Array]]:
        """Planes as they come out of the file; arguments as of `SlabReader`."""
        for index, planes in enumerate(nifti_planes(self.path, n_planes, stop)):
            yield index * n_planes, planes


def are_slabs(path: Path) -> bool:
    """Whether the format of a file allows to read it slab by slab."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def open_slabs(path: Path) -> SlabReader:
    """The scan in a file, read slab by slab where its format allows, else at once.

    Raises:
        DataError: No scan, or a broken one.
    """
    if are_slabs(path):
        return NiftiSlabs(path, *read_nifti_header(path))
    return VolumeSlabs(read_volume(path))


def label_box(path: Path) -> Box | None:
    """The smallest box, in the world, of what is above 0 in a label map; None if nothing is.

    Raises:
        DataError: No label map, or a broken one.
    """
    source = open_slabs(path) if are_slabs(path) else VolumeSlabs(read_labelmap(path))
    box: list[slice] | None = None
    for start, planes in source.slabs(run_length(source.grid)):
        part = bounding_box(as_labelmap(planes, path) > 0)
        if part is None:
            continue
        here = [slice(part[0].start + start, part[0].stop + start), *part[1:]]
        pairs = zip(box or here, here, strict=True)
        box = [slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs]
    return None if box is None else box_of_voxels(source.grid, box)


def overview(
    source: SlabReader, spacing_mm: float, limits: tuple[float, float] | None = None
) -> Volume:
    """The scan at coarse resolution: means over blocks of whole voxels.

    Args:
        source: The scan.
        spacing_mm: The largest whole number of voxels along each axis that is not longer makes
            a block, at least one; the last block of an axis may hold fewer.
        limits: Values are clipped to these before means are taken, as those that a network
            learned from were before they were resampled; None: not at all.

    Returns:
        Volume of float32, on the grid of the centres of whole blocks.
    """
    factors = _factors(source.grid, spacing_mm)
    n_planes = run_length(source.grid) // factors[0] * factors[0] or factors[0]
    low, high = (np.float32(end) for end in limits or (-np.inf, np.inf))
    array = np.empty(overview_shape(source.grid, spacing_mm), dtype=np.float32)
    for start, planes in source.slabs(n_planes):
        means = _block_means(planes if limits is None else np.clip(planes, low, high), factors)
        array[start // factors[0] :][: len(means)] = means
    x, y, z = factors[::-1]
    affine = np.array(source.grid.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ ((np.array([x, y, z]) - 1) / 2)
    affine[:3, :3] *= [x, y, z]
    return Volume(array, affine, source.meta)


def overview_shape(grid: Grid, spacing_mm: float) -> tuple[int, int, int]:
    """(Z, Y, X) of an `overview`.

    Args:
        grid: Of the scan.
        spacing_mm: As of `overview`.
    """
    z, y, x = (-(-n // by) for n, by in zip(grid.shape, _factors(grid, spacing_mm), strict=True))
    return z, y, x


def read_parts(source: SlabReader, parts: Sequence[Slices]) -> list[Volume]:
    """Some parts of a scan, cut out in one pass; each a copy where it lies in the world.

    Args:
        source: The scan.
        parts: (Z, Y, X) slices within its grid.
    """
    if not parts:
        return []
    found: list[Array | None] = [None] * len(parts)
    stop = max(part[0].stop for part in parts)
    for start, planes in source.slabs(run_length(source.grid), stop):
        for number, part in enumerate(parts):
            first, last = max(part[0].start, start), min(part[0].stop, start + len(planes))
            if first >= last:
                continue
            target = found[number]
            if target is None:
                shape = [edge.stop - edge.start for edge in part]
                target = found[number] = np.empty(shape, dtype=planes.dtype)
            target[first - part[0].start : last - part[0].start] = planes[
                first - start : last - start, part[1], part[2]
            ]
    return [
        Volume(array, part_affine(source.grid.affine, part), source.meta)
        for array, part in zip(found, parts, strict=True)
        if array is not None
    ]


def paste(pieces: Sequence[tuple[Slices, Array]], start: int, target: Array) -> None:
    """Write pieces of a label map into some of its planes; of several labels the first holds.

    Args:
        pieces: (Z, Y, X) slices of the whole grid, and the labels there.
        start: Index of the first plane of `target` on the whole grid.
        target: (n, Y, X) planes, changed in place.
    """
    for part, labels in pieces:
        first, last = max(part[0].start, start), min(part[0].stop, start + len(target))
        if first >= last:
            continue
        here = target[first - start : last - start, part[1], part[2]]
        new = labels[first - part[0].start : last - part[0].start]
        np.copyto(here, new, where=here == 0)


def write_pieces(
    pieces: Sequence[tuple[Slices, Array]], grid: Grid, meta: Mapping[str, Any], path: Path
) -> None:
    """Write a label map that is background but for some pieces.

    NIfTI is written slab by slab, so that the memory does not grow with the grid.

    Args:
        pieces: As of `paste`; uint8.
        grid: Of the whole label map.
        meta: As of a volume.
        path: A file of any format that holds label maps.
    """
    if not are_slabs(path):
        array = np.zeros(grid.shape, dtype=np.uint8)
        paste(pieces, 0, array)
        write_volume(Volume(array, grid.affine, meta), path)
        return
    n_planes = run_length(grid)

    def planes() -> Iterator[Array]:
        for start in range(0, grid.shape[0], n_planes):
            slab = np.zeros((min(n_planes, grid.shape[0] - start), *grid.shape[1:]), np.uint8)
            paste(pieces, start, slab)
            yield slab

    with whole_file(path) as beside:
        write_nifti_planes(planes(), grid, meta, beside)


def run_length(grid: Grid) -> int:
    """Planes that are read together: about `SLAB_VOX` voxels, at least one plane."""
    return max(1, SLAB_VOX // math.prod(grid.shape[1:]))


def _factors(grid: Grid, spacing_mm: float) -> list[int]:
    return [max(1, math.floor(spacing_mm / own + 1e-3)) for own in grid.spacing_mm]


def _block_means(planes: Array, factors: Sequence[int]) -> Array:
    """(Z, Y, X) float32 means over blocks; sums of one axis after the other, the longest first."""
    sums = planes
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        starts = np.arange(0, sums.shape[axis], factor)
        kind = np.int64 if sums.dtype.kind in "iu" and sums.dtype.itemsize > 2 else np.float32
        sums = _sum_blocks(sums, axis, factor, starts, kind)
    counts = 1.0
    for axis, factor in enumerate(factors):
        n = planes.shape[axis]
        sizes = np.minimum(factor, n - np.arange(0, n, factor))
        shape = [-1 if other == axis else 1 for other in range(3)]
        counts = counts * sizes.reshape(shape)
    return np.asarray(sums / counts, dtype=np.float32)


def _sum_blocks(array: Array, axis: int, factor: int, starts: Array, kind: Any) -> Array:
    """Sums of runs of an axis; strided additions, which are faster than NumPy's reduceat."""
    shape = list(array.shape)
    shape[axis] = len(starts)
    sums = np.zeros(shape, dtype=kind)
    for offset in range(factor):
        part = array[(slice(None),) * axis + (slice(offset, None, factor),)]
        sums[(slice(None),) * axis + (slice(0, part.shape[axis]),)] += part
    return sums
