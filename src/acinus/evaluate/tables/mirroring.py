"""Right and left under each way of mirroring: Dice and side errors, a row an arm and choice.

Enters: the score table and which model has which mirroring. Leaves: one short table, since the
errors of every label and model fill pages. An error of a label is counted with its label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select
from acinus.evaluate.tables.evaluation import summary_row
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.sides import side_error_table
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import NONE, decimals, interval, mean_and_sd
from acinus.measure.statistics.bootstrap import SEED

MIRRORING_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "mirroring": "str",
    "model": "str",
    "n": "int64",
    "n_undefined": "int64",
    "n_failed": "int64",
    "n_participants": "int64",
    "dice": "float64",
    "dice_sd": "float64",
    "dice_low": "float64",
    "dice_high": "float64",
    "structures_with_errors": "int64",
    "structures_judged": "int64",
    "structures_empty": "int64",
    "side_errors": "int64",
    "side_error_ml": "float64",
    "prediction_volume_ml": "float64",
}
"""Dice over all labels; side errors over labels that have a partner, see `SIDE_COLUMNS`."""

WORDS = {
    "plain": "plain: labels stay",
    "none": "none across the middle",
    "swap": "swapped labels",
}


def mirroring_table(
    scores: pd.DataFrame, models: Mapping[str, str], *, part: str = "holdout", seed: int = SEED
) -> pd.DataFrame:
    """Dice and side errors of each arm and way of mirroring.

    Args:
        scores: Score table.
        models: Way of mirroring to the model that has it.
        part: Which part's rows.
        seed: Of the bootstrap.

    Returns:
        The columns of `MIRRORING_COLUMNS`.
    """
    sides = side_error_table(scores, part=part)
    dice = annotated_scores(select(scores[scores["metric"] == "dice"], part=part))
    rows: list[dict[str, Any]] = []
    for arm in dict.fromkeys(dice["arm"]):
        for mirroring, model in models.items():
            own = dice[(dice["arm"] == arm) & (dice["model"] == model)]
            wrong = sides[(sides["arm"] == arm) & (sides["model"] == model)]
            if own.empty or wrong.empty:
                continue
            summary = summary_row(own, "dice", seed)
            rows.append(
                {
                    "arm": arm,
                    "mirroring": mirroring,
                    "model": model,
                    **{name: summary[name] for name in ("n", "n_undefined", "n_participants")},
                    "n_failed": int((own["status"] == "failed").sum()),
                    "dice": summary["mean"],
                    "dice_sd": summary["sd"],
                    "dice_low": summary["low"],
                    "dice_high": summary["high"],
                    "structures_with_errors": int(wrong["n_with_errors"].sum()),
                    "structures_judged": int(wrong["n"].sum()),
                    "structures_empty": int(wrong["n_empty"].sum()),
                    "side_errors": int(wrong["side_errors"].sum()),
                    "side_error_ml": float(wrong["side_error_ml"].sum()),
                    "prediction_volume_ml": float(wrong["prediction_volume_ml"].sum()),
                }
            )
    return table_of(rows, MIRRORING_COLUMNS)


def display_mirroring(numbers: pd.DataFrame) -> pd.DataFrame:
    """Mirroring for people."""
    return shown_table(
        [
            {
                "Scan type": row["arm"],
                "Mirroring": WORDS.get(row["mirroring"], row["mirroring"]),
                "Dice (95% interval of the mean)": (
                    f"{mean_and_sd(row['dice'], row['dice_sd'])}\n"
                    f"({interval(row['dice_low'], row['dice_high'])})"
                ),
                "n": str(row["n"]),
                "Undefined, failed": f"{row['n_undefined']}, {row['n_failed']}",
                "Structures with side errors": (
                    f"{row['structures_with_errors']} of {row['structures_judged']}"
                ),
                "Nothing predicted": str(row["structures_empty"]),
                "Side errors": str(row["side_errors"]),
                "On the wrong side (in mL)": decimals(row["side_error_ml"]),
                "Share of the predicted volume": _share(row),
            }
            for row in records(numbers)
        ],
        ("Scan type", "Mirroring"),
    )


def note_on_mirroring(numbers: pd.DataFrame) -> str:
    """What was mirrored how."""
    return (
        "Patches of the training flipped across the sagittal plane: plain, with every label where "
        "it is, which teaches that right may be left; not at all; or with right and left labels "
        "exchanged. The models differ in more than the flips, since trainings vary: a difference "
        "in Dice may be chance. n: structures that the mean Dice is of. A side error is a "
        "connected part that lies on the partner's side; where nothing was predicted no side can "
        "be wrong."
    )


def _share(row: Mapping[str, Any]) -> str:
    if not row["prediction_volume_ml"] > 0:
        return NONE
    return f"{100 * row['side_error_ml'] / row['prediction_volume_ml']:.1f}%"
