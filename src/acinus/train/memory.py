"""What a training needs of memory, forecast before it starts.

Enters: a plan. Leaves: bytes. The network is run once on torch's meta device,
which computes shapes and no values, so that the forecast costs milliseconds and
no memory. A formula over features and voxels was rejected: every network would
need its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from acinus.networks import SegmentationNetwork
from acinus.plan import Plan
from acinus.train.build import plan_loss, seeded_network

WORKSPACE = 1.9
"""Peak over what is kept for the way back: gradients of the layer under work and copies in the
order that a processor's convolutions want. Measured on a CPU by the growth of a process from a
batch to a larger one: 1.9 with 3D networks, 1.6 with 2D ones, in float32."""

BFLOAT16_SHARE = 0.63
"""What bfloat16 needs of that of float32: normalisations and the loss keep 32 bits. Measured
0.49 (unet_3d), 0.49 (unet_2d), 0.63 (plain_unet)."""

OPTIMISER_COPIES = {"sgd": 1, "adam": 2, "adamw": 2}


def memory_bytes(plan: Plan) -> tuple[float, float]:
    """Bytes that a training needs for weights, and for each patch of a batch."""
    train = plan.settings.train
    with torch.device("meta"):  # nothing is drawn: a large network's weights take seconds
        network = seeded_network(plan, 0)
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    copies = 2 + OPTIMISER_COPIES[train.optimiser] + (train.average_decay is not None)
    per_patch = WORKSPACE * _kept_bytes(plan, network)
    if train.precision == "bfloat16":
        per_patch *= BFLOAT16_SHARE
    return float(copies * weights), per_patch


def step_bytes(plan: Plan) -> float:
    """Bytes that one process of a training takes of its device."""
    fixed, per_patch = memory_bytes(plan)
    return fixed + per_patch * plan.settings.train.batch / plan.settings.train.devices


def _kept_bytes(plan: Plan, network: SegmentationNetwork) -> float:
    """Bytes of float32 that one patch leaves for the way back, of a network on the meta device."""
    train = plan.settings.train
    saved: dict[int, int] = {}
    kept: list[Any] = []  # keeps storages alive, so that their identities stay distinct

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            saved[id(tensor.untyped_storage())] = tensor.numel() * tensor.element_size()
            kept.append(tensor)
        return tensor

    n_patches = 2  # normalisation over a batch needs more than one value a channel
    image = torch.empty(n_patches, network.n_channels, *train.patch_vox, device="meta")
    label = torch.zeros(n_patches, *train.patch_vox, dtype=torch.int64, device="meta")
    with saved_tensors_hooks(note, lambda tensor: tensor):
        levels = network.forward_levels(image) if train.deep_supervision else [network(image)]
        for logits in levels:
            size = logits.shape[2:]
            plan_loss(plan)(logits, label[(slice(None), *(slice(0, n) for n in size))])
    return sum(saved.values()) / n_patches
