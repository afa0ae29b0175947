"""Painted maps of tissues: fine around the orbits, middling for head and neck.

Enters: an `Anatomy`. Leaves: a stack of `Layer`, finest first; a point is looked up
in the first layer that reaches it. Painting costs most, so a layer is painted once
for a source and shared by all patients and contrasts that are made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from acinus.cohort.phantom.headneck.organs import Anatomy
from acinus.cohort.phantom.headneck.surround import paint_plane
from acinus.types import Array

HEAD_BOX = ((-98.0, 98.0), (-205.0, 56.0), (-168.0, 122.0))
"""(right, anterior, superior) reach of the head's layer, mm."""
ORBIT_BOX = ((-60.0, 60.0), (-50.0, 24.0), (-24.0, 28.0))
"""The same of the layer around both orbits."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Tissues on an upright lattice in head coordinates.

    Attributes:
        tissues: (Z, Y, X) uint8, values of `CODES`.
        origin: (right, anterior, superior) of the first voxel, mm.
        step_mm: Edge of a voxel.
    """

    tissues: Array
    origin: tuple[float, float, float]
    step_mm: float


@dataclass(frozen=True)
class Steps:
    """Edges of the voxels that tissues are painted on, mm."""

    orbit: float
    head: float
    body: float


STEPS = {"small": Steps(1.0, 2.2, 5.0), "full": Steps(0.6, 1.2, 3.0)}


def paint_layers(anatomy: Anatomy, steps: Steps) -> tuple[Layer, ...]:
    """The orbits and the head with the neck, finest first."""

    def paint(x: Array, y: Array, z: Array) -> Array:
        return paint_plane(anatomy, x, y, z)

    return (
        paint_box(paint, ORBIT_BOX, steps.orbit),
        paint_box(paint, HEAD_BOX, steps.head),
    )


def paint_box(
    paint: Callable[[Array, Array, Array], Array],
    box: tuple[tuple[float, float], ...],
    step_mm: float,
) -> Layer:
    """A layer over a box, painted plane by plane."""
    x, y, z = (np.arange(low, high + 0.5 * step_mm, step_mm, dtype=np.float32) for low, high in box)
    grid_x, grid_y = np.meshgrid(x, y)
    tissues = np.empty((z.size, y.size, x.size), np.uint8)
    for k, height in enumerate(z):
        tissues[k] = paint(grid_x, grid_y, np.full_like(grid_x, height))
    return Layer(tissues, (float(x[0]), float(y[0]), float(z[0])), step_mm)
