"""Grids that head and neck are scanned on: planning CT, head MRI, whole bodies.

Enters: random numbers, contrast, extent and size. Leaves: a `ScanGrid` in the world
(RAS+ mm) whose origin lies midway between the globes of an undeformed patient.
Array axes are those of DICOM: i to the left, j to the posterior, k to the superior,
or k to the inferior for a patient who lay feet first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from acinus.cohort.phantom.geometry import rotation
from acinus.cohort.phantom.headneck.contrast import Contrast, Modality
from acinus.cohort.phantom.headneck.torso import BOTTOM_MM, Extent
from acinus.types import Affine, Shape

Size = Literal["small", "full"]

HEAD_TOP_MM = 128.0
"""A scan of the head ends this far above the globes, mm."""


@dataclass(frozen=True, eq=False)
class ScanGrid:
    """Voxels of a scan.

    Attributes:
        shape: (Z, Y, X) voxels.
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        thickness_mm: Full width at half maximum of the slice profile.
        feet_first: Whether slices run from superior to inferior.
    """

    shape: Shape
    affine: Affine
    thickness_mm: float
    feet_first: bool

    @property
    def pixel_mm(self) -> float:
        """In-plane spacing, mm."""
        return float(np.linalg.norm(self.affine[:3, 0]))

    @property
    def slice_mm(self) -> float:
        """Distance between slices, mm."""
        return float(np.linalg.norm(self.affine[:3, 2]))


def draw_grid(
    rng: np.random.Generator, contrast: Contrast, modality: Modality, extent: Extent, size: Size
) -> ScanGrid:
    """A grid as such scans have.

    Args:
        rng: Source of randomness.
        contrast: ``"random"`` also draws the coverage: many head MRIs end at the hard palate.
        modality: Of the look that was drawn.
        extent: How much of the body is scanned.
        size: ``"small"`` has about the field of view of ``"full"`` in coarser voxels.
    """
    if extent != "none":
        return _body_grid(rng, modality, extent, size)
    if modality == "CT":
        n, pixel = (
            (512, rng.uniform(0.92, 1.27)) if size == "full" else (128, rng.uniform(2.0, 2.4))
        )
        step = float(rng.choice([1.5, 2.0, 2.5, 2.5, 3.0])) if size == "full" else 3.0
        return _axial(rng, n, pixel, step, step, -158.0 - rng.uniform(-8, 8), tilt=1.5)
    thin = contrast == "random" and rng.random() < 0.2
    step = float(rng.uniform(1.0, 1.6) if thin else rng.uniform(2.8, 6.8))
    if size == "full":
        n = int(rng.choice([256, 288, 320, 384])) if not thin else 256
        pixel = rng.uniform(215, 250) / n
    else:
        n, pixel, step = 128, rng.uniform(1.7, 2.0), max(step, 3.0)
    thickness = step * float(rng.uniform(0.75, 1.0))
    head_only = contrast == "random" and rng.random() < 0.5
    bottom = rng.uniform(-75, -30) if head_only else rng.uniform(-165, -140)
    return _axial(rng, n, float(pixel), step, thickness, float(bottom), tilt=7.0)


def _axial(
    rng: np.random.Generator,
    n: int,
    pixel: float,
    step: float,
    thickness: float,
    bottom: float,
    tilt: float,
) -> ScanGrid:
    n_slices = int(np.ceil((HEAD_TOP_MM - bottom) / step))
    turned = rotation(*rng.normal(0.0, [tilt, 0.4 * tilt, 0.4 * tilt]))
    affine = np.eye(4)
    affine[:3, :3] = turned @ np.diag([-pixel, -pixel, step])
    middle_world = np.array([0.0, -72.0, (HEAD_TOP_MM + bottom) / 2]) + rng.normal(0, [5, 5, 3])
    return _centred(affine, (n_slices, n, n), middle_world, thickness, feet_first=False)


def _body_grid(
    rng: np.random.Generator, modality: Modality, extent: Extent, size: Size
) -> ScanGrid:
    n, pixel = (512, rng.uniform(1.0, 1.17)) if size == "full" else (112, rng.uniform(4.6, 5.2))
    span = 205.0 - BOTTOM_MM[extent]
    n_full = 1000 if extent == "whole" else 480
    step = span / n_full if size == "full" else 6.0
    n_slices = round(span / step)
    feet_first = bool(rng.random() < 0.4)
    affine = np.diag([-pixel, -pixel, -step if feet_first else step, 1.0])
    middle = np.array([0.0, -110.0, (205.0 + BOTTOM_MM[extent]) / 2]) + rng.normal(0, [8, 8, 3])
    return _centred(affine, (n_slices, n, n), middle, step, feet_first)


def _centred(
    affine: Affine, shape: Shape, middle_world: Affine, thickness: float, feet_first: bool
) -> ScanGrid:
    middle_index = (np.array(shape[::-1]) - 1.0) / 2
    affine[:3, 3] = middle_world - affine[:3, :3] @ middle_index
    return ScanGrid(shape, np.round(affine, 6), float(thickness), feet_first)
