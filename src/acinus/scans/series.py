"""Which DICOM series a folder or archive holds, and choosing one of them.

Enters: a folder, searched with its subfolders, or a zip archive; names and
suffixes of files say nothing, their content decides. Leaves: series with their
slices in the order of their positions, and the segmentations that refer to
them. Slices of one SeriesInstanceUID that differ in orientation, matrix, pixel
spacing or kind (localizers), or that repeat positions (echoes, time points),
become entries of their own. Choosing the largest series was rejected: the wrong
sequence would be segmented without a word.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from acinus import progress
from acinus.errors import DataError
from acinus.scans.references import StoredSegmentation, is_segmentation, read_references
from acinus.scans.slices import (
    NO_SCAN,
    SINGLE_TAGS,
    SPLIT_TAGS,
    Kind,
    Slice,
    dicom_faults,
    person_of,
    read_header,
    slices_of,
    sort_slices,
)
from acinus.scans.stack import (
    SAME_POSITION_MM,
    Fault,
    along_mm,
    gap_tolerance_mm,
    plane_name,
    stack_faults,
    usual_gap_mm,
)
from acinus.scans.stored import Skipped, list_stored, open_stored
from acinus.types import Spacing

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of direction cosines within one series (about 0.06 degrees)."""


WORTH_A_PROCESS = 2000
"""Files from which reading their headers takes longer than starting further processes."""

Content = list[Slice] | StoredSegmentation | tuple[str, Mapping[str, str]]
"""What a file holds: slices, a segmentation, or why it holds neither in a few words and what its
header says about the person, if it has one."""


@dataclass(frozen=True)
class Series:
    """One stack of DICOM slices.

    Attributes:
        uid: SeriesInstanceUID.
        description: SeriesDescription, with what tells apart the parts of a
            divided series in brackets.
        modality: e.g. ``"MR"``.
        slices: In the order of their positions along the normal.
        spacing_mm: (Z, Y, X); Z is the median distance of positions, or what
            the header states for a single slice.
        patient_id: PatientID without blanks around it, of all slices that have one.
        study_uid: StudyInstanceUID.
        skipped: Reason to number of files in the folder that are no slices.
        faults: What keeps the slices from being an even stack.
    """

    uid: str
    description: str
    modality: str
    slices: tuple[Slice, ...] = field(repr=False)
    spacing_mm: Spacing
    patient_id: str = ""
    study_uid: str = ""
    skipped: Mapping[str, int] = field(default_factory=dict, compare=False)
    faults: tuple[Fault, ...] = ()

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return len(self.slices)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files in the order of their first slice."""
        return tuple(dict.fromkeys(item.path for item in self.slices))

    @property
    def tags(self) -> Mapping[str, str]:
        """Values of the first slice's header by DICOM keyword, as text."""
        return self.slices[0].tags

    @property
    def kind(self) -> Kind:
        """What the images are."""
        return self.slices[0].kind

    @property
    def plane(self) -> str:
        """Axial, sagittal or coronal, whichever is closest."""
        return plane_name(self.slices[0].normal)


@dataclass(frozen=True)
class Export:
    """What a folder or archive holds.

    Attributes:
        series: By number and description.
        segmentations: RTSTRUCT and DICOM SEG objects.
        skipped: Files that are neither.
    """

    series: tuple[Series, ...]
    segmentations: tuple[StoredSegmentation, ...]
    skipped: tuple[Skipped, ...]


