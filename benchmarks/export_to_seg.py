"""Seconds of every step from a DICOM export of whole bodies to a result as DICOM SEG.

    python benchmarks/export_to_seg.py OUT --patients 20 --size full --budget 30m

Makes a synthetic export (whole-body CT with RTSTRUCT), then runs the commands of
docs/how-to/dicom-export.md on it, each in a process of its own: list, convert, check, run,
predict. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

MAPPING = Path(__file__).with_name("six_glands.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--body", choices=("none", "torso", "whole"), default="whole")
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--jobs", default="2")
    given = parser.parse_args()
    out = given.out
    out.mkdir(parents=True, exist_ok=True)
    cohort, export, dataset = out / "cohort", out / "export", out / "Dataset001_Glands"
    phantom = ["--patients", str(given.patients), "--size", given.size, "--body", given.body]
    convert = ["--map", str(MAPPING), "--jobs", given.jobs]
    made = cohort / "Dataset031_HeadNeckCT"
    steps = {
        "phantom": ["phantom", "headneck", "--out", cohort, *phantom, "--jobs", given.jobs],
        "export": ["phantom", "dicom", made, "--out", export],
        "list": ["convert", export, "--list"],
        "convert": ["convert", export, dataset, *convert],
        "check": ["check", dataset],
        "run": ["run", dataset, "--out", out / "run", "--budget", given.budget, "--folds", "1"],
    }
    for name, words in steps.items():
        report(name, words)
    study = sorted(path for path in export.iterdir() if path.is_dir())[0]
    words = ["predict", out / "run" / "model", study, out / "seg", "--format", "dicom-seg"]
    report("predict", [*words, "--allow-wrong-side"])


def report(name: str, words: list[str | Path]) -> None:
    """Run one command and print its seconds, and the peak memory of all commands so far."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "acinus", *map(str, words)], stdout=subprocess.DEVNULL, check=False
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    found = {"step": name, "seconds": round(time.perf_counter() - begin, 1)}
    print(json.dumps({**found, "status": done.returncode, "peak_gib_so_far": round(peak, 2)}))
    if done.returncode not in (0, 3):
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
