"""Mouth and neck: what the orbit phantom's head does not have.

Enters: an `Anatomy` and points in head coordinates (mm). Leaves: bodies in the
order of painting. The neck hangs on the spinal canal, the mouth on the chin and
on the height of the teeth, so that both follow a real patient's posture. Sizes
are of textbooks, rounded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acinus.cohort.phantom.anatomy import Body, body
from acinus.cohort.phantom.headneck.organs import Anatomy
from acinus.cohort.phantom.shapes import box, capsule, ellipsoid, join, sphere
from acinus.types import Array

NECK_TOP_MM = -45.0
"""Height at which the neck begins, mm."""
TEETH = 7
"""Teeth of one side of a jaw."""
LARYNX_MM = 45.0
"""From the chin's lower edge down to the larynx, mm."""


def beside_canal(anatomy: Anatomy, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """Points relative to the spinal canal's middle: (right, anterior), mm."""
    right, anterior = anatomy.canal(z)
    return x - right, y - anterior


def _ellipse(u: Array, v: Array, centre: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Signed distance to an upright cylinder with an elliptic cross-section."""
    level = np.sqrt(((u - centre[0]) / radii[0]) ** 2 + ((v - centre[1]) / radii[1]) ** 2)
    return np.asarray((level - 1.0) * min(radii))


def neck_skin(anatomy: Anatomy, x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the neck's skin, mm."""
    u, v = beside_canal(anatomy, x, y, z)
    w = anatomy.head.width
    fat = anatomy.head.scalp_mm - 5.5
    tube = _ellipse(u, v, (0.0, 8.0), ((56.0 + 2 * fat) * w, 60.0 + 2 * fat))
    return np.maximum(tube, z - NECK_TOP_MM)


def mouth_bodies(anatomy: Anatomy, x: Array, y: Array, z: Array, skin: Array) -> Iterator[Body]:
    """Lips, chewing muscles, tongue, palate and teeth."""
    cx, cy, cz = anatomy.chin
    tz = anatomy.teeth_z
    x = x - cx
    side = np.abs(x)
    under = skin + 4.5
    if "mandible" in anatomy.organs:
        around = anatomy.organs["mandible"](x + cx, y, z)
        ramus = np.maximum(around - 10.0, np.maximum(y - cy + 42.0, cz + 14.0 - z))
        yield body("muscle", np.maximum(ramus, skin + 7.0))
        yield body("fat", np.maximum(np.maximum(around - 11.0, cy - 42.0 - y), under))
    lips = ellipsoid(x, y, z, (0, cy - 2, tz + 1), (27, 13, 15))
    yield body("muscle", np.maximum(lips, under))
    floor = ellipsoid(x, y, z, (0, cy - 34, cz + 8), (17, 32, 10))
    yield body("muscle", np.maximum(floor, under))
    middle = (tz + cz) / 2
    tongue = ellipsoid(x, y, z, (0, cy - 44, middle + 8), (23, 33, (tz - cz) / 2 + 8))
    yield body("muscle", np.maximum(tongue, under))
    lines = np.abs(np.sin(side * 0.5 + 0.1 * z)) * 3.0 - 0.5
    yield body("fat", np.maximum(np.maximum(tongue + 5.0, lines), 4.0 - side))
    palate = box(x, y, z, (0, cy - 32, tz + 14), (21, 26, 1.6), 1.0)
    yield body("cortical_bone", palate)
    gap = box(x, y, z, (0, cy - 42, tz + 9.5), (15, 22, 1.4), 1.2)
    yield body("air", np.maximum(gap, -(tongue + 1.5)))
    yield from _teeth(x, y, z, cy, tz)


def _teeth(x: Array, y: Array, z: Array, cy: float, tz: float) -> Iterator[Body]:
    """Two arches in alveolar bone; molars may carry fillings."""
    if z.min() > tz + 25 or z.max() < tz - 25:
        return
    side = np.abs(x)
    angles = np.linspace(0.08, 1.18, TEETH)
    fields = []
    for angle in angles:
        px, py = 25.0 * np.sin(angle) + 0.5, cy - 9.0 - 44.0 * (1.0 - np.cos(angle)) * 1.15
        wide = 2.9 + 1.3 * (angle > 0.6)
        upper = capsule(side, y, z, (px, py, tz + 1.2 + wide), (px, py, tz + 17), (wide, 1.6))
        lower = capsule(side, y, z, (px, py, tz - 1.2 - wide), (px, py, tz - 17), (wide, 1.6))
        fields.append((np.minimum(upper, lower), angle, px, py))
    arch = fields[0][0]
    for field, *_ in fields[1:]:
        arch = join(arch, field, 2.0)
    yield body("marrow", np.maximum(arch - 2.8, 10.0 - np.abs(z - tz)))
    for field, *_ in fields:
        yield body("tooth", field)
    for _, angle, px, py in fields:
        if angle > 0.75:
            yield body("filling", sphere(side, y, z, (px, py, tz + 2.6), 2.0))
            yield body("filling", sphere(side, y, z, (px, py, tz - 3.4), 1.8))


def neck_bodies(
    anatomy: Anatomy, x: Array, y: Array, z: Array, skin: Array, noise: Array
) -> Iterator[Body]:
    """Muscles, vertebrae, airway, gullet, thyroid and great vessels.

    Args:
        anatomy: The head and neck.
        x, y, z: Points of one plane, mm.
        skin: Signed distance to the skin or to the skull, mm; bodies stay inside.
        noise: A smooth random field with sd 1, which bends the seams between muscles.
    """
    if z.min() > NECK_TOP_MM:
        return
    u, v = beside_canal(anatomy, x, y, z)
    side = np.abs(u)
    below = z - NECK_TOP_MM
    under = np.maximum(skin + 4.0, below)
    back = _ellipse(u, v, (0.0, -27.0), (42.0, 25.0))
    yield body("muscle", np.maximum(back, under))
    seams = (
        np.abs(
            np.sin(np.hypot(u, v + 6.0) * 0.35 + 0.8 * noise + 0.9 * np.sin(3 * np.arctan2(u, v)))
        )
        * 2.2
    )
    seams = np.minimum(seams - 0.35, side - 0.7)
    yield body("fat", np.maximum(np.maximum(back + 2.5, seams), under))
    deep = np.minimum(
        _ellipse(side, v, (30.0, 2.0), (11.0, 15.0)), _ellipse(side, v, (8.0, 27.0), (6.5, 4.5))
    )
    yield body("muscle", np.maximum(deep, under))
    _, anterior = anatomy.canal(np.array([-55.0, -190.0]))
    strap = capsule(
        side,
        y,
        z,
        (55.0, float(anterior[0]) - 2.0, -45.0),
        (13.0, float(anterior[1]) + 48.0, -200.0),
        (9.0, 10.0),
    )
    yield body("muscle", np.maximum(strap, under))
    yield from _vertebrae(u, v, z, side, below)
    yield from _vessels(v, z, side, under)
    yield from _throat(anatomy, x, y, z, u, v, under)


def _vertebrae(u: Array, v: Array, z: Array, side: Array, below: Array) -> Iterator[Body]:
    phase = np.mod(z, 17.0)
    disc = np.maximum(4.0 - phase, -1.0)
    trunk = _ellipse(u, v, (0.0, 16.5), (12.5, 8.5))
    yield body("cartilage", np.maximum(trunk + 0.8, below))
    vertebra = np.maximum(trunk, disc)
    arch = np.maximum(
        _ellipse(u, v, (0.0, 1.0), (15.0, 13.0)), -_ellipse(u, v, (0.0, 0.0), (11.0, 9.5))
    )
    arch = np.maximum(arch, 3.0 - phase)
    spine = np.maximum(np.maximum(side - 2.6, np.abs(v + 22.0) - 11.0), np.abs(phase - 9.0) - 3.5)
    wings = np.maximum(np.maximum(side - 25.0, np.abs(v - 7.0) - 4.5), np.abs(phase - 9.0) - 4.5)
    wings = np.maximum(wings, 11.0 - side)
    bone = np.minimum(np.minimum(vertebra, arch), np.minimum(spine, wings))
    yield body("cortical_bone", np.maximum(bone, below))
    yield body("marrow", np.maximum(bone + 1.3, below))
    yield body("csf", np.maximum(_ellipse(u, v, (0.0, 0.0), (10.0, 8.0)), below))
    yield body("cord", np.maximum(_ellipse(u, v, (0.0, 0.0), (6.0, 4.2)), below))


def _vessels(v: Array, z: Array, side: Array, under: Array) -> Iterator[Body]:
    carotid = np.hypot(side - 25.0, v - 25.0) - 3.6
    jugular = _ellipse(side, v, (33.0, 20.0), (6.5, 5.0))
    vertebral = np.hypot(side - 16.0, v - 8.0) - 1.8
    yield body("venous_blood", np.maximum(jugular, under))
    yield body("artery", np.maximum(np.minimum(carotid, vertebral), under))
    node = np.hypot(np.hypot(side - 38.0, v - 12.0), np.mod(z, 26.0) - 13.0) - 3.2
    yield body("node", np.maximum(node, under))


def _throat(
    anatomy: Anatomy, x: Array, y: Array, z: Array, u: Array, v: Array, under: Array
) -> Iterator[Body]:
    """Pharynx, larynx and trachea as one tube, with walls; gullet and thyroid."""
    larynx_z = min(anatomy.chin[2], anatomy.teeth_z - 25.0) - LARYNX_MM
    front = _along(z, (larynx_z - 30.0, larynx_z + 15.0, -60.0), (40.0, 35.0, 33.0))
    stations = (larynx_z - 12.0, larynx_z, larynx_z + 25.0, -50.0)
    wide = _along(z, stations, (8.5, 4.0, 12.0, 12.0))
    deep = _along(z, stations, (8.5, 9.0, 5.5, 6.0))
    tube = (np.sqrt((u / wide) ** 2 + ((v - front) / deep) ** 2) - 1.0) * np.minimum(wide, deep)
    yield body("muscle", np.maximum(tube - 4.0, under))
    level = np.abs(z - larynx_z) - 16.0
    yield body("cartilage", np.maximum(np.maximum(np.abs(tube - 3.2) - 1.2, level), under))
    yield body("mucosa", np.maximum(tube - 1.5, under))
    gullet = _ellipse(u, v, (-3.0, 27.5), (7.0, 4.5))
    yield body("muscle", np.maximum(np.maximum(gullet, z - larynx_z + 12.0), under))
    lobes = ellipsoid(np.abs(u), v, z, (17.0, 38.0, larynx_z - 30.0), (8.0, 9.0, 22.0))
    yield body("thyroid", np.maximum(lobes, under))
    yield body("air", np.maximum(tube, under))


def _along(z: Array, stations: tuple[float, ...], values: tuple[float, ...]) -> Array:
    """Values at heights, linear between stations from inferior to superior."""
    return np.interp(z, stations, values).astype(np.float32)
