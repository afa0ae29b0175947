"""The registry: explicit names, no silent overwriting, helpful refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import Field

from acinus.config import Settings
from acinus.errors import ConfigError
from acinus.registry import Registry


class Smoothing(Settings):
    epsilon: float = Field(1.0, gt=0)


@pytest.fixture
def losses() -> Registry[Callable[[], str]]:
    registry: Registry[Callable[[], str]] = Registry("loss")

    @registry.register("dice", config=Smoothing)
    def dice() -> str:
        """One minus twice the overlap.

        More words.
        """
        return "dice"

    @registry.register("boundary")
    def boundary() -> str:
        """Distance to the reference's boundary."""
        return "boundary"

    return registry


def test_parts_come_back_by_name_in_order(losses: Registry[Callable[[], str]]) -> None:
    assert losses.names() == ["boundary", "dice"]
    assert [entry.name for entry in losses] == ["boundary", "dice"]
    assert losses["dice"].factory() == "dice"
    assert losses["dice"].summary == "One minus twice the overlap."
    assert "dice" in losses
    assert "jaccard" not in losses


def test_a_duplicate_is_refused_and_changes_nothing(losses: Registry[Callable[[], str]]) -> None:
    with pytest.raises(ConfigError, match=r"loss 'dice' is registered twice"):
        losses.register("dice")(lambda: "other")
    assert losses["dice"].factory() == "dice"


def test_an_unknown_name_is_answered_with_the_nearest(losses: Registry[Callable[[], str]]) -> None:
    expected = r"unknown loss 'dise'\. Known: boundary, dice\. Did you mean 'dice'\?"
    with pytest.raises(ConfigError, match=expected):
        losses["dise"]


def test_a_name_far_from_all_gets_no_suggestion(losses: Registry[Callable[[], str]]) -> None:
    with pytest.raises(ConfigError, match=r"Known: boundary, dice\.$"):
        losses["qqqq"]


def test_settings_are_validated_under_the_parts_name(losses: Registry[Callable[[], str]]) -> None:
    assert losses.configure("dice", {}) == Smoothing(epsilon=1.0)
    with pytest.raises(ConfigError, match=r"loss 'dice': 'epsilon'.* greater than 0; got -1"):
        losses.configure("dice", {"epsilon": -1})
    with pytest.raises(ConfigError, match=r"unknown key 'epsilom'. Did you mean 'epsilon'"):
        losses.configure("dice", {"epsilom": 1})
