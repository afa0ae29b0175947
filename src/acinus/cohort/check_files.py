"""Faults of a dataset that show without opening an image.

Enters: header, layout and table of participants. Leaves: findings about files that
are missing, too many or unknown, about the participants, and about sides that only
names tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from acinus.cohort.dataset import kept_cases
from acinus.cohort.finding import Finding, each_or_together, error, some_of, warning
from acinus.cohort.header import Header
from acinus.cohort.layout import HEADER, IMAGES, LABELS, PARTICIPANTS, Layout
from acinus.cohort.participants import ID_COLUMN, duplicate_ids, owners_of
from acinus.cohort.side_names import pairs_by_name, suggested_side

if TYPE_CHECKING:
    import pandas as pd

OLDEST_YEARS = 120
"""Ages above this, or below 0, are implausible, years."""

SEXES = ("M", "F", "O")
"""BIDS: male, female, other; empty or n/a where unknown."""


def check_files(folder: Path, header: Header, layout: Layout, kept: Sequence[str]) -> list[Finding]:
    """Findings about the files of a dataset.

    Args:
        folder: The dataset; file names are told relative to it.
        header: What ``dataset.json`` says.
        layout: Which files there are.
        kept: Cases that are not excluded.
    """
    findings = list(_strays(folder, layout))
    for case_id in kept:
        findings += _case_files(header, layout, case_id)
    findings += each_or_together(
        "label-missing",
        [case_id for case_id in kept if case_id not in layout.labels],
        f"no file {LABELS}/{{case}}{header.file_ending}; the case neither trains nor judges",
        f"{{n}} cases have no file in {LABELS} and neither train nor judge: {{cases}}",
        "Segment them, or move the images to imagesTs.",
    )
    findings += _counts(header, layout, kept)
    return findings


def check_participants(header: Header, layout: Layout, table: pd.DataFrame | None) -> list[Finding]:
    """Findings about the table of participants, ``exclude`` and ``annotated``."""
    kept = kept_cases(header, layout, table)
    findings = [*_exclusions(header, layout, table), *_unknown_annotations(header, layout)]
    if table is None:
        return findings
    for twice in duplicate_ids(table):
        n_rows = int((table[ID_COLUMN] == twice).sum())
        findings.append(
            error(
                "participant-duplicate",
                "",
                f"{PARTICIPANTS}: participant '{twice}' has {n_rows} rows",
                "Keep one row per participant.",
            )
        )
    ids = set(table[ID_COLUMN])
    findings += each_or_together(
        "participant-missing",
        [case_id for case_id, participant in kept.items() if participant not in ids],
        f"{PARTICIPANTS} has no row '{{case}}' nor one that it begins with",
        f"{PARTICIPANTS} has no row for {{n}} cases: {{cases}}",
        "Add the participants; until then each case counts as a patient of its own.",
    )
    findings += _without_case(layout, table)
    findings += _values(table)
    return findings


def check_side_names(header: Header) -> list[Finding]:
    """Labels whose names suggest a side that ``sides`` does not state."""
    suggested = {label: side for label in header.labels if (side := suggested_side(label))}
    unstated = {label: side for label, side in suggested.items() if label not in header.sides}
    findings = []
    if unstated:
        findings.append(
            warning(
                "side-not-stated",
                "",
                f"{HEADER}: the names of {', '.join(unstated)} suggest a side, "
                "which 'sides' does not state",
                f'Add "sides": {json.dumps({**header.sides, **suggested})} and the pairs that '
                "swap under 'mirror_pairs', or training mirrors them as if they had no side.",
            )
        )
    for label, side in header.sides.items():
        if suggested.get(label, side) != side:
            findings.append(
                warning(
                    "side-not-stated",
                    "",
                    f"{HEADER}: 'sides' calls '{label}' {side}, its name suggests the other side",
                    "Correct 'sides' or the name.",
                )
            )
    stated = {frozenset(pair): pair for pair in header.mirror_pairs}
    by_name = (*pairs_by_name(header.sides, header.mirror_pairs), *pairs_by_name(header.sides))
    pairs = [pair for pair in dict.fromkeys(by_name) if frozenset(pair) not in stated]
    if pairs:
        instead = [" and ".join(pair) for those, pair in stated.items() if set(pairs[0]) & those]
        first = [list(pair) for pair in pairs[:3]]
        findings.append(
            warning(
                "pair-not-stated",
                "",
                f"{HEADER}: {' and '.join(pairs[0])} seem to be partners"
                f"{f' (and {len(pairs) - 1} more pairs)' if len(pairs) > 1 else ''}, "
                "which 'mirror_pairs' does not state"
                f"{f'; it states {instead[0]}' if instead else ''}",
                f'State them, "mirror_pairs": {json.dumps(first)}{" ..." if pairs[3:] else ""}, or '
                "right and left are not mirrored in training, and parts on the wrong side are told "
                "by the middle of the body alone.",
            )
        )
    return findings


def _strays(folder: Path, layout: Layout) -> Iterator[Finding]:
    for path in layout.strays:
        what = "a folder" if path.is_dir() else f"{path.lstat().st_size} bytes"
        yield warning(
            "unknown-file",
            "",
            f"{path.relative_to(folder).as_posix()} ({what}) is no image CASE_0000 and no label "
            "CASE with the file ending of the dataset; it is passed over",
            "Rename it, convert it to the file ending of the dataset, or remove it.",
        )


def _case_files(header: Header, layout: Layout, case_id: str) -> Iterator[Finding]:
    channels = layout.images.get(case_id, {})
    n_channels = len(header.channel_names)
    if not channels:
        remedy = "Add the image, remove the label, or list the case under 'exclude'."
        numbered = re.fullmatch(r"(.+)_\d{4}", case_id)
        if numbered and numbered[1] in layout.images:
            remedy = f"Name it {numbered[1]}{header.file_ending}: labels have no channel number."
        name = f"{LABELS}/{layout.labels[case_id].name}"
        yield error("image-missing", case_id, f"{name} has no image in {IMAGES}", remedy)
        return
    missing = [n for n in range(n_channels) if n not in channels]
    is_allowed = header.allow_missing_channels and len(missing) < n_channels
    for n in [] if is_allowed else missing:
        yield error(
            "channel-missing",
            case_id,
            f"channel {n} ({header.channel_names[n]}) is missing: no file "
            f"{IMAGES}/{case_id}_{n:04d}{header.file_ending}",
            "Add the file, set 'allow_missing_channels', or list the case under 'exclude'.",
        )
    for n in sorted(set(channels) - set(range(n_channels))) if n_channels else []:
        yield error(
            "channel-extra",
            case_id,
            f"{IMAGES}/{channels[n].name} is channel {n}; dataset.json names "
            f"{n_channels}, numbered from 0",
            "Name the channel under 'channel_names', or remove the file.",
        )


def _counts(header: Header, layout: Layout, kept: Sequence[str]) -> Iterator[Finding]:
    pairs = set(layout.images) & set(layout.labels)
    if not pairs.intersection(kept):
        yield error(
            "no-cases",
            "",
            f"{len(layout.images)} cases with images, {len(layout.labels)} with labels, none of "
            "them with both and not excluded",
            f"Add images as {IMAGES}/CASE_0000 and labels as {LABELS}/CASE, "
            "or correct 'file_ending'.",
        )
    counts = {len(pairs), len(pairs.intersection(kept)), len(layout.images)}
    if header.n_training is not None and header.n_training not in counts:
        yield warning(
            "case-count",
            "",
            f"{HEADER} says 'numTraining' {header.n_training}; on disk are {len(pairs)} cases "
            "with image and label",
            "Look for files that are missing or too many, then correct 'numTraining'.",
        )


def _exclusions(header: Header, layout: Layout, table: pd.DataFrame | None) -> Iterator[Finding]:
    known = {*layout.case_ids, *([] if table is None else table[ID_COLUMN])}
    for name in header.exclude:
        if name not in known:
            yield warning(
                "exclude-unknown",
                "",
                f"{HEADER}: 'exclude' names '{name}', which is no case and no participant",
                "Correct the name or remove the entry.",
            )


def _unknown_annotations(header: Header, layout: Layout) -> Iterator[Finding]:
    for name in header.annotated:
        if name not in layout.case_ids:
            yield warning(
                "annotated-unknown",
                "",
                f"{HEADER}: 'annotated' names '{name}', which is no case",
                "Correct the name or remove the entry: a case that is not listed counts as "
                "annotated in full.",
            )


def _without_case(layout: Layout, table: pd.DataFrame) -> Iterator[Finding]:
    ids = set(table[ID_COLUMN])
    idle = sorted(ids - set(owners_of(layout.case_ids, table).values()))
    if idle:
        yield warning(
            "participant-without-case",
            "",
            f"{PARTICIPANTS}: {len(idle)} of {len(ids)} participants have no case here: "
            f"{some_of(idle)}",
            "Nothing, if they were not scanned; else look for missing or misspelt files.",
        )


def _values(table: pd.DataFrame) -> Iterator[Finding]:
    import pandas as pd  # here: it takes a while to load, and prediction does without

    if "age" in table.columns:
        ages = pd.to_numeric(table["age"], errors="coerce")
        for row in table.index[table["age"].notna() & ~ages.between(0, OLDEST_YEARS)]:
            yield _implausible(table, row, "age", f"years from 0 to {OLDEST_YEARS}")
    if "sex" in table.columns:
        is_known = table["sex"].astype(str).str.upper().isin(SEXES)
        for row in table.index[table["sex"].notna() & ~is_known]:
            yield _implausible(table, row, "sex", "M, F or O")


def _implausible(table: pd.DataFrame, row: int, column: str, expected: str) -> Finding:
    participant, value = str(table[ID_COLUMN][row]), str(table[column][row])
    return warning(
        "participant-value",
        "",
        f"{PARTICIPANTS}: participant '{participant}' has {column} '{value}'",
        f"Give {expected}, or n/a where it is not known.",
    )
