"""Skull, skin, airway, fat, muscle, vessels and teeth, built around given organs.

Enters: an `Anatomy` and points of one plane in head coordinates (mm). Leaves: the
tissue at each point. The head above the jaws is that of the orbit phantom, with
skin and skull following the given brain, jaw and glands; mouth and neck are added
here, and the given organs are painted last. A later body covers an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from acinus.cohort.phantom.anatomy import Body, body, intracranial, outline
from acinus.cohort.phantom.head_bodies import NASAL_REACH_MM, large_bodies, nasal_bodies
from acinus.cohort.phantom.headneck.contrast import CODES
from acinus.cohort.phantom.headneck.neck import mouth_bodies, neck_bodies, neck_skin
from acinus.cohort.phantom.headneck.organs import FAR_MM, Anatomy, Organ
from acinus.cohort.phantom.orbit_bodies import ORBIT_REACH_MM, orbit_bodies
from acinus.cohort.phantom.painting import fold_noise
from acinus.cohort.phantom.shapes import join
from acinus.types import Array

COVER_MM = {"mandible": 9.0, "parotid": 6.0, "submandibular": 9.0}
"""Soft tissue between an organ and the skin, mm."""
SKULL_MM = 7.0
"""Skull over the brain, mm."""
Points = tuple[Array, Array, Array]
"""(right, anterior, superior), mm."""


def paint_plane(anatomy: Anatomy, x: Array, y: Array, z: Array) -> Array:
    """Tissue codes of points.

    Args:
        anatomy: The head and neck.
        x, y, z: (R, C) points of one plane, mm, float32.

    Returns:
        (R, C) uint8, values of `CODES`.
    """
    tissues = np.zeros(x.shape, np.uint8)
    brain = brain_distance(anatomy, x, y, z)
    skin = skin_distance(anatomy, x, y, z, brain)
    inside = skin < 12.0
    if not inside.any():
        return tissues
    rows, columns = (np.flatnonzero(inside.any(axis=a)) for a in (1, 0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    x, y, z, brain, skin = (a[window] for a in (x, y, z, brain, skin))
    view = tissues[window]
    noise = fold_noise(anatomy.head, x, y, z)
    for item in large_bodies(anatomy.head, x, y, z, noise, skin=skin, brain=brain):
        if item.tissue != "parotid":
            _cover(view, item)
    if z.min() < 0.0:
        for item in mouth_bodies(anatomy, x, y, z, skin):
            _cover(view, item)
        for item in neck_bodies(anatomy, x, y, z, np.maximum(skin, 5.0 - brain), noise[0]):
            _cover(view, item)
    points = (x, y, z)
    _paint_window(view, NASAL_REACH_MM, 1, points, lambda p: nasal_bodies(anatomy.head, *p))
    for side in (1, -1):
        _paint_window(view, ORBIT_REACH_MM, side, points, partial(_orbit, anatomy, side))
    for item in _organ_bodies(anatomy, x, y, z):
        _cover(view, item)
    return tissues


def brain_distance(anatomy: Anatomy, x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the inside of the skull, mm; beyond `FAR_MM` the head's own."""
    own = intracranial(anatomy.head, x, y, z)
    if "brain" not in anatomy.organs:
        return own
    given = anatomy.organs["brain"](x, y, z)
    return np.where(given < FAR_MM, given - np.float32(0.5), np.maximum(own, 25.0))


def skin_distance(anatomy: Anatomy, x: Array, y: Array, z: Array, brain: Array) -> Array:
    """Signed distance to the skin, mm: the head's outline, pushed out by what lies below it."""
    skin = outline(anatomy.head, x, y, z)
    skin = join(skin, brain - np.float32(SKULL_MM + anatomy.head.scalp_mm), 6.0)
    for name, cover_mm in COVER_MM.items():
        for distance in _named(anatomy, name):
            near = distance(x, y, z)
            skin = join(skin, near - np.float32(cover_mm), 20.0)
    skin = join(skin, neck_skin(anatomy, x, y, z), 14.0)
    return np.asarray(skin, np.float32)


def _named(anatomy: Anatomy, name: str) -> list[Organ]:
    glands = anatomy.glands["reference"]
    found = [d for n, d in glands.items() if n.startswith(name)]
    return found + ([anatomy.organs[name]] if name in anatomy.organs else [])


def _cover(tissues: Array, item: Body) -> None:
    distance = item.combine(*item.fields) if item.combine else item.fields[0]
    tissues[distance < 0] = CODES[item.tissue]


def _paint_window(
    view: Array,
    reach: Sequence[tuple[float, float]],
    side: int,
    points: Points,
    bodies: Callable[[Points], Iterator[Body]],
) -> None:
    """Paint bodies that lie in a box, given for the right side and mirrored for the left."""
    x, y, z = points
    inside = np.ones(x.shape, bool)
    for low_high, axis, sign in zip(reach, (x, y, z), (side, 1, 1), strict=True):
        values = axis * np.float32(sign)
        inside &= (values > low_high[0]) & (values < low_high[1])
    if not inside.any():
        return
    rows, columns = (np.flatnonzero(inside.any(axis=a)) for a in (1, 0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    part = view[window]
    for item in bodies((x[window], y[window], z[window])):
        _cover(part, item)


def _orbit(anatomy: Anatomy, side: int, points: Points) -> Iterator[Body]:
    """One orbit of the orbit phantom around the given globe, gland and nerve."""
    x, y, z = points
    name = "right" if side > 0 else "left"
    glands = anatomy.glands["reference"]
    gland = glands.get(f"lacrimal_{name}")
    gland_mm = np.full_like(x, FAR_MM) if gland is None else gland(x, y, z)
    nerve = anatomy.organs.get(f"nerve_{name}")
    own_nerve = ("dura", "csf", "optic_nerve")
    for item in orbit_bodies(anatomy.head, side, x, y, z, gland_mm):
        if item.tissue == "gland" or (nerve is not None and item.tissue in own_nerve):
            continue
        if item.tissue == "sclera" and nerve is not None:
            distance = nerve(x, y, z)
            yield body("csf", distance - 0.8)
            yield body("optic_nerve", distance)
        yield item


def _organ_bodies(anatomy: Anatomy, x: Array, y: Array, z: Array) -> Iterator[Body]:
    """The given organs, in the order of painting."""
    organs = anatomy.organs
    if "mandible" in organs:
        jaw = organs["mandible"](x, y, z)
        yield body("cortical_bone", jaw)
        yield body("marrow", jaw + 2.2)
    if "brainstem" in organs:
        yield body("white_matter", organs["brainstem"](x, y, z) + 0.8)
    if "canal" in organs:
        yield body("csf", organs["canal"](x, y, z))
    if "cord" in organs:
        yield body("cord", organs["cord"](x, y, z))
    for name, distance in anatomy.glands["reference"].items():
        kind = name.rsplit("_", 1)[0]
        yield body({"lacrimal": "gland"}.get(kind, kind), distance(x, y, z))
