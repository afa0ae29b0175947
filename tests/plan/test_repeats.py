"""How often a training shows its data, and when its augmentation is made stronger."""

from __future__ import annotations

from typing import Any

import pytest

from acinus.plan import (
    ENOUGH_STEPS,
    Fingerprint,
    Plan,
    against_learning_by_heart,
    load_recipe,
    make_plan,
)
from acinus.plan.repeats import MANY_PASSES, STRONGER, count_passes
from made_plan import made_fingerprint, unread_dataset

ISOTROPIC = ((1.0, 1.0, 1.0),) * 10


def planned(fingerprint: Fingerprint, n_steps: int, **changes: Any) -> Plan:
    """A plan of `auto` with so many steps, in one epoch."""
    train = {"device": "cpu", "precision": "float32", "epochs": 1, "steps_per_epoch": n_steps}
    recipe = load_recipe("auto", {**changes, "train": {**train, **changes.pop("train", {})}})
    return make_plan(unread_dataset(), fingerprint, recipe, seed=7)


def strengthened(plan: Plan, fingerprint: Fingerprint, n_learned: int) -> bool:
    after = against_learning_by_heart(plan, fingerprint, n_learned)
    changed = {name for name in plan.decisions if plan.decisions[name] != after.decisions[name]}
    assert changed <= {f"augment.{name}" for name in STRONGER}
    return bool(changed)


def test_whole_images_as_patches_are_passes_over_the_cases() -> None:
    """100 steps of 4 whole images of 10 cases, of which 8 are learned: 50 times each."""
    facts = made_fingerprint(ISOTROPIC, [(32, 32, 32)] * 10)
    plan = planned(facts, 100, train={"patch_vox": [32, 32, 32], "batch": 4})
    assert count_passes(plan, facts, 8) == pytest.approx(50)


def test_padding_is_not_counted() -> None:
    """A patch larger than the image shows the image once."""
    facts = made_fingerprint(ISOTROPIC, [(32, 32, 32)] * 10)
    plan = planned(facts, 100, train={"patch_vox": [32, 48, 64], "batch": 4})
    assert count_passes(plan, facts, 8) == pytest.approx(50)


def test_small_patches_show_a_part() -> None:
    facts = made_fingerprint(ISOTROPIC, [(64, 64, 64)] * 10)
    plan = planned(facts, 100, train={"patch_vox": [32, 32, 32], "batch": 4})
    assert count_passes(plan, facts, 8) == pytest.approx(50 / 8)


def test_voxels_are_those_of_the_planned_grid() -> None:
    """At twice the spacing an image is as large as the patch."""
    facts = made_fingerprint(ISOTROPIC, [(64, 64, 64)] * 10)
    train = {"patch_vox": [32, 32, 32], "batch": 4}
    plan = planned(facts, 100, prepare={"spacing_mm": [2.0, 2.0, 2.0]}, train=train)
    assert count_passes(plan, facts, 8) == pytest.approx(50)


def test_patches_of_slices_count_as_parts_of_the_volume() -> None:
    """Slices along X: 20 of 32 x 32."""
    facts = made_fingerprint([(1.0, 1.0, 4.0)] * 10, [(32, 32, 20)] * 10)
    train = {"patch_vox": [32, 32], "batch": 4}
    plan = planned(facts, 100, prepare={"slice_axis": "X"}, train=train)
    assert count_passes(plan, facts, 8) == pytest.approx(50 / 20)


def test_few_cases_seen_often_in_a_long_training_are_changed_more() -> None:
    facts = made_fingerprint(ISOTROPIC, [(32, 32, 32)] * 10)
    train = {"patch_vox": [32, 32, 32], "batch": 4}
    long = planned(facts, ENOUGH_STEPS, train=train)
    assert strengthened(long, facts, 8)
    after = against_learning_by_heart(long, facts, 8)
    for name, value in STRONGER.items():
        assert getattr(after.settings.augment, name) == value
        assert after.decisions[f"augment.{name}"].facts["steps"] == ENOUGH_STEPS
    assert not strengthened(planned(facts, ENOUGH_STEPS - 1, train=train), facts, 8)


def test_many_cases_are_not_learned_by_heart_however_long_it_takes() -> None:
    facts = made_fingerprint(ISOTROPIC, [(32, 32, 32)] * 10)
    plan = planned(facts, ENOUGH_STEPS, train={"patch_vox": [32, 32, 32], "batch": 1})
    n_learned = ENOUGH_STEPS // MANY_PASSES
    assert strengthened(plan, facts, n_learned)
    assert not strengthened(plan, facts, n_learned + 1)


def test_what_the_user_set_stays() -> None:
    facts = made_fingerprint(ISOTROPIC, [(32, 32, 32)] * 10)
    train = {"patch_vox": [32, 32, 32], "batch": 4}
    plan = planned(facts, ENOUGH_STEPS, augment={"rotate_degrees": 5.0}, train=train)
    after = against_learning_by_heart(plan, facts, 8)
    assert after.settings.augment.rotate_degrees == 5.0
    assert after.settings.augment.rotate == STRONGER["rotate"]
