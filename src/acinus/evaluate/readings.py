"""Readings of the same cases measured against each other, pair by pair.

Enters: folders of label maps, one a reader. Leaves: a row per pair of readers, case, label and
metric. Calling one reader the reference was rejected: every measure here but the volumes is the
same whichever comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from acinus.cohort.labels_file import JudgedLabels, read_labels
from acinus.errors import ConfigError, DataError
from acinus.evaluate.clusters import Owners, read_owners
from acinus.evaluate.folders import (
    KILLED,
    checked_measures,
    failures,
    judged_pairs,
    listed,
    make_folder,
    unknown_values,
)
from acinus.evaluate.pairs import label_maps
from acinus.evaluate.scoring import Pair, judge_pair, lost_pair
from acinus.evaluate.tables.noninferiority import BOTH_SIDES, VOLUMES

AGREEMENT_COLUMNS = (
    "case",
    "participant",
    "cluster",
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


@dataclass(frozen=True, eq=False)
class Readings:
    """Every pair of readers, measured.

    Attributes:
        agreement: Columns of `AGREEMENT_COLUMNS`.
        labels: The structures.
        readers: Names, in the order of the folders.
        metrics: Measured for each pair, besides volumes.
        n_judged: Pairs of label maps that could be compared.
        failed: Case, with its readers, to the reason why it could not be compared.
        remarks: Sentences about what a reader of the table must know.
    """

    agreement: pd.DataFrame
    labels: JudgedLabels
    readers: tuple[str, ...]
    metrics: tuple[str, ...]
    n_judged: int
    failed: dict[str, str]
    remarks: tuple[str, ...]


def measure_readings(
    folders: Sequence[Path | str],
    *,
    labels: Path | str,
    metrics: Sequence[str],
    participants: Path | str | None = None,
    group_by: str | None = None,
    jobs: int | None = 1,
    out: Path | str | None = None,
) -> Readings:
    """Every pair of readers, measured case by case and label by label.

    Args:
        folders: Two or more folders of label maps, or DICOM SEG (.dcm).
        labels: JSON file with ``labels`` as in ``dataset.json``.
        metrics: Registered measures; both volumes are added.
        participants: A ``participants.tsv``; None: each case is its own participant.
        group_by: Column of it whose values are one observation; None: each participant is.
        jobs: Processes, None: one for each core.
        out: Folder of the results, made once the input is known to be usable; None: none is.

    Raises:
        ConfigError: There are not two different folders, a measure is unknown, or `jobs` cannot
            be.
        DataError: A folder or file is missing or says what cannot be, a case has two files or no
            participant, or two folders have no case in common.
    """
    measures = checked_measures(metrics, jobs)
    named = read_labels(labels)
    if named.ignore_label is not None:
        raise ConfigError(
            f"{labels}: readers are compared voxel by voxel, none ignored; got 'ignore' "
            f"{named.ignore_label}. Take it out of 'labels'."
        )
    readers = _reader_names([Path(folder) for folder in folders])
    maps = {reader: label_maps(folder) for reader, folder in readers.items()}
    cases = sorted({case for of_reader in maps.values() for case in of_reader})
    owners = read_owners(cases, participants, group_by)
    paired = {
        (first, second): _paired(readers, maps, owners, first, second)
        for first, second in combinations(readers, 2)
    }
    make_folder(out)
    judge = partial(
        judge_pair,
        labels=named.labels,
        measures=measures,
        regions=named.regions,
        annotated=named.annotated,
    )
    lost = partial(lost_pair, measures=dict.fromkeys(named.labels, measures), reason=KILLED)
    rows: list[dict[str, Any]] = []
    remarks = _one_reader_only(readers, maps)
    failed: dict[str, str] = {}
    n_pairs = 0
    for (first, second), pairs in paired.items():
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
    return Readings(
        agreement,
        named,
        tuple(readers),
        tuple(metrics),
        n_pairs - len(failed),
        failed,
        tuple(remarks),
    )


def label_groups(named: JudgedLabels) -> Iterator[tuple[str, str, list[str]]]:
    """Structure, side and labels of each row: right, left, both of a pair; else the label.

    Args:
        named: The structures.
    """
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


def _paired(
    readers: Mapping[str, Path],
    maps: Mapping[str, Mapping[str, Path]],
    owners: Owners,
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
    return [
        Pair(case, owners.participants[case], ours[case], theirs[case], owners.clusters[case])
        for case in common
    ]


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
