"""Segmentations stored as DICOM objects, and the images that they refer to.

Enters: headers of RT Structure Sets and Segmentation objects. Leaves: names of
their structures and the series and images that they were drawn on. No voxel and
no contour is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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


Image = tuple[str, int | None]


@dataclass(frozen=True)
class StoredSegmentation:
    """One RTSTRUCT or SEG object.

    Attributes:
        path: The file, or the member of an archive.
        kind: Which of both.
        label: StructureSetLabel or ContentLabel, or else the series description.
        names: Of its structures, in the order of the file; see `structure_name`.
        series_uids: Series that it refers to.
        images: Images that it refers to: SOPInstanceUID, and the frame from 1 or None for all.
        frames_of_reference: In which its structures lie, as contours must say and nothing else.
        uid: SOPInstanceUID of its own.
        patient_id: PatientID without blanks around it.
        study_uid: StudyInstanceUID.
        tags: What the header says about the person, by DICOM keyword.
    """

    path: Path
    kind: Literal["RTSTRUCT", "SEG"]
    label: str
    names: tuple[str, ...]
    series_uids: tuple[str, ...]
    images: frozenset[Image] = field(repr=False)
    frames_of_reference: tuple[str, ...] = ()
    uid: str = ""
    patient_id: str = ""
    study_uid: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)


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
        is_contours = str(header.SOPClassUID) == RTSTRUCT
        if is_contours:
            names = [
                structure_name(roi.get("ROIName"), int(roi.ROINumber), "ROI")
                for roi in header.get("StructureSetROISequence") or []
            ]
            referred = list(_series_of_contours(header))
            sequence = "ContourImageSequence"
        else:
            names = [
                structure_name(one.get("SegmentLabel"), int(one.SegmentNumber), "Segment")
                for one in header.get("SegmentSequence") or []
            ]
            referred = list(header.get("ReferencedSeriesSequence") or [])
            sequence = "ReferencedInstanceSequence"
        images = {image for one in referred for image in _images(one.get(sequence))}
        if len(images) < 2 and not any(frame for _, frame in images):
            # No image is named there, or one that may have many frames: each drawn place tells.
            images = set(_images_of_places(path, is_contours=is_contours)) or images
        label = header.get("StructureSetLabel") or header.get("ContentLabel")
        return StoredSegmentation(
            path=path,
            kind="RTSTRUCT" if is_contours else "SEG",
            label=str(label or header.get("SeriesDescription") or "").strip(),
            names=tuple(names),
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


def _images_of_places(path: Path, *, is_contours: bool) -> Iterator[Image]:
    """Images that single contours or frames name, DICOM PS3.3 C.8.8.6 and C.7.6.16.2.6."""
    tag = "ROIContourSequence" if is_contours else "PerFrameFunctionalGroupsSequence"
    for place in open_dicom(path, stop_before_pixels=True, specific_tags=[tag]).get(tag) or []:
        for contour in place.get("ContourSequence") or []:
            yield from _images(contour.get("ContourImageSequence"))
        for derived in place.get("DerivationImageSequence") or []:
            yield from _images(derived.get("SourceImageSequence"))


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
