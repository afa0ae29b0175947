"""One loss at several resolutions of the decoder.

Enters: logits of the decoder's levels, finest first, and one reference. Leaves: a scalar.
Coarse logits brought up to the grid of the reference were rejected: they cost as many voxels a
level as the finest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acinus.losses.contract import Loss


class DeepSupervision:
    """Weighted mean of a loss over the levels of a decoder: Σ w_i loss_i, w_i ∝ 1 / 2^i.

    The coarsest of several levels gets the weight 0. The reference of a level is the nearest
    voxel of the full one. In the range of the loss; lower is better.

    Args:
        loss: Of one level.

    Source: Lee et al. 2015, AISTATS 562-570; weights of Isensee et al. 2021, Nat Methods
    18:203-211.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def __call__(
        self, levels: Sequence[Tensor], target: Tensor, annotated: Tensor | None = None
    ) -> Tensor:
        """Scalar loss.

        Args:
            levels: Logits (N, K, ...spatial), finest first; the first on the grid of `target`.
            target: (N, ...spatial) int64.
            annotated: As `Loss` takes it.
        """
        total = torch.zeros((), device=target.device)
        for logits, weight in zip(levels, level_weights(len(levels)), strict=True):
            if weight > 0:
                part = self.loss(logits, nearest(target, tuple(logits.shape[2:])), annotated)
                total = total + weight * part
        return total


def level_weights(n_levels: int) -> tuple[float, ...]:
    """Weights of the levels, finest first: 1 / 2^i, the last of several 0, with the sum 1."""
    halves = [0.5**level for level in range(n_levels)]
    if n_levels > 1:
        halves[-1] = 0.0
    return tuple(half / sum(halves) for half in halves)


def nearest(target: Tensor, size: tuple[int, ...]) -> Tensor:
    """The voxels of `target` (N, ...spatial) nearest to the centres of a grid of another size.

    Between two equally near voxels the later one is taken (``nearest-exact`` of
    `torch.nn.functional.interpolate`), without its detour over floating point.
    """
    for axis, wanted in enumerate(size, start=1):
        given = target.shape[axis]
        if wanted == given:
            continue
        index = torch.arange(wanted, device=target.device)
        target = target.index_select(axis, (2 * index + 1) * given // (2 * wanted))
    return target
