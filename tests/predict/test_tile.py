"""Laws of the sliding window: it covers, it blends to a mean, and tiled equals whole."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acinus.errors import ConfigError, DataError, GridError
from acinus.predict.tile import (
    Blend,
    pad_to,
    predict_tiled,
    stream_tiled,
    tile_positions,
    tile_weights,
)
from acinus.types import Array

BLENDS: list[Blend] = ["constant", "gaussian"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pointwise(tiles: Tensor) -> Tensor:
    """A network that sees one voxel: two classes from the first channel."""
    return torch.softmax(torch.stack([tiles[:, 0], 1 - tiles[:, 0] ** 2], dim=1), dim=1)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.75])
@pytest.mark.parametrize(
    ("size", "patch"),
    [
        ((37, 50), (16, 16)),
        ((16, 16), (16, 16)),
        ((5, 40), (16, 8)),
        ((9, 11), (16, 16)),
        ((17, 1), (1, 1)),
        ((10, 13, 9), (4, 8, 8)),
        ((3, 13, 20), (4, 8, 8)),
    ],
)
def test_tiled_equals_whole_for_a_pointwise_network(
    size: tuple[int, ...], patch: tuple[int, ...], overlap: float, blend: Blend
) -> None:
    image = noise(1, *size)
    probs = predict_tiled(pointwise, image, patch, overlap=overlap, blend=blend, batch=3)
    assert probs.shape == (2, *size)
    torch.testing.assert_close(probs, pointwise(image[None])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_a_stack_is_predicted_slice_by_slice_and_equals_each_slice_alone(batch: int) -> None:
    network = local_network()
    stack = noise(1, 7, 30, 21)
    whole = predict_tiled(network, stack, (16, 12), batch=batch)
    for z in range(7):
        alone = predict_tiled(network, stack[:, z], (16, 12))
        torch.testing.assert_close(whole[:, z], alone, rtol=1e-5, atol=1e-6)


def local_network() -> nn.Module:
    """Two padded 3×3 convolutions: each output sees two voxels around it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)]
        return nn.Sequential(*layers, nn.Softmax(dim=1)).eval()


def test_tiled_equals_whole_where_no_tile_border_is_within_reach() -> None:
    """Without overlap only voxels within two of a seam may differ; with 25% the seams fade."""
    network, image = local_network(), noise(1, 48, 48)
    whole = network(image[None])[0].detach()
    tiled = predict_tiled(network, image, (16, 16), overlap=0.0, blend="constant")
    seams = [15.5, 31.5]
    rows = torch.tensor([min(abs(i - seam) for seam in seams) > 2 for i in range(48)])
    inside = rows[:, None] & rows[None, :]
    error = (tiled - whole).abs().amax(0)
    assert float(error[inside].max()) < 1e-6
    assert float(error[~inside].max()) > 1e-3
    faded = predict_tiled(network, image, (16, 16), overlap=0.5, blend="gaussian")
    assert float((faded - whole).abs().max()) < float(error.max())


def slow_oracle(image: Array, patch: tuple[int, int], overlap: float, blend: str) -> Array:
    """One tile, one voxel row at a time, float64; each tile is answered by its own mean."""
    size = image.shape
    total, mass = np.zeros(size), np.zeros(size)
    for y, x in itertools.product(
        tile_positions(size[0], patch[0], overlap), tile_positions(size[1], patch[1], overlap)
    ):
        value = image[y : y + patch[0], x : x + patch[1]].mean()
        for i, j in np.ndindex(*patch):
            weight = 1.0
            if blend == "gaussian":
                u = (i - patch[0] // 2) / (patch[0] / 8)
                v = (j - patch[1] // 2) / (patch[1] / 8)
                weight = float(np.exp(-0.5 * (u * u + v * v)))
            total[y + i, x + j] += weight * value
            mass[y + i, x + j] += weight
    return np.asarray(total / mass)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.75])
