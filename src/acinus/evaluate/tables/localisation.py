"""Localisation in a table: recall, tightness and cost of the boxes, a row a place.

Enters: rows of ``localisation.csv``. Leaves: counts and means. Missed boxes count as 0, never as
left out.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from acinus.evaluate.localisation import CUT, FALSE_BOX, FOUND, MISSED
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import NONE, count_and_share, decimals

LOCALISATION_TABLE_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "place": "str",
    "n": "int64",
    "n_found": "int64",
    "n_cut": "int64",
    "n_missed": "int64",
    "n_false": "int64",
    "share_inside": "float64",
    "share_inside_last": "float64",
    "filled": "float64",
    "margin_mm": "float64",
    "box_ml": "float64",
    "growths": "float64",
    "locate_seconds": "float64",
    "segment_seconds": "float64",
}
"""n: cases in which the place was drawn; n_found: of these the last box holds all of it; n_false:
boxes where nothing was drawn; shares: means over n; the rest: medians of those that have a box,
seconds of a whole case."""


def localisation_table(found: pd.DataFrame, *, part: str = "holdout") -> pd.DataFrame:
    """Recall, tightness and cost of every arm and place.

    Args:
        found: Rows of ``localisation.csv`` with ``arm`` and ``part``.
        part: Which part's rows.

    Returns:
        The columns of `LOCALISATION_TABLE_COLUMNS`.
    """
    rows: list[dict[str, Any]] = []
    chosen = found[found["part"] == part]
    numbers = {name: pd.to_numeric(chosen[name], errors="coerce") for name in _NUMBERS}
    for (arm, place), group in chosen.assign(**numbers).groupby(["arm", "place"], sort=False):
        drawn = group[group["outcome"].isin([FOUND, CUT, MISSED])]
        counts = group["outcome"].value_counts()
        rows.append(
            {
                "arm": arm,
                "place": place,
                "n": len(drawn),
                "n_found": int(counts.get(FOUND, 0)),
                "n_cut": int(counts.get(CUT, 0)),
                "n_missed": int(counts.get(MISSED, 0)),
                "n_false": int(counts.get(FALSE_BOX, 0)),
                "share_inside": float(drawn["share_inside"].mean()),
                "share_inside_last": float(drawn["share_inside_last"].mean()),
                **{name: float(group[name].median()) for name in _MEDIANS},
            }
        )
    return table_of(rows, LOCALISATION_TABLE_COLUMNS)


_MEDIANS = ("filled", "margin_mm", "box_ml", "growths", "locate_seconds", "segment_seconds")
_NUMBERS = ("share_inside", "share_inside_last", *_MEDIANS)


def display_localisation(numbers: pd.DataFrame) -> pd.DataFrame:
    """The table for people."""
    return shown_table(
        [
            {
                "Place": str(row["place"]).replace("_", " "),
                "Scan type": row["arm"],
                "Whole inside the box": _of(row["n_found"], row["n"]),
                "In part": str(row["n_cut"]),
                "Missed": str(row["n_missed"]),
                "False boxes": str(row["n_false"]),
                "Share inside, as found": _text(row["share_inside"]),
                "Share inside, at last": _text(row["share_inside_last"]),
                "Box around the reference, share of the box": _text(row["filled"]),
                "Smallest margin (mm)": _text(row["margin_mm"]),
                "Box (mL)": _text(row["box_ml"]),
                "Seconds to locate": _text(row["locate_seconds"]),
                "Seconds to segment": _text(row["segment_seconds"]),
            }
            for row in records(numbers)
        ],
        ("Place", "Scan type"),
    )


def note_on_localisation(numbers: pd.DataFrame) -> str:
    """What the columns mean."""
    missed = int(numbers["n_missed"].sum() + numbers["n_cut"].sum())
    return (
        "Whole, in part, missed: whether the box, after its growths, holds the reference of its "
        "place. Shares inside are means, a missed box counts as 0; margins may be negative; "
        "shares of the box, margin, box and seconds are medians. "
        + (f"Cut or missed: {missed}." if missed else "Nothing was cut or missed.")
    )


def _of(n: int, total: int) -> str:
    return f"{count_and_share(n, total)} of {total}" if total else NONE


def _text(value: float) -> str:
    return NONE if pd.isna(value) else decimals(value)
