"""Class regions, the ignore label and partly annotated cases: read, refused, checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_dataset import write_nifti

from acinus.cohort import check_dataset, open_dataset, write_dataset_json
from acinus.errors import DataError

IDS = [f"p{number:02d}" for number in range(8)]

GLANDS = {"background": 0, "glands": [1, 2], "gland_right": [1], "gland_left": 2}
"""A region over both sides, and each side; painted 3 would be neither, so one must do."""

TUMOUR = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}


def tumour_dataset(make_dataset: Callable[..., Path], **changes: object) -> Path:
    header = {
        "labels": TUMOUR,
        "regions_class_order": [1, 2, 3],
        "sides": {},
        "mirror_pairs": [],
        **changes,
    }
    return make_dataset(case_ids=IDS, **header)


def paint(folder: Path, case_id: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / "labelsTr" / f"{case_id}.nii.gz"
    image = nib.load(path)
    write_nifti(path, change(np.asanyarray(image.dataobj).copy()), image.affine)


def nested(array: np.ndarray) -> np.ndarray:
    """The right gland as a tumour: 1 around, 2 within, one slice of it 3; the left one gone."""
    array[array == 2] = 0
    array[18:20][array[18:20] == 1] = 2
    array[18][array[18] == 2] = 3
    return array


# Reading --------------------------------------------------------------------------------------


def test_regions_open_in_the_order_of_painting(make_dataset):
    dataset = open_dataset(tumour_dataset(make_dataset, labels={**TUMOUR, "ignore": 4}))
    assert dataset.labels == {"whole": 1, "core": 2, "enhancing": 3}
    assert list(dataset.labels) == ["whole", "core", "enhancing"]
    assert dataset.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert dataset.values == dataset.regions
    assert dataset.ignore_label == 4


def test_a_single_value_among_regions_is_a_region_of_its_own(make_dataset):
    labels = {"background": 0, "kidney": [1, 2, 3], "mass": [2, 3], "tumour": 2}
    folder = tumour_dataset(make_dataset, labels=labels, regions_class_order=[1, 3, 2])
    dataset = open_dataset(folder)
    assert dataset.labels == {"kidney": 1, "mass": 3, "tumour": 2}
    assert dataset.regions["tumour"] == (2,)


def test_lists_of_one_value_are_plain_labels_as_in_nnunet(make_dataset):
    labels = {"background": 0, "gland_left": [2], "gland_right": [1]}
    dataset = open_dataset(make_dataset(labels=labels))
    assert dataset.labels == {"gland_right": 1, "gland_left": 2}
    assert dataset.regions == {}
    assert dataset.values == {"gland_right": (1,), "gland_left": (2,)}


def test_plain_labels_may_have_an_ignore_label(make_dataset):
    labels = {"background": 0, "gland_right": 1, "gland_left": 2, "ignore": 3}
    dataset = open_dataset(make_dataset(labels=labels))
    assert dataset.labels == {"gland_right": 1, "gland_left": 2}
    assert dataset.ignore_label == 3


def test_annotated_labels_come_in_the_order_of_the_dataset(make_dataset):
    annotated = {"p00": ["gland_left"], "p01": ["gland_left", "gland_right"]}
    dataset = open_dataset(make_dataset(annotated=annotated))
    assert dataset.annotated == {"p00": ("gland_left",), "p01": ("gland_right", "gland_left")}


def test_all_three_are_written_and_read_again(make_dataset):
    folder = tumour_dataset(make_dataset)
    write_dataset_json(
        folder,
        name="T",
        channel_names=["T1"],
        labels={"whole": (1, 2, 3), "core": (2, 3), "enhancing": 3},
        n_training=8,
        file_ending=".nii.gz",
        ignore_label=4,
        regions_class_order=(1, 2, 3),
        annotated={"p00": ("whole",)},
    )
    dataset = open_dataset(folder)
    assert dataset.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert (dataset.ignore_label, dataset.annotated) == (4, {"p00": ("whole",)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"labels": {"background": 0, "a": []}},
            r"or lists of them for regions; got \{'a'",
        ),
        ({"labels": {"background": 0, "a": [1, 1]}}, "or lists of them"),
        ({"labels": {"background": 0, "a": [0, 1]}}, "or lists of them"),
        ({"labels": {"background": 0, "a": [[1]]}}, "or lists of them"),
        ({"labels": {"background": [0, 1], "a": 2}}, "or lists of them"),
        ({"labels": {"background": 0, "a": [1, 2], "b": 0}}, "must not contain 0"),
        ({"labels": {**TUMOUR, "ignore": [4, 5]}}, r"'ignore' one value, no list; got \[4, 5\]"),
        ({"labels": {**TUMOUR, "ignore": 3}}, "the highest value.*got 3, and 3.*Use 4"),
        ({"labels": {**TUMOUR, "edge": [1, 2]}}, "'core' and 'edge' share 2 and each has more"),
        ({"regions_class_order": None}, r"each of whole, core, enhancing.*Use \[1, 2, 3\]"),
        ({"regions_class_order": [1, 2]}, r"got \[1, 2\]\. Use \[1, 2, 3\]"),
        ({"regions_class_order": [1, 2, 4]}, "'enhancing' unites 3 and is painted 4"),
        ({"regions_class_order": [1, 2, "3"]}, "is painted '3'"),
        ({"regions_class_order": [2, 2, 3]}, "'whole' is painted 2, which would count as 'core'"),
        (
            {"labels": {"background": 0, "core": [2, 3], "whole": [1, 2, 3]}},
            "'whole' is painted after 'core', which it contains",
        ),
        ({"annotated": ["p00"]}, "'annotated' must map cases to the labels annotated"),
        ({"annotated": {"p00": "whole"}}, "'annotated' must map cases"),
        ({"annotated": {"p00": []}}, "'annotated' 'p00' must list at least one label"),
        ({"annotated": {"p00": ["whole", "coer"]}}, "'annotated' 'p00'.*Did you mean 'core'"),
        ({"mirror_pairs": [["whole", "core"]]}, "equally many values.*'whole' unites 1, 2, 3"),
    ],
)
def test_faults_are_refused_in_words(make_dataset, change, words):
    order = {"regions_class_order": [2, 1]} if len(change.get("labels", {})) == 3 else {}
    with pytest.raises(DataError, match=f"dataset.json: .*{words}"):
        open_dataset(tumour_dataset(make_dataset, **{**order, **change}))


def test_regions_swap_value_by_value(make_dataset):
    """Right 1 and 2, left 3 and 4; a second pair that would swap them otherwise is refused."""
    labels = {
        "background": 0,
        "gland_right": [1, 2],
        "cyst_right": [2],
        "gland_left": [3, 4],
        "cyst_left": [4],
    }
    pairs = [["gland_right", "gland_left"], ["cyst_right", "cyst_left"]]
    order = {"regions_class_order": [1, 2, 3, 4], "sides": {}}
    dataset = open_dataset(make_dataset(labels=labels, mirror_pairs=pairs, **order))
    assert len(dataset.mirror_pairs) == 2
    crossed = {**labels, "gland_left": [4, 3]}
    with pytest.raises(DataError, match=r"one for one, in the order.*alike in every pair"):
        open_dataset(make_dataset(labels=crossed, mirror_pairs=pairs, **order))


# Checking -------------------------------------------------------------------------------------


def test_a_faultless_dataset_of_regions_has_no_findings(make_dataset):
    folder = tumour_dataset(make_dataset, labels={**TUMOUR, "ignore": 4})
    for case_id in IDS:
        paint(folder, case_id, nested)
    paint(folder, "p01", lambda array: np.where(array == 0, 4, array))
    assert check_dataset(folder).findings == ()


def test_values_that_no_region_unites_are_named(make_dataset):
    folder = tumour_dataset(make_dataset, labels={**TUMOUR, "ignore": 4})
    for case_id in IDS:
        paint(folder, case_id, nested)

    def stray(array: np.ndarray) -> np.ndarray:
        array[0, 0, 0] = 9
        return array

    paint(folder, "p02", stray)
    (finding,) = check_dataset(folder).findings
    assert (finding.code, finding.case) == ("label-values", "p02")
    assert "9 (1 voxels); it names 0, 1, 2, 3, 4" in finding.found


def test_a_label_map_of_nothing_but_ignored_voxels_is_empty(make_dataset):
    labels = {"background": 0, "gland_right": 1, "gland_left": 2, "ignore": 3}
    folder = make_dataset(case_ids=IDS, labels=labels)
    paint(folder, "p02", lambda array: np.full_like(array, 3))
    (finding,) = check_dataset(folder).findings
    assert (finding.code, finding.severity) == ("label-empty", "warning")
    assert "all voxels are background or ignored" in finding.found


def test_a_region_that_no_case_shows_tells_its_values(make_dataset):
    labels = {**TUMOUR, "cyst": [5, 6]}
    folder = tumour_dataset(make_dataset, labels=labels, regions_class_order=[1, 2, 3, 5])
    for case_id in IDS:
        paint(folder, case_id, nested)
    (finding,) = check_dataset(folder).findings
    assert finding.code == "label-in-no-case"
    assert "'cyst' (values 5, 6) is in none of the 8 label maps read" in finding.found


def test_volumes_of_regions_are_compared_and_partial_ones_are_not(make_dataset):
    """A whole tumour ten times too small is an outlier, unless voxels are ignored."""
    labels = {**TUMOUR, "ignore": 4}
    folder = tumour_dataset(make_dataset, labels=labels)
    for case_id in IDS:
        paint(folder, case_id, nested)

    def reduced(array: np.ndarray, instead: int) -> np.ndarray:
        first = np.argwhere(array == 1)[:2]
        array[array == 1] = instead
        array[tuple(first.T)] = 1
        array[(array == 2) | (array == 3)] = instead
        array[18, 13, 6] = 3
        array[19, 13, 6] = 2
        return array

    paint(folder, "p03", lambda array: reduced(array, 0))
    paint(folder, "p04", lambda array: reduced(array, 4))
    findings = check_dataset(folder).findings
    assert {finding.code for finding in findings} == {"volume"}
    assert {finding.case for finding in findings} == {"p03"}
    assert any("volume of 'whole'" in finding.found for finding in findings)


def test_sides_of_regions_are_checked(make_dataset):
    labels = {
        "background": 0,
        "gland_right": [1, 3],
        "cyst_right": [3],
        "gland_left": [2, 4],
        "cyst_left": [4],
    }
    sides = {"gland_right": "right", "cyst_right": "right", "gland_left": "left"}
    folder = make_dataset(
        case_ids=IDS,
        labels=labels,
        regions_class_order=[1, 3, 2, 4],
        sides={**sides, "cyst_left": "left"},
        mirror_pairs=[["gland_right", "gland_left"], ["cyst_right", "cyst_left"]],
    )

    def with_cysts(array: np.ndarray) -> np.ndarray:
        middle = array[:, :, 6]
        array[:, :, 6] = np.where(middle > 0, middle + 2, 0)
        return array

    for case_id in IDS:
        paint(folder, case_id, with_cysts)
    assert check_dataset(folder).findings == ()
    paint(folder, "p05", lambda array: np.array([0, 2, 1, 4, 3], array.dtype)[array])
    findings = check_dataset(folder).findings
    assert {(f.code, f.case, f.severity) for f in findings} == {("wrong-side", "p05", "error")}
    assert len(findings) == 2


def test_structures_that_were_not_annotated(make_dataset):
    """Not drawn and not listed is no fault; drawn and not listed is one; so is an unknown case."""
    annotated = {"p00": ["gland_left"], "p01": ["gland_right"], "p99": ["gland_left"]}
    folder = make_dataset(case_ids=IDS, annotated=annotated)
    paint(folder, "p00", lambda array: np.where(array == 1, 0, array))
    unknown, drawn = check_dataset(folder).findings
    assert (unknown.code, unknown.severity) == ("annotated-unknown", "warning")
    assert "'p99'" in unknown.found
    assert (drawn.code, drawn.case, drawn.severity) == ("label-not-annotated", "p01", "warning")
    assert "voxels of 'gland_left'" in drawn.found


def test_a_label_annotated_nowhere_is_an_error(make_dataset):
    annotated = {case: ["gland_left"] for case in IDS}
    folder = make_dataset(case_ids=IDS, annotated=annotated)
    for case_id in IDS:
        paint(folder, case_id, lambda array: np.where(array == 1, 0, array))
    (finding,) = check_dataset(folder).findings
    assert finding.code == "label-in-no-case"
    assert "'gland_right' is listed under 'annotated' for no case" in finding.found


def test_what_is_not_annotated_within_an_annotated_region_is_no_fault(make_dataset):
    """The core was not delineated, the whole was: its voxels may carry any value of the whole."""
    folder = tumour_dataset(make_dataset, annotated={"p00": ["whole"]})
    for case_id in IDS:
        paint(folder, case_id, nested)
    assert check_dataset(folder).findings == ()


def test_the_hash_follows_what_was_annotated(make_dataset):
    folder = make_dataset()
    before = open_dataset(folder).fingerprint_hash()
    path = folder / "dataset.json"
    header = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**header, "annotated": {"p00": ["gland_left"]}}), encoding="utf-8")
    assert open_dataset(folder).fingerprint_hash() != before
