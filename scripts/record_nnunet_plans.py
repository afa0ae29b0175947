"""Record what nnU-Net 2.8.1 plans: ``python scripts/record_nnunet_plans.py``.

Writes ``tests/data/nnunet_plans/made.json`` and ``random.json``, which the tests read.
Development only: needs nnunetv2 2.8.1, and none of Acinus. Planning needs no image
voxels, only fingerprints, which are made up here. The planners' networks, which they build to
count feature maps, are built without memory (torch's meta device), for speed; nothing else is
changed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[1] / "tests" / "data" / "nnunet_plans"
SEED = 281
N_RANDOM = 200

MADE: dict[str, dict[str, Any]] = {
    "thin_slices": {
        "spacings": [[5.0, 0.47, 0.47], [6.0, 0.43, 0.43], [4.4, 0.5, 0.5], [5.5, 0.45, 0.45]],
        "shapes": [[22, 448, 448], [20, 512, 512], [26, 384, 384], [24, 480, 464]],
        "labels": 2,
    },
    "coarse_axis_by_percentile": {
        "spacings": [[10.0, 1.5, 1.5]] * 6 + [[5.0, 1.4, 1.4]] * 4,
        "shapes": [[9, 216, 256]] * 6 + [[18, 240, 232]] * 4,
        "labels": 3,
    },
    "slices_along_x": {
        "spacings": [[0.5, 0.5, 3.0], [0.6, 0.55, 3.3], [0.5, 0.5, 3.0]],
        "shapes": [[320, 300, 30], [280, 320, 28], [300, 310, 32]],
        "labels": 1,
    },
    "slices_along_y": {
        "spacings": [[0.7, 4.0, 0.8], [0.7, 4.0, 0.8]],
        "shapes": [[256, 40, 224], [260, 44, 230]],
        "labels": 4,
    },
    "ct": {
        "spacings": [[2.5, 0.98, 0.98], [3.0, 0.9, 0.9], [2.5, 1.1, 1.1], [2.0, 0.98, 0.98]],
        "shapes": [[140, 512, 512], [120, 512, 512], [150, 512, 512], [180, 512, 512]],
        "channels": ["CT"],
        "labels": 6,
        "n_training": 21,
    },
    "large_ct_cascade": {
        "spacings": [[1.0, 0.78, 0.78], [0.8, 0.7, 0.7], [1.25, 0.82, 0.82]],
        "shapes": [[420, 512, 512], [600, 512, 512], [380, 512, 512]],
        "channels": ["CT"],
        "labels": 30,
        "n_training": 130,
    },
    "large_mri_thick_cascade": {
        "spacings": [[3.0, 0.4, 0.4]] * 3,
        "shapes": [[120, 900, 880]] * 3,
        "labels": 2,
        "n_training": 40,
    },
    "three_channels_named": {
        "spacings": [[1.0, 1.0, 1.0]] * 3,
        "shapes": [[138, 170, 140], [140, 172, 141], [137, 168, 139]],
        "channels": ["noNorm", "cT", "rescale_to_0_1"],
        "share": 0.5,
        "n_training": 484,
    },
    "four_mri_masked": {
        "spacings": [[1.0, 1.0, 1.0]] * 3,
        "shapes": [[138, 170, 140], [140, 172, 141], [137, 168, 139]],
        "channels": ["T1", "T1c", "zscore", "RGB_to_0_1"],
        "share": 0.6,
        "n_training": 484,
        "labels": 3,
    },
    "one_slice": {
        "spacings": [[999.0, 0.3, 0.3]] * 4,
        "shapes": [[1, 600, 480], [1, 620, 500], [1, 590, 512], [1, 600, 480]],
        "n_training": 60,
    },
    "few_slices": {
        "spacings": [[4.0, 1.0, 1.0]] * 4,
        "shapes": [[3, 160, 128], [4, 160, 128], [3, 150, 120], [5, 160, 140]],
        "n_training": 8,
    },
    "tiny_crops": {
        "spacings": [[1.0, 1.0, 1.0]] * 4,
        "shapes": [[36, 50, 35], [34, 48, 36], [38, 52, 35], [36, 50, 34]],
        "labels": 2,
        "n_training": 12,
    },
}
"""Datasets made by hand; the standard planner and ResEncXL plan each of them."""

ALL_PLANNERS = ("thin_slices", "ct", "large_ct_cascade")
"""Datasets that ResEncM and ResEncL plan as well."""

PLANNERS = {
    "plain": ("ExperimentPlanner", 8),
    "resenc_m": ("nnUNetPlannerResEncM", 8),
    "resenc_l": ("nnUNetPlannerResEncL", 24),
    "resenc_xl": ("nnUNetPlannerResEncXL", 40),
}


def random_dataset(rng: random.Random) -> dict[str, Any]:
    """Facts of a dataset such as it could come: isotropic or thick, tiny or huge."""
    kind = rng.choice(["isotropic", "thick", "slightly", "tiny", "huge", "wild"])
    fine = rng.choice([0.3, 0.5, 0.75, 1.0, 1.25, 2.0]) * rng.uniform(0.9, 1.1)
    ratio = {"isotropic": 1.0, "thick": rng.uniform(3, 16), "slightly": rng.uniform(1.2, 3.2)}
    step = [fine * ratio.get(kind, rng.uniform(0.5, 4)), fine, fine * rng.choice([1, 1, 1, 1.3])]
    most = {"tiny": 70, "huge": 900, "thick": 512}.get(kind, 400)
    size = [rng.randint(most // 4, most) for _ in range(3)]
    if kind == "thick":
        size[0] = rng.randint(5, 80)
    turn = rng.choice([(0, 1, 2), (0, 1, 2), (1, 0, 2), (2, 1, 0)])
    exact = rng.random() < 0.4
    spacings, shapes = [], []
    for _ in range(rng.randint(2, 5)):
        case = [s * (1 if exact else rng.uniform(0.85, 1.2)) for s in step]
        shape = [max(1, n if exact else round(n * rng.uniform(0.8, 1.2))) for n in size]
        spacings.append([round(case[axis], 4) for axis in turn])
        shapes.append([shape[axis] for axis in turn])
    return {
        "spacings": spacings,
        "shapes": shapes,
        "channels": [f"MR{n}" for n in range(rng.randint(1, 4))],
        "labels": rng.choice([1, 1, 2, 3, 8, 30, 104]),
        "share": 1.0,
        "n_training": rng.choice([3, 8, 20, 60, 200, 1000]),
    }


def ask(dataset: dict[str, Any], planner: str, memory_gb: float, root: Path) -> dict[str, Any]:
    """The plans that one of nnU-Net's planners writes."""
    import torch
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
        ExperimentPlanner,
    )
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import (
        residual_encoder_unet_planners as residual,
    )

    raw, done = root / "raw" / "Dataset001_Made", root / "done" / "Dataset001_Made"
    (raw / "imagesTr").mkdir(parents=True, exist_ok=True)
    (raw / "labelsTr").mkdir(parents=True, exist_ok=True)
    done.mkdir(parents=True, exist_ok=True)
    channels = dataset.get("channels", ["MR"])
    labels = {"background": 0, **{f"l{n}": n for n in range(1, dataset.get("labels", 1) + 1)}}
    header = {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": labels,
        "numTraining": dataset.get("n_training", len(dataset["shapes"])),
        "file_ending": ".nii.gz",
    }
    facts = {
        "spacings": dataset["spacings"],
        "shapes_after_crop": dataset["shapes"],
        "median_relative_size_after_cropping": dataset.get("share", 1.0),
        "foreground_intensity_properties_per_channel": {},
    }
    (raw / "dataset.json").write_text(json.dumps(header))
    (done / "dataset_fingerprint.json").write_text(json.dumps(facts))
    kind = ExperimentPlanner if planner == "ExperimentPlanner" else getattr(residual, planner)
    for plans in done.glob("*lans.json"):
        plans.unlink()
    kind.determine_reader_writer = lambda self: kind  # no image is there to choose a reader by
    with contextlib.redirect_stdout(io.StringIO()), torch.device("meta"):
        return dict(kind("Dataset001_Made", memory_gb).plan_experiment())


