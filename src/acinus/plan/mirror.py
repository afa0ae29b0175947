"""Which axes may be mirrored: decided from the order in which labels lie along them.

Enters: a fingerprint. Leaves: the axes. Where one label lies before another
along an axis in nearly all cases, a mirrored patch shows anatomy that does not
exist and blurs the two labels: nnU-Net, which mirrors every axis, took the
posterior hippocampus for the anterior one in short trainings. Along X the labels of
a mirror pair change places as well: a right gland that always lies right of a nerve
contradicts nothing if the left one always lies left of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from acinus.cohort import Dataset, mirror_partners
from acinus.plan.fingerprint import Fingerprint
from acinus.plan.rules import Decision

SAME_ORDER = 0.9
"""Share of the cases with both labels from which their order counts as fixed."""

OTHER_ORDER = 0.5
"""Share below which mirrored cases show a fixed order the other way round more often than not. Of
two partners one may keep an order in 93% and the other in 86% of the cases: that is chance."""

MIN_CASES = 3
"""Fewer cases with both labels tell nothing about their order."""


def decide_mirror_axes(fingerprint: Fingerprint, dataset: Dataset) -> Decision:
    """Axes along which mirroring contradicts no order of labels, and X only if sides can swap."""
    partner = mirror_partners(dataset.mirror_pairs)
    shares = {axis: order_shares(fingerprint, axis) for axis in "ZYX"}
    kept = {axis: not _contradicts(shares[axis], partner if axis == "X" else {}) for axis in "ZYX"}
    alone = sorted(set(dataset.sides) - set(partner))
    axes = tuple(axis for axis in "ZYX" if kept[axis] and not (axis == "X" and alone))
    facts: dict[str, object] = {
        f"share_of_cases_in_one_order_{axis}": {
            f"{first} before {second}": round(share, 3) for (first, second), share in pairs.items()
        }
        for axis, pairs in shares.items()
        if pairs
    }
    if alone:
        facts["labels_with_a_side_and_no_partner"] = alone
    return Decision(
        value=axes,
        rule=(
            f"axes along which no two labels keep the same order in {SAME_ORDER:.0%} of the "
            "cases, since mirroring would contradict it (left-right with the labels of mirror "
            "pairs swapped); left-right only if sides can be swapped"
        ),
        source="data",
        facts=facts,
    )


def order_shares(fingerprint: Fingerprint, axis: str) -> dict[tuple[str, str], float]:
    """Per pair of labels the share of cases in which the first lies before the second.

    Args:
        fingerprint: Facts of the dataset.
        axis: Canonical axis Z, Y or X; "before" is at a smaller coordinate.
    """
    index = "ZYX".index(axis)
    shares = {}
    for first, second in combinations(fingerprint.labels, 2):
        both = [
            case.centroid_mm
            for case in fingerprint.cases.values()
            if first in case.centroid_mm and second in case.centroid_mm
        ]
        if len(both) >= MIN_CASES:
            before = sum(place[first][index] < place[second][index] for place in both)
            shares[first, second] = before / len(both)
    return shares


def _contradicts(shares: Mapping[tuple[str, str], float], partner: Mapping[str, str]) -> bool:
    """Whether mirrored cases would show two labels in an order that they never have.

    Args:
        shares: From `order_shares`.
        partner: Label to the label that it becomes when mirrored.
    """
    for (first, second), share in shares.items():
        # What is seen there after mirroring was, before it, the partners in the other order.
        ours, theirs = partner.get(first, first), partner.get(second, second)
        before = shares.get((ours, theirs), 1 - shares.get((theirs, ours), 1 - share))
        mirrored = 1 - before
        for real, seen in ((share, mirrored), (1 - share, 1 - mirrored)):
            if real >= SAME_ORDER and seen < OTHER_ORDER:
                return True
    return False
