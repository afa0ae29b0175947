"""What a trunk is painted from: bodies in order, a later one covers an earlier one.

Enters: a trunk. Leaves: `TrunkBody`s, each with the box that it lies in, so that it is
evaluated only there. Sizes and places are those of textbooks of sectional anatomy for
an adult lying on the back, rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from acinus.cohort.phantom.shapes import (
    Triple,
    ellipsoid,
    join,
    superellipse,
    tube,
)
from acinus.cohort.phantom.trunk import Trunk
from acinus.types import Array

Distance = Callable[[Array, Array, Array], Array]

FAR = 1000.0
VERTEBRA_MM = 36.0
"""Height of a vertebra with its disc."""
RIB_MM = 27.0
"""Distance of two ribs along the trunk."""


class TrunkBody(NamedTuple):
    """One body: a tissue within a surface.

    Attributes:
        tissue: Name in `ORGANS`.
        distance_mm: Signed distance for points of the mean anatomy, negative inside.
        low, high: Box that holds it, mm of the mean anatomy.
    """

    tissue: str
    distance_mm: Distance
    low: Triple
    high: Triple


def trunk_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """All bodies in the order of painting."""
    yield from _wall(trunk)
    yield from _spine()
    yield from _deep_muscles(trunk)
    yield from _kidneys(trunk)
    yield from _mesentery(trunk)
    yield from _bowel(trunk)
    yield from _liver(trunk)
    yield from _spleen(trunk)
    yield from _stomach(trunk)
    yield from _fat_around_pancreas(trunk)
    yield from _vessels(trunk)
    yield from _duodenum(trunk)
    yield from _pancreas(trunk)


# ------------------------------------------------------------------ wall


def cavity_mm(trunk: Trunk, x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the inside of the muscles."""
    front = 88.0 * trunk.visceral
    narrow = 1.0 - 0.0006 * np.maximum(-z - 20.0, 0.0)
    return superellipse(x / narrow, y - (front - 76.0) / 2, (128.0, (front + 76.0) / 2), 2.5)


def _outline(trunk: Trunk) -> tuple[float, float, float]:
    """Half width, half depth and the middle's place (anterior) of the skin, mean anatomy, mm."""
    side, front, back = trunk.fat_mm
    forward = 88.0 * trunk.visceral + 9.0 * trunk.muscle + front
    half_y = (forward + 76.0 + 27.0 + back) / 2
    return 128.0 + 13.0 * trunk.muscle + 4.0 + side, half_y, forward - half_y


def trunk_extent_mm(trunk: Trunk) -> tuple[float, float, float]:
    """Width, depth and the middle's place (anterior) of a trunk, mm."""
    half_x, half_y, middle = _outline(trunk)
    size = trunk.settling.size
    return 2 * half_x * size, 2 * half_y * size, middle * size


def _groove(x: Array, y: Array) -> Array:
    """Depth of the furrow along the back, mm."""
    return np.where(y < 0, 5.0 * np.exp(-((x / 13.0) ** 2)), 0.0)


