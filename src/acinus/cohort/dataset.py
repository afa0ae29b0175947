"""A dataset: an nnU-Net raw folder, opened.

Enters: a folder with ``dataset.json``, ``imagesTr``, ``labelsTr`` and perhaps
``participants.tsv``. Leaves: a frozen `Dataset` with its cases; no image is read.
Excluded cases stay on disk and are not among the cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acinus.cohort.header import Header, parse_header
from acinus.cohort.labels import BACKGROUND, IGNORE_NAME, LabelSet
from acinus.cohort.layout import HEADER, IMAGES, LABELS, PARTICIPANTS, Layout, list_layout
from acinus.cohort.participants import (
    duplicate_ids,
    owners_of,
    read_participants,
)
from acinus.errors import DataError, unknown_name
from acinus.files import hash_data, hash_file_once, read_json, write_json
from acinus.scans.coding import Side

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Case:
    """One examination.

    Attributes:
        case_id: Name of the files without channel number and ending.
        participant_id: Whose examination it is.
        images: One file per channel; None where the channel is missing.
        label: The segmentation; None where there is none.
    """

    case_id: str
    participant_id: str
    images: tuple[Path | None, ...]
    label: Path | None


@dataclass(frozen=True, eq=False)
class Dataset:
    """An opened dataset.

    Attributes:
        folder: Where it lies.
        name: Its name.
        channel_names: One per channel.
        labels: Structure to label value, without background, by value; of regions the value
            that they are painted with, in the order of painting.
        file_ending: Ending of all images and labels.
        sides: Label to the side of the patient that it lies on.
        mirror_pairs: Labels that swap when left and right swap.
        structures: Place to the labels that belong to it.
        synthetic: Whether the images are made, not measured.
        allow_missing_channels: Whether a case may lack channels.
        cases: Sorted by id, without the excluded ones; some may have no label.
        participants: The table of participants; None if there is none.
        description: Free text.
        exclude: Case or participant to the reason why it is left out.
        regions: Every name to the label values that it unites; empty: one value each.
        ignore_label: Value of voxels that the reference says nothing about.
        annotated: Case to the names annotated in it; a case that is not in it has all.
        channel_numbers: Of a view of some channels their numbers in the names of the files;
            None: all channels, numbered from 0.
    """

    folder: Path
    name: str
    channel_names: tuple[str, ...]
    labels: dict[str, int]
    file_ending: str
    cases: tuple[Case, ...]
    sides: dict[str, Side] = field(default_factory=dict)
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    structures: dict[str, tuple[str, ...]] = field(default_factory=dict)
    synthetic: bool = False
    allow_missing_channels: bool = False
    participants: pd.DataFrame | None = None
    description: str = ""
    exclude: dict[str, str] = field(default_factory=dict)
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_label: int | None = None
    annotated: dict[str, tuple[str, ...]] = field(default_factory=dict)
    channel_numbers: tuple[int, ...] | None = None

    @property
    def labelled_cases(self) -> tuple[Case, ...]:
        """The cases that have a segmentation: those that can train or judge."""
        return tuple(case for case in self.cases if case.label is not None)

    @property
    def values(self) -> dict[str, tuple[int, ...]]:
        """Structure to the values that stand for it in a label map, of reference or prediction."""
        return LabelSet(self.labels, self.regions).values

    @property
    def mirror_table(self) -> tuple[int, ...]:
        """See `mirror_table`."""
        return mirror_table(self.values, self.mirror_pairs)

    @property
    def participant_ids(self) -> tuple[str, ...]:
        """Everyone who has a case here, sorted."""
        return tuple(sorted({case.participant_id for case in self.cases}))

    def case(self, case_id: str) -> Case:
        """The case of this id.

        Raises:
            DataError: There is none; the message names the nearest, or why it is excluded.
        """
        for case in self.cases:
            if case.case_id == case_id:
                return case
        if case_id in self.exclude:
            raise DataError(
                f"{self.folder}: case '{case_id}' is excluded: {self.exclude[case_id]}."
            )
        nearest = unknown_name("case", case_id, (case.case_id for case in self.cases))
        raise DataError(f"{self.folder}: {nearest}")

    def fingerprint_hash(self) -> str:
        """Hash of what a model learns from, as 64 hexadecimal digits.

        Covers ``dataset.json``, the participant of each case, and name, size and
        content of every image and label. Columns of ``participants.tsv`` are left
        out: a corrected age changes a table, not a model.

        Raises:
            DataError: A file is gone or cannot be read.
        """
        paths = [path for case in self.cases for path in (*case.images, case.label) if path]
        try:
            files = [
                (
                    path.relative_to(self.folder).as_posix(),
                    path.stat().st_size,
                    hash_file_once(path),
                )
                for path in paths
            ]
        except OSError as error:
            raise DataError(f"{error.filename}: must be readable; {error.strerror}.") from error
        owners = [(case.case_id, case.participant_id) for case in self.cases]
        return hash_data([read_json(self.folder / HEADER), owners, files])


def open_dataset(folder: Path | str, *, complete: bool = True) -> Dataset:
    """A dataset from its folder.

    Args:
        folder: In nnU-Net raw layout. Extra keys of ``dataset.json``: ``sides``,
            ``mirror_pairs``, ``structures``, ``synthetic``, ``allow_missing_channels``,
            ``exclude``, ``annotated``; unknown keys are passed over.
        complete: Refuse a case that lacks a channel although the dataset does not
            allow it, a label without image, and a participant with two rows.

    Raises:
        DataError: There is no dataset, or it cannot be used; one sentence.
    """
    folder = Path(folder)
    header = read_header(folder)
    layout = list_layout(folder, header.file_ending)
    table = _participants(folder, complete=complete)
    if complete:
        _refuse_incomplete(folder, header, layout, table)
    cases = assemble_cases(header, layout, table)
    if not cases:
        raise DataError(
            f"{folder}: must hold at least one case as {IMAGES}/CASE_0000{header.file_ending}; "
            f"found {len(layout.images)} in {IMAGES}, {len(layout.images) - len(cases)} of them "
            "excluded. Add images, or correct 'file_ending' or 'exclude' in dataset.json."
        )
    return Dataset(
        folder=folder,
        name=header.name or folder.resolve().name,
        channel_names=header.channel_names,
        labels=header.labels,
        file_ending=header.file_ending,
        cases=cases,
        sides=header.sides,
        mirror_pairs=header.mirror_pairs,
        structures=header.structures,
        synthetic=header.synthetic,
        allow_missing_channels=header.allow_missing_channels,
        participants=table,
        description=header.description,
        exclude=header.exclude,
        regions=header.regions,
        ignore_label=header.ignore_label,
        annotated=header.annotated,
    )


def read_header(folder: Path | str) -> Header:
    """The content of a dataset's ``dataset.json``.

    Raises:
        DataError: There is no such folder or file, or its content does not fit; one
            sentence, with the number of further faults.
    """
    folder = Path(folder)
    require_dataset_folder(folder)
    header, faults = parse_header(read_json(folder / HEADER))
    if faults:
        more = f" ({len(faults) - 1} more: see `acinus check`)" if len(faults) > 1 else ""
        raise DataError(f"{folder / HEADER}: {faults[0]}{more}")
    return header


def require_dataset_folder(folder: Path) -> None:
    """Nothing, if a folder holds a ``dataset.json``.

    Raises:
        DataError: It does not; the message says what is there instead.
    """
    layout = f"{HEADER}, {IMAGES}/ and {LABELS}/"
    if not folder.exists():
        raise DataError(
            f"{folder}: no such folder. Give the path of a dataset: a folder with {layout}."
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder with {layout}; got a file.")
    if (folder / HEADER).is_file():
        return
    if not any(folder.iterdir()):
        raise DataError(f"{folder}: must be a folder with {layout}; it is empty.")
    inside = sorted(path.parent.name for path in folder.glob(f"*/{HEADER}"))
    hint = f" Did you mean '{folder / inside[0]}'?" if inside else ""
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:5])
    raise DataError(f"{folder}: must hold {layout}; {HEADER} is missing, found {found}.{hint}")


def assemble_cases(header: Header, layout: Layout, table: pd.DataFrame | None) -> tuple[Case, ...]:
    """The cases of a layout that have an image and are not excluded, sorted by id."""
    cases = []
    for case_id, participant in kept_cases(header, layout, table).items():
        channels = layout.images.get(case_id, {})
        images = tuple(channels.get(n) for n in range(len(header.channel_names)))
        if any(path is not None for path in images):
            cases.append(Case(case_id, participant, images, layout.labels.get(case_id)))
    return tuple(cases)


def kept_cases(header: Header, layout: Layout, table: pd.DataFrame | None) -> dict[str, str]:
    """Case to participant, for every case with a file that is not excluded, sorted by id.

    A participant that the table lacks, or without a table, is named like the case.
    """
    known = {} if table is None else owners_of(layout.case_ids, table)
    owners = {case_id: known.get(case_id, case_id) for case_id in layout.case_ids}
    return {
        case_id: participant
        for case_id, participant in owners.items()
        if case_id not in header.exclude and participant not in header.exclude
    }


def write_dataset_json(
    folder: Path | str,
    *,
    name: str,
    channel_names: Sequence[str],
    labels: Mapping[str, int | Sequence[int]],
    n_training: int,
    file_ending: str,
    ignore_label: int | None = None,
    **extra: Any,
) -> None:
    """Write the ``dataset.json`` of a dataset.

    Args:
        folder: The dataset.
        name: Its name.
        channel_names: One per channel, in the order of the file numbers.
        labels: Structure to label value, or to the values of a region; background is added.
        n_training: Number of cases.
        file_ending: Ending of images and labels, e.g. ``".nii.gz"``.
        ignore_label: Value of voxels that the label maps say nothing about.
        extra: Further keys, e.g. ``sides``, ``mirror_pairs``, ``synthetic``, ``exclude``,
            ``annotated``; with regions ``regions_class_order``.

    Raises:
        DataError: The content would not open again.
    """
    ignored = {} if ignore_label is None else {IGNORE_NAME: ignore_label}
    data = {
        "name": name,
        "channel_names": {str(number): text for number, text in enumerate(channel_names)},
        "labels": {BACKGROUND: 0, **_as_json(labels), **ignored},
        "numTraining": n_training,
        "file_ending": file_ending,
        **{key: _as_json(value) for key, value in extra.items()},
    }
    path = Path(folder) / HEADER
    faults = parse_header(data)[1]
    if faults:
        raise DataError(f"{path}: {faults[0]}")
    write_json(path, data)


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value


def _participants(folder: Path, *, complete: bool) -> pd.DataFrame | None:
    path = folder / PARTICIPANTS
    if not path.is_file():
        return None
    table = read_participants(path)
    twice = duplicate_ids(table)
    if twice and complete:
        raise DataError(
            f"{path}: a participant must have one row; '{twice[0]}' has several. "
            "Remove all but one."
        )
    return table


def _refuse_incomplete(
    folder: Path, header: Header, layout: Layout, table: pd.DataFrame | None
) -> None:
    advice = "Add the file, or list the case under 'exclude' in dataset.json"
    for case_id in kept_cases(header, layout, table):
        channels = layout.images.get(case_id, {})
        if not channels:
            raise DataError(
                f"{folder}: case '{case_id}' must have an image for its label "
                f"{LABELS}/{case_id}{header.file_ending}; none found. {advice}."
            )
        lacking = [n for n in range(len(header.channel_names)) if n not in channels]
        if lacking and not header.allow_missing_channels:
            raise DataError(
                f"{folder}: case '{case_id}' must have {len(header.channel_names)} channels; "
                f"{IMAGES}/{case_id}_{lacking[0]:04d}{header.file_ending} is missing. {advice}, "
                "or set 'allow_missing_channels' there."
            )
        for path in filter(None, (*channels.values(), layout.labels.get(case_id))):
            if not path.exists():
                raise DataError(
                    f"{path}: must be a file; found a link to a file that is not there. {advice}."
                )


def mirror_partners(mirror_pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Structure to that with which it changes places when right and left do."""
    return {a: b for pair in mirror_pairs for a, b in (pair, pair[::-1])}


def mirror_table(
    values: Mapping[str, Sequence[int]], mirror_pairs: Iterable[tuple[str, str]]
) -> tuple[int, ...]:
    """New value of each label value, from 0 on, when right and left change places.

    Args:
        values: Structure to the values that stand for it in a label map.
        mirror_pairs: Structures that change places; both list their values in the same order.
    """
    table = list(range(max((max(those) for those in values.values()), default=0) + 1))
    for first, second in mirror_pairs:
        for ours, theirs in zip(values[first], values[second], strict=True):
            table[ours], table[theirs] = theirs, ours
    return tuple(table)