def list_series(folder: Path | str) -> list[Series]:
    """All series of image slices in a folder and its subfolders, by number and description.

    Files that are no DICOM image are left out and counted in `Series.skipped`.

    Raises:
        DataError: There is no such folder, or it holds no DICOM slices; the
            message counts the files by what is wrong with them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder with a DICOM series; there is none.")
    with progress.quiet():
        return list(require_series(list_export(folder), folder))


def require_series(export: Export, source: Path) -> tuple[Series, ...]:
    """The series of an export.

    Raises:
        DataError: There are none; the message counts the files by what is wrong with them.
    """
    if not export.series:
        skipped = Counter(one.reason for one in export.skipped)
        skipped.update(f"{one.kind} without images" for one in export.segmentations)
        reasons = "; ".join(f"{n} {reason}" for reason, n in skipped.items()) or "no files at all"
        raise DataError(
            f"{source}: must hold the DICOM slices of a series; found {reasons}. "
            "Give the folder that holds the exported images."
        )
    return export.series


def list_export(source: Path | str, *, jobs: int = 1) -> Export:
    """Everything in a folder or zip archive, of any depth and order.

    Args:
        source: The folder or archive.
        jobs: Processes that read headers side by side, where there are many.

    Raises:
        DataError: There is no such folder or archive.
    """
    files, left_out = list_stored(Path(source))
    skipped = list(left_out)
    segmentations: list[StoredSegmentation] = []
    by_series: dict[tuple[str, str], dict[str, list[Slice]]] = defaultdict(
        lambda: defaultdict(list)
    )
    examined = _examine_all(files, jobs)
    reading = progress.track(examined, "Reading headers", total=len(files), unit="file")
    for path, found in reading:
        if isinstance(found, StoredSegmentation):
            segmentations.append(found)
            continue
        if isinstance(found, tuple):
            reason, tags = found
            skipped.append(Skipped(path, reason, not reason.startswith(NO_SCAN), tags))
            continue
        names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        person, study, uid = (found[0].tags.get(name, "").strip() for name in names)
        by_series[study, uid][person] += found
    segmentations, copies = _without_copied_objects(segmentations)
    skipped += copies
    counted = Counter(one.reason for one in skipped)
    series = [
        _describe(stack, note, person, counted)
        for of_persons in by_series.values()
        for person, slices in _with_lost_ids(of_persons).items()
        for stack, note in _divide(slices)
    ]
    return Export(tuple(sorted(series, key=_order)), tuple(segmentations), tuple(skipped))


def _with_lost_ids(of_persons: Mapping[str, list[Slice]]) -> Mapping[str, list[Slice]]:
    """Slices of one series by PatientID; those that lost it belong to the only id that is there."""
    known = [person for person in of_persons if person]
    if len(known) != 1:
        return of_persons
    return {known[0]: [item for slices in of_persons.values() for item in slices]}


def _without_copied_objects(
    objects: Sequence[StoredSegmentation],
) -> tuple[list[StoredSegmentation], list[Skipped]]:
    """Objects without files that are in the export twice, byte by byte, such as in its own zip."""
    numbers = Counter(one.uid for one in objects)
    kept: list[StoredSegmentation] = []
    copies: list[Skipped] = []
    seen: set[tuple[str, str]] = set()
    for one in objects:
        if one.uid and numbers[one.uid] > 1:
            try:
                with open_stored(one.path) as stream:
                    key = one.uid, hashlib.sha256(stream.read()).hexdigest()
            except dicom_faults():
                kept.append(one)  # whoever draws it says what is wrong with it
                continue
            if key in seen:
                copies.append(Skipped(one.path, f"copies of a {one.kind}", is_fault=False))
                continue
            seen.add(key)
        kept.append(one)
    return kept, copies


def _examine_all(files: Sequence[Path], jobs: int) -> Iterator[tuple[Path, Content]]:
    """Each file with what it holds, in the order of the files."""
    if jobs == 1 or len(files) < WORTH_A_PROCESS:
        yield from ((path, _examine(path)) for path in files)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from zip(files, pool.map(_examine, files, chunksize=64), strict=True)


def _examine(path: Path) -> Content:
    header = read_header(path)
    if isinstance(header, str):
        return header, {}
    found = read_references(path) if is_segmentation(header) else slices_of(header, path)
    return (found, person_of(header)) if isinstance(found, str) else found


def _order(one: Series) -> tuple[str | int, ...]:
    number = one.tags.get("SeriesNumber", "")
    return (
        int(number) if number.isdecimal() else 10**9,
        one.description,
        one.uid,
        str(one.slices[0].path),
        one.slices[0].frame or 0,
    )


def describe_series(series: Sequence[Series], *, with_uid: bool = True) -> str:
    """Numbered lines, one a series: description, modality, slices, spacing.

    Args:
        series: What `list_series` found.
        with_uid: Also name the SeriesInstanceUID.
    """
    lines = []
    for number, one in enumerate(series, start=1):
        z, y, x = one.spacing_mm
        uid = f", UID {one.uid}" if with_uid else ""
        lines.append(
            f"{number}: '{one.description}' ({one.modality}, {one.n_slices} "
            f"{progress.plural('slice', one.n_slices)}, "
            f"{z:.4g} x {y:.4g} x {x:.4g} mm{uid})"
        )
    return "\n".join(lines)


def choose_series(series: Sequence[Series], wanted: str | None = None) -> Series:
    """The one series that is meant.

    Args:
        series: What `list_series` found.
        wanted: Its number in the list (from 1), its UID, or part of its
            description, upper or lower case. None if there is only one.

    Raises:
        DataError: Several series fit, or none; the message lists all.
    """
    fitting = list(series) if wanted is None else _fitting(series, wanted)
    if len(fitting) == 1:
        return fitting[0]
    if wanted is None:
        found = f"found {len(series)} series and no choice"
    elif fitting:
        names = ", ".join(f"'{one.description}'" for one in fitting)
        found = f"'{wanted}' fits {len(fitting)} of them ({names})"
    else:
        found = f"'{wanted}' fits none of them"
    raise DataError(
        f"exactly one DICOM series must be chosen; {found}. Choose by number, UID or part of the "
        f"description (--series):\n{describe_series(series)}"
    )


def _fitting(series: Sequence[Series], wanted: str) -> list[Series]:
    tests: list[Callable[[int, Series], bool]] = [
        lambda number, one: wanted == str(number),
        lambda number, one: wanted == one.uid,
        lambda number, one: wanted.casefold() == one.description.casefold(),
        lambda number, one: bool(wanted) and wanted.casefold() in one.description.casefold(),
    ]
    for test in tests:
        found = [one for number, one in enumerate(series, start=1) if test(number, one)]
        if found:
            return found
    return []


def _divide(slices: Sequence[Slice]) -> list[tuple[list[Slice], str]]:
    """Stacks of one orientation, matrix and position set, each with what sets it apart."""
    stacks: list[list[Slice]] = []
    for item in slices:
        for stack in stacks:
            if _same_plane(stack[0], item):
                stack.append(item)
                break
        else:
            stacks.append([item])
    divided: list[tuple[list[Slice], str]] = []
    for stack, note in zip(stacks, _plane_notes([stack[0] for stack in stacks]), strict=True):
        for part, tag in _divide_repeats(stack):
            divided.append((sort_slices(part), ", ".join(filter(None, (note, tag)))))
    return divided


def _same_plane(one: Slice, other: Slice) -> bool:
    return (
        (one.n_rows, one.n_columns) == (other.n_rows, other.n_columns)
        and one.kind == other.kind
        and one.tags.get("Modality") == other.tags.get("Modality")
        and one.tags.get("FrameOfReferenceUID") == other.tags.get("FrameOfReferenceUID")
        and np.allclose(one.pixel_mm, other.pixel_mm, rtol=1e-4)
        and bool(np.all(np.abs(one.orientation - other.orientation) <= ORIENTATION_TOLERANCE))
    )


def _plane_notes(firsts: Sequence[Slice]) -> list[str]:
    """For each stack by its first slice, what tells it from the others; empty for a single one."""
    if len(firsts) == 1:
        return [""]
    frames = list(dict.fromkeys(item.tags.get("FrameOfReferenceUID") for item in firsts))
    traits: tuple[Callable[[Slice], str], ...] = (
        lambda item: item.kind,
        lambda item: item.tags.get("Modality", ""),
        lambda item: plane_name(item.normal),
        lambda item: f"{item.n_rows} x {item.n_columns}",
        lambda item: f"{_pixel_text(item.pixel_mm)} mm pixels",
        lambda item: f"frame of reference {frames.index(item.tags.get('FrameOfReferenceUID')) + 1}",
    )
    telling = [trait for trait in traits if len({trait(item) for item in firsts}) > 1]
    notes = [", ".join(trait(item) for trait in telling) for item in firsts]
    return [
        note if notes.count(note) == 1 else ", ".join(filter(None, (note, f"part {number}")))
        for number, note in enumerate(notes, start=1)
    ]


def _divide_repeats(stack: list[Slice]) -> list[tuple[list[Slice], str]]:
    """Divide by the first tag that makes even stacks of one that is not; else leave it whole.

    Images that repeat positions are divided by a tag with as many values as the
    fullest position has images; unevenly spaced ones by a tag whose parts are even,
    unless they are one stack that lost slices between its parts. A StackID says that they are
    not. Even stacks are divided only where two lie in each other, like echoes half a slice apart.
    """
    n_repeats = _n_repeats(stack)
    faults = stack_faults(sort_slices(stack))
    is_even = n_repeats == 1 and not faults
    has_lost_slices = all(fault.code == "missing" and fault.is_repairable for fault in faults)
    for tag in SINGLE_TAGS if is_even else SPLIT_TAGS:
        parts: dict[str, list[Slice]] = defaultdict(list)
        for item in stack:
            parts[item.tags.get(tag, "")].append(item)
        if n_repeats > 1:
            is_apart = len(parts) == n_repeats and all(_n_repeats(p) == 1 for p in parts.values())
        else:
            is_apart = (
                len(parts) > 1
                and all(
                    len(part) > 1 and not stack_faults(sort_slices(part)) for part in parts.values()
                )
                and not (is_even and not _lie_in_each_other(tuple(parts.values())))
                and not (has_lost_slices and tag != "StackID" and _go_on(tuple(parts.values())))
            )
        if is_apart:
            return [(part, f"{tag} {value.removesuffix('.0')}") for value, part in parts.items()]
    return [(stack, "")]


def _go_on(parts: Sequence[Sequence[Slice]]) -> bool:
    """Whether parts of a stack lie one after another at its distances, as a scanner that moves
    the table in steps numbers them."""
    order = sort_slices([item for part in parts for item in part])
    usual = usual_gap_mm(order)
    part_of = {id(item): number for number, part in enumerate(parts) for item in part}
    n_runs = sum(1 for _ in groupby(order, key=lambda item: part_of[id(item)]))
    return n_runs == len(parts) and all(
        abs(usual_gap_mm(sort_slices(part)) - usual) <= gap_tolerance_mm(usual) for part in parts
    )


def _lie_in_each_other(parts: Sequence[Sequence[Slice]]) -> bool:
    """Whether the slices of parts take turns: they are images of one region each."""
    order = sort_slices([item for part in parts for item in part])
    part_of = {id(item): number for number, part in enumerate(parts) for item in part}
    numbers = [part_of[id(item)] for item in order]
    n = len(parts)
    return all(one == other for one, other in zip(numbers, numbers[n:], strict=False)) and (
        len(set(numbers[:n])) == n
    )


def mixed_values(one: Series) -> list[str]:
    """What differs among slices of a series that is the same in one image, in words."""
    found = []
    for tag in SINGLE_TAGS:
        values = Counter(_rounded(item.tags.get(tag, "")) for item in one.slices)
        if len(values) > 1:
            shown = ", ".join(f"{value or 'none'} ({n})" for value, n in values.most_common(4))
            more = ", …" if len(values) > 4 else ""
            found.append(f"slices differ in {tag}: {shown}{more}; look whether they are one image")
    return found


def _rounded(text: str) -> str:
    """Text of a header; a number to three digits, since times of one image may differ beyond."""
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return text


def _pixel_text(pixel_mm: tuple[float, float]) -> str:
    rows, columns = (f"{length:.4g}" for length in pixel_mm)
    return rows if rows == columns else f"{rows} x {columns}"


def _n_repeats(stack: Sequence[Slice]) -> int:
    """Most images at one position; copies of one image count once."""
    at: dict[int, set[tuple[str, int | None]]] = defaultdict(set)
    order = sort_slices(stack)
    place = 0
    for item, gap in zip(order, np.diff(along_mm(order), prepend=-np.inf), strict=True):
        place += int(gap >= SAME_POSITION_MM)
        at[place].add((item.tags.get("SOPInstanceUID", str(item.path)), item.frame))
    return max(len(images) for images in at.values())


def _describe(stack: list[Slice], note: str, person: str, skipped: Mapping[str, int]) -> Series:
    first = stack[0]
    description = first.tags.get("SeriesDescription", "").strip() or "no description"
    series = Series(
        uid=first.tags["SeriesInstanceUID"],
        description=description,
        modality=first.tags.get("Modality", ""),
        slices=tuple(stack),
        spacing_mm=(usual_gap_mm(stack), *first.pixel_mm),
        patient_id=person,
        study_uid=first.tags.get("StudyInstanceUID", ""),
        skipped=skipped,
        faults=tuple(stack_faults(stack)),
    )
    return replace(series, description=f"{description} [{note}]") if note else series
