"""The whole chain on a tiny dataset: what it leaves, repeats, resumes and keeps."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from acinus import progress
from acinus.errors import DataError, PlanError
from acinus.plan import parse_settings, read_plan
from acinus.study import (
    evaluate_run,
    plan_dataset,
    report_run,
    run_dataset,
    run_study,
    train_run,
)
from acinus.study.folders import StudyFolder
from acinus.study.schema import read_study
from acinus.study.session import Session, open_session
from acinus.study.stated import study_of_file
from tiny_cohort import QUICK, make_dataset

MEASURES = {
    "dice",
    "iou",
    "hausdorff_mm",
    "hausdorff_95_mm",
    "reference_volume_ml",
    "prediction_volume_ml",
    "side_errors",
    "side_error_ml",
}


@pytest.fixture(autouse=True)
def _without_progress() -> Iterator[None]:
    with progress.quiet():
        yield


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def state_of(folder: Path) -> dict[str, bytes]:
    """Content of every result; what tells the time of a start is left out."""
    told = {"clock.json", "provenance.json"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in told and "tensorboard" not in path.parts
    }


def test_a_run_leaves_what_is_promised(finished: Path) -> None:
    names = (
        "check.json fingerprint.json plan.yaml split.json store sampling.csv model/model.json "
        "model/plan.yaml model/fold_0/weights.safetensors model/fold_1/weights.safetensors "
        "training/fold_0/history.csv training/fold_0/tensorboard predictions/holdout "
        "predictions/validation predictions.csv scores.csv figures tables report.html "
        "provenance.json"
    )
    for name in names.split():
        assert (finished / name).exists(), name
    assert not list(finished.rglob(".partial-*"))
    assert not list(finished.rglob("checkpoint*"))


def test_every_case_is_scored_once(finished: Path, dataset: Path) -> None:
    rows = rows_of(finished / "scores.csv")
    keys = [(row["case"], row["part"], row["label"], row["metric"]) for row in rows]
    assert len(keys) == len(set(keys)) == 8 * 2 * len(MEASURES)
    assert {row["metric"] for row in rows} == MEASURES
    split = json.loads((finished / "split.json").read_text())
    assert {row["case"] for row in rows if row["part"] == "holdout"} == set(split["holdout"])
    assert {row["model"] for row in rows} == {"final"}
    for row in rows:
        assert row["value"] != "" or row["reason"] != ""


def test_nobody_is_predicted_by_a_network_that_saw_him(finished: Path) -> None:
    split = json.loads((finished / "split.json").read_text())
    parts = [set(split["holdout"]), *(set(fold) for fold in split["folds"])]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 8
    for fold in range(2):
        done = json.loads((finished / "training" / f"fold_{fold}" / "done.json").read_text())
        assert set(done["train_cases"]) == parts[2 - fold]


def test_a_budget_of_steps_is_kept_to_the_step(finished: Path) -> None:
    for fold in range(2):
        done = json.loads((finished / "training" / f"fold_{fold}" / "done.json").read_text())
        assert done["steps"] == 40
        history = rows_of(finished / "training" / f"fold_{fold}" / "history.csv")
        assert history[-1]["step"] == "40"


@pytest.mark.parametrize("steps", [1, 7, 23])
def test_any_number_of_steps_is_trained(dataset: Path, tmp_path: Path, steps: int) -> None:
    out = tmp_path / "run"
    plan_dataset(dataset, out=out, settings=QUICK, folds=1, budget=f"{steps}steps")
    train_run(out)
    done = json.loads((out / "training" / "fold_0" / "done.json").read_text())
    assert done["steps"] == steps


def test_a_split_that_changed_since_the_training_is_refused(dataset: Path, tmp_path: Path) -> None:
    """Corrected groups would put those who were learned from into the hold-out."""
    out = tmp_path / "run"
    plan_dataset(dataset, out=out, settings=QUICK, folds=1, budget="2steps")
    kept = (out / "split.json").read_bytes()
    split = json.loads(kept)
    split["holdout"], split["folds"][0] = split["folds"][0], split["holdout"]
    (out / "split.json").write_text(json.dumps(split), encoding="utf-8")
    with pytest.raises(PlanError, match=r"must be the split that the trainings .* were planned"):
        train_run(out)
    assert json.loads((out / "split.json").read_text()) == split, "and nothing was overwritten"
    (out / "split.json").unlink()  # lost: made again as it was
    train_run(out)
    assert (out / "split.json").read_bytes() == kept


@pytest.mark.slow
def test_the_same_run_in_another_folder_scores_the_same(
    finished: Path, dataset: Path, tmp_path: Path
) -> None:
    run_dataset(dataset, out=tmp_path / "again", budget="40steps", settings=QUICK)
    for name in ("scores.csv", "split.json", "plan.yaml", "sampling.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()
    for fold in range(2):
        name = f"model/fold_{fold}/weights.safetensors"
        ours, theirs = load_file(finished / name), load_file(tmp_path / "again" / name)
        for key, value in ours.items():
            np.testing.assert_array_equal(theirs[key], value)


@pytest.mark.slow
def test_the_stages_one_by_one_give_the_same(finished: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "staged"
    assert plan_dataset(dataset, out=out, budget="40steps", settings=QUICK) == out / "plan.yaml"
    assert not (out / "model").exists()
    assert train_run(out) == out
    assert not (out / "scores.csv").exists()
    assert evaluate_run(out) == out / "scores.csv"
    assert report_run(out) == out / "report.html"
    assert (out / "scores.csv").read_bytes() == (finished / "scores.csv").read_bytes()
    assert (out / "provenance.json").is_file()


def test_a_finished_run_keeps_its_results(
    copied_run: Callable[[], Path], dataset: Path, finished: Path
) -> None:
    out = copied_run()
    before = state_of(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "model").rglob("*.safetensors")}
    outcome = run_dataset(dataset, out=out, budget="40steps", settings=QUICK)
    assert outcome.failed == ()
    after = state_of(out)
    assert set(after) == set(before)
    kept = [name for name in before if not name.startswith(("figures/", "report.html"))]
    for name in kept:
        assert after[name] == before[name], name
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.parametrize(
    "lost",
    [
        "check.json",
        "sampling.csv",
        "store/p00.image.npy",
        "predictions/holdout",
        "predictions/validation",
        "predictions.csv",
        "scores.csv",
        "model/model.json",
        "model/fold_1/weights.safetensors",
        "gradcam.npz",
        "split.json",
    ],
)
def test_a_lost_result_is_made_again(
    copied_run: Callable[[], Path], dataset: Path, lost: str
) -> None:
    """The report is left out: it is written anew each time."""
    out = copied_run()
    before = state_of(out)
    path = out / lost
    files = [path] if path.is_file() else list(path.iterdir())
    for file in files:
        file.unlink()
    train_run(out)
    evaluate_run(out)
    after = state_of(out)
    if lost in ("check.json", "gradcam.npz", "predictions.csv"):
        run_dataset(dataset, out=out, budget="40steps", settings=QUICK)
        after = state_of(out)
    for file in files:
        name = str(file.relative_to(out))
        assert name in after, f"{name} was not made again"
        if not name.endswith(("predictions.csv", ".npz")):
            assert after[name] == before[name], name
    assert after["scores.csv"] == before["scores.csv"]


def test_one_fold_trains_one_model(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_dataset(dataset, out=out, budget="10steps", settings=QUICK, folds=1)
    assert [path.name for path in (out / "model").glob("fold_*")] == ["fold_0"]
    split = json.loads((out / "split.json").read_text())
    scores = rows_of(out / "scores.csv")
    assert {row["case"] for row in scores if row["part"] == "validation"} == set(split["folds"][0])
    assert (out / "report.html").is_file()


def test_without_hold_out_the_report_says_so(dataset: Path, tmp_path: Path) -> None:
    outcome = run_dataset(
        dataset, out=tmp_path / "run", budget="4steps", settings=QUICK, folds=1, holdout=0
    )
    assert outcome.summary == (
        "Dataset001_Balls: no hold-out was kept, so no Dice is stated for it",
    )
    assert outcome.report is not None
    assert outcome.report.is_file()


@pytest.fixture(scope="module")
def study_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two arms that share most participants, with one loss varied."""
    root = tmp_path_factory.mktemp("study")
    people = [f"p{number:02d}" for number in range(10)]
    make_dataset(root / "data" / "Dataset001_One", people[:8])
    make_dataset(root / "data" / "Dataset002_Two", people[2:], gain=1.7)
    study = {
        "study": "tiny",
        "title": "Two arms of balls",
        "data": str(root / "data"),
        "arms": {"One": {"dataset": "Dataset001_One"}, "Two": {"dataset": "Dataset002_Two"}},
        "split": {"holdout": 2, "holdout_needs": "all_arms", "seed": 7},
        "folds_trained": 1,
        "vary": {"loss": ["dice", "jaccard"]},
        "measure": ["dice", "hausdorff_95_mm", "reference_volume_ml", "prediction_volume_ml"],
        "budget": "12steps",
        "set": {**parse_settings(QUICK), "loss": "dice"},
    }
    path = root / "tiny.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    with progress.quiet():
        outcome = run_study(path, out=root / "out")
    assert outcome.report == root / "out" / "report.html"
    assert len(outcome.summary) == 2
    return root / "out"


