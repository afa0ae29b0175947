"""Turning a volume between its own axes and the canonical ones, by permutation and flips only.

Enters: volumes on any grid. Leaves: the same voxels in canonical order, array
axes (Z, Y, X) with indices that increase towards Superior, Anterior and Right,
and the way back to the voxel. Turning by interpolation was rejected: what is
written must lie on the input's voxels.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np

from acinus.errors import DataError, GridError
from acinus.scans.volume import GRID_TOLERANCE_MM, Grid, Volume
from acinus.types import Affine

SINGULAR_DETERMINANT = 1e-4
"""Determinant of the unit axis directions below which they count as lying in one plane."""

DIRECTIONS = ("LR", "PA", "IS")
"""Letters of the two ends of each world axis x, y, z in RAS+, the negative end first."""

_PERMUTATIONS = tuple(permutations(range(3)))


def axis_codes(affine: Affine) -> str:
    """Anatomical direction in which each of x, y, z increases, e.g. ``"RAS"`` or ``"LPS"``.

    Args:
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm; oblique axes get
            the letter of the closest direction.
    """
    order, signs = _closest_axes(affine)
    letters = [""] * 3
    for world, axis in enumerate(order):
        letters[axis] = DIRECTIONS[world][int(signs[world] > 0)]
    return "".join(letters)


def array_axis_of(affine: Affine, letter: str) -> int:
    """Axis (0 Z, 1 Y, 2 X) of an array that runs closest to a direction of the patient.

    Args:
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        letter: Either end of the direction, such as R or L.
    """
    order, _ = _closest_axes(affine)
    return 2 - order[next(axis for axis, ends in enumerate(DIRECTIONS) if letter in ends)]


def canonical(volume: Volume) -> Volume:
    """The volume with axes closest to RAS+; voxels are reordered, never interpolated.

    Oblique volumes stay oblique. The array is shared with the input where its
    order already fits.
    """
    return oriented(volume, "RAS")


def oriented(volume: Volume, codes: str) -> Volume:
    """The volume with axes closest to given ones; voxels are reordered, never interpolated.

    Args:
        volume: Any volume; oblique ones stay oblique.
        codes: Direction in which x, y and z increase, as of `axis_codes`, e.g. ``"LPS"``.

    Raises:
        GridError: The codes do not name three different axes.
    """
    require_axis_codes(codes)
    order, signs = _closest_axes(volume.affine)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1.0
    for new, letter in enumerate(codes):
        world = next(axis for axis, ends in enumerate(DIRECTIONS) if letter in ends)
        old = order[world]
        sign = signs[world] * (1.0 if letter == DIRECTIONS[world][1] else -1.0)
        turn[old, new] = sign
        turn[old, 3] = 0.0 if sign > 0 else volume.shape[2 - old] - 1.0
    return _reindex(volume, turn)


def require_axis_codes(codes: str) -> None:
    """Raise GridError unless `codes` names a direction of each of the three axes."""
    axes = {ends for letter in codes for ends in DIRECTIONS if letter in ends}
    if len(codes) != 3 or len(axes) != 3:
        raise GridError(
            "axis codes must name the direction in which x, y and z increase, each of R or L, "
            f"A or P and S or I once, such as RAS or LPS; got '{codes}'."
        )


def on_grid_of(volume: Volume, grid: Grid) -> Volume:
    """The volume on a grid that holds the same voxels in another order: undoes `canonical`.

    Args:
        volume: Any volume.
        grid: Grid of the same voxel centres, axes permuted and flipped.

    Returns:
        Volume whose shape and affine are exactly those of `grid`.

    Raises:
        GridError: The grids are no permutation and flip of each other.
    """
    require_usable_affine(volume.affine, "the volume")
    require_usable_affine(grid.affine, "the grid")
    turn = np.rint(np.linalg.inv(volume.affine) @ grid.affine)
    if _is_permutation(turn[:3, :3]):
        shape_xyz = np.abs(turn[:3, :3]).T @ volume.shape[::-1]
        if tuple(shape_xyz[::-1]) == tuple(grid.shape):
            turn[:3, 3] = _first_voxel(turn[:3, :3], volume)
            turned = _reindex(volume, turn)
            if turned.grid.matches(grid):
                return Volume(turned.array, grid.affine, volume.meta)
    raise _not_the_same_voxels(volume.grid, grid)


def place_on_grid(volume: Volume, grid: Grid) -> Volume:
    """A part of a scan put where it belongs on the whole grid, zeros around it.

    Args:
        volume: Some voxels of `grid`, axes possibly permuted and flipped, and
            possibly reaching beyond it.
        grid: The whole grid.

    Returns:
        Volume on exactly `grid`.

    Raises:
        GridError: The voxels do not lie on the grid's voxels, or voxels other
            than 0 lie outside the grid.
    """
    require_usable_affine(grid.affine, "the grid")
    turn = np.rint(np.linalg.inv(grid.affine) @ volume.affine)[:3, :3].T
    if not _is_permutation(turn):
        raise _not_the_same_voxels(volume.grid, grid)
    full = np.eye(4)
    full[:3, :3] = turn
    full[:3, 3] = _first_voxel(turn, volume)
    turned = _reindex(volume, full)
    start_xyz = np.rint(np.linalg.inv(grid.affine) @ turned.affine[:, 3])[:3]
    expected = grid.affine.copy()
    expected[:3, 3] = grid.affine[:3, :3] @ start_xyz + grid.affine[:3, 3]
    if not turned.grid.matches(Grid(turned.shape, expected)):
        raise _not_the_same_voxels(volume.grid, grid)
    start = start_xyz[::-1].astype(int)
    low = np.maximum(start, 0)
    high = np.maximum(np.minimum(start + turned.shape, grid.shape), low)
    inside = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    n_lost = np.count_nonzero(turned.array) - np.count_nonzero(turned.array[inside])
    if n_lost:
        raise GridError(
            f"all labelled voxels must lie inside the grid; found {n_lost} outside "
            f"{describe_grid(grid)}. Give the grid of the image that was segmented."
        )
    array = np.zeros(grid.shape, dtype=volume.array.dtype)
    array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = turned.array[inside]
    return Volume(array, grid.affine, volume.meta)


def describe_grid(grid: Grid) -> str:
    """Shape, spacing, axes and first voxel of a grid in one clause."""
    spacing = ", ".join(f"{value:.4g}" for value in grid.spacing_mm)
    origin = ", ".join(f"{value:.2f}" for value in grid.affine[:3, 3])
    return f"shape {grid.shape}, spacing ({spacing}) mm, axes {axis_codes(grid.affine)}, " + (
        f"first voxel at ({origin})"
    )


def require_usable_affine(affine: Affine, where: str | Path) -> None:
    """Refuse an affine that places no volume in the world.

    Raises:
        DataError: A value is not finite, an axis has no length, or the axes
            lie in one plane.
    """
    problem = affine_problem(affine)
    if problem:
        raise DataError(
            f"{where}: the affine must place the voxels in space (three independent axes, mm); "
            f"found {problem}. Export the scan again with its geometry."
        )


def affine_problem(affine: Affine) -> str:
    """What makes an affine unusable, or an empty string."""
    axes = np.asarray(affine, dtype=np.float64)[:3]
    if not np.all(np.isfinite(axes)):
        return "values that are not finite"
    if not np.any(axes[:, :3]):
        return "a zero affine"
    lengths = np.linalg.norm(axes[:, :3], axis=0)
    if np.any(lengths == 0):
        return f"a singular affine (axis {'xyz'[int(np.argmin(lengths))]} has length 0)"
    determinant = abs(float(np.linalg.det(axes[:, :3] / lengths)))
    if determinant < SINGULAR_DETERMINANT:
        return f"a singular affine (determinant of the axis directions {determinant:.2g})"
    return ""


def _closest_axes(affine: Affine) -> tuple[tuple[int, ...], np.ndarray]:
    """For each world axis R, A, S the voxel axis (0 x, 1 y, 2 z) closest to it, and its sign."""
    axes = np.asarray(affine, dtype=np.float64)[:3, :3]
    left, _, right = np.linalg.svd(axes / np.linalg.norm(axes, axis=0))
    rotation = left @ right
    order = max(
        _PERMUTATIONS,
        key=lambda candidate: round(sum(abs(rotation[w, a]) for w, a in enumerate(candidate)), 9),
    )
    signs = np.array([1.0 if rotation[w, a] >= 0 else -1.0 for w, a in enumerate(order)])
    return order, signs


def _is_permutation(turn: np.ndarray) -> bool:
    """Whether a (3, 3) matrix of whole numbers permutes and flips axes."""
    steps = np.abs(turn)
    return bool(np.all(steps.sum(axis=0) == 1) and np.all(steps.sum(axis=1) == 1))


def _first_voxel(turn: np.ndarray, volume: Volume) -> np.ndarray:
    """(x, y, z) voxel of a volume that comes first after its axes are turned: no shift."""
    return np.where(turn.sum(axis=1) < 0, np.array(volume.shape[::-1]) - 1, 0)


def _not_the_same_voxels(grid: Grid, other: Grid) -> GridError:
    return GridError(
        "both grids must hold the same voxels, up to order and direction of the axes (within "
        f"{GRID_TOLERANCE_MM} mm); found {describe_grid(grid)} and {describe_grid(other)}. "
        "Resample one onto the other (acinus.scans.resample_onto)."
    )


def _reindex(volume: Volume, turn: Affine) -> Volume:
    """Reorder voxels by `turn`, (4, 4): new index (x, y, z, 1) to old index."""
    old_axes = np.argmax(np.abs(turn[:3, :3]), axis=0)
    array = np.transpose(volume.array, [2 - int(axis) for axis in old_axes[::-1]])
    flipped = tuple(2 - new for new, old in enumerate(old_axes) if turn[old, new] < 0)
    array = np.ascontiguousarray(np.flip(array, flipped))
    return Volume(array, volume.affine @ turn, volume.meta)
