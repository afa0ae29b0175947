"""What a budget may say, and that it comes back as it was written."""

from __future__ import annotations

import pytest

from acinus.errors import ConfigError
from acinus.plan import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("15m", 900.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1h30m", 5400.0),
        ("0.5h", 1800.0),
        (" 1H 30 M ", 5400.0),
        ("1d2h3m4s", 93784.0),
    ],
)
def test_wall_time_is_read_in_any_units(text: str, seconds: float) -> None:
    assert parse_budget(text) == Budget(seconds=seconds)


@pytest.mark.parametrize(("text", "steps"), [("200steps", 200), ("1 step", 1), ("40Steps", 40)])
def test_steps_are_counted(text: str, steps: int) -> None:
    assert parse_budget(text) == Budget(steps=steps)


def test_no_budget_is_no_budget() -> None:
    assert parse_budget(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "15",
        "m",
        "m15",
        "0m",
        "0steps",
        "-5m",
        "15 minutes",
        "200 epochs",
        "1h-30m",
        "1e3s",
        "5.s",
    ],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_budget(text)
    assert str(error.value) == (
        f"--budget must be a time such as 90s, 15m or 2h, or steps such as 200steps; got '{text}'."
    )


@pytest.mark.parametrize("text", ["90s", "1h30m", "0.5s", "12d", "400d", "36steps"])
def test_a_budget_written_can_be_read_back(text: str) -> None:
    budget = parse_budget(text)
    assert parse_budget(str(budget)) == budget
