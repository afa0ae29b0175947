"""How good the segmentations are: Table 3 of the lacrimal study, and the test of normality.

Enters: a score table. Leaves: a row per arm, label and metric with mean, spread,
quartiles and interval, and the paper's layout of it. Means are over the defined
values; how many were undefined, missed or failed stands beside them, since a
distance cannot be measured to a structure that was missed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS, note_on_clusters, observed, with_clusters
from acinus.evaluate.score_table import NOT_ANNOTATED, annotated_scores
from acinus.evaluate.structures import FAILED, FALSE_FIND, MISSED, select, structures
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import (
    ALL_LABELS,
    NONE,
    decimals,
    label_title,
    mean_and_sd,
    metric_title,
    p_value,
    quartiles,
)
from acinus.measure.statistics import summarise
from acinus.measure.statistics.bootstrap import SEED

TABLE_3_METRICS = ("dice", "iou", "hausdorff_95_mm")

EVALUATION_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "label": "str",
    "metric": "str",
    "unit": "str",
    "n": "int64",
    "n_undefined": "int64",
    "n_failed": "int64",
    "n_missed": "int64",
    "n_false_finds": "int64",
    "n_not_annotated": "int64",
    "n_side_errors": "float64",
    **COUNTS,
    "mean": "float64",
    "sd": "float64",
    "median": "float64",
    "q25": "float64",
    "q75": "float64",
    "low": "float64",
    "high": "float64",
    "shapiro_w": "float64",
    "shapiro_p": "float64",
    "reason": "str",
}
"""n: defined values, over which the figures are; n_undefined and n_failed: values left
out; n_missed and n_false_finds: structures drawn but not predicted, and the reverse;
n_not_annotated: structures that nobody drew in their case, in none of the other numbers;
n_side_errors: predicted parts that lie on the other side, NaN where a label has no partner;
low to high: 95% bootstrap interval of the mean, clusters resampled; shapiro: of one value a
cluster."""


def evaluation_table(
    scores: pd.DataFrame,
    *,
    metrics: Sequence[str] = TABLE_3_METRICS,
    model: str = "final",
    part: str = "holdout",
    with_all: bool = False,
    seed: int = SEED,
) -> pd.DataFrame:
    """Summary of every arm, label and metric.

    Args:
        scores: Score table.
        metrics: Metrics in the order of columns; ones that were not taken are left out.
        model: Which model's rows.
        part: Which part's rows.
        with_all: Whether to add a row per arm over all labels together.
        seed: Of the bootstrap.

    Returns:
        The columns of `EVALUATION_COLUMNS`, arms and labels in the order of the scores.
    """
    chosen = select(scores, model=model, part=part)
    outcomes = structures(chosen)
    rows: list[dict[str, Any]] = []
    for arm, of_arm in chosen.groupby("arm", sort=False):
        labels = list(dict.fromkeys(of_arm["label"]))
        for label in [*labels, *([ALL_LABELS] if with_all else [])]:
            counted = outcomes[outcomes["arm"] == arm]
            found = of_arm
            if label != ALL_LABELS:
                counted = counted[counted["label"] == label]
                found = of_arm[of_arm["label"] == label]
            known = {"arm": arm, "label": label, **outcome_counts(counted)}
            rows += [
                known | summary_row(found[found["metric"] == metric], metric, seed)
                for metric in metrics
                if (found["metric"] == metric).any()
            ]
    return table_of(rows, EVALUATION_COLUMNS)


def display_evaluation(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Table 3 in the paper's layout; a line break parts mean ± sd from the quartiles.

    Args:
        numbers: From `evaluation_table`.
        names: Names of labels as the table shows them.

    Returns:
        Columns Organ, Scan type, one per metric, then cases, missed, side errors (if any
        label has a partner), undefined, failed.
    """
    rows = []
    for (arm, label), group in numbers.groupby(["arm", "label"], sort=False):
        row = {"Organ": label_title(str(label), names), "Scan type": str(arm)}
        for one in records(group):
            cell = mean_and_sd(one["mean"], one["sd"])
            row[_heading(one["metric"])] = f"{cell}\n{quartiles(one['q25'], one['q75'])}"
        judged = int((group["n"] + group["n_undefined"]).max())
        row["n"] = str(judged)
        row["Missed"] = str(int(group["n_missed"].max()))
        row["Side errors"] = _count(float(group["n_side_errors"].max()))
        row["Undefined"] = undefined_words(group)
        row["Failed"] = str(int(group["n_failed"].max()))
        rows.append(row)
    headings = [_heading(metric) for metric in dict.fromkeys(numbers["metric"])]
    sides = ["Side errors"] if numbers["n_side_errors"].notna().any() else []
    columns = ["Organ", "Scan type", *headings, "n", "Missed", *sides, "Undefined", "Failed"]
    return pd.DataFrame(rows, columns=columns).fillna("")


