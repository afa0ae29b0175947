"""Solid organs and vessels of the abdomen: kidneys, liver, spleen, pancreas, vessels.

Enters: a trunk. Leaves: bodies in the order of painting, in groups that the painter of
the whole trunk puts between those of the bowel.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acinus.cohort.phantom.shapes import Triple, ellipsoid, join, superellipse, triple
from acinus.cohort.phantom.trunk import Trunk
from acinus.cohort.phantom.trunk_parts import (
    FAR,
    TrunkBody,
    cavity_mm,
    dome_mm,
    midway,
    rod,
    shifted,
)
from acinus.types import Array

KIDNEYS: dict[str, tuple[int, Triple]] = {
    "kidney_right": (1, (58.0, -43.0, -16.0)),
    "kidney_left": (-1, (-59.0, -43.0, -4.0)),
}
"""Part to its side and place in the mean anatomy."""
SPLEEN: Triple = (-94.0, -36.0, 42.0)
RIM_MM = 2.5
"""Fat around the pancreas."""


def kidney_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Both kidneys with the adrenal glands."""
    for part, (side, place) in KIDNEYS.items():
        shift, size = trunk.moved[part]
        yield from _kidney(side, shifted(place, shift), size)


def _kidney(side: int, place: Triple, size: float) -> Iterator[TrunkBody]:
    """The right (1) or left (-1) kidney, whose hilum looks forward, and its adrenal gland."""

    def turned(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Coordinates of the kidney: lateral, anterior, along its tilted axis."""
        u, v, w = (x - place[0]) * side, y - place[1], z - place[2]
        u, w = u + 0.22 * w, w - 0.22 * u
        return 0.82 * u + 0.57 * v, 0.82 * v - 0.57 * u, w

    def outer(x: Array, y: Array, z: Array) -> Array:
        u, v, w = turned(x, y, z)
        bean = ellipsoid(u, v, w, (0, 0, 0), (27 * size, 22 * size, 52 * size))
        return -join(-bean, ellipsoid(u, v, w, (-26, 4, 0), (14, 13, 17)), 5.0)

    def medulla(x: Array, y: Array, z: Array) -> Array:
        u, v, w = turned(x, y, z)
        rays = np.cos(6.0 * np.arctan2(v, u + 6.0)) + np.cos(w * 0.33)
        return np.maximum(outer(x, y, z) + 6.5, 3.0 * (0.2 - rays))

    def sinus(x: Array, y: Array, z: Array) -> Array:
        return ellipsoid(*turned(x, y, z), (-9, 1, 0), (17 * size, 9 * size, 26 * size))

    def pelvis(x: Array, y: Array, z: Array) -> Array:
        return ellipsoid(*turned(x, y, z), (-16, 0, -2), (10, 4.0, 11))

    low, high = shifted(place, (-46, -44, -66)), shifted(place, (46, 44, 66))
    yield TrunkBody("kidney_cortex", outer, low, high)
    yield TrunkBody("kidney_medulla", medulla, low, high)
    yield TrunkBody("visceral_fat", sinus, low, high)
    yield TrunkBody("csf", pelvis, low, high)
    cap = shifted(place, (-10.0 * side, 8.0, 56.0))
    yield rod("adrenal", [cap, shifted(cap, (-10.0 * side, 12.0, -6.0))], [2.4, 1.8])
    yield rod("adrenal", [cap, shifted(cap, (3.0 * side, -10.0, -8.0))], [2.2, 1.4])


def liver_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Liver, its veins, gallbladder."""
    (shift, size), (left_shift, left_size) = trunk.moved["liver"], trunk.moved["left_lobe"]
    right_at, left_at = shifted((74.0, 2.0, 36.0), shift), shifted((16.0, 48.0, 52.0), left_shift)
    kidney = shifted(KIDNEYS["kidney_right"][1], trunk.moved["kidney_right"][0])

    def liver(x: Array, y: Array, z: Array) -> Array:
        right = ellipsoid(x, y, z, right_at, (62 * size, 84 * size, 80 * size))
        left = ellipsoid(x, y, z, left_at, (66 * left_size, 34, 36 * left_size))
        body = join(right, left, 22.0)
        visceral = ellipsoid(x, y, z, (14, 12, -18), (50, 46, 56))
        fossa = ellipsoid(x, y, z, kidney, (34, 30, 54))
        back = ellipsoid(x, y, z, (-4, -40, 40), (40, 34, 90))
        for hollow in (visceral, fossa, back):
            body = -join(-body, hollow, 8.0)
        inside = np.maximum(cavity_mm(trunk, x, y, z) + 2.5, dome_mm(x, y, z))
        return np.maximum(body, inside)

    low, high = (-62.0, -84.0, -58.0), (132.0, 96.0, 125.0)
    yield TrunkBody("liver", liver, low, high)
    top = (22.0, -24.0, 84.0)
    for end, radius in (((92, -18, 52), 2.6), ((52, 34, 58), 2.6), ((-6, 38, 62), 2.2)):
        yield rod("vein", [top, shifted(midway(top, end), (6, 6, 6)), end], [4.2, 3.4, radius])
    gall, gall_size = trunk.moved["gallbladder"]
    bladder = shifted((50.0, 48.0, -4.0), gall)
    neck = shifted(bladder, (-8.0, -24.0, 16.0))
    yield rod("bowel_wall", [bladder, neck], [13.5 * gall_size, 5.0], ("bile", 1.5))


def spleen_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Spleen, hollow towards the stomach."""
    shift, size = trunk.moved["spleen"]
    at = shifted(SPLEEN, shift)

    def spleen(x: Array, y: Array, z: Array) -> Array:
        body = ellipsoid(x, y, z, at, (33 * size, 50 * size, 52 * size))
        hollow = ellipsoid(x, y, z, shifted(at, (47.0, 18.0, -4.0)), (40, 46, 64))
        body = -join(-body, hollow, 6.0)
        return np.maximum(body, np.maximum(cavity_mm(trunk, x, y, z) + 3.0, dome_mm(x, y, z)))

    yield TrunkBody("spleen", spleen, shifted(at, (-40, -60, -64)), shifted(at, (40, 60, 64)))


def vessel_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Aorta and its branches, vena cava, portal, splenic, mesenteric and renal veins."""
    shift, size = trunk.moved["vessels"]
    aorta, cava = (-9.0 + shift[0] * 0.6, -19.0), (20.0 + shift[0] * 0.5, -20.0)
    yield rod(
        "artery", [(*aorta, -200.0), (*aorta, 0.0), (-5, -22, 200)], [8.0 * size, 9.0 * size, 10.5]
    )
    yield TrunkBody(
        "vein",
        lambda x, y, z: superellipse(x - cava[0], y - cava[1] - 0.04 * z, (12.5, 9.0 * size), 2.0),
        (cava[0] - 16, -44.0, -FAR),
        (cava[0] + 16, 4.0, FAR),
    )
    a = (aorta[0], aorta[1] + 8.0)
    yield rod("artery", [(*a, 2), (-4, 2, -14), (-3, 8, -50), (2, 16, -110)], [3.6, 3.6, 3.2, 2.6])
    yield rod("artery", [(*a, 20), (-7, 2, 26), (22, 14, 30), (34, 20, 36)], [3.4, 3.0, 2.6, 2.2])
    neck = np.asarray(trunk.pancreas.course[2])
    confluence = shifted(neck, (-1.0, -13.5 - 3 * (trunk.pancreas.size - 1), 1.0))
    cx, cy, cz = confluence
    yield rod(
        "vein",
        [confluence, (cx, cy - 2, cz - 22), (cx - 1, cy + 4, -70), (cx, 18, -120)],
        [6.0, 5.6, 5.0, 4.0],
    )
    yield rod("vein", [confluence, (26, 8, 28), (44, 12, 44)], [6.8, 6.6, 6.0])
    yield rod("vein", [(44, 12, 44), (74, 6, 46), (92, 14, 38)], [5.5, 4.2, 3.0])
    yield rod("vein", [(44, 12, 44), (28, 30, 56), (6, 42, 58)], [4.5, 3.6, 2.6])
    line, thick = trunk.pancreas.line()
    k0 = int(np.argmin(np.abs(line - neck).sum(axis=1))) + 1
    course = zip(line[k0::2], thick[k0::2], strict=True)
    behind = [shifted(point, (0.0, -radius - 2.6, 1.5)) for point, radius in course]
    spleen = shifted(shifted(SPLEEN, (6.0, 4.0, -4.0)), trunk.moved["spleen"][0])
    yield rod("vein", [confluence, *behind, spleen], [5.0, *[4.0] * len(behind), 3.6])
    for side, part, root in ((1, "kidney_right", cava), (-1, "kidney_left", (18.0, -10.0))):
        hilum = shifted((38.0 * side, -36.0, -8.0), trunk.moved[part][0])
        yield rod(
            "vein",
            [(root[0], root[1], 0.0), (16.0 * side, -10.0 if side < 0 else -22.0, -2.0), hilum],
            [3.6, 3.6, 3.4],
        )


def mesentery_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Veins from the loops of small bowel to the superior mesenteric vein."""
    root = shifted(trunk.pancreas.course[2], (-1.0, -10.0, -45.0))
    for start, end, _ in trunk.loops:
        loop = midway(start, end)
        bend = shifted(midway(root, loop), (0.0, 6.0, 5.0))
        yield rod("vein", [root, bend, loop], [2.2, 1.7, 1.2])


def pancreatic_fat_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Parts the pancreas from stomach, spleen and kidney, which it would else run into."""
    (organ, *_) = pancreas_bodies(trunk)

    def rim(x: Array, y: Array, z: Array) -> Array:
        return organ.distance_mm(x, y, z) - RIM_MM

    yield organ._replace(tissue="visceral_fat", distance_mm=rim)


def pancreas_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """The pancreas over all else, so that the truth has no overlap; ducts and cyst within."""
    pancreas = trunk.pancreas
    low = triple(np.asarray(pancreas.centre) - pancreas.reach_mm)
    high = triple(np.asarray(pancreas.centre) + pancreas.reach_mm)
    yield TrunkBody("pancreas", pancreas.settled_mm, low, high)
    line, _ = pancreas.line()
    yield rod("duct", [triple(p) for p in line[1::2]], [1.1] * len(line[1::2]))
    head = pancreas.course[1]
    duct = [shifted(head, (6, -4, -14)), shifted(head, (4, -6, 8)), (36.0, 10.0, 34.0)]
    yield rod("bile", duct, [2.2, 2.8, 2.6])
    if pancreas.cyst is not None:
        centre, radius = pancreas.cyst
        yield rod("cyst", [centre, shifted(centre, (0.0, 0.0, 0.1))], [radius - 0.6] * 2)
