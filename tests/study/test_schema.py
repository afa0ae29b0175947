"""A study as data: what its file may say, and what it amounts to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from acinus.config import validate
from acinus.errors import ConfigError, DataError
from acinus.study import Study, read_study
from acinus.study.claim import (
    arm_recipe,
    benchmark_recipe,
    check_parts,
    study_identity,
    varied_value,
)
from acinus.study.folders import StudyFolder
from acinus.study.session import open_session
from acinus.study.stated import study_of_file

ARMS = {"A": {"dataset": "/data/D1"}, "B": {"dataset": "/data/D2", "recipe": "lacrimal-2d"}}


def study(**changes: object) -> Study:
    return Study.model_validate({"study": "s", "arms": ARMS, **changes})


def test_variants_change_one_thing_at_a_time() -> None:
    varied = study(vary={"loss": ["dice", "jaccard"], "sampling": ["random"]})
    assert varied.variants() == [{"loss": "dice"}, {"loss": "jaccard"}, {"sampling": "random"}]


def test_crossed_variants_are_all_pairs() -> None:
    varied = study(vary={"loss": ["dice", "jaccard"], "sampling": ["random", "region"]}, cross=True)
    assert len(varied.variants()) == 4
    assert {"loss": "jaccard", "sampling": "region"} in varied.variants()
    assert study(cross=True).variants() == []


def test_a_single_setting_can_be_varied_beside_the_parts() -> None:
    varied = study(
        set={"train": {"lr": 0.5}, "predict": {"use_mirroring": True}},
        vary={"train.mirroring": ["swap", "plain"], "train.lr": [0.1], "loss": ["dice"]},
    )
    assert varied.variants()[1:] == [
        {"train.mirroring": "plain"},
        {"train.lr": 0.1},
        {"loss": "dice"},
    ]
    check_parts(varied)
    plain = arm_recipe(varied, "A", {"train.mirroring": "plain"})
    assert (plain.train.mirroring, plain.train.lr) == ("plain", 0.5)
    assert plain.predict.use_mirroring
    assert varied_value(plain, "train.mirroring") == "plain"
    assert varied_value(plain, "loss") == plain.loss.name


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ({"prepare.spacing_mm": ["x"]}, "unknown part to vary 'prepare.spacing_mm'.*train.SETTING"),
        ({"losses": ["dice"]}, "Did you mean 'loss'"),
        ({"loss": ["dise"]}, "unknown loss 'dise'.*Did you mean 'dice'"),
        ({"train.pretrained": ["../model"]}, "numbers or plain words; got '../model'"),
        ({"train.lr": [[1]]}, r"(?s)train\.lr.*valid number"),
    ],
)
def test_what_cannot_be_varied_is_refused(vary: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        study(vary=vary)


def test_numbers_that_yaml_takes_for_text_are_numbers() -> None:
    """YAML 1.1 reads 1e-3 as text: the main model would be trained twice."""
    one = study(set={"train": {"lr": 0.001}}, vary={"train.lr": ["1e-3", "2e-3"]})
    assert one.vary["train.lr"] == [0.001, 0.002]
    with pytest.raises(ValueError, match="must differ"):
        study(vary={"train.lr": ["1e-3", 0.001]})
    with pytest.raises(ValueError, match="must differ"):
        study(vary={"sampling": ["random", "random"]})


def test_a_varied_setting_is_checked_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'mirroring'"):
        check_parts(study(vary={"train.mirorring": ["plain"]}))
    with pytest.raises(ConfigError, match=r"train\.mirroring"):
        check_parts(study(vary={"train.mirroring": ["sideways"]}))


def test_changes_are_laid_over_in_order() -> None:
    one = study(
        set={"train": {"lr": 0.5, "batch": 3}},
        arms={"A": {"dataset": "/d", "set": {"train": {"batch": 5}}}},
        split={"folds": 3},
        folds_trained=2,
    )
    recipe = arm_recipe(one, "A", {"loss": "jaccard"})
    assert (recipe.train.lr, recipe.train.batch) == (0.5, 5)
    assert (recipe.folds, recipe.folds_trained) == (3, 2)
    assert recipe.loss.name == "jaccard"
    assert recipe.loss.config == {}


def test_an_arm_may_have_its_own_recipe() -> None:
    assert arm_recipe(study(), "A", {}).name == "auto"
    assert arm_recipe(study(), "B", {}).name == "lacrimal-2d"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"title": "Another title"}, True),
        ({"what_it_is": "words"}, True),
        ({"departures": ["a sentence"]}, True),
        ({"split": {"seed": 1}}, False),
        ({"split": {"holdout": 3}}, False),
        ({"split": {"holdout_needs": "all_arms"}}, False),
        ({"split": {"group_by": "source"}}, False),
        ({"split": {"stratify_by": "sex"}}, False),
        ({"split": {"note": "a sentence"}}, True),
        ({"set": {"train": {"lr": 0.5}}}, False),
        ({"vary": {"loss": ["jaccard"]}}, False),
        ({"budget": "10steps"}, False),
        ({"recipe": "lacrimal-2d"}, False),
        ({"folds_trained": 1}, False),
    ],
)
def test_identity_is_what_decides_the_results(changes: dict[str, object], same: bool) -> None:
    assert (study_identity(study(**changes)) == study_identity(study())) is same


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"set": {"loss": {"name": "dice", "config": {"smoth": 1}}}}, "Did you mean 'smooth'?"),
        ({"arms": {"A": {"dataset": "/d", "set": {"sampling": "regin"}}}}, "Did you mean 'region'"),
        ({"set": {"network": {"config": {"featurs": [4, 8]}}}}, "Did you mean 'features'?"),
        ({"set": {"train": {"lr": -1}}}, "'train.lr'"),
    ],
)
def test_parts_are_checked_before_anything_runs(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_parts(study(**changes), where="s.yaml")
    assert str(caught.value).startswith("s.yaml: ")
    assert words in str(caught.value)


def test_a_study_needs_data_or_a_phantom(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    stated = {"study": "s", "arms": {"A": {"dataset": "D1"}}}
    path.write_text(yaml.safe_dump(stated))
    with pytest.raises(ConfigError, match="'data' must name the folder of the datasets"):
        read_study(path)
    path.write_text(yaml.safe_dump({**stated, "phantom": {"patients": 4}}))
    phantom = read_study(path).phantom
    assert phantom is not None
    assert phantom.patients == 4


def test_an_abdominal_phantom_has_its_own_sizes() -> None:
    phantom = study(phantom={"kind": "abdomen", "patients": 20}).phantom
    assert phantom is not None and phantom.size == "small"
    orbit = study(phantom={"patients": 4}).phantom
    assert orbit is not None and orbit.size == "mixed"
    assert study(phantom=phantom.model_dump(exclude_unset=True)).phantom == phantom


@pytest.mark.parametrize(
    ("phantom", "words"),
    [
        ({"kind": "abdomen", "patients": 8}, "at least 9, one for each centre; got 8"),
        ({"kind": "abdomen", "size": 256}, "'abdomen' must be one of small, full; got 256"),
        ({"kind": "orbit", "size": "small"}, "'orbit' must be one of mixed, 256, 512; got 'small'"),
        ({"kind": "abdomen", "counts": "all"}, "phantom.counts belongs to 'orbit'"),
    ],
)
def test_settings_of_another_phantom_are_refused(phantom: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Study, {"study": "s", "arms": ARMS, "phantom": phantom}, where="s.yaml")
    assert words in str(caught.value)


def test_a_study_makes_the_phantom_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Made(Exception):
        """Stands for the cohort."""

    def make(base: Path, **wish: object) -> None:
        raise Made(base.name, wish)

    monkeypatch.setattr("acinus.study.session.make_abdomen_cohort", make)
    phantom = {"kind": "abdomen", "patients": 12, "seed": 4}
    folder = StudyFolder(tmp_path / "out", is_run=False)
    known = study(phantom=phantom, arms={"A": {"dataset": "Dataset022_PancreasT2"}})
    with pytest.raises(Made) as made:
        open_session(known, folder, jobs=2)
    assert made.value.args == ("data", {"patients": 12, "seed": 4, "size": "small", "jobs": 2})
    other = study(phantom=phantom, arms={"A": {"dataset": "Dataset021_PancreasT2"}})
    with pytest.raises(DataError, match=r"unknown phantom dataset.*Did you mean 'Dataset02"):
        open_session(other, folder, jobs=1)


def test_a_study_survives_being_written(tmp_path: Path) -> None:
    one = study(vary={"loss": ["jaccard"]}, budget="10steps", split={"holdout": 2, "seed": 9})
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(one.model_dump(mode="json", exclude_unset=True)))
    again = read_study(path)
    assert again == one
    assert study_identity(again) == study_identity(one)


def test_who_is_kept_for_the_test_is_said_once() -> None:
    split = study(split={"external": {"site": ["B", 3]}}).split
    assert split.external == {"site": ["B", 3]} and split.holdout is None
    with pytest.raises(ValueError, match="both say who is kept for the test; state one"):
        study(split={"external": {"site": ["B"]}, "holdout": 0.2})


NETWORKS = {"A": {}, "B": {"network": "plain_unet"}}


def test_an_arm_may_have_external_centres_of_its_own() -> None:
    arms = {**ARMS, "B": {**ARMS["B"], "external": {"site": ["z"]}}}
    both = study(arms=arms, split={"external": {"site": ["x"]}})
    assert both.external("A") == {"site": ["x"]}
    assert both.external("B") == {"site": ["z"]}
    assert study_identity(both) != study_identity(study(split={"external": {"site": ["x"]}}))


def test_networks_of_a_benchmark_differ_from_the_recipe_by_what_they_state() -> None:
    compared = study(
        arms={"A": ARMS["A"]},
        recipe="pansegnet-3d",
        set={"network": {"config": {"features": [8, 16], "n_layers": 2}}, "train": {"batch": 3}},
        benchmark={
            "networks": {
                "Own": {},
                "Deep": {"config": {"n_layers": 5}},
                "Plain": {"network": "plain_unet", "config": {"features": [4, 8]}},
                "Res": {"recipe": "nnunet-resenc-m", "network": "resenc_unet"},
            },
        },
    )
    check_parts(compared)
    own, deep, plain, res = (
        benchmark_recipe(compared, "A", name) for name in ("Own", "Deep", "Plain", "Res")
    )
    assert (own.network.name, own.network.config["n_layers"]) == ("pansegnet", 2)
    assert deep.network.config == {"features": [8, 16], "n_layers": 5}
    assert (plain.network.name, plain.network.config) == ("plain_unet", {"features": [4, 8]})
    assert (res.nnunet.encoder, res.network.config) == ("residual", {})
    for recipe in (own, deep, plain, res):
        assert (recipe.folds, recipe.folds_trained, recipe.train.batch) == (2, 1, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"benchmark": {"networks": {"A": {}}}}, "at least 2"),
        ({"benchmark": {"networks": {"A": {}, "../x": {}}}}, "plain words; got '../x'"),
        ({"benchmark": {"networks": {"A": {}, "B": {"network": "unet"}}}}, "unknown network"),
        ({"benchmark": {"networks": {"A": {}, "B": {"recipe": "no"}}}}, "unknown recipe 'no'"),
        ({"benchmark": {"networks": NETWORKS, "arms": ["Z"]}}, "unknown arm of the benchmark 'Z'"),
        (
            {"benchmark": {"networks": NETWORKS, "validation": 0.5, "test": 0.5}},
            "leave participants to train on",
        ),
        ({"readings": {"folders": {}}}, "at least 1"),
        ({"readings": {"folders": {"second": "x"}, "margin": 0}}, "greater than 0"),
        ({"cost": {"runs": 0}}, "greater than or equal to 1"),
    ],
)
def test_protocols_that_cannot_be_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        study(**changes)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["glands-ct", "glands-ct-real-shapes"])
def test_the_studies_of_glands_can_be_run_small_and_whole(name: str, full: bool) -> None:
    path = Path(__file__).parents[2] / "studies" / f"{name}.yaml"
    asked = {"budget": None, "folds": None, "seed": None, "settings": (), "data": None}
    whole = study_of_file(path, **asked, arms=None, vary=True, full=full, anatomy=Path("maps"))
    assert whole.phantom is not None and whole.phantom.anatomy == str(Path("maps").resolve())
    assert whole.phantom.size == ("full" if full else "small")
    assert [arm_recipe(whole, arm, {}).prepare.spacing_mm[0] for arm in whole.arms] == [
        1.0 if full else 2.2,
        3.0,
        9.0,
    ]
    finest = arm_recipe(whole, "finest", {})
    assert finest.rules == ("nnunet" if full else "auto")
    is_cut = name == "glands-ct" and full
    assert finest.locate.box_mm == ((375, 600, 600) if is_cut else None)
    assert finest.prepare.size_vox == ((375, 600, 600) if is_cut else None)
    assert {one["train.mirroring"] for one in whole.variants()} == {"plain", "none"}


def test_what_a_study_says_of_its_phantom_is_not_said_of_other_data(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "studies" / "glands-ct.yaml"
    folder = tmp_path / "Dataset031_HeadNeckCT"
    folder.mkdir()
    asked = {"budget": None, "folds": None, "seed": None, "settings": (), "data": tmp_path}
    for is_synthetic in (False, True):
        header = json.dumps({"synthetic": is_synthetic})
        (folder / "dataset.json").write_text(header, encoding="utf-8")
        found = study_of_file(path, **asked, arms=None, vary=True)
        assert bool(found.what_it_is) == is_synthetic
        assert bool(found.departures) == is_synthetic
        assert found.split.group_by == ("source" if is_synthetic else None)


@pytest.mark.parametrize("name", ["T1/FS", "..", " T1", "a:b", "what?", "T1."])
def test_names_of_arms_are_names_of_folders_everywhere(tmp_path: Path, name: str) -> None:
    path = tmp_path / "study.yaml"
    arms = {name: {"dataset": "D1"}, "other": {"dataset": "D2"}}
    path.write_text(yaml.safe_dump({"study": "s", "data": "d", "arms": arms}), encoding="utf-8")
    asked = {"budget": None, "folds": None, "seed": None, "settings": (), "data": None}
    with pytest.raises(ConfigError, match="names of arms name folders"):
        study_of_file(path, **asked, arms=None, vary=True)
    twins = {"T1 FS, post": {"dataset": "D1"}, "t1 fs, POST": {"dataset": "D2"}}
    path.write_text(yaml.safe_dump({"study": "s", "data": "d", "arms": twins}), encoding="utf-8")
    with pytest.raises(ConfigError, match="would share a folder"):
        study_of_file(path, **asked, arms=None, vary=True)


def test_settings_of_the_command_line_hold_for_every_arm(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    wish = {
        "study": "s",
        "data": "d",
        "set": {"train": {"lr": 0.5}},
        "arms": {"A": {"dataset": "D1", "set": {"train": {"lr": 0.2}}}, "B": {"dataset": "D2"}},
    }
    path.write_text(yaml.safe_dump(wish), encoding="utf-8")
    asked = {"budget": None, "folds": None, "seed": None, "data": None}
    found = study_of_file(path, **asked, settings=["train.lr=0.1"], arms=None, vary=True)
    assert [arm_recipe(found, name, {}).train.lr for name in "AB"] == [0.1, 0.1]


def test_shapes_need_a_phantom(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("study: s\ndata: d\narms: {A: {dataset: D}}\n")
    asked = {"budget": None, "folds": None, "seed": None, "settings": (), "data": None}
    with pytest.raises(ConfigError, match="the study must have a 'phantom'; it has none"):
        study_of_file(path, **asked, arms=None, vary=True, anatomy=tmp_path)


@pytest.mark.parametrize("full", [False, True])
def test_the_pansegnet_study_can_be_run_small_and_whole(full: bool) -> None:
    path = Path(__file__).parents[2] / "studies" / "pansegnet.yaml"
    asked = {"budget": None, "folds": None, "seed": None, "settings": (), "data": None}
    whole = study_of_file(path, **asked, arms=None, vary=True, full=full)
    assert whole.phantom is not None and whole.benchmark is not None
    assert whole.phantom.size == ("full" if full else "small")
    assert (whole.budget is None) == full
    recipe = arm_recipe(whole, "T1W", {})
    assert recipe.folds == 5 and recipe.folds_trained is None
    assert arm_recipe(whole, "CT", {}).folds_trained == (None if full else 1)
    assert recipe.train.epochs == 600
    assert recipe.train.optimiser == ("sgd" if full else "adamw")
    one = study_of_file(path, **asked, arms=["CT"], vary=True, full=full)
    assert one.benchmark_arms() == (["CT"] if full else [])
    alone = study_of_file(path, **asked, arms=None, vary=False, full=full)
    assert alone.benchmark is None


def test_the_external_model_is_about_external_cases() -> None:
    outside = {"external": {"site": ["x"]}}
    best = study(split={**outside, "external_model": "best_fold"})
    assert study(split=outside).split.external_model == "folds_mean"
    assert study_identity(best) != study_identity(study(split=outside))
    with pytest.raises(ValueError, match="is about external cases"):
        study(split={"external_model": "best_fold"})
