"""What a trunk is painted from: bodies in order, a later one covers an earlier one.

Enters: a trunk. Leaves: its bodies. Sizes and places are those of textbooks of
sectional anatomy for an adult lying on the back, rounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from acinus.cohort.phantom.trunk import Trunk
from acinus.cohort.phantom.trunk_bowel import bowel_bodies, duodenum_bodies, stomach_bodies
from acinus.cohort.phantom.trunk_organs import (
    kidney_bodies,
    liver_bodies,
    mesentery_bodies,
    pancreas_bodies,
    pancreatic_fat_bodies,
    spleen_bodies,
    vessel_bodies,
)
from acinus.cohort.phantom.trunk_parts import TrunkBody
from acinus.cohort.phantom.trunk_wall import wall_bodies

ORDER = (
    wall_bodies,
    kidney_bodies,
    mesentery_bodies,
    bowel_bodies,
    liver_bodies,
    spleen_bodies,
    stomach_bodies,
    pancreatic_fat_bodies,
    vessel_bodies,
    duodenum_bodies,
    pancreas_bodies,
)


def trunk_bodies(trunk: Trunk) -> Iterator[TrunkBody]:
    """All bodies in the order of painting."""
    for bodies in ORDER:
        yield from bodies(trunk)
