"""From an export to a dataset: what is chosen, what is written, what never leaks, what fails."""

from __future__ import annotations

import json
import re
import shutil
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import yaml

import acinus
from acinus.cli import main
from acinus.cohort.convert.labelling import draw_labels
from acinus.cohort.convert.mapping import read_mapping
from acinus.errors import ConfigError, DataError
from acinus.scans import StoredSegmentation, Volume
from acinus.scans import series as series_module
from made_export import (
    AXIAL,
    CORNER,
    OBLIQUE,
    affine_of,
    ct_values,
    write_rtstruct,
    write_seg,
    write_series,
)

RIGHT = (slice(1, 4), slice(3, 6), slice(2, 5))
LEFT = (slice(1, 4), slice(3, 6), slice(8, 11))
GLANDS = {"Parotid_R": RIGHT, "parotid_l": LEFT}
MAPPING: dict[str, Any] = {
    "channels": {"CT": {"modality": "CT", "orientation": "axial"}},
    "labels": {
        "parotid_right": {"roi": ["PAROTID_R"], "side": "right"},
        "parotid_left": {"pattern": "parotid.?l(eft)?", "side": "left"},
    },
    "mirror_pairs": [["parotid_right", "parotid_left"]],
}


def patient(folder: Path, number: int = 1, **tags: Any) -> str:
    """A CT with two glands in an RTSTRUCT; its PatientID."""
    mrn = f"MRN12345{number}"
    write_series(folder / mrn / "deep" / "er", ct_values(seed=number), patient=mrn, **tags)
    write_rtstruct(folder / mrn / "rs", GLANDS, affine_of(AXIAL), patient=mrn)
    return mrn


def mapped(folder: Path, **changes: Any) -> Path:
    path = folder / "mapping.yaml"
    path.write_text(yaml.safe_dump({**MAPPING, **changes}, sort_keys=False))
    return path


def convert(tmp_path: Path, **options: Any) -> acinus.ConvertOutcome:
    if "mapping" not in options:
        options["mapping"] = mapped(tmp_path)
    return acinus.convert_export(tmp_path / "export", tmp_path / "dataset", **options)


def mask_of(
    box: tuple[slice, slice, slice], shape: tuple[int, int, int] = (6, 10, 12)
) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[box] = True
    return mask


def labels(tmp_path: Path, case: str = "P001_1") -> nibabel.Nifti1Image:
    return nibabel.load(tmp_path / "dataset" / "labelsTr" / f"{case}.nii.gz")


def test_an_export_becomes_a_dataset_that_opens_and_passes_its_check(tmp_path) -> None:
    for number in (1, 2):
        patient(tmp_path / "export", number)
    outcome = convert(tmp_path)
    assert outcome.written == ("P001_1", "P002_1") and outcome.failed == {}
    dataset = acinus.open_dataset(tmp_path / "dataset")
    assert dataset.channel_names == ("CT",)
    assert dataset.labels == {"parotid_right": 1, "parotid_left": 2}
    assert dataset.sides == {"parotid_right": "right", "parotid_left": "left"}
    assert dataset.participant_ids == ("P001", "P002")
    assert dataset.participants is not None
    assert list(dataset.participants["age"]) == [73, 73]
    assert list(dataset.participants["sex"]) == ["F", "F"]
    found = acinus.check_dataset(tmp_path / "dataset").findings
    assert [finding.code for finding in found] == ["identical-labels"]  # two boxes, made alike
    seeds = {nibabel.load(case.images[0]).get_fdata().T.tobytes() for case in dataset.cases}
    assert seeds == {ct_values(seed=n).astype(float).tobytes() for n in (1, 2)}
    wanted = mask_of(RIGHT) + 2 * mask_of(LEFT).astype(int)
    for case in dataset.cases:
        found = nibabel.load(case.label)
        np.testing.assert_array_equal(np.asarray(found.dataobj).T, wanted)
        np.testing.assert_allclose(found.affine, affine_of(AXIAL), atol=1e-5)


def test_nothing_of_the_headers_leaks(tmp_path, capfd) -> None:
    """Neither in files nor in what is printed: names, ids, birth dates, UIDs, folder names."""
    mrn = patient(
        tmp_path / "export",
        SeriesDescription="AX Secretname MRN123451 1950-04-17 01.03.2024",
        StudyDescription="seen 20240301",
    )
    second = patient(tmp_path / "export", 2)
    alone = tmp_path / "export" / "Onlyname" / "x"  # nobody's images: its header names its own
    write_rtstruct(alone, GLANDS, affine_of(AXIAL), patient="Onlyname", label="by Onlyname")
    next((tmp_path / "export" / second / "deep" / "er").iterdir()).unlink()
    source, dataset, rules = tmp_path / "export", tmp_path / "dataset", mapped(tmp_path)
    assert main(["convert", str(source), "--list"]) == 0
    assert main(["convert", str(source), "--list", "--json"]) == 0
    assert main(["convert", str(source), str(dataset), "--map", str(rules)]) == 3
    printed = "".join(capfd.readouterr())
    assert "AX *** *** *** ***" in printed
    texts = {"printed": printed.replace(str(tmp_path), "")}
    for path in dataset.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if path.name.endswith(".nii.gz"):
            data = nibabel.load(path).header.binaryblock
        texts[str(path.relative_to(dataset))] = data.decode("latin-1")
    for name, text in texts.items():
        for secret in (
            "secretname",
            "onlyname",
            mrn.lower(),
            second.lower(),
            "19500417",
            "20240301",
            "1.2.826",
        ):
            assert secret not in text.lower(), name
    table = tmp_path / "dataset-ids.tsv"
    assert mrn in table.read_text() and stat.S_IMODE(table.stat().st_mode) == 0o600
    assert main(["convert", str(source), "--list", "--json", "--identities"]) == 0
    assert json.loads(capfd.readouterr().out)["series"][0]["headers"]["patient_id"] in (mrn, second)


