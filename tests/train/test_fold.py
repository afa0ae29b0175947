"""One training: repeatable, resumable to the bit, and refused where it does not belong."""

from __future__ import annotations

import csv
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_store import ball_case, fold_job, write_store
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

import acinus.train.fold as fold_module
from acinus import progress
from acinus.errors import AcinusError, DataError, PlanError
from acinus.files import hash_file, read_json
from acinus.plan import Plan
from acinus.train import FoldJob, PatchSource, seeded_network, train_fold
from acinus.train.augment import Changes, apply_changes
from acinus.train.average import weights_of
from acinus.train.build import build_optimiser, seeded_dropout
from acinus.train.fold import Training
from acinus.train.patches import Batch
from made_plan import made_plan


def train(job: FoldJob) -> str:
    """Train quietly; the hash of the weights."""
    with progress.quiet():
        train_fold(job)
    return hash_file(job.weights)


def stop_after(monkeypatch: pytest.MonkeyPatch, n_steps: int) -> None:
    """Raise in the step after this many."""
    real: Callable[[Training, int], torch.Tensor] = Training.step

    def step(training: Training, number: int) -> torch.Tensor:
        if number == n_steps:
            raise KeyboardInterrupt
        return real(training, number)

    monkeypatch.setattr(Training, "step", step)


