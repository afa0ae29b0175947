"""Intensities on a common scale; 0 stands for "outside of the image" afterwards.

Enters: one channel of one case. Leaves: float32. Sources: min-max rescaling,
lacrimal MRI study, section 2.3; the others, nnU-Net's schemes by their formulas.
One departure: nnU-Net counts labelled voxels among those of the nonzero mask, so
that a training image differs from the same image without its label; here the
label is never looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acinus.errors import DataError, PlanError
from acinus.plan.settings import ChannelIntensity, Normalisation, PrepareSettings
from acinus.types import Array, Mask

SMALLEST_SD = 1e-8
"""Least number to divide by: a constant image becomes 0, not infinite (nnU-Net)."""

BLOCK = 2**15
"""Voxels whose squares are summed in 32 bits."""


@dataclass(frozen=True)
class Intensities:
    """Smallest and largest value of a scan, mean and standard deviation."""

    low: float
    high: float
    mean: float
    sd: float


def normalise(
    array: Array,
    how: Normalisation,
    *,
    intensity: ChannelIntensity | None = None,
    inside: Mask | None = None,
    whole: Intensities | None = None,
) -> Array:
    """Rescaled intensities of one channel of one case.

    Args:
        array: Voxel values of any shape, finite.
        how: ``min_max`` maps the smallest value to 0 and the largest to 1;
            ``z_score`` subtracts the mean and divides by the standard deviation;
            ``ct`` clips to the dataset's percentiles and uses the dataset's mean and
            standard deviation; ``rescale_0_1`` is nnU-Net's min-max; ``rgb_0_1``
            divides by 255; ``none`` leaves the values.
        intensity: The dataset's foreground intensities, for ``ct``.
        inside: Same shape; z-scores look at these voxels only and leave the others.
        whole: Of the scan of which this is a part; None: it is all.

    Returns:
        float32 of the same shape, a new array; all zero for a constant image under
        ``min_max``, ``z_score`` and ``rescale_0_1``.

    Raises:
        PlanError: ``ct`` without intensities.
        DataError: ``rgb_0_1`` with values outside of 0 to 255.
    """
    values = np.array(array, dtype=np.float32, order="C")
    if how == "z_score" and whole is None:
        return _z_score(values, inside)
    if how == "z_score" and whole is not None:
        values -= np.float32(whole.mean)
        values /= np.float32(max(whole.sd, SMALLEST_SD))
    elif how == "ct":
        if intensity is None:
            raise PlanError(
                "prepare.intensity must be given for 'ct' normalisation and is missing. Make the "
                "plan again: it is decided from the fingerprint."
            )
        np.clip(values, intensity.low, intensity.high, out=values)
        values -= np.float32(intensity.mean)
        values /= np.float32(max(intensity.sd, SMALLEST_SD))
    elif how in ("min_max", "rescale_0_1"):
        low, high = (values.min(), values.max()) if whole is None else (whole.low, whole.high)
        values -= np.float32(low)
        values /= max(np.float32(high) - np.float32(low), np.float32(SMALLEST_SD))
    elif how == "rgb_0_1":
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 255:
            raise DataError(
                "a channel with 'rgb_0_1' normalisation must hold values from 0 to 255; got "
                f"{low:g} to {high:g}. Give the channel its true name in dataset.json, or set "
                "prepare.normalisation."
            )
        values /= np.float32(255)
    return values


def channel_normalisation(
    settings: PrepareSettings, n_channels: int
) -> Sequence[tuple[Normalisation, ChannelIntensity | None]]:
    """How each channel is normalised, with the dataset's intensities where they are known.

    Raises:
        PlanError: The settings are not resolved, or are for another number of channels.
    """
    how, intensity = settings.normalisation, settings.intensity
    if how == "by_name":
        raise PlanError(
            "prepare.normalisation must be decided before a case is prepared; it is still "
            "'by_name'. Make the plan again."
        )
    schemes = (how,) * n_channels if isinstance(how, str) else how
    known = (None,) * n_channels if intensity is None else intensity
    for name, values in (("normalisation", schemes), ("intensity", known)):
        if len(values) != n_channels:
            raise PlanError(
                f"prepare.{name} must have one entry for each of the {n_channels} channel(s); it "
                f"has {len(values)}. Make the plan again for this dataset."
            )
    return tuple(zip(schemes, known, strict=True))


def _z_score(values: Array, inside: Mask | None) -> Array:
    chosen = values.reshape(-1) if inside is None else values[inside]
    if chosen.size == 0:
        return values
    chosen -= np.float32(chosen.mean(dtype=np.float64))
    # Block by block: squares of a whole scan in float64 would take twice its memory.
    blocks = (chosen[start : start + BLOCK] for start in range(0, chosen.size, BLOCK))
    sd = math.sqrt(sum(float(np.dot(block, block)) for block in blocks) / chosen.size)
    chosen /= np.float32(max(sd, SMALLEST_SD))
    if inside is not None:
        values[inside] = chosen
    return values
