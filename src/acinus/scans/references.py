"""Segmentations stored as DICOM objects, and the images that they refer to.

Enters: headers of RT Structure Sets and Segmentation objects. Leaves: names of
their structures and the series and images that they were drawn on. No voxel and
no contour is read here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from acinus.scans.dicom_segments import structure_name
from acinus.scans.person import PERSON_TAGS
from acinus.scans.slices import dicom_faults, open_dicom, person_of

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation and Label Map Segmentation."""

_TAGS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "SeriesDescription",
    "SeriesNumber",
    "StructureSetLabel",
    "ContentLabel",
    "StructureSetROISequence",
    "ReferencedFrameOfReferenceSequence",
    "FrameOfReferenceUID",
    "RTROIObservationsSequence",
    "SegmentSequence",
    "ReferencedSeriesSequence",
    *PERSON_TAGS,
)


_PLACES = (
    "StructureSetROISequence",
    "ROIContourSequence",
    "SegmentSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""Where single contours and frames are described, DICOM PS3.3 C.8.8.6 and C.7.6.16."""

ObjectKind = Literal["RTSTRUCT", "SEG"]

Image = tuple[str, int | None]
"""SOPInstanceUID, and the frame from 1 or None for all."""


@dataclass(frozen=True)
class StoredSegmentation:
    """One RTSTRUCT or SEG object.

    Attributes:
        path: The file, or the member of an archive.
        kind: Which of both.
        label: StructureSetLabel or ContentLabel, or else the series description.
        names: Of its structures, in the order of the file; see `structure_name`.
        series_uids: Series that it refers to.
        images: Images that it refers to.
        frames_of_reference: In which its structures lie, as contours must say and nothing else.
        uid: SOPInstanceUID of its own.
        patient_id: PatientID without blanks around it.
        study_uid: StudyInstanceUID.
        tags: What the header says about the person, by DICOM keyword.
        is_part: Whether `names` are some of its structures only: those drawn on one series.
    """

    path: Path
    kind: ObjectKind
    label: str
    names: tuple[str, ...]
    series_uids: tuple[str, ...]
    images: frozenset[Image] = field(repr=False)
    frames_of_reference: tuple[str, ...] = ()
    uid: str = ""
    patient_id: str = ""
    study_uid: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_part: bool = False

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.kind} '{self.label}'" + (f" ({', '.join(self.names)})" * self.is_part)

    @cached_property
    def drawn_images(self) -> dict[str, frozenset[Image]]:
        """Structure to the images that its own contours or frames name, read when asked for.

        Structures whose places name none are left out; a damaged object tells of none.
        """
        try:
            places = list(_places(self.path, self.kind))
        except dicom_faults():
            return {}
        found: dict[str, set[Image]] = defaultdict(set)
        for name, image in places:
            for one in self.names if name is None else [name]:
                found[one].add(image)
        return {name: frozenset(images) for name, images in found.items()}


def is_segmentation(header: Any) -> bool:
    """Whether a pydicom dataset is an RTSTRUCT or SEG object; False if it is damaged there."""
    try:
        return str(header.get("SOPClassUID", "")) in (RTSTRUCT, *SEGMENTATIONS)
    except dicom_faults():
        return False


