"""PanSegNet has the published sizes, and its layers do what their definition says."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from acinus.errors import ConfigError
from acinus.networks import SegmentationNetwork, build_network
from acinus.networks.operations import count_operations
from acinus.networks.pansegnet import (
    Attention,
    PansegnetConfig,
    Transformer,
    linear_attention,
    quadratic_attention,
    sine_positions,
)

PUBLISHED: dict[str, Any] = {
    "features": (32, 64, 128, 256, 320, 320),
    "kernels": ((1, 3, 3), (1, 3, 3), (3, 3, 3)),
    "strides": ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)),
    "deep_supervision": True,
}
"""nnU-Net's plan of the pancreas on MRI."""

PATCH = (32, 224, 224)
"""The patch at which the operations come out as published; the paper does not state it."""

MODULE_DOC = sys.modules[PansegnetConfig.__module__].__doc__ or ""

TINY: dict[str, Any] = {
    "features": (2, 3, 4),
    "attention_width": 8,
    "n_layers": 2,
    "n_heads": 2,
    "starts_as_copies": False,
}


def published(**config: Any) -> SegmentationNetwork:
    """The network of the paper, without memory for its weights."""
    with torch.device("meta"):
        return build_network("pansegnet", {**PUBLISHED, **config}, n_channels=1, n_classes=2)


def tiny(**config: Any) -> SegmentationNetwork:
    return build_network("pansegnet", {**TINY, **config}, n_channels=1, n_classes=2, seed=3)


def tiny_block(**config: Any) -> Transformer:
    torch.manual_seed(0)
    return Transformer(5, PansegnetConfig(**{**TINY, **config})).eval()


@pytest.fixture(autouse=True)
def _keep_random_state() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def count(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


# Sizes


def test_parameters_are_the_published_ones() -> None:
    """Table 5: 43.92 M, and 30.97 M for nnU-Net; to the unit as counted in the authors' code."""
    whole, alone = count(published()), count(published(attention="none"))
    assert (whole, alone, whole - alone) == (43_921_312, 30_968_928, 12_952_384)
    for stated in (whole, alone, whole - alone):
        assert f"{stated:,}" in MODULE_DOC


@pytest.mark.parametrize(
    ("config", "published_g"),
    [({}, 552.3234), ({"attention": "none", "deep_supervision": False}, 549.5976)],
    ids=["pansegnet", "nnunet"],
)
def test_operations_are_the_published_ones(config: dict[str, Any], published_g: float) -> None:
    """Table 5, whose "GFLOPs" are multiply-adds, with five for each normalised value.

    The U-Net's figure comes out without the coarse heads of deep supervision, PanSegNet's with.
    """
    assert round(table_5(published(**config)) / 1e9, 4) == published_g


def test_the_block_adds_half_a_per_cent_of_operations() -> None:
    whole, alone = (table_5(published(attention=kind)) for kind in ("linear", "none"))
    assert round((whole - alone) / 1e9, 4) == 2.6413
    tokens, width, heads = 4 * 7 * 7, 512, 8
    products = 8 * 6 * width**2 + 2 * 320 * width  # weights of the projections
    contexts = 8 * 2 * width * (width // heads)
    norms = 8 * 2 * 5 * width
    assert whole - alone == tokens * (products + contexts + norms)


def table_5(network: SegmentationNetwork) -> int:
    """Multiply-adds of a training's forward pass, and 5 per normalised value."""
    return count_operations(network, PATCH, all_heads=True).as_in_table_5


@pytest.mark.parametrize("features", [32, 320])
@pytest.mark.parametrize("conv_bias", [True, False])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 3), (3, 3)])
def test_the_control_of_convolutions_has_as_many_parameters(
    features: int, conv_bias: bool, kernel: tuple[int, ...]
) -> None:
    config = {"features": (8, features), "kernels": (kernel,), "conv_bias": conv_bias}
    with torch.device("meta"):
        sizes = [
            count(
                build_network("pansegnet", {**config, "attention": kind}, n_channels=1, n_classes=2)
            )
            for kind in ("linear", "convolution", "none")
        ]
    block, control = sizes[0] - sizes[2], sizes[1] - sizes[2]
    assert abs(control / block - 1) < 1e-3