def _wall(trunk: Trunk) -> Iterator[TrunkBody]:
    half_x = 128.0 + 13.0 * trunk.muscle + 4.0

    def muscles(x: Array, y: Array, z: Array) -> Array:
        forward = 88.0 * trunk.visceral + 9.0 * trunk.muscle
        half_y = (forward + 76.0 + 27.0) / 2
        return superellipse(x, y - (forward - half_y), (half_x, half_y), 2.35) + _groove(x, y)

    def skin(x: Array, y: Array, z: Array) -> Array:
        half_x, half_y, middle = _outline(trunk)
        return superellipse(x, y - middle, (half_x, half_y), 2.25) + _groove(x, y)

    def cavity(x: Array, y: Array, z: Array) -> Array:
        return cavity_mm(trunk, x, y, z)

    def lung(x: Array, y: Array, z: Array) -> Array:
        below = ellipsoid(x, y, z, (0, 13, 12), (127, 86, 99))
        return np.maximum(np.maximum(cavity_mm(trunk, x, y, z) + 3.0, 1.5 - below), 42.0 - z)

    def ribs(x: Array, y: Array, z: Array) -> Array:
        depth = muscles(x, y, z) + 7.0
        height = z + 0.55 * (y + 70.0) + 0.1 * RIB_MM
        off = np.abs(np.mod(height, RIB_MM) - RIB_MM / 2)
        rib = np.hypot(depth, off * 0.75) - 4.6
        gone = np.maximum(20.0 - z + 0.25 * (y + 70.0), 22.0 - np.abs(x))
        return np.maximum(rib, gone)

    def planes(x: Array, y: Array, z: Array) -> Array:
        """Fat between the layers of the flanks, around the long muscles of the back."""
        layers = np.abs(muscles(x, y, z) + 6.0 * trunk.muscle) - 0.6
        flanks = np.maximum(layers, 70.0 - np.abs(x))
        long = superellipse(np.abs(x) - 34.0, y + 89.0, (29.0, 15.0 * trunk.muscle), 2.4)
        return np.minimum(flanks, np.maximum(np.abs(long) - 0.9, y + 72.0))

    yield _everywhere("skin", skin)
    yield _everywhere("fat", lambda x, y, z: skin(x, y, z) + 2.0)
    yield _everywhere("muscle", muscles)
    yield _everywhere("fat", planes)
    yield _everywhere("visceral_fat", cavity)
    yield _everywhere("lung", lung)
    yield _everywhere("cortical_bone", ribs)
    yield _everywhere("marrow", lambda x, y, z: ribs(x, y, z) + 2.0)


def _spine() -> Iterator[TrunkBody]:
    def vertebra(x: Array, y: Array, z: Array) -> Array:
        return superellipse(x, y + 46.0, (23.0, 17.0), 2.3)

    def between(z: Array) -> Array:
        return VERTEBRA_MM / 2 - np.abs(np.mod(z + 9.0, VERTEBRA_MM) - VERTEBRA_MM / 2)

    def body(x: Array, y: Array, z: Array) -> Array:
        return np.maximum(vertebra(x, y, z), 4.0 - between(z))

    def arch(x: Array, y: Array, z: Array) -> Array:
        ring = np.abs(np.hypot(x, (y + 72.0) * 1.15) - 13.0) - 3.2
        process = np.maximum(np.abs(x) - 3.4, np.abs(y + 93.0) - 12.0)
        side = np.maximum(
            np.abs(y + 73.0 + 0.12 * np.abs(x)) - 4.0, np.abs(np.abs(x) - 26.0) - 14.0
        )
        level = np.abs(np.mod(z + 9.0, VERTEBRA_MM) - VERTEBRA_MM / 2) - 10.0
        return np.minimum(ring, np.maximum(np.minimum(process, side), level))

    low, high = (-44.0, -110.0, -FAR), (44.0, -24.0, FAR)
    yield TrunkBody("disc", vertebra, low, high)
    yield TrunkBody("cortical_bone", body, low, high)
    yield TrunkBody("marrow", lambda x, y, z: body(x, y, z) + 1.8, low, high)
    yield TrunkBody("cortical_bone", arch, low, high)
    yield TrunkBody("csf", lambda x, y, z: np.hypot(x, (y + 72.0) * 1.15) - 9.8, low, high)
    yield TrunkBody(
        "cord",
        lambda x, y, z: np.hypot(x, (y + 73.0) * 1.2) - np.where(z > 5.0, 5.2, 4.0),
        low,
        high,
    )


