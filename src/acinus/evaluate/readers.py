"""Readers against readers: the same cases drawn by several people, or by one person twice.

Enters: two or more folders of label maps. Leaves: ``agreement.csv``, a row per pair of
readers, case, label and metric, and ``readers.csv``, a row per pair and structure, right and
left apart and together. Calling one reader the reference was rejected: every measure but
the volumes is the same whichever comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.cohort.labels_file import JudgedLabels
from acinus.evaluate.clusters import COUNTS, note_on_clusters, observed, with_clusters
from acinus.evaluate.readings import label_groups, measure_readings
from acinus.evaluate.score_table import NOT_ANNOTATED
from acinus.evaluate.tables.noninferiority import VOLUMES
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.readings import VOLUME_FIGURES, note_on_volumes, volume_figures
from acinus.evaluate.wording import NONE, decimals, interval, mean_and_sd, signed
from acinus.files import whole_file
from acinus.measure.statistics import summarise

MARGIN_MM = 10.0
"""Margin of the box in which kappa counts voxels of neither mask, mm; it is in the name."""

ALL_READERS = "all"
"""Stands for both readers in rows over all pairs of three or more."""

KEYS: dict[str, Kind] = {
    "reader_a": "str",
    "reader_b": "str",
    "structure": "str",
    "side": "str",
    "n_structures": "int64",
    **COUNTS,
    "n_drawn_by_both": "int64",
    "n_drawn_by_a_only": "int64",
    "n_drawn_by_b_only": "int64",
    "n_drawn_by_none": "int64",
    "n_failed": "int64",
}
"""First columns of ``readers.csv``. n_structures: one of each label in each case that could
be compared, the sum of the four numbers of who drew it."""

FIGURES = ("mean", "low", "high", "sd", "median", "n", "n_undefined")
"""Of a metric; low to high: 95% bootstrap interval of the mean, clusters resampled."""


@dataclass(frozen=True, eq=False)
class ReaderAgreement:
    """How readers agree.

    Attributes:
        agreement: Columns of `AGREEMENT_COLUMNS`.
        table: A row per pair of readers and structure; see ``readers.csv``.
        metrics: Measured for each pair, besides volumes.
        n_judged: Pairs of label maps that could be compared.
        failed: Case, with its readers, to the reason why it could not be compared.
        remarks: Sentences about what a reader of the table must know.
    """

    agreement: pd.DataFrame
    table: pd.DataFrame
    metrics: tuple[str, ...]
    n_judged: int
    failed: dict[str, str]
    remarks: tuple[str, ...]

    @property
    def note(self) -> str:
        """What the figures are over."""
        return (
            f"{'; '.join(self.pairs)}. Mean ± sd (median) over the defined values. n: structures; "
            "one: drawn by one reader only (Dice 0, no distance); none: drawn by nobody (all "
            "undefined); undefined: structures without HD95. Bias: first minus second reader. "
            f"{note_on_volumes(self.table)} {note_on_clusters(self.table)}"
        )

    @property
    def pairs(self) -> list[str]:
        """The pairs of readers, in words."""
        named = self.table[["reader_a", "reader_b"]].drop_duplicates()
        return [_pair_title(row) for row in records(named)]

    def display(self) -> pd.DataFrame:
        """The table for people, a row per pair of readers and structure."""
        shown = pd.DataFrame([_shown(row, self.metrics) for row in records(self.table)])
        return shown if len(self.pairs) > 1 else shown.drop(columns="readers")


def compare_readers(
    folders: Sequence[Path | str],
    *,
    labels: Path | str,
    out: Path | str | None = None,
    participants: Path | str | None = None,
    group_by: str | None = None,
    margin_mm: float = MARGIN_MM,
    jobs: int | None = 1,
) -> ReaderAgreement:
    """Agreement of every pair of readers, per case and label and as a table.

    Cases are paired by file name; those of one folder only are left out, and the remarks
    name them. A reader's name is that of the folder.

    Args:
        folders: Two or more folders of label maps, or DICOM SEG (.dcm).
        labels: JSON file with ``labels`` as in ``dataset.json``, see `read_labels`. Right and
            left are told by ``mirror_pairs``, or else by the names.
        out: Folder for ``agreement.csv`` and ``readers.csv``; None writes nothing.
        participants: A ``participants.tsv``, which tells the cases of one patient; None: each case
            is its own.
        group_by: Column of it whose values are one independent observation; None: each participant
            is.
        margin_mm: Of the box in which kappa is computed, mm, > 0.
        jobs: Processes, None: one for each core; with several a script needs the guard
            ``if __name__ == "__main__":``.

    Raises:
        ConfigError: There are not two different folders, or `jobs` or the margin cannot be.
        DataError: A folder or file is missing or says what cannot be, a case has two files or
            no participant, or two folders have no case in common.
    """
    metrics = agreement_metrics(margin_mm)
    found = measure_readings(
        folders,
        labels=labels,
        metrics=metrics,
        participants=participants,
        group_by=group_by,
        jobs=jobs,
        out=out,
    )
    table = reader_table(found.agreement, found.labels, found.readers, metrics)
    if out is not None:
        for name, one in (("agreement.csv", found.agreement), ("readers.csv", table)):
            with whole_file(Path(out) / name) as beside:
                one.to_csv(beside, index=False, lineterminator="\n")
    return ReaderAgreement(
        found.agreement, table, metrics, found.n_judged, found.failed, found.remarks
    )


def agreement_metrics(margin_mm: float) -> tuple[str, ...]:
    """What is measured of every pair of readers.

    Args:
        margin_mm: Of the box in which kappa is computed, mm.
    """
    return ("dice", f"kappa_{margin_mm:g}mm", "hausdorff_95_mm", "assd_mm")


def reader_table(
    agreement: pd.DataFrame, named: JudgedLabels, readers: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """The rows of ``readers.csv``.

    Args:
        agreement: Columns of `AGREEMENT_COLUMNS`.
        named: The structures.
        readers: Whose pairs are rows.
        metrics: That are summarised, besides volumes.
    """
    columns: dict[str, Kind] = dict(KEYS)
    for metric in (*metrics, *VOLUMES.values()):
        for figure in FIGURES:
            columns[f"{metric}_{figure}"] = "int64" if figure.startswith("n") else "float64"
    columns |= VOLUME_FIGURES
    rows = []
    agreement = with_clusters(agreement)
    known = agreement[agreement["reason"] != NOT_ANNOTATED]
    for structure, side, labels in label_groups(named):
        mine = known[known["label"].isin(labels)]
        for first, second in combinations(readers, 2):
            chosen = mine[(mine["reader_a"] == first) & (mine["reader_b"] == second)]
            keys = {"reader_a": first, "reader_b": second, "structure": structure, "side": side}
            rows.append(keys | _row(chosen, [first, second], metrics))
        if len(readers) > 2:
            keys = {"reader_a": ALL_READERS, "reader_b": ALL_READERS}
            keys |= {"structure": structure, "side": side}
            rows.append(keys | _row(mine, list(readers), metrics))
    return table_of(rows, columns)


def _row(chosen: pd.DataFrame, readers: list[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Counts and figures of the structures of a pair of readers, or of all pairs."""
    judged = chosen[chosen["status"] != "failed"]
    names = ["reader_a", "reader_b", "case", "participant", "cluster", "label"]
    wide = judged.pivot(index=names, columns="metric", values="value")
    wide = wide.reindex(columns=[*metrics, *VOLUMES.values()]).astype("float64")
    by_a, by_b = (wide[volume] > 0 for volume in VOLUMES.values())
    compared = wide.copy()
    compared.loc[~(by_a & by_b), list(VOLUMES.values())] = np.nan
    failed = chosen.loc[chosen["status"] == "failed", names].drop_duplicates()
    row: dict[str, Any] = {
        "n_structures": len(wide),
        **observed(judged),
        "n_drawn_by_both": int((by_a & by_b).sum()),
        "n_drawn_by_a_only": int((by_a & ~by_b).sum()),
        "n_drawn_by_b_only": int((by_b & ~by_a).sum()),
        "n_drawn_by_none": int((~by_a & ~by_b).sum()),
        "n_failed": len(failed),
    }
    clusters = wide.index.get_level_values("cluster").tolist()
    for metric in (*metrics, *VOLUMES.values()):
        found = summarise(compared[metric].tolist(), cluster=clusters)
        row |= {f"{metric}_{figure}": getattr(found, figure) for figure in FIGURES}
    volumes = _volumes_by_reader(wide, readers)
    return row | volume_figures(volumes, volumes.index.get_level_values("cluster").tolist())


