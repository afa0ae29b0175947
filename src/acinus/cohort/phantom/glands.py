"""Lacrimal glands: two lobes in a shell around the globe, of a stated volume.

Enters: random numbers, the globe, the patient's condition. Leaves: a frozen
`Gland` that gives its signed distance at any point of the head, in mm.
Ellipsoids in straight coordinates were rejected: drawn glands on CT are plates
of about 5 x 13 x 16 mm that bend around the globe.

Source of sizes and places: 42 glands in 21 CTs drawn by two readers (Nikolov et
al. 2021): volume 0.63 (sd 0.17) mL, centre 12.3 mm lateral, 5.8 mm posterior and
3.6 mm superior of the globe's centre (sd 1.1, 2.0, 2.3), right and left volumes
correlated with r = 0.72.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from acinus.cohort.phantom.shapes import Triple, join
from acinus.types import Array

Condition = Literal["normal", "enlarged", "atrophic", "one_sided"]

CONDITION_SHARES: dict[Condition, float] = {
    "normal": 0.80,
    "enlarged": 0.06,
    "atrophic": 0.07,
    "one_sided": 0.07,
}
"""Share of the patients by the state of their glands (ours)."""

NORMAL_VOLUME_ML = (0.62, 0.16, 0.12)
"""Mean, sd between patients, sd between the sides of one patient, mL."""
NORMAL_RANGE_ML = (0.32, 1.05)
ENLARGED_RANGE_ML = (0.95, 1.7)
ATROPHIC_RANGE_ML = (0.18, 0.34)
VOLUME_RANGE_ML = (0.15, 2.0)
"""Smallest and largest gland that the phantom makes, mL."""

GLAND_DIRECTION = (12.3, -5.8, 3.6)
"""From the globe's centre to the right gland's centre, (right, anterior, superior), mm."""
GLAND_DIRECTION_SD = (0.8, 1.7, 1.9)
GAP_MM = 0.7
"""Between sclera and gland."""


@dataclass(frozen=True)
class Gland:
    """One lacrimal gland.

    Attributes:
        side: 1 for right, -1 for left.
        globe: Centre of the globe, (right, anterior, superior) mm.
        globe_radius_mm: Radius of the globe.
        direction: Unit vector from the globe to the gland; x points laterally.
        orbital_mm: Half thickness, half length along the horizontal arc, half
            height along the vertical arc of the orbital lobe.
        palpebral_mm: The same of the palpebral lobe.
        palpebral_at_mm: Where the palpebral lobe's centre lies on the two arcs.
        bulge_mm: How far a third, anterior part reaches; 0 for none.
        waves: (3, 4) wave vectors and phases of the lobulation.
        size: Factor on all half lengths.
        uptake: Factor on the concentration of contrast agent.
        fat_share: Share of the gland that fat has replaced.
    """

    side: int
    globe: Triple
    globe_radius_mm: float
    direction: Triple
    orbital_mm: Triple
    palpebral_mm: Triple
    palpebral_at_mm: tuple[float, float]
    bulge_mm: float
    waves: tuple[tuple[float, ...], ...]
    size: float = 1.0
    uptake: float = 1.0
    fat_share: float = 0.0

    @property
    def shell_mm(self) -> float:
        """Distance of the gland's middle surface from the globe's centre."""
        return self.globe_radius_mm + GAP_MM + 0.9 * self.orbital_mm[0] * self.size

    @property
    def centre(self) -> Triple:
        """About the middle of the gland, (right, anterior, superior) mm."""
        gx, gy, gz = self.globe
        dx, dy, dz = (self.shell_mm * d for d in self.direction)
        return (gx + self.side * dx, gy + dy, gz + dz)

    @property
    def reach_mm(self) -> Triple:
        """Half edges of the box around `centre` in which a reading is drawn."""
        return (27.0, 27.0, 27.0)

    def distance_mm(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the gland's surface, negative inside, about in mm.

        Args:
            x, y, z: Points of the head, (right, anterior, superior) mm, one shape.
        """
        px, py, pz = (x - self.globe[0]) * self.side, y - self.globe[1], z - self.globe[2]
        radius, along, up = self._shell_coordinates(px, py, pz)
        size = self.size
        sunk = 1.1 / (1.0 + np.exp(np.clip(up / 2.0, -30, 30)))
        off = radius - self.shell_mm - sunk
        body = _lobe(off, along + 0.6, up - 1.2, self.orbital_mm, size)
        at_along, at_up = self.palpebral_at_mm
        lower = _lobe(
            off + 0.3, along - at_along * size, up - at_up * size, self.palpebral_mm, size
        )
        body = join(body, lower, 1.0)
        if self.bulge_mm > 0:
            front = (self.orbital_mm[0] * 0.9, self.orbital_mm[1] * 0.7, self.orbital_mm[2] * 0.6)
            reach = self.bulge_mm * size
            body = join(body, _lobe(off - 0.8, along - reach, up, front, size), 2.0)
        for a, b, c, phase in self.waves:
            body = body + 0.22 * np.sin(a * px + b * py + c * pz + phase)
        clear = self.globe_radius_mm + 0.4 - radius
        return np.asarray(np.maximum(body, clear))

    def _shell_coordinates(self, px: Array, py: Array, pz: Array) -> tuple[Array, Array, Array]:
        """Radius, and arc lengths (anterior, superior) on the shell, from the gland's middle."""
        m = np.asarray(self.direction)
        e_up = np.array([0.0, 0.0, 1.0]) - m[2] * m
        e_up /= np.linalg.norm(e_up)
        e_along = np.cross(e_up, m)
        e_along *= np.sign(e_along[1])
        radius = np.sqrt(px * px + py * py + pz * pz)
        in_m = px * np.float32(m[0]) + py * np.float32(m[1]) + pz * np.float32(m[2])
        in_a = (
            px * np.float32(e_along[0]) + py * np.float32(e_along[1]) + pz * np.float32(e_along[2])
        )
        in_u = px * np.float32(e_up[0]) + py * np.float32(e_up[1]) + pz * np.float32(e_up[2])
        along = np.float32(self.shell_mm) * np.arctan2(in_a, in_m)
        up = np.float32(self.shell_mm) * np.arctan2(in_u, np.sqrt(in_m * in_m + in_a * in_a))
        return radius, along, up


