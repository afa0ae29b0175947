"""Seconds of the surface measures beside surface-distance and MONAI, on pairs of real glands.

Two readers' glands on the grid of the whole scan (512×512×150). Each program measures the same
pairs in one process, one thread, in turn; the best of some rounds counts. surface-distance gives
its five measures; MONAI its Hausdorff distance, HD95, ASSD and surface Dice, each of which finds
the surfaces anew.

    python benchmarks/measures_speed.py ../shared/data/head_ct_glands [--cases 3]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from acinus.measure import MEASURES, SIDE_MEASURES, measure_case
from acinus.scans import read_labelmap
from acinus.types import Mask, Spacing

SURFACE = (
    "hausdorff_mm",
    "hausdorff_95_mm",
    "asd_reference_mm",
    "asd_prediction_mm",
    "assd_mm",
    "surface_dice_1mm",
)
AREA = (
    "area_asd_reference_mm",
    "area_asd_prediction_mm",
    "area_hausdorff_95_mm",
    "area_surface_dice_1mm",
)
Pair = tuple[Mask, Mask, Spacing]


def pairs_of(folder: Path, n_cases: int) -> list[Pair]:
    """Both readers' masks of every gland of some patients, on the scan's grid."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    labels = labels["labels_glands"]
    pairs = []
    for path in sorted((folder / "oncologist").iterdir())[:n_cases]:
        ours, theirs = (
            read_labelmap(folder / reader / path.name) for reader in ("oncologist", "radiographer")
        )
        spacing = ours.spacing_mm
        for value in (value for value in labels.values() if value):
            pair = ours.array == value, theirs.array == value
            if pair[0].any() and pair[1].any():
                pairs.append((*pair, spacing))
    return pairs


def with_ours(names: tuple[str, ...]) -> Callable[[Pair], object]:
    """Our measures of these names."""
    return lambda pair: measure_case(*pair, names)


def with_surface_distance(pair: Pair) -> object:
    """Its distances and all measures of them."""
    import surface_distance as other

    found = other.compute_surface_distances(*pair)
    return (
        other.compute_average_surface_distance(found),
        other.compute_robust_hausdorff(found, 100),
        other.compute_robust_hausdorff(found, 95),
        other.compute_surface_dice_at_tolerance(found, 1.0),
        other.compute_surface_overlap_at_tolerance(found, 1.0),
    )


def with_monai(pair: Pair) -> object:
    """Its four surface metrics."""
    import torch
    from monai import metrics

    y, y_pred = (torch.from_numpy(mask[None, None]) for mask in pair[:2])
    shared = {"include_background": True, "spacing": pair[2]}
    return (
        metrics.compute_hausdorff_distance(y_pred, y, **shared),
        metrics.compute_hausdorff_distance(y_pred, y, percentile=95, **shared),
        metrics.compute_average_surface_distance(y_pred, y, symmetric=True, **shared),
        metrics.compute_surface_dice(y_pred, y, class_thresholds=[1.0], **shared),
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    pairs = pairs_of(given.folder, given.cases)
    everything = [name for name in MEASURES.names() if name not in SIDE_MEASURES]
    everything += [f.form.format(f"{f.example:g}") for f in MEASURES.families]
    programs: dict[str, Callable[[Pair], object]] = {
        "Acinus, surfaces by border voxels": with_ours(SURFACE),
        "Acinus, surfaces by area": with_ours(AREA),
        "Acinus, all measures": with_ours(tuple(everything)),
        "surface-distance": with_surface_distance,
        "MONAI": with_monai,
    }
    best = dict.fromkeys(programs, float("inf"))
    for program in programs.values():
        program(pairs[0])  # the first call also imports and fills tables
    for _ in range(given.rounds):
        for name, program in programs.items():
            begin = time.perf_counter()
            for pair in pairs:
                program(pair)
            best[name] = min(best[name], time.perf_counter() - begin)
    shape = "×".join(str(size) for size in pairs[0][0].shape)
    print(f"{len(pairs)} pairs, the first on {shape} voxels (Z×Y×X)")
    print("| program | s a pair | over our surfaces by border voxels |")
    print("|---|---|---|")
    for name, seconds in best.items():
        ratio = seconds / best["Acinus, surfaces by border voxels"]
        print(f"| {name} | {seconds / len(pairs):.3f} | {ratio:.2f} |")
    print(f"numpy {np.__version__}")


if __name__ == "__main__":
    main()
