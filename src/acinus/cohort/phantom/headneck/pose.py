"""How a patient lies and is built: what makes many patients out of one anatomy.

Enters: random numbers. Leaves: a frozen `Pose` from the scanner's world (RAS+ mm)
to head coordinates: posture, proportions, a smooth deformation, and mirroring, under
which right and left glands change their names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from acinus.cohort.phantom.geometry import rotation
from acinus.types import Affine, Array

PITCH_MM = 10.0
"""Pitch of the lattice of displacements, mm."""
SMOOTH_MM = 22.0
"""Scale of the smoothness of displacements, mm."""
FIELD_BOX = ((-120.0, 120.0), (-220.0, 80.0), (-200.0, 140.0))


@dataclass(frozen=True, eq=False)
class Pose:
    """Where a point of the world lies in the head.

    Attributes:
        head_from_world: (4, 4), RAS+ mm to head coordinates before deformation.
        field: (3, Z, Y, X) displacements (right, anterior, superior), mm.
        mirrored: Whether right and left of the anatomy are exchanged.
    """

    head_from_world: Affine
    field: Array
    mirrored: bool

    def displacement(self, x: Array, y: Array, z: Array) -> Array:
        """(3, ...) displacement at head coordinates, mm."""
        at = [(p - low) / PITCH_MM for p, (low, _) in zip((z, y, x), FIELD_BOX[::-1], strict=True)]
        return np.stack(
            [map_coordinates(f, at, order=1, mode="nearest", output=np.float32) for f in self.field]
        )


def draw_pose(
    rng: np.random.Generator, *, deform_mm: float, may_mirror: bool, turn: float = 1.0
) -> Pose:
    """A posture, proportions and a deformation.

    Args:
        rng: Source of randomness.
        deform_mm: Standard deviation of the displacements, mm.
        may_mirror: Whether half of the poses are mirrored.
        turn: Factor on the angles; a body that lies on a couch turns less than a head.
    """
    turned = rotation(*(turn * rng.normal(0.0, [6.0, 3.5, 6.0])))
    sheared = np.eye(3)
    sheared[np.triu_indices(3, 1)] = rng.normal(0.0, 0.015, 3)
    sizes = np.exp(rng.normal(0.0, 0.02) + rng.normal(0.0, 0.03, 3))
    mirrored = bool(may_mirror and rng.random() < 0.5)
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = flip @ sheared @ np.diag(sizes) @ turned
    affine[:3, 3] = -affine[:3, :3] @ rng.normal(0.0, [6.0, 8.0, 5.0])
    n = [int((high - low) / PITCH_MM) + 2 for low, high in FIELD_BOX[::-1]]
    field = np.stack(
        [
            gaussian_filter(rng.standard_normal(n, dtype=np.float32), SMOOTH_MM / PITCH_MM)
            for _ in range(3)
        ]
    )
    field *= np.float32(deform_mm / field.std())
    return Pose(affine, field, mirrored)
