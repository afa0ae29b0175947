"""Observers: each reading against the first one, and a model against the readers.

Enters: scores of part ``readings`` (see `acinus.study.readings`) and of the model. Leaves: Table 3
of PanSegNet (Zhang et al. 2025, Medical Image Analysis 99:103382), and whether the model agrees
with the readers no worse than they do among themselves. Precision and recall take the first
reading as the reference; all other measures are the same either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select, structures
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import (
    SUMMARY_COLUMNS,
    gaps_words,
    group_rows,
    on_lines,
    shown_groups,
    shown_metrics,
    shown_table,
)
from acinus.evaluate.wording import decimals, interval, label_title, p_value, signed
from acinus.measure.statistics import (
    intraclass_correlation,
    limits_of_agreement,
    noninferiority_to_readers,
)
from acinus.measure.statistics.bootstrap import SEED

READINGS = "readings"
"""Part of the scores of readings against readings, and of a model against them."""

ICC_FORM = "ICC(2,1)"
"""Form of the intraclass correlation of volumes: the readers are a sample of those who might
read, and a constant difference between them counts as disagreement."""

_AGAINST = "model against "

READING_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "reading": "str",
    **SUMMARY_COLUMNS,
    "bias_ml": "float64",
    "limit_lower_ml": "float64",
    "limit_upper_ml": "float64",
    "icc": "float64",
    "icc_low": "float64",
    "icc_high": "float64",
}
"""bias: of volumes, this reading minus the first; icc: of volumes, form `ICC_FORM`."""

NONINFERIORITY_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "reading": "str",
    "label": "str",
    "n": "int64",
    "n_undefined": "int64",
    "readers_mean": "float64",
    "model_mean": "float64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "margin": "float64",
    "p": "float64",
    "verdict": "str",
    "reason": "str",
}
"""difference: model minus readers, mean Dice; p: one-sided, of "short by the margin or more"."""


def model_against(reading: str) -> str:
    """What the scores of a model against a reading have as their model."""
    return f"{_AGAINST}{reading}"


def reading_table(scores: pd.DataFrame, *, seed: int = SEED) -> pd.DataFrame:
    """Each reading against the first one.

    Args:
        scores: Score table.
        seed: Of the bootstrap.

    Returns:
        Columns of `READING_COLUMNS`, a row per arm, reading, label and metric.
    """
    chosen = annotated_scores(select(scores, part=READINGS))
    chosen = chosen[~chosen["model"].str.startswith(_AGAINST)]
    metrics = shown_metrics(chosen)
    rows: list[dict[str, Any]] = []
    for (arm, reading), found in chosen.groupby(["arm", "model"], sort=False):
        volumes = {label: _volumes(found[found["label"] == label]) for label in set(found["label"])}
        rows += [
            {"arm": arm, "reading": reading, **row, **volumes[row["label"]]}
            for row in group_rows(found, metrics, seed=seed)
        ]
    return table_of(rows, READING_COLUMNS)


def display_readings(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Table 3 in the paper's layout, with kappa and the volumes."""
    rows = []
    for first, cells in shown_groups(numbers, {"arm": "Scan type", "reading": "Reading"}, names):
        cells["Volume bias\n(limits), mL"] = on_lines(
            signed(first["bias_ml"], 1), first["limit_lower_ml"], first["limit_upper_ml"], 1
        )
        cells[f"{ICC_FORM}\n(95% interval)"] = on_lines(
            decimals(first["icc"]), first["icc_low"], first["icc_high"]
        )
        rows.append(cells)
    return shown_table(rows, ("Scan type", "Reading", "n"))


def note_on_readings(numbers: pd.DataFrame) -> str:
    """Which reading is first, and where kappa was computed."""
    return f"{_NOTE_ON_READINGS} {gaps_words(numbers)}"


