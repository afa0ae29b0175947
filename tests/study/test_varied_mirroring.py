"""A study that varies mirroring: side errors counted for every model, the plain one marked."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from acinus import progress
from acinus.evaluate import read_scores
from acinus.evaluate.tables import side_error_table
from acinus.plan import parse_settings, read_plan
from acinus.study import run_study
from tiny_cohort import QUICK, make_dataset


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirroring")
    make_dataset(root / "Dataset001_Balls", [f"p{number}" for number in range(8)])
    study = {
        "study": "mirroring",
        "recipe": "unet-2d",
        "data": str(root),
        "arms": {"Balls": {"dataset": "Dataset001_Balls"}},
        "split": {"holdout": 2, "seed": 7},
        "folds_trained": 1,
        "vary": {"train.mirroring": ["swap", "plain"]},
        "measure": ["dice"],
        "budget": "4steps",
        "explain": {"method": "none"},
        "set": parse_settings(QUICK),
    }
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    with progress.quiet():
        run_study(path, out=root / "out")
    return root / "out"


@pytest.mark.slow
def test_each_mirroring_is_trained_as_it_says(out: Path) -> None:
    plain = read_plan(out / "vary" / "train.mirroring=plain" / "Balls" / "plan.yaml")
    final = read_plan(out / "arms" / "Balls" / "plan.yaml")
    assert (final.settings.train.mirroring, plain.settings.train.mirroring) == ("swap", "plain")
    assert not (out / "vary" / "train.mirroring=swap").exists()


@pytest.mark.slow
def test_side_errors_of_every_model_are_counted(out: Path) -> None:
    numbers = side_error_table(read_scores(out / "scores.csv")).set_index(["model", "label"])
    assert set(numbers.index) == {
        (model, label)
        for model in ("final", "train.mirroring=plain")
        for label in ("gland_right", "gland_left")
    }
    assert (numbers["n"] + numbers["n_empty"] == 2).all()


@pytest.mark.slow
def test_the_report_marks_the_plain_one(out: Path) -> None:
    text = (out / "report.html").read_text(encoding="utf-8")
    assert text.count("left and right structures may be confused") == 1
    assert text.index('id="variants"') < text.index("train.mirroring=plain: trained with plain")
    table = next(
        path
        for path in (out / "tables").glob("table-*-as-shown.csv")
        if "Cases with side errors" in path.read_text(encoding="utf-8")
    )
    shown = pd.read_csv(table)
    assert set(shown["Model"]) == {"final", "train.mirroring=plain"}
