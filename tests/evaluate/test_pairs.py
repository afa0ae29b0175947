"""Pairs of two folders, and two real readers of small glands judged against each other."""

from __future__ import annotations

import numpy as np
import pytest

from acinus import progress
from acinus.errors import DataError
from acinus.evaluate import Pair, pair_folders, score_cases
from acinus.scans import read_labelmap

GLANDS = {"lacrimal_right": 1, "lacrimal_left": 2}


@pytest.fixture
def folders(tmp_path):
    for folder, names in {
        "drawn": ("b.nii.gz", "a.nii.gz", "c.nii.gz", "notes.txt"),
        "predicted": ("a.nii.gz", "b.nii", "z.nii.gz"),
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    return tmp_path / "drawn", tmp_path / "predicted"


def test_pairs_have_one_name_and_missing_predictions_stay(folders):
    drawn, predicted = folders
    assert pair_folders(drawn, predicted) == [
        Pair("a", "a", drawn / "a.nii.gz", predicted / "a.nii.gz"),
        Pair("b", "b", drawn / "b.nii.gz", predicted / "b.nii"),
        Pair("c", "c", drawn / "c.nii.gz", predicted / "c.nii.gz"),
    ]
    named = pair_folders(drawn, predicted, {"a": "p1", "b": "p1", "c": "p2"})
    assert [pair.participant for pair in named] == ["p1", "p1", "p2"]


def test_folders_that_cannot_be_paired_are_explained(folders, tmp_path):
    drawn, predicted = folders
    with pytest.raises(DataError, match=r"nowhere: must be a folder of label maps"):
        pair_folders(tmp_path / "nowhere", predicted)
    with pytest.raises(DataError, match=r"case 'b' has none \(2 in all\)"):
        pair_folders(drawn, predicted, {"a": "p1"})
    (drawn / "a.nii").touch()
    with pytest.raises(DataError, match=r"a case must have one file; 'a\.nii' is of the same"):
        pair_folders(drawn, predicted)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"must hold label maps .*found none"):
        pair_folders(tmp_path / "empty", predicted)


@pytest.mark.real_data
@pytest.mark.slow
def test_two_real_readers_agree_as_medpy_says(real_data):
    """Lacrimal glands on CT, 512 × 512 × 150 voxels, drawn by two readers; the first three cases.

    MedPy takes minutes on whole scans, so it gets the box of both glands, which
    holds every voxel of both masks.
    """
    binary = pytest.importorskip("medpy.metric.binary")
    folder = real_data / "head_ct_glands"
    pairs = pair_folders(folder / "oncologist", folder / "radiographer")[:3]
    with progress.quiet():
        scores = score_cases(
            pairs,
            GLANDS,
            measures=["dice", "hausdorff_mm", "hausdorff_95_pooled_mm"],
            arm="CT",
            model="radiographer",
            part="holdout",
        )
    values = scores.set_index(["case", "label", "metric"])["value"]
    for pair in pairs:
        maps = [read_labelmap(path) for path in (pair.reference_path, pair.prediction_path)]
        where = np.argwhere(np.logical_or(*(np.isin(one.array, (1, 2)) for one in maps)))
        box = tuple(slice(*ends) for ends in zip(where.min(0), where.max(0) + 1, strict=True))
        for label, value in GLANDS.items():
            drawn, predicted = (one.array[box] == value for one in maps)
            spacing_mm = maps[0].spacing_mm
            of = values[pair.case][label]
            assert of["dice"] == pytest.approx(binary.dc(predicted, drawn))
            assert of["hausdorff_mm"] == pytest.approx(
                binary.hd(predicted, drawn, spacing_mm), abs=1e-6
            )
            assert of["hausdorff_95_pooled_mm"] == pytest.approx(
                binary.hd95(predicted, drawn, spacing_mm), abs=1e-6
            )
            assert 0.1 < of["reference_volume_ml"] < 2.0
