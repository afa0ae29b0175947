"""Measures of the surface: how far two outlines lie apart, in millimetres.

Enters: a `MaskPair`. Leaves: distances in mm, lower is better, undefined with a
reason if a mask is empty. The surface is the set of border voxels (voxels with
a face neighbour outside the mask; beyond the image is outside), as in MedPy and
MONAI; area-weighted surfaces (DeepMind's surface-distance) give other numbers
and were rejected because the published ones are not weighted.

"HD95" has two definitions in the field and they differ. With the directed
distances d(R→P) and d(P→R): ``hausdorff_95_mm`` is the larger of the two 95th
percentiles (MONAI); ``hausdorff_95_pooled_mm`` is the 95th percentile of both
sets together (MedPy).
Percentiles interpolate linearly between order statistics (NumPy's default).

Where the reference ignores voxels, both masks end there without a surface: the cut
would be alike in both and lower every percentile. A distance comes out too long where
the nearest partner is hidden among ignored voxels; a mask without any surface left has
no distance.
"""

from __future__ import annotations

import numpy as np

from acinus.measure.measures import measure
from acinus.measure.pair import MaskPair
from acinus.measure.score import Score

MM = "mm"


@measure("hausdorff_mm", title="Hausdorff distance (in mm)", unit=MM, better="lower")
def hausdorff(pair: MaskPair) -> Score:
    """Hausdorff distance: the largest distance from one surface to the other, mm.

    Returns:
        max(max d(R→P), max d(P→R)), mm, lower is better. Undefined if a mask
        is empty.

    Source: Huttenlocher et al. 1993, IEEE TPAMI 15(9):850-863.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    return Score(float(max(distances.max() for distances in pair.surface_distances_mm)), MM)


@measure("hausdorff_95_mm", title="HD95 (in mm)", unit=MM, better="lower")
def hausdorff_95(pair: MaskPair) -> Score:
    """HD95, larger of the two directed 95th percentiles of surface distance, mm.

    Returns:
        max(P95 d(R→P), P95 d(P→R)), mm, lower is better. Undefined if a mask
        is empty. The definition of MONAI's ``HausdorffDistanceMetric``.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    there, back = pair.surface_distances_mm
    return Score(float(max(np.percentile(there, 95), np.percentile(back, 95))), MM)


@measure("hausdorff_95_pooled_mm", title="HD95, pooled (in mm)", unit=MM, better="lower")
def hausdorff_95_pooled(pair: MaskPair) -> Score:
    """HD95, 95th percentile of both directed sets of surface distance together, mm.

    Returns:
        P95 of d(R→P) and d(P→R) pooled, mm, lower is better. Undefined if a
        mask is empty. The definition of MedPy's ``hd95``.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    return Score(float(np.percentile(np.concatenate(pair.surface_distances_mm), 95)), MM)
