"""Observers: each reading against the first one, and a model against the readers.

Enters: scores of part ``readings`` (see `acinus.study.readings`) and of the model. Leaves: Table 3
of PanSegNet (Zhang et al. 2025, Medical Image Analysis 99:103382), and whether the model agrees
with the readers no worse than they do among themselves. Precision and recall take the first
reading as the reference; all other measures are the same either way.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import note_on_clusters
from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select, structures
from acinus.evaluate.tables.noninferiority import (
    NONINFERIORITY_COLUMNS,
    VOLUMES,
    Group,
    noninferiority_table,
)
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
from acinus.evaluate.wording import decimals, signed
from acinus.measure.statistics import ICC_FORMS, intraclass_correlation, limits_of_agreement
from acinus.measure.statistics.bootstrap import SEED

READINGS = "readings"
"""Part of the scores of readings against readings, and of a model against them."""

ICC_FORM = "ICC(2,1)"
"""Form of the intraclass correlation of volumes: the readers are a sample of those who might
read, and a constant difference between them counts as disagreement."""

VOLUME_FIGURES: dict[str, Kind] = {
    "icc_form": "str",
    "icc_n": "int64",
    "icc_n_clusters": "int64",
    "icc": "float64",
    "icc_low": "float64",
    "icc_high": "float64",
    "icc_interval": "str",
    "bias_ml": "float64",
    "bias_low_ml": "float64",
    "bias_high_ml": "float64",
    "limit_lower_ml": "float64",
    "limit_upper_ml": "float64",
}
"""Of the volumes of structures that all readers drew, see `volume_figures`."""

FIRST_READING = "first"
"""Name of the reading that is the reference of the study."""

_AGAINST = "model against "

READING_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "reading": "str",
    **SUMMARY_COLUMNS,
    **VOLUME_FIGURES,
}
"""bias: of volumes, this reading minus the first."""


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
            signed(first["bias_ml"]), first["limit_lower_ml"], first["limit_upper_ml"]
        )
        cells[f"{ICC_FORM}\n(95% interval)"] = on_lines(
            decimals(first["icc"]), first["icc_low"], first["icc_high"]
        )
        rows.append(cells)
    return shown_table(rows, ("Scan type", "Reading", "n"))


def note_on_readings(numbers: pd.DataFrame) -> str:
    """Which reading is first, and where kappa was computed."""
    return (
        f"{_NOTE_ON_READINGS} {gaps_words(numbers)} {note_on_volumes(numbers)} "
        f"{note_on_clusters(numbers)}"
    )


_NOTE_ON_READINGS = (
    "Each reading against the first one, which is the reference of the study. Precision and recall "
    "take the first reading as true. Kappa is computed within the box of both masks and 10 mm "
    "around it; over the whole image it would come near to Dice, and in a tighter box lie lower, "
    "so that a kappa without its region says little. Each cell: mean ± standard deviation, below "
    "it the median. Bias: this reading minus the first."
)


def noninferiority_to_readings(
    scores: pd.DataFrame,
    groups: Mapping[str, Sequence[Group]],
    *,
    margin: float,
    model: str = "final",
    seed: int = SEED,
) -> pd.DataFrame:
    """`noninferiority_table` of a study: the first reading and each further one are the readers.

    Args:
        scores: Score table.
        groups: Arm to the structures that are rows.
        margin: Loss of Dice that would not matter, > 0.
        model: Which model.
        seed: Of the bootstrap.

    Returns:
        Columns of `NONINFERIORITY_COLUMNS`, a block per arm and reading that the model is held
        against.
    """
    read = select(scores, part=READINGS)
    tables = [
        noninferiority_table(
            _as_agreement(scores, str(arm), str(reading), model),
            groups[str(arm)],
            readers=[FIRST_READING, str(reading)],
            model=model,
            margin=margin,
            arm=str(arm),
            seed=seed,
        )
        for (arm, reading), _ in read.groupby(["arm", "model"], sort=False)
        if model_against(str(reading)) in set(read.loc[read["arm"] == arm, "model"])
    ]
    return pd.concat(tables, ignore_index=True) if tables else table_of([], NONINFERIORITY_COLUMNS)


def _as_agreement(scores: pd.DataFrame, arm: str, reading: str, model: str) -> pd.DataFrame:
    """Pairs of the first reading, a further one and a model, from the scores of an arm."""
    mine = scores[scores["arm"] == arm]
    read = mine[mine["part"] == READINGS]
    own = mine[(mine["model"] == model) & mine["part"].isin(["holdout", "validation"])]
    pairs = [
        read[read["model"] == reading].assign(reader_a=FIRST_READING, reader_b=reading),
        own.assign(reader_a=FIRST_READING, reader_b=model),
        read[read["model"] == model_against(reading)].assign(reader_a=reading, reader_b=model),
    ]
    found = pd.concat(pairs, ignore_index=True)
    return found.assign(metric=found["metric"].replace(VOLUMES))


def volume_figures(volumes: pd.DataFrame, clusters: Sequence[Hashable]) -> dict[str, Any]:
    """Intraclass correlation, bias and limits of the volumes that all readers drew.

    A volume of 0 mL is no reading of a volume but a structure that was not found: two zeros would
    raise the correlation, and one would count its whole volume as a difference.

    Args:
        volumes: A row a structure, a column a reader, mL; NaN: not read.
        clusters: Of each row.

    Returns:
        Values of `VOLUME_FIGURES`; bias and limits of two readers only, first minus second.
    """
    is_drawn = (volumes > 0).all(axis=1).tolist()
    drawn = volumes[is_drawn]
    units = [one for one, kept in zip(clusters, is_drawn, strict=True) if kept]
    icc = intraclass_correlation(drawn.to_numpy().tolist(), ICC_FORM, units)
    row: dict[str, Any] = dict.fromkeys(VOLUME_FIGURES) | {
        "icc_form": ICC_FORM,
        "icc_n": icc.n,
        "icc_n_clusters": icc.n_clusters,
        "icc": icc.value,
        "icc_low": icc.low,
        "icc_high": icc.high,
        "icc_interval": icc.interval,
    }
    if volumes.shape[1] == 2:
        first, second = (drawn[name].tolist() for name in volumes)
        limits = limits_of_agreement(first, second, units)
        row |= {"bias_ml": limits.bias, "bias_low_ml": limits.bias_low}
        row |= {"bias_high_ml": limits.bias_high, "limit_lower_ml": limits.lower}
        row |= {"limit_upper_ml": limits.upper}
    return row


def note_on_volumes(numbers: pd.DataFrame) -> str:
    """Which form of correlation it is, how its interval is made, and what it is over."""
    ways = " or ".join(dict.fromkeys(numbers["icc_interval"]))
    return (
        f"Volumes, {ICC_FORM} ({ICC_FORMS[ICC_FORM]}) with its 95% interval ({ways}), and bias "
        "with limits of agreement: over structures that all of these readers drew."
    )


def _volumes(found: pd.DataFrame) -> dict[str, Any]:
    """`VOLUME_FIGURES` of one label: this reading, then the first."""
    wide = structures(found).reindex(columns=["cluster", *reversed(VOLUMES)])
    return volume_figures(wide[list(reversed(VOLUMES))], wide["cluster"].tolist())
