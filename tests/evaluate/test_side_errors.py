"""Side errors from label maps on disk to the tables: counted for pairs, and for pairs only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acinus import progress
from acinus.evaluate import Pair, score_cases, score_labelmaps, score_table
from acinus.evaluate.tables import display, evaluation_table, note, side_error_table, worst_cases
from acinus.measure import SIDE_MEASURES
from acinus.scans import Volume, write_volume

LABELS = {"gland_right": 1, "gland_left": 2, "bone": 3}
PAIRS = (("gland_right", "gland_left"),)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
GLAND_ML = 3 * 4 * 4 * 2 / 1000


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def head(right: int, left: int) -> np.ndarray:
    """(8, 16, 24) label map; a value for the block on either side, 0 for none."""
    array = np.zeros((8, 16, 24), np.uint8)
    array[2:5, 4:8, 18:22] = right
    array[2:5, 4:8, 3:7] = left
    array[6, 10:14, 8:16] = 3
    return array


def score(folder: Path, cases: dict[str, tuple[np.ndarray, np.ndarray]], **kept) -> pd.DataFrame:
    pairs = []
    for case, maps in cases.items():
        paths = [folder / role / f"{case}.nii.gz" for role in ("reference", "prediction")]
        for path, array in zip(paths, maps, strict=True):
            write_volume(Volume(array, AFFINE), path)
        pairs.append(Pair(case, case, *paths))
    wanted = {"measures": ["dice"], "arm": "CT", "model": "final", "part": "holdout"}
    return score_cases(pairs, LABELS, **(wanted | {"mirror_pairs": PAIRS} | kept))


CASES = {
    "good": (head(1, 2), head(1, 2)),
    "swapped": (head(1, 2), head(2, 1)),
    "twice": (head(1, 2), head(1, 1)),
    "missed": (head(1, 2), head(0, 0)),
    "one": (head(1, 0), head(1, 0)),
}


def test_errors_are_counted_per_label_and_only_where_there_is_a_partner(tmp_path):
    table = score(tmp_path, CASES)
    assert set(table.loc[table["metric"].isin(SIDE_MEASURES), "label"]) == set(PAIRS[0])
    found = table.set_index(["case", "label", "metric"])
    expected = {"good": (0, 0), "swapped": (1, 1), "twice": (1, 0), "missed": (0, 0), "one": (0, 0)}
    for case, counts in expected.items():
        for label, n in zip(PAIRS[0], counts, strict=True):
            assert found.loc[(case, label, "side_errors"), "value"] == n
            volume = found.loc[(case, label, "side_error_ml"), "value"]
            assert volume == pytest.approx(n * GLAND_ML)
    assert found.loc[("good", "gland_right", "side_errors"), "unit"] == "count"
    assert not score(tmp_path, CASES, mirror_pairs=())["metric"].isin(SIDE_MEASURES).any()


def test_the_table_sums_over_cases(tmp_path):
    numbers = side_error_table(score(tmp_path, CASES)).set_index("label")
    right, left = numbers.loc["gland_right"], numbers.loc["gland_left"]
    counts = ["n", "n_empty", "n_with_errors", "side_errors"]
    assert right[counts].tolist() == [4, 1, 2, 2]
    assert left[counts].tolist() == [2, 3, 1, 1]  # nothing predicted: no side can be wrong
    assert right["side_error_ml"] == pytest.approx(2 * GLAND_ML)
    # Of five right glands and two halves of "twice" five blocks are predicted, two of them wrong.
    assert right["prediction_volume_ml"] == pytest.approx(5 * GLAND_ML)
    shown = display("side_error_table", numbers.reset_index())
    assert shown["Side errors"].tolist() == ["2", "1"]
    assert shown["Cases with side errors"].tolist() == ["2 (50%) of 4", "1 (50%) of 2"]
    assert shown["Share of the predicted volume"].tolist() == ["40.0%", "50.0%"]
    assert "Model" not in shown
    assert "Found: 3." in note("side_error_table", numbers.reset_index())


def test_no_error_reads_as_zero_and_models_are_named_where_there_are_several(tmp_path):
    good = {"good": CASES["good"]}
    tables = [score(tmp_path, good), score(tmp_path, good, model="train.mirroring=plain")]
    shown = display("side_error_table", side_error_table(pd.concat(tables, ignore_index=True)))
    assert shown["Side errors"].tolist() == ["0"] * 4
    assert shown["Share of the predicted volume"].tolist() == ["0%"] * 4
    assert shown["Model"].tolist() == ["final"] * 2 + ["train.mirroring=plain"] * 2
    assert "There is none." in note("side_error_table", side_error_table(tables[0]))


def test_where_nothing_was_predicted_nothing_is_said_to_be_right(tmp_path):
    silent = side_error_table(score(tmp_path, {"missed": CASES["missed"]}))
    assert silent["n"].tolist() == [0, 0] and silent["n_empty"].tolist() == [1, 1]
    assert "None could be judged" in note("side_error_table", silent)


def test_errors_of_several_models_are_summed_apart(tmp_path):
    tables = [
        score(tmp_path, {"swapped": CASES["good"]}),
        score(tmp_path, {"swapped": CASES["swapped"]}, model="train.mirroring=plain"),
    ]
    numbers = side_error_table(pd.concat(tables, ignore_index=True))
    said = note("side_error_table", numbers)
    assert "Found: 0 (final), 2 (train.mirroring=plain)." in said


def test_the_evaluation_table_has_them_beside_the_missed(tmp_path):
    numbers = evaluation_table(score(tmp_path, CASES), metrics=("dice",), with_all=True)
    counts = numbers.set_index("label")["n_side_errors"]
    assert counts[["gland_right", "gland_left", "all"]].tolist() == [2, 1, 3]
    assert np.isnan(counts["bone"])
    shown = display("evaluation_table", numbers)
    assert shown["Side errors"].tolist() == ["2", "1", "–", "3"]
    assert "lie on the other side" in note("evaluation_table", numbers)
    plain = evaluation_table(score(tmp_path, CASES, mirror_pairs=()))
    assert "Side errors" not in display("evaluation_table", plain)
    assert "side" not in note("evaluation_table", plain)


def test_the_worst_cases_say_that_a_prediction_is_on_the_wrong_side(tmp_path):
    half = head(1, 2)
    half[2:5, 4:8, 5:7] = 1  # half of the left gland is called right
    scores = score(tmp_path, {"swapped": CASES["swapped"], "twice": CASES["twice"], "half": (
        head(1, 2), half)})  # fmt: skip
    why = worst_cases(scores, n=None).set_index(["case", "label"])["reason"]
    assert why["swapped", "gland_right"] == "the prediction lies on the wrong side"
    assert why[
        "half", "gland_right"
    ] == f"predicted 1.5 times the volume, {GLAND_ML / 2:.2f} mL" + (" on the wrong side")


def test_a_failed_case_and_one_without_the_partner_are_not_counted_as_right(tmp_path):
    cases = {"good": CASES["good"], "swapped": CASES["swapped"], "absent": (head(0, 0), head(1, 0))}
    scores = score(tmp_path, cases, annotated={"swapped": ("gland_right",)})
    known = scores.set_index(["case", "label", "metric"])
    unknown = known.loc[("swapped", "gland_right", "side_errors")]
    assert (unknown["status"], unknown["reason"]) == (
        "undefined",
        "no reference of a partner on the other side",
    )
    assert known.loc[("absent", "gland_right", "side_errors"), "status"] == "undefined"
    (tmp_path / "prediction" / "good.nii.gz").unlink()
    folders = (tmp_path / "reference", tmp_path / "prediction")
    pairs = [Pair(case, case, *(folder / f"{case}.nii.gz" for folder in folders)) for case in cases]
    table = side_error_table(
        score_cases(pairs, LABELS, measures=["dice"], arm="CT", model="final", part="holdout",
                    mirror_pairs=PAIRS)
    )  # fmt: skip
    right = table.set_index("label").loc["gland_right"]
    assert (right["n"], right["n_undefined"], right["n_failed"]) == (1, 1, 1)
    assert right["side_errors"] == 1


def test_partners_of_regions_are_all_their_values():
    reference, prediction = (Volume(array, AFFINE) for array in (head(1, 2), head(2, 2)))
    regions = {"right": (1, 3), "left": (2, 4)}
    found = score_labelmaps(reference, prediction, {"right": 1, "left": 2}, ["dice"],
                            regions=regions, mirror_pairs=(("right", "left"),))  # fmt: skip
    assert found["left"]["side_errors"].value == 1
    assert found["right"]["side_errors"].value == 0
    # bone (3) belongs to the right region here: what the left one predicts elsewhere is not on it
    assert found["left"]["side_error_ml"].value == pytest.approx(GLAND_ML)


def test_tables_without_sides_are_empty():
    assert side_error_table(score_table([])).empty
