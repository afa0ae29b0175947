"""nnU-Net's residual encoder U-Net: residual blocks going down, plain convolutions going up.

Enters: images (N, C, Y, X) or (N, C, Z, Y, X). Leaves: logits (N, K, ...) on the same grid, and
with deep supervision also at the coarser levels of the decoder.

Paper: Isensee et al. 2024, "nnU-Net Revisited", MICCAI, arXiv 2404.09556; the same as
ResidualEncoderUNet of the package dynamic-network-architectures 0.4.4: equal weights give equal
logits (tested to 1e-5 on recorded outputs). The shortcut of a block that changes its size is an
average pool, of one that changes its width a 1×1 convolution (He et al. 2019, "Bag of Tricks",
CVPR, ResNet-D). Each block starts as its shortcut: the last normalisation of its other path is
drawn as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from acinus.networks.stages import (
    AVERAGE_POOL,
    NEGATIVE_SLOPE,
    ConvNormAct,
    Normalisation,
    StagedUNet,
    StagedUNetConfig,
    check_counts,
    fill_levels,
)

BLOCKS = (1, 3, 4, 6)
"""Residual blocks of the first levels in nnU-Net's presets; deeper ones repeat the last."""


class ResEncUNetConfig(StagedUNetConfig):
    """Levels of the residual encoder U-Net."""

    blocks_per_stage: tuple[int, ...] | None = None
    """Residual blocks per encoder level, finest first; None: nnU-Net's 1, 3, 4, then 6."""
    convs_per_stage_decoder: tuple[int, ...] = (1,)
    """Convolutions per decoder level, coarsest first."""

    @model_validator(mode="after")
    def _counts_fit_levels(self) -> ResEncUNetConfig:
        if self.blocks_per_stage is not None:
            check_counts("blocks_per_stage", self.blocks_per_stage, len(self.features))
        return self


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut; the activation comes after the sum."""

    def __init__(
        self,
        before: int,
        width: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        *,
        bias: bool,
        norm: Normalisation = "instance",
    ) -> None:
        super().__init__()
        n_dims = len(kernel)
        self.first = ConvNormAct(before, width, kernel, stride, bias=bias, norm=norm)
        self.second = ConvNormAct(width, width, kernel, bias=bias, activates=False, norm=norm)
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            shortcut.append(AVERAGE_POOL[n_dims](tuple(stride), tuple(stride)))
        if before != width:
            one = (1,) * n_dims
            shortcut.append(ConvNormAct(before, width, one, bias=False, activates=False, norm=norm))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, features: Tensor) -> Tensor:
        """(N, width, ...) from (N, before, ...)."""
        summed = self.second(self.first(features)) + self.shortcut(features)
        return leaky_relu(summed, NEGATIVE_SLOPE, inplace=True)


def resenc_unet(config: ResEncUNetConfig, *, n_channels: int, n_classes: int) -> StagedUNet:
    """nnU-Net's residual encoder U-Net in 2D or 3D, with strides and kernels per level."""
    widths, bias = config.features, config.conv_bias
    blocks = config.blocks_per_stage or BLOCKS[: len(widths)]
    counts = fill_levels(blocks, len(widths))
    kernels, strides = config.level_kernels, config.level_strides
    norm = config.normalisation
    stem = ConvNormAct(n_channels, widths[0], kernels[0], bias=bias, norm=norm)
    stages: list[nn.Module] = []
    before = widths[0]
    for width, kernel, n_blocks, step in zip(widths, kernels, counts, strides, strict=True):
        layers: list[nn.Module] = [] if stages else [stem]
        layers.append(ResidualBlock(before, width, kernel, step, bias=bias, norm=norm))
        for _ in range(n_blocks - 1):
            one = (1,) * len(kernel)
            layers.append(ResidualBlock(width, width, kernel, one, bias=bias, norm=norm))
        stages.append(nn.Sequential(*layers))
        before = width
    network = StagedUNet(config, stages, n_channels=n_channels, n_classes=n_classes)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.zeros_(module.second.norm.get_parameter("weight"))
            nn.init.zeros_(module.second.norm.get_parameter("bias"))
    return network
