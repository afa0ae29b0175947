"""Whether the values of a CT are Hounsfield units.

Enters: voxels that are said to be HU. Leaves: what they tell of a rescale slope and intercept that
were lost or applied twice on the way. A check of the extremes alone was rejected: air with its
noise reaches below 0 where the intercept is lost, and metal makes up for any.
"""

from __future__ import annotations

import numpy as np

from acinus.types import Array

HU_RANGE = (-10_000.0, 40_000.0)
"""Values outside are no Hounsfield units: scanners pad with down to -8,192 and state metal up to
30,710 on the extended scale."""

OUTSIDE_HU = -1024
"""What voxels outside of the field of view become whose padding value is no HU: the least of a CT
of 12 bits."""

PADDING_HU = -1500.0
"""Values below are padding outside the field of view."""

LIGHT_HU, LIGHT_SHARE = -50.0, 1e-3
"""A CT shows air or fat in at least this share of its voxels, below this value and above padding:
where the intercept is lost air lies near 0, with its noise about it."""

SOFT_HU, SOFT_SHARE = (-150.0, 150.0), 0.01
"""A CT shows soft tissue in at least this share of its voxels above padding, between these."""

SUNK_HU = -1100.0
"""Less than air: a tail of noise, unless the intercept was applied twice."""

ENOUGH_VOX = 2**24
"""Of scans with more voxels every second along each axis is looked at."""


def wrong_rescale(values: Array) -> str:
    """What the values of a CT tell of its rescale slope and intercept; empty: they look right.

    Args:
        values: Of a whole scan, any shape.
    """
    if values.size > ENOUGH_VOX:
        values = values[(slice(None, None, 2),) * values.ndim]

    def number(above: float, below: float) -> int:
        return int(np.count_nonzero((values > above) & (values < below)))

    if number(PADDING_HU, LIGHT_HU) < LIGHT_SHARE * values.size:
        return "rescale intercept lost"
    soft, sunk = number(*SOFT_HU), number(PADDING_HU, SUNK_HU)
    if sunk > soft:
        return "rescale intercept applied twice"
    return "rescale wrong" if soft < SOFT_SHARE * number(PADDING_HU, np.inf) else ""
