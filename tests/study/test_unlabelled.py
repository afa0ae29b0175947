"""Scans without a reference: segmented after the training, shown, and never scored."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from acinus import progress
from acinus.errors import ConfigError, DataError
from acinus.evaluate import read_scores
from acinus.plan import parse_settings
from acinus.predict import predict_paths
from acinus.report import style
from acinus.scans import Volume, write_volume
from acinus.study import evaluate_run, report_run, run_study
from acinus.study.failures import failed_cases
from acinus.study.unlabelled import compare_scans
from tiny_cohort import QUICK, make_dataset


@pytest.fixture(scope="module", autouse=True)
def coarse_figures() -> Iterator[None]:
    """Figures at a third of their resolution; what is tested does not depend on it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(style, "DPI", 50)
    yield
    patch.undo()


def study(root: Path, **changes: Any) -> Path:
    wish = {
        "study": "unlabelled",
        "recipe": "unet-2d",
        "data": str(root),
        "arms": {"Balls": {"dataset": "Dataset001_Balls"}},
        "folds_trained": 1,
        "measure": ["dice"],
        "explain": {"method": "none"},
        "budget": "4steps",
        "set": parse_settings(QUICK),
        "unlabelled": {"scans": {"Patient X": str(root / "new")}, "expected_ml": {}},
    }
    wish["unlabelled"] |= changes
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump(wish), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unlabelled")
    dataset = make_dataset(root / "Dataset001_Balls")
    labels = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["labels"]
    (root / "new").mkdir()
    image = sorted((dataset / "imagesTr").iterdir())[0]
    shutil.copyfile(image, root / "new" / "first.nii.gz")
    shutil.copyfile(image, root / "new" / "again.nii.gz")
    (root / "new" / "torn.nii.gz").write_bytes(image.read_bytes()[:200])
    first = next(name for name in labels if name != "background")
    with progress.quiet():
        wish = {"expected_ml": {first: [5000.0, 6000.0]}, "one_patient": ["Patient X"]}
        run_study(study(root, **wish), out=root / "out")
    return root


@pytest.mark.slow
def test_they_are_segmented_as_by_predict_and_not_scored(root: Path, tmp_path: Path) -> None:
    arm = root / "out" / "arms" / "Balls"
    alone = predict_paths(arm / "model", root / "new" / "first.nii.gz", tmp_path / "alone")
    made = arm / "unlabelled" / "Patient X" / "first.nii.gz"
    assert np.array_equal(
        np.asarray(nib.load(made).dataobj), np.asarray(nib.load(alone.written[0]).dataobj)
    )
    assert not read_scores(root / "out" / "scores.csv")["case"].isin(["first", "torn"]).any()


@pytest.mark.slow
def test_report_shows_volumes_and_says_that_nobody_verified_them(root: Path) -> None:
    page = (root / "out" / "report.html").read_text(encoding="utf-8")
    words = re.sub(r"\s+", " ", page)
    assert "Nobody has drawn a reference on these scans" in words
    assert (root / "out" / "figures" / "figure-18a.png").is_file()
    table = pd.read_csv(root / "out" / "tables" / "figure-18a.csv", keep_default_na=False)
    torn = table[table["case"] == "torn"]
    assert len(torn) == 1 and "torn.nii.gz" in torn["warnings"].item()
    assert "5000 to 6000" in words and ">no<" in words.replace(" ", "")


@pytest.mark.slow
def test_two_scans_of_one_patient_are_compared(root: Path) -> None:
    """The same scan twice has the same outlines; a file that cannot be read is left out."""
    path = root / "out" / "arms" / "Balls" / "unlabelled" / "agreement.csv"
    table = pd.read_csv(path)
    assert set(zip(table["first"], table["second"], strict=True)) == {("again", "first")}
    assert set(table["dice"].dropna()) <= {1.0}
    words = re.sub(r"\s+", " ", (root / "out" / "report.html").read_text(encoding="utf-8"))
    assert "Scans of one patient against each other" in words


