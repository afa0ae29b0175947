"""Folds and arms side by side: the same files as one after the other, whatever happens."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from acinus import progress
from acinus.errors import ConfigError, PlanError
from acinus.plan import parse_settings
from acinus.study import plan_dataset, prepare_run, run_dataset, run_study, train_part, train_run
from same_run import assert_same_run, assert_same_weights, died_once, train_and_die_once
from tiny_cohort import QUICK, make_dataset

STEPS = "40steps"


@pytest.fixture(autouse=True)
def _without_progress() -> Iterator[None]:
    with progress.quiet():
        yield


@pytest.mark.slow
def test_folds_side_by_side_give_the_same(finished: Path, dataset: Path, tmp_path: Path) -> None:
    outcome = run_dataset(dataset, out=tmp_path / "run", budget=STEPS, settings=QUICK, jobs=2)
    assert outcome.report == tmp_path / "run" / "report.html"
    assert_same_run(tmp_path / "run", finished)
    assert not list((tmp_path / "run").rglob(".partial-*"))


@pytest.mark.long
def test_a_killed_worker_is_replaced_and_nothing_differs(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, out = tmp_path / "plain", tmp_path / "run"
    for folder in (plain, out):
        plan_dataset(dataset, out=folder, settings=QUICK, budget="100steps")
    train_run(plain)
    monkeypatch.setattr("acinus.study.spread.train_task", train_and_die_once)
    train_run(out, jobs=2)
    assert died_once(out).is_file()
    assert_same_weights(out, plain)
    assert (out / "model" / "model.json").read_bytes() == (plain / "model/model.json").read_bytes()


@pytest.mark.slow
def test_the_parts_one_by_one_give_the_same(finished: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    plan_dataset(dataset, out=out, budget=STEPS, settings=QUICK)
    prepare_run(out)
    for fold in (1, 0):
        train_part(out, fold=fold)
    assert not (out / "model" / "model.json").exists()
    train_run(out, jobs=2)
    assert_same_weights(out, finished)
    assert (out / "model" / "model.json").read_bytes() == (
        finished / "model" / "model.json"
    ).read_bytes()


def test_a_part_is_trained_as_it_was_prepared(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks on machines of different memory train one plan; nothing is trained unprepared."""
    out = tmp_path / "run"
    small = ("train.patch_vox=[32, 32]", "train.batch=4", "train.threads=1", "folds=2")
    plan_dataset(dataset, out=out, recipe="nnunet-2d", budget="4steps", settings=small)
    with pytest.raises(PlanError, match=r"must hold the prepared cases of fold 1; .* are missing"):
        train_part(out, fold=0)
    prepare_run(out)
    before = (out / "plan.yaml").read_bytes()
    monkeypatch.setattr("acinus.study.memory.free_bytes", lambda _: 1)
    train_part(out, fold=0)
    assert (out / "plan.yaml").read_bytes() == before


@pytest.mark.long
def test_arms_and_variants_side_by_side_give_the_same(tmp_path: Path) -> None:
    people = [f"p{number:02d}" for number in range(8)]
    make_dataset(tmp_path / "data" / "Dataset001_One", people[:6])
    make_dataset(tmp_path / "data" / "Dataset002_Two", people[2:], gain=1.7)
    study = {
        "study": "tiny",
        "data": str(tmp_path / "data"),
        "arms": {"One": {"dataset": "Dataset001_One"}, "Two": {"dataset": "Dataset002_Two"}},
        "split": {"holdout": 2, "holdout_needs": "all_arms", "seed": 7},
        "folds_trained": 1,
        "vary": {"loss": ["jaccard"]},
        "measure": ["dice"],
        "budget": "6steps",
        "set": {**parse_settings(QUICK), "loss": "dice"},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    run_study(path, out=tmp_path / "plain")
    run_study(path, out=tmp_path / "spread", jobs=3)
    assert_same_weights(tmp_path / "spread", tmp_path / "plain")
    for name in ("scores.csv", "vary/loss=jaccard/Two/scores.csv"):
        assert (tmp_path / "spread" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_a_finished_run_starts_no_process(
    finished: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "run"))

    def refuse(*_: object) -> None:
        raise AssertionError("nothing is left to train")

    monkeypatch.setattr("acinus.study.spread._task", refuse)
    run_dataset(dataset, out=out, budget=STEPS, settings=QUICK, jobs=2)
    assert_same_run(out, finished)


def test_a_part_must_be_planned_and_known(finished: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--fold must be one of 1 to 2; got 3\."):
        train_part(finished, fold=2)
    with pytest.raises(ConfigError, match=r"unknown arm 'Balls'\. Known: Dataset001_Balls"):
        train_part(finished, arm="Balls", fold=0)
    with pytest.raises(ConfigError, match=r"unknown variant 'loss=dice'\. Known: none"):
        train_part(finished, variant="loss=dice", fold=0)
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    (out / "plan.yaml").unlink()
    with pytest.raises(PlanError, match=r"--prepare-only' first\."):
        train_part(out, fold=0)


@pytest.mark.parametrize("jobs", [0, -2])
def test_no_jobs_are_refused(dataset: Path, tmp_path: Path, jobs: int) -> None:
    with pytest.raises(ConfigError, match=f"--jobs must be at least 1; got {jobs}"):
        run_dataset(dataset, out=tmp_path / "run", budget=STEPS, settings=QUICK, jobs=jobs)
