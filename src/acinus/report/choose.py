"""Which cases a figure shows, chosen by rule from the scores, never by hand.

Enters: the score table. Leaves: names of cases: a typical one, the worst one, the
one whose volume is underestimated most.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from acinus.evaluate.score_table import empty_score_table
from acinus.evaluate.structures import select, structures
from acinus.evaluate.wording import ALL_LABELS
from acinus.report.content import FINAL_MODEL, ArmContent, ReportContent

HOLDOUT = "holdout"


def all_scores(content: ReportContent) -> pd.DataFrame:
    """The score table; with its columns where it is empty."""
    return content.scores if len(content.scores) else empty_score_table()


def wide_scores(content: ReportContent, arm: str) -> pd.DataFrame:
    """Hold-out scores of the final model on one arm, a row per case and label.

    Returns:
        Columns of `acinus.evaluate.structures.structures`: a column per metric, NaN
        where undefined or failed, and the outcome.
    """
    scores = select(all_scores(content), model=FINAL_MODEL, part=HOLDOUT)
    return structures(scores[scores["arm"] == arm])


def case_dice(content: ReportContent, arm: str) -> pd.Series:
    """Mean Dice over the labels of each hold-out case, ascending; index is the case."""
    wide = wide_scores(content, arm)
    if "dice" not in wide:
        return pd.Series(dtype=float)
    return wide.groupby("case")["dice"].mean().dropna().sort_values(kind="stable")


def worst_case(content: ReportContent, arm: ArmContent) -> str | None:
    """Hold-out case with the lowest mean Dice that can be shown."""
    shown = _shown(content, arm)
    return shown[0] if shown else None


def median_case(content: ReportContent, arm: ArmContent) -> str | None:
    """Hold-out case in the middle by mean Dice (the lower one of two)."""
    shown = _shown(content, arm)
    return shown[(len(shown) - 1) // 2] if shown else None


def _shown(content: ReportContent, arm: ArmContent) -> list[str]:
    ordered = case_dice(content, arm.name).index
    return [case for case in ordered if arm.images.get(case) and case in arm.predictions]


def largest_underestimation(content: ReportContent, arm: ArmContent) -> tuple[str, str] | None:
    """(case, label) whose predicted volume lies furthest below its reference; None if none."""
    wide = wide_scores(content, arm.name)
    if not {"reference_volume_ml", "prediction_volume_ml"} <= set(wide.columns):
        return None
    shown = wide["case"].isin(_shown(content, arm)) & wide["label"].isin(list(arm.labels))
    short = (wide["reference_volume_ml"] - wide["prediction_volume_ml"]).where(shown)
    if not (short > 0).any():
        return None
    row = wide.iloc[int(short.fillna(0.0).to_numpy().argmax())]
    return str(row["case"]), str(row["label"])


def typical_cases(content: ReportContent) -> dict[str, str]:
    """Arm to a case with image and reference, of one participant for all arms where possible.

    Of the participants that all arms share, hold-out first, the one whose
    reference volume lies in the middle.
    """
    drawn = {
        arm.name: {arm.participant(c): c for c in arm.references if arm.images.get(c)}
        for arm in content.arms
    }
    drawn = {name: cases for name, cases in drawn.items() if cases}
    if not drawn:
        return {}
    shared = set.intersection(*(set(cases) for cases in drawn.values()))
    holdout = {p for arm in content.arms for p in arm.holdout_participants}
    pool = sorted(shared & holdout) or sorted(shared)
    if not pool:
        return {name: cases[min(cases)] for name, cases in drawn.items()}
    chosen = _middle_by_volume(content, pool)
    return {name: cases[chosen] for name, cases in drawn.items()}


def _middle_by_volume(content: ReportContent, participants: list[str]) -> str:
    rows = select(all_scores(content), model=FINAL_MODEL, part=HOLDOUT)
    rows = rows[(rows["metric"] == "reference_volume_ml") & rows["participant"].isin(participants)]
    if rows.empty:
        return participants[(len(participants) - 1) // 2]
    ordered = rows.groupby("participant")["value"].sum().sort_values(kind="stable").index
    return str(ordered[(len(ordered) - 1) // 2])


def overall(numbers: pd.DataFrame, arm: str, metric: str = "") -> dict[str, Any] | None:
    """The row of an arm over all its labels (its only label if it has one); None if absent, and
    where there are several labels and no row over all of them."""
    if numbers.empty:
        return None
    rows = numbers[numbers["arm"] == arm]
    if metric:
        rows = rows[rows["metric"] == metric]
    pooled = rows[rows["label"] == ALL_LABELS]
    chosen = pooled if len(pooled) else rows
    if not len(chosen) or (pooled.empty and rows["label"].nunique() > 1):
        return None
    return {str(k): v for k, v in chosen.iloc[0].items()}
