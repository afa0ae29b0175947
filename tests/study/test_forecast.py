"""Steps, folds and widths by the budget, with costs that are made up; a batch that fits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import acinus.study.forecast as forecast_module
import acinus.study.memory as memory_module
from acinus.errors import PlanError
from acinus.plan import Plan, load_recipe, make_plan
from acinus.plan.auto import BATCH_NORM_FROM, SCALES
from acinus.predict import predict_prepared
from acinus.predict.tile import tile_positions
from acinus.prepare import Store, prepare_case
from acinus.scans import Volume
from acinus.study.forecast import (
    ENOUGH_STEPS,
    MIN_EPOCHS,
    MIN_STEPS,
    MIN_STEPS_PER_EPOCH,
    VALIDATION_SHARE,
    WANTED_STEPS,
    Forecast,
    fit_auto,
    fit_to_steps,
    fit_to_time,
)
from acinus.study.memory import USABLE_SHARE, fit_to_memory, fits_memory
from acinus.train import seeded_network
from acinus.train.memory import memory_bytes
from made_plan import made_fingerprint, made_plan, unread_dataset

CUBES = made_fingerprint([(1.0, 1.0, 1.0)] * 4, [(40, 40, 40)] * 4)
WIDTHS = SCALES["cpu"].widths
USUAL = SCALES["cpu"].usual_width


def auto_plan(**changes: Any) -> Plan:
    """By the rules of auto: volumes, the usual width, up to five folds."""
    train = {"device": "cpu", "precision": "float32", **changes.pop("train", {})}
    recipe = load_recipe("auto", {**changes, "train": train})
    return make_plan(unread_dataset(), CUBES, recipe, seed=7)


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps take as long as the square of the width; the widths that were timed."""
    timed: list[int] = []

    def measure(plan: Plan, store: Store, case_ids: object) -> Forecast:
        width = plan.settings.network.config["features"][0]
        timed.append(width)
        return Forecast(step_s=(width / USUAL) ** 2, validation_s=1.0, predict_s=0.5)

    monkeypatch.setattr(forecast_module, "measure_costs", measure)
    return timed


def fitted(plan: Plan, seconds: float, per_fold_s: float = 0.0) -> Plan:
    """Fitted to so many seconds, of which each fold takes some after its training."""
    chosen, forecast = fit_auto(
        plan, Store(Path("none")), ["a"], lambda one, _: seconds - per_fold_s * n_folds(one)
    )
    assert forecast.step_s == (width(chosen) / USUAL) ** 2
    return chosen


def width(plan: Plan) -> int:
    return int(plan.settings.network.config["features"][0])


def n_folds(plan: Plan) -> int:
    return len(plan.folds_to_train)


def test_without_a_budget_the_usual_width_and_all_folds_are_planned() -> None:
    plan = auto_plan()
    assert (width(plan), n_folds(plan)) == (USUAL, 5)


def test_a_budget_that_is_just_enough_takes_one_model_of_the_usual_width(costs: list[int]) -> None:
    chosen = fitted(auto_plan(), 1.5 * WANTED_STEPS)
    assert (width(chosen), n_folds(chosen)) == (USUAL, 1)
    assert costs == [USUAL]
    assert chosen.decisions["folds_trained"].source == "budget"


def test_a_short_budget_takes_a_narrower_network_and_times_it(costs: list[int]) -> None:
    shorter = [width(fitted(auto_plan(), WANTED_STEPS / share)) for share in (1.01, 1.3, 3, 1000)]
    assert shorter == sorted(shorter, reverse=True)
    assert shorter[0] < USUAL
    assert shorter[-1] == WIDTHS[0]
    assert costs[:2] == [USUAL, shorter[0]]  # two timings at most
    chosen = fitted(auto_plan(), WANTED_STEPS / 3)
    config = chosen.settings.network.config
    assert n_folds(chosen) == 1
    assert config["strides"] == auto_plan().settings.network.config["strides"]
    n_levels = len(config["strides"])
    assert config["features"] == [min(width(chosen) * 2**n, 320) for n in range(n_levels)]
    decision = chosen.decisions["network.config"]
    assert decision.source == "budget"
    assert decision.facts[f"steps_at_width_{USUAL}"] == int(WANTED_STEPS / 3)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_time_for_more_goes_into_folds_first(costs: list[int], n: int) -> None:
    chosen = fitted(auto_plan(), 1.01 * n * ENOUGH_STEPS)
    assert (width(chosen), n_folds(chosen)) == (USUAL, n)