def history(job: FoldJob) -> list[dict[str, str]]:
    with (job.folder / "history.csv").open(encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def volumes(name: str = "plain_unet", **train: Any) -> dict[str, Any]:
    """Changes that make a training on slices one on volumes."""
    strides = [[1, 1, 1], [1, 2, 2], [1, 2, 2]]
    plain = {"features": [4, 8, 8], "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}
    small = {"attention_width": 8, "n_layers": 2, "n_heads": 2}
    configs: dict[str, dict[str, Any]] = {
        "plain_unet": {**plain, "strides": strides},
        "unet_3d": {"features": [4, 8]},
        "pansegnet": {**plain, "strides": strides, **small},
    }
    return {
        "network": {"name": name, "config": configs[name]},
        "sampling": "foreground",
        "train": {"patch_vox": [4, 16, 16], "batch": 2, **train},
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "adam": {"train": {"optimiser": "adam"}},
    "sgd": {"train": {"optimiser": "sgd", "lr": 0.01}},
    "averaged": {"train": {"average_decay": 0.9}},
    "polynomial": {"train": {"schedule": "polynomial", "warmup": 0.3}},
    "dice": {"loss": "dice", "sampling": "foreground", "network": {"config": {"features": [4, 8]}}},
    "volumes": volumes(),
    "volumes, channels last": volumes("unet_3d"),
    "nnU-Net": volumes(optimiser="sgd", lr=0.01, deep_supervision=True, average_decay=None)
    | {"sampling": "oversample"},
    "bfloat16": volumes(precision="bfloat16", average_decay=0.9),
    "dropout": volumes("pansegnet"),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stopped_at", [1, 3, 5], ids=["epoch 1", "epoch 2", "epoch 3"])
def test_stopped_and_resumed_equals_uninterrupted_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, stopped_at: int
) -> None:
    plan = made_plan(VARIANTS[variant])  # three epochs of two steps; stops amid an epoch
    whole = fold_job(tmp_path, plan=plan, name="whole")
    parts = fold_job(tmp_path, plan=plan, name="parts")
    expected = train(whole)
    with monkeypatch.context() as patch:
        stop_after(patch, stopped_at)
        with pytest.raises(KeyboardInterrupt):
            train(parts)
    assert not parts.weights.exists()
    assert (parts.folder / "checkpoint.safetensors").exists() == (stopped_at >= 2)
    np.random.default_rng().random()  # what happens between must not matter
    torch.manual_seed(stopped_at)
    assert train(parts) == expected
    assert history(parts) == history(whole)
    assert [row["epoch"] for row in history(parts)] == ["1", "2", "3"]


def test_the_same_job_gives_the_same_weights_and_another_seed_or_fold_others(
    tmp_path: Path,
) -> None:
    first = train(fold_job(tmp_path, name="first"))
    assert train(fold_job(tmp_path, name="again")) == first
    assert train(fold_job(tmp_path, plan=made_plan(seed=8), name="seed")) != first
    assert train(fold_job(tmp_path, name="fold", fold=1)) != first


def test_what_is_dropped_follows_from_seed_and_member_alone() -> None:
    def dropped(seed: Sequence[int], member: int) -> tuple[float, ...]:
        with seeded_dropout(seed, member, torch.device("cpu")):
            return tuple(functional.dropout(torch.ones(64), 0.5).tolist())

    before = torch.random.get_rng_state().clone()
    places = [([7, 0, 3], 0), ([7, 0, 4], 0), ([7, 1, 3], 0), ([7, 0, 3, 1], 0), ([7, 0, 3], 1)]
    assert len({dropped(*place) for place in places}) == len(places)
    assert dropped(*places[0]) == dropped(*places[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_training_lowers_the_loss_on_what_it_sees(tmp_path: Path) -> None:
    # Without mirroring, which would show each square under both names.
    train_changes = {"epochs": 10, "steps_per_epoch": 12, "lr": 0.03, "mirroring": "none"}
    changes = {
        "network": {"config": {"features": [8, 16]}},
        "sampling": "foreground",
        "train": {**train_changes, "batch": 8},
    }
    job = fold_job(tmp_path, plan=made_plan(changes))
    train(job)
    rows = history(job)
    losses = [float(row["train_loss"]) for row in rows]
    assert np.mean(losses[-3:]) < 0.6 * losses[0]
    assert float(rows[-1]["validation_dice"]) > 0.8
    assert float(rows[-1]["learning_rate"]) < 0.01 * 0.03


def test_global_random_state_and_threads_are_left_alone(tmp_path: Path) -> None:
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before, threads = torch.random.get_rng_state().clone(), torch.get_num_threads()
    train(fold_job(tmp_path, plan=made_plan({"train": {"threads": threads + 1}})))
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_before)
    assert torch.get_num_threads() == threads


def test_what_a_finished_fold_leaves(tmp_path: Path) -> None:
    job = fold_job(tmp_path)
    sha256 = train(job)
    done = read_json(job.folder / "done.json")
    assert done["sha256"] == sha256
    assert (done["epochs"], done["steps"], done["fold"]) == (3, 6, 0)
    assert done["plan"] == job.plan.hash()
    assert not (job.folder / "checkpoint.safetensors").exists()
    assert list((job.folder / "tensorboard").iterdir())
    network = seeded_network(job.plan, 0)
    network.load_state_dict(load_file(job.weights))
    assert list(history(job)[0]) == [
        "fold",
        "epoch",
        "step",
        "learning_rate",
        "train_loss",
        "validation_loss",
        "validation_dice",
        "validation_dice_gland_right",
        "validation_dice_gland_left",
    ]


def test_a_finished_fold_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = fold_job(tmp_path)
    first = train(job)
    stop_after(monkeypatch, 0)
    assert train(job) == first


def test_weights_altered_after_training_are_refused_and_deleted_ones_made_again(
    tmp_path: Path,
) -> None:
    job = fold_job(tmp_path)
    expected = train(job)
    job.weights.write_bytes(job.weights.read_bytes()[:-4] + b"\x00\x00\x80\x7f")
    with pytest.raises(PlanError) as error:
        train(job)
    assert str(error.value).startswith(
        f"{job.weights}: must be the weights that this training wrote (SHA-256 {expected[:12]}…)"
    )
    assert str(error.value).endswith("or delete it to train this fold again.")
    job.weights.unlink()
    with pytest.raises(PlanError, match="must belong to this plan, seed and split"):
        train(replace(job, plan=made_plan(seed=8)))
    assert train(job) == expected


def test_a_stop_before_the_last_file_is_made_good_without_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(fold_job(tmp_path, name="whole"))
    job = fold_job(tmp_path)

    def stop(path: Path, facts: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fold_module, "write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            train(job)
    stop_after(monkeypatch, 0)
    assert train(job) == expected
    assert (job.folder / "done.json").is_file()


OTHERS: dict[str, tuple[Plan, tuple[str, ...], str]] = {
    "seed": (made_plan(seed=8), ("p0", "p1", "p2"), "plan"),
    "plan": (made_plan({"train": {"lr": 0.5}}), ("p0", "p1", "p2"), "plan"),
    "split": (made_plan(), ("p0", "p1"), "train_cases"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("is_done", [True, False], ids=["finished", "under way"])
def test_a_folder_of_another_plan_seed_or_split_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, is_done: bool
) -> None:
    job = fold_job(tmp_path)
    if is_done:
        train(job)
    else:
        with monkeypatch.context() as patch:
            stop_after(patch, 4)
            with pytest.raises(KeyboardInterrupt):
                train(job)
    plan, cases, differs = OTHERS[other]
    name = "done.json" if is_done else "checkpoint.safetensors"
    with pytest.raises(PlanError) as error:
        train(replace(job, plan=plan, train_cases=cases))
    assert str(error.value) == (
        f"{job.folder / name}: must belong to this plan, seed and split; its {differs} differs. "
        "Choose another --out folder, or delete this one."
    )


# A loss that is not finite ----------------------------------------------------------------------


def poison(
    monkeypatch: pytest.MonkeyPatch, at_step: int, value: float, *, always: bool = False
) -> None:
    """The images of one step are not finite, unless other batches are drawn for it."""
    real = Training._draw

    def draw(training: Training, step: int) -> tuple[Batch, Changes]:
        batch, changes = real(training, step)
        if step == at_step and (always or not training.attempt):
            batch.image.fill_(value)
        return batch, changes

    monkeypatch.setattr(Training, "_draw", draw)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("variant", ["adamw", "volumes"])
def test_a_loss_that_is_not_finite_keeps_the_batch_goes_back_and_on_with_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variant: str,
    value: float,
) -> None:
    plan = made_plan(VARIANTS[variant])
    healthy = fold_job(tmp_path, plan=plan, name="healthy")
    train(healthy)
    poison(monkeypatch, 3, value)
    job = fold_job(tmp_path, plan=plan)
    train_fold(job)
    kept = job.folder / "not_finite_step_3.safetensors"
    said = capsys.readouterr().err
    assert "Warning: training fold 1: the loss must be finite; got nan at step 3 (cases p" in said
    assert f"the batch is in {kept}). Going back to the state after epoch 1 and on with" in said
    with safe_open(kept, framework="pt") as file:
        cases = file.metadata()["cases"].split(",")
        image, label = file.get_tensor("image"), file.get_tensor("label")
    assert set(cases) <= {"p0", "p1", "p2"}
    assert len(cases) == len(image) == len(label) == plan.settings.train.batch
    assert image.shape[2:] == label.shape[1:] == tuple(plan.settings.train.patch_vox)
    assert not torch.isfinite(image).any()
    # The epoch before is the same, what follows is drawn anew, and nothing is counted twice.
    assert [row["epoch"] for row in history(job)] == ["1", "2", "3"]
    assert history(job)[0] == history(healthy)[0]
    assert history(job)[1] != history(healthy)[1]
    for weight in load_file(job.weights).values():
        assert torch.isfinite(weight).all()


@pytest.mark.parametrize("at_step", [0, 3])
@pytest.mark.parametrize("stopped_at", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("variant", ["averaged", "volumes, channels last"])
def test_a_training_that_went_back_and_was_stopped_equals_one_that_was_not_stopped(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    stopped_at: int,
    at_step: int,
) -> None:
    plan = made_plan(VARIANTS[variant])
    poison(monkeypatch, at_step, np.nan)
    whole = fold_job(tmp_path, plan=plan, name="whole")
    expected = train(whole)
    parts = fold_job(tmp_path, plan=plan, name="parts")
    with monkeypatch.context() as patch:
        stop_after(patch, stopped_at)
        with pytest.raises(KeyboardInterrupt):
            train(parts)
    assert train(parts) == expected
    assert history(parts) == history(whole)


@pytest.mark.parametrize("at_step", [0, 3])
def test_a_second_loss_that_is_not_finite_stops_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: int
) -> None:
    poison(monkeypatch, at_step, np.nan, always=True)
    job = replace(fold_job(tmp_path), train_cases=("p0",))
    with pytest.raises(AcinusError) as error:
        train(job)
    message = str(error.value)
    assert message.startswith(
        f"training fold 1: the loss must be finite; got nan at step {at_step} (cases p0; the batch "
        f"is in {job.folder / f'not_finite_step_{at_step}.safetensors'})."
    )
    assert message.endswith(
        "It happened before, and going back to the last good state did not help. Lower train.lr, "
        "or run 'acinus check' on the dataset."
    )
    assert not job.weights.exists()
    assert (job.folder / "checkpoint.safetensors").is_file() == (at_step == 3)


def test_scans_that_are_not_finite_stop_a_training_before_its_first_step(tmp_path: Path) -> None:
    job = replace(fold_job(tmp_path), train_cases=("p0", "p2"))
    for case in ("p0", "p2"):
        image, label = ball_case(0)
        write_store(tmp_path / "store", {case: (np.full_like(image, np.inf), label)})
    with pytest.raises(AcinusError, match="the loss must be finite; got nan at step 0"):
        train(job)
    assert not job.weights.exists()


# Collapse ---------------------------------------------------------------------------------------


def looks(monkeypatch: pytest.MonkeyPatch, right: Sequence[float], left: Sequence[float]) -> None:
    """What the looks after the epochs find."""
    rows = iter(zip(right, left, strict=True))

    def look(*given: object) -> dict[str, float]:
        ours, theirs = next(rows)
        names = ("validation_dice_gland_right", "validation_dice_gland_left")
        mean = (ours + theirs) / 2
        return {"validation_dice": mean, names[0]: ours, names[1]: theirs}

    monkeypatch.setattr(fold_module, "measure_look", look)


def test_a_label_that_collapses_is_reported_and_the_best_state_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states: list[dict[str, torch.Tensor]] = []
    real = Training.close_epoch

    def close_epoch(training: Training, train_loss: float) -> object:
        states.append(weights_of(training.network))
        return real(training, train_loss)

    monkeypatch.setattr(Training, "close_epoch", close_epoch)
    looks(monkeypatch, [0.2, 0.5, 0.5, 0.5, 0.5, 0.6], [0.2, 0.5, 0.4, 0.0, 0.0, 0.0])
    job = fold_job(tmp_path, plan=made_plan({"train": {"epochs": 6}}))
    train_fold(job)
    said = capsys.readouterr().err
    assert said.count("has collapsed") == 1
    assert (
        "Fold 1: label 'gland_left' has collapsed: its validation Dice fell to 0 and stays there. "
        "The best state so far is kept." in said
    )
    done = read_json(job.folder / "done.json")
    assert (done["collapsed"], done["kept"]) == (["gland_left"], "best")
    kept = load_file(job.weights)
    for key, value in states[1].items():
        assert torch.equal(kept[key], value)
    assert not (job.folder / "best.safetensors").exists()


def test_a_label_that_is_gone_at_the_end_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, [0.2, 0.5, 0.5, 0.5, 0.5, 0.6], [0.2, 0.5, 0.4, 0.4, 0.4, 0.0])
    job = fold_job(tmp_path, plan=made_plan({"train": {"epochs": 6}}))
    train(job)
    done = read_json(job.folder / "done.json")
    assert (done["collapsed"], done["kept"]) == (["gland_left"], "best")


@pytest.mark.parametrize(
    "left",
    [
        [0.2, 0.5, 0.0, 0.0, 0.2, 0.1],  # comes back
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],  # was never learned
        [0.05, 0.05, 0.0, 0.0, 0.0, 0.0],  # hardly
    ],
)
def test_without_collapse_the_last_state_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: list[float]
) -> None:
    looks(monkeypatch, [0.9, 0.5, 0.5, 0.5, 0.5, 0.5], left)
    job = fold_job(tmp_path, plan=made_plan({"train": {"epochs": 6}}))
    train(job)
    done = read_json(job.folder / "done.json")
    assert (done["collapsed"], done["kept"]) == ([], "last")
    monkeypatch.undo()
    assert train(fold_job(tmp_path, name="usual", plan=job.plan)) == done["sha256"]


# Memory -----------------------------------------------------------------------------------------


def runs_out(monkeypatch: pytest.MonkeyPatch, error: Exception, at_step: int) -> None:
    def step(training: Training, number: int) -> torch.Tensor:
        if number == at_step:
            raise error
        return real(training, number)

    real = Training.step
    monkeypatch.setattr(Training, "step", step)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 80 GB"),
    ],
)
@pytest.mark.parametrize(
    ("at_step", "kept"), [(0, "nothing is lost"), (5, "the state after epoch 2 is kept")]
)
def test_out_of_memory_says_what_to_change_and_keeps_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, at_step: int, kept: str
) -> None:
    expected = train(fold_job(tmp_path, name="whole"))
    job = fold_job(tmp_path)
    with monkeypatch.context() as patch:
        runs_out(patch, error, at_step)
        with pytest.raises(AcinusError) as caught:
            train(job)
    assert str(caught.value) == (
        "training fold 1: the memory of cpu must hold a batch of 4 patches (16, 16) and does not; "
        f"{kept}. Close other programs and start the same command again, or plan anew in another "
        "folder with --set train.batch=2."
    )
    assert caught.value.__cause__ is error
    assert train(job) == expected


