"""Progress: what a person and what a log file sees."""

from __future__ import annotations

import io
import sys

import pytest

from acinus import progress


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test turns."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.6, "1 min"),
        (130, "2 min 10 s"),
        (1500, "25 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration_reads_like_speech(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


@pytest.mark.parametrize(
    ("unit", "n", "word"),
    [("step", 1, "step"), ("step", 2, "steps"), ("batch", 3, "batches"), ("body", 0, "bodies")],
)
def test_plural(unit: str, n: int, word: str) -> None:
    assert progress.plural(unit, n) == word


def test_a_log_gets_begin_end_and_few_lines(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with progress.stage("Training fold 0", total=100, unit="step") as bar:
        for _ in range(100):
            clock[0] += 0.25
            bar.advance(1, note="Dice 0.71")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines[0] == "Training fold 0 (100 steps) …"
    assert lines[1:3] == [
        "Training fold 0: 40/100 steps, 15 s left, Dice 0.71",
        "Training fold 0: 80/100 steps, 5 s left, Dice 0.71",
    ]
    assert lines[3:] == ["Training fold 0: done after 25 s, Dice 0.71"]


def test_a_stage_that_fails_does_not_say_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="fault"), progress.stage("Reading", total=2):
        raise ValueError("fault")
    assert "Reading: stopped" in capsys.readouterr().err


def test_units_made_before_an_interruption_are_no_speed(clock: list[float]) -> None:
    with progress.quiet(), progress.stage("Training", total=100) as bar:
        bar.resume_at(80)
        assert bar.seconds_left() is None
        clock[0] += 10.0
        bar.advance(10)
        assert bar.seconds_left() == pytest.approx(10.0)


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.quiet():
        progress.say("nothing")
        assert list(progress.track([1, 2], "Counting")) == [1, 2]
    assert capsys.readouterr().err == ""
    progress.say("something")
    assert capsys.readouterr().err == "something\n"


def test_a_terminal_shows_nested_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.stage("Folds", total=2, unit="fold") as outer:
        for fold in range(2):
            with progress.stage(f"Fold {fold} [of 2]", total=3) as inner:
                inner.advance(3, note="Dice 0.7")
            outer.advance()
        progress.say("a remark [not markup]")
    text = stream.getvalue()
    assert "Fold 1 [of 2]" in text
    assert "✓ Folds" in text
    assert "a remark [not markup]" in text


def test_a_closed_stream_does_not_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    with progress.stage("Writing", total=1) as bar:
        bar.advance()
    assert bar.done == 1
