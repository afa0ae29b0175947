"""Four sequences as channels of one dataset: one grid, one reference, the right contrast."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from acinus.cohort import open_dataset
from acinus.cohort.phantom import ALL_SEQUENCES, make_registered_orbits
from acinus.cohort.phantom.orbit import DESCRIPTION
from acinus.errors import ConfigError, DataError
from acinus.files import hash_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("registered")
    return make_registered_orbits(out, patients=1, seed=7, size=256)


def test_all_channels_and_the_reference_share_a_grid(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.channel_names == ALL_SEQUENCES and dataset.synthetic
    (case,) = dataset.cases
    files = [nib.load(path) for path in (*case.images, case.label)]
    assert len({file.shape for file in files}) == 1
    for file in files:
        np.testing.assert_array_equal(file.affine, files[0].affine)
        assert file.header["descrip"].tobytes().rstrip(b"\0") == DESCRIPTION.encode()
    for reading in ("second", "repeat"):
        assert (folder / "readings" / reading / "orbit_001.nii.gz").is_file()
    header = json.loads((folder / "dataset.json").read_text())
    assert "ynthetic" in header["description"]


def test_the_gland_stands_out_by_contrast_agent_and_by_fat_suppression(folder: Path) -> None:
    (case,) = open_dataset(folder).cases
    label = np.asarray(nib.load(case.label).dataobj) > 0
    rim = np.zeros_like(label)
    for axis in (0, 1):
        for step in (-3, 3):
            rim |= np.roll(label, step, axis)
    rim &= ~label
    ratio = {}
    for name, path in zip(ALL_SEQUENCES, case.images, strict=True):
        image = np.asarray(nib.load(path).dataobj, float)
        ratio[name] = image[label].mean() / image[rim].mean()
    assert ratio["POST-AX-T1-FS"] > ratio["POST-AX-T1"] > ratio["AX-T1"]
    assert ratio["POST-AX-T1-FS"] > ratio["AX-T1-FS"] > ratio["AX-T1"]


def test_what_is_lost_is_made_again_byte_for_byte(folder: Path) -> None:
    paths = [folder / "imagesTr" / "orbit_001_0001.nii.gz", folder / "labelsTr/orbit_001.nii.gz"]
    before = [hash_file(path) for path in paths]
    for path in paths:
        path.unlink()
    make_registered_orbits(folder.parent, patients=1, seed=7, size=256)
    assert [hash_file(path) for path in paths] == before
    truth = pd.read_csv(folder / "truth.csv")
    assert (truth[["volume_right_ml", "volume_left_ml"]] > 0).all(axis=None)


def test_another_cohort_and_impossible_numbers_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="it was made with"):
        make_registered_orbits(folder.parent, patients=1, seed=8, size=256)
    with pytest.raises(ConfigError, match="size must be 256, 512 or 'mixed'; got 100"):
        make_registered_orbits(folder.parent, patients=1, seed=7, size=100)  # type: ignore[arg-type]
