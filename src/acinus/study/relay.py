"""Progress of one process shown by another.

Enters: stages and lines of a worker process. Leaves: the same stages and lines
in the process that a person watches, with the worker's task in front. Workers
that write to the terminal themselves were rejected: two live displays overwrite
each other.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from acinus import progress
from acinus.progress import Bar

SENT_EVERY_S = 0.5
"""Least time between two messages about one stage, s."""


@dataclass(frozen=True)
class Said:
    """A line."""

    text: str


@dataclass(frozen=True)
class Reached:
    """How far a stage is; the first message about a stage opens it.

    Attributes:
        stage: Number of the stage within its process.
        name: What is done.
        total: Number of units, None where it is not known.
        unit: What is counted.
        first: Units that were made before an interruption.
        done: Units made, `first` included.
        note: Remark behind the bar.
    """

    stage: int
    name: str
    total: int | None
    unit: str
    first: int = 0
    done: int = 0
    note: str = ""


@dataclass(frozen=True)
class Ended:
    """A stage is over; `whole` is False where an error ended it."""

    stage: int
    whole: bool


Event = Said | Reached | Ended


class _SentBar(Bar):
    """A stage that tells another process how far it is."""

    def __init__(
        self, name: str, total: int | None, unit: str, number: int, send: Callable[[Event], None]
    ) -> None:
        super().__init__(name, total, unit)
        self.number, self._send, self._sent = number, send, time.monotonic()
        self.tell()

    def tell(self) -> None:
        """Send the state now."""
        self._sent = time.monotonic()
        state = (self.name, self.total, self.unit, self._first, self.done, self.note)
        self._send(Reached(self.number, *state))

    def _show(self, note: str) -> None:
        super()._show(note)
        if time.monotonic() - self._sent >= SENT_EVERY_S:
            self.tell()


class Sender:
    """The outlet of a worker process, see `acinus.progress.show_elsewhere`.

    Args:
        send: Takes each event to the process that shows it.
    """

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send, self._numbers = send, itertools.count()

    @contextmanager
    def stage(self, name: str, total: int | None, unit: str) -> Iterator[Bar]:
        """A stage that is shown elsewhere."""
        bar = _SentBar(name, total, unit, next(self._numbers), self._send)
        is_whole = False
        try:
            yield bar
            is_whole = True
        finally:
            bar.tell()
            self._send(Ended(bar.number, is_whole))

    def say(self, text: str) -> None:
        """A line that is shown elsewhere."""
        self._send(Said(text))


class Receiver:
    """Shows the stages and lines of one worker process in this process.

    Args:
        prefix: Put in front of each name and line, such as ``"AX-T1: "``.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._open: dict[int, tuple[AbstractContextManager[Bar], Bar]] = {}
        self._first: dict[int, int] = {}

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Said):
            progress.say(f"{self.prefix}{event.text}")
        elif isinstance(event, Reached):
            self._reach(event)
        elif event.stage in self._open:
            self._end(event.stage, whole=event.whole)

    def close(self) -> None:
        """End the stages of a process that is gone."""
        for number in list(self._open):
            self._end(number, whole=False)

    def _reach(self, event: Reached) -> None:
        if event.stage not in self._open:
            context = progress.stage(f"{self.prefix}{event.name}", event.total, event.unit)
            self._open[event.stage] = (context, context.__enter__())
            self._first[event.stage] = 0
        bar = self._open[event.stage][1]
        if event.total is not None and event.total != bar.total:
            bar.retotal(event.total)
        if event.first != self._first[event.stage]:
            self._first[event.stage] = event.first
            bar.resume_at(event.first)
        bar.advance(event.done - bar.done, note=event.note)

    def _end(self, number: int, *, whole: bool) -> None:
        context = self._open.pop(number)[0]
        if whole:
            context.__exit__(None, None, None)
        else:
            gone = InterruptedError()
            context.__exit__(InterruptedError, gone, None)
