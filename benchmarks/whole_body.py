"""Six small structures in the head of a whole-body CT: found first, against swept over everything.

Makes synthetic bodies of ellipsoids (no anatomy is claimed), trains a model with a locate stage on
small ones, and runs ``acinus predict`` on 512 × 512 slices of growing number. Prints seconds and
peak memory a length; then those of the same segment networks swept over whole scans of few
slices, and what these amount to for the longest, since that would take hours.

    python benchmarks/whole_body.py OUT --budget 150steps
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

GLANDS = {
    "lacrimal_right": ((-52.0, 55.0, 32.0), (7.0, 8.0, 5.0)),
    "lacrimal_left": ((-52.0, 55.0, -32.0), (7.0, 8.0, 5.0)),
    "parotid_right": ((-115.0, -5.0, 62.0), (26.0, 16.0, 11.0)),
    "parotid_left": ((-115.0, -5.0, -62.0), (26.0, 16.0, 11.0)),
    "submandibular_right": ((-150.0, 25.0, 30.0), (14.0, 15.0, 9.0)),
    "submandibular_left": ((-150.0, 25.0, -30.0), (14.0, 15.0, 9.0)),
}
"""(superior, anterior, right) of the vertex and radii, mm."""

LENGTHS = (250, 500, 1000)
SWEPT_LENGTHS = (48, 96)
SPACING_MM = (1.0, 0.98, 0.98)


def slab(
    z_mm: np.ndarray, size: int, step_mm: float, top_mm: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(n, size, size) HU and labels of planes at heights below `top_mm`, canonical order."""
    z = z_mm[:, None, None] - top_mm
    across = (np.arange(size) - (size - 1) / 2) * step_mm
    y, x = across[None, :, None], across[None, None, :]

    def ball(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        parts = zip((z, y, x), centre, radii, strict=True)
        return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in parts) < 1)

    image = np.full(np.broadcast_shapes(z.shape, y.shape, x.shape), -1000, np.float32)
    image[(z < -290) & ((y / 105) ** 2 + (x / 180) ** 2 < 1)] = 40
    for side in (-1, 1):
        lung = ((y / 70) ** 2 + ((x - side * 80) / 60) ** 2 < 1) & (z > -520) & (z < -320)
        image[lung] = -850
    image[(z < -130) & (z > -300) & (((y + 10) / 70) ** 2 + (x / 75) ** 2 < 1)] = 40
    image[(z < -150) & (((y + 50) / 16) ** 2 + (x / 16) ** 2 < 1)] = 600
    image[ball((-130, 20, 0), (80, 75, 72))] = 35
    image[ball((-85, 0, 0), (88, 100, 80))] = 35
    image[ball((-85, 0, 0), (82, 94, 74)) & ~ball((-85, 0, 0), (75, 87, 67))] = 1000
    labels = np.zeros(image.shape, np.uint8)
    for value, (centre, radii) in enumerate(GLANDS.values(), start=1):
        labels[ball(centre, radii)] = value
    image[labels > 0] = 160
    image += rng.normal(0, 25, image.shape).astype(np.float32)
    return np.clip(image, -1024, 3000).astype(np.int16), labels