@pytest.mark.slow
def test_a_study_has_the_folder_that_is_promised(study_out: Path) -> None:
    names = "study.yaml split.json scores.csv tables figures report.html provenance.json"
    for name in names.split():
        assert (study_out / name).exists(), name
    for arm in ("One", "Two"):
        for name in ("plan.yaml", "model/model.json", "scores.csv", "predictions/holdout"):
            assert (study_out / "arms" / arm / name).exists(), name
        assert (study_out / "vary" / "loss=jaccard" / arm / "scores.csv").is_file()
    # The main choice is no variant of itself.
    assert not (study_out / "vary" / "loss=dice").exists()


@pytest.mark.slow
def test_the_hold_out_is_one_for_all_arms(study_out: Path) -> None:
    split = json.loads((study_out / "split.json").read_text())
    assert len(split["holdout"]) == 2
    in_both = {f"p{number:02d}" for number in range(2, 8)}
    assert set(split["holdout"]) <= in_both
    rows = rows_of(study_out / "scores.csv")
    for arm in ("One", "Two"):
        for model in ("final", "loss=jaccard"):
            cases = {
                row["case"]
                for row in rows
                if (row["arm"], row["model"], row["part"]) == (arm, model, "holdout")
            }
            assert cases == set(split["holdout"])


