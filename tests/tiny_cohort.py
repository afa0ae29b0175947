"""Tiny made datasets for tests of prediction and of studies, written without our own writers.

A case is a noisy head of 10 x 48 x 48 voxels (3 x 1 x 1 mm) with a bright ball on
the right and a dark one on the left, anterior of its middle: quick to learn and to read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

SHAPE_ZYX = (10, 48, 48)
SPACING_ZYX = (3.0, 1.0, 1.0)
LABELS = {"background": 0, "gland_right": 1, "gland_left": 2}

QUICK = (
    "network.config={features: [4, 8, 16]}",
    "train.patch_vox=[32, 32]",
    "train.batch=4",
    "train.threads=1",
    "folds=2",
)
"""Changes that make any recipe quick, as `--set` takes them."""


def head(
    rng: np.random.Generator, shape_zyx: Sequence[int] = SHAPE_ZYX, *, n_balls: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """(Z, Y, X) image and labels, canonical: indices grow towards superior, anterior, right."""
    z, y, x = np.indices(shape_zyx).astype(float)
    size = np.array(shape_zyx, float)
    middle = (size - 1) / 2
    inside = ((y - middle[1]) / (0.46 * size[1])) ** 2 + ((x - middle[2]) / (0.42 * size[2])) ** 2
    image = np.where(inside < 1, 100.0, 5.0) + rng.normal(0, 8, tuple(shape_zyx))
    label = np.zeros(tuple(shape_zyx), np.uint8)
    for value, side in ((1, 1), (2, -1))[:n_balls]:
        centre = middle + (0.1, 0.22, side * 0.22) * size + rng.uniform(-1, 1, 3) * (0.5, 2, 2)
        radii = np.array([0.25, 0.11, 0.1]) * size * rng.uniform(0.85, 1.15)
        ball = sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radii, strict=True))
        label[ball <= 1] = value
    image[label == 1] += 90
    image[label == 2] -= 60
    return image.astype(np.float32), label


def affine_of(
    shape_zyx: Sequence[int] = SHAPE_ZYX, spacing_zyx: Sequence[float] = SPACING_ZYX
) -> np.ndarray:
    """(4, 4) RAS+ affine on (x, y, z, 1) whose origin is the middle of the array."""
    spacing = np.array(spacing_zyx[::-1], float)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape_zyx[::-1]) - 1) / 2
    return affine


def save(array_zyx: np.ndarray, affine: np.ndarray, path: Path) -> Path:
    """Write a NIfTI file with nibabel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array_zyx.T), affine), path)
    return path


def make_dataset(
    folder: Path,
    participants: Sequence[str] = tuple(f"p{number:02d}" for number in range(8)),
    *,
    seed: int = 2018,
    gain: float = 1.0,
    n_channels: int = 1,
    table: Mapping[str, Mapping[str, Any]] | None = None,
    **header: Any,
) -> Path:
    """A faultless nnU-Net raw dataset; `header` goes into dataset.json."""
    for participant in participants:
        # Of the participant alone, so that two arms show the same people.
        rng = np.random.default_rng([seed, *participant.encode()])
        image, label = head(rng)
        for channel in range(n_channels):
            name = f"{participant}_{channel:04d}.nii.gz"
            save(image * gain + 7 * channel, affine_of(), folder / "imagesTr" / name)
        save(label, affine_of(), folder / "labelsTr" / f"{participant}.nii.gz")
    data = {
        "name": folder.name,
        "channel_names": {str(channel): f"T{channel + 1}" for channel in range(n_channels)},
        "labels": LABELS,
        "numTraining": len(participants),
        "file_ending": ".nii.gz",
        "sides": {"gland_right": "right", "gland_left": "left"},
        "mirror_pairs": [["gland_right", "gland_left"]],
        **header,
    }
    (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    rows = ["participant_id\tage\tsex"]
    for number, participant in enumerate(participants):
        facts = {
            "age": 40 + 3 * number,
            "sex": "FM"[number % 2],
            **(table or {}).get(participant, {}),
        }
        rows.append(f"{participant}\t{facts['age']}\t{facts['sex']}")
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


LEARNING = (
    "network.config={features: [8, 16, 32]}",
    "train.patch_vox=[32, 32]",
    "train.batch=8",
    "train.lr=0.01",
    "train.threads=1",
    "loss=dice",
    "augment.flip=0",
    "augment.scale=0",
    "augment.rotate=0",
    "augment.noise=0",
    "augment.brightness=0",
    "folds=2",
)
"""Changes with which `LEARNING_STEPS` reach a Dice above 0.9 on the balls, in two seconds."""

LEARNING_STEPS = "200steps"


def train_model(folder: Path, **header: Any) -> Path:
    """A model that finds the balls, trained in `folder`; returns its model folder."""
    from acinus import progress
    from acinus.study import plan_dataset, train_run

    dataset = make_dataset(folder / "Dataset001_Balls", **header)
    run = folder / "run"
    with progress.quiet():
        plan_dataset(dataset, out=run, settings=LEARNING, folds=1, budget=LEARNING_STEPS)
        train_run(run)
    return run / "model"


def dice(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(2 * (ours & theirs).sum() / max(1, ours.sum() + theirs.sum()))
