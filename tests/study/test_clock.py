"""The time a command has used: over interruptions, not between them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acinus import progress
from acinus.errors import DataError, PlanError
from acinus.plan import read_plan
from acinus.study import arm as arm_module
from acinus.study import clock as clock_module
from acinus.study import forecast as forecast_module
from acinus.study import plan_dataset, train_run
from acinus.study.clock import AIM, Clock
from acinus.study.forecast import Forecast
from tiny_cohort import QUICK


class Time:
    """A clock on the wall that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Time:
    by_hand = Time()
    monkeypatch.setattr(clock_module, "time", by_hand)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    return by_hand


def test_time_runs_from_the_beginning(tmp_path: Path, wall: Time) -> None:
    clock = Clock(tmp_path / "clock.json", 100.0)
    assert clock.used_s == 0.0
    wall.now_s += 30
    assert clock.used_s == pytest.approx(30)
    assert clock.left_s == pytest.approx(AIM * 100 - 30)


def test_time_before_an_interruption_counts_and_the_wait_does_not(
    tmp_path: Path, wall: Time
) -> None:
    first = Clock(tmp_path / "clock.json", 100.0)
    wall.now_s += 30
    first.save()
    wall.now_s += 5000  # killed, and started again the next day
    second = Clock(tmp_path / "clock.json", 100.0)
    assert second.used_s == pytest.approx(30)
    wall.now_s += 20
    second.save()
    assert json.loads((tmp_path / "clock.json").read_text())["seconds"] == pytest.approx(50)
    assert Clock(tmp_path / "clock.json", 100.0).left_s == pytest.approx(AIM * 100 - 50)


def test_without_a_ceiling_there_is_always_time(tmp_path: Path) -> None:
    assert Clock(tmp_path / "clock.json", None).left_s == float("inf")


def test_the_age_of_a_notebook_is_not_the_time_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py"])
    young = Clock(tmp_path / "a.json", 10.0).used_s
    monkeypatch.setattr(sys, "argv", ["/usr/bin/acinus", "run"])
    old = Clock(tmp_path / "b.json", 10.0).used_s
    assert young < old


def test_the_time_is_noted_while_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "NOTED_EVERY_S", 0.01)
    path = tmp_path / "clock.json"
    clock = Clock(path, 10.0)
    with clock.running():
        first = path.read_text()
        # Ends as soon as a note was made; the sleep of a hung test is bounded.
        for _ in range(1000):
            if path.read_text() != first:
                break
            time.sleep(0.01)
        assert path.read_text() != first
    end = json.loads(path.read_text())["seconds"]
    assert end <= clock.used_s + 0.01


def test_the_time_is_noted_after_a_failure(tmp_path: Path, wall: Time) -> None:
    clock = Clock(tmp_path / "clock.json", 10.0)
    with pytest.raises(DataError), clock.running():
        wall.now_s += 7
        raise DataError("cannot be")
    assert json.loads((tmp_path / "clock.json").read_text()) == {"seconds": 7.0}


@pytest.mark.parametrize("text", ["[]", '{"seconds": "many"}', "{}"])
def test_a_clock_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock.json").write_text(text)
    with pytest.raises(DataError, match=r"clock.json: must hold the seconds used so far"):
        Clock(tmp_path / "clock.json", 10.0)


@pytest.fixture
def quiet() -> Iterator[None]:
    with progress.quiet():
        yield


@pytest.mark.usefixtures("quiet")
def test_a_budget_too_small_says_what_is_needed(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        plan_dataset(dataset, out=tmp_path / "run", budget="1s", folds=2, settings=QUICK)
    assert "at least 10 steps of each of 2 training(s)" in str(caught.value)
    assert "s more, or fewer --folds" in str(caught.value)


@pytest.mark.usefixtures("quiet")
def test_time_used_before_is_taken_from_the_budget(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same budget gives fewer steps where an earlier start has used much of it."""
    costs = Forecast(step_s=0.05, validation_s=0.1, predict_s=0.1)
    for module in (arm_module, forecast_module):
        monkeypatch.setattr(module, "measure_costs", lambda *_: costs)
    steps = []
    for name, used_s in (("fresh", 0.0), ("used", 480.0)):
        out = tmp_path / name
        if used_s:
            plan_dataset(dataset, out=out, budget="600s", settings=QUICK)
            (out / "plan.yaml").unlink()
            (out / "clock.json").write_text(json.dumps({"seconds": used_s}))
        plan_dataset(dataset, out=out, budget="600s", settings=QUICK)
        plan = read_plan(out / "plan.yaml")
        steps.append(plan.n_steps * len(plan.folds_to_train))
    # 93 s are left of 573, less what this process has used itself.
    assert 0 < steps[1] < steps[0] / 5


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_training_ends_within_its_share_of_a_time_budget(dataset: Path, tmp_path: Path) -> None:
    """It corrects itself after every epoch; what share of the whole is used is measured apart."""
    out = tmp_path / "run"
    plan_dataset(dataset, out=out, budget="20s", settings=QUICK, folds=1)
    train_run(out)
    done = json.loads((out / "training" / "fold_0" / "done.json").read_text())
    assert done["seconds"] <= 20
    plan = read_plan(out / "plan.yaml")
    assert plan.decisions["train.steps_per_epoch"].source == "budget"
    history = (out / "training" / "fold_0" / "history.csv").read_text().splitlines()
    columns = history[0].split(",")
    last_rate = float(history[-1].split(",")[columns.index("learning_rate")])
    # The schedule ends on time: the last rate is a small part of the peak.
    assert last_rate < 0.05 * plan.settings.train.lr


@pytest.mark.slow
def test_a_killed_command_has_noted_its_time(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [sys.executable, "-m", "acinus", "run", str(dataset), "--out", str(out)]
    words += ["--budget", "1000000steps", "--set", "train.epochs=100000"]
    words += [word for setting in QUICK for word in ("--set", setting)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if (out / "training" / "fold_0" / "history.csv").is_file():
                break
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert json.loads((out / "clock.json").read_text())["seconds"] > 0
    assert not (out / "model" / "model.json").exists()


@pytest.mark.usefixtures("quiet")
def test_a_run_interrupted_between_stages_goes_on(
    finished: Path, dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    plan_dataset(dataset, out=out, budget="40steps", settings=QUICK)
    before = json.loads((out / "clock.json").read_text())["seconds"]
    train_run(out)
    assert json.loads((out / "clock.json").read_text())["seconds"] > before
    for fold in range(2):
        name = f"model/fold_{fold}/weights.safetensors"
        assert (out / name).read_bytes() == (finished / name).read_bytes()
