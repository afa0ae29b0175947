"""Label maps as DICOM: who made them, which side, and what is refused; as a person calls it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

import acinus
from acinus.cli import main
from acinus.scans import (
    Segment,
    Volume,
    canonical,
    read_dicom_seg,
    read_grid,
    read_rtstruct,
    write_segments,
)
from made_series import write_series

SHAPE = (6, 40, 44)
LABELS = {"parotid_right": 1, "parotid_left": 2}


def body(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A head seen whole, in air; columns grow towards the patient's left."""
    y, x = np.indices(shape[1:])
    inside = ((y - 20) / 17) ** 2 + ((x - 22) / 17) ** 2 < 1
    return np.broadcast_to(np.where(inside, 40, -1000), shape)


def glands(right: int = 1, left: int = 2) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[2:4, 16:22, 8:12], array[2:5, 16:22, 32:36] = right, left
    return array


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a person works: a series, the label file, a label map turned to canonical axes."""
    monkeypatch.chdir(tmp_path)
    write_series(Path("series"), body(), spacing_mm=(3, 2, 2))
    Path("labels.json").write_text(json.dumps({"labels": {"background": 0, **LABELS}}))
    save(glands())
    return tmp_path


def save(array: np.ndarray, name: str = "map.nii.gz") -> None:
    turned = canonical(Volume(array, read_grid("series").affine))
    nib.save(nib.Nifti1Image(turned.array.T, turned.affine), name)


def export(*options: str, made: tuple[str, ...] = ("--algorithm", "other program")) -> int:
    return main(
        ["export", "map.nii.gz", "series", "out.dcm", "--labels", "labels.json", *made, *options]
    )


@pytest.mark.parametrize(
    ("name", "read"), [("dicom-seg", read_dicom_seg), ("rtstruct", read_rtstruct)]
)
def test_a_label_map_of_any_program_becomes_dicom(name, read, folder, capsys) -> None:
    assert export("--format", name) == 0
    assert capsys.readouterr().out == "out.dcm\n"
    found = read(Path("out.dcm"), read_grid("series"))
    np.testing.assert_array_equal(found.labelmap(LABELS).array, glands())
    assert [one.side for one in found.structures] == ["right", "left"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "labels.json",
        "map.nii.gz",
        "out.dcm",
        "series",
    ]


def test_an_image_of_the_series_is_not_replaced(folder, capsys) -> None:
    image = next((folder / "series").iterdir())
    before = image.read_bytes()
    for name in (str(image.relative_to(folder)), "labels.json"):
        status = main(
            ["export", "map.nii.gz", "series", name, "--labels", "labels.json", "--manual"]
        )
        assert status == 2 and "must not replace what is read" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_who_made_it_must_be_told(folder, capsys) -> None:
    assert export(made=()) == 2
    assert "--algorithm NAME" in capsys.readouterr().err
    assert export("--manual", made=("--algorithm", "x")) == 2
    assert export("--manual", made=()) == 0
    segment = pydicom.dcmread("out.dcm").SegmentSequence[0]
    assert segment.SegmentAlgorithmType == "MANUAL"


@pytest.mark.parametrize("name", ["dicom-seg", "rtstruct"])
def test_a_side_that_contradicts_the_place_is_refused_unless_asked(name, folder, capsys) -> None:
    save(glands(right=2, left=1))
    assert export("--format", name) == 2
    error = capsys.readouterr().err
    assert "'parotid_right' must lie right of 'parotid_left'" in error
    assert "--allow-wrong-side" in error
    assert not Path("out.dcm").exists()
    assert export("--format", name, "--allow-wrong-side") == 0


def test_a_single_gland_on_the_wrong_side_of_the_body_is_refused(folder, capsys) -> None:
    save(glands(right=0, left=1))
    assert export() == 2
    assert "'parotid_right' is stated to be right" in capsys.readouterr().err


def test_regions_of_one_side_or_both_are_coded_and_contradictions_refused(folder, capsys) -> None:
    named = {"background": 0, "parotids": [1, 2], **LABELS}
    Path("labels.json").write_text(json.dumps({"labels": named}), encoding="utf-8")
    assert export() == 0
    sides = [one.side for one in read_dicom_seg(Path("out.dcm"), read_grid("series")).structures]
    assert sides == [None, "right", "left"]
    wrong = {"labels": named, "sides": {"parotids": "right"}}
    Path("labels.json").write_text(json.dumps(wrong), encoding="utf-8")
    assert export() == 2
    error = capsys.readouterr().err
    assert "'parotids' is stated to be right and unites 'parotid_left', which is left" in error


def test_what_does_not_fit_is_refused(folder, capsys) -> None:
    save(glands(left=7))
    assert export() == 2
    assert "every value must have a name in labels.json; 7 has none" in capsys.readouterr().err
    save(glands())
    grid = read_grid("series")
    moved = grid.affine.copy()
    moved[2, 3] += 1.0
    acinus.write_volume(Volume(glands(), moved), "map.nii.gz")
    assert export() == 2
    assert "must lie on the grid of series 'made axial'" in capsys.readouterr().err
    write_series(Path("series") / "more", body(), seed=2, SeriesDescription="another")
    assert export() == 2
    assert "exactly one DICOM series must be chosen" in capsys.readouterr().err
    Path("folder").mkdir()
    options = ["--labels", "labels.json", "--manual", "--series", "2"]
    assert main(["export", "map.nii.gz", "series", "folder", *options]) == 2
    assert "must be the name of a file" in capsys.readouterr().err


def test_the_python_function_says_the_same(folder) -> None:
    acinus.export_labelmap("map.nii.gz", "series", "a.dcm", labels="labels.json", manual=True)
    assert read_dicom_seg("a.dcm", read_grid("series")).names == tuple(LABELS)
    with pytest.raises(acinus.ConfigError, match="format must be one of dicom-seg, rtstruct"):
        acinus.export_labelmap(
            "map.nii.gz", "series", "a.dcm", labels="labels.json", manual=True, format="nifti"
        )


def test_segments_are_exported_by_their_names(folder) -> None:
    """Drawn left first, so that Slicer's own number of the left gland is 1."""
    grid = read_grid("series")
    masks = {"parotid_left": glands() == 2, "parotid_right": glands() == 1}
    segments = [Segment(name, Volume(mask, grid.affine)) for name, mask in masks.items()]
    write_segments(segments, "drawn.seg.nrrd")
    words = ["export", "drawn.seg.nrrd", "series", "out.dcm", "--labels", "labels.json", "--manual"]
    assert main(words) == 0
    found = read_dicom_seg(Path("out.dcm"), grid)
    np.testing.assert_array_equal(found.labelmap(LABELS).array, glands())
    write_segments([replace(segments[0], name="tumour")], "drawn.seg.nrrd")
    assert main(words) == 2


def test_what_the_dataset_ignores_is_no_structure(folder) -> None:
    labels = {"background": 0, **LABELS, "ignore": 9}
    Path("labels.json").write_text(json.dumps({"labels": labels}))
    array = glands()
    array[5, :4, :4] = 9
    save(array)
    assert export() == 0
    found = read_dicom_seg(Path("out.dcm"), read_grid("series")).labelmap(LABELS)
    np.testing.assert_array_equal(found.array, glands())
