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

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from acinus.cohort.phantom.glands import Condition, Gland, draw_gland, draw_volumes_ml
from acinus.cohort.phantom.shapes import Triple, capsule, ellipsoid, join, sphere
from acinus.types import Array


class Body(NamedTuple):
    """One body: a tissue within a surface.

    Attributes:
        tissue: Name in `TISSUES`.
        fields: Smooth fields at the points; the first is a signed distance in mm
            that bounds the body.
        combine: Fields to the signed distance of the body, where it has edges
            finer than the lattice; None if the first field is that distance.
    """

    tissue: str
    fields: tuple[Array, ...]
    combine: Callable[..., Array] | None = None


def body(tissue: str, distance: Array) -> Body:
    """A body whose signed distance is smooth."""
    return Body(tissue, (distance,))


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
            age=age,
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


def outline(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the skin, mm."""
    w, n, h = head.width, head.length, head.height
    extra = head.scalp_mm - 5.5
    cranium = ellipsoid(
        x, y, z, (0, -79, 18 * h), ((77 + extra) * w, (98 + extra) * n, (97 + extra) * h)
    )
    face = ellipsoid(x, y, z, (0, -36, -46), (62 * w, 51, 62))
    temples = ellipsoid(x, y, z, (0, -38, -3), (64 * w, 47, 42))
    brow = ellipsoid(x, y, z, (0, -4, 20), (50 * w, 21, 13))
    neck = ellipsoid(x, y, z, (0, -92, -62), (66 * w, 70, 52))
    skin = join(join(cranium, face, 10.0), join(brow, temples, 8.0), 9.0)
    skin = join(skin, neck, 16.0)
    nose = capsule(x, y, z, (0, 9, 3), (0, 30, -36), (7.5, 11.5))
    skin = join(skin, nose, 9.0)
    for side in (1, -1):
        gx, gy, gz = head.globe(side)
        lid = sphere(x, y, z, (gx, gy + 0.8, gz), head.globe_radius_mm + 3.2)
        skin = join(skin, lid, 7.0)
    for gland in head.glands:
        near = np.abs(x - gland.centre[0]) + np.abs(y - gland.centre[1]) < 34
        if near.any():
            cover = np.full_like(skin, 60.0)
            cover[near] = gland.distance_mm(x[near], y[near], z[near]) - 4.2
            skin = join(skin, cover, 4.0)
    return skin


def intracranial(head: Head, x: Array, y: Array, z: Array) -> Array:
    """Signed distance to the inside of the skull (brain and its fluid), mm."""
    w, n, h = head.width, head.length, head.height
    vault = ellipsoid(x, y, z, (0, -82, 30 * h), (68.5 * w, 86 * n, 62 * h))
    roof = 9.0 + 11.0 * np.exp(-(((np.abs(x) - 31.0) / 15.0) ** 2))
    back = 1.0 / (1.0 + np.exp(np.clip((y + 44.0) * 0.2, -30, 30)))
    floor = roof - (roof + 8.0) * back
    vault = np.maximum(vault, (floor - z) * 0.85)
    x_side = np.abs(x)
    temporal = ellipsoid(x_side, y, z, (42 * w, -70, -6), (25.5, 33, 25))
    rear = ellipsoid(x, y, z, (0, -118, -20), (54 * w, 40 * n, 32))
    stem = ellipsoid(x, y, z, (0, -88, -25), (17, 19, 42))
    brain = join(join(vault, temporal, 5.0), rear, 8.0)
    return join(brain, stem, 4.0)
