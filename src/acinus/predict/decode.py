"""From class maps to label values, voxel by voxel.

Enters: averaged class maps, probabilities or logits. Leaves: label values as `restore` wants
them. A class is the value of its label, 0 is background, so that the index of the largest map
is the label. Regions overlap and have maps of their own: each is painted where it is more
probable than not, the later ones over the earlier ones. Softmax before the maximum was
rejected: it changes no order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from acinus.plan import Plan

Decode = Callable[[Tensor], Tensor]
"""Class maps (n, K, R, Q) to label values (n, R, Q) uint8."""


def decoder(plan: Plan, maps: Literal["probs", "logits"]) -> Decode:
    """How the class maps of a plan become labels.

    Args:
        plan: Says whether maps are of labels or of regions.
        maps: What they hold; regions are found above 0.5 or 0.
    """
    if not plan.dataset.regions:
        return strongest_class
    values = tuple(plan.dataset.labels.values())
    threshold = 0.5 if maps == "probs" else 0.0
    return lambda maps: paint_regions(maps, values, threshold)


def strongest_class(maps: Tensor) -> Tensor:
    """(n, R, Q) uint8 index of the largest of (n, K, R, Q); ties go to the lower one."""
    # Maps one by one are three times as fast as argmax over an axis that is not the last.
    best = maps[:, 0]
    label = torch.zeros(best.shape, dtype=torch.uint8, device=maps.device)
    for index in range(1, maps.shape[1]):
        wins = maps[:, index] > best
        label.masked_fill_(wins, index)
        best = torch.maximum(best, maps[:, index])
    return label


def paint_regions(maps: Tensor, values: tuple[int, ...], threshold: float) -> Tensor:
    """(n, R, Q) uint8 with the value of each region where its map is above the threshold.

    Args:
        maps: (n, K, R, Q).
        values: K values, painted in this order.
        threshold: 0.5 for probabilities, 0 for logits.
    """
    label = torch.zeros(maps[:, 0].shape, dtype=torch.uint8, device=maps.device)
    for index, value in enumerate(values):
        label.masked_fill_(maps[:, index] > threshold, value)
    return label


def probabilities(logits: Tensor, *, has_regions: bool) -> Tensor:
    """Softmax over the classes of (n, K, ...) logits, or a sigmoid of each region."""
    return logits.sigmoid() if has_regions else logits.softmax(dim=1)
