"""Another number of voxels along each axis, axis after axis.

Enters: a tensor and, for each axis, which old voxels every new one is made of
(`Taps`). Leaves: the tensor at its new size. Nearest, linear and cubic
resampling are separable, so that one matrix product an axis does them all; the
matrix is nearly empty and is applied in bands. Rejected by measurement: the
spline filters of SciPy, which work on one core in float64 (more than ten times
as long), and torch's own `interpolate`, which has no anti-aliasing along three
axes and no splines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from acinus.types import Array

ANISOTROPY = 3.0
"""Coarsest over finest spacing above which nnU-Net resamples the coarse axis apart."""

SAME_SPACING = 1e-4
"""Relative difference below which two spacings count as one: headers hold 32-bit numbers."""

SPLINE_POLE = math.sqrt(3) - 2
"""Pole of the cubic B-spline's prefilter (Unser 1999)."""

SPLINE_REACH = 12
"""Voxels after which the prefilter is cut off; 0.27 to the twelfth is 1e-7."""

EVEN_SHARE = 1e-9
"""Difference up to which two labels share a voxel evenly: shares are sums of rounded numbers."""

BAND = 48
"""New voxels that one band of the matrix makes."""

Kind = Literal["nearest", "linear", "antialiased", "cubic"]


@dataclass(frozen=True, eq=False)
class Taps:
    """Which old voxels each new voxel along one axis is made of.

    Attributes:
        positions: (n_new, T) indices of old voxels; one may occur twice.
        weights: (n_new, T) float64; each row sums to 1.
        n_old: Old number of voxels.
    """

    positions: Array
    weights: Array
    n_old: int

    @property
    def n_new(self) -> int:
        """New number of voxels."""
        return int(self.positions.shape[0])

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return (
            self.n_new == self.n_old
            and self.positions.shape[1] == 1
            and bool((self.positions[:, 0] == np.arange(self.n_old)).all())
        )

    def matrix(self, new: slice, old: slice) -> Array:
        """(new, old) float64 weights of a block; old voxels outside of it are left out."""
        positions, weights = self.positions[new], self.weights[new]
        inside = (positions >= old.start) & (positions < old.stop)
        block = np.zeros((positions.shape[0], old.stop - old.start))
        rows = np.broadcast_to(np.arange(len(block))[:, None], positions.shape)
        np.add.at(block, (rows[inside], positions[inside] - old.start), weights[inside])
        return block


def taps_along(n_old: int, n_new: int, kind: Kind) -> Taps:
    """Taps from one number of voxels to another; centres as in nnU-Net, edges repeated.

    Args:
        n_old: Old number of voxels, >= 1.
        n_new: New number, >= 1.
        kind: ``nearest``; ``linear`` between the two neighbours; ``antialiased``
            linear whose triangle widens when the axis shrinks; ``cubic`` B-spline
            of order 3 through all voxels.

    Source: `scipy.ndimage.zoom` with ``grid_mode`` and mode ``nearest``, which
    nnU-Net calls through scikit-image; anti-aliasing as in torch's `interpolate`.
    """
    if n_old == n_new:
        return Taps(np.arange(n_old)[:, None], np.ones((n_old, 1)), n_old)
    scale = n_old / n_new
    centres = scale * (np.arange(n_new) + 0.5) - 0.5
    if kind == "nearest":
        offsets, weights = np.floor(centres + 0.5)[:, None], np.ones((n_new, 1))
    elif kind == "cubic":
        offsets, weights = _cubic(centres)
    elif kind == "antialiased" and scale > 1:
        offsets, weights = _triangle(centres, scale, n_old)
    else:
        low = np.floor(centres)
        share = centres - low
        offsets = np.stack([low, low + 1], axis=1)
        weights = np.stack([1 - share, share], axis=1)
    return Taps(np.clip(offsets, 0, n_old - 1).astype(np.intp), weights, n_old)


def apply_taps(values: Tensor, taps: Taps, axis: int) -> Tensor:
    """The tensor resampled along one axis, of the same type and device.

    Args:
        values: Floating point; nearest taps take any type.
        taps: Of this axis.
        axis: Which one, >= 0.
    """
    if taps.is_identity:
        return values
    if taps.positions.shape[1] == 1:
        return values.index_select(axis, torch.from_numpy(taps.positions[:, 0]).to(values.device))
    shape = list(values.shape)
    n_before, n_after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    flat = values.reshape(n_before, taps.n_old, n_after)
    new = values.new_empty(n_before, taps.n_new, n_after)
    for start in range(0, taps.n_new, BAND):
        rows = slice(start, min(start + BAND, taps.n_new))
        part = taps.positions[rows]
        columns = slice(int(part.min()), int(part.max()) + 1)
        band = torch.from_numpy(taps.matrix(rows, columns)).to(values)
        # A network that yields its maps may be inside of autocast; 16 bits are too coarse here.
        with torch.autocast(values.device.type, enabled=False):
            if n_after == 1:
                new[:, rows, 0] = flat[:, columns, 0] @ band.T
            else:
                new[:, rows] = torch.bmm(band.expand(n_before, -1, -1), flat[:, columns])
    shape[axis] = taps.n_new
    return new.reshape(shape)


