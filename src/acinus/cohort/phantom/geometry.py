"""Where slices lie: grids of scans and poses of bodies.

Enters: random numbers per patient and sequence. Leaves: a frozen `ScanPlan`,
which maps voxel indices to the scanner's world (RAS+ mm) and to coordinates of
the body: a head's for the orbit, a trunk's for the abdomen. Array axes are those
of DICOM: i to the left, j to the posterior, k to the superior, slightly oblique.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acinus.types import Affine, Array, Shape


@dataclass(frozen=True, eq=False)
class ScanPlan:
    """Grid of one scan and where the body lies in it.

    Attributes:
        shape: (Z, Y, X) voxels.
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        body_from_world: (4, 4), RAS+ mm to body coordinates, mm.
        n_acquired: Pixels acquired along a row, before interpolation to the grid.
        thickness_mm: Full width at half maximum of the slice profile.
    """

    shape: Shape
    affine: Affine
    body_from_world: Affine
    n_acquired: int
    thickness_mm: float

    @property
    def body_from_index(self) -> Affine:
        """(4, 4), voxel index (x, y, z, 1) to body coordinates, mm."""
        return np.asarray(self.body_from_world @ self.affine)

    @property
    def pixel_mm(self) -> float:
        """In-plane spacing, mm."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    @property
    def slice_mm(self) -> float:
        """Distance between slices, mm."""
        return float(np.linalg.norm(self.affine[:3, 2]))


def body_points(
    plan: ScanPlan, rows: Array, columns: Array, slice_index: float
) -> tuple[Array, Array, Array]:
    """Body coordinates of pixels of one plane, mm.

    Args:
        plan: The scan.
        rows: (R,) fractional indices along Y.
        columns: (C,) fractional indices along X.
        slice_index: Fractional index along Z.

    Returns:
        Three (R, C) float32 arrays: right, anterior, superior.
    """
    m = plan.body_from_index
    x, y, z = (
        (
            (m[a, 1] * rows + m[a, 2] * slice_index + m[a, 3])[:, None] + (m[a, 0] * columns)[None]
        ).astype(np.float32)
        for a in range(3)
    )
    return x, y, z


def rotation(pitch: float, roll: float, yaw: float) -> Array:
    """(3, 3) rotation about the right, anterior and superior axes in turn, degrees."""
    a, b, c = np.radians([pitch, roll, yaw])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@dataclass(frozen=True)
class Position:
    """How a patient lies and how the slices are prescribed; shared by the sequences.

    Attributes:
        angles: Pitch, roll and yaw of the head, degrees.
        shift_mm: Of the head, (right, anterior, superior).
        tilt: Pitch, roll and yaw of the slices against the scanner, degrees.
        n: Pixels along a row of the written image.
        fov_mm: Edge of the field of view.
        thickness_mm: Of a slice.
        gap: Distance between slices over their thickness, minus 1.
        n_slices: Per scan.
    """

    angles: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    tilt: tuple[float, float, float]
    n: int
    fov_mm: float
    thickness_mm: float
    gap: float
    n_slices: int


def draw_position(rng: np.random.Generator, size: int | None) -> Position:
    """A position within what the study reports: 0.3-0.7 mm pixels, slices of 3-4 mm.

    Args:
        rng: Source of randomness.
        size: 256 or 512 pixels; None draws one of them.
    """
    drawn = int(rng.choice([256, 512]))
    n = size or drawn
    fov = rng.uniform(172.0, 179.0) if n == 256 else rng.uniform(172.0, 225.0)
    angles = rng.normal(0.0, [5.0, 2.0, 2.5])
    tilt = angles * 0.7 + rng.normal(0.0, [2.0, 1.0, 1.0])
    shift = rng.normal(0.0, [2.5, 4.0, 4.0])
    thickness = float(rng.choice([3.0, 3.0, 3.5, 4.0]))
    gap = float(rng.choice([0.0, 0.1, 0.1, 0.2]))
    n_slices = int(np.clip(round(72.0 / (thickness * (1.0 + gap)) + rng.normal(0, 0.8)), 16, 23))
    return Position(
        angles=_three(angles),
        shift_mm=_three(shift),
        tilt=_three(tilt),
        n=n,
        fov_mm=float(fov),
        thickness_mm=thickness,
        gap=gap,
        n_slices=n_slices,
    )


def plan_scan(rng: np.random.Generator, position: Position) -> ScanPlan:
    """The grid of one sequence, and the head after a small motion.

    Grids of two sequences differ: origin, sometimes field of view and number of
    slices, and the head has moved by some tenths of a millimetre.
    """
    fov = position.fov_mm * float(rng.choice([1.0, 1.0, 0.98, 1.0 if position.n == 256 else 1.04]))
    n_slices = position.n_slices + int(rng.choice([-1, 0, 0, 1]))
    pixel = fov / position.n
    step = position.thickness_mm * (1.0 + position.gap)
    turned = rotation(*position.tilt) @ rotation(*rng.normal(0.0, 0.6, 3))
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag([-pixel, -pixel, step])
    moved = np.asarray(position.angles) + rng.normal(0.0, 0.7, 3)
    world_from_head = np.eye(4)
    world_from_head[:3, :3] = rotation(*moved)
    world_from_head[:3, 3] = np.asarray(position.shift_mm) + rng.normal(0.0, 0.7, 3)
    middle_head = np.array([rng.normal(0, 1.0), 46.0 - fov / 2 + rng.normal(0, 1.5), -2.0, 1.0])
    middle_head[2] += rng.normal(0.0, 1.5)
    middle_index = np.array([(position.n - 1) / 2, (position.n - 1) / 2, (n_slices - 1) / 2])
    affine[:3, 3] = (world_from_head @ middle_head)[:3] - affine[:3, :3] @ middle_index
    affine = np.round(affine, 6)
    n_acquired = 256 if position.n == 256 else int(rng.choice([352, 384]))
    return ScanPlan(
        shape=(n_slices, position.n, position.n),
        affine=affine,
        body_from_world=np.asarray(np.linalg.inv(world_from_head), dtype=np.float64),
        n_acquired=n_acquired,
        thickness_mm=position.thickness_mm,
    )


def _three(values: Array) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))
