"""The ``labels`` of a dataset: structures, class regions and the ignore label.

Enters: ``labels`` and ``regions_class_order`` of ``dataset.json``. Leaves: a `LabelSet` and a
sentence for every fault. Regions that cross each other were rejected although nnU-Net takes
them: a label map holds one value a voxel and could not show both, so that scores of what was
painted would be wrong without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from acinus.types import IGNORE

BACKGROUND = "background"
"""Name that ``labels`` must give to the value 0."""

IGNORE_NAME = "ignore"
"""Name under which ``labels`` gives the value of voxels that the reference says nothing about."""

ORDER = "regions_class_order"
"""Key of the values that regions are painted with, in the order of ``labels``."""

EXAMPLE = '{"background": 0, "gland": 1}'


@dataclass(frozen=True)
class LabelSet:
    """What ``labels`` says.

    Attributes:
        labels: Structure to the value that a prediction is painted with, without background;
            by value, regions in the order in which they are painted.
        regions: Every structure to the values that it unites in a label map; empty: structures
            exclude each other and have one value each.
        ignore_label: Value of voxels that the reference says nothing about.
    """

    labels: dict[str, int] = field(default_factory=dict)
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_label: int | None = None

    @property
    def values(self) -> dict[str, tuple[int, ...]]:
        """Structure to the values that stand for it in a label map."""
        return self.regions or {name: (value,) for name, value in self.labels.items()}


def parse_labels(data: Mapping[str, Any], faults: list[str]) -> LabelSet:
    """The labels in a decoded ``dataset.json``; every fault becomes a sentence in `faults`."""
    given = data.get("labels")
    if not isinstance(given, dict) or not given:
        found = f"got {short(given)}" if "labels" in data else "it is missing"
        faults.append(f"'labels' must map names to integers, such as {EXAMPLE}; {found}.")
        return LabelSet()
    if all(str(name).isdigit() for name in given):
        faults.append(
            f"'labels' must map names to integers; got integers to names, {short(given)}. "
            "Turn each pair round: the older layout had them the other way."
        )
        return LabelSet()
    wrong = {name: value for name, value in given.items() if not _is_value(value)}
    if wrong:
        faults.append(
            f"'labels' must be integers from 0 to {IGNORE - 1}, or lists of them for regions; got "
            f"{short(wrong)}."
        )
    if BACKGROUND not in wrong and given.get(BACKGROUND) != 0:
        got = given.get(BACKGROUND, "no such name")
        faults.append(f"'labels' must give 'background' the value 0; got {got}.")
    named = {
        str(name): (value,) if isinstance(value, int) else tuple(value)
        for name, value in given.items()
        if name not in (*wrong, BACKGROUND, IGNORE_NAME)
    }
    if not named and not wrong:
        faults.append("'labels' must name at least one structure besides background; got none.")
    ignore_label = None
    if IGNORE_NAME in given and IGNORE_NAME not in wrong:
        ignore_label = _ignore_label(given[IGNORE_NAME], named, faults)
    if any(len(values) > 1 for values in named.values()):
        return _region_set(named, data.get(ORDER), ignore_label, faults)
    singles = {name: values[0] for name, values in named.items()}
    _check_singles(singles, has_wrong=bool(wrong), faults=faults)
    by_value = dict(sorted(singles.items(), key=lambda item: item[1]))
    return LabelSet(by_value, {}, ignore_label)


def _is_value(value: Any) -> bool:
    """Whether it is a label value, or a list of distinct values above 0."""
    if isinstance(value, list):
        return (
            bool(value)
            and all(_is_value(one) and not isinstance(one, list) and one > 0 for one in value)
            and len(set(value)) == len(value)
        )
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < IGNORE


def _ignore_label(
    given: Any, named: Mapping[str, tuple[int, ...]], faults: list[str]
) -> int | None:
    if not isinstance(given, int):
        faults.append(f"'labels' must give 'ignore' one value, no list; got {given}.")
        return None
    highest = max((value for values in named.values() for value in values), default=0)
    if given <= highest:
        faults.append(
            f"'labels' must give 'ignore' the highest value of all, so that it names no structure; "
            f"got {given}, and {highest} for another. Use {highest + 1}, in the label maps too."
        )
        return None
    return given


def _check_singles(labels: Mapping[str, int], *, has_wrong: bool, faults: list[str]) -> None:
    """Values must be distinct and numbered 1, 2, …: the outputs of a network are."""
    values = sorted(labels.values())
    everyone = {BACKGROUND: 0, **labels}
    twice = sorted({v for v in everyone.values() if list(everyone.values()).count(v) > 1})
    if twice:
        names = [name for name, value in everyone.items() if value == twice[0]]
        faults.append(
            f"'labels' must have distinct values; {' and '.join(names)} are all {twice[0]}."
        )
    elif not has_wrong and values != list(range(1, len(values) + 1)):
        faults.append(
            f"'labels' must be numbered 1 to {len(values)} without gaps, as nnU-Net wants it; got "
            f"{', '.join(str(value) for value in values)}. Renumber them, in the label maps too."
        )


def _region_set(
    named: Mapping[str, tuple[int, ...]], order: Any, ignore_label: int | None, faults: list[str]
) -> LabelSet:
    regions = dict(named)
    if any(0 in values for values in regions.values()):
        faults.append("'labels': a region must not contain 0, the background.")
        return LabelSet()
    crossing = _crossing(regions)
    if crossing:
        first, second, value = crossing
        faults.append(
            f"'labels': regions must lie within each other or apart, since a label map shows one "
            f"value a voxel; '{first}' and '{second}' share {value} and each has more. Make one "
            "of them two regions."
        )
        return LabelSet()
    fault = _order_fault(regions, order)
    if fault:
        faults.append(fault)
        return LabelSet()
    return LabelSet(dict(zip(regions, order, strict=True)), regions, ignore_label)


def _crossing(regions: Mapping[str, tuple[int, ...]]) -> tuple[str, str, int] | None:
    """Two regions that overlap while neither holds the other, and a value they share."""
    for (first, ours), (second, theirs) in combinations(regions.items(), 2):
        shared = set(ours) & set(theirs)
        if shared and shared not in (set(ours), set(theirs)):
            return first, second, min(shared)
    return None


def _order_fault(regions: Mapping[str, tuple[int, ...]], order: Any) -> str:
    """What is wrong with the painted values; empty if nothing is."""
    wanted = f"'{ORDER}' must list a value for each of {', '.join(regions)}"
    proposal = _proposed_order(regions)
    hint = f" Use {proposal}." if proposal else ""
    if not isinstance(order, list) or len(order) != len(regions):
        return f"{wanted}, to paint it with; got {short(order)}.{hint}"
    for (name, values), painted in zip(regions.items(), order, strict=True):
        if painted not in values:
            return (
                f"{wanted} that the region itself unites; '{name}' unites "
                f"{', '.join(map(str, values))} and is painted {painted!r}.{hint}"
            )
    for (first, ours), (later, theirs) in combinations(regions.items(), 2):
        if set(ours) <= set(theirs):
            return (
                f"'labels': '{later}' is painted after '{first}', which it contains, and would "
                "hide it. Name the larger region first."
            )
        painted = order[list(regions).index(first)]
        if painted in theirs:
            return (
                f"{wanted} that no region within it unites; '{first}' is painted {painted}, "
                f"which would count as '{later}' too.{hint}"
            )
    return ""


def _proposed_order(regions: Mapping[str, tuple[int, ...]]) -> list[int]:
    """For each region a value that no smaller region within it has; empty if one has none."""
    proposal = []
    for values in regions.values():
        within = [set(other) for other in regions.values() if set(other) < set(values)]
        own = set(values).difference(*within)
        if not own:
            return []
        proposal.append(min(own))
    return proposal


def short(value: Any, limit: int = 80) -> str:
    """How a value reads in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
