"""Measures of overlap: which voxels two masks share.

Enters: a `MaskPair`. Leaves: shares in [0, 1], higher is better. Two empty
masks have no overlap to speak of: the score is undefined, since counting it as
1 would raise the mean of a model with every patient who lacks the structure.

Measures that count the voxels of neither mask depend on how much of the patient was
scanned. They are taken within a box around both masks, whose margin is in their name;
within the whole image specificity and accuracy of a small structure are 1 whatever was
predicted.
"""

from __future__ import annotations

from acinus.measure.measures import measure, measure_family
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


@measure_family(
    "f_{}",
    title="F{} score",
    unit="1",
    better="higher",
    meaning="weight of recall",
    low=0,
    example=2,
)
def f_beta(pair: MaskPair, beta: float) -> Score:
    """F-beta score: precision and recall in one, recall counting beta times as much.

    Returns:
        (1 + β²) |R ∩ P| / (β² |R| + |P|) in [0, 1], higher is better; for β = 1 the Dice
        coefficient. Undefined if both masks are empty; 0 if exactly one is.

    Source: van Rijsbergen 1979, Information Retrieval, 2nd ed., ch. 7.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    weight = beta**2
    return Score((1 + weight) * pair.n_overlap / (weight * pair.n_reference + pair.n_prediction))


MARGIN = "margin, mm"


@measure_family(
    "specificity_{}mm",
    title="Specificity (within {} mm)",
    unit="1",
    better="higher",
    meaning=MARGIN,
    low=0,
    example=10,
)
def specificity(pair: MaskPair, margin_mm: float) -> Score:
    """Share of the voxels outside the reference that were left out, within a box around both.

    The box around both masks, wider by the stated margin on each side; voxels beyond the image
    count as outside of both, so that the value does not depend on the field of view.

    Returns:
        TN / (TN + FP) in [0, 1], higher is better. Undefined if both masks are empty.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    n_neither = pair.n_neither(margin_mm)
    n_outside = n_neither + pair.n_false
    if n_outside == 0:
        return Score.undefined("no voxel outside the reference")
    return Score(n_neither / n_outside)


@measure_family(
    "accuracy_{}mm",
    title="Accuracy (within {} mm)",
    unit="1",
    better="higher",
    meaning=MARGIN,
    low=0,
    example=10,
)
def accuracy(pair: MaskPair, margin_mm: float) -> Score:
    """Share of all voxels on which both masks agree, within a box around both.

    The box as for specificity. Kept for comparison with papers that state it; it says little.

    Returns:
        (TP + TN) / all in [0, 1], higher is better. Undefined if both masks are empty.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    n_agreed = pair.n_overlap + pair.n_neither(margin_mm)
    return Score(n_agreed / (n_agreed + pair.n_missed + pair.n_false))


@measure_family(
    "kappa_{}mm",
    title="Cohen's kappa (within {} mm)",
    unit="1",
    better="higher",
    meaning=MARGIN,
    low=0,
    example=10,
)
def kappa(pair: MaskPair, margin_mm: float) -> Score:
    """Cohen's kappa: agreement beyond chance, within a box around both masks.

    The box as for specificity. With the whole image kappa comes out as the Dice coefficient.

    Returns:
        (p_o - p_e) / (1 - p_e) in [-1, 1], higher is better, with the observed agreement p_o
        and the one p_e expected of two readers who draw as much at random. Undefined if both
        masks are empty, or fill the whole box.

    Source: Cohen 1960, Educ Psychol Meas 20(1):37-46.
    """
    if pair.emptiness == BOTH_EMPTY:
        return Score.undefined(BOTH_EMPTY)
    n_neither = pair.n_neither(margin_mm)
    n_all = n_neither + pair.n_overlap + pair.n_missed + pair.n_false
    inside = pair.n_reference * pair.n_prediction
    outside = (n_all - pair.n_reference) * (n_all - pair.n_prediction)
    by_chance = (inside + outside) / n_all**2
    if by_chance == 1:
        return Score.undefined("no voxel outside the masks")
    observed = (pair.n_overlap + n_neither) / n_all
    return Score((observed - by_chance) / (1 - by_chance))
