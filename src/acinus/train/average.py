"""The running average of the weights, which predicts better than the last weights.

Enters: a network after a step. Leaves: averaged weights. Averaging over the
last epochs only was rejected: it needs to know the end of a training that a
clock may move.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

Weights = dict[str, torch.Tensor]


def weights_of(network: nn.Module) -> Weights:
    """A copy of the weights and buffers of a network."""
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


@torch.no_grad()
def average_in(averaged: Weights, network: nn.Module, decay: float, step: int) -> None:
    """Exponential running average; its decay rises so that the first weights are forgotten.

    Args:
        averaged: Running average, changed in place.
        network: After the step.
        decay: Share that the old average keeps, in (0, 1).
        step: Counted from 0.
    """
    keep = min(decay, (1 + step) / (10 + step))
    state = network.state_dict()
    real = [key for key, value in state.items() if value.is_floating_point()]
    torch._foreach_lerp_([averaged[key] for key in real], [state[key] for key in real], 1 - keep)
    for key in state.keys() - set(real):
        averaged[key].copy_(state[key])


@contextmanager
def with_weights(network: nn.Module, weights: Weights | None) -> Iterator[None]:
    """The network with other weights for the length of the block; None: with its own."""
    if weights is None:
        yield
        return
    own = weights_of(network)
    network.load_state_dict(weights)
    try:
        yield
    finally:
        network.load_state_dict(own)
