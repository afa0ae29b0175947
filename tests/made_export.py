"""Tiny DICOM series, structure sets and segmentations, made with pydicom for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.99619470, 0.08715574, 0.0, -0.08420953, 0.96251899, 0.25783416)
PIXEL_MM = (0.8, 0.5)
CORNER = (-20.0, 30.0, -7.0)
STEP_MM = 3.0


def uid(*words: object) -> str:
    """A UID that depends on the words only."""
    return str(generate_uid(entropy_srcs=[str(word) for word in words]))


def ct_values(shape: tuple[int, int, int] = (6, 10, 12), seed: int = 7) -> np.ndarray:
    """(Z, Y, X) Hounsfield units: air around a soft body."""
    values = np.random.default_rng(seed).integers(20, 80, shape).astype(np.int16)
    values[:, :2] = values[:, -2:] = -1000
    values[:, :, :2] = values[:, :, -2:] = -1000
    return values


def affine_of(
    cosines: Sequence[float], step: Sequence[float] | None = None, corner: Sequence[float] = CORNER
) -> np.ndarray:
    """(4, 4) voxel (x, y, z, 1) to RAS+ mm of a series made here."""
    across, down = np.array(cosines[:3]), np.array(cosines[3:])
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = across * PIXEL_MM[1], down * PIXEL_MM[0]
    lps[:3, 2] = np.cross(across, down) * STEP_MM if step is None else step
    lps[:3, 3] = corner
    return LPS_TO_RAS @ lps


def write(path: Path, dataset: Dataset, sop_class: str, instance: str) -> None:
    """Write a data set as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def head(patient: str, study: str, series: str, modality: str) -> Dataset:
    """What every object of a made study has, with a name that must not leak."""
    dataset = Dataset()
    dataset.PatientID, dataset.PatientName = patient, f"Secretname^{patient}"
    dataset.PatientBirthDate, dataset.PatientSex = "19500417", "F"
    dataset.StudyDate = "20240301"
    dataset.StudyInstanceUID = uid(patient, study)
    dataset.SeriesInstanceUID = uid(patient, study, series)
    dataset.FrameOfReferenceUID = uid(patient, study, "frame")
    dataset.SeriesDescription, dataset.StudyDescription = series, study
    dataset.Modality = modality
    return dataset


def pixels(dataset: Dataset, stored: np.ndarray) -> None:
    """Put (Y, X) or (frames, Y, X) stored values into a data set."""
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, int(stored.dtype.kind == "i")
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def write_series(
    folder: Path,
    values: np.ndarray,
    *,
    patient: str = "MRN123456",
    study: str = "head",
    series: str = "AX",
    modality: str = "CT",
    cosines: Sequence[float] = AXIAL,
    positions: Callable[[int], Sequence[float]] | None = None,
    rescale: tuple[float, float] = (1.0, -1024.0),
    each: Callable[[int], dict[str, Any]] | None = None,
    names: Callable[[int], str] | None = None,
    **tags: Any,
) -> list[Path]:
    """A classic series, one file a slice; the files in the order of the slices.

    Args:
        folder: To write to.
        values: (Z, Y, X) after rescaling.
        patient: PatientID.
        study: StudyDescription.
        series: SeriesDescription.
        modality: CT or MR, or another one stored as CT.
        cosines: ImageOrientationPatient.
        positions: Slice to its ImagePositionPatient; None: 3 mm apart along the normal.
        rescale: Slope and intercept; 0, 0 leaves them out.
        each: Slice to further tags of it.
        names: Slice to name of its file; without it names follow no order.
        tags: Of all slices; None removes one.
    """
    slope, intercept = rescale
    normal = np.cross(cosines[:3], cosines[3:])
    stored = values if slope == 0 else np.rint((values - intercept) / slope)
    kind = MRImageStorage if modality == "MR" else CTImageStorage
    paths = []
    for z, layer in enumerate(stored.astype(np.int16)):
        dataset = head(patient, study, series, modality)
        where = np.array(CORNER) + normal * STEP_MM * z if positions is None else positions(z)
        dataset.ImagePositionPatient = [round(float(value), 6) for value in where]
        dataset.ImageOrientationPatient = list(cosines)
        dataset.PixelSpacing, dataset.SliceThickness = list(PIXEL_MM), 5
        dataset.SeriesNumber, dataset.InstanceNumber = 1, z + 1
        if slope:
            dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        pixels(dataset, layer)
        for keyword, value in {**tags, **(each(z) if each else {})}.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        path = folder / (names(z) if names else f"IM{(z * 5) % 7 + 7 * (z // 7):03d}")
        write(
            path, dataset, str(tags.get("SOPClassUID", kind)), instance(patient, study, series, z)
        )
        paths.append(path)
    return paths


def instance(patient: str, study: str, series: str, z: int) -> str:
    """SOPInstanceUID of a slice of a made series."""
    return uid(patient, study, series, z)


