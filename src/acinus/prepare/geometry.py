"""How a prepared array lies on the native grid: every step with its size.

Enters: a grid and the plan's settings. Leaves: `Geometry`, which is stored
beside the arrays as JSON. Order of the steps: axes by permutation and flips,
crop to the nonzero box, resample, crop or pad the plane. Squeezing an image
into a fixed size was rejected: sizes are reached by cropping or padding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from acinus.config import Settings
from acinus.plan import PLANES
from acinus.plan.settings import PrepareSettings
from acinus.prepare.resample import coarse_axis
from acinus.scans import Grid, Volume, oriented

Sizes = tuple[int, int, int]
"""(S, R, Q) numbers of voxels: slices, rows, columns along the plan's axes."""


class Geometry(Settings):
    """The way from the native grid to the prepared array; all but the first two are (S, R, Q).

    Attributes:
        native_shape: (Z, Y, X) voxels of the input.
        native_affine: (4, 4) affine of the input, RAS+ mm.
        orientation: How the array was turned, see the settings.
        slice_axis: Anatomical axis that slices are stacked along.
        interpolation: How image and label were resampled.
        scanned_vox: Voxels of the input along the prepared axes.
        scanned_mm: Their spacing.
        crop_start_vox: First voxel of the nonzero box.
        cropped_vox: Voxels of the nonzero box.
        resampled_vox: Voxels at the plan's spacing.
        resampled_mm: That spacing.
        prepared_vox: Voxels after cropping or padding to a fixed size.
    """

    native_shape: tuple[int, int, int]
    native_affine: tuple[tuple[float, float, float, float], ...]
    orientation: str
    slice_axis: Literal["Z", "Y", "X"]
    interpolation: Literal["linear", "cubic"]
    scanned_vox: Sizes
    scanned_mm: tuple[float, float, float]
    crop_start_vox: Sizes
    cropped_vox: Sizes
    resampled_vox: Sizes
    resampled_mm: tuple[float, float, float]
    prepared_vox: Sizes

    @property
    def native_grid(self) -> Grid:
        """The grid of the input."""
        return Grid(self.native_shape, np.array(self.native_affine, dtype=np.float64))

    @property
    def order(self) -> tuple[int, int, int]:
        """Canonical axis (0 Z, 1 Y, 2 X) of each prepared axis."""
        return axis_order(self.slice_axis)

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The nonzero box within the scanned voxels."""
        s, r, q = (
            slice(start, start + size)
            for start, size in zip(self.crop_start_vox, self.cropped_vox, strict=True)
        )
        return s, r, q

    def coarse_axis(self, *, back: bool) -> int | None:
        """Axis that is resampled by nearest neighbour, on the way there or back."""
        if self.interpolation == "linear":
            return None
        here, there = self.scanned_mm, self.resampled_mm
        return coarse_axis(there, here) if back else coarse_axis(here, there)


def axis_order(slice_axis: str) -> tuple[int, int, int]:
    """Canonical axis (0 Z, 1 Y, 2 X) of each prepared axis (S, R, Q)."""
    s, r, q = ("ZYX".index(name) for name in PLANES[slice_axis])
    return s, r, q


def turn_to(volume: Volume, orientation: str) -> Volume:
    """The volume with its voxels in the order of ``prepare.orientation``."""
    if orientation == "as_stored":
        return volume
    return oriented(volume, "RAS" if orientation == "canonical" else orientation)


def make_geometry(
    native: Grid, turned: Grid, settings: PrepareSettings, box: Sequence[slice] | None
) -> Geometry:
    """The geometry of a case.

    Args:
        native: Grid of the input.
        turned: The same voxels as `turn_to` orders them.
        settings: Resolved settings of the plan.
        box: (S, R, Q) part that is kept, or None for all.
    """
    slice_axis = settings.slice_axis if settings.slice_axis != "auto" else "Z"
    order = axis_order(slice_axis)
    scanned = turned.shape[order[0]], turned.shape[order[1]], turned.shape[order[2]]
    s, r, q = (turned.stored_spacing_mm[axis] for axis in order)
    start = tuple(part.start for part in box) if box else (0, 0, 0)
    cropped = tuple(part.stop - part.start for part in box) if box else scanned
    wanted = settings.spacing_mm or (None, None, None)
    spacing = tuple(new or old for new, old in zip(wanted, (s, r, q), strict=True))
    resampled = tuple(
        max(1, round(old / new * n))
        for n, old, new in zip(cropped, (s, r, q), spacing, strict=True)
    )
    fixed = settings.size_vox or ()
    return Geometry(
        native_shape=native.shape,
        native_affine=tuple(tuple(map(float, row)) for row in native.affine),
        orientation=settings.orientation,
        slice_axis=slice_axis,
        interpolation=settings.interpolation,
        scanned_vox=scanned,
        scanned_mm=(s, r, q),
        crop_start_vox=start,
        cropped_vox=cropped,
        resampled_vox=resampled,
        resampled_mm=spacing,
        prepared_vox=(*resampled[: 3 - len(fixed)], *fixed),
    )


def as_prepared(settings: PrepareSettings, size_vox: Sequence[int]) -> Geometry:
    """The geometry of a scan that lies on the prepared grid already: nothing is resampled.

    Args:
        settings: Of the plan.
        size_vox: (S, R, Q) voxels, of 1 mm.
    """
    slice_axis = settings.slice_axis if settings.slice_axis != "auto" else "Z"
    order = axis_order(slice_axis)
    size = [size_vox[order.index(axis)] for axis in range(3)]
    stands = Volume(np.broadcast_to(np.uint8(0), size), np.eye(4))
    turned = turn_to(stands, settings.orientation).grid
    plain = settings.model_copy(update={"spacing_mm": None, "size_vox": None})
    return make_geometry(turned, turned, plain, None)
