"""Hollow organs: small bowel, colon, stomach, and the duodenum around the pancreas' head.

Enters: a trunk. Leaves: bodies in the order of painting: wall, content, gas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from acinus.cohort.phantom.shapes import Triple, triple
from acinus.cohort.phantom.trunk import Trunk
from acinus.cohort.phantom.trunk_parts import Distance, TrunkBody, cavity_mm, rod, shifted
from acinus.types import Array


def _hollow(
    points: Sequence[Triple],
    radii: Sequence[float],
    *,
    wall_mm: float,
    content: str,
    gas: float,
    ripple_mm: float = 0.0,
) -> Iterator[TrunkBody]:
    """A hollow organ with gas where it is highest, in someone who lies on the back."""
    yield _rippled(rod("bowel_wall", points, radii), ripple_mm)
    inner = [max(r - wall_mm, 0.5) for r in radii]
    lumen = _rippled(rod(content, points, inner), ripple_mm)
    yield lumen
    if gas <= 0:
        return
    top = max(p[1] + r for p, r in zip(points, inner, strict=True))
    span = top - min(p[1] for p in points) + max(inner) * 0.6
    level = top - gas * span

    def pocket(x: Array, y: Array, z: Array) -> Array:
        return np.maximum(lumen.distance_mm(x, y, z), level - y)

    yield lumen._replace(tissue="gas", distance_mm=pocket)


def _rippled(body: TrunkBody, depth_mm: float) -> TrunkBody:
    """A body with folds, as of the colon."""
    if depth_mm <= 0:
        return body

    def folded(x: Array, y: Array, z: Array) -> Array:
        folds = np.sin(0.24 * x + 0.1 * z) * np.sin(0.21 * z + 0.12 * y)
        return body.distance_mm(x, y, z) + np.float32(depth_mm) * folds

    return body._replace(distance_mm=folded)


def bowel_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Small bowel and colon; neither leaves the cavity."""
    for part in _loops_and_colon(trunk):
        yield part._replace(distance_mm=_within_cavity(trunk, part.distance_mm))


def _within_cavity(trunk: Trunk, distance: Distance) -> Distance:
    return lambda x, y, z: np.maximum(distance(x, y, z), cavity_mm(trunk, x, y, z) + 1.5)


def _loops_and_colon(trunk: Trunk) -> Iterator[TrunkBody]:
    for k, (start, end, radius) in enumerate(trunk.loops):
        content = "chyme" if k % 3 else "bowel_wall"
        yield from _hollow(
            [start, end],
            [radius, radius * 0.9],
            wall_mm=3.0,
            content=content,
            gas=0.35 if k % 5 == 4 else 0.0,
        )
    shift, size = trunk.moved["colon"]
    parts = (
        ([(96, -22, -120), (98, -12, -70), (92, 14, -50)], [21, 20, 19]),
        ([(92, 14, -50), (60, 58, -60), (8, 70, -66), (-50, 64, -50)], [19, 17, 16, 16]),
        ([(-50, 64, -50), (-86, 36, -14), (-104, 4, 2)], [16, 16, 15]),
        ([(-104, 4, 2), (-106, -20, -40), (-104, -22, -120)], [14, 13, 13]),
    )
    for k, (points, radii) in enumerate(parts):
        yield from _hollow(
            [shifted(p, shift) for p in points],
            [r * size for r in radii],
            wall_mm=2.5,
            content="stool",
            gas=trunk.gas[1] * (1.0, 0.9, 0.8, 0.4)[k],
            ripple_mm=3.5,
        )


def stomach_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Stomach from fundus to pylorus."""
    shift, size = trunk.moved["stomach"]
    fill = size * trunk.stomach_fill
    points = [(-58, -18, 76), (-66, 14, 58), (-60, 42, 34), (-34, 56, 14), (2, 54, 6), (25, 42, 6)]
    radii = [30.0, 31.0, 27.0, 21.0, 15.0, 9.0]
    yield from _hollow(
        [shifted(p, shift) for p in points],
        [r * fill for r in radii],
        wall_mm=4.0,
        content="chyme",
        gas=trunk.gas[0] * 0.6,
        ripple_mm=1.5,
    )


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
    yield rod("bowel_wall", moved, [r * size for r in radii])
    yield rod(content, moved, [max(r * size - 4.0, 2.0) for r in radii])
    if trunk.gas[0] > 0.55:
        yield rod("gas", moved[1:3], [4.5, 3.0])
