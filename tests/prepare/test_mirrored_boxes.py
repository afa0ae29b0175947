"""Boxes as in a mirror: what is done twice is undone, and a left gland is shown as a right one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from acinus.cohort import Dataset, mirror_table, open_dataset
from acinus.errors import PlanError
from acinus.plan import Plan
from acinus.predict import KnownPlaces, Member, Model
from acinus.predict.locate import Place
from acinus.predict.model import assembled
from acinus.prepare import Store, mirrored, mirrored_labels, prepare_store
from acinus.scans import Volume, oriented, write_volume
from acinus.scans.box import Slices, box_of_voxels
from acinus.scans.slabs import VolumeSlabs
from acinus.study.grids import grid_rows
from acinus.study.locating import annotated_entries
from made_located import located_plan
from made_plan import made_plan, unread_dataset

SHAPE = (12, 20, 40)
RIGHT, LEFT = (slice(3, 9), slice(4, 14), slice(26, 38)), (slice(2, 10), slice(5, 15), slice(2, 14))
"""Boxes about the glands, of one kind: X grows towards the patient's right."""


def scan(codes: str = "RAS") -> tuple[Volume, Volume]:
    """An image whose values are unique, and two glands that are mirror images in shape."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 6:10, 28:33], labels[4:8, 6:10, 33] = 1, 1
    labels[5:8, 7:11, 5:11] = 2
    image = np.arange(labels.size, dtype=np.float32).reshape(SHAPE)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    return oriented(Volume(image, affine), codes), oriented(Volume(labels, affine), codes)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "PIL"])
def test_mirrored_twice_is_as_before_and_once_is_reversed_from_right_to_left(codes: str) -> None:
    image, labels = scan(codes)
    once = mirrored(image)
    assert once.grid.matches(image.grid)
    standing = oriented(once, "RAS").array
    np.testing.assert_array_equal(standing, scan()[0].array[:, :, ::-1])
    np.testing.assert_array_equal(mirrored(once).array, image.array)
    table = (0, 2, 1)
    turned = mirrored_labels(labels, table)
    expected = scan()[1].array[:, :, ::-1]
    np.testing.assert_array_equal(
        oriented(turned, "RAS").array, np.array(table, np.uint8)[expected]
    )
    np.testing.assert_array_equal(mirrored_labels(turned, table).array, labels.array)


def test_values_that_no_label_has_stay() -> None:
    labels = Volume(np.full((2, 2, 2), 255, np.uint8), np.eye(4))
    assert (mirrored_labels(labels, (0, 2, 1)).array == 255).all()


def test_a_table_pairs_values_of_regions_in_their_order() -> None:
    values = {"r": (1, 3), "l": (2, 5), "other": (4,)}
    assert mirror_table(values, [("r", "l")]) == (0, 2, 1, 5, 4, 3)
    assert mirror_table({}, []) == (0,)


# The plan ---------------------------------------------------------------------------------------


def test_boxes_of_left_labels_are_mirrored_and_no_patch_is_flipped_across_the_middle() -> None:
    plan = located_plan({})
    assert plan.mirrored_places == {"left"}
    assert "X" not in plan.settings.train.mirror_axes
    assert made_plan({}).mirrored_places == frozenset()
    assert "X" in made_plan({}).settings.train.mirror_axes


@pytest.mark.parametrize(
    ("structures", "expected"),
    [
        ({"both": ("gland_right", "gland_left")}, set()),
        ({}, {"gland_left"}),  # each label is a place
        ({"r": ("gland_right",), "l": ("gland_left",)}, {"l"}),
    ],
)
def test_a_place_is_mirrored_whose_partners_have_one_of_their_own(
    structures: dict[str, tuple[str, ...]], expected: set[str]
) -> None:
    plan = made_plan(
        {"locate": {"stage": "network", "spacing_mm": 2.0}},
        dataset=unread_dataset(structures=structures),
    )
    assert plan.mirrored_places == expected


def test_one_side_alone_has_no_partner() -> None:
    assert located_plan({}, one_label=True).mirrored_places == frozenset()


def test_the_user_may_forbid_it_and_must_name_places_with_partners() -> None:
    plan = located_plan({"mirrored": []})
    assert plan.mirrored_places == frozenset()
    assert "X" in plan.settings.train.mirror_axes
    with pytest.raises(PlanError, match=r"locate\.mirrored.*\(left\); got right"):
        located_plan({"mirrored": ["right"]})


# The store --------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    folder = tmp_path / "Dataset001_Made"
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    header = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "gland_right": 1, "gland_left": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "sides": {"gland_right": "right", "gland_left": "left"},
        "mirror_pairs": [["gland_right", "gland_left"]],
        "structures": {"right": ["gland_right"], "left": ["gland_left"]},
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    for case, codes in (("a", "RAS"), ("b", "LPS")):
        image, labels = scan(codes)
        write_volume(image, folder / "imagesTr" / f"{case}_0000.nii.gz")
        write_volume(labels, folder / "labelsTr" / f"{case}.nii.gz")
    return open_dataset(folder)


def plan_for(dataset: Dataset, **locate: object) -> Plan:
    changes = {
        "locate": {"stage": "network", "spacing_mm": 2.0, **locate},
        "prepare": {"normalisation": "none", "slice_axis": "Z", "spacing_mm": [None, None, None]},
        "train": {"patch_vox": [8, 8]},
    }
    plan = made_plan(changes, dataset=dataset)
    hashed = plan.dataset.model_copy(update={"hash": dataset.fingerprint_hash()})
    return plan.model_copy(update={"dataset": hashed})


def boxes_at(codes: str) -> dict[str, Slices]:
    """The boxes on the array of a scan that was turned."""
    index = Volume(np.arange(np.prod(SHAPE)).reshape(SHAPE), np.diag([1.0, 1.0, 2.0, 1.0]))
    turned = oriented(index, codes).array
    found = {}
    for name, box in (("right", RIGHT), ("left", LEFT)):
        where = np.argwhere(np.isin(turned, index.array[box]))
        low, high = where.min(axis=0), where.max(axis=0) + 1
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        found[name] = (z, y, x)
    return found


def test_left_boxes_are_stored_as_right_ones(dataset: Dataset, tmp_path: Path) -> None:
    plan = plan_for(dataset)

    def boxes(case: object, channels: object, label: Volume) -> dict[str, Slices]:
        return boxes_at("RAS" if case.case_id == "a" else "LPS")  # type: ignore[attr-defined]

    store = prepare_store(dataset, plan, tmp_path / "store", dataset.cases, boxes)
    image, labels = (one.array for one in scan())
    for case in ("a", "b"):
        right, left = f"{case}@right", f"{case}@left"
        np.testing.assert_array_equal(store.image(right)[0], image[RIGHT])
        np.testing.assert_array_equal(store.image(left)[0], image[LEFT][:, :, ::-1])
        assert set(np.unique(store.label(left))) == {0, 1}
        np.testing.assert_array_equal(store.label(left) == 1, (labels[LEFT] == 2)[:, :, ::-1])
        assert set(store.sites(left)) == {1}
        # What is said of an entry is said of the patient.
        assert store.facts(left).mirrored and not store.facts(right).mirrored
        n = int((labels == 2).sum())
        assert store.facts(left).foreground_vox == {"gland_right": 0, "gland_left": n}
        assert store.fullest_entry(case) == right
        reference = scan("RAS" if case == "a" else "LPS")[1]
        rows = grid_rows(
            store, case, reference, dataset.values, arm="a", mirror_table=dataset.mirror_table
        )
        assert {row["label"]: (row["voxels"], row["ceiling"]) for row in rows} == {
            "gland_right": (int((labels == 1).sum()), 1.0),
            "gland_left": (n, 1.0),
        }


# Prediction -------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR"])
def test_a_network_that_knows_the_right_gland_alone_names_both(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, codes: str
) -> None:
    image, labels = scan(codes)
    seen: list[np.ndarray] = []

    def segment(_model: Model, channels: Sequence[Volume | None], *_: object) -> Volume:
        (part,) = channels
        assert part is not None
        standing = oriented(part, "RAS")
        seen.append(standing.array)
        return part.with_array((part.array > 0).astype(np.uint8))  # a gland, always the right one

    monkeypatch.setattr(Model, "_segment", segment)
    glands = image.with_array(np.where(labels.array > 0, image.array, 0))
    places = [
        Place(name, (f"gland_{name}",), box_of_voxels(image.grid, box))
        for name, box in boxes_at(codes).items()
    ]
    model = Model((Member(plan_for(dataset, growths=0), ()),), locator=KnownPlaces(places))
    located = model.predict_located([VolumeSlabs(glands)])
    np.testing.assert_array_equal(assembled(located).array, labels.array)
    expected = np.where(scan()[1].array > 0, scan()[0].array, 0)
    np.testing.assert_array_equal(seen[0], expected[RIGHT])
    np.testing.assert_array_equal(seen[1], expected[LEFT][:, :, ::-1])
    assert all(piece.astray is None for piece in located.pieces)


def test_flags_of_what_was_annotated_change_sides_with_the_box(
    dataset: Dataset, tmp_path: Path
) -> None:
    plan = plan_for(dataset)

    def boxes(*_: object) -> dict[str, Slices]:
        return boxes_at("RAS")

    prepare_store(dataset, plan, tmp_path / "store", [dataset.case("a")], boxes)
    job = SimpleNamespace(
        open_store=lambda: Store(tmp_path / "store"),
        dataset=SimpleNamespace(
            annotated={"a": ("gland_left",)}, mirror_pairs=dataset.mirror_pairs
        ),
    )
    assert annotated_entries(job) == {  # type: ignore[arg-type]
        "a@right": ("gland_left",),
        "a@left": ("gland_right",),
    }
