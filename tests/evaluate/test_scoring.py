"""Scoring pairs of files: values, failures that stay with their case, order, the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acinus import progress
from acinus.errors import ConfigError, DataError
from acinus.evaluate import SCORE_COLUMNS, Pair, read_scores, score_cases, write_scores
from acinus.measure import MEASURES, measure_case
from acinus.scans import Volume, write_volume

LABELS = {"lacrimal_right": 1, "lacrimal_left": 2}
AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0.5, 0, -20], [0, 0, 3.5, 5], [0, 0, 0, 1.0]])
MEASURED = ["dice", "iou", "hausdorff_95_mm"]


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def draw(right: tuple[int, int, int] | None, left: tuple[int, int, int] | None) -> np.ndarray:
    """(6, 20, 24) label map with a block of 2 x 4 x 5 voxels at each given corner."""
    array = np.zeros((6, 20, 24), np.uint8)
    for value, corner in ((1, right), (2, left)):
        if corner is not None:
            z, y, x = corner
            array[z : z + 2, y : y + 4, x : x + 5] = value
    return array


def write_pair(folder: Path, case: str, reference, prediction, affine=AFFINE) -> Pair:
    paths = folder / "reference" / f"{case}.nii.gz", folder / "prediction" / f"{case}.nii.gz"
    write_volume(Volume(reference, AFFINE), paths[0])
    if prediction is not None:
        write_volume(Volume(prediction, affine), paths[1])
    return Pair(case, case.split("-")[0], *paths)


def score(pairs, **changes):
    wanted = {"measures": MEASURED, "arm": "AX-T1", "model": "final", "part": "holdout"}
    return score_cases(pairs, LABELS, **(wanted | changes))


def test_rows_hold_the_measures_of_each_label(tmp_path):
    reference, prediction = draw((1, 3, 3), (2, 10, 15)), draw((1, 4, 3), (2, 10, 16))
    table = score([write_pair(tmp_path, "p1-a", reference, prediction)])
    assert tuple(table.columns) == SCORE_COLUMNS
    names = [*MEASURED, "reference_volume_ml", "prediction_volume_ml"]
    assert list(table["metric"]) == names * 2
    assert list(table["label"]) == ["lacrimal_right"] * 5 + ["lacrimal_left"] * 5
    assert set(table["status"]) == {"ok"} and set(table["reason"]) == {""}
    assert set(table["participant"]) == {"p1"}
    for label, value in LABELS.items():
        expected = measure_case(reference == value, prediction == value, (3.5, 0.5, 0.5), names)
        found = table[table["label"] == label]
        assert list(found["value"]) == pytest.approx([expected[name].value for name in names])
        assert list(found["unit"]) == [expected[name].unit for name in names]


def test_undefined_distances_carry_their_reason(tmp_path):
    pair = write_pair(tmp_path, "p1-a", draw((1, 3, 3), None), draw(None, None))
    table = score([pair]).set_index(["label", "metric"])
    missed = table.loc[("lacrimal_right", "hausdorff_95_mm")]
    assert np.isnan(missed["value"])
    assert (missed["status"], missed["reason"]) == ("undefined", "prediction empty")
    assert table.loc[("lacrimal_right", "dice"), "value"] == 0.0
    absent = table.loc[("lacrimal_left", "dice")]
    assert (absent["status"], absent["reason"]) == ("undefined", "both masks empty")
    assert table.loc[("lacrimal_left", "prediction_volume_ml"), "value"] == 0.0


def test_cases_that_cannot_be_judged_fail_alone(tmp_path):
    reference = draw((1, 3, 3), (2, 10, 15))
    good = write_pair(tmp_path, "good", reference, reference)
    missing = write_pair(tmp_path, "missing", reference, None)
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    displaced = write_pair(tmp_path, "displaced", reference, reference, moved)
    smaller = write_pair(tmp_path, "smaller", reference, reference[:, :, :-1])
    broken = write_pair(tmp_path, "broken", reference, reference)
    whole = broken.prediction_path.read_bytes()
    broken.prediction_path.write_bytes(whole[: len(whole) // 2])
    text = write_pair(tmp_path, "text", reference, reference)
    text.reference_path.write_text("no image")
    table = score([missing, displaced, smaller, broken, text, good])

    assert list(dict.fromkeys(table["case"])) == [
        *["missing", "displaced", "smaller", "broken", "text", "good"]
    ]
    assert set(table.groupby("case").size()) == {10}
    failed = table[table["status"] == "failed"]
    assert set(failed["case"]) == {"missing", "displaced", "smaller", "broken", "text"}
    assert failed["value"].isna().all()
    reasons = failed.groupby("case")["reason"].unique().map(lambda found: " / ".join(found))
    assert "missing.nii.gz: the prediction of this case must be here" in reasons["missing"]
    assert "share a grid; corners up to 0.5 mm apart" in reasons["displaced"]
    assert "(6, 20, 24), prediction (6, 20, 23)" in reasons["smaller"]
    assert "prediction/broken.nii.gz" in reasons["broken"]
    assert "reference/text.nii.gz" in reasons["text"]
    assert "\n" not in "".join(reasons)
    rest = table[table["case"] == "good"].set_index("metric")
    assert (rest.loc["dice", "value"] == 1.0).all()
    assert (rest.loc["hausdorff_95_mm", "value"] == 0.0).all()


def test_two_processes_give_the_same_table(tmp_path, rng):
    pairs = []
    for number in range(5):
        corner = tuple(int(n) for n in rng.integers((0, 0, 0), (4, 14, 6)))
        pairs.append(
            write_pair(tmp_path, f"p{number}", draw((1, 3, 3), (2, 10, 15)), draw(corner, None))
        )
    pairs.insert(2, Pair("gone", "gone", tmp_path / "no.nii.gz", tmp_path / "no.nii.gz"))
    pd.testing.assert_frame_equal(score(pairs), score(iter(pairs), jobs=2))


def test_scores_survive_their_file(tmp_path):
    reference = draw((1, 3, 3), (2, 10, 15))
    pairs = [
        write_pair(tmp_path, "001", reference, draw((1, 4, 3), None)),
        Pair("002", "NA", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"),
    ]
    table = score(pairs, measures=MEASURES.names())
    write_scores(table, tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(read_scores(tmp_path / "scores.csv"), table)
    nothing = score([])
    write_scores(nothing, tmp_path / "none.csv")
    pd.testing.assert_frame_equal(read_scores(tmp_path / "none.csv"), nothing)
    assert tuple(nothing.columns) == SCORE_COLUMNS and len(nothing) == 0


def test_wrong_score_files_are_explained(tmp_path):
    path = tmp_path / "scores.csv"
    with pytest.raises(DataError, match=r"scores\.csv: no such file"):
        read_scores(path)
    path.write_text("case,value\na,1\n")
    with pytest.raises(DataError, match=r"missing: participant, cluster, arm"):
        read_scores(path)
    row = "a,a,a,A,final,holdout,x,dice,{},1,{},\n"
    path.write_text(",".join(SCORE_COLUMNS) + "\n" + row.format("high", "ok"))
    with pytest.raises(DataError, match="values must be numbers or empty; got 'high'"):
        read_scores(path)
    path.write_text(",".join(SCORE_COLUMNS) + "\n" + row.format("0.5", "fine"))
    with pytest.raises(DataError, match="status must be one of ok, undefined, failed; got fine"):
        read_scores(path)
    path.write_bytes(b"\xff\xfe\x00case")
    with pytest.raises(DataError, match="must be a score table"):
        read_scores(path)


def test_wrong_settings_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="unknown measure 'hd95'"):
        score([], measures=["hd95"])
    with pytest.raises(ConfigError, match="own value above 0"):
        score_cases([], {"a": 0}, measures=MEASURED, arm="a", model="m", part="holdout")
    with pytest.raises(ConfigError, match="jobs must be at least 1; got 0"):
        score([], jobs=0)
