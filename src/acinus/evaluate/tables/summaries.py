"""Groups of scores summed up alike: centres, readings, networks.

Enters: score rows of a group, such as a centre's. Leaves: a row per label and metric with mean,
spread, median and what was left out; and the same as cells that people read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS
from acinus.evaluate.structures import structures
from acinus.evaluate.tables.evaluation import outcome_counts, summary_row
from acinus.evaluate.tables.numbers import Kind, records
from acinus.evaluate.wording import (
    ALL_LABELS,
    NONE,
    decimals,
    interval,
    label_title,
    mean_and_sd,
    metric_title,
)
from acinus.measure.statistics.bootstrap import SEED

SUMMARY_COLUMNS: dict[str, Kind] = {
    "label": "str",
    "metric": "str",
    "unit": "str",
    "n": "int64",
    "n_undefined": "int64",
    "n_failed": "int64",
    "n_missed": "int64",
    **COUNTS,
    "mean": "float64",
    "sd": "float64",
    "median": "float64",
    "q25": "float64",
    "q75": "float64",
    "low": "float64",
    "high": "float64",
    "reason": "str",
}
"""n: defined values, over which the figures are; n_undefined, n_failed: values left out;
n_missed: structures drawn and not predicted; low to high: 95% bootstrap interval of the mean,
clusters resampled."""

NOT_SHOWN = ("reference_volume_ml", "prediction_volume_ml", "side_errors", "side_error_ml")
"""Metrics that have tables of their own."""


def shown_metrics(scores: pd.DataFrame) -> list[str]:
    """Metrics of a score table that stand in columns, in its order."""
    return [name for name in dict.fromkeys(scores["metric"]) if name not in NOT_SHOWN]


def group_rows(
    scores: pd.DataFrame, metrics: Sequence[str], *, seed: int = SEED, with_all: bool = False
) -> Iterator[dict[str, Any]]:
    """A row per label and metric of one group of scores.

    Args:
        scores: Rows of the group, of one arm and model.
        metrics: In the order of rows; ones that were not taken are left out.
        seed: Of the bootstrap.
        with_all: Whether rows over all labels together come last, where there are several.

    Yields:
        Values of `SUMMARY_COLUMNS`.
    """
    outcomes = structures(scores)
    labels = list(dict.fromkeys(scores["label"]))
    for label in [*labels, *([ALL_LABELS] if with_all and len(labels) > 1 else [])]:
        known, counted = scores, outcomes
        if label != ALL_LABELS:
            known, counted = (one[one["label"] == label] for one in (scores, outcomes))
        counts = outcome_counts(counted)
        for metric in metrics:
            rows = known[known["metric"] == metric]
            if len(rows):
                row = {"label": label, **counts, **summary_row(rows, metric, seed)}
                yield {name: row[name] for name in SUMMARY_COLUMNS}


def shown_groups(
    numbers: pd.DataFrame, keys: Mapping[str, str], names: Mapping[str, str] | None = None
) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """The rows of a table for people: those of each group in one, a column per metric.

    Args:
        numbers: Columns of `keys` and `SUMMARY_COLUMNS`.
        keys: Columns that tell groups apart to their headings.
        names: Names of labels.

    Returns:
        For each group and label the row of its first metric, and the cells: keys, organ where
        there are several labels, n, mean ± sd with the median below for each metric, and what was
        left out where anything was.
    """
    several = numbers["label"].nunique() > 1
    has_gaps = bool((numbers["n_undefined"] + numbers["n_failed"]).any())
    shown = []
    for _, group in numbers.groupby([*keys, "label"], sort=False):
        first = records(group)[0]
        cells = {heading: str(first[key]) for key, heading in keys.items()}
        if several:
            cells["Organ"] = label_title(first["label"], names)
        cells["n"] = str(int((group["n"] + group["n_undefined"]).max()))
        for one in records(group):
            cells[heading_of(one["metric"])] = mean_median(one)
        if has_gaps:
            cells["Undefined"] = _left_out(group)
        shown.append((first, cells))
    return shown


def shown_table(rows: Sequence[Mapping[str, str]], least: Sequence[str]) -> pd.DataFrame:
    """Cells as a table; a cell that a row lacks is empty.

    Args:
        rows: Heading to cell, in the order of columns.
        least: Headings of a table without rows.
    """
    return pd.DataFrame(list(rows)).fillna("") if rows else pd.DataFrame(columns=list(least))


def heading_of(metric: str) -> str:
    """Head of a metric's column: its title, short, since there are many of them."""
    title = metric_title(metric).replace(" score", "").replace("(in ", "(")
    title = title.replace("Cohen's kappa", "Kappa")
    return title.replace(" (", "\n(")


def mean_median(row: Mapping[str, Any]) -> str:
    """``0.85 ± 0.08`` and the median on a line of its own."""
    if row["n"] == 0:
        return NONE
    places = 1 if row["unit"] == "mm" and row["mean"] >= 100 else 2
    return f"{mean_and_sd(row['mean'], row['sd'], places)}\n{decimals(row['median'], places)}"


def on_lines(value: str, low: float, high: float, places: int = 2) -> str:
    """A value and below it its interval, in a narrow column."""
    ends = interval(low, high, places).replace(" to ", " to\n")
    return f"{value}\n({ends})"


def gaps_words(numbers: pd.DataFrame) -> str:
    """How many values a table's means lack, in a sentence."""
    undefined, failed = int(numbers["n_undefined"].sum()), int(numbers["n_failed"].sum())
    if not undefined and not failed:
        return "No value is undefined."
    judged = f"; of cases that could not be judged: {failed}" if failed else ""
    return f"Values that are undefined and in no mean: {undefined}{judged}."


def _left_out(group: pd.DataFrame) -> str:
    """Undefined values by metric, failed cases; ``0`` if there is neither."""
    parts = [
        f"{metric_title(row['metric']).split(' (')[0]} {row['n_undefined']}"
        for row in records(group)
        if row["n_undefined"]
    ]
    failed = int(group["n_failed"].max())
    return ", ".join([*parts, *([f"failed {failed}"] if failed else [])]) or "0"
