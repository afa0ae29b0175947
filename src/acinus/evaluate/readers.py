"""Readers against readers: the same cases drawn by several people, or by one person twice.

Enters: two or more folders of label maps. Leaves: ``agreement.csv``, a row per pair of
readers, case, label and metric, and ``readers.csv``, a row per pair and structure, right and
left apart and together. Calling one reader the reference was rejected: every measure but
the volumes is the same whichever comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.cohort.labels_file import JudgedLabels, read_labels
from acinus.errors import ConfigError, DataError
from acinus.evaluate.folders import (
    KILLED,
    checked_measures,
    failures,
    judged_pairs,
    listed,
    make_folder,
    participants_of,
    unknown_values,
)
from acinus.evaluate.pairs import label_maps
from acinus.evaluate.score_table import NOT_ANNOTATED
from acinus.evaluate.scoring import Pair, judge_pair, lost_pair
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import NONE, decimals, interval, mean_and_sd, signed
from acinus.files import whole_file
from acinus.measure.statistics import (
    ICC_FORMS,
    intraclass_correlation,
    limits_of_agreement,
    summarise,
)

MARGIN_MM = 10.0
"""Margin of the box in which kappa counts voxels of neither mask, mm; it is in the name."""

ICC_FORM = "ICC(2,1)"
"""Form of the intraclass correlation of volumes: the readers are a sample of those who might
read, and a constant difference between them counts as disagreement."""

BOTH_SIDES = "both"
"""Side of rows over right and left together."""

ALL_READERS = "all"
"""Stands for both readers in rows over all pairs of three or more."""

VOLUMES = {"reference_volume_ml": "volume_a_ml", "prediction_volume_ml": "volume_b_ml"}
"""What the volumes of the first and the second reader are called here."""

AGREEMENT_COLUMNS = (
    "case",
    "participant",
    "reader_a",
    "reader_b",
    "label",
    "metric",
    "value",
    "unit",
    "status",
    "reason",
)
"""Columns of ``agreement.csv``."""

KEYS: dict[str, Kind] = {
    "reader_a": "str",
    "reader_b": "str",
    "structure": "str",
    "side": "str",
    "n_structures": "int64",
    "n_participants": "int64",
    "n_drawn_by_both": "int64",
    "n_drawn_by_a_only": "int64",
    "n_drawn_by_b_only": "int64",
    "n_drawn_by_none": "int64",
    "n_failed": "int64",
}
"""First columns of ``readers.csv``. n_structures: one of each label in each case that could
be compared, the sum of the four numbers of who drew it."""

FIGURES = ("mean", "sd", "median", "n", "n_undefined")

VOLUME_FIGURES = (
    "icc",
    "icc_low",
    "icc_high",
    "bias_ml",
    "bias_low_ml",
    "bias_high_ml",
    "limit_lower_ml",
    "limit_upper_ml",
)
"""Of the volumes of structures that all readers drew; bias is the first minus the second."""


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
            "undefined); undefined: structures without HD95. Volumes, "
            f"{ICC_FORM} ({ICC_FORMS[ICC_FORM]}) with its 95% interval, and bias (first minus "
            "second reader) with limits of agreement: over structures that all of these readers "
            "drew. Intervals take structures as independent; with right and left of one patient "
            "together they are too narrow."
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
        participants: A ``participants.tsv``, to count patients; None: each case is its own.
        margin_mm: Of the box in which kappa is computed, mm, > 0.
        jobs: Processes, None: one for each core; with several a script needs the guard
            ``if __name__ == "__main__":``.

    Raises:
        ConfigError: There are not two different folders, or `jobs` or the margin cannot be.
        DataError: A folder or file is missing or says what cannot be, a case has two files or
            no participant, or two folders have no case in common.
    """
    metrics = ("dice", f"kappa_{margin_mm:g}mm", "hausdorff_95_mm", "assd_mm")
    measures = checked_measures(metrics, jobs)
    named = read_labels(labels)
    if named.ignore_label is not None:
        raise ConfigError(
            f"{labels}: readers are compared voxel by voxel, none ignored; got 'ignore' "
            f"{named.ignore_label}. Take it out of 'labels'."
        )
    readers = _reader_names([Path(folder) for folder in folders])
    maps = {reader: label_maps(folder) for reader, folder in readers.items()}
    owners = _owners(maps, participants)
    paired = {
        (first, second): _paired(readers, maps, owners, first, second)
        for first, second in combinations(readers, 2)
    }
    make_folder(out)
    rows: list[dict[str, Any]] = []
    remarks = _one_reader_only(readers, maps)
    failed: dict[str, str] = {}
    n_pairs = 0
    for (first, second), pairs in paired.items():
        judge = partial(
            judge_pair,
            labels=named.labels,
            measures=measures,
            regions=named.regions,
            annotated=named.annotated,
        )
        lost = partial(lost_pair, measures=dict.fromkeys(named.labels, measures), reason=KILLED)
        judged = judged_pairs(f"{first} and {second}", judge, pairs, jobs, lost)
        marks = {"reader_a": first, "reader_b": second}
        rows += [row | marks for one in judged for row in one.rows]
        n_pairs += len(pairs)
        failed |= {
            f"{case} ({first}, {second})": reason
            for case, reason in failures(pairs, judged).items()
        }
        folder_of = {readers[first]: "label", readers[second]: "label"}
        remarks += [one for one in unknown_values(folder_of, pairs, judged) if one not in remarks]
    agreement = pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))
    agreement["metric"] = agreement["metric"].replace(VOLUMES)
    table = _reader_table(agreement, named, list(readers), metrics)
    if out is not None:
        for name, one in (("agreement.csv", agreement), ("readers.csv", table)):
            with whole_file(Path(out) / name) as beside:
                one.to_csv(beside, index=False, lineterminator="\n")
    return ReaderAgreement(agreement, table, metrics, n_pairs - len(failed), failed, tuple(remarks))


