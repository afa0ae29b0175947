"""A written DICOM series: SimpleITK and we read it, with all values in their places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from acinus.errors import ConfigError, DataError, GridError
from acinus.scans import Volume, canonical, list_series, read_series, read_volume, write_series

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
TURN = np.array([[0.96, -0.28, 0.0], [0.28 * 0.8, 0.96 * 0.8, -0.6], [0.28 * 0.6, 0.96 * 0.6, 0.8]])
"""Columns are three axes at right angles, none along the world's."""

AXES = {
    "axial": np.eye(3),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": TURN,
}


def made(axes: np.ndarray, kind: str = "CT") -> Volume:
    rng = np.random.default_rng(5)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([0.7, 0.9, 2.5])
    affine[:3, 3] = (-12.3, 41.0, 7.25)
    low = -1024 if kind == "CT" else 0
    return Volume(rng.integers(low, 2000, (4, 6, 5)).astype(np.int16), affine)


@pytest.mark.parametrize("plane", list(AXES))
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_read_by_others_and_by_us(tmp_path: Path, plane: str, modality: str) -> None:
    volume = made(AXES[plane], modality)
    folder = write_series(
        volume, tmp_path / "series", modality=modality, patient_id="P1", description=plane
    )
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    places = np.argwhere(np.ones(volume.shape, bool))
    seen = sitk.GetArrayFromImage(image)
    for place in places[::7]:
        world = LPS_TO_RAS @ volume.grid.world(place)
        x, y, z = image.TransformPhysicalPointToIndex(world.tolist())
        assert seen[z, y, x] == volume.array[tuple(place)]
    ours = read_volume(folder)
    assert ours.meta["modality"] == modality
    ours, theirs = canonical(ours), canonical(volume)
    assert ours.grid.matches(theirs.grid)
    np.testing.assert_array_equal(ours.array, theirs.array)


def test_fractions_are_kept_to_the_stated_slope(tmp_path: Path) -> None:
    values = np.linspace(-3.0, 8.0, 60).reshape(3, 4, 5)
    values = values / 3 + 1 / 7
    volume = Volume(values, np.eye(4))
    read = read_volume(write_series(volume, tmp_path / "s", modality="MR", patient_id="P"))
    np.testing.assert_allclose(canonical(read).array, canonical(volume).array, atol=11 / 65535)


def test_the_same_call_gives_the_same_bytes_and_another_seed_other_identifiers(
    tmp_path: Path,
) -> None:
    volume = made(np.eye(3))
    folders = [
        write_series(volume, tmp_path / name, modality="CT", patient_id="P1", seed=seed)
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    first, again, other = ([p.read_bytes() for p in sorted(f.iterdir())] for f in folders)
    assert first == again
    assert first != other
    assert len({list_series(folder)[0].uid for folder in folders}) == 2


def test_two_series_of_a_study_lie_side_by_side(tmp_path: Path) -> None:
    for description in ("T1", "T2"):
        write_series(
            made(np.eye(3), "MR"),
            tmp_path / "study" / description,
            modality="MR",
            patient_id="P1",
            description=description,
            tags={"PatientSex": "F", "PatientAge": "061Y"},
        )
    found = list_series(tmp_path / "study")
    assert sorted(series.description for series in found) == ["T1", "T2"]
    assert len({series.study_uid for series in found}) == 1
    assert read_series(found[0]).array.shape == (4, 6, 5)


def test_what_cannot_be_a_series_is_refused(tmp_path: Path) -> None:
    sheared = np.eye(4)
    sheared[1, 2] = 0.2
    with pytest.raises(GridError, match=r"sheared by 11\.31 degrees"):
        write_series(
            Volume(np.zeros((2, 3, 3)), sheared), tmp_path / "s", modality="CT", patient_id="P"
        )
    with pytest.raises(ConfigError, match="got modality 'US'"):
        write_series(made(np.eye(3)), tmp_path / "s", modality="US", patient_id="P")
    with pytest.raises(DataError, match="1 of 18 are not"):
        values = np.zeros((2, 3, 3))
        values[1, 2, 0] = np.nan
        write_series(Volume(values, np.eye(4)), tmp_path / "s", modality="MR", patient_id="P")
    (tmp_path / "s").mkdir()
    with pytest.raises(DataError, match="this one exists"):
        write_series(made(np.eye(3)), tmp_path / "s", modality="CT", patient_id="P")
    assert not list((tmp_path / "s").iterdir())


def test_the_kind_of_image_is_derived_unless_stated(tmp_path: Path) -> None:
    write_series(made(np.eye(3)), tmp_path / "made", modality="CT", patient_id="P")
    write_series(
        made(np.eye(3)), tmp_path / "scanned", modality="CT", patient_id="P",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
    )  # fmt: skip
    kinds = {name: list_series(tmp_path / name)[0].kind for name in ("made", "scanned")}
    assert kinds == {"made": "derived", "scanned": "original"}
