"""A study with centres, observers and a benchmark, from scans to report, on ten tiny cases."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from acinus import progress
from acinus.cohort import read_participants, write_participants
from acinus.errors import ConfigError
from acinus.evaluate import read_scores
from acinus.evaluate.tables import model_against
from acinus.plan import parse_settings
from acinus.report import style
from acinus.study import evaluate_run, run_study
from tiny_cohort import QUICK, make_dataset

CENTRES = dict(zip((f"p{n:02d}" for n in range(10)), "aaabbbccdd", strict=True))
READ = ("p00", "p04", "p08")


def protocol(root: Path) -> dict[str, Any]:
    return {
        "study": "protocols",
        "recipe": "unet-2d",
        "data": str(root),
        "arms": {"Balls": {"dataset": "Dataset001_Balls", "external": {"site": ["c", "d"]}}},
        "split": {"seed": 7, "external_model": "best_fold", "group_by": "family"},
        "folds_trained": 1,
        "measure": ["dice", "hausdorff_95_mm"],
        "readings": {
            "folders": {"second": "readings/second", "again": "readings/again"},
            "repeated": ["again"],
            "margin": 0.05,
        },
        "benchmark": {
            "networks": {
                "First": {},
                "Wide": {"network": "unet_2d", "config": {"features": [8, 16]}},
            }
        },
        "cost": {
            "runs": 2,
            "topologies": {"First": {"network": "unet_2d", "patch_vox": [64, 64]}},
        },
        "published": {
            "figures": [{"network": "First", "metric": "as_in_table_5", "value": 1.5}],
        },
        "explain": {"method": "none"},
        "budget": "4steps",
        "set": parse_settings(QUICK),
        "small": {"set": {"train": {"batch": 2}}},
    }


@pytest.fixture(scope="module", autouse=True)
def coarse_figures() -> Iterator[None]:
    """Figures at a third of their resolution; what is tested does not depend on it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(style, "DPI", 50)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("protocols")
    dataset = make_dataset(root / "Dataset001_Balls", list(CENTRES))
    table = read_participants(dataset / "participants.tsv")
    write_participants(
        dataset / "participants.tsv",
        table.assign(
            site=table["participant_id"].map(CENTRES),
            family=table["participant_id"].replace({"p09": "p08"}),
        ),
    )
    for reading, cases in (("second", READ), ("again", READ[:1])):
        (dataset / "readings" / reading).mkdir(parents=True)
        for case in cases:
            label = nib.load(dataset / "labelsTr" / f"{case}.nii.gz")
            moved = np.roll(np.asarray(label.dataobj), 1, axis=0)
            path = dataset / "readings" / reading / f"{case}.nii.gz"
            nib.save(nib.Nifti1Image(moved, label.affine), path)
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump(protocol(root)), encoding="utf-8")
    with progress.quiet():
        run_study(path, out=root / "out")
    return root / "out"


@pytest.mark.slow
def test_one_table_holds_the_scores_of_all_protocols(out: Path) -> None:
    scores = read_scores(out / "scores.csv")
    models = scores.groupby("part")["model"].unique().map(set).to_dict()
    assert models["holdout"] == models["validation"] == {"final"}
    assert models["benchmark"] == {"First", "Wide"}
    assert models["readings"] == {"second", "again", model_against("second")}
    assert set(scores.loc[scores["part"] == "holdout", "case"].map(CENTRES)) == {"c", "d"}
    readings = scores[scores["model"] == "second"]
    assert set(readings["case"]) == set(READ)
    assert "kappa_10mm" in set(readings["metric"])


@pytest.mark.slow
def test_a_model_is_judged_with_readers_only_where_it_had_not_learned(out: Path) -> None:
    scores = read_scores(out / "scores.csv")
    judged = set(scores.loc[scores["model"] == model_against("second"), "case"])
    split = json.loads((out / "split.json").read_text())
    assert judged == set(READ) & {*split["folds"][0], *split["holdout"]}


