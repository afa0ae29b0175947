"""What may be done to a stack of slices that is not even or not upright, and only on request.

Enters: slices and their values. Leaves: an even stack, and in words what was
left out, interpolated or shifted. Slices that lie where the even stack wants
them are kept to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acinus.errors import DataError
from acinus.progress import plural
from acinus.scans.slices import Slice
from acinus.scans.stack import (
    MAX_BRIDGED_GAP,
    SAME_POSITION_MM,
    along_mm,
    gap_tolerance_mm,
    grid_of,
    stack_faults,
    usual_gap_mm,
)
from acinus.scans.volume import Grid
from acinus.types import Array


@dataclass(frozen=True, eq=False)
class Mended:
    """An even stack.

    Attributes:
        grid: Where it lies.
        layers: One (Y, X) array a slice.
        interpolated: Indices of the slices that were not measured.
        notes: What was done, one clause each.
    """

    grid: Grid
    layers: list[Array]
    interpolated: tuple[int, ...]
    notes: tuple[str, ...]


def even_stack(slices: Sequence[Slice], layers: Sequence[Array], description: str) -> Mended:
    """An even stack made of one with copies, gaps or uneven distances.

    Args:
        slices: In the order of their positions along the normal.
        layers: (Y, X) values of each.
        description: Of the series, for messages.

    Raises:
        DataError: Different images lie at one position, the stack is bent, or a
            gap is too wide.
    """
    where = f"{slices[0].path.parent}: DICOM series '{description}'"
    kept = _without_copies(slices, layers)
    n_copies = len(slices) - len(kept)
    notes = [f"{n_copies} {plural('copy', n_copies)} of slices left out"] if n_copies else []
    slices, layers = [slices[at] for at in kept], [layers[at] for at in kept]
    for fault in stack_faults(slices):
        if fault.code == "copies":  # true ones are gone by now
            raise DataError(
                f"{where}: two images of one UID must be one image; their pixels differ, and which "
                f"is right cannot be told. {fault.found}. {fault.remedy}"
            )
        if fault.code not in ("missing", "uneven"):
            raise DataError(f"{where}: {fault.found}; this cannot be repaired. {fault.remedy}")
    along = along_mm(slices)
    usual = usual_gap_mm(slices)
    if len(slices) == 1:
        grid = grid_of(slices[0], slices[0].normal * usual, 1, where)
        return Mended(grid, list(layers), (), tuple(notes))
    widest = float(np.diff(along).max())
    if widest > MAX_BRIDGED_GAP * usual:
        raise DataError(
            f"{where}: a gap must be at most {MAX_BRIDGED_GAP:g} times the usual {usual:.4g} mm "
            f"to be bridged; found {widest:.4g} mm. Export the whole series again."
        )
    n_even = round((along[-1] - along[0]) / usual) + 1
    wanted = np.linspace(along[0], along[-1], n_even)
    made, interpolated = _interpolated(along, layers, wanted, gap_tolerance_mm(usual))
    if interpolated:
        notes.append(
            f"{len(interpolated)} of {n_even} slices interpolated between neighbours; distances "
            f"were {np.diff(along).min():.4g} to {widest:.4g} mm and are now "
            f"{wanted[1] - wanted[0]:.4g} mm"
        )
    n_unused = len(slices) - (n_even - len(interpolated))
    if n_unused:
        notes.append(f"{n_unused} of {len(slices)} measured slices left out, between even places")
    step = (slices[-1].position - slices[0].position) / (n_even - 1)
    grid = grid_of(slices[0], step, n_even, where)
    return Mended(grid, made, tuple(interpolated), tuple(notes))


def without_tilt(grid: Grid, array: Array, tilt_degrees: float) -> tuple[Grid, Array, str]:
    """Grid, values and a remark, after shifting tilted slices in their planes.

    The slices stay where they are in space; the new grid has their axes and the
    normal, and is wide enough for all of them. New voxels get the lowest value.

    Args:
        grid: Sheared, of the tilted stack.
        array: (Z, Y, X) values.
        tilt_degrees: For the remark.
    """
    axes = grid.affine[:3, :3]
    normal = np.cross(axes[:, 0], axes[:, 1])
    normal /= np.linalg.norm(normal)
    upright = normal * float(axes[:, 2] @ normal)
    drift = np.linalg.lstsq(axes[:, :2], axes[:, 2] - upright, rcond=None)[0]
    n_z, n_y, n_x = array.shape
    offsets = np.arange(n_z)[:, np.newaxis] * drift  # (Z, 2) in x and y voxels
    low = np.floor(offsets.min(axis=0) + 1e-6).astype(int)
    size = np.ceil(offsets.max(axis=0) - 1e-6).astype(int) - low + (n_x, n_y)
    moved = np.full((n_z, size[1], size[0]), array.min(), dtype=array.dtype)
    for z, layer in enumerate(array):
        _place(moved[z], layer, offsets[z] - low)
    affine = grid.affine.copy()
    affine[:3, 2] = upright
    affine[:3, 3] += axes[:, :2] @ low
    note = f"gantry tilt of {tilt_degrees:.3g} degrees removed by shifting slices in their planes"
    return Grid(moved.shape, affine), moved, note


def _without_copies(slices: Sequence[Slice], layers: Sequence[Array]) -> list[int]:
    """Indices of the slices without those that repeat the position and values of the one before."""
    kept = [0]
    for at in range(1, len(slices)):
        before = kept[-1]
        apart = float((slices[at].position - slices[before].position) @ slices[0].normal)
        if apart >= SAME_POSITION_MM or not np.array_equal(layers[at], layers[before]):
            kept.append(at)
    return kept


def _interpolated(
    along: Array, layers: Sequence[Array], wanted: Array, tolerance_mm: float
) -> tuple[list[Array], list[int]]:
    """A layer for each wanted position, and which of them are interpolated linearly."""
    made: list[Array] = []
    interpolated: list[int] = []
    for z, position in enumerate(wanted):
        nearest = int(np.argmin(np.abs(along - position)))
        if abs(along[nearest] - position) <= tolerance_mm:
            made.append(layers[nearest])
            continue
        above = int(np.searchsorted(along, position))
        share = (position - along[above - 1]) / (along[above] - along[above - 1])
        mixed = (1 - share) * layers[above - 1] + share * layers[above].astype(np.float32)
        made.append(_like(mixed, layers[nearest]))
        interpolated.append(z)
    return made, interpolated


def _place(target: Array, layer: Array, offset_xy: Array) -> None:
    """Write a layer into `target` at a fractional offset in voxels, linearly interpolated."""
    whole = np.floor(offset_xy + 1e-6).astype(int)
    x, y = (float(share) if share > 1e-6 else 0.0 for share in offset_xy - whole)
    values: Array = layer.astype(np.float32)
    if x:
        values = x * np.pad(values, ((0, 0), (1, 0)), "edge")[:, :] + (1 - x) * np.pad(
            values, ((0, 0), (0, 1)), "edge"
        )
    if y:
        values = y * np.pad(values, ((1, 0), (0, 0)), "edge") + (1 - y) * np.pad(
            values, ((0, 1), (0, 0)), "edge"
        )
    n_y, n_x = values.shape
    target[whole[1] : whole[1] + n_y, whole[0] : whole[0] + n_x] = _like(values, layer)


def _like(values: Array, layer: Array) -> Array:
    """Values in the type of a layer, rounded where that holds integers."""
    if layer.dtype.kind in "iu":
        return np.rint(values).astype(layer.dtype)
    return values.astype(layer.dtype)