def planes(
    n: int, size: int, spacing_mm: tuple[float, float], top_mm: float, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and labels in runs of 16 planes."""
    rng = np.random.default_rng(seed)
    for start in range(0, n, 16):
        z_mm = np.arange(start, min(start + 16, n)) * spacing_mm[0]
        yield slab(z_mm, size, spacing_mm[1], top_mm, rng)


def write_scan(path: Path, n: int, size: int, spacing_mm: tuple[float, float], seed: int) -> None:
    """A scan that ends 20 to 40 mm above the vertex, its image and its labels beside it."""
    top_mm = n * spacing_mm[0] - 20 - seed % 3 * 10
    affine = np.diag([spacing_mm[1], spacing_mm[1], spacing_mm[0], 1.0])
    affine[:2, 3] = -(size - 1) / 2 * spacing_mm[1]
    image = path.parent / "imagesTr" / f"{path.name}_0000.nii.gz"
    labels = path.parent / "labelsTr" / f"{path.name}.nii.gz"
    with contextlib.ExitStack() as opened:
        streams = []
        for target, kind in ((image, np.int16), (labels, np.uint8)):
            target.parent.mkdir(parents=True, exist_ok=True)
            header = nib.Nifti1Image(np.broadcast_to(kind(0), (size, size, n)), affine).header
            header.set_sform(affine, code=1)
            header["vox_offset"] = 352
            header.set_slope_inter(1, 0)
            stream = opened.enter_context(gzip.open(target, "wb", compresslevel=1))
            stream.write(header.binaryblock.ljust(352, b"\0"))
            streams.append(stream)
        for run in planes(n, size, spacing_mm, top_mm, seed):
            for stream, part in zip(streams, run, strict=True):
                stream.write(np.ascontiguousarray(part).tobytes())


def write_dataset(folder: Path, n_cases: int = 6) -> Path:
    """Small bodies to learn from: voxels of 3 mm, 160 × 160 × 240."""
    for number in range(n_cases):
        write_scan(folder / f"b{number:02d}", 240, 160, (3.0, 3.0), number)
    header = {
        "name": "SyntheticBodies",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{name: n for n, name in enumerate(GLANDS, start=1)}},
        "numTraining": n_cases,
        "file_ending": ".nii.gz",
        "sides": {name: name.split("_")[1] for name in GLANDS},
        "mirror_pairs": [
            [f"{gland}_right", f"{gland}_left"]
            for gland in ("lacrimal", "parotid", "submandibular")
        ],
        "structures": {name: [name] for name in GLANDS},
        "synthetic": True,
    }
    (folder / "dataset.json").write_text(json.dumps(header), encoding="utf-8")
    return folder


def measured(arguments: list[str]) -> tuple[float, float, str]:
    """Wall seconds and peak memory, GB, of a process, and what it printed."""
    begin = time.monotonic()
    child = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
        "try:\n    runpy.run_module('acinus', run_name='__main__', alter_sys=True)\n"
        "finally:\n    print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", child, "acinus", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - begin
    peak_kb = float(done.stdout.rsplit("PEAK", 1)[-1]) if "PEAK" in done.stdout else float("nan")
    return seconds, peak_kb / 1e6, done.stdout + done.stderr


def dice_of(found: Path, truth: Path) -> dict[str, float]:
    """Dice of each gland, plane by plane."""
    a, b = nib.load(found).dataobj, nib.load(truth).dataobj
    ours, theirs = np.asanyarray(a), np.asanyarray(b)
    return {
        name: round(float(2 * ((ours == n) & (theirs == n)).sum()
                          / max(1, (ours == n).sum() + (theirs == n).sum())), 3)
        for n, name in enumerate(GLANDS, start=1)
    }  # fmt: skip


def sweep(model: Path, scan: Path) -> None:
    """The segment networks over a whole scan; prints seconds, run in a process of its own."""
    from dataclasses import replace

    from acinus.predict import load_model
    from acinus.scans import read_volume

    begin = time.monotonic()
    whole = replace(load_model(model, device="cpu"), locator=None)
    whole.predict(read_volume(scan))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{time.monotonic() - begin:.1f} {peak:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", default="150steps")
    parser.add_argument("--sweep", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    model = given.out / "run" / "model"
    if given.sweep is not None:
        sweep(model, given.sweep)
        return
    if not (model / "model.json").is_file():
        dataset = write_dataset(given.out / "Dataset001_SyntheticBodies")
        coarse = (
            "{train: {batch: 2, patch_vox: [32, 32, 32]}, "
            "network: {config: {features: [8, 16, 32]}}}"
        )
        changes = [
            "locate.stage=network",
            f"locate.config={coarse}",
            "prepare.spacing_mm=[1, 1, 1]",
            "train.patch_vox=[48, 48, 48]",
            "train.batch=2",
            "network.config={features: [8, 16, 32, 64]}",
            "folds=2",
            "folds_trained=1",
            "train.device=cpu",
        ]
        arguments = [f"--set={change}" for change in changes]
        seconds, _, text = measured(
            ["run", str(dataset), "--out", str(given.out / "run"), "--budget", given.budget,
             *arguments]
        )  # fmt: skip
        print(f"trained and judged on small synthetic bodies in {seconds:.0f} s")
        print("\n".join(text.splitlines()[-4:]))
    print("found first, then segmented:")
    for n in LENGTHS:
        scan = given.out / "long" / "imagesTr" / f"l{n}_0000.nii.gz"
        if not scan.is_file():
            write_scan(given.out / "long" / f"l{n}", n, 512, SPACING_MM[:2], n)
        labels = given.out / "labels"
        seconds, peak, text = measured(
            ["predict", str(model), str(scan), str(labels / f"l{n}.nii.gz"), "--device", "cpu"]
        )
        truth = given.out / "long" / "labelsTr" / f"l{n}.nii.gz"
        dice = dice_of(labels / f"l{n}.nii.gz", truth)
        print(f"512 x 512 x {n}: {seconds:.1f} s, peak {peak:.2f} GB; Dice {dice}", flush=True)
        print((labels / "boxes.csv").read_text() if n == LENGTHS[-1] else "", end="")
    print("the same segment networks swept over everything:")
    costs = []
    for n in SWEPT_LENGTHS:
        scan = given.out / "long" / "imagesTr" / f"s{n}_0000.nii.gz"
        if not scan.is_file():
            write_scan(given.out / "long" / f"s{n}", n, 512, SPACING_MM[:2], n)
        done = subprocess.run(
            [sys.executable, __file__, str(given.out), "--sweep", str(scan)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds, peak = (float(word) for word in done.stdout.split()[-2:])
        costs.append((seconds, peak))
        print(f"512 x 512 x {n}: {seconds:.1f} s, peak {peak:.2f} GB", flush=True)
    (first_s, first_gb), (last_s, last_gb) = costs
    more = (LENGTHS[-1] - SWEPT_LENGTHS[-1]) / (SWEPT_LENGTHS[-1] - SWEPT_LENGTHS[0])
    total_s, total_gb = last_s + more * (last_s - first_s), last_gb + more * (last_gb - first_gb)
    print(
        f"512 x 512 x {LENGTHS[-1]}, extrapolated along a line: {total_s:.0f} s, {total_gb:.1f} GB"
    )


if __name__ == "__main__":
    main()
