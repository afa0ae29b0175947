"""A model against readers: made masks, numbers against SciPy, what is left out, real glands."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy

from acinus import progress
from acinus.cli import main
from acinus.errors import ConfigError
from acinus.evaluate import compare_model_with_readers, compare_readers

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
N_CASES = 6


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def put(root, reader, case, right=None, left=None):
    """A label map with a block of slabs from, to on the right (1) and on the left (2)."""
    array = np.zeros((80, 6, 4), np.uint8)
    for value, place in ((1, right), (2, left)):
        if place is not None:
            array[(value - 1) * 40 + place[0] : (value - 1) * 40 + place[1], 1:5, 1:3] = value
    path = root / reader / f"{case}.nii.gz"
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)


def dice(one, other):
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return 2 * shared / (one[1] - one[0] + other[1] - other[0])


_draw: dict[tuple[str, int, str], tuple[int, int]] = {}
"""Reader, case and side to where the block begins and ends."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Two readers who disagree by a few slabs, and three models: like them, worse, far worse."""
    folder = tmp_path_factory.mktemp("readings")
    labels = {"labels": {"Gland-Rt": 1, "Gland-Lt": 2}}
    (folder / "labels.json").write_text(json.dumps(labels))
    rng = np.random.default_rng(2018)
    for number in range(N_CASES):
        for side in ("right", "left"):
            length = int(rng.integers(14, 20))
            places = {"anna": (5, 5 + length), "bert": (7, 7 + length + int(rng.integers(3)))}
            places["like"] = (6, 6 + length + int(rng.integers(2)))
            places["worse"] = (11 + int(rng.integers(2)), 11 + length)
            places["far"] = (16, 16 + length)
            for reader, place in places.items():
                _draw[reader, number, side] = place
        for reader in ("anna", "bert", "like", "worse", "far"):
            sides = {side: _draw[reader, number, side] for side in ("right", "left")}
            put(folder, reader, f"case{number:02d}", **sides)
    return folder


@pytest.fixture(scope="module")
def by_dice(pristine):
    """Model to the result with a margin of 0.05 of Dice; nobody changes it."""
    with progress.quiet():
        return {model: judged(pristine, model) for model in ("like", "worse", "far")}


@pytest.fixture
def root(pristine, tmp_path):
    """A copy to change."""
    return shutil.copytree(pristine, tmp_path / "readings")


def judged(root, model, **changes):
    options = {"labels": root / "labels.json", "margin": 0.05, **changes}
    return compare_model_with_readers([root / "anna", root / "bert"], root / model, **options)


def by_side(found):
    return found.table.set_index("side")


@pytest.mark.parametrize(
    ("model", "verdict"), [("like", "not inferior"), ("worse", "inferior"), ("far", "inferior")]
)
def test_verdicts_of_models_like_readers_and_worse(model, verdict, by_dice) -> None:
    found = by_dice[model]
    assert list(found.table["verdict"]) == [verdict] * 3
    assert list(found.table["side"]) == ["right", "left", "both"]
    assert all(f": {verdict}. The model agrees" in one for one in found.sentences)


def test_numbers_are_those_of_masks_and_scipy(by_dice) -> None:
    row = by_side(by_dice["worse"]).loc["right"]
    places = [
        [_draw[reader, number, "right"] for reader in ("anna", "bert", "worse")]
        for number in range(N_CASES)
    ]
    readers = np.array([dice(a, b) for a, b, _ in places])
    model = np.array([(dice(a, m) + dice(b, m)) / 2 for a, b, m in places])
    test = scipy.stats.ttest_1samp(model - readers, -0.05, alternative="greater")
    ends = scipy.stats.ttest_1samp(model - readers, 0.0).confidence_interval(0.95)
    assert row["model_mean"] == pytest.approx(model.mean())
    assert row["readers_mean"] == pytest.approx(readers.mean())
    assert row["difference"] == pytest.approx((model - readers).mean())
    assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high))
    assert row["p"] == pytest.approx(test.pvalue)
    assert (row["n_structures"], row["n_participants"], row["margin"]) == (N_CASES, N_CASES, 0.05)


def test_both_sides_of_a_patient_are_one_observation(by_dice) -> None:
    table = by_side(by_dice["like"])
    assert (table.loc["both", "n_structures"], table.loc["both", "n_participants"]) == (12, 6)
    sides = table.loc[["right", "left"], "difference"]
    assert table.loc["both", "difference"] == pytest.approx(sides.mean())