def shapiro_table(
    scores: pd.DataFrame,
    *,
    metrics: Sequence[str] = TABLE_3_METRICS,
    model: str = "final",
    part: str = "holdout",
) -> pd.DataFrame:
    """Shapiro-Wilk test of every arm, label and metric.

    Returns:
        Columns arm, label, metric, n, those of `COUNTS`, shapiro_w, shapiro_p, reason.
    """
    numbers = evaluation_table(scores, metrics=metrics, model=model, part=part)
    return numbers[["arm", "label", "metric", "n", *COUNTS, "shapiro_w", "shapiro_p", "reason"]]


def display_shapiro(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The tests of normality for people: W, p, or why there is none."""
    rows = [
        {
            "Organ": label_title(row["label"], names),
            "Scan type": row["arm"],
            "Metric": metric_title(row["metric"]),
            "n": str(row["n_clusters"]),
            "W": decimals(row["shapiro_w"], 3),
            "p-value": p_value(row["shapiro_p"]) if row["shapiro_p"] >= 0 else row["reason"],
        }
        for row in records(numbers)
    ]
    return pd.DataFrame(rows, columns=["Organ", "Scan type", "Metric", "n", "W", "p-value"])


def note_on_evaluation(numbers: pd.DataFrame) -> str:
    """Which policy made the means, and how many values they lack."""
    single = numbers[numbers["label"] != ALL_LABELS]
    undefined, failed = int(single["n_undefined"].sum()), int(single["n_failed"].sum())
    kept = "all values are defined" if not undefined else f"{undefined} undefined values left out"
    text = (
        f"Mean ± standard deviation, and 25th to 75th percentile, over the defined values; {kept}. "
        "Missed: drawn by the expert, nothing predicted (Dice 0, no distance)."
    )
    if failed:
        text += f" {failed} values of failed cases left out."
    if single["n_side_errors"].notna().any():
        text += " Side errors: predicted parts that lie on the other side, in all cases together."
    unknown = int(single.groupby(["arm", "label"])["n_not_annotated"].max().sum())
    if unknown:
        text += f" {unknown} structures that were not annotated in their case are not judged."
    return f"{text} {note_on_clusters(numbers)}"


def _heading(metric: str) -> str:
    return f"{metric_title(metric)}\n(mean ± sd)\n(25%–75% IQR)"


def outcome_counts(counted: pd.DataFrame) -> dict[str, float]:
    """How many structures were missed, false finds, failed or on the other side.

    Args:
        counted: From `acinus.evaluate.structures.structures`.
    """
    outcomes = counted["outcome"]
    side_errors = counted.get("side_errors", pd.Series(dtype="float64")).dropna()
    return {
        "n_missed": int((outcomes == MISSED).sum()),
        "n_false_finds": int((outcomes == FALSE_FIND).sum()),
        "n_failed": int((outcomes == FAILED).sum()),
        "n_side_errors": float(side_errors.sum()) if len(side_errors) else math.nan,
    }


def summary_row(rows: pd.DataFrame, metric: str, seed: int) -> dict[str, Any]:
    """Figures of one metric; the interval resamples clusters.

    Args:
        rows: Of the score table, of that metric alone, at least one.
        metric: Its name.
        seed: Of the bootstrap.

    Returns:
        Values of `EVALUATION_COLUMNS` from ``metric`` to ``reason``, without the counts of
        structures.
    """
    known = with_clusters(annotated_scores(rows))
    judged = known[known["status"] != "failed"]
    members = judged["cluster"].tolist()
    found = summarise(judged["value"].tolist(), cluster=members, seed=seed)
    figures = ("n", "n_undefined", "mean", "sd", "median", "q25", "q75", "low", "high")
    reasons = list(dict.fromkeys(found.reasons.values()))
    return {
        "metric": metric,
        "unit": rows["unit"].iloc[0],
        "n_not_annotated": int((rows["reason"] == NOT_ANNOTATED).sum()),
        **observed(judged[judged["value"].notna()]),
        **{name: getattr(found, name) for name in figures},
        "shapiro_w": found.shapiro_w,
        "shapiro_p": found.shapiro_p,
        "reason": "; ".join(reasons),
    }


def _count(value: float) -> str:
    return NONE if math.isnan(value) else str(int(value))


def undefined_words(group: pd.DataFrame) -> str:
    """``0``, or which metric is undefined how often."""
    counts = {
        metric_title(row["metric"]): int(row["n_undefined"])
        for row in records(group)
        if row["n_undefined"]
    }
    return ", ".join(f"{title}: {n}" for title, n in counts.items()) or "0"
