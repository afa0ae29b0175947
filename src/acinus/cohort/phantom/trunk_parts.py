"""Parts that the trunk's bodies share: bodies with boxes, rods, the cavity, the outline.

Enters: a trunk, points of the mean anatomy in mm. Leaves: `TrunkBody`s and signed
distances. Each body knows the box that it lies in, so that it is evaluated only there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from acinus.cohort.phantom.shapes import Triple, ellipsoid, superellipse, triple, tube
from acinus.cohort.phantom.trunk import Trunk
from acinus.types import Array

Distance = Callable[[Array, Array, Array], Array]

FAR = 1000.0
"""Beyond every trunk, mm."""
BACK_MM, SIDE_MM = 76.0, 128.0
"""From the trunk's origin to the cavity's back and side."""
FRONT_MM = 88.0
"""To its front, before the factor of visceral fat."""
BACK_MUSCLE_MM = 27.0


class TrunkBody(NamedTuple):
    """One body: a tissue within a surface.

    Attributes:
        tissue: Name in `ORGANS`.
        distance_mm: Signed distance for points of the mean anatomy, negative inside.
        low, high: Box that holds it, mm of the mean anatomy.
        inside: Tissues further in, each from a depth (mm) below the surface on.
    """

    tissue: str
    distance_mm: Distance
    low: Triple
    high: Triple
    inside: tuple[tuple[str, float], ...] = ()


def cavity_mm(trunk: Trunk, x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the inside of the muscles."""
    front = FRONT_MM * trunk.visceral
    narrow = 1.0 - 0.0006 * np.maximum(-z - 20.0, 0.0)
    half = (SIDE_MM, (front + BACK_MM) / 2)
    return superellipse(x / narrow, y - (front - BACK_MM) / 2, half, 2.5)


def muscle_outline_mm(trunk: Trunk) -> tuple[float, float, float]:
    """Half width, half depth and the middle's place (anterior) of the muscles' outside, mm."""
    front = FRONT_MM * trunk.visceral + 9.0 * trunk.muscle
    half_y = (front + BACK_MM + BACK_MUSCLE_MM) / 2
    return SIDE_MM + 13.0 * trunk.muscle + 4.0, half_y, front - half_y


def skin_outline_mm(trunk: Trunk) -> tuple[float, float, float]:
    """The same of the skin."""
    half_x, half_y, middle = muscle_outline_mm(trunk)
    side, front, back = trunk.fat_mm
    return half_x + side, half_y + (front + back) / 2, middle + (front - back) / 2


def trunk_extent_mm(trunk: Trunk) -> tuple[float, float, float]:
    """Width, depth and the middle's place (anterior) of a trunk, mm."""
    half_x, half_y, middle = skin_outline_mm(trunk)
    size = trunk.settling.size
    return 2 * half_x * size, 2 * half_y * size, middle * size


def dome_mm(x: Array, y: Array, z: Array) -> Array:
    """Signed distance to what lies below the diaphragm."""
    return ellipsoid(x, y, z, (0, 13, 12), (126, 85, 98))


def everywhere(tissue: str, distance: Distance, *inside: tuple[str, float]) -> TrunkBody:
    """A body without a box."""
    return TrunkBody(tissue, distance, (-FAR, -FAR, -FAR), (FAR, FAR, FAR), inside)


def rod(
    tissue: str, points: Sequence[Triple], radii: Sequence[float], *inside: tuple[str, float]
) -> TrunkBody:
    """A bent rod through points, with a radius at each of them, mm."""
    at, thick = np.asarray(points, float), np.asarray(radii, float)[:, None]
    fixed, widths = [triple(p) for p in at], [float(r) for r in radii]
    return TrunkBody(
        tissue,
        lambda x, y, z: tube(x, y, z, fixed, widths),
        triple((at - thick).min(axis=0)),
        triple((at + thick).max(axis=0)),
        inside,
    )


def shifted(a: Sequence[float] | Array, b: Sequence[float]) -> Triple:
    """A point moved by a vector."""
    return (float(a[0] + b[0]), float(a[1] + b[1]), float(a[2] + b[2]))


def midway(a: Sequence[float], b: Sequence[float]) -> Triple:
    """The point between two points."""
    return (float(a[0] + b[0]) / 2, float(a[1] + b[1]) / 2, float(a[2] + b[2]) / 2)
