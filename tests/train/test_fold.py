"""One training: repeatable, resumable to the bit, and refused where it does not belong."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_store import ball_case, fold_job, write_store
from safetensors.torch import load_file

import acinus.train.fold as fold_module
from acinus import progress
from acinus.errors import AcinusError, PlanError
from acinus.files import hash_file, read_json
from acinus.plan import Plan
from acinus.train import FoldJob, seeded_network, train_fold
from acinus.train.fold import Training, build_optimiser
from made_plan import made_plan


def train(job: FoldJob) -> str:
    """Train quietly; the hash of the weights."""
    with progress.quiet():
        train_fold(job)
    return hash_file(job.weights)


def stop_after(monkeypatch: pytest.MonkeyPatch, n_steps: int) -> None:
    """Raise in the step after this many."""
    real: Callable[[Training, int], float] = Training.step

    def step(training: Training, number: int) -> float:
        if number == n_steps:
            raise KeyboardInterrupt
        return real(training, number)

    monkeypatch.setattr(Training, "step", step)


def history(job: FoldJob) -> list[dict[str, str]]:
    with (job.folder / "history.csv").open(encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


VARIANTS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "adam": {"train": {"optimiser": "adam"}},
    "sgd": {"train": {"optimiser": "sgd", "lr": 0.01}},
    "averaged": {"train": {"average_decay": 0.9}},
    "polynomial": {"train": {"schedule": "polynomial", "warmup": 0.3}},
    "dice": {"loss": "dice", "sampling": "foreground", "network": {"config": {"features": [4, 8]}}},
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_the_cases_and_leaves_no_weights(
    tmp_path: Path, value: float
) -> None:
    job = replace(fold_job(tmp_path), train_cases=("p0", "p2"))
    for case in ("p0", "p2"):
        image, label = ball_case(0)
        write_store(tmp_path / "store", {case: (np.full_like(image, value), label)})
    with pytest.raises(AcinusError) as error:
        train(job)
    message = str(error.value)
    assert message.startswith("training fold 1: the loss must be finite; got nan at step 0 ")
    assert "(cases p0, p2)." in message
    assert "Lower train.lr, or run 'acinus check' on the dataset." in message
    assert not job.weights.exists()


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