def write_enhanced(
    path: Path,
    values: np.ndarray,
    *,
    patient: str = "MRN123456",
    modality: str = "MR",
    cosines: Sequence[float] = AXIAL,
    rescale: Callable[[int], tuple[float, float]] = lambda z: (1.0, 0.0),
    n_times: int = 1,
) -> None:
    """An enhanced multi-frame object whose frames are stored last slice first.

    Args:
        path: The file.
        values: (Z, Y, X) after rescaling.
        patient: PatientID.
        modality: CT or MR.
        cosines: ImageOrientationPatient, of all frames.
        rescale: Slice to its own slope and intercept.
        n_times: Time points; each adds 100 to the values.
    """
    dataset = head(patient, "head", "enhanced", modality)
    normal = np.cross(cosines[:3], cosines[3:])
    shared = Dataset()
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(cosines)
    measures.PixelSpacing, measures.SliceThickness = list(PIXEL_MM), 5
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames, stored = [], []
    for time in range(n_times):
        for z in reversed(range(len(values))):
            slope, intercept = rescale(z)
            frame, plane, content, scale = Dataset(), Dataset(), Dataset(), Dataset()
            where = np.array(CORNER) + normal * STEP_MM * z
            plane.ImagePositionPatient = [round(float(value), 6) for value in where]
            content.TemporalPositionIndex = time + 1
            scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, intercept, "US"
            frame.PlanePositionSequence, frame.FrameContentSequence = [plane], [content]
            frame.PixelValueTransformationSequence = [scale]
            frames.append(frame)
            stored.append(np.rint((values[z] + 100 * time - intercept) / slope))
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    dataset.NumberOfFrames = len(frames)
    pixels(dataset, np.array(stored).astype(np.int16))
    kind = EnhancedMRImageStorage if modality == "MR" else EnhancedCTImageStorage
    write(path, dataset, str(kind), uid(path))


def write_rtstruct(
    path: Path,
    boxes: dict[str, tuple[slice, slice, slice]],
    affine: np.ndarray,
    *,
    patient: str = "MRN123456",
    study: str = "head",
    series: str = "AX",
    n_slices: int = 6,
    label: str = "glands",
) -> None:
    """A structure set of boxes: one rectangle a slice, around the voxels of (Z, Y, X) slices.

    Args:
        path: The file.
        boxes: Name to its voxels.
        affine: Of the series, voxel (x, y, z, 1) to RAS+ mm.
        patient: PatientID of the series.
        study: Its StudyDescription.
        series: Its SeriesDescription.
        n_slices: Its number of slices.
        label: StructureSetLabel.
    """
    dataset = head(patient, study, f"{series} {label}", "RTSTRUCT")
    dataset.StructureSetLabel = label
    images = []
    for z in range(n_slices):
        image = Dataset()
        image.ReferencedSOPInstanceUID = instance(patient, study, series, z)
        images.append(image)
    referred, within, frame = Dataset(), Dataset(), Dataset()
    referred.SeriesInstanceUID = uid(patient, study, series)
    referred.ContourImageSequence = images
    within.RTReferencedSeriesSequence = [referred]
    frame.RTReferencedStudySequence = [within]
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    rois, drawn = [], []
    for number, (name, (zs, ys, xs)) in enumerate(boxes.items(), start=1):
        roi, own = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        own.ReferencedROINumber, own.ContourSequence = number, []
        for z in range(zs.start, zs.stop):
            low, high = (ys.start - 0.4, xs.start - 0.4), (ys.stop - 0.6, xs.stop - 0.6)
            corners = [(low[1], low[0]), (high[1], low[0]), (high[1], high[0]), (low[1], high[0])]
            index = np.array([(x, y, z, 1.0) for x, y in corners])
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
            world = (index @ (LPS_TO_RAS @ affine).T)[:, :3]
            contour.ContourData = [round(float(value), 4) for value in world.ravel()]
            own.ContourSequence.append(contour)
        rois.append(roi)
        drawn.append(own)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = rois, drawn
    write(path, dataset, str(RTStructureSetStorage), uid(path))


def write_seg(
    path: Path,
    masks: dict[str, np.ndarray],
    *,
    cosines: Sequence[float] = AXIAL,
    positions: Callable[[int], Sequence[float]] | None = None,
    patient: str = "MRN123456",
    study: str = "head",
    series: str = "AX",
) -> None:
    """A binary SEG with the slices of (Z, Y, X) bool masks that are not empty.

    Args:
        path: The file.
        masks: Name to voxels.
        cosines: Of the series.
        positions: As for `write_series`.
        patient: PatientID of the series.
        study: Its StudyDescription.
        series: Its SeriesDescription.
    """
    dataset = head(patient, study, f"{series} seg", "SEG")
    dataset.ContentLabel, dataset.SegmentationType = "GLANDS", "BINARY"
    normal = np.cross(cosines[:3], cosines[3:])
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(cosines)
    measures.PixelSpacing, measures.SliceThickness = list(PIXEL_MM), STEP_MM
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    referred = Dataset()
    referred.SeriesInstanceUID = uid(patient, study, series)
    dataset.ReferencedSeriesSequence = [referred]
    segments, frames, stored = [], [], []
    for number, (name, mask) in enumerate(masks.items(), start=1):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, name
        segments.append(segment)
        for z in np.flatnonzero(mask.any(axis=(1, 2))):
            frame, plane, which = Dataset(), Dataset(), Dataset()
            where = np.array(CORNER) + normal * STEP_MM * z if positions is None else positions(z)
            plane.ImagePositionPatient = [round(float(value), 6) for value in where]
            which.ReferencedSegmentNumber = number
            frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [plane], [which]
            frames.append(frame)
            stored.append(mask[z])
    dataset.SegmentSequence = segments
    dataset.PerFrameFunctionalGroupsSequence, dataset.NumberOfFrames = Items(frames), len(frames)
    dataset.Rows, dataset.Columns = stored[0].shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    bits = np.packbits(np.array(stored).ravel(), bitorder="little").tobytes()
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)
    write(path, dataset, str(SegmentationStorage), uid(path))
