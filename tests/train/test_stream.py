"""Reading ahead: the batches of their steps, in order, and failures as they were."""

from __future__ import annotations

import threading
import traceback

import pytest

from acinus.train.stream import Ahead

DEADLINE_S = 20.0


@pytest.mark.parametrize("n_ahead", [0, 1, 3])
def test_batches_come_as_their_steps_ask_for_them(n_ahead: int) -> None:
    ahead = Ahead(lambda step: step**2, n_ahead)
    assert [ahead.take(step) for step in range(30)] == [step**2 for step in range(30)]
    # After a way back, and after a leap forward.
    assert [ahead.take(step) for step in (12, 13, 14, 100, 101)] == [144, 169, 196, 10000, 10201]
    ahead.close()


def test_without_reading_ahead_there_is_no_thread() -> None:
    drawn = []

    def draw(step: int) -> int:
        drawn.append((step, threading.current_thread()))
        return step

    ahead = Ahead(draw, 0)
    assert [ahead.take(step) for step in range(3)] == [0, 1, 2]
    assert drawn == [(step, threading.main_thread()) for step in range(3)]
    ahead.close()


def test_the_next_batches_are_drawn_before_they_are_asked_for() -> None:
    drawn = {step: threading.Event() for step in range(5)}

    def draw(step: int) -> str:
        drawn[step].set()
        return threading.current_thread().name

    ahead = Ahead(draw, 3)
    assert ahead.take(0).startswith("batches")
    for step in (1, 2, 3):
        assert drawn[step].wait(DEADLINE_S)
    assert not drawn[4].is_set()
    ahead.close()


def test_drawing_happens_while_a_step_is_under_way() -> None:
    """The third batch waits until the first one was taken: only threads can bring it."""
    first_taken = threading.Event()

    def draw(step: int) -> int:
        if step == 1:
            assert first_taken.wait(DEADLINE_S)
        return step

    ahead = Ahead(draw, 2)
    assert ahead.take(0) == 0
    first_taken.set()
    assert [ahead.take(1), ahead.take(2)] == [1, 2]
    ahead.close()


@pytest.mark.parametrize("n_ahead", [0, 2])
def test_a_failure_is_raised_at_its_step_with_its_own_traceback(n_ahead: int) -> None:
    def read_patch(step: int) -> int:
        if step == 2:
            raise OSError("disk pulled out")
        return step

    ahead = Ahead(read_patch, n_ahead)
    assert [ahead.take(0), ahead.take(1)] == [0, 1]
    with pytest.raises(OSError, match="disk pulled out") as error:
        ahead.take(2)
    assert traceback.extract_tb(error.value.__traceback__)[-1].name == "read_patch"
    ahead.close()


def test_closing_ends_the_threads_and_drops_what_waits() -> None:
    ahead = Ahead(lambda step: step, 3)
    ahead.take(0)
    ahead.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("batches")]
    with pytest.raises(RuntimeError):
        ahead.take(1)
