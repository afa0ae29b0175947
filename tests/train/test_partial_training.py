"""Training where references say little: classes not annotated, ignored voxels, regions.

Cases are noise with two squares: label 1 on the right, the brighter 2 on the left. Training
without mirroring, which would show each square under both names.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_store import ball_case, fold_job, write_store

from acinus import progress
from acinus.plan import Plan
from acinus.train import FoldJob, train_fold
from acinus.train.augment import mirrored_annotation
from acinus.types import IGNORE
from made_plan import made_plan, unread_dataset

LEARNING: dict[str, Any] = {
    "network": {"config": {"features": [8, 16]}},
    "sampling": "rarity",
    "loss": "dice_ce",
    "train": {
        "epochs": 8,
        "steps_per_epoch": 12,
        "lr": 0.03,
        "mirroring": "none",
        "batch": 8,
        "precision": "float32",
    },
}

UNPAIRED: dict[str, Any] = {"mirror_pairs": (), "sides": {}}


def final_dice(job: FoldJob) -> dict[str, float]:
    """Validation Dice of each label at the end of a training."""
    with progress.quiet():
        train_fold(job)
    with (job.folder / "history.csv").open(encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    head = "validation_dice_"
    return {key.removeprefix(head): float(last[key]) for key in last if key.startswith(head)}


def learning_plan(changes: dict[str, Any] | None = None, **dataset: Any) -> Plan:
    return made_plan({**LEARNING, **(changes or {})}, dataset=unread_dataset(**dataset))


@pytest.mark.slow
def test_two_labels_are_learned_from_cases_that_show_one_each(tmp_path: Path) -> None:
    """p0 and p1 were drawn for label 1, p2 for label 2. Taken for fully drawn, they contradict
    each other: two of three times a left square is called background, and so it is learned."""
    plain = {"name": "weighted_ce", "config": {"weights": (1, 1)}}
    train = {**LEARNING["train"], "epochs": 16}
    plan = learning_plan({"loss": plain, "sampling": "region", "train": train})
    annotated = {"p0": ("gland_right",), "p1": ("gland_right",), "p2": ("gland_left",)}
    changed = {}
    for case, names in annotated.items():
        image, label = ball_case(int(case[1]))
        label[label == (1 if names == ("gland_left",) else 2)] = 0
        changed[case] = (image, label)
    found = {}
    for name, given in (("told", annotated), ("untold", {})):
        job = fold_job(tmp_path, plan=plan, name=name, annotated=given)
        write_store(tmp_path / "store", changed)
        found[name] = final_dice(job)
    assert min(found["told"].values()) > 0.75
    assert found["untold"]["gland_left"] < 0.5


@pytest.mark.slow
def test_slices_that_are_ignored_are_not_needed(tmp_path: Path) -> None:
    """Three of six slices were drawn; both squares are on the others, too."""
    job = fold_job(tmp_path, plan=learning_plan(ignore_label=3))
    for number in range(3):
        image, label = ball_case(number)
        label[[0, 2, 4]] = IGNORE
        write_store(tmp_path / "store", {f"p{number}": (image, label)})
    assert min(final_dice(job).values()) > 0.75


@pytest.mark.slow
def test_regions_that_lie_within_each_other_are_learned(tmp_path: Path) -> None:
    """Both squares together, and the brighter one within them."""
    dataset = {"labels": {"both": 1, "bright": 2}, "regions": {"both": (1, 2), "bright": (2,)}}
    plan = learning_plan(**dataset, **UNPAIRED)
    assert plan.n_classes == 2
    found = final_dice(fold_job(tmp_path, plan=plan))
    assert min(found.values()) > 0.75


def test_annotation_changes_place_with_the_labels() -> None:
    """A flip across the sagittal plane turns a drawn right gland into a drawn left one."""
    labels = {"gland_right": 1, "nerve": 2, "gland_left": 3}
    annotated = torch.tensor([[True, True, False], [True, True, False]])
    for axis in ("Z", "X"):
        plan = made_plan(
            {"prepare": {"slice_axis": axis, "spacing_mm": None}},
            dataset=unread_dataset(labels=labels),
        )
        flips = np.zeros((2, 3), bool)
        flips[1, plan.axes.index("X")] = True
        found = mirrored_annotation(annotated, flips, plan)
        assert found is not None
        assert found.tolist() == [[True, True, False], [False, True, True]]
    regions = {"right": (1, 2), "cyst": (2,), "left": (3, 4)}
    dataset = unread_dataset(
        labels={"right": 1, "cyst": 2, "left": 3},
        regions=regions,
        mirror_pairs=(("right", "left"),),
        sides={},
    )
    flips = np.zeros((2, 3), bool)
    flips[0, 2] = True
    found = mirrored_annotation(annotated, flips, made_plan(dataset=dataset))
    assert found is not None
    assert found.tolist() == [[False, True, True], [True, True, False]]
