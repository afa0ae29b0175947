"""The head: bodies with names and tissues, as signed distances in head coordinates.

Enters: random numbers per patient. Leaves: a frozen `Head`; `large_bodies` gives
the smooth distances that are evaluated on a coarse lattice, `orbit_bodies` the
fine structures of one orbit. Head coordinates are (right, anterior, superior) mm
with the origin midway between the globes.

The order of bodies is the order of painting: a later one covers an earlier one.
Sizes follow textbooks and the 21 CTs of Nikolov et al. 2021 (globes 66 mm apart,
lens 7.6 mm before the globe's centre, brain 138 mm wide).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from acinus.cohort.phantom.glands import Condition, Gland, draw_gland, draw_volumes_ml
from acinus.cohort.phantom.shapes import Triple, box, capsule, ellipsoid, join, sphere
from acinus.types import Array

Body = tuple[str, Array]
"""Name of a tissue, and the signed distance to the body made of it, mm."""


@dataclass(frozen=True)
class Head:
    """Everything about one patient's head that shows on a scan.

    Attributes:
        width, length, height: Factors on the head's extents.
        globe_x_mm: Half distance of the globes.
        globe_radius_mm: Radius of both globes.
        proptosis_mm: How far the right and left globe stand forward.
        scalp_mm: Thickness of skin and fat over the skull.
        sinus: Factor on the size of the frontal sinus.
        muscle: Factor on the thickness of the eye muscles.
        atrophy: Factor on sulci and ventricles.
        lens_tone: Factor on the brightness of the lens.
        warp: (3, 4) wave number (1/mm) and phases of a smooth deformation.
        gaze: Shift of the lenses, (right, superior) mm.
        glands: Right and left.
        volumes_ml: Intended volumes, right and left.
        condition: State of the glands.
        seed: For the texture of the tissues.
    """

    width: float
    length: float
    height: float
    globe_x_mm: float
    globe_radius_mm: float
    proptosis_mm: tuple[float, float]
    scalp_mm: float
    sinus: float
    muscle: float
    atrophy: float
    warp: tuple[tuple[float, ...], ...]
    gaze: tuple[float, float]
    glands: tuple[Gland, Gland]
    volumes_ml: tuple[float, float]
    condition: Condition
    seed: int

    def globe(self, side: int) -> Triple:
        """Centre of the right (1) or left (-1) globe."""
        return (side * self.globe_x_mm, self.proptosis_mm[0 if side > 0 else 1], 0.0)


def draw_head(rng: np.random.Generator, *, age: int, sex: str, condition: Condition) -> Head:
    """A head of random proportions.

    Args:
        rng: Source of randomness; the same state gives the same head.
        age: Years; sulci and ventricles widen with age.
        sex: ``"F"``, ``"M"`` or empty; male heads are a little larger.
        condition: State of the glands.
    """
    scale = {"M": 1.025, "F": 0.985}.get(sex, 1.0)
    width, length, height = scale * np.exp(rng.normal(0.0, 0.025, 3))
    globe_x = float(rng.normal(32.9, 1.1)) * scale
    radius = float(np.clip(rng.normal(12.0, 0.35), 11.2, 12.9))
    volumes, bulges = draw_volumes_ml(rng, condition, age)
    ground = rng.normal(0.0, 0.8)
    pushed = [float(ground + rng.normal(0, 0.3) + 1.6 * max(0.0, v - 0.9)) for v in volumes]
    glands = [
        draw_gland(
            rng,
            side=side,
            globe=(side * globe_x, pushed[i], 0.0),
            globe_radius_mm=radius,
            volume_ml=volumes[i],
            is_bulging=bulges[i],
        )
        for i, side in enumerate((1, -1))
    ]
    waves = np.column_stack([rng.normal(0.0, 0.03, (3, 3)), rng.uniform(0, 6.28, 3)])
    return Head(
        width=float(width),
        length=float(length),
        height=float(height),
        globe_x_mm=globe_x,
        globe_radius_mm=radius,
        proptosis_mm=(pushed[0], pushed[1]),
        scalp_mm=float(np.clip(rng.normal(5.5, 1.2), 3.5, 9.0)),
        sinus=float(np.clip(rng.normal(1.0, 0.3), 0.4, 1.6)),
        muscle=float(np.exp(rng.normal(0.0, 0.12))),
        atrophy=float(np.clip(0.7 + 0.012 * (age - 30) + rng.normal(0, 0.15), 0.5, 1.6)),
        warp=tuple(tuple(float(v) for v in row) for row in waves),
        gaze=(float(rng.normal(0, 1.2)), float(rng.normal(0, 0.8))),
        glands=(glands[0], glands[1]),
        volumes_ml=volumes,
        condition=condition,
        seed=int(rng.integers(2**31)),
    )


def large_bodies(head: Head, x: Array, y: Array, z: Array, noise: Array) -> Iterator[Body]:
    """Bodies with smooth surfaces, in the order of painting.

    Args:
        head: The patient.
        x, y, z: Lattice points in head coordinates, one shape, mm.
        noise: (2, ...) smooth random fields with sd 1 at the same points.
    """
    x, y, z = _warped(head, x, y, z)
    skin = _outline(head, x, y, z)
    brain = intracranial(head, x, y, z)
    yield "skin", skin
    yield "fat", skin + 1.9
    yield from _muscles(head, x, y, z, skin)
    yield from _bones(head, x, y, z, brain, skin)
    yield from _brain(head, x, y, z, brain, noise)
    yield from _skull_base(x, y, z)
    yield from _airways(head, x, y, z)


def _warped(head: Head, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Points moved by a smooth deformation of some mm that is still near the orbits."""
    far = np.float32(1.0) - np.exp(-((y + 5.0) ** 2 + z * z) * np.float32(1 / 45.0**2))
    moved = [
        p + far * np.float32(1.8) * np.sin(a * x + b * y + c * z + phase)
        for p, (a, b, c, phase) in zip((x, y, z), head.warp, strict=True)
    ]
    return moved[0], moved[1], moved[2]


