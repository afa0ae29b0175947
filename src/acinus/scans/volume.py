"""A scan in the world: an array and where its voxels lie.

Enters: arrays ``(Z, Y, X)`` and RAS+ affines from the readers. Leaves: volumes
that know their grid. A volume without affine was rejected: every side, volume
and distance that Acinus reports depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from acinus.errors import GridError
from acinus.types import Affine, Array, Shape, Spacing

GRID_TOLERANCE_MM = 0.01
"""Largest displacement of any corner voxel at which two grids count as one, mm."""

STRAIGHT_ROUNDING, ROUNDING = 1e-7, 5e-7
"""Largest deviations by rounding of the length of an array axis along a world axis and of any, as
shares: one and some units in the last place of single precision."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie.

    Attributes:
        shape: (Z, Y, X) voxels.
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
    """

    shape: Shape
    affine: Affine

    @property
    def spacing_mm(self) -> Spacing:
        """(Z, Y, X) distance between voxel centres, mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def stored_spacing_mm(self) -> Spacing:
        """(Z, Y, X) spacing to the last digit that a file holds, for rules that compare spacings.

        An affine is off in the last digits: what is a decimal of 6 digits up to that is that
        decimal, and other lengths of oblique axes keep 7. Where the affine is kept in single
        precision, so are they: slices of 1.8 mm are not 3 times 0.6 mm there.
        """
        is_single = np.array_equal(self.affine, self.affine.astype(np.float32))
        found = []
        for column, norm in zip(self.affine[:3, :3].T, reversed(self.spacing_mm), strict=True):
            along = column[column != 0]
            is_straight = len(along) == 1
            length = abs(float(along[0])) if is_straight else norm
            decimal = float(f"{length:.6g}")
            if abs(length - decimal) <= (STRAIGHT_ROUNDING if is_straight else ROUNDING) * length:
                length = decimal
            elif not is_straight:
                length = float(f"{length:.7g}")
            found.append(float(np.float32(length)) if is_single else length)
        x, y, z = found
        return z, y, x

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel, mL; correct for sheared grids too."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def world(self, index_zyx: Array) -> Array:
        """RAS+ mm of voxel indices.

        Args:
            index_zyx: (..., 3) voxel indices in (z, y, x) order.

        Returns:
            (..., 3) coordinates (right, anterior, superior), mm.
        """
        index_xyz = np.asarray(index_zyx, dtype=np.float64)[..., ::-1]
        return np.asarray(index_xyz @ self.affine[:3, :3].T + self.affine[:3, 3])

    def displacement_mm(self, other: Grid) -> float:
        """Largest distance between corresponding corner voxels, mm; inf if shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        apart = np.linalg.norm(self.world(corners) - other.world(corners), axis=1)
        return float(apart.max())

    def matches(self, other: Grid, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
        """Whether both grids have one shape and no corner is further apart than the tolerance."""
        return self.displacement_mm(other) <= tolerance_mm


@dataclass(frozen=True, eq=False)
class Volume:
    """An image or label map on its grid.

    Attributes:
        array: (Z, Y, X) voxel values.
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        meta: What the reader knows besides: ``path``, ``format``, for DICOM
            ``modality``, ``description``, ``series_uid``.
    """

    array: Array
    affine: Affine
    meta: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise GridError(
                f"a volume must have three axes (Z, Y, X); got shape {self.array.shape}."
            )
        if np.shape(self.affine) != (4, 4):
            raise GridError(f"an affine must be 4 x 4; got shape {np.shape(self.affine)}.")

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        z, y, x = self.array.shape
        return Grid((z, y, x), self.affine)

    @property
    def shape(self) -> Shape:
        """(Z, Y, X) voxels."""
        return self.grid.shape

    @property
    def spacing_mm(self) -> Spacing:
        """(Z, Y, X) distance between voxel centres, mm."""
        return self.grid.spacing_mm

    def with_array(self, array: Array) -> Volume:
        """Another array on the same grid; GridError if its shape differs."""
        if array.shape != self.array.shape:
            raise GridError(
                f"an array on this grid must have shape {self.array.shape}; got {array.shape}."
            )
        return Volume(array, self.affine, self.meta)
