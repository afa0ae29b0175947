"""Every registered network keeps the contract; a new one is tested by being registered."""

from __future__ import annotations

import math

import pytest
import torch

from acinus.config import Settings
from acinus.errors import ConfigError
from acinus.networks import (
    NETWORKS,
    SegmentationNetwork,
    build_network,
    check_size,
    nearest_valid_size,
    padded_size,
)
from acinus.networks.instance_norm import InstanceNorm

NARROW = {"features": (2, 3, 4)}
STAGED = ("pansegnet", "plain_unet", "resenc_unet")
SMALL = {"pansegnet": {"attention_width": 8, "n_layers": 2, "n_heads": 2}}
"""Settings without which a network would be too large for a test."""
HEADS_WITHOUT_BIAS = ("pansegnet",)
SLICES = {"kernels": ((3, 3),)}
THICK = {"kernels": ((1, 3, 3), (3, 3, 3)), "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2))}


def narrow(name: str, seed: int | None = 7, **config: object) -> SegmentationNetwork:
    settings = {**NARROW, **SMALL.get(name, {}), **config}
    return build_network(name, settings, n_channels=2, n_classes=3, seed=seed)


def variants(name: str) -> list[dict[str, object]]:
    """Settings of a network that change its course."""
    if name in STAGED:
        return [
            {"conv_bias": False, "deep_supervision": True},
            {
                **SLICES,
                "deep_supervision": True,
                "convs_per_stage_decoder": (1, 2),
                "conv_bias": False,
            },
            {**THICK, "conv_bias": False, "deep_supervision": True},
        ]
    return [
        {
            "normalisation": normalisation,
            "upsampling": upsampling,
            "activation": "relu",
            "deep_supervision": True,
        }
        for normalisation in ("batch", "instance", "none")
        for upsampling in ("transposed", "interpolated")
    ]


def images_for(network: SegmentationNetwork, multiples: tuple[int, ...]) -> torch.Tensor:
    size = [m * s for m, s in zip(multiples, network.stride, strict=False)]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, network.n_channels, *size, generator=generator)


