"""nnU-Net's standard network: plain convolutions, strides instead of pooling, deep supervision.

Enters: images (N, C, Y, X) or (N, C, Z, Y, X). Leaves: logits (N, K, ...) on the same grid, and
with deep supervision also at the coarser levels of the decoder.

Paper: Isensee et al. 2021, Nature Methods 18:203-211; the same as PlainConvUNet of the package
dynamic-network-architectures 0.4.4: equal weights give equal logits (tested to 1e-5 on recorded
outputs). Each convolution is followed by instance normalisation and a leaky ReLU.

Parameters for one channel and three classes at 32 to 256 features, four levels, 3×3×3, with the
heads of deep supervision: 5,603,177 (nnU-Net's 3d_fullres of the hippocampus).
"""

from __future__ import annotations

from pydantic import model_validator
from torch import nn

from acinus.networks.stages import (
    StagedUNet,
    StagedUNetConfig,
    check_counts,
    convolutions,
    fill_levels,
)


class PlainUNetConfig(StagedUNetConfig):
    """Levels of the plain U-Net."""

    convs_per_stage: tuple[int, ...] = (2,)
    """Convolutions per encoder level, finest first."""

    @model_validator(mode="after")
    def _counts_fit_levels(self) -> PlainUNetConfig:
        check_counts("convs_per_stage", self.convs_per_stage, len(self.features))
        return self


def plain_unet(config: PlainUNetConfig, *, n_channels: int, n_classes: int) -> StagedUNet:
    """nnU-Net's plain U-Net in 2D or 3D, with strides and kernels per level."""
    stages = plain_stages(config, n_channels)
    return StagedUNet(config, stages, n_channels=n_channels, n_classes=n_classes)


def plain_stages(config: PlainUNetConfig, n_channels: int) -> list[nn.Sequential]:
    """The encoder, finest level first: plain convolutions, the first of each with the stride."""
    widths = config.features
    counts = fill_levels(config.convs_per_stage, len(widths))
    levels = zip(
        (n_channels, *widths[:-1]),
        widths,
        config.level_kernels,
        counts,
        config.level_strides,
        strict=True,
    )
    return [
        convolutions(
            before, width, kernel, n_convs, step, bias=config.conv_bias, norm=config.normalisation
        )
        for before, width, kernel, n_convs, step in levels
    ]
