"""From painted tissues to slices: looks, deformation, slice profile, drawn labels.

Enters: layers, a pose, a grid, a look. Leaves: an image without the scanner's
faults, and label maps. Intensities are laid on the painted lattice and interpolated,
so a voxel on an edge takes a share of both sides; labels come from the glands'
signed distances, so they do not depend on how finely tissues were painted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from acinus.cohort.phantom.headneck.contrast import Look
from acinus.cohort.phantom.headneck.layers import Layer
from acinus.cohort.phantom.headneck.organs import LABELS, MIRROR_PAIRS, Organ
from acinus.cohort.phantom.headneck.pose import Pose
from acinus.cohort.phantom.headneck.protocol import ScanGrid
from acinus.cohort.phantom.painting import refine, sub_slices
from acinus.types import Array

FIELD_PX = 8
"""Displacements are looked up every so many pixels and interpolated between."""
LABEL_PLANES = (-0.34, 0.0, 0.34)
"""Where a slice is looked at for its share of gland, in slice thicknesses."""
CLUMP_MM = 1.8
"""Standard deviation of the blur that makes clumps of a texture, mm."""
DRAWN_SHARE = 0.48
"""Share of gland from which a reader counts a voxel."""

Points = tuple[Array, Array, Array]


def head_plane(grid: ScanGrid, pose: Pose, slice_index: float) -> Points:
    """Head coordinates (right, anterior, superior) of the pixels of a plane, mm, each (Y, X)."""
    _, n_y, n_x = grid.shape
    m = pose.head_from_world @ grid.affine
    rows, columns = np.arange(n_y)[:, None], np.arange(n_x)[None, :]
    low_rows = np.arange(0, n_y + FIELD_PX, FIELD_PX)[:, None]
    low_columns = np.arange(0, n_x + FIELD_PX, FIELD_PX)[None, :]

    def place(r: Array, c: Array) -> list[Array]:
        return [
            (m[a, 0] * c + m[a, 1] * r + (m[a, 2] * slice_index + m[a, 3])).astype(np.float32)
            for a in range(3)
        ]

    moved = pose.displacement(*place(low_rows, low_columns))
    fine = [refine(d, FIELD_PX)[:n_y, :n_x] for d in moved]
    x, y, z = (p + d for p, d in zip(place(rows, columns), fine, strict=True))
    return x, y, z


def dress(
    layers: Sequence[Layer], look: Look, pixel_mm: float, rng: np.random.Generator
) -> list[Array]:
    """Intensities of each layer: mean and texture of its tissues, blurred to the pixels.

    Returns:
        One (Z, Y, X) float32 array for each layer.
    """
    mean, texture = look.mean.astype(np.float32), look.texture.astype(np.float32)
    dressed = []
    for layer in layers:
        grain = rng.standard_normal(layer.tissues.shape, dtype=np.float32)
        grain = gaussian_filter(grain, max(0.6, 0.9 / layer.step_mm))
        grain *= 1.0 / grain.std()
        if look.clumps:
            clumps = rng.standard_normal(layer.tissues.shape, dtype=np.float32)
            clumps = gaussian_filter(clumps, CLUMP_MM / layer.step_mm)
            grain *= np.sqrt(1.0 - look.clumps)
            grain += clumps * (np.sqrt(look.clumps) / clumps.std())
        values = mean[layer.tissues]
        values += texture[layer.tissues] * grain
        sigma = 0.38 * pixel_mm / layer.step_mm
        dressed.append(gaussian_filter(values, sigma) if sigma > 0.25 else values)
    return dressed


def render(
    layers: Sequence[Layer],
    dressed: Sequence[Array],
    grid: ScanGrid,
    pose: Pose,
    background: float,
) -> Array:
    """The image of a scan without faults.

    Returns:
        (Z, Y, X) float32.
    """
    planes, weights = sub_slices(grid.shape[0], grid.slice_mm, grid.thickness_mm)
    image = np.zeros(grid.shape, np.float32)
    for p, plane in enumerate(planes):
        points = head_plane(grid, pose, float(plane))
        values = np.full(grid.shape[1:], background, np.float32)
        for layer, volume in zip(reversed(layers), reversed(dressed), strict=True):
            _look_up(values, layer, volume, points)
        for s in np.flatnonzero(weights[:, p] > 0):
            image[s] += np.float32(weights[s, p]) * values
    return image


def _look_up(values: Array, layer: Layer, volume: Array, points: Points) -> None:
    """Overwrite the pixels that a layer reaches."""
    at = [
        (p - np.float32(o)) * np.float32(1.0 / layer.step_mm)
        for p, o in zip(points[::-1], layer.origin[::-1], strict=True)
    ]
    inside = np.ones(values.shape, bool)
    for index, n in zip(at, volume.shape, strict=True):
        inside &= (index >= 0) & (index <= n - 1)
    if inside.any():
        values[inside] = map_coordinates(
            volume, [index[inside] for index in at], order=1, output=np.float32
        )


def draw_labels(
    glands: Mapping[str, Organ], grid: ScanGrid, pose: Pose, values: Mapping[str, int] = LABELS
) -> Array:
    """The label map of a reading on the grid.

    Args:
        glands: Gland to its signed distance; absent glands are not drawn.
        grid: The scan.
        pose: Where the head lies; a mirrored one exchanges right and left names.
        values: Label to its value; glands that are not named are not drawn.

    Returns:
        (Z, Y, X) uint8.
    """
    labels = np.zeros(grid.shape, np.uint8)
    named = _mirrored_names() if pose.mirrored else {name: name for name in glands}
    world = {
        name: _world_box(organ, pose) for name, organ in glands.items() if named[name] in values
    }
    to_index = np.linalg.inv(grid.affine)
    pixel = np.float32(grid.pixel_mm)
    for name, corners in world.items():
        index = corners @ to_index[:3, :3].T + to_index[:3, 3]
        low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int)
        for s in range(max(low[2], 0), min(high[2] + 1, grid.shape[0])):
            rows = slice(max(low[1], 0), max(min(high[1] + 1, grid.shape[1]), 0))
            columns = slice(max(low[0], 0), max(min(high[0] + 1, grid.shape[2]), 0))
            if rows.start >= rows.stop or columns.start >= columns.stop:
                break
            share = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
            for offset in LABEL_PLANES:
                place = s + offset * grid.thickness_mm / grid.slice_mm
                x, y, z = (p[rows, columns] for p in head_plane(grid, pose, place))
                share += np.clip(0.5 - glands[name](x, y, z) / pixel, 0.0, 1.0)
            labels[s, rows, columns][share / len(LABEL_PLANES) > DRAWN_SHARE] = values[named[name]]
    return labels


def _mirrored_names() -> dict[str, str]:
    return {a: b for pair in MIRROR_PAIRS for a, b in (pair, pair[::-1])}


def _world_box(organ: Organ, pose: Pose) -> Array:
    """(8, 3) corners in the world of a box that holds the organ, deformation included."""
    inside = np.argwhere(organ.values < 1.5)[:, ::-1]
    m = np.linalg.inv(organ.index_from_head)
    points = inside @ m[:3, :3].T + m[:3, 3]
    reach = 4.0 * float(np.abs(pose.field).std()) + 2.0
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    back = np.linalg.inv(pose.head_from_world)
    return np.asarray(corners @ back[:3, :3].T + back[:3, 3])