@pytest.fixture(params=NETWORKS.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("multiples", [(1, 3, 2), (5, 1, 3), (3, 5, 1)])
def test_logits_lie_on_the_grid_of_the_image_and_are_finite(
    name: str, multiples: tuple[int, ...]
) -> None:
    network = narrow(name)
    images = images_for(network, multiples)
    logits = network(images)
    assert logits.shape == (3, 3, *images.shape[2:])
    assert torch.isfinite(logits).all()


def test_gradient_reaches_each_parameter(name: str) -> None:
    for config in variants(name):
        network = narrow(name, **config)
        # Weights drawn as 0 would hold back the gradient of those before them.
        generator = torch.Generator().manual_seed(2)
        for weight in network.parameters():
            weight.data.add_(0.1 * torch.randn(weight.shape, generator=generator))
        levels = network.forward_levels(images_for(network, (3, 3, 3)))
        total = sum((x * torch.randn(x.shape, generator=generator)).sum() for x in levels)
        assert isinstance(total, torch.Tensor)
        total.backward()
        without = [
            key
            for key, weight in network.named_parameters()
            if weight.grad is None or not torch.isfinite(weight.grad).all() or not weight.grad.any()
        ]
        assert without == [], config


def test_levels_halve_from_the_full_size_and_the_first_is_the_answer(name: str) -> None:
    network = narrow(name, deep_supervision=True)
    images = images_for(network, (2, 2, 2))
    with torch.no_grad():
        levels = network.eval().forward_levels(images)
        assert torch.equal(levels[0], network(images))
    sizes = [tuple(size // 2**n for size in images.shape[2:]) for n in range(2)]
    assert [tuple(level.shape[2:]) for level in levels] == sizes
    assert {level.shape[:2] for level in levels} == {(3, 3)}


def test_without_deep_supervision_there_is_one_level_and_no_coarse_head(name: str) -> None:
    network = narrow(name)
    images = images_for(network, (2, 2, 2))
    with torch.no_grad():
        (level,) = network.eval().forward_levels(images)
        assert torch.equal(level, network(images))
    deep = narrow(name, deep_supervision=True)
    # 1×1 of the 3 features of the middle level to 3 classes
    heads = 3 * 3 + (0 if name in HEADS_WITHOUT_BIAS else 3)
    count = [sum(weight.numel() for weight in net.parameters()) for net in (network, deep)]
    assert count[1] - count[0] == heads


def test_settings_survive_a_round_trip_and_defaults_are_valid(name: str) -> None:
    settings = NETWORKS.configure(name, {})
    assert isinstance(settings, Settings)
    again = NETWORKS.configure(name, settings.model_dump(mode="json"))
    assert again == settings


def test_weights_survive_a_round_trip(name: str) -> None:
    network, other = narrow(name, seed=1), narrow(name, seed=2)
    images = images_for(network, (2, 2, 2))
    network(images)  # moves running statistics, which must travel too
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(network.eval()(images), other.eval()(images), rtol=0, atol=0)


def test_same_seed_gives_same_weights_and_another_seed_others(name: str) -> None:
    first, second, third = (narrow(name, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


def test_a_seeded_draw_leaves_the_global_random_state_untouched(name: str) -> None:
    before = torch.random.get_rng_state()
    narrow(name, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_seed_the_global_random_state_decides(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        drawn = narrow(name, seed=None).state_dict()
    assert all(
        torch.equal(drawn[key], value) for key, value in narrow(name, 5).state_dict().items()
    )


def test_eval_mode_treats_each_patch_alone(name: str) -> None:
    network = narrow(name).eval()
    images = images_for(network, (2, 2, 2))
    with torch.no_grad():
        alone = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(network(images), alone, rtol=1e-5, atol=1e-5)


def test_depths_are_encoder_bottleneck_decoder_and_come_in_the_order_of_the_forward_pass(
    name: str,
) -> None:
    network = narrow(name)
    names = [depth for depth, _ in network.depths]
    assert names == ["encoder 1", "encoder 2", "bottleneck 3", "decoder 4", "decoder 5"]
    seen: list[str] = []
    sizes: list[int] = []

    def note(depth: str):  # type: ignore[no-untyped-def]
        def hook(_module, _inputs, output):  # type: ignore[no-untyped-def]
            seen.append(depth)
            sizes.append(output.shape[-1])

        return hook

    for depth, module in network.depths:
        module.register_forward_hook(note(depth))
    network(images_for(network, (2, 2, 2)))
    assert seen == names
    assert sizes == [8, 4, 2, 4, 8]


def test_the_default_has_nine_depths(name: str) -> None:
    with torch.device("meta"):
        network = build_network(name, {}, n_channels=1, n_classes=2)
    assert len(network.depths) == 9


def test_a_size_that_the_stride_does_not_divide_is_refused_with_the_nearest(name: str) -> None:
    network = narrow(name)
    images = torch.zeros(1, 2, *(12, 9, 16)[3 - network.n_dims :])
    with pytest.raises(ConfigError, match=r"divisible by the network stride \(4, 4.*Nearest valid"):
        network(images)


def test_wrong_channels_and_wrong_axes_are_named(name: str) -> None:
    network = narrow(name)
    size = (4,) * network.n_dims
    with pytest.raises(ConfigError, match=r"C = 2; got \(1, 3, 4, 4"):
        network(torch.zeros(1, 3, *size))
    with pytest.raises(ConfigError, match=r"network input must be \(N, C, "):
        network(torch.zeros(1, *size))


def test_unknown_name_and_key_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'unet2d'.*Did you mean 'unet_2d'"):
        build_network("unet2d", {}, n_channels=1, n_classes=2)
    with pytest.raises(ConfigError, match=r"unknown key 'feature'\. Did you mean 'features'"):
        build_network("unet_2d", {"feature": (8, 16)}, n_channels=1, n_classes=2)


@pytest.mark.parametrize("features", [(8,), (8, 0)])
def test_impossible_widths_are_refused(features: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="at least two widths, each at least 1"):
        build_network("unet_2d", {"features": features}, n_channels=1, n_classes=2)


@pytest.mark.parametrize(("n_channels", "n_classes"), [(0, 2), (1, 0)])
def test_impossible_numbers_of_channels_are_refused(n_channels: int, n_classes: int) -> None:
    with pytest.raises(ConfigError, match=f"got {n_channels} and {n_classes}"):
        build_network("unet_2d", {}, n_channels=n_channels, n_classes=n_classes)


def count_by_hand(widths: tuple[int, ...], kernel: int, n_dims: int) -> int:
    """Weights of a U-Net of one channel and two classes, from the paper's figure."""
    taps, before, total = kernel**n_dims, 1, 0
    for width in widths:
        total += taps * (before * width + width * width) + 2 * 2 * width
        before = width
    for deep, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
        total += 2**n_dims * deep * width + width
        total += taps * (2 * width * width + width * width) + 2 * 2 * width
    return total + 2 * widths[0] + 2


@pytest.mark.parametrize(
    ("widths", "stated"),
    [
        ((64, 128, 256, 512, 1024), 31_036_546),
        ((16, 32, 64, 128, 256), 1_942_306),
        ((8, 16, 32, 64, 128), 486_418),
    ],
)
def test_parameter_count_is_the_stated_one(widths: tuple[int, ...], stated: int) -> None:
    from acinus.networks import unet

    with torch.device("meta"):
        network = build_network("unet_2d", {"features": widths}, n_channels=1, n_classes=2)
    assert sum(weight.numel() for weight in network.parameters()) == stated
    assert count_by_hand(widths, 3, 2) == stated
    assert f"{stated:,}" in (unet.__doc__ or "")


def test_default_widths_are_those_of_the_paper() -> None:
    settings = NETWORKS.configure("unet_2d", {})
    assert settings.model_dump()["features"] == (64, 128, 256, 512, 1024)


def test_activations_neither_vanish_nor_explode_at_the_start() -> None:
    """He's draw keeps the spread of the features over the depth even without normalisation."""
    network = build_network(
        "unet_2d",
        {"features": (16, 32, 64, 128), "normalisation": "none"},
        n_channels=1,
        n_classes=2,
        seed=3,
    )
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    spread = float(network(images).detach().std())
    assert 0.1 < spread < 10


def test_interpolated_upsampling_equals_interpolation_before_the_convolution() -> None:
    network = narrow("unet_2d", upsampling="interpolated")
    convolution, interpolate = network.up[0]  # type: ignore[index]
    features = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        interpolate(convolution(features)), convolution(interpolate(features))
    )


@pytest.mark.parametrize(
    ("size", "stride", "nearest", "padded"),
    [
        ((40, 100, 96), (8, 16, 16), (40, 96, 96), (40, 112, 96)),
        ((1, 24), (16, 16), (16, 32), (16, 32)),
        ((128, 128), (16, 16), (128, 128), (128, 128)),
    ],
)
def test_valid_sizes(
    size: tuple[int, ...],
    stride: tuple[int, ...],
    nearest: tuple[int, ...],
    padded: tuple[int, ...],
) -> None:
    assert nearest_valid_size(size, stride) == nearest
    assert padded_size(size, stride) == padded
    assert all(math.gcd(p, s) == s for p, s in zip(padded, stride, strict=True))


def test_size_message_is_the_agreed_one() -> None:
    with pytest.raises(ConfigError) as caught:
        check_size((40, 100, 96), (8, 16, 16), what="train.patch_vox")
    assert str(caught.value) == (
        "train.patch_vox must be divisible by the network stride (8, 16, 16); "
        "got (40, 100, 96). Nearest valid: (40, 96, 96)."
    )
    with pytest.raises(ConfigError, match=r"must have 2 axes like the network stride"):
        check_size((40, 100, 96), (16, 16))
    with pytest.raises(ConfigError, match=r"Nearest valid: \(16, 16\)"):
        check_size((0, 16), (16, 16))


@pytest.mark.parametrize("name", ["unet_2d", "unet_3d"])
def test_the_layout_in_memory_changes_nothing_but_rounding(name: str) -> None:
    network = narrow(name).eval()
    assert network.memory_format != torch.contiguous_format
    images = images_for(network, (2, 2, 2))
    with torch.no_grad():
        fast = network(images)
        network.memory_format = torch.contiguous_format
        plain = network.to(memory_format=torch.contiguous_format)(images)
    assert fast.is_contiguous()
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (2, 3, 5, 4, 7)])
def test_instance_normalisation_is_that_of_the_definition(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator) * 3 + 2
    layer = InstanceNorm(shape[1])
    layer.weight.data = torch.rand(shape[1], generator=generator)
    layer.bias.data = torch.randn(shape[1], generator=generator)
    for sample, answer in zip(features, layer(features), strict=True):
        for channel, values in enumerate(sample.double()):
            scaled = (values - values.mean()) / (values.var(correction=0) + 1e-5).sqrt()
            wanted = layer.weight[channel] * scaled + layer.bias[channel]
            torch.testing.assert_close(answer[channel].double(), wanted, rtol=1e-5, atol=1e-5)