def _lobe(off: Array, along: Array, up: Array, half_mm: Triple, size: float) -> Array:
    """Signed distance to an ellipsoid in the bent coordinates of the shell."""
    a, b, c = (np.float32(1.0 / (h * size)) for h in half_mm)
    level = np.sqrt((off * a) ** 2 + (along * b) ** 2 + (up * c) ** 2)
    slope = np.sqrt((off * a * a) ** 2 + (along * b * b) ** 2 + (up * c * c) ** 2)
    return np.asarray(level * (level - 1.0) / np.maximum(slope, 1e-3))


def measure_volume_ml(gland: Gland, step_mm: float = 0.5) -> float:
    """Volume of the gland by counting on a fine grid with soft edges, mL."""
    half = 19.0 if gland.size > 0.8 else 14.0
    reach = np.arange(-half, half + step_mm, step_mm, dtype=np.float32)
    cx, cy, cz = gland.centre
    x, y, z = np.meshgrid(cx + reach, cy + reach, cz + reach, indexing="ij")
    inside = np.clip(0.5 - gland.distance_mm(x, y, z) / step_mm, 0.0, 1.0)
    return float(inside.sum(dtype=np.float64)) * step_mm**3 / 1000.0


def fit_volume(gland: Gland, volume_ml: float) -> Gland:
    """The gland scaled about the globe's surface so that its volume is `volume_ml` within 1%."""
    size = gland.size
    step_mm = 0.7 if volume_ml > 0.5 else 0.45
    for _ in range(6):
        scaled = replace(gland, size=size)
        found = measure_volume_ml(scaled, step_mm)
        if abs(found / volume_ml - 1.0) < 0.01:
            break
        size *= (volume_ml / found) ** 0.36
    return replace(gland, size=size)


def draw_gland(
    rng: np.random.Generator,
    *,
    side: int,
    globe: Triple,
    globe_radius_mm: float,
    volume_ml: float,
    is_bulging: bool,
    age: int,
) -> Gland:
    """A gland of random shape and place with the given volume; age brings fat into it."""
    raw = np.asarray(GLAND_DIRECTION) + rng.normal(size=3) * np.asarray(GLAND_DIRECTION_SD)
    direction = raw / np.linalg.norm(raw)
    stretch = np.exp(rng.normal(0.0, [0.10, 0.13, 0.13, 0.12, 0.12, 0.12]))
    waves = np.column_stack([rng.normal(0.0, 0.5, (3, 3)), rng.uniform(0, 2 * np.pi, 3)])
    gland = Gland(
        side=side,
        globe=globe,
        globe_radius_mm=globe_radius_mm,
        direction=_triple(direction),
        orbital_mm=_triple(np.array([2.5, 6.2, 8.6]) * stretch[:3]),
        palpebral_mm=_triple(np.array([1.9, 4.6, 5.0]) * stretch[3:]),
        palpebral_at_mm=(float(rng.normal(2.6, 1.0)), float(rng.normal(-6.2, 0.9))),
        bulge_mm=float(rng.uniform(5.0, 8.0)) if is_bulging else 0.0,
        waves=tuple(tuple(float(v) for v in row) for row in waves),
        uptake=float(np.exp(rng.normal(0.0, 0.2))),
        fat_share=float(np.clip(rng.normal(0.0035 * (age - 25), 0.05), 0.0, 0.3)),
    )
    return fit_volume(gland, volume_ml)


def draw_volumes_ml(
    rng: np.random.Generator, condition: Condition, age: int
) -> tuple[tuple[float, float], tuple[bool, bool]]:
    """Volumes of the right and left gland, mL, and which of them bulges.

    Args:
        rng: Source of randomness.
        condition: State of the patient's glands.
        age: Years; glands shrink a little with age.
    """
    mean, between, within = NORMAL_VOLUME_ML
    own = rng.normal(mean - 0.0015 * (age - 54), between)
    normal = np.clip(own + rng.normal(0.0, within / np.sqrt(2.0), 2), *NORMAL_RANGE_ML)
    large = rng.uniform(*ENLARGED_RANGE_ML)
    small = rng.uniform(*ATROPHIC_RANGE_ML)
    ratio = np.exp(rng.normal(0.0, 0.1, 2))
    diseased_side = int(rng.integers(2))
    bulges = [False, False]
    volumes = normal
    if condition == "enlarged":
        volumes = large * ratio
        bulges = [bool(b) for b in rng.random(2) < 0.6]
    elif condition == "atrophic":
        volumes = small * ratio
    elif condition == "one_sided":
        grows = rng.random() < 0.7
        volumes[diseased_side] = large if grows else small
        bulges[diseased_side] = bool(grows)
    right, left = (float(v) for v in np.clip(volumes, *VOLUME_RANGE_ML))
    return (right, left), (bulges[0], bulges[1])


def _triple(values: Array) -> Triple:
    return (float(values[0]), float(values[1]), float(values[2]))
