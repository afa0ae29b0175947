"""Measures of volume: how much there is, in millilitres.

Enters: a `MaskPair`. Leaves: volumes in mL, always defined: the volume of an
empty mask is 0; and errors relative to the reference, undefined where that is
empty. A relative error explodes for an atrophic gland: the tables state agreement
over all cases beside it. A single slice has no volume.
"""

from __future__ import annotations

from acinus.measure.measures import measure
from acinus.measure.pair import MaskPair
from acinus.measure.score import Score

ML = "mL"
PERCENT = "%"
NO_VOLUME = "a slice has no volume"


@measure("reference_volume_ml", title="Reference volume (in mL)", unit=ML, better="neither")
def reference_volume(pair: MaskPair) -> Score:
    """Volume of the reference, mL, >= 0."""
    return _volume(pair, pair.n_reference)


@measure("prediction_volume_ml", title="Predicted volume (in mL)", unit=ML, better="neither")
def prediction_volume(pair: MaskPair) -> Score:
    """Volume of the prediction, mL, >= 0."""
    return _volume(pair, pair.n_prediction)


@measure("volume_error_ml", title="Volume error (in mL)", unit=ML, better="neither")
def volume_error(pair: MaskPair) -> Score:
    """Predicted minus reference volume, mL; above 0 where too much was predicted."""
    return _volume(pair, pair.n_prediction - pair.n_reference)


@measure("absolute_volume_error_ml", title="Absolute volume error (in mL)", unit=ML, better="lower")
def absolute_volume_error(pair: MaskPair) -> Score:
    """Predicted minus reference volume without its sign, mL, >= 0."""
    return _volume(pair, abs(pair.n_prediction - pair.n_reference))


@measure("volume_error_percent", title="Volume error (in %)", unit=PERCENT, better="neither")
def relative_volume_error(pair: MaskPair) -> Score:
    """Predicted minus reference volume, % of the reference.

    Returns:
        100 (|P| - |R|) / |R|, >= -100. Undefined if the reference is empty.
    """
    if pair.n_reference == 0:
        return Score.undefined(pair.emptiness, PERCENT)
    return Score(100 * (pair.n_prediction - pair.n_reference) / pair.n_reference, PERCENT)


@measure(
    "absolute_volume_error_percent",
    title="Absolute volume error (in %)",
    unit=PERCENT,
    better="lower",
)
def absolute_relative_volume_error(pair: MaskPair) -> Score:
    """Predicted minus reference volume without its sign, % of the reference.

    Returns:
        100 ||P| - |R|| / |R|, >= 0, lower is better. Undefined if the reference is empty.
    """
    if pair.n_reference == 0:
        return Score.undefined(pair.emptiness, PERCENT)
    return Score(100 * abs(pair.n_prediction - pair.n_reference) / pair.n_reference, PERCENT)


@measure("false_positive_ml", title="False-positive volume (in mL)", unit=ML, better="lower")
def false_positive_volume(pair: MaskPair) -> Score:
    """Volume of what was predicted and the reference has not, mL, >= 0."""
    return _volume(pair, pair.n_false)


@measure("false_negative_ml", title="False-negative volume (in mL)", unit=ML, better="lower")
def false_negative_volume(pair: MaskPair) -> Score:
    """Volume of what the reference has and was not predicted, mL, >= 0."""
    return _volume(pair, pair.n_missed)


def _volume(pair: MaskPair, n_voxels: int) -> Score:
    if pair.reference.ndim != 3:
        return Score.undefined(NO_VOLUME, ML)
    return Score(n_voxels * pair.voxel_volume_ml, ML)
