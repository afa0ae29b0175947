"""What a missing channel costs: the hold-out with channels left out, against nothing missing.

Enters: hold-out scores of a model that was trained for missing channels, and those of the part
``missing_channels``, whose models say what was left out. Leaves: a row for each set of channels,
label and metric with the paired difference from nothing missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from acinus.evaluate.clusters import note_on_clusters
from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select
from acinus.evaluate.tables.against_first import AGAINST_COLUMNS, rows_against_first
from acinus.evaluate.tables.evaluation import TABLE_3_METRICS
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import SUMMARY_COLUMNS, mean_median, on_lines, shown_table
from acinus.evaluate.wording import ALL_LABELS, label_title, metric_title, p_value, signed
from acinus.measure.statistics.bootstrap import SEED

MISSING_CHANNELS: Final = "missing_channels"
"""Part of the scores of the hold-out with channels left out."""

NOTHING_MISSING: Final = "nothing"

MOST_SHOWN_LABELS = 4
"""Most labels that have columns of their own on the page; the file has all."""

WITHOUT = "without "

MISSING_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "missing": "str",
    **SUMMARY_COLUMNS,
    **AGAINST_COLUMNS,
}
"""missing: the channels that were left out, joined by `` + ``; the label `ALL_LABELS` pools."""


def without_words(channels: Sequence[str]) -> str:
    """``without T1 + T2``: what the score table calls a model from which channels are kept."""
    return WITHOUT + " + ".join(channels)


def missing_table(
    scores: pd.DataFrame, *, metrics: Sequence[str] = TABLE_3_METRICS, seed: int = SEED
) -> pd.DataFrame:
    """Scores of the hold-out without each set of channels, and their difference from all there.

    Args:
        scores: Score table; arms without rows of part `MISSING_CHANNELS` are left out, and so are
            cases of the hold-out that lack a channel by themselves.
        metrics: Which ones; ones that were not taken are left out.
        seed: Of the bootstrap.

    Returns:
        Columns of `MISSING_COLUMNS`; nothing missing comes first, and where there are several
        labels the rows over all of them come last of each set.
    """
    known = annotated_scores(scores[scores["metric"].isin([*metrics, *_VOLUMES])])
    left_out = select(known, part=MISSING_CHANNELS)
    whole = select(known, part="holdout", model="final").assign(model=NOTHING_MISSING)
    rows: list[dict[str, Any]] = []
    for arm, some in left_out.groupby("arm", sort=False):
        cases = whole[(whole["arm"] == arm) & whole["case"].isin(set(some["case"]))]
        named = some.assign(model=some["model"].str.removeprefix(WITHOUT))
        both = pd.concat([cases, named], ignore_index=True)
        rows += rows_against_first(both, "missing", seed=seed, with_all=True)
    return table_of(rows, MISSING_COLUMNS)


def display_missing(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A row for each set of missing channels, by the first metric.

    Args:
        numbers: From `missing_table`.
        names: Names of labels as the table shows them.
    """
    rows = []
    metric = "" if numbers.empty else str(numbers["metric"].iloc[0])
    for _, group in numbers.groupby(["arm", "missing"], sort=False):
        found = {row["label"]: row for row in records(group[group["metric"] == metric])}
        labels = [label for label in found if label != ALL_LABELS]
        cells = _cells(found.get(ALL_LABELS, found[labels[0]]))
        if 1 < len(labels) <= MOST_SHOWN_LABELS:
            cells |= {label_title(one, names): mean_median(found[one]) for one in labels}
        rows.append(cells)
    return shown_table(rows, ("Scan type", "Missing", "n"))


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """What the page says of one set, over all labels."""
    title = metric_title(row["metric"]).replace(" score", "")
    is_compared = row["missing"] != row["compared_with"]
    ends = (row["difference_low"], row["difference_high"])
    corrected = f"{p_value(row['t_p'])}\n({p_value(row['t_p_corrected'])})"
    cells = {
        "Scan type": row["arm"],
        "Missing": row["missing"],
        "n": f"{row['n']} ({row['n_participants']})",
        title: mean_median(row),
        f"{title} difference\n(95% interval)": (
            on_lines(signed(row["difference"]), *ends) if is_compared else "compared with"
        ),
        "p (Holm)": corrected if is_compared else "",
        "Missed": str(row["n_missed"]),
        "Undefined": str(row["n_undefined"]),
    }
    return cells | ({"Failed": str(row["n_failed"])} if row["n_failed"] else {})


def note_on_missing(numbers: pd.DataFrame) -> str:
    """What was left out, and what the differences and their tests are over."""
    reasons = sorted({str(one) for one in numbers["test_reason"]} - {""})
    return (
        "Hold-out cases that have all channels, predicted again as if the named ones had not been "
        "acquired: zero in their place, as training showed it. n: structures with a value, in "
        "brackets their participants; mean ± standard deviation, the median below. Missed: drawn "
        "and not predicted (Dice 0). "
        "Difference: from nothing missing, the same structures paired; "
        "p: paired t-test, in brackets corrected by Holm over the sets of a scan type. "
        + note_on_clusters(numbers)
        + (f" Without a test: {'; '.join(reasons)}." if reasons else "")
    )


_VOLUMES = ("reference_volume_ml", "prediction_volume_ml")
"""By these a structure that was missed is told."""
