"""Soft Dice and cross-entropy, added.

Enters: logits and class indices. Leaves: a scalar >= 0 to minimise.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from acinus.losses.dice import DiceLoss
from acinus.losses.overlap import OverlapConfig


class DiceCrossEntropyConfig(OverlapConfig):
    """Weights of the two parts, and the settings of the Dice part."""

    dice_weight: float = Field(1.0, gt=0)
    ce_weight: float = Field(1.0, gt=0)


class DiceCrossEntropyLoss:
    """Soft Dice plus cross-entropy: a · Dice loss + b · mean(- log p_g).

    a is `dice_weight`, b `ce_weight`, p_g the softmax probability of the voxel's reference
    class; the Dice part is that of the loss `dice`, the cross-entropy has no class weights.
    In [0, ∞): 0 for a perfect and sure prediction; lower is better.

    Args:
        config: Weights of the parts, smoothing, and whether Dice sums run over the batch.
        n_classes: K, background included.

    Source: Isensee et al. 2021, Nat Methods 18:203-211 (equal weights; theirs is shifted by -1).
    """

    def __init__(self, config: DiceCrossEntropyConfig, *, n_classes: int) -> None:
        self.config = config
        self.dice = DiceLoss(config, n_classes=n_classes)

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of logits (N, K, ...) against target (N, ...) int64."""
        dice = self.dice(logits, target)  # also checks the target
        cross_entropy = functional.cross_entropy(logits.float(), target)
        return self.config.dice_weight * dice + self.config.ce_weight * cross_entropy
