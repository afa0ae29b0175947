"""What the low resolution of a cascade found, made less reliable than it is.

Enters: patches whose last channels show labels, one each. Leaves: the same
channels, changed in place: labels that were mirrored with the image, grown,
shrunk or smoothed, and without some of their parts. Otherwise the network would
copy them. The changes and their numbers are nnU-Net's.

A ball of any radius is grown by its squared distances, one axis after the other,
which works on every device; a convolution with the ball, as in nnU-Net, costs
the cube of its radius.

Source: nnU-Net (batchgeneratorsv2 0.3.6, transforms/nnunet).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from acinus.networks.device import upload
from acinus.scans import label_components
from acinus.train.augment.changes import Changes
from acinus.train.augment.sides import SideSwap

GROW, SHRINK, CLOSE, OPEN = 1, 2, 3, 4
"""Numbers of the changes of shape; 0 is none."""

LARGEST_PART = 0.15
"""Parts that fill this share of a patch or more are never taken away."""

FAR = 1e9
"""Squared distance of what is beyond reach."""


def change_previous(maps: torch.Tensor, changes: Changes, swap: SideSwap) -> None:
    """Change patches in place.

    Args:
        maps: (N, K, S, R, Q) float32 between 0 and 1, after the changes of space; 0 or 1 after.
        changes: One entry a patch, or a patch and label.
        swap: Which labels take each other's place in flipped patches.
    """
    maps.copy_(maps >= 0.5)
    flipped = np.flatnonzero(changes.flips[:, swap.axis])
    if len(flipped):
        rows = upload(flipped, maps.device)
        maps[rows] = maps[rows][:, list(swap.previous)]
    for place in range(len(maps)):
        shapes, parts = changes.previous_shapes[place], changes.previous_parts[place]
        for label in changes.previous_order[place]:
            if shapes[label]:
                radius = float(changes.previous_radii_vox[place, label])
                _reshape(maps[place], int(label), int(shapes[label]), radius)
        for label in changes.previous_order[place]:
            if not np.isnan(parts[label]):
                _remove_part(maps[place, int(label)], float(parts[label]))


def grown(mask: torch.Tensor, radius: float) -> torch.Tensor:
    """Voxels within a distance of a mask, dilation with a ball; outside of the patch is none.

    Args:
        mask: (S, R, Q) bool.
        radius: In voxels, >= 0.
    """
    reach = int(radius)
    squared = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, FAR)
    for axis, size in enumerate(mask.shape):
        padding = [0, 0] * (mask.ndim - 1 - axis) + [reach, reach]
        padded = functional.pad(squared, padding, value=FAR)
        squared = squared.clone()
        for step in range(1, reach + 1):
            before = padded.narrow(axis, reach - step, size)
            after = padded.narrow(axis, reach + step, size)
            squared = torch.minimum(squared, torch.minimum(before, after) + step**2)
    return squared <= radius**2


def _reshape(maps: torch.Tensor, label: int, shape: int, radius: float) -> None:
    """Grow, shrink, close or open one of (K, S, R, Q); what it wins is taken from the others."""
    before = maps[label] > 0
    mask = before
    steps = {GROW: (True,), SHRINK: (False,), CLOSE: (True, False), OPEN: (False, True)}
    for grows in steps[shape]:
        mask = grown(mask, radius) if grows else ~grown(~mask, radius)
    maps.masked_fill_((mask & ~before)[None], 0.0)
    maps[label] = mask


def _remove_part(mask: torch.Tensor, draw: float) -> None:
    """Take one connected part away from (S, R, Q), chosen among those that are small enough.

    Args:
        mask: 0 or 1, changed in place.
        draw: From 0 to 1, which of them.
    """
    parts, n_parts = label_components(mask.cpu().numpy() > 0)
    sizes = np.bincount(parts.ravel(), minlength=n_parts + 1)[1:]
    small = np.flatnonzero(sizes < LARGEST_PART * parts.size) + 1
    if len(small):
        chosen = small[min(int(draw * len(small)), len(small) - 1)]
        mask.masked_fill_(upload(parts == chosen, mask.device), 0.0)
