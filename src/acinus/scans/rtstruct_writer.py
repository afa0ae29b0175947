"""A label map as radiotherapy structure set (RTSTRUCT) on its source series.

Enters: labels on the grid of a series, names, sides, who made them. Leaves: closed planar
contours along the edges of voxels, holes as keyholes. Smoothed contours were rejected: they
change the volume of small structures, and a single voxel may vanish.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError
from acinus.files import whole_file
from acinus.scans.coding import ABNORMAL_STRUCTURE, Code, coding_of
from acinus.scans.dicom_source import (
    MANUFACTURER,
    UNICODE,
    LabelledStructure,
    Origin,
    SourceSeries,
    dicom_names,
    laterality_of,
    mark_of,
    on_series,
    read_source,
    series_number,
)
from acinus.scans.polygons import Points, outline_mask
from acinus.scans.rtstruct import RTSTRUCT_CLASSES
from acinus.scans.segments import SEGMENT_COLORS
from acinus.scans.series import Series
from acinus.scans.slices import Slice
from acinus.scans.volume import Volume
from acinus.types import Labelmap
from acinus.version import __version__

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: what the standard wants a structure set to call its study."""

_COPIED = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)
"""Of the source: patient, study and frame of reference."""


def write_rtstruct(
    labelmap: Volume,
    structures: Sequence[LabelledStructure],
    series: Series,
    path: Path | str,
    *,
    origin: Origin,
) -> None:
    """Write a label map as RTSTRUCT, whole or not at all.

    Args:
        labelmap: (Z, Y, X) integers on the voxels of the series; axes may be turned.
        structures: What its values mean; empty ones are named too, without contours.
        series: The images that were segmented.
        path: The file.
        origin: Who made it.

    Raises:
        DataError: There are no structures, or the series cannot carry a result.
        GridError: The label map does not hold the voxels of the series.
    """
    path = Path(path)
    if not structures:
        raise DataError(f"{path}: a structure set must have at least one structure; got none.")
    source = read_source(series)
    array = on_series(labelmap, source.grid, series).array
    dataset = _general(source, origin)
    dataset.ReferencedFrameOfReferenceSequence = [_reference(source)]
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    names = dicom_names(structures)
    for number, (one, name) in enumerate(zip(structures, names, strict=True), start=1):
        dataset.StructureSetROISequence.append(_roi(number, name, source, origin))
        dataset.ROIContourSequence.append(_contours(number, one, array, source))
        dataset.RTROIObservationsSequence.append(_observation(number, one, name, structures))
    with whole_file(path) as beside:
        dataset.save_as(beside, enforce_file_format=True)


def _general(source: SourceSeries, origin: Origin) -> Any:
    """Patient, study, series, equipment and the head of the structure set."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, generate_uid

    header = source.headers[0]
    now = datetime.datetime.now()
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    # Lengths have 32 bits only without explicit types: a contour may need more than 64 KB.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SpecificCharacterSet = UNICODE
    for keyword in _COPIED:
        if keyword in header:
            dataset[keyword] = header[keyword]
    if "PositionReferenceIndicator" not in dataset:
        dataset.PositionReferenceIndicator = ""
    dataset.SOPClassUID = next(iter(RTSTRUCT_CLASSES))
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SeriesNumber = series_number(header)
    dataset.SeriesDescription = f"{mark_of(header)}RTSTRUCT of {source.series.description}"[:64]
    dataset.Modality = "RTSTRUCT"
    dataset.InstanceNumber = 1
    dataset.OperatorsName = ""
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = __version__
    dataset.InstanceCreationDate = dataset.StructureSetDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = dataset.StructureSetTime = now.strftime("%H%M%S")
    dataset.StructureSetLabel = "SEGMENTATION"
    dataset.StructureSetDescription = f"{origin.text}. {origin.warning}".strip()[:1024]
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _reference(source: SourceSeries) -> Any:
    """The frame of reference with study, series and images."""
    series = _item(
        SeriesInstanceUID=source.headers[0].SeriesInstanceUID,
        ContourImageSequence=[
            _image(header, one) for header, one in zip(source.headers, source.slices, strict=True)
        ],
    )
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=source.headers[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(
        FrameOfReferenceUID=source.headers[0].FrameOfReferenceUID,
        RTReferencedStudySequence=[study],
    )


def _roi(number: int, name: str, source: SourceSeries, origin: Origin) -> Any:
    roi = _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=source.headers[0].FrameOfReferenceUID,
        ROIName=name,
        ROIGenerationAlgorithm=origin.maker,
    )
    if origin.maker != "MANUAL":
        roi.ROIGenerationDescription = origin.text[:64]
    if origin.warning:
        roi.ROIDescription = origin.warning[:1024]
    return roi


def _contours(
    number: int, structure: LabelledStructure, array: Labelmap, source: SourceSeries
) -> Any:
    color = SEGMENT_COLORS[(number - 1) % len(SEGMENT_COLORS)]
    contour = _item(
        ROIDisplayColor=[round(255 * part) for part in color], ReferencedROINumber=number
    )
    items = list(_contour_items(structure, array, source))
    if items:
        contour.ContourSequence = items
    return contour


def _contour_items(
    structure: LabelledStructure, array: Labelmap, source: SourceSeries
) -> Iterator[Any]:
    for labels, header, place in zip(array, source.headers, source.slices, strict=True):
        for points in outline_mask(structure.mask(labels)):
            yield _item(
                ContourImageSequence=[_image(header, place)],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=_in_the_patient(points, place),
            )


def _in_the_patient(points: Points, place: Slice) -> list[str]:
    """LPS mm, x, y and z of one point after the other, as decimal strings."""
    steps = np.array([place.pixel_mm[0], place.pixel_mm[1]])
    lps = place.position + (points * steps) @ place.orientation[::-1]
    return [f"{value:.4f}" for value in lps.ravel()]


def _observation(
    number: int, structure: LabelledStructure, name: str, structures: Sequence[LabelledStructure]
) -> Any:
    coding = coding_of(structure.name, laterality_of(structure, structures))
    kind = _coded(coding.structure)
    if coding.modifiers:
        kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(one) for one in coding.modifiers]
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=name[:16].strip(),
        RTROIInterpretedType="" if coding.category == ABNORMAL_STRUCTURE else "ORGAN",
        ROIInterpreter="",
        RTROIIdentificationCodeSequence=[kind],
    )


def _coded(code: Code) -> Any:
    return _item(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)


def _image(header: Any, place: Slice) -> Any:
    image = _item(
        ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID
    )
    if place.frame is not None:
        image.ReferencedFrameNumber = place.frame + 1
    return image


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
