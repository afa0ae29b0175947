"""A label map as DICOM segmentation object (SEG) on its source series, through highdicom.

Enters: labels on the grid of a series, names, sides, who made them. Leaves: a binary SEG, one
segment a structure, coded in SNOMED CT. The newer label map objects were rejected for now: few
viewers and no independent validator know them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError
from acinus.files import whole_file
from acinus.scans.coding import Code, coding_of
from acinus.scans.dicom_source import (
    MANUFACTURER,
    UNICODE,
    LabelledStructure,
    Origin,
    SourceSeries,
    are_apart,
    dicom_names,
    laterality_of,
    mark_of,
    on_series,
    read_source,
    series_number,
)
from acinus.scans.segments import SEGMENT_COLORS
from acinus.scans.series import Series
from acinus.scans.volume import Volume
from acinus.types import Array, Labelmap
from acinus.version import __version__


def write_dicom_seg(
    labelmap: Volume,
    structures: Sequence[LabelledStructure],
    series: Series,
    path: Path | str,
    *,
    origin: Origin,
) -> None:
    """Write a label map as DICOM SEG, whole or not at all.

    Args:
        labelmap: (Z, Y, X) integers on the voxels of the series; axes may be turned.
        structures: What its values mean; empty ones are described too, without frames.
        series: The images that were segmented.
        path: The file.
        origin: Who made it.

    Raises:
        DataError: There are no structures, or the series cannot carry a result.
        GridError: The label map does not hold the voxels of the series.
    """
    path = Path(path)
    if not structures:
        raise DataError(f"{path}: a segmentation must have at least one structure; got none.")
    source = read_source(series)
    array = on_series(labelmap, source.grid, series).array
    try:
        dataset = _segmentation(array, structures, source, origin)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(
            f"{path}: the headers of series '{series.description}' must be good enough to write "
            f"a segmentation on it; they are not ({reason}). Write RTSTRUCT or NIfTI instead."
        ) from error
    with whole_file(path) as beside:
        dataset.save_as(beside, enforce_file_format=True)


def _segmentation(
    array: Labelmap,
    structures: Sequence[LabelledStructure],
    source: SourceSeries,
    origin: Origin,
) -> Any:
    from highdicom import UID
    from highdicom.seg import Segmentation

    values = [value for one in structures for value in one.values]
    filled = np.flatnonzero(np.isin(array, values).any(axis=(1, 2)))
    first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, 0)
    described = [
        _description(number, one, name, origin)
        for number, (one, name) in enumerate(
            zip(structures, dicom_names(structures), strict=True), start=1
        )
    ]
    part = slice(first, last + 1)
    headers = _even_headers(source, part)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty segmentation, unusual values of the source
        dataset = Segmentation(
            headers,
            _segment_numbers(array[part], structures),
            "BINARY",
            described,
            series_instance_uid=UID(),
            series_number=series_number(headers[0]),
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=__version__,
            device_serial_number="none",
            content_description=origin.short_warning or f"Segmentation, {origin.text}"[:64],
            content_label="SEGMENTATION",
            specific_character_set=UNICODE,  # names of labels in any script
            **(_planes(source, part) if source.is_multi_frame else {}),
        )
    if source.is_multi_frame:
        _keep_sources(dataset, {(one.frame or 0) + 1 for one in source.slices[part]})
    dataset.walk(_fit_decimals)
    dataset.SeriesDescription = f"{mark_of(headers[0])}SEG of {source.series.description}"[:64]
    for item, one in zip(dataset.SegmentSequence, structures, strict=True):
        modifiers = coding_of(one.name, laterality_of(one, structures)).modifiers
        if modifiers:
            kind = item.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [_concept(code) for code in modifiers]
        if origin.warning:
            item.SegmentDescription = origin.warning
    return dataset


def _even_headers(source: SourceSeries, part: slice) -> list[Any]:
    """Headers of the slices as the library takes them: copies with one orientation.

    It compares the directions of slices to the last digit, wants a thickness that the standard
    lets them lack, and looks for both of multi-frame objects where all frames share them.
    """
    if not source.is_multi_frame:
        headers = list(source.headers[part])
        first = headers[0].ImageOrientationPatient
        for n, header in enumerate(headers):
            if header.ImageOrientationPatient == first and header.get("SliceThickness"):
                continue
            headers[n] = copy.deepcopy(header)
            headers[n].ImageOrientationPatient = first
            if not header.get("SliceThickness"):
                headers[n].SliceThickness = float(source.grid.spacing_mm[0])
        return headers
    header = copy.deepcopy(source.headers[0])
    shared, frame = header.SharedFunctionalGroupsSequence[0], source.slices[0].frame or 0
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        of_frame = header.PerFrameFunctionalGroupsSequence[frame]
        if keyword not in shared and keyword in of_frame:
            setattr(shared, keyword, copy.deepcopy(of_frame[keyword].value))
    measures = shared.get("PixelMeasuresSequence")
    if measures and not measures[0].get("SliceThickness"):
        measures[0].SliceThickness = float(source.grid.spacing_mm[0])
    return [header]


def _fit_decimals(_: Any, element: Any) -> None:
    """Shorten decimals that are copied from a source with more characters than DICOM lets a
    decimal string have (16, PS3.5 6.2)."""
    from pydicom.valuerep import DSfloat

    if element.VR == "DS" and element.value not in (None, ""):
        several = element.value if element.VM > 1 else [element.value]
        element.value = [DSfloat(float(value), auto_format=True) for value in several]


def _planes(source: SourceSeries, part: slice) -> dict[str, Any]:
    """Where slices lie, for frames: an object may hold more of them, in another order."""
    from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence

    slices = source.slices[part]
    step_mm = source.grid.spacing_mm[0]
    measures = PixelMeasuresSequence(slices[0].pixel_mm, step_mm, step_mm)
    return {
        "plane_positions": [
            PlanePositionSequence("PATIENT", one.position.tolist()) for one in slices
        ],
        "plane_orientation": PlaneOrientationSequence(
            "PATIENT", slices[0].orientation.ravel().tolist()
        ),
        "pixel_measures": measures,
    }


def _keep_sources(dataset: Any, frames: set[int]) -> None:
    """Leave of the frames that each frame says it was drawn on those of the series.

    The library looks for them by position, where an object has one for each time point or echo.
    """
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for derived in frame.get("DerivationImageSequence") or []:
            derived.SourceImageSequence = [
                one
                for one in derived.SourceImageSequence
                if int(one.get("ReferencedFrameNumber", 0)) in frames
            ]


def _segment_numbers(array: Labelmap, structures: Sequence[LabelledStructure]) -> Array:
    """Segment numbers as one map where no two structures share voxels, else a mask each."""
    if not are_apart(structures):
        return np.stack([one.mask(array) for one in structures], axis=-1)
    numbers = np.zeros(array.shape, dtype=np.uint16)
    for number, one in enumerate(structures, start=1):
        numbers[one.mask(array)] = number
    return numbers


def _description(number: int, structure: LabelledStructure, name: str, origin: Origin) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    coding = coding_of(structure.name)  # its modifiers are added to the finished object
    color = SEGMENT_COLORS[(number - 1) % len(SEGMENT_COLORS)]
    algorithm = AlgorithmIdentificationSequence(
        name=origin.algorithm[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=origin.version[:64],
    )
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=_concept(coding.category),
        segmented_property_type=_concept(coding.structure),
        algorithm_type=origin.maker,
        algorithm_identification=None if origin.maker == "MANUAL" else algorithm,
        display_color=CIELabColor.from_rgb(*(round(255 * part) for part in color)),
    )


def _concept(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)
