"""The state of a training after a whole epoch, in one safetensors file.

Enters: network, optimiser, averaged weights and counters. Leaves: one file,
written beside and renamed, from which the training goes on exactly. Pickled
checkpoints were rejected: nothing here unpickles a file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from acinus.errors import PlanError
from acinus.files import whole_file


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    averaged: dict[str, torch.Tensor] | None,
    state: dict[str, Any],
) -> None:
    """Write everything that the next epoch needs.

    Args:
        path: Checkpoint file; an older one is replaced.
        network: Its weights and buffers.
        optimiser: Its per-weight state.
        averaged: Running average of the weights, or None.
        state: JSON-able counters: plan hash, epoch, seconds, corrections, history.
    """
    tensors = {f"network/{key}": value for key, value in network.state_dict().items()}
    for index, entries in optimiser.state_dict()["state"].items():
        for key, value in entries.items():
            tensors[f"optimiser/{index}/{key}"] = torch.as_tensor(value)
    for key, value in (averaged or {}).items():
        tensors[f"averaged/{key}"] = value
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with whole_file(path) as beside:
        save_file(contiguous, beside, metadata={"state": json.dumps(state)})


def load_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    averaged: dict[str, torch.Tensor] | None,
) -> dict[str, Any]:
    """Restore a training in place.

    Returns:
        The state that was saved.

    Raises:
        PlanError: The file is damaged or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        state: dict[str, Any] = json.loads(metadata["state"])
        network.load_state_dict(_part(tensors, "network/"))
    except (SafetensorError, KeyError, RuntimeError, json.JSONDecodeError) as error:
        first = str(error).splitlines()[0]
        raise PlanError(
            f"{path}: must be a whole checkpoint of this plan's network; {first}. Delete the file "
            "to train this fold from its beginning."
        ) from None
    optimiser_state = optimiser.state_dict()
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _part(tensors, "optimiser/").items():
        index, name = key.split("/", 1)
        entries.setdefault(int(index), {})[name] = _laid_out_as(weights[int(index)], value)
    optimiser_state["state"] = entries
    optimiser.load_state_dict(optimiser_state)
    for key, value in _part(tensors, "averaged/").items():
        if averaged is not None:
            averaged[key].copy_(value)
    return state


def _laid_out_as(weight: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A value of each weight in the memory layout of the weights, which files do not keep.

    Fused optimisers walk through memory and would otherwise mix up channels-last weights.
    """
    if value.shape != weight.shape:
        return value
    return torch.empty_like(weight, dtype=value.dtype).copy_(value)


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