@pytest.mark.slow
def test_networks_learn_from_one_split_and_are_tested_on_one(out: Path) -> None:
    scores = read_scores(out / "scores.csv")
    tested = scores[scores["part"] == "benchmark"].groupby("model")["case"].unique().map(sorted)
    split = json.loads((out / "benchmark" / "split-Balls.json").read_text())
    assert tested["First"] == tested["Wide"] == split["holdout"]
    assert [len(split["holdout"]), *(len(fold) for fold in split["folds"])] == [2, 1, 7]
    for name in ("First", "Wide"):
        done = json.loads(
            (out / "benchmark" / name / "Balls/training/fold_0/done.json").read_text()
        )
        assert done["train_cases"] == split["folds"][1]
        assert done["steps"] == 4


@pytest.mark.slow
def test_small_is_laid_over_the_study(out: Path) -> None:
    plan = (out / "arms" / "Balls" / "plan.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(plan)["decisions"]["train.batch"]["value"] == 2


@pytest.mark.slow
def test_the_report_shows_every_protocol_and_its_numbers(out: Path) -> None:
    text = (out / "report.html").read_text(encoding="utf-8")
    for anchor in ("centres", "volumetry", "readings", "benchmark"):
        assert f'<section id="{anchor}">' in text
    for number in (11, 12, 13, 14):
        assert (out / "figures" / f"figure-{number}.png").is_file()
        assert (out / "tables" / f"figure-{number}.csv").is_file()
    shift = pd.read_csv(out / "tables" / "figure-13.csv")
    assert (shift["centre"] == shift["participant"].map(CENTRES)).all()
    assert set(shift.loc[shift["role"] == "external", "centre"]) == {"c", "d"}
    bounds = pd.read_csv(out / "tables" / "figure-14.csv")
    assert (bounds["volume_error"] >= bounds["lowest_error"] - 1e-12).all()
    assert not (bounds["volume_error"] > bounds["highest_error"] + 1e-9).any()
    cost = next(
        pd.read_csv(path)
        for path in (out / "tables").glob("table-*.csv")
        if "pass_s_median" in path.read_text(encoding="utf-8")
    )
    assert list(cost["network"]) == ["First", "Wide", "First", "First"]
    assert list(cost["source"][2:]) == ["published", "published topology, counted here"]
    assert (cost["n_runs"][:2] == 2).all() and (cost["parameters"][[0, 1, 3]] > 0).all()
    assert cost["as_in_table_5"][2] == 1.5e9
    assert "segmented by the network of fold 1 of 1, the best in cross-validation" in text


@pytest.mark.slow
def test_members_of_a_family_are_one_observation(out: Path) -> None:
    scores = read_scores(out / "scores.csv")
    named = scores.drop_duplicates("case").set_index("case")["cluster"]
    assert named["p08"] == named["p09"] == "family=p08"
    assert named["p00"] == "family=p00"
    text = html.unescape((out / "report.html").read_text(encoding="utf-8"))
    assert "participants of one 'family' together" in text
    chosen = json.loads((out / "arms" / "Balls" / "external_model.json").read_text())
    assert chosen["folds"] == [0] and list(chosen["validation_dice"]) == ["0"]


def test_a_reading_that_no_arm_has_is_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path / "Dataset001_Balls", ["p1", "p2", "p3", "p4"])
    wanted = {**protocol(tmp_path), "readings": {"folders": {"second": "readings/secnod"}}}
    wanted["arms"] = {"Balls": {"dataset": "Dataset001_Balls"}}
    wanted["split"] = {"seed": 7}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(wanted), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"readings\.folders\.second: .*'readings/secnod'"):
        run_study(path, out=tmp_path / "out")
    assert not (tmp_path / "out" / "arms").exists()


@pytest.mark.slow
def test_a_second_evaluation_does_nothing_anew(out: Path) -> None:
    names = ("weights.safetensors", "cost.json", "readings.csv", "p00.nii.gz")
    before = {p: p.stat().st_mtime_ns for name in names for p in out.rglob(name)}
    assert len({path.name for path in before}) == len(names)
    with progress.quiet():
        evaluate_run(out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
