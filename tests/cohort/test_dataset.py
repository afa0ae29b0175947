"""Opening and writing datasets: what is found, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from acinus.cohort import (
    open_dataset,
    read_participants,
    write_dataset_json,
    write_participants,
)
from acinus.cohort.participants import participant_of
from acinus.errors import DataError


def test_a_dataset_opens_with_cases_sides_and_pairs(make_dataset):
    dataset = open_dataset(make_dataset(n_channels=2, synthetic=True, unknown_key=1))
    assert [case.case_id for case in dataset.cases] == [f"p{n:02d}" for n in range(6)]
    assert dataset.channel_names == ("T1", "T2")
    assert dataset.labels == {"gland_right": 1, "gland_left": 2}
    assert dataset.sides == {"gland_right": "right", "gland_left": "left"}
    assert dataset.mirror_pairs == (("gland_right", "gland_left"),)
    assert dataset.synthetic and not dataset.allow_missing_channels
    case = dataset.case("p03")
    assert [path.name for path in case.images] == ["p03_0000.nii.gz", "p03_0001.nii.gz"]
    assert case.label.name == "p03.nii.gz"
    assert case.participant_id == "p03"


def test_labels_come_in_the_order_of_their_values(make_dataset):
    """Outputs of a network are numbered like that, whatever the order in the file."""
    labels = {"background": 0, "gland_right": 2, "gland_left": 1}
    assert list(open_dataset(make_dataset(labels=labels)).labels) == ["gland_left", "gland_right"]


def test_excluded_cases_and_participants_are_left_out(make_dataset):
    table = "participant_id\tage\np00\t40\np01\t50\n"
    folder = make_dataset(
        case_ids=["p00_a", "p00_b", "p01_a"],
        participants=table,
        exclude={"p00_b": "motion", "p01": "withdrew"},
    )
    dataset = open_dataset(folder)
    assert [case.case_id for case in dataset.cases] == ["p00_a"]
    with pytest.raises(DataError, match="case 'p00_b' is excluded: motion"):
        dataset.case("p00_b")


def test_an_unknown_case_names_the_nearest(make_dataset):
    with pytest.raises(DataError, match=r"unknown case 'p0x'.*Did you mean 'p0"):
        open_dataset(make_dataset()).case("p0x")


def test_image_without_label_is_a_case_but_not_a_labelled_one(make_dataset):
    folder = make_dataset()
    (folder / "labelsTr" / "p02.nii.gz").unlink()
    dataset = open_dataset(folder)
    assert dataset.case("p02").label is None
    assert "p02" not in [case.case_id for case in dataset.labelled_cases]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": None}, "'labels' must map names to integers.*it is missing"),
        ({"labels": {"background": 0, "a": 1.5}}, r"'labels' must be integers.*\{'a': 1.5\}"),
        ({"labels": {"background": 0, "a": True}}, "'labels' must be integers"),
        ({"labels": {"background": 1, "a": 2}}, "'background' the value 0; got 1"),
        ({"labels": {"a": 1}}, "'background' the value 0; got no such name"),
        ({"labels": {"background": 0}}, "at least one structure besides background"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "distinct values; a and b are all 1"),
        ({"labels": {"background": 0, "a": 1, "b": 3}}, "1 to 2 without gaps.*got 1, 3"),
        ({"labels": {"background": 0, "a": 255}}, r"integers from 0 to 254.*\{'a': 255\}"),
        ({"labels": {"0": "background", "1": "a"}}, "Turn each pair round"),
        ({"channel_names": None}, "'channel_names' must map numbers to names.*missing"),
        ({"channel_names": None, "modality": {"0": "MR"}}, "Rename the older key 'modality'"),
        ({"channel_names": {"0": "a", "2": "b"}}, "numbered 0, 1 without gaps; got 0, 2"),
        ({"file_ending": None}, r"'file_ending' must be one of \.nii\.gz.*it is missing"),
        ({"file_ending": "nii.gz"}, r"'file_ending' must be one of .*got 'nii\.gz'"),
        ({"numTraining": "six"}, "'numTraining' must be the number"),
        ({"sides": {"gland_rigth": "right"}}, "Did you mean 'gland_right'"),
        ({"sides": {"gland_right": "R"}}, "'left' or 'right'; 'gland_right' has 'R'"),
        ({"mirror_pairs": [["gland_right", "gland_right"]]}, "two different labels"),
        ({"mirror_pairs": [["gland_right", "lens"]]}, "unknown label 'lens'"),
        ({"mirror_pairs": ["gland_right"]}, "must be a list of pairs"),
        ({"sides": {"gland_right": "left", "gland_left": "left"}}, "are both left"),
        ({"structures": {"orbit": ["eye"]}}, "'structures' 'orbit': unknown label 'eye'"),
        ({"structures": {"orbit": [["eye"]]}}, "'structures' 'orbit': unknown label "),
        ({"structures": {"orbit": []}}, "'structures' 'orbit' must name at least one label"),
        ({"synthetic": "yes"}, "'synthetic' must be true or false; got 'yes'"),
        ({"exclude": ["p00"]}, "'exclude' must map cases to reasons"),
        ({"dataset": {}}, "lists single files under 'dataset'"),
    ],
)
def test_a_faulty_dataset_json_is_refused_in_words(make_dataset, change, words):
    with pytest.raises(DataError, match=f"dataset.json: .*{words}"):
        open_dataset(make_dataset(**change))


def test_further_faults_are_counted(make_dataset):
    with pytest.raises(DataError, match=r"\(2 more: see `acinus check`\)"):
        open_dataset(make_dataset(labels=None, file_ending=None, sides=None, mirror_pairs=[1]))


def test_folders_that_are_no_dataset(make_dataset, tmp_path: Path):
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(DataError, match="it is empty"):
        open_dataset(make_empty(tmp_path / "empty"))
    folder = make_dataset()
    with pytest.raises(DataError, match=r"Did you mean '.*Dataset001_Glands'"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="got a file"):
        open_dataset(folder / "dataset.json")
    (folder / "dataset.json").write_text("{broken", encoding="utf-8")
    with pytest.raises(DataError, match=r"dataset\.json: must be a readable JSON file"):
        open_dataset(folder)
    (folder / "dataset.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match="one JSON object; got list"):
        open_dataset(folder)
    (folder / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"dataset\.json is missing, found imagesTr, labelsTr"):
        open_dataset(folder)


def test_no_cases_is_refused(make_dataset):
    folder = make_dataset()
    for path in (folder / "imagesTr").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="must have an image for its label"):
        open_dataset(folder)
    with pytest.raises(DataError, match=r"at least one case as imagesTr/CASE_0000.nii.gz"):
        open_dataset(folder, complete=False)


def test_missing_channel_only_where_allowed(make_dataset):
    folder = make_dataset(n_channels=2)
    (folder / "imagesTr" / "p01_0001.nii.gz").unlink()
    with pytest.raises(DataError, match=r"'p01' must have 2 channels; .*p01_0001\.nii\.gz"):
        open_dataset(folder)
    assert open_dataset(folder, complete=False).case("p01").images[1] is None
    data = json.loads((folder / "dataset.json").read_text())
    data["allow_missing_channels"] = True
    (folder / "dataset.json").write_text(json.dumps(data))
    assert open_dataset(folder).case("p01").images[1] is None


@pytest.mark.parametrize(
    ("case_id", "ids", "expected"),
    [
        ("orbit_001", ["orbit_001"], "orbit_001"),
        ("orbit_001_v2", ["orbit_00", "orbit_001"], "orbit_001"),
        ("a_b_c", ["a", "a_b", "c"], "a_b"),
        ("a-1", ["a"], "a"),
        ("ab", ["a"], None),
    ],
)
def test_participant_is_the_longest_prefix(case_id, ids, expected):
    assert participant_of(case_id, ids) == expected


def test_participants_keep_ids_as_text_and_know_missing_values(tmp_path: Path):
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tage\tsex\n007\t40\tF\n012\tn/a\t\n", encoding="utf-8")
    table = read_participants(path)
    assert table["participant_id"].tolist() == ["007", "012"]
    assert table["age"].isna().tolist() == [False, True]
    assert table["sex"].isna().tolist() == [False, True]


def test_participants_round_trip(tmp_path: Path):
    table = pd.DataFrame(
        {"age": [40.5, None], "participant_id": ["a", "b"], "sex": ["F", None], "site": ["x", "y"]}
    )
    path = tmp_path / "participants.tsv"
    write_participants(path, table)
    back = read_participants(path)
    assert back.columns[0] == "participant_id"
    pd.testing.assert_frame_equal(back[table.columns], table, check_dtype=False)
    assert "n/a" in path.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("subject\tage\na\t1\n", "must have a column 'participant_id'.*got: subject, age"),
        ("participant_id,age\na,1\n", "must have a column 'participant_id'"),
        ("", "must be a table with tabs"),
        ("participant_id\tage\n\t3\n", "line 2: every row must have a 'participant_id'"),
        ("participant_id\na\na\n", "'a' has several. Remove all but one"),
    ],
)
def test_faulty_participants_are_refused(make_dataset, text, words):
    with pytest.raises(DataError, match=words):
        open_dataset(make_dataset(participants=text))


def test_written_dataset_json_opens_again(make_dataset):
    folder = make_dataset()
    write_dataset_json(
        folder,
        name="New",
        channel_names=["T1"],
        labels={"gland_right": 1, "gland_left": 2},
        n_training=6,
        file_ending=".nii.gz",
        mirror_pairs=(("gland_right", "gland_left"),),
        synthetic=True,
        exclude={"p05": "motion"},
    )
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.synthetic, len(dataset.cases)) == ("New", True, 5)
    assert dataset.mirror_pairs == (("gland_right", "gland_left"),)
    with pytest.raises(DataError, match="distinct values"):
        write_dataset_json(
            folder,
            name="x",
            channel_names=["T1"],
            labels={"a": 1, "b": 1},
            n_training=1,
            file_ending=".nii.gz",
        )
    assert open_dataset(folder).name == "New"


def test_fingerprint_hash_follows_content_and_not_age(make_dataset):
    table = "participant_id\tage\n" + "".join(f"p0{n}\t40\n" for n in range(6))
    folder = make_dataset(participants=table)
    before = open_dataset(folder).fingerprint_hash()
    (folder / "participants.tsv").write_text(table.replace("40", "41"), encoding="utf-8")
    assert open_dataset(folder).fingerprint_hash() == before
    path = folder / "labelsTr" / "p00.nii.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    assert open_dataset(folder).fingerprint_hash() != before


def make_empty(folder: Path) -> Path:
    folder.mkdir()
    return folder
