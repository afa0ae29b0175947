"""A batch that fits into the memory of the device, before a training starts.

Enters: a plan. Leaves: the plan, with a smaller batch where it must be. Trying a
batch and catching the failure was rejected: on a CPU the system ends the process
instead.
"""

from __future__ import annotations

import math

import torch

from acinus.errors import PlanError
from acinus.networks.device import free_bytes, open_device
from acinus.plan import Decision, Plan
from acinus.plan.auto import BATCH_NORM_FROM
from acinus.train.memory import memory_bytes

USABLE_SHARE = 0.85
"""Share of the free memory that a training may be planned to take."""


def fits_memory(plan: Plan, n_here: int = 1) -> bool:
    """Whether the trainings of a plan fit into the free memory of its device.

    Args:
        plan: With its batch.
        n_here: Trainings that run side by side on this machine.
    """
    device = open_device(plan.settings.train.device)
    needed = _needed_bytes(plan, plan.settings.train.batch, n_here)
    return needed <= USABLE_SHARE * free_bytes(device)


def _needed_bytes(plan: Plan, batch: int, n_here: int) -> float:
    """Bytes of all trainings, and of the members of each, that share one memory."""
    fixed, per_patch = memory_bytes(plan)
    train = plan.settings.train
    sharing = n_here * train.devices
    if train.device == "cuda":  # each GPU has a memory of its own
        sharing = math.ceil(sharing / max(1, torch.cuda.device_count()))
    return sharing * (fixed + batch / train.devices * per_patch)


def fit_to_memory(plan: Plan, n_here: int = 1) -> Plan:
    """The plan, with its batch halved as often as the free memory of the device asks for.

    Args:
        plan: With the batch that is wanted.
        n_here: As of `fits_memory`.

    Raises:
        PlanError: Not even one patch fits.
    """
    device = open_device(plan.settings.train.device)
    usable = USABLE_SHARE * free_bytes(device)
    fixed, per_patch = memory_bytes(plan)
    n, wanted = plan.settings.train.devices, plan.settings.train.batch
    batch = wanted
    while batch >= 2 * n and _needed_bytes(plan, batch, n_here) > usable:
        batch = batch // 2 // n * n
    if _needed_bytes(plan, batch, n_here) > usable:
        together = f", {n_here} trainings side by side" if n_here > 1 else ""
        fewer = "Take fewer --jobs, close" if n_here > 1 else "Close"
        raise PlanError(
            f"one patch {plan.settings.train.patch_vox} must fit into the memory of {device}"
            f"{together}; that needs about {_gib(_needed_bytes(plan, batch, n_here))} of "
            f"{_gib(usable)} usable. {fewer} other programs, choose a smaller train.patch_vox, or "
            "fewer network features."
        )
    if batch == wanted:
        return plan
    return plan.with_decisions(
        {
            **_normalisation_of(plan, batch),
            "train.batch": Decision(
                value=batch,
                rule=f"halved from {wanted} until a step fits into the free memory of the device",
                source="data",
                facts={
                    "batch_wanted": wanted,
                    "usable_gib": round(usable / 2**30, 2),
                    "trainings_side_by_side": n_here,
                    "gib_a_patch": round(per_patch / 2**30, 3),
                    "gib_of_weights": round(fixed / 2**30, 3),
                },
            ),
        }
    )


def _normalisation_of(plan: Plan, batch: int) -> dict[str, Decision]:
    """Normalisation over each image where `auto` chose one over a batch that is now too small."""
    network = plan.settings.network
    decided = plan.decisions.get("network.config")
    is_ours = plan.settings.rules == "auto" and decided is not None and decided.source != "user"
    if batch >= BATCH_NORM_FROM or not is_ours or network.config.get("normalisation") != "batch":
        return {}
    return {
        "network.config": Decision(
            value={**network.config, "normalisation": "instance", "conv_bias": True},
            rule=f"statistics of each image, since a batch of {batch} is too small for its own",
            source="data",
            facts={"batch": batch},
        )
    }


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
