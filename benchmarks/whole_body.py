"""Six small structures in the head of a whole-body CT: found first, against swept over everything.

Makes synthetic bodies of ellipsoids (no anatomy is claimed) and plans a model with a locate stage
by the CPU recipe. Its networks have random weights: what they cost does not depend on them, what
they find does. So the coarse network runs over the whole scan and what it says is thrown away;
the boxes are those around the true structures, with the margin of the plan, and none grows: what
a trained locator costs when it is right. Prints wall seconds, CPU seconds and peak memory for 512
× 512 slices of growing number; then those of the same segment network swept over scans of few
slices, and what these amount to for the longest, since that would take hours.

    python benchmarks/whole_body.py OUT
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def top_of(n: int, step_mm: float, seed: int) -> float:
    """Height of the vertex above the first plane, mm."""
    return n * step_mm - 20 - seed % 3 * 10


def write_scan(path: Path, n: int, size: int, spacing_mm: tuple[float, float], seed: int) -> None:
    """A scan that ends 20 to 40 mm above the vertex, its image and its labels beside it."""
    top_mm = top_of(n, spacing_mm[0], seed)
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


def write_random_model(dataset: Path, out: Path) -> Path:
    """A model folder by the plan of the recipe auto on a CPU, its weights random."""
    from safetensors.torch import save_file

    from acinus.plan import read_plan
    from acinus.predict import weight_name, write_model
    from acinus.study import plan_dataset
    from acinus.train import seeded_network

    changes = ["locate.stage=network", "locate.growths=0", "prepare.spacing_mm=[1, 1, 1]",
               "folds_trained=1", "train.device=cpu"]  # fmt: skip
    plan_dataset(dataset, out=out, settings=changes)
    for run in (out / "locator", out):
        plan = read_plan(run / "plan.yaml")
        weights = run / "model" / weight_name(0)
        weights.parent.mkdir(parents=True, exist_ok=True)
        state = seeded_network(plan, 0).state_dict()
        save_file({name: one.contiguous() for name, one in state.items()}, weights)
        write_model(
            run / "model", plan, [0], {}, n_training_cases=0, n_training_participants=0,
            locator=None if run != out else out / "locator" / "model",
        )  # fmt: skip
        network, train = plan.settings.network, plan.settings.train
        print(f"{run.name}: {network.config['features']}, patch {train.patch_vox}, "
              f"spacing {plan.settings.prepare.spacing_mm}")  # fmt: skip
    return out / "model"


@dataclass(frozen=True)
class TrueBoxes:
    """Runs a locator for its cost, and answers with boxes around the true structures."""

    inner: Any
    top_mm: float

    @property
    def overview_mm(self) -> float:
        """Of the locator."""
        return float(self.inner.overview_mm)

    @property
    def limits(self) -> Any:
        """Of the locator."""
        return self.inner.limits

    def find(self, channels: Sequence[Any], watch: Any = None) -> list[Any]:
        """A box a gland, whatever the locator says."""
        from acinus.predict.locate import Place
        from acinus.scans.box import Box

        self.inner.find(channels, watch)
        margin_mm = self.inner.plan.settings.locate.margin_mm
        places = []
        for name, (centre, radii) in GLANDS.items():
            middle = np.array([centre[2], centre[1], centre[0] + self.top_mm])
            half = np.array(radii[::-1]) + margin_mm
            places.append(Place(name, (name,), Box(tuple(middle - half), tuple(middle + half))))
        return places


def predict(model: Path, scan: Path, *, swept: bool) -> None:
    """One scan, in a process of its own; prints wall and CPU seconds and peak GB.

    Args:
        model: With a locate stage.
        scan: To be segmented.
        swept: Whether the segment network goes over everything.
    """
    from dataclasses import replace

    from acinus.predict import load_model
    from acinus.predict.located import LocatedJob
    from acinus.predict.results import Results
    from acinus.predict.source import Scan
    from acinus.scans import read_volume

    begin = time.monotonic()
    loaded = load_model(model, device="cpu")
    if swept:
        replace(loaded, locator=None).predict(read_volume(scan))
        stages = ""
    else:
        rows: list[dict[str, object]] = []
        n = nib.load(scan).shape[2]
        top = top_of(n, SPACING_MM[0], n)
        job = LocatedJob(
            replace(loaded, locator=TrueBoxes(loaded.locator, top)),
            "plan",
            overlay=False,
            memory_bytes=None,
            results=Results(),
            relabel_sides=False,
            boxes=rows,
        )
        (done,) = job.run([Scan("scan", (scan,))], [model.parent / "labels.nii.gz"])
        if isinstance(done[2], Exception):
            raise done[2]
        stages = f"; locate {rows[0]['locate_seconds']} s, segment {rows[0]['segment_seconds']} s"
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{time.monotonic() - begin:.1f} {used.ru_utime + used.ru_stime:.1f} "
          f"{used.ru_maxrss / 1e6:.2f} {stages}")  # fmt: skip


def measured(given: argparse.Namespace, scan: Path, *, swept: bool) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak GB of one scan; printed too."""
    command = [sys.executable, __file__, str(given.out), "--scan", str(scan)]
    done = subprocess.run(
        [*command, *(["--swept"] if swept else [])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    wall, cpu, peak, *stages = done.stdout.splitlines()[-1].split(maxsplit=3)
    print(f"{scan.name}: {wall} s, of the CPU {cpu} s, peak {peak} GB{''.join(stages)}", flush=True)
    return float(wall), float(cpu), float(peak)


def main() -> None:
    """Make what is missing, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--swept", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    model = given.out / "run" / "model"
    if given.scan is not None:
        predict(model, given.scan, swept=given.swept)
        return
    if not (model / "model.json").is_file():
        dataset = given.out / "Dataset001_SyntheticBodies"
        if not (dataset / "dataset.json").is_file():
            write_dataset(dataset)
        write_random_model(dataset, given.out / "run")
    for lengths, swept in ((LENGTHS, False), (SWEPT_LENGTHS, True)):
        print("the segment network swept over everything:" if swept else "found first:")
        costs = []
        for n in lengths:
            name = f"{'s' if swept else 'l'}{n}"
            scan = given.out / "long" / "imagesTr" / f"{name}_0000.nii.gz"
            if not scan.is_file():
                write_scan(given.out / "long" / name, n, 512, SPACING_MM[:2], n)
            costs.append(measured(given, scan, swept=swept))
    more = (LENGTHS[-1] - SWEPT_LENGTHS[-1]) / (SWEPT_LENGTHS[-1] - SWEPT_LENGTHS[0])
    wall, cpu, peak = (last + more * (last - first) for first, last in zip(*costs, strict=True))
    print(
        f"512 x 512 x {LENGTHS[-1]}, extrapolated along a line: {wall:.0f} s, "
        f"of the CPU {cpu:.0f} s, {peak:.1f} GB"
    )


if __name__ == "__main__":
    main()
