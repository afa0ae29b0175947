"""What the grid of each arm keeps of every label: lost structures, and the ceiling that it sets.

Enters: values of the references and what is left of them on the prepared grids. Leaves: a row per
arm and label; for people with the cases that lose it by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import NONE, count_and_share, decimals, label_title, mean_and_sd

GRID_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "label": "str",
    "n": "int64",
    "n_lost": "int64",
    "lost_in": "str",
    "voxels_native": "float64",
    "voxels_prepared": "float64",
    "ceiling_mean": "float64",
    "ceiling_sd": "float64",
    "ceiling_least": "float64",
}
"""n: cases with the label; n_lost: those in which the prepared grid has no voxel of it, and lost_in
their names; voxels: medians over the cases; ceiling: Dice of the reference with itself, prepared
and put back, over all cases with the label, lost ones with 0."""

NAMED = 3
"""Cases that a table for people names."""


def grid_table(values: pd.DataFrame, prepared: pd.DataFrame) -> pd.DataFrame:
    """What each arm's grid keeps of every label.

    Args:
        values: Columns of `VALUE_COLUMNS`.
        prepared: Columns ``arm``, ``case``, ``label``, ``voxels``: on the prepared grid, and
            ``ceiling``: Dice of the way there and back, NaN where it was not measured.

    Returns:
        The columns of `GRID_COLUMNS`.
    """
    drawn = values[(values["role"] == "reference") & (values["voxels"] > 0)]
    joined = drawn.merge(prepared, on=["arm", "case", "label"], suffixes=("", "_prepared"))
    rows = []
    for (arm, label), group in joined.groupby(["arm", "label"], sort=False):
        lost = group[group["voxels_prepared"] == 0]
        ceiling = group["ceiling"].astype(float)
        rows.append(
            {
                "arm": arm,
                "label": label,
                "n": len(group),
                "n_lost": len(lost),
                "lost_in": ", ".join(lost["case"]),
                "voxels_native": group["voxels"].median(),
                "voxels_prepared": group["voxels_prepared"].median(),
                "ceiling_mean": ceiling.mean(),
                "ceiling_sd": ceiling.std(),
                "ceiling_least": ceiling.min(),
            }
        )
    return table_of(rows, GRID_COLUMNS)


def display_grid(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """What the grids keep, for people."""
    return shown_table(
        [
            {
                "Organ": label_title(row["label"], names),
                "Scan type": row["arm"],
                "Cases": str(row["n"]),
                "Lost": count_and_share(row["n_lost"], row["n"]),
                "Lost in": _some(row["lost_in"].split(", ") if row["lost_in"] else []),
                "Voxels as scanned (median)": decimals(row["voxels_native"], 0),
                "Voxels as prepared (median)": decimals(row["voxels_prepared"], 0),
                "Ceiling of Dice, mean ± SD": mean_and_sd(row["ceiling_mean"], row["ceiling_sd"]),
                "least": decimals(row["ceiling_least"]),
            }
            for row in records(numbers)
        ],
        ("Organ", "Scan type"),
    )


def note_on_grids(numbers: pd.DataFrame) -> str:
    """How many structures are lost on each grid."""
    counts = numbers.groupby("arm", sort=False)[["n_lost", "n"]].sum()
    words = "; ".join(f"{arm} {int(row.n_lost)} of {int(row.n)}" for arm, row in counts.iterrows())
    return (
        "Lost: cases in which the label is drawn, and has no voxel left on the grid that the "
        f"network sees{f' ({words})' if words else ''}. Ceiling: the reference put on that grid "
        "and back as a prediction is, against itself; what a network scores that says exactly "
        "what was prepared. Lost structures count as 0."
    )


def _some(names: Sequence[str]) -> str:
    if not names:
        return NONE
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
