"""Where a prediction is computed, how exactly, and what happens when memory runs out.

Enters: wishes of the user. Leaves: a device, a precision, a number of tiles. Falling back to
the CPU on any error of the GPU was rejected: it hides faults behind a slow machine; only want
of memory leads there, and a sentence says so.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

from acinus import progress
from acinus.errors import ConfigError, DataError, unknown_name
from acinus.networks.device import best_device, has_fast_bfloat16, is_out_of_memory
from acinus.plan import Plan

T = TypeVar("T")

CPU_VOXELS = 2**16
"""Voxels of the tiles that go through a network together on a CPU; more are no faster."""

GPU_VOXELS = 2**20
"""The same on a GPU, if training did not have more."""

PRECISIONS = ("auto", "bfloat16", "float32")


def prediction_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the best that this machine has.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ConfigError: The name is unknown, or this machine has no such device.
    """
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device(best_device())
    if name not in have:
        raise ConfigError(unknown_name("device", name, ("auto", *have)))
    if not have[name]:
        here = ", ".join(kind for kind, is_there in have.items() if is_there)
        raise ConfigError(
            f"the device must be one that this machine has; got '{name}', here: {here} "
            f"(torch {torch.__version__}). Use --device auto."
        )
    return torch.device(name)


def device_at_hand(name: str) -> str:
    """The device that a plan trained on, or the best of this machine where it has none such.

    A model that a cluster trained can be judged on a laptop.
    """
    try:
        prediction_device(name)
    except ConfigError:
        found = best_device()
        progress.say(f"This machine has no '{name}', which trained the model; using '{found}'.")
        return found
    return name


def use_precision(precision: str, plan: Plan, device: torch.device) -> str:
    """``bfloat16`` or ``float32``.

    Args:
        precision: One of these, or ``auto``: bfloat16 where the device has it fast, unless the
            plan trained in float32.
        plan: Of the networks.
        device: Where they are.
    """
    if precision != "auto":
        return precision
    is_exact = plan.settings.train.precision == "float32"
    return "bfloat16" if has_fast_bfloat16(device) and not is_exact else "float32"


def tile_batch(plan: Plan, device: torch.device) -> int:
    """Tiles that go through the networks together, at least 1."""
    patch_vox = math.prod(plan.settings.train.patch_vox)
    if device.type == "cpu":
        return max(1, CPU_VOXELS // patch_vox)
    # What was trained in one batch fits all the more without gradients.
    return max(plan.settings.train.batch, GPU_VOXELS // patch_vox)


def device_of(networks: Sequence[nn.Module]) -> torch.device:
    """Where the first network's weights are; the CPU for networks without any."""
    weight = next((weight for network in networks for weight in network.parameters()), None)
    return torch.device("cpu") if weight is None else weight.device


def within_memory(
    work: Callable[[Sequence[nn.Module], int], T], networks: Sequence[nn.Module], plan: Plan
) -> T:
    """What `work` answers, with fewer tiles at once and at last on the CPU if it must be.

    Args:
        work: Takes networks and the most tiles at once.
        networks: On one device; copies of them go to the CPU.
        plan: Patch, and batch of the training.

    Raises:
        DataError: Not even the memory of the CPU suffices.
    """
    device = device_of(networks)
    batch = tile_batch(plan, device)
    while device.type != "cpu":
        answer = _attempt(work, networks, batch)
        if answer is not None:
            return answer
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if batch == 1:
            progress.say(
                f"The memory of the device '{device.type}' does not hold one tile of "
                f"{tuple(plan.settings.train.patch_vox)} voxels; this case goes on on the CPU, "
                "which is slower."
            )
            networks = [copy.deepcopy(network).cpu() for network in networks]
            device = torch.device("cpu")
            batch = tile_batch(plan, device)
        else:
            progress.say(
                f"The memory of the device '{device.type}' does not hold {batch} tiles at once; "
                f"going on with {batch // 2}."
            )
            batch //= 2
    answer = _attempt(work, networks, batch)
    if answer is None:
        raise DataError(
            "the memory of this machine must hold the image and the network's work on a tile of "
            f"{tuple(plan.settings.train.patch_vox)} voxels, and does not. Close other programs, "
            "crop the scan, or use a machine with more memory."
        )
    return answer


def _attempt(
    work: Callable[[Sequence[nn.Module], int], T], networks: Sequence[nn.Module], batch: int
) -> T | None:
    """The answer, or None for want of memory; what was held is let go before the next attempt."""
    try:
        return work(networks, batch)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
