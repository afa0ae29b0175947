"""Structures of a patch get brighter or darker, each on its own, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from made_batch import made_batch

from acinus.plan import Plan
from acinus.train.augment import apply_changes, draw_changes, no_changes
from acinus.train.augment.changes import Changes
from acinus.train.augment.sides import SideSwap
from acinus.train.augment.structures import shift_structures
from acinus.types import IGNORE
from made_plan import made_plan, unread_dataset

SHAPE = (4, 6, 5)


def patches(n: int = 3, channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(size=(n, channels, *SHAPE)).astype(np.float32))
    label = torch.from_numpy(rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), (n, *SHAPE)))
    return image, label


def shifting(shifts: np.ndarray) -> Changes:
    return replace(no_changes(len(shifts), shifts.shape[1]), label_shifts=shifts)


def test_each_structure_is_shifted_by_its_own_amount_within_the_range_of_its_patch() -> None:
    image, label = patches()
    shifts = np.zeros((3, 2, 3))
    shifts[0, :, 1], shifts[0, 0, 2], shifts[2, 1, 2] = (0.5, -0.25), -1.5, 9.0
    expected = image.numpy().copy()
    for patch in range(3):
        for channel in range(2):
            own = expected[patch, channel]
            low, high = own.min(), own.max()
            for value in (1, 2):
                inside = label[patch].numpy() == value
                own[inside] = np.clip(own[inside] + shifts[patch, channel, value], low, high)
    shift_structures(image, label, shifting(shifts))
    np.testing.assert_allclose(image.numpy(), expected, atol=1e-6)


def test_background_ignored_voxels_and_further_channels_stay() -> None:
    image, label = patches(channels=3)
    before = image.clone()
    shift_structures(image, label, shifting(np.full((3, 2, 3), 0.3) * (0, 1, 1)))
    assert torch.equal(image[:, 2], before[:, 2])
    outside = ((label == 0) | (label == IGNORE))[:, None].expand(-1, 2, -1, -1, -1)
    assert torch.equal(image[:, :2][outside], before[:, :2][outside])
    assert not torch.equal(image, before)


def plan_with(**augment: float) -> Plan:
    return made_plan({"augment": augment}, dataset=unread_dataset(channel_names=("C0", "C1")))


def test_shifts_are_drawn_last_for_a_share_of_the_patches() -> None:
    plan = plan_with(label_shift=0.4, label_shift_most=2.0)
    n_values = 1 + max(plan.dataset.labels.values())
    got = draw_changes(plan, 2000, np.random.default_rng(1))
    assert got.label_shifts.shape == (2000, 2, n_values)
    assert (got.label_shifts[..., 0] == 0).all()
    assert 0.36 < (got.label_shifts != 0).any(axis=(1, 2)).mean() < 0.44
    shifted = got.label_shifts[..., 1:][got.label_shifts[..., 1:] != 0]
    assert 1.98 < np.abs(shifted).max() <= 2.0 and abs(shifted.mean()) < 0.05
    without = draw_changes(plan_with(), 2000, np.random.default_rng(1))
    assert without.label_shifts.shape == (2000, 2, 0)
    for name in ("gains", "angles", "noise_seeds", "flips"):
        np.testing.assert_array_equal(getattr(got, name), getattr(without, name))


def test_a_structure_keeps_its_shift_when_sides_change_places() -> None:
    """The label that a patch has after its flip says what is shifted."""
    batch = made_batch(1, channels=1)
    swap = SideSwap((0, 2, 1), 2)
    flips = np.array([[False, False, True]])
    still = replace(no_changes(1), flips=flips)
    plain, label = apply_changes(batch, still, swap, 3)
    shifts = np.zeros((1, 1, 3))
    shifts[0, 0, 1] = 0.2
    shifted, same = apply_changes(batch, replace(still, label_shifts=shifts), swap, 3)
    assert torch.equal(label, same)
    inside = label[0] == 1
    assert inside.any() and not inside.all()
    assert torch.equal(shifted[0, 0][~inside], plain[0, 0][~inside])
    assert (shifted[0, 0][inside] >= plain[0, 0][inside]).all()
    assert float((shifted - plain).max()) > 0.19
