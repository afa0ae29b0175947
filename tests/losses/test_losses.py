"""Losses against hand-computed numbers, an independent oracle in NumPy, and their laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from acinus.errors import ConfigError, GridError
from acinus.losses import LOSSES, build_loss
from acinus.losses.compared import Outputs
from acinus.losses.overlap import soft_overlap
from acinus.types import Array

NAMES = LOSSES.names()


def logits_of(probs: list[list[float]]) -> torch.Tensor:
    """Logits (1, K, 1, V) whose softmax is `probs`, given per class."""
    return torch.tensor(probs).log()[None, :, None, :]


# Two classes, four voxels; foreground probabilities 0.8, 0.6, 0.3, 0.1; reference 1, 1, 0, 0.
# Σ p g = 1.4, Σ p = 1.8, Σ p² = 1.1, Σ g = 2.
BY_HAND = logits_of([[0.2, 0.4, 0.7, 0.9], [0.8, 0.6, 0.3, 0.1]])
REFERENCE = torch.tensor([[[1, 1, 0, 0]]])
LOGS = [math.log(p) for p in (0.8, 0.6, 0.7, 0.9)]


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("dice", {"smooth": 1.0}, 1 - (2 * 1.4 + 1) / (1.1 + 2 + 1)),
        ("dice", {"smooth": 0.2}, 1 - (2 * 1.4 + 0.2) / (1.1 + 2 + 0.2)),
        ("dice", {"squared": False}, 1 - (2 * 1.4 + 1) / (1.8 + 2 + 1)),
        ("jaccard", {"smooth": 0.2}, 1 - (1.4 + 0.2) / (1.1 + 2 - 1.4 + 0.2)),
        ("jaccard", {"squared": False}, 1 - (1.4 + 1) / (1.8 + 2 - 1.4 + 1)),
        (
            "weighted_ce",
            {"weights": (1.0, 10.0)},
            -(10 * LOGS[0] + 10 * LOGS[1] + LOGS[2] + LOGS[3]) / 22,
        ),
        ("dice_ce", {"smooth": 1.0}, 1 - 3.8 / 4.1 - sum(LOGS) / 4),
        (
            "dice_ce",
            {"dice_weight": 2.0, "ce_weight": 0.5},
            2 * (1 - 3.8 / 4.1) - 0.5 * sum(LOGS) / 4,
        ),
        (
            "dice_ce",
            {"ce_weights": (1.0, 10.0)},
            1 - 3.8 / 4.1 - (10 * LOGS[0] + 10 * LOGS[1] + LOGS[2] + LOGS[3]) / 22,
        ),
    ],
)
def test_numbers_by_hand(name: str, config: dict[str, object], expected: float) -> None:
    assert float(build_loss(name, config, 2)(BY_HAND, REFERENCE)) == pytest.approx(expected)


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def overlap_oracle(logits: Array, target: Array, score: Callable[..., float], batch: bool) -> float:
    """Loop over classes and patches, one voxel list at a time, in float64."""
    probs = softmax(logits)
    groups = [slice(None)] if batch else [slice(n, n + 1) for n in range(len(target))]
    values = []
    for rows in groups:
        for k in range(1, logits.shape[1]):
            p, g = probs[rows, k].ravel(), (target[rows] == k).ravel()
            values.append(score(float(p[g].sum()), float((p**2).sum()), float(g.sum())))
    return 1 - sum(values) / len(values)


def ce_oracle(logits: Array, target: Array, weights: list[float]) -> float:
    probs = softmax(logits)
    total = mass = 0.0
    for index in np.ndindex(*target.shape):
        k = int(target[index])
        total -= weights[k] * math.log(probs[(index[0], k, *index[1:])])
        mass += weights[k]
    return total / mass


@pytest.mark.parametrize("size", [(5, 7), (3, 4, 5)])
@pytest.mark.parametrize("batch", [True, False])
def test_losses_equal_the_oracle(
    rng: np.random.Generator, size: tuple[int, ...], batch: bool
) -> None:
    logits = rng.normal(size=(3, 4, *size))
    target = rng.integers(0, 4, size=(3, *size))
    target[1][target[1] == 2] = 0  # a class that one patch lacks
    s = 0.7
    dice = overlap_oracle(logits, target, lambda i, p, g: (2 * i + s) / (p + g + s), batch)
    jaccard = overlap_oracle(logits, target, lambda i, p, g: (i + s) / (p + g - i + s), batch)
    plain = ce_oracle(logits, target, [1.0] * 4)
    weights = [0.3, 2.0, 1.0, 4.0]
    overlap = {"smooth": s, "batch": batch}
    expected = {
        ("dice", "o"): (overlap, dice),
        ("jaccard", "o"): (overlap, jaccard),
        ("dice_ce", "o"): (overlap, dice + plain),
        ("weighted_ce", "k"): ({"weights": weights}, ce_oracle(logits, target, weights)),
        ("weighted_ce", "2"): (
            {"weights": (1.0, 5.0)},
            ce_oracle(logits, target, [1.0, 5.0, 5.0, 5.0]),
        ),
    }
    for (name, _), (config, value) in expected.items():
        loss = build_loss(name, config, 4)
        found = float(loss(torch.from_numpy(logits), torch.from_numpy(target)))
        assert found == pytest.approx(value, abs=2e-6), name


def sure_logits(target: torch.Tensor, n_classes: int, margin: float) -> torch.Tensor:
    one_hot = torch.nn.functional.one_hot(target, n_classes).movedim(-1, 1)
    return margin * one_hot.float()


@pytest.fixture
def target(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 3, size=(2, 6, 8)))


@pytest.mark.parametrize("name", NAMES)
def test_perfect_prediction_costs_nothing_and_the_opposite_much(
    name: str, target: torch.Tensor
) -> None:
    loss = build_loss(name, {}, 3)
    perfect = float(loss(sure_logits(target, 3, 40.0), target))
    wrong = float(loss(sure_logits((target + 1) % 3, 3, 40.0), target))
    assert 0 <= perfect < 1e-5
    assert wrong > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_a_scalar_and_never_negative(name: str, target: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        value = build_loss(name, {}, 3)(torch.randn(2, 3, 6, 8, generator=generator), target)
        assert value.shape == ()
        assert float(value) >= 0


@pytest.mark.parametrize("name", NAMES)
def test_empty_reference_costs_nothing_if_nothing_is_predicted(name: str) -> None:
    empty = torch.zeros(2, 6, 8, dtype=torch.int64)
    assert float(build_loss(name, {}, 3)(sure_logits(empty, 3, 40.0), empty)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_empty_reference_still_pushes_false_positives_down(name: str) -> None:
    empty = torch.zeros(1, 4, 4, dtype=torch.int64)
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    value = build_loss(name, {}, 2)(logits, empty)
    value.backward()
    assert float(value.detach()) > 0.1
    assert logits.grad is not None
    assert (logits.grad[:, 1] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences(name: str, target: torch.Tensor) -> None:
    """Central differences in float64 steps of a float32 loss, along random directions."""
    loss = build_loss(name, {}, 3)
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 3, 6, 8, generator=generator).requires_grad_()
    loss(logits, target).backward()
    assert logits.grad is not None
    for _ in range(3):
        direction = torch.randn(logits.shape, generator=generator)
        step = 1e-2
        rise = loss(logits.detach() + step * direction, target)
        fall = loss(logits.detach() - step * direction, target)
        slope = float(rise - fall) / (2 * step)
        assert float((logits.grad * direction).sum()) == pytest.approx(slope, rel=2e-2, abs=2e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_stay_finite(name: str, size: float, target: torch.Tensor) -> None:
    logits = (sure_logits((target + 1) % 3, 3, size)).requires_grad_()
    value = build_loss(name, {}, 3)(logits, target)
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_judged_in_float32(name: str, target: torch.Tensor) -> None:
    logits = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    half = logits.to(torch.bfloat16)
    loss = build_loss(name, {}, 3)
    assert loss(half, target).dtype == torch.float32
    torch.testing.assert_close(loss(half, target), loss(half.float(), target))


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_added_to_all_logits_changes_nothing(name: str, target: torch.Tensor) -> None:
    logits = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    loss = build_loss(name, {}, 3)
    torch.testing.assert_close(loss(logits + 5, target), loss(logits, target))


@pytest.mark.parametrize("name", NAMES)
def test_relabelling_the_foreground_changes_nothing(name: str, target: torch.Tensor) -> None:
    logits = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([0, 2, 1])
    loss = build_loss(name, {}, 3)
    torch.testing.assert_close(loss(logits[:, order], order[target]), loss(logits, target))


@pytest.mark.parametrize("name", NAMES)
def test_following_the_gradient_finds_the_reference(name: str, target: torch.Tensor) -> None:
    logits = torch.zeros(2, 3, 6, 8, requires_grad=True)
    loss = build_loss(name, {}, 3)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(logits, target).backward()
        optimiser.step()
    assert torch.equal(logits.argmax(1), target)


def test_dice_and_jaccard_leave_the_background_out() -> None:
    """Where background counts, a class that fills a patch and is right would lower the loss."""
    target = torch.zeros(1, 1, 100, dtype=torch.int64)
    target[..., 0] = 1
    missed = sure_logits(torch.zeros_like(target), 2, 40.0)
    assert float(build_loss("dice", {"smooth": 1e-6}, 2)(missed, target)) == pytest.approx(
        1, abs=1e-4
    )
    assert float(build_loss("jaccard", {"smooth": 1e-6}, 2)(missed, target)) == pytest.approx(
        1, abs=1e-4
    )


def test_batch_wise_and_patch_wise_dice_differ_as_their_formulas_say() -> None:
    """Patch one: two of two voxels found; patch two: none of one."""
    target = torch.tensor([[[1, 1, 0]], [[1, 0, 0]]])
    found = torch.tensor([[[1, 1, 0]], [[0, 0, 0]]])
    logits = sure_logits(found, 2, 60.0)
    together = build_loss("dice", {"smooth": 1e-6, "batch": True}, 2)(logits, target)
    apart = build_loss("dice", {"smooth": 1e-6, "batch": False}, 2)(logits, target)
    assert float(together) == pytest.approx(1 - 4 / 5, abs=1e-5)
    assert float(apart) == pytest.approx(1 - (1 + 0) / 2, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_on_another_grid_is_named(name: str) -> None:
    with pytest.raises(GridError, match=r"must have shape \(2, 4, 4\).*got \(2, 1, 4, 4\)"):
        build_loss(name, {}, 3)(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4).long())
    with pytest.raises(GridError, match=r"must have 3 outputs along axis 1; got \(2, 4, 4, 4\)"):
        build_loss(name, {}, 3)(torch.zeros(2, 4, 4, 4), torch.zeros(2, 4, 4).long())
    with pytest.raises(GridError, match=r"'annotated' must have shape \(2, 2\).*got \(2, 3\)"):
        build_loss(name, {}, 3)(
            torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4).long(), torch.ones(2, 3).bool()
        )


@pytest.mark.parametrize("name", NAMES)
def test_settings_survive_a_round_trip(name: str) -> None:
    settings = LOSSES.configure(name, {})
    assert LOSSES.configure(name, settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_states_a_formula_and_its_sign(name: str) -> None:
    text = LOSSES[name].factory.__doc__ or ""
    assert "Σ" in text or "log" in text
    assert "lower is better" in text
    assert ":" in LOSSES[name].summary


def test_faulty_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown loss 'dise_ce'.*Did you mean 'dice_ce'"):
        build_loss("dise_ce", {}, 2)
    with pytest.raises(ConfigError, match=r"unknown key 'smoth'\. Did you mean 'smooth'"):
        build_loss("dice", {"smoth": 1}, 2)
    with pytest.raises(ConfigError, match=r"'smooth'.*greater than 0; got 0"):
        build_loss("dice", {"smooth": 0}, 2)
    with pytest.raises(ConfigError, match="each above 0"):
        build_loss("weighted_ce", {"weights": (1.0, 0.0)}, 2)
    with pytest.raises(ConfigError, match="or 4, one per class; got 3"):
        build_loss("weighted_ce", {"weights": (1.0, 2.0, 3.0)}, 4)
    with pytest.raises(ConfigError, match="above 0"):
        build_loss("dice_ce", {"ce_weights": (1.0, -1.0)}, 2)
    with pytest.raises(ConfigError, match=r"dice_ce.*one per class; got 3"):
        build_loss("dice_ce", {"ce_weights": (1.0, 2.0, 3.0)}, 4)
    with pytest.raises(ConfigError, match="at least 2 classes"):
        build_loss("dice", {}, 1)


@pytest.mark.parametrize("name", ["dice", "jaccard"])
def test_a_class_that_the_batch_lacks_is_left_out(name: str, rng: np.random.Generator) -> None:
    """Batch-wise the loss of two classes, one of them absent, is that of the other alone."""
    target = torch.from_numpy(rng.integers(0, 2, size=(2, 6, 8)))
    logits = torch.from_numpy(rng.normal(size=(2, 3, 6, 8)))
    sums = soft_overlap(Outputs(3).compare(logits, target), batch=True, squared=True)
    product, predicted, present = (
        float(values[0, 0]) for values in (sums.product, sums.prediction, sums.reference)
    )
    expected = {
        "dice": 1 - (2 * product + 1) / (predicted + present + 1),
        "jaccard": 1 - (product + 1) / (predicted + present - product + 1),
    }
    assert float(build_loss(name, {}, 3)(logits, target)) == pytest.approx(expected[name], rel=1e-6)
