"""PanSegNet: nnU-Net's plain U-Net with a transformer of linear attention at its bottleneck.

Enters: images (N, C, Y, X) or (N, C, Z, Y, X). Leaves: logits (N, K, ...) on the same grid, and
with deep supervision also at the coarser levels of the decoder.

Paper: Zhang et al. 2025, "Large-scale multi-center CT and MRI segmentation of pancreas with deep
learning", Medical Image Analysis 99:103382, arXiv 2405.12367; attention of Shen et al. 2021,
"Efficient attention", WACV, arXiv 1812.01243. The paper leaves the block open; it follows the
authors' public code (NUBagciLab/PaNSegNet, a fork of nnU-Net 1.7.0). Written anew; no code and no
weights were borrowed.

The block stands behind the last convolution of the bottleneck; the decoder sees its output alone.
Voxels become tokens in raster order, 320 features become 512, fixed sines are added, eight layers
follow, and 512 features become 320 again. Each layer is attention with 8 heads, then two
position-wise products; both are added to their input, then normalised. What is particular in the
authors' code is the default here and can be turned off: `starts_as_copies`, `attention_dropout`,
`bypass`, `decoder`.

Deviation: their table of sines has the length of the training patch, so that no other size can be
predicted; ours follows the size at hand and is the same up to that length.

Parameters for one channel and two classes, with the heads of deep supervision, at 32 to 320
features, strides 1, (1, 2, 2) twice and (2, 2, 2) three times, kernels (1, 3, 3) twice, then
(3, 3, 3): 43,921,312, of which the block has 12,952,384 and the U-Net 30,968,928. A forward pass
of 32×224×224 takes 552.3234 G multiply-adds, as the paper's Table 5 says (it counts five for each
value that is normalised). Its 549.5976 G for the U-Net leave out the coarse heads; with them it
is 549.6821 G, so the block costs 2.6413 G and not 2.7258 G.

The bias of each key shifts scores that the softmax takes out again: those weights never learn, in
either attention.

Two controls have the parameters of the block but not its attention, so that a gain can be told
from one of mere size: `pointwise` (12,952,384) and `convolution` (12,946,887).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, leaky_relu

from acinus.errors import ConfigError
from acinus.networks.plain_unet import PlainUNetConfig, plain_stages
from acinus.networks.stages import NEGATIVE_SLOPE, ConvNormAct, DecoderForm, StagedUNet

NORM_EPSILON = 1e-6
"""Added to the variance of a token's features."""

POSITION_BASE = 10_000.0
"""The longest wave of the positions is this many times as long as the shortest."""

CONTROL_PAIRS = 2
"""Pairs of convolutions in the control; with two they are wider than the features (374 at 320)."""

Mix = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""From queries, keys, values (N, H, T, F) and a share to drop to (N, H, T, F)."""


class PansegnetConfig(PlainUNetConfig):
    """Levels of the U-Net, and what stands at its bottleneck."""

    decoder: DecoderForm = "nnunet_v1"
    """nnunet_v1, as published: decoder levels have the kernel of the level below, transposed
    convolutions and heads no bias; nnunet_v2: the decoder of plain_unet."""
    attention: Literal["linear", "quadratic", "pointwise", "convolution", "none"] = "linear"
    """linear: published; quadratic: the usual softmax over all pairs of voxels. Controls of equal
    parameters: pointwise: the same layers, but no voxel sees another; convolution: two residual
    pairs of convolutions instead of the layers. none: the U-Net alone."""
    attention_width: int = Field(512, ge=2)
    """Features of a token in the layers, even."""
    n_layers: int = Field(8, ge=1)
    """Layers in a row."""
    n_heads: int = Field(8, ge=1)
    """Parts that a token's features are split into; must divide attention_width."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of features that training drops in each layer: after the attention and after each of
    the two products behind it."""
    attention_dropout: bool = False
    """Whether training drops that share within the attention too: of the weights (quadratic) or of
    the normalised queries (linear). The authors' code computes it and goes on without it."""
    starts_as_copies: bool = True
    """Whether all layers, and the four projections of each, are drawn equal, as published."""
    positions: Literal["sine", "none"] = "sine"
    """none: tokens do not know where they lie, and their order does not matter."""
    bypass: bool = False
    """Whether the bottleneck's features are added to what the block makes of them."""

    @model_validator(mode="after")
    def _heads_share_width(self) -> PansegnetConfig:
        if self.attention_width % 2 or self.attention_width % self.n_heads:
            raise ValueError(
                f"attention_width must be even and divisible by n_heads ({self.n_heads}); "
                f"got {self.attention_width}"
            )
        return self


