"""Architectures: images in, logits out. One architecture a file, found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from acinus.errors import ConfigError
from acinus.networks.contract import (
    SegmentationNetwork,
    check_size,
    nearest_valid_size,
    padded_size,
)
from acinus.networks.pansegnet import PansegnetConfig, pansegnet
from acinus.networks.plain_unet import PlainUNetConfig, plain_unet
from acinus.networks.resenc_unet import ResEncUNetConfig, resenc_unet
from acinus.networks.stages import StagedUNet, StagedUNetConfig
from acinus.networks.unet import UNet, UNet3dConfig, UNetConfig, unet_2d, unet_3d
from acinus.registry import Registry

__all__ = [
    "NETWORKS",
    "PansegnetConfig",
    "PlainUNetConfig",
    "ResEncUNetConfig",
    "SegmentationNetwork",
    "StagedUNet",
    "StagedUNetConfig",
    "UNet",
    "UNet3dConfig",
    "UNetConfig",
    "build_network",
    "check_size",
    "nearest_valid_size",
    "padded_size",
]

NETWORKS: Registry[Callable[..., SegmentationNetwork]] = Registry("network")
NETWORKS.register("unet_2d", config=UNetConfig)(unet_2d)
NETWORKS.register("unet_3d", config=UNet3dConfig)(unet_3d)
NETWORKS.register("plain_unet", config=PlainUNetConfig)(plain_unet)
NETWORKS.register("resenc_unet", config=ResEncUNetConfig)(resenc_unet)
NETWORKS.register("pansegnet", config=PansegnetConfig)(pansegnet)


def build_network(
    name: str,
    config: Mapping[str, Any],
    *,
    n_channels: int,
    n_classes: int,
    seed: int | None = None,
) -> SegmentationNetwork:
    """A freshly drawn network by registered name.

    Args:
        name: Registered name, e.g. ``"unet_2d"``.
        config: Settings of the network that differ from its defaults.
        n_channels: Channels of the input, >= 1.
        n_classes: Outputs: labels and background, or one for each region, >= 1.
        seed: Seed of the weights, on the CPU; the global random state is then untouched.
            None: drawn from the global random state.

    Raises:
        ConfigError: The name, a key or a number is not valid.
    """
    factory = NETWORKS[name].factory
    settings = NETWORKS.configure(name, config)
    if n_channels < 1 or n_classes < 1:
        raise ConfigError(
            f"network '{name}' must have at least 1 channel and 1 class; "
            f"got {n_channels} and {n_classes}."
        )
    if seed is None:
        return factory(settings, n_channels=n_channels, n_classes=n_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return factory(settings, n_channels=n_channels, n_classes=n_classes)
