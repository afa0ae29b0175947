"""How well volumes agree: the points and the correlations of Figure 5 of the lacrimal study.

Enters: a score table. Leaves: reference and predicted volume of each structure,
and their correlation twice: with right and left gland as two patients, as
published studies have it, and with the patient as the independent unit. Bias
and limits of agreement stand beside, since a correlation does not see a model
that finds half of every gland.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS, observed
from acinus.evaluate.structures import FAILED, select, structures
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import (
    ALL_LABELS,
    decimals,
    interval,
    label_title,
    p_value,
    signed,
)
from acinus.measure.statistics import (
    clustered_pearson,
    limits_of_agreement,
    paired_difference,
)
from acinus.measure.statistics.bootstrap import SEED

PAIR_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "case": "str",
    "participant": "str",
    "cluster": "str",
    "label": "str",
    "reference_volume_ml": "float64",
    "prediction_volume_ml": "float64",
    "outcome": "str",
}

AGREEMENT_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "label": "str",
    "n": "int64",
    **COUNTS,
    "r": "float64",
    "low": "float64",
    "high": "float64",
    "p_naive": "float64",
    "p_clustered": "float64",
    "reference_mean_ml": "float64",
    "prediction_mean_ml": "float64",
    "bias_ml": "float64",
    "bias_low_ml": "float64",
    "bias_high_ml": "float64",
    "agreement_low_ml": "float64",
    "agreement_high_ml": "float64",
    "reason": "str",
}
"""bias: predicted minus reference, mean over clusters with its 95% interval;
agreement: bias ± 1.96 standard deviations of the differences of single structures."""


def volume_pairs(
    scores: pd.DataFrame, *, model: str = "final", part: str = "holdout"
) -> pd.DataFrame:
    """Reference and predicted volume of every structure that could be judged, mL.

    Structures that neither has are left out; missed ones stay, with volume 0.
    """
    wide = structures(select(scores, model=model, part=part))
    if not {"reference_volume_ml", "prediction_volume_ml"} <= set(wide.columns):
        return table_of([], PAIR_COLUMNS)
    kept = wide[wide["outcome"] != FAILED]
    kept = kept[(kept["reference_volume_ml"] > 0) | (kept["prediction_volume_ml"] > 0)]
    return table_of(records(kept), PAIR_COLUMNS)


def volume_agreement(
    scores: pd.DataFrame,
    *,
    mirror_pairs: Sequence[tuple[str, str]] = (),
    model: str = "final",
    part: str = "holdout",
    seed: int = SEED,
) -> pd.DataFrame:
    """Correlation and bias of the volumes of every arm, for each label.

    Over organs of different size a correlation would show that they differ in size; so labels are
    taken together only where they are the two sides of one organ.

    Args:
        scores: Score table.
        mirror_pairs: Labels that are each other's partner.
        model: Whose rows.
        part: Which part's rows.
        seed: Of the bootstrap.

    Returns:
        The columns of `AGREEMENT_COLUMNS`; the first row of an arm whose labels are the two sides
        of one organ is over both.
    """
    pairs_of_sides = {frozenset(pair) for pair in mirror_pairs}
    pairs = volume_pairs(scores, model=model, part=part)
    rows = []
    for arm, of_arm in pairs.groupby("arm", sort=False):
        labels = list(dict.fromkeys(of_arm["label"]))
        groups = {ALL_LABELS: of_arm} if frozenset(labels) in pairs_of_sides else {}
        groups |= {label: of_arm[of_arm["label"] == label] for label in labels}
        rows += [
            {"arm": arm, "label": label, **_agreement(found, seed)}
            for label, found in groups.items()
        ]
    return table_of(rows, AGREEMENT_COLUMNS)


def display_agreement(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The agreement for people: r with interval, both p-values, bias and limits."""
    rows = [
        {
            "Organ": label_title(row["label"], names),
            "Scan type": row["arm"],
            "n (units)": f"{row['n']} ({row['n_clusters']})",
            "Pearson r (95% interval)": _r_words(row),
            "p, structures as independent": p_value(row["p_naive"]),
            "p, clustered": p_value(row["p_clustered"]),
            "Bias in mL (95% interval)": f"{signed(row['bias_ml'])} "
            f"({interval(row['bias_low_ml'], row['bias_high_ml'])})",
            "Limits of agreement in mL": interval(
                row["agreement_low_ml"], row["agreement_high_ml"]
            ),
            "Remark": row["reason"],
        }
        for row in records(numbers)
    ]
    columns = [
        "Organ",
        "Scan type",
        "n (units)",
        "Pearson r (95% interval)",
        "p, structures as independent",
        "p, clustered",
        "Bias in mL (95% interval)",
        "Limits of agreement in mL",
        "Remark",
    ]
    return pd.DataFrame(rows, columns=columns)


def _r_words(row: dict[str, Any]) -> str:
    return f"{decimals(row['r'])} ({interval(row['low'], row['high'])})"


def _agreement(pairs: pd.DataFrame, seed: int) -> dict[str, Any]:
    reference = pairs["reference_volume_ml"].tolist()
    prediction = pairs["prediction_volume_ml"].tolist()
    clusters = pairs["cluster"].tolist()
    found = clustered_pearson(reference, prediction, clusters, seed=seed)
    bias = paired_difference(prediction, reference, clusters, seed=seed)
    limits = limits_of_agreement(prediction, reference, clusters)
    return {
        "n": found.n,
        **observed(pairs),
        "r": found.r,
        "low": found.low,
        "high": found.high,
        "p_naive": found.p_naive,
        "p_clustered": found.p_clustered,
        "reference_mean_ml": bias.mean_b,
        "prediction_mean_ml": bias.mean_a,
        "bias_ml": bias.mean,
        "bias_low_ml": bias.low,
        "bias_high_ml": bias.high,
        "agreement_low_ml": limits.lower,
        "agreement_high_ml": limits.upper,
        "reason": found.reason,
    }
