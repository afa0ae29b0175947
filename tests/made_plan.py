"""Fingerprints, datasets and plans made by hand, without a file on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from acinus.cohort import Dataset
from acinus.plan import Fingerprint, Plan, load_recipe, make_plan
from acinus.plan.fingerprint import CaseFacts
from acinus.plan.intensity import ForegroundIntensity

LABELS = {"gland_right": 1, "gland_left": 2}

TINY: dict[str, Any] = {
    "network": {"config": {"features": [4, 8]}},
    "prepare": {"slice_axis": "Z", "spacing_mm": [None, 1.0, 1.0]},
    "train": {
        "patch_vox": [16, 16],
        "batch": 4,
        "epochs": 3,
        "steps_per_epoch": 2,
        "threads": 1,
        "average_decay": None,
    },
    "folds": 2,
}
"""Changes to a recipe that make a training of six steps of a second."""


def made_fingerprint(
    spacings_mm: Sequence[tuple[float, float, float]] = ((3.0, 0.5, 0.5),),
    shapes_vox: Sequence[tuple[int, int, int]] = ((8, 40, 40),),
) -> Fingerprint:
    """Facts of as many cases as there are spacings; (Z, Y, X) throughout."""
    cases = {
        f"p{number:02d}": CaseFacts(
            shape_vox=shape,
            spacing_mm=spacing,
            cropped_vox=shape,
            cropped_share=1.0,
            intensity={},
            volume_ml={"gland_right": 0.5 + number, "gland_left": 0.0},
            voxels={
                "gland_right": round((0.5 + number) * 1000 / math.prod(spacing)),
                "gland_left": 0,
            },
            extent_mm={"gland_right": (6.0, 5.0, 5.0)},
            centroid_mm={"gland_right": (9.0, 12.0, 14.0)},
            slices_with_foreground=2,
            foreground_box=((0.25, 0.5), (0.3, 0.6), (0.5, 0.8)),
        )
        for number, (spacing, shape) in enumerate(zip(spacings_mm, shapes_vox, strict=True))
    }
    return Fingerprint(
        dataset="Made",
        dataset_hash="0" * 64,
        labels=LABELS,
        channel_names=("T1",),
        foreground={
            "T1": ForegroundIntensity(
                mean=100.0, sd=20.0, low=50.0, median=99.0, high=150.0, min=40.0, max=160.0
            )
        },
        cases=cases,
    )


def unread_dataset(**changes: Any) -> Dataset:
    """A dataset whose header is known and that has no files."""
    facts: dict[str, Any] = {
        "folder": Path("Made"),
        "name": "Made",
        "channel_names": ("T1",),
        "labels": LABELS,
        "file_ending": ".nii.gz",
        "cases": (),
        "sides": {"gland_right": "right", "gland_left": "left"},
        "mirror_pairs": (("gland_right", "gland_left"),),
    }
    return Dataset(**{**facts, **changes})


def made_plan(
    changes: Mapping[str, Any] | None = None,
    *,
    recipe: str = "unet-2d",
    seed: int = 7,
    dataset: Dataset | None = None,
    fingerprint: Fingerprint | None = None,
) -> Plan:
    """A plan for tiny arrays; `changes` are laid over `TINY`, section by section."""
    sections: dict[str, Any] = dict(TINY)
    for key, value in (changes or {}).items():
        both = isinstance(value, Mapping) and isinstance(sections.get(key), Mapping)
        sections[key] = {**sections[key], **value} if both else value
    return make_plan(
        dataset or unread_dataset(),
        fingerprint or made_fingerprint(),
        load_recipe(recipe, sections),
        seed=seed,
    )
