"""Time and memory of ``acinus convert`` on classic CT series of 512 x 512 slices.

    python benchmarks/convert_slices.py --slices 1000 --series 1 --jobs 2

Makes an export of random soft tissue in air, uncompressed, converts it in a process of its
own, and prints seconds and peak memory. The noise of the values compresses about as well as
that of a real CT.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def make_export(folder: Path, n_slices: int, n_series: int, size: int = 512) -> None:
    """Write series of a round body of 40 +- 12 HU in air of -1000 +- 12 HU."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:size, :size]
    body = (y - size / 2) ** 2 / 0.6 + (x - size / 2) ** 2 < (0.42 * size) ** 2
    noise = rng.normal(0, 12, (16, size, size)).round()
    for number in range(n_series):
        study, series = generate_uid(), generate_uid()
        (folder / f"patient{number}").mkdir(parents=True)
        for z in range(n_slices):
            item = Dataset()
            item.file_meta = FileMetaDataset()
            item.file_meta.MediaStorageSOPClassUID = CTImageStorage
            item.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            item.SOPClassUID = CTImageStorage
            item.SOPInstanceUID = item.file_meta.MediaStorageSOPInstanceUID
            item.StudyInstanceUID, item.SeriesInstanceUID = study, series
            item.PatientID, item.Modality = f"patient{number}", "CT"
            item.SeriesDescription = "benchmark"
            item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            item.ImagePositionPatient = [-250, -250, 2.0 * z]
            item.PixelSpacing, item.SliceThickness = [0.97, 0.97], 2
            item.Rows = item.Columns = size
            item.BitsAllocated = item.BitsStored = 16
            item.HighBit, item.PixelRepresentation, item.SamplesPerPixel = 15, 0, 1
            item.PhotometricInterpretation = "MONOCHROME2"
            item.RescaleSlope, item.RescaleIntercept = 1, -1024
            values = np.where(body, 1064, 24) + noise[z % len(noise)]
            item.PixelData = np.clip(values, 0, 4095).astype("<u2").tobytes()
            item.save_as(folder / f"patient{number}" / f"{z:05d}", enforce_file_format=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--series", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_export(folder / "export", given.slices, given.series)
        words = ["convert", str(folder / "export"), str(folder / "dataset")]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "acinus", *words, "--jobs", str(given.jobs)], check=True
        )
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        written = sum(path.stat().st_size for path in (folder / "dataset").rglob("*.nii.gz"))
        found = {
            "slices": given.slices * given.series,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_mb": round(used.ru_maxrss / 1024),
            "written_mb": round(written / 2**20),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
