"""What lies inside labels: against sums by hand, and the laws of a confusion matrix."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import scipy.stats

from acinus.errors import DataError
from acinus.evaluate import confusion_table, label_values, profile_table, value_table
from acinus.evaluate.tables import (
    anomaly_table,
    display,
    grid_table,
    holdout_check,
    inside_pairs,
    note,
)
from acinus.measure.statistics import adjusted_p, detectable_difference, least_rank_p

LABELS = {"gland_right": 1, "gland_left": 2}


def _write(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (2, 1, 3)) -> Path:
    nib.Nifti1Image(array.transpose(2, 1, 0), np.diag([*spacing, 1.0])).to_filename(path)
    return path


def test_values_inside_a_label_are_those_of_its_voxels(tmp_path: Path) -> None:
    image = np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 7
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 0, :3] = 1
    rows = label_values(
        _write(tmp_path / "i.nii.gz", image),
        _write(tmp_path / "l.nii.gz", labels),
        {"gland_right": (1,), "gland_left": (2,)},
        arm="a", case="c", participant="p", part="train", role="reference",
    )  # fmt: skip
    table = value_table(rows).set_index("label")
    assert table.loc["gland_right", "voxels"] == 3
    assert table.loc["gland_right", "volume_ml"] == pytest.approx(3 * 6 / 1000)
    assert table.loc["gland_right", "mean"] == pytest.approx(-6.0)
    assert table.loc["gland_right", "sd"] == pytest.approx(np.std([-7, -6, -5]))
    assert table.loc["gland_left", "voxels"] == 0
    assert np.isnan(table.loc["gland_left", "mean"])


def test_another_shape_is_refused_with_both_shapes(tmp_path: Path) -> None:
    image = _write(tmp_path / "i.nii.gz", np.zeros((2, 3, 4), np.int16))
    labels = _write(tmp_path / "l.nii.gz", np.zeros((2, 3, 5), np.uint8))
    with pytest.raises(DataError, match=r"\(2, 3, 4\) voxels; got \(2, 3, 5\)"):
        label_values(image, labels, {"gland_right": (1,)})
    with pytest.raises(DataError, match="grid of its reference"):
        confusion_table("a", [(labels, image)], LABELS)


def test_the_confusion_of_swapped_sides_lies_off_the_diagonal(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    drawn = rng.integers(0, 3, (4, 5, 6)).astype(np.uint8)
    swapped = np.array([0, 2, 1], np.uint8)[drawn]
    pair = (_write(tmp_path / "r.nii.gz", drawn), _write(tmp_path / "p.nii.gz", swapped))
    table = confusion_table("a", [pair], LABELS).set_index(["reference", "prediction"])
    assert table.loc[("gland_right", "gland_left"), "share"] == 1.0
    assert table.loc[("gland_right", "gland_right"), "volume_ml"] == 0.0
    assert table.loc[("background", "background"), "share"] == 1.0
    assert table["volume_ml"].sum() == pytest.approx(drawn.size * 6 / 1000)
    shown = display("confusion_table", table.reset_index())
    assert list(shown.iloc[1])[2:] == ["0.0%", "0.0%", "100.0%"]
    assert list(shown.iloc[0])[2:] == ["100.0%", "0.0 mL", "0.0 mL"]


def _values(n: int, rng: np.random.Generator, shift: float) -> pd.DataFrame:
    rows = []
    for k in range(n):
        part = "holdout" if k < n // 3 else "train"
        for label in LABELS:
            base = {"arm": "a", "case": f"c{k}", "participant": f"p{k}", "label": label}
            base |= {"sd": 1.0, "p05": 0.0, "p50": 0.0, "p95": 0.0, "voxels": 10, "at_edge": 0}
            base |= dict.fromkeys(("anterior_mm", "superior_mm"), 0.0)
            base["right_mm"] = (30.0 if label == "gland_right" else -30.0) + float(rng.normal(0, 1))
            mean = float(rng.normal(40 + (shift if part == "holdout" else 0), 1))
            volume = float(rng.normal(1, 0.1))
            own = {**base, "part": part, "mean": mean, "volume_ml": volume}
            rows.append({**own, "role": "reference"})
            if part == "holdout":
                rows.append({**own, "role": "prediction", "mean": mean + 3.0})
    return value_table(rows)


def test_a_shifted_holdout_is_found_and_an_equal_one_is_not(rng: np.random.Generator) -> None:
    found = holdout_check(_values(60, rng, 4.0)).set_index(["label", "variable"])
    assert (found.xs("mean", level="variable")["p_holm"] < 0.001).all()
    assert (found.xs("volume_ml", level="variable")["p_holm"] > 0.01).all()
    values = _values(60, rng, 0.0)
    equal = holdout_check(values).set_index(["label", "variable"])
    drawn = values[(values["role"] == "reference") & (values["label"] == "gland_right")]
    a, b = (drawn.loc[drawn["part"] == p, "mean"] for p in ("holdout", "train"))
    expected = scipy.stats.mannwhitneyu(a, b).pvalue
    assert equal.loc[("gland_right", "mean"), "p"] == pytest.approx(expected, rel=0.05)
    constant = values.assign(mean=40.0, volume_ml=1.0)
    assert "None of 4 distributions could be tested" in note(
        "holdout_check", holdout_check(constant)
    )


def test_the_note_on_the_holdout_says_what_was_tested_and_nothing_else(
    rng: np.random.Generator,
) -> None:
    values = _values(60, rng, 4.0)
    partly = values.assign(volume_ml=1.0)
    words = note("holdout_check", holdout_check(partly))
    assert "Of 2 distributions that could be tested 2 differ" in words
    assert "2 could not be tested" in words and "That none differs" not in words
    equal = note("holdout_check", holdout_check(_values(60, rng, 0.0)))
    assert "Of 4 distributions that could be tested none differ" in equal
    assert "That none differs does not show" in equal


def test_p_values_are_corrected_for_the_tests_of_one_kind(rng: np.random.Generator) -> None:
    found = inside_pairs(_values(12, rng, 0.0), [("gland_right", "gland_left")])
    for _, family in found.groupby("comparison"):
        tested = family.dropna(subset=["p"])
        expected = adjusted_p(tested["p"].tolist()).p if len(tested) else ()
        assert tuple(tested["p_holm"]) == pytest.approx(expected)


def test_arms_that_share_their_references_are_tested_once(rng: np.random.Generator) -> None:
    one = _values(30, rng, 1.0)
    three = pd.concat([one, one.assign(arm="b"), _values(30, rng, 1.0).assign(arm="c")])
    found = holdout_check(three)
    assert list(found["arm"].unique()) == ["a, b", "c"] and len(found) == 8
    pairs = inside_pairs(three, [("gland_right", "gland_left")])
    assert list(pairs.loc[pairs["comparison"] == "right against left", "arm"].unique()) == [
        "a, b",
        "c",
    ]
    assert pairs.loc[pairs["comparison"] == "label against prediction", "arm"].nunique() == 3


def test_predictions_that_are_brighter_are_told_from_their_labels(
    rng: np.random.Generator,
) -> None:
    found = inside_pairs(_values(30, rng, 0.0), [("gland_right", "gland_left")])
    seen = found[found["comparison"] == "label against prediction"].set_index(["label", "variable"])
    assert seen.loc[("gland_left", "mean"), "difference"] == pytest.approx(-3.0)
    assert seen.loc[("gland_left", "mean"), "n"] == 10
    assert seen.loc[("gland_left", "volume_ml"), "difference"] == pytest.approx(0.0)
    sides = found[found["comparison"] == "right against left"]
    assert set(sides["n"]) == {30}
    assert len(display("inside_pairs", found)) == len(found)


def test_labels_that_a_grid_loses_are_counted(rng: np.random.Generator) -> None:
    values = _values(9, rng, 0.0)
    prepared = pd.DataFrame(
        [
            {
                "arm": "a",
                "case": f"c{k}",
                "label": label,
                "voxels": 0 if k < 4 else 2,
                "ceiling": 0.0 if k < 4 else 0.9,
            }
            for k in range(9)
            for label in LABELS
        ]
    )
    found = grid_table(values, prepared)
    assert list(found["n"]) == [9, 9]
    assert list(found["n_lost"]) == [4, 4]
    assert list(found["voxels_prepared"]) == [2.0, 2.0]
    assert list(found["ceiling_mean"]) == pytest.approx([0.5, 0.5])
    shown = display("grid_table", found)
    assert shown.loc[0, "Lost"] == "4 (44%)"
    assert shown.loc[0, "Lost in"] == "c0, c1, c2 and 1 more"
    assert "(a 8 of 18)" in note("grid_table", found)


def test_places_count_from_the_middle_of_all_labels(tmp_path: Path) -> None:
    """One patient moved by 40 mm has the same places; without a label there are none."""
    labels = np.zeros((4, 6, 20), np.uint8)
    labels[1:3, 2:4, 14:18] = 1
    labels[1:3, 2:4, 2:6] = 2
    image = _write(tmp_path / "i.nii.gz", np.zeros(labels.shape, np.int16))
    whole = _write(tmp_path / "l.nii.gz", labels)
    right, left = label_values(image, whole, {"gland_right": (1,), "gland_left": (2,)})
    assert (right["right_mm"], left["right_mm"]) == (12.0, -12.0)  # 24 mm apart in x
    assert (right["anterior_mm"], right["superior_mm"], right["at_edge"]) == (0, 0, 0)
    labels[labels == 2] = 0
    labels[0, 2, 19] = 1
    only = _write(tmp_path / "o.nii.gz", labels)
    right, left = label_values(image, only, {"gland_right": (1,), "gland_left": (2,)})
    assert np.isnan(right["right_mm"])
    assert (right["at_edge"], left["at_edge"]) == (2, 0)


def test_what_stands_out_is_named_and_the_rest_is_not(rng: np.random.Generator) -> None:
    values = _values(40, rng, 0.0)
    assert len(anomaly_table(values)) <= 2  # chance
    drawn = values["role"] == "reference"
    values.loc[drawn & (values["case"] == "c7") & (values["label"] == "gland_left"), "mean"] = 90.0
    gone = drawn & (values["case"] == "c9") & (values["label"] == "gland_right")
    values.loc[gone, "voxels"] = 0
    values.loc[gone, ["volume_ml", "mean", "right_mm"]] = [0.0, np.nan, np.nan]
    swapped = drawn & (values["case"] == "c3") & (values["label"] == "gland_right")
    values.loc[swapped, "right_mm"] = -30.0
    found = anomaly_table(pd.concat([values, values.assign(arm="b")]))
    assert set(found["arm"]) == {"a, b"}
    named = {(row.case, row.label, row.what) for row in found.head(3).itertuples()}
    assert named == {
        ("c9", "gland_right", "missing"),
        ("c3", "gland_right", "right_mm"),
        ("c7", "gland_left", "mean"),
    }
    assert display("anomaly_table", found).loc[0, "What"] == "not drawn"


def test_the_note_says_when_no_difference_could_be_found(rng: np.random.Generator) -> None:
    few = _values(9, rng, 0.0)
    few = few[few["case"].isin(["c0", "c1", *(f"c{k}" for k in range(3, 9))])]
    words = note("holdout_check", holdout_check(few))
    assert "With 2 independent observations in the hold-out and 6 others" in words
    assert "no difference, however large, could be significant here" in words
    many = note("holdout_check", holdout_check(_values(120, rng, 0.0)))
    assert "could be significant" not in many
    assert "does not show that the hold-out is representative" in many


@pytest.mark.parametrize(("n", "m"), [(2, 18), (3, 9), (1, 4)])
def test_the_least_p_of_ranks_is_that_of_groups_apart(n: int, m: int) -> None:
    apart = scipy.stats.mannwhitneyu(range(n), range(100, 100 + m), method="exact").pvalue
    assert least_rank_p(n, m) == pytest.approx(apart)


def test_a_detectable_difference_is_found_four_times_in_five(rng: np.random.Generator) -> None:
    n, m = 20, 60
    shift = detectable_difference(n, m)
    found = [
        scipy.stats.mannwhitneyu(
            rng.normal(shift, 1, n), rng.normal(0, 1, m), method="asymptotic"
        ).pvalue
        < 0.05
        for _ in range(600)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_profiles_hold_the_percentiles_of_every_label_that_is_there(tmp_path: Path) -> None:
    image = _write(tmp_path / "i.nii.gz", np.arange(101, dtype=np.int16).reshape(1, 1, 101))
    labels = _write(tmp_path / "l.nii.gz", np.ones((1, 1, 101), np.uint8))
    what = {"arm": "a", "case": "c", "participant": "p", "part": "train", "role": "reference"}
    rows = label_values(image, labels, {"gland_right": (1,), "gland_left": (2,)}, **what)
    table = profile_table(rows)
    assert list(table["label"]) == ["gland_right"]
    np.testing.assert_allclose(table.loc[0, ["p0", "p25", "p100"]].astype(float), [0, 25, 100])
