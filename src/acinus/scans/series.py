"""Which DICOM series a folder holds, and choosing one of them.

Enters: a folder, searched with its subfolders; names and suffixes of files say
nothing, their content decides. Leaves: series with their files in the order of
their positions. Files of one SeriesInstanceUID that differ in orientation,
matrix or pixel spacing (localizers), or that repeat all positions (echoes,
time points), become entries of their own. Choosing the largest series was
rejected: the wrong sequence would be segmented without a word.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError
from acinus.scans.content import describe_content
from acinus.types import Spacing

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of direction cosines within one series (about 0.06 degrees)."""

SAME_POSITION_MM = 1e-3
"""Slices closer than this along their normal lie at one position, mm."""

_FIRST_GROUP = b"\x08\x00"
"""Begin of a DICOM file without preamble: group 0008, little endian."""

_SPLIT_TAGS = ("EchoTime", "TemporalPositionIdentifier", "AcquisitionNumber", "DiffusionBValue")
"""What may tell apart images at one position, in this order."""

_TAGS = (
    "SpecificCharacterSet",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "SeriesNumber",
    "Modality",
    "PatientID",
    "StudyInstanceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    *_SPLIT_TAGS,
)


@dataclass(frozen=True, eq=False)
class Slice:
    """One image file and where it lies, in the LPS world of DICOM.

    Attributes:
        path: The file.
        orientation: (2, 3) unit directions of increasing column and row index, LPS.
        position: (3,) centre of the first pixel, LPS, mm.
        pixel_mm: Distance between rows and between columns, mm.
        n_rows: Height in pixels.
        n_columns: Width in pixels.
        thickness_mm: Spacing or thickness that the header states; None if neither.
        tags: Further values by DICOM keyword, as text.
    """

    path: Path
    orientation: np.ndarray
    position: np.ndarray
    pixel_mm: tuple[float, float]
    n_rows: int
    n_columns: int
    thickness_mm: float | None
    tags: dict[str, str]

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit direction across the slice, LPS."""
        return np.asarray(np.cross(self.orientation[0], self.orientation[1]))

    @property
    def along_mm(self) -> float:
        """Position along the slice's own normal, mm."""
        return float(self.position @ self.normal)


@dataclass(frozen=True)
class Series:
    """One stack of DICOM slices.

    Attributes:
        uid: SeriesInstanceUID.
        description: SeriesDescription, with what tells apart the parts of a
            divided series in brackets.
        modality: e.g. ``"MR"``.
        n_slices: Number of files.
        spacing_mm: (Z, Y, X); Z is the median distance of positions, or what
            the header states for a single slice.
        paths: Files in the order of their positions along the normal.
        patient_id: PatientID.
        study_uid: StudyInstanceUID.
        skipped: Reason to number of files in the folder that are no slices.
    """

    uid: str
    description: str
    modality: str
    n_slices: int
    spacing_mm: Spacing
    paths: tuple[Path, ...]
    patient_id: str = ""
    study_uid: str = ""
    skipped: dict[str, int] = field(default_factory=dict, compare=False)


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
    slices, skipped = _find_slices(folder)
    if not slices:
        reasons = "; ".join(f"{n} {reason}" for reason, n in skipped.items()) or "no files at all"
        raise DataError(
            f"{folder}: must hold the DICOM slices of a series; found {reasons}. "
            "Give the folder that holds the exported images."
        )
    by_uid: dict[str, list[Slice]] = defaultdict(list)
    for item in slices:
        by_uid[item.tags["SeriesInstanceUID"]].append(item)
    listed: list[tuple[tuple[Any, ...], Series]] = []
    for parts in by_uid.values():
        for stack, note in _divide(parts):
            series = _describe(stack, note, dict(skipped))
            number = stack[0].tags.get("SeriesNumber", "")
            order = (int(number) if number.isdigit() else 10**9, series.description, series.uid)
            listed.append(((*order, str(series.paths[0])), series))
    return [series for _, series in sorted(listed, key=lambda pair: pair[0])]


