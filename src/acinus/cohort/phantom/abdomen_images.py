"""Images of the trunk: bodies painted on finer planes, then the scanner's faults.

Enters: a trunk, a plan, a scanner. Leaves: int16 images, MR magnitudes or HU. Each
slice is the weighted mean of planes, and each body has an edge as wide as a pixel, so
that thin structures keep the share of a voxel that they fill.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter

from acinus.cohort.phantom.abdomen_people import Person
from acinus.cohort.phantom.abdomen_sites import SITES, Scanner
from acinus.cohort.phantom.abdomen_tissues import ORGANS, ct_value, fatty, mr_signal
from acinus.cohort.phantom.geometry import ScanPlan
from acinus.cohort.phantom.painting import mix_signals, sub_slices
from acinus.cohort.phantom.trunk import Trunk
from acinus.cohort.phantom.trunk_bodies import trunk_bodies
from acinus.cohort.phantom.trunk_parts import TrunkBody
from acinus.types import Array

SUB_SLICE_MM = 2.0
"""About the distance of the planes that a slice is summed from."""
CHUNK = 24
"""Planes painted at a time: bounds the memory."""
MARGIN_MM = 9.0
"""Around the box of a body, for what the settling moves."""

Look = Callable[[str], tuple[float, ...]]
"""Tissue to its values: water and fat on MR; attenuation on CT; then texture."""


def paint_trunk(trunk: Trunk, plan: ScanPlan, look: Look) -> Array:
    """Values of every slice before the scanner's faults.

    Returns:
        (C, Z, Y, X) float32, C as many as `look` gives.
    """
    planes, weights = sub_slices(plan.shape[0], plan.slice_mm, plan.thickness_mm, SUB_SLICE_MM)
    bodies = list(trunk_bodies(trunk))
    values = {name: np.asarray(look(name), np.float32) for name in ORGANS}
    out = np.zeros((len(values["air"]), *plan.shape), np.float32)
    for first in range(0, planes.size, CHUNK):
        chunk = planes[first : first + CHUNK]
        canvas = _paint_planes(trunk, plan, chunk, bodies, values)
        share = weights[:, first : first + CHUNK].astype(np.float32)
        touched = np.flatnonzero(share.any(axis=1))
        out[:, touched] += np.einsum("sp,cpyx->csyx", share[touched], canvas)
    return out


def _paint_planes(
    trunk: Trunk,
    plan: ScanPlan,
    planes: Array,
    bodies: list[TrunkBody],
    values: dict[str, Array],
) -> Array:
    m = plan.body_from_index
    rows, columns = np.arange(plan.shape[1]), np.arange(plan.shape[2])
    points = [
        (
            m[a, 3]
            + (m[a, 2] * planes)[:, None, None]
            + (m[a, 1] * rows)[:, None]
            + m[a, 0] * columns
        ).astype(np.float32)
        for a in range(3)
    ]
    x, y, z = trunk.settling(*points)
    shape = x.shape
    canvas = np.empty((len(values["air"]), *shape), np.float32)
    canvas[:] = values["air"][:, None, None, None]
    index_from_mean = np.linalg.inv(m)
    edge = np.float32(1.0 / (plan.pixel_mm / trunk.settling.size))
    for body in bodies:
        box = _window(body, index_from_mean, trunk.settling.size, planes, shape)
        if box is None:
            continue
        distance = np.asarray(body.distance_mm(x[box], y[box], z[box]), np.float32)
        for tissue, depth in ((body.tissue, 0.0), *body.inside):
            share = np.clip(np.float32(0.5) - (distance + np.float32(depth)) * edge, 0.0, 1.0)
            for layer, value in zip(canvas, values[tissue], strict=True):
                view = layer[box]
                view += share * (value - view)
    return canvas


def _window(
    body: TrunkBody, index_from_body: Array, size: float, planes: Array, shape: tuple[int, ...]
) -> tuple[slice, slice, slice] | None:
    """Part of the planes that a body's box meets; None if none."""
    low = np.maximum(np.asarray(body.low), -400.0) * size - MARGIN_MM
    high = np.minimum(np.asarray(body.high), 400.0) * size + MARGIN_MM
    corners = np.array([[*corner, 1.0] for corner in product(*zip(low, high, strict=True))])
    index = (index_from_body @ corners.T)[:3]
    spans = []
    for axis, n in ((1, shape[1]), (0, shape[2])):
        first = int(np.clip(np.floor(index[axis].min()), 0, n))
        last = int(np.clip(np.ceil(index[axis].max()) + 1, 0, n))
        spans.append(slice(first, last))
    hit = np.flatnonzero((planes >= index[2].min() - 1) & (planes <= index[2].max() + 1))
    if hit.size == 0 or any(span.stop <= span.start for span in spans):
        return None
    return slice(int(hit[0]), int(hit[-1]) + 1), spans[0], spans[1]