def resample(values: Tensor, taps: Sequence[Taps]) -> Tensor:
    """The last axes resampled, one `Taps` each; axes that shrink go first."""
    first = values.ndim - len(taps)
    for axis in _shrinking_first(taps):
        values = apply_taps(values, taps[axis], first + axis)
    return values


def _shrinking_first(taps: Sequence[Taps]) -> list[int]:
    return sorted(range(len(taps)), key=lambda axis: taps[axis].n_new / taps[axis].n_old)


def coarse_axis(
    spacing_mm: tuple[float, float, float], new_spacing_mm: tuple[float, float, float]
) -> int | None:
    """The axis that nnU-Net resamples apart, by nearest neighbour; None where all go together.

    Args:
        spacing_mm: Of the voxels there are.
        new_spacing_mm: Of those to be made, same order of axes.

    Source: nnU-Net, ``preprocessing/resampling/default_resampling.py``.
    """
    for spacing in (spacing_mm, new_spacing_mm):
        if max(spacing) / min(spacing) > ANISOTROPY:
            coarsest = [
                axis
                for axis, step in enumerate(spacing)
                if step > max(spacing) * (1 - SAME_SPACING)
            ]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def resample_image(
    image: Tensor, size_vox: tuple[int, int, int], interpolation: str, coarse: int | None
) -> Tensor:
    """One channel at another size.

    Args:
        image: (S, R, Q) float32.
        size_vox: (S, R, Q) to reach.
        interpolation: ``linear``, anti-aliased where an axis shrinks, or ``cubic``,
            kept within the range of the old values as nnU-Net does.
        coarse: Axis to resample apart by nearest neighbour, or None.
    """
    # Names are reused all along, so that each step lets go of the array before it.
    old = tuple(image.shape)
    if old == size_vox:
        return image
    kind: Kind = "antialiased" if interpolation == "linear" else "cubic"
    taps = _taps(old, size_vox, kind, coarse)
    if interpolation == "linear":
        for axis in _shrinking_first(taps):
            image = apply_taps(image, taps[axis], axis)
        return image
    # The range is kept slice by slice of a coarse axis; so slices that are left out may go first.
    plane = [axis for axis in _shrinking_first(taps) if axis != coarse]
    if coarse is not None and size_vox[coarse] < old[coarse]:
        image = apply_taps(image, taps[coarse], coarse)
    if any(not taps[axis].is_identity for axis in plane):
        low, high = image.amin(plane, keepdim=True), image.amax(plane, keepdim=True)
        for axis in plane:
            image = apply_taps(image, taps[axis], axis)
        # In place: where any axis changed, the array is a new one.
        image.clamp_(low, high)
    if coarse is not None and size_vox[coarse] > old[coarse]:
        image = apply_taps(image, taps[coarse], coarse)
    return image


