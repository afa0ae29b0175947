"""Importers: every layout comes out as a faultless dataset, and no fault passes in silence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from acinus import progress
from acinus.cli import main
from acinus.cohort import check_dataset, open_dataset
from acinus.cohort.importers import IMPORTERS, import_dataset
from acinus.cohort.importers.source import structure_name
from acinus.cohort.side_names import suggested_side, without_side
from acinus.errors import ConfigError, DataError
from public_layouts import (
    AFFINE,
    CHOICES,
    MAKERS,
    image_of,
    label_of,
    lai_affine,
    make_bids,
    make_brats,
    make_msd,
    make_nih,
    make_segrap,
    make_tom500,
    mask_of,
    save,
)

CASES = {
    "amos": ["amos_0001", "amos_0008"],
    "abdomenct-1k": ["Case_00001", "Case_00402"],
    "word": ["word_0001", "word_0002"],
    "btcv": ["btcv_0001", "btcv_0002"],
    "pansegdata": ["MCF_0002", "NYU_0001"],
    "msd": ["pancreas_001", "pancreas_004"],
    "nih-pancreas": ["nih_0001", "nih_0002"],
    "bids": ["sub-01", "sub-02"],
    "han-seg": ["case_01", "case_02"],
    "head-neck-oar": ["0522c0057", "0522c0727_a"],
    "pddca": ["0522c0001", "0522c0555"],
    "segrap": ["segrap_0000", "segrap_0007"],
    "tom500": ["tom500_3", "tom500_58"],
    "brats": ["BraTS-GLI-00005-000", "BraTS-GLI-00005-002"],
}

PEOPLE = {
    "head-neck-oar": ["0522c0057", "0522c0727"],
    "brats": ["BraTS-GLI-00005"],
    "pansegdata": ["MCF_0002_t1", "NYU_31"],
}
"""Participants where they are not named like their cases."""

MASKS = {"han-seg", "head-neck-oar", "pddca"}
"""Layouts with one file per structure, none of them the pancreas."""

NOT_PANCREAS = {"bids", "segrap", "tom500", "brats", *MASKS}

WRITTEN_ANEW = {"nih-pancreas", *MASKS}
"""Layouts whose images are in another format than ours."""


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def made(layout: str, tmp_path: Path) -> Path:
    folder = tmp_path / "download"
    folder.mkdir()
    MAKERS[layout](folder)
    return folder


def imported(layout: str, folder: Path, out: Path, **changes: Any):
    return import_dataset(layout, folder, out, **{**CHOICES.get(layout, {}), **changes})


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_every_layout_has_a_maker_and_a_command() -> None:
    assert set(IMPORTERS.names()) == set(MAKERS) == set(CASES)
    for layout in MAKERS:
        assert main(["import", layout, "--help"]) == 0


@pytest.mark.parametrize("layout", sorted(CASES))
def test_a_layout_becomes_a_dataset_without_errors(layout, tmp_path) -> None:
    folder, out = made(layout, tmp_path), tmp_path / "Dataset001_Made"
    done = imported(layout, folder, out)
    assert not done.failed
    assert done.n_cases == 2
    dataset = open_dataset(out)
    assert [case.case_id for case in dataset.cases] == CASES[layout]
    assert tuple(dataset.labels) == done.labels
    findings = check_dataset(out).findings
    assert not [one for one in findings if one.severity == "error"]
    table = dataset.participants
    assert list(table["participant_id"]) == PEOPLE.get(layout, CASES[layout])
    assert set(table["source"]) == {IMPORTERS[layout].factory.title}
    record = json.loads((out / "import.json").read_text())
    assert (record["layout"], record["failed"]) == (layout, {})
    assert sorted(record["cases"]) == CASES[layout]
    assert not list(tmp_path.glob(".partial-*"))


@pytest.mark.parametrize("layout", sorted(set(CASES) - WRITTEN_ANEW))
def test_images_are_the_same_bytes(layout, tmp_path) -> None:
    folder, out = made(layout, tmp_path), tmp_path / "out"
    imported(layout, folder, out)
    originals = {
        path.read_bytes() for path in folder.rglob("*.nii.gz") if not path.name.startswith(".")
    }
    for path in (out / "imagesTr").iterdir():
        assert path.read_bytes() in originals
        assert path.stat().st_nlink == 2


def test_copies_are_files_of_their_own(tmp_path, monkeypatch) -> None:
    folder = made("btcv", tmp_path)
    imported("btcv", folder, tmp_path / "copied", use_links=False)
    monkeypatch.setattr(os, "link", lambda *names: (_ for _ in ()).throw(OSError(18, "other disk")))
    imported("btcv", folder, tmp_path / "elsewhere")
    for out in ("copied", "elsewhere"):
        for path in (tmp_path / out).glob("*Tr/*"):
            assert path.stat().st_nlink == 1
    one, other = (
        voxels(tmp_path / out / "labelsTr/btcv_0001.nii.gz") for out in ("copied", "elsewhere")
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("layout", sorted(set(CASES) - NOT_PANCREAS))
def test_one_label_is_the_pancreas_wherever_it_had_which_number(layout, tmp_path) -> None:
    folder = made(layout, tmp_path)
    done = imported(layout, folder, tmp_path / "out", labels=("pancreas",))
    value = {"amos": 10, "abdomenct-1k": 4, "word": 8, "btcv": 11}.get(layout, 1)
    published = {
        "amos": range(1, 16),
        "abdomenct-1k": range(1, 5),
        "word": range(1, 17),
        "btcv": range(1, 14),
        "msd": (1, 2),
    }.get(layout, (1,))
    assert done.labels == ("pancreas",)
    for path in (tmp_path / "out" / "labelsTr").iterdir():
        np.testing.assert_array_equal(voxels(path), label_of(published) == value)


def test_labels_are_numbered_in_the_order_that_was_asked_for(tmp_path) -> None:
    folder = made("amos", tmp_path)
    imported("amos", folder, tmp_path / "out", labels=("pancreas", "right_kidney", "left_kidney"))
    label = voxels(tmp_path / "out/labelsTr/amos_0001.nii.gz")
    np.testing.assert_array_equal(label == 1, label_of(range(1, 16)) == 10)
    np.testing.assert_array_equal(label == 2, label_of(range(1, 16)) == 2)
    header = json.loads((tmp_path / "out/dataset.json").read_text())
    assert header["mirror_pairs"] == [["right_kidney", "left_kidney"]]
    assert header["sides"] == {"right_kidney": "right", "left_kidney": "left"}


def test_amos_has_people_and_modalities(tmp_path) -> None:
    folder = made("amos", tmp_path)
    done = imported("amos", folder, tmp_path / "ct")
    table = open_dataset(tmp_path / "ct").participants.set_index("participant_id")
    assert table.loc["amos_0001", "age"] == 55
    assert list(table["sex"]) == ["F", "M"]
    assert list(table["part"]) == ["train", "validation"]
    assert "left out, MRI; only ct is wanted" in " ".join(done.remarks)
    assert "published without labels" in " ".join(done.remarks)
    imported("amos", folder, tmp_path / "mri", modality="mri")
    dataset = open_dataset(tmp_path / "mri")
    assert [case.case_id for case in dataset.cases] == ["amos_0507"]
    assert dataset.channel_names == ("MRI",)
    header = json.loads((folder / "amos22/dataset.json").read_text())
    header["labels"]["10"] = "duodenum"
    (folder / "amos22/dataset.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match="label 10 of AMOS must be pancreas; found 'duodenum'"):
        imported("amos", folder, tmp_path / "other")


def test_pansegdata_has_sites_and_the_names_that_join_t1_and_t2(tmp_path) -> None:
    folder = made("pansegdata", tmp_path)
    with pytest.raises(ConfigError, match=r"found t1 and t2. Give --modality"):
        imported("pansegdata", folder, tmp_path / "out", modality=None)
    imported("pansegdata", folder, tmp_path / "t1")
    table = open_dataset(tmp_path / "t1").participants.set_index("participant_id")
    assert dict(table["site"]) == {"MCF_0002_t1": "MCF", "NYU_31": "NYU"}
    assert table.loc["NYU_31", "source_name"] == "nyu_31"
    imported("pansegdata", folder / "t2", tmp_path / "t2", modality="t2")
    other = open_dataset(tmp_path / "t2")
    assert other.channel_names == ("T2",)
    # Numbers of T1 and T2 are independent: equal ones are different people.
    assert not set(other.participant_ids) & set(open_dataset(tmp_path / "t1").participant_ids)
    with pytest.raises(DataError, match="must hold t1"):
        imported("pansegdata", folder / "t2", tmp_path / "none", modality="t1")


def test_pansegdata_rounds_what_a_scaled_label_stores(tmp_path) -> None:
    folder = made("pansegdata", tmp_path)
    path = folder / "t1/labelsTr/NYU_0001.nii.gz"
    save(path, label_of((1,), np.float32) * np.float32(0.9999))
    done = imported("pansegdata", folder, tmp_path / "out")
    assert any("were rounded: NYU_0001" in remark for remark in done.remarks)
    np.testing.assert_array_equal(voxels(tmp_path / "out/labelsTr/NYU_0001.nii.gz"), label_of((1,)))
    save(path, label_of((1,), np.float32) * np.float32(0.5))
    assert (
        "must be whole numbers" in imported("pansegdata", folder, tmp_path / "b").failed["NYU_0001"]
    )


def test_decathlon_channels_become_files(tmp_path) -> None:
    folder = make_msd(tmp_path, ("FLAIR", "T1w", "t1gd", "T2w"))
    imported("msd", folder, tmp_path / "out")
    assert open_dataset(tmp_path / "out").channel_names == ("FLAIR", "T1w", "t1gd", "T2w")
    for channel in range(4):
        image = nib.load(tmp_path / f"out/imagesTr/pancreas_004_{channel:04d}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), image_of(40 + channel))
        np.testing.assert_allclose(image.affine, AFFINE)
    header = json.loads((folder / "dataset.json").read_text())
    header["modality"]["4"] = "PET"
    (folder / "dataset.json").write_text(json.dumps(header))
    with pytest.raises(DataError, match="must hold at least 5 volumes along the fourth axis"):
        imported("msd", folder, tmp_path / "five")


def test_of_several_decathlon_tasks_one_must_be_named(tmp_path) -> None:
    folder = make_msd(tmp_path / "all")
    shutil.copytree(folder, folder.with_name("Task08_HepaticVessel"))
    with pytest.raises(DataError, match=r"one task.*Task07_Pancreas, Task08_HepaticVessel"):
        imported("msd", tmp_path / "all", tmp_path / "out")
    imported("msd", folder, tmp_path / "out")
    assert open_dataset(tmp_path / "out").labels


def test_nih_labels_lie_on_their_series_by_their_axes(tmp_path) -> None:
    folder = make_nih(tmp_path / "nih")
    done = imported("nih-pancreas", folder, tmp_path / "out")
    image = nib.load(tmp_path / "out/imagesTr/nih_0001_0000.nii.gz")
    label = nib.load(tmp_path / "out/labelsTr/nih_0001.nii.gz")
    np.testing.assert_allclose(image.affine, lai_affine())
    np.testing.assert_allclose(label.affine, image.affine)
    np.testing.assert_array_equal(np.asarray(image.dataobj), image_of(1))
    np.testing.assert_array_equal(np.asarray(label.dataobj), label_of((1,)))
    notes = " ".join(done.remarks)
    assert "another origin, 7 mm off" in notes
    assert "left out, withdrawn by TCIA: a copy of case 2" in notes


@pytest.mark.parametrize("flips", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_nih_labels_stored_the_other_way_round_are_turned_by_their_header(flips, tmp_path) -> None:
    folder = make_nih(tmp_path / "nih", numbers=(1,))
    affine = lai_affine()
    affine[:3, list(flips)] *= -1
    stored = np.flip(label_of((1,)), flips)
    save(folder / "TCIA_pancreas_labels-02-05-2017/label0001.nii.gz", stored, affine)
    imported("nih-pancreas", folder, tmp_path / "out")
    np.testing.assert_array_equal(voxels(tmp_path / "out/labelsTr/nih_0001.nii.gz"), label_of((1,)))


def test_bids_sessions_are_scans_of_one_participant(tmp_path) -> None:
    folder = make_bids(tmp_path / "bids", sessions=("ses-1", "ses-2"))
    imported("bids", folder, tmp_path / "out", channels=("T1w", "T2w"))
    dataset = open_dataset(tmp_path / "out")
    assert [case.case_id for case in dataset.cases][:2] == ["sub-01_ses-1", "sub-01_ses-2"]
    assert dataset.participant_ids == ("sub-01", "sub-02")
    assert list(dataset.participants["age"]) == [40, 50]
    assert dataset.labels == {"gland_right": 1, "gland_left": 2}
    label = voxels(tmp_path / "out/labelsTr/sub-01_ses-1.nii.gz")
    np.testing.assert_array_equal(label, np.searchsorted((0, 3, 5), label_of((3, 5))))


def test_bids_masks_are_united_and_must_not_overlap(tmp_path) -> None:
    folder = make_bids(tmp_path / "bids")
    masks = folder / "derivatives/masks/sub-01/anat"
    save(masks / "sub-01_label-pancreas_mask.nii.gz", label_of((0, 1)))
    save(masks / "sub-01_label-duct_mask.nii.gz", label_of((1, 0)))
    save(masks / "sub-01_space-MNI_label-duct_mask.nii.gz", label_of((1,)))
    with pytest.raises(ConfigError, match=r"found manual, masks. Name it with --derivative"):
        imported("bids", folder, tmp_path / "out")
    done = imported("bids", folder, tmp_path / "out", derivative="masks")
    assert done.labels == ("duct", "pancreas")
    assert "must have a label" in done.failed["sub-02"]
    np.testing.assert_array_equal(voxels(tmp_path / "out/labelsTr/sub-01.nii.gz"), label_of((1, 2)))
    assert any("in space MNI" in remark for remark in done.remarks)
    save(masks / "sub-01_label-duct_mask.nii.gz", label_of((1, 1)))
    with pytest.raises(DataError, match="must not overlap; pancreas shares 2 voxels"):
        imported("bids", folder, tmp_path / "again", derivative="masks")


def test_bids_images_that_the_channel_does_not_tell_apart(tmp_path) -> None:
    folder = make_bids(tmp_path / "bids")
    anat = folder / "sub-01/anat"
    (anat / "sub-01_T1w.nii.gz").rename(anat / "sub-01_acq-a_T1w.nii.gz")
    save(anat / "sub-01_acq-b_T1w.nii.gz", image_of(9))
    done = imported("bids", folder, tmp_path / "out")
    assert "found 2 (sub-01_acq-a_T1w.nii.gz, sub-01_acq-b_T1w.nii.gz)" in done.failed["sub-01"]
    imported("bids", folder, tmp_path / "b", channels=("acq-b_T1w",), labels=("gland_left",))
    np.testing.assert_array_equal(voxels(tmp_path / "b/imagesTr/sub-01_0000.nii.gz"), image_of(9))


def test_brats_values_of_each_release_and_its_nested_regions(tmp_path) -> None:
    for release in ("2018", "2021", "2023"):
        folder = make_brats(tmp_path / "downloads" / release, release)
        out = tmp_path / release
        done = imported("brats", folder, out, structures="regions")
        dataset = open_dataset(out)
        assert dataset.channel_names == ("FLAIR", "T1", "T1ce", "T2")
        assert done.labels == ("whole_tumour", "tumour_core", "enhancing_tumour")
        drawn = voxels(next(path for path in (out / "labelsTr").iterdir()))
        last = 3 if release == "2023" else 4
        published = label_of((1, 2, last))
        for name, values in {
            "whole_tumour": (1, 2, last),
            "tumour_core": (1, last),
            "enhancing_tumour": (last,),
        }.items():
            ours = np.isin(drawn, dataset.regions[name])
            np.testing.assert_array_equal(ours, np.isin(published, values))
    with pytest.raises(ConfigError, match="must not be named where regions are asked for"):
        imported("brats", folder, tmp_path / "no", structures="regions", labels=("edema",))


def test_brats_after_treatment_and_without_a_sequence_fail(tmp_path) -> None:
    folder = make_brats(tmp_path)
    first, second = (folder / f"BraTS-GLI-00005-{number:03d}" for number in (0, 2))
    (second / f"{second.name}-t1c.nii.gz").unlink()
    assert "no t1c" in imported("brats", folder, tmp_path / "a").failed[second.name]
    save(first / f"{first.name}-seg.nii.gz", label_of((1, 2, 3, 4)))
    with pytest.raises(DataError, match="found 4 as well"):
        imported("brats", folder, tmp_path / "b")


def test_segrap_scans_are_channels(tmp_path) -> None:
    folder = make_segrap(tmp_path)
    wanted = {"labels": ("parotid_left", "submandibular_right")}
    imported("segrap", folder, tmp_path / "both", **wanted)
    assert open_dataset(tmp_path / "both").channel_names == ("CT", "CT_contrast")
    done = imported("segrap", folder, tmp_path / "one", scans=("contrast",), **wanted)
    assert any("this scan was not asked for" in remark for remark in done.remarks)
    image = voxels(tmp_path / "one/imagesTr/segrap_0007_0000.nii.gz")
    np.testing.assert_array_equal(image, image_of(107))
    label = voxels(tmp_path / "one/labelsTr/segrap_0007.nii.gz")
    np.testing.assert_array_equal(label, mask_of(1) + 2 * mask_of(2))
    (folder / "segrap_0007" / "image.nii.gz").unlink()
    fault = imported("segrap", folder, tmp_path / "lacks", **wanted).failed["segrap_0007"]
    assert "must have 2 images; found image_contrast.nii.gz alone" in fault


def test_tom500_takes_the_names_that_a_person_gave(tmp_path) -> None:
    folder = make_tom500(tmp_path)
    with pytest.raises(ConfigError, match="must be the nine structures"):
        imported("tom500", folder, tmp_path / "none", names=("lacrimal",))
    names = CHOICES["tom500"]["names"]
    imported("tom500", folder, tmp_path / "out", names=names[::-1], labels=("lacrimal",))
    label = voxels(tmp_path / "out/labelsTr/tom500_3.nii.gz")
    np.testing.assert_array_equal(label, label_of(range(1, 10)) == 7)
    table = open_dataset(tmp_path / "out").participants
    assert list(table["part"]) == ["train", "validation"]


@pytest.mark.parametrize(
    ("layout", "label", "case"),
    [
        ("amos", "amos22/labelsTr/amos_0001.nii.gz", "amos_0001"),
        ("word", "WORD-V0.1.0/labelsVal/word_0001.nii.gz", "word_0001"),
        ("btcv", "RawData/Training/label/label0002.nii.gz", "btcv_0002"),
        ("pansegdata", "t1/labelsTr/MCF_0002.nii.gz", "MCF_0002"),
        ("msd", "Task07_Pancreas/labelsTr/pancreas_004.nii.gz", "pancreas_004"),
        ("nih-pancreas", "TCIA_pancreas_labels-02-05-2017/label0002.nii.gz", "nih_0002"),
        ("bids", "derivatives/manual/sub-02/anat/sub-02_dseg.nii.gz", "sub-02"),
    ],
)
def test_faults_of_one_case_are_named_and_spare_the_others(layout, label, case, tmp_path) -> None:
    folder = made(layout, tmp_path)
    path = folder / label
    stored = nib.load(path)
    affine, array = stored.affine, np.asarray(stored.dataobj)

    def reason(out: str) -> str:
        done = imported(layout, folder, tmp_path / out)
        assert list(done.failed) == [case]
        assert done.n_cases == 1
        assert not list((tmp_path / out).rglob(f"{case}*"))
        assert len(open_dataset(tmp_path / out).cases) == 1
        return done.failed[case]

    unknown = array.copy()
    unknown.flat[-1] = 99
    save(path, unknown, affine)
    assert "found 99 as well" in reason("unknown")
    save(path, array[:-1], affine)
    assert "must share a grid" in reason("smaller")
    path.write_bytes(path.read_bytes()[:60])
    assert str(path) in reason("broken")
    path.unlink()
    assert "must have a label" in reason("missing")


def test_a_header_that_is_off_is_moved_refused_or_trusted(tmp_path) -> None:
    folder = made("btcv", tmp_path)
    path = folder / "RawData/Training/label/label0001.nii.gz"
    near, far = AFFINE.copy(), AFFINE.copy()
    near[0, 3] += 0.05
    far[0, 3] += 5.0
    save(path, label_of((1,)), near)
    done = imported("btcv", folder, tmp_path / "near")
    assert any("was off by 0.05 mm" in remark and "btcv_0001" in remark for remark in done.remarks)
    np.testing.assert_allclose(
        nib.load(tmp_path / "near/labelsTr/btcv_0001.nii.gz").affine, AFFINE, atol=1e-5
    )
    save(path, label_of((1,)), far)
    fault = imported("btcv", folder, tmp_path / "far").failed["btcv_0001"]
    assert "must share a grid" in fault
    assert "--trust-voxels" in fault
    done = imported("btcv", folder, tmp_path / "trusted", trust_voxels=True)
    assert any("passed over (--trust-voxels): btcv_0001" in remark for remark in done.remarks)
    np.testing.assert_array_equal(
        voxels(tmp_path / "trusted/labelsTr/btcv_0001.nii.gz"), label_of((1,))
    )


def test_axes_in_another_order_are_put_in_that_of_the_image(tmp_path) -> None:
    folder = made("btcv", tmp_path)
    turned = AFFINE.copy()
    turned[:3, 3] += turned[:3, 0] * (8 - 1)
    turned[:3, 0] *= -1
    path = folder / "RawData/Training/label/label0001.nii.gz"
    save(path, np.flip(label_of((1, 11)), 0), turned)
    done = imported("btcv", folder, tmp_path / "out")
    assert any("axes were put in the order" in remark for remark in done.remarks)
    np.testing.assert_array_equal(
        voxels(tmp_path / "out/labelsTr/btcv_0001.nii.gz"), label_of((1, 11))
    )


@pytest.mark.parametrize("asked", sorted(CASES))
def test_a_wrong_folder_is_told_what_was_expected_and_what_it_is(asked, tmp_path) -> None:
    other = "word" if asked != "word" else "btcv"
    folder = made(other, tmp_path)
    with pytest.raises(DataError) as fault:
        imported(asked, folder, tmp_path / "out")
    assert IMPORTERS[asked].factory.expects in str(fault.value)
    assert f"It looks like {other}: acinus import {other}." in str(fault.value)
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found nothing"):
        imported(asked, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="there is none"):
        imported(asked, tmp_path / "nowhere", tmp_path / "out")


def test_structures_in_no_case_are_named(tmp_path) -> None:
    folder = made("amos", tmp_path)
    for path in folder.rglob("labels*/*.nii.gz"):
        save(path, label_of(range(1, 14)))
    done = imported("amos", folder, tmp_path / "out")
    (remark,) = (one for one in done.remarks if one.startswith("no case has"))
    assert remark.startswith("no case has bladder, prostate_or_uterus: ")
    assert "--labels" in remark


def test_files_that_belong_to_nothing_are_listed(tmp_path) -> None:
    folder = made("word", tmp_path)
    (folder / "WORD-V0.1.0/notes.txt").write_text("by hand")
    save(folder / "WORD-V0.1.0/imagesTr/word_77.nii.gz", image_of(77))
    done = imported("word", folder, tmp_path / "out")
    remarks = " ".join(done.remarks)
    assert "not understood, in WORD-V0.1.0: notes.txt." in remarks
    assert "not understood, in WORD-V0.1.0/imagesTr: word_77.nii.gz." in remarks
    assert "its labels are not there" in remarks


def test_nothing_is_written_over_or_left_behind(tmp_path) -> None:
    folder = made("btcv", tmp_path)
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"unknown label 'pancras'.*Did you mean 'pancreas'"):
        imported("btcv", folder, out, labels=("pancras",))
    for path in (folder / "RawData/Training/label").iterdir():
        save(path, label_of((77,)))
    with pytest.raises(DataError, match=r"no case can be imported; 2 cases failed.*'btcv_0001'"):
        imported("btcv", folder, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["download"]
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="must be a new or empty folder"):
        imported("btcv", folder, out)
    assert (out / "mine.txt").read_text() == "keep"
    with pytest.raises(ConfigError, match="unknown key 'modality'"):
        imported("btcv", folder, tmp_path / "b", modality="ct")


def test_two_files_of_one_case_are_refused(tmp_path) -> None:
    folder = made("abdomenct-1k", tmp_path)
    save(folder / "AbdomenCT-1K-ImagePart3/Case_00001_0000.nii.gz", image_of(1))
    with pytest.raises(DataError, match=r"must have one file; .*ImagePart1.* is of the same case"):
        imported("abdomenct-1k", folder, tmp_path / "out")


def test_the_command_says_what_it_made_and_what_failed(tmp_path, capsys) -> None:
    folder = made("word", tmp_path)
    words = [
        "import",
        "word",
        str(folder),
        str(tmp_path / "out"),
        "--labels",
        "pancreas",
        "duodenum",
    ]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.out == f"2 cases, pancreas, duodenum: {tmp_path / 'out'}\n"
    assert "its labels are not there" in shown.err
    save(folder / "WORD-V0.1.0/labelsTr/word_0002.nii.gz", label_of((77,)))
    assert main([*words[:3], str(tmp_path / "b"), "--copy", "--jobs", "2"]) == 3
    assert "failed: case 'word_0002'" in capsys.readouterr().err
    assert main(["import", "amos", str(folder), str(tmp_path / "c"), "--modality", "ct"]) == 2
    assert "It looks like word" in capsys.readouterr().err


def test_uncompressed_files_stay_uncompressed(tmp_path) -> None:
    for number in (1, 2):
        save(tmp_path / f"a/Training/img/img{number:04d}.nii", image_of(number))
        save(tmp_path / f"a/Training/label/label{number:04d}.nii", label_of((1, 2)))
    imported("btcv", tmp_path / "a", tmp_path / "out")
    assert open_dataset(tmp_path / "out").file_ending == ".nii"
    save(tmp_path / "a/Training/img/img0003.nii.gz", image_of(3))
    save(tmp_path / "a/Training/label/label0003.nii", label_of((1, 2)))
    imported("btcv", tmp_path / "a", tmp_path / "mixed")
    assert len(open_dataset(tmp_path / "mixed").cases) == 3
    np.testing.assert_array_equal(
        voxels(tmp_path / "mixed/imagesTr/btcv_0001_0000.nii.gz"), image_of(1)
    )


def test_pansegdata_is_found_where_each_part_was_unpacked_by_itself(tmp_path) -> None:
    folder = made("pansegdata", tmp_path)
    for part in ("t1", "t2"):
        (tmp_path / "downloads" / part).mkdir(parents=True)
        shutil.move(folder / part, tmp_path / "downloads" / part / part)
    for part in ("t1", "t2"):
        imported("pansegdata", tmp_path / "downloads", tmp_path / f"D{part}", modality=part)
        assert open_dataset(tmp_path / f"D{part}").channel_names == (part.upper(),)


def test_brats_by_grade_is_taken_whole(tmp_path) -> None:
    source = make_brats(tmp_path / "made")
    places = sorted({path.parent.parent for path in source.rglob("*-seg.nii.gz")})
    cases = sorted(path for path in places[0].iterdir() if path.is_dir())
    for grade, case in zip(("HGG", "LGG"), cases, strict=False):
        (tmp_path / "graded" / grade).mkdir(parents=True)
        shutil.move(case, tmp_path / "graded" / grade / case.name)
    assert imported("brats", tmp_path / "graded", tmp_path / "out").n_cases == 2


@pytest.mark.parametrize(
    ("labels", "pair"),
    [
        (("Hippocampus_R", "Hippocampus_L"), ("hippocampus_r", "hippocampus_l")),
        (("gland right", "gland left"), ("gland_right", "gland_left")),
    ],
)
def test_sides_are_paired_by_whatever_word_tells_them(labels, pair) -> None:
    names = [structure_name(one) for one in labels]
    assert [suggested_side(one) for one in names] == ["right", "left"]
    assert len({without_side(one) for one in names}) == 1
    assert tuple(names) == pair


def test_a_dataset_is_not_written_into_the_running_folder(tmp_path, monkeypatch) -> None:
    folder = made("brats", tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DataError, match="must not be the folder that this command runs in"):
        imported("brats", folder, Path())


def test_an_image_that_was_cut_off_fails_its_case(tmp_path) -> None:
    folder = made("btcv", tmp_path)
    image = next(folder.rglob("Training/img/img0001.nii.gz"))
    image.write_bytes(image.read_bytes()[: int(0.9 * image.stat().st_size)])
    done = imported("btcv", folder, tmp_path / "out")
    assert done.n_cases == 1
    ((_, reason),) = done.failed.items()
    assert image.name in reason


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"0": "background"}, "must name at least one structure beside the background"),
        (
            {"0": "background", "1": "Pancreas", "2": "pancreas"},
            "'pancreas' is what 2 of them are called",
        ),
    ],
)
def test_labels_without_a_structure_or_of_one_name_are_told(labels, sentence, tmp_path) -> None:
    folder = made("msd", tmp_path)
    header = next(folder.rglob("dataset.json"))
    header.write_text(json.dumps({**json.loads(header.read_text()), "labels": labels}))
    with pytest.raises(DataError, match=sentence):
        imported("msd", folder, tmp_path / "out")
