"""The store: whole or absent, prepared once, and a damaged file is named."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import acinus.prepare.store as store_module
from acinus import progress
from acinus.cohort import Dataset, open_dataset
from acinus.errors import AcinusError, DataError, PlanError
from acinus.plan import Plan, load_recipe, make_plan, take_fingerprint
from acinus.prepare import Store, prepare_store, store_key
from acinus.train import check_cases
from made_plan import TINY
from tiny_cohort import SHAPE_ZYX, affine_of, make_dataset, save

PEOPLE = ("p00", "p01", "p02")
FILES = {
    f"{case}.{part}" for case in PEOPLE for part in ("image.npy", "label.npy", "sites.npy", "json")
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return open_dataset(make_dataset(tmp_path / "Dataset001_Glands", PEOPLE))


def plan_of(dataset: Dataset, **changes: Any) -> Plan:
    with progress.quiet():
        fingerprint = take_fingerprint(dataset)
    return make_plan(dataset, fingerprint, load_recipe("unet-2d", {**TINY, **changes}), seed=1)


def prepare(dataset: Dataset, plan: Plan, folder: Path) -> Store:
    with progress.quiet():
        return prepare_store(dataset, plan, folder, dataset.cases)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the cases that were prepared."""
    cases: list[str] = []
    real = store_module.load_labelled_case

    def count(case: Any) -> Any:
        cases.append(case.case_id)
        return real(case)

    monkeypatch.setattr(store_module, "load_labelled_case", count)
    return cases


def test_a_store_holds_what_was_written(dataset: Dataset, tmp_path: Path) -> None:
    plan = plan_of(dataset, prepare={"slice_axis": "Z", "spacing_mm": [None, 1.0, 1.0]})
    store = prepare(dataset, plan, tmp_path / "store")
    assert {path.name for path in (tmp_path / "store").iterdir()} == FILES
    label = nib.load(dataset.folder / "labelsTr" / "p01.nii.gz").get_fdata().T
    np.testing.assert_array_equal(store.label("p01"), label)
    assert store.image("p01").shape == (1, *SHAPE_ZYX)
    facts = store.facts("p01")
    assert facts.key == store_key(plan)
    assert facts.foreground_vox == {
        "gland_right": (label == 1).sum(),
        "gland_left": (label == 2).sum(),
    }
    assert facts.cut_labels == ()


def test_prepared_cases_are_not_prepared_again(
    dataset: Dataset, tmp_path: Path, prepared: list[str]
) -> None:
    prepare(dataset, plan_of(dataset), tmp_path / "store")
    assert sorted(prepared) == list(PEOPLE)
    # Loss and patch do not change what is prepared.
    train = {**TINY["train"], "patch_vox": [32, 32]}
    prepare(dataset, plan_of(dataset, loss="dice", train=train), tmp_path / "store")
    assert sorted(prepared) == list(PEOPLE)


@pytest.mark.parametrize("gone", ["image.npy", "label.npy", "sites.npy", "json"])
def test_only_what_is_missing_is_prepared(
    dataset: Dataset, tmp_path: Path, prepared: list[str], gone: str
) -> None:
    plan = plan_of(dataset)
    prepare(dataset, plan, tmp_path / "store")
    prepared.clear()
    (tmp_path / "store" / f"p01.{gone}").unlink()
    prepare(dataset, plan, tmp_path / "store")
    assert prepared == ["p01"]
    assert {path.name for path in (tmp_path / "store").iterdir()} == FILES


def test_other_settings_or_other_data_are_prepared_anew(
    dataset: Dataset, tmp_path: Path, prepared: list[str]
) -> None:
    folder = tmp_path / "store"
    prepare(dataset, plan_of(dataset), folder)
    first = np.array(Store(folder).image("p00"))
    other = plan_of(dataset, prepare={**TINY["prepare"], "normalisation": "min_max"})
    prepare(dataset, other, folder)
    assert sorted(prepared) == sorted(PEOPLE * 2)
    assert Store(folder).image("p00").min() == 0
    changed = open_dataset(make_dataset(dataset.folder, PEOPLE, seed=3))
    prepare(changed, plan_of(changed), folder)
    assert sorted(prepared) == sorted(PEOPLE * 3)
    assert not np.array_equal(Store(folder).image("p00"), first)


