"""When structures are found first, what the plan says of it, and what the segment stage sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from made_cases import case_facts, fingerprint_of

from acinus.cohort import Dataset
from acinus.errors import ConfigError, PlanError
from acinus.plan import Fingerprint, Plan, explain_plan, load_recipe, make_plan
from acinus.plan.fingerprint import CaseFacts
from acinus.plan.locate import in_boxes, places_of
from acinus.prepare.geometry import make_geometry
from acinus.scans import Volume
from acinus.scans.box import Box, crop, voxels_in
from made_plan import made_fingerprint, unread_dataset

GLANDS = {"parotid_right": 1, "parotid_left": 2, "lacrimal_right": 3}
STRUCTURES = {"neck": ("parotid_right", "parotid_left"), "eye": ("lacrimal_right", "parotid_left")}


def glands(**changes: Any) -> Dataset:
    return unread_dataset(
        labels=GLANDS, channel_names=("CT",), sides={}, mirror_pairs=(), **changes
    )


def far_apart(shape_vox: tuple[int, int, int] = (600, 512, 512)) -> Fingerprint:
    """Three glands of a few mL in a scan of 1 mm voxels."""
    case = case_facts(
        shape_vox,
        volume_ml={"parotid_right": 30.0, "parotid_left": 30.0, "lacrimal_right": 0.8},
        extent_mm={
            "parotid_right": (50.0, 30.0, 30.0),
            "parotid_left": (50.0, 30.0, 30.0),
            "lacrimal_right": (15.0, 15.0, 10.0),
        },
        centroid_mm={
            "parotid_right": (400.0, 250.0, 300.0),
            "parotid_left": (400.0, 250.0, 200.0),
            "lacrimal_right": (480.0, 300.0, 280.0),
        },
    )
    return on_ct([case] * 4)


def on_ct(cases: Sequence[CaseFacts]) -> Fingerprint:
    """The fingerprint of a CT dataset."""
    known = made_fingerprint().foreground["T1"]
    return fingerprint_of(
        cases, labels=GLANDS, channel_names=("CT",), foreground={"CT": known, "T1": known}
    )


def plan_of(
    fingerprint: Fingerprint, dataset: Dataset | None = None, recipe: str = "auto", **changes: Any
) -> Plan:
    changes = {"train": {"device": "cpu", "precision": "float32"}, **changes}
    return make_plan(
        dataset or glands(structures=STRUCTURES),
        fingerprint,
        load_recipe(recipe, changes),
        seed=1,
    )


def test_tiny_structures_of_a_large_scan_are_found_first() -> None:
    plan = plan_of(far_apart())
    assert plan.settings.locate.stage == "network"
    facts = plan.decisions["locate.stage"].facts
    assert facts["median_scan_voxels"] == 600 * 512 * 512
    boxes_mm3 = 80 * 60 * 160 + 45 * 45 * 40
    assert facts["share_of_scan_in_boxes"] == pytest.approx(boxes_mm3 / (600 * 512 * 512), abs=1e-4)
    text = " ".join(explain_plan(plan).split())
    assert "Locate: where the structures are" in text
    assert "structures are found first where boxes around them fill at most 5%" in text


def test_every_label_has_one_place() -> None:
    assert places_of(glands(structures=STRUCTURES)) == (
        ("neck", ("parotid_right", "parotid_left")),
        ("eye", ("lacrimal_right",)),
    )
    assert places_of(glands()) == tuple((name, (name,)) for name in GLANDS)


@pytest.mark.parametrize(
    "fingerprint",
    [
        far_apart((120, 120, 120)),
        on_ct([case_facts((32, 64, 64), volume_ml=dict.fromkeys(GLANDS, 0.0))] * 4),
    ],
    ids=["small scan", "no labels"],
)
def test_small_scans_are_segmented_whole_and_their_plans_say_nothing_of_it(
    fingerprint: Fingerprint,
) -> None:
    plan = plan_of(fingerprint)
    assert not plan.is_located
    assert not [name for name in plan.decisions if name.startswith("locate")]


def test_crops_around_structures_are_segmented_whole() -> None:
    case = case_facts(
        (256, 256, 256),
        volume_ml={"parotid_right": 900.0, "parotid_left": 0.0, "lacrimal_right": 0.0},
        extent_mm={"parotid_right": (150.0, 150.0, 150.0)},
        centroid_mm={"parotid_right": (128.0, 128.0, 128.0)},
    )
    assert not plan_of(on_ct([case] * 3)).is_located


def test_the_user_forces_and_forbids_it() -> None:
    forced = plan_of(far_apart((120, 120, 120)), locate={"stage": "network"})
    assert forced.decisions["locate.stage"].source == "user"
    forbidden = plan_of(far_apart(), locate={"stage": "off"})
    assert not forbidden.is_located
    assert forbidden.decisions["locate.stage"].source == "user"


def test_published_recipes_have_none_unless_asked() -> None:
    assert not plan_of(far_apart(), recipe="nnunet-3d").is_located
    with pytest.raises(PlanError, match="a cascade sees the whole scan"):
        plan_of(far_apart(), recipe="nnunet-3d-cascade", locate={"stage": "network"})


def test_rules_need_a_ct() -> None:
    plan = plan_of(far_apart(), locate={"stage": "rules"})
    assert plan.settings.locate.stage == "rules"
    dataset = unread_dataset(labels=GLANDS, sides={}, mirror_pairs=())
    with pytest.raises(PlanError, match="the first channel must be CT; got 'T1'"):
        plan_of(far_apart(), dataset, locate={"stage": "rules"})


def test_the_segment_stage_is_planned_for_boxes() -> None:
    plan, fingerprint = plan_of(far_apart()), far_apart()
    seen = in_boxes(fingerprint, plan.settings.locate)
    assert len(seen.cases) == 2 * len(fingerprint.cases)
    sizes = {name: case.shape_vox for name, case in seen.cases.items() if name.startswith("p00")}
    assert sizes == {"p00, neck": (80, 60, 160), "p00, eye": (45, 45, 40)}
    assert max(plan.settings.train.patch_vox) <= 160
    whole = plan_of(far_apart(), locate={"stage": "off"})
    assert plan.settings.train.patch_vox != whole.settings.train.patch_vox


def test_a_plan_comes_back_from_its_settings() -> None:
    plan = plan_of(far_apart())
    locate = plan.settings.locate
    assert locate.places == (("neck", ("parotid_right", "parotid_left")),
                             ("eye", ("lacrimal_right",)))  # fmt: skip
    assert 3 <= (locate.spacing_mm or 0) <= 6
    litres = plan.decisions["locate.spacing_mm"].facts["median_scan_litres"]
    assert litres == pytest.approx(np.prod((600, 512, 512)) / 1e6, abs=0.01)


def test_a_place_of_an_unknown_label_is_refused() -> None:
    with pytest.raises(PlanError, match=r"locate\.places: unknown label 'parotis'"):
        plan_of(far_apart(), locate={"stage": "network", "places": [["neck", ["parotis"]]]})


def test_folds_of_the_coarse_network_alone_are_refused() -> None:
    """Its folds locate the cases of the segment stage: with fewer a run could never be finished."""
    locate = {"stage": "network", "config": {"folds_trained": 1}}
    with pytest.raises(
        PlanError, match=r"must leave the folds to the segment stage.*folds_trained"
    ):
        plan_of(far_apart(), locate=locate)


def test_every_label_must_have_a_place() -> None:
    places = [["neck", ["parotid_right", "parotid_left"]]]
    with pytest.raises(PlanError, match=r"must hold every label.*lacrimal_right is in none"):
        plan_of(far_apart(), locate={"stage": "network", "places": places})


def test_boxes_of_one_size_are_planned_as_large_as_they_will_be() -> None:
    plan = plan_of(far_apart(), locate={"stage": "rules", "box_mm": [375, 600, 300]})
    assert plan.decisions["locate.box_mm"].value == [375, 600, 300]
    assert "locate.box_mm" not in plan_of(far_apart(), locate={"stage": "rules"}).decisions
    seen = in_boxes(far_apart(), plan.settings.locate)
    assert {case.shape_vox for case in seen.cases.values()} == {(375, 512, 300)}
    with pytest.raises(ConfigError, match="must be three lengths above 0 mm"):
        plan_of(far_apart(), locate={"stage": "rules", "box_mm": [375, 0, 300]})


@pytest.mark.parametrize(
    ("step_mm", "size"), [(1.0, (375, 600, 600)), (3.0, (125, 200, 200)), (9.0, (42, 67, 67))]
)
@pytest.mark.parametrize("slice_mm", [1.0, 1.37, 1.9, 5.0])
def test_the_sizes_of_the_report_on_glands_are_made(
    step_mm: float, size: tuple[int, int, int], slice_mm: float
) -> None:
    plan = plan_of(
        far_apart(),
        recipe="nnunet-3d",
        locate={"stage": "rules", "box_mm": [375, 600, 600]},
        prepare={"spacing_mm": [step_mm] * 3, "size_vox": list(size)},
    )
    assert plan.settings.prepare.spacing_mm == (step_mm,) * 3
    assert plan.settings.prepare.size_vox == size
    assert all(0 < n <= 2 * size[1] for n in plan.patch_vox)
    shape = round(600 / slice_mm), 130, 130
    whole = Volume(np.zeros(shape, np.int16), np.diag([5.0, 5.0, slice_mm, 1.0]))
    middle = Box((322, 322, 300), (322, 322, 300)).sized((600, 600, 375))
    voxels = voxels_in(whole.grid, middle)
    assert voxels is not None
    part = crop(whole, voxels)
    geometry = make_geometry(part.grid, part.grid, plan.settings.prepare, None)
    assert geometry.prepared_vox == size


def test_cases_without_a_structure_do_not_make_it_look_small() -> None:
    """Three of five CTs lack what fills a quarter of the others."""
    shape = (600, 512, 512)
    large = case_facts(
        shape,
        volume_ml={**dict.fromkeys(GLANDS, 0.0), "parotid_right": 20_000.0},
        extent_mm={"parotid_right": (400.0, 300.0, 300.0)},
        centroid_mm={"parotid_right": (300.0, 250.0, 250.0)},
    )
    without = case_facts(shape, volume_ml=dict.fromkeys(GLANDS, 0.0))
    assert not plan_of(on_ct([large] * 2 + [without] * 3)).is_located


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([["a", ["parotid_right"]], ["a", list(GLANDS)[1:]]], "each place once.*'a'"),
        ([["a", list(GLANDS)], ["b", ["parotid_right"]]], "each label once.*'parotid_right'"),
        ([["a", list(GLANDS)], ["b", []]], "each place a label; 'b' has none"),
    ],
)
def test_places_that_would_lose_a_label_are_refused(places: Any, told: str) -> None:
    with pytest.raises(PlanError, match=told):
        plan_of(far_apart(), locate={"stage": "network", "places": places})
