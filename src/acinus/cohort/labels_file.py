"""Which structures are judged: the ``labels`` of a JSON file, as in ``dataset.json``.

Enters: a file of any program's user. Leaves: names with the values that stand for them.
Asking for all that a dataset needs was rejected: whoever judges other programs has label
maps with gaps in their numbering, no background entry and no channels. Faults that would
make a number wrong are refused all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acinus.cohort.labels import BACKGROUND, EXAMPLE, IGNORE_NAME, short
from acinus.cohort.side_names import pairs_by_name, suggested_side, without_side
from acinus.errors import DataError, unknown_name
from acinus.files import read_json
from acinus.scans.coding import Side

_BETWEEN = re.compile(r"[\s_.\-]+")


@dataclass(frozen=True)
class JudgedLabels:
    """The structures of a file.

    Attributes:
        values: Structure to the values that it unites, in the order of the file.
        ignore_label: Value of voxels that the reference says nothing about.
        mirror_pairs: Labels that swap when right and left swap, as stated.
        sides: Label to its side, as stated.
        annotated: Case to the labels annotated in it; a case without an entry has all.
    """

    values: dict[str, tuple[int, ...]]
    ignore_label: int | None = None
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    sides: dict[str, Side] = field(default_factory=dict)
    annotated: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, int]:
        """Structure to its first value."""
        return {name: values[0] for name, values in self.values.items()}

    @property
    def regions(self) -> dict[str, tuple[int, ...]]:
        """Structures that unite several values."""
        return {name: values for name, values in self.values.items() if len(values) > 1}

    def side_of(self, label: str) -> Side | None:
        """Its side as stated, or else as its name suggests; None: neither."""
        if label in self.sides:
            return self.sides[label]
        return suggested_side(label)

    def pairs(self) -> dict[str, tuple[str, str]]:
        """Name of a structure to its right and left label: stated pairs, or else by names.

        A stated pair whose sides nobody tells stands in its own order.
        """
        pairs = self.mirror_pairs
        if not pairs:
            sides = {name: side for name in self.values if (side := self.side_of(name))}
            pairs = pairs_by_name(sides)
        named = {}
        for one, other in pairs:
            ordered = (other, one) if self.side_of(one) == "left" else (one, other)
            named[_base(one) if _base(one) == _base(other) else f"{one} + {other}"] = ordered
        return named


def read_labels(path: Path | str) -> JudgedLabels:
    """The structures that a JSON file names under ``labels``.

    Besides ``labels`` the keys ``mirror_pairs``, ``sides`` and ``annotated`` are read, where
    present, as in ``dataset.json``; all others are passed over.

    Raises:
        DataError: The file is missing, no JSON, has no ``labels``, or a key says something
            that cannot be.
    """
    path = Path(path)
    data = read_json(path)
    given = data.get("labels") if isinstance(data, dict) else None
    if not isinstance(given, dict) or not given:
        found = "it has no such key" if given is None else f"got {short(given)}"
        raise DataError(
            f"{path}: must have 'labels' that map names to values, as {EXAMPLE}; {found}."
        )
    if all(str(name).isdigit() for name in given):
        raise DataError(
            f"{path}: 'labels' must map names to values; got values to names, {short(given)}. "
            "Turn each pair round."
        )
    values = {name: _values(path, name, value) for name, value in given.items()}
    if values.pop(BACKGROUND, (0,)) != (0,):
        raise DataError(f"{path}: 'background' must be 0; got {short(given[BACKGROUND])}.")
    ignored = values.pop(IGNORE_NAME, None)
    if ignored is not None and len(ignored) > 1:
        raise DataError(f"{path}: 'ignore' must be one value; got {short(given[IGNORE_NAME])}.")
    _check(path, values, ignored)
    return JudgedLabels(
        values,
        None if ignored is None else ignored[0],
        _mirror_pairs(path, data.get("mirror_pairs", []), values),
        _sides(path, data.get("sides", {}), values),
        _annotated(path, data.get("annotated", {}), values),
    )


def _values(path: Path, name: str, given: Any) -> tuple[int, ...]:
    values = given if isinstance(given, list) else [given]
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in values)
    if not values or not whole or len(set(values)) < len(values):
        raise DataError(
            f"{path}: 'labels' must be whole numbers, or lists of them for regions; "
            f"got {short(given)} for '{name}'."
        )
    return tuple(values)


def _check(
    path: Path, values: Mapping[str, tuple[int, ...]], ignored: tuple[int, ...] | None
) -> None:
    if not values:
        raise DataError(f"{path}: 'labels' must name a structure besides background; got none.")
    seen: dict[tuple[int, ...], str] = {}
    for name, those in values.items():
        if min(those) < 1:
            raise DataError(
                f"{path}: 'labels' must be above 0, the background; got {min(those)} for '{name}'."
            )
        if ignored is not None and ignored[0] in those:
            raise DataError(
                f"{path}: 'ignore' must have a value of its own; {ignored[0]} is '{name}' too."
            )
        key = tuple(sorted(those))
        if key in seen:
            shown = ", ".join(map(str, key))
            raise DataError(
                f"{path}: 'labels' must differ in their values; '{seen[key]}' and '{name}' are "
                f"both {shown}."
            )
        seen[key] = name


def _mirror_pairs(path: Path, given: Any, known: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    fits = isinstance(given, list) and all(
        isinstance(pair, list) and len(pair) == 2 and pair[0] != pair[1] for pair in given
    )
    if not fits:
        raise DataError(
            f"{path}: 'mirror_pairs' must list pairs of labels, as "
            f'[["gland_right", "gland_left"]]; got {short(given)}.'
        )
    names = [str(name) for pair in given for name in pair]
    _check_names(path, "mirror_pairs", names, known)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: 'mirror_pairs' must name a label once; '{twice[0]}' has two.")
    return tuple((str(one), str(other)) for one, other in given)


def _sides(path: Path, given: Any, known: Mapping[str, Any]) -> dict[str, Side]:
    fits = isinstance(given, dict) and all(side in ("right", "left") for side in given.values())
    if not fits:
        raise DataError(
            f"{path}: 'sides' must map labels to 'right' or 'left'; got {short(given)}."
        )
    _check_names(path, "sides", given, known)
    return dict(given)


def _annotated(path: Path, given: Any, known: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    if not (isinstance(given, dict) and all(isinstance(one, list) for one in given.values())):
        raise DataError(
            f"{path}: 'annotated' must map cases to the labels annotated in them, as "
            f'{{"c_01": ["gland"]}}; got {short(given)}.'
        )
    for names in given.values():
        _check_names(path, "annotated", names, known)
    return {case: tuple(names) for case, names in given.items()}


def _check_names(path: Path, key: str, names: Any, known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise DataError(f"{path}: '{key}': {unknown_name('label', str(name), known)}")


def _base(label: str) -> str:
    """A label without the words of its side."""
    return " ".join(filter(None, _BETWEEN.split(without_side(label).replace("|", " ")))) or label
