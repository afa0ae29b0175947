"""nnU-Net's networks for a patch: strides, kernels, features, and what they cost in memory.

Enters: voxel spacing and patch size along the plan's axes. Leaves: the levels of a U-Net, and
the number of values that its convolutions put out, nnU-Net's measure of memory. Building the
network to ask it, as nnU-Net does, was rejected: the sum is exact without a tensor, a thousand
times as fast, and planning stays free of torch.

Source: nnU-Net 2.8.1, experiment_planners/network_topology.py, and the feature map counts of
dynamic-network-architectures 0.4.4; Isensee et al. 2021, Nat Methods 18:203-211.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from acinus.errors import PlanError

Axes = tuple[int, ...]
"""One number per axis, (S, R, Q) or (R, Q)."""

MIN_EDGE_VOX = 4
"""Smallest edge of a feature map at the coarsest level."""

BASE_FEATURES = 32
"""Features of the finest level; they double from level to level."""

MAX_FEATURES = {2: 512, 3: 320}
"""Most features of a level, by the number of axes."""


@dataclass(frozen=True)
class Preset:
    """What one of nnU-Net's planners holds fixed.

    Attributes:
        network: Name of our network.
        reference_values: Convolution outputs that fit into `reference_gb` at the reference
            batch, by number of axes.
        reference_gb: GPU memory that the reference stands for.
        blocks: Convolutions (plain) or residual blocks per encoder level, the last repeats.
        decoder_convs: Convolutions per decoder level.
        largest_share: Most of the dataset's voxels that one batch may cover.
        shrinks_for_two: Whether the patch is shrunk until a batch of two fits, not until the
            reference batch fits. It matters in 2D only, where the reference batch is 12.
    """

    network: Literal["plain_unet", "resenc_unet"]
    reference_values: dict[int, float]
    reference_gb: float
    blocks: tuple[int, ...]
    decoder_convs: int
    largest_share: float
    shrinks_for_two: bool


REFERENCE_BATCH = {2: 12, 3: 2}
"""Batch that the reference values were measured with, by number of axes."""

PLAIN = Preset("plain_unet", {3: 560e6, 2: 85e6}, 8, (2,), 2, 0.05, True)

RESIDUAL = {
    "m": Preset("resenc_unet", {3: 680e6, 2: 135e6}, 8, (1, 3, 4, 6), 1, 1.0, False),
    "l": Preset("resenc_unet", {3: 2100e6, 2: 380e6}, 24, (1, 3, 4, 6), 1, 1.0, False),
    "xl": Preset("resenc_unet", {3: 3600e6, 2: 560e6}, 40, (1, 3, 4, 6), 1, 1.0, False),
}
"""The planners ResEncM, ResEncL and ResEncXL; other memory scales what each was measured with."""


def choose_preset(encoder: Literal["plain", "residual"], preset: str) -> Preset:
    """nnU-Net's planner for an encoder; a plain one has a single planner."""
    return PLAIN if encoder == "plain" else RESIDUAL[preset]


