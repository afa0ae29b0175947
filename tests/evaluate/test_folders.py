"""Two folders of any program: numbers by hand, hostile files, what does not lose the others."""

from __future__ import annotations

import gzip
import json
import os
import signal
from functools import partial

import nibabel
import numpy as np
import pandas as pd
import pytest

import acinus
from acinus import progress
from acinus.cli import main
from acinus.cohort.labels_file import read_labels
from acinus.errors import ConfigError, DataError
from acinus.evaluate import evaluate_folders, read_scores
from acinus.evaluate.scoring import Judged, Pair, judge_pair, outlasting

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
VOXEL_ML = 0.002
LABELS = {"background": 0, "gland_right": 1, "gland_left": 2}


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


@pytest.fixture
def root(tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps({"labels": LABELS}))
    return tmp_path


def blocks(*parts, shape=(20, 20, 8)):
    """(x, y, z) label map with a block (value, from x, to x), 4 wide in y and 2 in z."""
    array = np.zeros(shape, np.uint8)
    for value, start, stop in parts:
        array[start:stop, 4:8, 2:4] = value
    return array


def put(root, folder, case, array, affine=AFFINE):
    path = root / folder / f"{case}.nii.gz"
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def three_cases(root):
    """a: right moved by 1 of 4 voxels, left equal; b: left missed; c: left false, right absent."""
    put(root, "ref", "a", blocks((1, 2, 6), (2, 12, 16)))
    put(root, "pred", "a", blocks((1, 3, 7), (2, 12, 16)))
    put(root, "ref", "b", blocks((1, 2, 6), (2, 12, 16)))
    put(root, "pred", "b", blocks((1, 2, 6)))
    put(root, "ref", "c", blocks())
    put(root, "pred", "c", blocks((2, 12, 16)))


def scored(root, **changes):
    return evaluate_folders(root / "pred", root / "ref", labels=root / "labels.json", **changes)


def words(root, *more):
    paths = [str(root / name) for name in ("pred", "ref", "labels.json", "out")]
    line = ["evaluate", *paths[:2], "--labels", paths[2], "--out", paths[3], "--jobs", "1"]
    return [*line, *more]


def test_numbers_are_those_of_the_hand(root):
    three_cases(root)
    found = scored(root, out=root / "out")
    value = found.scores.set_index(["case", "label", "metric"])["value"]
    assert value["a", "gland_right", "dice"] == 0.75
    assert value["a", "gland_right", "iou"] == 0.6
    assert value["a", "gland_right", "hausdorff_95_mm"] == 1.0
    assert value["a", "gland_right", "reference_volume_ml"] == pytest.approx(32 * VOXEL_ML)
    row = found.summary.set_index(["label", "metric"])
    right = row.loc[("gland_right", "dice")]
    assert (right["mean"], right["median"], right["n"]) == (0.875, 0.875, 2)
    assert right["sd"] == pytest.approx(np.std([0.75, 1.0], ddof=1))
    assert (right["n_undefined"], right["n_missed"], right["n_false_finds"]) == (1, 0, 0)
    left = row.loc[("gland_left", "dice")]
    assert left["mean"] == pytest.approx(1 / 3)
    assert (left["n"], left["n_undefined"], left["n_missed"], left["n_false_finds"]) == (3, 0, 1, 1)
    assert row.loc[("gland_left", "assd_mm"), "n_undefined"] == 2
    assert set(found.summary["empty_policy"]) == {"undefined"}
    assert (found.failed, found.remarks, found.n_judged) == ({}, (), 3)
    pd.testing.assert_frame_equal(read_scores(root / "out" / "scores.csv"), found.scores)
    pd.testing.assert_frame_equal(
        pd.read_csv(root / "out" / "summary.csv", keep_default_na=False, na_values=[""])[
            ["label", "metric", "n", "mean"]
        ],
        found.summary[["label", "metric", "n", "mean"]],
        check_dtype=False,
    )


def test_processes_do_not_change_the_table(root):
    three_cases(root)
    one, two = scored(root), scored(root, jobs=2)
    pd.testing.assert_frame_equal(one.scores, two.scores)