def test_patients_are_those_of_the_table(root) -> None:
    people = root / "participants.tsv"
    people.write_text("participant_id\n" + "".join(f"case{n:02d}\n" for n in range(4)))
    for reader in ("anna", "bert", "like"):
        for number in (4, 5):
            case = root / reader / f"case0{number}.nii.gz"
            case.rename(root / reader / f"case0{number - 4}_2.nii.gz")
    row = by_side(judged(root, "like", participants=people)).loc["right"]
    assert (row["n_structures"], row["n_participants"]) == (6, 4)


def test_the_readers_table_is_that_without_a_model(pristine, tmp_path) -> None:
    found = judged(pristine, "far", out=tmp_path / "out")
    folders = [pristine / "anna", pristine / "bert"]
    alone = compare_readers(folders, labels=pristine / "labels.json")
    pd.testing.assert_frame_equal(found.readers.table, alone.table)
    assert "far" not in found.readers.note
    rows = pd.read_csv(tmp_path / "out" / "agreement.csv")
    assert set(zip(rows["reader_a"], rows["reader_b"], strict=True)) == {
        ("anna", "bert"),
        ("anna", "far"),
        ("bert", "far"),
    }
    saved = pd.read_csv(tmp_path / "out" / "model.csv", keep_default_na=False, na_values=["nan"])
    assert list(saved["verdict"]) == list(found.table["verdict"])
    assert list(saved) == list(found.table)


def test_a_missed_gland_counts_by_overlap_and_is_counted_by_distance(root) -> None:
    for number in (0, 1):
        put(root, "like", f"case{number:02d}", left=_draw["like", number, "left"])
    overlap = by_side(judged(root, "like")).loc["right"]
    assert (overlap["n_structures"], overlap["n_undefined"]) == (6, 0)
    assert overlap["n_missed_by_model"] == 2
    assert overlap["verdict"] == "undecided"
    distance = by_side(judged(root, "like", measure="assd_mm", margin=1.0)).loc["right"]
    assert (distance["n_structures"], distance["n_undefined"]) == (4, 2)
    assert (distance["n_missed_by_model"], distance["verdict"]) == (2, "not inferior")


def test_what_only_the_model_drew_has_no_agreement_of_readers(root) -> None:
    for reader in ("anna", "bert"):
        put(root, reader, "case00", left=_draw[reader, 0, "left"])
    row = by_side(judged(root, "like")).loc["right"]
    assert (row["n_structures"], row["n_undefined"], row["n_drawn_by_model_only"]) == (5, 1, 1)


def test_a_gland_that_one_reader_drew_is_half_agreed(root) -> None:
    put(root, "bert", "case00", left=_draw["bert", 0, "left"])
    found = judged(root, "like")
    row = by_side(found).loc["right"]
    assert (row["n_structures"], row["n_missed_by_model"]) == (6, 0)
    one = _draw["anna", 0, "right"], _draw["like", 0, "right"]
    rows = found.readers.agreement.query("case == 'case00' and label == 'Gland-Rt'")
    of_model = rows[(rows["reader_b"] == "like") & (rows["metric"] == "dice")]["value"]
    assert of_model.mean() == pytest.approx(dice(*one) / 2)


def test_distances_are_better_where_they_are_lower(pristine) -> None:
    near = judged(pristine, "like", measure="hausdorff_95_mm", margin=1.0)
    far = judged(pristine, "far", measure="hausdorff_95_mm", margin=1.0)
    assert set(near.table["verdict"]) == {"not inferior"}
    assert set(far.table["verdict"]) == {"inferior"}
    assert (far.table["model_mean"] > far.table["readers_mean"]).all()
    assert (far.table["difference"] < 0).all()


def test_a_third_reader_makes_three_pairs_of_readers(pristine) -> None:
    found = compare_model_with_readers(
        [pristine / "anna", pristine / "bert", pristine / "worse"],
        pristine / "like",
        labels=pristine / "labels.json",
        margin=0.05,
    )
    places = [
        [_draw[name, n, "right"] for name in ("anna", "bert", "worse", "like")]
        for n in range(N_CASES)
    ]
    readers = np.mean([(dice(a, b) + dice(a, w) + dice(b, w)) / 3 for a, b, w, _ in places])
    model = np.mean([(dice(a, m) + dice(b, m) + dice(w, m)) / 3 for a, b, w, m in places])
    row = by_side(found).loc["right"]
    assert (row["readers_mean"], row["model_mean"]) == pytest.approx((readers, model))


