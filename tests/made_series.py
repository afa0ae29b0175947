"""A CT series made with pydicom, with all that a result on it refers to, in any orientation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

_TILT = np.deg2rad((20.0, -15.0))
_ABOUT_X = np.array(
    [[1, 0, 0], [0, np.cos(_TILT[0]), -np.sin(_TILT[0])], [0, np.sin(_TILT[0]), np.cos(_TILT[0])]]
)
_ABOUT_Z = np.array(
    [[np.cos(_TILT[1]), -np.sin(_TILT[1]), 0], [np.sin(_TILT[1]), np.cos(_TILT[1]), 0], [0, 0, 1]]
)

PLANES: dict[str, np.ndarray] = {
    "axial": np.array([(1.0, 0, 0), (0, 1, 0)]),
    "sagittal": np.array([(0, 1.0, 0), (0, 0, -1)]),
    "coronal": np.array([(1.0, 0, 0), (0, 0, -1)]),
    "oblique": (_ABOUT_Z @ _ABOUT_X)[:, :2].T,
}
"""Direction of increasing column and row index, LPS."""


def write_series(
    folder: Path,
    array_zyx: np.ndarray,
    *,
    plane: str = "axial",
    seed: int = 1,
    spacing_mm: Sequence[float] = (2.5, 0.8, 0.5),
    first_lps: Sequence[float] = (-6.0, -9.0, 4.0),
    **tags: Any,
) -> list[Dataset]:
    """Write (Z, Y, X) values, one file a slice, named in no order; answers them in order.

    `tags` replace the usual values or, where None, take them away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    column, row = PLANES[plane]
    normal = np.cross(column, row)
    names = np.random.default_rng(seed).permutation(len(array_zyx))
    written = []
    for z, (pixels, name) in enumerate(zip(array_zyx, names, strict=True)):
        item = Dataset()
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.file_meta.MediaStorageSOPClassUID = CTImageStorage
        uid = generate_uid(entropy_srcs=[f"{folder.name}-{seed}-{z}"])
        item.file_meta.MediaStorageSOPInstanceUID = uid
        position = np.asarray(first_lps) + normal * spacing_mm[0] * z
        values: dict[str, Any] = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": uid,
            "StudyInstanceUID": generate_uid(entropy_srcs=["study"]),
            "SeriesInstanceUID": generate_uid(entropy_srcs=[f"series {seed}"]),
            "FrameOfReferenceUID": generate_uid(entropy_srcs=["frame"]),
            "PatientID": "made",
            "PatientName": "Made^Up",
            "Modality": "CT",
            "SeriesDescription": f"made {plane}",
            "SeriesNumber": seed,
            "InstanceNumber": z + 1,
            "StudyDate": "20200102",
            "StudyTime": "101112",
            "StudyID": "1",
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "ImageOrientationPatient": [f"{value:.9f}" for value in (*column, *row)],
            "ImagePositionPatient": [f"{value:.6f}" for value in position],
            "PixelSpacing": [spacing_mm[1], spacing_mm[2]],
            "SliceThickness": 1,
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "RescaleSlope": 1,
            "RescaleIntercept": 0,
            "PixelData": pixels.astype("<i2").tobytes(),
            **tags,
        }
        for keyword, value in values.items():
            if value is not None:
                setattr(item, keyword, value)
        item.save_as(folder / f"im{name:03d}", enforce_file_format=True)
        written.append(item)
    return written
