"""The learning rate: rises, decays to its end, and stays whole when the clock corrects it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from acinus.plan.settings import TrainSettings
from acinus.train.schedule import Correction, Schedule

STEPS = 7


def schedule(n_epochs: int = 20, *corrections: tuple[int, int], **settings: Any) -> Schedule:
    train = TrainSettings(lr=0.01, **{"warmup": 0.0, **settings})
    return Schedule(train, n_epochs, STEPS, [Correction(*one) for one in corrections])


def rates(plan: Schedule) -> list[float]:
    return [plan.lr(step) for step in range(plan.last_epoch * STEPS)]


@pytest.mark.parametrize("shape", ["cosine", "polynomial"])
def test_the_rate_falls_from_its_peak_to_nearly_nothing(shape: str) -> None:
    values = rates(schedule(schedule=shape))
    assert values[0] == 0.01
    assert values == sorted(values, reverse=True)
    assert 0 < values[-1] < 0.02 * values[0]


@pytest.mark.parametrize("step", [0, 30, 70, 139])
def test_the_shapes_follow_their_formulas(step: int) -> None:
    share = step / (20 * STEPS)
    assert schedule(schedule="polynomial").lr(step) == pytest.approx(0.01 * (1 - share) ** 0.9)
    cosine = 0.01 * (1 + math.cos(math.pi * share)) / 2
    assert schedule(schedule="cosine").lr(step) == pytest.approx(cosine)
    assert schedule(schedule="constant").lr(step) == 0.01


@pytest.mark.parametrize("shape", ["cosine", "polynomial", "constant"])
def test_warm_up_rises_evenly_over_its_share_and_never_above_the_peak(shape: str) -> None:
    plan = schedule(schedule=shape, warmup=0.1)
    values = rates(plan)
    n_warm = round(0.1 * len(values))
    differences = [after - before for before, after in pairwise(values)]
    assert values[0] > 0
    assert differences[: n_warm - 1] == pytest.approx([values[0]] * (n_warm - 1))
    assert max(values) <= 0.01
    assert max(range(len(values)), key=values.__getitem__) in (n_warm - 1, n_warm)
    assert all(difference <= 0 for difference in differences[n_warm:])


@pytest.mark.parametrize(
    "corrections",
    [[], [(5, 12)], [(5, 60)], [(3, 30), (10, 14)], [(1, 2)], [(2, 10), (4, 8), (6, 30)]],
)
def test_progress_is_continuous_rises_evenly_between_corrections_and_ends_at_one(
    corrections: list[tuple[int, int]],
) -> None:
    plan = schedule(20, *corrections)
    total = plan.last_epoch * STEPS
    values = [plan.progress(step) for step in range(total + 1)]
    assert values[0] == 0
    assert values[-1] == pytest.approx(1)
    strides = [after - before for before, after in pairwise(values)]
    assert min(strides) > 0
    joints = [0, *(begin * STEPS for begin, _ in corrections), total]
    for begin, end in pairwise(joints):
        assert strides[begin:end] == pytest.approx([strides[begin]] * (end - begin))


def test_a_correction_leaves_the_past_as_it_was() -> None:
    plan, corrected = schedule(20), schedule(20, (5, 60))
    for step in range(5 * STEPS + 1):
        assert corrected.lr(step) == pytest.approx(plan.lr(step))


@pytest.mark.parametrize("n_epochs", [8, 400])
@pytest.mark.parametrize("shape", ["cosine", "polynomial", "constant"])
def test_a_correction_makes_no_jump_and_starts_no_second_warm_up(n_epochs: int, shape: str) -> None:
    plan = schedule(20, (4, n_epochs), schedule=shape, warmup=0.1)
    values = rates(plan)
    changes = [abs(after - before) for before, after in pairwise(values)]
    assert max(changes[2 * STEPS + 1 :]) < 0.08 * 0.01
    after = values[4 * STEPS :]
    assert after == sorted(after, reverse=True)


@pytest.mark.parametrize(("left_s", "epochs"), [(50.0, 5), (59.9, 5), (200.0, 20), (3.0, 1)])
def test_correct_fits_the_remaining_epochs_to_the_time_left(left_s: float, epochs: int) -> None:
    plan = schedule(20)
    assert plan.correct(epochs_done=6, epoch_s=10.0, left_s=left_s)
    assert plan.corrections == [Correction(6, 6 + epochs)]
    assert plan.last_epoch == 6 + epochs
    assert plan.progress(plan.last_epoch * STEPS) == pytest.approx(1)


def test_a_forecast_that_fits_is_left_alone() -> None:
    plan = schedule(20)
    for left_s in (140.0, 141.0, 146.0, 149.0):
        assert not plan.correct(epochs_done=6, epoch_s=10.0, left_s=left_s)
    assert plan.corrections == []


def test_a_forecast_that_is_too_long_by_more_than_half_an_epoch_is_cut() -> None:
    plan = schedule(20)
    assert not plan.correct(epochs_done=6, epoch_s=10.0, left_s=136.0)
    assert plan.correct(epochs_done=6, epoch_s=10.0, left_s=134.0)
    assert plan.last_epoch == 19


def test_time_that_has_run_out_leaves_one_epoch_to_decay_in() -> None:
    plan = schedule(20)
    assert plan.correct(epochs_done=6, epoch_s=10.0, left_s=-5.0)
    assert plan.last_epoch == 7
    assert not plan.correct(epochs_done=7, epoch_s=10.0, left_s=-15.0)
    assert plan.lr(7 * STEPS - 1) < plan.lr(6 * STEPS)


def test_a_training_whose_epochs_slow_down_still_ends_in_time() -> None:
    plan, clock, epoch = schedule(40), 0.0, 0
    while epoch < plan.last_epoch:
        epoch_s = 1.0 if epoch < 10 else 2.5
        clock, epoch = clock + epoch_s, epoch + 1
        plan.correct(epoch, epoch_s, left_s=40.0 - clock)
    assert 36.0 <= clock <= 42.5
    assert plan.progress(plan.last_epoch * STEPS) == pytest.approx(1)