def test_pseudonyms_stay_when_patients_are_added(tmp_path) -> None:
    patient(tmp_path / "export", 5)
    convert(tmp_path)
    before = (tmp_path / "dataset-ids.tsv").read_text().splitlines()
    for number in (1, 2, 3):
        patient(tmp_path / "export", number)
    assert convert(tmp_path).written == ("P001_1", "P002_1", "P003_1", "P004_1")
    assert before[1] in (tmp_path / "dataset-ids.tsv").read_text().splitlines()
    (tmp_path / "dataset-ids.tsv").unlink()
    with pytest.raises(DataError, match="table of ids must be there"):
        convert(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "case_id\tpatient_id\nP001_1\tMRN1\n",
        "case_id\tparticipant_id\tpatient_id\tstudy_uid\tseries_uids\tremark\n"
        "P001_1\tP001\tMRN1\t1.2\t\tmine\n",
        "case_id\tparticipant_id\tpatient_id\tstudy_uid\tseries_uids\nP001\tP001\tM\t1.2\t\n",
        "case_id\tparticipant_id\tpatient_id\tstudy_uid\tseries_uids\nP001_1\tP001\n",
    ],
)
def test_a_table_of_ids_that_somebody_changed_is_refused(text, tmp_path) -> None:
    patient(tmp_path / "export")
    (tmp_path / "dataset-ids.tsv").write_text(text)
    with pytest.raises(DataError, match=r"dataset-ids.tsv: must be the table of ids.*line [12]"):
        convert(tmp_path)


def test_the_table_of_ids_lies_beside_the_folder_one_stands_in(tmp_path, monkeypatch) -> None:
    patient(tmp_path / "export")
    (tmp_path / "dataset").mkdir()
    monkeypatch.chdir(tmp_path / "dataset")
    found = acinus.convert_export("../export", ".", mapping=mapped(tmp_path))
    assert found.ids == tmp_path / "dataset-ids.tsv"


def test_started_again_it_goes_on(tmp_path) -> None:
    for number in (1, 2):
        patient(tmp_path / "export", number)
    convert(tmp_path)
    first = tmp_path / "dataset" / "imagesTr" / "P001_1_0000.nii.gz"
    (tmp_path / "dataset" / "convert" / "P002_1.json").unlink()  # as if stopped there
    first.chmod(0o400)
    kept = first.stat().st_ino, first.stat().st_mtime_ns
    assert convert(tmp_path).written == ("P001_1", "P002_1")
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == kept
    assert convert(tmp_path, mapping=mapped(tmp_path, missing="absent")).failed == {}
    assert (first.stat().st_ino, first.stat().st_mtime_ns) != kept  # other rules: made anew
    with pytest.raises(DataError, match="other channels or labels"):
        convert(tmp_path, mapping=mapped(tmp_path, channels={"other": {}}))


def test_who_is_excluded_later_leaves_the_dataset(tmp_path) -> None:
    """The pseudonym is known after the first conversion; consent may be withdrawn then."""
    for number in (1, 2):
        patient(tmp_path / "export", number)
    convert(tmp_path)
    assert convert(tmp_path, mapping=mapped(tmp_path, exclude=["P001"])).written == ("P002_1",)
    left = [path.name for path in (tmp_path / "dataset").rglob("*") if "P001" in path.name]
    assert left == []
    assert acinus.open_dataset(tmp_path / "dataset").participant_ids == ("P002",)


def test_corrected_contours_in_the_old_file_are_drawn_anew(tmp_path) -> None:
    mrn = patient(tmp_path / "export")
    convert(tmp_path)
    path = tmp_path / "export" / mrn / "rs"
    corrected = {**GLANDS, "Parotid_R": (slice(1, 3), slice(3, 6), slice(2, 5))}
    write_rtstruct(path, corrected, affine_of(AXIAL), patient=mrn)
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.save_as(path)
    convert(tmp_path)
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found == 1, mask_of(corrected["Parotid_R"]))


def test_workers_give_the_same_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(series_module, "WORTH_A_PROCESS", 2)
    for number in (1, 2):
        patient(tmp_path / "export", number)
    convert(tmp_path)
    one = {p.relative_to(tmp_path): p.read_bytes() for p in (tmp_path / "dataset").rglob("*.gz")}
    shutil.rmtree(tmp_path / "dataset")
    convert(tmp_path, jobs=2)
    two = {p.relative_to(tmp_path): p.read_bytes() for p in (tmp_path / "dataset").rglob("*.gz")}
    assert one == two and len(one) == 4


def test_two_series_that_fit_are_an_error_that_lists_them(tmp_path) -> None:
    mrn = patient(tmp_path / "export")
    patient(tmp_path / "export", 2)
    write_series(tmp_path / "export" / "b", ct_values(seed=9), patient=mrn, series="thin")
    outcome = convert(tmp_path)
    (reason,) = outcome.failed.values()
    assert "channel 'CT' must be one series; 2 fit" in reason
    assert "1: 'AX' (CT, 6 slices" in reason and "2: 'thin' (CT, 6 slices" in reason
    assert len(outcome.written) == 1
    shutil.rmtree(tmp_path / "dataset")
    rule = {"CT": {"description": "^ax$", "slices": [2, 9]}}
    assert convert(tmp_path, mapping=mapped(tmp_path, channels=rule)).failed == {}


def test_without_mapping_the_only_series_is_taken_and_no_labels(tmp_path) -> None:
    patient(tmp_path / "export")
    outcome = convert(tmp_path, mapping=None)
    assert outcome.written == ("P001_1",) and not outcome.is_dataset
    assert not (tmp_path / "dataset" / "dataset.json").exists()
    assert (tmp_path / "dataset" / "participants.tsv").is_file()