def test_out_of_memory_with_one_patch_asks_for_a_smaller_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(network: object, settings: object) -> object:
        raise MemoryError

    monkeypatch.setattr(fold_module, "build_optimiser", full)  # before the first step
    with pytest.raises(AcinusError, match=r"with a smaller train\.patch_vox, or fewer netw"):
        train(fold_job(tmp_path, plan=made_plan({"train": {"batch": 1}})))


def test_other_errors_of_torch_are_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_out(monkeypatch, RuntimeError("shapes differ"), 1)
    with pytest.raises(RuntimeError, match=r"^shapes differ$"):
        train(fold_job(tmp_path))


# Fine-tuning ------------------------------------------------------------------------------------


def first_loss(job: FoldJob) -> float:
    with progress.quiet():
        training = Training(job)
        loss = float(training.step(0))
        training.close()
    return loss


def test_training_begins_with_the_weights_of_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {"epochs": 8, "steps_per_epoch": 12, "lr": 0.03, "mirroring": "none"}
    teacher = fold_job(tmp_path, name="teacher", plan=made_plan({"train": long}))
    train(teacher)
    model = teacher.weights.parent.parent
    tuned = made_plan({"train": {"pretrained": str(model), "mirroring": "none"}})
    plain = made_plan({"train": {"mirroring": "none"}})
    beginner = first_loss(fold_job(tmp_path, name="plain", plan=plain))
    assert first_loss(fold_job(tmp_path, name="tuned", plan=tuned)) < 0.7 * beginner
    # Back to the beginning after a loss that is not finite: to those weights, not to others.
    poison(monkeypatch, 0, np.nan)
    job = fold_job(tmp_path, name="back", plan=tuned)
    train(job)
    assert float(history(job)[0]["train_loss"]) < 0.7 * beginner