def brief(plans: dict[str, Any]) -> dict[str, Any]:
    """What was decided, without what follows from it or never changes."""
    brief: dict[str, Any] = {"order": plans["transpose_forward"]}
    for name, one in plans["configurations"].items():
        if "inherits_from" in one:
            continue
        network = one["architecture"]["arch_kwargs"]
        brief[name] = {
            "spacing": [float(step) for step in one["spacing"]],
            "patch": [int(n) for n in one["patch_size"]],
            "batch": int(one["batch_size"]),
            "batch_dice": one["batch_dice"],
            "strides": " ".join("".join(map(str, level)) for level in network["strides"]),
            "kernels": " ".join("".join(map(str, level)) for level in network["kernel_sizes"]),
            "features": network["features_per_stage"][-1],
        }
    return brief


OTHER_MEMORY = (("resenc_m", 80), ("resenc_l", 11), ("resenc_m", 24))
"""Residual planners with another memory than the one that they were made with."""


def record() -> None:
    """Write both files."""
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for variable, name in (("raw", "raw"), ("preprocessed", "done"), ("results", "results")):
            os.environ[f"nnUNet_{variable}"] = str(root / name)
        made = [
            {"name": name, "planner": key, "dataset": dataset, "plans": ask(dataset, *how, root)}
            for name, dataset in MADE.items()
            for key, how in PLANNERS.items()
            if name in ALL_PLANNERS or key in ("plain", "resenc_xl")
        ]
        drawn = []
        for _ in range(N_RANDOM):
            dataset, key = random_dataset(rng), rng.choice(list(PLANNERS))
            planner, memory_gb = PLANNERS[key]
            if key == "plain":
                memory_gb = rng.choice([4, 8, 8, 11, 24, 80])
            plans = brief(ask(dataset, planner, memory_gb, root))
            drawn.append({"planner": key, "gb": memory_gb, "dataset": dataset, "plans": plans})
        for name in ("ct", "four_mri_masked"):
            for key, memory_gb in OTHER_MEMORY:
                plans = brief(ask(MADE[name], PLANNERS[key][0], memory_gb, root))
                row = {"planner": key, "gb": memory_gb, "dataset": MADE[name], "plans": plans}
                drawn.append(row)
    write(OUT / "made.json", made)
    write(OUT / "random.json", drawn)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """One row a line."""
    text = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    path.write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    record()
