"""Losses: logits and class indices in, a scalar >= 0 to minimise out. One loss a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from acinus.errors import ConfigError
from acinus.losses.dice import DiceLoss
from acinus.losses.dice_ce import DiceCrossEntropyConfig, DiceCrossEntropyLoss
from acinus.losses.jaccard import JaccardLoss
from acinus.losses.overlap import OverlapConfig
from acinus.losses.weighted_ce import WeightedCrossEntropyConfig, WeightedCrossEntropyLoss
from acinus.registry import Registry

__all__ = [
    "LOSSES",
    "DiceCrossEntropyConfig",
    "DiceCrossEntropyLoss",
    "DiceLoss",
    "JaccardLoss",
    "Loss",
    "OverlapConfig",
    "WeightedCrossEntropyConfig",
    "WeightedCrossEntropyLoss",
    "build_loss",
]

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, K, ...spatial) and target (N, ...spatial) int64 to a scalar >= 0 to minimise."""

LOSSES: Registry[Callable[..., Loss]] = Registry("loss")
LOSSES.register("dice", config=OverlapConfig)(DiceLoss)
LOSSES.register("jaccard", config=OverlapConfig)(JaccardLoss)
LOSSES.register("weighted_ce", config=WeightedCrossEntropyConfig)(WeightedCrossEntropyLoss)
LOSSES.register("dice_ce", config=DiceCrossEntropyConfig)(DiceCrossEntropyLoss)


def build_loss(name: str, config: Mapping[str, Any], n_classes: int) -> Loss:
    """A loss by registered name.

    Args:
        name: Registered name, e.g. ``"dice"``.
        config: Settings of the loss that differ from its defaults.
        n_classes: Classes, background included, >= 2.

    Raises:
        ConfigError: The name, a key or a number is not valid.
    """
    factory = LOSSES[name].factory
    settings = LOSSES.configure(name, config)
    if n_classes < 2:
        raise ConfigError(
            f"loss '{name}' must have at least 2 classes (background included); got {n_classes}."
        )
    return factory(settings, n_classes=n_classes)
