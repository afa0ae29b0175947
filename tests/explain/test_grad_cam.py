"""Grad-CAM against numbers by hand, a finite-difference oracle, and its promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from acinus.errors import ConfigError, GridError
from acinus.explain import grad_cam, write_heat_maps
from acinus.networks import SegmentationNetwork, build_network


class Tiny(SegmentationNetwork):
    """x → (x, -x) → mean of 2×2 blocks → nearest neighbour → logits by a 2×2 matrix."""

    n_dims = 2
    stride = (2, 2)
    n_channels = 1
    n_classes = 2

    def __init__(self, head: list[list[float]]) -> None:
        super().__init__()
        self.split = nn.Conv2d(1, 2, 1, bias=False)
        self.split.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Conv2d(2, 2, 1, bias=False)
        self.head.weight.data = torch.tensor(head).reshape(2, 2, 1, 1)

    @property
    def depths(self) -> list[tuple[str, nn.Module]]:
        return [("fine", self.split), ("coarse", self.pool)]

    def forward(self, images: Tensor) -> Tensor:
        coarse = self.pool(self.split(images))
        logits: Tensor = self.head(functional.interpolate(coarse, scale_factor=2.0))
        return logits


IMAGE = torch.tensor(
    [[[4.0, 4.0, 0.0, 0.0], [4.0, 4.0, 0.0, 0.0], [2.0, 2.0, -2.0, -2.0], [2.0, 2.0, -2.0, -2.0]]]
)


def test_numbers_by_hand() -> None:
    """Label 1 has logit 3 A₁ + A₂ = 3x - x. Region: the upper left 2×2 block, 4 of 16 pixels.

    Fine: the gradient of Σ logits in a pixel of that block is the weight, elsewhere 0; mean
    α = (3, 1) · 4/16; evidence = ReLU(0.75 x - 0.25 x) = ReLU(x / 2): peak 2.
    Coarse: the gradient of that block is 4 times the weight, the mean over 4 blocks is
    α = (3, 1); evidence ReLU(3 x - x) on blocks [[8, 0], [4, 0]]: peak 8, then linear.
    """
    region = torch.zeros(4, 4, dtype=torch.bool)
    region[:2, :2] = True
    fine, coarse = grad_cam(Tiny([[0.0, 0.0], [3.0, 1.0]]), IMAGE, 1, region=region)
    assert (fine.depth, fine.name, coarse.depth, coarse.name) == (1, "fine", 2, "coarse")
    assert fine.peak == pytest.approx(2)
    np.testing.assert_allclose(fine.map, np.maximum(IMAGE[0].numpy(), 0) / 4, atol=1e-6)
    assert coarse.peak == pytest.approx(8)
    column = np.array([8, 0.75 * 8 + 0.25 * 4, 0.25 * 8 + 0.75 * 4, 4])
    row = np.array([1, 0.75, 0.25, 0])
    np.testing.assert_allclose(coarse.map, np.outer(column, row) / 8, atol=1e-6)
    assert fine.map.dtype == np.float32
    assert fine.note == coarse.note == ""


def test_predicted_region_is_where_the_label_wins() -> None:
    """Logits (0, 2x): label 1 wins where x > 0, in 8 of 16 pixels: twice α of a 2×2 block."""
    network = Tiny([[0.0, 0.0], [3.0, 1.0]])
    fine, _ = grad_cam(network, IMAGE, 1)
    assert fine.peak == pytest.approx(0.5 * 2 * 4)
    everywhere, _ = grad_cam(network, IMAGE, 1, region="all")
    assert everywhere.peak == pytest.approx(8)
    np.testing.assert_allclose(fine.map, everywhere.map)


def test_evidence_against_a_label_is_not_shown() -> None:
    """Label 1 likes dark pixels: its logit is -x, so that only the dark block is evidence."""
    fine, _ = grad_cam(Tiny([[0.0, 0.0], [0.0, 1.0]]), IMAGE, 1, region="all")
    np.testing.assert_allclose(fine.map, (IMAGE[0].numpy() < 0).astype(float))


def test_labels_are_told_apart() -> None:
    network = Tiny([[1.0, 0.0], [0.0, 1.0]])
    bright, dark = grad_cam(network, IMAGE, 0)[0].map, grad_cam(network, IMAGE, 1)[0].map
    assert not (bright.astype(bool) & dark.astype(bool)).any()
    np.testing.assert_array_equal(bright > 0, IMAGE[0].numpy() > 0)
    np.testing.assert_array_equal(dark > 0, IMAGE[0].numpy() < 0)


def unet(seed: int = 3, **config: object) -> SegmentationNetwork:
    settings = {"features": (3, 4, 5), **config}
    return build_network("unet_2d", settings, n_channels=2, n_classes=3, seed=seed)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(9))


def channel_slope(
    network: SegmentationNetwork, module: nn.Module, image: Tensor, mask: Tensor, channel: int
) -> float:
    """Mean gradient of a depth's channel, by adding a little to all of its pixels."""
    step, scores, n_pixels = 1e-6, [], 1

    for sign in (1, -1):

        def add(_m: nn.Module, _i: tuple[Tensor, ...], output: Tensor, sign: int = sign) -> Tensor:
            nonlocal n_pixels
            n_pixels = output[0, 0].numel()
            output = output.clone()
            output[:, channel] += sign * step
            return output

        handle = module.register_forward_hook(add)
        with torch.no_grad():
            scores.append(float(network(image[None])[0, 1][mask].sum()))
        handle.remove()
    return (scores[0] - scores[1]) / (2 * step) / n_pixels


