"""The table of participants, and which case belongs to whom.

Enters: BIDS-style ``participants.tsv``. Leaves: a table with one row per
participant, and the participant of a case. Guessing participants from parts of
case names was rejected: a wrong guess leaks patients between folds.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from acinus.errors import DataError
from acinus.files import write_text

if TYPE_CHECKING:
    import pandas as pd

ID_COLUMN = "participant_id"

CASES_COLUMN = "cases"
"""Optional: the participant's cases, with commas between, where their names do not tell."""

MISSING = ("", "n/a", "N/A", "NA", "nan", "NaN")
"""Texts that stand for an unknown value."""


def read_participants(path: Path | str) -> pd.DataFrame:
    """The table of participants, one row each, as it stands in the file.

    Columns besides ``participant_id`` (text) are free; ``cases`` names the participant's cases
    where their names do not tell, with commas between, as ``scan_7a,scan_7b``; usual are
    ``age`` (years), ``sex`` (M, F or empty), ``field_strength_t``, ``site``, ``group``. Empty
    cells and ``n/a`` become missing values. Duplicate rows are kept: see `duplicate_ids`.

    Raises:
        DataError: The file is unreadable, not a table, or lacks ``participant_id``
            or a value in it.
    """
    import pandas as pd  # here: it takes a while to load, and prediction does without

    path = Path(path)
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            dtype={ID_COLUMN: str, CASES_COLUMN: str},
            keep_default_na=False,
            na_values=list(MISSING),
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"{path}: must be a table with tabs between columns; {text}.") from None
    if not isinstance(table.index, pd.RangeIndex):
        raise DataError(
            f"{path}: every line must have as many fields as the first; those below it have more. "
            "Take away the tabs at their ends, or name every column."
        )
    table.columns = table.columns.str.strip()
    if ID_COLUMN not in table.columns:
        found = ", ".join(str(column) for column in table.columns)
        raise DataError(
            f"{path}: must have a column '{ID_COLUMN}' and tabs between columns; got: {found}."
        )
    # A column whose name has blanks around it was not read as text.
    table[ID_COLUMN] = table[ID_COLUMN].astype("string").astype(object).str.strip()
    unnamed = table.index[table[ID_COLUMN].isna()]
    if len(unnamed):
        raise DataError(
            f"{path} line {int(unnamed[0]) + 2}: every row must have a '{ID_COLUMN}'; it is empty."
        )
    return table


def write_participants(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table of participants; missing values as ``n/a``, as in BIDS.

    Args:
        path: The ``participants.tsv`` to write.
        table: Rows per participant with a column ``participant_id``.

    Raises:
        DataError: ``participant_id`` is missing or not unique.
    """
    if ID_COLUMN not in table.columns:
        raise DataError(f"{path}: a table of participants must have a column '{ID_COLUMN}'.")
    twice = duplicate_ids(table)
    if twice:
        raise DataError(f"{path}: a participant must have one row; '{twice[0]}' has several.")
    ordered = table[[ID_COLUMN, *(c for c in table.columns if c != ID_COLUMN)]]
    buffer = io.StringIO()
    ordered.to_csv(buffer, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    write_text(path, buffer.getvalue())


def duplicate_ids(table: pd.DataFrame) -> list[str]:
    """Participants with more than one row, sorted."""
    ids = table[ID_COLUMN]
    return sorted(set(ids[ids.duplicated()]))


def owners_of(case_ids: Iterable[str], table: pd.DataFrame) -> dict[str, str]:
    """Case to participant, for the cases that the table knows.

    What column ``cases`` states goes before what names tell, see `participant_of`.

    Args:
        case_ids: Names of cases.
        table: Rows per participant, see `read_participants`.

    Raises:
        DataError: The column gives a case to several participants.
    """
    stated = _stated_owners(table)
    ids = sorted(set(table[ID_COLUMN]))
    found: dict[str, str | None] = {}
    for case in case_ids:
        owners = stated.get(case, [])
        if len(owners) > 1:
            raise DataError(
                f"participants.tsv: a case must belong to one participant; column "
                f"'{CASES_COLUMN}' gives '{case}' to {' and '.join(owners)}."
            )
        found[case] = owners[0] if owners else participant_of(case, ids)
    return {case: participant for case, participant in found.items() if participant is not None}


def cluster_name(column: str, value: str) -> str:
    """Name of a group of participants that count as one observation: ``"source=P07"``.

    Args:
        column: Of the table of participants.
        value: That its members share.
    """
    return f"{column}={value}"


def _stated_owners(table: pd.DataFrame) -> dict[str, list[str]]:
    """Case to the participants that column ``cases`` gives it to."""
    owners: dict[str, list[str]] = {}
    if CASES_COLUMN in table.columns:
        known = table[table[CASES_COLUMN].notna()]
        for participant, cases in zip(known[ID_COLUMN], known[CASES_COLUMN], strict=True):
            for case in (name.strip() for name in str(cases).split(",")):
                if case and participant not in owners.setdefault(case, []):
                    owners[case].append(participant)
    return owners


def participant_of(case_id: str, participant_ids: Iterable[str]) -> str | None:
    """The participant that a case belongs to, or None if the table has none for it.

    It is the equal id, or else the longest one that the case id starts with,
    followed by ``_`` or ``-``: ``orbit_001_visit2`` belongs to ``orbit_001``, not
    to ``orbit_00``.
    """
    fitting = [
        known
        for known in participant_ids
        if case_id == known or case_id.startswith((f"{known}_", f"{known}-"))
    ]
    return max(fitting, key=len, default=None)
