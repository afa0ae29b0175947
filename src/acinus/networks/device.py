"""The device that trains: which one, how much memory it has, and what it computes fast.

Enters: a plan's wish. Leaves: a `torch.device` and an autocast context. A plan
states the device it was made for; `auto` is resolved once, when it is made.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import nn

from acinus.errors import PlanError
from acinus.networks.contract import SegmentationNetwork
from acinus.types import Array


def best_device() -> str:
    """``cuda``, else ``mps``, else ``cpu``: what this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def open_device(name: str) -> torch.device:
    """The device of a plan.

    Raises:
        PlanError: This machine has none of that kind.
    """
    known = {"cpu": True, "cuda": torch.cuda.is_available()}
    known["mps"] = torch.backends.mps.is_available()
    wanted = best_device() if name == "auto" else name
    if not known.get(wanted, False):
        have = ", ".join(kind for kind, is_there in known.items() if is_there)
        raise PlanError(
            f"train.device must be one that this machine has; got '{name}', here: {have}. "
            "Go on where the plan was made, or plan anew with --set train.device=cpu."
        )
    if wanted == "cuda":
        # Patches of a training are all of one size: the fastest convolution is worth a search.
        torch.backends.cudnn.benchmark = True
        # With its number: threads that cut patches ahead would take the first GPU otherwise.
        return torch.device(wanted, torch.cuda.current_device())
    return torch.device(wanted)


def upload(values: Array, device: torch.device) -> torch.Tensor:
    """A small array on a device, without waiting for what the device still has to do.

    A plain copy to a GPU waits for all that was asked of it before; a step has dozens of them.

    Args:
        values: Of any shape and type; not written to afterwards.
        device: Any.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux states what a container or a job of a cluster may take (version 2)."""


def free_bytes(device: torch.device) -> int:
    """Memory that new tensors may take on a device, bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(int(psutil.virtual_memory().available), _cgroup_free_bytes())


def _cgroup_free_bytes() -> int:
    """Memory that a container or a job of a cluster leaves, bytes; very much without a limit."""
    free = sys.maxsize
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next(line.split("::")[1] for line in lines if line.startswith("0::"))
        folder = CONTROL_GROUPS / own.strip("/")
        for place in (folder, *folder.parents):
            if not (place / "memory.max").is_file():
                break
            limit = (place / "memory.max").read_text(encoding="utf-8").strip()
            if limit == "max":
                continue
            used = int((place / "memory.current").read_text(encoding="utf-8"))
            stat = dict(
                line.split() for line in (place / "memory.stat").read_text("utf-8").splitlines()
            )
            # What was only read from files is given back when it is needed.
            free = min(free, int(limit) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError, StopIteration):
        return free  # not Linux, or the older kind of control groups
    return max(0, free)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are likely faster than in float32 there."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    # Without the instruction (AVX512-BF16 or AMX) bfloat16 is emulated, which is slower.
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def miscounts_bfloat16(network: SegmentationNetwork, size: Sequence[int]) -> bool:
    """Whether a CPU may compute wrong gradients of a network in bfloat16.

    Where a 3D convolution gets fewer slices than its kernel has, the gradient of its weights takes
    up memory that was never written (oneDNN 3.12 of PyTorch 2.13; seen with 2 slices on a CPU
    with AVX512-BF16, with 1 on one with AMX): it differs from run to run and reaches 1e38.
    Slices are the first axis only.

    Args:
        network: Any; on the meta device nothing is computed.
        size: (Y, X) or (Z, Y, X) of a patch.
    """
    found = []

    def look(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(layer, nn.Conv3d):
            found.append(given[0].shape[2] < layer.kernel_size[0])

    hooks = [layer.register_forward_pre_hook(look) for layer in network.modules()]
    was_training, device = network.training, next(network.parameters()).device
    with torch.no_grad():
        network.eval()(torch.zeros(1, network.n_channels, *size, device=device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return any(found)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python means that memory did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text
        or "can't allocate memory" in text
        or "alloc_failed" in text  # of CUDA's libraries for matrix products and convolutions
    )


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Products in bfloat16 for the length of the block, if the plan's precision says so."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield
