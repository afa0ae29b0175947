"""Facts of a dataset, against sums over the arrays that were written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import acinus.plan.fingerprint as fingerprint_module
from acinus import progress
from acinus.cohort import open_dataset
from acinus.errors import AcinusError, DataError
from acinus.plan import Fingerprint, take_fingerprint, volume_ranges_ml
from tiny_cohort import SHAPE_ZYX, SPACING_ZYX, affine_of, make_dataset, save

PEOPLE = ("p00", "p01", "p02")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "Dataset001_Glands", PEOPLE)


def take(folder: Path, path: Path | None = None) -> Fingerprint:
    with progress.quiet():
        return take_fingerprint(open_dataset(folder), path)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Images that were read from disk."""
    read: list[Path] = []
    real = fingerprint_module.read_volume

    def count(path: Path) -> object:
        read.append(path)
        return real(path)

    monkeypatch.setattr(fingerprint_module, "read_volume", count)
    return read


def test_facts_agree_with_the_arrays_on_disk(folder: Path) -> None:
    facts = take(folder).cases["p01"]
    image = nib.load(folder / "imagesTr" / "p01_0000.nii.gz").get_fdata().T
    label = nib.load(folder / "labelsTr" / "p01.nii.gz").get_fdata().T
    assert facts.shape_vox == SHAPE_ZYX
    assert facts.spacing_mm == pytest.approx(SPACING_ZYX)
    assert facts.volume_ml["gland_right"] == pytest.approx((label == 1).sum() * 3.0 / 1000)
    z, y, x = np.nonzero(label == 2)
    extent = (np.ptp(z) + 1) * 3.0, np.ptp(y) + 1.0, np.ptp(x) + 1.0
    assert facts.extent_mm["gland_left"] == pytest.approx(extent)
    assert facts.slices_with_foreground == len(np.unique(np.nonzero(label)[0]))
    assert facts.intensity["T1"]["mean"] == pytest.approx(image.mean(), rel=1e-5)
    assert facts.intensity["T1"]["sd"] == pytest.approx(image.std(), rel=1e-5)
    assert facts.intensity["T1"]["p50"] == pytest.approx(np.percentile(image, 50), rel=1e-3)


def test_facts_are_those_of_the_canonical_axes(folder: Path) -> None:
    # The same voxels, stored with the superior-inferior axis last to first and first in order.
    for part in ("imagesTr/p00_0000", "labelsTr/p00"):
        path = folder / f"{part}.nii.gz"
        array = nib.load(path).get_fdata().T.astype(np.float32)
        turned = np.transpose(array[::-1], (1, 2, 0))  # stored (Y, X, Z), Z downwards
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        affine[2, 0], affine[0, 1], affine[1, 2] = -3.0, 1.0, 1.0
        affine[:3, 3] = affine_of()[:3, 3] + [0, 0, 3.0 * (SHAPE_ZYX[0] - 1)]
        path.unlink()
        save(turned, affine, path)
    turned_facts = take(folder).cases["p00"]
    make_dataset(folder, PEOPLE)
    assert turned_facts == take(folder).cases["p00"]


def test_unchanged_data_are_not_read_again(
    folder: Path, tmp_path: Path, readings: list[Path]
) -> None:
    path = tmp_path / "fingerprint.json"
    first = take(folder, path)
    assert len(readings) == len(PEOPLE)
    assert take(folder, path) == first
    assert len(readings) == len(PEOPLE)


def test_changed_data_are_read_again(folder: Path, tmp_path: Path, readings: list[Path]) -> None:
    path = tmp_path / "fingerprint.json"
    first = take(folder, path)
    make_dataset(folder, PEOPLE, gain=2.0)
    second = take(folder, path)
    assert len(readings) == 2 * len(PEOPLE)
    assert second.dataset_hash != first.dataset_hash
    means = [facts.cases["p00"].intensity["T1"]["mean"] for facts in (first, second)]
    assert means[1] == pytest.approx(2 * means[0], rel=1e-5)
    assert json.loads(path.read_text(encoding="utf-8"))["dataset_hash"] == second.dataset_hash


def test_altered_facts_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.json"
    take(folder, path)
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["cases"]["p00"]["spacing_mm"]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(AcinusError) as error:
        take(folder, path)
    assert str(path) in str(error.value)
    assert "'cases.p00.spacing_mm' must be given and is missing" in str(error.value)


