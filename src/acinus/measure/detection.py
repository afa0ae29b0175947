"""Measures of detection: which lesions were found, one by one.

Enters: a `MaskPair`. Leaves: shares in [0, 1], higher is better. A lesion is a connected
component with 26 neighbours. A lesion of the reference and one of the prediction match if
their intersection over union lies above the percentage in the name; above 50 % no lesion can
match two. Below, of all one-to-one matchings the one with the largest sum of intersections
over union is taken. Counting a lesion as found wherever one voxel touches it was rejected as
the only rule, since one large prediction would find them all; ``iou0`` asks for it, one to one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acinus.measure.measures import Measure, measure_family
from acinus.measure.pair import BOTH_EMPTY, MaskPair
from acinus.measure.score import Score

Made = Callable[[Callable[[MaskPair, float], Score]], Callable[[float], Measure]]


def lesion_family(form: str, title: str) -> Made:
    """A family whose number is the least intersection over union of a match, %."""
    return measure_family(
        form,
        title=title,
        unit="1",
        better="higher",
        meaning="least IoU, %",
        low=-1,
        high=100,
        example=50,
    )


@lesion_family("lesion_recall_iou{}", "Lesions found (IoU above {}%)")
def lesion_recall(pair: MaskPair, least_percent: float) -> Score:
    """Share of the reference's lesions that were found.

    Returns:
        TP / (TP + FN). Undefined if the reference is empty.
    """
    if pair.n_reference == 0:
        return Score.undefined(pair.emptiness)
    lesions = pair.lesions
    return Score(len(lesions.matched(least_percent / 100)) / lesions.n_reference)


@lesion_family("lesion_precision_iou{}", "Lesions confirmed (IoU above {}%)")
def lesion_precision(pair: MaskPair, least_percent: float) -> Score:
    """Share of the predicted lesions that the reference has.

    Returns:
        TP / (TP + FP). Undefined if the prediction is empty.
    """
    if pair.n_prediction == 0:
        return Score.undefined(pair.emptiness)
    lesions = pair.lesions
    return Score(len(lesions.matched(least_percent / 100)) / lesions.n_prediction)


@lesion_family("lesion_f1_iou{}", "Lesion F1 (IoU above {}%)")
def lesion_f1(pair: MaskPair, least_percent: float) -> Score:
    """F1 of detection: lesions found and confirmed, by the mean number of both.

    Returns:
        2 TP / (2 TP + FP + FN). Undefined if both masks are empty; 0 if exactly one is.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    lesions = pair.lesions
    n_found = len(lesions.matched(least_percent / 100))
    return Score(2 * n_found / (lesions.n_reference + lesions.n_prediction))


@lesion_family("panoptic_quality_iou{}", "Panoptic quality (IoU above {}%)")
def panoptic_quality(pair: MaskPair, least_percent: float) -> Score:
    """Panoptic quality: detection times how well the found lesions were outlined.

    Returns:
        Σ IoU of the matches / (TP + FP / 2 + FN / 2). Undefined if both masks are empty; 0 if
        exactly one is.

    Source: Kirillov et al. 2019, CVPR 9404-9413.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    lesions = pair.lesions
    matches = lesions.matched(least_percent / 100)
    total = float(lesions.iou[matches].sum())
    return Score(2 * total / (lesions.n_reference + lesions.n_prediction))


@lesion_family("lesion_dice_iou{}", "Lesion-wise Dice (IoU above {}%)")
def lesion_dice(pair: MaskPair, least_percent: float) -> Score:
    """Mean Dice over lesions; one that was missed or made up counts as 0.

    Returns:
        Σ Dice of the matches / (TP + FP + FN). Undefined if both masks are empty; 0 if exactly
        one is.

    Source: as in the BraTS challenge of 2023, arXiv 2305.09011, there with dilated lesions.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    lesions = pair.lesions
    matches = lesions.matched(least_percent / 100)
    dice = 2 * lesions.iou[matches] / (1 + lesions.iou[matches])
    n_all = lesions.n_reference + lesions.n_prediction - len(matches)
    return Score(float(np.sum(dice)) / n_all)