def test_a_fine_tuning_under_way_no_longer_needs_the_other_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = fold_job(tmp_path, name="teacher")
    train(teacher)
    plan = made_plan({"train": {"pretrained": str(teacher.weights.parent.parent)}})
    expected = train(fold_job(tmp_path, name="whole", plan=plan))
    job = fold_job(tmp_path, plan=plan)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train(job)
    teacher.weights.unlink()
    assert train(job) == expected


# Precision, layout, reading ahead ---------------------------------------------------------------


def test_bfloat16_changes_the_products_and_not_the_weights(tmp_path: Path) -> None:
    changes = volumes(epochs=1, steps_per_epoch=4)
    full = {**changes, "train": {**changes["train"], "precision": "float32"}}
    exact = fold_job(tmp_path, name="exact", plan=made_plan(full))
    short = {**changes, "train": {**changes["train"], "precision": "bfloat16"}}
    fast = fold_job(tmp_path, name="fast", plan=made_plan(short))
    train(exact)
    train(fast)
    ours, theirs = load_file(fast.weights), load_file(exact.weights)
    assert {value.dtype for value in ours.values()} == {torch.float32}
    assert not all(torch.equal(ours[key], theirs[key]) for key in ours)
    for key, value in ours.items():
        assert torch.allclose(value, theirs[key], atol=0.02), key


