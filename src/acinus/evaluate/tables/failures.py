"""What went wrong: failed cases, missed structures and the worst of the found ones.

Enters: a score table. Leaves: the structures from worst to best with a reason
in words. A list of the lowest Dice alone was rejected: it says nothing about
cases that could not be judged, and not why a score is low.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.structures import (
    ABSENT,
    FAILED,
    FALSE_FIND,
    MISSED,
    NO_OVERLAP,
    OUTCOMES,
    select,
    structures,
)
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import decimals, label_title

WORST_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "model": "str",
    "part": "str",
    "case": "str",
    "participant": "str",
    "label": "str",
    "outcome": "str",
    "dice": "float64",
    "hausdorff_95_mm": "float64",
    "reference_volume_ml": "float64",
    "prediction_volume_ml": "float64",
    "reason": "str",
}

VOLUME_RATIO = 1.25
"""Predicted by reference volume beyond which (or below whose inverse) volume is the reason."""

FAR_MM = 10.0
"""HD95 above which voxels far from the structure are the reason, mm."""


def worst_cases(
    scores: pd.DataFrame,
    *,
    n: int | None = 10,
    model: str | None = "final",
    part: str | None = "holdout",
) -> pd.DataFrame:
    """The structures that went worst, worst first, each with its reason in words.

    Failed ones come first, then missed, without overlap, falsely found, then the
    found ones by rising Dice. Structures that neither has are left out.

    Args:
        scores: Score table.
        n: How many; None gives all.
        model: Which model's rows; None takes all.
        part: Which part's rows; None takes all.

    Returns:
        The columns of `WORST_COLUMNS`.
    """
    wide = structures(select(scores, model=model, part=part))
    wide = wide[wide["outcome"] != ABSENT]
    for column, kind in WORST_COLUMNS.items():
        if column not in wide.columns and kind == "float64":
            wide = wide.assign(**{column: np.nan})
    wide = wide.assign(rank=wide["outcome"].map(OUTCOMES.index).astype("int64"))
    ordered = wide.sort_values(["rank", "dice"], kind="stable")
    rows = records(ordered if n is None else ordered.head(n))
    return table_of([row | {"reason": why(row)} for row in rows], WORST_COLUMNS)


def display_worst(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The worst structures for people."""
    rows = [
        {
            "Case": row["case"],
            "Scan type": row["arm"],
            "Organ": label_title(row["label"], names),
            "Outcome": row["outcome"],
            "Dice": decimals(row["dice"]),
            "HD95 (in mm)": decimals(row["hausdorff_95_mm"]),
            "Reference (in mL)": decimals(row["reference_volume_ml"]),
            "Predicted (in mL)": decimals(row["prediction_volume_ml"]),
            "Reason": row["reason"],
        }
        for row in records(numbers)
    ]
    columns = [
        "Case",
        "Scan type",
        "Organ",
        "Outcome",
        "Dice",
        "HD95 (in mm)",
        "Reference (in mL)",
        "Predicted (in mL)",
        "Reason",
    ]
    return pd.DataFrame(rows, columns=columns)


def why(row: Mapping[str, Any]) -> str:
    """Why a structure scored as it did, from its measures, in words.

    Args:
        row: A row of `acinus.evaluate.structures.structures`; metrics may be missing or NaN.
    """
    drawn = row.get("reference_volume_ml", np.nan)
    predicted = row.get("prediction_volume_ml", np.nan)
    fixed = {
        FAILED: row["reason"],
        MISSED: f"nothing was predicted; {decimals(drawn)} mL were drawn",
        FALSE_FIND: f"{decimals(predicted)} mL were predicted; nothing was drawn",
        NO_OVERLAP: "the prediction lies "
        + ("on the wrong side" if _errs_in_side(row) else "beside the structure"),
    }
    if row["outcome"] in fixed:
        return fixed[row["outcome"]]
    parts = []
    ratio = predicted / drawn if drawn > 0 else np.nan
    if ratio > VOLUME_RATIO:
        parts.append(f"predicted {ratio:.1f} times the volume")
    elif ratio < 1 / VOLUME_RATIO:
        parts.append(f"predicted only {round(100 * ratio)}% of the volume")
    if _errs_in_side(row):
        parts.append(f"{decimals(row.get('side_error_ml', np.nan))} mL on the wrong side")
    distance = row.get("hausdorff_95_mm", np.nan)
    if distance > FAR_MM:
        parts.append(f"voxels up to {distance:.0f} mm (HD95) away")
    return ", ".join(parts) or "volume agrees, outlines differ"


def _errs_in_side(row: Mapping[str, Any]) -> bool:
    return bool(row.get("side_errors", 0) > 0)
