"""A cascade: a model at low resolution, then one at full resolution that sees its labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acinus import progress
from acinus.cli import main
from acinus.errors import PlanError
from acinus.files import read_json
from acinus.plan import load_recipe, read_plan
from acinus.predict import load_model, predict_paths
from acinus.prepare import load_case, prepare_labelmap
from acinus.scans import read_labelmap, read_volume
from acinus.study import (
    SlurmRequest,
    ensembling,
    plan_dataset,
    plan_outlook,
    prepare_run,
    run_dataset,
    slurm_dataset,
    train_part,
    train_run,
)
from acinus.study import cascade as cascade_module
from acinus.study.job import ArmJob
from acinus.study.session import reopen_session
from same_run import assert_same_weights
from tiny_cohort import LABELS, affine_of, head, save

SHAPE = (40, 64, 64)
N_CASES = 6
QUICK = ("nnunet.memory_gb=0.05", "network.config={features: [4, 8, 8]}", "train.threads=1")
SETTINGS = (*QUICK, "folds=2")
CASCADE = "nnunet-3d-cascade"
STEPS = "6steps"


@pytest.fixture(autouse=True)
def _without_progress() -> Iterator[None]:
    with progress.quiet():
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads so large, for the memory that is allowed, that a low resolution is planned."""
    folder = tmp_path_factory.mktemp("data") / "Dataset007_Heads"
    affine = affine_of(SHAPE, (1.0, 1.0, 1.0))
    for number in range(N_CASES):
        image, label = head(np.random.default_rng([7, number]), SHAPE)
        save(image, affine, folder / "imagesTr" / f"p{number}_0000.nii.gz")
        save(label, affine, folder / "labelsTr" / f"p{number}.nii.gz")
    header = {
        "channel_names": {"0": "T1"},
        "labels": LABELS,
        "numTraining": N_CASES,
        "file_ending": ".nii.gz",
        "sides": {"gland_right": "right", "gland_left": "left"},
        "mirror_pairs": [["gland_right", "gland_left"]],
    }
    (folder / "dataset.json").write_text(json.dumps(header), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run: two folds at low resolution, one of them at full resolution."""
    out = tmp_path_factory.mktemp("cascade") / "run"
    with progress.quiet():
        run_dataset(
            dataset, recipe=CASCADE, out=out, budget=STEPS, settings=SETTINGS, folds=1, holdout=2
        )
    return out


def job_of(run: Path) -> ArmJob:
    return reopen_session(run).arm_jobs()[0]


def array_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_low_resolution_is_coarser_and_trained_on_all_folds(finished: Path) -> None:
    full, first = read_plan(finished / "plan.yaml"), read_plan(finished / "lowres" / "plan.yaml")
    coarse, fine = first.settings.prepare.spacing_mm, full.settings.prepare.spacing_mm
    assert coarse is not None and fine is not None
    assert all(a is not None and b is not None and a > b for a, b in zip(coarse, fine, strict=True))
    assert (full.folds_to_train, first.folds_to_train) == ((0,), (0, 1))
    assert (full.n_channels, first.n_channels) == (3, 1)
    facts = full.decisions["nnunet.configuration"].facts
    assert facts["plan_at_low_resolution"] == first.hash()
    assert (finished / "report.html").is_file()


@pytest.mark.slow
def test_a_case_shows_what_the_fold_found_that_had_not_seen_it(finished: Path) -> None:
    split = read_json(finished / "split.json")
    store = job_of(finished).open_store()
    for fold, cases in enumerate(split["folds"]):
        trained = read_json(finished / "lowres" / "training" / f"fold_{fold}" / "done.json")
        for case in cases:
            assert case not in trained["train_cases"]
            path = finished / "lowres" / "predictions" / "validation" / f"{case}.nii.gz"
            kept, geometry = store.previous(case), store.facts(case).geometry
            assert kept is not None
            np.testing.assert_array_equal(kept, prepare_labelmap(read_labelmap(path), geometry))


@pytest.mark.slow
def test_the_model_folder_alone_predicts_what_the_run_did(
    finished: Path, dataset: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished / "model", tmp_path / "model"))
    model = load_model(folder)
    assert model.members[0].previous is not None
    for case in read_json(finished / "split.json")["holdout"]:
        image = dataset / "imagesTr" / f"{case}_0000.nii.gz"
        ours = model.predict(read_volume(image)).array
        theirs = array_of(finished / "predictions" / "holdout" / f"{case}.nii.gz").T
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_what_it_is_shown_matters(finished: Path, dataset: Path) -> None:
    model = load_model(finished / "model", mirroring=True)
    member = model.members[0]
    prepared = member.prepare([read_volume(next((dataset / "imagesTr").glob("*")))])
    assert prepared.previous is not None and prepared.previous.shape == prepared.image.shape[1:]
    results = [
        model.predict_prepared(replace(prepared, previous=shown), postprocess="none").array
        for shown in (np.zeros_like(prepared.previous), np.ones_like(prepared.previous))
    ]
    assert (results[0] != results[1]).any()


@pytest.mark.slow
def test_a_model_without_its_low_resolution_is_refused(finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished / "model", tmp_path / "model"))
    card = folder / "previous" / "model.json"
    changed = json.loads(card.read_text(encoding="utf-8"))
    changed["plan_hash"] = "0" * len(changed["plan_hash"])
    card.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(PlanError, match="must be the model that the cascade was trained with"):
        load_model(folder)
    shutil.rmtree(folder / "previous")
    with pytest.raises(PlanError, match=r"previous"):
        load_model(folder)


@pytest.mark.slow
def test_a_folder_of_scans_is_predicted(finished: Path, dataset: Path, tmp_path: Path) -> None:
    outcome = predict_paths(finished / "model", dataset / "imagesTr", tmp_path / "out")
    assert (len(outcome.written), outcome.failed) == (N_CASES, {})


@pytest.mark.long
def test_side_by_side_and_part_by_part_give_the_same(
    finished: Path, dataset: Path, tmp_path: Path
) -> None:
    stated = {"recipe": CASCADE, "budget": STEPS, "settings": SETTINGS, "folds": 1, "holdout": 2}
    spread = tmp_path / "spread"
    run_dataset(dataset, out=spread, jobs=2, **stated)
    assert_same_weights(spread, finished)
    assert (spread / "scores.csv").read_bytes() == (finished / "scores.csv").read_bytes()
    parts = tmp_path / "parts"
    plan_dataset(dataset, out=parts, **stated)
    prepare_run(parts)
    with pytest.raises(PlanError, match="must be trained on all folds before the cascade"):
        train_part(parts, fold=0)
    for fold in (1, 0):
        train_part(parts, variant="lowres", fold=fold)
    train_run(parts)
    assert_same_weights(parts, finished)


@pytest.mark.long
def test_a_run_goes_on_where_the_low_resolution_was_finished(
    finished: Path, dataset: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    for name in ("model", "training", "predictions", "previous", "scores.csv", "report.html"):
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = {path: path.stat().st_mtime_ns for path in (out / "lowres").rglob("*.safetensors")}
    run_dataset(
        dataset, recipe=CASCADE, out=out, budget=STEPS, settings=SETTINGS, folds=1, holdout=2
    )
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert_same_weights(out, finished)
    assert (out / "scores.csv").read_bytes() == (finished / "scores.csv").read_bytes()


@pytest.mark.slow
def test_both_plans_are_read_aloud(dataset: Path, tmp_path: Path) -> None:
    plan_dataset(dataset, recipe=CASCADE, out=tmp_path, budget=STEPS, settings=SETTINGS, folds=1)
    said = plan_outlook(tmp_path)
    assert said.count("time of all trainings") == 2
    first, second = said.split("Outlook")[:2]
    assert "low resolution" in first and "(2 of 2 folds, 6 steps each)" in second


def test_a_dataset_that_fits_has_no_cascade(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", str(dataset), "--recipe", CASCADE, "--out", str(tmp_path / "run")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "nnunet.configuration '3d_cascade' must have a dataset too large" in said
    assert "Use the recipe nnunet-3d." in said
    assert not (tmp_path / "run" / "plan.yaml").exists()


def test_an_array_of_its_own_trains_the_low_resolution_first(dataset: Path, tmp_path: Path) -> None:
    submit = slurm_dataset(
        dataset,
        recipe=CASCADE,
        out=tmp_path / "run",
        settings=SETTINGS,
        budget=STEPS,
        folds=1,
        request=SlurmRequest(),
    )
    first = (submit.parent / "first.sh").read_text(encoding="utf-8")
    assert first.count("--variant lowres --fold") == 2, "all folds, though one is trained after"
    train = (submit.parent / "train.sh").read_text(encoding="utf-8")
    assert "--variant" not in train and "#SBATCH --array=0-0" in train


def test_a_spacing_by_the_user_is_that_of_the_full_resolution(
    dataset: Path, tmp_path: Path
) -> None:
    plan_dataset(
        dataset,
        recipe=CASCADE,
        out=tmp_path / "run",
        budget=STEPS,
        settings=(*SETTINGS, "prepare.spacing_mm=[1,1,1]"),
    )
    full = read_plan(tmp_path / "run" / "plan.yaml").settings.prepare.spacing_mm
    coarse = read_plan(tmp_path / "run" / "lowres" / "plan.yaml").settings.prepare.spacing_mm
    assert full == (1, 1, 1)
    assert coarse is not None and all(step is not None and step > 1 for step in coarse)


@pytest.mark.slow
def test_an_ensemble_compares_a_cascade_by_what_had_not_learned_from_the_case(
    finished: Path,
) -> None:
    """All folds of the low resolution together know every case."""
    (run,) = [ensembling._open(finished, "cascade")]
    case = run.dataset.case(next(iter(run.folds)))
    member = run.member(run.folds[case.case_id], "cpu")
    channels, _ = load_case(case, with_label=False)
    prepared = ensembling._prepared(run, member, channels, case)
    stored = job_of(finished).open_store().previous(case.case_id)
    assert stored is not None and prepared.previous is not None
    np.testing.assert_array_equal(prepared.previous, stored)


def test_a_cascade_that_is_fine_tuned_gives_each_stage_weights_of_its_own(tmp_path: Path) -> None:
    recipe = load_recipe(CASCADE, {"train": {"pretrained": str(tmp_path)}})
    assert cascade_module._pretrained_first(recipe) is None
    (tmp_path / "previous").mkdir()
    assert cascade_module._pretrained_first(recipe) == str(tmp_path / "previous")
