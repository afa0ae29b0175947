"""Importers of datasets with one mask file per structure."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from acinus import progress
from acinus.cohort import open_dataset
from acinus.cohort.importers import import_dataset
from acinus.cohort.importers.structures import mask_name
from acinus.errors import DataError
from acinus.scans import Segment, read_volume, write_segments
from public_layouts import (
    AFFINE,
    image_of,
    make_han_seg,
    make_head_neck_oar,
    make_pddca,
    mask_of,
    save_nrrd,
)


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("Glnd_Lacrimal_L", "lacrimal_left"),
        ("Lacrimal-Lt", "lacrimal_left"),
        ("Glnd_Submand_R", "submandibular_right"),
        ("Submandibular_R", "submandibular_right"),
        ("Parotid-Rt", "parotid_right"),
        ("OpticNrv_L", "optic_nerve_left"),
        ("OpticNerve_L", "optic_nerve_left"),
        ("Optic-Nerve-Lt", "optic_nerve_left"),
        ("Eye_AL", "anterior_eye_left"),
        ("BrainStem", "brainstem"),
        ("Spinal-Cord", "spinal_cord"),
    ],
)
def test_one_structure_has_one_name_in_all_datasets(published, ours) -> None:
    assert mask_name(published) == ours


def test_image_and_masks_come_out_where_they_were(tmp_path) -> None:
    make_han_seg(tmp_path)
    done = import_dataset(
        "han-seg", tmp_path, tmp_path / "out", labels=("lacrimal_right", "lacrimal_left")
    )
    image = nib.load(tmp_path / "out/imagesTr/case_02_0000.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), image_of(2))
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    expected = mask_of(2) + 2 * mask_of(1)
    np.testing.assert_array_equal(voxels(tmp_path / "out/labelsTr/case_02.nii.gz"), expected)
    assert any("MRI that is not registered to the CT" in remark for remark in done.remarks)
    assert open_dataset(tmp_path / "out").sides == {
        "lacrimal_right": "right",
        "lacrimal_left": "left",
    }


def test_a_segmentation_cut_to_its_structure_is_put_in_its_place(tmp_path) -> None:
    folder = make_han_seg(tmp_path) / "case_01"
    path = folder / "case_01_OAR_Parotid_L.seg.nrrd"
    cut = AFFINE.copy()
    cut[:3, 3] += AFFINE[:3, :3] @ (3, 2, 1)
    save_nrrd(path, np.ones((2, 1, 1), np.uint8), cut)
    import_dataset("han-seg", tmp_path, tmp_path / "out", labels=("parotid_left",))
    expected = np.zeros(image_of(1).shape, np.uint8)
    expected[3:5, 2, 1] = 1
    np.testing.assert_array_equal(voxels(tmp_path / "out/labelsTr/case_01.nii.gz"), expected)
    save_nrrd(path, np.ones((2, 1, 1), np.uint8), np.diag([0.3, 0.3, 1.0, 1.0]))
    failed = import_dataset(
        "han-seg", tmp_path, tmp_path / "other", labels=("parotid_left",)
    ).failed
    assert list(failed) == ["case_01"]
    assert str(path) in failed["case_01"]


def test_a_segmentation_of_slicer_is_read_as_well(tmp_path) -> None:
    folder = make_han_seg(tmp_path) / "case_01"
    path = folder / "case_01_OAR_Parotid_L.seg.nrrd"
    plain = read_volume(save_nrrd(tmp_path / "plain.nrrd", mask_of(3)))
    path.unlink()
    segment = Segment("Parotid_L", plain.with_array(plain.array > 0), (1.0, 0.0, 0.0), 1)
    write_segments([segment], path)
    import_dataset("han-seg", tmp_path, tmp_path / "out", labels=("parotid_left",))
    np.testing.assert_array_equal(voxels(tmp_path / "out/labelsTr/case_01.nii.gz"), mask_of(3))


def test_overlaps_fail_unless_one_of_the_two_is_not_wanted(tmp_path) -> None:
    folder = make_han_seg(tmp_path) / "case_01"
    save_nrrd(folder / "case_01_OAR_Eye_AL.seg.nrrd", mask_of(3))
    done = import_dataset("han-seg", tmp_path, tmp_path / "all")
    assert list(done.failed) == ["case_01"]
    assert "must not overlap" in done.failed["case_01"]
    assert "--labels" in done.failed["case_01"]
    assert not import_dataset(
        "han-seg", tmp_path, tmp_path / "some", labels=("parotid_left", "lacrimal_left")
    ).failed


def test_a_structure_that_nobody_drew_does_not_become_background(tmp_path) -> None:
    make_pddca(tmp_path)
    (tmp_path / "PDDCA-1.4.1_part3/0522c0555/structures/Mandible.nrrd").unlink()
    done = import_dataset("pddca", tmp_path, tmp_path / "all")
    assert list(done.failed) == ["0522c0555"]
    assert "must have a label of mandible; there is none" in done.failed["0522c0555"]
    labels = ("parotid_right", "optic_nerve_left")
    assert import_dataset("pddca", tmp_path, tmp_path / "some", labels=labels).n_cases == 2


def test_faults_of_a_mask_are_named(tmp_path) -> None:
    make_pddca(tmp_path)
    folder = tmp_path / "PDDCA-1.4.1_part1/0522c0001"
    path = folder / "structures/Parotid_R.nrrd"

    def reason(out: str) -> str:
        done = import_dataset("pddca", tmp_path / ".", tmp_path.parent / f"{tmp_path.name}-{out}")
        assert list(done.failed) == ["0522c0001"]
        return done.failed["0522c0001"]

    save_nrrd(path, mask_of(3) * np.uint8(255))
    assert "found 255 as well" in reason("value")
    save_nrrd(path, mask_of(3)[:-1])
    assert "must share a grid" in reason("grid")
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert str(path) in reason("pointer")
    (folder / "img.nrrd").unlink()
    assert "must have an image" in reason("image")


def test_readers_and_parts_are_chosen(tmp_path) -> None:
    make_head_neck_oar(tmp_path)
    for reader, number in (("oncologist", 2), ("radiographer", 3)):
        done = import_dataset("head-neck-oar", tmp_path, tmp_path / reader, reader=reader)
        label = voxels(tmp_path / reader / "labelsTr/0522c0057.nii.gz")
        assert done.labels == ("lacrimal_left", "lacrimal_right")
        np.testing.assert_array_equal(label, mask_of(1) + 2 * mask_of(number))
        assert f"only the masks of the {reader} are wanted" in " ".join(done.remarks)
    import_dataset("head-neck-oar", tmp_path, tmp_path / "part", parts=("validation",))
    dataset = open_dataset(tmp_path / "part")
    assert [case.case_id for case in dataset.cases] == ["0522c0727_a"]
    assert dataset.participant_ids == ("0522c0727",)


def test_files_that_git_lfs_has_not_fetched_are_told(tmp_path) -> None:
    folder = make_head_neck_oar(tmp_path) / "tcia-ct-scan-dataset"
    for path in folder.rglob("*.nrrd"):
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DataError, match="no case can be imported; 2 cases failed"):
        import_dataset("head-neck-oar", tmp_path, tmp_path / "out")