def test_blending_is_the_weighted_mean_of_the_tiles(overlap: float, blend: Blend) -> None:
    image = noise(1, 21, 34).double()

    def mean_of_tile(tiles: Tensor) -> Tensor:
        return tiles.mean(dim=(2, 3), keepdim=True).expand(-1, 1, 8, 10)

    probs = predict_tiled(mean_of_tile, image, (8, 10), overlap=overlap, blend=blend, batch=5)
    expected = slow_oracle(image[0].numpy(), (8, 10), overlap, blend)
    # The Gaussian is rounded to 16 bits.
    np.testing.assert_allclose(probs[0].numpy(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("patch", [1, 5, 16])
def test_positions_cover_and_overlap_enough(patch: int, overlap: float) -> None:
    for size in range(1, 70):
        starts = tile_positions(size, patch, overlap)
        covered = {index for start in starts for index in range(start, start + patch)}
        assert covered >= set(range(size))
        assert starts[0] == 0
        assert len(set(starts)) == len(starts)
        if size > patch:
            assert starts[-1] == size - patch
            largest = max(b - a for a, b in itertools.pairwise(starts))
            # Rounding to whole voxels may part two neighbours by less than a voxel more.
            assert largest < max(1, patch * (1 - overlap)) + 1
        else:
            assert starts == (0,)


def test_positions_by_hand() -> None:
    assert tile_positions(512, 128, 0.25) == (0, 96, 192, 288, 384)
    assert tile_positions(110, 64, 0.5) == (0, 23, 46)
    assert tile_positions(256, 128, 0.25) == (0, 64, 128)
    assert tile_positions(256, 128, 0.0) == (0, 128)
    assert tile_positions(60, 10, 0.9) == tuple(range(51))


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.75])
def test_probabilities_of_a_constant_answer_sum_to_one(overlap: float, blend: Blend) -> None:
    def constant(tiles: Tensor) -> Tensor:
        return torch.tensor([0.2, 0.3, 0.5])[None, :, None, None].expand(len(tiles), 3, 16, 16)

    probs = predict_tiled(constant, noise(1, 50, 61), (16, 16), overlap=overlap, blend=blend)
    torch.testing.assert_close(probs.sum(0), torch.ones(50, 61))
    torch.testing.assert_close(probs[2], torch.full((50, 61), 0.5))


def test_weights_are_positive_and_fall_to_one_sd_at_an_eighth() -> None:
    weights = tile_weights((17, 33), "gaussian")
    torch.testing.assert_close(weights, weights.flip(0, 1))  # of odd patches: they have a middle
    assert float(weights.max()) == 1
    assert float(weights.min()) > 0
    line = tile_weights((161,), "gaussian")  # sd 20.125
    assert float(line[80 + 20]) == pytest.approx(np.exp(-0.5 * (20 / 20.125) ** 2), rel=1e-3)
    assert tile_weights((3, 4), "constant").eq(1).all()
    assert float(tile_weights((32, 32, 32), "gaussian").min()) > 0


def recorded() -> dict[str, list[dict[str, object]]]:
    """What nnU-Net 2.8.1 answers, see the note in the file."""
    path = Path(__file__).parents[1] / "data" / "nnunet_sliding_window.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_positions_are_those_of_nnunet() -> None:
    for case in recorded()["steps"]:
        step, sizes, patch = case["tile_step_size"], case["image_size"], case["tile_size"]
        ours = [
            list(tile_positions(size, tile, 1 - step))
            for size, tile in zip(sizes, patch, strict=True)
        ]
        assert ours == case["steps"]


def test_weights_are_those_of_nnunet_to_the_bit() -> None:
    for case in recorded()["gaussians"]:
        ours = (tile_weights(case["tile_size"], "gaussian") * 10).half()
        digest = hashlib.sha256(ours.contiguous().numpy().tobytes()).hexdigest()
        assert digest == case["sha256"], case["tile_size"]


@pytest.mark.parametrize(("size", "patch"), [((40, 9), (16, 16)), ((23, 17, 19), (8, 8, 8))])
def test_slabs_follow_each_other_without_gap_and_make_the_whole(
    size: tuple[int, ...], patch: tuple[int, ...]
) -> None:
    image = noise(1, *size)
    slabs = list(stream_tiled(pointwise, image, patch, overlap=0.5, batch=2))
    reached = 0
    for slab in slabs:
        assert slab.start == reached
        reached += slab.maps.shape[1]
    assert reached == size[0]
    assert len(slabs) > 1
    torch.testing.assert_close(
        torch.cat([slab.maps for slab in slabs], 1), predict_tiled(pointwise, image, patch)
    )


