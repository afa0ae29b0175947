"""The standard U-Net, in two or three dimensions, with its width as a parameter.

Enters: images (N, C, Y, X) or (N, C, Z, Y, X). Leaves: logits (N, K, ...) on the same grid.

Paper: Ronneberger, Fischer, Brox 2015, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI, LNCS 9351:234-241. In three dimensions the same with every 2 read as a
3 in the kernels and widths halved (Çiçek et al. 2016, MICCAI, LNCS 9901:424-432). Written from
the papers; no code or weights were borrowed.

Deviations from the paper, all common today: convolutions are padded ('same'), so that the
output covers the input; each convolution is followed by a normalisation (the paper has none)
and then needs no bias; no dropout at the end of the encoder.

Batch normalisation is the default. On a CPU batch, instance and group normalisation cost the
same (0.28, 0.27, 0.28 CPU-seconds a step at 8 features and 16 patches of 128²; none 0.22). On
45 hippocampi, 180 steps, widths 8 to 64, AdamW at 1e-2, Dice plus cross-entropy, mean Dice of
15 others over three seeds: batch 0.80, instance 0.77; interpolated upsampling 0.81. With the
Dice loss alone 0.68 (one seed lost a label) against 0.82 for interpolated upsampling, so short
runs should take that; `transposed` is the default as what is usually meant by the U-Net.
A smaller first draw of the last layer (a tenth) was rejected: it stayed on background for all
of those steps.

Parameters for one channel and two classes: 31,036,546 at the default widths 64 to 1024,
1,942,306 at 16 to 256, 486,418 at 8 to 128.

With batch normalisation, or none, weights and features lie channels last: on one CPU thread a
step took 0.51 s instead of 0.74 s in 2D (16 patches of 128², 16 to 256 features), and in 3D
2.2 s instead of 2.4 s (8 patches of 40×56×40, 16 to 128 features), 0.87 s instead of 1.06 s in
bfloat16. Instance normalisation has no such kernels in PyTorch and keeps channels first.

One class per dimension and a subclass per variant were rejected: they would be copies that
differ in a digit.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import field_validator
from torch import Tensor, nn

from acinus.config import Settings
from acinus.networks.contract import CHANNELS_LAST, SegmentationNetwork
from acinus.networks.instance_norm import InstanceNorm


class UNetConfig(Settings):
    """Width, depth and variants of the 2D U-Net."""

    features: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Channels per level, finest first; their number is the number of levels."""
    normalisation: Literal["batch", "instance", "none"] = "batch"
    """After each convolution; instance does not depend on the batch and needs more than one
    voxel at the deepest level."""
    activation: Literal["relu", "leaky_relu"] = "relu"
    """leaky_relu has a slope of 0.01 below zero."""
    upsampling: Literal["transposed", "interpolated"] = "transposed"
    """transposed: 2×2 transposed convolution; interpolated: 1×1 convolution, then linear
    interpolation, which leaves no checkerboard and has fewer parameters."""
    deep_supervision: bool = False
    """Whether every decoder level has a head."""

    @field_validator("features")
    @classmethod
    def _features_describe_levels(cls, features: tuple[int, ...]) -> tuple[int, ...]:
        if len(features) < 2 or min(features) < 1:
            raise ValueError("must hold at least two widths, each at least 1")
        return features