def read_references(path: Path) -> StoredSegmentation | str:
    """What a segmentation object names and refers to, or in a few words why it cannot be told."""
    try:
        header = open_dicom(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        kind: ObjectKind = "RTSTRUCT" if str(header.SOPClassUID) == RTSTRUCT else "SEG"
        if kind == "RTSTRUCT":
            referred = list(_series_of_contours(header))
            sequence = "ContourImageSequence"
        else:
            referred = list(header.get("ReferencedSeriesSequence") or [])
            sequence = "ReferencedInstanceSequence"
        images = {image for one in referred for image in _images(one.get(sequence))}
        if len(images) < 2 and not any(frame for _, frame in images):
            # No image is named there, or one that may have many frames: each drawn place tells.
            images = {image for _, image in _places(path, kind)} or images
        label = header.get("StructureSetLabel") or header.get("ContentLabel")
        return StoredSegmentation(
            path=path,
            kind=kind,
            label=str(label or header.get("SeriesDescription") or "").strip(),
            names=tuple(name for _, name in _numbered_names(header, kind)),
            series_uids=tuple(dict.fromkeys(str(one.SeriesInstanceUID) for one in referred)),
            images=frozenset(images),
            frames_of_reference=tuple(_frames_of_reference(header)),
            uid=str(header.get("SOPInstanceUID", "")),
            patient_id=str(header.get("PatientID", "")).strip(),
            study_uid=str(header.get("StudyInstanceUID", "")),
            tags={**person_of(header), "ROIInterpreter": _interpreters(header)},
        )
    except dicom_faults():
        return "damaged DICOM segmentation"


def _images(items: Any) -> Iterator[Image]:
    """What references to images name."""
    for item in items or []:
        numbers = item.get("ReferencedFrameNumber")
        several = [numbers] if isinstance(numbers, int | str) else numbers or [None]
        for number in several:
            yield str(item.ReferencedSOPInstanceUID), None if number is None else int(number)


def _numbered_names(header: Any, kind: ObjectKind) -> list[tuple[int, str]]:
    """Structures of an object in the order of the file."""
    if kind == "RTSTRUCT":
        return [
            (int(roi.ROINumber), structure_name(roi.get("ROIName"), int(roi.ROINumber), "ROI"))
            for roi in header.get("StructureSetROISequence") or []
        ]
    return [
        (
            int(one.SegmentNumber),
            structure_name(one.get("SegmentLabel"), int(one.SegmentNumber), "Segment"),
        )
        for one in header.get("SegmentSequence") or []
    ]


def _places(path: Path, kind: ObjectKind) -> Iterator[tuple[str | None, Image]]:
    """Images that single contours or frames name, each with its structure; None: it tells none."""
    header = open_dicom(path, stop_before_pixels=True, specific_tags=list(_PLACES))
    names = dict(_numbered_names(header, kind))
    for roi in header.get("ROIContourSequence") or []:
        name = names.get(int(roi.ReferencedROINumber))
        for contour in roi.get("ContourSequence") or []:
            for image in _images(contour.get("ContourImageSequence")):
                yield name, image
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or [{}]))
    for frame in header.get("PerFrameFunctionalGroupsSequence") or []:
        # What all frames share may say it for each of them.
        identified, derived = (
            frame.get(group) or shared.get(group) or []
            for group in ("SegmentIdentificationSequence", "DerivationImageSequence")
        )
        numbers = [int(one.ReferencedSegmentNumber) for one in identified]
        name = names.get(numbers[0]) if numbers else None
        for source in derived:
            for image in _images(source.get("SourceImageSequence")):
                yield name, image


def _interpreters(header: Any) -> str:
    """Names of those who drew or judged structures, DICOM PS3.3 C.8.8.8, as one value."""
    observations = header.get("RTROIObservationsSequence") or []
    return "\\".join(dict.fromkeys(str(one.get("ROIInterpreter") or "") for one in observations))


def _frames_of_reference(header: Any) -> Iterator[str]:
    """UIDs of the worlds that structures lie in, DICOM PS3.3 C.8.8.5 and C.7.4.1."""
    own = [header, *(header.get("ReferencedFrameOfReferenceSequence") or [])]
    found = [str(one.get("FrameOfReferenceUID") or "") for one in own]
    found += [
        str(roi.get("ReferencedFrameOfReferenceUID") or "")
        for roi in header.get("StructureSetROISequence") or []
    ]
    yield from dict.fromkeys(filter(None, found))


def _series_of_contours(header: Any) -> Iterator[Any]:
    """The items that name a series, DICOM PS3.3 C.8.8.5."""
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            yield from study.get("RTReferencedSeriesSequence") or []