def _deep_muscles(trunk: Trunk) -> Iterator[TrunkBody]:
    m = trunk.muscle

    def psoas(x: Array, y: Array, z: Array) -> Array:
        grown = np.clip((30.0 - z) / 110.0, 0.0, 1.0)
        off = np.hypot(np.abs(x) - 30.0 - 8.0 * grown, (y + 50.0 - 4 * grown) * 0.85)
        return off - (4.0 + 17.0 * grown) * m

    def quadratus(x: Array, y: Array, z: Array) -> Array:
        return superellipse(np.abs(x) - 60.0, y + 72.0, (20.0, 7.0 * m), 2.0) + 0.12 * np.maximum(
            z, 0
        )

    def crus(x: Array, y: Array, z: Array) -> Array:
        line = superellipse(np.abs(x + 4) - 15.0, y + 24.0, (4.5, 17.0), 2.0)
        return np.maximum(line, 5.0 - z)

    yield TrunkBody("muscle", psoas, (-72, -80, -FAR), (72, -22, 34))
    yield TrunkBody("muscle", quadratus, (-86, -86, -FAR), (86, -58, 60))
    yield TrunkBody("muscle", crus, (-30, -45, 4), (24, -4, FAR))


# ------------------------------------------------------------------ organs


def _kidneys(trunk: Trunk) -> Iterator[TrunkBody]:
    for side, part, place in (
        (1, "kidney_right", (58.0, -43.0, -16.0)),
        (-1, "kidney_left", (-59.0, -43.0, -4.0)),
    ):
        shift, size = trunk.moved[part]
        centre = _sum(place, shift)

        def turned(
            x: Array, y: Array, z: Array, c: Triple = centre, s: int = side
        ) -> tuple[Array, Array, Array]:
            """Coordinates of the kidney: lateral, anterior, along its tilted axis."""
            u, v, w = (x - c[0]) * s, y - c[1], z - c[2]
            u, w = u + 0.22 * w, w - 0.22 * u
            return 0.82 * u + 0.57 * v, 0.82 * v - 0.57 * u, w

        def outer(x: Array, y: Array, z: Array, size: float = size, turned=turned) -> Array:  # type: ignore[no-untyped-def]
            u, v, w = turned(x, y, z)
            bean = ellipsoid(u, v, w, (0, 0, 0), (27 * size, 22 * size, 52 * size))
            hollow = ellipsoid(u, v, w, (-26, 4, 0), (14, 13, 17))
            return np.asarray(-join(-bean, hollow, 5.0))

        def sinus(x: Array, y: Array, z: Array, size: float = size, turned=turned) -> Array:  # type: ignore[no-untyped-def]
            u, v, w = turned(x, y, z)
            return ellipsoid(u, v, w, (-9, 1, 0), (17 * size, 9 * size, 26 * size))

        def medulla(x: Array, y: Array, z: Array, turned=turned, outer=outer) -> Array:  # type: ignore[no-untyped-def]
            u, v, w = turned(x, y, z)
            rays = np.cos(6.0 * np.arctan2(v, u + 6.0)) + np.cos(w * 0.33)
            return np.maximum(outer(x, y, z) + 6.5, 3.0 * (0.2 - rays))

        def pelvis(x: Array, y: Array, z: Array, turned=turned) -> Array:  # type: ignore[no-untyped-def]
            u, v, w = turned(x, y, z)
            return ellipsoid(u, v, w, (-16, 0, -2), (10, 4.0, 11))

        low, high = _sum(centre, (-46, -44, -66)), _sum(centre, (46, 44, 66))
        yield TrunkBody("kidney_cortex", outer, low, high)
        yield TrunkBody("kidney_medulla", medulla, low, high)
        yield TrunkBody("visceral_fat", sinus, low, high)
        yield TrunkBody("csf", pelvis, low, high)
        cap = _sum(centre, (-10.0 * side, 8.0, 56.0))
        yield _tube("adrenal", [cap, _sum(cap, (-10.0 * side, 12.0, -6.0))], [2.4, 1.8])
        yield _tube("adrenal", [cap, _sum(cap, (3.0 * side, -10.0, -8.0))], [2.2, 1.4])


