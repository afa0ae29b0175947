"""The pancreas: a bent, lobulated organ from head to tail, of a stated volume.

Enters: random numbers, the person's condition and age. Leaves: a frozen `Pancreas`
that gives its signed distance at any point of the trunk, in mm. A sum of ellipsoids
was rejected: the long, curved course with its uncinate process, neck and thin tail is
what makes the organ hard to segment.

Sizes follow textbooks: 12-20 cm long; head, body and tail about 25, 20 and 18 mm thick;
volume of adults about 40 to 110 mL, falling with age. Their spread is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline

from acinus.cohort.phantom.abdomen_people import Condition
from acinus.cohort.phantom.shapes import Triple, capsule, join, sphere, triple
from acinus.types import Array

COURSE: tuple[Triple, ...] = (
    (30.0, 2.0, -31.0),
    (33.0, 7.0, -13.0),
    (15.0, 19.0, 3.0),
    (-9.0, 27.0, 12.0),
    (-36.0, 19.0, 18.0),
    (-62.0, -3.0, 25.0),
    (-84.0, -27.0, 33.0),
)
"""Points of the mean course, head to tail: (right, anterior, superior) mm."""
RADII_MM = (12.0, 15.5, 8.0, 9.5, 9.5, 9.5, 7.5)
"""Half thickness at these points."""
UNCINATE: Triple = (13.0, -3.0, -25.0)
"""Tip of the uncinate process, behind the superior mesenteric vein."""
N_PIECES = 20
"""Straight pieces that the course is made of."""
TALLNESS = 1.3
"""Height over thickness."""

VOLUME_ML = (89.0, 17.0)
"""Mean and sd of a normal pancreas at 55 years."""
VOLUME_RANGE_ML = (42.0, 115.0)
ATROPHIC_RANGE_ML = (26.0, 42.0)
PER_YEAR_ML = 0.45
"""Lost each year after 55."""


@dataclass(frozen=True)
class Settling:
    """A smooth deformation of the mean anatomy, and its size.

    Attributes:
        size: Factor on all lengths.
        waves: (N, 7) amplitudes (mm), wave vector (1/mm) and phase.
    """

    size: float
    waves: tuple[tuple[float, ...], ...]

    def __call__(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Points of the mean anatomy that belong to points of the person, mm."""
        points = [p * np.float32(1.0 / self.size) for p in (x, y, z)]
        moved = [p.copy() for p in points]
        for ax, ay, az, kx, ky, kz, phase in self.waves:
            wave = np.sin(
                np.float32(kx) * points[0]
                + np.float32(ky) * points[1]
                + np.float32(kz) * points[2]
                + np.float32(phase)
            )
            for target, amplitude in zip(moved, (ax, ay, az), strict=True):
                target += np.float32(amplitude) * wave
        return moved[0], moved[1], moved[2]


