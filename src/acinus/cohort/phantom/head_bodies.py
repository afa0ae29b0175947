"""The head around the orbits: skin, fat, muscle, bone, brain, sinuses.

Enters: the head and lattice points in head coordinates (mm). Leaves: bodies in
the order of painting, a later one covers an earlier one. Their surfaces are
smooth enough for a lattice of under 3 mm; folds of the brain and walls of the
nose, which are not, come as fields that are combined at every pixel, or are
evaluated there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acinus.cohort.phantom.anatomy import Body, Head, body, intracranial, outline
from acinus.cohort.phantom.shapes import box, capsule, ellipsoid, join
from acinus.types import Array

NASAL_REACH_MM = ((-17.0, 17.0), (-50.0, 34.0), (-60.0, 14.0))
"""Box of the structures that `nasal_bodies` gives, (right, anterior, superior) mm."""

FOLD_MM = 5.0
"""Distance, mm, that one unit of the folding noise stands for."""


def large_bodies(
    head: Head,
    x: Array,
    y: Array,
    z: Array,
    noise: Array,
    *,
    skin: Array | None = None,
    brain: Array | None = None,
) -> Iterator[Body]:
    """Everything but the orbits and the inside of the nose.

    Args:
        head: The patient.
        x, y, z: Lattice points in head coordinates, one shape, mm.
        noise: (2, ...) smooth random fields with sd 1 at the same points.
        skin: Signed distance to the skin at the points, mm; None: the head's own.
        brain: Signed distance to the inside of the skull, mm; None: the head's own.
    """
    x, y, z = _warped(head, x, y, z)
    skin = outline(head, x, y, z) if skin is None else skin
    brain = intracranial(head, x, y, z) if brain is None else brain
    yield body("skin", skin)
    yield body("fat", skin + 1.9)
    yield from _ears(head, x, y, z, skin)
    yield from _muscles(head, x, y, z, skin)
    yield from _bones(head, x, y, z, brain, skin)
    yield from _brain(head, x, y, z, brain, noise)
    yield from _deep_brain(head, x, y, z)
    yield from _skull_base(x, y, z)
    yield from _airways(head, x, y, z)


def _warped(head: Head, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Points moved by a smooth deformation of some mm that spares the orbits."""
    far = np.float32(1.0) - np.exp(-((y + 5.0) ** 2 + z * z) * np.float32(1 / 45.0**2))
    moved = [
        p + far * np.float32(1.8) * np.sin(a * x + b * y + c * z + phase)
        for p, (a, b, c, phase) in zip((x, y, z), head.warp, strict=True)
    ]
    return moved[0], moved[1], moved[2]


def _ears(head: Head, x: Array, y: Array, z: Array, skin: Array) -> Iterator[Body]:
    stands_off = 1.5 + 0.24 * (-y - 90.0)
    region = ellipsoid(np.abs(x), y, z, (76 * head.width, -101, -8), (26, 14, 28))
    off = skin - stands_off
    yield _sheet("skin", region, off, depth_mm=0.0, half_mm=1.7)
    yield _sheet("cartilage", region, off, depth_mm=0.0, half_mm=0.6)


def _muscles(head: Head, x: Array, y: Array, z: Array, skin: Array) -> Iterator[Body]:
    side = np.abs(x)
    w = head.width
    ring = ellipsoid(side, y, z, (head.globe_x_mm + 1, 4, 0), (25, 34, 22))
    yield _sheet("lid", ring, skin, depth_mm=3.0, half_mm=1.0)
    temporalis = ellipsoid(side, y, z, (55 * w, -43, 2), (13.5, 29, 38))
    temporalis = np.maximum(temporalis, skin + head.scalp_mm + 1.0)
    yield body("muscle", temporalis)
    masseter = ellipsoid(side, y, z, (55 * w, -36, -52), (7, 20, 27))
    pterygoid = ellipsoid(side, y, z, (31 * w, -50, -42), (12, 16, 17))
    yield body("muscle", np.minimum(masseter, pterygoid))
    nape = ellipsoid(x, y, z, (0, -150, -62), (52, 30, 34))
    yield body("muscle", np.maximum(nape, skin + 7.0))
    yield body("parotid", ellipsoid(side, y, z, (59 * w, -78, -46), (9, 15, 20)))
    forehead = np.maximum(12.0 - z, -8.0 - y)
    yield _sheet("muscle", forehead, skin, depth_mm=4.0, half_mm=0.8)
    cheeks = np.maximum(np.maximum(z + 16.0, -22.0 - y), 16.0 - side)
    yield _sheet("muscle", cheeks, skin, depth_mm=4.8, half_mm=0.7)


