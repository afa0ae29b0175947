"""Laws that every loss obeys for any network output, reference and annotation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acinus.losses import LOSSES, Loss, build_loss
from acinus.losses.overlap import OverlapConfig
from acinus.types import IGNORE

LAWFUL = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Given:
    """A loss and what it is asked."""

    loss: Loss
    logits: torch.Tensor
    target: torch.Tensor
    annotated: torch.Tensor | None
    smoothed: Callable[[float], Loss]
    """The same loss with so many times the smoothing of its sums over the batch."""
    n_foreground: int


@st.composite
def given_losses(draw: st.DrawFn) -> Given:
    """Any loss with any settings, on a batch of 1 to 3 samples of up to 4 x 4 x 5 voxels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    name = draw(st.sampled_from(LOSSES.names()))
    is_overlap = issubclass(LOSSES[name].config, OverlapConfig)
    config: dict[str, Any] = {}
    if is_overlap:
        config = {
            "smooth": draw(st.sampled_from([1e-5, 1.0])),
            "batch": draw(st.booleans()),
            "squared": draw(st.booleans()),
            "absent": draw(st.sampled_from(["skip", "count"])),
        }
    n_outputs = draw(st.integers(2, 4))
    regions = None
    if draw(st.booleans()):
        regions = tuple(tuple(range(k + 1, 5)) for k in range(n_outputs))  # each within the last
    shape = (draw(st.integers(1, 3)), *draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    logits = torch.from_numpy(rng.normal(0, 3, (shape[0], n_outputs, *shape[1:]))).float()
    target = rng.integers(0, 5 if regions else n_outputs, shape)
    target[rng.random(shape) < draw(st.sampled_from([0.0, 0.4, 1.0]))] = IGNORE
    n_foreground = n_outputs if regions else n_outputs - 1
    annotated = None
    if draw(st.booleans()):
        annotated = torch.from_numpy(rng.random((shape[0], n_foreground)) < 0.6)

    def smoothed(times: float) -> Loss:
        changed = {"smooth": config["smooth"] * times} if config.get("batch") else {}
        return build_loss(name, {**config, **changed}, n_outputs, regions=regions)

    return Given(smoothed(1.0), logits, torch.from_numpy(target), annotated, smoothed, n_foreground)


@LAWFUL
@given(given_losses())
def test_it_is_a_finite_number_from_0_on_with_a_finite_gradient(case: Given) -> None:
    logits = case.logits.clone().requires_grad_()
    value = case.loss(logits, case.target, case.annotated)
    value.backward()
    assert value.dtype == torch.float32
    assert 0 <= float(value.detach()) < float("inf")
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@LAWFUL
@given(given_losses(), st.integers(0, 99))
def test_the_order_of_voxels_does_not_matter(case: Given, seed: int) -> None:
    n_voxels = case.target[0].numel()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n_voxels))
    logits, target = case.logits.flatten(2)[:, :, order], case.target.flatten(1)[:, order]
    found = case.loss(logits, target, case.annotated)
    torch.testing.assert_close(found, case.loss(case.logits, case.target, case.annotated))


@LAWFUL
@given(given_losses())
def test_the_order_of_samples_does_not_matter(case: Given) -> None:
    known = None if case.annotated is None else case.annotated.flip(0)
    found = case.loss(case.logits.flip(0), case.target.flip(0), known)
    torch.testing.assert_close(found, case.loss(case.logits, case.target, case.annotated))


@LAWFUL
@given(given_losses())
def test_what_is_predicted_in_ignored_voxels_does_not_matter(case: Given) -> None:
    other = torch.where((case.target == IGNORE)[:, None], -case.logits, case.logits)
    found = case.loss(other, case.target, case.annotated)
    torch.testing.assert_close(found, case.loss(case.logits, case.target, case.annotated))


@LAWFUL
@given(given_losses())
def test_all_annotated_is_the_same_as_not_saying_so(case: Given) -> None:
    everything = torch.ones(len(case.target), case.n_foreground, dtype=torch.bool)
    found = case.loss(case.logits, case.target, everything)
    torch.testing.assert_close(found, case.loss(case.logits, case.target))


@LAWFUL
@given(given_losses())
def test_nothing_annotated_teaches_nothing(case: Given) -> None:
    """Background then means anything: the loss is 0 whatever the network says."""
    nothing = torch.zeros(len(case.target), case.n_foreground, dtype=torch.bool)
    value = case.loss(case.logits, case.target, nothing)
    torch.testing.assert_close(value, torch.tensor(0.0), atol=2e-6, rtol=0)


@LAWFUL
@given(given_losses())
def test_the_same_samples_twice_change_no_mean(case: Given) -> None:
    """Smoothing counts in voxels: with twice the voxels in a sum it must be twice as large."""
    twice = [torch.cat([one, one]) for one in (case.logits, case.target)]
    known = None if case.annotated is None else torch.cat([case.annotated, case.annotated])
    once = case.loss(case.logits, case.target, case.annotated)
    torch.testing.assert_close(case.smoothed(2.0)(*twice, known), once, rtol=1e-4, atol=1e-4)


@LAWFUL
@given(given_losses())
def test_a_small_step_against_the_gradient_lowers_it(case: Given) -> None:
    logits = case.logits.double().clone().requires_grad_()
    value = case.loss(logits, case.target, case.annotated)
    value.backward()
    assert logits.grad is not None
    size = float(logits.grad.norm())
    if size < 1e-3:
        return
    lower = case.loss(logits.detach() - 1e-2 * logits.grad / size, case.target, case.annotated)
    assert float(lower) < float(value.detach()) + 1e-6
