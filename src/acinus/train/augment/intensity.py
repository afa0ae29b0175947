"""Changes of intensity: curve, noise, blur, brightness, contrast, low resolution, gamma.

Enters: patches without rim. Leaves: the same patches, changed in place, in
nnU-Net's order and by its definitions. Channels are handled as rows of one
table; each change takes the rows it concerns together. Blur and low resolution
are linear along each axis, so both are a product with a small matrix an axis:
any mixture of widths is one pass, faster than convolutions of unequal kernels.

Source: nnU-Net (batchgeneratorsv2 0.3.6, transforms/intensity and /spatial); the curve after
Zhou et al. 2019, MICCAI, arXiv 1908.06912 (non-linear transformation), here with straight lines
and not always rising, so that it exchanges bright and dark tissues as sequences do.
"""

from __future__ import annotations

import numpy as np
import torch

from acinus.networks.device import upload
from acinus.train.augment.changes import Changes
from acinus.types import Array

SMALLEST_RANGE = 1e-7
"""Divisor in place of the range or spread of constant patches."""


def change_intensities(image: torch.Tensor, changes: Changes) -> None:
    """Change patches in place; channels beyond those of `changes` stay as they are.

    Args:
        image: (N, C, S, R, Q) float32, contiguous.
        changes: One entry a patch, or a patch and channel.
    """
    n, channels = image.shape[0], changes.gains.shape[1]
    table = image.view(n * image.shape[1], *image.shape[2:])
    rows = np.arange(len(table)).reshape(n, -1)[:, :channels]
    _curve(table, rows, changes.curves)
    _add_noise(table, rows, changes.noise_sd, changes.noise_seeds)
    _blur(table, rows, changes.blur_sigma_vox)
    _multiply(table, rows, changes.gains)
    _stretch(table, rows, changes.contrasts)
    _coarsen(table, rows, changes.resolutions, first_axis=1 if changes.in_plane else 0)
    _bend(table, rows, changes.gammas_inverted, sign=-1.0)
    _bend(table, rows, changes.gammas, sign=1.0)


def blur_matrices(sigma_vox: Array, size: int) -> Array:
    """(k, size, size) float32, Gaussian blur of a line of voxels for each of k widths >= 0.

    Cut off after about 3 sigma; beyond its ends a line is continued by its mirror image.
    """
    sigma = sigma_vox[:, None]
    half = np.floor((6 * sigma + 0.5) / 2).astype(int)
    offsets = np.arange(-half.max(), half.max() + 1)
    # A width of 0 leaves the middle alone, whose weight is 1.
    weights = np.exp(-0.5 * (offsets / np.maximum(sigma, 1e-6)) ** 2) * (np.abs(offsets) <= half)
    weights /= weights.sum(axis=1, keepdims=True)
    voxels = np.arange(size)
    matrices = np.zeros((len(sigma_vox), size, size), dtype=np.float32)
    for offset, weight in zip(offsets, weights.T, strict=True):
        matrices[:, voxels, _mirrored(voxels + offset, size)] += weight[:, None]
    return matrices


def resolution_matrices(shares: Array, size: int) -> Array:
    """(k, size, size) float32, a line sampled at a share of its voxels and interpolated back.

    Down takes the nearest voxel, up is linear, both about the middle of the line.
    """
    coarse = np.maximum(np.rint(size * shares), 1)[:, None]
    voxels = np.arange(size)
    position = np.clip((voxels + 0.5) * coarse / size - 0.5, 0, None)
    below = np.minimum(np.floor(position), coarse - 1)
    above = np.minimum(below + 1, coarse - 1)
    weight = np.where(above > below, position - below, 0.0)
    matrices = np.zeros((len(shares), size, size), dtype=np.float32)
    which = np.arange(len(shares))[:, None]
    for taken, share in ((below, 1 - weight), (above, weight)):
        source = np.minimum(np.floor((taken + 0.5) * size / coarse), size - 1).astype(int)
        matrices[which, voxels, source] += share
    return matrices


def _mirrored(positions: Array, size: int) -> Array:
    """Positions on a line that is continued by its mirror image, the end voxel not repeated."""
    if size == 1:
        return np.zeros_like(positions)
    period = 2 * (size - 1)
    within = positions % period
    folded: Array = np.minimum(within, period - within)
    return folded


def _add_noise(table: torch.Tensor, rows: Array, noise_sd: Array, seeds: Array) -> None:
    """Each patch has its own stream: its noise does not depend on its neighbours."""
    for place in np.flatnonzero(noise_sd > 0):
        part = table[rows[place, 0] : rows[place, -1] + 1]
        stream = torch.Generator(table.device).manual_seed(int(seeds[place]))
        noise = torch.randn(part.shape, generator=stream, device=table.device)
        sd = _spread(part.flatten(1))[1].view(-1, 1, 1, 1)
        part.addcmul_(noise, sd, value=float(noise_sd[place]))


