"""Weighted cross-entropy over all classes.

Enters: logits and class indices. Leaves: a scalar >= 0 to minimise.
"""

from __future__ import annotations

import torch
from pydantic import field_validator
from torch import Tensor

from acinus.config import Settings
from acinus.errors import ConfigError
from acinus.losses.compared import Outputs


class WeightedCrossEntropyConfig(Settings):
    """Class weights."""

    weights: tuple[float, ...] = (1.0, 10.0)
    """Background first: two numbers (background, every foreground class) or one per class; for
    regions: outside, and inside all or each of them. Only their ratio matters. Ours: the
    lacrimal study does not state its weights; ten softens the about 1:50 of its foreground,
    whose inverse would make the network over-segment."""

    @field_validator("weights")
    @classmethod
    def _weights_are_usable(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if len(weights) < 2 or min(weights) <= 0:
            raise ValueError("must hold at least two numbers, each above 0")
        return weights


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
        n_weights = outputs.n_foreground + 1
        if len(config.weights) not in (2, n_weights):
            raise ConfigError(
                f"loss 'weighted_ce': weights must hold 2 numbers (background, foreground) or "
                f"{n_weights}, one per class; got {len(config.weights)}."
            )
        background, *foreground = config.weights
        if len(foreground) == 1:
            foreground = foreground * outputs.n_foreground
        self.config = config
        self.outputs = outputs
        self.weights = torch.tensor([background, *foreground])

    def __call__(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Scalar loss of logits (N, K, ...) against target (N, ...) int64."""
        # Moved once: a GPU cannot record a copy from this machine's memory.
        self.weights = self.weights.to(logits.device)
        return self.outputs.compare(logits, target, annotated).cross_entropy(self.weights)
