"""Networks side by side on one split: Table 7 of PanSegNet, each compared with the first.

Enters: scores of part ``benchmark``, whose models are the networks. Leaves: means beside medians,
and the paired difference of every network from the first with interval, effect and corrected p.
Ranking by means alone was rejected: on few test cases the order of near networks is chance.

Source of the layout: Zhang et al. 2025, Medical Image Analysis 99:103382.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from acinus.evaluate.clusters import note_on_clusters
from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select
from acinus.evaluate.tables.against_first import AGAINST_COLUMNS, rows_against_first
from acinus.evaluate.tables.numbers import Kind, table_of
from acinus.evaluate.tables.summaries import (
    SUMMARY_COLUMNS,
    gaps_words,
    on_lines,
    shown_groups,
    shown_table,
)
from acinus.evaluate.wording import p_value, signed
from acinus.measure.statistics.bootstrap import SEED

BENCHMARK: Final = "benchmark"
"""Part of the scores of networks compared on a split of their own."""

NETWORK_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "network": "str",
    **SUMMARY_COLUMNS,
    **AGAINST_COLUMNS,
}


def network_table(scores: pd.DataFrame, *, seed: int = SEED) -> pd.DataFrame:
    """Scores of every network, and its paired difference from the first.

    Args:
        scores: Score table; the first network of an arm is the one that stands first in it.
        seed: Of the bootstrap.

    Returns:
        Columns of `NETWORK_COLUMNS`.
    """
    chosen = annotated_scores(select(scores, part=BENCHMARK))
    rows = [
        row
        for _, of_arm in chosen.groupby("arm", sort=False)
        for row in rows_against_first(of_arm, "network", seed=seed)
    ]
    return table_of(rows, NETWORK_COLUMNS)


def display_networks(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Table 7 in the paper's layout, with the difference of the first metric."""
    rows = []
    for first, cells in shown_groups(numbers, {"arm": "Scan type", "network": "Network"}, names):
        is_compared = first["network"] != first["compared_with"]
        title = str(first["metric"]).replace("_", " ").capitalize()
        cells[f"{title} difference\n(95% interval)"] = (
            on_lines(signed(first["difference"]), first["difference_low"], first["difference_high"])
            if is_compared
            else "compared with"
        )
        cells["p (Holm)"] = (
            f"{p_value(first['t_p'])}\n({p_value(first['t_p_corrected'])})" if is_compared else ""
        )
        rows.append(cells)
    return shown_table(rows, ("Scan type", "Network", "n"))


def note_on_networks(numbers: pd.DataFrame) -> str:
    """What the comparison is over."""
    firsts = ", ".join(dict.fromkeys(numbers["compared_with"]))
    reasons = sorted({str(one) for one in numbers["test_reason"]} - {""})
    return (
        "All networks of a scan type learned from the same cases, were looked at on the same and "
        "tested on the same. Each cell: mean ± standard deviation, below it the median. "
        f"{gaps_words(numbers)} Difference: from {firsts}, paired by case; "
        "p: paired t-test, in brackets corrected by Holm over the networks of a scan type. "
        + note_on_clusters(numbers)
        + (f" Without a test: {'; '.join(reasons)}." if reasons else "")
    )
