"""From a folder of a public dataset to one in our layout: what all importers have in common.

Enters: a folder in a registered layout. Leaves: a dataset, whole or not at all, and a list of
what failed, what was changed and what was not understood. Images are linked or copied byte by
byte where their format permits; a label map is written anew only where its values or its grid
must change. Going on silently past a file was rejected: whoever publishes numbers must know which
cases they are over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from acinus.cohort.dataset import write_dataset_json
from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    SourceCase,
    is_hidden,
)
from acinus.cohort.importers.writing import Place, Written, write_case
from acinus.cohort.layout import PARTICIPANTS
from acinus.cohort.participants import (
    CASES_COLUMN,
    ID_COLUMN,
    participant_of,
    write_participants,
)
from acinus.cohort.side_names import pairs_by_name, suggested_side
from acinus.errors import ConfigError, DataError, unknown_name
from acinus.files import whole_folder, write_json
from acinus.progress import plural, stage
from acinus.types import IGNORE
from acinus.version import __version__

RECORD = "import.json"
"""What was imported, from where, with which choices, and what was not."""

SHOWN = 3
"""Names of files that a remark gives for each folder."""


@dataclass(frozen=True)
class Imported:
    """A dataset that was imported.

    Attributes:
        folder: The new dataset.
        n_cases: Cases in it.
        labels: Structures, numbered from 1.
        failed: Case to the reason why it is not in it.
        remarks: Sentences about what was changed, left out or not understood.
    """

    folder: Path
    n_cases: int
    labels: tuple[str, ...]
    failed: dict[str, str]
    remarks: tuple[str, ...]


def import_dataset(
    layout: str,
    folder: Path | str,
    dataset: Path | str,
    *,
    labels: Sequence[str] = (),
    use_links: bool = True,
    trust_voxels: bool = False,
    jobs: int = 1,
    **choices: Any,
) -> Imported:
    """A dataset in our layout from a public one as it was downloaded and unpacked.

    Args:
        layout: Name in `IMPORTERS`, such as ``"amos"``.
        folder: The unpacked download, or a folder above it.
        dataset: Folder to write; must not exist or be empty.
        labels: Structures to keep, numbered in this order; the others become background. Empty:
            all.
        use_links: Whether unchanged files are hard links to the originals where the disk allows
            it; changing one then changes the other. False copies.
        trust_voxels: Whether a label map whose header disagrees with that of its image is taken
            voxel by voxel if the shapes are equal.
        jobs: Cases read side by side, in threads.
        **choices: Of the layout, such as ``modality="ct"``; see the importer.

    Raises:
        ConfigError: The layout, a label or a choice is unknown, or the choices do not fit.
        DataError: The folder does not have this layout, `dataset` is in use, or no case can be
            imported.
    """
    folder, dataset = Path(folder), Path(dataset).absolute()
    importer = IMPORTERS[layout].factory()
    settings = IMPORTERS.configure(layout, {k: v for k, v in choices.items() if v is not None})
    require_free(dataset)
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1; got {jobs}.")
    source = importer.read(_root_of(layout, importer, folder), settings)
    if labels and source.regions:
        raise ConfigError(
            f"labels must not be named where regions are asked for, {', '.join(source.regions)}; "
            f"got {', '.join(labels)}. Leave one of the two out."
        )
    kept = _kept_labels(source.labels, labels)
    if not kept:
        raise DataError(
            f"{folder}: {importer.title} must name at least one structure beside the background; "
            "it names none. Add it to the list of labels of the dataset."
        )
    if same := [name for name, n in Counter(source.labels).items() if n > 1]:
        raise DataError(
            f"{folder}: every structure must have a name of its own; '{same[0]}' is what "
            f"{source.labels.count(same[0])} of them are called. Rename all but one."
        )
    counts = Counter(case.case_id for case in source.cases)
    if twice := [case for case, n in counts.items() if n > 1]:
        raise DataError(
            f"{folder}: every case must be listed once; '{twice[0]}' is listed "
            f"{counts[twice[0]]} times. Remove the copies from the list of the dataset."
        )
    if not source.cases:
        raise DataError(_nothing(folder, importer, source.faults))
    ending = _ending(source)
    with whole_folder(dataset) as beside:
        place = Place(
            beside, ending, kept, source.has_own_origin, use_links=use_links, trust=trust_voxels
        )
        written = _write_cases(source, place, jobs)
        cases = [one for one in source.cases if not written[one.case_id].fault]
        faults = {case: one.fault for case, one in written.items() if one.fault}
        failed = dict(sorted({**source.faults, **faults}.items()))
        if not cases:
            raise DataError(_nothing(folder, importer, failed))
        remarks = (*_noted(written), *_in_no_case(kept, written), *_not_taken(source, folder))
        _write_tables(beside, source, importer, cases, kept, ending)
        record = {
            "format": 1,
            "acinus": __version__,
            "layout": layout,
            "folder": str(folder.resolve()),
            "choices": settings.model_dump(mode="json"),
            "labels": list(kept),
            "trust_voxels": trust_voxels,
            "cases": [one.case_id for one in cases],
            "failed": failed,
            "remarks": list(remarks),
        }
        write_json(beside / RECORD, record)
    return Imported(dataset, len(cases), tuple(source.regions) or kept, failed, remarks)


def require_free(dataset: Path) -> None:
    """Raise DataError unless a dataset can be written there: a new or an empty folder."""
    if dataset.is_dir() and dataset.resolve() == Path.cwd():
        raise DataError(
            f"{dataset}: must not be the folder that this command runs in. Name a new folder."
        )
    if dataset.is_dir() and any(dataset.iterdir()):
        raise DataError(
            f"{dataset}: must be a new or empty folder; it holds files. Choose another, or "
            "remove it."
        )
    if dataset.exists() and not dataset.is_dir():
        raise DataError(f"{dataset}: must be a new folder; there is a file of this name.")


def _root_of(layout: str, importer: Importer, folder: Path) -> Path:
    """The folder that has the layout; the error names what it looks like instead."""
    if not folder.is_dir():
        raise DataError(f"{folder}: must be the folder of {importer.title}; there is none.")
    root = importer.find(folder)
    if root is not None:
        return root
    like = [one.name for one in IMPORTERS if one.factory().find(folder) is not None]
    found = ", ".join(sorted(one.name for one in folder.iterdir() if not is_hidden(one))[:5])
    hint = f" It looks like {' or '.join(like)}: acinus import {like[0]}." if like else ""
    raise DataError(
        f"{folder}: must hold {importer.title} as it is published: {importer.expects}; found "
        f"{found or 'nothing'}.{hint}"
    )


def _kept_labels(known: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    for name in wanted:
        if name not in known:
            raise ConfigError(unknown_name("label", name, known))
    kept = tuple(dict.fromkeys(wanted)) or tuple(known)
    if len(kept) >= IGNORE:
        raise ConfigError(
            f"at most {IGNORE - 1} labels can be told apart in a label map; got {len(kept)}. Name "
            "those you want with --labels."
        )
    return kept


def _nothing(folder: Path, importer: Importer, faults: Mapping[str, str]) -> str:
    if not faults:
        return f"{folder}: must hold at least one case of {importer.title}; found none."
    case, reason = next(iter(faults.items()))
    return (
        f"{folder}: no case can be imported; {len(faults)} {plural('case', len(faults))} failed, "
        f"the first being '{case}': {reason}"
    )


def _ending(source: Source) -> str:
    """``.nii`` if all files end so, else ``.nii.gz``."""
    paths = [one.path for case in source.cases for one in case.channels if one is not None]
    paths += [one.path for case in source.cases for one in case.labels]
    return ".nii" if all(path.suffix == ".nii" for path in paths) else ".nii.gz"


def _write_cases(source: Source, place: Place, jobs: int) -> dict[str, Written]:
    """Case to what came of it."""
    write = partial(write_case, place=place)
    with (
        stage("Importing", total=len(source.cases), unit="case") as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        written = {}
        for case, one in zip(source.cases, pool.map(write, source.cases), strict=True):
            written[case.case_id] = one
            bar.advance()
    return written


def _write_tables(
    beside: Path,
    source: Source,
    importer: Importer,
    cases: Sequence[SourceCase],
    labels: tuple[str, ...],
    ending: str,
) -> None:
    import pandas as pd  # here: it takes a while to load

    sides = {name: side for name in labels if (side := suggested_side(name))}
    pairs = pairs_by_name(sides)
    numbers = {name: number for number, name in enumerate(labels, start=1)}
    united = {
        name: [numbers[structure] for structure in structures]
        for name, structures in source.regions.items()
    }
    painted: dict[str, Any] = (
        {"regions_class_order": [values[0] for values in united.values()]} if united else {}
    )
    write_dataset_json(
        beside,
        name=importer.title,
        channel_names=source.channel_names,
        labels=united or numbers,
        n_training=len(cases),
        file_ending=ending,
        sides=sides,
        mirror_pairs=pairs,
        description=(importer.__doc__ or "").strip().split("\n")[0],
        licence=importer.licence,
        reference=importer.address,
        **painted,
    )
    people: dict[str, dict[str, Any]] = {}
    for case in cases:
        people.setdefault(
            case.participant_id,
            {ID_COLUMN: case.participant_id, "source": importer.title}
            | ({"licence": importer.licence} if importer.licence else {})
            | dict(case.facts),
        )
    if any(participant_of(case.case_id, people) != case.participant_id for case in cases):
        for one, row in people.items():
            own = [case.case_id for case in cases if case.participant_id == one]
            row[CASES_COLUMN] = ",".join(own)
    table = pd.DataFrame([people[one] for one in sorted(people)])
    write_participants(beside / PARTICIPANTS, table)


def _noted(written: Mapping[str, Written]) -> Iterator[str]:
    """What was done to which cases."""
    notes: dict[str, list[str]] = {}
    for case, one in written.items():
        for note in one.notes:
            notes.setdefault(note, []).append(case)
    for note, cases in notes.items():
        yield f"{note}: {_some(cases)}."


def _in_no_case(kept: Sequence[str], written: Mapping[str, Written]) -> Iterator[str]:
    found = {name for one in written.values() for name in one.structures}
    absent = [name for name in kept if name not in found]
    if absent:
        yield (
            f"no case has {', '.join(absent)}: a network cannot learn them. Import again and name "
            "the others with --labels."
        )


def _not_taken(source: Source, folder: Path) -> Iterator[str]:
    """What is left out on purpose, and what nobody understood, by folder."""
    reasons: dict[str, list[str]] = {}
    for path, reason in source.left_out.items():
        if path.exists():
            reasons.setdefault(reason, []).append(_relative(path, folder))
    for reason, names in reasons.items():
        yield f"left out, {reason}: {_some(sorted(names))}."
    for place, names in sorted(_strays(source).items()):
        yield f"not understood, in {_relative(place, folder)}: {_some(names)}."


def _some(names: Sequence[str]) -> str:
    """``a, b, c and 4 more``."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _strays(source: Source) -> dict[Path, list[str]]:
    """Folder to the names of files in it that belong to nothing."""
    used = {one.path for case in source.cases for one in case.channels if one is not None}
    used |= {one.path for case in source.cases for one in case.labels}
    used |= set(source.left_out)
    faulty = " ".join(source.faults.values())
    found: dict[Path, list[str]] = {}
    for path in sorted(source.root.rglob("*")):
        if not path.is_file() or any(
            is_hidden(Path(part)) for part in path.parts[len(source.root.parts) :]
        ):
            continue
        if path in used or any(parent in used for parent in path.parents) or str(path) in faulty:
            continue
        found.setdefault(path.parent, []).append(path.name)
    return found


def _relative(path: Path, folder: Path) -> str:
    try:
        return str(path.relative_to(folder)) or "."
    except ValueError:
        return str(path)
