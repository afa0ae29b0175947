"""Resampling in world space: any volume onto any grid.

Enters: a volume and a grid. Leaves: the volume's values at the grid's voxel
centres. A voxel reaches half a voxel around its centre; beyond that the fill
value stands. Working slice by slice bounds the memory.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from acinus.errors import GridError
from acinus.scans.orientation import on_grid_of, require_usable_affine
from acinus.scans.volume import Grid, Volume

_EDGE_VOX = 0.5 + 1e-6
"""How far outside the outermost voxel centres a volume still has values, voxels."""


def resample_onto(
    volume: Volume, grid: Grid, *, order: Literal[0, 1, 3], fill: float = 0.0
) -> Volume:
    """The volume's values at the voxel centres of a grid.

    No smoothing is applied before going to a coarser grid.

    Args:
        volume: (Z, Y, X) values; a label map needs order 0.
        grid: Where values are wanted.
        order: 0 nearest (keeps the dtype), 1 linear, 3 cubic spline (both give
            floating point).
        fill: Value outside the volume.

    Raises:
        DataError: One of the two affines is singular.
    """
    try:
        same = on_grid_of(volume, grid)
    except GridError:
        pass
    else:
        return same.with_array(same.array.astype(_dtype_for(volume, order), copy=False))
    require_usable_affine(grid.affine, "the grid")
    source = volume.array.astype(_dtype_for(volume, order), copy=False)
    if order == 3:
        from scipy import ndimage  # here: it takes a while to load

        source = ndimage.spline_filter(source, order=3, output=source.dtype, mode="mirror")
    to_source = np.linalg.inv(volume.affine) @ grid.affine
    result = np.empty(grid.shape, dtype=source.dtype)
    for z in range(grid.shape[0]):
        result[z] = _sample_slice(source, to_source, z, grid, order, fill)
    return Volume(result, grid.affine, volume.meta)


def _dtype_for(volume: Volume, order: int) -> np.dtype:
    dtype = volume.array.dtype
    if order == 0 or dtype == np.float64:
        return dtype
    return np.dtype(np.float32)


def _sample_slice(
    source: np.ndarray, to_source: np.ndarray, z: int, grid: Grid, order: int, fill: float
) -> np.ndarray:
    """(Y, X) values of slice `z` of the grid; `to_source` maps (x, y, z, 1) to source index."""
    from scipy import ndimage  # here: it takes a while to load

    _, n_y, n_x = grid.shape
    y, x = np.ogrid[:n_y, :n_x]
    coordinates = np.empty((3, n_y, n_x))
    outside = np.zeros((n_y, n_x), dtype=bool)
    for axis in range(3):
        row = to_source[2 - axis]
        along = row[0] * x + row[1] * y + (row[2] * z + row[3])
        last = source.shape[axis] - 1
        outside |= (along < -_EDGE_VOX) | (along > last + _EDGE_VOX)
        coordinates[axis] = np.clip(along, 0, last)
    values = ndimage.map_coordinates(
        source, coordinates, order=order, mode="mirror", prefilter=False, output=source.dtype
    )
    values[outside] = fill
    return np.asarray(values)
