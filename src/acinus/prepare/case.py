"""A case as the network sees it, and the way back to its own grid.

Enters: volumes on their native grid and the plan's settings. Leaves: an array
``(C, S, R, Q)`` (slices, rows, columns along the plan's anatomical axes) and a
`Geometry` that undoes every step. Squeezing an image into a fixed size was
rejected: sizes are reached by cropping or padding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from acinus.config import Settings
from acinus.errors import GridError
from acinus.plan import PLANES
from acinus.plan.settings import PrepareSettings
from acinus.prepare.normalise import normalise
from acinus.scans import GRID_TOLERANCE_MM, Grid, Volume, canonical, on_grid_of
from acinus.types import Array


class Geometry(Settings):
    """How a prepared array lies on the native grid.

    Attributes:
        native_shape: (Z, Y, X) voxels of the input.
        native_affine: (4, 4) affine of the input, RAS+ mm.
        slice_axis: Anatomical axis that slices are stacked along.
        canonical_plane_vox: (row, column) voxels of a canonical slice.
        resampled_vox: (row, column) voxels at the plan's spacing.
        prepared_vox: (row, column) voxels after cropping or padding.
    """

    native_shape: tuple[int, int, int]
    native_affine: tuple[tuple[float, float, float, float], ...]
    slice_axis: str
    canonical_plane_vox: tuple[int, int]
    resampled_vox: tuple[int, int]
    prepared_vox: tuple[int, int]

    @property
    def native_grid(self) -> Grid:
        """The grid of the input."""
        return Grid(self.native_shape, np.array(self.native_affine, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """Array and geometry of one case.

    Attributes:
        image: (C, S, R, Q) float32; 0 is the value outside of the image.
        label: (S, R, Q) uint8 or None.
        geometry: The way back.
    """

    image: Array
    label: Array | None
    geometry: Geometry


def prepare_case(
    channels: Sequence[Volume | None],
    settings: PrepareSettings,
    label: Volume | None = None,
) -> PreparedCase:
    """Image and label as the network sees them.

    Args:
        channels: One volume a channel on one grid; a missing channel is zero.
        settings: Resolved settings: slice axis and spacing are decided.
        label: Label map on the same grid, or None.

    Raises:
        GridError: Channels or label lie on different grids.
    """
    first = _common_grid(channels, label)
    size = settings.size_vox
    spacing_mm = settings.spacing_mm[1] if settings.spacing_mm else None
    slice_axis = settings.slice_axis if settings.slice_axis != "auto" else "Z"
    order = tuple("ZYX".index(name) for name in PLANES[slice_axis])
    stands = canonical(first)
    plane = (stands.shape[order[1]], stands.shape[order[2]])
    plane_mm = (stands.spacing_mm[order[1]], stands.spacing_mm[order[2]])
    resampled = _resampled_size(plane, plane_mm, spacing_mm)
    prepared = size or resampled
    images = [
        torch.zeros(stands.shape[order[0]], *prepared)
        if channel is None
        else _fit(
            _resize(
                torch.from_numpy(normalise(_ordered(channel, order), settings.normalisation)),
                resampled,
            ),
            prepared,
        )
        for channel in channels
    ]
    return PreparedCase(
        image=torch.stack(images).numpy(),
        label=None
        if label is None
        else _prepare_label(_ordered(label, order), resampled, prepared),
        geometry=Geometry(
            native_shape=first.shape,
            native_affine=tuple(tuple(map(float, row)) for row in first.affine),
            slice_axis=slice_axis,
            canonical_plane_vox=plane,
            resampled_vox=resampled,
            prepared_vox=prepared,
        ),
    )


def restore_slab(probs: torch.Tensor, geometry: Geometry) -> Array:
    """Labels of some slices at the size of the canonical plane.

    Restoring slab by slab keeps the memory at a few slices of probabilities;
    ties go to the lower label.

    Args:
        probs: (K, s, R, Q) class probabilities on the prepared grid.
        geometry: Of the prepared case.

    Returns:
        (s, rows, columns) uint8 labels.
    """
    full = _unfit(probs.transpose(0, 1).float(), geometry.resampled_vox)
    native = _interpolate(full, geometry.canonical_plane_vox)
    return native.argmax(dim=1).numpy().astype(np.uint8)


def restore_array(array: Array, geometry: Geometry) -> Volume:
    """An array (S, R, Q) of the canonical plane size as volume on the native grid."""
    order = ["ZYX".index(name) for name in PLANES[geometry.slice_axis]]
    canonical_array = np.transpose(array, np.argsort(order))
    stands = canonical(
        Volume(np.broadcast_to(np.uint8(0), geometry.native_shape), geometry.native_grid.affine)
    )
    volume = Volume(canonical_array, stands.affine)
    return on_grid_of(volume, geometry.native_grid)


def _common_grid(channels: Sequence[Volume | None], label: Volume | None) -> Volume:
    present = [channel for channel in channels if channel is not None]
    if not present:
        raise GridError("a case must have at least one channel; all are missing.")
    first = present[0]
    for other in [*present[1:], *([label] if label is not None else [])]:
        apart = first.grid.displacement_mm(other.grid)
        if apart > GRID_TOLERANCE_MM:
            raise GridError(
                "channels and label of a case must share a grid "
                f"(GRID_TOLERANCE_MM = {GRID_TOLERANCE_MM}); shapes (Z, Y, X) {first.shape} and "
                f"{other.shape}, corners {apart:.3g} mm apart. Export them on one grid."
            )
    return first


def _ordered(volume: Volume, order: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(np.transpose(canonical(volume).array, order))


def _resampled_size(
    plane: tuple[int, int], plane_mm: tuple[float, float], spacing_mm: float | None
) -> tuple[int, int]:
    if spacing_mm is None:
        return plane
    rows, columns = (
        max(1, round(n * step / spacing_mm)) for n, step in zip(plane, plane_mm, strict=True)
    )
    return rows, columns


def _resize(stack: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(S, R, Q) float to another in-plane size, bilinear, anti-aliased when shrinking."""
    return _interpolate(stack[:, None], size)[:, 0]


