"""Weights of the classes in a cross-entropy.

Enters: two numbers or one a class. Leaves: a tensor on the device of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acinus.errors import ConfigError
from acinus.losses.compared import Outputs


def usable_weights(weights: tuple[float, ...]) -> tuple[float, ...]:
    """The weights; ValueError unless there are at least two, each above 0."""
    if len(weights) < 2 or min(weights) <= 0:
        raise ValueError("must hold at least two numbers, each above 0")
    return weights


class ClassWeights:
    """A weight for the background and one for each foreground class or region.

    Args:
        loss: Name of the loss, for messages.
        weights: Background first: two numbers (background, every foreground class) or one a
            class; for regions: outside, and inside all or each of them.
        outputs: What the outputs of the network stand for.

    Raises:
        ConfigError: There are neither two weights nor one per class.
    """

    def __init__(self, loss: str, weights: Sequence[float], outputs: Outputs) -> None:
        n_weights = outputs.n_foreground + 1
        if len(weights) not in (2, n_weights):
            raise ConfigError(
                f"loss '{loss}': weights must hold 2 numbers (background, foreground) or "
                f"{n_weights}, one per class; got {len(weights)}."
            )
        background, *foreground = weights
        if len(foreground) == 1:
            foreground = foreground * outputs.n_foreground
        self.weights = torch.tensor([background, *foreground])

    def on(self, device: torch.device) -> Tensor:
        """(K' + 1,) float32, moved once: a GPU cannot record a copy from this machine's memory."""
        self.weights = self.weights.to(device)
        return self.weights
