"""Models of one arm side by side, each compared with the first within the same cases.

Enters: scores of one arm and part. Leaves: rows of a table, for each model, label and metric the
summary and the paired difference from the first model, with p-values corrected over the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import with_clusters
from acinus.evaluate.tables.numbers import Kind
from acinus.evaluate.tables.summaries import group_rows, shown_metrics
from acinus.evaluate.wording import ALL_LABELS
from acinus.measure.statistics import adjusted_p, paired_difference

AGAINST_COLUMNS: dict[str, Kind] = {
    "compared_with": "str",
    "n_pairs": "int64",
    "n_paired_clusters": "int64",
    "difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
    "dz": "float64",
    "t_p": "float64",
    "t_p_corrected": "float64",
    "wilcoxon_p": "float64",
    "test_reason": "str",
}
"""difference: this model minus the first, paired by case, mean over the clusters of the pairs with
its 95% bootstrap interval; dz: in standard deviations of the differences; corrected: by Holm over
the models of an arm, label and metric."""


def rows_against_first(
    scores: pd.DataFrame, key: str, *, seed: int, with_all: bool = False
) -> list[dict[str, Any]]:
    """Rows of all models of one arm.

    Args:
        scores: Score table of the arm, one part; the first model is the one that stands first.
        key: Name of the column that holds the model.
        seed: Of the bootstrap.
        with_all: Whether to add rows over all labels together, where there are several.

    Returns:
        Values of ``arm``, `key`, `SUMMARY_COLUMNS` and `AGAINST_COLUMNS`.
    """
    if scores.empty:
        return []
    metrics = shown_metrics(scores)
    arm, first = (str(scores[column].iloc[0]) for column in ("arm", "model"))
    reference = scores[scores["model"] == first]
    rows = [
        {"arm": arm, key: model, **row, **_against(reference, some, row, first, seed)}
        for model, some in scores.groupby("model", sort=False)
        for row in group_rows(some, metrics, seed=seed, with_all=with_all)
    ]
    return _corrected(rows)


def _against(
    reference: pd.DataFrame, other: pd.DataFrame, row: Mapping[str, Any], first: str, seed: int
) -> dict[str, Any]:
    """This model minus the first, of one label or all and one metric, over the cases of both."""
    keys = ["case", "participant", "cluster", "label", "metric"]
    sides = [
        with_clusters(some)[
            ((some["label"] == row["label"]) | (row["label"] == ALL_LABELS))
            & (some["metric"] == row["metric"])
        ]
        for some in (other, reference)
    ]
    both = sides[0][[*keys, "value"]].merge(sides[1][[*keys, "value"]], on=keys)
    is_first = other["model"].iloc[0] == first
    found = paired_difference(
        [] if is_first else both["value_x"].tolist(),
        [] if is_first else both["value_y"].tolist(),
        [] if is_first else both["cluster"].tolist(),
        seed=seed,
    )
    return {
        "compared_with": first,
        "n_pairs": found.n,
        "n_paired_clusters": found.n_clusters,
        "difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "dz": found.effect.dz,
        "t_p": found.t_p,
        "wilcoxon_p": found.wilcoxon_p,
        "test_reason": "" if is_first else found.reason,
    }


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    families: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        families.setdefault((row["label"], row["metric"]), []).append(index)
    for members in families.values():
        found = adjusted_p([rows[index]["t_p"] for index in members])
        for index, p in zip(members, found.p, strict=True):
            rows[index]["t_p_corrected"] = p
    return rows
