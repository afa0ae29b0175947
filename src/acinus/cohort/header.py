"""What ``dataset.json`` says, checked key by key.

Enters: the JSON of a dataset. Leaves: a `Header` and a list of every fault, so
that opening a dataset can stop at the first and checking it can tell them all.
A pydantic model was rejected: the file belongs to nnU-Net, carries keys of other
programs, and a fault in one key must not hide the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from acinus.cohort.labels import LabelSet, parse_labels, short
from acinus.errors import unknown_name
from acinus.scans import KNOWN_SUFFIXES
from acinus.scans.coding import Side

ENDINGS = tuple(suffix for suffix in KNOWN_SUFFIXES if suffix != ".seg.nrrd")
"""What ``file_ending`` may be: a format that holds images and label maps alike."""


@dataclass(frozen=True)
class Header:
    """The content of ``dataset.json`` that Acinus uses.

    Attributes:
        name: Name of the dataset; empty if not given.
        channel_names: One per channel, in the order of the file numbers 0000, 0001, …
        labels: Structure to label value, without background, by value; of regions the value
            that they are painted with, in the order of painting.
        file_ending: Ending of all images and labels, e.g. ``".nii.gz"``; empty if not given.
        n_training: ``numTraining``; None if not given.
        sides: Label to the side of the patient that it lies on.
        mirror_pairs: Labels that swap when left and right swap.
        structures: Place to the labels that belong to it.
        synthetic: Whether the images are made, not measured.
        allow_missing_channels: Whether a case may lack channels.
        exclude: Case or participant to the reason why it is left out.
        description: Free text.
        regions: Every structure to the values that it unites; empty: one value each.
        ignore_label: Value of voxels that the reference says nothing about.
        annotated: Case to the structures annotated in it; a case that is not in it has all.
    """

    name: str = ""
    channel_names: tuple[str, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    file_ending: str = ""
    n_training: int | None = None
    sides: dict[str, Side] = field(default_factory=dict)
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    structures: dict[str, tuple[str, ...]] = field(default_factory=dict)
    synthetic: bool = False
    allow_missing_channels: bool = False
    exclude: dict[str, str] = field(default_factory=dict)
    description: str = ""
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_label: int | None = None
    annotated: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, tuple[int, ...]]:
        """Structure to the values that stand for it in a label map."""
        return LabelSet(self.labels, self.regions).values


def parse_header(data: Any) -> tuple[Header, list[str]]:
    """The header in a decoded ``dataset.json``, and every fault in it.

    A faulty key is left at its default, so that the rest can still be used.

    Args:
        data: Decoded JSON.

    Returns:
        The header and one sentence per fault, each without the name of the file.
    """
    if not isinstance(data, dict):
        return Header(), [f"must hold one JSON object; got {type(data).__name__}."]
    faults: list[str] = []
    if "dataset" in data:
        faults.append(
            "lists single files under 'dataset', which is not supported; "
            "lay the files out as imagesTr/CASE_0000 and labelsTr/CASE and remove the key."
        )
    labels = parse_labels(data, faults)
    known = set(labels.labels)
    sides = _sides(data, known, faults)
    header = Header(
        name=_text(data, "name", faults),
        channel_names=_channel_names(data, faults),
        labels=labels.labels,
        file_ending=_file_ending(data, faults),
        n_training=_n_training(data, faults),
        sides=sides,
        mirror_pairs=_mirror_pairs(data, labels, sides, faults),
        structures=_structures(data, known, faults),
        synthetic=_flag(data, "synthetic", faults),
        allow_missing_channels=_flag(data, "allow_missing_channels", faults),
        exclude=_exclude(data, faults),
        description=_text(data, "description", faults),
        regions=labels.regions,
        ignore_label=labels.ignore_label,
        annotated=_annotated(data, labels.labels, faults),
    )
    return header, faults


def _channel_names(data: Mapping[str, Any], faults: list[str]) -> tuple[str, ...]:
    given = data.get("channel_names")
    if not isinstance(given, dict) or not given:
        faults.append(_must("channel_names", 'map numbers to names, as {"0": "T1"}', given, data))
        return ()
    wanted = [str(number) for number in range(len(given))]
    if sorted(given, key=lambda key: (len(key), key)) != wanted:
        faults.append(
            f"'channel_names' must be numbered {', '.join(wanted)} without gaps; "
            f"got {', '.join(given)}."
        )
        return ()
    return tuple(str(given[number]) for number in wanted)


def _file_ending(data: Mapping[str, Any], faults: list[str]) -> str:
    given = data.get("file_ending")
    if not isinstance(given, str) or given.lower() not in ENDINGS:
        faults.append(_must("file_ending", f"be one of {', '.join(ENDINGS)}", given, data))
        return ""
    return given


def _n_training(data: Mapping[str, Any], faults: list[str]) -> int | None:
    given = data.get("numTraining")
    if given is None:
        return None
    if not _is_count(given):
        faults.append(f"'numTraining' must be the number of training cases; got {given!r}.")
        return None
    return int(given)


def _sides(data: Mapping[str, Any], known: set[str], faults: list[str]) -> dict[str, Side]:
    given = data.get("sides", {})
    if not isinstance(given, dict):
        faults.append(_must("sides", "map labels to 'left' or 'right'", given, data))
        return {}
    sides: dict[str, Side] = {}
    for label, side in given.items():
        if label not in known:
            faults.append(f"'sides': {unknown_name('label', label, known)}")
        elif side not in ("left", "right"):
            faults.append(f"'sides' must be 'left' or 'right'; '{label}' has {side!r}.")
        else:
            sides[label] = cast(Side, side)
    return sides


def _mirror_pairs(
    data: Mapping[str, Any], labels: LabelSet, sides: Mapping[str, Side], faults: list[str]
) -> tuple[tuple[str, str], ...]:
    given = data.get("mirror_pairs", [])
    fits = isinstance(given, list) and all(isinstance(p, list) and len(p) == 2 for p in given)
    if not fits:
        faults.append(_must("mirror_pairs", "be a list of pairs of labels", given, data))
        return ()
    pairs: list[tuple[str, str]] = []
    used: set[str] = set()
    swaps: dict[int, int] = {}
    for first, second in given:
        fault = _pair_fault(str(first), str(second), set(labels.labels), sides, used)
        fault = fault or _swap_fault(str(first), str(second), labels, swaps)
        if fault:
            faults.append(f"'mirror_pairs': {fault}")
        else:
            pairs.append((str(first), str(second)))
            used |= {str(first), str(second)}
    return tuple(pairs)


def _pair_fault(
    first: str, second: str, known: set[str], sides: Mapping[str, Side], used: set[str]
) -> str:
    for label in (first, second):
        if label not in known:
            return unknown_name("label", label, known)
        if label in used:
            return f"a label must be in one pair only; '{label}' is in two."
    if first == second:
        return f"a pair must hold two different labels; got '{first}' twice."
    if first in sides and sides.get(first) == sides.get(second):
        return (
            f"a pair must hold one left and one right label; "
            f"'{first}' and '{second}' are both {sides[first]}."
        )
    return ""


def _swap_fault(first: str, second: str, labels: LabelSet, swaps: dict[int, int]) -> str:
    """Why the values of two regions cannot change places; otherwise `swaps` learns how they do."""
    ours, theirs = labels.values[first], labels.values[second]
    listed = f"'{first}' unites {_listed(ours)}, '{second}' {_listed(theirs)}"
    if len(ours) != len(theirs):
        return f"two regions that swap must unite equally many values, one for one; {listed}."
    new = {**dict(zip(ours, theirs, strict=True)), **dict(zip(theirs, ours, strict=True))}
    if any(new[new[value]] != value or swaps.get(value, new[value]) != new[value] for value in new):
        return (
            "values must swap one for one, in the order in which both regions list them, and "
            f"alike in every pair; {listed}."
        )
    swaps |= new
    return ""


def _structures(
    data: Mapping[str, Any], known: set[str], faults: list[str]
) -> dict[str, tuple[str, ...]]:
    given = data.get("structures", {})
    fits = isinstance(given, dict) and all(isinstance(names, list) for names in given.values())
    if not fits:
        faults.append(_must("structures", "map a place to a list of labels", given, data))
        return {}
    structures: dict[str, tuple[str, ...]] = {}
    for place, names in given.items():
        strange = [str(name) for name in names if str(name) not in known]
        if strange:
            faults.append(f"'structures' '{place}': {unknown_name('label', strange[0], known)}")
        if not names:
            faults.append(f"'structures' '{place}' must name at least one label; it names none.")
        structures[place] = tuple(str(name) for name in names if str(name) in known)
    for name in sorted(known):
        places = [place for place, names in structures.items() if name in names]
        if len(places) > 1:
            faults.append(
                f"'structures': a label must belong to one place; '{name}' is in "
                f"{' and '.join(places)}."
            )
    return structures


def _annotated(
    data: Mapping[str, Any], known: Mapping[str, int], faults: list[str]
) -> dict[str, tuple[str, ...]]:
    given = data.get("annotated", {})
    fits = isinstance(given, dict) and all(isinstance(names, list) for names in given.values())
    if not fits:
        example = 'map cases to the labels annotated in them, as {"c_01": ["gland"]}'
        faults.append(_must("annotated", example, given, data))
        return {}
    annotated: dict[str, tuple[str, ...]] = {}
    for case, names in given.items():
        strange = [str(name) for name in names if str(name) not in known]
        if strange:
            faults.append(f"'annotated' '{case}': {unknown_name('label', strange[0], known)}")
        elif not names:
            faults.append(
                f"'annotated' '{case}' must list at least one label; got none. Remove its label "
                "map, or list the case under 'exclude'."
            )
        else:
            annotated[case] = tuple(name for name in known if name in names)
    return annotated


def _exclude(data: Mapping[str, Any], faults: list[str]) -> dict[str, str]:
    given = data.get("exclude", {})
    fits = isinstance(given, dict) and all(isinstance(why, str) for why in given.values())
    if not fits:
        faults.append(_must("exclude", 'map cases to reasons, as {"c_01": "motion"}', given, data))
        return {}
    return dict(given)


def _flag(data: Mapping[str, Any], key: str, faults: list[str]) -> bool:
    given = data.get(key, False)
    if not isinstance(given, bool):
        faults.append(f"'{key}' must be true or false; got {given!r}.")
        return False
    return given


def _text(data: Mapping[str, Any], key: str, faults: list[str]) -> str:
    given = data.get(key, "")
    if not isinstance(given, str):
        faults.append(f"'{key}' must be text; got {short(given)}.")
        return ""
    return given


def _must(key: str, what: str, given: Any, data: Mapping[str, Any]) -> str:
    found = f"got {short(given)}" if key in data else "it is missing"
    hint = ""
    if key == "channel_names" and "modality" in data:
        hint = " Rename the older key 'modality' to 'channel_names'."
    return f"'{key}' must {what}; {found}.{hint}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(str(value) for value in values)