def test_controls_match_parameters_and_operations_of_the_published_block() -> None:
    block = count(published()) - count(published(attention="none"))
    pointwise, convolution = (
        count(published(attention=kind)) - count(published(attention="none"))
        for kind in ("pointwise", "convolution")
    )
    assert (pointwise, convolution) == (block, 12_946_887)
    assert f"{convolution:,}" in MODULE_DOC
    for kind in ("pointwise", "convolution"):
        assert table_5(published(attention=kind)) / 1e9 == pytest.approx(552.32, rel=1e-3)


# Definition


def slow_block(block: Transformer, features: np.ndarray, n_heads: int, kind: str) -> np.ndarray:
    """The block of one image, voxel by voxel and head by head, in float64."""
    state = {name: value.double().numpy() for name, value in block.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return np.array([state[f"{name}.weight"] @ row + state[f"{name}.bias"] for row in x])

    def normed(name: str, x: np.ndarray) -> np.ndarray:
        rows = [(row - row.mean()) / np.sqrt(row.var() + 1e-6) for row in x]
        return np.array(rows) * state[f"{name}.weight"] + state[f"{name}.bias"]

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum()

    voxels = [features[:, z, y, x] for z, y, x in np.ndindex(features.shape[1:])]
    tokens = linear("inwards", np.array(voxels))
    n_tokens, width = tokens.shape
    for place in range(n_tokens):
        for feature in range(width):
            angle = place / 10000 ** ((feature - feature % 2) / width)
            tokens[place, feature] += math.cos(angle) if feature % 2 else math.sin(angle)
    size = width // n_heads
    for layer in range(len(block.layers)):
        name = f"layers.{layer}"
        projected = [linear(f"{name}.mixing.{p}", tokens) for p in ("query", "key", "value")]
        mixed = np.zeros_like(tokens)
        for head in range(n_heads):
            part = slice(head * size, (head + 1) * size)
            q, k, v = (values[:, part] for values in projected)
            for token in range(n_tokens):
                if kind == "linear":
                    column = np.stack([softmax(k[:, f]) for f in range(size)], axis=1)
                    weights = softmax(q[token]) / math.sqrt(size) @ column.T
                else:
                    weights = softmax(np.array([q[token] @ row for row in k]) / math.sqrt(size))
                mixed[token, part] = sum(w * row for w, row in zip(weights, v, strict=True))
        tokens = normed(f"{name}.norms.0", tokens + linear(f"{name}.mixing.out", mixed))
        hidden = linear(f"{name}.first", tokens)
        erf = np.vectorize(math.erf)
        hidden = hidden * (1 + erf(hidden / math.sqrt(2))) / 2
        tokens = normed(f"{name}.norms.1", tokens + linear(f"{name}.second", hidden))
    answer = linear("outwards", tokens)
    made = np.zeros_like(features)
    for voxel, row in zip(np.ndindex(features.shape[1:]), answer, strict=True):
        made[:, voxel[0], voxel[1], voxel[2]] = row
    return made


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_the_block_is_that_of_the_definition(kind: str) -> None:
    block = tiny_block(attention=kind)
    with torch.no_grad():
        for weight in block.parameters():  # norms scale and shift as well
            weight.add_(0.3 * torch.randn_like(weight))
    features = torch.randn(2, 5, 2, 3, 4)
    with torch.no_grad():
        answers = block(features)
    for one, answer in zip(features.double().numpy(), answers.numpy(), strict=True):
        np.testing.assert_allclose(answer, slow_block(block, one, 2, kind), rtol=0, atol=2e-5)


def test_quadratic_attention_is_that_of_torch() -> None:
    queries, keys, values = torch.randn(3, 2, 4, 7, 6)
    torch.testing.assert_close(
        quadratic_attention(queries, keys, values, 0.0),
        scaled_dot_product_attention(queries, keys, values),
    )


def test_weights_of_linear_attention_sum_to_the_root_of_the_features() -> None:
    """Softmax over features times softmax over tokens sums to 1; sqrt(F) divides it."""
    queries, keys = torch.randn(2, 2, 4, 7, 6)
    weights = linear_attention(queries, keys, torch.eye(7).expand(2, 4, 7, 7), 0.0)
    torch.testing.assert_close(weights.sum(dim=-1), torch.full((2, 4, 7), 6**-0.5))


@pytest.mark.parametrize("kind", ["linear", "quadratic", "pointwise"])
def test_without_positions_the_order_of_tokens_does_not_matter(kind: str) -> None:
    features, order = torch.randn(1, 5, 12), torch.randperm(12)
    with torch.no_grad():
        blind = tiny_block(attention=kind, positions="none")
        torch.testing.assert_close(blind(features[..., order]), blind(features)[..., order])
        seeing = tiny_block(attention=kind)
        moved = (seeing(features[..., order]) - seeing(features)[..., order]).abs().max()
    assert moved > 1e-3


@pytest.mark.parametrize(("kind", "sees"), [("linear", 1), ("quadratic", 1), ("pointwise", 0)])
def test_only_the_control_keeps_voxels_apart(kind: str, sees: bool) -> None:
    block = tiny_block(attention=kind)
    features = torch.randn(1, 5, 2, 3, 2)
    changed = features.clone()
    changed[..., 0, 0, 0] += 1
    with torch.no_grad():
        moved = (block(changed) - block(features)).abs().amax(dim=1) > 1e-6
    assert bool(moved[0, 0, 0, 0])
    assert int(moved.sum()) == (12 if sees else 1)


def test_positions_do_not_depend_on_the_number_of_tokens() -> None:
    """So that weights serve any size: the first places are the same."""
    device = torch.device("cpu")
    few, many = (sine_positions(n, 6, device=device) for n in (5, 9))
    torch.testing.assert_close(many[:5], few)
    assert len({tuple(row.tolist()) for row in many}) == 9


@pytest.mark.parametrize("kind", ["linear", "quadratic", "pointwise", "convolution", "none"])
def test_weights_serve_every_size_that_the_stride_divides(kind: str) -> None:
    network = tiny(attention=kind).eval()
    with torch.no_grad():
        for size in ((4, 8, 8), (8, 4, 12), (4, 8, 8)):
            logits = network(torch.randn(2, 1, *size))
            assert logits.shape == (2, 2, *size)
            assert torch.isfinite(logits).all()


@pytest.mark.parametrize("kind", ["linear", "quadratic", "pointwise", "convolution"])
@pytest.mark.parametrize("bypass", [True, False])
def test_gradient_reaches_each_parameter(kind: str, bypass: bool) -> None:
    network = tiny(
        attention=kind,
        bypass=bypass,
        attention_dropout=True,
        conv_bias=False,  # a normalisation takes it out again
        deep_supervision=True,
    )
    levels = network.forward_levels(torch.randn(2, 1, 8, 8, 8))
    torch.stack([(x * torch.randn_like(x)).sum() for x in levels]).sum().backward()
    largest = {
        n: float(w.grad.abs().max()) for n, w in network.named_parameters() if w.grad is not None
    }
    assert largest.keys() == {name for name, _ in network.named_parameters()}
    never = {name for name, value in largest.items() if value < 1e-6}
    assert never <= {name for name in largest if name.endswith("mixing.key.bias")}, never


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_the_bias_of_keys_changes_nothing(kind: str) -> None:
    block, features = tiny_block(attention=kind), torch.randn(1, 5, 2, 3, 2)
    with torch.no_grad():
        before = block(features)
        for layer in block.layers:
            layer.mixing.key.bias.add_(torch.randn(8))
        torch.testing.assert_close(block(features), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "quadratic", "pointwise"])
