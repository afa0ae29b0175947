"""A case as the network sees it.

Enters: volumes on their native grid and the plan's settings. Leaves: an array
``(C, S, R, Q)`` (slices, rows, columns along the plan's anatomical axes), the
label map alike, and a `Geometry` that undoes every step. Order as in nnU-Net:
axes, crop, intensities, resampling; resampling first was rejected, since
interpolated borders would enter the statistics of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acinus.errors import DataError, GridError
from acinus.plan.settings import PrepareSettings
from acinus.prepare.geometry import Geometry, axis_order, make_geometry, turn_to
from acinus.prepare.grow import grow_labels
from acinus.prepare.normalise import Intensities, channel_normalisation, normalise
from acinus.prepare.resample import resample_image, resample_label
from acinus.scans import GRID_TOLERANCE_MM, Grid, Volume
from acinus.types import IGNORE, Array, Mask


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """Array and geometry of one case.

    Attributes:
        image: (C, S, R, Q) float32; 0 is the value outside of the image.
        label: (S, R, Q) uint8 or None; 255 where the reference says nothing.
        geometry: The way back.
        previous: (S, R, Q) uint8 labels that the low resolution of a cascade found, or None.
    """

    image: Array
    label: Array | None
    geometry: Geometry
    previous: Array | None = None


def prepare_case(
    channels: Sequence[Volume | None],
    settings: PrepareSettings,
    label: Volume | None = None,
    *,
    ignore_label: int | None = None,
    whole: Sequence[Intensities | None] | None = None,
) -> PreparedCase:
    """Image and label as the network sees them.

    Args:
        channels: One volume a channel on one grid; a missing channel is zero.
        settings: Resolved settings: slice axis, spacing and normalisation are decided.
        label: Label map on the same grid, or None.
        ignore_label: Value of the label map that says nothing; it becomes 255.
        whole: For each channel the intensities of the scan of which it is a part; None: it is all.

    Raises:
        GridError: Channels or label lie on different grids.
        DataError: A label value cannot be kept.
        PlanError: The settings are not resolved for these channels.
    """
    native = _common_grid(channels, label)
    schemes = channel_normalisation(settings, len(channels))
    order = axis_order(settings.slice_axis if settings.slice_axis != "auto" else "Z")
    turned = [
        None if channel is None else turn_to(channel, settings.orientation) for channel in channels
    ]
    arrays = [None if one is None else np.transpose(one.array, order) for one in turned]
    stands = next(one.grid for one in turned if one is not None)
    filled = _nonzero(arrays) if settings.crop_to_nonzero or settings.normalise_nonzero else None
    box = _box(filled) if filled is not None and settings.crop_to_nonzero else None
    geometry = make_geometry(native, stands, settings, box)
    inside = (
        _fill_holes(filled[geometry.box])
        if filled is not None and settings.normalise_nonzero
        else None
    )
    image = np.zeros((len(channels), *geometry.prepared_vox), dtype=np.float32)
    wholes = whole or (None,) * len(channels)
    for target, array, (how, intensity), all_of_it in zip(
        image, arrays, schemes, wholes, strict=True
    ):
        if array is None:
            continue
        # Nothing here keeps the normalised array while it is resampled.
        resampled = resample_image(
            torch.from_numpy(
                normalise(
                    array[geometry.box], how, intensity=intensity, inside=inside, whole=all_of_it
                )
            ),
            geometry.resampled_vox,
            geometry.interpolation,
            geometry.coarse_axis(back=False),
        )
        _fit(resampled.numpy(), target)
    return PreparedCase(
        image=image,
        label=(
            None
            if label is None
            else prepare_labelmap(label, geometry, ignore_label, grow_mm=settings.grow_mm)
        ),
        geometry=geometry,
    )


def _common_grid(channels: Sequence[Volume | None], label: Volume | None) -> Grid:
    present = [channel for channel in channels if channel is not None]
    if not present:
        raise GridError("a case must have at least one channel; all are missing.")
    first = present[0]
    for other in [*present[1:], *([label] if label is not None else [])]:
        apart = first.grid.displacement_mm(other.grid)
        if apart > GRID_TOLERANCE_MM:
            raise GridError(
                "channels and label of a case must share a grid "
                f"(GRID_TOLERANCE_MM = {GRID_TOLERANCE_MM}); shapes (Z, Y, X) {first.shape} and "
                f"{other.shape}, corners {apart:.3g} mm apart. Export them on one grid."
            )
    return first.grid


def _nonzero(arrays: Sequence[Array | None]) -> Mask:
    """(S, R, Q) whether any channel is not 0."""
    first, *others = (array for array in arrays if array is not None)
    mask: Mask = first != 0
    for array in others:
        mask |= array != 0
    return mask


def _box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """Bounding box, or None where nothing is set; filling holes would not change it."""
    present = [mask.any(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    if not present[0].any():
        return None
    ends = [np.flatnonzero(one)[[0, -1]] for one in present]
    s, r, q = (slice(int(first), int(last) + 1) for first, last in ends)
    return s, r, q


def _fill_holes(mask: Mask) -> Mask:
    """The mask and every cavity that no path of face neighbours joins to the border."""
    # Imported here: the module of filters takes a while to load.
    from scipy.ndimage import label

    empty, n_parts = label(~mask)
    is_hole = np.ones(n_parts + 1, dtype=bool)
    is_hole[0] = False
    for axis in range(mask.ndim):
        for end in (0, -1):
            is_hole[np.unique(empty.take(end, axis=axis))] = False
    return np.asarray(mask | is_hole[empty])


def prepare_labelmap(
    label: Volume,
    geometry: Geometry,
    ignore_label: int | None = None,
    *,
    grow_mm: float = 0.0,
) -> Array:
    """(S, R, Q) uint8 labels as an image of the same grid was prepared.

    Args:
        label: Label map on the native grid of the image.
        geometry: Of the prepared image.
        ignore_label: Value that says nothing; it becomes 255.
        grow_mm: By how much labels are grown, see `grow_labels`; 0: they are as they are.

    Raises:
        DataError: A label value cannot be kept.
    """
    turned = turn_to(label, geometry.orientation)
    array = np.transpose(turned.array, geometry.order)[geometry.box]
    values = _as_uint8(array, ignore_label)
    resampled = resample_label(
        values,
        geometry.resampled_vox,
        geometry.interpolation,
        geometry.coarse_axis(back=False),
    )
    if grow_mm > 0:
        resampled = grow_labels(values, resampled, geometry.resampled_mm, grow_mm)
    if geometry.prepared_vox == geometry.resampled_vox:
        return np.ascontiguousarray(resampled)
    result = np.zeros(geometry.prepared_vox, dtype=np.uint8)
    _fit(resampled, result)
    return result


def _as_uint8(array: Array, ignore_label: int | None) -> Array:
    """Label values as they are, the ignored one as 255; DataError where a value does not fit."""
    ignored = None if ignore_label is None else array == ignore_label
    low, high = int(array.min()), int(array.max())
    if high >= IGNORE and ignored is not None:
        high = int(np.max(array, where=~ignored, initial=0))
    if low < 0 or high >= IGNORE:
        raise DataError(
            f"label values must lie between 0 and {IGNORE - 1}; got {low} to {high}. "
            "Number the labels from 1, without gaps."
        )
    values = array.astype(np.uint8)
    if ignored is not None:
        values[ignored] = IGNORE
    return values


def _fit(array: Array, target: Array) -> None:
    """Write the middle of an array into the middle of another; both (S, R, Q)."""
    for axis, (have, wanted) in enumerate(zip(array.shape, target.shape, strict=True)):
        common = min(have, wanted)
        cut, gap = (have - common) // 2, (wanted - common) // 2
        array = array[(slice(None),) * axis + (slice(cut, cut + common),)]
        target = target[(slice(None),) * axis + (slice(gap, gap + common),)]
    target[...] = array