def acquire_mr(
    trunk: Trunk,
    plan: ScanPlan,
    person: Person,
    contrast: str,
    scanner: Scanner,
    rng: np.random.Generator,
) -> Array:
    """Magnitude image of one MR scan.

    Returns:
        (Z, Y, X) int16, >= 0, on the plan's grid.
    """
    site = SITES[person.site]
    protocol = site.t1 if contrast == "T1" else site.t2
    field = person.field_strength_t or 1.5

    def look(tissue: str) -> tuple[float, ...]:
        organ = ORGANS[tissue]
        uptake = trunk.uptake.get(tissue, 1.0) * scanner.uptake
        signal = mr_signal(organ, protocol, field, uptake)
        if tissue == "pancreas":
            fat = mr_signal(ORGANS["visceral_fat"], protocol, field)
            signal = mix_signals(signal, fat, trunk.pancreas.fat_share)
        return (*signal, organ.texture)

    water, fat, texture = paint_trunk(trunk, plan, look)
    points = _unit_points(plan)
    left = scanner.leak * (1.0 + 0.8 * _waves(rng, points)) if protocol.fat_suppressed else 1.0
    image = water + fat * np.clip(left, 0.02, 1.0)
    image *= 1.0 + texture * _grain(rng, plan)
    image *= np.exp(_polynomial(scanner.shading, points))
    image = _soften(image, plan, scanner.blur_mm)
    liver = mr_signal(ORGANS["liver"], protocol, field)[0]
    noise = [_noise(rng, plan) * np.float32(scanner.noise * liver) for _ in range(2)]
    magnitude = np.hypot(image + noise[0], noise[1]) * np.float32(scanner.gain / liver)
    return np.clip(np.rint(magnitude), 0, 32767).astype(np.int16)


def acquire_ct(trunk: Trunk, plan: ScanPlan, scanner: Scanner, rng: np.random.Generator) -> Array:
    """CT of the trunk in HU.

    Returns:
        (Z, Y, X) int16, within [-1024, 3071], on the plan's grid.
    """

    def look(tissue: str) -> tuple[float, ...]:
        organ = ORGANS[tissue]
        if tissue == "pancreas":
            organ = fatty(organ, 0.7 * trunk.pancreas.fat_share)
        uptake = trunk.uptake.get(tissue, 1.0)
        value = ct_value(organ, dose=scanner.dose, early=scanner.early, uptake=uptake)
        return value, organ.texture * 90.0

    image, texture = paint_trunk(trunk, plan, look)
    image += texture * _grain(rng, plan)
    image = _soften(image, plan, scanner.blur_mm)
    image += _noise(rng, plan) * np.float32(scanner.noise)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def _soften(image: Array, plan: ScanPlan, width_mm: float) -> Array:
    """Blur in plane; `width_mm` is a full width at half maximum."""
    sigma = width_mm / 2.355 / plan.pixel_mm
    return image if sigma < 0.05 else np.asarray(gaussian_filter(image, (0.0, sigma, sigma)))


def _noise(rng: np.random.Generator, plan: ScanPlan) -> Array:
    """(Z, Y, X) noise of a reconstruction, sd 1: neighbouring pixels are alike a little."""
    noise = _soften(rng.standard_normal(plan.shape, dtype=np.float32), plan, 0.9 * plan.pixel_mm)
    return noise / max(float(noise.std()), 1e-6)


def _grain(rng: np.random.Generator, plan: ScanPlan) -> Array:
    """(Z, Y, X) texture of tissue, sd 1: alike over about a voxel and over 8 mm."""
    grain = np.zeros(plan.shape, np.float32)
    for scale_mm, share in ((0.5 * plan.pixel_mm, 0.7), (5.0, 0.7)):
        layer = rng.standard_normal(plan.shape, dtype=np.float32)
        sigma = scale_mm / plan.pixel_mm
        layer = gaussian_filter(layer, (scale_mm / plan.slice_mm / 2, sigma, sigma))
        grain += np.float32(share / max(float(layer.std()), 1e-6)) * layer
    return grain


def _unit_points(plan: ScanPlan) -> tuple[Array, Array, Array]:
    """Coordinates of the voxels, about -1 to 1 over the scan, broadcastable to (Z, Y, X)."""
    z, y, x = (np.linspace(-1.0, 1.0, n, dtype=np.float32) for n in plan.shape)
    return x[None, None], y[None, :, None], z[:, None, None]


def _polynomial(coefficients: tuple[float, ...], points: tuple[Array, Array, Array]) -> Array:
    x, y, z = points
    terms = (x, y, z, x * x, y * y, z * z, x * y, y * z, x * z)
    total = sum(np.float32(c) * t for c, t in zip(coefficients, terms, strict=True))
    return np.asarray(total, np.float32)


def _waves(rng: np.random.Generator, points: tuple[Array, Array, Array]) -> Array:
    """Smooth random field about within [-1, 1]."""
    x, y, z = points
    total: Array = np.zeros((), np.float32)
    for a, b, c, phase in np.column_stack([rng.normal(0.0, 1.8, (4, 3)), rng.uniform(0, 6.28, 4)]):
        total = total + np.sin(
            np.float32(a) * x + np.float32(b) * y + np.float32(c) * z + np.float32(phase)
        )
    return np.asarray(total * np.float32(0.4))