def test_products_in_bfloat16_change_little(kind: str) -> None:
    block, features = tiny_block(attention=kind), torch.randn(1, 5, 2, 3, 2)
    with torch.no_grad():
        wanted = block(features)
        with torch.autocast("cpu", torch.bfloat16):
            got = block(features).float()
        torch.testing.assert_close(got, wanted, rtol=0, atol=0.05 * float(wanted.abs().max()))
        assert block.bfloat16()(features.bfloat16()).dtype == torch.bfloat16


# Options


def test_with_the_newer_decoder_and_no_block_it_is_the_plain_network() -> None:
    config = {"features": (2, 3, 4), "kernels": ((1, 3, 3), (3, 3, 3)), "deep_supervision": True}
    ours, plain = (
        build_network(name, settings, n_channels=1, n_classes=2, seed=1).state_dict()
        for name, settings in (
            ("pansegnet", {**config, "attention": "none", "decoder": "nnunet_v2"}),
            ("plain_unet", config),
        )
    )
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_the_older_decoder_has_the_kernels_of_the_level_below_and_fewer_biases() -> None:
    network = published(attention="none")
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    kernels = [shapes[f"decoder.{level}.0.conv.weight"][2:] for level in range(5)]
    assert kernels == [(3, 3, 3)] * 4 + [(1, 3, 3)]
    newer = published(attention="none", decoder="nnunet_v2").state_dict()
    assert newer["decoder.3.0.conv.weight"].shape[2:] == (1, 3, 3)
    absent = newer.keys() - shapes.keys()
    assert absent == {f"{part}.{level}.bias" for part in ("up", "heads") for level in range(5)}


