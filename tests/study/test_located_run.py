"""A model with a locate stage, from scans to scores: trained, judged and used together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from test_slurm import run_as_a_cluster_would

from acinus import progress
from acinus.cli import main
from acinus.errors import ConfigError, DataError, PlanError
from acinus.files import read_json, write_json
from acinus.plan import fingerprint, read_plan
from acinus.predict import load_model, located, predict_paths
from acinus.predict.ensemble import write_ensemble
from acinus.predict.folder import check_one_locator
from acinus.predict.locate import locators
from acinus.prepare import Store
from acinus.scans import read_labelmap, read_volume, write_volume
from acinus.study import (
    SlurmRequest,
    ensemble_runs,
    evaluate_run,
    explain_image,
    plan_dataset,
    report_run,
    run_dataset,
    slurm_dataset,
    train_part,
    train_run,
)
from made_body import body
from same_run import assert_same_run

SHAPE = (16, 24, 28)
SPACING_MM = 3.0
QUICK = (
    "network.config={features: [4, 8]}",
    "train.patch_vox=[8, 8, 8]",
    "train.batch=2",
    "train.threads=1",
    "predict.overlap=0",
    "train.precision=float32",
    "folds=2",
    "locate.stage=network",
    "locate.spacing_mm=6",
    "locate.margin_mm=6",
    "locate.config={train: {precision: float32}, network: {config: {features: [4, 8]}}}",
)
STRUCTURES = {"orbit_right": ["gland_right"], "orbit_left": ["gland_left"]}


def balls(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(Z, Y, X) noise with a bright ball on the right and a dark one on the left."""
    image, labels = rng.normal(0, 20, SHAPE), np.zeros(SHAPE, np.uint8)
    middle = np.array(SHAPE) / 2 + rng.uniform(-2, 2, 3)
    for value, side in ((1, 1), (2, -1)):
        centre = np.add(middle, (0, 0, 8 * side))
        far = sum((i - c) ** 2 for i, c in zip(np.indices(SHAPE), centre, strict=True))
        labels[far < 9] = value
        image[far < 9] += 400 * side
    return image.astype(np.int16), labels


def write_cases(
    folder: Path, make: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]], n: int
) -> Path:
    """A raw dataset of `n` cases (image, labels, affine) on CT."""
    for number in range(n):
        image, labels, affine = make(number)
        named = {f"imagesTr/p{number:02d}_0000": image, f"labelsTr/p{number:02d}": labels}
        for name, array in named.items():
            path = folder / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.ascontiguousarray(array.T), affine), path)
    header = {
        "name": "Far",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "gland_right": 1, "gland_left": 2},
        "numTraining": n,
        "file_ending": ".nii.gz",
        "sides": {"gland_right": "right", "gland_left": "left"},
        "mirror_pairs": [["gland_right", "gland_left"]],
        "structures": STRUCTURES,
    }
    (folder / "dataset.json").write_text(json.dumps(header), encoding="utf-8")
    return folder