def describe_series(series: Sequence[Series]) -> str:
    """Numbered lines, one a series: description, modality, slices, spacing."""
    lines = []
    for number, one in enumerate(series, start=1):
        z, y, x = one.spacing_mm
        lines.append(
            f"{number}: '{one.description}' ({one.modality}, {one.n_slices} slices, "
            f"{z:.4g} x {y:.4g} x {x:.4g} mm, UID {one.uid})"
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


def _find_slices(folder: Path) -> tuple[list[Slice], Counter[str]]:
    slices: list[Slice] = []
    skipped: Counter[str] = Counter()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        item = read_slice_header(path)
        if isinstance(item, Slice):
            slices.append(item)
        else:
            skipped[item] += 1
    return slices, skipped


def dicom_faults() -> tuple[type[Exception], ...]:
    """What pydicom raises on damaged files, early or when a value is first looked at."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        InvalidDicomError,
        BytesLengthException,
        OSError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        NotImplementedError,
        OverflowError,
        struct.error,
    )


def open_dicom(path: Path, **options: Any) -> Any:
    """The pydicom dataset of a file, with or without the preamble that the standard asks for.

    Args:
        path: The file.
        **options: Handed to ``pydicom.dcmread``.

    Raises:
        pydicom.errors.InvalidDicomError: The file is not DICOM.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        return pydicom.dcmread(path, **options)
    except InvalidDicomError:
        with path.open("rb") as stream:
            if stream.read(2) != _FIRST_GROUP:
                raise
    header = pydicom.dcmread(path, force=True, **options)
    if "TransferSyntaxUID" not in header.file_meta:
        implicit = header.original_encoding[0]
        header.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    return header


def read_slice_header(path: Path) -> Slice | str:
    """The slice in a file, or in a few words why there is none."""
    from pydicom.errors import InvalidDicomError

    try:
        return slice_of(open_dicom(path, stop_before_pixels=True, specific_tags=list(_TAGS)), path)
    except InvalidDicomError:
        return f"not DICOM ({_short(describe_content(path))})"
    except PermissionError:
        return "not readable (no permission)"
    except dicom_faults():
        return "damaged DICOM"


def _short(found: str) -> str:
    return found.split(" that begin")[0]


def slice_of(header: Any, path: Path) -> Slice | str:
    """The slice that a pydicom dataset describes, or in a few words why it describes none."""
    if not header.get("Rows") or not header.get("Columns"):
        return "DICOM without an image"
    if int(header.get("NumberOfFrames") or 1) > 1:
        return "multi-frame DICOM (convert it to one file a slice, or with dcm2niix to NIfTI)"
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return "colour pictures"
    cosines, position = header.get("ImageOrientationPatient"), header.get("ImagePositionPatient")
    pixel_mm = header.get("PixelSpacing")
    if not cosines or not position or not pixel_mm:
        return "DICOM images without orientation, position or pixel spacing"
    if not header.get("SeriesInstanceUID"):
        return "DICOM images without SeriesInstanceUID"
    directions = np.array([float(value) for value in cosines]).reshape(2, 3)
    corner = np.array([float(value) for value in position]).reshape(3)
    if not (np.all(np.isfinite(corner)) and np.all(np.isfinite(directions))):
        return "DICOM images whose position or orientation is not finite"
    lengths = np.linalg.norm(directions, axis=1)
    if np.any(np.abs(lengths - 1) > 0.01) or abs(directions[0] @ directions[1]) > 0.01:
        return "DICOM images whose orientation is no pair of perpendicular directions"
    thickness = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
    return Slice(
        path=path,
        orientation=directions / lengths[:, np.newaxis],
        position=corner,
        pixel_mm=(float(pixel_mm[0]), float(pixel_mm[1])),
        n_rows=int(header.Rows),
        n_columns=int(header.Columns),
        thickness_mm=abs(float(thickness)) if thickness else None,
        tags={tag: str(header.get(tag, "")) for tag in _TAGS if tag in header},
    )


def sort_slices(slices: Sequence[Slice]) -> list[Slice]:
    """Slices by position along the first one's normal; equal positions by file name."""
    normal = slices[0].normal
    return sorted(slices, key=lambda item: (round(float(item.position @ normal), 4), item.path))


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
    for stack in stacks:
        note = _plane_name(stack[0].normal) if len(stacks) > 1 else ""
        for part, tag in _divide_repeats(stack):
            divided.append((sort_slices(part), ", ".join(filter(None, (note, tag)))))
    return divided


def _same_plane(one: Slice, other: Slice) -> bool:
    return (
        (one.n_rows, one.n_columns) == (other.n_rows, other.n_columns)
        and np.allclose(one.pixel_mm, other.pixel_mm, rtol=1e-4)
        and bool(np.all(np.abs(one.orientation - other.orientation) <= ORIENTATION_TOLERANCE))
    )


def _divide_repeats(stack: list[Slice]) -> list[tuple[list[Slice], str]]:
    """Divide by the first tag whose values each hold every position once; else leave it whole."""
    if not _has_repeats(stack):
        return [(stack, "")]
    for tag in _SPLIT_TAGS:
        parts: dict[str, list[Slice]] = defaultdict(list)
        for item in stack:
            parts[item.tags.get(tag, "")].append(item)
        sizes = {len(part) for part in parts.values()}
        if len(parts) > 1 and len(sizes) == 1 and not any(map(_has_repeats, parts.values())):
            return [(part, f"{tag} {value.removesuffix('.0')}") for value, part in parts.items()]
    return [(stack, "")]


def _has_repeats(stack: Sequence[Slice]) -> bool:
    along = np.sort([float(item.position @ stack[0].normal) for item in stack])
    return bool(np.any(np.diff(along) < SAME_POSITION_MM))


def _plane_name(normal: np.ndarray) -> str:
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]


def _describe(stack: list[Slice], note: str, skipped: dict[str, int]) -> Series:
    first = stack[0]
    along = np.array([float(item.position @ first.normal) for item in stack])
    gap_mm = float(np.median(np.diff(along))) if len(stack) > 1 else (first.thickness_mm or 0.0)
    description = first.tags.get("SeriesDescription", "").strip() or "no description"
    series = Series(
        uid=first.tags["SeriesInstanceUID"],
        description=description,
        modality=first.tags.get("Modality", ""),
        n_slices=len(stack),
        spacing_mm=(gap_mm, *first.pixel_mm),
        paths=tuple(item.path for item in stack),
        patient_id=first.tags.get("PatientID", ""),
        study_uid=first.tags.get("StudyInstanceUID", ""),
        skipped=skipped,
    )
    return replace(series, description=f"{description} [{note}]") if note else series
