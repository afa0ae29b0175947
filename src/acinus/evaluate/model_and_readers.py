"""A model judged against readers: does it agree with them no worse than they with each other?

Enters: folders of two or more readers and of a model, and a margin that was chosen beforehand.
Leaves: a verdict for every structure, right and left apart and together, and for all of them, in
numbers and in words. Scoring the model against one reader alone was rejected: where readers agree
at a Dice of 0.7, a score of 0.7 says nothing until it stands beside theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from acinus.errors import ConfigError
from acinus.evaluate.clusters import people_words
from acinus.evaluate.readers import (
    MARGIN_MM,
    ReaderAgreement,
    agreement_metrics,
    reader_table,
)
from acinus.evaluate.readings import label_groups, measure_readings
from acinus.evaluate.tables.noninferiority import (
    BOTH_SIDES,
    EVERYTHING,
    difference_words,
    display_noninferiority,
    noninferiority_table,
    note_on_noninferiority,
)
from acinus.evaluate.tables.numbers import records
from acinus.evaluate.wording import decimals, metric_title, p_value
from acinus.files import whole_file
from acinus.measure import MEASURES

SYMMETRIC = ("dice", "iou", "assd_mm", "kappa_", "hausdorff_", "surface_dice_")
"""Begins of the measures that are the same whichever of two readings comes first."""


@dataclass(frozen=True, eq=False)
class ModelAgainstReaders:
    """A model beside readers.

    Attributes:
        model: Its name, that of the folder.
        measure: By which agreement is told.
        margin: By how much the model may fall short, in the unit of the measure.
        table: Columns of `NONINFERIORITY_COLUMNS`, a row per structure and side, one over all.
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
        return note_on_noninferiority(self.table)

    def display(self) -> pd.DataFrame:
        """The table for people."""
        return display_noninferiority(self.table)


def compare_model_with_readers(
    readers: Sequence[Path | str],
    model: Path | str,
    *,
    labels: Path | str,
    margin: float,
    measure: str = "dice",
    out: Path | str | None = None,
    participants: Path | str | None = None,
    group_by: str | None = None,
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
        group_by: Column of it whose values are one observation; None: each participant is.
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
        group_by=group_by,
        jobs=jobs,
        out=out,
    )
    *people, program = found.readers
    table = noninferiority_table(
        found.agreement,
        list(label_groups(found.labels)),
        readers=people,
        model=program,
        margin=margin,
        measure=measure,
    )
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
        f"{decimals(row['readers_mean'], 3)}; difference {difference_words(row)}, margin "
        f"{row['margin']:g}, one-sided p {p_value(row['p'])}, {people_words(row)}."
    )