def _interpolate(stack: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(stack.shape[-2:]) == size:
        return stack
    shrinks = stack.shape[-2] > size[0] or stack.shape[-1] > size[1]
    return interpolate(stack, size, mode="bilinear", align_corners=False, antialias=shrinks)


def _prepare_label(label: Array, resampled: tuple[int, int], prepared: tuple[int, int]) -> Array:
    """Labels resampled one by one (linear, then the strongest), as nnU-Net does."""
    if label.shape[-2:] == resampled:
        return _fit(torch.from_numpy(label.astype(np.uint8)), prepared).numpy()
    best = torch.full((label.shape[0], *resampled), 0.5)
    result = torch.zeros((label.shape[0], *resampled), dtype=torch.uint8)
    for value in np.unique(label[label > 0]):
        share = _resize(torch.from_numpy((label == value).astype(np.float32)), resampled)
        wins = share >= best
        best = torch.where(wins, share, best)
        result[wins] = int(value)
    return _fit(result, prepared).numpy()


def _fit(stack: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Centre crop or zero pad the last two axes."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        have = stack.shape[axis]
        if have > wanted:
            stack = stack.narrow(axis, (have - wanted) // 2, wanted)
        elif have < wanted:
            before = (wanted - have) // 2
            shape: list[Any] = list(stack.shape)
            shape[axis] = wanted
            padded = torch.zeros(shape, dtype=stack.dtype)
            padded.narrow(axis, before, have).copy_(stack)
            stack = padded
    return stack


def _unfit(stack: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Undo `_fit` for (S, K, R, Q) probabilities; what was cropped away becomes background."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        have = stack.shape[axis]
        if have > wanted:
            stack = stack.narrow(axis, (have - wanted) // 2, wanted)
        elif have < wanted:
            shape = list(stack.shape)
            shape[axis] = wanted
            padded = torch.zeros(shape, dtype=stack.dtype)
            padded[:, 0] = 1
            target = padded.narrow(axis, (wanted - have) // 2, have)
            target.copy_(stack)
            stack = padded
    return stack