def _reader_names(folders: Sequence[Path]) -> dict[str, Path]:
    """Name of each reader to the folder: its last part, with its parent's where two are equal."""
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < max(len(places), 2):
        raise ConfigError(
            "readers must be two or more different folders; got "
            f"{', '.join(str(folder) for folder in folders) or 'none'}."
        )
    for n_parts in range(1, max(len(place.parts) for place in places)):
        names = ["/".join(place.parts[-n_parts:]) for place in places]
        if len(set(names)) == len(names):
            break
    else:
        names = [str(place) for place in places]
    return dict(zip(names, folders, strict=True))


def _owners(maps: Mapping[str, Mapping[str, Path]], table: Path | str | None) -> dict[str, str]:
    cases = sorted({case for of_reader in maps.values() for case in of_reader})
    found = participants_of(cases, table)
    if found is None:
        return {case: case for case in cases}
    unknown = [case for case in cases if case not in found]
    if unknown:
        raise DataError(
            f"{table}: every case must have a participant; case '{unknown[0]}' has none "
            f"({len(unknown)} in all)."
        )
    return found


def _paired(
    readers: Mapping[str, Path],
    maps: Mapping[str, Mapping[str, Path]],
    owners: Mapping[str, str],
    first: str,
    second: str,
) -> list[Pair]:
    ours, theirs = maps[first], maps[second]
    common = [case for case in ours if case in theirs]
    if not common:
        raise DataError(
            f"{readers[first]} and {readers[second]} must have cases of the same name; they "
            f"are {listed(ours)}, and {listed(theirs)}. Rename one of them."
        )
    return [Pair(case, owners[case], ours[case], theirs[case]) for case in common]


def _one_reader_only(
    readers: Mapping[str, Path], maps: Mapping[str, Mapping[str, Path]]
) -> list[str]:
    """A sentence for each folder that lacks cases of the others."""
    every = sorted({case for of_reader in maps.values() for case in of_reader})
    sentences = []
    for reader, folder in readers.items():
        missing = [case for case in every if case not in maps[reader]]
        if missing:
            sentences.append(
                f"{folder}: {len(missing)} of {len(every)} cases of the other readers are not "
                f"here and not compared: {listed(missing)}."
            )
    return sentences


