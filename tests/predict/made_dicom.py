"""A DICOM series made with pydicom, oblique, its slices named in no order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

DIRECTIONS = np.array([[0.9848, 0.0, -0.1736], [0.0, 1.0, 0.0], [0.1736, 0.0, 0.9848]])
"""Columns: along a row, along a column, normal; LPS."""


def write_series(
    folder: Path, array_zyx: np.ndarray, *, description: str, seed: int, spacing_mm: float = 3.0
) -> Path:
    """Write (Z, Y, X) as one MR series of 1 mm pixels; rows go left, columns posterior."""
    folder.mkdir(parents=True, exist_ok=True)
    directions = np.linalg.qr(DIRECTIONS)[0]
    directions *= np.sign(np.diag(directions))
    series, study = generate_uid(entropy_srcs=[f"s{seed}"]), generate_uid(entropy_srcs=["study"])
    names = np.random.default_rng(seed).permutation(len(array_zyx))
    for index, (pixels, name) in enumerate(zip(array_zyx, names, strict=True)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[f"{seed}-{index}"])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item = Dataset()
        item.file_meta = meta
        item.SOPClassUID, item.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID, item.StudyInstanceUID = series, study
        item.PatientID, item.Modality, item.SeriesDescription = "made", "MR", description
        item.SeriesNumber, item.InstanceNumber = seed, index + 1
        item.ImageOrientationPatient = [*directions[:, 0], *directions[:, 1]]
        item.ImagePositionPatient = list(
            np.array([-20.0, -30.0, 5.0]) + directions[:, 2] * spacing_mm * index
        )
        item.PixelSpacing, item.SliceThickness = [1.0, 1.0], spacing_mm
        item.Rows, item.Columns = pixels.shape
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation, item.SamplesPerPixel = 15, 0, 1
        item.PhotometricInterpretation = "MONOCHROME2"
        item.PixelData = np.clip(pixels, 0, 60000).astype("<u2").tobytes()
        item.save_as(folder / f"im{name:03d}", enforce_file_format=True)
    return folder