def _dome(x: Array, y: Array, z: Array) -> Array:
    return ellipsoid(x, y, z, (0, 13, 12), (126, 85, 98))


def _liver(trunk: Trunk) -> Iterator[TrunkBody]:
    (shift, size), (left_shift, left_size) = trunk.moved["liver"], trunk.moved["left_lobe"]
    right_at, left_at = _sum((74.0, 2.0, 36.0), shift), _sum((16.0, 48.0, 52.0), left_shift)
    kidney = _sum((58.0, -43.0, -16.0), trunk.moved["kidney_right"][0])

    def liver(x: Array, y: Array, z: Array) -> Array:
        right = ellipsoid(x, y, z, right_at, (62 * size, 84 * size, 80 * size))
        left = ellipsoid(x, y, z, left_at, (66 * left_size, 34, 36 * left_size))
        body = join(right, left, 22.0)
        visceral = ellipsoid(x, y, z, (14, 12, -18), (50, 46, 56))
        fossa = ellipsoid(x, y, z, kidney, (34, 30, 54))
        back = ellipsoid(x, y, z, (-4, -40, 40), (40, 34, 90))
        for hollow in (visceral, fossa, back):
            body = -join(-body, hollow, 8.0)
        inside = np.maximum(cavity_mm(trunk, x, y, z) + 2.5, _dome(x, y, z))
        return np.maximum(body, inside)

    low, high = (-62.0, -84.0, -58.0), (132.0, 96.0, 125.0)
    yield TrunkBody("liver", liver, low, high)
    top = (22.0, -24.0, 84.0)
    for end, radius in (((92, -18, 52), 2.6), ((52, 34, 58), 2.6), ((-6, 38, 62), 2.2)):
        yield _tube("vein", [top, _sum(_half(top, end), (6, 6, 6)), end], [4.2, 3.4, radius])
    gall, gall_size = trunk.moved["gallbladder"]
    bladder = _sum((50.0, 48.0, -4.0), gall)
    neck = _sum(bladder, (-8.0, -24.0, 16.0))
    yield _tube("bowel_wall", [bladder, neck], [13.5 * gall_size, 5.0])
    yield _tube("bile", [bladder, neck], [12.0 * gall_size, 3.5])


def _spleen(trunk: Trunk) -> Iterator[TrunkBody]:
    shift, size = trunk.moved["spleen"]
    at = _sum((-94.0, -36.0, 42.0), shift)

    def spleen(x: Array, y: Array, z: Array) -> Array:
        body = ellipsoid(x, y, z, at, (33 * size, 50 * size, 52 * size))
        hollow = ellipsoid(x, y, z, _sum(at, (47.0, 18.0, -4.0)), (40, 46, 64))
        body = -join(-body, hollow, 6.0)
        return np.maximum(body, np.maximum(cavity_mm(trunk, x, y, z) + 3.0, _dome(x, y, z)))

    yield TrunkBody("spleen", spleen, _sum(at, (-40, -60, -64)), _sum(at, (40, 60, 64)))


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
    yield _rippled(_tube("bowel_wall", points, radii), ripple_mm)
    inner = [max(r - wall_mm, 0.5) for r in radii]
    lumen = _rippled(_tube(content, points, inner), ripple_mm)
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


def _bowel(trunk: Trunk) -> Iterator[TrunkBody]:
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
            [_sum(p, shift) for p in points],
            [r * size for r in radii],
            wall_mm=2.5,
            content="stool",
            gas=trunk.gas[1] * (1.0, 0.9, 0.8, 0.4)[k],
            ripple_mm=3.5,
        )


