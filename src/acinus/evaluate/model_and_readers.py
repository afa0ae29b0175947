"""A model judged against readers: does it agree with them no worse than they with each other?

Enters: folders of two or more readers and of a model, and a margin that was chosen beforehand.
Leaves: a verdict for every structure, right and left apart and together, and for all of them, in
numbers and in words. Scoring the model against one reader alone was rejected: where readers agree
at a Dice of 0.7, a score of 0.7 says nothing until it stands beside theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from acinus.cohort.labels_file import JudgedLabels
from acinus.errors import ConfigError
from acinus.evaluate.readers import (
    MARGIN_MM,
    ReaderAgreement,
    agreement_metrics,
    reader_table,
)
from acinus.evaluate.readings import (
    BOTH_SIDES,
    VOLUMES,
    Readings,
    label_groups,
    measure_readings,
)
from acinus.evaluate.score_table import NOT_ANNOTATED
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import NONE, decimals, interval, metric_title, p_value, signed
from acinus.files import whole_file
from acinus.measure import MEASURES
from acinus.measure.statistics import NonInferiority, noninferiority_to_readers

EVERYTHING = "all"
"""Structure of the row over all structures."""

SYMMETRIC = ("dice", "iou", "assd_mm", "kappa_", "hausdorff_", "surface_dice_")
"""Begins of the measures that are the same whichever of two readings comes first."""

COLUMNS: dict[str, Kind] = {
    "structure": "str",
    "side": "str",
    "measure": "str",
    "margin": "float64",
    "verdict": "str",
    "n_structures": "int64",
    "n_undefined": "int64",
    "n_participants": "int64",
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
"""Columns of ``model.csv``. difference: model minus readers, above 0 where the model agrees
better; low and high: its 95% interval; p: one-sided, of a model that falls short by the margin."""


@dataclass(frozen=True, eq=False)
class ModelAgainstReaders:
    """A model beside readers.

    Attributes:
        model: Its name, that of the folder.
        measure: By which agreement is told.
        margin: By how much the model may fall short, in the unit of the measure.
        table: Columns of `COLUMNS`, a row per structure and side and one over all.
        readers: How the readers agree with each other; its ``agreement`` has the model's pairs
            as well.
    """

    model: str
    measure: str
    margin: float
    table: pd.DataFrame
    readers: ReaderAgreement

    @property
    def sentences(self) -> list[str]:
        """The verdict of every row in words."""
        return [_sentence(row, self.measure) for row in records(self.table)]

    @property
    def note(self) -> str:
        """How the verdicts are made."""
        return (
            f"{self.model} against the readers by {metric_title(self.measure)}. A structure of a "
            "case has the mean over the model's pairs with the readers and the mean over the "
            "readers' pairs; patients are the observations. Not inferior: the 95% intervals of "
            f"the difference by t and by bootstrap lie above −{self.margin:g}; inferior: both lie "
            "below. p is one-sided. Every row is a test of its own, uncorrected. Left out and "
            "counted: structures without a value in one of the pairs, among them, by a distance, "
            "all that the model missed, and always those that nobody but the model drew."
        )

    def display(self) -> pd.DataFrame:
        """The table for people."""
        rows = [
            {
                "structure": row["structure"],
                "side": row["side"] or NONE,
                "n": f"{row['n_structures']} in {row['n_participants']}",
                "undefined": str(row["n_undefined"]),
                "missed": str(row["n_missed_by_model"]),
                "only model": str(row["n_drawn_by_model_only"]),
                "model": decimals(row["model_mean"], 3),
                "readers": decimals(row["readers_mean"], 3),
                "difference (95%)": _difference(row),
                "p": p_value(row["p"]),
                "verdict": row["verdict"],
            }
            for row in records(self.table)
        ]
        return pd.DataFrame(rows)


def compare_model_with_readers(
    readers: Sequence[Path | str],
    model: Path | str,
    *,
    labels: Path | str,
    margin: float,
    measure: str = "dice",
    out: Path | str | None = None,
    participants: Path | str | None = None,
    margin_mm: float = MARGIN_MM,
    jobs: int | None = 1,
) -> ModelAgainstReaders:
    """Whether a model agrees with readers no worse than they agree with each other.

    Args:
        readers: Two or more folders of label maps.
        model: Folder of the model's label maps of the same cases.
        labels: JSON file with ``labels`` as in ``dataset.json``.
        margin: By how much the model may fall short, in the unit of the measure, > 0; chosen
            before the data are seen.
        measure: By which agreement is told: one that is the same whichever comes first.
        out: Folder for ``agreement.csv`` (all pairs), ``readers.csv`` (readers only) and
            ``model.csv``; None writes nothing.
        participants: A ``participants.tsv``; None: each case is its own participant.
        margin_mm: Of the box in which kappa is computed, mm.
        jobs: Processes, None: one for each core.

    Raises:
        ConfigError: There are not two readers besides the model, the margin is not positive, or
            the measure is unknown or depends on the order.
        DataError: As of `compare_readers`.

    Source: Nikolov et al. 2021, J Med Internet Res 23(7):e26151 (model beside human agreement);
    Piaggio et al. 2012, JAMA 308(24):2594-2604 (the interval against the margin).
    """
    _check(readers, margin, measure)
    metrics = agreement_metrics(margin_mm)
    found = measure_readings(
        [*readers, model],
        labels=labels,
        metrics=tuple(dict.fromkeys((*metrics, measure))),
        participants=participants,
        jobs=jobs,
        out=out,
    )
    *people, program = found.readers
    table = table_of(_rows(found, people, program, measure, margin), COLUMNS)
    between = found.agreement[found.agreement["reader_b"] != program]
    among = reader_table(between, found.labels, people, metrics)
    if out is not None:
        files = {"agreement.csv": found.agreement, "readers.csv": among, "model.csv": table}
        for name, one in files.items():
            with whole_file(Path(out) / name) as beside:
                one.to_csv(beside, index=False, lineterminator="\n")
    agreement = ReaderAgreement(
        found.agreement, among, metrics, found.n_judged, found.failed, found.remarks
    )
    return ModelAgainstReaders(program, measure, margin, table, agreement)


def _check(readers: Sequence[Path | str], margin: float, measure: str) -> None:
    if len(readers) < 2:
        raise ConfigError(
            "a model is judged against two or more readers; got "
            f"{', '.join(map(str, readers)) or 'none'}."
        )
    if not (math.isfinite(margin) and margin > 0):
        raise ConfigError(
            f"margin must be a finite number above 0; got {margin:g}. Give the loss of agreement "
            "that would not matter, in the unit of the measure."
        )
    MEASURES[measure]  # an unknown one is told with the nearest known
    if not measure.startswith(SYMMETRIC):
        raise ConfigError(
            f"agreement must be told by a measure that is the same whichever reading comes first "
            f"({', '.join(SYMMETRIC)}…); got '{measure}'."
        )


def _rows(
    found: Readings, people: Sequence[str], program: str, measure: str, margin: float
) -> Iterator[dict[str, Any]]:
    values = _by_structure(found, people, program, measure)
    groups = list(label_groups(found.labels))
    for structure, side, labels in groups:
        chosen = values[values["label"].isin(labels)]
        yield _row(chosen, structure, side, measure, margin)
    if len({structure for structure, _, _ in groups}) > 1:
        side = BOTH_SIDES if _has_sides(found.labels) else ""
        yield _row(values, EVERYTHING, side, measure, margin)


def _has_sides(named: JudgedLabels) -> bool:
    return any(side for _, side, _ in label_groups(named))


def _by_structure(
    found: Readings, people: Sequence[str], program: str, measure: str
) -> pd.DataFrame:
    """A row per case and label that all pairs were compared in: both agreements, who drew it."""
    rows = found.agreement
    known = rows[(rows["reason"] != NOT_ANNOTATED) & (rows["status"] != "failed")]
    of_model = known["reader_b"] == program
    keys = ["case", "participant", "label"]
    n_readers = len(people)
    means = {}
    for name, part, n_pairs in (
        ("model", known[of_model], n_readers),
        ("readers", known[~of_model], n_readers * (n_readers - 1) // 2),
    ):
        of_measure = part[part["metric"] == measure].groupby(keys)["value"]
        complete = of_measure.size() == n_pairs
        mean = of_measure.agg(lambda one: one.mean(skipna=False))
        means[name] = mean[complete]
    table = pd.DataFrame(means).dropna(how="all")
    both = means["model"].index.intersection(means["readers"].index)
    volume_a, volume_b = VOLUMES.values()
    drawn = known[of_model & (known["metric"] == volume_a)].groupby(keys)["value"].min()
    any_drawn = known[of_model & (known["metric"] == volume_a)].groupby(keys)["value"].max()
    by_model = known[of_model & (known["metric"] == volume_b)].groupby(keys)["value"].max()
    table = table.reindex(both)
    table["is_missed"] = (drawn.reindex(both) > 0) & (by_model.reindex(both) == 0)
    table["is_only_models"] = (any_drawn.reindex(both) == 0) & (by_model.reindex(both) > 0)
    return table.reset_index()


def _row(
    chosen: pd.DataFrame, structure: str, side: str, measure: str, margin: float
) -> dict[str, Any]:
    found = noninferiority_to_readers(
        chosen["model"].tolist(),
        chosen["readers"].tolist(),
        chosen["participant"].tolist(),
        margin=margin,
        higher_is_better=MEASURES[measure].factory.better == "higher",
    )
    return {
        "structure": structure,
        "side": side,
        "measure": measure,
        "margin": margin,
        "verdict": found.verdict,
        "n_structures": found.n,
        "n_undefined": found.n_undefined,
        "n_participants": found.n_clusters,
        "n_missed_by_model": int(chosen["is_missed"].sum()),
        "n_drawn_by_model_only": int(chosen["is_only_models"].sum()),
        **_figures(found),
        "reason": found.reason,
    }


def _figures(found: NonInferiority) -> dict[str, float | None]:
    return {
        "model_mean": found.model_mean,
        "readers_mean": found.readers_mean,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "bootstrap_low": found.bootstrap_low,
        "bootstrap_high": found.bootstrap_high,
        "p": found.p,
        "bootstrap_p": found.bootstrap_p,
    }


def _difference(row: dict[str, Any]) -> str:
    if math.isnan(row["difference"]):
        return NONE
    return f"{signed(row['difference'], 3)} ({interval(row['low'], row['high'], 3)})"


def _sentence(row: dict[str, Any], measure: str) -> str:
    """``Parotid, both sides: not inferior. …``."""
    where = "All structures" if row["structure"] == EVERYTHING else row["structure"]
    if row["side"]:
        where += f", {row['side']}" + (" sides" if row["side"] == BOTH_SIDES else "")
    if math.isnan(row["difference"]) or math.isnan(row["p"]):
        return f"{where}: {row['verdict']}; {row['reason'] or 'too little to tell'}."
    return (
        f"{where}: {row['verdict']}. The model agrees with the readers at a "
        f"{metric_title(measure)} of {decimals(row['model_mean'], 3)}, they with each other at "
        f"{decimals(row['readers_mean'], 3)}; difference {_difference(row)}, margin "
        f"{row['margin']:g}, one-sided p {p_value(row['p'])}, {row['n_participants']} patients."
    )