def test_channels_share_a_grid_or_are_aligned_on_request(tmp_path) -> None:
    values = np.abs(ct_values())
    for series, shift in (("T1", 0.0), ("T2", 1.0)):
        write_series(
            tmp_path / "export" / series, values, series=series, modality="MR", rescale=(0, 0),
            positions=lambda z, shift=shift: np.add(CORNER, (0, 0, 3.0 * z + shift)),
        )  # fmt: skip
    rules = {"T1": {"description": "T1"}, "T2": {"description": "T2"}}
    with_grids = mapped(tmp_path, channels=rules, labels={}, mirror_pairs=[])
    assert "must share one grid; 'T2' and the first differ, 1 mm apart" in str(
        convert(tmp_path, mapping=with_grids).failed
    )
    outcome = convert(
        tmp_path, mapping=mapped(tmp_path, channels=rules, labels={}, mirror_pairs=[], align=True)
    )
    assert outcome.failed == {} and "resampled" in outcome.notes["P001_1"][0]
    one, two = (
        nibabel.load(tmp_path / "dataset" / "imagesTr" / f"P001_1_{n:04d}.nii.gz") for n in (0, 1)
    )
    np.testing.assert_array_equal(one.affine, two.affine)


def test_labels_drawn_on_another_channel_go_to_the_grid_of_the_first(tmp_path) -> None:
    """T1 is T2 with every second column left out, so that the truth is every second column."""
    values = np.abs(ct_values())
    thin = {"modality": "MR", "rescale": (0, 0)}
    write_series(
        tmp_path / "export" / "a", values[:, :, ::2], series="T1", **thin, PixelSpacing=[0.8, 1.0]
    )
    write_series(tmp_path / "export" / "b", values, series="T2", **thin)
    write_series(tmp_path / "export" / "c", values, series="T3", **thin)
    write_rtstruct(tmp_path / "export" / "x", GLANDS, affine_of(AXIAL), series="T2")
    write_rtstruct(tmp_path / "export" / "y", GLANDS, affine_of(AXIAL), series="T3")
    rules = {"T1": {"description": "T1"}, "T2": {"description": "T2"}}
    outcome = convert(tmp_path, mapping=mapped(tmp_path, channels=rules, align=True))
    assert outcome.failed == {}
    assert "labels of RTSTRUCT 'glands' moved to the image's grid" in outcome.notes["P001_1"]
    assert "P001_1: RTSTRUCT 'glands' was drawn on 'T3', no channel" in outcome.left_out
    wanted = mask_of(RIGHT) + 2 * mask_of(LEFT).astype(int)
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T, wanted[:, :, ::2])


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
@pytest.mark.parametrize("cosines", [AXIAL, OBLIQUE])
def test_both_kinds_of_segmentation_lie_where_they_were_drawn(kind, cosines, tmp_path) -> None:
    export = tmp_path / "export"
    write_series(export, ct_values(), cosines=cosines)
    if kind == "seg":
        write_seg(export / "x", {n: mask_of(b) for n, b in GLANDS.items()}, cosines=cosines)
    else:
        write_rtstruct(export / "x", GLANDS, affine_of(cosines))
    outcome = convert(tmp_path)
    assert outcome.failed == {}
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found, mask_of(RIGHT) + 2 * mask_of(LEFT).astype(int))


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_labels_follow_a_stack_freed_of_tilt(kind, tmp_path) -> None:
    """By whole voxels, so that the truth is the same box, shifted from slice to slice."""
    export, step = tmp_path / "export", np.array([0.0, 0.8, 3.0])

    def at(z: int) -> np.ndarray:
        return np.array(CORNER) + step * z

    write_series(export, ct_values(), positions=at)
    if kind == "seg":
        write_seg(export / "x", {n: mask_of(b) for n, b in GLANDS.items()}, positions=at)
    else:
        write_rtstruct(export / "x", GLANDS, affine_of(AXIAL, step))
    outcome = convert(tmp_path)
    assert any("gantry tilt of 14.9 degrees" in note for note in outcome.notes["P001_1"])
    found = np.asarray(labels(tmp_path).dataobj).T
    assert found.shape == (6, 15, 12)
    for z in range(1, 4):
        np.testing.assert_array_equal(found[z, 3 + z : 6 + z, 2:5], 1)
        np.testing.assert_array_equal(found[z, 3 + z : 6 + z, 8:11], 2)
    assert np.bincount(found.ravel()).tolist()[1:] == [27, 27]


def test_labels_reach_through_a_slice_that_was_interpolated(tmp_path) -> None:
    patient(tmp_path / "export")
    path = next(
        p for p in (tmp_path / "export").rglob("IM*") if pydicom.dcmread(p).InstanceNumber == 3
    )
    path.unlink()
    assert "must be evenly spaced" in str(convert(tmp_path).failed["P001_1"])
    outcome = convert(tmp_path, repair=True)
    assert any("1 of 6 slices interpolated" in note for note in outcome.notes["P001_1"])
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found, mask_of(RIGHT) + 2 * mask_of(LEFT).astype(int))


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
@pytest.mark.parametrize(
    ("lost", "drawn", "filled"),
    [
        ([3], [1, 2], []),
        ([3], [4], []),
        ([2, 3], [1], []),
        ([2, 3], [1, 4], [2, 3]),
        ([3], [2, 3, 4], []),
    ],
)
def test_only_what_goes_on_beyond_a_lost_slice_fills_it(
    kind, lost, drawn, filled, tmp_path
) -> None:
    paths = write_series(tmp_path / "export" / "a", ct_values())
    for z in lost:
        paths[z].unlink()
    mask = mask_of(RIGHT)
    mask[:] = False
    mask[(drawn, *RIGHT[1:])] = True
    if kind == "seg":
        write_seg(tmp_path / "export" / "x", {"gland": mask})
    else:
        write_rtstruct(
            tmp_path / "export" / "x", {"gland": (slice(0, 6), *RIGHT[1:])}, affine_of(AXIAL)
        )
        dataset = pydicom.dcmread(tmp_path / "export" / "x")
        contours = dataset.ROIContourSequence[0].ContourSequence
        dataset.ROIContourSequence[0].ContourSequence = [contours[z] for z in drawn]
        dataset.save_as(tmp_path / "export" / "x")
    rules = mapped(tmp_path, labels={"gland": {"roi": ["gland"]}}, mirror_pairs=[])
    outcome = convert(tmp_path, mapping=rules, repair=True)
    assert outcome.failed == {}
    found = np.flatnonzero(np.asarray(labels(tmp_path).dataobj).T.any(axis=(1, 2)))
    assert found.tolist() == sorted([*drawn, *filled])
    told = "'gland': filled from its neighbours on 2 interpolated slices, on which nothing is drawn"
    assert (told in str(outcome.notes)) == bool(filled)
    assert "stay empty" not in str(outcome.notes)


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_labels_of_a_tilted_stack_that_was_repaired_lie_where_they_were_drawn(
    kind, tmp_path
) -> None:
    """By half voxels: the grid without shear has no voxel where the segmentation has one."""
    export, step = tmp_path / "export", np.array([0.0, 0.4, 3.0])

    def at(z: int) -> np.ndarray:
        return np.array(CORNER) + step * z

    write_series(export / "a", ct_values(), positions=at)[5 - 1].unlink()
    if kind == "seg":
        write_seg(export / "x", {n: mask_of(b) for n, b in GLANDS.items()}, positions=at)
    else:
        write_rtstruct(export / "x", GLANDS, affine_of(AXIAL, step))
    outcome = convert(tmp_path, repair=True)
    assert outcome.failed == {}
    assert any("gantry tilt" in note for note in outcome.notes["P001_1"])
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found[2, 4:7, 2:5], 1)  # shifted by one whole voxel there
    assert np.bincount(found.ravel()).tolist()[1:] == [27, 27]


