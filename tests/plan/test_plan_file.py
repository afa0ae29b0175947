"""The plan: its file, its hash, what it refuses, and settings that follow its decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from acinus.errors import ConfigError, PlanError
from acinus.plan import Decision, Plan, load_recipe, make_plan, read_plan, write_plan
from made_plan import TINY, made_fingerprint, made_plan, unread_dataset


@pytest.mark.parametrize("recipe", ["unet-2d", "lacrimal-2d"])
def test_a_plan_comes_back_whole_with_its_hash(tmp_path: Path, recipe: str) -> None:
    plan = make_plan(
        unread_dataset(labels={"Drüse rechts": 1, "no": 2}, sides={}, mirror_pairs=()),
        made_fingerprint().model_copy(update={"labels": {}}),
        load_recipe(recipe, {"train": {"lr": 1e-5, "weight_decay": 0}}),
        seed=3,
    )
    path = tmp_path / "plan.yaml"
    write_plan(plan, path)
    again = read_plan(path)
    assert again.hash() == plan.hash()
    assert again.settings == plan.settings
    assert again.dataset == plan.dataset
    assert list(again.dataset.labels) == ["Drüse rechts", "no"]
    write_plan(again, path)
    assert read_plan(path).hash() == plan.hash()


def test_the_hash_follows_what_decides_the_result_and_nothing_else() -> None:
    plan = made_plan()
    assert made_plan().hash() == plan.hash()
    others = [
        made_plan(seed=8),
        made_plan({"train": {"lr": 0.5}}),
        made_plan({"loss": "dice"}),
        made_plan(fingerprint=made_fingerprint().model_copy(update={"dataset_hash": "1" * 64})),
        made_plan(dataset=unread_dataset(mirror_pairs=(), sides={})),
    ]
    assert len({plan.hash(), *(other.hash() for other in others)}) == len(others) + 1
    for field, value in {"acinus": "99.0", "summary": "other words"}.items():
        assert plan.model_copy(update={field: value}).hash() == plan.hash()


def test_replaced_decisions_reach_the_settings_already_read() -> None:
    plan = made_plan()
    assert plan.settings.train.epochs == 3  # fills the cache
    decision = Decision(value=11, rule="measured", source="budget")
    changed = plan.with_decisions({"train.epochs": decision})
    assert changed.settings.train.epochs == 11
    assert changed.n_steps == 11 * 2
    assert changed.hash() != plan.hash()
    assert changed.decisions["train.epochs"] == decision
    assert plan.settings.train.epochs == 3
    assert plan.decisions["train.epochs"].value == 3


def test_making_a_plan_touches_no_global_random_state() -> None:
    before = torch.random.get_rng_state().clone()
    made_plan()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_facts_of_the_data_become_facts_of_the_plan() -> None:
    fingerprint = made_fingerprint([(3.0, 0.5, 0.5)] * 3, [(8, 40, 40)] * 3)
    plan = made_plan(fingerprint=fingerprint)
    assert plan.dataset.volume_ranges_ml == {"gland_right": (0.5, 2.5)}
    assert plan.dataset.hash == "0" * 64
    assert plan.n_classes == 3


def test_the_mirror_table_swaps_partners_and_nothing_else() -> None:
    labels = {"gland_right": 1, "nerve": 2, "gland_left": 3}
    plan = made_plan(dataset=unread_dataset(labels=labels))
    assert plan.mirror_table == (0, 3, 2, 1)


def test_the_mirror_table_of_regions_swaps_value_by_value() -> None:
    """Gland 1 and 2 with cyst 2 on the right, gland 4 and 3 with cyst 3 on the left, nerve 5."""
    regions = {
        "gland_right": (1, 2),
        "cyst_right": (2,),
        "gland_left": (4, 3),
        "cyst_left": (3,),
        "nerve": (5,),
    }
    dataset = unread_dataset(
        labels={name: values[0] for name, values in regions.items()},
        regions=regions,
        mirror_pairs=(("gland_right", "gland_left"), ("cyst_right", "cyst_left")),
    )
    plan = made_plan(dataset=dataset)
    assert plan.mirror_table == (0, 4, 3, 2, 1, 5)
    assert plan.n_classes == 5


@pytest.mark.parametrize(
    ("axis", "axes"),
    [("Z", ("Z", "Y", "X")), ("Y", ("Y", "Z", "X")), ("X", ("X", "Z", "Y"))],
)
def test_axes_of_prepared_arrays_follow_the_slice_axis(axis: str, axes: tuple[str, ...]) -> None:
    assert made_plan({"prepare": {"slice_axis": axis}}).axes == axes


@pytest.mark.parametrize(
    ("trained", "folds"), [(None, (0, 1)), (1, (0,)), (2, (0, 1)), (9, (0, 1))]
)
def test_folds_trained_never_exceed_the_folds(trained: int | None, folds: tuple[int, ...]) -> None:
    assert made_plan({"folds_trained": trained}).folds_to_train == folds


@pytest.mark.parametrize("size_vox", [None, [64, 64]])
def test_a_patch_the_network_cannot_halve_is_refused_with_the_nearest(
    size_vox: list[int] | None,
) -> None:
    changes = {
        "prepare": {"size_vox": size_vox},
        "train": {"patch_vox": [40, 50]},
        "network": {"config": {"features": [4, 8, 16, 32]}},
    }
    with pytest.raises(PlanError) as error:
        made_plan(changes)
    assert str(error.value) == (
        "train.patch_vox must be divisible by the network stride (8, 8); got (40, 50). "
        "Nearest valid: (40, 48)."
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train": {"patch_vox": [16, 16, 16]}},
            r"unet_2d has 2 and the patch \(16, 16, 16\) has 3",
        ),
        ({"network": "unet_3d"}, r"unet_3d has 3 and the patch \(16, 16\) has 2"),
    ],
)
def test_a_patch_with_other_axes_than_the_network_is_refused(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(PlanError, match=sentence):
        made_plan(changes)


def test_mirroring_sides_without_partner_is_refused() -> None:
    dataset = unread_dataset(mirror_pairs=())
    with pytest.raises(PlanError) as error:
        made_plan(dataset=dataset)
    assert str(error.value) == (
        "dataset 'Made': labels with a side must have a partner in 'mirror_pairs' of "
        "dataset.json to be mirrored; these have none: gland_left, gland_right. "
        "Add the pairs, or set train.mirroring=none."
    )
    for train in ({"mirroring": "none"}, {"mirroring": "plain"}, {"mirror_axes": ["Y"]}):
        made_plan({"train": train}, dataset=dataset)


def test_an_unknown_part_is_refused_when_the_plan_is_made() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'unet_2dd'.*Did you mean 'unet_2d'\?"):
        made_plan({"network": "unet_2dd"})


def test_a_missing_plan_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="Make one with 'acinus plan'"):
        read_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("key", "value", "kind", "sentence"),
    [
        ("format", 99, PlanError, "plan format must be 1; got 99."),
        ("seeds", 3, ConfigError, "unknown key 'seeds'. Did you mean 'seed'?"),
        ("seed", "lots", ConfigError, "'seed': must be a valid integer"),
    ],
)
def test_an_altered_plan_file_is_named(
    tmp_path: Path, key: str, value: object, kind: type[Exception], sentence: str
) -> None:
    path = tmp_path / "plan.yaml"
    write_plan(made_plan(), path)
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**data, key: value}), encoding="utf-8")
    with pytest.raises(kind) as error:
        read_plan(path)
    assert str(path) in str(error.value)
    assert sentence in str(error.value)


def test_a_decision_that_is_no_setting_is_refused() -> None:
    plan: Plan = made_plan()
    strange = Decision(value=1, rule="by hand", source="user")
    with pytest.raises(ConfigError, match=r"unknown key 'train\.epoch'"):
        _ = plan.with_decisions({"train.epoch": strange}).settings


def test_the_tiny_changes_of_these_tests_are_settings() -> None:
    assert load_recipe("unet-2d", TINY).train.batch == 4
