"""One training over several processes: the same as over one, and all end together."""

from __future__ import annotations

import csv
import os
import signal
from multiprocessing import active_children, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_store import fold_job
from safetensors.torch import load_file

from acinus import progress
from acinus.errors import AcinusError, DataError, PlanError
from acinus.files import hash_file
from acinus.plan import Decision
from acinus.prepare import Store
from acinus.train import FoldJob, PatchSource, train_fold
from acinus.train.augment import draw_changes
from acinus.train.distributed import refuse_uneven, train_on_devices
from acinus.train.fold import Training
from acinus.types import Array
from made_plan import made_plan

SLICES: dict[str, Any] = {
    "network": {"name": "unet_2d", "config": {"features": [4, 8], "normalisation": "instance"}},
    "train": {
        "device": "cpu",
        "precision": "float32",
        "batch": 4,
        "optimiser": "sgd",
        "lr": 0.05,
        "momentum": 0.9,
        "steps_per_epoch": 4,
        "average_decay": 0.9,
    },
}

VOLUMES: dict[str, Any] = {
    "network": {
        "name": "plain_unet",
        "config": {
            "features": [4, 8, 8],
            "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2]],
        },
    },
    "sampling": "oversample",
    "train": {
        "device": "cpu",
        "precision": "float32",
        "patch_vox": [4, 16, 16],
        "batch": 2,
        "optimiser": "sgd",
        "lr": 0.01,
        "deep_supervision": True,
        "steps_per_epoch": 4,
    },
}


def with_devices(changes: dict[str, Any], n: int) -> dict[str, Any]:
    return {**changes, "train": {**changes["train"], "devices": n}}


def losses(job: FoldJob) -> list[float]:
    with (job.folder / "history.csv").open(encoding="utf-8") as stream:
        return [float(row["train_loss"]) for row in csv.DictReader(stream)]


def train(job: FoldJob) -> FoldJob:
    with progress.quiet():
        train_on_devices(job)
    return job


@pytest.mark.slow
@pytest.mark.parametrize("changes", [SLICES, VOLUMES], ids=["slices", "volumes"])
def test_two_processes_train_what_one_trains(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Batch-wise Dice, deep supervision, clipping and averaging are those of the whole batch."""
    jobs = []
    for n in (1, 2):
        plan = made_plan(with_devices(changes, n))
        jobs.append(train(fold_job(tmp_path, plan=plan, name=str(n))))
    alone, shared = jobs
    np.testing.assert_allclose(losses(shared), losses(alone), rtol=1e-5)
    assert losses(alone)[-1] < 0.99 * losses(alone)[0], "nothing is learned, so nothing is shown"
    weights = load_file(alone.weights)
    for name, value in load_file(shared.weights).items():
        torch.testing.assert_close(value, weights[name], rtol=1e-5, atol=2e-6)
    assert not active_children()


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = made_plan(with_devices(SLICES, 2))
    whole, stopped = (fold_job(tmp_path, plan=plan, name=name) for name in ("whole", "stopped"))
    train(whole)
    real = Training.step

    def step(training: Training, number: int) -> torch.Tensor:
        if number == 6:
            raise KeyboardInterrupt
        return real(training, number)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    assert not active_children(), "the other process lives on"
    assert (stopped.folder / "checkpoint.safetensors").is_file()
    train(stopped)
    assert hash_file(stopped.weights) == hash_file(whole.weights)
    written = stopped.weights.stat().st_mtime_ns
    train(stopped)
    assert stopped.weights.stat().st_mtime_ns == written


class BrokenElsewhere(Store):
    """A store that only the calling process can read."""

    def image(self, case_id: str) -> Array:
        if parent_process() is not None:
            raise DataError(f"{case_id}: must be a whole prepared array; it is cut. Look at it.")
        return super().image(case_id)


class DeadlyElsewhere(Store):
    """A store whose reading ends every process but the calling one."""

    def image(self, case_id: str) -> Array:
        if parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().image(case_id)


@pytest.mark.slow
def test_a_failing_member_ends_all_with_its_own_words(tmp_path: Path) -> None:
    plan = made_plan(with_devices(SLICES, 2))
    broken = BrokenElsewhere(tmp_path / "store")
    with pytest.raises(DataError, match="must be a whole prepared array; it is cut") as caught:
        train(fold_job(tmp_path, plan=plan, store=broken))
    assert "in image" in str(caught.value.__cause__)
    said = (
        r"training fold 1: process 2 of 2 must run to the end of the training; it was ended by "
        r"the system \(SIGKILL, most often for want of memory\)\."
    )
    with pytest.raises(AcinusError, match=said):
        train(fold_job(tmp_path, plan=plan, name="dead", store=DeadlyElsewhere(broken.folder)))
    assert not active_children()


def test_parts_of_a_batch_are_the_batch(tmp_path: Path) -> None:
    plan = made_plan(VOLUMES)
    job, settings = fold_job(tmp_path, plan=plan), plan.settings
    source = PatchSource(job.store, job.train_cases, settings.sampling, settings.train.patch_vox)
    whole = source.batch(6, np.random.default_rng(3))
    changes = draw_changes(plan, 6, np.random.default_rng(4))
    for places in (slice(0, 2), slice(2, 4), slice(4, 6)):
        part = source.batch(6, np.random.default_rng(3), places)
        assert part.cases == whole.cases[places]
        torch.testing.assert_close(part.image, whole.image[places], rtol=0, atol=0)
        torch.testing.assert_close(part.label, whole.label[places], rtol=0, atol=0)
        own = changes.part(places)
        np.testing.assert_array_equal(own.noise_seeds, changes.noise_seeds[places])
        np.testing.assert_array_equal(own.blur_sigma_vox, changes.blur_sigma_vox[places])
        assert own.in_plane == changes.in_plane


@pytest.mark.parametrize(
    ("batch", "devices", "nearest"), [(6, 4, "4, 8"), (1, 2, "2"), (9, 2, "8, 10")]
)
def test_a_batch_that_cannot_be_shared_is_refused(batch: int, devices: int, nearest: str) -> None:
    plan = made_plan({"train": {"device": "cpu", "batch": batch, "devices": devices}})
    said = rf"got {batch} patches and {devices} devices\. Nearest valid: {nearest}\."
    with pytest.raises(PlanError, match=said):
        refuse_uneven(plan)


def test_more_gpus_than_there_are_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    plan = made_plan({"train": {"device": "cpu", "batch": 4, "devices": 4}})
    plan = plan.with_decisions({"train.device": Decision(value="cuda", rule="", source="data")})
    job = fold_job(tmp_path, plan=plan)
    with pytest.raises(PlanError, match=r"at most the number of GPUs of this machine, 2; got 4\."):
        train_on_devices(job)


def test_one_device_is_an_ordinary_training(tmp_path: Path) -> None:
    plan = made_plan(SLICES)
    plain, asked = (fold_job(tmp_path, plan=plan, name=name) for name in ("plain", "asked"))
    with progress.quiet():
        train_fold(plain)
    train(asked)
    assert hash_file(plain.weights) == hash_file(asked.weights)