def test_a_dataset_without_labels_is_refused(folder: Path) -> None:
    for label in (folder / "labelsTr").iterdir():
        label.unlink()
    with pytest.raises(DataError, match="at least one case must have a label; none has one"):
        take(folder)


def test_places_of_labels_are_in_millimetres_of_the_canonical_axes(folder: Path) -> None:
    facts = take(folder).cases["p02"]
    label = nib.load(folder / "labelsTr" / "p02.nii.gz").get_fdata().T
    for value, name in ((1, "gland_right"), (2, "gland_left")):
        where = np.argwhere(label == value)
        assert facts.voxels[name] == len(where)
        assert facts.centroid_mm[name] == pytest.approx(where.mean(0) * SPACING_ZYX, abs=1e-3)
    # The right gland lies at larger X: indices grow towards the right.
    assert facts.centroid_mm["gland_right"][2] > facts.centroid_mm["gland_left"][2]
    where = np.argwhere(label > 0)
    low, high = where.min(0) / SHAPE_ZYX, (where.max(0) + 1) / SHAPE_ZYX
    assert facts.foreground_box is not None
    assert np.array(facts.foreground_box) == pytest.approx(np.stack([low, high], 1), abs=1e-4)


def test_the_crop_is_the_box_of_what_is_not_zero_in_any_channel(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "Dataset002_Two", ["p00"], n_channels=2)
    boxes = ((slice(2, 7), slice(5, 30), slice(4, 20)), (slice(3, 9), slice(8, 31), slice(1, 9)))
    for channel, box in enumerate(boxes):
        array = np.zeros(SHAPE_ZYX, np.float32)
        array[box] = 5
        array[4, 15, 8] = 0  # a hole changes nothing
        save(array, affine_of(), folder / "imagesTr" / f"p00_{channel:04d}.nii.gz")
    facts = take(folder).cases["p00"]
    assert facts.cropped_vox == (7, 26, 19)
    assert facts.cropped_share == pytest.approx(7 * 26 * 19 / np.prod(SHAPE_ZYX))


def test_an_image_of_zeros_is_not_cropped_to_nothing(folder: Path) -> None:
    save(np.zeros(SHAPE_ZYX, np.float32), affine_of(), folder / "imagesTr" / "p00_0000.nii.gz")
    facts = take(folder).cases["p00"]
    assert facts.cropped_vox == SHAPE_ZYX
    assert facts.cropped_share == 1.0


def test_spacings_that_differ_by_rounding_are_equal(folder: Path) -> None:
    affine = affine_of()
    affine[0, 0], affine[1, 1] = 0.42649999, 0.42650002
    array = np.ones(SHAPE_ZYX, np.float32)
    save(array, affine, folder / "imagesTr" / "p00_0000.nii.gz")
    stored = float(np.float32(0.4265))
    assert take(folder).cases["p00"].spacing_mm == (3.0, stored, stored)


def test_foreground_intensities_weigh_every_case_alike(folder: Path) -> None:
    # One case has thirty times as many labelled voxels; nnU-Net draws as many of each case.
    arrays, labels = [], []
    for person, value, size in (("p00", 10, 2), ("p01", 20, 11), ("p02", 60, 2)):
        label = np.zeros(SHAPE_ZYX, np.uint8)
        label[2:4, 10 : 10 + size, 10 : 10 + size] = 1
        array = np.where(label == 1, value + np.indices(SHAPE_ZYX)[2], 500).astype(np.float32)
        save(array, affine_of(), folder / "imagesTr" / f"{person}_0000.nii.gz")
        save(label, affine_of(), folder / "labelsTr" / f"{person}.nii.gz")
        arrays.append(array)
        labels.append(label)
    rng = np.random.default_rng(1234)
    drawn = np.concatenate(
        [rng.choice(a[m > 0], 400_000) for a, m in zip(arrays, labels, strict=True)]
    )
    got = take(folder).foreground["T1"]
    assert got.mean == pytest.approx(drawn.mean(), abs=0.1)
    assert got.sd == pytest.approx(drawn.std(), rel=0.003)
    assert [got.low, got.median, got.high] == list(np.percentile(drawn, (0.5, 50, 99.5)))
    assert (got.min, got.max) == (20, 71)