_NOTE_ON_READINGS = (
    "Each reading against the first one, which is the reference of the study. Precision and recall "
    "take the first reading as true. Kappa is computed within the box of both masks and 10 mm "
    "around it; over the whole image it would come near to Dice, and in a tighter box lie lower, "
    "so that a kappa without its region says little. Each cell: mean ± standard deviation, below "
    "it the median. Bias: this reading minus the first; ICC: of volumes."
)


def noninferiority_table(
    scores: pd.DataFrame, *, margin: float, model: str = "final", seed: int = SEED
) -> pd.DataFrame:
    """Whether a model agrees with two readings no worse than they do with each other, by Dice.

    Args:
        scores: Score table.
        margin: Loss of Dice that would not matter, > 0.
        model: Which model.
        seed: Of the bootstrap.

    Returns:
        Columns of `NONINFERIORITY_COLUMNS`. In each case the model's value is the mean of its
        Dice with both readings.
    """
    dice = annotated_scores(scores[scores["metric"] == "dice"])
    own = dice[(dice["model"] == model) & dice["part"].isin(["holdout", "validation"])]
    read = select(dice, part=READINGS)
    keys = ["case", "participant", "label"]
    rows = []
    for (arm, reading), readers in read.groupby(["arm", "model"], sort=False):
        if str(reading).startswith(_AGAINST):
            continue
        with_first = own[own["arm"] == arm]
        with_other = read[(read["arm"] == arm) & (read["model"] == model_against(str(reading)))]
        both = readers[[*keys, "value"]].merge(with_first[[*keys, "value"]], on=keys)
        both = both.merge(with_other[[*keys, "value"]], on=keys)
        both.columns = pd.Index([*keys, "readers", "first", "other"])
        for label, found in both.groupby("label", sort=False):
            result = noninferiority_to_readers(
                ((found["first"] + found["other"]) / 2).tolist(),
                found["readers"].tolist(),
                found["participant"].tolist(),
                margin=margin,
                seed=seed,
            )
            known = {"arm": arm, "reading": reading, "label": label, "difference": result.mean}
            others = [name for name in NONINFERIORITY_COLUMNS if name not in known]
            rows.append(known | {name: getattr(result, name) for name in others})
    return table_of(rows, NONINFERIORITY_COLUMNS)


def display_noninferiority(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Model against readers, in words."""
    several = numbers["label"].nunique() > 1
    return shown_table(
        [
            {
                "Scan type": row["arm"],
                "Reading": row["reading"],
                **({"Organ": label_title(row["label"], names)} if several else {}),
                "n": str(row["n"]),
                "Dice of the readers": decimals(row["readers_mean"]),
                "Dice of model and readers": decimals(row["model_mean"]),
                "Difference\n(95% interval)": f"{signed(row['difference'])}\n"
                f"({interval(row['low'], row['high'])})",
                "Margin": decimals(row["margin"]),
                "p, one-sided": p_value(row["p"]),
                "Model is": row["verdict"] + (f" ({row['reason']})" if row["reason"] else ""),
            }
            for row in records(numbers)
        ],
        ("Scan type", "Reading", "n"),
    )


NOTE_ON_NONINFERIORITY = (
    "Cases that have this reading and that the model had not learned from. Dice of the readers: "
    "between the first and this reading; of model and readers: the mean of the model's Dice with "
    "either. Not inferior: the 95% intervals by t and by bootstrap both lie above minus the margin "
    "that was stated beforehand; inferior: both lie below; otherwise undecided."
)


def _volumes(found: pd.DataFrame) -> dict[str, Any]:
    """Bias, limits and intraclass correlation of the volumes of one label."""
    wide = structures(found)
    second = wide["prediction_volume_ml"].tolist()
    first = wide["reference_volume_ml"].tolist()
    limits = limits_of_agreement(second, first)
    pairs = [list(pair) for pair in zip(first, second, strict=True)]
    icc = intraclass_correlation(pairs, ICC_FORM)
    return {
        "bias_ml": limits.bias,
        "limit_lower_ml": limits.lower,
        "limit_upper_ml": limits.upper,
        "icc": icc.value,
        "icc_low": icc.low,
        "icc_high": icc.high,
    }
