"""Tables of numbers with stated columns, the same whether they have rows or not.

Enters: rows with None where there is no number. Leaves: a DataFrame whose
columns have one type each: text, whole numbers, or float64 with NaN for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import pandas as pd

Kind = Literal["str", "int64", "float64"]


def table_of(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Rows as a DataFrame with exactly `columns`, in order and of their kinds."""
    found = list(rows)
    series = {
        name: pd.Series([row[name] for row in found], dtype=kind) for name, kind in columns.items()
    }
    return pd.DataFrame(series, columns=list(columns))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as mappings from column to value."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
