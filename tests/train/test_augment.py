"""Augmentation as laws: identities, inverses, swaps, and scipy as a second opinion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from acinus.train.augment import (
    Changes,
    SideSwap,
    apply_changes,
    draw_changes,
    flip_axes,
    no_changes,
    side_swap,
)
from acinus.train.patches import Batch
from made_plan import made_plan, unread_dataset

SWAP_COLUMNS = SideSwap(table=(0, 2, 1, 3), axis=1)
N = 3
PATCH, RIM = (24, 32), (6, 8)


@pytest.fixture
def batch() -> Batch:
    """Noise in two channels; label 1 on the one side, 2 on the other, 3 in the middle."""
    rng = np.random.default_rng(3)
    rows, columns = (p + 2 * r for p, r in zip(PATCH, RIM, strict=True))
    label = np.zeros((N, rows, columns), np.uint8)
    label[:, 10:14, 30:36], label[:, 12:18, 12:17], label[:, 20:22, 20:28] = 1, 2, 3
    return Batch(
        image=torch.from_numpy(rng.normal(size=(N, 2, rows, columns)).astype(np.float32)),
        label=torch.from_numpy(label),
        rim_vox=RIM,
        cases=("a",) * N,
        has_foreground=np.ones(N, bool),
    )


def flips(*which: tuple[bool, bool]) -> Changes:
    return replace(no_changes(len(which)), flips=np.array(which))


def inner(array: torch.Tensor) -> torch.Tensor:
    return array[..., RIM[0] : -RIM[0], RIM[1] : -RIM[1]]


def smooth(seed: int = 0) -> Batch:
    """A band-limited image and the mask of its bright half, for comparing interpolations."""
    rng = np.random.default_rng(seed)
    rows, columns = (p + 2 * r for p, r in zip(PATCH, RIM, strict=True))
    image = ndimage.gaussian_filter(rng.normal(size=(rows, columns)), 3.0)
    image = (image / image.std()).astype(np.float32)
    return Batch(
        image=torch.from_numpy(image)[None, None],
        label=torch.from_numpy((image > 0).astype(np.uint8))[None],
        rim_vox=RIM,
        cases=("a",),
        has_foreground=np.ones(1, bool),
    )


def test_no_changes_cut_the_rim_and_nothing_else(batch: Batch) -> None:
    image, label = apply_changes(batch, no_changes(N), SWAP_COLUMNS)
    assert torch.equal(image, inner(batch.image))
    assert torch.equal(label, inner(batch.label).long())
    assert label.dtype == torch.int64


@pytest.mark.parametrize("angle", [0.0, 1e-12], ids=["cut", "resampled"])
def test_a_sagittal_flip_mirrors_the_image_and_swaps_the_partners(
    batch: Batch, angle: float
) -> None:
    changes = flips((False, False), (False, True), (True, True))
    changes = replace(changes, angles=np.full(N, angle))
    image, label = apply_changes(batch, changes, SWAP_COLUMNS)
    kept_image, kept_label = inner(batch.image), inner(batch.label).long()
    swapped = torch.tensor(SWAP_COLUMNS.table)[kept_label]
    torch.testing.assert_close(image[0], kept_image[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(image[1], kept_image[1].flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(image[2], kept_image[2].flip(-1, -2), atol=1e-5, rtol=0)
    assert torch.equal(label[0], kept_label[0])
    assert torch.equal(label[1], swapped[1].flip(-1))
    assert torch.equal(label[2], swapped[2].flip(-1, -2))


def test_a_flip_of_rows_leaves_sides_alone(batch: Batch) -> None:
    _, label = apply_changes(batch, flips(*[(True, False)] * N), SWAP_COLUMNS)
    assert torch.equal(label, inner(batch.label).long().flip(-2))


@pytest.mark.parametrize("axes", [(True, False), (False, True), (True, True)])
def test_two_flips_are_none(batch: Batch, axes: tuple[bool, bool]) -> None:
    changes = flips(*[axes] * N)
    image, label = apply_changes(batch, changes, SWAP_COLUMNS)
    once = replace(batch, image=image, label=label.to(torch.uint8), rim_vox=(0, 0))
    image, label = apply_changes(once, changes, SWAP_COLUMNS)
    assert torch.equal(image, inner(batch.image))
    assert torch.equal(label, inner(batch.label).long())


@pytest.mark.parametrize("degrees", [-15.0, 7.0, 40.0])
@pytest.mark.parametrize("scale", [1.0, 0.85, 1.2])
def test_rotation_and_scaling_agree_with_scipy(degrees: float, scale: float) -> None:
    batch, angle = smooth(), np.radians(degrees)
    changes = replace(no_changes(1), angles=np.array([angle]), scales=np.array([scale]))
    image, label = apply_changes(batch, changes, SideSwap((0, 1), None))
    # From rows and columns of the patch, about its middle, to those of the cut.
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    middle_cut = (np.array(batch.image.shape[-2:]) - 1) / 2
    offset = middle_cut - matrix @ ((np.array(PATCH) - 1) / 2)
    whole = batch.image[0, 0].numpy()
    expected = ndimage.affine_transform(whole, matrix, offset, output_shape=PATCH, order=1)
    inside = (
        ndimage.affine_transform(np.ones_like(whole), matrix, offset, output_shape=PATCH, order=1)
        > 0.999
    )
    assert inside.mean() > 0.8
    np.testing.assert_allclose(image[0, 0].numpy()[inside], expected[inside], atol=1e-4)
    expected_label = ndimage.affine_transform(
        batch.label[0].numpy(), matrix, offset, output_shape=PATCH, order=0
    )
    assert (label[0].numpy() == expected_label)[inside].mean() > 0.995


def test_a_positive_angle_turns_the_whole_image_the_same_way_whatever_its_shape() -> None:
    # In voxels, not in the unequal normalised units of a patch that is not square.
    batch, angle = smooth(), np.radians(10)
    changes = replace(no_changes(1), angles=np.array([angle]))
    there, _ = apply_changes(batch, changes, SideSwap((0, 1), None))
    turned = ndimage.rotate(batch.image[0, 0].numpy(), np.degrees(angle), reshape=False, order=3)
    other = ndimage.rotate(batch.image[0, 0].numpy(), -np.degrees(angle), reshape=False, order=3)
    cut = there[0, 0].numpy()
    errors = [np.abs(cut - inner(torch.from_numpy(one)).numpy()).mean() for one in (turned, other)]
    assert min(errors) < 0.05
    assert max(errors) > 5 * min(errors)


def test_magnification_makes_structures_larger() -> None:
    rows, columns = (p + 2 * r for p, r in zip(PATCH, RIM, strict=True))
    label = torch.zeros((1, rows, columns), dtype=torch.uint8)
    label[0, 13:23, 19:29] = 1
    batch = replace(smooth(), label=label)
    sizes = [
        int(
            apply_changes(
                batch, replace(no_changes(1), scales=np.array([s])), SideSwap((0, 1), None)
            )[1].sum()
        )
        for s in (0.8, 1.0, 1.2)
    ]
    assert sizes[1] == 100
    assert sizes == pytest.approx([64, 100, 144], abs=24)
    assert sizes[0] < sizes[1] < sizes[2]


def test_noise_is_measured_in_the_patchs_own_spread(batch: Batch) -> None:
    changes = replace(no_changes(N), noise_sd=np.array([0.0, 0.1, 0.2]), noise_seed=9)
    image, label = apply_changes(batch, changes, SWAP_COLUMNS)
    added = (image - inner(batch.image)).flatten(1)
    spread = inner(batch.image).flatten(1).std(dim=1)
    assert not added[0].any()
    assert float(added[1].std() / spread[1]) == pytest.approx(0.1, rel=0.1)
    assert float(added[2].std() / spread[2]) == pytest.approx(0.2, rel=0.1)
    assert torch.equal(label, inner(batch.label).long())
    louder = replace(batch, image=batch.image * 50)
    image50, _ = apply_changes(louder, changes, SWAP_COLUMNS)
    torch.testing.assert_close(image50, image * 50, rtol=1e-4, atol=1e-3)


def test_gain_multiplies_intensities_and_leaves_labels(batch: Batch) -> None:
    changes = replace(no_changes(N), gains=np.array([0.8, 1.0, 1.25]))
    image, label = apply_changes(batch, changes, SWAP_COLUMNS)
    for index, gain in enumerate((0.8, 1.0, 1.25)):
        torch.testing.assert_close(image[index], inner(batch.image)[index] * gain)
    assert torch.equal(label, inner(batch.label).long())


def test_the_callers_batch_is_left_alone(batch: Batch) -> None:
    image, label = batch.image.clone(), batch.label.clone()
    everything = draw_changes(made_plan(), N, np.random.default_rng(1))
    everything = replace(everything, gains=np.full(N, 2.0), flips=np.ones((N, 2), bool))
    apply_changes(batch, everything, SWAP_COLUMNS)
    apply_changes(batch, replace(everything, angles=np.zeros(N), scales=np.ones(N)), SWAP_COLUMNS)
    assert torch.equal(batch.image, image)
    assert torch.equal(batch.label, label)


def test_changes_can_be_replayed_and_touch_no_global_random_state(batch: Batch) -> None:
    always = dict.fromkeys(("flip", "scale", "rotate", "noise", "brightness"), 1.0)
    plan = made_plan({"augment": always})
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.random.get_rng_state().clone()
    changes = draw_changes(plan, N, np.random.default_rng(6))
    first = apply_changes(batch, changes, SWAP_COLUMNS)
    again = apply_changes(batch, changes, SWAP_COLUMNS)
    same = apply_changes(batch, draw_changes(plan, N, np.random.default_rng(6)), SWAP_COLUMNS)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert torch.equal(first[0], same[0])
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_before)


def test_draws_keep_to_the_ranges_and_shares_of_the_plan() -> None:
    plan = made_plan(
        {
            "augment": {
                "flip": 0.5,
                "rotate": 0.25,
                "rotate_degrees": 20,
                "scale": 0.75,
                "scale_range": [0.7, 1.5],
                "noise": 0.4,
                "noise_sd": 0.3,
                "brightness": 1.0,
                "brightness_range": [0.9, 1.1],
            }
        }
    )
    drawn = draw_changes(plan, 4000, np.random.default_rng(0))
    assert drawn.flips[:, 1].mean() == pytest.approx(0.5, abs=0.03)
    assert (drawn.angles != 0).mean() == pytest.approx(0.25, abs=0.03)
    assert np.abs(drawn.angles).max() == pytest.approx(np.radians(20), rel=0.02)
    assert (drawn.scales != 1).mean() == pytest.approx(0.75, abs=0.03)
    assert (drawn.scales.min(), drawn.scales.max()) == pytest.approx((0.7, 1.5), rel=0.01)
    assert (drawn.noise_sd > 0).mean() == pytest.approx(0.4, abs=0.03)
    assert drawn.noise_sd.max() <= 0.3
    assert (drawn.gains.min(), drawn.gains.max()) == pytest.approx((0.9, 1.1), rel=0.01)


def test_what_is_switched_off_is_never_drawn() -> None:
    off = dict.fromkeys(("flip", "scale", "rotate", "noise", "brightness"), 0.0)
    drawn = draw_changes(made_plan({"augment": off}), 200, np.random.default_rng(0))
    nothing = no_changes(200)
    for name in ("flips", "angles", "scales", "noise_sd", "gains"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(nothing, name))


@pytest.mark.parametrize(
    ("train", "slice_axis", "allowed"),
    [
        ({"mirroring": "swap"}, "Z", (False, True)),
        ({"mirroring": "plain"}, "Z", (False, True)),
        ({"mirroring": "none"}, "Z", (False, False)),
        ({"mirroring": "none", "mirror_axes": ["Y", "X"]}, "Z", (True, False)),
        ({"mirroring": "swap", "mirror_axes": ["Z", "Y", "X"]}, "Z", (True, True)),
        ({"mirroring": "swap", "mirror_axes": ["Z", "X"]}, "Y", (True, True)),
        # Sagittal slices have no left and right in them.
        ({"mirroring": "swap"}, "X", (False, False)),
        ({"mirroring": "swap", "mirror_axes": ["Y"]}, "X", (False, True)),
    ],
)
def test_only_the_axes_of_the_plan_are_flipped(
    train: dict[str, Any], slice_axis: str, allowed: tuple[bool, bool]
) -> None:
    plan = made_plan({"train": train, "prepare": {"slice_axis": slice_axis}})
    assert flip_axes(plan) == allowed
    drawn = draw_changes(plan, 200, np.random.default_rng(0)).flips
    assert tuple(drawn.any(axis=0)) == allowed


@pytest.mark.parametrize(
    ("mirroring", "slice_axis", "table", "axis"),
    [
        ("swap", "Z", (0, 2, 1, 3), 1),
        ("swap", "Y", (0, 2, 1, 3), 1),
        ("swap", "X", (0, 2, 1, 3), None),
        ("plain", "Z", (0, 1, 2, 3), 1),
        ("none", "Z", (0, 1, 2, 3), 1),
    ],
)
def test_partners_change_places_only_where_the_plan_swaps(
    mirroring: str, slice_axis: str, table: tuple[int, ...], axis: int | None
) -> None:
    dataset = unread_dataset(labels={"gland_right": 1, "gland_left": 2, "nerve": 3})
    plan = made_plan(
        {"train": {"mirroring": mirroring}, "prepare": {"slice_axis": slice_axis}}, dataset=dataset
    )
    assert side_swap(plan) == SideSwap(table, axis)


def test_plain_mirroring_keeps_the_labels_values(batch: Batch) -> None:
    swap = side_swap(made_plan({"train": {"mirroring": "plain"}}))
    _, label = apply_changes(batch, flips(*[(False, True)] * N), swap)
    assert torch.equal(label, inner(batch.label).long().flip(-1))
