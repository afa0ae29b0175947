"""Folds over a Ray instance on this machine: the same results, also when a worker is killed."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from acinus import progress
from acinus.errors import AcinusError, ConfigError, DataError, PlanError
from acinus.study import plan_dataset, run_dataset, train_run
from acinus.study.on_ray import ray_workers
from acinus.study.parallel import Task, work_off
from same_run import assert_same_run, assert_same_weights, died_once, train_and_die_once
from tiny_cohort import QUICK


@pytest.fixture(autouse=True)
def _without_progress() -> Iterator[None]:
    with progress.quiet():
        yield


@pytest.mark.long
def test_two_workers_give_the_scores_of_the_plain_run(
    cluster: None, finished: Path, dataset: Path, tmp_path: Path
) -> None:
    run_dataset(dataset, out=tmp_path / "run", budget="40steps", settings=QUICK, on="ray")
    assert_same_run(tmp_path / "run", finished)
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.long
def test_a_killed_worker_is_replaced_and_nothing_differs(
    cluster: None, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, out = tmp_path / "plain", tmp_path / "run"
    for folder in (plain, out):
        plan_dataset(dataset, out=folder, settings=QUICK, budget="100steps")
    train_run(plain)
    monkeypatch.setattr("acinus.study.spread.train_task", train_and_die_once)
    train_run(out, on="ray")
    assert died_once(out).is_file()
    assert_same_weights(out, plain)


def refuse(path: Path) -> None:
    raise DataError(f"{path}: must be whole; it is not. Look at it.")


def die() -> None:
    psutil.Process().kill()


@pytest.mark.long
def test_faults_of_workers_are_told(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught, ray_workers(1, 0, None) as workers:
        assert workers.n_places == 2
        work_off([Task("bad", refuse, (tmp_path,))], workers, then=lambda task: ())
    assert str(caught.value) == f"{tmp_path}: must be whole; it is not. Look at it."
    assert "in refuse" in str(caught.value.__cause__)
    lost = r"AX-T1, fold 2: a worker of the Ray cluster must run to its end; it was lost 4 times"
    with pytest.raises(AcinusError, match=lost), ray_workers(1, 0, 1) as workers:
        assert workers.n_places == 1
        work_off([Task("AX-T1, fold 2", die)], workers, then=lambda task: ())
    with (
        pytest.raises(PlanError, match=r"3 CPUs .* found 2 CPUs and 0 GPUs"),
        ray_workers(3, 0, None),
    ):
        pass


def test_without_ray_it_is_said_how_to_get_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_ray(name: str, *rest: Any, **more: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(ConfigError, match=r"pip install acinus\[ray\]"):
        run_dataset(dataset, out=tmp_path / "run", budget="40steps", settings=QUICK, on="ray")
