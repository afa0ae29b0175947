"""What a training needs of memory, forecast before it starts, and a batch that fits.

Enters: a plan. Leaves: bytes, or the plan with a smaller batch. The network is run
once on torch's meta device, which computes shapes and no values, so that the
forecast costs milliseconds and no memory. Trying a batch and catching the failure
was rejected: on a CPU the system ends the process instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from acinus.errors import PlanError
from acinus.networks.device import free_bytes, open_device
from acinus.plan import Decision, Plan
from acinus.train import plan_loss, seeded_network

USABLE_SHARE = 0.85
"""Share of the free memory that a training may be planned to take."""

WORKSPACE = 1.3
"""Factor on what is kept for the way back, for the gradients of the layer under work."""

OPTIMISER_COPIES = {"sgd": 1, "adam": 2, "adamw": 2}


def fit_to_memory(plan: Plan) -> Plan:
    """The plan, with its batch halved as often as the free memory of the device asks for.

    Raises:
        PlanError: Not even one patch fits.
    """
    device = open_device(plan.settings.train.device)
    usable = USABLE_SHARE * free_bytes(device)
    fixed, per_patch = memory_bytes(plan)
    n, wanted = plan.settings.train.devices, plan.settings.train.batch
    sharing = n if device.type == "cpu" else 1

    def needed(batch: int) -> float:
        """Bytes of the members of a training that share one memory."""
        return sharing * (fixed + batch / n * per_patch)

    batch = wanted
    while batch >= 2 * n and needed(batch) > usable:
        batch = batch // 2 // n * n
    if needed(batch) > usable:
        raise PlanError(
            f"one patch {plan.settings.train.patch_vox} must fit into the memory of {device}; it "
            f"needs about {_gib(fixed + per_patch)} of {_gib(usable)} usable. Close other "
            "programs, choose a smaller train.patch_vox, or fewer network features."
        )
    if batch == wanted:
        return plan
    return plan.with_decisions(
        {
            "train.batch": Decision(
                value=batch,
                rule=f"halved from {wanted} until a step fits into the free memory of the device",
                source="data",
                facts={
                    "batch_wanted": wanted,
                    "usable_gib": round(usable / 2**30, 2),
                    "gib_a_patch": round(per_patch / 2**30, 3),
                    "gib_of_weights": round(fixed / 2**30, 3),
                },
            )
        }
    )


def memory_bytes(plan: Plan) -> tuple[float, float]:
    """Bytes that a training needs for weights, and for each patch of a batch."""
    train = plan.settings.train
    network = seeded_network(plan, 0)
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    copies = 2 + OPTIMISER_COPIES[train.optimiser] + (train.average_decay is not None)
    network.to("meta")
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            saved[id(tensor.untyped_storage())] = tensor.numel() * tensor.element_size()
            kept.append(tensor)
        return tensor

    kept: list[Any] = []  # keeps storages alive, so that their identities stay distinct
    n_patches = 2  # normalisation over a batch needs more than one value a channel
    image = torch.empty(n_patches, network.n_channels, *train.patch_vox, device="meta")
    label = torch.zeros(n_patches, *train.patch_vox, dtype=torch.int64, device="meta")
    with saved_tensors_hooks(note, lambda tensor: tensor):
        levels = network.forward_levels(image) if train.deep_supervision else [network(image)]
        for logits in levels:
            size = logits.shape[2:]
            plan_loss(plan)(logits, label[(slice(None), *(slice(0, n) for n in size))])
    activations = sum(saved.values()) / n_patches
    if train.precision == "bfloat16":
        activations /= 2
    return float(copies * weights), WORKSPACE * activations


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