def failure(tmp_path: Path, **changes: Any) -> str:
    """The reason why the only case fails, beside one that does not."""
    patient(tmp_path / "export", 2)
    outcome = convert(tmp_path, mapping=mapped(tmp_path, **changes))
    assert len(outcome.written) == 1, outcome.failed
    (reason,) = outcome.failed.values()
    return reason


def test_a_ct_whose_rescaling_is_lost_is_refused(tmp_path) -> None:
    write_series(tmp_path / "export", ct_values() + 1024, rescale=(0, 0))
    reason = failure(tmp_path)
    assert "a CT must hold Hounsfield units" in reason and "rescale intercept lost" in reason
    shutil.rmtree(tmp_path / "export")
    wrong = np.where(ct_values() > 0, 90_000, -1000)
    write_series(tmp_path / "export", wrong, rescale=(10.0, -1024.0))
    assert "found -1004 to 89996 (rescale wrong)" in failure(tmp_path)
    rule = {"CT": {"modality": "CT", "check_hu": False}}
    shutil.rmtree(tmp_path / "dataset")
    assert convert(tmp_path, mapping=mapped(tmp_path, channels=rule)).failed == {}


def test_a_name_that_fits_two_labels_is_refused(tmp_path) -> None:
    write_series(tmp_path / "export" / "a", ct_values(), patient="X77777")
    write_rtstruct(tmp_path / "export" / "b", {"gland": RIGHT}, affine_of(AXIAL), patient="X77777")
    both = {
        "parotid_right": {"roi": ["gland", "Parotid_R"]},
        "parotid_left": {"pattern": "gland|parotid_l"},
    }
    reason = failure(tmp_path, labels=both)
    assert "'gland' fits parotid_right and parotid_left" in reason


def test_a_label_with_two_structures_is_refused_until_one_object_is_named(tmp_path) -> None:
    mrn = patient(tmp_path / "export")
    write_rtstruct(
        tmp_path / "export" / "draft", GLANDS, affine_of(AXIAL), patient=mrn, label="draft"
    )
    reason = failure(tmp_path)
    assert "label 'parotid_right' must be one structure; 2 fit: 'Parotid_R' of RTSTRUCT" in reason
    assert convert(tmp_path, mapping=mapped(tmp_path, segmentation="^glands$")).failed == {}


def test_structures_on_the_wrong_side_or_on_each_other_are_refused(tmp_path) -> None:
    write_series(tmp_path / "export" / "a", np.repeat(ct_values(), 4, axis=2), patient="X77777")
    far = (slice(1, 4), slice(3, 6), slice(38, 42))
    write_rtstruct(
        tmp_path / "export" / "b", {"Parotid_R": far, "Parotid_L": RIGHT}, affine_of(AXIAL),
        patient="X77777",
    )  # fmt: skip
    assert "'parotid_right' must lie right of 'parotid_left'" in failure(tmp_path)
    write_rtstruct(
        tmp_path / "export" / "b", {"Parotid_R": RIGHT, "Parotid_L": RIGHT}, affine_of(AXIAL),
        patient="X77777",
    )  # fmt: skip
    assert "share 27 voxels, 100% of the smaller" in failure(tmp_path)


def test_an_object_of_another_series_is_named(tmp_path) -> None:
    write_rtstruct(tmp_path / "export" / "b", GLANDS, affine_of(AXIAL), patient="X77777")
    assert "must refer to a series of the export; it refers to another one" in failure(tmp_path)


def test_a_couch_beyond_the_images_stops_no_gland(tmp_path) -> None:
    write_series(tmp_path / "export" / "a", ct_values())
    couch = (slice(4, 9), slice(3, 6), slice(2, 10))
    write_rtstruct(tmp_path / "export" / "rs", {"Couch": couch, **GLANDS}, affine_of(AXIAL))
    assert convert(tmp_path).failed == {}
    np.testing.assert_array_equal(np.asarray(labels(tmp_path).dataobj).T == 1, mask_of(RIGHT))
    rules = mapped(tmp_path, labels={"couch": {"roi": ["couch"]}}, mirror_pairs=[])
    outcome = acinus.convert_export(tmp_path / "export", tmp_path / "other", mapping=rules)
    assert "one of 'Couch' lies in slice" in outcome.failed["P001_1"]


