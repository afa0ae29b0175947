"""Which axes may be mirrored: decided from the order in which labels lie along them.

Enters: a fingerprint. Leaves: the axes. Where one label lies before another
along an axis in nearly all cases, a mirrored patch shows anatomy that does not
exist and blurs the two labels: nnU-Net, which mirrors every axis, took the
posterior hippocampus for the anterior one in short trainings. Labels of a mirror
pair are exempt along X, since they are swapped there.
"""

from __future__ import annotations

from itertools import combinations

from acinus.cohort import Dataset
from acinus.plan.fingerprint import Fingerprint
from acinus.plan.rules import Decision

SAME_ORDER = 0.9
"""Share of the cases with both labels from which their order counts as fixed."""

MIN_CASES = 3
"""Fewer cases with both labels tell nothing about their order."""


def decide_mirror_axes(fingerprint: Fingerprint, dataset: Dataset) -> Decision:
    """Axes along which no two labels keep their order, and X only if sides can be swapped."""
    shares = {axis: order_shares(fingerprint, dataset, axis) for axis in "ZYX"}
    fixed = {
        axis: [pair for pair, share in pairs.items() if max(share, 1 - share) >= SAME_ORDER]
        for axis, pairs in shares.items()
    }
    paired = {name for pair in dataset.mirror_pairs for name in pair}
    alone = sorted(set(dataset.sides) - paired)
    axes = tuple(axis for axis in "ZYX" if not fixed[axis] and not (axis == "X" and alone))
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
            "cases, since mirroring would contradict it; left-right only if sides can be swapped"
        ),
        source="data",
        facts=facts,
    )


def order_shares(
    fingerprint: Fingerprint, dataset: Dataset, axis: str
) -> dict[tuple[str, str], float]:
    """Per pair of labels the share of cases in which the first lies before the second.

    Args:
        fingerprint: Facts of the dataset.
        dataset: Its mirror pairs are left out along X.
        axis: Canonical axis Z, Y or X; "before" is at a smaller coordinate.
    """
    index = "ZYX".index(axis)
    swapped = {frozenset(pair) for pair in dataset.mirror_pairs} if axis == "X" else set()
    shares = {}
    for first, second in combinations(fingerprint.labels, 2):
        if frozenset((first, second)) in swapped:
            continue
        both = [
            case.centroid_mm
            for case in fingerprint.cases.values()
            if first in case.centroid_mm and second in case.centroid_mm
        ]
        if len(both) >= MIN_CASES:
            before = sum(place[first][index] < place[second][index] for place in both)
            shares[first, second] = before / len(both)
    return shares
