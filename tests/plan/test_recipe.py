"""Recipes as they ship, and changes laid over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from acinus.errors import ConfigError
from acinus.plan import list_recipes, load_recipe, make_plan, parse_settings
from made_plan import TINY, made_fingerprint, unread_dataset


def test_every_recipe_plans_a_dataset() -> None:
    names = [name for name, _ in list_recipes()]
    assert names == [
        "auto",
        "lacrimal-2d",
        "nnunet-2d",
        "nnunet-3d",
        "nnunet-3d-cascade",
        "nnunet-3d-lowres",
        "nnunet-resenc-l",
        "nnunet-resenc-m",
        "nnunet-resenc-xl",
        "pansegnet-3d",
        "unet-2d",
    ]
    small = made_fingerprint()
    large = made_fingerprint([(1.0, 0.8, 0.8)] * 2, [(400, 512, 512)] * 2)
    for name, summary in list_recipes():
        recipe = load_recipe(name)
        assert summary
        assert recipe.summary == summary
        assert recipe.name == name
        needs_large = recipe.nnunet.configuration in ("3d_lowres", "3d_cascade")
        fingerprint = large if needs_large else small
        plan = make_plan(unread_dataset(), fingerprint, recipe, seed=1)
        if recipe.rules == "slices":
            assert plan.settings.network == recipe.network


def test_the_study_recipe_holds_what_the_paper_states() -> None:
    recipe = load_recipe("lacrimal-2d")
    assert recipe.prepare.normalisation == "min_max"
    assert recipe.prepare.size_vox == (512, 512)
    assert recipe.sampling.name == "region"
    assert recipe.loss.name == "dice"
    assert recipe.train.epochs == 200
    assert recipe.folds == 4
    assert recipe.predict.overlap == 0.25
    assert recipe.predict.postprocess == "largest_component"
    assert recipe.network.config["features"] == [64, 128, 256, 512, 1024]


def test_the_pancreas_recipe_differs_from_nnunets_in_network_and_epochs() -> None:
    ours, theirs = (
        load_recipe(name).model_dump(exclude={"name", "summary"})
        for name in ("pansegnet-3d", "nnunet-3d")
    )
    differing = {key for key in ours if ours[key] != theirs[key]}
    assert differing == {"network", "train"}
    assert ours["network"]["name"] == "pansegnet"
    assert ours["train"] == {**theirs["train"], "epochs": 600}


def test_a_plan_tells_the_papers_choices_from_ours_and_the_users() -> None:
    recipe = load_recipe("lacrimal-2d", parse_settings(["train.lr=0.01", "folds=3"]))
    decisions = make_plan(unread_dataset(), made_fingerprint(), recipe, seed=1).decisions
    assert decisions["loss.name"].source == "paper"
    assert decisions["train.epochs"].source == "paper"
    assert decisions["train.batch"].source == "ours"
    assert decisions["train.lr"].source == "user"
    assert decisions["folds"].source == "user"
    assert decisions["prepare.spacing_mm"].source == "data"


@pytest.mark.parametrize("text", ["loss=jaccard", "loss.name=jaccard", "loss={name: jaccard}"])
def test_a_part_named_by_the_user_is_no_longer_the_papers(text: str) -> None:
    recipe = load_recipe("lacrimal-2d", parse_settings([text]))
    assert recipe.loss.name == "jaccard"
    decisions = make_plan(unread_dataset(), made_fingerprint(), recipe, seed=1).decisions
    assert decisions["loss.name"].source == "user"


def test_another_part_does_not_inherit_the_settings_of_the_one_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "loss: {name: weighted_ce, config: {weights: [1, 5, 5]}}\n"
        "sampling: {name: region, config: {share: 0.7}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(str(path), {"loss": "dice", "sampling": {"config": {"share": 0.6}}})
    assert recipe.loss.name == "dice"
    assert recipe.loss.config == {}
    assert recipe.sampling.name == "region"
    assert recipe.sampling.config == {"share": 0.6}
    same = load_recipe(str(path), {"loss": {"name": "weighted_ce"}})
    assert same.loss.config == {"weights": [1, 5, 5]}


def test_a_recipe_of_ones_own_takes_its_name_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "parotid.yaml"
    path.write_text("train: {lr: 0.5}\n", encoding="utf-8")
    recipe = load_recipe(str(path))
    assert recipe.name == "parotid"
    assert recipe.train.lr == 0.5


def test_settings_are_read_as_yaml_and_nested() -> None:
    assert parse_settings(
        [
            "train.lr=0.01",
            "network.config.features=[4, 8]",
            "prepare.size_vox=null",
            "loss=dice",
            "name=a=b",
        ]
    ) == {
        "train": {"lr": 0.01},
        "network": {"config": {"features": [4, 8]}},
        "prepare": {"size_vox": None},
        "loss": "dice",
        "name": "a=b",
    }


@pytest.mark.parametrize("text", ["train.lr", "=3", " =3"])
def test_an_assignment_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set must be key=value such as train\.lr=0\.01; got"):
        parse_settings([text])


def test_on_and_off_are_words_where_a_setting_knows_them(tmp_path: Path) -> None:
    """YAML 1.1 takes them for true and false."""
    changes = parse_settings(["locate.stage=off", "train.compile=on", "predict.use_mirroring=off"])
    recipe = load_recipe("auto", changes)
    assert (recipe.locate.stage, recipe.train.compile) == ("off", "on")
    assert recipe.predict.use_mirroring is False
    own = tmp_path / "mine.yaml"
    own.write_text("name: mine\nlocate: {stage: off}\ntrain: {compile: off}\n", encoding="utf-8")
    recipe = load_recipe(str(own))
    assert (recipe.locate.stage, recipe.train.compile) == ("off", "off")


def test_a_value_that_is_not_yaml_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^--set train\.lr: the value must be YAML .*'\[1'"):
        parse_settings(["train.lr=[1"])


@pytest.mark.parametrize("order", [1, -1])
def test_a_section_and_a_part_of_it_cannot_both_be_set(order: int) -> None:
    with pytest.raises(ConfigError, match=r"--set train\.lr must not go with --set train:"):
        parse_settings(["train=3", "train.lr=0.1"][::order])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["train.lrr=1"], "unknown key 'train.lrr'. Did you mean 'lr'?"),
        (["trian.lr=1"], "unknown key 'trian'. Did you mean 'train'?"),
        (["prepare.spacing=1"], "unknown key 'prepare.spacing'. Did you mean"),
        (["train.lr=-1"], "'train.lr': must be greater than 0; got -1."),
        (["train.lr=fast"], "'train.lr': must be a valid number"),
        (["train.patch_vox=[0, 16]"], "'train.patch_vox': must be lengths of at least 1 voxel"),
        (["prepare.size_vox=[64, 0]"], "'prepare.size_vox': must be two or three lengths"),
        (["augment.scale_range=[0, 1]"], "'augment.scale_range': must be two factors above 0"),
        (
            ["augment.brightness_range=[2, 1]"],
            "'augment.brightness_range': must be two factors above 0",
        ),
        (["folds=1"], "'folds': must be greater than or equal to 2; got 1."),
    ],
)
def test_a_change_that_cannot_be_is_one_sentence(changes: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe("unet-2d", parse_settings(changes))
    assert str(error.value).startswith("recipe 'unet-2d' with changes: ")
    assert sentence in str(error.value)


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe("lacrimal2d")
    assert str(error.value) == (
        "unknown recipe 'lacrimal2d'. Known: auto, lacrimal-2d, nnunet-2d, nnunet-3d, "
        "nnunet-3d-cascade, nnunet-3d-lowres, nnunet-resenc-l, nnunet-resenc-m, "
        "nnunet-resenc-xl, pansegnet-3d, unet-2d. "
        "Did you mean 'lacrimal-2d'?"
    )


def test_a_fault_in_a_recipe_file_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("summary: mine\ntrain:\n  batch: 4\n  epoch: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_recipe(str(path))
    assert str(error.value) == (
        "recipe own.yaml line 4: unknown key 'train.epoch'. Did you mean 'epochs'?"
    )


def test_provenance_that_names_no_setting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("provenance: {train.rate: paper}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"provenance names 'train\.rate', which is no setting"):
        load_recipe(str(path))


def test_changes_leave_the_callers_mapping_alone() -> None:
    changes = {"loss": "dice", "train": {"lr": 0.1}}
    load_recipe("unet-2d", changes)
    load_recipe("unet-2d", TINY)
    assert changes == {"loss": "dice", "train": {"lr": 0.1}}


def test_what_a_recipe_of_ones_own_states_is_not_decided_by_rules(tmp_path: Path) -> None:
    """A copy of a recipe, changed: what is stated stays, what is left open is decided."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "rules: nnunet\nnetwork: {name: plain_unet}\n"
        "train: {mirror_axes: [Y], patch_vox: [16, 32, 32], batch: 4}\n",
        encoding="utf-8",
    )
    fingerprint = made_fingerprint([(1.0, 1.0, 1.0)] * 4, [(40, 40, 40)] * 4)
    plan = make_plan(unread_dataset(), fingerprint, load_recipe(str(path)), seed=1)
    train = plan.settings.train
    assert (train.mirror_axes, train.patch_vox, train.batch) == (("Y",), (16, 32, 32), 4)
    assert plan.decisions["train.batch"].source == "user"
    assert plan.decisions["network.config"].value["strides"]
