"""The units that a split deals out: participants, or groups that stay together.

Enters: the datasets of all arms. Leaves: one `Unit` per participant or group with
its stratum and its weight in every arm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from acinus.cohort.dataset import Dataset
from acinus.cohort.participants import ID_COLUMN
from acinus.errors import DataError, unknown_name

N_BINS = 4
"""Numbers with more distinct values than this are cut at their quartiles."""

NOT_STATED = "not stated"
"""Stratum of participants whose value is missing."""


@dataclass(frozen=True)
class Unit:
    """Participants that must stay together.

    Attributes:
        name: The participant, or the value of the grouping column.
        participants: Its members, sorted.
        stratum: Whose share hold-out and folds should follow.
        counts: Arm to number of members with a labelled case in it.
    """

    name: str
    participants: tuple[str, ...]
    stratum: str
    counts: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Number of participants."""
        return len(self.participants)

    def count(self, arm: str) -> int:
        """Number of members with a labelled case in an arm."""
        return dict(self.counts)[arm]

    def is_in_all(self, arms: Iterable[str]) -> bool:
        """Whether every member has a labelled case in every arm."""
        return all(self.count(arm) == self.size for arm in arms)


def pool_units(
    datasets: Mapping[str, Dataset], *, stratify_by: str | None, group_by: str | None
) -> list[Unit]:
    """The units of all arms together, sorted by name.

    Args:
        datasets: Arm to dataset.
        stratify_by: Column that gives the stratum; None: one stratum.
        group_by: Column whose values stay together; None: each participant alone.

    Raises:
        DataError: A column is unknown, or a participant has no group or two.
    """
    present = {
        arm: {case.participant_id for case in data.labelled_cases}
        for arm, data in sorted(datasets.items())
    }
    everyone = sorted(set().union(*present.values()))
    group = _groups(datasets, everyone, group_by) if group_by else {p: p for p in everyone}
    strata = _strata(datasets, everyone, stratify_by) if stratify_by else {}
    members: dict[str, list[str]] = {}
    for participant in everyone:
        members.setdefault(group[participant], []).append(participant)
    return [
        Unit(
            name=name,
            participants=tuple(people),
            stratum=_commonest(strata.get(person, "") for person in people),
            counts=tuple((arm, len(present[arm].intersection(people))) for arm in present),
        )
        for name, people in sorted(members.items())
    ]


def external_units(
    units: Sequence[Unit],
    datasets: Mapping[str, Dataset],
    external: Mapping[str, Sequence[str | int | float]],
) -> list[Unit]:
    """The units whose members have one of the stated values in every stated column.

    Args:
        units: Of all arms together.
        datasets: Arm to dataset.
        external: Column to values, such as ``{"site": ["B", "C"]}``.

    Raises:
        DataError: A column or value is unknown, a participant has no value, or two, a group would
            be torn apart, or nobody or everybody is external.
    """
    everyone = [person for unit in units for person in unit.participants]
    outside = set(everyone)
    for column, values in external.items():
        stated = _groups(datasets, everyone, column)
        known = set(stated.values())
        for value in map(value_text, values):
            if value not in known:
                kind = f"value of '{column}'"
                raise DataError(f"split.external: {unknown_name(kind, value, known)}")
        wanted = {value_text(value) for value in values}
        outside &= {person for person, value in stated.items() if value in wanted}
    found = []
    for unit in units:
        n_outside = len(outside.intersection(unit.participants))
        if 0 < n_outside < unit.size:
            raise DataError(
                f"split.external: the members of '{unit.name}' must be in one part; {n_outside} "
                f"of {unit.size} are external. Group by another column, or by none."
            )
        if n_outside:
            found.append(unit)
    if not found or len(found) == len(units):
        who = "everybody" if found else "nobody"
        raise DataError(
            f"split.external: some participants must be external and others not; {who} of "
            f"{len(everyone)} is. State other values."
        )
    return found


def external_units_by_arm(
    units: Sequence[Unit],
    datasets: Mapping[str, Dataset],
    by_arm: Mapping[str, Mapping[str, Sequence[str | int | float]]],
) -> list[Unit]:
    """The units that are external in any arm, each by what is stated for it.

    Args:
        units: Of all arms together.
        datasets: Arm to dataset.
        by_arm: Arm to column to values; an arm without an entry has nobody external of its own.

    Raises:
        DataError: As `external_units`, within an arm.
    """
    names: set[str] = set()
    for arm, external in by_arm.items():
        mine = [unit for unit in units if unit.count(arm)]
        names |= {unit.name for unit in external_units(mine, {arm: datasets[arm]}, external)}
    return [unit for unit in units if unit.name in names]


def _groups(
    datasets: Mapping[str, Dataset], everyone: Iterable[str], column: str
) -> dict[str, str]:
    stated = column_values(datasets, column)
    groups = {}
    for participant in everyone:
        found = sorted({value_text(value) for value in stated.get(participant, [])})
        if len(found) != 1:
            got = f"has {' and '.join(found)}" if found else "has none"
            raise DataError(
                f"participants.tsv: each participant must have one value of '{column}' for this "
                f"split; '{participant}' {got}. Fill the column in, or split without it."
            )
        groups[participant] = found[0]
    return groups


def _strata(
    datasets: Mapping[str, Dataset], everyone: Iterable[str], column: str
) -> dict[str, str]:
    import pandas as pd  # here: it takes a while to load, and prediction does without

    stated = column_values(datasets, column)
    first = {p: stated[p][0] for p in everyone if stated.get(p)}
    numbers = pd.to_numeric(pd.Series(first, dtype=object), errors="coerce")
    if numbers.notna().all() and numbers.nunique() > N_BINS:
        values = numbers.to_numpy(dtype=float)
        edges = np.quantile(values, np.linspace(0, 1, N_BINS + 1)[1:-1])
        bins = np.searchsorted(edges, values, side="right")
        cut = {p: f"quarter {number + 1}" for p, number in zip(numbers.index, bins, strict=True)}
        return {p: cut.get(p, NOT_STATED) for p in everyone}
    return {p: value_text(first[p]) if p in first else NOT_STATED for p in everyone}


def column_values(datasets: Mapping[str, Dataset], column: str) -> dict[str, list[Any]]:
    """Participant to the stated values of a column in all tables, in order of the arms."""
    import pandas as pd  # here: it takes a while to load, and prediction does without

    tables = [data.participants for _, data in sorted(datasets.items())]
    known = {str(c) for table in tables if table is not None for c in table.columns} - {ID_COLUMN}
    if column not in known:
        raise DataError(f"participants.tsv: {unknown_name('column', column, known)}")
    values: dict[str, list[Any]] = {}
    for table in tables:
        if table is None or column not in table.columns:
            continue
        for participant, value in zip(table[ID_COLUMN], table[column], strict=True):
            if not pd.isna(value):
                values.setdefault(participant, []).append(value)
    return values


def value_text(value: Any) -> str:
    """A value of a table as a name: ``1.0`` as ``1``, without blanks around."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _commonest(strata: Iterable[str]) -> str:
    counts = Counter(strata)
    return min(counts, key=lambda stratum: (-counts[stratum], stratum))