def pansegnet(config: PansegnetConfig, *, n_channels: int, n_classes: int) -> StagedUNet:
    """PanSegNet: nnU-Net's plain U-Net with linear attention at the bottleneck, 2D or 3D."""
    *stages, last = plain_stages(config, n_channels)
    bottleneck = nn.Sequential(*last, *_blocks(config))
    return StagedUNet(
        config,
        [*stages, bottleneck],
        n_channels=n_channels,
        n_classes=n_classes,
        decoder=config.decoder,
    )


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor, drop: float) -> Tensor:
    """Efficient attention, whose cost rises with the number of tokens and not with its square.

    Queries are a softmax over their F features, divided by sqrt(F); keys a softmax over the T
    tokens. Keys and values give F × F features of the whole image, of which each query takes its
    part.

    Args:
        queries: (N, H, T, F).
        keys: (N, H, T, F).
        values: (N, H, T, F).
        drop: Share of the queries to drop.

    Returns:
        (N, H, T, F).
    """
    asked = dropout(queries.softmax(dim=-1) / math.sqrt(queries.shape[-1]), drop)
    return asked @ (keys.softmax(dim=-2).transpose(-2, -1) @ values)


def quadratic_attention(queries: Tensor, keys: Tensor, values: Tensor, drop: float) -> Tensor:
    """Scaled dot-product attention; arguments as `linear_attention`, but weights are dropped.

    A bottleneck has few hundred tokens: torch's fused kernels, whose gradients need not repeat,
    would save little.
    """
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return dropout(scores.softmax(dim=-1), drop) @ values


class Attention(nn.Module):
    """Projections, attention in each head, projection.

    Args:
        width: Features of a token.
        n_heads: Heads.
        mix: What happens within a head.
        drop: Share that training drops within a head.
        starts_as_copies: Whether the projections start equal.
    """

    def __init__(
        self, width: int, n_heads: int, mix: Mix, *, drop: float, starts_as_copies: bool
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.mix = mix
        self.drop = drop
        self.query, self.key, self.value, self.out = _repeated(
            lambda: nn.Linear(width, width), 4, as_copies=starts_as_copies
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) from (N, T, width)."""
        heads = (self.n_heads, tokens.shape[-1] // self.n_heads)
        queries, keys, values = (
            project(tokens).unflatten(-1, heads).transpose(1, 2)  # (N, H, T, F)
            for project in (self.query, self.key, self.value)
        )
        mixed = self.mix(queries, keys, values, self.drop if self.training else 0.0)
        projected: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return projected


class Pointwise(nn.Module):
    """The control of an `Attention`: its four products, each token for itself.

    Args:
        width: Features of a token.
        starts_as_copies: Whether the products start equal.
    """

    def __init__(self, width: int, *, starts_as_copies: bool) -> None:
        super().__init__()
        self.products = _repeated(lambda: nn.Linear(width, width), 4, as_copies=starts_as_copies)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) from (N, T, width)."""
        first, *others = self.products
        for product in others:
            tokens, first = gelu(first(tokens)), product
        answer: Tensor = first(tokens)
        return answer


class Layer(nn.Module):
    """A layer of the transformer: attention, then two products, each added and normalised."""

    def __init__(self, config: PansegnetConfig) -> None:
        super().__init__()
        width = config.attention_width
        self.mixing = _mixing(config)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=NORM_EPSILON) for _ in range(2))
        self.drop = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) from (N, T, width)."""
        tokens = self.norms[0](tokens + self.drop(self.mixing(tokens)))
        made = self.second(self.drop(gelu(self.first(tokens))))
        normed: Tensor = self.norms[1](tokens + self.drop(made))
        return normed


class Transformer(nn.Module):
    """Layers over all voxels of the features, as tokens in raster order.

    Args:
        features: C of what enters and leaves.
        config: Width, layers and variants.
    """

    def __init__(self, features: int, config: PansegnetConfig) -> None:
        super().__init__()
        width = config.attention_width
        self.inwards = nn.Linear(features, width)
        self.layers = nn.Sequential(
            *_repeated(lambda: Layer(config), config.n_layers, as_copies=config.starts_as_copies)
        )
        self.outwards = nn.Linear(width, features)
        self.has_positions = config.positions == "sine"

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, ...spatial) from (N, C, ...spatial)."""
        tokens = self.inwards(features.flatten(2).transpose(1, 2))  # (N, T, width)
        if self.has_positions:
            n_tokens, width = tokens.shape[1:]
            positions = sine_positions(n_tokens, width, device=tokens.device)
            tokens = tokens + positions.to(self.inwards.weight.dtype)
        answer = self.outwards(self.layers(tokens)).transpose(1, 2)
        return answer.reshape(features.shape).contiguous()