@dataclass(frozen=True)
class Pancreas:
    """One pancreas.

    Attributes:
        settling: Deformation of the trunk that it lies in.
        course: Points from head to tail, mm.
        radii_mm: Half thickness at these points.
        uncinate: Tip of the uncinate process.
        lobules: (3, 4) wave vectors and phases of the lobulation.
        lobule_mm: Depth of the lobulation.
        cyst: Centre and radius, mm; None without.
        size: Factor on all thicknesses.
        fat_share: Share of the organ that fat has replaced.
        seen: Part of the course that is drawn, head 0 to tail 1.
    """

    settling: Settling
    course: tuple[Triple, ...]
    radii_mm: tuple[float, ...]
    uncinate: Triple
    lobules: tuple[tuple[float, ...], ...]
    lobule_mm: float
    cyst: tuple[Triple, float] | None = None
    size: float = 1.0
    fat_share: float = 0.0
    seen: tuple[float, float] = (0.0, 1.0)

    @property
    def centre(self) -> Triple:
        """Middle of the box around it, (right, anterior, superior) mm."""
        low, high = self._bounds()
        return triple((low + high) * 0.5)

    @property
    def reach_mm(self) -> Triple:
        """Half edges of the box around `centre` that holds it and every reading of it."""
        low, high = self._bounds()
        return triple((high - low) * 0.5)

    def _bounds(self) -> tuple[Array, Array]:
        points = np.array([*self.course, self.uncinate])
        margin = max(self.radii_mm) * self.size + 16.0
        size = self.settling.size
        return points.min(axis=0) * size - margin, points.max(axis=0) * size + margin

    def line(self) -> tuple[Array, Array]:
        """Course (N, 3) and half thickness (N,) at `N_PIECES` + 1 points of the seen part, mm."""
        knots = np.linspace(0.0, 1.0, len(self.course))
        at = np.linspace(*self.seen, N_PIECES + 1)
        points = CubicSpline(knots, np.asarray(self.course))(at)
        return points, np.interp(at, knots, self.radii_mm) * self.size

    def distance_mm(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to its surface, cyst included, negative inside, about in mm.

        Args:
            x, y, z: Points of the trunk, (right, anterior, superior) mm, one shape.
        """
        settled = self.settled_mm(*self.settling(x, y, z))
        return np.asarray(settled * np.float32(self.settling.size))

    def settled_mm(self, x: Array, y: Array, z: Array) -> Array:
        """The same for points of the mean anatomy."""
        points, radii = self.line()
        flat = 1.0 / TALLNESS
        low = z * np.float32(flat)
        body: Array = np.full(x.shape, 1e3, np.float32)
        for k in range(N_PIECES):
            start, end = (triple(points[j] * [1, 1, flat]) for j in (k, k + 1))
            piece = capsule(x, y, low, start, end, (float(radii[k]), float(radii[k + 1])))
            np.minimum(body, piece, out=body)
        if self.seen[0] < 0.08:
            root = triple((np.asarray(self.course[0]) + self.course[1]) * [0.5, 0.5, 0.5 * flat])
            tip = (self.uncinate[0], self.uncinate[1], self.uncinate[2] * flat)
            hook = capsule(x, y, low, root, tip, (11.0 * self.size, 4.5 * self.size))
            body = join(body, hook, 5.0)
        depth = np.float32(self.lobule_mm / len(self.lobules))
        for a, b, c, phase in self.lobules:
            wave = np.sin(np.float32(a) * x + np.float32(b) * y + np.float32(c) * z + phase)
            body = body + depth * wave
        cyst = self.cyst_mm(x, y, z)
        return np.asarray(body if cyst is None else np.minimum(body, cyst))

    def cyst_mm(self, x: Array, y: Array, z: Array) -> Array | None:
        """Signed distance to the cyst, for points of the mean anatomy; None without."""
        return None if self.cyst is None else sphere(x, y, z, *self.cyst)


def measure_volume_ml(pancreas: Pancreas, step_mm: float = 2.5) -> float:
    """Volume, cyst included, by counting on a grid with soft edges, mL."""
    axes = [
        np.arange(c - r, c + r + step_mm, step_mm, dtype=np.float32)
        for c, r in zip(pancreas.centre, pancreas.reach_mm, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside = np.clip(0.5 - pancreas.distance_mm(x, y, z) / step_mm, 0.0, 1.0)
    return float(inside.sum(dtype=np.float64)) * step_mm**3 / 1000.0


def fit_volume(pancreas: Pancreas, volume_ml: float) -> Pancreas:
    """The pancreas thickened or thinned until its volume is `volume_ml` within 1%."""
    size = pancreas.size
    for _ in range(6):
        scaled = replace(pancreas, size=size)
        found = measure_volume_ml(scaled, 3.0)
        if abs(found / volume_ml - 1.0) < 0.01:
            break
        size *= (volume_ml / found) ** 0.5
    return replace(pancreas, size=size)


def draw_pancreas(
    rng: np.random.Generator, settling: Settling, *, age: int, sex: str, condition: Condition
) -> Pancreas:
    """A pancreas of random course and shape; age and atrophy make it small, fat and lobulated."""
    mean, sd = VOLUME_ML
    mean += {"F": -4.0, "M": 4.0}[sex] - PER_YEAR_ML * max(age - 55, 0)
    volume = float(np.clip(rng.normal(mean, sd), *VOLUME_RANGE_ML))
    small = float(rng.uniform(*ATROPHIC_RANGE_ML))
    course = np.asarray(COURSE) + rng.normal(0.0, [2.5, 2.5, 3.0], (len(COURSE), 3))
    along = np.linspace(0.0, 1.0, len(COURSE))[:, None]
    course += along**1.5 * np.clip(rng.normal(0.0, [6.0, 6.0, 9.0]), -13.0, 13.0)
    course[2:5, 2] += rng.normal(0.0, 4.0)
    radii = np.asarray(RADII_MM) * np.exp(rng.normal(0.0, 0.10, len(RADII_MM)))
    waves = np.column_stack([rng.normal(0.0, 0.42, (5, 3)), rng.uniform(0, 2 * np.pi, 5)])
    fat = float(np.clip(rng.normal(0.0045 * (age - 30), 0.06), 0.0, 0.4))
    at, cyst_mm = rng.uniform(0.15, 0.95), rng.uniform(4.5, 11.0)
    away = rng.normal(0.0, 1.0, 3)
    is_atrophic = condition == "atrophic"
    pancreas = Pancreas(
        settling=settling,
        course=tuple(triple(point) for point in course),
        radii_mm=tuple(float(r) for r in radii),
        uncinate=triple(np.asarray(UNCINATE) + rng.normal(0.0, 2.5, 3)),
        lobules=tuple(tuple(float(v) for v in row) for row in waves),
        lobule_mm=float(rng.uniform(1.6, 2.8)) + (1.2 if is_atrophic else 2.0 * fat),
        fat_share=min(fat + (0.15 if is_atrophic else 0.0), 0.45),
    )
    pancreas = fit_volume(pancreas, small if is_atrophic else volume)
    if condition != "cyst":
        return pancreas
    points, thick = pancreas.line()
    k = int(at * N_PIECES)
    off = away / np.linalg.norm(away) * thick[k] * 0.6
    return replace(pancreas, cyst=(triple(points[k] + off), float(cyst_mm)))
