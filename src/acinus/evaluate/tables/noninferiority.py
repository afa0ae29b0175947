"""A model against readers: does it agree with them no worse than they with each other?

Enters: agreement of every pair of readers, and of a model with each of them, per case and label.
Leaves: a verdict for every structure, right and left apart and together, and for all of them.
`acinus readers --model` and the report of a study with readings show this one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS, group_words, note_on_clusters, observed, with_clusters
from acinus.evaluate.score_table import NOT_ANNOTATED
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import (
    NONE,
    decimals,
    interval,
    label_title,
    metric_title,
    p_value,
    signed,
)
from acinus.measure import MEASURES
from acinus.measure.statistics import noninferiority
from acinus.measure.statistics.bootstrap import SEED

EVERYTHING = "all"
"""Structure of the row over all structures."""

BOTH_SIDES = "both"
"""Side of rows over right and left together."""

VOLUMES = {"reference_volume_ml": "volume_a_ml", "prediction_volume_ml": "volume_b_ml"}
"""What the volumes of the first and the second reader of a pair are called."""

Group = tuple[str, str, Sequence[str]]
"""Structure, side and labels of a row."""

NONINFERIORITY_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "readers": "str",
    "structure": "str",
    "side": "str",
    "measure": "str",
    "margin": "float64",
    "verdict": "str",
    "n_structures": "int64",
    "n_undefined": "int64",
    **COUNTS,
    "n_missed_by_model": "int64",
    "n_drawn_by_model_only": "int64",
    "model_mean": "float64",
    "readers_mean": "float64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "bootstrap_low": "float64",
    "bootstrap_high": "float64",
    "p": "float64",
    "bootstrap_p": "float64",
    "reason": "str",
}
"""arm: of a study, else empty; readers: their names; difference: model minus readers, above 0 where
the model agrees better, one value a cluster; low and high: its 95% interval (t); p: one-sided, of
a model that falls short by the margin."""


def noninferiority_table(
    agreement: pd.DataFrame,
    groups: Sequence[Group],
    *,
    readers: Sequence[str],
    model: str,
    margin: float,
    measure: str = "dice",
    arm: str = "",
    seed: int = SEED,
) -> pd.DataFrame:
    """Verdict on a model for every structure, and over all of them where there are several.

    A structure of a case has two values: the mean over the model's pairs with the readers, and
    the mean over the readers' pairs. Cases that a pair lacks are left out.

    Args:
        agreement: Columns of `acinus.evaluate.readings.AGREEMENT_COLUMNS`; the model is the second
            of its pairs.
        groups: Rows of the table.
        readers: Two or more.
        model: Its name among the pairs.
        margin: By how much it may fall short, in the unit of the measure, > 0.
        measure: One that is the same whichever of two comes first.
        arm: Of a study.
        seed: Of the bootstrap.

    Returns:
        Columns of `NONINFERIORITY_COLUMNS`.
    """
    values = _by_structure(agreement, readers, model, measure)
    wanted = list(groups)
    if len({structure for structure, _, _ in wanted}) > 1:
        side = BOTH_SIDES if any(side for _, side, _ in wanted) else ""
        every = [label for _, _, labels in wanted for label in labels]
        wanted.append((EVERYTHING, side, every))
    known = {"arm": arm, "readers": ", ".join(readers), "measure": measure, "margin": margin}
    rows = [
        known
        | {"structure": structure, "side": side}
        | _verdict(values[values["label"].isin(labels)], measure, margin, seed)
        for structure, side, labels in wanted
    ]
    return table_of(rows, NONINFERIORITY_COLUMNS)


def display_noninferiority(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Model against readers, in words.

    Args:
        numbers: From `noninferiority_table`.
        names: Names of structures as the table shows them.
    """
    has_arms, has_sides = (numbers["arm"] != "").any(), (numbers["side"] != "").any()
    several = numbers["structure"].nunique() > 1
    return shown_table(
        [
            {
                **({"Scan type": row["arm"], "Readers": row["readers"]} if has_arms else {}),
                **({"Organ": label_title(row["structure"], names)} if several else {}),
                **({"Side": row["side"] or NONE} if has_sides else {}),
                "n": f"{row['n_structures']} in {row['n_participants']}{group_words(row)}",
                "Undefined": str(row["n_undefined"]),
                "Missed": str(row["n_missed_by_model"]),
                "Only model": str(row["n_drawn_by_model_only"]),
                "Model": decimals(row["model_mean"], 3),
                "Among readers": decimals(row["readers_mean"], 3),
                "Difference\n(95% interval)": difference_words(row),
                "Margin": f"{row['margin']:g}",
                "p, one-sided": p_value(row["p"]),
                "Model is": row["verdict"] + (f" ({row['reason']})" if row["reason"] else ""),
            }
            for row in records(numbers)
        ],
        ("Scan type", "Readers", "n"),
    )


