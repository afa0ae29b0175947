"""Networks side by side on one split: Table 7 of PanSegNet, each compared with the first.

Enters: scores of part ``benchmark``, whose models are the networks. Leaves: means beside medians,
and the paired difference of every network from the first with interval, effect and corrected p.
Ranking by means alone was rejected: on few test cases the order of near networks is chance.

Source of the layout: Zhang et al. 2025, Medical Image Analysis 99:103382.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from acinus.evaluate.clusters import note_on_clusters, with_clusters
from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select
from acinus.evaluate.tables.numbers import Kind, table_of
from acinus.evaluate.tables.summaries import (
    SUMMARY_COLUMNS,
    gaps_words,
    group_rows,
    on_lines,
    shown_groups,
    shown_metrics,
    shown_table,
)
from acinus.evaluate.wording import p_value, signed
from acinus.measure.statistics import adjusted_p, paired_difference
from acinus.measure.statistics.bootstrap import SEED

BENCHMARK: Final = "benchmark"
"""Part of the scores of networks compared on a split of their own."""

NETWORK_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "network": "str",
    **SUMMARY_COLUMNS,
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
"""difference: this network minus the first, paired by case, mean over the clusters of the pairs
with its 95% bootstrap interval; dz: in standard deviations of the differences; corrected: by Holm
over the networks of an arm, label and metric."""


def network_table(scores: pd.DataFrame, *, seed: int = SEED) -> pd.DataFrame:
    """Scores of every network, and its paired difference from the first.

    Args:
        scores: Score table; the first network of an arm is the one that stands first in it.
        seed: Of the bootstrap.

    Returns:
        Columns of `NETWORK_COLUMNS`.
    """
    chosen = annotated_scores(select(scores, part=BENCHMARK))
    metrics = shown_metrics(chosen)
    rows: list[dict[str, Any]] = []
    for arm, of_arm in chosen.groupby("arm", sort=False):
        first = str(of_arm["model"].iloc[0])
        reference = of_arm[of_arm["model"] == first]
        found = [
            {"arm": arm, "network": network, **row, **_against(reference, some, row, first, seed)}
            for network, some in of_arm.groupby("model", sort=False)
            for row in group_rows(some, metrics, seed=seed)
        ]
        rows += _corrected(found)
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


def _against(
    reference: pd.DataFrame, other: pd.DataFrame, row: Mapping[str, Any], first: str, seed: int
) -> dict[str, Any]:
    """This network minus the first, of one label and metric, over the cases of both."""
    keys = ["case", "participant", "cluster", "label", "metric"]
    sides = [
        with_clusters(some)[(some["label"] == row["label"]) & (some["metric"] == row["metric"])]
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