def test_empty_masks_count_as_declared_and_say_so(root):
    three_cases(root)
    measures = ["dice", "precision", "recall", "assd_mm", "volume_error_percent"]
    plain = scored(root, measures=measures).scores.set_index(["case", "label", "metric"])
    assert plain.loc[("c", "gland_right", "dice"), "reason"] == "both masks empty"
    found = scored(root, measures=measures, empty_policy="zero_one")
    table = found.scores.set_index(["case", "label", "metric"])
    both = table.loc[("c", "gland_right", "dice")]
    assert (both["value"], both["status"]) == (1.0, "ok")
    assert both["reason"] == "both masks empty, counted as 1 (zero_one)"
    missed = table.loc[("b", "gland_left", "precision")]
    assert (missed["value"], missed["reason"]) == (
        0.0,
        "prediction empty, counted as 0 (zero_one)",
    )
    assert table.loc[("c", "gland_left", "recall"), "value"] == 0.0
    for metric in ("assd_mm", "volume_error_percent"):
        assert table.loc[("c", "gland_left", metric), "status"] == "undefined"
    summary = found.summary.set_index(["label", "metric"])
    assert summary.loc[("gland_right", "dice"), "mean"] == pytest.approx((0.75 + 1 + 1) / 3)
    assert summary.loc[("gland_left", "dice"), "n_missed"] == 1
    assert set(found.summary["empty_policy"]) == {"zero_one"} and "'zero_one'" in found.note
    with pytest.raises(ConfigError, match=r"unknown empty policy 'worst'\. Known: undefined, zero"):
        scored(root, empty_policy="worst")


def test_regions_and_ignored_voxels_are_judged(root):
    labels = {"whole": [1, 2], "core": 2, "ignore": 9}
    (root / "labels.json").write_text(json.dumps({"labels": labels}))
    put(root, "ref", "a", blocks((1, 2, 6), (2, 6, 10), (9, 12, 14)))
    put(root, "pred", "a", blocks((1, 2, 8), (2, 8, 10), (1, 12, 14)))
    value = scored(root).scores.set_index(["label", "metric"])["value"]
    assert value["whole", "dice"] == 1.0
    assert value["core", "dice"] == pytest.approx(2 * 2 / (4 + 2))


def test_names_that_differ_are_listed_both_ways(root, capsys):
    three_cases(root)
    put(root, "ref", "d", blocks((1, 2, 6)))
    put(root, "pred", "z", blocks((1, 2, 6)))
    assert main(words(root)) == 3
    captured = capsys.readouterr()
    assert "1 of 4 references have no prediction and fail: d." in captured.err
    assert "1 of 4 predictions have no reference and are left out: z." in captured.err
    assert "failed: case 'd'" in captured.err and "must be here and is missing" in captured.err
    assert "Empty policy 'undefined'" in captured.out
    rows = read_scores(root / "out" / "scores.csv").query("case == 'd'")
    assert set(rows["status"]) == {"failed"}
    assert set(read_scores(root / "out" / "scores.csv")["case"]) == {"a", "b", "c", "d"}


def test_folders_without_a_common_case_are_refused(root, capsys):
    put(root, "ref", "a", blocks((1, 2, 6)))
    put(root, "pred", "x", blocks((1, 2, 6)))
    assert main(words(root)) == 2
    err = capsys.readouterr().err
    assert "must have cases of the same name; the predictions are x, the references a" in err
    assert not (root / "out").exists()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: (root / "ref").mkdir(), "ref: must hold label maps"),
        (lambda root: None, "ref: must be a folder of label maps"),
        (
            lambda root: (put(root, "ref", "a", blocks()), (root / "ref" / "a.nii").touch()),
            "a case must have one file",
        ),
    ],
)
def test_folders_that_cannot_be_paired_have_status_2(root, capsys, make, sentence):
    put(root, "pred", "a", blocks())
    make(root)
    assert main(words(root)) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def test_other_grids_are_refused_with_the_difference(root, capsys):
    three_cases(root)
    moved = AFFINE.copy()
    moved[0, 3] = 1.0
    put(root, "pred", "a", blocks((1, 2, 6), (2, 12, 16)), moved)
    assert main(words(root)) == 3
    err = capsys.readouterr().err
    assert "case 'a': reference and prediction must share a grid; corners up to 1 mm apart" in err
    assert err.endswith("With --resample a prediction is put on the grid of its reference.\n")
    table = read_scores(root / "out" / "scores.csv").set_index(["case", "label", "metric"])
    assert table.loc[("b", "gland_right", "dice"), "value"] == 1.0
    assert main(words(root, "--resample")) == 0
    err = capsys.readouterr().err
    assert "1 of 3 predictions lay on another grid and were resampled" in err
    assert "a (corners up to 1 mm apart" in err
    table = read_scores(root / "out" / "scores.csv").set_index(["case", "label", "metric"])
    row = table.loc[("a", "gland_right", "dice")]
    assert row["value"] == 0.75  # moved by one of four voxels
    assert row["reason"].startswith("prediction resampled onto the reference's grid, nearest")


