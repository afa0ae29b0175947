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

from acinus.measure.measures import measure, measure_family
from acinus.measure.pair import BOTH_EMPTY, MaskPair
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
    return hausdorff_percentile(95).of(pair)


@measure("hausdorff_95_pooled_mm", title="HD95, pooled (in mm)", unit=MM, better="lower")
def hausdorff_95_pooled(pair: MaskPair) -> Score:
    """HD95, 95th percentile of both directed sets of surface distance together, mm.

    Returns:
        P95 of d(R→P) and d(P→R) pooled, mm, lower is better. Undefined if a
        mask is empty. The definition of MedPy's ``hd95``.
    """
    return hausdorff_percentile_pooled(95).of(pair)


@measure_family(
    "hausdorff_{}_mm",
    title="HD{} (in mm)",
    unit=MM,
    better="lower",
    meaning="percentile",
    low=0,
    high=100,
    example=90,
)
def hausdorff_percentile(pair: MaskPair, percentile: float) -> Score:
    """The larger of the two directed percentiles of surface distance, mm.

    Returns:
        max(P d(R→P), P d(P→R)), mm, lower is better. Undefined if a mask is empty.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    there, back = pair.surface_distances_mm
    return Score(float(max(np.percentile(there, percentile), np.percentile(back, percentile))), MM)


@measure_family(
    "hausdorff_{}_pooled_mm",
    title="HD{}, pooled (in mm)",
    unit=MM,
    better="lower",
    meaning="percentile",
    low=0,
    high=100,
    example=90,
)
def hausdorff_percentile_pooled(pair: MaskPair, percentile: float) -> Score:
    """The percentile of both directed sets of surface distance together, mm.

    Returns:
        P of d(R→P) and d(P→R) pooled, mm, lower is better. Undefined if a mask is empty.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    return Score(float(np.percentile(np.concatenate(pair.surface_distances_mm), percentile)), MM)


@measure(
    "asd_reference_mm",
    title="Surface distance, reference to prediction (in mm)",
    unit=MM,
    better="lower",
)
def asd_of_reference(pair: MaskPair) -> Score:
    """Average surface distance from the reference to the prediction, mm.

    Returns:
        mean d(R→P), mm, lower is better. Undefined if a mask is empty.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    return Score(float(pair.surface_distances_mm[0].mean()), MM)


@measure(
    "asd_prediction_mm",
    title="Surface distance, prediction to reference (in mm)",
    unit=MM,
    better="lower",
)
def asd_of_prediction(pair: MaskPair) -> Score:
    """Average surface distance from the prediction to the reference, mm.

    Returns:
        mean d(P→R), mm, lower is better. Undefined if a mask is empty. MedPy's ``asd`` of
        (prediction, reference).
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    return Score(float(pair.surface_distances_mm[1].mean()), MM)


@measure("assd_mm", title="ASSD (in mm)", unit=MM, better="lower")
def assd(pair: MaskPair) -> Score:
    """Average symmetric surface distance: mean of both sets of distances together, mm.

    Returns:
        (Σ d(R→P) + Σ d(P→R)) / (|∂R| + |∂P|), mm, lower is better. Undefined if a mask is
        empty. The larger surface weighs more; see `assd_of_means` for the other definition.
        The definition of MedPy 0.5 and MONAI.

    Source: Heimann et al. 2009, IEEE TMI 28(8):1251-1265.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    return Score(float(np.concatenate(pair.surface_distances_mm).mean()), MM)


@measure("assd_of_means_mm", title="ASSD, mean of means (in mm)", unit=MM, better="lower")
def assd_of_means(pair: MaskPair) -> Score:
    """Average symmetric surface distance: mean of the two directed means, mm.

    Returns:
        (mean d(R→P) + mean d(P→R)) / 2, mm, lower is better. Undefined if a mask is empty.
        The definition of MedPy up to version 0.4.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    there, back = pair.surface_distances_mm
    return Score(float(there.mean() + back.mean()) / 2, MM)


@measure("rms_surface_distance_mm", title="RMS surface distance (in mm)", unit=MM, better="lower")
def rms_surface_distance(pair: MaskPair) -> Score:
    """Root mean square of both sets of surface distances together, mm.

    Returns:
        √((Σ d²(R→P) + Σ d²(P→R)) / (|∂R| + |∂P|)), mm, lower is better. Undefined if a mask
        is empty.

    Source: Heimann et al. 2009, IEEE TMI 28(8):1251-1265.
    """
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface, MM)
    pooled = np.concatenate(pair.surface_distances_mm)
    return Score(float(np.sqrt(np.mean(np.square(pooled)))), MM)


@measure_family(
    "surface_dice_{}mm",
    title="Surface Dice at {} mm",
    unit="1",
    better="higher",
    meaning="tolerance, mm",
    low=0,
    example=1,
)
def surface_dice(pair: MaskPair, tolerance_mm: float) -> Score:
    """Share of both surfaces that lies within a tolerance of the other.

    No default tolerance: it stands for the disagreement of readers, which differs between
    organs. Border voxels all count alike, as in MONAI.

    Returns:
        Share in [0, 1], higher is better. Undefined if both masks are empty; 0 if exactly one
        is.

    Source: Nikolov et al. 2021, J Med Internet Res 23(7):e26151.
    """
    if pair.emptiness and pair.emptiness != BOTH_EMPTY:
        return Score(0.0)
    if pair.lack_of_surface:
        return Score.undefined(pair.lack_of_surface)
    pooled = np.concatenate(pair.surface_distances_mm)
    return Score(float(np.count_nonzero(pooled <= tolerance_mm)) / pooled.size)


@measure(
    "average_hausdorff_mm", title="Average Hausdorff distance (in mm)", unit=MM, better="lower"
)
def average_hausdorff(pair: MaskPair) -> Score:
    """Average Hausdorff distance of all voxels of both masks, not of their surfaces, mm.

    Returns:
        (Σ_R d(r, P) / |R| + Σ_P d(p, R) / |P|) / 2, mm, lower is better; voxels of both masks
        have the distance 0. Undefined if a mask is empty.

    Source: Taha and Hanbury 2015, BMC Med Imaging 15:29 (there the larger of the two means);
    in this form Aydin et al. 2021, Eur Radiol Exp 5:4.
    """
    if pair.emptiness:
        return Score.undefined(pair.emptiness, MM)
    missed, false = (float(distances.sum()) for distances in pair.outside_distances_mm)
    return Score((missed / pair.n_reference + false / pair.n_prediction) / 2, MM)


@measure(
    "balanced_average_hausdorff_mm",
    title="Balanced average Hausdorff distance (in mm)",
    unit=MM,
    better="lower",
)
def balanced_average_hausdorff(pair: MaskPair) -> Score:
    """Average Hausdorff distance with both sums divided by the reference's voxels, mm.

    Returns:
        (Σ_R d(r, P) + Σ_P d(p, R)) / (2 |R|), mm, lower is better. A prediction that is too
        large does not hide its false voxels in its own size. Undefined if a mask is empty.

    Source: Aydin et al. 2021, Eur Radiol Exp 5:4.
    """
    if pair.emptiness:
        return Score.undefined(pair.emptiness, MM)
    missed, false = (float(distances.sum()) for distances in pair.outside_distances_mm)
    return Score((missed + false) / (2 * pair.n_reference), MM)
