"""Folders of DICOM SEG are judged like folders of label maps: the same numbers, named faults."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from acinus.evaluate import compare_readers, evaluate_folders
from acinus.evaluate.reading import common_grid
from acinus.scans import (
    Grid,
    LabelledStructure,
    Origin,
    Volume,
    list_series,
    read_grid,
    write_dicom_seg,
    write_volume,
)
from made_series import write_series

SHAPE = (6, 12, 14)
NAMES = {"one": 1, "two": 2}


def drawn(seed: int) -> np.ndarray:
    """Structures in a few slices of the middle, so that the first and last stay empty."""
    array = np.zeros(SHAPE, np.uint8)
    shift = seed % 3
    array[1 + shift : 3 + shift, 3:8, 2 + shift : 8] = 1
    array[2:4, 8:11, 9 : 12 - shift] = 2
    return array


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cases, each by two readers, as NIfTI and as SEG."""
    (tmp_path / "labels.json").write_text(json.dumps({"labels": NAMES}))
    for number, plane in enumerate(("axial", "oblique"), start=1):
        write_series(tmp_path / f"s{number}", np.zeros(SHAPE), plane=plane, seed=number)
        series = list_series(tmp_path / f"s{number}")[0]
        grid = read_grid(tmp_path / f"s{number}")
        for reader in ("a", "b"):
            volume = Volume(drawn(number + (reader == "b")), grid.affine)
            write_volume(volume, tmp_path / f"{reader}_nifti" / f"c{number}.nii.gz")
            write_seg(volume, series, tmp_path / f"{reader}_seg" / f"c{number}.dcm")
    return tmp_path


def write_seg(volume: Volume, series, path: Path, names: dict[str, int] = NAMES) -> None:
    structures = [LabelledStructure(name, (value,)) for name, value in names.items()]
    write_dicom_seg(volume, structures, series, path, origin=Origin("made"))


def scores(folder: Path, predictions: str, references: str, **options: object) -> pd.DataFrame:
    found = evaluate_folders(
        folder / predictions, folder / references, labels=folder / "labels.json", **options
    )
    assert found.failed == {} and found.remarks == ()
    return found.scores.drop(columns=["arm", "model"])


@pytest.mark.parametrize("kinds", [("a_seg", "b_seg"), ("a_seg", "b_nifti"), ("a_nifti", "b_seg")])
def test_segmentations_score_like_label_maps(kinds, folder) -> None:
    expected = scores(folder, "a_nifti", "b_nifti")
    assert expected["value"].notna().all()
    pd.testing.assert_frame_equal(scores(folder, *kinds), expected)


def test_readers_may_have_written_segmentations(folder) -> None:
    tables = [
        compare_readers(
            [folder / f"a_{kind}", folder / f"b_{kind}"], labels=folder / "labels.json"
        ).agreement.drop(columns=["reader_a", "reader_b"])
        for kind in ("nifti", "seg")
    ]
    other = ~tables[0]["metric"].str.startswith("kappa")  # counts background of the whole grid
    pd.testing.assert_frame_equal(tables[1][other], tables[0][other])


def test_faults_of_one_case_do_not_lose_the_other(folder) -> None:
    series, grid = list_series(folder / "s1")[0], read_grid(folder / "s1")
    volume = Volume(drawn(1), grid.affine)
    options = {"labels": folder / "labels.json"}
    write_seg(volume, series, folder / "a_seg" / "c1.dcm", {"one": 1, "too": 2})
    found = evaluate_folders(folder / "a_seg", folder / "b_nifti", **options)
    assert list(found.failed) == ["c1"] and found.n_judged == 1
    assert "'two' is not there, and 'too' has no label" in found.failed["c1"]
    write_seg(volume, series, folder / "a_seg" / "c1.dcm", {**NAMES, "more": 3})
    found = evaluate_folders(folder / "a_seg", folder / "b_nifti", **options)
    assert found.failed == {}
    assert "value more of the prediction map of c1 has no name in 'labels'" in found.remarks[0]
    path = folder / "a_seg" / "c1.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    assert (
        "must be a whole DICOM seg"
        in evaluate_folders(folder / "a_seg", folder / "b_seg", **options).failed["c1"]
    )
    path.write_bytes(series.paths[0].read_bytes())
    assert (
        "found CT Image Storage"
        in evaluate_folders(folder / "a_seg", folder / "b_seg", **options).failed["c1"]
    )


def test_segmentations_of_another_series_fail_or_are_resampled_on_request(folder) -> None:
    write_series(folder / "off", np.zeros(SHAPE), seed=9, first_lps=(-5.8, -9, 4))
    series, grid = list_series(folder / "off")[0], read_grid(folder / "off")
    write_seg(Volume(drawn(1), grid.affine), series, folder / "a_seg" / "c1.dcm")
    for references in ("b_nifti", "b_seg"):
        options = {"labels": folder / "labels.json"}
        found = evaluate_folders(folder / "a_seg", folder / references, **options)
        assert "must share a grid" in found.failed["c1"]
        found = evaluate_folders(
            folder / "a_seg", folder / references, use_resampling=True, **options
        )
        assert found.failed == {} and "resampled onto" in found.remarks[0]


def test_regions_need_label_maps(folder) -> None:
    regions = {"labels": {"whole": [1, 2], "two": 2}}
    (folder / "labels.json").write_text(json.dumps(regions))
    found = evaluate_folders(folder / "a_seg", folder / "b_nifti", labels=folder / "labels.json")
    assert "unites several as 'whole'" in found.failed["c1"]


def test_the_common_grid_holds_both(rng: np.random.Generator) -> None:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (0.5, 0.8, 2.5), (3, -7, 11)
    one = Grid((4, 5, 6), affine)
    other = affine.copy()
    other[:3, 3] = one.world(np.array((3, 6, 2)))
    other[:3, 1] *= -1  # rows run the other way: from 6 to 3
    both = common_grid(one, Grid((2, 4, 9), other))
    assert both.shape == (5, 7, 11)
    np.testing.assert_allclose(both.affine, affine)
    other[:3, 3] += 0.2 * turn[:, 0]
    assert common_grid(one, Grid((2, 4, 9), other)) is None
