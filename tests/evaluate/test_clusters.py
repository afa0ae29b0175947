"""Patients, groups of copies and cases named in a table: what counts as one observation."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import acinus
from acinus import progress
from acinus.cli import main
from acinus.cohort import read_participants
from acinus.cohort.participants import owners_of
from acinus.errors import ConfigError, DataError
from acinus.evaluate import (
    compare_readers,
    evaluate_folders,
    read_scores,
    score_table,
    write_scores,
)
from acinus.evaluate.clusters import note_on_clusters, observed, read_owners, with_clusters
from acinus.evaluate.score_table import SCORE_COLUMNS
from acinus.evaluate.tables import (
    arm_comparison,
    centre_table,
    characteristics,
    evaluation_table,
    network_table,
    note,
    reading_table,
    variant_comparison,
    volume_agreement,
    volumetry_table,
)
from acinus.evaluate.tables.inside import holdout_check, inside_pairs


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def rows(case, dice, *, cluster=None, label="gland", **changes):
    """Rows of a structure; its predicted volume is its Dice times the drawn one."""
    drawn = 10.0 + int(case.split("-")[0][1:]) % 7
    values = {"dice": dice, "reference_volume_ml": drawn, "prediction_volume_ml": drawn * dice}
    for metric, value in values.items():
        row = {"case": case, "participant": case, "arm": "A", "model": "final", "part": "holdout"}
        row |= {"label": label, "metric": metric, "value": value, "unit": "1", "status": "ok"}
        yield row | {"reason": "", "cluster": cluster or case} | changes


def copies(n_copies, **changes):
    """Twelve anatomies, each with so many copies that are patients of their own."""
    rng = np.random.default_rng(5)
    found = []
    for number, dice in enumerate(rng.uniform(0.6, 0.9, 12)):
        for copy in range(n_copies):
            name = f"p{number:02d}-{copy}"
            found += rows(name, float(dice), cluster=f"source=s{number:02d}", **changes)
    return found


def of_readings(n_copies):
    return reading_table(score_table(copies(n_copies, part="readings", model="second")))


def by_centre(n_copies):
    inside = [
        row | {"value": min(1.0, row["value"] + 0.05), "part": "validation"}
        for row in copies(n_copies)
        if row["metric"] == "dice"
    ]
    inside = [
        row | {"case": f"q{row['case'][1:]}", "participant": f"q{row['case'][1:]}"}
        | {"cluster": f"source=t{row['cluster'][-2:]}"}
        for row in inside
    ]  # fmt: skip
    scores = score_table([*inside, *copies(n_copies)])
    sites = {person: person[0] for person in scores["participant"]}
    found = centre_table(scores, {"A": sites})
    return found[found["centre"] == "p"]


def two(n_copies, key, values, table):
    """A table of a second arm, model or network that is a little worse in each anatomy."""
    rng = np.random.default_rng(6)
    lower = {f"source=s{number:02d}": rng.normal(0.03, 0.02) for number in range(12)}
    first = copies(n_copies, **values, **{key: "A" if key == "arm" else "final"})
    second = copies(n_copies, **values, **{key: "B"})
    second = [
        row | {"value": row["value"] - lower[row["cluster"]]} if row["metric"] == "dice" else row
        for row in second
    ]
    return table(score_table([*first, *second]))


TABLES = {
    "evaluation_table": (lambda n: evaluation_table(score_table(copies(n))), "low", "high", None),
    "volume_agreement": (
        lambda n: volume_agreement(score_table(copies(n))), "bias_low_ml", "bias_high_ml",
        "p_clustered",
    ),
    "volumetry_table": (
        lambda n: volumetry_table(score_table(copies(n))).iloc[:1], "limit_lower_ml",
        "limit_upper_ml", None,
    ),
    "reading_table": (of_readings, "bias_low_ml", "bias_high_ml", None),
    "centre_table": (by_centre, "drop_low", "drop_high", "welch_p"),
    "arm_comparison": (
        lambda n: two(n, "arm", {}, lambda s: arm_comparison(s, "A", "B")), "low", "high", "t_p",
    ),
    "variant_comparison": (
        lambda n: two(n, "model", {}, variant_comparison).iloc[1:], "difference_low",
        "difference_high", "wilcoxon_p",
    ),
    "network_table": (
        lambda n: two(n, "model", {"part": "benchmark"}, network_table).iloc[1:],
        "difference_low", "difference_high", "t_p",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_copies_of_an_anatomy_change_no_interval_and_no_p(name):
    make, low, high, p = TABLES[name]
    alone, often = make(1).iloc[0], make(4).iloc[0]
    assert often[high] - often[low] >= 0.999 * (alone[high] - alone[low])
    if p is not None and name != "volume_agreement":
        assert often[p] == pytest.approx(alone[p])
    assert (alone["n_participants"], often["n_participants"]) == (12, 48)
    assert alone["n_clusters"] == often["n_clusters"] == 12
    assert often["clustered_by"] == "source"
    words = note(name, make(4))
    assert "one 'source' together (n = 12 a row, of 48 participants)" in words
    assert "the participant (n = " not in words


def test_values_inside_labels_are_clustered_too():
    rng = np.random.default_rng(8)
    sizes, shifts = rng.uniform(5, 9, 12), rng.normal(0.3, 0.5, 12)
    made = []
    for copy in range(3):
        for number, size in enumerate(sizes):
            name = f"p{number}-{copy}"
            for label, volume in (("right", size), ("left", size + shifts[number])):
                made.append(
                    {"arm": "A", "case": name, "participant": name, "cluster": f"source=s{number}",
                     "part": "holdout" if number < 6 else "train", "label": label,
                     "role": "reference", "voxels": 9, "volume_ml": volume, "mean": volume}
                )  # fmt: skip
    values = pd.DataFrame(made)
    row = holdout_check(values).iloc[0]
    plain = stats.mannwhitneyu(sizes[:6], sizes[6:], method="exact").pvalue
    assert (row["p"], row["n_clusters"], row["n_rest"]) == (pytest.approx(plain), 12, 18)
    pair = inside_pairs(values, [("right", "left")]).iloc[0]
    assert pair["p"] == pytest.approx(stats.wilcoxon(shifts, method="exact").pvalue)
    assert (pair["n"], pair["n_clusters"]) == (36, 12)


def test_a_file_without_clusters_takes_participants(tmp_path):
    path = tmp_path / "scores.csv"
    scores = score_table([*rows("p1-a", 0.5, participant="p1", cluster="p1"), *rows("p2-b", 0.7)])
    write_scores(scores, path)
    pd.testing.assert_frame_equal(read_scores(path), scores)
    pd.read_csv(path).drop(columns="cluster").to_csv(path, index=False)
    read = read_scores(path)
    assert tuple(read.columns) == SCORE_COLUMNS
    assert list(read["cluster"]) == list(read["participant"])
    half = scores.assign(cluster=["", "family=1", *scores["cluster"][2:]])
    assert list(with_clusters(half)["cluster"][:2]) == ["p1", "family=1"]
    corrected = scores.assign(participant="p3")
    assert set(with_clusters(corrected)["cluster"]) == {"p3"}


def test_words_on_clusters():
    people = pd.DataFrame({"participant": ["a", "b", "b"], "cluster": ["a", "b", "b"]})
    counts = pd.DataFrame([observed(people), observed(people[:1])])
    assert note_on_clusters(counts).startswith(
        "Independent unit of tests and intervals: the participant (n = 1 to 2 a row)"
    )
    grouped = pd.DataFrame({"participant": ["a", "b", "c"], "cluster": ["a", "f=1", "f=1"]})
    assert observed(grouped)["clustered_by"] == "participant, f"
    alone = observed(people.assign(cluster=["f=1", "f=2", "f=2"]))
    assert (alone["clustered_by"], alone["n_clusters"]) == ("participant", 2), "groups of one"
    empty = observed(people[:0])
    with_gap = pd.DataFrame([observed(grouped[1:]), empty])
    assert note_on_clusters(with_gap) == note_on_clusters(with_gap[:1])
    assert note_on_clusters(counts[:0]) == ""


def test_a_table_names_the_cases_of_a_patient(tmp_path):
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tcases\tsource\n7\t07a, 07b\tx\n07\tn/a\tx\n8\t8_2\ty\n")
    people = read_participants(path)
    assert owners_of(["07a", "07b", "07_1", "8_2", "9"], people) == {
        "07a": "7", "07b": "7", "07_1": "07", "8_2": "8",
    }  # fmt: skip
    found = read_owners(["07a", "07_1", "8_2"], path, "source")
    assert found.participants == {"07a": "7", "07_1": "07", "8_2": "8"}
    assert found.clusters == {"07a": "source=x", "07_1": "source=x", "8_2": "source=y"}
    with pytest.raises(DataError, match=r"case '9' has none .*column 'cases'"):
        read_owners(["9"], path)
    with pytest.raises(ConfigError, match="unknown column 'sauce'"):
        read_owners(["8_2"], path, "sauce")
    with pytest.raises(ConfigError, match="--group-by must come with --participants"):
        read_owners(["8_2"], None, "source")
    path.write_text("participant_id\tsource\n7\tx\n8\tn/a\n")
    with pytest.raises(DataError, match="each participant must have a value of 'source'"):
        read_owners(["7", "8"], path, "source")
    path.write_text("participant_id\tcases\n7\ta,b\n8\tb\n")
    with pytest.raises(DataError, match="column 'cases' gives 'b' to 7 and 8"):
        owners_of(["a", "b"], read_participants(path))
    assert owners_of(["a"], read_participants(path)) == {"a": "7"}


@pytest.fixture
def folders(tmp_path):
    """Two readers of both glands in six scans, of which the last two are of one patient."""
    rng = np.random.default_rng(2)
    for reader in ("anna", "bert"):
        (tmp_path / reader).mkdir()
        for scan in range(6):
            array = np.zeros((40, 8, 4), np.uint8)
            for label, start in ((1, 2), (2, 22)):
                array[start : start + 4 + 2 * scan + rng.integers(0, 3), 2:6, 1:3] = label
            nibabel.save(
                nibabel.Nifti1Image(array, np.eye(4)), tmp_path / reader / f"s{scan}.nii.gz"
            )
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {"Gland-Rt": 1, "Gland-Lt": 2}}))
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tcases\tsource\n"
        + "".join(f"s{scan}\tn/a\tx{scan % 4}\n" for scan in range(4))
        + "p9\ts4,s5\tx0\n"
    )
    return tmp_path


def test_readers_with_right_and_left_together_are_clustered_by_patient(folders):
    readers, labels = [folders / "anna", folders / "bert"], folders / "labels.json"
    people = folders / "participants.tsv"
    found = compare_readers(readers, labels=labels, participants=people)
    table = found.table.set_index("side")
    assert list(table["n_participants"]) == list(table["n_clusters"]) == [5, 5, 5]
    assert list(table["icc_n"]) == [6, 6, 12] and list(table["icc_n_clusters"]) == [5, 5, 5]
    assert "bootstrap" in table.loc["both", "icc_interval"]
    plain = compare_readers(readers, labels=labels).table.set_index("side")
    assert "F, Satterthwaite" in plain.loc["right", "icc_interval"]
    assert "bootstrap" in plain.loc["both", "icc_interval"]
    assert plain.loc["both", "icc"] == pytest.approx(table.loc["both", "icc"])
    assert plain.loc["both", "n_clusters"] == 6
    volumes = found.agreement.pivot(index=["case", "label"], columns="metric", values="value")
    difference = (volumes["volume_a_ml"] - volumes["volume_b_ml"]).reset_index(name="d")
    means = difference.assign(patient=difference["case"].replace({"s5": "s4"})).groupby("patient")
    interval = stats.ttest_1samp(means["d"].mean(), 0.0).confidence_interval(0.95)
    both = table.loc["both"]
    assert (both["bias_low_ml"], both["bias_high_ml"]) == pytest.approx(
        (interval.low, interval.high)
    )
    assert "the participant (n = 5 a row)" in found.note
    grouped = compare_readers(readers, labels=labels, participants=people, group_by="source")
    assert set(grouped.table["n_clusters"]) == {4}
    assert "one 'source' together (n = 4 a row, of 5 participants)" in grouped.note


def test_folders_and_comparisons_take_a_column_as_unit(folders, capsys):
    people, labels = folders / "participants.tsv", folders / "labels.json"
    for name, (a, b) in {"one": ("anna", "bert"), "other": ("bert", "anna")}.items():
        found = evaluate_folders(
            folders / a, folders / b, labels=labels, participants=people, group_by="source",
            measures=["dice", "precision"], out=folders / name,
        )  # fmt: skip
        assert set(found.summary["n_clusters"]) == {4}
    scores = read_scores(folders / "one" / "scores.csv").drop_duplicates("case")
    assert list(scores["cluster"]) == [f"source=x{k}" for k in (0, 1, 2, 3, 0, 0)]
    words = [str(folders / "one"), str(folders / "other"), "--measure", "precision"]
    assert main(["compare", *words, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["comparisons"][0]
    assert (row["n_participants_a"], row["n_clusters_a"], row["clustered_by"]) == (5, 4, "source")
    assert main(["compare", *words]) == 0
    assert "one 'source' together (n = 4 a row, of 5 participants)" in capsys.readouterr().out
    # The table says otherwise than the scores: each patient is one.
    found = acinus.compare_scores(words[:2], measures=["precision"], participants=people,
                                  group_by="participant_id")  # fmt: skip
    assert set(found.table["n_clusters_a"]) == {5}


def test_volumes_of_structures_that_a_reader_did_not_draw_are_in_no_correlation():
    drawn = [(12.0, 11.0), (15.0, 16.0), (9.0, 9.5), (20.0, 19.0), (0.0, 4.0), (0.0, 0.0)]
    made = []
    for number, (first, second) in enumerate(drawn):
        for row in rows(f"p{number}", 0.8, part="readings", model="second"):
            of = {"reference_volume_ml": first, "prediction_volume_ml": second}
            made.append(row | {"value": of.get(row["metric"], row["value"])})
    row = reading_table(score_table(made)).iloc[0]
    assert row["icc_n"] == 4
    kept = np.array(drawn[:4])
    assert row["bias_ml"] == pytest.approx((kept[:, 1] - kept[:, 0]).mean())


def test_characteristics_are_tested_on_one_value_a_group():
    ages = {"a": 30.0, "b": 41.0, "c": 55.0, "d": 37.0, "e": 62.0, "f": 48.0}
    sexes = {"a": "M", "b": "F", "c": "F", "d": "M", "e": "M", "f": "F"}
    people = [
        {"participant_id": f"{who}{copy}", "age": age + copy, "sex": sexes[who]}
        for who, age in ages.items()
        for copy in (0, 1, 2)
    ]
    people[-1]["sex"] = "M"  # the group f has both sexes
    table = pd.DataFrame(people)
    ids = table["participant_id"].tolist()
    groups = {one: one[0] for one in ids}
    numbers = characteristics(table, ids[:9], ids[9:], groups, "source")
    age = numbers[numbers["test"] == "Student's t-test"].iloc[0]
    means = [one + 1 for one in ages.values()]
    assert age["p"] == pytest.approx(stats.ttest_ind(means[:3], means[3:]).pvalue)
    assert (age["train_n"], age["train_clusters"], age["test_clusters"]) == (9, 3, 3)
    sex = numbers[numbers["test"].str.startswith("chi-squared test")].iloc[0]
    assert sex["p"] == pytest.approx(stats.chi2_contingency([[1, 2], [2, 0]]).pvalue)
    assert (sex["test_n"], sex["test_clusters"]) == (9, 2)
    assert "one 'source' as one observation" in note("characteristics", numbers)
    plain = characteristics(table, ids[:9], ids[9:])
    assert plain[plain["variable"] == "age"].iloc[0]["train_clusters"] == 9
