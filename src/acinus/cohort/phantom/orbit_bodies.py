"""The orbit: fat, globe, lens, optic nerve, muscles, lids, vessels and the gland.

Enters: the head and points near one orbit, in head coordinates (mm). Leaves:
bodies in the order of painting. The bony wall is widened around the gland,
which makes the lacrimal fossa.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acinus.cohort.phantom.anatomy import Body, Head
from acinus.cohort.phantom.shapes import capsule, ellipsoid, join, sphere
from acinus.types import Array

ORBIT_REACH_MM = ((-2.0, 58.0), (-54.0, 24.0), (-26.0, 27.0))
"""Box around the right orbit: (right, anterior, superior) mm; mirrored for the left."""

APEX = (12.5, -46.0, -3.0)
"""Apex of the right orbit, mm."""


def orbit_bodies(head: Head, side: int, x: Array, y: Array, z: Array) -> Iterator[Body]:
    """Bodies of the right (1) or left (-1) orbit, in the order of painting."""
    gland = head.glands[0 if side > 0 else 1]
    gland_mm = gland.distance_mm(x, y, z)
    x = x * np.float32(side)
    gx, gy, gz = (abs(v) if i == 0 else v for i, v in enumerate(head.globe(side)))
    radius = head.globe_radius_mm
    from_globe = np.sqrt((x - gx) ** 2 + (y - gy) ** 2 + (z - gz) ** 2)
    cone = join(_cone(head, x, y, z), gland_mm - 0.7, 3.0)
    septum = (x - 33.0) * 0.42 + (y - gy - 4.5) * 0.9 + 0.004 * z * z
    yield "cortical_bone", np.maximum(cone - 1.7, septum + 2.0)
    yield "orbital_fat", np.maximum(cone, septum)
    lid = np.maximum(from_globe - radius - 3.0, np.maximum(-septum - 3.0, np.abs(z) - 13.0))
    yield "lid", lid
    yield "lid", np.maximum(np.abs(septum - 1.0) - 0.9, cone - 1.0)
    yield from _nerve(head, x, y, z, gx, gy, gz)
    yield from _eye_muscles(head, x, y, z, (gx, gy, gz))
    yield from _vessels(x, y, z, gx, gy)
    yield "gland", gland_mm
    yield from _globe(head, x, y, z, (gx, gy, gz), from_globe)


def _cone(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Distance to the bony orbit's inside, without the fossa."""
    base = (head.globe_x_mm + 1.2, 3.0, 0.0)
    axis = np.array([b - a for a, b in zip(APEX, base, strict=True)], dtype=np.float32)
    length = float(np.linalg.norm(axis))
    axis /= np.float32(length)
    dx, dy, dz = x - APEX[0], y - APEX[1], z - APEX[2]
    along = dx * axis[0] + dy * axis[1] + dz * axis[2]
    t = np.clip(along * np.float32(1.0 / length), 0.0, 1.05)
    grown = t**0.68
    across = (dx * axis[1] - dy * axis[0]) / float(np.hypot(axis[0], axis[1]))
    vertical = dz - along * axis[2]
    half_across = 2.5 + 18.2 * grown
    half_up = 2.5 + 15.3 * grown
    level = np.sqrt((across / half_across) ** 2 + (vertical / half_up) ** 2)
    wall = (level - 1.0) * half_up
    return np.asarray(np.maximum(wall, -along - 1.0))


def _nerve(
    head: Head, x: Array, y: Array, z: Array, gx: float, gy: float, gz: float
) -> Iterator[Body]:
    back = gy - head.globe_radius_mm
    t = np.clip((y - APEX[1] - 1.0) / (back - APEX[1] - 1.0), 0.0, 1.0)
    wave = np.sin(np.pi * t)
    nx = APEX[0] + (gx - 2.5 - APEX[0]) * t + 1.2 * wave * head.warp[0][0] * 30
    nz = APEX[2] + (gz - 0.3 - APEX[2]) * t + 1.0 * wave * head.warp[2][0] * 30
    off = np.sqrt(((x - nx) * 0.92) ** 2 + (z - nz) ** 2)
    ends = np.maximum(y - back - 1.0, APEX[1] - 12.0 - y)
    yield "dura", np.maximum(off - 3.0, ends)
    yield "csf", np.maximum(off - 2.65, ends)
    yield "optic_nerve", np.maximum(off - 1.75, ends)


