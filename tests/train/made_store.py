"""Prepared arrays made by hand, and trainings of a few steps on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from acinus.plan import Plan
from acinus.prepare import Store
from acinus.prepare.sites import label_sites, sites_as_table
from acinus.train import FoldJob
from made_plan import made_plan


def ball_case(
    seed: int, shape: tuple[int, int, int] = (6, 40, 40)
) -> tuple[np.ndarray, np.ndarray]:
    """Image (1, S, R, Q) of noise with two squares, and their labels; 2 is the brighter one."""
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    label[2:4, 12:20, 26:34] = 1
    label[3:5, 12:20, 6:14] = 2
    image = rng.normal(0, 0.3, shape).astype(np.float32)
    image += np.array([0, 2, 4], np.float32)[label]
    return image[None], label


def write_store(folder: Path, cases: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Store:
    """A store of these (image, label) arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    for case, (image, label) in cases.items():
        np.save(folder / f"{case}.image.npy", image, allow_pickle=False)
        np.save(folder / f"{case}.label.npy", label, allow_pickle=False)
        table = sites_as_table(label_sites(label, case))
        np.save(folder / f"{case}.sites.npy", table, allow_pickle=False)
    return Store(folder)


def fold_job(
    root: Path, *, plan: Plan | None = None, name: str = "run", fold: int = 0, **changes: Any
) -> FoldJob:
    """A training on three made cases, validated on a fourth."""
    store = write_store(root / "store", {f"p{n}": ball_case(n) for n in range(4)})
    facts: dict[str, Any] = {
        "plan": plan or made_plan(),
        "store": store,
        "fold": fold,
        "train_cases": ("p0", "p1", "p2"),
        "validation_cases": ("p3",),
        "folder": root / name / "training" / f"fold_{fold}",
        "weights": root / name / "model" / f"fold_{fold}" / "weights.safetensors",
    }
    return FoldJob(**{**facts, **changes})