def _stomach(trunk: Trunk) -> Iterator[TrunkBody]:
    shift, size = trunk.moved["stomach"]
    fill = size * trunk.stomach_fill
    points = [(-58, -18, 76), (-66, 14, 58), (-60, 42, 34), (-34, 56, 14), (2, 54, 6), (25, 42, 6)]
    radii = [30.0, 31.0, 27.0, 21.0, 15.0, 9.0]
    yield from _hollow(
        [_sum(p, shift) for p in points],
        [r * fill for r in radii],
        wall_mm=4.0,
        content="chyme",
        gas=trunk.gas[0] * 0.6,
        ripple_mm=1.5,
    )


def _duodenum(trunk: Trunk) -> Iterator[TrunkBody]:
    """Around the head of the pancreas, and as bright as it: easily taken for it."""
    head = np.asarray(trunk.pancreas.course[1]) - (33.0, 7.0, -13.0)
    shift, size = trunk.moved["duodenum"]
    move = _sum(_triple(head), _times(shift, 0.5))
    around = [(52, 24, 6), (57, 9, -8), (56, 3, -30), (46, -4, -50), (16, -8, -57), (-20, -4, -50)]
    points = [(25.0, 42.0, 6.0), (40.0, 36.0, 10.0), *around, (-38.0, 14.0, -40.0)]
    moved = [p if k == 0 else _sum(p, move) for k, p in enumerate(points)]
    radii = [8.0, 11.0, 11.0, 11.5, 11.5, 11.0, 9.5, 9.5, 10.0]
    content = "chyme" if trunk.gas[0] > 0.3 else "bowel_wall"
    yield _tube("bowel_wall", moved, [r * size for r in radii])
    yield _tube(content, moved, [max(r * size - 4.0, 2.0) for r in radii])
    if trunk.gas[0] > 0.55:
        yield _tube("gas", moved[1:3], [4.5, 3.0])


def _vessels(trunk: Trunk) -> Iterator[TrunkBody]:
    shift, size = trunk.moved["vessels"]
    aorta, cava = (-9.0 + shift[0] * 0.6, -19.0), (20.0 + shift[0] * 0.5, -20.0)
    yield _tube(
        "artery", [(*aorta, -200.0), (*aorta, 0.0), (-5, -22, 200)], [8.0 * size, 9.0 * size, 10.5]
    )
    yield TrunkBody(
        "vein",
        lambda x, y, z: superellipse(x - cava[0], y - cava[1] - 0.04 * z, (12.5, 9.0 * size), 2.0),
        (cava[0] - 16, -44.0, -FAR),
        (cava[0] + 16, 4.0, FAR),
    )
    a = (aorta[0], aorta[1] + 8.0)
    yield _tube(
        "artery", [(*a, 2), (-4, 2, -14), (-3, 8, -50), (2, 16, -110)], [3.6, 3.6, 3.2, 2.6]
    )
    yield _tube("artery", [(*a, 20), (-7, 2, 26), (22, 14, 30), (34, 20, 36)], [3.4, 3.0, 2.6, 2.2])
    neck = np.asarray(trunk.pancreas.course[2])
    confluence = _sum(neck, (-1.0, -13.5 - 3 * (trunk.pancreas.size - 1), 1.0))
    cx, cy, cz = confluence
    yield _tube(
        "vein",
        [confluence, (cx, cy - 2, cz - 22), (cx - 1, cy + 4, -70), (cx, 18, -120)],
        [6.0, 5.6, 5.0, 4.0],
    )
    yield _tube("vein", [confluence, (26, 8, 28), (44, 12, 44)], [6.8, 6.6, 6.0])
    yield _tube("vein", [(44, 12, 44), (74, 6, 46), (92, 14, 38)], [5.5, 4.2, 3.0])
    yield _tube("vein", [(44, 12, 44), (28, 30, 56), (6, 42, 58)], [4.5, 3.6, 2.6])
    line, thick = trunk.pancreas.line()
    k0 = int(np.argmin(np.abs(line - neck).sum(axis=1))) + 1
    behind = [_sum(p, (0.0, -r - 2.6, 1.5)) for p, r in zip(line[k0::2], thick[k0::2], strict=True)]
    spleen = _sum((-88.0, -32.0, 38.0), trunk.moved["spleen"][0])
    yield _tube("vein", [confluence, *behind, spleen], [5.0, *[4.0] * len(behind), 3.6])
    for side, part, root in ((1, "kidney_right", cava), (-1, "kidney_left", (18.0, -10.0))):
        hilum = _sum((38.0 * side, -36.0, -8.0), trunk.moved[part][0])
        yield _tube(
            "vein",
            [(root[0], root[1], 0.0), (16.0 * side, -10.0 if side < 0 else -22.0, -2.0), hilum],
            [3.6, 3.6, 3.4],
        )


