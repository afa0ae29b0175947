"""Operations are those that a hand counts, and torch's own counter agrees on the products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from acinus.errors import ConfigError
from acinus.networks import NETWORKS, SegmentationNetwork, build_network
from acinus.networks.instance_norm import InstanceNorm
from acinus.networks.operations import Operations, count_operations, count_parameters


class Around(SegmentationNetwork):
    """Any layers as a network, of channels that they take."""

    def __init__(self, *layers: nn.Module, n_channels: int = 3, n_dims: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.n_channels, self.n_dims, self.stride = n_channels, n_dims, (1,) * n_dims

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.layers(images)
        return made


class Call(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, features: Tensor) -> Tensor:
        return self.function(features)


def counted(*layers: nn.Module, size: tuple[int, ...] = (4, 6), batch: int = 1) -> Operations:
    network = Around(*layers, n_dims=len(size))
    return count_operations(network, size, batch=batch)


def flops(*layers: nn.Module, **options: Any) -> tuple[int, int, int]:
    one = counted(*layers, **options)
    return one.multiply_adds, one.norm_flops, one.other_flops


VALUES = 3 * 4 * 6
"""Values of the input."""


@pytest.mark.parametrize(
    ("layer", "multiply_adds", "other"),
    [
        (nn.Conv2d(3, 5, 3, padding=1, bias=False), 4 * 6 * 5 * 3 * 9, 0),
        (nn.Conv2d(3, 5, 3, padding=1), 4 * 6 * 5 * 3 * 9, 4 * 6 * 5),
        (nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False), 2 * 3 * 5 * 3 * 9, 0),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False), 4 * 6 * 6 * 1 * 9, 0),
        (nn.ConvTranspose2d(3, 5, 2, stride=2, bias=False), 4 * 6 * 3 * 5 * 4, 0),
        (nn.ConvTranspose2d(3, 5, 2, stride=2), 4 * 6 * 3 * 5 * 4, 8 * 12 * 5),
        (nn.Linear(6, 7, bias=False), 3 * 4 * 6 * 7, 0),
        (nn.Linear(6, 7), 3 * 4 * 6 * 7, 3 * 4 * 7),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_products_are_counted_as_by_hand(layer: nn.Module, multiply_adds: int, other: int) -> None:
    assert flops(layer) == (multiply_adds, 0, other)
    assert flops(layer, batch=2) == (2 * multiply_adds, 0, 2 * other)


def test_a_convolution_of_a_volume() -> None:
    layer = nn.Conv3d(3, 5, (1, 3, 3), padding=(0, 1, 1), bias=False)
    assert flops(layer, size=(2, 4, 6)) == (2 * 4 * 6 * 5 * 3 * 9, 0, 0)


@pytest.mark.parametrize(
    "attend",
    [
        lambda x: scaled_dot_product_attention(x, x, x),
        lambda x: (x @ x.transpose(-2, -1)).softmax(dim=-1) @ x,
        lambda x: torch.einsum(
            "ncqk,nckf->ncqf", torch.einsum("ncqf,nckf->ncqk", x, x).softmax(dim=-1), x
        ),
    ],
    ids=["fused", "matmul", "einsum"],
)
def test_products_within_an_attention_are_seen(attend: Callable[[Tensor], Tensor]) -> None:
    """Four tokens of six features, for each of three heads."""
    multiply_adds, _, other = flops(Call(attend))
    assert multiply_adds == 3 * 2 * 4 * 4 * 6
    assert other >= 3 * 5 * 4 * 4


@pytest.mark.parametrize(
    ("layer", "a_value"),
    [
        (InstanceNorm(3), 5),
        (nn.LayerNorm(6), 5),
        (nn.LayerNorm(6, elementwise_affine=False), 4),
        (nn.GroupNorm(1, 3), 5),
        (nn.BatchNorm2d(3), 2),
        (nn.BatchNorm2d(3, affine=False), 1),
        (nn.InstanceNorm2d(3), 4),
    ],
    ids=str,
)
def test_a_normalisation_has_its_price_a_value(layer: nn.Module, a_value: int) -> None:
    assert flops(layer, batch=2) == (0, a_value * 2 * VALUES, 0)


@pytest.mark.parametrize(
    ("layer", "other"),
    [
        (nn.ReLU(inplace=True), VALUES),
        (nn.LeakyReLU(), VALUES),
        (nn.GELU(), VALUES),
        (nn.Softmax(dim=1), 5 * VALUES),
        (nn.MaxPool2d(2), VALUES),
        (nn.AvgPool2d((1, 2)), VALUES),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 7 * 4 * VALUES),
        (Call(lambda x: x + 2 * x), 2 * VALUES),
        (Call(lambda x: torch.cat([x, x]).clone().contiguous().transpose(1, 2)), 0),
        (nn.Dropout(0.5), 0),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_other_operations_have_one_flop_a_value_or_their_own(layer: nn.Module, other: int) -> None:
    assert flops(layer) == (0, 0, other)


def test_flops_are_two_a_product_and_the_others() -> None:
    one = counted(nn.Conv2d(3, 5, 1), InstanceNorm(5), nn.ReLU())
    products, out = 4 * 6 * 3 * 5, 4 * 6 * 5
    assert one.flops == 2 * products + out + 5 * out + out
    assert one.as_in_table_5 == products + 5 * out


def test_memory_is_that_of_the_tensors_alive_at_once() -> None:
    """A convolution holds what it takes and what it makes; what was taken goes with the next."""
    wide, narrow = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 1, 1)
    assert counted(wide).peak_bytes == 4 * (3 + 8) * 24
    assert counted(wide, narrow).peak_bytes == 4 * (3 + 8 + 1) * 24  # the input stays
    assert counted(nn.ReLU(inplace=True)).peak_bytes == 4 * VALUES


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_network_counts_as_torch_does(name: str) -> None:
    network = build_network(name, {"features": (2, 4)}, n_channels=2, n_classes=3, seed=0)
    size = tuple(4 * step for step in network.stride)
    one = count_operations(network, size, batch=2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(2, 2, *size))
    assert one.multiply_adds > 0
    assert 2 * one.multiply_adds == counter.get_total_flops()
    assert one.norm_flops > 0
    assert one.other_flops > 0
    assert sum(one.parts.values()) == one.multiply_adds
    assert {"encoder", "bottleneck", "decoder"} < set(one.parts)


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_parameter_belongs_to_one_part(name: str) -> None:
    network = build_network(name, {"features": (2, 4)}, n_channels=2, n_classes=3, seed=0)
    counts = count_parameters(network)
    assert sum(counts.values()) == sum(weight.numel() for weight in network.parameters())
    assert list(counts)[:2] == ["encoder", "bottleneck"]


def test_parts_without_named_depths_are_the_modules() -> None:
    network = Around(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 2, 1))
    assert count_parameters(network) == {"layers": 3 * 5 + 5 + 5 * 2 + 2}
    assert dict(count_operations(network, (2, 2)).parts) == {"layers": 4 * (15 + 10)}


def test_a_network_is_left_as_it_was() -> None:
    network = build_network("unet_2d", {"features": (2, 4)}, n_channels=1, n_classes=2, seed=0)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    count_operations(network, (8, 8))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    after = network.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_coarse_heads_count_only_if_asked() -> None:
    config = {"features": (2, 4, 8), "deep_supervision": True}
    network = build_network("plain_unet", config, n_channels=1, n_classes=2, seed=0)
    one, all_heads = (count_operations(network, (8, 8, 8), all_heads=are) for are in (False, True))
    assert all_heads.multiply_adds - one.multiply_adds == 4**3 * 4 * 2


def test_a_size_that_does_not_fit_is_refused() -> None:
    network = build_network("unet_2d", {"features": (2, 4)}, n_channels=1, n_classes=2, seed=0)
    with pytest.raises(ConfigError, match=r"got \(7, 8\). Nearest valid: \(8, 8\)"):
        count_operations(network, (7, 8))