def _sheet(tissue: str, region: Array, skin: Array, *, depth_mm: float, half_mm: float) -> Body:
    """A sheet that follows the skin within a region: thinner than the lattice's pitch."""
    depth, half = np.float32(depth_mm), np.float32(half_mm)
    return Body(tissue, (region, skin), lambda edge, s: np.maximum(edge, np.abs(s + depth) - half))


def _bones(head: Head, x: Array, y: Array, z: Array, brain: Array, skin: Array) -> Iterator[Body]:
    side = np.abs(x)
    w = head.width
    rim = capsule(side, y, z, (50 * w, -6, 13), (52 * w, -14, -1), (5.0, 5.4))
    rim = join(rim, capsule(side, y, z, (52 * w, -14, -1), (43 * w, -3, -23), (5.4, 7.5)), 2.0)
    rim = join(rim, capsule(side, y, z, (50 * w, -6, 13), (33 * w, 5, 21), (5.0, 4.0)), 2.0)
    arch = capsule(side, y, z, (50 * w, -14, -20), (69 * w, -68, -21), (4.0, 3.4))
    wing = capsule(side, y, z, (46 * w, -25, 2), (27, -46, 5), (3.8, 5.8))
    cheek = join(join(rim, arch, 2.0), wing, 2.0)
    front = ellipsoid(x, y, z, (0, 3, 25), (46 * w, 12, 15))
    bridge = capsule(x, y, z, (0, 7, 12), (0, 12, 4), (7.0, 4.0))
    jaw = ellipsoid(x, y, z, (0, -16, -46), (37, 26, 24))
    ramus = capsule(side, y, z, (50 * w, -60, -26), (47 * w, -50, -64), (4.0, 5.0))
    face = join(join(join(cheek, front, 3.0), bridge, 3.0), jaw, 4.0)
    face = np.maximum(np.minimum(face, ramus), skin + 2.5)
    thick = 3.0 + 3.8 / (1.0 + np.exp(np.clip((18.0 - z) / 4.0, -30, 30)))
    thick = np.where(y < -80, np.maximum(thick, 5.5), thick)
    base = ellipsoid(x, y, z, (0, -60, -20), (17, 22, 18))
    bone = np.minimum(face, np.maximum(brain - thick, skin + 2.5))
    bone = join(bone, base, 3.0)
    yield body("cortical_bone", bone)
    yield body("diploe", np.maximum(bone + 1.9, 1.8 - brain))
    facial = np.minimum(np.minimum(np.minimum(cheek, jaw), base), ramus)
    yield body("marrow", np.maximum(np.maximum(facial, bone) + 1.6, 1.8 - brain))


