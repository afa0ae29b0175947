"""Time and memory of ``acinus convert`` on classic CT series of 512 x 512 slices.

    python benchmarks/convert_slices.py --slices 1000 --series 1 --jobs 2

Makes an export of random soft tissue in air, uncompressed, converts it in a process of its
own, and prints seconds and peak memory. The noise of the values compresses about as well as
that of a real CT.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import acinus
from acinus.scans import write_series

SPACING_MM = (2.0, 0.97, 0.97)

MEASURE = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""Run from a small process: the peak of one that is started from a large one counts that, too."""


def make_export(folder: Path, n_slices: int, n_series: int, size: int = 512) -> None:
    """Write series of a round body of 40 +- 12 HU in air of -1000 +- 12 HU."""
    rng = np.random.default_rng(0)
    y, x = np.ogrid[:size, :size]
    body = (y - size / 2) ** 2 / 0.6 + (x - size / 2) ** 2 < (0.42 * size) ** 2
    noise = rng.normal(0, 12, (16, size, size)).round()
    planes = (np.where(body, 40, -1000) + noise).clip(-1024).astype(np.int16)
    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1.0])
    scan = acinus.Volume(planes[np.arange(n_slices) % len(planes)], affine)
    for number in range(n_series):
        write_series(
            scan,
            folder / f"patient{number}",
            modality="CT",
            patient_id=f"patient{number}",
            description="benchmark",
            image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        )


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
        command = [sys.executable, "-m", "acinus", *words, "--jobs", str(given.jobs)]
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, *command], check=True, stdout=subprocess.PIPE
        )
        seconds = time.perf_counter() - start
        cpu_seconds, peak_kb = json.loads(run.stdout)
        written = sum(path.stat().st_size for path in (folder / "dataset").rglob("*.nii.gz"))
        found = {
            "slices": given.slices * given.series,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu_seconds, 1),
            "peak_mb": round(peak_kb / 1024),
            "written_mb": round(written / 2**20),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
