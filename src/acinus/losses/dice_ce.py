"""Soft Dice and cross-entropy, added.

Enters: logits and class indices. Leaves: a scalar >= 0 to minimise.
"""

from __future__ import annotations

from pydantic import Field, field_validator
from torch import Tensor

from acinus.losses.class_weights import ClassWeights, usable_weights
from acinus.losses.compared import Outputs
from acinus.losses.dice import DiceLoss
from acinus.losses.overlap import OverlapConfig


class DiceCrossEntropyConfig(OverlapConfig):
    """Weights of the two parts, and the settings of the Dice part."""

    dice_weight: float = Field(1.0, gt=0)
    ce_weight: float = Field(1.0, gt=0)
    ce_weights: tuple[float, ...] | None = None
    """Weights of the classes within the cross-entropy, as those of `weighted_ce`; None: all voxels
    count alike, so that a structure of a hundred voxels in a scan says next to nothing there."""

    @field_validator("ce_weights")
    @classmethod
    def _weights_are_usable(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if weights is None else usable_weights(weights)


class DiceCrossEntropyLoss:
    """Soft Dice plus cross-entropy: a · Dice loss + b · mean(- log p_g).

    a is `dice_weight`, b `ce_weight`, p_g the softmax probability of the voxel's reference
    class; the Dice part is that of the loss `dice`. The mean is over voxels; with `ce_weights` one
    weighted by the reference class, as of `weighted_ce`.
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
        self.weights = (
            None
            if config.ce_weights is None
            else ClassWeights("dice_ce", config.ce_weights, outputs)
        )

    def __call__(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Scalar loss of logits (N, K, ...) against target (N, ...) int64."""
        compared = self.outputs.compare(logits, target, annotated)
        weights = None if self.weights is None else self.weights.on(logits.device)
        dice, cross_entropy = self.dice.of(compared), compared.cross_entropy(weights)
        return self.config.dice_weight * dice + self.config.ce_weight * cross_entropy