def _brain(head: Head, x: Array, y: Array, z: Array, brain: Array, noise: Array) -> Iterator[Body]:
    """Dura, fluid, and grey and white matter with folds; the cerebellum."""
    a = head.atrophy
    side = np.abs(x)
    yield body("dura", brain - 0.4)
    yield body("csf", brain + 0.5)
    depth = -brain - 1.3 * a
    fissure = np.maximum(side - 0.9 * a, -14.0 - z)
    sylvian = ellipsoid(side, y, z, (46, -52, 9), (18, 13, 2.2 * a))
    cistern = ellipsoid(x, y, z, (0, -68, -4), (11, 12, 9))
    cistern = np.minimum(cistern, ellipsoid(x, y, z, (0, -72, -28), (14, 6, 34)))
    inside = np.maximum(-depth, -np.minimum(np.minimum(fissure, sylvian), cistern))
    sulcus = 1.2 * a * np.maximum(1.0 - depth / 17.0, -1.0)
    ribbon = 4.2 * (1.0 - depth / 24.0)

    def folded(edge: Array, half_width: Array, fold: Array) -> Array:
        return np.maximum(edge, half_width - np.float32(FOLD_MM) * np.abs(fold))

    rear = ellipsoid(x, y, z, (0, -122, -24), (54, 44, 32))
    yield Body("grey_matter", (inside, sulcus, noise[0]), folded)
    white = np.maximum(inside + 3.0 + 0.6 * noise[1], -rear)
    yield Body("white_matter", (white, ribbon, noise[0]), folded)
    yield body("dura", np.maximum(np.maximum(side - 0.45, -3.0 - z), brain + 1.0))
    rear = np.maximum(rear, inside + 0.3)
    yield body("cerebellum", rear)
    phase = 0.8 * np.sqrt(x * x * 0.45 + (y + 92) ** 2 + 0.3 * z * z) + 0.7 * noise[1]

    def leaved(edge: Array, angle: Array) -> Array:
        return np.maximum(edge, np.float32(1.6) * (np.float32(0.94) - np.abs(np.sin(angle))))

    yield Body("csf", (rear + 1.0, phase), lambda e, p: leaved(e, p + np.float32(np.pi / 2)))
    yield body("white_matter", np.maximum(rear + 11.0, 6.0 - side))


def _deep_brain(head: Head, x: Array, y: Array, z: Array) -> Iterator[Body]:
    a = head.atrophy
    side = np.abs(x)
    stem = ellipsoid(x, y, z, (0, -86, -28), (14.5, 13, 44))
    yield body("white_matter", stem)
    nuclei = ellipsoid(side, y, z, (10, -80, 15), (8, 15, 9))
    nuclei = np.minimum(nuclei, ellipsoid(side, y, z, (26, -60, 12), (5, 16, 10)))
    nuclei = np.minimum(nuclei, ellipsoid(side, y, z, (13, -48, 18), (4.5, 9, 9)))
    yield body("grey_matter", nuclei)
    horn = ellipsoid(side, y, z, (7.5, -62, 26), (4.5 * a, 22, 7 * a))
    horn = join(horn, ellipsoid(side, y, z, (20, -112, 24), (5 * a, 20, 7 * a)), 4.0)
    third = ellipsoid(x, y, z, (0, -80, 12), (2.2 * a, 13, 11))
    fourth = ellipsoid(x, y, z, (0, -101, -30), (6 * a, 5 * a, 9))
    temporal = ellipsoid(side, y, z, (32, -68, -10), (1.8 * a, 12, 2.5 * a))
    yield body("csf", np.minimum(np.minimum(horn, third), np.minimum(fourth, temporal)))


def _skull_base(x: Array, y: Array, z: Array) -> Iterator[Body]:
    side = np.abs(x)
    petrous = capsule(side, y, z, (58, -97, -25), (20, -72, -17), (13.0, 5.5))
    yield body("cortical_bone", petrous)
    yield body("air", ellipsoid(side, y, z, (59, -99, -27), (7, 9, 10)))
    yield body("venous_blood", ellipsoid(side, y, z, (13, -62, -9), (4.6, 10, 7)))
    yield body("pituitary", ellipsoid(x, y, z, (0, -66, -6), (6, 5, 4)))
    yield body("flow_void", capsule(side, y, z, (13, -70, -14), (12, -56, -5), (2.4, 2.3)))
    yield body("flow_void", capsule(x, y, z, (0, -75, -40), (0, -73, 0), (1.8, 1.6)))
    yield body("venous_blood", ellipsoid(side, y, z, (54, -120, -22), (5, 15, 4)))
    yield body("venous_blood", capsule(x, y, z, (0, -163, 8), (0, -160, 60), (4.0, 3.5)))


