"""Patients in groups by a column of ``participants.tsv``: site, sex, age band.

Enters: the table of participants and the patients that are compared. Leaves:
for each column its groups in a stated order. Numbers of many values are cut at
quantiles of the patients compared; cutting at round numbers was rejected, since
it can leave a band with one patient.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from acinus.cohort import read_participants
from acinus.cohort.participants import duplicate_ids
from acinus.errors import ConfigError, DataError, unknown_name

MOST_VALUES_UNCUT = 6
"""Most different numbers of a column that are groups of their own; more are cut into bands."""


@dataclass(frozen=True)
class Grouping:
    """Groups of patients by one column.

    Attributes:
        column: Of the table of participants.
        members: Group to its patients; the first group is the one compared with.
        edges: Where numbers were cut, in the column's unit; empty for categories.
        unknown: Patients that are compared and have no value here; in no group.
    """

    column: str
    members: dict[str, frozenset[str]]
    edges: tuple[float, ...]
    unknown: tuple[str, ...]


def read_people(path: Path | str) -> pd.DataFrame:
    """The table of ``participants.tsv``.

    Raises:
        DataError: The table is unreadable or names a participant twice.
    """
    table = read_participants(path)
    twice = duplicate_ids(table)
    if twice:
        raise DataError(f"{path}: a participant must have one row; '{twice[0]}' has several.")
    return table


def group_patients(
    people: pd.DataFrame,
    columns: Sequence[str],
    patients: Collection[str],
    *,
    n_bands: int,
    first: str | None = None,
) -> list[Grouping]:
    """Groups of `patients` by each column.

    Args:
        people: Columns by participant.
        columns: Of that table.
        patients: Those that are compared.
        n_bands: Groups of a column with more than `MOST_VALUES_UNCUT` numbers, >= 2,
            cut at its quantiles: 2 at the median, 4 at the quartiles.
        first: Group to put first; by default that of the first row, and the lowest band.

    Raises:
        ConfigError: A column or `first` is unknown, or `n_bands` is below 2.
        DataError: A column has fewer than two groups.
    """
    if n_bands < 2:
        raise ConfigError(f"--bands must be at least 2; got {n_bands}.")
    for column in columns:
        if column not in people.columns:
            raise ConfigError(f"--by: {unknown_name('column', column, map(str, people.columns))}")
    compared = people[people.index.isin(list(patients))]
    found = [_group(compared[column], patients, n_bands) for column in dict.fromkeys(columns)]
    for one in found:
        if len(one.members) < 2:
            raise DataError(
                f"--by {one.column} must put the patients compared into two groups or more; "
                f"got: {', '.join(one.members) or 'no value of any of them'}."
            )
    if first is None:
        return found
    if not any(first in one.members for one in found):
        raise ConfigError(unknown_name("group", first, [name for g in found for name in g.members]))
    return [_put_first(one, first) for one in found]


def _group(values: pd.Series, patients: Collection[str], n_bands: int) -> Grouping:
    given = values.dropna()
    numbers = pd.to_numeric(given, errors="coerce")
    edges: tuple[float, ...] = ()
    if numbers.isna().any() or not np.isfinite(numbers.to_numpy(dtype=float)).all():
        names = given.astype("str").str.strip()
        order = list(dict.fromkeys(names))
    elif numbers.nunique() <= MOST_VALUES_UNCUT:
        names = numbers.map("{:g}".format)
        order = list(dict.fromkeys(numbers.sort_values().map("{:g}".format)))
    else:
        cuts = np.unique(np.quantile(numbers, np.arange(1, n_bands) / n_bands))
        edges = tuple(float(cut) for cut in cuts)
        bands = _band_names(edges)
        codes = np.searchsorted(cuts, numbers.to_numpy(dtype=float), side="left")
        names = pd.Series([bands[code] for code in codes], index=given.index)
        order = [band for band in bands if (names == band).any()]
    members = {name: frozenset(names.index[names == name]) for name in order}
    unknown = tuple(sorted(set(patients) - set(given.index)))
    return Grouping(str(values.name), members, edges, unknown)


def _band_names(edges: Sequence[float]) -> list[str]:
    """``≤ 40``, ``> 40 to 60``, ``> 60``."""
    texts = [f"{edge:g}" for edge in edges]
    inner = [f"> {low} to {high}" for low, high in pairwise(texts)]
    return [f"≤ {texts[0]}", *inner, f"> {texts[-1]}"]


def _put_first(grouping: Grouping, first: str) -> Grouping:
    members = dict(sorted(grouping.members.items(), key=lambda item: item[0] != first))
    return Grouping(grouping.column, members, grouping.edges, grouping.unknown)