def _outline(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Distance to the skin."""
    w, n, h = head.width, head.length, head.height
    extra = head.scalp_mm - 5.5
    cranium = ellipsoid(
        x, y, z, (0, -79, 18 * h), ((77 + extra) * w, (98 + extra) * n, (97 + extra) * h)
    )
    face = ellipsoid(x, y, z, (0, -36, -46), (60 * w, 51, 62))
    brow = ellipsoid(x, y, z, (0, -4, 20), (50 * w, 20, 13))
    neck = ellipsoid(x, y, z, (0, -92, -62), (66 * w, 70, 52))
    skin = join(join(cranium, face, 10.0), brow, 8.0)
    skin = join(skin, neck, 16.0)
    nose = capsule(x, y, z, (0, 10, 2), (0, 30, -36), (8.5, 12.0))
    skin = join(skin, nose, 9.0)
    for side in (1, -1):
        gx, gy, gz = head.globe(side)
        lid = sphere(x, y, z, (gx, gy + 1.2, gz), head.globe_radius_mm + 4.0)
        skin = join(skin, lid, 7.0)
        ear = ellipsoid(x, y, z, (side * 78 * w, -96, -8), (7, 15, 28))
        skin = join(skin, ear, 4.0)
    for gland in head.glands:
        near = np.abs(x - gland.centre[0]) + np.abs(y - gland.centre[1]) < 34
        if near.any():
            cover = np.full_like(skin, 60.0)
            cover[near] = gland.distance_mm(x[near], y[near], z[near]) - 4.2
            skin = join(skin, cover, 4.0)
    return skin


def intracranial(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Distance to the inside of the skull (brain and its fluid)."""
    w, n, h = head.width, head.length, head.height
    vault = ellipsoid(x, y, z, (0, -82, 30 * h), (68.5 * w, 86 * n, 62 * h))
    floor = 18.0 - 26.0 / (1.0 + np.exp(np.clip((y + 44.0) * 0.2, -30, 30)))
    ridge = 3.0 * np.exp(-((np.abs(x) - 32.0) ** 2) / 250.0)
    vault = np.maximum(vault, floor + ridge - z)
    x_side = np.abs(x)
    temporal = ellipsoid(x_side, y, z, (42 * w, -70, -6), (25.5, 33, 25))
    rear = ellipsoid(x, y, z, (0, -118, -20), (54 * w, 40 * n, 32))
    stem = ellipsoid(x, y, z, (0, -88, -25), (17, 19, 42))
    brain = join(join(vault, temporal, 5.0), rear, 8.0)
    return join(brain, stem, 4.0)


def _muscles(head: Head, x: Array, y: Array, z: Array, skin: Array) -> Iterator[Body]:
    side = np.abs(x)
    w = head.width
    temporalis = ellipsoid(side, y, z, (56 * w, -42, 2), (12.5, 27, 38))
    yield "muscle", np.maximum(temporalis, skin + head.scalp_mm)
    masseter = ellipsoid(side, y, z, (53 * w, -38, -52), (8, 21, 27))
    pterygoid = ellipsoid(side, y, z, (31 * w, -50, -42), (12, 16, 17))
    yield "muscle", np.minimum(masseter, pterygoid)
    nape = ellipsoid(x, y, z, (0, -150, -62), (52, 30, 34))
    yield "muscle", np.maximum(nape, skin + 7.0)
    parotid = ellipsoid(side, y, z, (59 * w, -78, -46), (9, 15, 20))
    yield "marrow", parotid
    frontalis = np.maximum(np.abs(skin + 4.2) - 0.8, np.maximum(12.0 - z, -8.0 - y))
    yield "muscle", frontalis
    smile = np.abs(skin + 4.6) - 0.7
    yield "muscle", np.maximum(np.maximum(smile, z + 14.0), -18.0 - y)


def _bones(head: Head, x: Array, y: Array, z: Array, brain: Array, skin: Array) -> Iterator[Body]:
    side = np.abs(x)
    w = head.width
    under = skin + 2.5
    cheek = capsule(side, y, z, (48 * w, -9, 16), (51 * w, -13, 0), (5.0, 4.6))
    cheek = join(cheek, capsule(side, y, z, (51 * w, -13, 0), (43 * w, -3, -22), (4.6, 8.0)), 2.0)
    arch = capsule(side, y, z, (50 * w, -14, -20), (69 * w, -68, -21), (4.0, 3.4))
    cheek = join(cheek, arch, 2.0)
    front = ellipsoid(x, y, z, (0, 3, 24), (46 * w, 12, 16))
    bridge = capsule(x, y, z, (0, 8, 10), (0, 17, -8), (8.5, 4.0))
    jaw = ellipsoid(x, y, z, (0, -16, -44), (38, 26, 24))
    face = join(join(join(cheek, front, 3.0), bridge, 3.0), jaw, 4.0)
    face = np.maximum(face, under)
    vault = np.maximum(brain - 6.8, skin + 2.5)
    bone = np.minimum(face, vault)
    base = ellipsoid(x, y, z, (0, -60, -20), (17, 22, 18))
    bone = join(bone, base, 3.0)
    yield "cortical_bone", bone
    yield "diploe", np.maximum(bone + 1.9, 1.8 - brain)
    facial = np.minimum(np.minimum(cheek, jaw), base)
    yield "marrow", np.maximum(np.maximum(facial, bone) + 1.9, 1.8 - brain)


def _brain(head: Head, x: Array, y: Array, z: Array, brain: Array, noise: Array) -> Iterator[Body]:
    a = head.atrophy
    yield "dura", brain - 0.4
    yield "csf", brain + 0.5
    folds = np.abs(noise[0])
    sulcus = 1.9 * a - 7.0 * folds
    depth = -brain - 1.6 * a
    gyrus = np.maximum(-depth, np.where(depth < 13.0, sulcus, -4.0))
    fissure = np.maximum(np.abs(x) - 1.0 * a, -18.0 - z)
    gyrus = np.maximum(gyrus, -fissure)
    side = np.abs(x)
    sylvian = ellipsoid(side, y, z, (46, -52, 9), (18, 13, 2.2 * a))
    cistern = ellipsoid(x, y, z, (0, -68, -4), (11, 12, 9))
    cistern = np.minimum(cistern, ellipsoid(x, y, z, (0, -72, -28), (14, 6, 34)))
    gyrus = np.maximum(gyrus, -np.minimum(sylvian, cistern))
    is_rear = ellipsoid(x, y, z, (0, -122, -24), (54, 44, 32))
    yield "grey_matter", gyrus
    white = np.maximum(gyrus + 3.0 + 1.2 * noise[1], 5.5 + 2.0 * noise[1] - depth)
    yield "white_matter", np.maximum(white, -is_rear)
    leaves = np.abs(np.sin(0.9 * np.sqrt(x * x * 0.5 + (y + 95) ** 2) + 0.6 * noise[1])) * 3.0 - 0.5
    yield "cerebellum", np.maximum(np.maximum(is_rear, gyrus + 0.8), -leaves)
    stem = ellipsoid(x, y, z, (0, -86, -28), (14.5, 13, 44))
    yield "white_matter", stem
    deep = ellipsoid(side, y, z, (14, -78, 18), (9, 20, 11))
    yield "grey_matter", deep
    horn = ellipsoid(side, y, z, (7.5, -62, 26), (4.5 * a, 22, 7 * a))
    horn = join(horn, ellipsoid(side, y, z, (20, -112, 24), (5 * a, 20, 7 * a)), 4.0)
    third = ellipsoid(x, y, z, (0, -80, 12), (2.2 * a, 13, 11))
    fourth = ellipsoid(x, y, z, (0, -101, -30), (6 * a, 5 * a, 9))
    temporal = ellipsoid(side, y, z, (32, -68, -10), (1.8 * a, 12, 2.5 * a))
    yield "csf", np.minimum(np.minimum(horn, third), np.minimum(fourth, temporal))


def _skull_base(x: Array, y: Array, z: Array) -> Iterator[Body]:
    side = np.abs(x)
    yield "venous_blood", ellipsoid(side, y, z, (13, -62, -9), (4.6, 10, 7))
    yield "pituitary", ellipsoid(x, y, z, (0, -66, -6), (6, 5, 4))
    yield "flow_void", capsule(side, y, z, (13, -70, -14), (12, -56, -5), (2.4, 2.3))
    yield "flow_void", capsule(x, y, z, (0, -75, -40), (0, -73, 0), (1.8, 1.6))
    yield "venous_blood", ellipsoid(side, y, z, (56, -118, -20), (5, 16, 4))


def _airways(head: Head, x: Array, y: Array, z: Array) -> Iterator[Body]:
    side = np.abs(x)
    s = head.sinus
    frontal = ellipsoid(side, y, z, (10, 9.5, 21 + 3 * s), (11 * s, 3.6, 10 * s))
    sphenoid = ellipsoid(side, y, z, (6.5, -53, -9), (6.2, 9, 8.5))
    maxillary = box(side, y, z, (31, -20, -36), (12.5, 16, 15), 8.0)
    nasal = box(x, y, z, (0, -14, -34), (13.5, 34, 22), 8.0)
    passage = capsule(x, y, z, (0, -48, -40), (0, -50, -70), (11, 11))
    nostril = capsule(side, y, z, (4.5, 16, -34), (7, 30, -44), (4.0, 4.5))
    hollow = np.minimum(np.minimum(frontal, sphenoid), maxillary)
    yield "cortical_bone", hollow - 1.0
    yield "mucosa", hollow
    yield "air", hollow + 0.9
    yield "mucosa", np.minimum(np.minimum(nasal, passage), nostril)
    yield "air", np.minimum(passage + 2.5, nostril + 1.5)


def nasal_air(head: Head, x: Array, y: Array, z: Array) -> Iterator[Body]:
    """Ethmoid cells, septum and turbinates: thin walls that need a fine lattice."""
    ethmoid = box(x, y, z, (0, -21, -2), (11.5, 22, 12.5), 4.0)
    yield "cortical_bone", ethmoid - 0.6
    yield "mucosa", ethmoid
    w = head.warp
    across = np.abs(np.sin(0.40 * y + w[0][3] + 0.5 * np.sin(0.3 * z) + 0.9 * np.sign(x)))
    lengthwise = np.abs(np.abs(x) - 5.6 - 0.8 * np.sin(0.25 * y + w[1][3]))
    wall = np.minimum(np.minimum(across * 2.6, lengthwise), np.abs(x)) - 0.55
    level = np.abs(np.sin(0.33 * z + w[2][3] + 0.1 * y)) * 3.0 - 0.4
    yield "air", np.maximum(ethmoid + 0.7, -np.minimum(wall, level))
    nasal = box(x, y, z, (0, -14, -34), (12.0, 32, 20.5), 7.0)
    turbinate = np.minimum(
        ellipsoid(np.abs(x), y, z, (6.2, -14, -28), (2.4, 22, 7)),
        ellipsoid(np.abs(x), y, z, (7.0, -13, -44), (3.2, 24, 6)),
    )
    septum = np.abs(x - 0.8 * np.sin(0.08 * y + w[0][3])) - 1.2
    yield "air", np.maximum(nasal, -np.minimum(turbinate, septum))