@pytest.mark.parametrize("kind", ["linear", "pointwise"])
def test_layers_and_projections_start_equal_only_if_asked(kind: str) -> None:
    for as_copies in (True, False):
        state = tiny_block(attention=kind, starts_as_copies=as_copies).state_dict()
        firsts = [value for name, value in state.items() if name.startswith("layers.0.")]
        seconds = [value for name, value in state.items() if name.startswith("layers.1.")]
        drawn = [(a, b) for a, b in zip(firsts, seconds, strict=True) if a.ndim == 2]
        assert all(torch.equal(a, b) == as_copies for a, b in drawn)
        projections = [
            v for n, v in state.items() if n.startswith("layers.0.mixing") if v.ndim == 2
        ]
        assert len(projections) == 4
        assert all(torch.equal(projections[0], p) == as_copies for p in projections[1:])
        assert not torch.equal(state["layers.0.first.weight"], state["layers.0.second.weight"])


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_attention_drops_only_if_asked(kind: str) -> None:
    tokens = torch.randn(1, 6, 8)
    for drops in (True, False):
        config = PansegnetConfig(**TINY, attention=kind, attention_dropout=drops, dropout=0.5)
        attention = Transformer(5, config).layers[0].mixing
        assert isinstance(attention, Attention)
        with torch.no_grad():
            first, second = attention(tokens), attention(tokens)
            assert torch.equal(first, second) != drops
            attention.eval()
            assert torch.equal(attention(tokens), attention(tokens))


def test_training_drops_the_share_and_prediction_nothing() -> None:
    features = torch.randn(1, 5, 2, 2, 2)
    with torch.no_grad():
        block = tiny_block(dropout=0.5)
        still = block(features)
        assert torch.equal(block(features), still)
        assert not torch.allclose(block.train()(features), still)
        all_kept = tiny_block(dropout=0.0).train()
        assert torch.equal(all_kept(features), still)


@pytest.mark.parametrize("kind", ["linear", "quadratic", "pointwise", "convolution"])
def test_a_bypass_adds_what_came_in(kind: str) -> None:
    plain, bypassed = (tiny(attention=kind, bypass=bypass) for bypass in (False, True))
    features = torch.randn(1, 4, 2, 3, 2)
    (*_, block), (*_, around) = (
        network.depths[2][1].eval().children() for network in (plain, bypassed)
    )
    with torch.no_grad():
        torch.testing.assert_close(around(features), features + block(features))


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"attention_width": 12, "n_heads": 8}, r"even and divisible by n_heads \(8\); got 12"),
        ({"attention_width": 9, "n_heads": 3}, r"even and divisible by n_heads \(3\); got 9"),
        ({"dropout": 1.0}, "'dropout': must be less than 1"),
        (
            {"attention": "convolution", "features": (8, 320), "attention_width": 2, "n_heads": 1},
            "must have at least 36486 parameters to match; got 1954.*Raise attention_width",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build_network("pansegnet", config, n_channels=1, n_classes=2)
