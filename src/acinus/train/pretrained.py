"""Weights of another model as a beginning: fine-tuning.

Enters: a network and a model folder. Leaves: the network with every weight that
fits, and a sentence on what did not. A strict load was rejected: another number
of labels or channels is the usual reason to fine-tune.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from acinus.errors import PlanError

LEAST_SHARE = 0.05
"""Least share of the kernels' weights that must fit: with less the training begins anew, and says
that it does not."""


def load_what_fits(network: nn.Module, model: Path, fold: int) -> str:
    """Copy weights of the same name and shape from a model folder.

    Args:
        network: Changed in place.
        model: Folder with ``fold_K/weights.safetensors``.
        fold: Its weights, or those of the first fold where the model has not this one.

    Returns:
        How much was loaded, and the names that were skipped, with the reason.

    Raises:
        PlanError: The folder has no readable weights, or nothing fits.
    """
    files = sorted(model.glob("fold_*/weights.safetensors"))
    if not files:
        raise PlanError(
            f"{model}: train.pretrained must be a model folder with fold_K/weights.safetensors; "
            "there is none. A run's model lies in RUN/model."
        )
    file = next((file for file in files if file.parent.name == f"fold_{fold}"), files[0])
    try:
        given = load_file(file)
    except (SafetensorError, OSError) as error:
        raise PlanError(f"{file}: must be whole weights; {error}. Copy the model again.") from None
    own = network.state_dict()
    fitting = {key: value for key, value in given.items() if _fits(own.get(key), value)}
    share = _n_kernel_weights(fitting) / max(1, _n_kernel_weights(own))
    if share < LEAST_SHARE:
        raise PlanError(
            f"{file}: must share weights with this plan's network; {share:.0%} of those of its "
            f"layers fit, at least {LEAST_SHARE:.0%} must. Plan with the network of that model: "
            "--set network.name and network.config as in its plan.yaml, which 'auto' would fit to "
            "the budget otherwise; or train without train.pretrained."
        )
    network.load_state_dict({**own, **fitting})
    skipped = [
        f"{key} (here {tuple(own[key].shape)}, there "
        f"{tuple(given[key].shape) if key in given else 'absent'})"
        for key in own
        if key not in fitting
    ]
    skipped += [f"{key} (there {tuple(given[key].shape)}, here absent)" for key in given
                if key not in own]  # fmt: skip
    listed = f"; not taken over: {', '.join(skipped)}" if skipped else ""
    return f"{len(fitting)} of {len(own)} weights from {model} ({share:.0%} by size){listed}."


def _n_kernel_weights(state: Mapping[str, torch.Tensor]) -> int:
    """Numbers in kernels and matrices: counts of batches and biases fit any network."""
    return sum(one.numel() for one in state.values() if one.ndim > 1 and one.is_floating_point())


def _fits(own: torch.Tensor | None, given: torch.Tensor) -> bool:
    return own is not None and own.shape == given.shape
