"""Wall of the trunk: skin, fat, layers of muscle, lungs, ribs, spine, deep muscles.

Enters: a trunk. Leaves: bodies in the order of painting.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acinus.cohort.phantom.shapes import superellipse
from acinus.cohort.phantom.trunk import Trunk
from acinus.cohort.phantom.trunk_parts import (
    FAR,
    TrunkBody,
    cavity_mm,
    dome_mm,
    everywhere,
    muscle_outline_mm,
    skin_outline_mm,
)
from acinus.types import Array

VERTEBRA_MM = 36.0
"""Height of a vertebra with its disc."""
RIB_MM = 27.0
"""Distance of two ribs along the trunk."""


def wall_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """Everything around the cavity, and the spine."""
    yield from _wall(trunk)
    yield from _spine()
    yield from _deep_muscles(trunk)


def _groove_mm(x: Array, y: Array) -> Array:
    """Depth of the furrow along the back."""
    return np.where(y < 0, 5.0 * np.exp(-((x / 13.0) ** 2)), 0.0)


def _wall(trunk: Trunk) -> Iterator[TrunkBody]:
    muscle_x, muscle_y, muscle_at = muscle_outline_mm(trunk)
    skin_x, skin_y, skin_at = skin_outline_mm(trunk)

    def muscles(x: Array, y: Array, z: Array) -> Array:
        return superellipse(x, y - muscle_at, (muscle_x, muscle_y), 2.35) + _groove_mm(x, y)

    def skin(x: Array, y: Array, z: Array) -> Array:
        return superellipse(x, y - skin_at, (skin_x, skin_y), 2.25) + _groove_mm(x, y)

    def cavity(x: Array, y: Array, z: Array) -> Array:
        return cavity_mm(trunk, x, y, z)

    def lung(x: Array, y: Array, z: Array) -> Array:
        above = 2.5 - dome_mm(x, y, z)
        return np.maximum(np.maximum(cavity(x, y, z) + 3.0, above), 42.0 - z)

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

    yield everywhere("skin", skin, ("fat", 2.0))
    yield everywhere("muscle", muscles)
    yield everywhere("fat", planes)
    yield everywhere("visceral_fat", cavity)
    yield everywhere("lung", lung)
    yield everywhere("cortical_bone", ribs, ("marrow", 2.0))


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
    yield TrunkBody("cortical_bone", body, low, high, (("marrow", 1.8),))
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