def test_outlines_are_compared_in_the_world(tmp_path: Path) -> None:
    """On grids of another size and place; a label that neither scan shows is undefined."""
    fine = np.zeros((8, 16, 16), np.uint8)
    fine[2:6, 4:12, 4:12] = 1
    coarse = np.zeros((8, 8, 8), np.uint8)
    coarse[2:6, 2:6, 2:6] = 1
    coarse[0, 0, 0] = 2
    half = np.diag([1.0, 1.0, 2.0, 1.0])
    whole = np.diag([2.0, 2.0, 2.0, 1.0])
    whole[:2, 3] = 0.5  # the first voxel's centre lies amid four fine ones
    paths = {"fine": tmp_path / "fine.nii.gz", "coarse": tmp_path / "coarse.nii.gz"}
    write_volume(Volume(fine, half), paths["fine"])
    write_volume(Volume(coarse, whole), paths["coarse"])
    rows = list(compare_scans(paths, {"ball": (1,), "dot": (2,), "either": (1, 2), "none": (3,)}))
    found = {row["label"]: row["dice"] for row in rows}
    assert found["ball"] == 1.0 and found["dot"] == 0.0
    assert found["either"] == pytest.approx(2 * 256 / (256 + 260))
    assert np.isnan(found["none"])


def test_what_a_scan_does_not_show_is_not_compared(tmp_path: Path) -> None:
    """The second one ends before the left ball: nobody knows what it would have shown there."""
    both = np.zeros((8, 16, 24), np.uint8)
    both[2:6, 4:10, 2:8], both[2:6, 4:10, 16:22] = 1, 2
    paths = {"whole": tmp_path / "whole.nii.gz", "short": tmp_path / "short.nii.gz"}
    write_volume(Volume(both, np.eye(4)), paths["whole"])
    write_volume(Volume(both[:, :, :14].copy(), np.eye(4)), paths["short"])
    values = {"right": (1,), "left": (2,)}
    for order in (paths, dict(reversed(paths.items()))):
        found = {row["label"]: row["dice"] for row in compare_scans(order, values)}
        assert found["right"] == 1.0 and np.isnan(found["left"])


def test_a_scan_that_failed_is_among_what_failed(tmp_path: Path) -> None:
    record = tmp_path / "arms" / "T1" / "unlabelled" / "scans.json"
    record.parent.mkdir(parents=True)
    scans = [{"case": "a", "failed": "no header"}, {"case": "b", "failed": ""}]
    record.write_text(json.dumps({"Patient X": scans}), encoding="utf-8")
    (tmp_path / "scores.csv").write_text("arm,case,status,reason\n", encoding="utf-8")
    assert failed_cases(tmp_path) == ["T1, Patient X, a: no header"]


@pytest.mark.slow
def test_they_are_segmented_again_only_if_something_changed(root: Path) -> None:
    made = root / "out" / "arms" / "Balls" / "unlabelled" / "Patient X" / "first.nii.gz"
    before = made.stat().st_mtime_ns
    with progress.quiet():
        evaluate_run(root / "out")
        report_run(root / "out")
    assert made.stat().st_mtime_ns == before
    made.unlink()
    with progress.quiet():
        evaluate_run(root / "out")
    assert made.is_file()


@pytest.mark.slow
def test_a_volume_expected_of_no_label_is_refused(root: Path) -> None:
    with progress.quiet(), pytest.raises(ConfigError, match=r"expected_ml must name labels"):
        run_study(study(root, expected_ml={"nose": [1.0, 2.0]}), out=root / "out2")


@pytest.mark.slow
def test_a_place_that_is_not_there_is_refused(root: Path) -> None:
    lost = {"scans": {"Y": str(root / "lost")}}
    with progress.quiet(), pytest.raises(DataError, match=r"lost: no such file or folder"):
        run_study(study(root, **lost), out=root / "out3")
    assert not list((root / "out3").rglob("weights*")), "nothing is trained for nothing"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scans": {}}, "at least 1"),
        ({"scans": {"a/b": "x"}}, "plain words"),
        ({"expected_ml": {"ball": [2.0, 1.0]}}, "a lower and a higher volume"),
        ({"one_patient": ["Patient Y"]}, "must name groups of scans, Patient X; got 'Patient Y'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run_study(study(tmp_path, **changes), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
