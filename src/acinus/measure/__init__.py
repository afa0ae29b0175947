"""Measures of a segmentation: numbers or the reason why there are none.

Enters: masks and their spacing. Leaves: `Score` values and, in
``acinus.measure.statistics``, what can be said about many of them. The room
knows no torch and no file.
"""

from acinus.measure import area, calibration, detection, overlap, sides, surface, volume
from acinus.measure.measures import MEASURES, Measure, measure_case
from acinus.measure.pair import MaskPair
from acinus.measure.score import Score
from acinus.measure.sides import SIDE_MEASURES

__all__ = [
    "MEASURES",
    "SIDE_MEASURES",
    "MaskPair",
    "Measure",
    "Score",
    "area",
    "calibration",
    "detection",
    "measure_case",
    "overlap",
    "sides",
    "surface",
    "volume",
]