def test_what_each_fold_costs_after_its_training_is_counted(costs: list[int]) -> None:
    """Three folds of enough steps, but for the predictions that each asks for."""
    assert n_folds(fitted(auto_plan(), 3.1 * ENOUGH_STEPS, per_fold_s=0.2 * ENOUGH_STEPS)) == 2


def test_only_when_all_folds_get_enough_a_wider_network_is_taken(costs: list[int]) -> None:
    widths = []
    for factor in (1.5, 4, 100):
        chosen = fitted(auto_plan(), factor * 5 * ENOUGH_STEPS)
        assert n_folds(chosen) == 5
        widths.append(width(chosen))
    assert widths == sorted(widths)
    assert widths[-1] == WIDTHS[-1] > USUAL


def test_folds_by_the_user_are_respected(costs: list[int]) -> None:
    for folds in (1, 3):
        plan = auto_plan(folds_trained=folds)
        assert n_folds(fitted(plan, 100 * ENOUGH_STEPS)) == folds
        assert n_folds(fitted(plan, WANTED_STEPS / 2)) == folds
    # The time is divided by them.
    assert width(fitted(auto_plan(folds_trained=3), 1.5 * WANTED_STEPS)) < USUAL
    assert width(fitted(auto_plan(folds_trained=1), 100 * ENOUGH_STEPS)) == WIDTHS[-1]


def test_a_network_by_the_user_is_respected(costs: list[int]) -> None:
    two = {"name": "unet_3d", "config": {"features": [8, 16]}}
    for network in (two, {"config": {"features": [8, 16, 32]}}):
        plan = auto_plan(network=network)
        for seconds in (10.0, 100.0 * ENOUGH_STEPS):
            assert fitted(plan, seconds).settings.network == plan.settings.network


# Steps ------------------------------------------------------------------------------------------

COSTS = Forecast(step_s=0.5, validation_s=2.0, predict_s=1.0)


