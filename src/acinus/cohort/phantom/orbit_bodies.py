"""The orbit: fat, globe, lens, optic nerve, muscles, lids, vessels and the gland.

Enters: the head and points near one orbit, in head coordinates (mm). Leaves:
bodies in the order of painting. The bony wall is widened around the gland,
which makes the lacrimal fossa.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acinus.cohort.phantom.anatomy import Body, Head, body
from acinus.cohort.phantom.glands import Gland
from acinus.cohort.phantom.shapes import Triple, capsule, ellipsoid, join, sphere
from acinus.types import Array

ORBIT_REACH_MM = ((4.0, 58.0), (-54.0, 22.0), (-24.0, 27.0))
"""Box around the right orbit: (right, anterior, superior) mm; mirrored for the left."""

APEX = (12.5, -46.0, -3.0)
"""Apex of the right orbit, mm."""


GLAND_REACH_MM = 22.0
"""Half edge of the box outside of which no part of a gland lies."""
FAR_MM = 20.0


def orbit_bodies(
    head: Head, side: int, x: Array, y: Array, z: Array, gland_mm: Array | None = None
) -> Iterator[Body]:
    """Bodies of the right (1) or left (-1) orbit, in the order of painting.

    Args:
        head: The patient.
        side: 1 for right, -1 for left.
        x, y, z: Points of one plane in head coordinates, mm.
        gland_mm: Signed distance to the lacrimal gland at the points; None: the head's own.
    """
    if gland_mm is None:
        gland_mm = _near_distance(head.glands[0 if side > 0 else 1], x, y, z)
    x = x * np.float32(side)
    gx, gy, gz = head.globe(side)
    globe = (abs(gx), gy, gz)
    from_globe = sphere(x, y, z, globe, head.globe_radius_mm)
    cone = join(orbit_wall(head, x, y, z), gland_mm - 0.7, 3.0)
    septum = (x - 33.0) * 0.42 + (y - gy - 4.0) * 0.9 + 0.006 * z * z
    wall = 0.8 + 1.2 / (1.0 + np.exp(np.clip((26.0 - x) / 3.0, -30, 30)))
    yield body("cortical_bone", np.maximum(cone - wall, septum + 2.5))
    yield body("orbital_fat", np.maximum(cone, septum))
    yield body("lid", np.maximum(from_globe - 2.7, np.maximum(-septum - 1.0, np.abs(z) - 13.5)))
    yield from _nerve(head, x, y, z, globe)
    yield from _eye_muscles(head, x, y, z, globe)
    yield from _vessels(x, y, z, globe)
    yield body("gland", gland_mm)
    yield from _globe(head, x, y, z, globe, from_globe)


def _near_distance(gland: Gland, x: Array, y: Array, z: Array) -> Array:
    """Distance to the gland in the box around it, and `FAR_MM` elsewhere: it is costly.

    Args:
        gland: The gland.
        x, y, z: (R, C) points of one plane, whose rows and columns run about along y and x.
    """
    cx, cy, _ = gland.centre
    near = (np.abs(x - cx) < GLAND_REACH_MM) & (np.abs(y - cy) < GLAND_REACH_MM)
    distance = np.full(x.shape, FAR_MM, np.float32)
    if near.any():
        spans = [np.flatnonzero(near.any(axis=axis)) for axis in (1, 0)]
        box = tuple(slice(span[0], span[-1] + 1) for span in spans)
        distance[box] = gland.distance_mm(x[box], y[box], z[box])
    return distance


def orbit_wall(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the inside of the right bony orbit, without the fossa, mm."""
    base = (head.globe_x_mm + 1.2, 3.0, 0.0)
    axis = np.array([b - a for a, b in zip(APEX, base, strict=True)], dtype=np.float32)
    length = float(np.linalg.norm(axis))
    axis /= np.float32(length)
    dx, dy, dz = x - APEX[0], y - APEX[1], z - APEX[2]
    along = dx * axis[0] + dy * axis[1] + dz * axis[2]
    t = np.clip(along * np.float32(1.0 / length), 0.0, 1.05)
    grown = t ** np.float32(0.68)
    across = (dx * axis[1] - dy * axis[0]) * np.float32(1.0 / np.hypot(axis[0], axis[1]))
    vertical = dz - along * axis[2]
    half_across = 2.5 + 18.2 * grown
    half_up = 2.5 + 15.3 * grown
    level = np.sqrt((across / half_across) ** 2 + (vertical / half_up) ** 2)
    return np.asarray(np.maximum((level - 1.0) * half_up, -along - 1.0))


