"""Losses: logits and label values in, a scalar >= 0 to minimise out. One loss a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acinus.losses.compared import Outputs, Regions
from acinus.losses.contract import Loss
from acinus.losses.deep_supervision import DeepSupervision
from acinus.losses.dice import DiceLoss
from acinus.losses.dice_ce import DiceCrossEntropyConfig, DiceCrossEntropyLoss
from acinus.losses.jaccard import JaccardLoss
from acinus.losses.overlap import OverlapConfig
from acinus.losses.weighted_ce import WeightedCrossEntropyConfig, WeightedCrossEntropyLoss
from acinus.registry import Registry

__all__ = [
    "LOSSES",
    "DeepSupervision",
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

LOSSES: Registry[Callable[..., Loss]] = Registry("loss")
LOSSES.register("dice", config=OverlapConfig)(DiceLoss)
LOSSES.register("jaccard", config=OverlapConfig)(JaccardLoss)
LOSSES.register("weighted_ce", config=WeightedCrossEntropyConfig)(WeightedCrossEntropyLoss)
LOSSES.register("dice_ce", config=DiceCrossEntropyConfig)(DiceCrossEntropyLoss)


def build_loss(
    name: str, config: Mapping[str, Any], n_classes: int, *, regions: Regions | None = None
) -> Loss:
    """A loss by registered name.

    Args:
        name: Registered name, e.g. ``"dice"``.
        config: Settings of the loss that differ from its defaults.
        n_classes: Outputs of the network: classes, background included, >= 2; or regions, >= 1.
        regions: For each output the label values it unites; None: classes exclude each other.

    Raises:
        ConfigError: The name, a key, a number or a region is not valid.
    """
    factory = LOSSES[name].factory
    return factory(LOSSES.configure(name, config), Outputs(n_classes, regions))
