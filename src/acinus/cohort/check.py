"""All faults of a dataset, in one report.

Enters: a dataset folder. Leaves: a `CheckReport`. Nothing stops at the first fault:
a broken key of ``dataset.json``, an unreadable file or a dying worker leaves the
rest to be checked. Checking while opening was rejected: training needs the first
fault at once, a person needs all of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from acinus import progress
from acinus.cohort.check_case import CaseFacts, CaseFiles, check_case
from acinus.cohort.check_cohort import check_cohort
from acinus.cohort.check_files import check_files, check_participants, check_side_names
from acinus.cohort.dataset import kept_cases, require_dataset_folder
from acinus.cohort.finding import CheckReport, Finding, error
from acinus.cohort.header import ENDINGS, Header, parse_header
from acinus.cohort.layout import HEADER, IMAGES, LABELS, PARTICIPANTS, Layout, list_layout
from acinus.cohort.participants import read_participants
from acinus.errors import DataError
from acinus.files import read_json
from acinus.scans import strip_suffix

if TYPE_CHECKING:
    import pandas as pd

BYTES_FOR_PROCESSES = 200 * 2**20
"""Datasets with less on disk than this are checked without starting processes, bytes."""


def check_dataset(folder: Path | str, *, jobs: int | None = None) -> CheckReport:
    """Every fault of a dataset.

    Args:
        folder: In nnU-Net raw layout.
        jobs: Number of processes, one case at a time each; None: as many as there are
            cores where there is much to read, else none besides this one.

    Raises:
        DataError: There is no dataset at all: no folder, or no ``dataset.json`` that is
            JSON. Whatever else is wrong becomes a finding.
    """
    folder = Path(folder)
    require_dataset_folder(folder)
    header, faults = parse_header(read_json(folder / HEADER))
    findings = [
        error("dataset-json", "", f"{HEADER} {fault}", "Correct dataset.json.") for fault in faults
    ]
    ending = header.file_ending or _likely_ending(folder)
    layout = list_layout(folder, ending)
    table = _table(folder, findings)
    try:
        kept = kept_cases(header, layout, table)
    except DataError as fault:  # a case of two participants: what else is wrong is told, too
        text = str(fault).rstrip(".")
        findings.append(error("participants-table", "", text, "Correct participants.tsv."))
        table = None
        kept = kept_cases(header, layout, table)
    findings += check_files(folder, header, layout, list(kept))
    findings += check_participants(header, layout, table)
    findings += check_side_names(header)
    work = [_files(header, layout, case_id) for case_id in kept]
    facts = list(_check_cases(work, jobs))
    findings += [finding for case in facts for finding in case.findings]
    findings += check_cohort(facts, header.values, header.channel_names)
    return CheckReport(tuple(sorted(findings, key=_order)), len(kept))


def _check_cases(work: Sequence[CaseFiles], jobs: int | None) -> Iterator[CaseFacts]:
    if jobs is None:
        paths = [path for files in work for path in (*files.images, files.label)]
        n_bytes = sum(path.stat().st_size for path in paths if path and path.exists())
        jobs = _n_cores() if n_bytes > BYTES_FOR_PROCESSES else 1
    jobs = min(jobs, len(work))
    made = _in_processes(work, jobs) if jobs > 1 else map(check_case, work)
    yield from progress.track(made, "Checking cases", total=len(work), unit="case")


def _in_processes(work: Sequence[CaseFiles], jobs: int) -> Iterable[CaseFacts]:
    n_done = 0
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            for facts in pool.map(check_case, work):
                n_done += 1
                yield facts
    except BrokenProcessPool:
        progress.say("A worker process died, perhaps for lack of memory: going on with one.")
        yield from map(check_case, work[n_done:])


def _files(header: Header, layout: Layout, case_id: str) -> CaseFiles:
    channels = layout.images.get(case_id, {})
    n_channels = len(header.channel_names) or max(channels, default=-1) + 1
    return CaseFiles(
        case_id=case_id,
        images=tuple(channels.get(number) for number in range(n_channels)),
        label=layout.labels.get(case_id),
        values=header.values,
        sides=header.sides,
        mirror_pairs=header.mirror_pairs,
        ignore_label=header.ignore_label,
        annotated=header.annotated.get(case_id),
    )


def _table(folder: Path, findings: list[Finding]) -> pd.DataFrame | None:
    path = folder / PARTICIPANTS
    if not path.is_file():
        return None
    try:
        return read_participants(path)
    except DataError as fault:
        text = str(fault).replace(str(path), PARTICIPANTS)
        findings.append(
            error("participants-table", "", text.rstrip("."), "Correct the table, or remove it.")
        )
        return None


def _likely_ending(folder: Path) -> str:
    """The commonest known ending of the files, for a dataset.json that does not tell."""
    names = [path.name for part in (IMAGES, LABELS) for path in (folder / part).glob("*")]
    endings = Counter(name[len(strip_suffix(name)) :] for name in names)
    known = [ending for ending, _ in endings.most_common() if ending.lower() in ENDINGS]
    return known[0] if known else ENDINGS[0]


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _order(finding: Finding) -> tuple[str, bool, str]:
    return finding.case, finding.severity == "warning", finding.code
