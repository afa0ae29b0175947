"""Weighted cross-entropy over all classes.

Enters: logits and class indices. Leaves: a scalar >= 0 to minimise.
"""

from __future__ import annotations

from pydantic import field_validator
from torch import Tensor

from acinus.config import Settings
from acinus.losses.class_weights import ClassWeights, usable_weights
from acinus.losses.compared import Outputs


class WeightedCrossEntropyConfig(Settings):
    """Class weights."""

    weights: tuple[float, ...] = (1.0, 10.0)
    """Background first: two numbers (background, every foreground class) or one per class; for
    regions: outside, and inside all or each of them. Only their ratio matters. Ours: the
    lacrimal study does not state its weights; ten softens the about 1:50 of its foreground,
    whose inverse would make the network over-segment."""

    _weights_are_usable = field_validator("weights")(usable_weights)


class WeightedCrossEntropyLoss:
    """Weighted cross-entropy: - Σ w_g log p_g / Σ w_g over voxels, g the reference class.

    p is the softmax probability, w_g the weight of the voxel's reference class. In [0, ∞):
    0 for a perfect and sure prediction; lower is better. The background takes part. For
    regions the sums run over regions and voxels, g being inside or outside of the region.

    Args:
        config: Weights.
        outputs: What the outputs of the network stand for.

    Raises:
        ConfigError: There are neither two weights nor one per class.

    Source: Ronneberger et al. 2015, MICCAI 234-241, without its border weights.
    """

    def __init__(self, config: WeightedCrossEntropyConfig, outputs: Outputs) -> None:
        self.config = config
        self.outputs = outputs
        self.weights = ClassWeights("weighted_ce", config.weights, outputs)

    def __call__(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Scalar loss of logits (N, K, ...) against target (N, ...) int64."""
        compared = self.outputs.compare(logits, target, annotated)
        return compared.cross_entropy(self.weights.on(logits.device))
