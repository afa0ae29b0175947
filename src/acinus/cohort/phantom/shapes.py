"""Signed distances of simple bodies: what the phantom's anatomy is made of.

Enters: coordinates in mm as float32 arrays of one shape. Leaves: approximate
signed distances in mm, negative inside, of the same shape. Voxel templates
were rejected: implicit surfaces can be evaluated on every grid, deformed
smoothly, and give the share of a voxel that a structure fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

import numpy as np

from acinus.types import Array

Triple = tuple[float, float, float]
"""(right, anterior, superior), mm."""


def triple(values: Sequence[float] | Array) -> Triple:
    """Three numbers as a tuple of floats."""
    return (float(values[0]), float(values[1]), float(values[2]))


def ellipsoid(x: Array, y: Array, z: Array, centre: Triple, radii: Triple) -> Array:
    """Signed distance to an ellipsoid; exact for a sphere, first order near the surface."""
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    a, b, c = (1.0 / r for r in radii)
    level = np.sqrt((dx * a) ** 2 + (dy * b) ** 2 + (dz * c) ** 2)
    slope = np.sqrt((dx * a * a) ** 2 + (dy * b * b) ** 2 + (dz * c * c) ** 2)
    return np.asarray(level * (level - 1.0) / np.maximum(slope, 1e-4))


def sphere(x: Array, y: Array, z: Array, centre: Triple, radius: float) -> Array:
    """Signed distance to a sphere."""
    squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    return np.asarray(np.sqrt(squared) - radius)


def capsule(
    x: Array, y: Array, z: Array, start: Triple, end: Triple, radii: tuple[float, float]
) -> Array:
    """Signed distance to a rod from `start` to `end` whose radius goes linearly."""
    along = [e - s for s, e in zip(start, end, strict=True)]
    length = sum(a * a for a in along)
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    t = np.clip((dx * along[0] + dy * along[1] + dz * along[2]) / length, 0.0, 1.0)
    squared = (dx - t * along[0]) ** 2 + (dy - t * along[1]) ** 2 + (dz - t * along[2]) ** 2
    return np.asarray(np.sqrt(squared) - (radii[0] + t * (radii[1] - radii[0])))


def tube(x: Array, y: Array, z: Array, points: Sequence[Triple], radii: Sequence[float]) -> Array:
    """Signed distance to a bent rod through at least two points, with a radius at each of them."""
    rods = (
        capsule(x, y, z, start, end, (first, second))
        for (start, end), (first, second) in zip(pairwise(points), pairwise(radii), strict=True)
    )
    return reduce(np.minimum, rods)


def superellipse(x: Array, y: Array, half: tuple[float, float], power: float) -> Array:
    """Signed distance to a cylinder along z, first order near its surface.

    Args:
        x, y: Coordinates from its axis, mm.
        half: Half axes, mm.
        power: 2 for an ellipse; a larger one is boxier.
    """
    u, v = np.abs(x) * (1.0 / half[0]) + 1e-4, np.abs(y) * (1.0 / half[1]) + 1e-4
    pu, pv = u ** (power - 1.0), v ** (power - 1.0)
    level = (pu * u + pv * v) ** (1.0 / power)
    slope = np.hypot(pu * (1.0 / half[0]), pv * (1.0 / half[1])) * level ** (1.0 - power)
    return np.asarray((level - 1.0) / np.maximum(slope, 1e-4))


def box(x: Array, y: Array, z: Array, centre: Triple, half: Triple, rounding: float) -> Array:
    """Signed distance to a box with rounded edges; `half` are its half lengths."""
    dx = np.abs(x - centre[0]) - (half[0] - rounding)
    dy = np.abs(y - centre[1]) - (half[1] - rounding)
    dz = np.abs(z - centre[2]) - (half[2] - rounding)
    outside = np.sqrt(
        np.maximum(dx, 0.0) ** 2 + np.maximum(dy, 0.0) ** 2 + np.maximum(dz, 0.0) ** 2
    )
    inside = np.minimum(np.maximum(np.maximum(dx, dy), dz), 0.0)
    return np.asarray(outside + inside - rounding)


def join(a: Array, b: Array, softness_mm: float) -> Array:
    """Union of two bodies whose seam is rounded over `softness_mm`."""
    overlap = np.maximum(softness_mm - np.abs(a - b), 0.0)
    return np.asarray(np.minimum(a, b) - overlap * overlap * (0.25 / softness_mm))


def share_inside(distance_mm: Array, width_mm: float) -> Array:
    """Share of a voxel that lies inside, in [0, 1], for an edge blurred over `width_mm`."""
    return np.asarray(np.clip(0.5 - distance_mm * (1.0 / width_mm), 0.0, 1.0))