def _airways(head: Head, x: Array, y: Array, z: Array) -> Iterator[Body]:
    side = np.abs(x)
    s = head.sinus
    frontal = ellipsoid(side, y, z, (10, 9.5, 22 + 3 * s), (11 * s, 3.6, 10 * s))
    sphenoid = ellipsoid(side, y, z, (6.8, -53, -9), (6.6, 10.5, 9))
    maxillary = ellipsoid(side, y, z, (31, -19, -36), (14, 17, 17))
    maxillary = join(maxillary, ellipsoid(side, y, z, (24, -26, -32), (9, 14, 13)), 4.0)
    passage = capsule(x, y, z, (0, -48, -40), (0, -50, -70), (11, 11))
    nostril = capsule(side, y, z, (4.5, 16, -34), (7, 30, -44), (4.0, 4.5))
    hollow = np.minimum(np.minimum(frontal, sphenoid), maxillary)
    yield body("cortical_bone", hollow - 1.0)
    yield body("mucosa", hollow)
    yield body("air", hollow + 0.8)
    yield body("mucosa", np.minimum(passage, nostril))
    yield body("air", np.minimum(passage + 2.5, nostril + 1.5))


def nasal_bodies(head: Head, x: Array, y: Array, z: Array) -> Iterator[Body]:
    """Ethmoid cells, septum, turbinates and nasal bones, to be evaluated at every pixel."""
    w = head.warp
    side = np.abs(x)
    bones = capsule(x, y, z, (0, 7, 4), (0, 15, -12), (6.0, 8.5))
    yield body("cortical_bone", np.maximum(np.abs(bones) - 0.7, np.maximum(-14.0 - z, z - 1.0)))
    cavity = ellipsoid(x, y, z, (0, -14, -33), (14.0, 36, 21))
    upper = box(x, y, z, (0, -9, -10), (5.5, 24, 15), 4.0)
    cavity = join(cavity, upper, 3.0)
    cavity = join(cavity, capsule(x, y, z, (0, 6, -12), (0, 20, -36), (5.0, 8.5)), 3.0)
    yield body("cortical_bone", cavity - 0.7)
    yield body("mucosa", cavity)
    lower = ellipsoid(side, y, z, (7.6, -14, -45), (3.8, 26, 6.5))
    middle = ellipsoid(side - 0.6 * np.sin(0.2 * y), y, z, (6.0, -18, -26), (2.6, 20, 8.0))
    half = 0.55 + 0.6 / (1.0 + np.exp(np.clip((z + 16.0) / 3.0, -30, 30)))
    septum = np.abs(x - 1.2 * np.sin(0.07 * y + w[0][3]) * np.exp(-np.abs(z + 25) / 30)) - half
    walls = np.minimum(np.minimum(lower, middle), septum)
    lining = 0.6 + 0.6 / (1.0 + np.exp(np.clip((z + 18.0) / 3.0, -30, 30)))
    yield body("air", np.maximum(cavity + lining, -walls))
    labyrinth = box(side + 0.03 * (y + 22), y, z, (7.8, -22, -3), (4.4, 21, 10.0), 3.0)
    yield body("cortical_bone", labyrinth - 0.5)
    yield body("mucosa", labyrinth)
    turn = np.where(x > 0, w[0][3], w[1][3])
    bend = y + 1.6 * np.sin(0.45 * side + 0.2 * z + turn) + 2.5 * np.sin(0.13 * y + 2.0 * turn)
    across = np.abs(np.sin(0.38 * bend + 0.25 * z + turn)) * 2.6
    level = np.abs(np.sin(0.28 * z + 0.10 * bend + w[2][3])) * 3.5
    along = np.abs(side - 7.6 - 1.6 * np.sin(0.24 * y + turn) - 0.1 * z)
    level = np.minimum(level, along)
    thin = np.minimum(across, level) - 0.32
    yield body("air", np.maximum(labyrinth + 0.55, -thin))
