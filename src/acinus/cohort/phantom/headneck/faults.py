"""The scanner: couch, beam hardening, streaks and noise of CT; shading and noise of MR.

Enters: a rendered image. Leaves: int16 values as a file holds them. Streaks are
computed slice by slice from the metal and the bone that the slice shows, as dark
bands between dense bodies and rays around metal; a projection and its inverse for
every slice were rejected as too slow for a cohort.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, label

from acinus.cohort.phantom.headneck.contrast import HU
from acinus.cohort.phantom.headneck.protocol import ScanGrid
from acinus.cohort.phantom.painting import refine
from acinus.types import Array

METAL_FROM_HU = 2700.0
BONE_FROM_HU = 500.0
HU_RANGE = (-1024, 3071)
LATTICE_MM = 5.0
"""Pitch on which wide blurs are computed, mm."""
MOST_PIECES = 6
"""Pieces of metal in a slice that throw streaks."""
STREAK_MM = 85.0
"""How far streaks reach, mm."""


def add_couch(image: Array, grid: ScanGrid, rng: np.random.Generator, is_body: bool) -> None:
    """Put a curved table under the patient, in place: a thin shell around foam."""
    inside = image[:: max(1, grid.shape[0] // 24)] > -300.0
    rows = np.flatnonzero(inside.any(axis=(0, 2)))
    if rows.size == 0:
        return
    half_mm = 210.0 if is_body else 130.0
    curve = float(rng.uniform(0.3, 1.2)) / half_mm**2 * (40.0 if is_body else 70.0)
    x = (np.arange(grid.shape[2]) - grid.shape[2] / 2) * grid.pixel_mm
    y = np.arange(grid.shape[1])[:, None] * grid.pixel_mm
    top = (rows[-1] + 1) * grid.pixel_mm + rng.uniform(1, 8) - curve * x**2
    depth = y - top
    thick = float(rng.uniform(18, 40))
    wide = np.abs(x) < half_mm
    shell = wide & (((depth > 0) & (depth < 2.5)) | ((depth > thick) & (depth < thick + 2.5)))
    core = wide & (depth >= 2.5) & (depth <= thick)
    free = image < -500.0
    image[free & shell] = HU["couch"][0]
    image[free & core] = HU["couch_core"][0]


def finish_ct(image: Array, grid: ScanGrid, rng: np.random.Generator) -> Array:
    """Hounsfield units of a CT with hardening, streaks and noise.

    Args:
        image: (Z, Y, X) HU without faults; overwritten.
        grid: The scan.
        rng: Source of randomness.

    Returns:
        (Z, Y, X) int16 in `HU_RANGE`.
    """
    out = np.empty(image.shape, np.int16)
    hardening = float(rng.uniform(0.0, 0.035))
    noise = float(np.exp(rng.uniform(np.log(4.0), np.log(28.0))))
    sharp = float(rng.uniform(0.35, 0.8))
    rays = float(rng.uniform(60.0, 420.0))
    shape = image.shape[1:]
    for s in range(image.shape[0]):
        plane = image[s]
        bone, body = (
            _blurred(mask, grid.pixel_mm)
            for mask in (
                np.clip(plane - BONE_FROM_HU, 0.0, 1500.0),
                (plane > -300.0).astype(np.float32),
            )
        )
        plane -= np.float32(hardening * 4.0) * bone
        metal = plane > METAL_FROM_HU
        if metal.any():
            plane += _streaks(metal, grid.pixel_mm, rays, rng)
        grain = rng.standard_normal(shape, dtype=np.float32)
        grain = gaussian_filter(grain, sharp)
        grain *= np.float32(noise) / grain.std()
        plane += grain * (0.5 + 1.0 * body)
        out[s] = np.clip(np.rint(plane), *HU_RANGE).astype(np.int16)
    return out


def _blurred(plane: Array, pixel_mm: float) -> Array:
    """The plane blurred over some centimetres, mostly to the sides, where photons travel far."""
    step = max(1, round(LATTICE_MM / pixel_mm))
    pad = [(0, -n % step) for n in plane.shape]
    wide = np.pad(plane, pad)
    coarse = wide.reshape(wide.shape[0] // step, step, wide.shape[1] // step, step).mean(
        axis=(1, 3)
    )
    pitch = step * pixel_mm
    coarse = gaussian_filter(coarse, (12.0 / pitch, 38.0 / pitch))
    fine = refine(np.pad(coarse, ((0, 1), (0, 1)), mode="edge"), step)
    return fine[: plane.shape[0], : plane.shape[1]]


def _streaks(metal: Array, pixel_mm: float, strength: float, rng: np.random.Generator) -> Array:
    """Rays from each piece of metal, and dark bands between two of them, HU."""
    field = np.zeros(metal.shape, np.float32)
    pieces, n = label(metal)
    spots = []
    for k in range(1, min(n, MOST_PIECES) + 1):
        rows, columns = np.nonzero(pieces == k)
        spots.append((rows.mean(), columns.mean(), rows.size * pixel_mm**2))
    reach = int(STREAK_MM / pixel_mm)
    window = tuple(
        slice(max(int(min(c)) - reach, 0), int(max(c)) + reach + 1)
        for c in ([s[0] for s in spots], [s[1] for s in spots])
    )
    view = field[window]
    y, x = np.ogrid[window]
    y, x = y.astype(np.float32), x.astype(np.float32)
    for row, column, area in spots:
        dy, dx = (y - np.float32(row)) * pixel_mm, (x - np.float32(column)) * pixel_mm
        radius = np.sqrt(dy * dy + dx * dx)
        angle = np.arctan2(dy, dx)
        waves = sum(
            np.sin(np.float32(f) * angle + np.float32(rng.uniform(0, 6.28)))
            for f in rng.integers(6, 44, 5)
        ) / np.float32(2.2)
        size = np.float32(strength * np.sqrt(min(area, 40.0) / 12.0))
        view += size * waves * np.exp(-radius / 38.0) / (1.0 + radius / 14.0)
    for a in range(len(spots)):
        for b in range(a + 1, len(spots)):
            ay, ax, _ = spots[a]
            by, bx, _ = spots[b]
            length = max(float(np.hypot(by - ay, bx - ax)), 1.0)
            ny, nx = (bx - ax) / length, -(by - ay) / length
            off = ((y - ay) * ny + (x - ax) * nx) * pixel_mm
            along = ((y - ay) * (by - ay) + (x - ax) * (bx - ax)) / length**2
            between = np.exp(-np.clip(np.abs(along - 0.5) - 0.5, 0, None) * 4.0)
            view -= np.float32(strength * 0.8) * between * np.exp(-((off / 3.0) ** 2))
    field[metal] = 0.0
    return field


def finish_mr(image: Array, grid: ScanGrid, rng: np.random.Generator) -> Array:
    """Magnitudes of an MR image with coil shading, blur, ghosts and Rician noise.

    Args:
        image: (Z, Y, X) with about 1 for the brightest tissue; overwritten.
        grid: The scan.
        rng: Source of randomness.

    Returns:
        (Z, Y, X) int16, >= 0.
    """
    out = np.empty(image.shape, np.int16)
    edges = (grid.slice_mm, grid.pixel_mm, grid.pixel_mm)
    extents = [min(n * e / 180.0, 1.8) for n, e in zip(grid.shape, edges, strict=True)]
    axes = [
        np.linspace(-e / 2, e / 2, n, dtype=np.float32)
        for e, n in zip(extents, grid.shape, strict=True)
    ]
    strength = float(rng.uniform(0.05, 0.35))
    linear, square = rng.normal(0.0, strength, 3), rng.normal(0.0, strength, 3)
    surface = float(rng.uniform(0.0, 0.5))
    noise = float(np.exp(rng.uniform(np.log(0.006), np.log(0.05))))
    blur = float(rng.uniform(0.0, 0.6))
    gamma = float(np.exp(rng.normal(0.0, 0.12)))
    gain = float(np.exp(rng.uniform(np.log(250.0), np.log(4000.0))))
    ghost = float(rng.uniform(0.0, 0.03)) if rng.random() < 0.3 else 0.0
    shift = int(rng.integers(grid.shape[1] // 4, grid.shape[1] // 2 + 1))
    y, x = axes[1][:, None], axes[2][None, :]
    for s in range(image.shape[0]):
        z = float(axes[0][s])
        shading = linear[0] * z + linear[1] * y + linear[2] * x
        shading = shading + square[0] * z * z + square[1] * y * y + square[2] * x * x
        plane = np.clip(image[s], 0.0, None) ** gamma
        plane *= np.exp(np.clip(shading, -1.2, 1.2)) * (1.0 + surface * (y * y + x * x))
        if blur > 0.2:
            plane = gaussian_filter(plane, blur)
        if ghost:
            plane = plane + ghost * np.roll(plane, shift, axis=0)
        grain = rng.standard_normal((2, *plane.shape), dtype=np.float32) * np.float32(noise)
        magnitude = np.hypot(plane + grain[0], grain[1])
        out[s] = np.clip(np.rint(magnitude * gain), 0, 32767).astype(np.int16)
    return out