def test_few_cases_decide_nothing(root) -> None:
    for reader in ("anna", "bert", "like"):
        for path in sorted((root / reader).iterdir())[1:]:
            path.unlink()
    found = judged(root, "like")
    assert set(found.table["verdict"]) == {"undecided"}
    assert all("undecided; needs at least 2" in one for one in found.sentences)


def test_several_structures_have_a_row_over_all(root) -> None:
    (root / "labels.json").write_text(json.dumps({"labels": {"one": 1, "two": 2}}))
    found = judged(root, "like")
    assert list(found.table["structure"]) == ["one", "two", "all"]
    assert list(found.table["side"]) == ["", "", ""]
    assert found.sentences[-1].startswith("All structures: not inferior.")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"margin": 0.0}, "margin must be a finite number above 0; got 0"),
        ({"margin": float("nan")}, "got nan"),
        ({"measure": "dise"}, "Did you mean 'dice'"),
        ({"measure": "precision"}, "the same whichever reading comes first"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_the_work(
    changes, sentence, pristine, tmp_path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        judged(pristine, "like", out=tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_the_command_shows_tables_words_and_files(root, capsys) -> None:
    words = ["readers", str(root / "anna"), str(root / "bert"), "--jobs", "1"]
    words += ["--labels", str(root / "labels.json"), "--out", str(root / "out")]
    assert main([*words, "--model", str(root / "like"), "--margin", "0.05"]) == 0
    shown = capsys.readouterr().out
    assert "Gland, both sides: not inferior. The model agrees with the readers at a Dice" in shown
    assert "6 participants." in shown
    assert f"Model: {root / 'out' / 'model.csv'}" in shown
    assert main([*words, "--model", str(root / "like")]) == 2
    assert "--model and --margin go together" in capsys.readouterr().err
    (root / "like" / "case03.nii.gz").write_text("no scan")
    (root / "like" / "case04.nii.gz").unlink()
    assert main([*words, "--model", str(root / "like"), "--margin", "0.05"]) == 3
    captured = capsys.readouterr()
    assert "failed: case 'case03 (anna, like)'" in captured.err
    assert "1 of 6 cases of the other readers are not here and not compared: case04" in captured.err
    assert list(pd.read_csv(root / "out" / "model.csv")["n_structures"]) == [4, 4, 8]


@pytest.mark.real_data
def test_real_glands_a_copy_is_not_inferior_and_a_shifted_reading_is(real_data, tmp_path) -> None:
    """Right parotids of four CTs, cut out: the model is one reading as it is, and moved 6 mm."""
    source = real_data / "head_ct_glands"
    values = json.loads((source / "labels.json").read_text())["labels_glands"]
    kept = {name: value for name, value in values.items() if name == "Parotid-Rt"}
    (tmp_path / "labels.json").write_text(
        json.dumps({"labels": {name: n for n, name in enumerate(kept, start=1)}})
    )
    names = sorted(path.name for path in (source / "oncologist").glob("*.nii.gz"))[:4]
    for name in names:
        maps = {}
        for reader in ("oncologist", "radiographer"):
            image = nibabel.load(source / reader / name)
            stored = np.asarray(image.dataobj)
            maps[reader] = np.zeros(stored.shape, np.uint8)
            for number, value in enumerate(kept.values(), start=1):
                maps[reader][stored == value] = number
        box = np.argwhere(maps["oncologist"] | maps["radiographer"])
        low, high = np.maximum(box.min(axis=0) - 12, 0), box.max(axis=0) + 13
        cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        step = round(6 / float(image.header.get_zooms()[0]))
        maps["copy"] = maps["oncologist"]
        maps["moved"] = np.roll(maps["oncologist"], step, axis=0)
        for reader, array in maps.items():
            (tmp_path / reader).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array[cut], image.affine), tmp_path / reader / name)
    readers = [tmp_path / "oncologist", tmp_path / "radiographer"]
    verdicts = {}
    for model in ("copy", "moved"):
        found = compare_model_with_readers(
            readers, tmp_path / model, labels=tmp_path / "labels.json", margin=0.05
        )
        verdicts[model] = found.table.iloc[0]
    assert verdicts["copy"]["verdict"] == "not inferior"
    assert verdicts["copy"]["model_mean"] == pytest.approx(
        (1 + verdicts["copy"]["readers_mean"]) / 2
    )
    assert 0.8 < verdicts["copy"]["readers_mean"] < 0.95
    assert verdicts["moved"]["verdict"] == "inferior"
