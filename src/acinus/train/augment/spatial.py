"""Flip, rotation and scaling of a batch: one affine map a patch, one interpolation a voxel.

Enters: image and label with their rim. Leaves: both at the planned size; what
lies outside the cut is 0, background. Only patches that are turned or scaled
are interpolated, the others are cut. Maps are made in voxels, as nnU-Net does,
whatever the spacing. Images are interpolated linearly, labels take the nearest
voxel: nnU-Net's vote of linearly interpolated one-hot labels costs one
interpolation a class and differs at borders only, by less than a voxel.
Separable shears were rejected: they interpolate three times.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import grid_sample

from acinus.networks.device import upload
from acinus.train.augment.changes import Changes
from acinus.types import Array


def change_space(
    image: torch.Tensor, label: torch.Tensor, rim_vox: tuple[int, int, int], changes: Changes
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches flipped, turned and scaled about their middle, without their rim.

    Args:
        image: (N, C, S, R, Q) float32 with rim; not altered.
        label: (N, S, R, Q) uint8 with rim; not altered.
        rim_vox: (S, R, Q) voxels of rim on each side.
        changes: One entry a patch.

    Returns:
        New tensors: image (N, C, *patch) float32, label (N, *patch) uint8.
    """
    inner = tuple(
        slice(rim, size - rim) for rim, size in zip(rim_vox, label.shape[1:], strict=True)
    )
    moved = (changes.angles != 0).any(axis=1) | (changes.scales != 1)
    cut_image = image[(slice(None), slice(None), *inner)].clone()
    cut_label = label[(slice(None), *inner)].clone()
    for place in np.flatnonzero(changes.flips.any(axis=1) & ~moved):
        axes = [axis - 3 for axis in range(3) if changes.flips[place, axis]]
        cut_image[place] = cut_image[place].flip(axes)
        cut_label[place] = cut_label[place].flip(axes)
    if moved.any():
        chosen = np.flatnonzero(moved)
        maps = voxel_maps(changes)[chosen]
        rows = upload(chosen, image.device)
        part, names = image[rows], label[rows]
        if changes.in_plane:
            part, names = part[:, :, inner[0]], names[:, inner[0]]
            part, names = _sample_slices(part, names, maps, cut_image.shape)
        else:
            part, names = _sample_volumes(part, names, maps, cut_image.shape)
        cut_image.index_copy_(0, rows, part)
        cut_label.index_copy_(0, rows, names)
    return cut_image, cut_label


def voxel_maps(changes: Changes) -> Array:
    """(N, 3, 3) maps from a voxel of the patch to one of the cut, S, R, Q about the middle.

    Scaling, then rotation about S, about R, about Q; the flip comes first of all, so that it
    mirrors the changed patch.
    """
    cosine, sine = np.cos(changes.angles), np.sin(changes.angles)
    zero, one = np.zeros(len(cosine)), np.ones(len(cosine))
    (cs, cr, cq), (ss, sr, sq) = cosine.T, sine.T
    about_s = np.array([[one, zero, zero], [zero, cs, -ss], [zero, ss, cs]])
    about_r = np.array([[cr, zero, sr], [zero, one, zero], [-sr, zero, cr]])
    about_q = np.array([[cq, -sq, zero], [sq, cq, zero], [zero, zero, one]])
    turn = np.einsum("abn,bcn,cdn->nad", about_q, about_r, about_s)
    step = np.repeat(1 / changes.scales[:, None], 3, axis=1)
    if changes.in_plane:
        step[:, 0] = 1.0
    maps: Array = turn * (step * np.where(changes.flips, -1.0, 1.0))[:, None, :]
    return maps


def _sample_volumes(
    image: torch.Tensor, label: torch.Tensor, maps: Array, size: torch.Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolated patches (n, C, S, R, Q) and (n, S, R, Q) of the cuts."""
    grid = _grid(maps, tuple(size[2:]), tuple(image.shape[2:]), image.device)
    sampled = grid_sample(image, grid, mode="bilinear", align_corners=False)
    names = grid_sample(label[:, None].float(), grid, mode="nearest", align_corners=False)
    return sampled, names[:, 0].to(torch.uint8)


def _sample_slices(
    image: torch.Tensor, label: torch.Tensor, maps: Array, size: torch.Size
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same within slices: those of a patch share one map and are sampled as channels.

    A flip of S, the only thing that a map does along it here, is done by turning the order.
    """
    grid = _grid(maps[:, 1:, 1:], tuple(size[3:]), tuple(image.shape[3:]), image.device)
    sampled = grid_sample(image.flatten(1, 2), grid, mode="bilinear", align_corners=False)
    sampled = sampled.unflatten(1, tuple(image.shape[1:3]))
    names = grid_sample(label.float(), grid, mode="nearest", align_corners=False).to(torch.uint8)
    for place in np.flatnonzero(maps[:, 0, 0] < 0):
        sampled[place], names[place] = sampled[place].flip(1), names[place].flip(0)
    return sampled, names


def _grid(
    maps: Array, patch: tuple[int, ...], cut: tuple[int, ...], device: torch.device
) -> torch.Tensor:
    """(n, *patch, D) positions in the cut in grid_sample's units: Q first, edges at -1 and 1.

    One plane of memory a coordinate, handed over as a view: 45 times as fast on a CPU as
    `torch.nn.functional.affine_grid` for patches of 40 x 56 x 40, exact as that.
    """
    dims = len(patch)
    scaled = maps / (np.array(cut)[:, None] / 2)
    columns = upload(scaled[:, ::-1].astype(np.float32), device)
    grid = torch.zeros((), device=device)
    for axis, size in enumerate(patch):
        line = torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2
        shape = [size if axis == other else 1 for other in range(dims)]
        grid = grid + columns[:, :, axis].view(-1, dims, *[1] * dims) * line.view(shape)
    return grid.movedim(1, -1)
