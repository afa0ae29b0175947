"""A volume as one classic DICOM series: one file a slice.

Enters: a CT or MR volume and who and what it is said to be. Leaves: files that
any DICOM program reads, with positions, orientation and rescale. Enhanced
multi-frame objects were rejected here: older planning and viewing programs do
not read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import ConfigError, DataError, GridError
from acinus.files import whole_folder
from acinus.scans.itk import LPS_TO_RAS
from acinus.scans.volume import Volume
from acinus.types import Array

CT_INTERCEPT = -1024
"""Rescale intercept of written CT, HU: stored values then are not negative."""

_SOP_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}

SQUARE_TOLERANCE = 1e-4
"""Largest cosine between two axes that counts as a right angle."""

_MAY_BE_EMPTY = (
    *("PatientSex", "PatientBirthDate", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "Manufacturer", "AcquisitionNumber", "PositionReferenceIndicator"),
    *("Laterality", "PatientPosition", "KVP"),
)
"""What the standard wants of every series, if only empty; `KVP` of CT."""


def write_series(
    volume: Volume,
    folder: Path | str,
    *,
    modality: str,
    patient_id: str,
    description: str = "",
    seed: str = "",
    tags: Mapping[str, Any] | None = None,
    image_type: Sequence[str] = ("DERIVED", "PRIMARY", "AXIAL"),
) -> Path:
    """Write a volume as a DICOM series of one file a slice, along the first axis.

    Integers that fit 16 bits are kept exactly (CT with an intercept of -1024);
    other values are stored with a rescale slope of their range over 65,535.

    Args:
        volume: (Z, Y, X) values on their grid, whose axes must stand at right angles.
        folder: Is made; must not exist.
        modality: ``"CT"`` (values in HU) or ``"MR"``.
        patient_id: Patient ID; also the patient's name.
        description: Series description.
        seed: What the unique identifiers are drawn from beside the patient's ID and the
            description; the same text gives the same identifiers.
        tags: Further attributes by DICOM keyword, such as ``{"PatientSex": "F"}``. Those of
            the study (``StudyInstanceUID``) may be among them.
        image_type: Values of ImageType: derived, since a volume in memory has passed through a
            program, unless the caller knows better.

    Returns:
        The folder.

    Raises:
        ConfigError: The modality is neither CT nor MR.
        GridError: The axes of the volume are sheared.
        DataError: The folder exists or cannot be written, or a value is not finite.
    """
    if modality not in _SOP_CLASSES:
        raise ConfigError(f"a series is written as CT or MR; got modality '{modality}'.")
    folder = Path(folder)
    if folder.exists():
        raise DataError(
            f"{folder}: a DICOM series is written into a new folder, and this one exists. "
            "Remove it or name another."
        )
    geometry = _geometry(volume)
    stored, slope, intercept = _stored(volume.array, modality)
    common = {
        **dict.fromkeys(_MAY_BE_EMPTY, ""),
        "Modality": modality,
        "SOPClassUID": _SOP_CLASSES[modality],
        "PatientID": patient_id,
        "PatientName": patient_id,
        "SeriesDescription": description,
        "StudyInstanceUID": _uid(patient_id, seed, "study"),
        "FrameOfReferenceUID": _uid(patient_id, seed, "frame"),
        "SeriesInstanceUID": _uid(patient_id, seed, description, "series"),
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
        "ImageType": list(image_type),
        **(tags or {}),
    }
    if modality != "CT":
        del common["KVP"]
    if modality == "MR" and (slope, intercept) == (1.0, 0.0):
        del common["RescaleSlope"], common["RescaleIntercept"]
    with whole_folder(folder) as aside:
        for index, plane in enumerate(stored):
            header = _header({**common, **geometry, "InstanceNumber": index + 1}, plane)
            position = volume.grid.world(np.array([index, 0, 0]))
            header.ImagePositionPatient = [_decimal(v) for v in LPS_TO_RAS[:3, :3] @ position]
            header.SOPInstanceUID = _uid(str(common["SeriesInstanceUID"]), str(index))
            header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
            header.save_as(aside / f"IM{index + 1:05d}.dcm", enforce_file_format=True)
    return folder


def _geometry(volume: Volume) -> dict[str, Any]:
    """Attributes that hold for every slice."""
    axes = LPS_TO_RAS[:3, :3] @ volume.affine[:3, :3]
    x, y, z = (axes[:, k] / np.linalg.norm(axes[:, k]) for k in range(3))
    if max(abs(x @ y), abs(x @ z), abs(y @ z)) > SQUARE_TOLERANCE:
        raise GridError(
            "a DICOM series needs axes at right angles; those of the volume are sheared by "
            f"{np.degrees(np.arcsin(max(abs(x @ y), abs(x @ z), abs(y @ z)))):.2f} degrees. "
            "Resample it onto a grid with right angles first."
        )
    dz, dy, dx = volume.spacing_mm
    return {
        "ImageOrientationPatient": [_decimal(v) for v in (*x, *y)],
        "PixelSpacing": [_decimal(dy), _decimal(dx)],
        "SliceThickness": _decimal(dz),
        "SpacingBetweenSlices": _decimal(dz),
    }


def _stored(array: Array, modality: str) -> tuple[Array, float, float]:
    """Values of 16 bits, slope and intercept."""
    values = np.asarray(array)
    if not np.isfinite(values).all():
        raise DataError(
            f"a DICOM series holds finite values only; {int((~np.isfinite(values)).sum())} of "
            f"{values.size} are not. Replace them first."
        )
    intercept = float(CT_INTERCEPT) if modality == "CT" else 0.0
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind in "iub" or bool(np.all(values == np.round(values)))
    if whole and low >= intercept and high - intercept <= 65535:
        return (values.astype(np.int32) - int(intercept)).astype(np.uint16), 1.0, intercept
    slope, base = float(_decimal((high - low) / 65535 or 1.0)), float(_decimal(low))
    stored = np.clip(np.round((values - base) / slope), 0, 65535)
    return stored.astype(np.uint16), slope, base


def _header(attributes: Mapping[str, Any], plane: Array) -> Any:
    """A data set with pixels, without position and identifier."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    header = Dataset()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    header.Rows, header.Columns = plane.shape
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = 0
    header.PixelData = np.ascontiguousarray(plane, dtype="<u2").tobytes()
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = attributes["SOPClassUID"]
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header


def _uid(*parts: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["acinus", *parts]))


def _decimal(value: float) -> str:
    """At most 16 characters, as a decimal string of DICOM must be."""
    from pydicom.valuerep import format_number_as_ds

    return str(format_number_as_ds(float(value)))
