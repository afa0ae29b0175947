"""Anatomy without files: organs of formulas, with the sizes of textbooks.

Enters: random numbers. Leaves: an `Anatomy` of the same kind as a real one, so
that everything after it is the same. The lacrimal glands are those of the orbit
phantom; parotids bend around the ramus of the mandible.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acinus.cohort.phantom.anatomy import draw_head
from acinus.cohort.phantom.headneck.organs import Anatomy, Organ, sample_organ
from acinus.cohort.phantom.shapes import Triple, capsule, ellipsoid, join
from acinus.types import Array

VOLUMES_ML = {"parotid": (25.0, 6.0, 12.0, 45.0), "submandibular": (8.2, 1.8, 4.0, 13.0)}
"""Mean, sd, least and greatest volume of a gland, mL."""
STEP_MM = 1.5
"""Pitch on which large organs are sampled; lacrimal glands have `FINE_MM`."""
FINE_MM = 0.7

Formula = Callable[[Array, Array, Array], Array]


def make_anatomy(rng: np.random.Generator) -> Anatomy:
    """A head and neck of random proportions, both readings included.

    The second reading has another habit (tighter or wider by some tenths of a
    millimetre) and smooth errors of its outline.
    """
    sex = str(rng.choice(["F", "M"]))
    head = draw_head(rng, age=int(rng.integers(25, 85)), sex=sex, condition="normal")
    globes = (head.globe(1), head.globe(-1))
    chin = (0.0, float(rng.normal(12, 4)), float(rng.normal(-108, 5)))
    teeth_z = chin[2] + float(rng.normal(33, 2.5))
    slope = float(rng.uniform(0.15, 0.42))
    heights = np.array([-30.0, -80.0, -130.0, -180.0, -230.0])
    bend = np.interp(heights, [-230, -130, -30], [4.0, 0.0, 2.0])
    spine = np.stack([0 * heights, -88.0 + slope * (heights + 50.0) + bend, heights], axis=1)
    jaw = _mandible(chin)
    organs = {
        "mandible": sample_organ(
            jaw, (-75, chin[1] - 100, chin[2] - 25), (75, chin[1] + 25, 5), STEP_MM
        )
    }
    true: dict[str, Organ] = {}
    read: dict[str, Organ] = {}
    for side, name in ((1, "right"), (-1, "left")):
        gland = head.glands[0 if side > 0 else 1]
        own: dict[str, tuple[Formula, Triple, float, float]] = {
            "lacrimal": (gland.distance_mm, gland.centre, 20.0, FINE_MM)
        }
        for kind, (middle, reach, shape) in _large_glands(side, chin, jaw).items():
            mean, sd, least, most = VOLUMES_ML[kind]
            volume = float(np.clip(rng.normal(mean, sd), least, most))
            own[kind] = (_of_volume(shape, middle, reach, volume), middle, reach, STEP_MM)
        for kind, (formula, middle, reach, step) in own.items():
            low, high = _corners(middle, reach)
            true[f"{kind}_{name}"] = sample_organ(formula, low, high, step)
            errors = _misread(formula, rng, 0.25 if kind == "lacrimal" else 0.5)
            read[f"{kind}_{name}"] = sample_organ(errors, low, high, step)
    return Anatomy(
        source="made",
        head=head,
        globes=globes,
        organs=organs,
        glands={"reference": true, "second": read},
        spine=spine,
        chin=chin,
        teeth_z=teeth_z,
    )


def _mandible(chin: Triple) -> Formula:
    _, cy, cz = chin

    def distance(x: Array, y: Array, z: Array) -> Array:
        side = np.abs(x)
        low = (z - (cz + 13.0)) * 0.5
        front = capsule(side, y, low, (0, cy - 6, 0), (14, cy - 9, 0), (6.0, 6.0))
        trunk = capsule(side, y, low, (14, cy - 9, 0), (43, cy - 58, 4), (6.0, 5.0))
        depth = (y - (cy - 66.0)) * 0.4
        ramus = capsule(side, depth, z, (44, 0, cz + 20), (50, 0, -36), (5.0, 4.0))
        condyle = capsule(side, y, z, (50, cy - 74, -40), (50, cy - 76, -26), (5.0, 5.5))
        return join(join(join(front, trunk, 4.0), ramus, 4.0), condyle, 4.0)

    return distance


def _corners(middle: Triple, reach: float) -> tuple[Triple, Triple]:
    """Lowest and highest corner of a box about its middle."""
    x, y, z = middle
    return (x - reach, y - reach, z - reach), (x + reach, y + reach, z + reach)


def _large_glands(
    side: int, chin: Triple, jaw: Formula
) -> dict[str, tuple[Triple, float, Callable[[float], Formula]]]:
    """Middle, reach and shape (size to formula) of the parotid and the submandibular gland."""
    _, cy, cz = chin
    parotid = (side * 55.0, cy - 84.0, (cz - 30.0) / 2 + 8.0)
    below = (side * 29.0, cy - 50.0, cz + 7.0)

    def bent(size: float) -> Formula:
        def distance(x: Array, y: Array, z: Array) -> Array:
            px, py, pz = parotid
            outer = ellipsoid(
                x, y, z, (px + side * 4, py + 12, pz + 2), (7 * size, 21 * size, 23 * size)
            )
            inner = ellipsoid(
                x, y, z, (px - side * 4, py - 3, pz - 3), (12 * size, 10 * size, 17 * size)
            )
            return np.maximum(join(outer, inner, 5.0), 1.5 - jaw(x, y, z))

        return distance

    def bean(size: float) -> Formula:
        def distance(x: Array, y: Array, z: Array) -> Array:
            bx, by, bz = below
            big = ellipsoid(x, y, z, (bx, by, bz - 2), (8.5 * size, 15 * size, 12 * size))
            hook = ellipsoid(
                x, y, z, (bx - side * 5, by + 9, bz + 6), (5 * size, 10 * size, 6 * size)
            )
            return np.maximum(join(big, hook, 4.0), 1.0 - jaw(x, y, z))

        return distance

    return {"parotid": (parotid, 52.0, bent), "submandibular": (below, 36.0, bean)}


def _of_volume(
    shape: Callable[[float], Formula], middle: Triple, reach: float, volume_ml: float
) -> Formula:
    """The shape at the size at which it has the volume, within about 2%."""
    size = 1.0
    low, high = _corners(middle, reach)
    for _ in range(4):
        inside = sample_organ(shape(size), low, high, 2.0).values
        found = float(np.clip(0.5 - inside / 2.0, 0, 1).sum()) * 8.0 / 1000.0
        size *= (volume_ml / max(found, 0.1)) ** (1 / 3)
    return shape(size)


def _misread(formula: Formula, rng: np.random.Generator, edge_mm: float) -> Formula:
    """The outline as another reader draws it."""
    habit = rng.normal(0.0, 0.6 * edge_mm)
    shift = rng.normal(0.0, edge_mm, 3)
    waves = np.column_stack([rng.normal(0.0, 0.25, (3, 3)), rng.uniform(0, 2 * np.pi, 3)])

    def distance(x: Array, y: Array, z: Array) -> Array:
        off = habit
        for a, b, c, phase in waves:
            off = off + edge_mm * np.sin(a * x + b * y + c * z + phase)
        return formula(x + shift[0], y + shift[1], z + shift[2]) + off

    return distance
