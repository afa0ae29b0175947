"""Measures of volume: how much there is, in millilitres.

Enters: a `MaskPair`. Leaves: volumes in mL, always defined: the volume of an
empty mask is 0. Relative errors were rejected as a measure of a case, since
they explode for atrophic glands; the tables state agreement over all cases.
"""

from __future__ import annotations

from acinus.measure.measures import measure
from acinus.measure.pair import MaskPair
from acinus.measure.score import Score

ML = "mL"


@measure("reference_volume_ml", title="Reference volume (in mL)", unit=ML, better="neither")
def reference_volume(pair: MaskPair) -> Score:
    """Volume of the reference, mL, >= 0."""
    return Score(pair.n_reference * pair.voxel_volume_ml, ML)


@measure("prediction_volume_ml", title="Predicted volume (in mL)", unit=ML, better="neither")
def prediction_volume(pair: MaskPair) -> Score:
    """Volume of the prediction, mL, >= 0."""
    return Score(pair.n_prediction * pair.voxel_volume_ml, ML)


@measure("volume_error_ml", title="Volume error (in mL)", unit=ML, better="neither")
def volume_error(pair: MaskPair) -> Score:
    """Predicted minus reference volume, mL; above 0 where too much was predicted."""
    return Score((pair.n_prediction - pair.n_reference) * pair.voxel_volume_ml, ML)
