"""nnU-Net's plan on our settings: what is decided, what the user may set, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from acinus.cohort import Dataset
from acinus.errors import PlanError
from acinus.losses import build_loss
from acinus.plan import Fingerprint, Recipe, load_recipe, make_plan, parse_settings
from acinus.plan.nnunet import decide_intensity, nnunet_decisions, planning_facts
from acinus.train.sampling import SAMPLINGS
from made_plan import made_fingerprint, unread_dataset

THICK = made_fingerprint([(3.0, 0.5, 0.5)] * 3, [(30, 320, 300)] * 3)
CUBES = made_fingerprint([(1.0, 1.0, 1.0)] * 60, [(36, 50, 35)] * 60)
LARGE = made_fingerprint([(1.0, 0.8, 0.8)] * 3, [(400, 512, 512)] * 3)
SAGITTAL = made_fingerprint([(0.5, 0.5, 3.0)] * 3, [(320, 300, 30)] * 3)

VOLUMES = ("nnunet-3d", "nnunet-resenc-m", "nnunet-resenc-l", "nnunet-resenc-xl")


def decide(
    recipe: str,
    fingerprint: Fingerprint = THICK,
    *changes: str,
    dataset: Dataset | None = None,
) -> dict[str, Any]:
    stated = load_recipe(recipe, parse_settings(changes))
    decisions = nnunet_decisions(dataset or unread_dataset(), fingerprint, stated)
    return {key: decision.value for key, decision in decisions.items()}


@pytest.mark.parametrize("recipe", ["nnunet-2d", *VOLUMES])
def test_a_whole_plan_is_made_and_holds_together(recipe: str) -> None:
    plan = make_plan(unread_dataset(), CUBES, load_recipe(recipe), seed=1)
    settings = plan.settings
    assert plan.n_dims == (2 if recipe == "nnunet-2d" else 3)
    assert settings.train.deep_supervision
    assert settings.network.config["deep_supervision"]
    build_loss(settings.loss.name, settings.loss.config, plan.n_classes)
    SAMPLINGS.configure(settings.sampling.name, settings.sampling.config)
    assert plan.n_steps == 250_000
    assert not plan.decisions["train.batch"].facts.keys() - {
        "fits_memory",
        "largest_by_share",
        "n_cases",
    }


def test_a_network_named_by_the_user_is_planned_like_the_recipes_own() -> None:
    """Networks that are compared must not differ in levels or deep supervision unasked."""
    own = decide("nnunet-3d", THICK)["network.config"]
    named = decide("pansegnet-3d", THICK, "network.name=plain_unet")
    assert named["network.name"] == "plain_unet"
    assert named["network.config"] == own
    narrow = [4 * 2**level for level in range(len(own["features"]))]
    changes = ("network.name=plain_unet", f"network.config.features={narrow}")
    config = decide("pansegnet-3d", THICK, *changes)["network.config"]
    assert config == {**own, "features": narrow}
    resenc = decide("nnunet-resenc-m", THICK, "network.name=resenc_unet")["network.config"]
    assert resenc == decide("nnunet-resenc-m", THICK)["network.config"]
    assert "network.name" not in decide("nnunet-3d", THICK, "network.name=unet_2d")


def test_pansegnet_has_the_levels_of_the_plain_network() -> None:
    plain, ours = decide("nnunet-3d", THICK), decide("pansegnet-3d", THICK)
    assert ours.pop("network.name") == "pansegnet"
    assert plain.pop("network.name") == "plain_unet"
    assert ours == plain
    assert ours["train.batch"] == 2  # the paper's
    control = decide("pansegnet-3d", THICK, "network.config.attention=pointwise")
    assert control["network.name"] == "pansegnet"
    assert control["network.config"] == {**ours["network.config"], "attention": "pointwise"}
    plan = make_plan(unread_dataset(), THICK, load_recipe("pansegnet-3d"), seed=1)
    assert plan.n_steps == 150_000
    assert plan.settings.network.name == "pansegnet"


def test_pansegnet_has_no_residual_encoder() -> None:
    with pytest.raises(
        PlanError, match=r"nnunet\.encoder must be plain .*'pansegnet'; got residual"
    ):
        decide("pansegnet-3d", THICK, "nnunet.encoder=residual")


def test_slices_keep_their_distance_and_volumes_do_not() -> None:
    assert decide("nnunet-2d")["prepare.spacing_mm"] == (None, 0.5, 0.5)
    assert decide("nnunet-3d")["prepare.spacing_mm"] == (3.0, 0.5, 0.5)


def test_the_slices_of_a_sagittal_scan_lie_along_x() -> None:
    got = decide("nnunet-2d", SAGITTAL)
    assert got["prepare.slice_axis"] == "X"
    assert got["train.mirror_axes"] == ("Z", "Y")
    assert decide("nnunet-3d", SAGITTAL)["train.mirror_axes"] == ("X", "Z", "Y")


@pytest.mark.parametrize(
    ("recipe", "fingerprint", "degrees", "planes"),
    [
        ("nnunet-3d", CUBES, 30.0, "all"),
        ("nnunet-3d", THICK, 180.0, "in_plane"),
        ("nnunet-2d", THICK, 180.0, None),
        ("nnunet-2d", made_fingerprint([(1.0,) * 3], [(30, 320, 64)]), 15.0, None),
    ],
)
def test_rotation_follows_the_shape_of_the_patch(
    recipe: str, fingerprint: Fingerprint, degrees: float, planes: str | None
) -> None:
    got = decide(recipe, fingerprint, dataset=unread_dataset(sides={}, mirror_pairs=()))
    assert got["augment.rotate_degrees"] == degrees
    assert got.get("augment.rotate_planes") == planes


@pytest.mark.parametrize(
    ("recipe", "fingerprint", "settings", "degrees"),
    [
        # Flips along X and Y show what a turn by 180° shows, with the other labels.
        ("nnunet-2d", THICK, (), 30.0),
        ("nnunet-3d", THICK, (), 30.0),
        ("nnunet-3d", CUBES, (), 30.0),
        ("nnunet-2d", THICK, ("train.mirroring=none",), 180.0),
        ("nnunet-2d", SAGITTAL, (), 180.0),  # X is no axis of the slices
    ],
)
def test_slices_are_not_turned_round_where_flips_exchange_labels(
    recipe: str, fingerprint: Fingerprint, settings: tuple[str, ...], degrees: float
) -> None:
    paired = unread_dataset()
    assert paired.mirror_pairs
    got = decide(recipe, fingerprint, *settings, dataset=paired)
    assert got["augment.rotate_degrees"] == degrees


def test_dice_runs_over_the_batch_for_slices_and_beside_a_low_resolution() -> None:
    assert decide("nnunet-2d")["loss.config"]["batch"]
    assert not decide("nnunet-3d")["loss.config"]["batch"]
    assert decide("nnunet-3d", LARGE)["loss.config"]["batch"]
    assert not decide("nnunet-3d-lowres", LARGE)["loss.config"]["batch"]
    stated = {"squared": False, "smooth": 1e-5, "absent": "count"}
    assert decide("nnunet-2d")["loss.config"] == {**stated, "batch": True}


def test_a_cascade_trains_its_second_stage_at_full_resolution() -> None:
    alone = decide("nnunet-3d", LARGE)
    cascade = decide("nnunet-3d-cascade", LARGE)
    assert {k: v for k, v in cascade.items() if k != "nnunet.configuration"} == {
        k: v for k, v in alone.items() if k != "nnunet.configuration"
    }
    low = decide("nnunet-3d-lowres", LARGE)["prepare.spacing_mm"]
    assert all(coarse > fine for coarse, fine in zip(low, (1.0, 0.8, 0.8), strict=True))


@pytest.mark.parametrize(
    ("recipe", "asked"), [("nnunet-3d-lowres", "3d_lowres"), ("nnunet-3d-cascade", "3d_cascade")]
)
def test_a_low_resolution_that_nnunet_does_not_plan_is_refused(recipe: str, asked: str) -> None:
    with pytest.raises(PlanError) as error:
        decide(recipe, CUBES)
    assert str(error.value) == (
        f"nnunet.configuration '{asked}' must have a dataset too large for full resolution; for "
        "this one full resolution is enough, since the patch [40, 56, 40] covers 142% of the "
        "median image, and a low resolution is planned under 25%. Use the recipe nnunet-3d."
    )


def test_a_coarser_spacing_that_saves_too_little_is_refused_with_that_reason() -> None:
    nearly = made_fingerprint([(1.0,) * 3] * 3, [(210, 210, 210)] * 3)
    with pytest.raises(PlanError, match="would save less than half of the voxels"):
        decide("nnunet-3d-lowres", nearly)


def test_single_slices_are_sent_to_the_recipe_for_slices() -> None:
    flat = made_fingerprint([(999.0, 0.5, 0.5)], [(1, 300, 300)])
    assert decide("nnunet-2d", flat)["train.patch_vox"] == (320, 320)
    with pytest.raises(PlanError, match=r"the median case has one\. Use the recipe nnunet-2d\."):
        decide("nnunet-3d", flat)


def test_channels_are_normalised_by_name_and_ct_by_the_foreground() -> None:
    dataset = unread_dataset(channel_names=("CT", "T1"))
    both = CUBES.foreground["T1"]
    fingerprint = CUBES.model_copy(
        update={"channel_names": ("CT", "T1"), "foreground": {"CT": both, "T1": both}}
    )
    got = decide("nnunet-3d", fingerprint, dataset=dataset)
    assert got["prepare.normalisation"] == ("ct", "z_score")
    intensity = {"mean": 100.0, "sd": 20.0, "low": 50.0, "high": 150.0}
    assert got["prepare.intensity"] == [intensity, intensity]
    assert "prepare.intensity" not in decide("nnunet-3d", CUBES)
    plan = make_plan(dataset, fingerprint, load_recipe("nnunet-3d"), seed=1)
    assert plan.settings.prepare.intensity is not None
    assert plan.settings.prepare.intensity[0].high == 150.0


def test_ct_without_a_labelled_voxel_is_refused() -> None:
    empty = CUBES.model_copy(update={"foreground": {}})
    assert decide_intensity(empty, "z_score") is None
    with pytest.raises(PlanError, match="channel 'T1' must show labelled voxels"):
        decide_intensity(empty, ("ct",))


@pytest.mark.parametrize(("share", "masked"), [(0.74, True), (0.75, False), (1.0, False)])
def test_zeros_leave_the_statistics_where_cropping_takes_much_away(
    share: float, masked: bool
) -> None:
    cases = {
        name: case.model_copy(update={"cropped_share": share}) for name, case in CUBES.cases.items()
    }
    got = decide("nnunet-3d", CUBES.model_copy(update={"cases": cases}))
    assert got["prepare.normalise_nonzero"] is masked


def test_zeros_stay_in_channels_that_are_not_z_scored() -> None:
    cropped = CUBES.model_copy(
        update={
            "cases": {
                name: case.model_copy(update={"cropped_share": 0.33})
                for name, case in CUBES.cases.items()
            }
        }
    )
    for names, masked in ((("noNorm",), False), (("noNorm", "T1"), True)):
        found = decide("nnunet-3d", cropped, dataset=unread_dataset(channel_names=names))
        assert found["prepare.normalise_nonzero"] is masked


@pytest.mark.parametrize(
    ("in_single", "spacing"), [(True, (1.8, 0.6, 0.6)), (False, (0.9, 0.6, 0.6))]
)
def test_slices_three_times_as_thick_are_judged_as_the_file_has_them(in_single, spacing) -> None:
    """nnU-Net reads 1.79999995 and 0.60000002 mm from NIfTI: not three times; else 1.8 > 3 * 0.6.

    Recorded from nnU-Net 2.8.1 on such files: target spacing (1.8, 0.6, 0.6) from NIfTI.
    """
    spacings = [(1.8, 0.6, 0.6)] * 7 + [(0.9, 0.6, 0.6)] * 3
    mixed = made_fingerprint(spacings, [(20, 64, 64)] * 10)
    cases = {
        name: one.model_copy(update={"in_single_precision": in_single})
        for name, one in mixed.cases.items()
    }
    found = decide("nnunet-3d", mixed.model_copy(update={"cases": cases}))
    assert found["prepare.spacing_mm"] == pytest.approx(spacing)


def test_images_too_small_for_two_levels_are_refused() -> None:
    tiny = made_fingerprint([(1.0, 1.0, 1.0)] * 3, [(6, 7, 7)] * 3)
    with pytest.raises(PlanError, match="at least 8 voxels"):
        decide("nnunet-3d", tiny)


def test_large_single_slices_are_planned() -> None:
    """The search for a low resolution comes to less than one voxel across them."""
    flat = made_fingerprint([(1.0, 2.0, 2.0)] * 3, [(1, 2000, 2000)] * 3)
    assert len(decide("nnunet-2d", flat)["train.patch_vox"]) == 2


def test_shapes_are_those_after_cropping() -> None:
    cases = {
        name: case.model_copy(update={"cropped_vox": (20, 30, 20)})
        for name, case in CUBES.cases.items()
    }
    cropped = decide("nnunet-3d", CUBES.model_copy(update={"cases": cases}))
    assert cropped["train.patch_vox"] == (20, 32, 20)


def test_outputs_count_background_labels_and_the_ignore_label() -> None:
    assert planning_facts(unread_dataset(), CUBES).n_outputs == 3
    assert planning_facts(unread_dataset(ignore_label=3), CUBES).n_outputs == 4


def test_the_batch_of_the_standard_encoder_sees_no_more_than_a_twentieth_of_the_data() -> None:
    # 60 cases of 36 x 50 x 35 voxels; a patch of 40 x 56 x 40: 3 780 000 / 20 / 89 600 = 2.1.
    assert decide("nnunet-3d", CUBES)["train.batch"] == 2
    # ResEnc: as many as all voxels: 3 780 000 / 89 600 = 42.2.
    assert decide("nnunet-resenc-m", CUBES)["train.batch"] == 42


def test_a_spacing_of_the_user_is_what_the_patch_is_planned_at() -> None:
    free = decide("nnunet-3d", CUBES)
    coarse = decide("nnunet-3d", CUBES, "prepare.spacing_mm=[null, 2.0, 2.0]")
    assert coarse["prepare.spacing_mm"] == (1.0, 2.0, 2.0)
    assert coarse["train.patch_vox"] == (40, 28, 20)
    assert free["train.patch_vox"] == (40, 56, 40)


def test_a_patch_of_the_user_decides_levels_and_batch() -> None:
    got = decide("nnunet-3d", LARGE, "train.patch_vox=[32, 64, 64]")
    assert got["train.patch_vox"] == (32, 64, 64)
    assert got["network.config"]["strides"] == [[1, 1, 1], *[[2, 2, 2]] * 3, [1, 2, 2]]
    assert got["train.batch"] > decide("nnunet-3d", LARGE)["train.batch"]


def test_a_slice_axis_of_the_user_is_kept() -> None:
    got = decide("nnunet-3d", CUBES, "prepare.slice_axis=Y")
    assert got["prepare.slice_axis"] == "Y"
    assert got["train.patch_vox"] == (56, 40, 40)


def test_the_users_network_is_left_alone_and_its_settings_laid_over_the_rules() -> None:
    own = decide("nnunet-2d", THICK, "network.name=unet_2d")
    assert not {"network.name", "network.config"} & own.keys()
    config = decide("nnunet-3d", CUBES, "network.config={conv_bias: false}")["network.config"]
    assert config["conv_bias"] is False
    assert config["features"] == [32, 64, 128, 256]


def test_a_loss_without_batch_sums_is_left_alone() -> None:
    assert "loss.config" not in decide("nnunet-3d", CUBES, "loss=weighted_ce")
    assert decide("nnunet-2d", THICK, "loss=jaccard")["loss.config"] == {"batch": True}


def test_recipes_state_the_published_training() -> None:
    for name in ("nnunet-2d", "nnunet-3d-lowres", *VOLUMES):
        recipe: Recipe = load_recipe(name)
        train, predict = recipe.train, recipe.predict
        assert (train.optimiser, train.lr, train.momentum) == ("sgd", 0.01, 0.99)
        assert (train.weight_decay, train.schedule, train.warmup) == (3e-5, "polynomial", 0)
        assert (train.epochs, train.steps_per_epoch, train.gradient_clip) == (1000, 250, 12)
        assert (predict.overlap, predict.average, predict.use_mirroring) == (0.5, "logits", True)
        assert (recipe.folds, recipe.sampling.config) == (5, {"share": 0.33})
        assert train.mirroring == "swap"
        assert "train.mirroring" not in recipe.provenance
    memory = [load_recipe(name).nnunet.memory_gb for name in VOLUMES]
    assert memory == [8, 8, 24, 40]