@pytest.mark.parametrize("seconds", [60.0, 500.0, 3600.0, 86400.0])
@pytest.mark.parametrize("folds", [1, 4])
def test_the_steps_fill_the_time_and_no_more(seconds: float, folds: int) -> None:
    plan = made_plan({"folds": 5, "folds_trained": folds, "train": {"epochs": 100}})
    chosen = fit_to_time(plan, COSTS, seconds, {})
    train = chosen.settings.train
    steps_s = chosen.n_steps * COSTS.step_s
    n_looks = math.ceil(train.epochs / train.look_every)
    used_s = folds * (steps_s + n_looks * COSTS.validation_s)
    assert 0.85 * seconds <= used_s <= seconds
    assert (train.steps_per_epoch or 0) >= MIN_STEPS_PER_EPOCH
    assert train.epochs <= 100
    assert train.epochs >= min(MIN_EPOCHS, chosen.n_steps // MIN_STEPS_PER_EPOCH)
    if seconds / folds > 1000:
        looked_s = n_looks * COSTS.validation_s
        assert looked_s <= VALIDATION_SHARE * seconds / folds
    assert chosen.decisions["train.epochs"].source == "budget"


def test_a_budget_for_nothing_says_how_much_is_missing() -> None:
    plan = made_plan({"folds_trained": 2})
    needed = 2 * (MIN_STEPS * COSTS.step_s + COSTS.validation_s)
    with pytest.raises(PlanError) as error:
        fit_to_time(plan, COSTS, needed - 4, {})
    assert str(error.value) == (
        "the budget must leave time for at least 10 steps of each of 2 training(s) (0.50 s a step "
        "here); 10 s are left after everything else. Give about 4 s more, or fewer --folds."
    )
    assert fit_to_time(plan, COSTS, needed + 0.1, {}).n_steps >= MIN_STEPS
    with pytest.raises(PlanError, match=r"; 0 s are left"):
        fit_to_time(plan, COSTS, -50.0, {})


@pytest.mark.parametrize("n_steps", [1, 7, 10, 97, 200, 1000, 12345])
def test_a_budget_of_steps_is_met_to_the_step(n_steps: int) -> None:
    plan = fit_to_steps(made_plan({"train": {"epochs": 40}}), n_steps)
    assert plan.n_steps == n_steps
    assert plan.settings.train.epochs <= 40
    assert (plan.settings.train.steps_per_epoch or 0) >= min(n_steps, MIN_STEPS_PER_EPOCH)


@pytest.mark.parametrize("n_steps", [167, 997, 1234, 2003])
def test_a_number_of_steps_that_does_not_divide_loses_a_few(n_steps: int) -> None:
    """One epoch of all of them would have no checkpoint before the end."""
    plan = fit_to_steps(made_plan({"train": {"epochs": 100}}), n_steps)
    assert 0.98 * n_steps < plan.n_steps <= n_steps
    assert plan.settings.train.epochs >= MIN_EPOCHS


# Memory -----------------------------------------------------------------------------------------


def roomy(monkeypatch: pytest.MonkeyPatch, plan: Plan, n_patches: float) -> float:
    """A device whose free memory holds so many patches; its bytes."""
    fixed, per_patch = memory_bytes(plan)
    free = (fixed + n_patches * per_patch) / USABLE_SHARE
    monkeypatch.setattr(memory_module, "free_bytes", lambda device: free)
    return free


@pytest.mark.parametrize(
    ("n_patches", "batch"), [(100.0, 16), (16.1, 16), (15.9, 8), (8.1, 8), (3.5, 2), (1.1, 1)]
)
def test_the_batch_is_halved_until_it_fits(
    monkeypatch: pytest.MonkeyPatch, n_patches: float, batch: int
) -> None:
    plan = made_plan({"train": {"batch": 16, "device": "cpu"}})
    roomy(monkeypatch, plan, n_patches)
    fitting = fit_to_memory(plan)
    assert fitting.settings.train.batch == batch
    if batch == 16:
        assert fitting is plan
        return
    decision = fitting.decisions["train.batch"]
    assert decision.source == "data"
    assert "halved from 16" in decision.rule
    assert decision.facts["batch_wanted"] == 16


def test_a_patch_that_does_not_fit_is_refused_with_what_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = made_plan({"train": {"batch": 4, "device": "cpu"}})
    roomy(monkeypatch, plan, 0.9)
    with pytest.raises(PlanError) as error:
        fit_to_memory(plan)
    message = str(error.value)
    assert message.startswith(
        "one patch (16, 16) must fit into the memory of cpu; that needs about 0.0 GiB of 0.0 "
    )
    assert message.endswith(
        "Close other programs, choose a smaller train.patch_vox, or fewer network features."
    )


def test_processes_that_share_a_memory_each_take_their_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two processes of one CPU hold the weights twice and half of the batch each."""
    plan = made_plan({"train": {"batch": 16, "device": "cpu", "devices": 2}})
    fixed, per_patch = memory_bytes(plan)
    for free, batch in ((2 * fixed + 16.1 * per_patch, 16), (2 * fixed + 15.9 * per_patch, 8)):
        usable = free / USABLE_SHARE
        monkeypatch.setattr(memory_module, "free_bytes", lambda device, usable=usable: usable)
        assert fit_to_memory(plan).settings.train.batch == batch


def test_a_batch_too_small_for_its_own_statistics_is_normalised_by_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = auto_plan()
    assert plan.settings.network.config["normalisation"] == "batch"
    roomy(monkeypatch, plan, 3.5)
    fitting = fit_to_memory(plan)
    assert fitting.settings.train.batch < BATCH_NORM_FROM
    config = fitting.settings.network.config
    assert (config["normalisation"], config["conv_bias"]) == ("instance", True)
    assert config["features"] == plan.settings.network.config["features"]


def test_trainings_on_a_gpu_each_do_not_share_a_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = made_plan({"train": {"batch": 16, "device": "cpu"}})
    on_gpu = plan.decisions["train.device"].model_copy(update={"value": "cuda"})
    plan = plan.with_decisions({"train.device": on_gpu})
    roomy(monkeypatch, plan, 16.1)
    monkeypatch.setattr(memory_module, "open_device", torch.device)
    batches = []
    for n_gpus in (4, 2, 1):
        monkeypatch.setattr(torch.cuda, "device_count", lambda n=n_gpus: n)
        batches.append(fit_to_memory(plan, 4).settings.train.batch)
    assert batches[0] == 16  # as if it were alone
    assert batches == sorted(batches, reverse=True) and batches[2] < 16


def test_trainings_side_by_side_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = made_plan({"train": {"batch": 16, "device": "cpu"}})
    fixed, per_patch = memory_bytes(plan)
    usable = (2 * fixed + 2 * 16.1 * per_patch) / USABLE_SHARE
    monkeypatch.setattr(memory_module, "free_bytes", lambda device: usable)
    assert fit_to_memory(plan, 2).settings.train.batch == 16
    assert fit_to_memory(plan, 3).settings.train.batch == 8
    assert fits_memory(plan, 2) and not fits_memory(plan, 3)


def test_a_wider_network_must_fit_into_the_memory(
    costs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = auto_plan()
    roomy(monkeypatch, plan, 1.5 * plan.settings.train.batch)  # of the usual width
    chosen = fitted(plan, 100 * 5 * ENOUGH_STEPS)
    assert USUAL <= width(chosen) < WIDTHS[-1]
    assert memory_bytes(chosen)[1] * chosen.settings.train.batch > 0
    assert fits_memory(chosen)


# Timing -----------------------------------------------------------------------------------------


def test_a_large_case_is_timed_by_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two patches along each axis; the work of the whole is counted in tiles."""
    train = {"patch_vox": [8, 16, 16], "device": "cpu", "precision": "float32", "threads": 1}
    network = {"name": "unet_3d", "config": {"features": [4, 8]}}
    plan = auto_plan(network=network, train=train)
    shape = (24, 48, 80)
    image = np.zeros((1, *shape), np.float32)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    prepared = prepare_case([Volume(image[0], affine)], plan.settings.prepare)
    part, times = forecast_module._two_patches(prepared, plan)
    assert part.image.shape[1:] == (16, 32, 32)
    overlap = plan.settings.predict.overlap
    tiles = [
        math.prod(
            len(tile_positions(n, edge, overlap)) for n, edge in zip(size, (8, 16, 16), strict=True)
        )
        for size in (shape, (16, 32, 32))
    ]
    assert times == tiles[0] / tiles[1] > 3
    labelmap = predict_prepared([seeded_network(plan, 0).eval()], plan, part)
    assert sorted(labelmap.array.shape) == [16, 32, 32]
    whole, once = forecast_module._two_patches(part, plan)
    assert (whole, once) == (part, 1.0)


def test_of_slices_some_are_timed() -> None:
    plan = made_plan()
    image = np.zeros((1, 100, 30, 30), np.float32)
    prepared = prepare_case(
        [Volume(image[0], np.diag([1.0, 1.0, 3.0, 1.0]))], plan.settings.prepare
    )
    part, times = forecast_module._two_patches(prepared, plan)
    assert part.image.shape == (1, 32, 30, 30)
    assert times == pytest.approx(100 / 32)
