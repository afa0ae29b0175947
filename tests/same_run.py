"""Whether two runs have the same results, and how to end one of their processes half-way."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.numpy import load_file

import acinus.train.fold as fold_of_training
from acinus.study import spread
from acinus.study.job import ArmJob


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Same plan, same split, and weights and scores equal to the bit."""
    for name in ("scores.csv", "split.json", "plan.yaml", "sampling.csv", "predictions.csv"):
        if name == "predictions.csv":
            assert without_seconds(ours / name) == without_seconds(theirs / name)
        else:
            assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert_same_weights(ours, theirs)


def assert_same_weights(ours: Path, theirs: Path) -> None:
    names = sorted(path.relative_to(theirs) for path in theirs.rglob("weights.safetensors"))
    assert names == sorted(path.relative_to(ours) for path in ours.rglob("weights.safetensors"))
    for name in names:
        weights = load_file(ours / name)
        for key, value in load_file(theirs / name).items():
            np.testing.assert_array_equal(weights[key], value)


def without_seconds(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(stream)
        ]


def train_and_die_once(job: ArmJob, fold: int, end: float | None, shares_machine: bool) -> None:
    """Train a fold as a worker does; the second one's process is ended after its third epoch.

    Once: a file beside the training says that it has happened. The process ends itself, so
    that no other must find it in time.
    """
    marker = died_once(job.folder.root)
    if fold == 1 and not marker.exists():
        saved, save = [], fold_of_training.save_checkpoint

        def save_and_die(*arguments: Any) -> None:
            save(*arguments)
            saved.append(1)
            if len(saved) == 3:
                marker.touch()
                psutil.Process().kill()

        fold_of_training.save_checkpoint = save_and_die
    spread.train_task(job, fold, end, shares_machine)


def died_once(out: Path) -> Path:
    """File in a run's folder that says that a worker of it was killed."""
    return out / "a-worker-was-killed"