def test_one_folder_twice_and_a_place_that_is_a_file_are_refused(root, capsys):
    three_cases(root)
    with pytest.raises(ConfigError, match=r"must be two folders; got .*ref twice"):
        evaluate_folders(root / "ref", root / "pred" / ".." / "ref", labels=root / "labels.json")
    (root / "out").touch()
    assert main(words(root)) == 2
    assert "out: must be a folder for the results; File exists." in capsys.readouterr().err


def test_values_beyond_the_type_of_the_file_are_absent(root):
    three_cases(root)
    (root / "labels.json").write_text(json.dumps({"labels": {"far": 10**30, "gland": 1}}))
    found = scored(root)
    assert not found.failed
    assert set(found.scores.query("label == 'far' and metric == 'dice'")["status"]) == {"undefined"}


def hostile_files(root):
    three_cases(root)
    put(root, "pred", "fractions", blocks((1, 2, 6)).astype(np.float32) * 0.5)
    put(root, "pred", "nan", np.full((20, 20, 8), np.nan, np.float32))
    put(root, "pred", "cut", blocks((1, 2, 6)))
    path = root / "pred" / "cut.nii.gz"
    path.write_bytes(path.read_bytes()[:90])
    (root / "pred" / "text.nii.gz").write_text("no scan")
    (root / "pred" / "empty.nii.gz").touch()
    (root / "pred" / "zip.nii.gz").write_bytes(gzip.compress(b"short"))
    flat = np.zeros((4, 4), np.uint8)
    nibabel.save(nibabel.Nifti1Image(flat, AFFINE), root / "pred" / "flat.nii.gz")
    bad = ["cut", "empty", "flat", "fractions", "nan", "text", "zip"]
    for case in bad:
        put(root, "ref", case, blocks((1, 2, 6)))
    return bad


@pytest.mark.parametrize("jobs", [1, 2])
def test_hostile_files_do_not_lose_the_other_cases(root, jobs):
    bad = hostile_files(root)
    found = scored(root, jobs=jobs)
    assert sorted(found.failed) == bad
    assert all(reason for reason in found.failed.values())
    assert "label values must be whole numbers" in found.failed["fractions"]
    good = found.scores[found.scores["status"] != "failed"]
    assert set(good["case"]) == {"a", "b", "c"}
    assert set(found.summary["n_failed"]) == {len(bad)}


def test_nothing_judged_is_status_2(root, capsys):
    put(root, "ref", "a", blocks((1, 2, 6)))
    put(root, "pred", "a", blocks((1, 2, 6), shape=(10, 20, 8)))
    assert main(words(root)) == 2
    assert "reference (8, 20, 20), prediction (8, 20, 10) voxels" in capsys.readouterr().err


def test_values_without_a_name_are_told(root):
    three_cases(root)
    put(root, "pred", "b", blocks((1, 2, 6), (7, 8, 10), (5, 12, 14)))
    found = scored(root)
    assert len(found.remarks) == 1
    assert "values 5, 7 of the prediction map of b have no name in 'labels'" in found.remarks[0]


def test_participants_own_their_cases(root):
    three_cases(root)
    table = root / "participants.tsv"
    table.write_text("participant_id\nb\nc\n")
    with pytest.raises(DataError, match="every case must have a participant; case 'a' has none"):
        scored(root, participants=table)
    table.write_text("participant_id\na\nb\nc\n")
    put(root, "ref", "a_2", blocks((1, 2, 6)))
    put(root, "pred", "a_2", blocks((1, 2, 6)))
    found = scored(root, participants=table)
    assert dict(zip(found.scores["case"], found.scores["participant"], strict=True))["a_2"] == "a"
    row = found.summary.set_index(["label", "metric"]).loc[("gland_right", "dice")]
    assert (row["n"], row["n_participants"]) == (3, 2)