def test_all_depths_of_a_unet_equal_finite_differences() -> None:
    network = unet(normalisation="instance").double().eval()
    image = noise(2, 16, 24).double()
    mask = torch.zeros(16, 24, dtype=torch.bool)
    mask[4:9, 6:15] = True
    maps = grad_cam(network, image, 1, region=mask)
    assert len(maps) == 5
    for heat, (name, module) in zip(maps, network.depths, strict=True):
        kept: list[Tensor] = []
        handle = module.register_forward_hook(lambda _m, _i, out, kept=kept: kept.append(out))
        with torch.no_grad():
            network(image[None])
        handle.remove()
        activation = kept[0][0]
        slopes = [
            channel_slope(network, module, image, mask, channel)
            for channel in range(len(activation))
        ]
        weighted = sum(slope * plane for slope, plane in zip(slopes, activation, strict=True))
        expected = functional.interpolate(
            torch.relu(torch.as_tensor(weighted))[None, None], size=(16, 24), mode="bilinear"
        )[0, 0].numpy()
        assert heat.name == name
        assert heat.peak == pytest.approx(expected.max(), rel=1e-4)
        np.testing.assert_allclose(heat.map, expected / expected.max(), atol=1e-4)


def test_a_slice_of_any_size_is_padded_and_the_maps_lie_on_it() -> None:
    maps = grad_cam(unet(), noise(2, 30, 21), 2, region="all")
    assert {heat.map.shape for heat in maps} == {(30, 21)}
    for heat in maps:
        assert heat.map.min() >= 0
        assert heat.map.max() == pytest.approx(1) or (heat.note and not heat.map.any())


def test_padding_adds_nothing_to_the_score() -> None:
    """Only pixels of the image are summed: the same slice padded by hand gives the same maps."""
    network, image = unet().eval(), noise(2, 14, 22)
    by_hand = functional.pad(image, (1, 1, 1, 1))
    inside = torch.zeros(16, 24, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    ours = grad_cam(network, image, 1, region="all")
    theirs = grad_cam(network, by_hand, 1, region=inside)
    for one, other in zip(ours, theirs, strict=True):
        cut = other.map[1:-1, 1:-1] * other.peak
        np.testing.assert_allclose(one.map * one.peak, cut, atol=1e-6)


def test_the_volume_of_a_3d_network_is_explained_too() -> None:
    network = build_network("unet_3d", {"features": (2, 3)}, n_channels=1, n_classes=2, seed=1)
    maps = grad_cam(network, noise(1, 5, 6, 8), 1, region="all")
    assert [heat.map.shape for heat in maps] == [(5, 6, 8)] * 3


def state_of(network: nn.Module) -> tuple[object, ...]:
    return (
        [module.training for module in network.modules()],
        [len(module._forward_hooks) + len(module._backward_hooks) for module in network.modules()],
        [None if w.grad is None else w.grad.clone() for w in network.parameters()],
        [weight.requires_grad for weight in network.parameters()],
        {key: value.clone() for key, value in network.state_dict().items()},
    )


def same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_network_and_image_are_as_before() -> None:
    network, image = unet().train(), noise(2, 16, 16)
    dict(network.depths)["bottleneck 3"].eval()  # a mixed mode must survive as well
    network(noise(1, 2, 16, 16)).sum().backward()
    copy, before = image.clone(), state_of(network)
    grad_cam(network, image, 1)
    assert same(before, state_of(network))
    assert torch.equal(image, copy)
    assert not image.requires_grad


def test_hooks_and_mode_are_restored_after_a_failure() -> None:
    network = Tiny([[1.0, 0.0], [0.0, 1.0]]).train()

    def fail(images: Tensor) -> Tensor:
        network.split(images)
        raise RuntimeError("out of memory")

    network.forward = fail  # type: ignore[method-assign]
    before = state_of(network)
    with pytest.raises(RuntimeError, match="out of memory"):
        grad_cam(network, IMAGE, 1)
    assert same(before, state_of(network))


def test_frozen_weights_and_a_caller_without_gradients_change_nothing() -> None:
    network, image = unet().eval(), noise(2, 16, 16)
    expected = grad_cam(network, image, 1, region="all")
    network.requires_grad_(False)
    with torch.no_grad():
        found = grad_cam(network, image, 1, region="all")
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.map, other.map)


