"""A synthetic dataset as DICOM export, and back: the same voxels, under other names."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

import acinus
from acinus.errors import DataError
from acinus.scans import canonical, read_labelmap, read_volume

SHAPE_XYZ = (24, 20, 6)
GLANDS = {"lacrimal_right": ("right", 17), "lacrimal_left": ("left", 3)}
"""Name to side and first voxel along x, which grows to the patient's right."""


def made(folder: Path, *, synthetic: bool = True) -> Path:
    rng = np.random.default_rng(3)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE_XYZ) - 1) / 2
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number in (1, 2):
        image = rng.integers(-1000, 1500, SHAPE_XYZ).astype(np.int16)
        label = np.zeros(SHAPE_XYZ, np.uint8)
        for value, (_, x) in enumerate(GLANDS.values(), start=1):
            label[x : x + 4, 11:15, 2:5] = value
        label[18, 12, 3] = 0
        label[8, 8, 1] = 2
        nib.save(nib.Nifti1Image(image, affine), folder / f"imagesTr/P{number}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label, affine), folder / f"labelsTr/P{number}.nii.gz")
    (folder / "participants.tsv").write_text(
        "participant_id\tage\tsex\nP1\t61\tF\nP2\t48\tn/a\n", encoding="utf-8"
    )
    told = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "lacrimal_right": 1, "lacrimal_left": 2},
        "sides": {name: side for name, (side, _) in GLANDS.items()},
        "mirror_pairs": [list(GLANDS)],
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "synthetic": synthetic,
    }
    (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def mapping(path: Path) -> Path:
    labels = {name: {"roi": [name], "side": side} for name, (side, _) in GLANDS.items()}
    wanted = {
        "channels": {"CT": {"modality": "CT", "kinds": ["original", "derived"]}},
        "labels": labels,
        "mirror_pairs": [list(GLANDS)],
    }
    path.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
    return path


def test_an_export_comes_back_as_the_dataset(tmp_path: Path) -> None:
    first = made(tmp_path / "first")
    export = acinus.make_dicom_export(first, tmp_path / "export")
    outcome = acinus.convert_export(
        export, tmp_path / "back", mapping=mapping(tmp_path / "mapping.yaml")
    )
    assert not outcome.failed
    back = acinus.open_dataset(tmp_path / "back")
    assert back.synthetic
    table = back.participants
    assert table is not None
    assert sorted(table["age"].astype(int)) == [48, 61]
    images = {
        canonical(read_volume(path)).array.tobytes() for path in (first / "imagesTr").iterdir()
    }
    assert {canonical(read_volume(case.images[0])).array.tobytes() for case in back.cases} == images
    one = canonical(read_labelmap(first / "labelsTr/P1.nii.gz"))
    for case in back.cases:
        again = canonical(read_labelmap(case.label))
        assert again.grid.matches(one.grid)
        np.testing.assert_array_equal(again.array, one.array)


def test_names_tell_nothing_and_every_study_says_that_it_is_synthetic(tmp_path: Path) -> None:
    import pydicom

    export = acinus.make_dicom_export(made(tmp_path / "first"), tmp_path / "export")
    files = [path for path in export.rglob("*") if path.is_file()]
    assert len(files) == 2 * (SHAPE_XYZ[2] + 1)
    for path in files:
        assert not path.suffix
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert "SYNTHETIC" in str(header.StudyDescription)
        if header.Modality == "RTSTRUCT":
            assert header.SeriesDescription.startswith("SYNTHETIC")
            assert {one.ROIGenerationAlgorithm for one in header.StructureSetROISequence} == {
                "AUTOMATIC"
            }
        else:
            assert header.SyntheticData == "YES"
        assert "SYNTHETIC" not in str(header.PatientID).upper()
    before = {path: path.read_bytes() for path in files}
    acinus.make_dicom_export(tmp_path / "first", export)
    assert {path: path.read_bytes() for path in files} == before


def test_real_scans_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only synthetic datasets"):
        acinus.make_dicom_export(made(tmp_path / "real", synthetic=False), tmp_path / "export")
    assert not (tmp_path / "export").exists()
