"""Hollow organs: small bowel, colon, stomach, and the duodenum around the pancreas' head.

Enters: a trunk. Leaves: bodies in the order of painting: wall, content, gas.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acinus.cohort.phantom.pancreas import TALLNESS
from acinus.cohort.phantom.shapes import Triple, triple
from acinus.cohort.phantom.trunk import Trunk
from acinus.cohort.phantom.trunk_parts import TrunkBody, cavity_mm, rod, shifted
from acinus.types import Array

COLON: tuple[tuple[tuple[Triple, ...], tuple[float, ...], float], ...] = (
    (((96, -22, -120), (98, -12, -70), (92, 14, -50)), (21, 20, 19), 1.0),
    (((92, 14, -50), (60, 58, -60), (8, 70, -66), (-50, 64, -50)), (19, 17, 16, 16), 0.9),
    (((-50, 64, -50), (-86, 36, -14), (-104, 4, 2)), (16, 16, 15), 0.8),
    (((-104, 4, 2), (-106, -20, -40), (-104, -22, -120)), (14, 13, 13), 0.4),
)
"""Ascending, transverse (two parts) and descending: course and radii, mm; relative gas."""
STOMACH: tuple[tuple[Triple, float], ...] = (
    ((-58, -18, 76), 30.0),
    ((-66, 14, 58), 31.0),
    ((-60, 42, 34), 27.0),
    ((-34, 56, 14), 21.0),
    ((2, 54, 6), 15.0),
    ((25, 42, 6), 9.0),
)
"""Course and radius from fundus to pylorus, mm."""


def _hollow(organ: TrunkBody, *, wall_mm: float, content: str, gas: float) -> Iterator[TrunkBody]:
    """A hollow organ with gas where it is highest, in someone who lies on the back.

    Args:
        organ: Its outside.
        wall_mm: Thickness of its wall.
        content: Tissue that fills it.
        gas: Share of its depth, from the front, that is gas.
    """
    yield organ._replace(inside=((content, wall_mm),))
    if gas <= 0:
        return
    front, back = organ.high[1] - wall_mm, organ.low[1] + wall_mm
    level = front - gas * (front - back)

    def pocket(x: Array, y: Array, z: Array) -> Array:
        return np.maximum(organ.distance_mm(x, y, z) + wall_mm, level - y)

    yield organ._replace(tissue="gas", distance_mm=pocket)


def _rippled(body: TrunkBody, depth_mm: float) -> TrunkBody:
    """A body with folds, as of the colon."""

    def folded(x: Array, y: Array, z: Array) -> Array:
        folds = np.sin(0.24 * x + 0.1 * z) * np.sin(0.21 * z + 0.12 * y)
        return body.distance_mm(x, y, z) + np.float32(depth_mm) * folds

    return body._replace(distance_mm=folded)


def _within_cavity(trunk: Trunk, body: TrunkBody) -> TrunkBody:
    """A body that does not leave the cavity."""

    def cut(x: Array, y: Array, z: Array) -> Array:
        return np.maximum(body.distance_mm(x, y, z), cavity_mm(trunk, x, y, z) + 1.5)

    return body._replace(distance_mm=cut)


def bowel_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Small bowel, some of it collapsed, and colon."""
    for k, (start, end, radius) in enumerate(trunk.loops):
        loop = _within_cavity(trunk, rod("bowel_wall", [start, end], [radius, radius * 0.9]))
        content = "chyme" if k % 3 else "bowel_wall"
        yield from _hollow(loop, wall_mm=3.0, content=content, gas=0.35 if k % 5 == 4 else 0.0)
    shift, size = trunk.moved["colon"]
    for points, radii, gas in COLON:
        at, thick = [shifted(p, shift) for p in points], [r * size for r in radii]
        part = _within_cavity(trunk, _rippled(rod("bowel_wall", at, thick), 3.5))
        yield from _hollow(part, wall_mm=2.5, content="stool", gas=gas * trunk.gas[1])


def stomach_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Stomach from fundus to pylorus."""
    shift, size = trunk.moved["stomach"]
    fill = size * trunk.stomach_fill
    radii = [radius * fill for _, radius in STOMACH]
    points = [
        _cleared(trunk, shifted(point, shift), radius)
        for (point, _), radius in zip(STOMACH, radii, strict=True)
    ]
    organ = _rippled(rod("bowel_wall", points, radii), 1.5)
    yield from _hollow(organ, wall_mm=4.0, content="chyme", gas=trunk.gas[0] * 0.6)


def _cleared(trunk: Trunk, point: Triple, radius_mm: float) -> Triple:
    """A point moved away from the pancreas until a ball around it no longer meets it."""
    line, thick = trunk.pancreas.line()
    away = np.asarray(point) - line
    distance = np.linalg.norm(away, axis=1)
    lacking = radius_mm + TALLNESS * thick + 2.0 - distance
    k = int(np.argmax(lacking))
    return triple(np.asarray(point) + away[k] / distance[k] * max(float(lacking[k]), 0.0))


def duodenum_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Around the head of the pancreas, and as bright as it: easily taken for it."""
    head = np.asarray(trunk.pancreas.course[1]) - (33.0, 7.0, -13.0)
    shift, size = trunk.moved["duodenum"]
    move = shifted(triple(head), triple(np.asarray(shift) * 0.5))
    around = [(52, 24, 6), (57, 9, -8), (56, 3, -30), (46, -4, -50), (16, -8, -57), (-20, -4, -50)]
    points = [(25.0, 42.0, 6.0), (40.0, 36.0, 10.0), *around, (-38.0, 14.0, -40.0)]
    moved = [p if k == 0 else shifted(p, move) for k, p in enumerate(points)]
    radii = [8.0, 11.0, 11.0, 11.5, 11.5, 11.0, 9.5, 9.5, 10.0]
    content = "chyme" if trunk.gas[0] > 0.3 else "bowel_wall"
    yield rod("bowel_wall", moved, [r * size for r in radii], (content, 4.0))
    if trunk.gas[0] > 0.55:
        yield rod("gas", moved[1:3], [4.5, 3.0])