def ball_case(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = -SPACING_MM * np.array(SHAPE[::-1]) / 2
    return *balls(np.random.default_rng(number)), affine


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cases(tmp_path_factory.mktemp("data") / "Dataset001_Far", ball_case, 5)


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained, evaluated and reported run; not to be altered."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with progress.quiet():
        plan_dataset(dataset, out=out, budget="20steps", settings=QUICK)
        train_run(out)
        evaluate_run(out)
        report_run(out)
    return out


def judged(run: Path) -> pd.DataFrame:
    """``localisation.csv`` without what differs from run to run."""
    table = pd.read_csv(run / "localisation.csv")
    return table.drop(columns=["locate_seconds", "segment_seconds"])


@pytest.mark.long
@pytest.mark.parametrize("spread", [{"jobs": 2}, {"on": "ray"}], ids=["processes", "ray"])
def test_folds_of_both_stages_side_by_side_give_the_same(
    spread: dict[str, Any], run: Path, dataset: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if "on" in spread:
        request.getfixturevalue("cluster")
    with progress.quiet():
        run_dataset(dataset, out=tmp_path / "run", budget="20steps", settings=QUICK, **spread)
    assert_same_run(tmp_path / "run", run)
    pd.testing.assert_frame_equal(judged(tmp_path / "run"), judged(run))


@pytest.mark.long
def test_arrays_of_a_cluster_give_the_same(run: Path, dataset: Path, tmp_path: Path) -> None:
    submit = slurm_dataset(
        dataset, out=tmp_path / "run", budget="20steps", settings=QUICK, request=SlurmRequest()
    )
    said, submitted = run_as_a_cluster_would(submit, tmp_path)
    assert said == "submitted: prepare 1, first 2, train 3, finish 4\n"
    assert [words[-1] for words in submitted] == ["prepare.sh", "first.sh", "train.sh", "finish.sh"]
    assert_same_run(tmp_path / "run", run)
    pd.testing.assert_frame_equal(judged(tmp_path / "run"), judged(run))


@pytest.mark.slow
def test_the_report_tells_how_well_boxes_were_found_and_that_is_true(
    run: Path, dataset: Path
) -> None:
    """Against voxel centres and faces in the world, box by box."""
    found = pd.read_csv(run / "localisation.csv").set_index(["case", "place"])
    boxes = pd.concat([pd.read_csv(path) for path in (run / "boxes").glob("*.csv")])
    n_boxes = 0
    for _, row in boxes.iterrows():
        told = found.loc[(row["case"], row["place"])]
        image = nib.load(dataset / "labelsTr" / f"{row['case']}.nii.gz")
        value = 1 if row["place"] == "orbit_right" else 2
        centres = np.argwhere(np.asarray(image.dataobj) == value) @ image.affine[:3, :3].T
        centres += image.affine[:3, 3]
        sides = [[row[f"{end}_{axis}_mm"] for axis in "ras"] for end in
                 ("low", "high", "last_low", "last_high")]  # fmt: skip
        if not np.isfinite(sides).all():
            assert (told["outcome"], told["share_inside"]) == ("missed", 0)
            continue
        n_boxes += 1
        low, high, last_low, last_high = np.array(sides)
        inside = ((centres >= low) & (centres <= high)).all(axis=1).mean()
        at_last = ((centres >= last_low) & (centres <= last_high)).all(axis=1).mean()
        assert told["share_inside"] == pytest.approx(inside)
        assert told["share_inside_last"] == pytest.approx(at_last)
        assert told["outcome"] == ("found" if at_last == 1 else "cut" if at_last else "missed")
        first, last = centres.min(axis=0) - SPACING_MM / 2, centres.max(axis=0) + SPACING_MM / 2
        common = (np.minimum(last, high) - np.maximum(first, low)).clip(0)
        assert told["filled"] == pytest.approx(np.prod(common) / np.prod(high - low), abs=1e-3)
        gaps = [*(first - low), *(high - last)]
        assert told["margin_mm"] == pytest.approx(min(gaps), abs=0.02)
        # Cases of the cross-validation were located before, by the fold that had not seen them.
        assert (told["locate_seconds"] > 0) == (told["part"] == "holdout")
        assert told["segment_seconds"] > 0
    assert n_boxes >= 5, "a run whose locator finds nothing shows nothing"
    tables = [pd.read_csv(path) for path in (run / "tables").glob("table-*[0-9].csv")]
    (table,) = [one for one in tables if "share_inside_last" in one]
    tested = found[found["part"] == "holdout"]
    assert set(table["place"]) == set(STRUCTURES)
    for _, row in table.iterrows():
        own = tested.xs(row["place"], level="place")
        assert row["n"] == len(own)
        assert row["n_found"] == (own["outcome"] == "found").sum()
        assert row["share_inside"] == pytest.approx(own["share_inside"].mean(), abs=1e-6)
        assert row["filled"] == pytest.approx(own["filled"].median(), abs=1e-6, nan_ok=True)
        assert row["locate_seconds"] == pytest.approx(own["locate_seconds"].median(), abs=1e-6)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Localisation: how well the boxes were found" in page


@pytest.mark.slow
def test_deleted_results_of_the_locate_stage_are_made_again(run: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(run, tmp_path / "run"))
    lost = [
        "localisation.csv",
        "boxes/holdout.csv",
        "boxes/validation_0.csv",
        "model/locator/model.json",
    ]
    for name in lost:
        (out / name).unlink()
    with progress.quiet():
        train_run(out)
        evaluate_run(out)
    for name in lost:
        assert (out / name).is_file(), name
    pd.testing.assert_frame_equal(judged(out), judged(run))


def test_every_place_of_every_case_is_judged(run: Path) -> None:
    found = pd.read_csv(run / "localisation.csv")
    assert len(found) == 2 * 5
    assert set(found["place"]) == set(STRUCTURES)
    assert set(found["part"]) == {"holdout", "validation"}
    assert found["share_inside"].between(0, 1).all()  # a missed box counts as 0
    assert set(found["outcome"]) <= {"found", "cut", "missed"}
    boxed = found[found["box_ml"].notna()]
    assert (boxed["filled"] <= 1).all()
    assert (boxed["last_box_ml"] >= boxed["box_ml"] - 1e-3).all()


def test_training_sees_boxes_and_a_case_is_located_by_what_has_not_seen_it(run: Path) -> None:
    plan, store = read_plan(run / "plan.yaml"), Store(run / "store")
    assert (
        plan.decisions["locate.stage"].facts["plan_of_the_locator"]
        == read_plan(run / "locator" / "plan.yaml").hash()
    )
    assert store.entries("p00") == ("p00@orbit_right", "p00@orbit_left")
    for entry in store.entries("p00"):
        assert np.prod(store.label(entry).shape) < np.prod(SHAPE) / 4
        assert (store.label(entry) == 1).any()  # the left box is seen as in a mirror
    assert [store.facts(one).mirrored for one in store.entries("p00")] == [False, True]
    done = read_json(run / "training" / "fold_0" / "done.json")
    assert all("@orbit_" in entry for entry in done["train_cases"])
    for fold in (0, 1):  # the folds of the segment stage, each case by the one that held it out
        assert (run / "locator" / "model" / f"fold_{fold}" / "weights.safetensors").is_file()
    judged = pd.read_csv(run / "localisation.csv")
    held_out = {path.name[:-7] for path in (run / "locator/predictions/validation").iterdir()}
    assert held_out == set(judged.loc[judged["part"] == "validation", "case"])


def test_a_new_scan_gives_what_the_hold_out_gave(run: Path, dataset: Path, tmp_path: Path) -> None:
    case = sorted((run / "predictions" / "holdout").iterdir())[0].name[:-7]
    scan = tmp_path / f"{case}.nii.gz"
    image = nib.load(dataset / "imagesTr" / f"{case}_0000.nii.gz")
    image.set_sform(image.affine, code=2)
    image.set_qform(image.affine, code=1)
    image.header["descrip"] = b"of whom it is"
    nib.save(image, scan)
    with progress.quiet():
        outcome = predict_paths(run / "model", scan, tmp_path / "labels", overlay=True)
    assert not outcome.failed
    ours = read_labelmap(tmp_path / "labels" / f"{case}.nii.gz")
    written = nib.load(tmp_path / "labels" / f"{case}.nii.gz").header
    assert (int(written["sform_code"]), int(written["qform_code"])) == (2, 1)
    assert bytes(written["descrip"].item()) == b""
    theirs = read_labelmap(run / "predictions" / "holdout" / f"{case}.nii.gz")
    np.testing.assert_array_equal(ours.array, theirs.array)
    boxes = pd.read_csv(tmp_path / "labels" / "boxes.csv")
    assert list(boxes["place"]) == list(STRUCTURES)
    assert (tmp_path / "labels" / f"{case}.png").is_file()
    whole = load_model(run / "model").predict(read_volume(scan))
    np.testing.assert_array_equal(whole.array, ours.array)


def test_a_mask_of_another_program_locates(run: Path, dataset: Path, tmp_path: Path) -> None:
    scan = dataset / "imagesTr" / "p00_0000.nii.gz"
    # On another grid of the same world: half as many voxels, twice as large.
    mask = np.zeros([n // 2 for n in SHAPE], np.uint8)
    mask[2:6, 4:8, 2:5] = 1
    affine = nib.load(scan).affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [0.5, 0.5, 0.5]
    affine[:3, :3] *= 2
    nib.save(nib.Nifti1Image(np.ascontiguousarray(mask.T), affine), tmp_path / "skull.nii.gz")
    arguments = [str(run / "model"), str(scan), str(tmp_path / "labels")]
    with progress.quiet():
        status = main(["predict", *arguments, "--locator-mask", str(tmp_path / "skull.nii.gz")])
    assert status == 0
    box = pd.read_csv(tmp_path / "labels" / "boxes.csv").iloc[0]
    assert box["place"] == "mask"
    low = affine @ [2 - 0.5, 4 - 0.5, 2 - 0.5, 1]
    assert box["low_r_mm"] == pytest.approx(low[0] - 6, abs=0.01)
    assert box["low_s_mm"] == pytest.approx(low[2] - 6, abs=0.01)


def test_an_empty_mask_fails_its_scan_alone(run: Path, dataset: Path, tmp_path: Path) -> None:
    scan = dataset / "imagesTr" / "p00_0000.nii.gz"
    empty = nib.Nifti1Image(np.zeros(SHAPE[::-1], np.uint8), nib.load(scan).affine)
    nib.save(empty, tmp_path / "empty.nii.gz")
    with progress.quiet():
        outcome = predict_paths(
            run / "model", scan, tmp_path / "labels", locator_mask=tmp_path / "empty.nii.gz"
        )
    assert "empty.nii.gz is empty; give one of this scan" in outcome.failed["p00"]
    with pytest.raises(DataError, match="a locator mask belongs to one scan"):
        predict_paths(
            run / "model",
            dataset / "imagesTr",
            tmp_path / "all",
            locator_mask=tmp_path / "empty.nii.gz",
        )
    with pytest.raises(ConfigError, match="--locator-mask goes with a model that has a locate"):
        load_model(run / "locator" / "model", locator_mask=tmp_path / "empty.nii.gz")


def test_a_ceiling_on_memory_is_kept(run: Path, dataset: Path, tmp_path: Path) -> None:
    """Of the box alone: the scan around it is never held, so that any scan may be given."""
    scan = dataset / "imagesTr" / "p00_0000.nii.gz"
    label = dataset / "labelsTr" / "p00.nii.gz"  # a box for sure
    told = {}
    with progress.quiet():
        for ceiling in ("1MB", "4GB"):
            outcome = predict_paths(
                run / "model", scan, tmp_path / ceiling, memory=ceiling, locator_mask=label
            )
            told[ceiling] = outcome.failed.get("p00", "")
    assert "must stay below --memory" in told["1MB"]
    assert told["4GB"] == "" and (tmp_path / "4GB" / "p00.nii.gz").is_file()


def test_a_ceiling_on_memory_is_looked_at_first(
    run: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a scan whose format has no slabs is read, and before the coarse network runs."""
    scan = dataset / "imagesTr" / "p00_0000.nii.gz"
    write_volume(read_volume(scan), tmp_path / "scan.nrrd")

    def too_late(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(located, "open_slabs", too_late)
    with progress.quiet():
        outcome = predict_paths(
            run / "model", tmp_path / "scan.nrrd", tmp_path / "out", memory="1MB"
        )
    assert "must stay below --memory" in outcome.failed["scan"]
    monkeypatch.undo()
    monkeypatch.setattr(locators, "boxes_of", too_late)
    with progress.quiet():
        outcome = predict_paths(run / "model", scan, tmp_path / "out2", memory="1MB")
    assert "must stay below --memory" in outcome.failed["p00"]


def test_a_second_evaluation_does_nothing_anew(run: Path) -> None:
    before = (run / "localisation.csv").stat().st_mtime_ns
    with progress.quiet():
        evaluate_run(run)
    assert (run / "localisation.csv").stat().st_mtime_ns == before


def test_scans_are_read_once_for_the_plans_of_both_stages(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reading = fingerprint._read_cases
    monkeypatch.setattr(
        fingerprint, "_read_cases", lambda data: read.append(data.name) or reading(data)
    )
    with progress.quiet():
        plan_dataset(dataset, out=tmp_path / "run", budget="10steps", settings=QUICK)
    assert len(read) == 1
    coarse = read_plan(tmp_path / "run" / "locator" / "plan.yaml").settings
    assert coarse.prepare.grow_mm == coarse.prepare.spacing_mm[0] > 0
    assert coarse.predict.postprocess == "none"


@pytest.mark.parametrize("folds", [None, 1])
def test_under_the_clock_both_stages_have_the_same_folds(
    dataset: Path, tmp_path: Path, folds: int | None
) -> None:
    """Also where a plan of the coarse network was left behind without that of the arm."""
    out = tmp_path / "run"
    settings = [one for one in QUICK if not one.startswith("network.config")]
    with progress.quiet():
        plan_dataset(dataset, out=out, budget="4m", settings=settings, folds=folds)
        plans = [read_plan(one / "plan.yaml") for one in (out, out / "locator")]
        assert len({one.folds_to_train for one in plans}) == 1
        assert plans[0].decisions["locate.stage"].facts["plan_of_the_locator"] == plans[1].hash()
        (out / "plan.yaml").unlink()
        plan_dataset(dataset, out=out, budget="4m", settings=settings, folds=folds)
    again = [read_plan(one / "plan.yaml") for one in (out, out / "locator")]
    assert len({one.folds_to_train for one in again}) == 1
    assert again[0].decisions["locate.stage"].facts["plan_of_the_locator"] == again[1].hash()


def test_the_segment_stage_waits_for_its_locator(dataset: Path, tmp_path: Path) -> None:
    with progress.quiet():
        plan_dataset(dataset, out=tmp_path / "run", budget="10steps", settings=QUICK)
        assert main(["train", str(tmp_path / "run"), "--prepare-only"]) == 0
        with pytest.raises(PlanError, match="a fold of the locator must be trained before"):
            train_part(tmp_path / "run", fold=0)
        train_part(tmp_path / "run", variant="locator", fold=0)
        train_part(tmp_path / "run", fold=0)


def test_maps_of_where_a_network_looked_need_a_crop(run: Path, dataset: Path) -> None:
    with pytest.raises(PlanError, match=r"crop the scan to one of boxes\.csv"):
        explain_image(run / "model", dataset / "imagesTr" / "p00_0000.nii.gz", out=run / "no")


def test_the_locator_does_not_depend_on_the_network_of_the_segment_stage(
    run: Path, dataset: Path, tmp_path: Path
) -> None:
    other = [*QUICK, "network.config={features: [6, 12]}", "loss=dice"]
    with progress.quiet():
        plan_dataset(dataset, out=tmp_path, budget="20steps", settings=other)
    ours, theirs = (read_plan(folder / "locator" / "plan.yaml") for folder in (run, tmp_path))
    assert ours.hash() == theirs.hash()
    assert read_plan(run / "plan.yaml").hash() != read_plan(tmp_path / "plan.yaml").hash()


@pytest.mark.slow
def test_models_that_share_their_locator_vote_and_others_are_refused(
    run: Path, dataset: Path, tmp_path: Path
) -> None:
    """A model and its copy together predict what each does alone."""
    twin, apart = (Path(shutil.copytree(run, tmp_path / name)) for name in ("twin", "apart"))
    with progress.quiet():
        outcome = ensemble_runs([run, twin], out=tmp_path / "best")
        pair = {"a": run / "model", "b": twin / "model"}
        write_ensemble(tmp_path / "pair", pair, {}, validation_dice={}, n_validation_cases=0)
        found = outcome.choice.validation_dice
        assert set(found) == {"run", "twin", "run + twin"} and outcome.n_cases == 4
        assert found["run"] == found["twin"] == pytest.approx(found["run + twin"], abs=0.05)
        scan = dataset / "imagesTr" / "p00_0000.nii.gz"
        for name, model in (("one", run / "model"), ("two", tmp_path / "pair")):
            predict_paths(model, scan, tmp_path / name, postprocess="none")
        one, two = (pd.read_csv(tmp_path / name / "boxes.csv") for name in ("one", "two"))
        found_at = [name for name in one if name.startswith(("low_", "high_"))]
        pd.testing.assert_frame_equal(one[found_at], two[found_at])
        labels = [read_labelmap(tmp_path / name / "p00.nii.gz").array for name in ("one", "two")]
        assert (labels[0] == labels[1]).mean() > 0.95
        card = read_json(apart / "model" / "locator" / "model.json")
        card["weights"][0]["sha256"] = "0" * 64
        write_json(apart / "model" / "locator" / "model.json", card)
        with pytest.raises(PlanError, match="same boxes; its network that locates must be"):
            ensemble_runs([run, apart], out=tmp_path / "no")
        with pytest.raises(PlanError, match="same boxes; its settings of the locate stage must be"):
            check_one_locator([run / "model", run / "locator" / "model"])
    assert not (tmp_path / "no").exists()


def head_case(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A synthetic head with two bright balls in it; of the last case the head is missing."""
    scan, centre = body(
        height_mm=400, width_mm=260, arms_up=False, couch=False, head=number != 4, seed=number
    )
    labels = np.zeros(scan.shape, np.uint8)
    index = (centre - scan.affine[:3, 3]) / np.diag(scan.affine)[:3]
    for value, side in ((1, 1), (2, -1)):
        middle = np.add(index[::-1], (-8, 8, 6 * side))
        far = sum((i - c) ** 2 for i, c in zip(np.indices(scan.shape), middle, strict=True))
        labels[far < 9] = value
    return np.where(labels > 0, 300, scan.array).astype(np.int16), labels, scan.affine


def test_rules_find_the_head_and_a_missing_one_is_a_reported_failure(tmp_path: Path) -> None:
    dataset = write_cases(tmp_path / "Dataset002_Heads", head_case, 5)
    settings = [one for one in QUICK if "locate" not in one and "patch" not in one]
    settings += [
        "locate.stage=rules",
        "locate.box_mm=[260, 200, 200]",
        "prepare.spacing_mm=[10, 10, 10]",
    ]
    settings += ["train.patch_vox=[16, 16, 16]"]
    with progress.quiet():
        plan_dataset(dataset, out=tmp_path / "run", budget="10steps", settings=settings, folds=2)
        train_run(tmp_path / "run")
        evaluate_run(tmp_path / "run")
    found = pd.read_csv(tmp_path / "run" / "localisation.csv").set_index("case")
    assert list(found.loc[["p00", "p01", "p02", "p03"], "outcome"]) == ["found"] * 4
    boxes = Store(tmp_path / "run" / "store")
    sizes = {tuple(boxes.label(one).shape) for k in range(4) for one in boxes.entries(f"p{k:02d}")}
    assert sizes == {(26, 20, 20)}
    assert found.loc["p04", "outcome"] == "missed"
    assert found.loc["p04", "share_inside"] == 0
    assert "no head was found" in found.loc["p04", "reason"]
    scores = pd.read_csv(tmp_path / "run" / "scores.csv")
    lost = scores[(scores["case"] == "p04") & (scores["metric"] == "dice")]
    assert list(lost["value"]) == [0.0, 0.0]  # judged, not dropped