def _nerve(head: Head, x: Array, y: Array, z: Array, globe: Triple) -> Iterator[Body]:
    gx, gy, gz = globe
    back = gy - head.globe_radius_mm
    t = np.clip((y - APEX[1] - 1.0) / (back - APEX[1] - 1.0), 0.0, 1.0)
    wave = np.sin(np.float32(np.pi) * t)
    nx = APEX[0] + (gx - 2.5 - APEX[0]) * t + 36.0 * head.warp[0][0] * wave
    nz = APEX[2] + (gz - 0.3 - APEX[2]) * t + 30.0 * head.warp[2][0] * wave
    off = np.sqrt(((x - nx) * 0.92) ** 2 + (z - nz) ** 2)
    ends = np.maximum(y - back - 1.0, APEX[1] - 12.0 - y)
    yield body("dura", np.maximum(off - 3.0, ends))
    yield body("csf", np.maximum(off - 2.65, ends))
    yield body("optic_nerve", np.maximum(off - 1.85, ends))


def _eye_muscles(head: Head, x: Array, y: Array, z: Array, globe: Triple) -> Iterator[Body]:
    """The four recti, the levator and the superior oblique, wrapped around the globe."""
    gx, gy, gz = globe
    front = gy + 4.0
    t = np.clip((y - APEX[1]) / (front - APEX[1]), 0.0, 1.0)
    belly = head.muscle * np.clip(1.95 * np.sqrt(np.maximum(t * (1.04 - t), 0.0)) - 0.05, 0.25, 1.0)
    ends = np.maximum(y - front, APEX[1] - 1.0 - y)
    reach = (head.globe_radius_mm + 1.5) ** 2
    wrap = np.sqrt(np.maximum(reach - (y - gy) ** 2, 0.0))
    is_beside = wrap > 0

    def strap(cx: Array, cz: Array, half_x: Array, half_z: Array) -> Body:
        level = np.sqrt(((x - cx) / half_x) ** 2 + ((z - cz) / half_z) ** 2)
        return body("eye_muscle", np.maximum((level - 1.0) * np.minimum(half_x, half_z), ends))

    middle_z = APEX[2] + (gz - APEX[2]) * t
    lateral = APEX[0] + 2.5 + 44.0 * t - 14.5 * t * t
    lateral = np.where(is_beside, np.maximum(lateral, gx + wrap), lateral)
    medial = APEX[0] - 0.5 + 6.5 * t * t
    medial = np.where(is_beside, np.minimum(medial, gx - wrap), medial)
    straight = APEX[0] + 0.5 + (gx - 0.5 - APEX[0]) * t
    above = APEX[2] + 4.0 + 12.5 * t - 1.5 * t * t
    above = np.where(is_beside, np.maximum(above, gz + wrap), above)
    below = APEX[2] - 4.0 - 8.0 * t
    below = np.where(is_beside, np.minimum(below, gz - wrap), below)
    thin = 2.1 * belly
    tall = 4.6 * np.clip(belly, 0.5, 1.0)
    yield strap(medial, middle_z, thin * 1.1, tall)
    yield strap(lateral, middle_z, thin * 1.1, tall)
    yield strap(straight, above, tall, thin * 0.9)
    yield strap(straight, below, tall, thin)
    yield strap(straight, above + 3.2, tall * 1.1, 0.9 + 0.0 * t)
    oblique = capsule(x, y, z, (APEX[0] + 1, -42.0, 3.0), (gx - 14.5, -3.0, 11.5), (1.4, 2.0))
    yield body("eye_muscle", oblique)


def _vessels(x: Array, y: Array, z: Array, globe: Triple) -> Iterator[Body]:
    """Superior ophthalmic vein and a lacrimal twig."""
    gx, gy, _ = globe
    bend = (gx - 6.0, -24.0, 8.5)
    vein = capsule(x, y, z, (gx - 11.0, gy - 2.0, 9.5), bend, (0.9, 1.2))
    vein = join(vein, capsule(x, y, z, bend, (15.0, -43.0, 1.0), (1.2, 1.3)), 1.0)
    yield body("venous_blood", vein)
    yield body(
        "venous_blood", capsule(x, y, z, (16.0, -40.0, 2.0), (gx + 9.0, -14.0, 8.0), (0.5, 0.45))
    )


def _globe(
    head: Head, x: Array, y: Array, z: Array, globe: Triple, from_globe: Array
) -> Iterator[Body]:
    """Sclera, choroid, vitreous and aqueous, ciliary ring, lens."""
    gx, gy, gz = globe
    radius = head.globe_radius_mm
    cornea = sphere(x, y, z, (gx, gy + radius - 7.4, gz), 8.0)
    eye = join(from_globe, cornea, 1.5)
    yield body("sclera", eye)
    yield body("choroid", np.maximum(eye + 0.9, y - gy - 6.0))
    yield body("vitreous", np.where(y > gy + 6.0, eye + 0.9, eye + 1.45))
    dx, dz = head.gaze
    lens_y = gy + 0.64 * radius
    ring = ellipsoid(x, y, z, (gx + dx, lens_y - 0.2, gz + dz), (6.6, 1.1, 6.6))
    hole = ellipsoid(x, y, z, (gx + dx, lens_y, gz + dz), (5.0, 2.4, 5.0))
    yield body("choroid", np.maximum(np.maximum(ring, -hole), eye + 0.8))
    yield body("lens", ellipsoid(x, y, z, (gx + dx, lens_y, gz + dz), (4.6, 2.0, 4.6)))