@dataclass(frozen=True)
class Topology:
    """Levels of a U-Net, finest first.

    Attributes:
        patch_vox: Patch, padded to a multiple of `divisor`.
        strides: Step into each level; the first is 1 along every axis.
        kernels: Kernel of each level.
        divisor: What the patch must be divisible by.
    """

    patch_vox: Axes
    strides: tuple[Axes, ...]
    kernels: tuple[Axes, ...]
    divisor: Axes

    @property
    def n_levels(self) -> int:
        """Levels, the finest included."""
        return len(self.strides)

    @property
    def features(self) -> tuple[int, ...]:
        """Features of each level."""
        most = MAX_FEATURES[len(self.patch_vox)]
        return tuple(min(most, BASE_FEATURES * 2**level) for level in range(self.n_levels))

    def blocks(self, preset: Preset) -> tuple[int, ...]:
        """Convolutions or residual blocks of each encoder level."""
        last = len(preset.blocks) - 1
        return tuple(preset.blocks[min(level, last)] for level in range(self.n_levels))

    @property
    def sizes_vox(self) -> tuple[Axes, ...]:
        """Size of the feature maps of each level."""
        return tuple(
            accumulate(
                self.strides,
                lambda size, stride: tuple(n // s for n, s in zip(size, stride, strict=True)),
                initial=self.patch_vox,
            )
        )[1:]


def decide_topology(spacing_mm: Sequence[float], size_vox: Sequence[float]) -> Topology:
    """The levels that nnU-Net gives a patch.

    An axis is halved while it has at least twice `MIN_EDGE_VOX` voxels and its spacing is less
    than twice the smallest spacing among such axes; an axis that is left alone needs three
    times. A kernel is 1 along an axis until its spacing comes within a factor of two of the
    smallest, then 3; at the coarsest level it is 3 along all.

    Args:
        spacing_mm: Along each axis.
        size_vox: Wanted patch; may be fractional, as median shapes are.
    """
    n_dims = len(spacing_mm)
    spacing = [float(step) for step in spacing_mm]
    size = [float(n) for n in size_vox]
    kernel = [1] * n_dims
    strides, kernels = [(1,) * n_dims], []
    while True:
        halved = _axes_to_halve(spacing, size)
        if not halved:
            break
        kernel = [
            3 if k == 3 or step / min(spacing) < 2 else 1
            for k, step in zip(kernel, spacing, strict=True)
        ]
        for axis in halved:
            spacing[axis] *= 2
            size[axis] = math.ceil(size[axis] / 2)
        strides.append(tuple(2 if axis in halved else 1 for axis in range(n_dims)))
        kernels.append(tuple(kernel))
    kernels.append((3,) * n_dims)
    divisor = tuple(math.prod(column) for column in zip(*strides, strict=True))
    patch = tuple(math.ceil(n / step) * step for n, step in zip(size_vox, divisor, strict=True))
    return Topology(patch, tuple(strides), tuple(kernels), divisor)


def _axes_to_halve(spacing: Sequence[float], size: Sequence[float]) -> list[int]:
    large = [axis for axis, n in enumerate(size) if n >= 2 * MIN_EDGE_VOX]
    if not large:
        return []
    finest = min(spacing[axis] for axis in large)
    halved = [axis for axis in large if spacing[axis] / finest < 2]
    alone = len(halved) == 1 and size[halved[0]] < 3 * MIN_EDGE_VOX
    return [] if alone else halved


def count_values(topology: Topology, preset: Preset, n_outputs: int) -> int:
    """Values that all convolutions put out for one patch, as nnU-Net's estimate counts them.

    Args:
        topology: Levels.
        preset: Planner, which tells convolutions from residual blocks.
        n_outputs: Outputs of the network as nnU-Net counts them: background, every label or
            region, and the ignore label if there is one.
    """
    features, sizes = topology.features, topology.sizes_vox
    maps = [width * math.prod(size) for width, size in zip(features, sizes, strict=True)]
    if preset.network == "plain_unet":
        encoder = sum(n * values for n, values in zip(topology.blocks(preset), maps, strict=True))
    else:
        encoder = maps[0] + sum(
            (2 * n + _has_counted_shortcut(features, topology.strides, level)) * maps[level]
            for level, n in enumerate(topology.blocks(preset))
        )
    # Each level of the decoder: its convolutions and the transposed one below it.
    decoder = sum((preset.decoder_convs + 1) * values for values in maps[:-1])
    heads = n_outputs * math.prod(sizes[0]) if topology.n_levels > 1 else 0
    return encoder + decoder + heads


def _has_counted_shortcut(features: Sequence[int], strides: Sequence[Axes], level: int) -> bool:
    """Whether nnU-Net counts a map for the shortcut of a level's first residual block."""
    return level > 0 and (features[level] != features[level - 1] or max(strides[level]) > 1)


@dataclass(frozen=True)
class Fit:
    """A patch that fits into the memory.

    Attributes:
        topology: Its levels, the patch included.
        values: Convolution outputs for one patch.
        reference: Convolution outputs that the memory holds, at the reference batch.
        reference_batch: That batch.
        batch: Patches that fit.
    """

    topology: Topology
    values: int
    reference: float
    reference_batch: int

    @property
    def batch(self) -> int:
        """Patches of this size that fit into the memory."""
        return round(self.reference / self.values * self.reference_batch)


def fit_patch(
    spacing_mm: Sequence[float],
    median_vox: Sequence[float],
    start_vox: Sequence[float],
    preset: Preset,
    *,
    memory_gb: float,
    n_outputs: int,
    may_shrink: bool = True,
) -> Fit:
    """The largest patch that nnU-Net thinks fits into the memory.

    While it is too large, the axis that covers most of the median image is shortened by the
    step that the shorter patch itself must be divisible by; of equal axes the last one.

    Args:
        spacing_mm: Along each axis.
        median_vox: Median image.
        start_vox: Patch to start from.
        preset: Planner.
        memory_gb: GPU memory to fit into.
        n_outputs: See `count_values`.
        may_shrink: False: the start is kept, whatever it needs.

    Raises:
        PlanError: Not even the smallest patch fits.
    """
    n_dims = len(spacing_mm)
    reference = preset.reference_values[n_dims] * (memory_gb / preset.reference_gb)
    scale = 2 / REFERENCE_BATCH[n_dims] if preset.shrinks_for_two else 1.0
    topology = decide_topology(spacing_mm, start_vox)
    values = count_values(topology, preset, n_outputs)
    while may_shrink and values * scale > reference:
        patch = list(topology.patch_vox)
        axis = _longest_axis(patch, median_vox)
        shorter = list(patch)
        shorter[axis] -= topology.divisor[axis]
        patch[axis] -= decide_topology(spacing_mm, shorter).divisor[axis]
        if min(shorter[axis], patch[axis]) < 1:
            raise PlanError(
                f"nnunet.memory_gb must hold at least a patch of {list(topology.patch_vox)} "
                f"voxels; {memory_gb:g} GB do not, by nnU-Net's estimate. Give it more."
            )
        topology = decide_topology(spacing_mm, patch)
        values = count_values(topology, preset, n_outputs)
    return Fit(topology, values, reference, REFERENCE_BATCH[n_dims])


def _longest_axis(patch: Sequence[int], median_vox: Sequence[float]) -> int:
    shares = [n / whole for n, whole in zip(patch, median_vox, strict=True)]
    return max(range(len(shares)), key=lambda axis: (shares[axis], axis))