@pytest.mark.parametrize(("n_slices", "batch"), [(5, 4), (16, 16), (3, 100), (40, 8)])
def test_batches_are_full_but_never_too_large(n_slices: int, batch: int) -> None:
    sizes: list[int] = []

    def note(tiles: Tensor) -> Tensor:
        sizes.append(len(tiles))
        return pointwise(tiles)

    predict_tiled(note, noise(1, n_slices, 40, 40), (16, 16), overlap=0.25, batch=batch)
    assert max(sizes) <= batch
    assert sum(sizes) == n_slices * 9
    assert len(sizes) <= 9 * -(-n_slices // batch)


def test_streaming_slices_holds_only_a_batch_of_probabilities() -> None:
    """The whole would be 8 classes × 64 × 128 × 128 × 4 B = 34 MB."""
    image = torch.zeros(1, 64, 128, 128)

    def eight(tiles: Tensor) -> Tensor:
        return tiles.expand(-1, 8, -1, -1)

    largest = max(slab.maps.numel() for slab in stream_tiled(eight, image, (64, 64), batch=4))
    assert largest == 8 * 4 * 128 * 128


def test_the_network_runs_without_gradients_and_nothing_is_changed() -> None:
    network, image = local_network(), noise(1, 20, 20)
    copy = image.clone()
    probs = predict_tiled(network, image, (16, 16))
    assert not probs.requires_grad
    assert torch.equal(image, copy)
    assert torch.is_grad_enabled()
    slabs = stream_tiled(network, image, (16, 16))
    next(iter(slabs))
    assert torch.is_grad_enabled()


def test_channels_reach_the_network_together() -> None:
    image = noise(3, 2, 20, 20)

    def second(tiles: Tensor) -> Tensor:
        return tiles[:, 1:2]

    probs = predict_tiled(second, image, (16, 16))
    torch.testing.assert_close(probs[0], image[1])


def test_an_image_smaller_than_the_patch_is_padded_around_its_centre_by_its_edge() -> None:
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    seen: list[Tensor] = []

    def note(tiles: Tensor) -> Tensor:
        seen.append(tiles.clone())
        return tiles

    assert torch.equal(predict_tiled(note, image, (4, 5)), image)
    assert seen[0][0, 0].tolist() == [
        [1, 1, 2, 2, 2],
        [1, 1, 2, 2, 2],
        [3, 3, 4, 4, 4],
        [3, 3, 4, 4, 4],
    ]


def test_padding_by_the_minimum_uses_that_of_each_channel_and_image() -> None:
    image = torch.stack([torch.full((1, 2), 5.0), torch.tensor([[-3.0, 7.0]])])
    grown, (rows, columns) = pad_to(image, (1, 4), "minimum")
    assert grown.tolist() == [[[5, 5, 5, 5]], [[-3, -3, 7, -3]]]
    assert torch.equal(grown[:, rows, columns], image)
    assert pad_to(image, (1, 4), "zero")[0].tolist() == [[[0, 5, 5, 0]], [[0, -3, 7, 0]]]
    same, places = pad_to(image, (1, 2))
    assert same is image
    assert places == (slice(0, 1), slice(0, 2))


def test_folds_averaged_inside_equal_the_average_of_their_maps() -> None:
    first, second = local_network(), pointwise_three
    image = noise(1, 40, 40)
    together = predict_tiled(lambda tiles: (first(tiles) + second(tiles)) / 2, image, (16, 16))
    apart = (predict_tiled(first, image, (16, 16)) + predict_tiled(second, image, (16, 16))) / 2
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-6)


def pointwise_three(tiles: Tensor) -> Tensor:
    return torch.softmax(torch.cat([tiles, -tiles, tiles * 0], 1), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overlap": 1.0}, r"overlap must be at least 0 and below 1; got 1\.0"),
        ({"overlap": -0.1}, r"overlap must be at least 0"),
        ({"blend": "linear"}, "must be 'constant' or 'gaussian'; got 'linear'"),
        ({"batch": 0}, "must be at least 1"),
        ({"padding": "wrap"}, "must be 'edge', 'minimum' or 'zero'; got 'wrap'"),
        ({"patch_vox": (0, 8)}, "must be at least 1"),
        ({"patch_vox": (8,) * 4}, "as many axes as the image"),
        ({"patch_vox": ()}, "as many axes as the image"),
    ],
)
def test_faulty_settings_are_named(settings: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"patch_vox": (8, 8), **settings}
    with pytest.raises(ConfigError, match=message):
        predict_tiled(pointwise, noise(1, 20, 20), **arguments)  # type: ignore[arg-type]


def test_an_image_without_voxels_and_a_forward_of_another_size_are_named() -> None:
    with pytest.raises(DataError, match=r"must have voxels on every axis; got \(1, 0, 20, 20\)"):
        predict_tiled(pointwise, torch.zeros(1, 0, 20, 20), (8, 8))
    with pytest.raises(GridError, match=r"got \(2, 1, 4, 8\)"):
        predict_tiled(lambda tiles: tiles[:, :, ::2], torch.zeros(1, 8, 14), (8, 8), overlap=0)
