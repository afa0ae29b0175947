"""Intensities on a common scale; 0 stands for "outside of the image" afterwards.

Enters: one channel of one case. Leaves: float32. Sources: min-max rescaling,
lacrimal MRI study, section 2.3; z-score, nnU-Net's default for MRI.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from acinus.types import Array


def normalise(array: Array, how: Literal["min_max", "z_score"]) -> Array:
    """Rescaled intensities of one channel of one case.

    Args:
        array: Voxel values of any shape, finite.
        how: ``min_max`` maps the smallest value to 0 and the largest to 1;
            ``z_score`` subtracts the mean and divides by the standard deviation.

    Returns:
        float32 of the same shape; all zero for a constant image.
    """
    values = array.astype(np.float32)
    if how == "min_max":
        low, high = float(values.min()), float(values.max())
        return (values - low) / (high - low) if high > low else np.zeros_like(values)
    mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return (values - mean) / sd if sd > 0 else np.zeros_like(values)
