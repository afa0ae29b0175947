"""Measures of a segmentation: numbers or the reason why there are none.

Enters: masks and their spacing. Leaves: `Score` values, the consensus of several
readers and, in ``acinus.measure.statistics``, what can be said about many scores. The room
knows no torch and no file.
"""

from acinus.measure import area, calibration, detection, overlap, sides, surface, volume
from acinus.measure.consensus import Consensus, majority_vote, staple
from acinus.measure.measures import MEASURES, Measure, measure_case
from acinus.measure.pair import MaskPair
from acinus.measure.score import Score
from acinus.measure.sides import SIDE_MEASURES

__all__ = [
    "MEASURES",
    "SIDE_MEASURES",
    "Consensus",
    "MaskPair",
    "Measure",
    "Score",
    "area",
    "calibration",
    "detection",
    "majority_vote",
    "measure_case",
    "overlap",
    "sides",
    "staple",
    "surface",
    "volume",
]