def _reader_table(
    agreement: pd.DataFrame, named: JudgedLabels, readers: list[str], metrics: Sequence[str]
) -> pd.DataFrame:
    columns: dict[str, Kind] = dict(KEYS)
    for metric in (*metrics, *VOLUMES.values()):
        for figure in FIGURES:
            columns[f"{metric}_{figure}"] = "int64" if figure.startswith("n") else "float64"
    columns |= {"icc_form": "str", "icc_n": "int64"}
    for figure in VOLUME_FIGURES:
        columns[figure] = "float64"
    rows = []
    known = agreement[agreement["reason"] != NOT_ANNOTATED]
    for structure, side, labels in _groups(named):
        mine = known[known["label"].isin(labels)]
        for first, second in combinations(readers, 2):
            chosen = mine[(mine["reader_a"] == first) & (mine["reader_b"] == second)]
            keys = {"reader_a": first, "reader_b": second, "structure": structure, "side": side}
            rows.append(keys | _row(chosen, [first, second], metrics))
        if len(readers) > 2:
            keys = {"reader_a": ALL_READERS, "reader_b": ALL_READERS}
            keys |= {"structure": structure, "side": side}
            rows.append(keys | _row(mine, readers, metrics))
    return table_of(rows, columns)


def _groups(named: JudgedLabels) -> Iterator[tuple[str, str, list[str]]]:
    """Structure, side and labels of each row: right, left, both of a pair; else the label."""
    pairs = named.pairs()
    done = set()
    for label in named.values:
        mine = [(name, pair) for name, pair in pairs.items() if label in pair]
        if not mine:
            yield label, named.side_of(label) or "", [label]
            continue
        name, (right, left) = mine[0]
        if name not in done:
            done.add(name)
            yield name, "right", [right]
            yield name, "left", [left]
            yield name, BOTH_SIDES, [right, left]


def _row(chosen: pd.DataFrame, readers: list[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Counts and figures of the structures of a pair of readers, or of all pairs."""
    judged = chosen[chosen["status"] != "failed"]
    names = ["reader_a", "reader_b", "case", "label"]
    wide = judged.pivot(index=names, columns="metric", values="value")
    wide = wide.reindex(columns=[*metrics, *VOLUMES.values()]).astype("float64")
    by_a, by_b = (wide[volume] > 0 for volume in VOLUMES.values())
    compared = wide.copy()
    compared.loc[~(by_a & by_b), list(VOLUMES.values())] = np.nan
    failed = chosen.loc[chosen["status"] == "failed", names].drop_duplicates()
    row: dict[str, Any] = {
        "n_structures": len(wide),
        "n_participants": judged["participant"].nunique(),
        "n_drawn_by_both": int((by_a & by_b).sum()),
        "n_drawn_by_a_only": int((by_a & ~by_b).sum()),
        "n_drawn_by_b_only": int((by_b & ~by_a).sum()),
        "n_drawn_by_none": int((~by_a & ~by_b).sum()),
        "n_failed": len(failed),
    }
    for metric in (*metrics, *VOLUMES.values()):
        found = summarise(compared[metric].tolist())
        row |= {f"{metric}_{figure}": getattr(found, figure) for figure in FIGURES}
    return row | _volume_row(wide, readers)


def _volume_row(wide: pd.DataFrame, readers: list[str]) -> dict[str, Any]:
    """Intraclass correlation, bias and limits of the volumes that all readers drew."""
    volumes = _volumes_by_reader(wide, readers)
    drawn = volumes[(volumes > 0).all(axis=1)]
    found = intraclass_correlation(drawn.to_numpy().tolist(), ICC_FORM)
    row: dict[str, Any] = dict.fromkeys(VOLUME_FIGURES)
    row |= {"icc_form": ICC_FORM, "icc_n": found.n, "icc": found.value}
    row |= {"icc_low": found.low, "icc_high": found.high}
    if len(readers) == 2:
        limits = limits_of_agreement(*(drawn[reader].tolist() for reader in readers))
        row |= {"bias_ml": limits.bias, "bias_low_ml": limits.bias_low}
        row |= {"bias_high_ml": limits.bias_high, "limit_lower_ml": limits.lower}
        row |= {"limit_upper_ml": limits.upper}
    return row


def _volumes_by_reader(wide: pd.DataFrame, readers: list[str]) -> pd.DataFrame:
    """Volume, mL, of each case and label (rows) by each reader (columns); NaN: not read."""
    parts = [
        pd.DataFrame(
            {
                "case": wide.index.get_level_values("case"),
                "label": wide.index.get_level_values("label"),
                "reader": wide.index.get_level_values(reader),
                "volume": wide[volume].to_numpy(),
            }
        )
        for reader, volume in zip(("reader_a", "reader_b"), VOLUMES.values(), strict=True)
    ]
    every = pd.concat(parts).drop_duplicates(["case", "label", "reader"])
    by_reader = every.pivot(index=["case", "label"], columns="reader", values="volume")
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
