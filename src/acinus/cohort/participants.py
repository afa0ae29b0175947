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

MISSING = ("", "n/a", "N/A", "NA", "nan", "NaN")
"""Texts that stand for an unknown value."""


def read_participants(path: Path | str) -> pd.DataFrame:
    """The table of participants, one row each, as it stands in the file.

    Columns besides ``participant_id`` (text) are free; usual are ``age`` (years),
    ``sex`` (M, F or empty), ``field_strength_t``, ``site``, ``group``. Empty cells
    and ``n/a`` become missing values. Duplicate rows are kept: see `duplicate_ids`.

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
            dtype={ID_COLUMN: str},
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
    table.columns = table.columns.str.strip()
    if ID_COLUMN not in table.columns:
        found = ", ".join(str(column) for column in table.columns)
        raise DataError(
            f"{path}: must have a column '{ID_COLUMN}' and tabs between columns; got: {found}."
        )
    table[ID_COLUMN] = table[ID_COLUMN].str.strip()
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
