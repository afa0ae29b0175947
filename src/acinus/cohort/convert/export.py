"""A whole export as a dataset; one study that fails does not stop the others.

Enters: a folder or zip archive and a mapping. Leaves: an nnU-Net raw folder with
``participants.tsv``, the table of ids beside it, and reasons for what was left
out. Started again it goes on: a case whose record is there is not made twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from acinus import progress
from acinus.cohort.convert.case import (
    ENDING,
    RECORDS,
    CaseTask,
    convert_case,
    finish_case,
    record_path,
    remove_case,
)
from acinus.cohort.convert.censor import Censor
from acinus.cohort.convert.choosing import Chosen, choose_cases
from acinus.cohort.convert.identities import Identities, disagreements, participant_of
from acinus.cohort.convert.mapping import ExportMapping, read_mapping
from acinus.cohort.dataset import write_dataset_json
from acinus.cohort.header import parse_header
from acinus.cohort.layout import HEADER, PARTICIPANTS
from acinus.cohort.participants import ID_COLUMN, write_participants
from acinus.errors import ConfigError, DataError
from acinus.files import read_json, write_json
from acinus.progress import plural
from acinus.scans import Export, list_export, require_series
from acinus.scans.stored import Skipped

WANTED = "mapping.json"
"""File among the records that says which channels and labels the dataset has."""


@dataclass(frozen=True)
class ConvertOutcome:
    """What a conversion made.

    Attributes:
        dataset: The folder.
        written: Cases that are in it now and come from this export, sorted.
        failed: Case, file or object to the reason why it was not converted; each file that is
            damaged.
        notes: Case to what a user of it must know.
        left_out: Remarks on what no rule asks for.
        skipped: Reason to number of files that are no slices of a scan.
        ids: The table that links pseudonyms to the headers.
        is_dataset: Whether there are labels, and so a ``dataset.json``.
    """

    dataset: Path
    written: tuple[str, ...]
    failed: dict[str, str]
    notes: dict[str, tuple[str, ...]]
    left_out: tuple[str, ...]
    skipped: dict[str, int]
    ids: Path
    is_dataset: bool


def convert_export(
    source: Path | str,
    dataset: Path | str,
    *,
    mapping: Path | str | None = None,
    ids: Path | str | None = None,
    repair: bool = False,
    jobs: int = 1,
) -> ConvertOutcome:
    """Turn an export of DICOM files into a dataset.

    Args:
        source: Folder or zip archive, of any depth and order.
        dataset: Folder to write, or to go on with.
        mapping: YAML file with the rules; see `ExportMapping`. None: one channel,
            which must be the only series of a study, and no labels.
        ids: Table that links pseudonyms to the headers, kept from one conversion
            to the next. None: beside the dataset.
        repair: Leave out copies of slices and interpolate missing ones.
        jobs: Processes that convert cases side by side, >= 1.

    Raises:
        ConfigError: The mapping cannot be used.
        DataError: There are no series, or the dataset folder is another one.
    """
    source, dataset = Path(source), Path(dataset)
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1; got {jobs}.")
    wanted = read_mapping(mapping)
    table = ids_path(dataset, ids)
    _refuse_foreign(dataset, wanted, table)
    _refuse_unusable(wanted, mapping)
    export = list_export(source, jobs=jobs)
    require_series(export, source)
    identities = Identities.read(table, wanted.prefix)
    case_of = identities.assign(export.series)
    _refuse_unknown_excluded(wanted, identities, mapping)
    censor = Censor(export, source, own=case_of.values())
    chosen = choose_cases(export, wanted, case_of)
    tasks = [CaseTask(choice, wanted, dataset, repair) for choice in chosen.choices]
    _require_choice(tasks, chosen, export, censor)
    identities.write(
        {task.choice.case_id: [c.uid for c in task.choice.channels if c] for task in tasks}
    )
    write_json(dataset / RECORDS / WANTED, _channels_and_labels(wanted))
    faulty = [one for one in export.skipped if one.is_fault]
    failed = _censored(
        [*chosen.failed.items(), *((f"{one.path}", one.reason) for one in faulty)], censor
    )
    notes: dict[str, tuple[str, ...]] = {
        person: (text,) for person, text in disagreements(export.series, case_of).items()
    }
    written: list[str] = []
    for task, result in _run(tasks, jobs):
        case = task.choice.case_id
        if isinstance(result, str):
            failed[case] = censor(result)
            continue
        result["notes"] = [censor(note) for note in result["notes"]]
        for channel in result["channels"].values():
            channel["description"] = censor(channel["description"])
        finish_case(task, result)
        written.append(case)
        if told := (*result["notes"], *_damaged_beside(task, faulty)):
            notes[case] = told
    _remove_unwanted(dataset, identities, wanted)
    for case in _kept_from_before(dataset, tasks, case_of.values()):
        notes[case] = (*notes.get(case, ()), KEPT)
    is_dataset = _finish(dataset, wanted)
    left_out = tuple(censor(text) for text in chosen.left_out)
    skipped = Counter(censor(one.reason) for one in export.skipped if not one.is_fault)
    return ConvertOutcome(
        dataset, tuple(sorted(written)), failed, notes, left_out, dict(skipped), table, is_dataset
    )


def ids_path(dataset: Path, ids: Path | str | None) -> Path:
    """Where the table of ids lies: beside the dataset unless said otherwise."""
    if ids is not None:
        return Path(ids)
    # "." and ".." have no name of their own, and what is named after them would lie inside.
    named = dataset.resolve() if dataset.name in ("", "..") else dataset
    return named.with_name(f"{named.name}-ids.tsv")


def _refuse_foreign(dataset: Path, wanted: ExportMapping, table: Path) -> None:
    """Refuse a folder that this conversion cannot go on with."""
    if not dataset.exists():
        return
    if not dataset.is_dir():
        raise DataError(
            f"{dataset}: must be a folder to write the dataset to; found a file. Choose another "
            "name."
        )
    marker = dataset / RECORDS / WANTED
    if not marker.is_file():
        if any(dataset.iterdir()):
            raise DataError(
                f"{dataset}: must be a new folder, or one that a conversion began; it holds other "
                "files. Choose another folder."
            )
        return
    n_records = sum(1 for path in marker.parent.glob("*.json") if path.name != WANTED)
    if n_records and read_json(marker) != _channels_and_labels(wanted):
        raise DataError(
            f"{dataset}: was converted with other channels or labels than the mapping has now. "
            "Choose a new folder, or delete this one first."
        )
    if not table.is_file():
        raise DataError(
            f"{table}: the table of ids must be there to go on with {dataset}, or persons would "
            "get the pseudonyms of others. Give its place with --ids."
        )


def _refuse_unusable(wanted: ExportMapping, mapping: Path | str | None) -> None:
    """Refuse a mapping whose ``dataset.json`` could not be opened, before anything is read."""
    if not wanted.labels:
        return
    stated = wanted.model_dump(mode="json", include={"mirror_pairs", "structures"})
    header = {
        "channel_names": {str(number): name for number, name in enumerate(wanted.channels)},
        "labels": {"background": 0, **wanted.values},
        "numTraining": 0,
        "file_ending": ENDING,
        "sides": wanted.sides,
    }
    faults = parse_header({**header, **stated})[1]
    if faults:
        raise ConfigError(f"{mapping}: {faults[0]}")


def _refuse_unknown_excluded(
    wanted: ExportMapping, identities: Identities, mapping: Path | str | None
) -> None:
    """Refuse to exclude whom nobody knows: someone is meant, and would stay in."""
    known = {*identities.cases, *map(participant_of, identities.cases)}
    unknown = [name for name in wanted.exclude if name not in known]
    if unknown:
        raise ConfigError(
            f"{mapping}: 'exclude' must name participants or cases as --list shows them; nobody is "
            f"called '{unknown[0]}'. Known: {', '.join(sorted(known))}."
        )


def _channels_and_labels(wanted: ExportMapping) -> dict[str, Any]:
    return {"channels": list(wanted.channels), "labels": wanted.values}


def _require_choice(
    tasks: Sequence[CaseTask], chosen: Chosen, export: Export, censor: Censor
) -> None:
    """Refuse an export of which nothing can be converted, with the reasons."""
    if tasks:
        return
    reasons = [f"{what}: {reason}" for what, reason in chosen.failed.items()] + list(
        chosen.left_out
    )
    found = censor("\n".join(reasons))
    raise DataError(
        f"at least one study must have its series chosen; none of {len(export.series)} series "
        f"was. See them with --list and name them in a mapping (--map).\n{found}"
    )


def _censored(failed: Iterable[tuple[str, str]], censor: Censor) -> dict[str, str]:
    """Failures without what identifies a person; those that are called alike then are numbered."""
    told: dict[str, str] = {}
    for what, reason in failed:
        name = once = censor(what)
        number = 2
        while name in told:
            name, number = f"{once} ({number})", number + 1
        told[name] = censor(reason)
    return told


def _damaged_beside(task: CaseTask, faulty: Sequence[Skipped]) -> list[str]:
    """A note on damaged files among those of a case: a slice at an end leaves no gap."""
    folders = {path.parent for one in task.choice.channels if one for path in one.paths}
    n = sum(one.path.parent in folders for one in faulty)
    return [f"{n} damaged {plural('file', n)} beside its slices: some may be lost"] if n else []


def _run(tasks: Sequence[CaseTask], jobs: int) -> Iterator[tuple[CaseTask, dict[str, Any] | str]]:
    """Every task with its record or the reason of its failure; done ones first."""
    done: list[CaseTask] = []
    left: list[CaseTask] = []
    for task in tasks:
        (done if task.is_done() else left).append(task)
    with progress.stage("Converting", total=len(tasks), unit="case") as bar:
        bar.resume_at(len(done))
        for task in done:
            yield task, read_json(task.record)
        if jobs == 1 or len(left) < 2:
            for task in left:
                yield task, convert_case(task)
                bar.advance(1, note=task.choice.case_id)
            return
        with ProcessPoolExecutor(min(jobs, len(left)), mp_context=get_context("spawn")) as pool:
            running = {pool.submit(convert_case, task): task for task in left}
            try:
                for future in as_completed(running):
                    task = running[future]
                    yield task, _result_of(future, task)
                    bar.advance(1, note=task.choice.case_id)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _result_of(future: Future[dict[str, Any] | str], task: CaseTask) -> dict[str, Any] | str:
    try:
        return future.result()
    except BrokenProcessPool:
        remove_case(task.dataset, task.choice.case_id)
        return (
            "the system ended a process of the conversion, perhaps for lack of memory. Start the "
            "same command again, with --jobs 1."
        )


def _remove_unwanted(dataset: Path, identities: Identities, wanted: ExportMapping) -> None:
    """Remove cases that are excluded by now, and what a conversion that was killed left of one."""
    for case in identities.cases:
        record = record_path(dataset, case)
        is_whole = record.is_file() and read_json(record)["stamp"] is not None
        if wanted.excludes(case) or not is_whole:
            remove_case(dataset, case)


KEPT = (
    "was converted before and is not chosen now; it stays in the dataset as it was. List it under "
    "'exclude' to remove it, or convert into a new folder"
)


def _kept_from_before(
    dataset: Path, tasks: Sequence[CaseTask], here: Iterable[str]
) -> Iterator[str]:
    """Cases of this export that an earlier mapping chose and this one does not.

    Args:
        dataset: The folder.
        tasks: What is chosen now.
        here: Cases of the studies in this export; those of other exports stay rightly.
    """
    chosen = {task.choice.case_id for task in tasks}
    for case in sorted(set(here) - chosen):
        if record_path(dataset, case).is_file():
            yield case


def _finish(dataset: Path, wanted: ExportMapping) -> bool:
    """Write ``participants.tsv`` and ``dataset.json`` from the records; whether the latter is."""
    import pandas as pd  # here: it takes a while to load, and listing does without

    records = [
        read_json(path)
        for path in sorted((dataset / RECORDS).glob("*.json"))
        if path.name != WANTED
    ]
    people: dict[str, dict[str, Any]] = {}
    for record in records:
        participant = participant_of(record["case"])
        one = people.setdefault(participant, {ID_COLUMN: participant, "age": None, "sex": None})
        for key in ("age", "sex"):
            one[key] = one[key] if one[key] is not None else record[key]
    if not records:
        return False
    write_participants(dataset / PARTICIPANTS, pd.DataFrame(list(people.values()), dtype=object))
    if not wanted.labels:
        with suppress(FileNotFoundError):
            (dataset / HEADER).unlink()
        return False
    known = {record["case"]: _annotated(record, wanted) for record in records if record["labels"]}
    partly = {case: own for case, own in known.items() if len(own) < len(wanted.labels)}
    keys: dict[str, Any] = {
        "sides": wanted.sides,
        "mirror_pairs": wanted.mirror_pairs,
        "structures": wanted.structures,
        "annotated": partly,
        "allow_missing_channels": wanted.allow_missing_channels,
        "synthetic": any(record.get("synthetic", False) for record in records),
    }
    write_dataset_json(
        dataset,
        name=wanted.name or dataset.resolve().name,
        channel_names=list(wanted.channels),
        labels=wanted.values,
        n_training=sum(bool(record["labels"]) for record in records),
        file_ending=ENDING,
        description=wanted.description,
        **{key: value for key, value in keys.items() if value},
    )
    return True


def _annotated(record: Mapping[str, Any], wanted: ExportMapping) -> list[str]:
    """Labels of which the label map of a case says where they are, or that they are not there."""
    if wanted.missing == "not_annotated":
        return list(record["labels"])
    return [name for name in wanted.labels if name not in record.get("lost", ())]
