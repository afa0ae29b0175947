"""Stages of one process shown by another: what arrives, in which words."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from acinus import progress
from acinus.study.relay import Ended, Event, Reached, Receiver, Said, Sender


@pytest.fixture
def sent() -> Iterator[list[Event]]:
    """Events of this process, as a worker would send them."""
    events: list[Event] = []
    progress.show_elsewhere(Sender(lambda event: events.append(pickle.loads(pickle.dumps(event)))))
    yield events
    progress.show_elsewhere(None)


def show(events: list[Event], prefix: str = "") -> Receiver:
    receiver = Receiver(prefix)
    for event in events:
        receiver.show(event)
    return receiver


def test_a_stage_arrives_with_its_end(
    sent: list[Event], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.stage("Training fold 2", total=100, unit="step") as bar:
        bar.resume_at(40)
        bar.advance(60, note="Dice 0.71")
        progress.say("Fold 2 goes on after epoch 4.")
    assert capsys.readouterr().err == ""
    assert sent[0] == Reached(0, "Training fold 2", 100, "step")
    assert sent[-2:] == [
        Reached(0, "Training fold 2", 100, "step", 40, 100, "Dice 0.71"),
        Ended(0, whole=True),
    ]
    progress.show_elsewhere(None)
    show(sent, "AX-T1: ")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "AX-T1: Training fold 2 (100 steps) …",
        "AX-T1: Fold 2 goes on after epoch 4.",
        "AX-T1: Training fold 2: done after 0 s, Dice 0.71",
    ]


def test_a_stage_that_fails_is_shown_as_stopped(
    sent: list[Event], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="bad"), progress.stage("Preparing", total=3):
        raise ValueError("bad")
    progress.show_elsewhere(None)
    show(sent)
    assert capsys.readouterr().err.splitlines()[-1] == "Preparing: stopped after 0 s"


def test_stages_of_a_process_that_is_gone_end(capsys: pytest.CaptureFixture[str]) -> None:
    receiver = show([Reached(0, "Training", None, "step"), Reached(1, "Reading", 3, "case")])
    receiver.close()
    receiver.show(Ended(0, whole=True))
    lines = capsys.readouterr().err.splitlines()
    assert lines[2:] == ["Training: stopped after 0 s", "Reading: stopped after 0 s"]


def test_few_messages_are_sent(sent: list[Event]) -> None:
    with progress.stage("Training", total=10_000) as bar:
        for _ in range(10_000):
            bar.advance()
    assert len(sent) < 20


def test_nothing_is_shown_in_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.quiet():
        show([Said("a line"), Reached(0, "Training", 3, "step"), Ended(0, whole=True)])
    assert capsys.readouterr().err == ""