def test_an_empty_structure_counts_as_not_drawn(tmp_path) -> None:
    """Templates of planning systems put every name into every set; nothing was drawn there."""
    patient(tmp_path / "export")
    (path,) = (tmp_path / "export").rglob("rs")
    dataset = pydicom.dcmread(path)
    empty = dataset.ROIContourSequence[1]
    del empty.ContourSequence
    dataset.save_as(path)
    outcome = convert(tmp_path)
    opened = acinus.open_dataset(tmp_path / "dataset")
    assert list(opened.annotated.values()) == [("parotid_right",)]
    assert "is empty and counts as not drawn" in str(outcome.notes)


def test_a_missing_structure_is_not_annotated_or_absent(tmp_path) -> None:
    write_series(tmp_path / "export" / "a", ct_values())
    write_rtstruct(tmp_path / "export" / "b", {"Parotid_R": RIGHT, "x": LEFT}, affine_of(AXIAL))
    outcome = convert(tmp_path)
    assert outcome.notes["P001_1"] == ("structures without a label: x",)
    opened = acinus.open_dataset(tmp_path / "dataset")
    assert opened.annotated == {"P001_1": ("parotid_right",)}
    convert(tmp_path, mapping=mapped(tmp_path, missing="absent"))
    assert acinus.open_dataset(tmp_path / "dataset").annotated == {}


def test_faulty_files_are_told_and_do_not_stop_the_others(tmp_path, capfd) -> None:
    patient(tmp_path / "export")
    whole = next((tmp_path / "export").rglob("IM*")).read_bytes()
    (tmp_path / "export" / "cut").write_bytes(whole[:500])
    (tmp_path / "export" / "cut2").write_bytes(whole[:500])
    (tmp_path / "export" / "a.zip").write_bytes(b"PK\x03\x04")
    write_series(tmp_path / "export" / "odd", ct_values(), patient="X77777", modality="XX")
    words = ["convert", str(tmp_path / "export"), str(tmp_path / "dataset")]
    assert main([*words, "--map", str(mapped(tmp_path, channels={"CT": {}}))]) == 3
    told = capfd.readouterr().err
    assert "failed: cut: damaged" in told and "failed: cut2: damaged" in told
    assert "a.zip: a damaged zip archive" in told
    assert "modality 'XX' is not known to be a volume of a body (CT, MR, PT, NM)" in told


def test_nothing_that_fits_is_refused_with_the_reasons(tmp_path, capfd) -> None:
    patient(tmp_path / "export")
    rules = mapped(tmp_path, channels={"T1": {"modality": "MR"}})
    words = ["convert", str(tmp_path / "export"), str(tmp_path / "dataset"), "--map", str(rules)]
    assert main(words) == 2
    told = capfd.readouterr().err
    assert "none of 1 series was" in told and "P001_1: none of 1 series fits a rule" in told
    assert not (tmp_path / "dataset").exists() and not (tmp_path / "dataset-ids.tsv").exists()


def test_what_no_rule_asks_for_is_told(tmp_path) -> None:
    mrn = patient(tmp_path / "export")
    scout = {"series": "scout", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_series(tmp_path / "export" / "b", ct_values()[:2], patient=mrn, **scout)
    assert convert(tmp_path).left_out == ("P001_1: no rule asks for 'scout' (CT, localizer)",)


def test_nothing_of_a_case_that_fails_or_was_stopped_is_left(tmp_path) -> None:
    patient(tmp_path / "export")
    write_series(tmp_path / "export" / "a", ct_values(), patient="X77777")
    on_each_other = {"Parotid_R": RIGHT, "Parotid_L": RIGHT}
    write_rtstruct(tmp_path / "export" / "b", on_each_other, affine_of(AXIAL), patient="X77777")
    outcome = convert(tmp_path)
    (failed,) = outcome.failed
    assert not list((tmp_path / "dataset").rglob(f"{failed}*"))
    (written,) = outcome.written
    record = tmp_path / "dataset" / "convert" / f"{failed}.json"
    record.write_text('{"stamp": null, "labels": {"begun": 0}}')  # as a kill leaves it
    for place, name in (("imagesTr", f"{failed}_0000.nii.gz"), ("labelsTr", f"{failed}.nii.gz")):
        (tmp_path / "dataset" / place / name).write_bytes(b"half")
    shutil.rmtree(tmp_path / "export" / "a")
    (tmp_path / "export" / "b").unlink()
    assert convert(tmp_path).failed == {}
    assert not list((tmp_path / "dataset").rglob(f"{failed}*"))
    assert [one.case_id for one in acinus.open_dataset(tmp_path / "dataset").cases] == [written]


def test_a_label_map_drawn_by_hand_stays(tmp_path) -> None:
    patient(tmp_path / "export")
    convert(tmp_path, mapping=None)
    drawn = tmp_path / "dataset" / "labelsTr" / "P001_1.nii.gz"
    drawn.parent.mkdir()
    drawn.write_bytes(b"drawn")
    (tmp_path / "dataset" / "convert" / "P001_1.json").unlink()
    convert(tmp_path, mapping=None)
    assert drawn.read_bytes() == b"drawn"


def coded_left(path: Path, mask: np.ndarray, name: str) -> None:
    """A SEG of one parotid gland that is coded as the left one."""
    write_seg(path, {name: mask}, patient="X77777")
    dataset = pydicom.dcmread(path)
    kind, side = pydicom.Dataset(), pydicom.Dataset()
    for item, value, meaning in ((kind, "45289007", "Parotid"), (side, "7771000", "Left")):
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [kind]
    dataset.save_as(path)


def test_a_coded_side_that_contradicts_the_label_is_refused(tmp_path) -> None:
    write_series(tmp_path / "export" / "a", ct_values(), patient="X77777")
    coded_left(tmp_path / "export" / "b", mask_of(RIGHT), "Parotid_R")
    assert "'Parotid_R' is coded as left; its label 'parotid_right' is stated" in failure(tmp_path)


def test_a_coded_side_that_contradicts_the_position_is_refused(tmp_path) -> None:
    """The mapping states no side, so that the code alone can tell."""
    wide = np.repeat(ct_values(), 4, axis=2)
    write_series(tmp_path / "export" / "a", wide, patient="X77777")
    coded_left(tmp_path / "export" / "b", mask_of(RIGHT, wide.shape), "gland")
    rules = {"parotid": {"roi": ["gland", "Parotid_R"]}}
    reason = failure(tmp_path, labels=rules, mirror_pairs=[])
    assert "'parotid' is coded as left by structure 'gland' of SEG 'GLANDS'; its cent" in reason


def test_structures_without_a_name_are_told_and_mapped_by_number(tmp_path) -> None:
    write_series(tmp_path / "export" / "a", ct_values())
    path = tmp_path / "export" / "b"
    write_rtstruct(path, {"Parotid_R": RIGHT, "x": LEFT}, affine_of(AXIAL))
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ROIName = " "
    number = dataset.StructureSetROISequence[1].ROINumber
    dataset.save_as(path)
    outcome = convert(tmp_path)
    told = str(outcome.notes)
    assert f"ROI number {number} has no name; it is called 'ROI_{number}' here" in told
    assert f"structures without a label: ROI_{number}" in told
    named = {**MAPPING["labels"], "parotid_left": {"roi": [f"ROI_{number}"], "side": "left"}}
    assert convert(tmp_path, mapping=mapped(tmp_path, labels=named)).failed == {}
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found == 2, mask_of(LEFT))


