"""The scanner: fat suppression, chemical shift, coil shading, k-space, noise, artefacts.

Enters: painted slices. Leaves: magnitude images on the written grid, int16. The
image is formed in k-space at the acquired matrix and zero-filled to the written
one, as scanners do, so noise is correlated between pixels and edges ring a little.
Noise is complex before the magnitude, which makes it Rician.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

from acinus.cohort.phantom.geometry import ScanPlan, body_points
from acinus.cohort.phantom.painting import Painted, refine
from acinus.cohort.phantom.tissues import Sequence
from acinus.types import Array

Artefact = Literal["motion", "metal", "spike"]

ARTEFACT_REASONS: dict[Artefact, str] = {
    "motion": "artefact: ghosting from head motion during the scan",
    "metal": "artefact: signal void and distortion from metal near the orbit",
    "spike": "artefact: stripes across the image from a radio-frequency spike",
}


@dataclass(frozen=True)
class ScannerState:
    """Faults of one scan.

    Attributes:
        noise: Standard deviation of the noise in each channel, in units of
            the signal of pure water.
        leak: Share of the fat signal that suppression leaves in good regions.
        failure: Strength of the regions near air where suppression fails.
        unevenness: Strength of smooth failures anywhere.
        shading: (9,) coefficients of the coil's smooth sensitivity.
        fat_shift_px: Displacement of fat along X from its chemical shift, pixels.
        gain: Written value of a signal of 1.
        artefact: A fault that makes the scan unusable, or None.
    """

    noise: float
    leak: float
    failure: float
    unevenness: float
    shading: tuple[float, ...]
    fat_shift_px: float
    gain: float
    artefact: Artefact | None


def draw_scanner(
    rng: np.random.Generator, field_strength_t: float, artefact: Artefact | None = None
) -> ScannerState:
    """Faults of a usual scan at that field strength, plus a given artefact."""
    snr = rng.uniform(0.75, 1.35) * (1.0 if field_strength_t < 2 else 1.35)
    return ScannerState(
        noise=float(0.018 / snr),
        leak=float(np.clip(rng.normal(0.14, 0.05), 0.05, 0.3)),
        failure=float(np.exp(rng.normal(-0.3, 0.5))),
        unevenness=float(rng.choice([0.02, 0.08, 0.2], p=[0.5, 0.35, 0.15])),
        shading=tuple(float(v) for v in rng.normal(0.0, 0.06, 9)),
        fat_shift_px=float(rng.choice([-1, 1]) * rng.uniform(0.5, 1.4)),
        gain=float(rng.uniform(900.0, 2600.0)),
        artefact=artefact,
    )


def acquire(
    painted: Painted,
    plan: ScanPlan,
    sequence: Sequence,
    state: ScannerState,
    rng: np.random.Generator,
) -> Array:
    """Magnitude image of one scan.

    Returns:
        (Z, Y, X) int16, >= 0, on the plan's grid.
    """
    out = np.empty(plan.shape, np.int16)
    motion = rng.normal(0.0, 1.0, (plan.n_acquired, 2)).cumsum(axis=0)
    metal = (float(rng.choice([-1, 1])) * rng.uniform(20, 45), rng.uniform(-5, 12), -8.0)
    step = int(painted.lattice[1] - painted.lattice[0])
    waves = rng.normal(0.0, 0.02, (4, 3)), rng.uniform(0, 2 * np.pi, 4)
    for s in range(plan.shape[0]):
        ratio = plan.shape[1] / plan.n_acquired
        points = body_points(plan, painted.lattice * ratio, painted.lattice * ratio, s)
        water, fat = painted.water[s], painted.fat[s]
        fat = _shift_columns(fat, state.fat_shift_px)
        if sequence.fat_suppressed:
            fat = fat * _fit(fat_left(state, points, waves, metal), step, plan.n_acquired)
        grain = _grain(rng, plan.n_acquired, plan.pixel_mm * ratio)
        image = (water * (1.0 + 0.05 * grain) + fat * (1.0 + 0.045 * grain)).astype(np.float32)
        image *= _fit(coil_shading(state, points), step, plan.n_acquired)
        if state.artefact == "metal":
            image *= _fit(_metal_void(points, metal), step, plan.n_acquired)
        noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * state.noise
        complex_image = image + noise[0] + 1j * noise[1]
        spectrum = fft.fft2(complex_image.astype(np.complex64))
        _spoil(spectrum, state, motion, plan, s, rng)
        magnitude = np.abs(_zero_fill(spectrum, plan.shape[1]))
        out[s] = np.clip(np.rint(magnitude * state.gain), 0, 32767).astype(np.int16)
    return out


def fat_left(
    state: ScannerState,
    points: tuple[Array, Array, Array],
    waves: tuple[Array, Array],
    metal: tuple[float, float, float],
) -> Array:
    """Share of the fat signal that suppression leaves, in [0, 1].

    Suppression fails near air, where the field is uneven: below the orbits at the
    maxillary sinus, at the ethmoid, at the chin and cheeks, plus smooth random parts.
    """
    x, y, z = points
    side = np.abs(x)
    near_air = 0.75 * np.exp(
        -(((side - 30) / 20) ** 2 + ((y - 4) / 15) ** 2 + ((z + 22) / 10) ** 2)
    )
    near_air += 0.30 * np.exp(-(((side - 10) / 8) ** 2 + ((y + 8) / 18) ** 2 + ((z + 2) / 16) ** 2))
    near_air += 0.5 * np.exp(-(((z + 42) / 12) ** 2 + ((y - 5) / 35) ** 2))
    near_air += 0.25 * np.exp(-(((side - 76) / 14) ** 2 + ((y + 80) / 40) ** 2))
    vectors, phases = waves
    smooth = sum(
        np.sin(a * x + b * y + c * z + p) for (a, b, c), p in zip(vectors, phases, strict=True)
    )
    left = state.leak * (1.0 + 0.3 * smooth) + state.failure * near_air
    left = left + state.unevenness * np.maximum(smooth - 0.3, 0.0)
    if state.artefact == "metal":
        left = left + 1.5 * np.exp(-_metal_distance(points, metal) / 18.0)
    return np.asarray(np.clip(left, 0.03, 0.95), np.float32)


def coil_shading(state: ScannerState, points: tuple[Array, Array, Array]) -> Array:
    """Smooth sensitivity of the coil, about 1."""
    x, y, z = (p * np.float32(1 / 90.0) for p in (points[0], points[1] + 50, points[2]))
    terms = (x, y, z, x * x, y * y, z * z, x * y, y * z, x * z)
    log = sum(c * t for c, t in zip(state.shading, terms, strict=True))
    rim = 0.16 * (x * x + y * y)
    return np.asarray(np.exp(log + rim), np.float32)


def _metal_distance(points: tuple[Array, Array, Array], metal: tuple[float, float, float]) -> Array:
    squared = sum((p - m) ** 2 for p, m in zip(points, metal, strict=True))
    return np.sqrt(np.asarray(squared))


def _metal_void(points: tuple[Array, Array, Array], metal: tuple[float, float, float]) -> Array:
    distance = _metal_distance(points, metal)
    rim = 2.2 * np.exp(-(((distance - 27.0) / 3.0) ** 2))
    return np.asarray(1.0 / (1.0 + np.exp(np.clip((22.0 - distance) / 1.5, -30, 30))) + rim)


def _shift_columns(image: Array, pixels: float) -> Array:
    whole = int(np.floor(pixels))
    part = np.float32(pixels - whole)
    return np.asarray(
        np.roll(image, whole, axis=1) * (1 - part) + np.roll(image, whole + 1, axis=1) * part
    )


def _grain(rng: np.random.Generator, n: int, pixel_mm: float) -> Array:
    """(n, n) texture of tissue: random at 0.7 and 2 mm, sd about 1."""
    grain = np.zeros((n, n), np.float32)
    for scale_mm, share in ((0.7, 0.8), (2.0, 0.6)):
        layer = gaussian_filter(rng.standard_normal((n, n), dtype=np.float32), scale_mm / pixel_mm)
        grain += np.float32(share / layer.std()) * layer
    return grain


def _fit(lattice: Array, step: int, n: int) -> Array:
    return refine(np.asarray(lattice, np.float32), step)[:n, :n]


def _spoil(
    spectrum: Array,
    state: ScannerState,
    motion: Array,
    plan: ScanPlan,
    slice_index: int,
    rng: np.random.Generator,
) -> None:
    """Put the scan's artefact into k-space, in place."""
    n = plan.n_acquired
    if state.artefact == "motion":
        shot = (np.arange(n) * 7 + slice_index) % 12
        offsets = motion[:12] * 1.1
        k = fft.fftfreq(n)
        dy, dx = offsets[shot, 0], offsets[shot, 1]
        phase = k[:, None] * dy[:, None] + k[None, :] * dx[:, None]
        spectrum *= np.exp(-2j * np.pi * phase).astype(np.complex64)
    elif state.artefact == "spike":
        row, column = rng.integers(8, 40, 2)
        spectrum[row, column] += np.complex64(0.9 * np.abs(spectrum[0, 0]))
        spectrum[-row // 2, column // 2] += np.complex64(0.4j * np.abs(spectrum[0, 0]))


def _zero_fill(spectrum: Array, n_out: int) -> Array:
    """Complex image of n_out x n_out pixels from an n x n spectrum, softly filtered."""
    n = spectrum.shape[0]
    k = np.abs(fft.fftfreq(n)) * 2.0
    soft = (0.5 + 0.5 * np.cos(np.pi * np.clip((k - 0.6) / 0.45, 0.0, 1.0))).astype(np.float32)
    spectrum = spectrum * soft[:, None] * soft[None, :]
    if n_out == n:
        return np.asarray(fft.ifft2(spectrum))
    half = n // 2
    wide = np.zeros((n_out, n_out), np.complex64)
    for rows in (slice(0, half), slice(-half, None)):
        for columns in (slice(0, half), slice(-half, None)):
            wide[rows, columns] = spectrum[rows, columns]
    return np.asarray(fft.ifft2(wide)) * np.float32((n_out / n) ** 2)
