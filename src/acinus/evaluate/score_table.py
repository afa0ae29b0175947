"""The score table: its columns, its file, and what happened to each structure.

Enters: rows of scores, or ``scores.csv``. Leaves: a table with a row per case,
arm, model, part, label and metric. A wide table with a column per metric was
rejected: it has no place for the reason why a value is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from acinus.errors import DataError
from acinus.evaluate.clusters import with_clusters
from acinus.files import whole_file

SCORE_COLUMNS = (
    "case",
    "participant",
    "cluster",
    "arm",
    "model",
    "part",
    "label",
    "metric",
    "value",
    "unit",
    "status",
    "reason",
)
"""Columns of the score table, in order. cluster: what counts as one independent observation, the
participant or a group of them such as ``source=P07``; a file may lack it."""

STATUSES = ("ok", "undefined", "failed")
"""ok: has a value; undefined: measured, no value by nature; failed: could not be judged."""

NOT_ANNOTATED = "not annotated in this case"
"""Reason of undefined scores of a label that nobody drew in the case: neither good nor bad."""


def score_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a score table with text columns and a float64 `value`."""
    table = pd.DataFrame(list(rows), columns=list(SCORE_COLUMNS))
    return _typed(with_clusters(table))


def empty_score_table() -> pd.DataFrame:
    """A score table without rows."""
    return score_table([])


def annotated_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of the labels that were annotated in their case."""
    return scores[scores["reason"] != NOT_ANNOTATED]


def write_scores(scores: pd.DataFrame, path: Path | str) -> None:
    """Write ``scores.csv``, whole or not at all; numbers keep all their digits."""
    with whole_file(path) as beside:
        scores.to_csv(beside, index=False, columns=list(SCORE_COLUMNS), lineterminator="\n")


def read_scores(path: Path | str) -> pd.DataFrame:
    """Score table from ``scores.csv``.

    Raises:
        DataError: The file is missing, no CSV, lacks columns, or holds a value
            that is no number or a status that is unknown.
    """
    path = Path(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run 'acinus evaluate' to make it.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: must be a score table in CSV; {error}.") from None
    if "participant" in table.columns:
        table = with_clusters(table)
    missing = [name for name in SCORE_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: a score table must have the columns {', '.join(SCORE_COLUMNS)}; "
            f"missing: {', '.join(missing)}."
        )
    values = pd.to_numeric(table["value"].replace("", "nan"), errors="coerce")
    wrong = table["value"].ne("") & values.isna()
    if wrong.any():
        raise DataError(
            f"{path}: values must be numbers or empty; got {table['value'][wrong].iloc[0]!r}."
        )
    unknown = sorted(set(table["status"]) - set(STATUSES))
    if unknown:
        raise DataError(
            f"{path}: status must be one of {', '.join(STATUSES)}; got {', '.join(unknown)}."
        )
    return _typed(table.assign(value=values)[list(SCORE_COLUMNS)])


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    text = {name: "str" for name in SCORE_COLUMNS if name != "value"}
    return table.astype({**text, "value": "float64"})