def resample_label(
    label: Array, size_vox: tuple[int, int, int], interpolation: str, coarse: int | None
) -> Array:
    """A label map at another size: every label for itself, then the one of largest share.

    Labels are linear along each axis (anti-aliased if the image is), nearest along
    the coarse one. Of labels with even shares the one of the nearest voxel wins, or
    the lowest where that voxel has none of them. Only what labels reach is computed.

    Args:
        label: (S, R, Q) uint8.
        size_vox: (S, R, Q) to reach.
        interpolation: That of the image.
        coarse: Axis to resample apart by nearest neighbour, or None.

    Returns:
        (S, R, Q) uint8 of that size.

    Source: nnU-Net with batchgenerators 0.25.5, ``resize_segmentation``.
    """
    if label.shape == size_vox:
        return label
    result = np.zeros(size_vox, dtype=np.uint8)
    boxes = label_boxes(label)
    if not boxes:
        return result
    kind: Kind = "antialiased" if interpolation == "linear" else "linear"
    taps = _taps(label.shape, size_vox, kind, coarse)
    hull = [
        slice(min(edge.start for edge in edges), max(edge.stop for edge in edges))
        for edges in zip(*boxes.values(), strict=True)
    ]
    region = tuple(reached(along, edge) for along, edge in zip(taps, hull, strict=True))
    if any(part.start == part.stop for part in region):
        return result  # all labels fall between the new voxels
    nearest = [taps_along(along.n_old, along.n_new, "nearest") for along in taps]
    winner = result[region]
    rivals = label[np.ix_(*(n.positions[part, 0] for n, part in zip(nearest, region, strict=True)))]
    # What surrounds the labels belongs to the contest: background is a label here.
    around = tuple(part_of(along, part)[1] for along, part in zip(taps, region, strict=True))
    best = _share(label, 0, around, taps, region)
    is_nearest = rivals == 0
    for value, box in boxes.items():
        target = tuple(reached(along, edge) for along, edge in zip(taps, box, strict=True))
        if any(part.start == part.stop for part in target):
            continue
        share = _share(label, value, box, taps, target)
        at = tuple(
            slice(part.start - whole.start, part.stop - whole.start)
            for part, whole in zip(target, region, strict=True)
        )
        ahead, level = share > best[at] + EVEN_SHARE, np.abs(share - best[at]) <= EVEN_SHARE
        is_nearest[at] = np.where(ahead, False, is_nearest[at]) | (
            (ahead | level) & (rivals[at] == value)
        )
        winner[at][ahead] = value
        best[at] = np.maximum(best[at], share)
    winner[is_nearest] = rivals[is_nearest]
    return result


def _share(
    label: Array,
    value: int,
    old: tuple[slice, ...],
    taps: Sequence[Taps],
    new: tuple[slice, ...],
) -> Array:
    """Share of a label in new voxels, float64, from the old voxels of a box."""
    share = torch.from_numpy((label[old] == value).astype(np.float64))
    for axis, along in enumerate(taps):
        matrix = torch.from_numpy(along.matrix(new[axis], old[axis]))
        share = torch.tensordot(matrix, share, dims=([1], [axis])).movedim(0, axis)
    return share.numpy()


def label_boxes(label: Array) -> dict[int, tuple[slice, slice, slice]]:
    """Bounding box of each value above 0 of a label map (S, R, Q), uint8, in rising order."""
    # Imported here: the module of filters takes a while to load.
    from scipy.ndimage import find_objects

    boxes = find_objects(label)
    return {value: box for value, box in enumerate(boxes, start=1) if box is not None}


def reached(taps: Taps, old: slice) -> slice:
    """New voxels to which any of the old ones contributes."""
    touched = ((taps.positions >= old.start) & (taps.positions < old.stop)).any(axis=1)
    indices = np.flatnonzero(touched)
    return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0, 0)


def part_of(taps: Taps, new: slice) -> tuple[Taps, slice]:
    """Taps of some new voxels only, and the old voxels that they need."""
    positions = taps.positions[new]
    old = slice(int(positions.min()), int(positions.max()) + 1)
    return Taps(positions - old.start, taps.weights[new], old.stop - old.start), old


def _taps(
    old: Sequence[int], new: Sequence[int], kind: Kind, coarse: int | None = None
) -> tuple[Taps, ...]:
    return tuple(
        taps_along(a, b, "nearest" if axis == coarse else kind)
        for axis, (a, b) in enumerate(zip(old, new, strict=True))
    )


def _cubic(centres: Array) -> tuple[Array, Array]:
    """Cardinal cubic splines: the B-spline at the centre after the prefilter's response."""
    first = np.floor(centres) - 1
    distance = np.abs(centres[:, None] - (first[:, None] + np.arange(4)))
    spline = np.where(
        distance < 1,
        2 / 3 - distance**2 + distance**3 / 2,
        np.clip(2 - distance, 0, None) ** 3 / 6,
    )
    steps = np.arange(-SPLINE_REACH, SPLINE_REACH + 4)
    response = math.sqrt(3) * SPLINE_POLE ** np.abs(np.arange(4)[:, None] - steps)
    weights = spline @ response
    return first[:, None] + steps, weights / weights.sum(axis=1, keepdims=True)


def _triangle(centres: Array, scale: float, n_old: int) -> tuple[Array, Array]:
    """Triangles as wide as a new voxel; what lies outside of the axis is left out."""
    low = np.ceil(centres - scale)
    positions = low[:, None] + np.arange(math.floor(2 * scale) + 1)
    weights = np.clip(1 - np.abs(positions - centres[:, None]) / scale, 0, None)
    weights = np.where((positions >= 0) & (positions < n_old), weights, 0.0)
    return positions, weights / weights.sum(axis=1, keepdims=True)
