"""Facts of a dataset, against sums over the arrays that were written."""

from __future__ import annotations

import json
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


def test_volume_ranges_leave_absent_labels_out(folder: Path) -> None:
    facts = take(folder)
    volumes = {case: one.volume_ml["gland_right"] for case, one in facts.cases.items()}
    ranges = volume_ranges_ml(facts)
    assert ranges["gland_right"] == (min(volumes.values()), max(volumes.values()))
    assert volume_ranges_ml(facts, {"p02": None})["gland_right"] == (volumes["p02"],) * 2
    none = facts.cases["p00"].model_copy(update={"volume_ml": {"gland_right": 0, "gland_left": 1}})
    alone = facts.model_copy(update={"cases": {"p00": none}})
    assert volume_ranges_ml(alone) == {"gland_left": (1, 1)}