def note_on_noninferiority(numbers: pd.DataFrame) -> str:
    """How the verdicts are made."""
    measures = ", ".join(metric_title(one) for one in dict.fromkeys(numbers["measure"]))
    return (
        f"The model against the readers by {measures}, in cases that it had not learned from. A "
        "structure of a case has the mean over the model's pairs with the readers and the mean "
        "over the readers' pairs. Not inferior: the 95% intervals of the difference by t and by "
        "bootstrap both lie above minus the margin that was stated beforehand; inferior: both lie "
        "below; otherwise undecided. p is one-sided. Every row is a test of its own, uncorrected. "
        "Left out and counted: structures without a value in one of the pairs, among them, by a "
        "distance, all that the model missed, and always those that nobody but the model drew. "
        + note_on_clusters(numbers)
    )


def difference_words(row: Mapping[str, Any]) -> str:
    """``−0.012 (−0.034 to 0.010)``; a dash without a difference."""
    if math.isnan(row["difference"]):
        return NONE
    return f"{signed(row['difference'], 3)} ({interval(row['low'], row['high'], 3)})"


def _by_structure(
    agreement: pd.DataFrame, readers: Sequence[str], model: str, measure: str
) -> pd.DataFrame:
    """A row per case and label that all pairs were compared in: both agreements, who drew it."""
    rows = with_clusters(agreement)
    known = rows[(rows["reason"] != NOT_ANNOTATED) & (rows["status"] != "failed")]
    of_model = known["reader_b"] == model
    keys = ["case", "participant", "cluster", "label"]
    n_readers = len(readers)
    means = {}
    for name, part, n_pairs in (
        ("model", known[of_model], n_readers),
        ("readers", known[~of_model], n_readers * (n_readers - 1) // 2),
    ):
        of_measure = part[part["metric"] == measure].groupby(keys)["value"]
        complete = of_measure.size() == n_pairs
        mean = of_measure.agg(lambda one: one.mean(skipna=False))
        means[name] = mean[complete]
    both = means["model"].index.intersection(means["readers"].index)
    table = pd.DataFrame(means).reindex(both)
    volume_a, volume_b = VOLUMES.values()
    drawn = known[of_model & (known["metric"] == volume_a)].groupby(keys)["value"]
    by_model = known[of_model & (known["metric"] == volume_b)].groupby(keys)["value"].max()
    found = by_model.reindex(both)
    table["is_missed"] = (drawn.min().reindex(both) > 0) & (found == 0)
    table["is_only_models"] = (drawn.max().reindex(both) == 0) & (found > 0)
    return table.reset_index()


def _verdict(chosen: pd.DataFrame, measure: str, margin: float, seed: int) -> dict[str, Any]:
    found = noninferiority(
        chosen["model"].tolist(),
        chosen["readers"].tolist(),
        chosen["cluster"].tolist(),
        margin=margin,
        higher_is_better=MEASURES[measure].factory.better == "higher",
        seed=seed,
    )
    return {
        "verdict": found.verdict,
        "n_structures": found.n,
        "n_undefined": found.n_undefined,
        **observed(chosen.dropna(subset=["model", "readers"])),
        "n_missed_by_model": int(chosen["is_missed"].sum()),
        "n_drawn_by_model_only": int(chosen["is_only_models"].sum()),
        "model_mean": found.tested_mean,
        "readers_mean": found.reference_mean,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "bootstrap_low": found.bootstrap_low,
        "bootstrap_high": found.bootstrap_high,
        "p": found.p,
        "bootstrap_p": found.bootstrap_p,
        "reason": found.reason,
    }