def test_other_weights_give_another_map() -> None:
    """Sanity check of Adebayo et al. 2018: a map that ignores the weights explains nothing."""
    image = noise(2, 32, 32)
    first = grad_cam(unet(1), image, 1, region="all")
    second = grad_cam(unet(2), image, 1, region="all")
    again = grad_cam(unet(1), image, 1, region="all")
    for one, other, same_one in zip(first, second, again, strict=True):
        np.testing.assert_array_equal(one.map, same_one.map)
        if one.map.any() and other.map.any():
            assert np.corrcoef(one.map.ravel(), other.map.ravel())[0, 1] < 0.95


def test_a_trained_network_looks_at_the_structure() -> None:
    """A small U-Net learns a bright disc; its last depth then finds the disc, in each place."""
    network = build_network("unet_2d", {"features": (4, 8)}, n_channels=1, n_classes=2, seed=0)
    grid = torch.stack(torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij"))
    centres = torch.tensor([[6, 6], [8, 16], [16, 7], [15, 15], [12, 12], [17, 17]])
    masks = ((grid[None] - centres[:, :, None, None]) ** 2).sum(1) < 12
    images = masks[:, None].float() + 0.2 * noise(6, 1, 24, 24)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), masks.long()).backward()
        optimiser.step()
    for image, mask in zip(images, masks, strict=True):
        last = grad_cam(network, image, 1)[-1].map
        assert last[mask.numpy()].mean() > 5 * last[~mask.numpy()].mean()


def test_an_empty_region_gives_flat_maps_and_says_so() -> None:
    network = Tiny([[0.0, 0.0], [0.0, 0.0]])  # label 0 wins every tie
    for heat in grad_cam(network, IMAGE, 1):
        assert not heat.map.any()
        assert heat.map.shape == (4, 4)
        assert heat.peak == 0
        assert heat.note == "the network predicts no pixel of this label"
    empty = np.zeros((4, 4), dtype=bool)
    assert grad_cam(network, IMAGE, 1, region=empty)[0].note == "the given region has no pixel"


def test_a_vanishing_gradient_gives_flat_maps_and_says_so() -> None:
    for heat in grad_cam(Tiny([[0.0, 0.0], [0.0, 0.0]]), IMAGE, 1, region="all"):
        assert not heat.map.any()
        assert heat.note.startswith("no positive evidence at this depth")


def test_faulty_input_is_named() -> None:
    network = Tiny([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ConfigError, match="label to explain must be from 0 to 1; got 2"):
        grad_cam(network, IMAGE, 2)
    with pytest.raises(ConfigError, match="region must be 'predicted', 'all' or a mask"):
        grad_cam(network, IMAGE, 1, region="reference")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"must be \(C, Y, X\) with C = 1; got \(2, 4, 4\)"):
        grad_cam(network, torch.zeros(2, 4, 4), 1)
    with pytest.raises(GridError, match=r"image's grid \(4, 4\); got \(4, 5\)"):
        grad_cam(network, IMAGE, 1, region=np.ones((4, 5), dtype=bool))


def test_maps_are_read_back_without_pickle(tmp_path: Path) -> None:
    maps = grad_cam(unet(), noise(2, 16, 16), 1, region="all")
    write_heat_maps(
        tmp_path / "maps.npz",
        maps,
        image=np.ones((16, 16)),
        reference=np.eye(16, dtype=int),
        case="orbit_001",
        slice_index=7,
        label="lacrimal_right",
    )
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["maps"], np.stack([heat.map for heat in maps]))
        assert found["names"].tolist()[0] == "encoder 1"
        assert found["reference"].dtype == bool
        assert (str(found["case"]), int(found["slice_index"])) == ("orbit_001", 7)
        assert str(found["label"]) == "lacrimal_right"
    assert [path.name for path in tmp_path.iterdir()] == ["maps.npz"]