def _volumes_by_reader(wide: pd.DataFrame, readers: list[str]) -> pd.DataFrame:
    """Volume, mL, of each case and label (rows) by each reader (columns); NaN: not read."""
    keys = ["case", "label", "cluster"]
    parts = [
        pd.DataFrame(
            {
                **{key: wide.index.get_level_values(key) for key in keys},
                "reader": wide.index.get_level_values(reader),
                "volume": wide[volume].to_numpy(),
            }
        )
        for reader, volume in zip(("reader_a", "reader_b"), VOLUMES.values(), strict=True)
    ]
    every = pd.concat(parts).drop_duplicates([*keys, "reader"])
    by_reader = every.pivot(index=keys, columns="reader", values="volume")
    return by_reader.reindex(columns=readers).astype("float64")


def _pair_title(row: Mapping[str, Any]) -> str:
    if row["reader_a"] == ALL_READERS:
        return "all pairs"
    return f"{row['reader_a']} and {row['reader_b']}"


def _shown(row: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, str]:
    titles = {"dice": "Dice", "hausdorff_95_mm": "HD95, mm", "assd_mm": "ASSD, mm"}
    one_only = row["n_drawn_by_a_only"] + row["n_drawn_by_b_only"]
    shown = {
        "readers": _pair_title(row),
        "structure": row["structure"],
        "side": row["side"] or NONE,
        "n": str(row["n_structures"]),
        "one": str(one_only),
        "none": str(row["n_drawn_by_none"]),
        "failed": str(row["n_failed"]),
    }
    for metric in metrics:
        cell = mean_and_sd(row[f"{metric}_mean"], row[f"{metric}_sd"])
        title = titles.get(metric, metric.replace("_", " "))
        shown[title] = f"{cell} ({decimals(row[f'{metric}_median'])})"
        if metric == "hausdorff_95_mm":
            shown["undefined"] = str(row[f"{metric}_n_undefined"])
    volumes = [mean_and_sd(row[f"{name}_mean"], row[f"{name}_sd"]) for name in VOLUMES.values()]
    shown["volumes, mL"] = " / ".join(volumes)
    shown[row["icc_form"]] = f"{decimals(row['icc'])} ({interval(row['icc_low'], row['icc_high'])})"
    bias, low, high = (row[name] for name in ("bias_ml", "limit_lower_ml", "limit_upper_ml"))
    shown["bias (limits), mL"] = (
        NONE if np.isnan(bias) else f"{signed(bias)} ({signed(low)} to {signed(high)})"
    )
    return shown
