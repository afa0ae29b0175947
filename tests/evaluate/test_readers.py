"""Readers against readers: numbers by hand, order, hostile folders, two real readers."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest

from acinus import progress
from acinus.cli import main
from acinus.errors import ConfigError, DataError
from acinus.evaluate import compare_readers

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
SLAB_ML = 8 * 0.002
"""Of one voxel of x: 4 in y, 2 in z, 1 x 1 x 2 mm each."""

SYMMETRIC = ("dice", "kappa_10mm", "hausdorff_95_mm", "assd_mm")


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def put(root, reader, case, right=0, left=0):
    """A label map with blocks of so many slabs on the right (1) and on the left (2)."""
    array = np.zeros((60, 12, 8), np.uint8)
    array[4 : 4 + right, 4:8, 2:4] = 1
    array[34 : 34 + left, 4:8, 2:4] = 2
    path = root / reader / f"{case}.nii.gz"
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    return path


@pytest.fixture
def root(tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {"Gland-Rt": 1, "Gland-Lt": 2}}))
    for case, a, b in (("p", 4, 8), ("q", 8, 12), ("r", 12, 16)):
        put(tmp_path, "anna", case, right=a, left=8)
        put(tmp_path, "bert", case, right=b, left=8 if case == "p" else 0)
    put(tmp_path, "anna", "r", right=12)
    return tmp_path


def compared(root, *readers, **changes):
    folders = [root / reader for reader in readers or ("anna", "bert")]
    return compare_readers(folders, labels=root / "labels.json", **changes)


def by_side(found):
    return found.table.set_index(["reader_a", "reader_b", "structure", "side"])


def test_numbers_are_those_of_the_hand(root):
    found = compared(root, out=root / "out")
    table = by_side(found)
    assert list(found.table["side"]) == ["right", "left", "both"]
    right = table.loc[("anna", "bert", "Gland", "right")]
    dice = np.array([2 * 4 / 12, 2 * 8 / 20, 2 * 12 / 28])
    assert right["dice_mean"] == pytest.approx(dice.mean())
    assert right["dice_sd"] == pytest.approx(dice.std(ddof=1))
    assert right["dice_median"] == pytest.approx(0.8)
    assert (right["dice_n"], right["dice_n_undefined"], right["n_drawn_by_both"]) == (3, 0, 3)
    # Mean squares 2 between subjects, 1.5 between readers, 0 left: 2 / (2 + 2 · 1.5 / 3).
    assert right["icc"] == pytest.approx(2 / 3)
    assert (right["icc_form"], right["icc_n"]) == ("ICC(2,1)", 3)
    assert right["bias_ml"] == pytest.approx(-4 * SLAB_ML)
    assert right["limit_lower_ml"] == pytest.approx(-4 * SLAB_ML)
    assert right["volume_a_ml_mean"] == pytest.approx(8 * SLAB_ML)
    assert right["volume_b_ml_mean"] == pytest.approx(12 * SLAB_ML)
    left = table.loc[("anna", "bert", "Gland", "left")]
    assert (left["n_structures"], left["n_drawn_by_both"], left["n_drawn_by_none"]) == (3, 1, 1)
    assert (left["n_drawn_by_a_only"], left["n_drawn_by_b_only"]) == (1, 0)
    assert (left["dice_mean"], left["dice_n"], left["dice_n_undefined"]) == (0.5, 2, 1)
    assert (left["assd_mm_n"], left["assd_mm_n_undefined"]) == (1, 2)
    assert np.isnan(left["icc"])
    both = table.loc[("anna", "bert", "Gland", "both")]
    assert (both["n_structures"], both["n_participants"], both["icc_n"]) == (6, 3, 4)
    assert both["dice_mean"] == pytest.approx(np.mean([*dice, 1.0, 0.0]))
    rows = pd.read_csv(root / "out" / "agreement.csv").set_index(["case", "label", "metric"])
    assert rows.loc[("q", "Gland-Rt", "volume_b_ml"), "value"] == pytest.approx(12 * SLAB_ML)
    assert rows.loc[("q", "Gland-Lt", "hausdorff_95_mm"), "reason"] == "prediction empty"
    assert list(pd.read_csv(root / "out" / "readers.csv")) == list(found.table)


def test_the_order_of_readers_does_not_matter(root):
    one, other = compared(root).table, compared(root, "bert", "anna").table
    columns = [name for name in one if name.startswith((*SYMMETRIC, "icc"))]
    pd.testing.assert_frame_equal(one[columns], other[columns])
    np.testing.assert_allclose(one["bias_ml"], -other["bias_ml"])
    np.testing.assert_allclose(one["limit_lower_ml"], -other["limit_upper_ml"])
    assert list(one["n_drawn_by_a_only"]) == list(other["n_drawn_by_b_only"])
    np.testing.assert_array_equal(one["volume_a_ml_mean"], other["volume_b_ml_mean"])


def test_processes_do_not_change_the_table(root):
    pd.testing.assert_frame_equal(compared(root).table, compared(root, jobs=2).table)


def test_three_readers_give_every_pair_and_all(root):
    shutil.copytree(root / "anna", root / "again")
    found = compared(root, "anna", "bert", "again")
    table = by_side(found)
    pairs = list(dict.fromkeys((key[0], key[1]) for key in table.index))
    assert pairs == [("anna", "bert"), ("anna", "again"), ("bert", "again"), ("all", "all")]
    assert table.loc[("anna", "again", "Gland", "right"), "dice_mean"] == 1.0
    assert table.loc[("anna", "again", "Gland", "right"), "icc"] == 1.0
    every = table.loc[("all", "all", "Gland", "right")]
    assert (every["n_structures"], every["icc_n"]) == (9, 3)
    # Readings (x, x + 1, x) of x = 1, 2, 3: 3 between subjects, 1 between readers, 0 left.
    assert every["icc"] == pytest.approx(3 / (3 + 3 * 1 / 3))
    assert np.isnan(every["bias_ml"])


def test_participants_and_annotated_labels_are_counted(root):
    table = root / "participants.tsv"
    table.write_text("participant_id\np\nq\n")
    with pytest.raises(DataError, match=r"case 'r' has none \(1 in all\)"):
        compared(root, participants=table)
    for reader in ("anna", "bert"):
        (root / reader / "r.nii.gz").rename(root / reader / "q_2.nii.gz")
    labels = {"Gland-Rt": 1, "Gland-Lt": 2}
    data = {"labels": labels, "annotated": {"q_2": ["Gland-Rt"]}}
    (root / "labels.json").write_text(json.dumps(data))
    rows = compared(root, participants=table).table.set_index("side")
    assert list(rows.loc["right", ["n_structures", "n_participants"]]) == [3, 2]
    assert list(rows.loc["left", ["n_structures", "n_participants"]]) == [2, 2]


def test_kappa_has_its_margin_in_its_name(root):
    assert "kappa_5mm_mean" in compared(root, margin_mm=5).table
    with pytest.raises(ConfigError, match="the margin, mm must lie between 0 and"):
        compared(root, margin_mm=0)


def test_folders_that_cannot_be_compared_are_explained(root):
    with pytest.raises(ConfigError, match="must be two or more different folders; got"):
        compared(root, "anna")
    with pytest.raises(ConfigError, match="must be two or more different folders; got"):
        compared(root, "anna", "anna")
    put(root, "carl", "z", right=4)
    with pytest.raises(DataError, match=r"same name; they are p, q, r, and z\. Rename"):
        compared(root, "anna", "carl")
    (root / "labels.json").write_text(json.dumps({"labels": {"gland": 1, "ignore": 2}}))
    with pytest.raises(ConfigError, match="got 'ignore' 2"):
        compared(root)


def test_readers_of_one_name_are_told_apart(root):
    for reader in ("anna", "bert"):
        shutil.copytree(root / reader, root / f"site_{reader}" / "labels")
    found = compared(root, "site_anna/labels", "site_bert/labels")
    assert set(found.table["reader_a"]) == {"site_anna/labels"}


def test_cases_of_one_reader_and_broken_files_do_not_lose_the_others(root, capsys):
    put(root, "anna", "only", right=4)
    for reader in ("anna", "bert"):
        put(root, reader, "s", right=4)
    (root / "bert" / "s.nii.gz").write_text("no scan")
    folders = [str(root / reader) for reader in ("anna", "bert")]
    words = ["--labels", str(root / "labels.json"), "--out", str(root / "out"), "--jobs", "1"]
    assert main(["readers", *folders, *words]) == 3
    captured = capsys.readouterr()
    assert "1 of 5 cases of the other readers are not here and not compared: only" in captured.err
    assert "failed: case 's (anna, bert)'" in captured.err
    assert "ICC(2,1)" in captured.out and "bias (limits), mL" in captured.out
    table = pd.read_csv(root / "out" / "readers.csv")
    assert list(table["n_structures"]) == [3, 3, 6] and list(table["n_failed"]) == [1, 1, 2]
    for case in ("p", "q", "r"):
        (root / "bert" / f"{case}.nii.gz").write_text("no scan")
    assert main(["readers", *folders, *words]) == 2


@pytest.mark.real_data
@pytest.mark.slow
def test_two_real_readers_draw_glands_as_published(real_data, tmp_path):
    """The first three CTs. Lacrimal glands are small: Dice near 0.7; the parotids above 0.8."""
    source = real_data / "head_ct_glands"
    labels = json.loads((source / "labels.json").read_text())["labels_glands"]
    (tmp_path / "labels.json").write_text(json.dumps({"labels": labels}))
    for reader in ("oncologist", "radiographer"):
        (tmp_path / reader).mkdir()
        for path in sorted((source / reader).glob("*.nii.gz"))[:3]:
            (tmp_path / reader / path.name).symlink_to(path)
    found = compare_readers(
        [tmp_path / "oncologist", tmp_path / "radiographer"], labels=tmp_path / "labels.json"
    )
    assert (found.failed, found.remarks) == ({}, ())
    assert list(dict.fromkeys(found.table["structure"])) == ["Lacrimal", "Parotid", "Submandibular"]
    pooled = found.table[found.table["side"] == "both"].set_index("structure")
    assert list(pooled["n_structures"]) == [6, 6, 6]
    assert 0.55 < pooled.loc["Lacrimal", "dice_mean"] < 0.85
    assert 0.8 < pooled.loc["Parotid", "dice_mean"] < 0.95
    assert 0.2 < pooled.loc["Lacrimal", "volume_a_ml_mean"] < 1.5