class ConvolutionPair(nn.Module):
    """Two convolutions beside a shortcut; the activation comes after the sum.

    Args:
        features: C of what enters and leaves.
        hidden: Features between the two.
        config: Kernel of the deepest level, bias, normalisation.
    """

    def __init__(self, features: int, hidden: int, config: PansegnetConfig) -> None:
        super().__init__()
        kernel, bias, norm = config.level_kernels[-1], config.conv_bias, config.normalisation
        self.first = ConvNormAct(features, hidden, kernel, bias=bias, norm=norm)
        self.second = ConvNormAct(hidden, features, kernel, bias=bias, activates=False, norm=norm)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, ...spatial) from (N, C, ...spatial)."""
        return leaky_relu(features + self.second(self.first(features)), NEGATIVE_SLOPE)


class Bypassed(nn.Module):
    """A block whose input is added to its output."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, ...spatial) from (N, C, ...spatial)."""
        return features + self.block(features)


def sine_positions(n_tokens: int, width: int, *, device: torch.device) -> Tensor:
    """Fixed features of each place: sines and cosines of falling frequency, in turn.

    They are computed where they are needed, in a few kernels, so that nothing is copied and any
    number of tokens will do.

    Args:
        n_tokens: T, tokens in raster order.
        width: Features, even.
        device: Where to compute.

    Returns:
        (T, width) float32 in [-1, 1].

    Source: Vaswani et al. 2017, arXiv 1706.03762, section 3.5.
    """
    place = torch.arange(n_tokens, device=device, dtype=torch.float32)
    pair = torch.arange(0, width, 2, device=device, dtype=torch.float32)
    angles = place[:, None] * torch.exp(pair * (-math.log(POSITION_BASE) / width))
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def transformer_parameters(features: int, config: PansegnetConfig) -> int:
    """Parameters of a `Transformer`.

    Args:
        features: C of what enters and leaves.
        config: Width and layers.
    """
    width = config.attention_width
    layer = 6 * (width * width + width) + 2 * 2 * width
    return config.n_layers * layer + 2 * width * features + width + features


def control_widths(features: int, config: PansegnetConfig) -> list[int]:
    """Features within each `ConvolutionPair` of the control.

    As many in total as bring the parameters closest to those of the transformer: within half of
    what one more feature costs, 0.07 % at the published sizes.

    Args:
        features: C of what enters and leaves.
        config: Width and layers of the transformer; kernel and bias of the convolutions.

    Raises:
        ConfigError: The transformer is smaller than the narrowest pairs.
    """
    biases = 3 if config.conv_bias else 2  # with scale and shift of the normalisation
    per_feature = 2 * math.prod(config.level_kernels[-1]) * features + biases
    budget = transformer_parameters(features, config)
    total = round((budget - CONTROL_PAIRS * biases * features) / per_feature)
    if total < CONTROL_PAIRS:
        raise ConfigError(
            f"network 'pansegnet': a control of convolutions must have at least "
            f"{CONTROL_PAIRS * (per_feature + biases * features)} parameters to match; got "
            f"{budget}. Raise attention_width or n_layers."
        )
    return [(total + place) // CONTROL_PAIRS for place in reversed(range(CONTROL_PAIRS))]


def _blocks(config: PansegnetConfig) -> list[nn.Module]:
    """What follows the bottleneck's convolutions; nothing without attention and control."""
    features = config.features[-1]
    if config.attention == "none":
        return []
    block: nn.Module
    if config.attention == "convolution":
        widths = control_widths(features, config)
        block = nn.Sequential(*(ConvolutionPair(features, width, config) for width in widths))
    else:
        block = Transformer(features, config)
    return [Bypassed(block) if config.bypass else block]


def _mixing(config: PansegnetConfig) -> nn.Module:
    width, as_copies = config.attention_width, config.starts_as_copies
    if config.attention == "pointwise":
        return Pointwise(width, starts_as_copies=as_copies)
    return Attention(
        width,
        config.n_heads,
        linear_attention if config.attention == "linear" else quadratic_attention,
        drop=config.dropout if config.attention_dropout else 0.0,
        starts_as_copies=as_copies,
    )


def _repeated(make: Callable[[], nn.Module], n: int, *, as_copies: bool) -> nn.ModuleList:
    """`n` modules, each drawn for itself or all copies of the first."""
    first = make()
    others = (copy.deepcopy(first) if as_copies else make() for _ in range(n - 1))
    return nn.ModuleList([first, *others])