def test_a_case_that_a_narrower_mapping_leaves_out_stays_and_is_named(tmp_path) -> None:
    patient(tmp_path / "export", 1)
    write_series(tmp_path / "export" / "thin", ct_values()[:3], patient="MRN9", series="thin")
    assert len(convert(tmp_path).written) == 2
    images = tmp_path / "dataset" / "imagesTr"
    narrow = {"CT": {"modality": "CT", "orientation": "axial", "slices": [4, 9]}}
    outcome = convert(tmp_path, mapping=mapped(tmp_path, channels=narrow))
    assert len(outcome.written) == 1 and len(list(images.iterdir())) == 2
    (left_out,) = {"P001_1", "P002_1"} - set(outcome.written)
    assert "is not chosen now; it stays in the dataset" in outcome.notes[left_out][-1]
    gone = mapped(tmp_path, channels=narrow, exclude=[left_out])
    assert left_out not in convert(tmp_path, mapping=gone).notes
    assert len(list(images.iterdir())) == 1


def test_a_file_that_was_deleted_is_written_again(tmp_path) -> None:
    patient(tmp_path / "export")
    convert(tmp_path)
    for path in list((tmp_path / "dataset").rglob("*.nii.gz")):
        before = path.read_bytes()
        path.unlink()
        convert(tmp_path)
        assert path.read_bytes() == before


def test_two_persons_under_one_id_are_told(tmp_path) -> None:
    mrn = patient(tmp_path / "export")
    write_series(tmp_path / "export" / "b", ct_values(), patient=mrn, study="other", PatientSex="M")
    outcome = convert(tmp_path)
    assert outcome.notes["P001"] == ("headers under one id differ in sex: two persons?",)
    assert outcome.written == ("P001_1", "P001_2")


def test_slices_that_lost_their_patient_id_stay_with_the_others(tmp_path) -> None:
    """Were they a patient of their own, he would have one slice in the middle of nowhere."""
    ids = {0: "", 4: " MRN123456"}
    write_series(
        tmp_path / "export", ct_values(), each=lambda z: {"PatientID": ids.get(z, "MRN123456")}
    )
    rules = mapped(tmp_path, labels={}, mirror_pairs=[])
    outcome = convert(tmp_path, mapping=rules)
    assert (outcome.written, outcome.failed, outcome.notes) == (("P001_1",), {}, {})
    image = nibabel.load(tmp_path / "dataset" / "imagesTr" / "P001_1_0000.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, ct_values())
    assert "\tMRN123456\t" in (tmp_path / "dataset-ids.tsv").read_text()


def test_one_series_under_several_patient_ids_is_told(tmp_path) -> None:
    ids = ["MRN1", "MRN1", "MRN1", "MRN2", "MRN2", ""]
    write_series(tmp_path / "export", ct_values(), each=lambda z: {"PatientID": ids[z]})
    listed = acinus.list_scans(tmp_path / "export").series
    doubt = "slices of one series lie under several ids: one person?"
    assert sorted(one.n_slices for one in listed) == [1, 2, 3]
    assert all(doubt in one.faults for one in listed)
    outcome = convert(tmp_path, mapping=mapped(tmp_path, labels={}, mirror_pairs=[]))
    assert outcome.notes == dict.fromkeys(("P001", "P002", "P003"), (doubt,))


def test_listing_without_a_dataset_takes_pseudonyms_of_no_other(tmp_path, monkeypatch) -> None:
    patient(tmp_path / "export")
    convert(tmp_path)
    write_series(tmp_path / "second", ct_values(), patient="MRN777777")
    monkeypatch.chdir(tmp_path)  # beside dataset-ids.tsv
    assert [one.case for one in acinus.list_scans("second").series] == ["P001_1"]
    assert [one.case for one in acinus.list_scans("second", "dataset").series] == ["P002_1"]
    known = acinus.list_scans("second", ids="dataset-ids.tsv").series
    assert [one.case for one in known] == ["P002_1"]


def test_a_structure_set_in_an_archive_is_read(tmp_path) -> None:
    patient(tmp_path / "made")
    shutil.make_archive(str(tmp_path / "export"), "zip", tmp_path / "made")
    outcome = acinus.convert_export(
        tmp_path / "export.zip", tmp_path / "dataset", mapping=mapped(tmp_path)
    )
    assert outcome.failed == {}
    assert np.bincount(np.asarray(labels(tmp_path).dataobj).ravel()).tolist()[1:] == [27, 27]


def test_a_foreign_folder_is_left_alone(tmp_path) -> None:
    patient(tmp_path / "export")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="must be a new folder"):
        convert(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"channels": {"CT": {"description": "ax("}}}, "must be a regular expression"),
        ({"labels": {"a": {"side": "left"}}}, "'labels.a': must have 'roi' or 'pattern'"),
        ({"mirror_pairs": [["a", "parotid_left"]]}, "'mirror_pairs' names 'a', which is no label"),
        ({"chanels": {}}, "unknown key 'chanels'. Did you mean 'channels'?"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(changes, told, tmp_path) -> None:
    patient(tmp_path / "export")
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path, mapping=mapped(tmp_path, **changes))
    assert told in str(caught.value)


