"""Whether right and left were kept apart: side errors of every label that has a partner.

Enters: a score table. Leaves: a row per arm, model and label with counts and volumes, zero
expected. A mean over cases was rejected: one gland in twenty on the wrong side reads as 0.05,
and is one patient harmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import FAILED, select, structures
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import NONE, count_and_share, decimals, label_title

SIDE_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "model": "str",
    "label": "str",
    "n": "int64",
    "n_undefined": "int64",
    "n_failed": "int64",
    "n_empty": "int64",
    "n_with_errors": "int64",
    "side_errors": "int64",
    "side_error_ml": "float64",
    "prediction_volume_ml": "float64",
}
"""n: cases judged, that is with something predicted; n_empty: cases with nothing predicted, in
which no side can be wrong; n_undefined: neither side was drawn, or the partner was not annotated;
n_with_errors: cases with a side error; side_errors, side_error_ml, prediction_volume_ml: sums
over the cases judged, see `acinus.measure.sides`."""


def side_error_table(scores: pd.DataFrame, *, part: str = "holdout") -> pd.DataFrame:
    """Side errors of every arm, model and label that has a partner.

    Args:
        scores: Score table; labels without the metric ``side_errors`` are left out.
        part: Which part's rows.

    Returns:
        The columns of `SIDE_COLUMNS`, in the order of the scores.
    """
    chosen = select(scores, part=part)
    if not (chosen["metric"] == "side_errors").any():
        return table_of([], SIDE_COLUMNS)
    paired = set(chosen.loc[chosen["metric"] == "side_errors", "label"])
    wide = structures(annotated_scores(chosen[chosen["label"].isin(paired)]))
    rows: list[dict[str, Any]] = []
    for (arm, model, label), group in wide.groupby(["arm", "model", "label"], sort=False):
        failed = group["outcome"] == FAILED
        known = group[group["side_errors"].notna()]
        judged = known[~(known["prediction_volume_ml"] <= 0)]  # unknown: as if there were some
        rows.append(
            {
                "arm": arm,
                "model": model,
                "label": label,
                "n": len(judged),
                "n_undefined": int((group["side_errors"].isna() & ~failed).sum()),
                "n_failed": int(failed.sum()),
                "n_empty": len(known) - len(judged),
                "n_with_errors": int((judged["side_errors"] > 0).sum()),
                "side_errors": int(judged["side_errors"].sum()),
                "side_error_ml": float(judged["side_error_ml"].sum()),
                "prediction_volume_ml": float(judged["prediction_volume_ml"].sum()),
            }
        )
    return table_of(rows, SIDE_COLUMNS)


def display_sides(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Side errors for people; models are named where there are several."""
    rows = [
        {
            "Organ": label_title(row["label"], names),
            "Scan type": row["arm"],
            "Model": row["model"],
            "Side errors": str(row["side_errors"]) if row["n"] else NONE,
            "Cases with side errors": _of(row["n_with_errors"], row["n"]),
            "On the wrong side (in mL)": decimals(row["side_error_ml"]) if row["n"] else NONE,
            "Share of the predicted volume": _share(row),
            "Nothing predicted": str(row["n_empty"]),
            "Undefined": str(row["n_undefined"]),
            "Failed": str(row["n_failed"]),
        }
        for row in records(numbers)
    ]
    columns = [
        "Organ",
        "Scan type",
        *(["Model"] if numbers["model"].nunique() > 1 else []),
        "Side errors",
        "Cases with side errors",
        "On the wrong side (in mL)",
        "Share of the predicted volume",
        "Nothing predicted",
        "Undefined",
        "Failed",
    ]
    return pd.DataFrame(rows, columns=columns)


def note_on_sides(numbers: pd.DataFrame) -> str:
    """What counts as a side error, and whether there were any."""
    counts = numbers.groupby("model", sort=False)["side_errors"].sum()
    if not numbers["n"].sum():
        found = "None could be judged, since nothing was predicted that has a partner."
    elif not counts.sum():
        found = "There is none."
    elif len(counts) == 1:
        found = f"Found: {int(counts.sum())}."
    else:
        found = f"Found: {', '.join(f'{int(n)} ({model})' for model, n in counts.items())}."
    return (
        "A side error is a connected part of a prediction that shares more voxels with the "
        "partner's reference than with its own or, touching neither, lies beyond the plane "
        f"halfway between both. None is expected. {found}"
    )


def _of(n: int, total: int) -> str:
    return f"{count_and_share(n, total)} of {total}" if total else NONE


def _share(row: Mapping[str, Any]) -> str:
    if not row["prediction_volume_ml"] > 0:
        return NONE
    share = 100 * row["side_error_ml"] / row["prediction_volume_ml"]
    return "0%" if share == 0 else f"{share:.1f}%"
