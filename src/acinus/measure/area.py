"""Measures of the surface that weigh its parts by their area, in millimetres.

Enters: a `MaskPair`. Leaves: distances in mm and shares, as DeepMind's surface-distance defines
them: surface elements by marching cubes lie between voxels, and each counts by its area. With
anisotropic voxels that differs from counting border voxels (`surface.py`), which most toolkits
do and which is the default here; the names begin with ``area``.

Percentiles are distances at which the area summed from the nearest element on reaches the
wanted share; no two are interpolated.

Source: Nikolov et al. 2021, J Med Internet Res 23(7):e26151.
"""

from __future__ import annotations

import numpy as np

from acinus.measure.measures import measure, measure_family
from acinus.measure.pair import BOTH_EMPTY, MaskPair, Surfels
from acinus.measure.score import Score

MM = "mm"


@measure(
    "area_asd_reference_mm",
    title="Surface distance by area, reference to prediction (in mm)",
    unit=MM,
    better="lower",
)
def asd_of_reference(pair: MaskPair) -> Score:
    """Average distance from the reference's surface to the prediction's, weighed by area, mm.

    Returns:
        Σ a d / Σ a over elements of the reference, mm, lower is better. Undefined if a mask is
        empty.
    """
    if pair.lack_of_surfels:
        return Score.undefined(pair.lack_of_surfels, MM)
    return Score(_mean(pair.surfels[0]), MM)


@measure(
    "area_asd_prediction_mm",
    title="Surface distance by area, prediction to reference (in mm)",
    unit=MM,
    better="lower",
)
def asd_of_prediction(pair: MaskPair) -> Score:
    """Average distance from the prediction's surface to the reference's, weighed by area, mm.

    Returns:
        Σ a d / Σ a over elements of the prediction, mm, lower is better. Undefined if a mask is
        empty.
    """
    if pair.lack_of_surfels:
        return Score.undefined(pair.lack_of_surfels, MM)
    return Score(_mean(pair.surfels[1]), MM)


@measure_family(
    "area_hausdorff_{}_mm",
    title="HD{} by area (in mm)",
    unit=MM,
    better="lower",
    meaning="percentile",
    low=0,
    high=100,
    example=95,
)
def robust_hausdorff(pair: MaskPair, percentile: float) -> Score:
    """The larger of the two directed percentiles of surface distance, weighed by area, mm.

    Returns:
        mm, lower is better. Undefined if a mask is empty. The reference implementation calls it
        robust Hausdorff.
    """
    if pair.lack_of_surfels:
        return Score.undefined(pair.lack_of_surfels, MM)
    return Score(max(_percentile(one, percentile) for one in pair.surfels), MM)


@measure_family(
    "area_surface_dice_{}mm",
    title="Surface Dice by area at {} mm",
    unit="1",
    better="higher",
    meaning="tolerance, mm",
    low=0,
    example=1,
)
def surface_dice(pair: MaskPair, tolerance_mm: float) -> Score:
    """Share of the area of both surfaces that lies within a tolerance of the other.

    No default tolerance: it stands for the disagreement of readers, which differs between
    organs.

    Returns:
        Share in [0, 1], higher is better. Undefined if both masks are empty; 0 if exactly one
        is.
    """
    if pair.emptiness and pair.emptiness != BOTH_EMPTY:
        return Score(0.0)
    if pair.lack_of_surfels:
        return Score.undefined(pair.lack_of_surfels)
    near = sum(float(one.areas[one.distances_mm <= tolerance_mm].sum()) for one in pair.surfels)
    return Score(near / sum(float(one.areas.sum()) for one in pair.surfels))


def _mean(surfels: Surfels) -> float:
    return float(np.sum(surfels.distances_mm * surfels.areas) / np.sum(surfels.areas))


def _percentile(surfels: Surfels, percentile: float) -> float:
    order = np.argsort(surfels.distances_mm, kind="stable")
    reached = np.cumsum(surfels.areas[order])
    place = int(np.searchsorted(reached / reached[-1], percentile / 100))
    return float(surfels.distances_mm[order[min(place, len(order) - 1)]])
