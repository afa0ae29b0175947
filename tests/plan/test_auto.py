"""The rules of the recipe auto, from facts made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from made_cases import Triple, case_facts, fingerprint_of

from acinus.errors import PlanError
from acinus.networks import NETWORKS, build_network
from acinus.plan import Fingerprint, Plan, load_recipe
from acinus.plan.auto import (
    BATCH_NORM_FROM,
    CONTEXT,
    LARGEST_BATCH,
    LARGEST_WEIGHT,
    MAX_COARSENING,
    MIN_STRUCTURE_VOX,
    RARE_SHARE,
    SCALES,
    SHIFTED_SHARE,
    WHOLE_IMAGE,
    auto_decisions,
    width_candidates,
)
from acinus.plan.plan import make_plan
from made_plan import unread_dataset

PATCH_VOXELS = SCALES["cpu"].patch_voxels
LABELS = {"gland": 1}


def facts(
    shape_vox: tuple[int, int, int],
    spacing_mm: Triple = (1.0, 1.0, 1.0),
    *,
    extent_mm: Triple = (10.0, 10.0, 10.0),
    volume_ml: float = 5.0,
    n_cases: int = 12,
) -> Fingerprint:
    """Alike cases with one gland."""
    case = case_facts(
        shape_vox,
        spacing_mm,
        extent_mm={"gland": extent_mm},
        volume_ml={"gland": volume_ml},
        centroid_mm={"gland": (5.0, 5.0, 5.0)},
    )
    return fingerprint_of([case] * n_cases, labels=LABELS)


def planned(fingerprint: Fingerprint, *, device: str = "cpu", **changes: Any) -> Plan:
    train = {"device": device, **changes.pop("train", {})}
    dataset = unread_dataset(labels=LABELS, sides={}, mirror_pairs=())
    recipe = load_recipe("auto", {**changes, "train": train})
    return make_plan(dataset, fingerprint, recipe, seed=1)


def spacing(plan: Plan) -> list[float]:
    return [float(one or 0) for one in plan.settings.prepare.spacing_mm or ()]


# Slices or volumes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "is_volume"),
    [
        ((32, 64, 64), (1.0, 1.0, 1.0), True),
        ((20, 128, 128), (3.0, 1.0, 1.0), True),
        ((20, 128, 128), (3.1, 1.0, 1.0), False),  # slices three times as thick as pixels
        ((8, 64, 64), (1.0, 1.0, 1.0), True),
        ((7, 64, 64), (1.0, 1.0, 1.0), False),  # too few
        ((128, 128, 20), (1.0, 1.0, 3.5), False),  # thick along X
        ((1, 64, 64), (1.0, 1.0, 1.0), False),
    ],
)
def test_volumes_are_learned_where_slices_are_not_much_thicker_than_pixels(
    shape: tuple[int, int, int], spacing_mm: Triple, is_volume: bool
) -> None:
    plan = planned(facts(shape, spacing_mm))
    assert plan.n_dims == (3 if is_volume else 2)
    assert plan.settings.network.name == ("plain_unet" if is_volume else "unet_2d")
    assert plan.settings.sampling.name == ("foreground" if is_volume else "region")


def test_the_spacing_that_is_asked_for_decides_between_slices_and_volumes() -> None:
    thick = facts((60, 256, 256), (5.0, 1.0, 1.0))
    assert planned(thick).n_dims == 2
    assert planned(thick, prepare={"spacing_mm": [4.0, 4.0, 4.0]}).n_dims == 3
    assert planned(facts((64, 64, 64)), prepare={"spacing_mm": [4.0, 1.0, 1.0]}).n_dims == 2
    assert planned(facts((30, 64, 64)), prepare={"spacing_mm": [5.0, 5.0, 5.0]}).n_dims == 2


def test_slices_follow_the_coarse_axis_and_keep_their_own_spacing() -> None:
    plan = planned(facts((128, 128, 20), (0.5, 0.5, 4.0)))
    assert plan.axes == ("X", "Z", "Y")
    assert plan.settings.prepare.spacing_mm == (None, 0.5, 0.5)
    assert plan.settings.train.patch_vox == (128, 128)
    assert plan.settings.train.batch == 16
    assert plan.settings.train.lr == 0.002


def test_a_patch_of_slices_is_no_larger_than_they_are() -> None:
    plan = planned(facts((5, 100, 200)))
    assert plan.settings.train.patch_vox == (112, 128)
    assert "no larger than the median slice" in plan.decisions["train.patch_vox"].rule


# Patch and spacing ------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("factor", [0.5, 1.0, 0.99 * WHOLE_IMAGE])
def test_an_image_that_the_device_takes_in_one_go_is_one_patch(device: str, factor: float) -> None:
    edge = int((factor * SCALES[device].patch_voxels) ** (1 / 3))
    plan = planned(facts((edge, edge, edge)), device="cpu")
    if device == "cpu":
        patch = plan.settings.train.patch_vox
        assert all(edge <= size < edge + 16 for size in patch)
        assert spacing(plan) == [1.0, 1.0, 1.0]
    else:
        dataset = unread_dataset(labels=LABELS, sides={}, mirror_pairs=())
        made = auto_decisions(dataset, facts((edge,) * 3), load_recipe("auto"), device)
        assert all(edge <= size < edge + 32 for size in made["train.patch_vox"].value)


@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [
        ((200, 200, 200), (1.0, 1.0, 1.0)),
        ((60, 300, 300), (2.0, 0.7, 0.7)),
        ((20, 400, 400), (2.0, 1.0, 1.0)),
    ],
)
def test_a_patch_of_a_large_image_is_a_cube_in_mm_within_it(
    shape: tuple[int, int, int], spacing_mm: Triple
) -> None:
    plan = planned(facts(shape, spacing_mm))
    patch, step = np.array(plan.settings.train.patch_vox), np.array(spacing(plan))
    divisor = np.array(plan.decisions["network.config"].facts["divisor_vox"])
    image_mm = np.multiply(shape, spacing_mm)
    # The cube was rounded up to the strides, so that it may be longer by less than one of them.
    least_mm, most_mm = (patch - divisor + 1) * step, patch * step
    free = most_mm < image_mm - divisor * step
    if free.sum() > 1:
        assert least_mm[free].max() <= most_mm[free].min() + step.max()
    assert (least_mm <= image_mm).all()
    assert patch.prod() <= PATCH_VOXELS * np.prod((patch + divisor) / patch)
    assert patch.prod() >= 0.5 * PATCH_VOXELS


def test_the_spacing_is_coarsened_until_a_patch_holds_the_largest_structure() -> None:
    """A patch of about 50 mm at 1 mm; a structure of 60 mm with its surroundings needs 78."""
    small = planned(facts((200, 200, 200), extent_mm=(30.0, 30.0, 30.0)))
    assert spacing(small) == [1.0, 1.0, 1.0]
    large = planned(facts((200, 200, 200), extent_mm=(60.0, 60.0, 60.0), volume_ml=100.0))
    step = spacing(large)[0]
    held_mm = PATCH_VOXELS ** (1 / 3) * step
    assert spacing(large) == [step] * 3
    assert 1.0 < step < MAX_COARSENING
    assert CONTEXT * 60 * 0.97 <= held_mm <= CONTEXT * 60 * 1.08
    assert large.decisions["prepare.spacing_mm"].facts["coarsened"] == pytest.approx(step, abs=1e-3)
    huge = planned(facts((300, 300, 300), extent_mm=(200.0, 200.0, 200.0), volume_ml=4000.0))
    assert spacing(huge) == [MAX_COARSENING] * 3


def test_the_spacing_is_not_coarsened_below_what_shows_the_smallest_structure() -> None:
    """0.8 mL are 500 voxels of 1.17 mm."""
    fingerprint = facts((300, 300, 300), extent_mm=(200.0, 200.0, 200.0), volume_ml=0.8)
    step = spacing(planned(fingerprint))[0]
    assert 800 / step**3 >= MIN_STRUCTURE_VOX > 800 / (1.06 * step) ** 3


def test_a_gpu_needs_no_coarsening() -> None:
    dataset = unread_dataset(labels=LABELS, sides={}, mirror_pairs=())
    fingerprint = facts((200, 200, 200), extent_mm=(60.0, 60.0, 60.0), volume_ml=100.0)
    made = auto_decisions(dataset, fingerprint, load_recipe("auto"), "cuda")
    assert made["prepare.spacing_mm"].value == (1.0, 1.0, 1.0)
    assert math.prod(made["train.patch_vox"].value) > 10 * PATCH_VOXELS


@pytest.mark.parametrize("edge", [16, 24, 40, 64])
def test_a_batch_holds_about_as_many_voxels_whatever_the_patch(edge: int) -> None:
    plan = planned(facts((edge, edge, edge)))
    train = plan.settings.train
    expected = SCALES["cpu"].batch_voxels / math.prod(train.patch_vox)
    assert train.batch == min(max(round(expected), 2), LARGEST_BATCH)


# The network ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [((36, 50, 35), (1.0, 1.0, 1.0)), ((12, 90, 90), (2.5, 1.0, 1.0)), ((9, 33, 70), (1.0,) * 3)],
)
def test_the_network_fits_its_patch(shape: tuple[int, int, int], spacing_mm: Triple) -> None:
    plan = planned(facts(shape, spacing_mm))
    network = plan.settings.network
    made = build_network(network.name, network.config, n_channels=1, n_classes=2, seed=0)
    patch = plan.settings.train.patch_vox
    assert all(size % step == 0 for size, step in zip(patch, made.stride, strict=True))
    assert network.config["features"][0] == SCALES["cpu"].usual_width
    over_batch = plan.settings.train.batch >= BATCH_NORM_FROM
    assert network.config["normalisation"] == ("batch" if over_batch else "instance")


@pytest.mark.parametrize("device", SCALES)
def test_widths_double_with_the_levels_up_to_a_limit(device: str) -> None:
    config = {"features": [16, 32, 64, 128, 256, 320]}
    rows = width_candidates("plain_unet", config, device)
    assert [row[0] for row in rows] == list(SCALES[device].widths)
    assert rows == sorted(rows)
    for row in rows:
        assert row == [min(row[0] * 2**level, 320) for level in range(6)]
    assert width_candidates("unet_2d", {"features": [64, 128, 256, 512, 1024]}, device)[-1] == [
        SCALES[device].widths[-1] * 2**level for level in range(5)
    ]
    assert width_candidates("unet_2d", {}, device) == []


# Intensities ------------------------------------------------------------------------------------


def test_ct_is_normalised_by_its_foreground_and_others_each_by_itself() -> None:
    fingerprint = facts((32, 32, 32))
    given = fingerprint.foreground["T1"]
    fingerprint = fingerprint.model_copy(
        update={"channel_names": ("CT", "T1"), "foreground": {"CT": given, "T1": given}}
    )
    dataset = unread_dataset(labels=LABELS, sides={}, mirror_pairs=(), channel_names=("CT", "T1"))
    plan = make_plan(dataset, fingerprint, load_recipe("auto"), seed=1)
    prepare = plan.settings.prepare
    assert prepare.normalisation == ("ct", "z_score")
    assert prepare.intensity is not None
    assert (prepare.intensity[0].mean, prepare.intensity[0].high) == (given.mean, given.high)


def test_a_normalisation_by_the_user_gets_the_intensities_that_it_needs() -> None:
    plan = planned(facts((32, 32, 32)), prepare={"normalisation": "ct"})
    assert plan.settings.prepare.normalisation == "ct"
    assert plan.settings.prepare.intensity is not None
    plain = planned(facts((32, 32, 32)))
    assert plain.settings.prepare.normalisation == ("z_score",)
    assert plain.settings.prepare.intensity is None


def test_structures_of_a_ct_are_shifted_in_brightness_but_for_those_that_were_grown() -> None:
    def share(**changes: Any) -> float:
        return planned(facts((64, 64, 64)), **changes).settings.augment.label_shift

    ct = {"normalisation": "ct"}
    assert share(prepare=ct) == SHIFTED_SHARE
    assert share() == share(prepare={**ct, "grow_mm": 5.0}) == 0
    assert share(prepare=ct, augment={"label_shift": 0.1}) == 0.1


# What the user has set --------------------------------------------------------------------------


def test_voxels_of_labels_that_are_rare_in_a_patch_weigh_more() -> None:
    def weights(volume_ml: float, **changes: Any) -> Any:
        plan = planned(facts((200, 200, 200), volume_ml=volume_ml), **changes)
        return plan.settings.loss.config.get("ce_weights")

    patch = planned(facts((200, 200, 200))).patch_vox
    rare_ml = RARE_SHARE * math.prod(patch) / 1000
    assert weights(1.01 * rare_ml) is None
    assert weights(rare_ml / 4) == [1.0, pytest.approx((RARE_SHARE / 4) ** -0.5, rel=1e-2)]
    assert weights(rare_ml / 1000) == [1.0, LARGEST_WEIGHT]
    assert weights(rare_ml / 4, loss={"config": {"smooth": 2.0}}) is None
    assert weights(rare_ml / 4, loss={"name": "dice"}) is None


def test_a_label_that_is_grown_is_less_rare() -> None:
    case = facts((200, 200, 200), volume_ml=0.02)
    as_it_is, grown = (
        planned(case, prepare={"grow_mm": mm}).settings.loss.config["ce_weights"][1]
        for mm in (0.0, 5.0)  # 10 mm become 20 mm along each axis
    )
    assert grown == pytest.approx(as_it_is / 8**0.5, rel=1e-2)


def test_all_labels_get_a_weight_where_one_is_rare_and_the_absent_none() -> None:
    case = case_facts(
        (200, 200, 200),
        extent_mm={"small": (5.0, 5.0, 5.0), "large": (30.0, 30.0, 30.0)},
        volume_ml={"small": 0.05, "large": 13.0, "absent": 0.0},
        centroid_mm={"small": (50.0, 50.0, 50.0), "large": (100.0, 100.0, 100.0)},
    )
    labels = {"small": 1, "large": 2, "absent": 3}
    dataset = unread_dataset(labels=labels, sides={}, mirror_pairs=())
    fingerprint = fingerprint_of([case] * 8, labels=labels)
    plan = make_plan(
        dataset, fingerprint, load_recipe("auto", {"train": {"device": "cpu"}}), seed=1
    )
    patch_mm3 = math.prod(plan.patch_vox) * math.prod(spacing(plan))
    expected = [1.0, (patch_mm3 / 50) ** 0.5, (patch_mm3 / 13000) ** 0.5, 1.0]
    assert plan.settings.loss.config["ce_weights"] == pytest.approx(expected, abs=0.06)


def test_settings_of_the_user_win() -> None:
    plan = planned(
        facts((64, 64, 64)),
        prepare={"spacing_mm": [2.0, None, 1.5]},
        train={"batch": 3, "lr": 0.1, "mirror_axes": ["Z"]},
        folds_trained=2,
    )
    assert plan.settings.prepare.spacing_mm == (2.0, None, 1.5)
    train = plan.settings.train
    assert (train.batch, train.lr, train.mirror_axes) == (3, 0.1, ("Z",))
    assert plan.folds_to_train == (0, 1)
    assert plan.settings.network.config["normalisation"] == "instance"  # three are few


def test_a_patch_of_the_user_decides_on_the_network_too() -> None:
    fingerprint = facts((36, 50, 35))
    plan = planned(fingerprint, train={"patch_vox": [16, 24, 32]})
    assert plan.settings.train.patch_vox == (16, 24, 32)
    assert plan.decisions["train.patch_vox"].source == "user"
    # 16 and 24 halve twice; 32, alone in going on, would need 12 voxels left for a third time.
    strides = np.prod(plan.settings.network.config["strides"], axis=0)
    assert strides.tolist() == [4, 4, 4]
    assert plan.settings.train.batch == LARGEST_BATCH
    slices = planned(fingerprint, train={"patch_vox": [32, 48]})
    assert (slices.n_dims, slices.settings.network.name) == (2, "unet_2d")
    with pytest.raises(PlanError, match=r"train\.patch_vox must be divisible .* Nearest valid"):
        planned(fingerprint, train={"patch_vox": [36, 50, 35]})


def test_a_network_of_the_user_is_left_as_it_is() -> None:
    config = {"features": [4, 8, 16]}
    plan = planned(facts((32, 32, 32)), network={"name": "unet_3d", "config": config})
    assert plan.settings.network.name == "unet_3d"
    assert plan.settings.network.config == config
    wide = planned(facts((32, 32, 32)), network={"config": {"features": [6, 6, 6, 6]}})
    assert wide.settings.network.config["features"] == [6, 6, 6, 6]
    assert wide.decisions["network.config"].source == "user"


def test_an_axis_of_slices_by_the_user_is_followed() -> None:
    fingerprint = facts((40, 20, 60), (1.0, 2.0, 1.0), extent_mm=(5.0, 5.0, 5.0))
    assert planned(fingerprint).axes == ("Y", "Z", "X")
    plan = planned(fingerprint, prepare={"slice_axis": "X"})
    assert plan.axes == ("X", "Z", "Y")
    assert spacing(plan) == [1.0, 1.0, 2.0]
    patch = plan.settings.train.patch_vox
    assert all(size <= n < size + 8 for n, size in zip(patch, (60, 40, 20), strict=True))


def test_every_decision_says_why() -> None:
    for shape in ((32, 64, 64), (5, 64, 64)):
        plan = planned(facts(shape))
        for name in ("train.patch_vox", "train.batch", "network.config", "prepare.spacing_mm"):
            decision = plan.decisions[name]
            assert decision.rule
            assert not decision.rule.startswith("recipe "), name


@pytest.mark.parametrize("network", ["plain_unet", "resenc_unet", "unet_3d"])
def test_a_loss_at_coarser_levels_gets_a_network_that_answers_there(network: str) -> None:
    changes = {"network": network, "train": {"deep_supervision": True, "device": "cpu"}}
    recipe = load_recipe("auto", changes)
    if "deep_supervision" not in NETWORKS[network].config.model_fields:
        with pytest.raises(PlanError, match="a network that answers at coarser levels"):
            make_plan(unread_dataset(), facts((48, 48, 48)), recipe, seed=1)
        return
    plan = make_plan(unread_dataset(), facts((48, 48, 48)), recipe, seed=1)
    assert plan.settings.network.config["deep_supervision"] is True
    plain = make_plan(unread_dataset(), facts((48, 48, 48)), load_recipe("auto"), seed=1)
    assert not plain.settings.network.config.get("deep_supervision")