def test_deep_supervision_looks_at_the_coarser_levels_too(tmp_path: Path) -> None:
    """Weights 1, 1/2, 0 of the losses of three levels, normalised; coarser ones get gradients."""
    changes = volumes(deep_supervision=True, precision="float32")
    config = {"features": [4, 8, 8, 8], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 1, 1]]}
    changes["network"]["config"] = {**config, "kernels": [[3, 3, 3]], "deep_supervision": True}
    job = fold_job(tmp_path, plan=made_plan(changes))
    with progress.quiet():
        training = Training(job)
    batch, drawn = training.batches.take(0)
    image, label = apply_changes(batch, drawn, training.swap, 3)
    with torch.no_grad():
        levels = training.network.train().forward_levels(image)
    weights = [2 / 3, 1 / 3, 0]
    assert len(levels) == len(weights)
    expected = 0.0
    for weight, logits in zip(weights, levels, strict=True):
        size = logits.shape[2:]
        coarse = functional.interpolate(label[:, None].double(), size, mode="nearest-exact")
        expected += weight * float(training.loss(logits, coarse[:, 0].long(), None))
    assert float(training.step(0)) == pytest.approx(expected, rel=1e-5)
    training.close()


@pytest.mark.parametrize("variant", ["adamw", "volumes"])
def test_reading_ahead_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    plan = made_plan(VARIANTS[variant])
    expected = train(fold_job(tmp_path, name="here", plan=plan))
    monkeypatch.setattr(PatchSource, "is_resident", False)
    assert train(fold_job(tmp_path, name="ahead", plan=plan)) == expected
    # Batches that were drawn ahead of a way back are thrown away.
    poison(monkeypatch, 3, np.nan)
    ahead = train(fold_job(tmp_path, name="ahead and back", plan=plan))
    monkeypatch.setattr(PatchSource, "is_resident", True)
    assert train(fold_job(tmp_path, name="back", plan=plan)) == ahead


