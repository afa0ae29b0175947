"""Predictions as DICOM on the series that was segmented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from acinus import progress
from acinus.cli import main
from acinus.errors import ConfigError
from acinus.predict import predict_paths
from acinus.scans import read_dicom_seg, read_grid, read_rtstruct, read_volume
from made_series import write_series
from tiny_cohort import affine_of, dice, head, save

NAMES = {"gland_right": 1, "gland_left": 2}


@pytest.fixture(autouse=True)
def _without_progress() -> Iterator[None]:
    with progress.quiet():
        yield


def series_of(folder: Path, *, mirrored: bool = False) -> tuple[Path, np.ndarray]:
    """A head as DICOM and its labels, in the order of the slices; mirrored: sides swapped."""
    image, label = head(np.random.default_rng(7))
    # DICOM rows run from right to left and columns from front to back; ours the other way.
    turn = (slice(None), slice(None, None, -1), slice(None, None, 1 if mirrored else -1))
    write_series(folder, image[turn], spacing_mm=(3, 1, 1))
    return folder, label[turn]


@pytest.mark.parametrize(
    ("name", "read"), [("dicom-seg", read_dicom_seg), ("rtstruct", read_rtstruct)]
)
def test_a_prediction_is_written_on_its_series(model_folder, tmp_path, name, read) -> None:
    folder, label = series_of(tmp_path / "ct")
    plain = predict_paths(model_folder, folder, tmp_path / "nifti")
    outcome = predict_paths(model_folder, folder, tmp_path / "out", format=name)
    assert outcome.failed == {}
    assert [path.name for path in outcome.written] == ["made_axial.dcm"]
    found = read(outcome.written[0], read_grid(folder))
    written = found.labelmap(NAMES)
    np.testing.assert_array_equal(written.array, read_volume(plain.written[0]).array)
    assert dice(written.array == 1, label == 1) > 0.8
    assert [one.side for one in found.structures] == ["right", "left"]
    assert found.series_uid == pydicom.dcmread(folder / "im000").SeriesInstanceUID


def test_one_file_may_be_named(model_folder, tmp_path, capsys) -> None:
    folder, _ = series_of(tmp_path / "ct")
    words = ["predict", str(model_folder), str(folder), str(tmp_path / "mine.dcm")]
    assert main([*words, "--format", "rtstruct"]) == 0
    assert "1 DICOM object in" in capsys.readouterr().out
    assert read_rtstruct(tmp_path / "mine.dcm", read_grid(folder)).names == tuple(NAMES)
    assert main([*words[:-1], str(tmp_path / "mine.nii.gz"), "--format", "rtstruct"]) == 2
    assert "names a file of another kind" in capsys.readouterr().err
    assert not (tmp_path / "mine.nii.gz").exists()


def test_a_prediction_on_the_wrong_side_is_refused_unless_asked(
    model_folder, tmp_path, capsys
) -> None:
    folder, _ = series_of(tmp_path / "ct", mirrored=True)
    words = ["predict", str(model_folder), str(folder), str(tmp_path / "out")]
    words += ["--format", "dicom-seg"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "'gland_right' must lie right of 'gland_left'" in error
    assert "--allow-wrong-side" in error
    assert not (tmp_path / "out" / "made_axial.dcm").exists()
    assert main([*words, "--allow-wrong-side"]) == 0


def test_only_dicom_becomes_dicom(model_folder, tmp_path) -> None:
    image, _ = head(np.random.default_rng(7))
    scan = save(image, affine_of(), tmp_path / "scan.nii.gz")
    with pytest.raises(ConfigError, match=r"rtstruct writes on the DICOM series.*acinus export"):
        predict_paths(model_folder, scan, tmp_path / "out", format="rtstruct")
    with pytest.raises(ConfigError, match="unknown format 'dicom'"):
        predict_paths(model_folder, scan, tmp_path / "out", format="dicom")
