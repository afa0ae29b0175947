"""Modality dropout: how often, never all, replayed, and nothing else touched."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from made_batch import PLAIN, changes_of, inner, made_batch

from acinus.errors import ConfigError
from acinus.plan import Plan
from acinus.train.augment import Changes, SideSwap, apply_changes, draw_changes
from made_plan import made_plan, unread_dataset


def plan_of(channels: int = 3, **augment: Any) -> Plan:
    names = tuple(f"C{number}" for number in range(channels))
    augment = {"flip": 0.0, **augment}
    return made_plan({"augment": augment}, dataset=unread_dataset(channel_names=names))


def drawn(n: int, channels: int = 3, seed: int = 0, **augment: Any) -> Changes:
    return draw_changes(plan_of(channels, **augment), n, np.random.default_rng(seed))


def only_dropout(changes: Changes, n: int, channels: int) -> Changes:
    batch = made_batch(n, channels=channels)
    kept = {"absent": changes.absent, "absent_ranks": changes.absent_ranks}
    return replace(changes_of(batch), **kept)


def zero(image: torch.Tensor) -> np.ndarray:
    """(N, C) which channels are all zero."""
    return (image == 0).flatten(2).all(dim=2).numpy()


@pytest.mark.parametrize("probability", [0.1, 0.4])
def test_a_channel_is_absent_as_often_as_asked_for(probability: float) -> None:
    got = drawn(4000, channel_dropout=probability)
    np.testing.assert_allclose(got.absent.mean(axis=0), probability, atol=0.03)
    assert abs(np.corrcoef(got.absent.T)[0, 1]) < 0.06
    assert (np.sort(got.absent_ranks, axis=1) == np.arange(3)).all()


def test_other_draws_do_not_depend_on_it() -> None:
    """The same generator gives the same noise, blur and so on, with dropout or without."""
    settings = {"noise": 0.5, "blur": 0.5, "gamma": 0.5, "low_res": 0.5}
    without, plain = drawn(50, **settings), drawn(50, **settings, channel_dropout=0.0)
    dropped = drawn(50, **settings, channel_dropout=0.5)
    for one in fields(Changes):
        first = getattr(without, one.name)
        np.testing.assert_array_equal(first, getattr(plain, one.name))
        if not one.name.startswith("absent"):
            np.testing.assert_array_equal(first, getattr(dropped, one.name))
    assert dropped.absent.any()
    assert not without.absent.any()


def test_absent_channels_are_zero_and_the_rest_is_untouched() -> None:
    batch = made_batch(40, patch=(4, 6, 8), channels=3)
    changes = only_dropout(drawn(40, channel_dropout=0.4), 40, 3)
    image, label = apply_changes(batch, changes, PLAIN, 3)
    before, before_label = apply_changes(batch, changes_of(batch), PLAIN, 3)
    gone = zero(image)
    assert 0.2 < gone.mean() < 0.5
    assert (gone <= changes.absent).all()
    np.testing.assert_array_equal(image.numpy()[~gone], before.numpy()[~gone])
    np.testing.assert_array_equal(label, before_label)
    torch.testing.assert_close(before, inner(batch.image, batch))


def test_one_channel_always_stays_and_which_is_chance() -> None:
    batch = made_batch(300, patch=(1, 4, 4), channels=3)
    changes = only_dropout(drawn(300, channel_dropout=0.99), 300, 3)
    stays = ~zero(apply_changes(batch, changes, PLAIN, 3)[0])
    lost_all = changes.absent.all(axis=1)
    assert lost_all.sum() > 250
    assert (stays.sum(axis=1) >= 1).all()
    assert (stays[lost_all].sum(axis=1) == 1).all()
    np.testing.assert_allclose(stays[lost_all].mean(axis=0), 1 / 3, atol=0.1)


def test_a_channel_that_the_case_lacks_does_not_count_as_one_that_stays() -> None:
    batch = made_batch(100, patch=(1, 4, 4), channels=3)
    batch.image[:, 1] = 0
    batch.image[0] = 0
    changes = only_dropout(drawn(100, channel_dropout=0.9), 100, 3)
    stays = ~zero(apply_changes(batch, changes, PLAIN, 3)[0])
    assert not stays[0].any()
    assert not stays[:, 1].any()
    assert (stays[1:].sum(axis=1) >= 1).all()


def test_a_patch_does_not_depend_on_its_neighbours_and_replays() -> None:
    batch = made_batch(8, channels=3)
    changes = drawn(8, channel_dropout=0.5, noise=0.5, brightness=0.5)
    whole = apply_changes(batch, changes, PLAIN, 3)[0]
    again = apply_changes(batch, drawn(8, channel_dropout=0.5, noise=0.5, brightness=0.5), PLAIN, 3)
    torch.testing.assert_close(whole, again[0], rtol=0, atol=0)
    for place in range(8):
        one = replace(
            batch,
            image=batch.image[place : place + 1],
            label=batch.label[place : place + 1],
            cases=batch.cases[:1],
        )
        part = changes.part(slice(place, place + 1))
        alone = apply_changes(one, part, PLAIN, 3)[0]
        torch.testing.assert_close(alone[0], whole[place])


def test_one_channel_is_never_taken_away() -> None:
    assert not drawn(100, channels=1, channel_dropout=0.9).absent.any()


def test_what_a_cascade_shows_is_left_alone() -> None:
    batch = made_batch(20, channels=3)
    batch.image[:, 2] = (batch.image[:, 2] > 0).float()
    changes = only_dropout(drawn(20, channels=2, channel_dropout=0.5), 20, 2)
    shown = apply_changes(batch, changes, SideSwap((0, 1), 2, previous=(0,)), 3)[0]
    plain = replace(changes, absent=np.zeros_like(changes.absent))
    before = apply_changes(batch, plain, SideSwap((0, 1), 2, previous=(0,)), 3)[0]
    torch.testing.assert_close(shown[:, 2], before[:, 2])
    assert zero(shown[:, :2]).any()


def test_a_probability_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="channel_dropout"):
        plan_of(channel_dropout=1.0)
