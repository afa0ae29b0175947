"""The written abdominal cohort: its layout, its truth, its readers, the same bytes again."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import label as components

import acinus
from acinus.cohort import check_dataset, open_dataset
from acinus.cohort.phantom.abdomen import DESCRIPTION
from acinus.errors import ConfigError, DataError
from acinus.files import hash_file
from acinus.types import Array

PATIENTS = 9
NAMES = ["Dataset021_PancreasT1", "Dataset022_PancreasT2", "Dataset023_PancreasCT"]
MR_SITES = {"centre1", "centre2", "centre3", "centre4", "centre5"}
CT_SITES = {"internal", "external1", "external2", "external3"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("abdomens")
    return acinus.make_abdomen_cohort(out, patients=PATIENTS, seed=7, size="small")


def _hashes(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): hash_file(p) for p in sorted(out.rglob("*")) if p.is_file()}


def _mask(path: Path) -> Array:
    return np.asarray(nib.load(path).dataobj) == 1


def _dice(a: Array, b: Array) -> float:
    return float(2.0 * (a & b).sum() / (a.sum() + b.sum()))


def test_three_datasets_with_their_sites(cohort: list[Path]) -> None:
    assert [p.name for p in cohort] == NAMES
    people = []
    for folder, channel, sites in zip(
        cohort, ("T1", "T2", "CT"), (MR_SITES, MR_SITES, CT_SITES), strict=True
    ):
        dataset = open_dataset(folder)
        assert dataset.channel_names == (channel,) and dataset.labels == {"pancreas": 1}
        assert dataset.synthetic and dataset.participants is not None
        assert set(dataset.participants["site"]) == sites
        assert set(dataset.participant_ids) == set(dataset.participants["participant_id"])
        people.append(set(dataset.participant_ids))
    assert people[0] & people[1]
    assert not (people[0] | people[1]) & people[2]
    assert len(people[0] | people[1] | people[2]) == PATIENTS


def test_the_checks_find_no_error(cohort: list[Path]) -> None:
    for folder in cohort:
        assert [f for f in check_dataset(folder).findings if f.severity == "error"] == []


def test_everything_is_marked_synthetic(cohort: list[Path]) -> None:
    for folder in cohort:
        header = json.loads((folder / "dataset.json").read_text())
        assert header["synthetic"] is True and "Not for clinical use" in header["description"]
        table = pd.read_csv(folder / "participants.tsv", sep="\t")
        assert table["synthetic"].astype(str).str.lower().eq("true").all()
        for path in folder.rglob("*.nii.gz"):
            assert nib.load(path).header["descrip"].tobytes().rstrip(b"\0") == DESCRIPTION.encode()


def test_what_the_study_leaves_open_stays_open(cohort: list[Path]) -> None:
    table = pd.read_csv(cohort[0] / "participants.tsv", sep="\t", index_col="site")
    assert table.loc[["centre4"], ["age", "scanner"]].isna().all(axis=None)
    assert table.loc[["centre1"], ["age", "scanner"]].notna().all(axis=None)
    assert table.loc[["centre3"], "scanner"].str.startswith("Siemens").all()


def test_drawn_volumes_follow_the_truth(cohort: list[Path]) -> None:
    for folder in cohort:
        truth = pd.read_csv(folder / "truth.csv", index_col="case")
        for case in open_dataset(folder).cases:
            label = nib.load(case.label)
            drawn = _mask(case.label).sum() * abs(np.linalg.det(label.affine[:3, :3])) / 1000.0
            assert drawn == pytest.approx(truth.loc[case.case_id, "volume_pancreas_ml"], rel=0.2)
            assert truth.loc[case.case_id, "site"] in MR_SITES | CT_SITES


def test_the_pancreas_lies_as_it_should(cohort: list[Path]) -> None:
    for folder in cohort:
        for case in open_dataset(folder).cases:
            image, label = nib.load(case.images[0]), nib.load(case.label)
            np.testing.assert_array_equal(image.affine, label.affine)
            assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
            mask = _mask(case.label)
            sizes = np.bincount(components(mask, np.ones((3, 3, 3)))[0].ravel())[1:]
            assert sizes.max() > 0.9 * mask.sum()
            world = nib.affines.apply_affine(label.affine, np.argwhere(mask))
            order = np.argsort(world[:, 2])
            third = len(order) // 3
            # The head lies low and right, the tail high and left.
            assert world[order[:third], 0].mean() > world[order[-third:], 0].mean() + 15


def test_contrasts_look_like_what_they_are_called(cohort: list[Path]) -> None:
    for folder, kind in zip(cohort, ("T1", "T2", "CT"), strict=True):
        for case in open_dataset(folder).cases:
            values = np.asarray(nib.load(case.images[0]).dataobj).astype(float)
            inside = np.median(values[_mask(case.label)])
            if kind == "CT":
                assert values.min() <= -900 and 20 < inside < 170
                # The right of the abdomen is liver, which enhances.
                assert 40 < np.median(values[14:20, 28:34, 12:16]) < 170
                continue
            air = np.median(values[:, :3])
            assert inside > 3 * air
            assert values.min() >= 0


def test_centres_differ_in_resolution(cohort: list[Path]) -> None:
    truth = pd.read_csv(cohort[0] / "truth.csv", index_col="site")
    assert truth.loc["centre4", "slice_mm"] > 1.3 * truth.loc["centre1", "slice_mm"]
    assert truth.loc["centre5", "slice_mm"] < truth.loc["centre1", "slice_mm"]


def test_some_mr_cases_are_read_again(cohort: list[Path]) -> None:
    second, repeat = [], []
    for folder in cohort[:2]:
        read = {
            r: {p.name for p in (folder / "readings" / r).iterdir()} for r in ("second", "repeat")
        }
        assert len(read["second"]) == 4 and len(read["repeat"]) == 3
        assert read["repeat"] < read["second"]
        for reading, dices in (("second", second), ("repeat", repeat)):
            for name in read[reading]:
                path = folder / "readings" / reading / name
                reference = folder / "labelsTr" / name
                np.testing.assert_array_equal(nib.load(path).affine, nib.load(reference).affine)
                dices.append(_dice(_mask(path), _mask(reference)))
    # Table 3 of the study: 0.80 and 0.81 between readers, 0.96 and 0.94 of one reader.
    assert 0.65 < np.mean(second) < 0.90
    assert 0.90 < np.mean(repeat) < 0.99
    assert not (cohort[2] / "readings").exists()


def test_the_same_call_goes_on_with_the_same_bytes_whatever_the_processes(
    cohort: list[Path],
) -> None:
    out = cohort[0].parent
    before = _hashes(out)
    kept = cohort[2] / "imagesTr" / "ct_001_0000.nii.gz"
    stamp = kept.stat().st_mtime_ns
    for lost in (
        "Dataset021_PancreasT1/imagesTr/mr_001_0000.nii.gz",
        "Dataset022_PancreasT2/labelsTr/mr_003.nii.gz",
        "Dataset023_PancreasCT/imagesTr/ct_002_0000.nii.gz",
        "Dataset021_PancreasT1/truth.csv",
    ):
        (out / lost).unlink()
    acinus.make_abdomen_cohort(out, patients=PATIENTS, seed=7, size="small", jobs=2)
    assert _hashes(out) == before
    assert kept.stat().st_mtime_ns == stamp


def test_a_folder_of_another_cohort_is_refused(cohort: list[Path]) -> None:
    with pytest.raises(DataError, match=r"Dataset021_PancreasT1: must be empty.*'seed': 7"):
        acinus.make_abdomen_cohort(cohort[0].parent, patients=PATIENTS, seed=8)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"patients": 8}, "patients must be at least 9; got 8"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"jobs": 0}, "jobs must be at least 1; got 0"),
        ({"size": "tiny"}, "size must be 'small' or 'full'; got 'tiny'"),
    ],
)
def test_impossible_wishes_are_refused(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    wishes: dict[str, object] = {"patients": 9, "seed": 1, **change}
    with pytest.raises(ConfigError, match=sentence):
        acinus.make_abdomen_cohort(tmp_path / "none", **wishes)  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()
