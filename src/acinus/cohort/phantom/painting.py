"""From bodies to slices: signals painted on a finer grid and summed over the profile.

Enters: a head, a scan plan, a sequence. Leaves: the signal of water and of fat of
each slice at the acquired resolution. Smooth bodies are evaluated on a lattice of
under 3 mm and interpolated, since that costs a twentieth; the orbit and the thin
walls of the nose are evaluated at every pixel. Hard-edged label volumes were
rejected: shares of voxels would come in steps of one sub-slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from acinus.cohort.phantom.anatomy import Body, Head
from acinus.cohort.phantom.geometry import ScanPlan, body_points
from acinus.cohort.phantom.head_bodies import NASAL_REACH_MM, large_bodies, nasal_bodies
from acinus.cohort.phantom.orbit_bodies import ORBIT_REACH_MM, orbit_bodies
from acinus.cohort.phantom.tissues import TISSUES, Sequence, tissue_signal
from acinus.types import Array

LATTICE_MM = 2.7
"""About the pitch of the coarse lattice, mm."""
SUB_SLICE_MM = 1.0
"""About the distance of the planes that a slice is integrated from, mm."""
NOISE_PITCH_MM = 3.0
"""Pitch of the noise that folds the brain and warps its parts, mm."""

Signals = Mapping[str, tuple[float, float]]
"""Tissue to signal of (water, fat)."""


@dataclass(frozen=True, eq=False)
class Painted:
    """Slices before the scanner's faults.

    Attributes:
        water: (Z, Y, X) at the acquired resolution.
        fat: The same.
        lattice: Rows and columns of the coarse lattice, in acquired pixels.
    """

    water: Array
    fat: Array
    lattice: Array


def sub_slices(
    n_slices: int, slice_mm: float, thickness_mm: float, pitch_mm: float = SUB_SLICE_MM
) -> tuple[Array, Array]:
    """Planes of the finer grid, and how much each slice takes from each of them.

    The profile is a box of the slice's thickness with cosine flanks, as a
    selective pulse gives.

    Args:
        n_slices: Number of slices.
        slice_mm: Their distance.
        thickness_mm: Full width at half maximum of the profile.
        pitch_mm: About the distance of the planes.

    Returns:
        Plane positions in slice indices (P,), and weights (n_slices, P) whose
        rows sum to 1.
    """
    per_slice = max(2, round(slice_mm / pitch_mm))
    margin = per_slice // 2 + 1
    planes = (np.arange(-margin, n_slices * per_slice + margin) + 0.5) / per_slice - 0.5
    away_mm = np.abs(planes[None] - np.arange(n_slices)[:, None]) * slice_mm
    flank = 0.25 * thickness_mm
    ramp = np.clip((away_mm - 0.5 * thickness_mm) / flank + 0.5, 0.0, 1.0)
    weights = 0.5 + 0.5 * np.cos(np.pi * ramp)
    used = weights.max(axis=0) > 1e-6
    weights = weights[:, used]
    return planes[used], weights / weights.sum(axis=1, keepdims=True)


def paint_slices(
    head: Head, plan: ScanPlan, sequence: Sequence, field_strength_t: float
) -> Painted:
    """Signal of water and of fat in every slice, without noise, bias or suppression."""
    planes, weights = sub_slices(plan.shape[0], plan.slice_mm, plan.thickness_mm)
    n = plan.n_acquired
    ratio = plan.shape[1] / n
    pitch = plan.pixel_mm * ratio
    step = max(1, round(LATTICE_MM / pitch))
    lattice = np.arange(0, n + step, step, dtype=np.float64)
    if lattice[-1] < n - 1:
        lattice = np.append(lattice, lattice[-1] + step)
    coarse = [body_points(plan, lattice * ratio, lattice * ratio, k) for k in planes]
    x, y, z = (np.stack(axis) for axis in zip(*coarse, strict=True))
    bodies = list(large_bodies(head, x, y, z, fold_noise(head, x, y, z)))
    signals = {
        name: tissue_signal(tissue, sequence, field_strength_t) for name, tissue in TISSUES.items()
    }
    water = np.zeros((plan.shape[0], n, n), np.float32)
    fat = np.zeros_like(water)
    for p, plane in enumerate(planes):
        canvas = _Canvas(n, step, pitch, signals)
        for item in bodies:
            canvas.paint_lattice(item.tissue, [f[p] for f in item.fields], item.combine)
        _paint_fine(
            canvas, head, plan, float(plane), (x[p], y[p], z[p]), sequence, field_strength_t
        )
        for s in np.flatnonzero(weights[:, p] > 0):
            water[s] += np.float32(weights[s, p]) * canvas.water
            fat[s] += np.float32(weights[s, p]) * canvas.fat
    return Painted(water, fat, lattice)


class _Canvas:
    """One plane under the brush."""

    def __init__(self, n: int, step: int, pitch_mm: float, signals: Signals) -> None:
        self.n, self.step, self.pitch_mm, self.signals = n, step, pitch_mm, signals
        self.water = np.zeros((n, n), np.float32)
        self.fat = np.zeros((n, n), np.float32)
        self.edge_mm = 0.2 + pitch_mm

    def blend(
        self, signal: tuple[float, float], distance: Array, rows: slice, columns: slice
    ) -> None:
        """Cover a window with a body; `distance` is overwritten."""
        distance *= np.float32(-1.0 / self.edge_mm)
        distance += np.float32(0.5)
        share = np.clip(distance, 0.0, 1.0, out=distance)
        for buffer, value in zip((self.water, self.fat), signal, strict=True):
            view = buffer[rows, columns]
            change = np.float32(value) - view
            change *= share
            view += change

    def paint_lattice(
        self, tissue: str, fields: list[Array], combine: Callable[..., Array] | None
    ) -> None:
        """Cover the plane with a body given on the lattice; see `Body`."""
        reach = np.float32(self.pitch_mm * self.step * 0.75 + self.edge_mm)
        near = fields[0] < reach
        rows = np.flatnonzero(near.any(axis=1))
        if rows.size == 0:
            return
        columns = np.flatnonzero(near.any(axis=0))
        last = fields[0].shape[0] - 1
        r0, r1 = max(rows[0] - 1, 0), min(rows[-1] + 1, last)
        c0, c1 = max(columns[0] - 1, 0), min(columns[-1] + 1, last)
        top, left = r0 * self.step, c0 * self.step
        fine = [
            refine(f[r0 : r1 + 1, c0 : c1 + 1], self.step)[: self.n - top, : self.n - left]
            for f in fields
        ]
        distance = combine(*fine) if combine else fine[0]
        height, width = distance.shape
        self.blend(
            self.signals[tissue], distance, slice(top, top + height), slice(left, left + width)
        )


def refine(values: Array, step: int) -> Array:
    """Linear interpolation of an (R, C) lattice to ((R-1) step, (C-1) step) pixels."""
    weight = np.arange(step, dtype=np.float32) / np.float32(step)
    columns = values[:, :-1, None] + weight * np.diff(values, axis=1)[:, :, None]
    wide = columns.reshape(values.shape[0], -1)
    rows = wide[:-1, None, :] + weight[:, None] * np.diff(wide, axis=0)[:, None, :]
    return np.ascontiguousarray(rows.reshape(-1, wide.shape[1]), dtype=np.float32)


def _paint_fine(
    canvas: _Canvas,
    head: Head,
    plan: ScanPlan,
    plane: float,
    lattice_points: tuple[Array, Array, Array],
    sequence: Sequence,
    field_strength_t: float,
) -> None:
    """The nose's inside and both orbits, at every pixel."""
    ratio = plan.shape[1] / plan.n_acquired

    def window(reach: Iterable[tuple[float, float]], side: int) -> tuple[slice, slice] | None:
        inside = np.ones(lattice_points[0].shape, bool)
        for axis, (low, high) in enumerate(reach):
            values = lattice_points[axis] * side if axis == 0 else lattice_points[axis]
            inside &= (values > low) & (values < high)
        if not inside.any():
            return None
        spans = []
        for axis in (1, 0):
            hit = np.flatnonzero(inside.any(axis=axis))
            low, high = max(hit[0] - 1, 0), hit[-1] + 1
            spans.append(slice(low * canvas.step, min(high * canvas.step, canvas.n)))
        return spans[0], spans[1]

    def brush(bodies: Iterable[Body], rows: slice, columns: slice) -> None:
        for item in bodies:
            signal = gland_signal if item.tissue == "gland" else canvas.signals[item.tissue]
            canvas.blend(signal, item.fields[0].astype(np.float32), rows, columns)

    def points(rows: slice, columns: slice) -> tuple[Array, Array, Array]:
        r = np.arange(rows.start, rows.stop) * ratio
        c = np.arange(columns.start, columns.stop) * ratio
        return body_points(plan, r, c, plane)

    gland_signal = canvas.signals["gland"]
    found = window(NASAL_REACH_MM, 1)
    if found:
        brush(nasal_bodies(head, *points(*found)), *found)
    for side in (1, -1):
        found = window(ORBIT_REACH_MM, side)
        if found:
            gland = head.glands[0 if side > 0 else 1]
            gland_signal = mix_signals(
                tissue_signal(TISSUES["gland"], sequence, field_strength_t, gland.uptake),
                canvas.signals["orbital_fat"],
                gland.fat_share,
            )
            brush(orbit_bodies(head, side, *points(*found)), *found)