def test_an_error_of_reading_ahead_shows_its_own_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatchSource, "is_resident", False)
    real = PatchSource._cut

    def cut(source: PatchSource, *given: Any) -> None:
        if given[0].case_id == "p1":
            raise DataError("case 'p1': the file is gone.")
        real(source, *given)

    monkeypatch.setattr(PatchSource, "_cut", cut)
    with pytest.raises(DataError, match=r"^case 'p1': the file is gone\.") as error:
        train(fold_job(tmp_path))
    places = [frame.name for frame in traceback.extract_tb(error.value.__traceback__)]
    assert places[-3:] == ["_draw", "batch", "cut"]
    alive = [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]
    assert alive == []


def test_averaged_weights_differ_from_the_last_and_are_the_mean_at_first(tmp_path: Path) -> None:
    last = fold_job(tmp_path, name="last")
    train(last)
    averaged = fold_job(
        tmp_path, name="averaged", plan=made_plan({"train": {"average_decay": 0.99}})
    )
    train(averaged)
    ours, theirs = load_file(averaged.weights), load_file(last.weights)
    assert ours.keys() == theirs.keys()
    assert not all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_fold_without_validation_cases_trains(tmp_path: Path) -> None:
    job = fold_job(tmp_path, validation_cases=())
    train(job)
    assert [row["validation_dice"] for row in history(job)] == ["", "", ""]


def test_a_clock_that_runs_out_shortens_the_training(tmp_path: Path) -> None:
    plan = made_plan({"train": {"epochs": 500}})
    left = iter([1e9, -1.0, -1.0])
    job = fold_job(tmp_path, plan=plan, seconds_left=lambda: next(left))
    # First far too much time, then none: one more epoch, in which the rate decays.
    train(job)
    done = read_json(job.folder / "done.json")
    assert done["epochs"] == 3
    assert [begin for begin, _ in done["corrections"]] == [1, 2]
    assert float(history(job)[-1]["learning_rate"]) < 0.6 * plan.settings.train.lr


def test_weights_follow_from_seed_and_fold_alone() -> None:
    def first(plan: Plan, fold: int) -> torch.Tensor:
        return next(seeded_network(plan, fold).parameters())

    plan = made_plan()
    assert torch.equal(first(plan, 0), first(plan, 0))
    assert not torch.equal(first(plan, 0), first(plan, 1))
    assert not torch.equal(first(plan, 0), first(made_plan(seed=8), 0))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_the_optimiser_is_the_one_named(name: str, kind: type) -> None:
    plan = made_plan({"train": {"optimiser": name, "lr": 0.3, "weight_decay": 0.02}})
    made = build_optimiser(seeded_network(plan, 0), plan.settings.train)
    assert type(made) is kind
    assert made.param_groups[0]["lr"] == 0.3
    assert made.param_groups[0]["weight_decay"] == 0.02


def test_weights_that_break_in_the_last_step_of_an_epoch_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss was finite, the gradient was not: the checkpoint must stay the one before."""
    real, broken = Training.step, []

    def step(training: Training, number: int) -> torch.Tensor:
        loss = real(training, number)
        if number == 3 and not broken:
            broken.append(number)
            next(training.network.parameters()).data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(Training, "step", step)
    job = fold_job(tmp_path)
    train_fold(job)
    assert "Going back to the state after epoch 1" in capsys.readouterr().err
    for weight in load_file(job.weights).values():
        assert torch.isfinite(weight).all()


def test_epochs_between_looks_have_a_checkpoint_and_no_dice(tmp_path: Path) -> None:
    plan = made_plan({"train": {"epochs": 5, "look_every": 3}})
    job = fold_job(tmp_path, plan=plan)
    train(job)
    looked = [bool(row["validation_dice"]) for row in history(job)]
    assert looked == [False, False, True, False, True]
    every = fold_job(tmp_path, plan=made_plan({"train": {"epochs": 5}}), name="every")
    assert train(every) == hash_file(job.weights)
