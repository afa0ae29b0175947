"""Soft Dice and cross-entropy, added.

Enters: logits and class indices. Leaves: a scalar >= 0 to minimise.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from acinus.losses.compared import Outputs
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
    For regions the cross-entropy is the binary one, averaged over regions and voxels.
    In [0, ∞): 0 for a perfect and sure prediction; lower is better.

    With smooth 1e-5, squared false and absent count this is nnU-Net's loss plus 1. One
    difference: for regions with an ignore label nnU-Net adds the binary cross-entropy over
    regions instead of averaging it, which a `ce_weight` of the number of regions does here.

    Args:
        config: Weights of the parts, and the settings of the Dice part.
        outputs: What the outputs of the network stand for.

    Source: Isensee et al. 2021, Nat Methods 18:203-211 (equal weights; theirs is shifted by -1).
    """

    def __init__(self, config: DiceCrossEntropyConfig, outputs: Outputs) -> None:
        self.config = config
        self.outputs = outputs
        self.dice = DiceLoss(config, outputs)

    def __call__(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Scalar loss of logits (N, K, ...) against target (N, ...) int64."""
        compared = self.outputs.compare(logits, target, annotated)
        dice, cross_entropy = self.dice.of(compared), compared.cross_entropy()
        return self.config.dice_weight * dice + self.config.ce_weight * cross_entropy