@pytest.mark.slow
def test_a_variant_differs_in_one_thing(study_out: Path) -> None:
    for arm in ("One", "Two"):
        final = read_plan(study_out / "arms" / arm / "plan.yaml")
        varied = read_plan(study_out / "vary" / "loss=jaccard" / arm / "plan.yaml")
        different = {
            name
            for name in final.decisions
            if final.decisions[name].value != varied.decisions[name].value
        }
        assert different == {"loss.name"}
        assert varied.settings.loss.name == "jaccard"
        assert final.seed == varied.seed


@pytest.mark.slow
def test_the_report_names_arms_and_variants(study_out: Path) -> None:
    text = (study_out / "report.html").read_text(encoding="utf-8")
    for words in ("Two arms of balls", "One", "Two", "jaccard"):
        assert words in text


def test_errors_of_the_dataset_stop_a_run_before_training(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "Dataset001_Balls")
    (dataset / "labelsTr" / "p03.nii.gz").write_bytes(b"not a label")
    with pytest.raises(DataError) as caught:
        run_dataset(dataset, out=tmp_path / "run", budget="4steps", settings=QUICK)
    assert "p03" in str(caught.value)
    assert f"acinus check {dataset}" in str(caught.value)
    assert not (tmp_path / "run" / "plan.yaml").exists()


def test_a_synthetic_cohort_that_was_deleted_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(base: Path, *, sequences: list[str], **_: object) -> None:
        made.extend(sequences)
        make_dataset(base / "Dataset001_OrbitT1", [f"p{number}" for number in range(6)])

    monkeypatch.setattr("acinus.study.session.make_orbit_cohort", make)
    stated = {"arms": {"T1": {"dataset": "Dataset001_OrbitT1"}}, "phantom": {"patients": 6}}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"study": "s", "split": {"folds": 2}, **stated}))
    folder = StudyFolder(tmp_path / "out")
    for _ in range(2):
        open_session(read_study(path), folder, jobs=1)
    assert len(made) == 1
    shutil.rmtree(folder.root / "data" / "Dataset001_OrbitT1")
    session = open_session(read_study(path), folder, jobs=1)
    assert len(made) == 2 and len(session.datasets["T1"].cases) == 6


def session_of(path: Path) -> Session:
    """The session of a study file, beside it."""
    nothing = dict.fromkeys(("budget", "folds", "seed", "data", "arms"))
    study = study_of_file(path, settings=(), vary=True, **nothing)  # type: ignore[arg-type]
    return open_session(study, StudyFolder(path.parent / "out"), jobs=1)


def test_plans_that_are_made_before_any_training_do_not_exceed_the_budget(tmp_path: Path) -> None:
    """Three arms planned at once, to be trained one after the other by a cluster."""
    for name in ("Dataset001_One", "Dataset002_Two", "Dataset003_Three"):
        make_dataset(tmp_path / name)
    arms = {name[-3:]: {"dataset": name} for name in sorted(p.name for p in tmp_path.iterdir())}
    study = {"study": "s", "recipe": "unet-2d", "data": str(tmp_path), "arms": arms}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**study, "folds_trained": 1, "budget": "1h"}))
    session = session_of(path)
    jobs = session.timed(session.arm_jobs(), 1, plans_first=True)
    shares = [job.share_left_s() for job in jobs if job.share_left_s is not None]
    assert len(shares) == 3
    assert sum(shares) <= session.left_s() + 1
    assert shares == pytest.approx([shares[0]] * 3, rel=0.01)


def test_networks_of_a_benchmark_share_scans_only_where_they_are_prepared_alike(
    tmp_path: Path,
) -> None:
    make_dataset(tmp_path / "Dataset001_One")
    networks = {
        "Same": {"set": {"train": {"lr": 0.1}}},
        "Slices": {"recipe": "nnunet-2d"},
        "Patch": {"set": {"train": {"patch_vox": [16, 16, 16]}}},
    }
    study = {
        "study": "s",
        "recipe": "nnunet-3d",
        "data": str(tmp_path),
        "arms": {"One": {"dataset": "Dataset001_One"}},
        "benchmark": {"networks": networks},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    session = session_of(path)
    final = session.final_jobs()[0]
    shared = {job.model: job.store == final.store for job in session.benchmark_jobs()}
    assert shared == {"benchmark=Same": True, "benchmark=Slices": False, "benchmark=Patch": False}