def stop_at(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Stop as a kill would, before the file of this suffix is whole."""
    real = store_module.whole_file

    def stop(path: Path) -> Any:
        if path.name.endswith(suffix):
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(store_module, "whole_file", stop)


def test_a_stop_between_two_files_of_a_case_leaves_it_unprepared(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: list[str]
) -> None:
    folder = tmp_path / "store"
    old, new = plan_of(dataset), plan_of(dataset, prepare={"normalisation": "min_max"})
    prepare(dataset, old, folder)
    kept = np.array(Store(folder).image("p00"))
    with monkeypatch.context() as patch:
        stop_at(patch, "p00.label.npy")
        with pytest.raises(KeyboardInterrupt):
            prepare(dataset, new, folder)
    # The image of p00 is already the new one: the old plan must not take it for its own.
    prepared.clear()
    prepare(dataset, old, folder)
    assert "p00" in prepared
    np.testing.assert_array_equal(Store(folder).image("p00"), kept)


def test_a_full_disk_is_named_and_leaves_no_half_file(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, array: np.ndarray, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match=r"image\.npy: the disk must have room .* and is full"):
        prepare(dataset, plan_of(dataset), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def damage_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def damage_by_emptying(path: Path) -> None:
    path.write_bytes(b"")


def damage_by_text(path: Path) -> None:
    path.write_text("not an array", encoding="utf-8")


def damage_by_pickle(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "damage", [damage_by_cutting, damage_by_emptying, damage_by_text, damage_by_pickle]
)
@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_damaged_array_is_named(
    dataset: Dataset, tmp_path: Path, damage: Callable[[Path], None], kind: str
) -> None:
    store = prepare(dataset, plan_of(dataset), tmp_path / "store")
    path = tmp_path / "store" / f"p02.{kind}.npy"
    damage(path)
    with pytest.raises(DataError) as error:
        getattr(store, kind)("p02")
    assert str(error.value).startswith(f"{path}: must be a whole prepared array; ")
    assert "Delete the folder store and start the same command again." in str(error.value)


def test_altered_facts_are_named(dataset: Dataset, tmp_path: Path) -> None:
    store = prepare(dataset, plan_of(dataset), tmp_path / "store")
    path = tmp_path / "store" / "p02.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["geometry"]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(AcinusError, match=r"p02\.json: 'geometry' must be given and is missing"):
        store.facts("p02")


def test_a_label_on_another_grid_names_its_case(dataset: Dataset, tmp_path: Path) -> None:
    plan = plan_of(dataset)
    save(np.zeros((10, 48, 40), np.uint8), affine_of(), dataset.folder / "labelsTr" / "p01.nii.gz")
    facts = plan.dataset.model_copy(update={"hash": dataset.fingerprint_hash()})
    with pytest.raises(AcinusError, match=r"case 'p01': .*must share a grid"):
        prepare(dataset, plan.model_copy(update={"dataset": facts}), tmp_path / "store")


@pytest.mark.parametrize("change", ["image", "label", "header", "case"])
def test_a_dataset_that_changed_since_the_plan_is_refused(
    dataset: Dataset, tmp_path: Path, change: str
) -> None:
    plan = plan_of(dataset)
    prepare(dataset, plan, tmp_path / "store")
    if change == "header":
        header = dataset.folder / "dataset.json"
        header.write_text(header.read_text("utf-8").replace("gland_left", "lump"), "utf-8")
    elif change == "case":
        (dataset.folder / "labelsTr" / "p02.nii.gz").unlink()
        (dataset.folder / "imagesTr" / "p02_0000.nii.gz").unlink()
    else:
        name = {"image": "imagesTr/p01_0000.nii.gz", "label": "labelsTr/p01.nii.gz"}[change]
        save(np.ones(SHAPE_ZYX, np.uint8), affine_of(), dataset.folder / name)
    changed = open_dataset(dataset.folder)
    with pytest.raises(PlanError) as error:
        prepare(changed, plan, tmp_path / "store")
    assert str(error.value).startswith(f"{dataset.folder}: must hold the files that the plan was")
    assert "Make a new plan in a new folder with 'acinus plan'" in str(error.value)


def test_the_store_knows_where_each_label_lies(dataset: Dataset, tmp_path: Path) -> None:
    store = prepare(dataset, plan_of(dataset), tmp_path / "store")
    label, sites = store.label("p01"), store.sites("p01")
    assert set(sites) == {1, 2}
    for value, found in sites.items():
        np.testing.assert_array_equal(found, np.argwhere(label == value))


def test_labels_that_cropping_cuts_are_told(dataset: Dataset, tmp_path: Path) -> None:
    # The balls lie 22% of 48 voxels beside the middle: 16 columns cut into both.
    plan = plan_of(dataset, prepare={**TINY["prepare"], "size_vox": [48, 16]})
    store = prepare(dataset, plan, tmp_path / "store")
    assert set(store.facts("p00").cut_labels) == {"gland_right", "gland_left"}
    assert check_cases(store, ["p00"]) == [
        "case 'p00': cropping to the planned size cut gland_right, gland_left"
    ]
    padded = plan_of(dataset, prepare={**TINY["prepare"], "size_vox": [64, 64]})
    store = prepare(dataset, padded, tmp_path / "padded")
    assert check_cases(store, PEOPLE) == []


def test_places_whose_names_differ_in_other_letters_have_entries_of_their_own(
    dataset: Dataset, tmp_path: Path
) -> None:
    plan = plan_of(dataset)

    def boxes(case: Any, channels: Any, label: Any) -> dict[str, tuple[slice, ...]]:
        z, y, x = label.shape
        half = slice(0, x // 2), slice(x // 2, x)
        return {
            name: (slice(0, z), slice(0, y), part) for name, part in zip("左右", half, strict=True)
        }

    with progress.quiet():
        store = prepare_store(dataset, plan, tmp_path / "store", dataset.cases, boxes)  # type: ignore[arg-type]
    entries = store.entries("p00")
    assert len(set(entries)) == 2
    one, two = (np.array(store.image(entry)) for entry in entries)
    assert not np.array_equal(one, two)
    with progress.quiet():  # the whole scan is prepared again, and no box of before is left
        whole = prepare_store(dataset, plan, tmp_path / "store", dataset.cases)
    assert whole.entries("p00") == ("p00",)
