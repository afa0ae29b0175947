"""What counts as one independent observation: a participant, or a group that stays together.

Enters: tables with a row per case, of participants or of groups of them. Leaves: the cluster of
each row, which every test and interval takes as its unit, and words for the note of a table. Both
glands of a patient, both scans, or copies that a phantom made of one anatomy are no further
evidence; taking them for it was rejected, as it narrows intervals and lowers p-values for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from acinus.cohort import read_participants, value_text
from acinus.cohort.participants import ID_COLUMN, cluster_name, duplicate_ids, owners_of
from acinus.errors import ConfigError, DataError, unknown_name
from acinus.progress import plural

PARTICIPANT = "participant"

COUNTS: dict[str, Literal["str", "int64", "float64"]] = {
    "n_participants": "int64",
    "n_clusters": "int64",
    "clustered_by": "str",
}
"""Columns of every table with a test or an interval. n_clusters: independent observations that
these take; clustered_by: what one is, a participant or the value of that column."""


@dataclass(frozen=True)
class Owners:
    """Whose each case is.

    Attributes:
        participants: Case to participant.
        clusters: Case to what counts as one observation.
    """

    participants: dict[str, str]
    clusters: dict[str, str]


def read_owners(
    cases: Iterable[str], table: Path | str | None, group_by: str | None = None
) -> Owners:
    """Participant and cluster of each case.

    Args:
        cases: Names of the cases.
        table: A ``participants.tsv``; None: each case is its own participant.
        group_by: Column of the table whose values are one observation; None: each participant is.

    Raises:
        ConfigError: There is a column and no table, or the table has no such column.
        DataError: The table is missing or unusable, or lacks a case or a value.
    """
    names = list(cases)
    if table is None:
        if group_by is not None:
            raise ConfigError("--group-by must come with --participants, the table of that column.")
        alone = {case: case for case in names}
        return Owners(alone, dict(alone))
    people = read_participants(table)
    participants = owners_of(names, people)
    unknown = [case for case in names if case not in participants]
    if unknown:
        raise DataError(
            f"{table}: every case must have a participant; case '{unknown[0]}' has none "
            f"({len(unknown)} in all). Where its name does not begin with that of its "
            "participant, name it in a column 'cases'."
        )
    clusters = clusters_of(set(participants.values()), people, group_by, where=str(table))
    return Owners(participants, {case: clusters[participants[case]] for case in names})


def clusters_of(
    participants: Iterable[str], people: pd.DataFrame, group_by: str | None, *, where: str
) -> dict[str, str]:
    """Participant to cluster.

    Args:
        participants: Whose cluster is wanted.
        people: Table of participants.
        group_by: Column of it; None: each participant is one.
        where: The table, for messages.

    Raises:
        ConfigError: The table has no such column.
        DataError: A participant has two rows, or no value.
    """
    if group_by is None:
        return {one: one for one in participants}
    if group_by not in people.columns:
        raise ConfigError(
            f"--group-by: {unknown_name('column', group_by, map(str, people.columns))}"
        )
    twice = duplicate_ids(people)
    if twice:
        raise DataError(f"{where}: a participant must have one row; '{twice[0]}' has several.")
    values = people.set_index(ID_COLUMN, drop=False)[group_by].dropna()
    lacking = sorted(one for one in participants if one not in values.index)
    if lacking:
        raise DataError(
            f"{where}: each participant must have a value of '{group_by}' to be grouped by it; "
            f"'{lacking[0]}' has none ({len(lacking)} in all)."
        )
    return {one: cluster_name(group_by, value_text(values[one])) for one in participants}


def with_clusters(table: pd.DataFrame) -> pd.DataFrame:
    """A table with a column ``cluster``: groups as it states them, else the participant.

    Only ``COLUMN=VALUE`` states a group, so that a table whose participants were corrected by hand
    is clustered by the corrected ones.
    """
    if "cluster" not in table.columns:
        return table.assign(cluster=table["participant"])
    is_group = table["cluster"].astype("str").str.contains("=", regex=False)
    found = table["cluster"].astype("object").where(is_group, table["participant"])
    return table.assign(cluster=found.astype("str"))


def observed(rows: pd.DataFrame) -> dict[str, Any]:
    """Values of `COUNTS` for the rows that a figure is over.

    Args:
        rows: With columns participant and cluster, see `with_clusters`.
    """
    n_participants, n_clusters = rows["participant"].nunique(), rows["cluster"].nunique()
    # Groups of one are participants.
    grouped = (rows["cluster"] != rows["participant"]) & (n_participants > n_clusters)
    columns = dict.fromkeys(str(one).partition("=")[0] for one in rows.loc[grouped, "cluster"])
    units = [*([PARTICIPANT] if not grouped.all() or rows.empty else []), *columns]
    return {
        "n_participants": n_participants,
        "n_clusters": n_clusters,
        "clustered_by": ", ".join(units),
    }


def note_on_clusters(numbers: pd.DataFrame) -> str:
    """What the tests and intervals of a table take as one observation, and how many there are.

    Args:
        numbers: With the columns of `COUNTS`.
    """
    numbers = numbers[numbers["n_clusters"] > 0]
    if numbers.empty:
        return ""
    kinds = list(dict.fromkeys(numbers["clustered_by"]))
    # Where some rows have groups of one only, the others tell what is grouped.
    kinds = [kind for kind in kinds if kind != PARTICIPANT] or [PARTICIPANT]
    clusters = _range(numbers["n_clusters"])
    if kinds == [PARTICIPANT]:
        return (
            f"Independent unit of tests and intervals: the participant (n = {clusters} a row); of "
            "several structures or scans tests take the mean, and intervals resample them together."
        )
    columns = " and ".join(f"'{one}'" for one in kinds)
    return (
        f"Independent unit of tests and intervals: participants of one {columns} together "
        f"(n = {clusters} a row, of {_range(numbers['n_participants'])} participants), since they "
        "are not independent of each other; tests take their mean, and intervals resample them "
        "together."
    )


def people_words(row: Any) -> str:
    """``12 participants``, or ``12 participants of 4 'source'`` where these are the unit.

    Args:
        row: With the columns of `COUNTS`.
    """
    n = int(row["n_participants"])
    return f"{n} {plural('participant', n)}{group_words(row)}"


def group_words(row: Any) -> str:
    """`` of 4 'source'`` where groups of participants are the unit; else nothing.

    Args:
        row: With the columns of `COUNTS`.
    """
    if row["clustered_by"] in (PARTICIPANT, ""):
        return ""
    return f" of {int(row['n_clusters'])} '{row['clustered_by']}'"


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"