def test_the_worked_mapping_of_the_documentation_works(tmp_path) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "dicom-export.md"
    text = page.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    rules = yaml.safe_load(text)
    rules["channels"]["CT"]["slices"] = [4, 2000]
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
    write_series(tmp_path / "export", ct_values(), series="Head 2.0")
    drawn = {
        "gl lac re": RIGHT,
        "Lacrimal_L": LEFT,
        "Body": (slice(0, 6), slice(2, 8), slice(2, 9)),
    }
    write_rtstruct(tmp_path / "export" / "x", drawn, affine_of(AXIAL), series="Head 2.0")
    assert convert(tmp_path, mapping=tmp_path / "mapping.yaml").failed == {}
    opened = acinus.open_dataset(tmp_path / "dataset")
    assert opened.annotated == {"P001_1": ("lacrimal_right", "lacrimal_left")}
    assert len(opened.labels) == 6 and len(opened.mirror_pairs) == 3


def test_real_series_are_listed_and_converted(real_data, tmp_path) -> None:
    source = real_data / "dicom" / "PGBM-003"
    found = acinus.list_scans(source)
    assert [one.description for one in found.series] == [
        "T1post",
        "T1pre_reg",
        "FLAIR_reg",
        "T2_reg",
    ]
    assert {one.oblique_degrees for one in found.series} == {10.8}
    names = ("T1post", "T1pre_reg", "FLAIR_reg")
    rules = {name: {"modality": "MR", "description": name} for name in names}
    path = mapped(tmp_path, channels=rules, labels={}, mirror_pairs=[])
    outcome = acinus.convert_export(source, tmp_path / "dataset", mapping=path)
    assert outcome.failed == {} and outcome.written == ("P001_1",)
    table = (tmp_path / "dataset" / "participants.tsv").read_text()
    assert table == "participant_id\tage\tsex\nP001\t41\tM\n"
    sitk = pytest.importorskip("SimpleITK")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(source / "11-T1post-18670"))
    oracle = sitk.ReadImage(files)
    written = sitk.ReadImage(str(tmp_path / "dataset" / "imagesTr" / "P001_1_0000.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(oracle))
    np.testing.assert_allclose(written.GetOrigin(), oracle.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(written.GetDirection(), oracle.GetDirection(), atol=1e-4)
    np.testing.assert_allclose(written.GetSpacing(), oracle.GetSpacing(), atol=1e-4)


def test_what_was_drawn_on_a_lost_slice_is_not_replaced_by_its_neighbour(tmp_path) -> None:
    """The contours still have the slice that the export lost: they are of that place."""
    write_series(tmp_path / "export" / "a", ct_values())[3].unlink()
    path = tmp_path / "export" / "rs"
    write_rtstruct(path, {"Parotid_R": RIGHT, "Parotid_L": LEFT}, affine_of(AXIAL))
    dataset = pydicom.dcmread(path)
    smaller = (slice(3, 4), slice(4, 5), slice(3, 4))
    write_rtstruct(tmp_path / "other", {"Parotid_R": smaller}, affine_of(AXIAL))
    on_slice_3 = pydicom.dcmread(tmp_path / "other").ROIContourSequence[0].ContourSequence[0]
    dataset.ROIContourSequence[0].ContourSequence[2] = on_slice_3
    dataset.save_as(path)
    assert convert(tmp_path, repair=True).failed == {}
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found[1:3] == 1, mask_of(RIGHT)[1:3])
    np.testing.assert_array_equal(found[3] == 1, mask_of(smaller)[3])


def test_labels_on_slices_of_uneven_distances_are_refused(tmp_path) -> None:
    at = [0.0, 3.0, 6.0, 9.0, 13.0, 17.0]
    places = lambda z: np.add(CORNER, (0, 0, at[z]))  # noqa: E731
    write_series(tmp_path / "export" / "a", ct_values(), positions=places)
    write_seg(tmp_path / "export" / "seg", {"Parotid_R": mask_of(RIGHT)}, positions=places)
    (reason,) = convert(tmp_path, repair=True).failed.values()
    assert "the slices that it was drawn on must be evenly spaced" in reason


def test_labels_of_another_channel_are_drawn_on_it_as_it_was_repaired(tmp_path) -> None:
    rules = {"CT": {"description": "^AX$"}, "other": {"description": "^OTHER$"}}
    write_series(tmp_path / "export" / "a", ct_values())
    write_series(tmp_path / "export" / "b", ct_values(), series="OTHER")[2].unlink()
    write_rtstruct(tmp_path / "export" / "rs", GLANDS, affine_of(AXIAL), series="OTHER")
    outcome = convert(tmp_path, mapping=mapped(tmp_path, channels=rules), repair=True)
    assert outcome.failed == {}
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found, mask_of(RIGHT) + 2 * mask_of(LEFT).astype(int))


def test_a_template_in_which_nothing_is_drawn_is_no_label_map(tmp_path) -> None:
    """An empty label map would teach that there is no gland."""
    patient(tmp_path / "export", 1)
    patient(tmp_path / "export", 2)
    for path in (tmp_path / "export").rglob("rs"):
        dataset = pydicom.dcmread(path)
        if dataset.PatientID == "MRN123452":
            for item in dataset.ROIContourSequence:
                del item.ContourSequence
            dataset.save_as(path)
    outcome = convert(tmp_path)
    assert any("nothing is drawn" in note for notes in outcome.notes.values() for note in notes)
    header = json.loads((tmp_path / "dataset" / "dataset.json").read_text())
    assert header["numTraining"] == len(list((tmp_path / "dataset" / "labelsTr").iterdir())) == 1


def test_padding_does_not_hide_that_the_rescaling_is_lost(tmp_path) -> None:
    """Stored values 1,024 too high, around them padding far below the air."""
    values = ct_values() + 1024
    values[:, 0] = -2000
    write_series(tmp_path / "export", values, rescale=(0, 0))
    assert "rescale intercept lost" in failure(tmp_path)
    shutil.rmtree(tmp_path / "export")
    shutil.rmtree(tmp_path / "dataset")
    values = ct_values()
    values[:, 0] = -3024
    write_series(tmp_path / "export", values)
    assert convert(tmp_path).failed == {}


def test_a_segmentation_that_is_damaged_in_its_archive_is_a_fault_of_its_case(tmp_path) -> None:
    """Listing stops before the pixels, and so before the checksum of a large object."""
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as out:  # stored, so that a byte of it can be hit
        out.writestr("seg", b"DICM" * 1000)
    data = bytearray(archive.read_bytes())
    data[2000] ^= 255
    archive.write_bytes(data)
    one = StoredSegmentation(archive / "seg", "SEG", "GLANDS", (), (), frozenset())
    image = Volume(np.zeros((6, 10, 12), np.int16), affine_of(AXIAL))
    mapping = read_mapping(mapped(tmp_path))
    series = SimpleNamespace(faults=())
    with pytest.raises(DataError, match="SEG 'GLANDS' must be readable; Bad CRC"):
        draw_labels([(series, one)], mapping, image, {})  # type: ignore[list-item]


def test_a_label_map_that_was_corrected_by_hand_is_not_replaced(tmp_path) -> None:
    patient(tmp_path / "export")
    convert(tmp_path)
    target = tmp_path / "dataset" / "labelsTr" / "P001_1.nii.gz"
    image = labels(tmp_path)
    corrected = np.asarray(image.dataobj).copy()
    corrected[2, 3, 1] = 0
    nibabel.save(nibabel.Nifti1Image(corrected, image.affine), target)
    kept = target.read_bytes()
    rules = {**MAPPING["labels"], "parotid_right": {"roi": ["PAROTID_R", "pr"], "side": "right"}}
    outcome = convert(tmp_path, mapping=mapped(tmp_path, labels=rules))
    assert "was changed by hand since it was converted" in outcome.failed["P001_1"]
    assert target.read_bytes() == kept
    assert acinus.open_dataset(tmp_path / "dataset").labelled_cases
    target.unlink()
    assert convert(tmp_path, mapping=mapped(tmp_path, labels=rules)).failed == {}


def test_a_copy_of_the_export_in_itself_changes_nothing(tmp_path) -> None:
    patient(tmp_path / "export")
    shutil.make_archive(str(tmp_path / "copy"), "zip", tmp_path / "export")
    shutil.move(tmp_path / "copy.zip", tmp_path / "export" / "copy.zip")
    outcome = convert(tmp_path, repair=True)
    assert outcome.failed == {}
    found = np.asarray(labels(tmp_path).dataobj).T
    np.testing.assert_array_equal(found, mask_of(RIGHT) + 2 * mask_of(LEFT).astype(int))


def test_scans_that_lost_their_geometry_and_empty_files_are_told(tmp_path, capfd) -> None:
    patient(tmp_path / "export")
    write_series(
        tmp_path / "export" / "b", ct_values(), patient="X77777", ImagePositionPatient=None
    )
    (tmp_path / "export" / "lost.dcm").write_bytes(b"")
    words = ["convert", str(tmp_path / "export"), str(tmp_path / "dataset")]
    assert main([*words, "--map", str(mapped(tmp_path))]) == 3
    told = capfd.readouterr().err
    assert told.count("a CT Image without orientation, position or pixel spacing") == 6
    assert "lost.dcm: empty file" in told


def test_ids_that_look_like_pseudonyms_hide_no_failure(tmp_path) -> None:
    for number in (1, 2, 3):
        write_series(tmp_path / "export" / str(number), ct_values(), patient=f"P00{number}_1")
        twice = tmp_path / "export" / f"{number}b"
        write_series(twice, ct_values(), patient=f"P00{number}_1", series="AX2")
    patient(tmp_path / "export", 9)
    outcome = convert(tmp_path)
    assert sorted(outcome.failed) == sorted(set(outcome.failed)) and len(outcome.failed) == 3
    assert all(re.fullmatch(r"P00\d_1", case) for case in outcome.failed)


def test_short_names_and_numbers_of_visits_do_not_leak(tmp_path, capfd) -> None:
    words = "AX Li ACC7654321 by Ng"
    tags = {"PatientName": "Li^Wu^^Dr", "AccessionNumber": "ACC7654321"}
    tags |= {"ReferringPhysicianName": "Ng^Bo", "SeriesDescription": words}
    write_series(tmp_path / "export", ct_values(), FrameOfReferenceUID="1.2.0840.01", **tags)
    rules = mapped(tmp_path, labels={}, mirror_pairs=[])
    assert (
        main(["convert", str(tmp_path / "export"), str(tmp_path / "d"), "--map", str(rules)]) == 0
    )
    printed = "".join(capfd.readouterr())
    record = (tmp_path / "d" / "convert" / "P001_1.json").read_text()
    assert "AX *** *** by ***" in record
    assert "1.2.0840" not in printed


def test_a_mapping_that_contradicts_itself_is_refused_before_anything_is_read(tmp_path) -> None:
    patient(tmp_path / "export")
    both = {"parotid_right": {"roi": ["a"], "side": "right"}}
    both["parotid_left"] = {"roi": ["b"], "side": "right"}
    with pytest.raises(ConfigError, match="mirror_pairs"):
        convert(tmp_path, mapping=mapped(tmp_path, labels=both))
    assert not (tmp_path / "dataset").exists()