class UNet3dConfig(UNetConfig):
    """Width, depth and variants of the 3D U-Net."""

    features: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Channels per level, finest first; half of those in 2D."""


class UNet(SegmentationNetwork):
    """Encoder and decoder of equal depth, joined by skip connections.

    Per level two 3×3 convolutions; downwards 2×2 maximum pooling; upwards `upsampling`, then
    the encoder's features of that level are concatenated; at last a 1×1 convolution.
    Weights are drawn as in the paper: normal, standard deviation sqrt(2 / fan in); biases 0;
    all foreground labels start with the weights of the first one (ours).

    Args:
        config: Widths and variants.
        n_channels: C of the input, >= 1.
        n_classes: K of the output, background included, >= 2.
        n_dims: 2 or 3.
    """

    def __init__(
        self, config: UNetConfig, *, n_channels: int, n_classes: int, n_dims: Literal[2, 3] = 2
    ) -> None:
        super().__init__()
        widths = config.features
        self.config = config
        self.n_dims = n_dims
        self.n_channels = n_channels
        self.n_classes = n_classes
        self.stride = (2 ** (len(widths) - 1),) * n_dims
        if config.normalisation != "instance":
            self.memory_format = CHANNELS_LAST[n_dims]
        convolution, pool = _CONVOLUTION[n_dims], _POOL[n_dims]
        inputs = (n_channels, *widths[:-1])
        self.encoder = nn.ModuleList(
            _double_convolution(before, width, config, n_dims)
            for before, width in zip(inputs, widths, strict=True)
        )
        self.pool = pool(2)
        rising = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.up = nn.ModuleList(_upwards(deep, width, config, n_dims) for deep, width in rising)
        self.decoder = nn.ModuleList(
            _double_convolution(2 * width, width, config, n_dims) for _, width in rising
        )
        self.head = convolution(widths[0], n_classes, kernel_size=1)
        coarse = reversed(widths[1:-1]) if config.deep_supervision else ()
        self.coarse_heads = nn.ModuleList(
            convolution(width, n_classes, kernel_size=1) for width in coarse
        )
        self.apply(_draw_weights)
        with torch.no_grad():
            # All labels start as one foreground and part as they are told apart; drawn
            # separately, one of two labels that look alike can be lost in the first steps.
            for head in (self.head, *self.coarse_heads):
                head.weight[2:] = head.weight[1:2]
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
        logits: Tensor = self.head(self._decoded(images)[-1])
        return logits.contiguous()

    def forward_levels(self, images: Tensor) -> list[Tensor]:
        """Logits of every level with a head, finest first; arguments and errors as `forward`."""
        heads = [*self.coarse_heads, self.head]
        levels = self._decoded(images)[-len(heads) :]
        return [head(level).contiguous() for head, level in zip(heads, levels, strict=True)][::-1]

    def _decoded(self, images: Tensor) -> list[Tensor]:
        """Features of the decoder levels, coarsest first."""
        self.check_input(images)
        skips: list[Tensor] = []
        features = images.contiguous(memory_format=self.memory_format)
        for level, block in enumerate(self.encoder):
            features = block(self.pool(features) if level else features)
            skips.append(features)
        skips.pop()  # the bottleneck's own output is no skip
        levels: list[Tensor] = []
        for up, block in zip(self.up, self.decoder, strict=True):
            features = block(torch.cat([skips.pop(), up(features)], dim=1))
            levels.append(features)
        return levels


def unet_2d(config: UNetConfig, *, n_channels: int, n_classes: int) -> UNet:
    """Standard 2D U-Net of Ronneberger et al. 2015, widths as a parameter."""
    return UNet(config, n_channels=n_channels, n_classes=n_classes, n_dims=2)


def unet_3d(config: UNet3dConfig, *, n_channels: int, n_classes: int) -> UNet:
    """Standard U-Net in 3D, after Çiçek et al. 2016, widths as a parameter."""
    return UNet(config, n_channels=n_channels, n_classes=n_classes, n_dims=3)


_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_LINEAR_MODE = {2: "bilinear", 3: "trilinear"}


def _double_convolution(before: int, width: int, config: UNetConfig, n_dims: int) -> nn.Sequential:
    """(3×3 convolution, normalisation, activation) twice."""
    layers: list[nn.Module] = []
    has_bias = config.normalisation == "none"  # a normalisation has its own shift
    for channels in (before, width):
        layers += [
            _CONVOLUTION[n_dims](channels, width, kernel_size=3, padding=1, bias=has_bias),
            _normalisation(width, config, n_dims),
            nn.ReLU(inplace=True) if config.activation == "relu" else nn.LeakyReLU(0.01, True),
        ]
    return nn.Sequential(*layers)


def _normalisation(width: int, config: UNetConfig, n_dims: int) -> nn.Module:
    if config.normalisation == "batch":
        return _BATCH_NORM[n_dims](width)
    if config.normalisation == "instance":
        return InstanceNorm(width)
    return nn.Identity()


def _upwards(deep: int, width: int, config: UNetConfig, n_dims: int) -> nn.Module:
    """Twice the size, from `deep` to `width` channels."""
    if config.upsampling == "transposed":
        return _TRANSPOSED[n_dims](deep, width, kernel_size=2, stride=2)
    # A 1×1 convolution and linear interpolation commute; first the convolution is cheaper.
    return nn.Sequential(
        _CONVOLUTION[n_dims](deep, width, kernel_size=1),
        nn.Upsample(scale_factor=2, mode=_LINEAR_MODE[n_dims], align_corners=False),
    )


def _draw_weights(module: nn.Module) -> None:
    """He's normal draw; each output of a transposed 2×2 convolution sees one tap per channel."""
    if isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
        fan_in = module.in_channels
    elif isinstance(module, (nn.Conv2d, nn.Conv3d)):
        fan_in = module.in_channels * math.prod(module.kernel_size)
    else:
        return
    if module.weight.is_meta:
        return  # there is nothing to draw, and to find that out torch loads its compiler
    nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_in))
    if module.bias is not None:
        nn.init.zeros_(module.bias)
