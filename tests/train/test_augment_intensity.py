"""Changes of intensity against torch, scipy and their own laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_batch import PLAIN, SLICES, VOLUME, changed, changes_of, inner, made_batch
from scipy import ndimage
from torch.nn.functional import interpolate

from acinus.train.augment import SideSwap, apply_changes
from acinus.train.augment.intensity import blur_matrices, resolution_matrices
from acinus.train.patches import Batch

EVERYTHING = {
    "noise_sd": 0.1,
    "noise_seeds": 5,
    "blur_sigma_vox": 0.8,
    "gains": 1.2,
    "contrasts": 0.8,
    "resolutions": 0.6,
    "gammas_inverted": 1.3,
    "gammas": 0.8,
}


@pytest.mark.parametrize("field", EVERYTHING)
def test_only_the_channels_concerned_are_changed(field: str) -> None:
    batch = made_batch(4, channels=3)
    values = np.array(getattr(changes_of(batch), field))
    chosen = np.zeros((4, 3), bool)
    if values.ndim == 1:
        chosen[1] = True
        values[1] = EVERYTHING[field]
    else:
        chosen[0, 1] = chosen[2, 0] = chosen[2, 2] = True
        values[chosen] = EVERYTHING[field]
    fields = {field: values} if field != "noise_seeds" else {"noise_sd": chosen[:, 0] * 0.1}
    image, label = changed(batch, **fields)
    kept = inner(batch.image, batch)
    differ = (image != kept).flatten(2).any(dim=2).numpy()
    np.testing.assert_array_equal(differ, chosen)
    assert torch.equal(label, inner(batch.label, batch).long())


def test_channels_beyond_those_of_the_changes_keep_their_intensities() -> None:
    batch = made_batch(channels=3)
    fewer = replace(batch, image=batch.image[:, :2])
    changes = changes_of(fewer, **EVERYTHING)
    image, _ = apply_changes(batch, changes, PLAIN, 3)
    alone, _ = apply_changes(fewer, changes, PLAIN, 3)
    assert torch.equal(image[:, :2], alone)
    assert torch.equal(image[:, 2], inner(batch.image, batch)[:, 2])


def test_a_patch_comes_out_the_same_in_any_company() -> None:
    batch, rng = made_batch(5), np.random.default_rng(1)
    mixed = {
        name: np.where(
            rng.random(np.shape(getattr(changes_of(batch), name))) < 0.6,
            value,
            getattr(changes_of(batch), name),
        )
        for name, value in EVERYTHING.items()
    }
    image, _ = changed(batch, **mixed)
    for place in range(5):
        alone = replace(
            batch, image=batch.image[place : place + 1], label=batch.label[place : place + 1]
        )
        one, _ = changed(alone, **{name: value[[place]] for name, value in mixed.items()})
        torch.testing.assert_close(one[0], image[place], rtol=1e-5, atol=1e-5)


def test_noise_is_measured_in_the_spread_of_patch_and_channel() -> None:
    batch = made_batch()
    batch = replace(batch, image=batch.image * torch.tensor([1.0, 50.0]).view(1, 2, 1, 1, 1))
    noise_sd = np.array([0.0, 0.1, 0.2])
    image, _ = changed(batch, noise_sd=noise_sd, noise_seeds=[1, 2, 3])
    kept = inner(batch.image, batch)
    added = (image - kept).flatten(2)
    relative = added.std(dim=2) / kept.flatten(2).std(dim=2)
    np.testing.assert_allclose(relative.numpy(), np.repeat(noise_sd[:, None], 2, 1), rtol=0.05)
    np.testing.assert_allclose(added[1:].mean(dim=2) / kept.flatten(2).std(dim=2)[1:], 0, atol=0.02)


def test_each_seed_has_its_noise_and_each_channel_its_own() -> None:
    batch = made_batch(3)
    same = replace(batch, image=batch.image[:1, :1].expand(3, 2, -1, -1, -1).clone())
    image, _ = changed(same, noise_sd=0.2, noise_seeds=[4, 5, 4])
    assert torch.equal(image[0], image[2])
    assert not torch.equal(image[0], image[1])
    first, second = (image[0] - inner(same.image, same)[0]).flatten(1)
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.05


@pytest.mark.parametrize("size", [1, 2, 5, 31])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 0.75, 1.0, 2.5])
def test_blur_is_scipys_with_the_border_mirrored(sigma: float, size: int) -> None:
    line = np.random.default_rng(0).normal(size=size)
    ours = blur_matrices(np.array([sigma]), size)[0] @ line
    if sigma == 0:
        np.testing.assert_allclose(ours, line, rtol=1e-6)
        return
    radius = int((6 * sigma + 0.5) // 2)
    theirs = ndimage.gaussian_filter1d(line, sigma, mode="mirror", radius=radius)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_blur_of_a_volume_is_scipys_along_each_axis() -> None:
    batch = made_batch(1, channels=1)
    sigmas = (0.5, 0.8, 1.0)
    image, _ = changed(batch, blur_sigma_vox=sigmas)
    expected = inner(batch.image, batch)[0, 0].numpy()
    for axis, sigma in enumerate(sigmas):
        radius = int((6 * sigma + 0.5) // 2)
        expected = ndimage.gaussian_filter1d(expected, sigma, axis, mode="mirror", radius=radius)
    np.testing.assert_allclose(image[0, 0].numpy(), expected, atol=1e-5)


def test_widths_of_different_patches_do_not_mix() -> None:
    widths = np.array([0.0, 0.5, 1.0, 0.7])
    together = blur_matrices(widths, 12)
    for width, matrix in zip(widths, together, strict=True):
        np.testing.assert_allclose(matrix, blur_matrices(np.array([width]), 12)[0], atol=1e-7)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 12, 37])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.63, 0.9, 1.0])
def test_low_resolution_is_torchs_nearest_down_and_linear_up(share: float, size: int) -> None:
    line = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, size)).astype(np.float32))
    coarse = interpolate(line, max(round(size * share), 1), mode="nearest-exact")
    expected = interpolate(coarse, size, mode="linear")[0, 0].numpy()
    ours = resolution_matrices(np.array([share, 0.77]), size)[0] @ line[0, 0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("in_plane", [False, True])
def test_low_resolution_of_a_volume_is_torchs(in_plane: bool) -> None:
    batch = made_batch(1, channels=1)
    image, _ = changed(batch, resolutions=0.58, in_plane=in_plane)
    kept = inner(batch.image, batch)
    coarse = [round(size * 0.58) for size in kept.shape[2:]]
    coarse[0] = kept.shape[2] if in_plane else coarse[0]
    down = interpolate(kept, coarse, mode="nearest-exact")
    expected = interpolate(down, kept.shape[2:], mode="trilinear")
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)


def test_slices_are_blurred_and_coarsened_within_themselves() -> None:
    batch = made_batch(2, SLICES)
    image, _ = changed(batch, n_dims=2, blur_sigma_vox=(0, 0.7, 0.7), resolutions=0.5)
    assert image.shape == (2, 2, *SLICES[1:])
    assert float(image.var()) < 0.6 * float(inner(batch.image, batch).var())


def test_brightness_multiplies() -> None:
    batch = made_batch(2)
    gains = np.array([[0.8, 1.0], [1.25, 1.1]], dtype=np.float32)
    image, _ = changed(batch, gains=gains)
    expected = inner(batch.image, batch) * torch.from_numpy(gains).view(2, 2, 1, 1, 1)
    torch.testing.assert_close(image, expected)


@pytest.mark.parametrize("factor", [0.75, 1.25])
def test_contrast_keeps_the_range_and_the_mean_of_what_stays_within(factor: float) -> None:
    batch = made_batch(2)
    image, _ = changed(batch, contrasts=factor)
    kept = inner(batch.image, batch).flatten(2)
    image = image.flatten(2)
    mean = kept.mean(dim=2, keepdim=True)
    low, high = kept.amin(dim=2, keepdim=True), kept.amax(dim=2, keepdim=True)
    assert (image >= low).all()
    assert (image <= high).all()
    unclipped = (kept - mean) * factor + mean
    within = (unclipped > low) & (unclipped < high)
    torch.testing.assert_close(image[within], unclipped[within])
    assert within.all() == (factor < 1)


@pytest.mark.parametrize("field", ["gammas", "gammas_inverted"])
@pytest.mark.parametrize("exponent", [0.7, 1.5])
def test_gamma_keeps_mean_and_spread_and_order(field: str, exponent: float) -> None:
    batch = made_batch(2)
    image, _ = changed(batch, **{field: exponent})
    before, after = inner(batch.image, batch).flatten(2), image.flatten(2)
    torch.testing.assert_close(after.mean(dim=2), before.mean(dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(after.std(dim=2), before.std(dim=2), rtol=1e-4, atol=0)
    order = before[0, 0].argsort()
    assert (after[0, 0][order].diff() >= -1e-5).all()
    # A power below 1 lifts the dark, so that bright values crowd: the skew says which way.
    skew = (((after - after.mean()) / after.std()) ** 3).mean()
    pulls_up = (exponent > 1) == (field == "gammas")
    assert bool(skew > 0) == pulls_up


def test_gamma_inverted_is_gamma_of_the_negative() -> None:
    batch = made_batch(2)
    inverted, _ = changed(batch, gammas_inverted=1.4)
    negative, _ = changed(replace(batch, image=-batch.image), gammas=1.4)
    torch.testing.assert_close(inverted, -negative, atol=1e-5, rtol=0)


def test_gamma_is_the_power_of_the_scaled_intensities() -> None:
    batch = made_batch(1, channels=1)
    image, _ = changed(batch, gammas=0.8)
    kept = inner(batch.image, batch)[0, 0].numpy().astype(np.float64)
    power = ((kept - kept.min()) / np.ptp(kept)) ** 0.8
    expected = (power - power.mean()) / power.std() * kept.std() + kept.mean()
    np.testing.assert_allclose(image[0, 0].numpy(), expected, atol=1e-4)


KNOTS = (0.0, 0.9, 0.2, 1.0, 0.4)


def with_curve(knots: np.ndarray, n: int = 1, channels: int = 1) -> tuple[Batch, torch.Tensor]:
    """Patches before and after their curves, without their rim."""
    batch = made_batch(n, channels=channels)
    curved = replace(changes_of(batch), curves=knots)
    image, _ = apply_changes(batch, curved, PLAIN, 3)
    return inner(batch.image, batch), image


def test_the_curve_is_straight_lines_over_the_range_of_a_patch() -> None:
    before, after = with_curve(np.array(KNOTS).reshape(1, 1, -1))
    values = before[0, 0].numpy().astype(np.float64)
    scaled = (values - values.min()) / np.ptp(values)
    bent = np.interp(scaled, np.linspace(0, 1, len(KNOTS)), KNOTS)
    expected = (bent - bent.mean()) / bent.std() * values.std() + values.mean()
    np.testing.assert_allclose(after[0, 0].numpy(), expected, atol=1e-4)


def test_a_straight_curve_changes_nothing_and_others_only_their_channel() -> None:
    knots = np.full((2, 2, 5), np.nan)
    knots[0, 0], knots[1, 1] = np.linspace(0, 1, 5), KNOTS
    before, after = with_curve(knots, n=2, channels=2)
    torch.testing.assert_close(after[0], before[0], atol=1e-5, rtol=0)
    assert torch.equal(after[1, 0], before[1, 0])
    assert not torch.allclose(after[1, 1], before[1, 1], atol=0.1)


def test_a_constant_patch_stays_finite_and_as_it_is() -> None:
    batch = made_batch(2)
    flat = replace(batch, image=torch.full_like(batch.image, 3.0))
    image, _ = changed(flat, **{**EVERYTHING, "gains": 1.0})
    torch.testing.assert_close(image, torch.full_like(image, 3.0), atol=1e-4, rtol=0)


def test_the_order_is_noise_blur_brightness_contrast_resolution_inverted_gamma_gamma() -> None:
    batch = made_batch(2)
    expected = batch
    for names in (
        ("noise_sd", "noise_seeds"),
        ("blur_sigma_vox",),
        ("gains",),
        ("contrasts",),
        ("resolutions",),
        ("gammas_inverted",),
        ("gammas",),
    ):
        image, _ = changed(expected, **{name: EVERYTHING[name] for name in names})
        label = inner(expected.label, expected)
        expected = replace(expected, image=image, label=label, rim_vox=(0, 0, 0))
    image, _ = changed(batch, **EVERYTHING)
    torch.testing.assert_close(image, expected.image)


def test_zeros_outside_of_the_body_stay_zeros_where_asked() -> None:
    batch = made_batch()
    image = batch.image.clone()
    image[..., :10] = 0.0
    masked = replace(batch, image=image)
    outside = inner(image, masked) == 0
    kept, _ = changed(masked, **EVERYTHING, keep_zeros=(0, 1))
    free, _ = changed(masked, **EVERYTHING)
    assert not kept[outside].any()
    assert torch.equal(kept[~outside], free[~outside])
    assert free[outside].all()
    one, _ = changed(masked, **EVERYTHING, keep_zeros=(1,))
    assert torch.equal(one[:, 0], free[:, 0]) and torch.equal(one[:, 1], kept[:, 1])


@pytest.mark.parametrize(("n_dims", "in_plane"), [(2, True), (3, False), (3, True)])
def test_nothing_of_a_batch_is_read_back_from_its_device(n_dims: int, in_plane: bool) -> None:
    # Tensors on the device "meta" have no values: any look at one from outside raises.
    batch = made_batch(patch=SLICES if n_dims == 2 else VOLUME)
    elsewhere = replace(batch, image=batch.image.to("meta"), label=batch.label.to("meta"))
    without_noise = {**EVERYTHING, "noise_sd": 0.0}
    image, label = changed(
        elsewhere,
        SideSwap((0, 2, 1), 2),
        n_dims,
        **without_noise,
        angles=[(0.1, 0, 0), (0, 0, 0), (0.1, 0, 0)],
        flips=(True, False, True),
        in_plane=in_plane,
        keep_zeros=(0, 1),
    )
    here, here_label = changed(batch, n_dims=n_dims)
    assert (image.device.type, image.shape, image.dtype) == ("meta", here.shape, here.dtype)
    assert (label.shape, label.dtype) == (here_label.shape, here_label.dtype)
