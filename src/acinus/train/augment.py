"""Augmentation of a batch in one resampling pass.

Enters: a batch with its rim, settings and a generator. Leaves: patches of the
planned size. Flip, scaling and rotation become one affine map a patch, so that
every voxel is interpolated once; noise and gain follow. Drawing
(`draw_changes`) is apart from doing (`apply_changes`), which makes a batch
replayable. A flip across the sagittal plane swaps the labels of mirror pairs.

Source: lacrimal MRI study, section 2.3 (flip, scaling, Gaussian noise,
limited-angle rotation); probabilities and ranges are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample

from acinus.plan import Plan
from acinus.train.patches import Batch
from acinus.types import Array


@dataclass(frozen=True, eq=False)
class Changes:
    """What happens to each patch of a batch.

    Attributes:
        flips: (N, 2) bool, flip of rows and of columns.
        angles: (N,) rotation, radians.
        scales: (N,) magnification, 1 leaves the size.
        noise_sd: (N,) standard deviation of added noise, in units of the patch's own.
        gains: (N,) factor on the intensities.
        noise_seed: Seed of the noise itself.
    """

    flips: Array
    angles: Array
    scales: Array
    noise_sd: Array
    gains: Array
    noise_seed: int


@dataclass(frozen=True)
class SideSwap:
    """Which labels change places when an axis is flipped.

    Attributes:
        table: New value of each label value; index is the old value.
        axis: 0 if flipping rows crosses the sagittal plane, 1 if columns do, None if neither.
    """

    table: tuple[int, ...]
    axis: int | None


def side_swap(plan: Plan) -> SideSwap:
    """The label swap of a plan; the identity where mirroring is plain."""
    swaps = plan.settings.train.mirroring == "swap"
    table = plan.mirror_table if swaps else tuple(range(len(plan.mirror_table)))
    axis = plan.axes[1:].index("X") if "X" in plan.axes[1:] else None
    return SideSwap(table, axis)


def flip_axes(plan: Plan) -> tuple[bool, bool]:
    """Whether rows and columns may be flipped under the plan."""
    train = plan.settings.train
    allowed = {
        axis for axis in train.mirror_axes if not (axis == "X" and train.mirroring == "none")
    }
    rows, columns = (axis in allowed for axis in plan.axes[1:])
    return rows, columns


def draw_changes(plan: Plan, n: int, rng: np.random.Generator) -> Changes:
    """Random changes of `n` patches; the caller's generator is the only randomness."""
    settings = plan.settings.augment
    may_flip = np.array(flip_axes(plan))
    flips = (rng.random((n, 2)) < settings.flip) & may_flip
    limit = math.radians(settings.rotate_degrees)
    angles = np.where(rng.random(n) < settings.rotate, rng.uniform(-limit, limit, n), 0.0)
    low, high = np.log(settings.scale_range)
    scales = np.where(rng.random(n) < settings.scale, np.exp(rng.uniform(low, high, n)), 1.0)
    noise = np.where(rng.random(n) < settings.noise, rng.uniform(0, settings.noise_sd, n), 0.0)
    gain_low, gain_high = np.log(settings.brightness_range)
    gains = np.where(
        rng.random(n) < settings.brightness, np.exp(rng.uniform(gain_low, gain_high, n)), 1.0
    )
    return Changes(flips, angles, scales, noise, gains, int(rng.integers(2**62)))


def no_changes(n: int) -> Changes:
    """Changes that only cut the rim off."""
    zeros, ones = np.zeros(n), np.ones(n)
    return Changes(np.zeros((n, 2), dtype=bool), zeros, ones, zeros, ones, 0)


def apply_changes(
    batch: Batch, changes: Changes, swap: SideSwap
) -> tuple[torch.Tensor, torch.Tensor]:
    """Changed patches without rim.

    Args:
        batch: Patches with rim.
        changes: One entry a patch.
        swap: Labels that change places when the sagittal axis is flipped.

    Returns:
        Image (N, C, R, Q) float32 and label (N, R, Q) int64.
    """
    image, label = _resample(batch, changes)
    label = _swap_sides(label, changes.flips, swap)
    if changes.noise_sd.any():
        generator = torch.Generator().manual_seed(changes.noise_seed)
        noise = torch.randn(image.shape, generator=generator)
        sd = torch.from_numpy(changes.noise_sd.astype(np.float32))
        spread = image.flatten(1).std(dim=1)
        image = image + noise * (sd * spread)[:, None, None, None]
    if (changes.gains != 1).any():
        image = image * torch.from_numpy(changes.gains.astype(np.float32))[:, None, None, None]
    return image, label


def _resample(batch: Batch, changes: Changes) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = batch.image.shape[-2:]
    rim_rows, rim_columns = batch.rim_vox
    patch = rows - 2 * rim_rows, columns - 2 * rim_columns
    if not (changes.angles.any() or (changes.scales != 1).any()):
        inner = (
            slice(rim_rows, rim_rows + patch[0]),
            slice(rim_columns, rim_columns + patch[1]),
        )
        image = batch.image[(..., *inner)].clone()
        label = batch.label[(..., *inner)].long()
        for index, flips in enumerate(changes.flips):
            axes = [axis - 2 for axis in range(2) if flips[axis]]
            if axes:
                image[index] = image[index].flip(axes)
                label[index] = label[index].flip(axes)
        return image, label
    theta = _affine(changes, patch, (rows, columns))
    size = [len(batch.cases), 1, *patch]
    grid = affine_grid(theta, size, align_corners=False)
    image = grid_sample(
        batch.image, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    label = grid_sample(
        batch.label[:, None].float(),
        grid,
        mode="nearest",
        padding_mode="zeros",
        align_corners=False,
    )
    return image, label[:, 0].long()


def _affine(changes: Changes, patch: tuple[int, int], cut: tuple[int, int]) -> torch.Tensor:
    """(N, 2, 3) maps from output to input in grid_sample's (column, row) units of [-1, 1].

    Rotation is done in voxels, then expressed in the normalised units of the
    cut, which is larger than the patch by the rim on both sides.
    """
    cosine, sine = np.cos(changes.angles), np.sin(changes.angles)
    flip_rows = np.where(changes.flips[:, 0], -1.0, 1.0)
    flip_columns = np.where(changes.flips[:, 1], -1.0, 1.0)
    half_patch_r, half_patch_q = patch[0] / 2, patch[1] / 2
    half_cut_r, half_cut_q = cut[0] / 2, cut[1] / 2
    theta = np.zeros((len(changes.angles), 2, 3), dtype=np.float32)
    theta[:, 0, 0] = cosine * flip_columns * half_patch_q / half_cut_q / changes.scales
    theta[:, 0, 1] = -sine * flip_rows * half_patch_r / half_cut_q / changes.scales
    theta[:, 1, 0] = sine * flip_columns * half_patch_q / half_cut_r / changes.scales
    theta[:, 1, 1] = cosine * flip_rows * half_patch_r / half_cut_r / changes.scales
    return torch.from_numpy(theta)


def _swap_sides(label: torch.Tensor, flips: Array, swap: SideSwap) -> torch.Tensor:
    if swap.axis is None or swap.table == tuple(range(len(swap.table))):
        return label
    flipped = torch.from_numpy(np.ascontiguousarray(flips[:, swap.axis]))
    if not flipped.any():
        return label
    table = torch.tensor(swap.table)
    swapped = table[label]
    return torch.where(flipped[:, None, None], swapped, label)