def mix_signals(
    first: tuple[float, float], second: tuple[float, float], share: float
) -> tuple[float, float]:
    """Signal of (water, fat) where `share` of the first tissue is replaced by the second."""
    keep = 1.0 - share
    return keep * first[0] + share * second[0], keep * first[1] + share * second[1]


def fold_noise(head: Head, x: Array, y: Array, z: Array) -> Array:
    """(2, ...) smooth random fields with sd 1 that belong to the head."""
    at = [x / NOISE_PITCH_MM + 35, y / NOISE_PITCH_MM + 62, z / NOISE_PITCH_MM + 30]
    return np.stack(
        [
            map_coordinates(block, at, order=1, mode="grid-wrap", output=np.float32)
            for block in _noise_blocks(head.seed)
        ]
    )


@lru_cache(maxsize=1)
def _noise_blocks(seed: int) -> tuple[Array, Array]:
    """Two periodic blocks of smooth noise with sd 1, the same for all scans of a head."""
    rng = np.random.default_rng(seed)
    blocks = []
    for _ in range(2):
        white = rng.standard_normal((70, 84, 60), dtype=np.float32)
        smooth = gaussian_filter(white, 1.35, mode="wrap")
        blocks.append(smooth / smooth.std())
    return blocks[0], blocks[1]
