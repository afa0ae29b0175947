"""One row per structure of a case: its measures side by side and what became of it.

Enters: a score table. Leaves: a wide table with volumes and an outcome, from
which missed structures are counted and the worst cases told. Judging a missed
structure by its undefined distance alone was rejected: that drops it from the
mean, which makes a model that misses glands look precise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.clusters import with_clusters
from acinus.evaluate.score_table import SCORE_COLUMNS, annotated_scores
from acinus.measure.pair import BOTH_EMPTY, PREDICTION_EMPTY, REFERENCE_EMPTY

FAILED = "failed"
MISSED = "missed"
NO_OVERLAP = "no overlap"
FALSE_FIND = "false find"
FOUND = "found"
ABSENT = "absent"

OUTCOMES = (FAILED, MISSED, NO_OVERLAP, FALSE_FIND, FOUND, ABSENT)
"""From worst to best. failed: could not be judged; missed: drawn, nothing predicted;
no overlap: drawn and predicted apart; false find: predicted, not drawn; found: with
overlap; absent: neither drawn nor predicted."""

KEYS = ["arm", "model", "part", "case", "participant", "cluster", "label"]


def select(
    scores: pd.DataFrame, *, model: str | None = None, part: str | None = None
) -> pd.DataFrame:
    """Rows of one model and one part; None takes all."""
    kept = pd.Series(True, index=scores.index)
    for column, wanted in (("model", model), ("part", part)):
        if wanted is not None:
            kept &= scores[column] == wanted
    return scores[kept]


def structures(scores: pd.DataFrame) -> pd.DataFrame:
    """Each structure of each case in one row, in the order of the score table.

    Labels that were not annotated in a case are left out: nobody knows what became of them.

    Args:
        scores: Score table.

    Returns:
        The columns of `KEYS`, a float64 column for each metric (NaN where it has
        no value), ``outcome`` (one of `OUTCOMES`) and ``reason`` (of a failure).
    """
    metrics = list(dict.fromkeys(scores["metric"]))
    rows: list[dict[str, Any]] = []
    known = with_clusters(annotated_scores(scores))[list(SCORE_COLUMNS)]
    for key, group in known.groupby(KEYS, sort=False, dropna=False):
        values = dict(zip(group["metric"], group["value"], strict=True))
        failures = group.loc[group["status"] == "failed", "reason"]
        rows.append(
            dict(zip(KEYS, key, strict=True))
            | {metric: float(values.get(metric, np.nan)) for metric in metrics}
            | {
                "outcome": _outcome(values, set(group["reason"]), not failures.empty),
                "reason": "" if failures.empty else str(failures.iloc[0]),
            }
        )
    columns = [*KEYS, *metrics, "outcome", "reason"]
    text = dict.fromkeys([*KEYS, "outcome", "reason"], "str")
    return pd.DataFrame(rows, columns=columns).astype({**text, **dict.fromkeys(metrics, "float64")})


def _outcome(values: dict[str, float], reasons: set[str], is_failed: bool) -> str:
    if is_failed:
        return FAILED
    drawn = values.get("reference_volume_ml", np.nan)
    predicted = values.get("prediction_volume_ml", np.nan)
    if BOTH_EMPTY in reasons or (drawn == 0 and predicted == 0):
        return ABSENT
    if PREDICTION_EMPTY in reasons or predicted == 0:
        return MISSED
    if REFERENCE_EMPTY in reasons or drawn == 0:
        return FALSE_FIND
    return NO_OVERLAP if values.get("dice", values.get("iou", np.nan)) == 0 else FOUND