def _blur(table: torch.Tensor, rows: Array, sigma_vox: Array) -> None:
    chosen = (sigma_vox > 0).any(axis=2)
    if not chosen.any():
        return
    where = upload(rows[chosen], table.device)
    part = table[where]
    for axis, size in enumerate(part.shape[1:]):
        widths = sigma_vox[chosen][:, axis]
        if size > 1 and widths.any():
            part = _along(axis, part, blur_matrices(widths, size))
    table.index_copy_(0, where, part)


def _coarsen(table: torch.Tensor, rows: Array, shares: Array, first_axis: int) -> None:
    chosen = shares < 1
    if not chosen.any():
        return
    where = upload(rows[chosen], table.device)
    part = table[where]
    for axis in range(first_axis, 3):
        if part.shape[1 + axis] > 1:
            matrices = resolution_matrices(shares[chosen], part.shape[1 + axis])
            part = _along(axis, part, matrices)
    table.index_copy_(0, where, part)


def _along(axis: int, part: torch.Tensor, matrices: Array) -> torch.Tensor:
    """Product of each row (k, S, R, Q) with its matrix along one axis."""
    lines = part.movedim(1 + axis, 1)
    product = torch.bmm(upload(matrices, part.device), lines.flatten(2))
    return product.view(lines.shape).movedim(1, 1 + axis)


def _multiply(table: torch.Tensor, rows: Array, factors: Array) -> None:
    chosen = factors != 1
    if chosen.any():
        gains = np.ones(len(table), dtype=np.float32)
        gains[rows[chosen]] = factors[chosen]
        table.mul_(upload(gains, table.device).view(-1, 1, 1, 1))


def _stretch(table: torch.Tensor, rows: Array, factors: Array) -> None:
    """Contrast: distances to the mean are multiplied, the range is kept."""
    chosen = factors != 1
    if not chosen.any():
        return
    where = upload(rows[chosen], table.device)
    part = table[where]
    flat = part.flatten(1)
    mean = flat.mean(dim=1, keepdim=True)
    low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
    flat = (flat - mean).mul_(_column(factors[chosen], table.device)).add_(mean)
    table.index_copy_(0, where, flat.clamp_(low, high).view_as(part))


def _bend(table: torch.Tensor, rows: Array, exponents: Array, sign: float) -> None:
    """Gamma on intensities scaled to [0, 1], inverted for sign -1; mean and spread are kept."""
    chosen = exponents != 1
    if not chosen.any():
        return
    where = upload(rows[chosen], table.device)
    part = table[where]
    flat = part.flatten(1) * sign
    mean, sd = _spread(flat)
    low = flat.amin(dim=1, keepdim=True)
    span = flat.amax(dim=1, keepdim=True) - low
    flat.sub_(low).div_(span.clamp(min=SMALLEST_RANGE))
    flat.pow_(_column(exponents[chosen], table.device)).mul_(span).add_(low)
    new_mean, new_sd = _spread(flat)
    flat.sub_(new_mean).mul_(sd / new_sd.clamp(min=SMALLEST_RANGE)).add_(mean)
    table.index_copy_(0, where, flat.mul_(sign).view_as(part))


def _curve(table: torch.Tensor, rows: Array, curves: Array) -> None:
    """Intensities through a curve of straight lines over their range; mean and spread are kept."""
    chosen = ~np.isnan(curves).any(axis=2) & (curves.shape[2] > 0)
    if not chosen.any():
        return
    where = upload(rows[chosen], table.device)
    part = table[where]
    flat = part.flatten(1)
    knots = upload(curves[chosen].astype(np.float32), table.device)
    mean, sd = _spread(flat)
    low = flat.amin(dim=1, keepdim=True)
    span = (flat.amax(dim=1, keepdim=True) - low).clamp(min=SMALLEST_RANGE)
    place = (flat - low).div_(span).mul_(knots.shape[1] - 1)
    below = place.floor().clamp_(max=knots.shape[1] - 2)
    first = below.long()
    share = place.sub_(below)
    start, end = knots.gather(1, first), knots.gather(1, first.add_(1))
    flat = start.add_(share.mul_(end.sub_(start)))
    new_mean, new_sd = _spread(flat)
    flat.sub_(new_mean).mul_(sd / new_sd.clamp(min=SMALLEST_RANGE)).add_(mean)
    table.index_copy_(0, where, flat.view_as(part))


def _spread(flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(k, 1) mean and standard deviation of rows (k, voxels).

    In two passes: on a CPU that is a tenth of the time of `torch.std`.
    """
    mean = flat.mean(dim=1, keepdim=True)
    squares = torch.linalg.vector_norm(flat - mean, dim=1, keepdim=True)
    return mean, squares / max(flat.shape[1] - 1, 1) ** 0.5


def _column(values: Array, device: torch.device) -> torch.Tensor:
    return upload(values.astype(np.float32)[:, None], device)
