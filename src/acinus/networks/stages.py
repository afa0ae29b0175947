"""What nnU-Net's two U-Nets share: stages of any kernel and stride, their decoder, their draw.

Enters: an encoder as a list of stages, built by `plain_unet` or `resenc_unet`. Leaves: a
`StagedUNet` with a plain decoder and, when configured, a head on each decoder level.

Source: Isensee et al. 2021, "nnU-Net: a self-configuring method for deep learning-based
biomedical image segmentation", Nature Methods 18:203-211; layer order and initialisation as in
the public package dynamic-network-architectures 0.4.4 (Apache-2.0), against which outputs are
tested. No code and no weights were borrowed.

Convolutions are 85 to 90 % of a training step on a CPU and run at three quarters of its peak.
Adding the halves of the decoder's first convolution instead of concatenating its inputs gained
0 to 5 % and was not kept (docs/decisions/0010).

One class a network was rejected: the two differ in what stands in an encoder stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import torch
from pydantic import field_validator, model_validator
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from acinus.config import Settings
from acinus.networks.contract import CHANNELS_LAST, SegmentationNetwork
from acinus.networks.instance_norm import EPSILON, InstanceNorm

NEGATIVE_SLOPE = 0.01
"""Slope of the activation below zero, and of the draw that fits it."""

Normalisation = Literal["instance", "batch"]

DecoderForm = Literal["nnunet_v1", "nnunet_v2"]
"""nnunet_v2: each level has its own kernel, transposed convolutions a bias as the others have it,
heads a bias. nnunet_v1: each level has the kernel of the level below it, and neither has a bias."""

Layer = Callable[..., nn.Module]
CONVOLUTION: dict[int, Layer] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Layer] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM: dict[int, Layer] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
AVERAGE_POOL: dict[int, Layer] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}

T = TypeVar("T")


class StagedUNetConfig(Settings):
    """Levels of a U-Net, finest first; a list that is shorter repeats its last entry."""

    features: tuple[int, ...] = (32, 64, 128, 256, 320)
    """Channels per level; their number is the number of levels."""
    kernels: tuple[tuple[int, ...], ...] = ((3, 3, 3),)
    """Kernel per level, odd, (Y, X) or (Z, Y, X); their length makes the network 2D or 3D."""
    strides: tuple[tuple[int, ...], ...] | None = None
    """Step into each level, the first one in front of all; None: 1, then 2 along all axes."""
    convs_per_stage_decoder: tuple[int, ...] = (2,)
    """Convolutions per decoder level, coarsest first."""
    conv_bias: bool = True
    """Whether convolutions have a bias; the normalisation behind them takes it out again."""
    deep_supervision: bool = False
    """Whether every decoder level has a head."""
    normalisation: Normalisation = "instance"
    """instance: nnU-Net's, does not depend on the batch; batch: a third faster on a CPU."""

    @field_validator("features")
    @classmethod
    def _features_describe_levels(cls, features: tuple[int, ...]) -> tuple[int, ...]:
        if len(features) < 2 or min(features) < 1:
            raise ValueError("must hold at least two widths, each at least 1")
        return features

    @field_validator("kernels")
    @classmethod
    def _kernels_are_odd(cls, kernels: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        lengths = {len(kernel) for kernel in kernels}
        sizes = [size for kernel in kernels for size in kernel]
        if lengths not in ({2}, {3}) or any(size < 1 or size % 2 == 0 for size in sizes):
            raise ValueError("must be kernels of two or of three odd lengths")
        return kernels

    @model_validator(mode="after")
    def _lists_fit_levels(self) -> StagedUNetConfig:
        n_levels = len(self.features)
        per_level = {"kernels": self.kernels, "strides": self.strides or ()}
        for name, entries in per_level.items():
            if len(entries) > n_levels:
                raise ValueError(f"{name} must not have more entries than features ({n_levels})")
        if any(len(step) != self.n_dims or min(step) < 1 for step in self.strides or ()):
            raise ValueError(f"strides must be {self.n_dims} numbers of at least 1 per level")
        check_counts("convs_per_stage_decoder", self.convs_per_stage_decoder, n_levels - 1)
        return self

    @property
    def n_dims(self) -> Literal[2, 3]:
        """2 or 3, as the kernels say."""
        return 2 if len(self.kernels[0]) == 2 else 3

    @property
    def level_kernels(self) -> list[tuple[int, ...]]:
        """One kernel for each level."""
        return fill_levels(self.kernels, len(self.features))

    @property
    def level_strides(self) -> list[tuple[int, ...]]:
        """One stride for each level."""
        strides = self.strides or ((1,) * self.n_dims, (2,) * self.n_dims)
        return fill_levels(strides, len(self.features))


class ConvNormAct(nn.Module):
    """Convolution ('same'), normalisation, leaky ReLU unless `activates` is False."""

    def __init__(
        self,
        before: int,
        width: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
        *,
        bias: bool = True,
        activates: bool = True,
        norm: Normalisation = "instance",
    ) -> None:
        super().__init__()
        n_dims = len(kernel)
        self.conv = CONVOLUTION[n_dims](
            before,
            width,
            kernel_size=tuple(kernel),
            stride=tuple(stride or (1,) * n_dims),
            padding=tuple((size - 1) // 2 for size in kernel),
            bias=bias,
        )
        self.norm = (
            InstanceNorm(width) if norm == "instance" else BATCH_NORM[n_dims](width, eps=EPSILON)
        )
        self.activates = activates

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, ...) from (N, before, ...)."""
        normed: Tensor = self.norm(self.conv(features))
        return leaky_relu(normed, NEGATIVE_SLOPE, inplace=True) if self.activates else normed


class StagedUNet(SegmentationNetwork):
    """U-Net of given encoder stages with transposed convolutions and a plain decoder.

    Args:
        config: Of all levels.
        stages: Encoder, finest first, one for each level; a stem belongs to the first.
        n_channels: C of the input.
        n_classes: K of the output.
        decoder: Kernels and biases of the decoder.
    """

    def __init__(
        self,
        config: StagedUNetConfig,
        stages: Sequence[nn.Module],
        *,
        n_channels: int,
        n_classes: int,
        decoder: DecoderForm = "nnunet_v2",
    ) -> None:
        super().__init__()
        widths, n_dims = config.features, config.n_dims
        kernels, strides = config.level_kernels, config.level_strides
        is_v1 = decoder == "nnunet_v1"
        self.config = config
        self.n_dims = n_dims
        self.n_channels = n_channels
        self.n_classes = n_classes
        if config.normalisation == "batch":
            self.memory_format = CHANNELS_LAST[n_dims]
        self.stride = tuple(math.prod(steps) for steps in zip(*strides, strict=True))
        self.encoder = nn.ModuleList(stages)
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.heads = nn.ModuleList()
        counts = fill_levels(config.convs_per_stage_decoder, len(widths) - 1)
        for level, n_convs in zip(reversed(range(len(widths) - 1)), counts, strict=True):
            deep, width, step = widths[level + 1], widths[level], strides[level + 1]
            has_bias = config.conv_bias and not is_v1
            self.up.append(TRANSPOSED[n_dims](deep, width, step, step, bias=has_bias))
            self.decoder.append(
                convolutions(
                    2 * width,
                    width,
                    kernels[level + 1 if is_v1 else level],
                    n_convs,
                    bias=config.conv_bias,
                    norm=config.normalisation,
                )
            )
            if config.deep_supervision or level == 0:
                head = CONVOLUTION[n_dims](width, n_classes, kernel_size=1, bias=not is_v1)
                self.heads.append(head)
        self.apply(draw_weights)
        self.lay_out_weights()

    @property
    def depths(self) -> list[tuple[str, nn.Module]]:
        """The 2L - 1 blocks of an L-level network: encoder, bottleneck, decoder, counted from 1."""
        n_levels = len(self.encoder)
        names = [f"encoder {n}" for n in range(1, n_levels)]
        names.append(f"bottleneck {n_levels}")
        names += [f"decoder {n}" for n in range(n_levels + 1, 2 * n_levels)]
        return list(zip(names, [*self.encoder, *self.decoder], strict=True))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K, ...spatial) of images (N, C, ...spatial).

        Raises:
            ConfigError: Channels or axes differ, or a size is not divisible by the stride.
        """
        logits: Tensor = self.heads[-1](self._decoded(images)[-1])
        return logits.contiguous()

    def forward_levels(self, images: Tensor) -> list[Tensor]:
        """Logits of every level with a head, finest first; arguments and errors as `forward`."""
        levels = self._decoded(images)[-len(self.heads) :]
        levels = [head(level) for head, level in zip(self.heads, levels, strict=True)]
        return [logits.contiguous() for logits in levels][::-1]

    def _decoded(self, images: Tensor) -> list[Tensor]:
        """Features of the decoder levels, coarsest first."""
        self.check_input(images)
        skips: list[Tensor] = []
        features = images.contiguous(memory_format=self.memory_format)
        for stage in self.encoder:
            features = stage(features)
            skips.append(features)
        skips.pop()  # the bottleneck's own output is no skip
        levels: list[Tensor] = []
        for up, stage in zip(self.up, self.decoder, strict=True):
            features = stage(torch.cat([up(features), skips.pop()], dim=1))
            levels.append(features)
        return levels


def convolutions(
    before: int,
    width: int,
    kernel: Sequence[int],
    n_convs: int,
    stride: Sequence[int] | None = None,
    *,
    bias: bool,
    norm: Normalisation = "instance",
) -> nn.Sequential:
    """`n_convs` convolutions in a row, the first one with the stride."""
    first = ConvNormAct(before, width, kernel, stride, bias=bias, norm=norm)
    rest = (ConvNormAct(width, width, kernel, bias=bias, norm=norm) for _ in range(n_convs - 1))
    return nn.Sequential(first, *rest)


def draw_weights(module: nn.Module) -> None:
    """He's normal draw for the leaky activation, biases 0."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        if module.weight.is_meta:
            return  # there is nothing to draw, and to find that out torch loads its compiler
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def fill_levels(entries: Sequence[T], n_levels: int) -> list[T]:
    """`entries`, the last one repeated until there are `n_levels`."""
    return [*entries, *[entries[-1]] * (n_levels - len(entries))]


def check_counts(name: str, counts: Sequence[int], n_levels: int) -> None:
    """Raise ValueError unless there are 1 to `n_levels` counts, all at least 1."""
    if not 1 <= len(counts) <= n_levels or min(counts) < 1:
        raise ValueError(f"{name} must be 1 to {n_levels} numbers of at least 1")