def test_a_case_without_foreground_has_no_say_in_the_intensities(folder: Path) -> None:
    save(np.zeros(SHAPE_ZYX, np.uint8), affine_of(), folder / "labelsTr" / "p00.nii.gz")
    facts = take(folder)
    assert facts.cases["p00"].foreground_box is None
    assert facts.cases["p00"].slices_with_foreground == 0
    others = facts.foreground["T1"]
    alone = make_dataset(folder.parent / "Dataset002_Others", PEOPLE[1:])
    assert take(alone).foreground["T1"] == others


def test_regions_are_measured_as_the_union_of_their_values(folder: Path) -> None:
    header = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    plain = take(folder).cases["p00"]
    header["labels"] = {"background": 0, "both": [1, 2], "left": [2]}
    header["regions_class_order"] = [1, 2]
    del header["sides"], header["mirror_pairs"]
    (folder / "dataset.json").write_text(json.dumps(header), encoding="utf-8")
    facts = take(folder).cases["p00"]
    assert facts.voxels["both"] == plain.voxels["gland_right"] + plain.voxels["gland_left"]
    assert facts.voxels["left"] == plain.voxels["gland_left"]
    assert facts.centroid_mm["left"] == plain.centroid_mm["gland_left"]


def test_voxels_to_be_ignored_are_no_structure(folder: Path) -> None:
    label = nib.load(folder / "labelsTr" / "p00.nii.gz").get_fdata().T.astype(np.uint8)
    plain = take(folder).cases["p00"]
    label[-1:] = 3
    save(label, affine_of(), folder / "labelsTr" / "p00.nii.gz")
    header = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    header["labels"]["ignore"] = 3
    (folder / "dataset.json").write_text(json.dumps(header), encoding="utf-8")
    facts = take(folder).cases["p00"]
    assert facts.slices_with_foreground == plain.slices_with_foreground
    assert facts.foreground_box == plain.foreground_box
    assert set(facts.voxels) == {"gland_right", "gland_left"}


def test_channels_and_label_of_other_shapes_are_refused_by_name(folder: Path) -> None:
    save(np.zeros((9, 48, 48), np.uint8), affine_of(), folder / "labelsTr" / "p01.nii.gz")
    with pytest.raises(DataError) as error:
        take(folder)
    assert "case 'p01': channels and label must share a grid" in str(error.value)
    assert "(10, 48, 48) and (9, 48, 48)" in str(error.value)


@pytest.mark.slow
def test_facts_of_the_hippocampus_are_those_of_nnunet(tmp_path: Path) -> None:
    data = Path(os.environ.get("ACINUS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    recorded = data / "nnunet_plans" / "Hippocampus208_fingerprint.json"
    if not recorded.is_file():
        pytest.skip(f"no recorded fingerprint at {recorded}")
    theirs = json.loads(recorded.read_text(encoding="utf-8"))
    ours = take(data / "Dataset004_Hippocampus")
    cases = list(ours.cases.values())
    assert [list(case.cropped_vox) for case in cases] == theirs["shapes_after_crop"]
    assert [list(case.spacing_mm) for case in cases] == theirs["spacings"]
    share = float(np.median([case.cropped_share for case in cases]))
    assert share == theirs["median_relative_size_after_cropping"]
    drawn = theirs["foreground_intensity_properties_per_channel"]["0"]
    got = ours.foreground["MRI"]
    assert got.mean == pytest.approx(drawn["mean"], abs=1e-4 * drawn["std"])
    assert got.sd == pytest.approx(drawn["std"], rel=1e-4)
    assert (got.low, got.median, got.high) == (
        drawn["percentile_00_5"],
        drawn["median"],
        drawn["percentile_99_5"],
    )
    assert (got.min, got.max) == (drawn["min"], drawn["max"])


def test_volume_ranges_leave_absent_labels_out(folder: Path) -> None:
    facts = take(folder)
    volumes = {case: one.volume_ml["gland_right"] for case, one in facts.cases.items()}
    ranges = volume_ranges_ml(facts)
    assert ranges["gland_right"] == (min(volumes.values()), max(volumes.values()))
    assert volume_ranges_ml(facts, {"p02": None})["gland_right"] == (volumes["p02"],) * 2
    none = facts.cases["p00"].model_copy(update={"volume_ml": {"gland_right": 0, "gland_left": 1}})
    alone = facts.model_copy(update={"cases": {"p00": none}})
    assert volume_ranges_ml(alone) == {"gland_left": (1, 1)}
