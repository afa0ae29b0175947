"""Measures of overlap: which voxels two masks share.

Enters: a `MaskPair`. Leaves: shares in [0, 1], higher is better. Two empty
masks have no overlap to speak of: the score is undefined, since counting it as
1 would raise the mean of a model with every patient who lacks the structure.
"""

from __future__ import annotations

from acinus.measure.measures import measure
from acinus.measure.pair import BOTH_EMPTY, MaskPair
from acinus.measure.score import Score


@measure("dice", title="Dice score", unit="1", better="higher")
def dice(pair: MaskPair) -> Score:
    """Dice similarity coefficient: twice the overlap by the sum of both masks.

    Returns:
        2 |R ∩ P| / (|R| + |P|) in [0, 1], higher is better. Undefined if both
        masks are empty; 0 if exactly one is.

    Source: Dice 1945, Ecology 26(3):297-302.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    return Score(2.0 * pair.n_overlap / (pair.n_reference + pair.n_prediction))


@measure("iou", title="IOU score", unit="1", better="higher")
def iou(pair: MaskPair) -> Score:
    """Intersection over union (Jaccard index) of both masks.

    Returns:
        |R ∩ P| / |R ∪ P| in [0, 1], higher is better. Undefined if both masks
        are empty; 0 if exactly one is.

    Source: Jaccard 1912, New Phytologist 11(2):37-50.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    return Score(pair.n_overlap / (pair.n_reference + pair.n_prediction - pair.n_overlap))


@measure("precision", title="Precision", unit="1", better="higher")
def precision(pair: MaskPair) -> Score:
    """Share of the predicted voxels that the reference has too.

    Returns:
        |R ∩ P| / |P| in [0, 1], higher is better. Undefined if the prediction
        is empty; 0 if only the reference is.
    """
    if pair.n_prediction == 0:
        return Score.undefined(pair.emptiness)
    return Score(pair.n_overlap / pair.n_prediction)


@measure("recall", title="Recall", unit="1", better="higher")
def recall(pair: MaskPair) -> Score:
    """Share of the reference's voxels that were predicted (sensitivity).

    Returns:
        |R ∩ P| / |R| in [0, 1], higher is better. Undefined if the reference
        is empty; 0 if only the prediction is.
    """
    if pair.n_reference == 0:
        return Score.undefined(pair.emptiness)
    return Score(pair.n_overlap / pair.n_reference)
