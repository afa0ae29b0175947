"""The written cohort: same bytes, right sides, marked synthetic everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from acinus.cohort import open_dataset
from acinus.cohort.phantom import make_orbit_cohort
from acinus.cohort.phantom.counts import Patient
from acinus.cohort.phantom.orbit import DESCRIPTION, patient_head
from acinus.errors import ConfigError, DataError
from acinus.files import hash_file

PATIENTS = 2


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("orbits")
    return make_orbit_cohort(
        out, patients=PATIENTS, seed=7, size=256, sequences=["POST-AX-T1-FS", "AX-T1"], jobs=1
    )


def _hashes(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): hash_file(p) for p in sorted(out.rglob("*")) if p.is_file()}


def test_one_dataset_per_sequence_in_raw_layout(cohort: list[Path]) -> None:
    assert [p.name for p in cohort] == ["Dataset001_OrbitT1", "Dataset002_OrbitPostFS"]
    for folder in cohort:
        dataset = open_dataset(folder)
        assert [case.case_id for case in dataset.cases] == ["orbit_001", "orbit_002"]
        assert dataset.labels == {"lacrimal_right": 1, "lacrimal_left": 2}
        assert dataset.sides == {"lacrimal_right": "right", "lacrimal_left": "left"}
        assert dataset.mirror_pairs == (("lacrimal_right", "lacrimal_left"),)
        assert dataset.synthetic and dataset.exclude == {}
        for reading in ("second", "repeat"):
            assert (folder / "readings" / reading / "orbit_002.nii.gz").is_file()


def test_everything_is_marked_synthetic(cohort: list[Path]) -> None:
    for folder in cohort:
        header = json.loads((folder / "dataset.json").read_text())
        assert header["synthetic"] is True and "ynthetic" in header["description"]
        table = pd.read_csv(folder / "participants.tsv", sep="\t")
        assert table["synthetic"].astype(str).str.lower().eq("true").all()
        for path in folder.rglob("*.nii.gz"):
            assert nib.load(path).header["descrip"].tobytes().rstrip(b"\0") == DESCRIPTION.encode()


def test_labels_lie_on_their_sides_and_above_the_globes(cohort: list[Path]) -> None:
    for folder in cohort:
        for case in open_dataset(folder).cases:
            image, label = nib.load(case.images[0]), nib.load(case.label)
            np.testing.assert_array_equal(image.affine, label.affine)
            assert image.shape == label.shape
            assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
            values = np.asarray(label.dataobj)
            world = {
                v: nib.affines.apply_affine(label.affine, np.argwhere(values == v)) for v in (1, 2)
            }
            assert world[1][:, 0].min() > world[2][:, 0].max()
            assert 75 < world[1][:, 0].mean() - world[2][:, 0].mean() < 105


def test_drawn_volumes_follow_the_truth(cohort: list[Path]) -> None:
    for folder in cohort:
        truth = pd.read_csv(folder / "truth.csv", index_col="case")
        for case in open_dataset(folder).cases:
            label = nib.load(case.label)
            voxel_ml = abs(np.linalg.det(label.affine[:3, :3])) / 1000.0
            values = np.asarray(label.dataobj)
            for value, side in ((1, "right"), (2, "left")):
                drawn = (values == value).sum() * voxel_ml
                assert drawn == pytest.approx(truth.loc[case.case_id, f"volume_{side}_ml"], rel=0.3)


def test_sequences_have_their_own_grids_and_references(cohort: list[Path]) -> None:
    first, second = (nib.load(folder / "labelsTr" / "orbit_001.nii.gz") for folder in cohort)
    assert np.abs(first.affine - second.affine).max() > 1e-3
    if first.shape == second.shape:
        assert (np.asarray(first.dataobj) != np.asarray(second.dataobj)).any()


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_processes(cohort: list[Path], tmp_path: Path) -> None:
    out = cohort[0].parent
    make_orbit_cohort(
        tmp_path / "again",
        patients=PATIENTS,
        seed=7,
        size=256,
        sequences=["AX-T1", "POST-AX-T1-FS"],
        jobs=2,
    )
    assert _hashes(out) == _hashes(tmp_path / "again")
    make_orbit_cohort(
        tmp_path / "other", patients=PATIENTS, seed=8, size=256, sequences=["AX-T1"], jobs=1
    )
    image = Path("Dataset001_OrbitT1/imagesTr/orbit_001_0000.nii.gz")
    assert hash_file(out / image) != hash_file(tmp_path / "other" / image)


def test_a_patient_does_not_depend_on_the_others() -> None:
    patient = Patient("orbit_002", 1, 44, "F", 3.0, "normal", "both")
    assert patient_head(7, patient) == patient_head(7, patient)
    assert patient_head(7, patient) != patient_head(8, patient)


def test_the_same_call_goes_on_where_it_was_stopped(cohort: list[Path]) -> None:
    out = cohort[0].parent
    before = _hashes(out)
    (cohort[0] / "readings" / "repeat" / "orbit_002.nii.gz").unlink()
    kept = cohort[0] / "imagesTr" / "orbit_001_0000.nii.gz"
    stamp = kept.stat().st_mtime_ns
    make_orbit_cohort(
        out, patients=PATIENTS, seed=7, size=256, sequences=["AX-T1", "POST-AX-T1-FS"]
    )
    assert _hashes(out) == before
    assert kept.stat().st_mtime_ns == stamp


def test_a_folder_of_another_cohort_is_refused(cohort: list[Path], tmp_path: Path) -> None:
    out = cohort[0].parent
    with pytest.raises(DataError, match=r"Dataset001_OrbitT1: must be empty.*'seed': 7"):
        make_orbit_cohort(out, patients=PATIENTS, seed=8, size=256, sequences=["AX-T1"])
    other = tmp_path / "Dataset001_OrbitT1"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"it holds other files\. Choose another"):
        make_orbit_cohort(tmp_path, patients=1, seed=8, size=256, sequences=["AX-T1"])


@pytest.mark.slow
def test_paper_counts_write_exclusions_with_reasons(tmp_path: Path) -> None:
    folders = make_orbit_cohort(
        tmp_path, patients=10, seed=1, size=256, sequences=["POST-AX-T1-FS"], counts="paper"
    )
    dataset = open_dataset(folders[0])
    truth = pd.read_csv(folders[0] / "truth.csv", index_col="case", keep_default_na=False)
    assert dataset.exclude
    for case, reason in dataset.exclude.items():
        assert reason.startswith("artefact: ")
        assert truth.loc[case, "artefact"] != ""
        assert (folders[0] / "imagesTr" / f"{case}_0000.nii.gz").is_file()
    assert {c.case_id for c in dataset.cases}.isdisjoint(dataset.exclude)
    assert len(pd.read_csv(folders[0] / "participants.tsv", sep="\t")) == 10


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"patients": 0}, "patients must be at least 1; got 0"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"jobs": 0}, "jobs must be at least 1; got 0"),
        ({"size": 300}, "size must be 256, 512 or 'mixed'; got 300"),
        ({"counts": "half"}, "counts must be 'paper' or 'all'; got 'half'"),
        ({"sequences": ["AX-T1W"]}, "unknown sequence 'AX-T1W'.*Did you mean 'AX-T1'"),
        ({"sequences": []}, "at least one sequence"),
    ],
)
def test_impossible_wishes_are_refused(
    tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    wishes: dict[str, object] = {"patients": 1, "seed": 1, **change}
    with pytest.raises(ConfigError, match=sentence):
        make_orbit_cohort(tmp_path / "none", **wishes)  # type: ignore[arg-type]
    assert not (tmp_path / "none").exists()
