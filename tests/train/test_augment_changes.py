"""What is drawn: shares, ranges, axes, channels, and nothing but the given randomness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from made_batch import SLICES, VOLUME, made_batch

from acinus.errors import PlanError
from acinus.plan import Plan
from acinus.train.augment import (
    Changes,
    SideSwap,
    apply_changes,
    draw_changes,
    flip_axes,
    no_changes,
    side_swap,
)
from acinus.train.augment.changes import CHANNEL_SHARE
from acinus.types import Array
from made_plan import made_plan, unread_dataset

PER_PATCH = ("flips", "angles", "scales", "noise_sd")
PER_CHANNEL = (
    "blur_sigma_vox",
    "gains",
    "contrasts",
    "resolutions",
    "gammas_inverted",
    "gammas",
)
PROBABILITIES = (
    "flip",
    "scale",
    "rotate",
    "noise",
    "blur",
    "brightness",
    "contrast",
    "low_res",
    "gamma",
    "gamma_inverted",
)
CURVES = {"curve": 1.0, "curve_knots": 4}
VOLUMES: dict[str, Any] = {"patch_vox": list(VOLUME)}


def plan_of(
    augment: dict[str, Any], train: dict[str, Any] | None = None, channels: int = 2, **sections: Any
) -> Plan:
    names = tuple(f"C{number}" for number in range(channels))
    plan = made_plan({"augment": augment, **sections}, dataset=unread_dataset(channel_names=names))
    for key, value in (train or {}).items():
        changed = plan.settings.train.model_copy(update={key: value})
        settings = plan.settings.model_copy(update={"train": changed})
        plan = plan.model_copy(update={"settings": settings})
    return plan


def drawn(n: int = 4000, train: dict[str, Any] | None = None, **augment: Any) -> Changes:
    return draw_changes(plan_of(augment, train), n, np.random.default_rng(0))


def share(values: Array, nothing: float = 1.0) -> float:
    """Share of patches of which at least one channel or axis is changed."""
    return float((values.reshape(len(values), -1) != nothing).any(axis=1).mean())


def test_spatial_draws_keep_to_the_plan() -> None:
    patch = {"patch_vox": VOLUME, "mirror_axes": ("Z", "Y", "X")}
    got = drawn(
        train=patch, flip=0.5, rotate=0.25, rotate_degrees=20, scale=0.75, scale_range=[0.7, 1.5]
    )
    np.testing.assert_allclose(got.flips.mean(axis=0), 0.5, atol=0.03)
    assert share(got.angles, 0) == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(np.abs(got.angles).max(axis=0), np.radians(20), rtol=0.02)
    turned = got.angles[(got.angles != 0).any(axis=1)]
    assert (turned != 0).all()
    assert np.abs(np.corrcoef(turned.T) - np.eye(3)).max() < 0.15
    assert share(got.scales) == pytest.approx(0.75, abs=0.03)
    assert (got.scales.min(), got.scales.max()) == pytest.approx((0.7, 1.5), rel=0.01)
    steps = 1 / got.scales[got.scales != 1]
    assert steps.mean() == pytest.approx((1 / 0.7 + 1 / 1.5) / 2, rel=0.02)
    assert not got.in_plane


def test_noise_is_drawn_below_its_limit_with_a_seed_a_patch() -> None:
    got = drawn(noise=0.4, noise_sd=0.3)
    assert share(got.noise_sd, 0) == pytest.approx(0.4, abs=0.03)
    assert 0.29 < got.noise_sd.max() <= 0.3
    assert len(set(got.noise_seeds.tolist())) == 4000


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("brightness", "gains"),
        ("contrast", "contrasts"),
        ("gamma", "gammas"),
        ("gamma_inverted", "gammas_inverted"),
    ],
)
def test_factors_are_drawn_for_all_channels_of_a_patch_half_of_them_below_one(
    setting: str, field: str
) -> None:
    between = "gamma_range" if "gamma" in setting else f"{setting}_range"
    got = getattr(drawn(**{setting: 0.3, between: [0.7, 1.5]}), field)
    changed = got[(got != 1).any(axis=1)]
    assert share(got) == pytest.approx(0.3, abs=0.03)
    assert (changed != 1).all()
    assert (got.min(), got.max()) == pytest.approx((0.7, 1.5), abs=0.01)
    assert (changed < 1).mean() == pytest.approx(0.5, abs=0.03)
    assert changed[changed < 1].mean() == pytest.approx(0.85, abs=0.01)
    assert changed[changed > 1].mean() == pytest.approx(1.25, abs=0.02)
    assert abs(np.corrcoef(changed.T)[0, 1]) < 0.1


def test_a_range_on_one_side_of_one_is_drawn_evenly() -> None:
    got = drawn(brightness=1.0, brightness_range=[1.2, 1.6]).gains
    assert (got.min(), got.max()) == pytest.approx((1.2, 1.6), abs=0.01)
    assert got.mean() == pytest.approx(1.4, abs=0.01)


def test_blur_and_low_resolution_take_half_of_the_channels() -> None:
    got = drawn(
        train={"patch_vox": VOLUME},
        blur=0.8,
        blur_sigma_vox=[0.5, 1.0],
        low_res=0.6,
        low_res_range=[0.5, 0.9],
    )
    blurred, coarse = (got.blur_sigma_vox > 0).all(axis=2), got.resolutions < 1
    np.testing.assert_array_equal(blurred, (got.blur_sigma_vox > 0).any(axis=2))
    np.testing.assert_allclose(blurred.mean(axis=0), 0.8 * CHANNEL_SHARE, atol=0.03)
    np.testing.assert_allclose(coarse.mean(axis=0), 0.6 * CHANNEL_SHARE, atol=0.03)
    both = blurred.all(axis=1).mean()
    assert both == pytest.approx(0.8 * CHANNEL_SHARE**2, abs=0.03)
    widths = got.blur_sigma_vox[blurred]
    assert (widths.min(), widths.max()) == pytest.approx((0.5, 1.0), abs=0.01)
    assert (widths[:, 0] != widths[:, 1]).all()
    shares = got.resolutions[coarse]
    assert (shares.min(), shares.max()) == pytest.approx((0.5, 0.9), abs=0.01)


def test_what_is_switched_off_is_never_drawn() -> None:
    got, nothing = drawn(200, **dict.fromkeys(PROBABILITIES, 0.0)), no_changes(200, 2)
    for name in (*PER_PATCH, *PER_CHANNEL):
        np.testing.assert_array_equal(getattr(got, name), getattr(nothing, name))


@pytest.mark.parametrize("setting", PROBABILITIES)
def test_one_probability_does_not_reshuffle_the_other_draws(setting: str) -> None:
    ranges: dict[str, Any] = dict.fromkeys(PROBABILITIES, 0.5)
    some, always = drawn(50, **ranges), drawn(50, **{**ranges, setting: 1.0})
    differ = [
        name
        for name in (*PER_PATCH, *PER_CHANNEL)
        if not np.array_equal(getattr(some, name), getattr(always, name))
    ]
    assert len(differ) == 1


def test_slices_are_turned_within_themselves_only() -> None:
    got = drawn(200, rotate=1.0, scale=1.0, blur=1.0)
    assert got.in_plane
    assert (got.angles[:, 0] != 0).all()
    assert not got.angles[:, 1:].any()
    assert not got.blur_sigma_vox[:, :, 0].any()
    assert got.blur_sigma_vox[:, :, 1:].any()


def test_thick_slices_are_turned_within_themselves_but_blurred_throughout() -> None:
    got = drawn(
        200, train={"patch_vox": VOLUME}, rotate=1.0, rotate_planes="in_plane", blur=1.0, flip=1.0
    )
    assert got.in_plane
    assert not got.angles[:, 1:].any()
    assert got.blur_sigma_vox[:, :, 0].any()


@pytest.mark.parametrize("keeps", [True, False])
def test_zeros_are_kept_where_only_the_rest_is_normalised(keeps: bool) -> None:
    plan = plan_of({}, prepare={"normalise_nonzero": keeps})
    channels = draw_changes(plan, 2, np.random.default_rng(0)).keep_zeros
    assert channels == (tuple(range(plan.n_channels)) if keeps else ())


@pytest.mark.parametrize(
    ("train", "slice_axis", "allowed"),
    [
        ({"mirroring": "swap"}, "Z", (False, False, True)),
        ({"mirroring": "plain"}, "Z", (False, False, True)),
        ({"mirroring": "none"}, "Z", (False, False, False)),
        ({"mirroring": "none", "mirror_axes": ("Y", "X")}, "Z", (False, True, False)),
        # Slices have no neighbours to change places with.
        ({"mirror_axes": ("Z", "Y", "X")}, "Z", (False, True, True)),
        ({"mirror_axes": ("Z", "Y", "X"), "patch_vox": VOLUME}, "Z", (True, True, True)),
        ({"mirror_axes": ("Z", "X")}, "Y", (False, True, True)),
        ({"mirroring": "swap"}, "X", (False, False, False)),
        ({"mirroring": "swap", "patch_vox": VOLUME}, "X", (True, False, False)),
        ({"mirror_axes": ("Y",)}, "X", (False, False, True)),
    ],
)
def test_only_the_axes_of_the_plan_are_flipped(
    train: dict[str, Any], slice_axis: str, allowed: tuple[bool, bool, bool]
) -> None:
    plan = plan_of({}, train, prepare={"slice_axis": slice_axis})
    assert flip_axes(plan) == allowed
    flips = draw_changes(plan, 200, np.random.default_rng(0)).flips
    assert tuple(flips.any(axis=0)) == allowed


def test_a_plan_that_leaves_the_axes_open_is_refused() -> None:
    plan = plan_of({}, {"mirror_axes": "auto"})
    with pytest.raises(PlanError, match=r"train.mirror_axes must be anatomical axes .* got 'auto'"):
        draw_changes(plan, 2, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("mirroring", "slice_axis", "table", "axis"),
    [
        ("swap", "Z", (0, 2, 1, 3), 2),
        ("swap", "Y", (0, 2, 1, 3), 2),
        ("swap", "X", (0, 2, 1, 3), 0),
        ("plain", "Z", (0, 1, 2, 3), 2),
        ("none", "Z", (0, 1, 2, 3), 2),
    ],
)
def test_partners_change_places_only_where_the_plan_swaps(
    mirroring: str, slice_axis: str, table: tuple[int, ...], axis: int
) -> None:
    dataset = unread_dataset(labels={"gland_right": 1, "gland_left": 2, "nerve": 3})
    plan = made_plan(
        {"train": {"mirroring": mirroring}, "prepare": {"slice_axis": slice_axis}}, dataset=dataset
    )
    assert side_swap(plan) == SideSwap(table, axis)


@pytest.mark.parametrize(("patch", "n_dims"), [(SLICES, 2), (VOLUME, 3)], ids=["2D", "3D"])
def test_changes_can_be_replayed_and_touch_no_global_random_state(
    patch: tuple[int, int, int], n_dims: int
) -> None:
    batch, swap = made_batch(patch=patch), SideSwap((0, 2, 1), 2)
    plan = plan_of(dict.fromkeys(PROBABILITIES, 1.0), {"patch_vox": patch[-n_dims:]})
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.random.get_rng_state().clone()
    before = batch.image.clone(), batch.label.clone()
    changes = draw_changes(plan, 3, np.random.default_rng(6))
    first = apply_changes(batch, changes, swap, n_dims)
    again = apply_changes(batch, changes, swap, n_dims)
    redrawn = draw_changes(plan, 3, np.random.default_rng(6))
    same = apply_changes(batch, redrawn, swap, n_dims)
    other = apply_changes(batch, draw_changes(plan, 3, np.random.default_rng(7)), swap, n_dims)
    for image, label in (again, same):
        assert torch.equal(first[0], image)
        assert torch.equal(first[1], label)
    assert not torch.equal(first[0], other[0])
    assert torch.equal(batch.image, before[0])
    assert torch.equal(batch.label, before[1])
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_before)


def test_curves_begin_at_air_and_leave_all_other_draws_alone() -> None:
    without = draw_changes(plan_of({}), 6, np.random.default_rng(3))
    with_them = draw_changes(plan_of(CURVES), 6, np.random.default_rng(3))
    assert without.curves.shape == (6, 2, 0)
    assert with_them.curves.shape == (6, 2, 4)
    assert (with_them.curves[..., 0] == 0).all()
    assert ((with_them.curves >= 0) & (with_them.curves <= 1)).all()
    for name in (*PER_PATCH, *PER_CHANNEL, "noise_seeds", "absent"):
        assert np.array_equal(getattr(without, name), getattr(with_them, name)), name
    some = draw_changes(plan_of({**CURVES, "curve": 0.5}), 400, np.random.default_rng(4))
    assert 0.4 < np.isfinite(some.curves).all(axis=(1, 2)).mean() < 0.6
