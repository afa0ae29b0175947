"""`acinus plan` on a machine that will not train: nnU-Net's plan whatever the memory is."""

from __future__ import annotations

from pathlib import Path

import pytest

import acinus
from acinus import progress
from acinus.plan import read_plan
from acinus.study import memory as memory_module
from acinus.study import plan_outlook
from acinus.study.arm import plan_arm
from acinus.study.session import reopen_session
from tiny_cohort import make_dataset


def plan(dataset: Path, out: Path, recipe: str = "nnunet-2d", **options) -> acinus.plan.Plan:
    with progress.quiet():
        return read_plan(acinus.plan_dataset(dataset, recipe=recipe, out=out, **options))


def test_a_small_memory_changes_no_plan_of_nnunet_until_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(tmp_path / "Dataset001_Balls")
    whole = plan(dataset, tmp_path / "roomy").settings.train.batch
    fixed, per_patch = memory_module.memory_bytes(read_plan(tmp_path / "roomy" / "plan.yaml"))
    free = (fixed + (whole // 2 + 0.5) * per_patch) / memory_module.USABLE_SHARE
    monkeypatch.setattr(memory_module, "free_bytes", lambda device: free)
    out = tmp_path / "small"
    written = acinus.plan_dataset(dataset, recipe="nnunet-2d", out=out)
    assert read_plan(written).settings.train.batch == whole
    assert "does not fit into the free memory" in capfd.readouterr().err
    assert "more than is free here: no step was timed" in plan_outlook(out)
    assert read_plan(written).settings.train.batch == whole
    (job,) = reopen_session(out).arm_jobs()
    assert plan_arm(job).settings.train.batch == whole // 2
    assert f"batch {whole // 2} in place of {whole}" in capfd.readouterr().err
    assert read_plan(written).settings.train.batch == whole // 2


def test_steps_are_timed_with_a_batch_that_the_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time budget is fitted on this machine, whose system would end what does not fit."""
    dataset = make_dataset(tmp_path / "Dataset001_Balls")
    whole = plan(dataset, tmp_path / "roomy")
    fixed, per_patch = memory_module.memory_bytes(whole)
    free = (fixed + 2.5 * per_patch) / memory_module.USABLE_SHARE
    monkeypatch.setattr(memory_module, "free_bytes", lambda device: free)
    timed = []
    monkeypatch.setattr(
        "acinus.study.arm._fit_to_clock",
        lambda job, plan, left: timed.append(plan.settings.train.batch) or plan,
    )
    assert plan(dataset, tmp_path / "out", budget="60s").settings.train.batch == timed[0] <= 2


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_people_are_planned_without_hold_out(n: int, tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "Dataset001_Balls", [f"p{k}" for k in range(n)])
    made = plan(dataset, tmp_path / "out")
    assert made.settings.folds == n
    session = reopen_session(tmp_path / "out")
    assert session.split.holdout == () and len(session.split.folds) == n


def test_a_model_to_begin_with_is_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(tmp_path / "Dataset001_Balls")
    monkeypatch.chdir(tmp_path)
    made = plan(dataset, tmp_path / "out", settings=["train.pretrained=model"])
    assert made.settings.train.pretrained == str(tmp_path / "model")
