"""Flips, rotations and scalings as laws, with scipy as a second opinion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_batch import SLICES, VOLUME, changed, changes_of, inner, made_batch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from acinus.train.augment import SideSwap, apply_changes
from acinus.train.augment.spatial import voxel_maps
from acinus.types import IGNORE

SWAP = SideSwap(table=(0, 2, 1, 3), axis=2)
TABLE = torch.arange(256)
TABLE[1], TABLE[2] = 2, 1
BOTH = pytest.mark.parametrize(("patch", "n_dims"), [(SLICES, 2), (VOLUME, 3)], ids=["2D", "3D"])
FLIPS = [(False, False, True), (False, True, False), (True, False, True), (True, True, True)]


def test_no_changes_cut_the_rim_and_nothing_else() -> None:
    batch = made_batch()
    image, label = changed(batch, SWAP)
    assert torch.equal(image, inner(batch.image, batch))
    assert torch.equal(label, inner(batch.label, batch).long())
    assert (image.dtype, label.dtype) == (torch.float32, torch.int64)


def test_slices_come_out_without_their_first_axis() -> None:
    batch = made_batch(patch=SLICES)
    image, label = changed(batch, n_dims=2)
    assert image.shape == (3, 2, *SLICES[1:])
    assert label.shape == (3, *SLICES[1:])
    assert torch.equal(image, inner(batch.image, batch)[:, :, 0])


@pytest.mark.parametrize("in_plane", [False, True])
@pytest.mark.parametrize("angle", [0.0, 1e-7], ids=["cut", "resampled"])
@pytest.mark.parametrize("flips", FLIPS)
def test_a_flip_mirrors_the_image_and_a_sagittal_one_swaps_the_partners(
    flips: tuple[bool, bool, bool], angle: float, in_plane: bool
) -> None:
    batch = made_batch()
    angles = np.array([[angle, 0, 0]] * 3)
    image, label = changed(
        batch, SWAP, flips=[flips, (False,) * 3, flips], angles=angles, in_plane=in_plane
    )
    kept_image, kept_label = inner(batch.image, batch), inner(batch.label, batch).long()
    axes = [axis - 3 for axis in range(3) if flips[axis]]
    swapped = TABLE[kept_label] if flips[2] else kept_label
    for place in (0, 2):
        torch.testing.assert_close(image[place], kept_image[place].flip(axes), atol=1e-4, rtol=0)
        assert torch.equal(label[place], swapped[place].flip(axes))
    torch.testing.assert_close(image[1], kept_image[1], atol=1e-4, rtol=0)
    assert torch.equal(label[1], kept_label[1])
    assert IGNORE in label


@pytest.mark.parametrize("flips", FLIPS)
def test_two_flips_are_none(flips: tuple[bool, bool, bool]) -> None:
    batch = made_batch()
    image, label = changed(batch, SWAP, flips=flips)
    once = replace(batch, image=image, label=label.to(torch.uint8), rim_vox=(0, 0, 0))
    image, label = changed(once, SWAP, flips=flips)
    assert torch.equal(image, inner(batch.image, batch))
    assert torch.equal(label, inner(batch.label, batch).long())


def test_values_beyond_the_table_stay_when_sides_are_swapped() -> None:
    batch = made_batch()
    _, label = changed(batch, SideSwap((0, 2, 1), 2), flips=(False, False, True))
    assert torch.equal(label, TABLE[inner(batch.label, batch).long()].flip(-1))
    assert {3, IGNORE} <= set(label.unique().tolist())


def test_without_pairs_labels_keep_their_values() -> None:
    batch = made_batch()
    _, label = changed(batch, SideSwap((0, 1, 2, 3), 2), flips=(False, False, True))
    assert torch.equal(label, inner(batch.label, batch).long().flip(-1))


def scipy_says(
    whole: NDArray[np.generic], matrix: NDArray[np.float64], patch: tuple[int, ...], order: int
) -> NDArray[np.generic]:
    """A patch sampled from the whole, both about their middle."""
    offset = (np.array(whole.shape) - 1) / 2 - matrix @ ((np.array(patch) - 1) / 2)
    sampled: NDArray[np.generic] = ndimage.affine_transform(
        whole, matrix, offset, output_shape=patch, order=order, mode="constant"
    )
    return sampled


@pytest.mark.parametrize("scale", [1.0, 0.85, 1.27])
@pytest.mark.parametrize(
    ("angles", "patch", "in_plane"),
    [
        ((-0.26, 0, 0), SLICES, True),
        ((0.7, 0, 0), SLICES, True),
        ((0.2, 0, 0), VOLUME, False),
        ((0, 0.2, 0), VOLUME, False),
        ((0, 0, 0.2), VOLUME, False),
        ((0.3, -0.2, 0.25), VOLUME, False),
        ((0.5, 0, 0), VOLUME, True),
    ],
)
def test_rotation_and_scaling_agree_with_scipy(
    angles: tuple[float, float, float], patch: tuple[int, int, int], in_plane: bool, scale: float
) -> None:
    batch = made_batch(2, patch, sigma=2.0)
    image, label = changed(batch, angles=angles, scales=scale, in_plane=in_plane)
    # scipy's own rotation about fixed axes 0, 1, 2, in that order, after the scaling.
    turn = Rotation.from_euler("xyz", angles).as_matrix()
    matrix = turn @ np.diag([1.0 if in_plane else 1 / scale, 1 / scale, 1 / scale])
    for place in range(2):
        whole = batch.image[place, 1].numpy()
        inside = scipy_says(np.ones_like(whole), matrix, patch, 1) > 0.999
        assert inside.mean() > 0.6
        expected = scipy_says(whole, matrix, patch, 1)
        np.testing.assert_allclose(image[place, 1].numpy()[inside], expected[inside], atol=2e-4)
        names = scipy_says(batch.label[place].numpy(), matrix, patch, 0)
        assert (label[place].numpy() == names)[inside].mean() > 0.998


def test_a_quarter_turn_is_exact_and_goes_the_same_way_about_each_axis() -> None:
    batch = made_batch(1, (16, 16, 16))
    cut = inner(batch.image, batch)
    for axis, planes in enumerate([(-1, -2), (-3, -1), (-2, -3)]):
        angles = np.zeros(3)
        angles[axis] = np.pi / 2
        image, label = changed(batch, angles=angles)
        torch.testing.assert_close(image, cut.rot90(1, planes), atol=1e-4, rtol=0)
        expected = inner(batch.label, batch).long().rot90(1, planes)
        assert (label == expected).float().mean() > 0.999


@pytest.mark.parametrize("in_plane", [False, True])
def test_rotation_turns_about_the_axes_it_may(in_plane: bool) -> None:
    batch = made_batch(2, VOLUME)
    maps = voxel_maps(changes_of(batch, angles=(0.4, 0, 0), scales=1.25, in_plane=in_plane))
    np.testing.assert_allclose(maps[:, 0], np.tile([1.0 if in_plane else 0.8, 0, 0], (2, 1)))


def test_in_plane_changes_never_mix_slices() -> None:
    batch = made_batch(1, VOLUME, channels=1)
    one = torch.zeros_like(batch.image)
    one[:, :, batch.rim_vox[0] + 4] = 1.0
    image, _ = changed(
        replace(batch, image=one), angles=(0.5, 0, 0), scales=1.2, resolutions=0.5, in_plane=True
    )
    assert float(image[:, :, 4].min()) > 0.99
    assert not image[:, :, [index for index in range(VOLUME[0]) if index != 4]].any()


@BOTH
def test_magnification_makes_structures_larger(patch: tuple[int, int, int], n_dims: int) -> None:
    batch = made_batch(1, patch)
    label = torch.zeros_like(batch.label)
    middle = [size // 2 for size in label.shape[1:]]
    half = [4 if size > 1 else 1 for size in patch]
    box = tuple(
        slice(max(place - reach, 0), place + reach)
        for place, reach in zip(middle, half, strict=True)
    )
    label[(0, *box)] = 1
    whole = int(label.sum())
    sizes = [
        int(changed(replace(batch, label=label), scales=scale, in_plane=n_dims == 2)[1].sum())
        for scale in (0.8, 1.0, 1.25)
    ]
    assert sizes[1] == whole
    assert sizes[0] == pytest.approx(whole * 0.8**n_dims, rel=0.35)
    assert sizes[2] == pytest.approx(whole * 1.25**n_dims, rel=0.35)


@BOTH
def test_labels_stay_in_their_set_and_the_unseen_is_background(
    patch: tuple[int, int, int], n_dims: int
) -> None:
    batch = made_batch(4, patch)
    _, label = changed(
        batch, SWAP, n_dims, angles=(0.6, 0, 0), scales=0.5, flips=(False, True, True)
    )
    assert set(label.unique().tolist()) == {0, 1, 2, 3, IGNORE}
    corner = label[(slice(None), *[0] * n_dims)]
    assert not corner.any()


def test_what_is_ignored_stays_ignored_when_it_is_turned_or_flipped() -> None:
    batch = made_batch(4, (1, 64, 64))
    label = batch.label.clamp(max=3)
    label[:, :, 40:56, 44:54] = IGNORE
    turned = replace(batch, label=label)
    _, label = changed(turned, SWAP, 2, angles=(0.2, 0, 0), flips=(False, False, True))
    assert int((label == IGNORE).sum()) == pytest.approx(4 * 160, rel=0.1)


def test_a_patch_without_rim_can_be_turned() -> None:
    batch = replace(made_batch(), rim_vox=(0, 0, 0))
    image, label = changed(batch, angles=(0.1, 0.2, 0))
    assert image.shape == batch.image.shape
    assert label.shape == batch.label.shape


@pytest.mark.parametrize("in_plane", [False, True])
def test_a_patch_comes_out_the_same_in_any_company(in_plane: bool) -> None:
    batch, rng = made_batch(6), np.random.default_rng(2)
    mixed = changes_of(
        batch,
        flips=rng.random((6, 3)) < 0.5,
        angles=np.where(rng.random((6, 1)) < 0.5, rng.uniform(-1, 1, (6, 3)) * (1, 0, 0), 0),
        scales=np.where(rng.random(6) < 0.5, rng.uniform(0.7, 1.4, 6), 1),
        in_plane=in_plane,
    )
    image, label = apply_changes(batch, mixed, SWAP, 3)
    for place in range(6):
        alone = replace(
            batch, image=batch.image[place : place + 1], label=batch.label[place : place + 1]
        )
        one = {name: getattr(mixed, name)[[place]] for name in ("flips", "angles", "scales")}
        image_alone, label_alone = changed(alone, SWAP, in_plane=in_plane, **one)
        assert torch.equal(image_alone[0], image[place])
        assert torch.equal(label_alone[0], label[place])
