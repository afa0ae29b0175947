"""What stands out among the references: gland by gland, case by case, by name.

Enters: the table of values. Leaves: a row per outlier. Medians and median deviations, by which one
wrong case does not hide another (Iglewicz and Hoaglin 1993, How to detect and handle outliers); a
test of each was rejected: the table is a list of what to look at, not of what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.tables.inside import by_references
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import decimals, label_title, signed

ANOMALY_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "case": "str",
    "participant": "str",
    "part": "str",
    "label": "str",
    "what": "str",
    "value": "float64",
    "median": "float64",
    "z": "float64",
}
"""what: one of `LOOKED_AT`, ``missing`` or ``at_edge``; median: of all cases with the label; z:
distance from it in robust standard deviations, NaN for ``missing`` and ``at_edge``."""

LOOKED_AT = {
    "volume_ml": "volume, mL",
    "mean": "mean value",
    "right_mm": "position to the right, mm",
    "anterior_mm": "position to the front, mm",
    "superior_mm": "position upwards, mm",
}

OUTLIER_Z = 3.5
"""From how many robust standard deviations on a value stands out."""

FEWEST = 8
"""Fewer cases with a label say nothing of what is usual."""

TO_SD = 1.4826
"""Median absolute deviation to standard deviation, for normal distributions."""

SHOWN = 25
"""Rows that a table for people has; the CSV has all."""


def anomaly_table(values: pd.DataFrame) -> pd.DataFrame:
    """References that stand out, the furthest first; missing labels and cut ones before them.

    Args:
        values: Columns of `VALUE_COLUMNS`.

    Returns:
        The columns of `ANOMALY_COLUMNS`. Volumes are compared by their logarithm. Arms with the
        same references are one row.
    """
    rows: list[dict[str, Any]] = []
    for arm, references in by_references(values[values["role"] == "reference"]):
        for _, group in references.groupby("label", sort=False):
            rows += [{"arm": arm, **row} for row in (*_single(group), *_outliers(group))]
    rows.sort(key=lambda row: (row["z"] is not None, -abs(row["z"] or 0.0)))
    return table_of(rows, ANOMALY_COLUMNS)


def _single(group: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Labels that a case lacks though others have it, and those at the edge of the scan."""
    drawn = group[group["voxels"] > 0]
    for row in records(group):
        known = {key: row[key] for key in ("case", "participant", "part", "label")} | {"z": None}
        median = drawn["volume_ml"].median()
        if row["voxels"] == 0 and len(drawn):
            yield known | {"what": "missing", "value": 0.0, "median": median}
        if row["at_edge"]:
            yield known | {"what": "at_edge", "value": row["volume_ml"], "median": median}


def _outliers(group: pd.DataFrame) -> Iterator[dict[str, Any]]:
    drawn = group[group["voxels"] > 0]
    for what in LOOKED_AT:
        known = drawn[drawn[what].notna()]
        if len(known) < FEWEST:
            continue
        compared = np.log(known[what]) if what == "volume_ml" else known[what]
        middle = compared.median()
        spread = TO_SD * (compared - middle).abs().median()
        if not spread > 0:
            continue
        z = (compared - middle) / spread
        for row, distance in zip(records(known), z, strict=True):
            if abs(distance) > OUTLIER_Z:
                yield {key: row[key] for key in ("case", "participant", "part", "label")} | {
                    "what": what,
                    "value": row[what],
                    "median": known[what].median(),
                    "z": float(distance),
                }


def display_anomalies(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Anomalies for people, the first `SHOWN`."""
    several = numbers["arm"].nunique() > 1
    words = LOOKED_AT | {"missing": "not drawn", "at_edge": "touches the edge of the scan"}
    return shown_table(
        [
            {
                "Case": row["case"],
                "Part": "hold-out" if row["part"] == "holdout" else "rest",
                "Organ": label_title(row["label"], names),
                **({"Scan type": row["arm"]} if several else {}),
                "What": words[row["what"]],
                "Here": decimals(row["value"]),
                "Median of all": decimals(row["median"]),
                "Robust z": signed(row["z"], 1),
            }
            for row in records(numbers.head(SHOWN))
        ],
        ("Case", "Organ", "What"),
    )


def note_on_anomalies(numbers: pd.DataFrame) -> str:
    """What counts as an anomaly, and how many there are."""
    more = f" The first {SHOWN} of {len(numbers)}; the CSV has all." if len(numbers) > SHOWN else ""
    return (
        f"References whose volume, mean value or place lies more than {OUTLIER_Z:g} robust "
        "standard deviations from the median of all cases with the label, and labels that were "
        "not drawn or touch the edge of the scan. Places count from the mean centre of all labels "
        "of the case. For looking at, not for leaving out: some stand out by chance, and none was "
        f"left out.{more}"
    )
