"""Our networks with nnU-Net's weights answer as nnU-Net's networks did.

Names, shapes and logits of every level were recorded from dynamic-network-architectures 0.4.4 by
scripts/record_nnunet_models.py; weights and images follow from formulas.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from acinus.networks import SegmentationNetwork, build_network
from acinus.predict.nnunet.architecture import read_architecture
from acinus.predict.nnunet.weights import our_weights
from made_nnunet import made_image, made_state, recorded


def ours_and_recorded(name: str) -> tuple[SegmentationNetwork, dict[str, Any]]:
    one = recorded()["networks"][name]
    choice = read_architecture({"architecture": one["architecture"]}, "plans")
    network = build_network(choice.name, choice.config, n_channels=2, n_classes=3, seed=0)
    network.load_state_dict(our_weights(made_state(name, one["shapes"])))
    return network.eval(), one


@pytest.mark.parametrize("name", list(recorded()["networks"]))
def test_logits_of_all_levels_are_the_recorded_ones(name: str) -> None:
    network, one = ours_and_recorded(name)
    images = torch.stack([torch.from_numpy(made_image((4, 16, 8), phase)) for phase in (0.3, 1.1)])
    images = images[None] if network.n_dims == 3 else images[None, :, 2]
    with torch.no_grad():
        levels = network.forward_levels(images)
    assert [list(level.shape) for level in levels] == [part["shape"] for part in one["logits"]]
    for level, part in zip(levels, one["logits"], strict=True):
        wanted = torch.tensor(part["values"]).reshape(part["shape"])
        torch.testing.assert_close(level, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("name", list(recorded()["networks"]))
def test_parameters_are_as_many_as_theirs(name: str) -> None:
    network, one = ours_and_recorded(name)
    theirs = sum(torch.Size(shape).numel() for shape in one["shapes"])
    assert sum(weight.numel() for weight in network.parameters()) == theirs


@pytest.mark.parametrize(
    ("n_dims", "stated"), [(3, 5_603_177), (2, 1_928_489)], ids=["3d_fullres", "2d"]
)
def test_the_networks_of_the_hippocampus_have_the_measured_sizes(n_dims: int, stated: int) -> None:
    """Counted in nnU-Net 2.8.1 for its plans of the 208 hippocampi."""
    config = {
        "features": (32, 64, 128, 256),
        "kernels": ((3,) * n_dims,),
        "deep_supervision": True,
    }
    with torch.device("meta"):
        network = build_network("plain_unet", config, n_channels=1, n_classes=3)
    assert sum(weight.numel() for weight in network.parameters()) == stated


def test_weights_are_drawn_as_nnunet_draws_them() -> None:
    """He's draw with the slope of the activation; residual blocks start as their shortcut."""
    config = {"features": (32, 64), "kernels": ((3, 3, 3),), "blocks_per_stage": (1, 2)}
    network = build_network("resenc_unet", config, n_channels=1, n_classes=2, seed=0)
    state = network.state_dict()
    convolution = state["encoder.1.0.first.conv.weight"]
    assert convolution.std() == pytest.approx((2 / (1 + 0.01**2) / (32 * 27)) ** 0.5, rel=0.02)
    up = state["up.0.weight"]  # (in, out, 2, 2, 2): torch takes out * 8 as the fan in
    assert up.std() == pytest.approx((2 / (1 + 0.01**2) / (32 * 8)) ** 0.5, rel=0.05)
    zeros = [name for name in state if ".second.norm." in name]
    assert len(zeros) == 6 and all(not state[name].any() for name in zeros)
    biases = [value for name, value in state.items() if name.endswith("conv.bias")]
    assert biases and all(not bias.any() for bias in biases)


def test_a_shorter_list_repeats_its_last_entry() -> None:
    short = {"features": (2, 3, 4), "kernels": ((1, 3, 3), (3, 3, 3)), "convs_per_stage": (1, 2)}
    full = {
        "features": (2, 3, 4),
        "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        "convs_per_stage": (1, 2, 2),
        "convs_per_stage_decoder": (2, 2),
    }
    networks = [
        build_network("plain_unet", config, n_channels=1, n_classes=2, seed=3)
        for config in (short, full)
    ]
    first, second = (network.state_dict() for network in networks)
    assert networks[0].stride == networks[1].stride == (4, 4, 4)
    assert all(torch.equal(first[name], second[name]) for name in second)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"kernels": ((3, 3), (3, 3, 3))}, "must be kernels of two or of three odd lengths"),
        ({"kernels": ((2, 3, 3),)}, "must be kernels of two or of three odd lengths"),
        ({"kernels": ()}, "must be kernels of two or of three odd lengths"),
        ({"strides": ((1, 1), (2, 2))}, "strides must be 3 numbers of at least 1 per level"),
        ({"strides": ((1, 1, 1), (0, 2, 2))}, "strides must be 3 numbers of at least 1"),
        ({"features": (2, 3), "kernels": ((3, 3, 3),) * 3}, "kernels must not have more entries"),
        ({"features": (2, 3), "convs_per_stage": (2, 2, 2)}, "convs_per_stage must be 1 to 2"),
        ({"features": (2, 3), "convs_per_stage_decoder": (0,)}, "decoder must be 1 to 1 numbers"),
    ],
)
def test_levels_that_do_not_fit_are_refused(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build_network("plain_unet", config, n_channels=1, n_classes=2)


def test_residual_blocks_are_counted_per_level() -> None:
    with pytest.raises(ValueError, match="blocks_per_stage must be 1 to 2 numbers of at least 1"):
        build_network(
            "resenc_unet",
            {"features": (2, 3), "blocks_per_stage": (1, 2, 3)},
            n_channels=1,
            n_classes=2,
        )
    with torch.device("meta"):
        network = build_network("resenc_unet", {"features": (2,) * 6}, n_channels=1, n_classes=2)
    blocks = [
        len({name.split(".")[2] for name in network.state_dict() if name.startswith(start)})
        for start in (f"encoder.{level}." for level in range(6))
    ]
    assert blocks == [2, 3, 4, 6, 6, 6]  # the stem stands before the one block of the first level
