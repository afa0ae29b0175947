"""The parts of a training that a plan names: network, loss, optimiser, forward pass.

Enters: a plan. Leaves: torch objects. The global random state is left alone: the
weights of a fold follow from the plan's seed and its index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from acinus.losses import build_loss
from acinus.networks import SegmentationNetwork, build_network
from acinus.plan import Plan
from acinus.plan.settings import TrainSettings


def seeded_network(plan: Plan, fold: int) -> SegmentationNetwork:
    """An untrained network whose weights follow from the plan's seed and the fold."""
    return build_network(
        plan.settings.network.name,
        plan.settings.network.config,
        n_channels=plan.n_channels,
        n_classes=plan.n_classes,
        seed=int(np.random.default_rng([plan.seed, fold]).integers(2**62)),
    )


def plan_loss(plan: Plan) -> Callable[..., torch.Tensor]:
    """The loss of a plan, of logits (N, K, ...), target (N, ...) and annotated (N, K) or None."""
    loss = plan.settings.loss
    regions = plan.label_values if plan.dataset.regions else None
    return build_loss(loss.name, loss.config, plan.n_classes, regions=regions)


def build_optimiser(network: nn.Module, train: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser of a recipe."""
    weights = network.parameters()
    if train.optimiser == "sgd":
        return torch.optim.SGD(
            weights,
            train.lr,
            momentum=train.momentum,
            nesterov=train.momentum > 0,
            weight_decay=train.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if train.optimiser == "adam" else torch.optim.AdamW
    return kind(weights, train.lr, weight_decay=train.weight_decay, fused=True)


def training_forward(
    network: SegmentationNetwork, train: TrainSettings
) -> Callable[[torch.Tensor], Any]:
    """The forward pass that training calls: all levels under deep supervision, else the finest.

    Args:
        network: On its device.
        train: Says whether it is compiled.
    """
    forward: Callable[[torch.Tensor], Any] = (
        network.forward_levels if train.deep_supervision else network
    )
    if train.compile == "on":
        compiled: Callable[[torch.Tensor], Any] = torch.compile(forward)
        return compiled
    return forward


@contextmanager
def seeded_dropout(seed: Sequence[int], member: int, device: torch.device) -> Iterator[None]:
    """What a network drops follows from a seed; afterwards the random state is as it was.

    Args:
        seed: Of the step.
        member: Which of the processes that train together; each drops for itself.
        device: That the network is on.
    """
    drawn = np.random.SeedSequence(list(seed), spawn_key=(member,)).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(drawn[0]) >> 1)
        yield