def _eye_muscles(
    head: Head, x: Array, y: Array, z: Array, globe: tuple[float, float, float]
) -> Iterator[Body]:
    """The four recti, the superior oblique and the levator."""
    gx, gy, gz = globe
    radius = head.globe_radius_mm
    front = gy + 4.0
    t = np.clip((y - APEX[1]) / (front - APEX[1]), 0.0, 1.0)
    belly = head.muscle * np.clip(1.9 * np.sqrt(t * (1.15 - t)) - 0.05, 0.25, 1.0)
    ends = np.maximum(y - front, APEX[1] - 1.0 - y)
    wrap = np.sqrt(np.maximum((radius + 1.5) ** 2 - (y - gy) ** 2, 0.0))

    def strap(cx: Array, cz: Array, half_x: Array, half_z: Array) -> Array:
        level = np.sqrt(((x - cx) / half_x) ** 2 + ((z - cz) / half_z) ** 2)
        return np.maximum((level - 1.0) * np.minimum(half_x, half_z), ends)

    middle_z = APEX[2] + (gz - APEX[2]) * t
    lateral_x = np.maximum(APEX[0] + 2.5 + 44.0 * t - 14.5 * t * t, gx + wrap)
    lateral_x = np.where(t > 0.62, lateral_x, APEX[0] + 2.5 + 44.0 * t - 14.5 * t * t)
    medial_x = APEX[0] - 0.5 + 4.5 * t
    medial_x = np.where(t > 0.70, np.minimum(medial_x + 3.0 * t, gx - wrap), medial_x)
    thin = 2.1 * belly
    tall = 4.6 * np.clip(belly, 0.5, 1.0)
    straight_x = APEX[0] + 0.5 + (gx - 0.5 - APEX[0]) * t
    above = np.maximum(APEX[2] + 4.0 + 12.5 * t - 1.5 * t * t, np.where(t > 0.6, gz + wrap, -99.0))
    below = np.minimum(APEX[2] - 4.0 - 8.0 * t, np.where(t > 0.6, gz - wrap, 99.0))
    yield "eye_muscle", strap(medial_x, middle_z, thin * 1.1, tall)
    yield "eye_muscle", strap(lateral_x, middle_z, thin * 1.1, tall)
    yield "eye_muscle", strap(straight_x, above, tall, thin * 0.9)
    yield "eye_muscle", strap(straight_x, below, tall, thin)
    yield "eye_muscle", strap(straight_x, above + 3.2, tall * 1.1, 0.9 + 0.0 * t)
    oblique = capsule(x, y, z, (APEX[0] + 1, -42.0, 3.0), (gx - 14.5, -3.0, 11.5), (1.4, 2.0))
    yield "eye_muscle", oblique


def _vessels(x: Array, y: Array, z: Array, gx: float, gy: float) -> Iterator[Body]:
    vein = capsule(x, y, z, (gx - 11.0, gy - 2.0, 9.5), (gx - 6.0, -24.0, 8.5), (0.9, 1.2))
    vein = join(vein, capsule(x, y, z, (gx - 6.0, -24.0, 8.5), (15.0, -43.0, 1.0), (1.2, 1.3)), 1.0)
    yield "venous_blood", vein
    twig = capsule(x, y, z, (16.0, -40.0, 2.0), (gx + 9.0, -14.0, 8.0), (0.5, 0.45))
    yield "venous_blood", twig


def _globe(
    head: Head,
    x: Array,
    y: Array,
    z: Array,
    globe: tuple[float, float, float],
    from_globe: Array,
) -> Iterator[Body]:
    gx, gy, gz = globe
    radius = head.globe_radius_mm
    cornea = sphere(x, y, z, (gx, gy + radius - 7.4, gz), 8.0)
    eye = join(from_globe - radius, cornea, 1.5)
    yield "sclera", eye
    rear = np.maximum(eye + 0.8, y - gy - 6.0)
    yield "choroid", rear
    yield "vitreous", np.where(y > gy + 6.0, eye + 0.9, eye + 1.6)
    dx, dz = head.gaze
    lens_y = gy + 0.64 * radius
    ring = ellipsoid(x, y, z, (gx + dx, lens_y - 0.2, gz + dz), (6.6, 1.1, 6.6))
    hole = ellipsoid(x, y, z, (gx + dx, lens_y, gz + dz), (5.0, 2.4, 5.0))
    yield "choroid", np.maximum(np.maximum(ring, -hole), eye + 0.8)
    yield "lens", ellipsoid(x, y, z, (gx + dx, lens_y, gz + dz), (4.6, 2.0, 4.6))
