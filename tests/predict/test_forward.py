"""Folds and mirrorings averaged: what is flipped, what changes places, and what is averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acinus.errors import PlanError
from acinus.plan import Plan
from acinus.plan.plan import DatasetFacts
from acinus.predict import class_maps
from acinus.predict.decode import decoder, paint_regions, strongest_class
from acinus.predict.forward import Mirroring, make_forward, mirrorings, swapped_classes
from acinus.prepare import prepare_case
from acinus.scans import Volume
from made_plan import made_plan

CPU = torch.device("cpu")


def volume_plan(**train: Any) -> Plan:
    """A plan for volumes that mirrors along three axes at test time."""
    average = train.pop("average", "probs")
    network = {"name": "unet_3d", "config": {"features": [4, 8], "normalisation": "instance"}}
    return made_plan(
        {
            "network": network,
            "train": {"patch_vox": [8, 16, 16], "mirror_axes": ["Z", "Y", "X"], **train},
            "predict": {"use_mirroring": True, "average": average, "overlap": 0.5},
        }
    )


def with_regions(plan: Plan) -> Plan:
    """The plan of nested regions: gland_right holds values 1 and 3, gland_left 2."""
    facts = plan.dataset.model_dump() | {"regions": {"gland_right": (1, 3), "gland_left": (2,)}}
    return plan.model_copy(update={"dataset": DatasetFacts(**facts)})


def test_all_combinations_of_the_axes_are_taken_and_sides_change_places() -> None:
    found = mirrorings(volume_plan())
    assert found[0] == Mirroring()
    assert [way.axes for way in found] == [
        (), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)
    ]  # fmt: skip
    swap = (0, 2, 1)
    assert all(way.order == (swap if 4 in way.axes else None) for way in found)


@pytest.mark.parametrize(
    ("train", "axes", "crossing"),
    [
        ({"mirroring": "none"}, [(), (2,), (3,), (2, 3)], None),
        ({"mirroring": "plain", "mirror_axes": ["X"]}, [(), (4,)], None),
        ({"mirror_axes": ["X"]}, [(), (4,)], (0, 2, 1)),
        ({"mirror_axes": []}, [()], None),
    ],
)
def test_mirroring_as_the_plan_allows(
    train: dict[str, Any], axes: list[tuple[int, ...]], crossing: tuple[int, ...] | None
) -> None:
    found = mirrorings(volume_plan(**train))
    assert [way.axes for way in found] == axes
    assert all(way.order is None for way in found if 4 not in way.axes)
    assert all(way.order == crossing for way in found if 4 in way.axes)


def test_slices_are_mirrored_within_their_plane_only() -> None:
    predict = {"use_mirroring": True}
    plan = made_plan({"train": {"mirror_axes": ["Z", "Y", "X"]}, "predict": predict})
    assert [way.axes for way in mirrorings(plan)] == [(), (2,), (3,), (2, 3)]
    sagittal = made_plan(
        {
            "prepare": {"slice_axis": "X", "spacing_mm": [None, 1.0, 1.0]},
            "train": {"mirror_axes": ["Y", "X"]},
            "predict": predict,
        }
    )
    assert sagittal.axes == ("X", "Z", "Y")
    assert mirrorings(sagittal) == (Mirroring(), Mirroring((3,)))
    assert mirrorings(made_plan()) == (Mirroring(),)


def test_the_axes_must_be_decided() -> None:
    plan = volume_plan()
    decision = plan.decisions["train.mirror_axes"].model_copy(update={"value": "auto"})
    with pytest.raises(PlanError, match="mirror_axes must be decided in a plan; got 'auto'"):
        mirrorings(plan.with_decisions({"train.mirror_axes": decision}))


def test_regions_of_a_pair_change_places_by_their_name() -> None:
    assert swapped_classes(volume_plan()) == (0, 2, 1)
    assert swapped_classes(with_regions(volume_plan())) == (1, 0)


class Positional(nn.Module):
    """Logits that depend on the place in the tile: three classes, asymmetric along each axis."""

    def __init__(self, n_classes: int = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, n_classes))

    def forward(self, tiles: Tensor) -> Tensor:
        z, y, x = (torch.linspace(-1, 1, size) for size in tiles.shape[2:])
        place = z[:, None, None] + 2 * y[None, :, None] + 3 * x[None, None, :]
        terms = [tiles * self.scale[k] + place * (k + 1) for k in range(len(self.scale))]
        return torch.cat(terms, dim=1)


@pytest.mark.parametrize("average", ["probs", "logits"])
@pytest.mark.parametrize("regions", [False, True])
def test_the_average_is_that_of_a_loop_over_folds_and_flips(average: str, regions: bool) -> None:
    plan = volume_plan(average=average)
    plan = with_regions(plan) if regions else plan
    networks = [Positional(plan.n_classes), Positional(plan.n_classes)]
    with torch.no_grad():
        networks[1].scale.mul_(-1)
    tiles = torch.randn(2, 1, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    swap = [1, 0] if regions else [0, 2, 1]
    answers = []
    for network in networks:
        for flips in range(8):
            axes = [axis for axis in (2, 3, 4) if flips >> (axis - 2) & 1]
            logits = network(torch.flip(tiles, axes))
            if average == "probs":
                logits = torch.sigmoid(logits) if regions else torch.softmax(logits, 1)
            logits = torch.flip(logits, axes)
            answers.append(logits[:, swap] if 4 in axes else logits)
    expected = torch.stack(answers).mean(0).detach()
    found = make_forward(networks, plan, CPU, "float32")(tiles)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.is_inference()


def test_a_mirrored_head_gives_the_mirrored_answer() -> None:
    """The law of swapped mirroring: flip the image, and right and left have changed places."""
    plan = volume_plan()
    forward = make_forward([Positional()], plan, CPU, "float32")
    tiles = torch.randn(1, 1, 8, 16, 16, generator=torch.Generator().manual_seed(2))
    straight, turned = forward(tiles), forward(tiles.flip(4)).flip(4)[:, [0, 2, 1]]
    torch.testing.assert_close(straight, turned, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_near_and_says_float32() -> None:
    plan = volume_plan()
    network = nn.Conv3d(1, 3, 3, padding=1)
    tiles = torch.randn(1, 1, 8, 16, 16, generator=torch.Generator().manual_seed(3))
    exact = make_forward([network], plan, CPU, "float32")(tiles)
    coarse = make_forward([network], plan, CPU, "bfloat16")(tiles)
    assert coarse.dtype == torch.float32
    assert 0 < float((exact - coarse).abs().max()) < 0.02


def test_no_network_is_named() -> None:
    with pytest.raises(PlanError, match="at least one network"):
        make_forward([], volume_plan(), CPU, "float32")(torch.zeros(1, 1, 8, 16, 16))


def test_the_strongest_class_is_that_of_argmax(rng: np.random.Generator) -> None:
    maps = torch.from_numpy(rng.integers(0, 4, size=(3, 5, 6, 7))).float()  # with ties
    expected = maps.numpy().argmax(axis=1)
    np.testing.assert_array_equal(strongest_class(maps).numpy(), expected)


def test_regions_are_painted_in_order_where_they_are_more_probable_than_not() -> None:
    maps = torch.tensor([[0.6, 0.6, 0.5, 0.1], [0.4, 0.7, 0.2, 0.9]]).reshape(1, 2, 1, 4)
    assert paint_regions(maps, (1, 4), 0.5).tolist() == [[[1, 4, 0, 4]]]
    assert paint_regions(maps, (4, 1), 0.5).tolist() == [[[4, 1, 0, 1]]]
    logits = torch.logit(maps)
    plan = with_regions(volume_plan())
    assert decoder(plan, "logits")(logits).tolist() == decoder(plan, "probs")(maps).tolist()
    assert decoder(plan, "logits")(logits).tolist() == [[[1, 2, 0, 2]]]


def test_a_volume_goes_through_in_tiles_of_the_plan() -> None:
    """Tiles of (8, 16, 16) at half overlap over (12, 24, 16): two, two and one along the axes."""
    seen: list[tuple[int, ...]] = []

    class Noting(Positional):
        def forward(self, tiles: Tensor) -> Tensor:
            seen.append(tuple(tiles.shape))
            return super().forward(tiles)

    plan = volume_plan(mirror_axes=[])
    array = np.random.default_rng(0).normal(size=(12, 24, 16)).astype(np.float32)
    prepared = prepare_case([Volume(array, np.eye(4))], plan.settings.prepare)
    maps = torch.cat([slab.maps for slab in class_maps([Noting()], plan, prepared)], dim=1)
    assert maps.shape == (3, 12, 24, 16)
    assert sum(shape[0] for shape in seen) == 2 * 2 * 1
    assert {shape[1:] for shape in seen} == {(1, 8, 16, 16)}
    torch.testing.assert_close(maps.sum(0), torch.ones(12, 24, 16))