def judge_or_die(pair: Pair, labels) -> Judged:
    if pair.case == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return judge_pair(pair, labels, ["dice"])


def lost(pair: Pair) -> Judged:
    return Judged([{"case": pair.case, "status": "failed"}])


def test_a_killed_process_costs_its_case_only(root):
    three_cases(root)
    pairs = acinus.evaluate.pair_folders(root / "ref", root / "pred")
    judge = partial(judge_or_die, labels={"gland_right": 1})
    found = list(outlasting(judge, pairs, 2, lost))
    assert [(one.rows[0]["case"], one.rows[0]["status"]) for one in found] == [
        ("a", "ok"),
        ("b", "failed"),
        ("c", "undefined"),
    ]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "must have 'labels' that map names to values"),
        ({"names": {}}, "it has no such key"),
        ({"labels": {"0": "background", "1": "gland"}}, "Turn each pair round"),
        ({"labels": {"background": 0}}, "must name a structure besides background"),
        ({"labels": {"background": 1, "gland": 2}}, "'background' must be 0; got 1"),
        ({"labels": {"gland": 0}}, "must be above 0, the background; got 0 for 'gland'"),
        ({"labels": {"gland": -1}}, "got -1 for 'gland'"),
        ({"labels": {"gland": 1.5}}, "must be whole numbers, or lists"),
        ({"labels": {"gland": True}}, "must be whole numbers"),
        ({"labels": {"gland": []}}, "must be whole numbers"),
        ({"labels": {"a": 1, "b": 1}}, "'a' and 'b' are both 1"),
        ({"labels": {"a": [1, 2], "b": [2, 1]}}, "'a' and 'b' are both 1, 2"),
        ({"labels": {"a": 1, "ignore": 1}}, "'ignore' must have a value of its own"),
        ({"labels": {"a": 1, "ignore": [2, 3]}}, "'ignore' must be one value"),
        ({"labels": {"a": 1}, "mirror_pairs": [["a"]]}, "must list pairs of labels"),
        ({"labels": {"a": 1}, "mirror_pairs": [["a", "b"]]}, "unknown label 'b'"),
        ({"labels": {"a": 1}, "sides": {"a": "up"}}, "to 'right' or 'left'"),
        ({"labels": {"a": 1}, "annotated": {"c": "a"}}, "'annotated' must map cases"),
    ],
)
def test_label_files_that_cannot_be_are_explained(tmp_path, data, sentence):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(data))
    with pytest.raises(DataError) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}: ") and sentence in str(caught.value)


def test_a_label_file_that_is_missing_or_no_json_is_status_2(root, capsys):
    three_cases(root)
    (root / "labels.json").write_text("{")
    assert main(words(root)) == 2
    assert "must be a readable JSON file" in capsys.readouterr().err
    (root / "labels.json").unlink()
    assert main(words(root)) == 2
    assert "no such file" in capsys.readouterr().err


def test_sides_come_from_the_file_or_the_names(tmp_path):
    path = tmp_path / "labels.json"
    names = {"Parotid-Lt": 1, "Parotid-Rt": 2, "lacrimal_left": 3, "lacrimal_right": 4, "mid": 5}
    path.write_text(json.dumps({"labels": names}))
    assert read_labels(path).pairs() == {
        "Parotid": ("Parotid-Rt", "Parotid-Lt"),
        "lacrimal": ("lacrimal_right", "lacrimal_left"),
    }
    stated = {"labels": {"x": 1, "y": 2}, "mirror_pairs": [["x", "y"]], "sides": {"x": "left"}}
    path.write_text(json.dumps(stated))
    assert read_labels(path).pairs() == {"x + y": ("y", "x")}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["run", "--labels", "f.json"], "options must come with two folders"),
        (["pred", "ref", "--out", "o"], "got no --labels"),
        (["pred", "ref", "--labels", "f.json"], "got no --out"),
        (["pred", "ref", "--labels", "f", "--out", "o", "--jobs", "0"], "jobs must be at least 1"),
        (["pred", "ref", "--labels", "f", "--out", "o", "--measures", "dise"], "mean 'dice'"),
    ],
)
def test_options_that_do_not_fit_are_status_2(capsys, given, sentence):
    assert main(["evaluate", *given]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1