def _mesentery(trunk: Trunk) -> Iterator[TrunkBody]:
    """Veins from the loops of small bowel to the superior mesenteric vein."""
    root = _sum(trunk.pancreas.course[2], (-1.0, -10.0, -45.0))
    for start, end, _ in trunk.loops:
        loop = _half(start, end)
        bend = _sum(_half(root, loop), (0.0, 6.0, 5.0))
        yield _tube("vein", [root, bend, loop], [2.2, 1.7, 1.2])


def _fat_around_pancreas(trunk: Trunk) -> Iterator[TrunkBody]:
    """Parts the pancreas from stomach, spleen and kidney, which it would else run into."""
    (organ, *_) = _pancreas(trunk)

    def rim(x: Array, y: Array, z: Array) -> Array:
        return organ.distance_mm(x, y, z) - 2.5

    yield organ._replace(tissue="visceral_fat", distance_mm=rim)


def _pancreas(trunk: Trunk) -> Iterator[TrunkBody]:
    pancreas = trunk.pancreas
    low = _triple(np.asarray(pancreas.centre) - pancreas.reach_mm)
    high = _triple(np.asarray(pancreas.centre) + pancreas.reach_mm)
    yield TrunkBody("pancreas", pancreas.settled_mm, low, high)
    line, _ = pancreas.line()
    yield _tube("duct", [_triple(p) for p in line[1::2]], [1.1] * len(line[1::2]))
    head = pancreas.course[1]
    yield _tube(
        "bile", [_sum(head, (6, -4, -14)), _sum(head, (4, -6, 8)), (36, 10, 34)], [2.2, 2.8, 2.6]
    )
    if pancreas.cyst is not None:
        centre, radius = pancreas.cyst
        yield _tube("cyst", [centre, _sum(centre, (0.0, 0.0, 0.1))], [radius - 0.6] * 2)


# ------------------------------------------------------------------ small parts


def _everywhere(tissue: str, distance: Distance) -> TrunkBody:
    return TrunkBody(tissue, distance, (-FAR, -FAR, -FAR), (FAR, FAR, FAR))


def _tube(tissue: str, points: Sequence[Triple], radii: Sequence[float]) -> TrunkBody:
    at, thick = np.asarray(points, float), np.asarray(radii, float)[:, None]
    fixed, widths = [_triple(p) for p in at], [float(r) for r in radii]
    return TrunkBody(
        tissue,
        lambda x, y, z: tube(x, y, z, fixed, widths),
        _triple((at - thick).min(axis=0)),
        _triple((at + thick).max(axis=0)),
    )


def _sum(a: Sequence[float], b: Sequence[float]) -> Triple:
    return (float(a[0] + b[0]), float(a[1] + b[1]), float(a[2] + b[2]))


def _half(a: Sequence[float], b: Sequence[float]) -> Triple:
    return (float(a[0] + b[0]) / 2, float(a[1] + b[1]) / 2, float(a[2] + b[2]) / 2)


def _times(a: Sequence[float], factor: float) -> Triple:
    return (a[0] * factor, a[1] * factor, a[2] * factor)


def _triple(values: Sequence[float] | Array) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
