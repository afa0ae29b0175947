"""Losses where the reference says little: ignored voxels, classes not annotated, regions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from acinus.errors import ConfigError
from acinus.losses import LOSSES, DeepSupervision, build_loss
from acinus.losses.overlap import OverlapConfig
from acinus.types import IGNORE

NAMES = LOSSES.names()
OVERLAPS = [name for name in NAMES if issubclass(LOSSES[name].config, OverlapConfig)]
REGIONS = ((1, 2, 3), (2,), (1, 3))
SHAPES = [(2, 6, 8), (2, 3, 4, 6)]


def made(
    shape: tuple[int, ...], n_outputs: int, n_values: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, K, ...) and target (N, ...) of one shape."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(shape[0], n_outputs, *shape[1:]))).float()
    return logits, torch.from_numpy(rng.integers(0, n_values, size=shape))


def ignoring(target: torch.Tensor, share: float = 0.3) -> torch.Tensor:
    hidden = torch.from_numpy(np.random.default_rng(5).random(target.shape) < share)
    return target.masked_fill(hidden, IGNORE)


# Ignored voxels


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
@pytest.mark.parametrize("shape", SHAPES)
def test_ignored_voxels_are_as_if_cut_out(
    name: str, regions: tuple[tuple[int, ...], ...] | None, shape: tuple[int, ...]
) -> None:
    """The loss over what is left equals that of a list of just those voxels."""
    logits, target = made((1, *shape[1:]), 3, 4 if regions else 3)
    target = ignoring(target)
    kept = (target != IGNORE)[0]
    loss = build_loss(name, {}, 3, regions=regions)
    cut = loss(logits[:, :, kept], target[:, kept])
    torch.testing.assert_close(loss(logits, target), cut)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
def test_ignored_voxels_get_no_gradient(
    name: str, regions: tuple[tuple[int, ...], ...] | None
) -> None:
    logits, target = made((2, 6, 8), 3, 4 if regions else 3)
    target = ignoring(target)
    logits.requires_grad_()
    build_loss(name, {}, 3, regions=regions)(logits, target).backward()
    assert logits.grad is not None
    strength = logits.grad.abs().sum(1)
    assert (strength[target == IGNORE] == 0).all()
    assert (strength[target != IGNORE] > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
@pytest.mark.parametrize("batch", [True, False])
def test_a_batch_without_any_reference_stays_finite(
    name: str, regions: tuple[tuple[int, ...], ...] | None, batch: bool
) -> None:
    """All is ignored and nothing annotated: nothing to learn, and no division by zero."""
    config = {"batch": batch} if name in OVERLAPS else {}
    loss = build_loss(name, config, 3, regions=regions)
    n_foreground = 3 if regions else 2
    for annotated in (None, torch.zeros(2, n_foreground, dtype=torch.bool)):
        logits, target = made((2, 6, 8), 3, 3)
        logits.requires_grad_()
        value = loss(logits, torch.full_like(target, IGNORE), annotated)
        value.backward()
        assert float(value.detach()) == pytest.approx(0, abs=1e-6)
        assert logits.grad is not None
        assert (logits.grad == 0).all()


# Classes that were not annotated


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
@pytest.mark.parametrize("batch", [True, False])
def test_all_annotated_equals_the_plain_loss(
    name: str, regions: tuple[tuple[int, ...], ...] | None, batch: bool
) -> None:
    config = {"batch": batch} if name in OVERLAPS else {}
    loss = build_loss(name, config, 3, regions=regions)
    everything = torch.ones(2, 3 if regions else 2, dtype=torch.bool)
    for seed in range(4):
        logits, target = made((2, 6, 8), 3, 4 if regions else 3, seed)
        target = ignoring(target)
        plain, marginal = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        first, second = loss(plain, target), loss(marginal, target, everything)
        torch.testing.assert_close(first, second)
        first.backward()
        second.backward()
        torch.testing.assert_close(plain.grad, marginal.grad)


@pytest.mark.parametrize("name", NAMES)
def test_marginal_loss_is_that_of_the_network_without_the_class(name: str) -> None:
    """Merging a class into the background is a softmax with one output less."""
    logits, target = made((2, 6, 8), 4, 4)
    annotated = torch.tensor([[True, False, True]]).expand(2, 3)
    background = torch.logsumexp(logits[:, [0, 2]], dim=1, keepdim=True)
    merged = torch.cat([background, logits[:, [1, 3]]], dim=1)
    without = torch.tensor([0, 1, 0, 2])[target]
    found = build_loss(name, {}, 4)(logits, target, annotated)
    torch.testing.assert_close(found, build_loss(name, {}, 3)(merged, without))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_predicted_as_the_unknown_class_does_not_matter(name: str) -> None:
    """Background may turn into the class that was not annotated and back at no cost."""
    _, target = made((2, 6, 8), 3, 2)
    annotated = torch.tensor([[True, False]]).expand(2, 2)
    as_background = 40.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    as_class_two = as_background[:, [2, 1, 0]]
    loss = build_loss(name, {"absent": "count"} if name in OVERLAPS else {}, 3)
    assert float(loss(as_background, target, annotated)) < 1e-5
    assert float(loss(as_class_two, target, annotated)) < 1e-5
    assert float(loss(as_class_two, target)) > 0.4


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_was_annotated_no_loss_rounds_below_0(name: str) -> None:
    """All probabilities together can round to more than 1, whose logarithm is above 0."""
    loss = build_loss(name, {}, 3)
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    for seed in range(40):
        logits, target = made((1, 5), 3, 3, seed)
        assert float(loss(3 * logits, target, nothing)) >= 0


@pytest.mark.parametrize("name", ["dice", "jaccard"])
def test_a_class_counts_only_the_samples_that_show_it_annotated(name: str) -> None:
    """Sample 1 does not know class 2: the overlap of class 2 is that of sample 0 alone."""
    logits, target = made((2, 6, 8), 3, 3)
    target[1][target[1] == 2] = 0
    annotated = torch.tensor([[True, True], [True, False]])
    loss = build_loss(name, {}, 3)
    probs = torch.softmax(logits, 1)

    def one(p: torch.Tensor, g: torch.Tensor) -> float:
        i, s, r = (p * g).sum(), p.square().sum(), g.sum()
        value = (2 * i + 1) / (s + r + 1) if name == "dice" else (i + 1) / (s + r - i + 1)
        return 1 - float(value)

    first = one(probs[:, 1], (target == 1).float())
    second = one(probs[0, 2], (target[0] == 2).float())
    assert float(loss(logits, target, annotated)) == pytest.approx((first + second) / 2, rel=1e-5)


def test_the_cross_entropy_of_merged_classes_by_hand() -> None:
    """p = 0.2, 0.5, 0.3; class 2 unknown: background counts 0.2 + 0.3, class 1 counts 0.5."""
    logits = torch.tensor([0.2, 0.5, 0.3]).log()[None, :, None].expand(1, 3, 2)
    target = torch.tensor([[0, 1]])
    annotated = torch.tensor([[True, False]])
    config = {"weights": (1.0, 1.0)}
    found = float(build_loss("weighted_ce", config, 3)(logits, target, annotated))
    assert found == pytest.approx(-math.log(0.5))
    found = float(build_loss("weighted_ce", config, 3)(logits, target))
    assert found == pytest.approx(-(math.log(0.2) + math.log(0.5)) / 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
def test_gradients_of_partial_references_equal_finite_differences(
    name: str, regions: tuple[tuple[int, ...], ...] | None
) -> None:
    logits, target = made((3, 6, 8), 3, 4 if regions else 3)
    target = ignoring(target)
    n_foreground = 3 if regions else 2
    annotated = torch.ones(3, n_foreground, dtype=torch.bool)
    annotated[0, 0] = annotated[1, 1] = False
    loss = build_loss(name, {}, 3, regions=regions)
    logits.requires_grad_()
    loss(logits, target, annotated).backward()
    assert logits.grad is not None
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        direction, step = torch.randn(logits.shape, generator=generator), 1e-2
        rise = loss(logits.detach() + step * direction, target, annotated)
        fall = loss(logits.detach() - step * direction, target, annotated)
        slope = float(rise - fall) / (2 * step)
        assert float((logits.grad * direction).sum()) == pytest.approx(slope, rel=2e-2, abs=2e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
def test_extreme_logits_of_partial_references_stay_finite(
    name: str, regions: tuple[tuple[int, ...], ...] | None
) -> None:
    logits, target = made((2, 6, 8), 3, 3)
    annotated = torch.ones(2, 3 if regions else 2, dtype=torch.bool)
    annotated[0, 0] = False
    for size in (1e4, 1e30):
        large = (size * logits).requires_grad_()
        value = build_loss(name, {}, 3, regions=regions)(large, target, annotated)
        value.backward()
        assert torch.isfinite(value)
        assert large.grad is not None
        assert torch.isfinite(large.grad).all()


# Regions


@pytest.mark.parametrize("name", NAMES)
def test_regions_by_hand(name: str) -> None:
    """Two regions of three voxels with values 1, 2, 0: whole = 1 + 2, core = 2."""
    probs = torch.tensor([[0.8, 0.6, 0.3], [0.1, 0.7, 0.2]])
    logits = torch.logit(probs)[None]
    target = torch.tensor([[1, 2, 0]])
    found = float(build_loss(name, {}, 2, regions=((1, 2), (2,)))(logits, target))
    dice = [1 - (2 * 1.4 + 1) / (1.09 + 2 + 1), 1 - (2 * 0.7 + 1) / (0.54 + 1 + 1)]
    jaccard = [1 - 2.4 / (1.09 + 2 - 1.4 + 1), 1 - 1.7 / (0.54 + 1 - 0.7 + 1)]
    inside = [math.log(0.8), math.log(0.6), math.log(0.7)]
    outside = [math.log(0.7), math.log(0.9), math.log(0.8)]
    expected = {
        "dice": sum(dice) / 2,
        "jaccard": sum(jaccard) / 2,
        "weighted_ce": -(10 * sum(inside) + sum(outside)) / 33,
        "dice_ce": sum(dice) / 2 - (sum(inside) + sum(outside)) / 6,
    }
    assert found == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_region_that_was_not_annotated_costs_nothing(name: str) -> None:
    logits, target = made((2, 6, 8), 3, 4)
    annotated = torch.tensor([[True, False, True]]).expand(2, 3)
    found = build_loss(name, {}, 3, regions=REGIONS)(logits, target, annotated)
    left = build_loss(name, {}, 2, regions=(REGIONS[0], REGIONS[2]))(logits[:, [0, 2]], target)
    torch.testing.assert_close(found, left)


@pytest.mark.parametrize("name", NAMES)
def test_following_the_gradient_finds_overlapping_regions(name: str) -> None:
    logits, target = made((2, 6, 8), 3, 4)
    logits = torch.zeros_like(logits).requires_grad_()
    loss = build_loss(name, {}, 3, regions=REGIONS)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(logits, target).backward()
        optimiser.step()
    for output, values in enumerate(REGIONS):
        assert torch.equal(logits[:, output] > 0, torch.isin(target, torch.tensor(values)))


def test_faulty_regions_are_named() -> None:
    with pytest.raises(ConfigError, match="got 3 outputs and 2 regions"):
        build_loss("dice", {}, 3, regions=((1,), (2,)))
    with pytest.raises(ConfigError, match=r"label values from 1 to 254; got \(0, 1\)"):
        build_loss("dice", {}, 1, regions=((0, 1),))
    with pytest.raises(ConfigError, match=r"from 1 to 254; got \(\)"):
        build_loss("dice", {}, 1, regions=((),))
    with pytest.raises(ConfigError, match=r"2 numbers .* or 4, one per class; got 3"):
        build_loss("weighted_ce", {"weights": (1.0, 2.0, 3.0)}, 3, regions=REGIONS)


# Absent classes


@pytest.mark.parametrize("name", ["dice", "jaccard"])
def test_an_absent_class_is_skipped_or_counted(name: str) -> None:
    """Class 2 is nowhere: skipped, the loss is that of class 1; counted, the mean of both."""
    logits, target = made((2, 6, 8), 3, 2)
    probs = torch.softmax(logits, 1)
    alone = float(build_loss(name, {"smooth": 1e-5}, 3)(logits, target))
    counted = float(build_loss(name, {"smooth": 1e-5, "absent": "count"}, 3)(logits, target))
    assert float(probs[:, 2].sum()) > 1
    assert counted == pytest.approx((alone + 1) / 2, rel=1e-4)


def test_a_class_known_in_no_sample_is_left_out_even_where_absent_ones_count() -> None:
    logits, target = made((2, 6, 8), 3, 2)
    annotated = torch.tensor([[True, False]]).expand(2, 2)
    loss = build_loss("dice", {"absent": "count"}, 3)
    alone = build_loss("dice", {"absent": "skip"}, 3)
    torch.testing.assert_close(loss(logits, target, annotated), alone(logits, target))


# Where and how it is computed


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
def test_autocast_changes_nothing(name: str, regions: tuple[tuple[int, ...], ...] | None) -> None:
    logits, target = made((2, 6, 8), 3, 3)
    half = logits.to(torch.bfloat16)
    loss = build_loss(name, {}, 3, regions=regions)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(half, target)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(half.float(), target))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
def test_nothing_asks_for_a_value_on_the_way(
    name: str, regions: tuple[tuple[int, ...], ...] | None
) -> None:
    """On meta tensors, which have no values, any branch or `.item()` would fail: a GPU would
    have to be waited for there."""
    annotated = torch.ones(2, 3 if regions else 2, dtype=torch.bool, device="meta")
    logits = torch.empty(2, 3, 6, 8, device="meta", requires_grad=True)
    target = torch.empty(2, 6, 8, dtype=torch.int64, device="meta")
    loss = build_loss(name, {}, 3, regions=regions)
    for known in (None, annotated):
        loss(logits, target, known).backward()
        levels = [logits, logits[..., ::2, ::2], logits[..., ::4, ::4]]
        DeepSupervision(loss)(levels, target, known).backward()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("regions", [None, REGIONS])
def test_losses_are_one_graph(name: str, regions: tuple[tuple[int, ...], ...] | None) -> None:
    """`torch.compile` finds no place where it must leave its graph."""
    logits, target = made((2, 6, 8), 3, 3)
    annotated = torch.ones(2, 3 if regions else 2, dtype=torch.bool)
    annotated[0, 0] = False
    loss = build_loss(name, {}, 3, regions=regions)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    for known in (None, annotated):
        torch.testing.assert_close(compiled(logits, target, known), loss(logits, target, known))
