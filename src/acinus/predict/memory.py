"""What a prediction will need of the memory, before it begins.

Enters: a model and the size of a case. Leaves: bytes, and a refusal where a ceiling would be
passed. The network's share is measured on a tiny tile and scaled, since the largest tensors
grow with the voxels; a table of constants was rejected, as every network differs.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from acinus.errors import ConfigError, MemoryLimitError
from acinus.networks import SegmentationNetwork
from acinus.plan import Plan
from acinus.predict.device import tile_batch
from acinus.predict.tile import SLAB_VALUES
from acinus.prepare import PreparedCase
from acinus.prepare.geometry import make_geometry, turn_to
from acinus.prepare.native import CHUNK_BYTES
from acinus.scans import Grid, Volume

GIGABYTE = 1e9

LIBRARY_COPIES = 1.5
"""Largest share by which convolutions of a CPU exceed the tensors that one sees: they put
inputs and outputs into an order of their own."""

COUNTING_BYTES = 6
"""Of each voxel, while connected parts of a label are looked at."""

MINIMUM_SHARE = 0.9
"""Share of the free memory from which a forecast is called too large."""


def parse_memory(text: str) -> int:
    """Bytes of a ceiling such as ``4GB`` or ``800MB``.

    Raises:
        ConfigError: It is no such size.
    """
    number = text.strip().upper()
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if number.endswith(unit):
            try:
                size = float(number.removesuffix(unit))
            except ValueError:
                break
            if math.isfinite(size) and size > 0:
                return int(size * factor)
    raise ConfigError(f"--memory must be a size such as 4GB or 800MB; got '{text}'.")


def tile_bytes(network: SegmentationNetwork, patch_vox: Sequence[int]) -> int:
    """Most memory that the tensors of one tile take while it goes through a network, bytes.

    Args:
        network: In evaluation mode.
        patch_vox: Size of the tile, as many axes as the network has.
    """
    size = [
        min(2 * step, -(-length // step) * step)
        for step, length in zip(network.stride, patch_vox, strict=True)
    ]
    weight = next(network.parameters())
    # Another network of the same weights, so that threads that use this one see no hooks.
    shared = {id(one): one for one in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared)
    tensors = _LiveTensors()
    for module in twin.modules():
        module.register_forward_pre_hook(tensors.see_inputs)
        module.register_forward_hook(tensors.see_output)
    with torch.inference_mode():
        twin(torch.zeros(1, network.n_channels, *size, device=weight.device))
    return int(tensors.peak * math.prod(patch_vox) / math.prod(size))


def case_bytes(plan: Plan, prepared: PreparedCase, tile: int, device: torch.device) -> int:
    """Memory of this machine that one case will take, beside program and networks, bytes.

    Args:
        plan: Of the networks.
        prepared: The case.
        tile: Memory of one tile in the network, from `tile_bytes`.
        device: Where the networks are; on a GPU its own memory holds tiles and sums.
    """
    geometry, n_classes = prepared.geometry, plan.n_classes
    n_native = math.prod(geometry.native_shape)
    _, *plane = (max(pair) for pair in zip(geometry.prepared_vox, plan.patch_vox, strict=True))
    # The image itself, the scan it was made of, its labels in two orders, and maps under way.
    total = prepared.image.nbytes + 4 * n_native * len(plan.dataset.channel_names) + 2 * n_native
    if prepared.previous is not None:  # itself, and a copy of the image with it as a channel
        total += prepared.image.nbytes + 5 * prepared.previous.nbytes
    total += 2 * CHUNK_BYTES + 2 * 4 * SLAB_VALUES
    on_tiles = 0
    if device.type == "cpu":
        batch = tile_batch(plan, device)
        depth = plan.patch_vox[0] if plan.n_dims == 3 else batch
        on_tiles = 4 * n_classes * depth * math.prod(plane) + int(LIBRARY_COPIES * batch * tile)
    # When the network is through, the parts of a label are counted: a mask and their numbers.
    return total + max(on_tiles, COUNTING_BYTES * n_native)


def reading_bytes(grid: Grid, plans: Sequence[Plan], *, held: bool = True) -> int:
    """Memory that reading and preparing a scan takes at least, bytes.

    Args:
        grid: Of the scan.
        plans: Of the members of a model; the arrays of all are held at a time.
        held: Whether the scan itself is counted.
    """
    total = 0
    for plan in plans:
        # Cropping to what is not 0 may make the image smaller; how much is not known yet.
        crops = plan.settings.prepare.crop_to_nonzero
        total += 0 if crops else unread_case(grid, plan).image.nbytes
    # The scan, and one of its channels on the way to the network.
    n_held = len(plans[0].dataset.channel_names) if held else 0
    return total + 4 * math.prod(grid.shape) * (n_held + 1)


def unread_case(grid: Grid, plan: Plan) -> PreparedCase:
    """A case as a plan would prepare it, without voxels of its own: sizes alone are right.

    Args:
        grid: Of the scan; nothing of it is cropped.
        plan: Of a network.
    """
    settings = plan.settings.prepare
    stands = Volume(np.broadcast_to(np.uint8(0), grid.shape), grid.affine)
    geometry = make_geometry(grid, turn_to(stands, settings.orientation).grid, settings, None)
    shape = (len(plan.dataset.channel_names), *geometry.prepared_vox)
    return PreparedCase(np.broadcast_to(np.float32(0), shape), None, geometry)


def room_for(ceiling: int | None) -> int:
    """Bytes that may be taken beside those that are; `ceiling` as of `check_memory`."""
    if ceiling is None:
        return int(MINIMUM_SHARE * psutil.virtual_memory().available)
    return ceiling - int(psutil.Process().memory_info().rss)


def check_memory(needed: int, ceiling: int | None, case: str) -> str | None:
    """A warning if a case will hardly fit, None if it does.

    Args:
        needed: Forecast of what is still to be taken, bytes.
        ceiling: Most that the whole program may take, bytes; None: what this machine has free.
        case: Its name.

    Raises:
        MemoryLimitError: The ceiling would be passed.
    """
    if ceiling is None:
        if needed <= room_for(None):
            return None
        free = int(psutil.virtual_memory().available)
        return (
            f"case '{case}': predicting it needs about {needed / GIGABYTE:.1f} GB more, and "
            f"{free / GIGABYTE:.1f} GB are free; the system may end the program. Close other "
            "programs, or crop the scan."
        )
    total = psutil.Process().memory_info().rss + needed
    if total > ceiling:
        raise MemoryLimitError(
            f"case '{case}': predicting it must stay below --memory {_size(ceiling)}; it needs "
            f"about {_size(total)}. Crop the scan, or allow more."
        )
    return None


def _size(n_bytes: int) -> str:
    """Bytes in the unit that tells nearby sizes apart."""
    return f"{n_bytes / GIGABYTE:.2f} GB" if n_bytes >= GIGABYTE else f"{n_bytes / 1e6:.0f} MB"


class _LiveTensors:
    """Bytes of all tensors that modules take or give: alive now, and at most.

    Torch's dispatch modes would see every tensor, but load the compiler, which takes seconds.
    """

    def __init__(self) -> None:
        self.live = self.peak = 0
        self._known: set[int] = set()

    def see_inputs(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Count what a module is given."""
        for one in inputs:
            self._count(one)

    def see_output(self, _module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Count what a module makes; it has its inputs still."""
        self._count(output)

    def _count(self, tensor: Any) -> None:
        if not isinstance(tensor, Tensor) or tensor.untyped_storage()._cdata in self._known:
            return
        storage = tensor.untyped_storage()
        key, n_bytes = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += n_bytes
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, n_bytes)

    def _forget(self, key: int, n_bytes: int) -> None:
        self._known.discard(key)
        self.live -= n_bytes
