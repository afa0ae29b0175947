"""Progress of long jobs: a bar with time left on a terminal, plain lines in a log.

Enters: the name and length of a stage and its advances. Leaves: text on
standard error, never on standard output, so that results can be piped. One
bar lives at a time; a stage inside a stage becomes a further line of the same
display. A logging framework was rejected: a stage has one reader, the person
who waits for it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

T = TypeVar("T")

PLAIN_SECONDS = 10.0
"""Least time between two plain lines of one stage, seconds."""

_quiet: ContextVar[bool] = ContextVar("acinus_quiet", default=False)


class Bar:
    """One stage under way; made by `stage`.

    Args:
        name: What is done, e.g. ``"Training fold 0"``.
        total: Number of units; None when it is not known beforehand.
        unit: What is counted, singular.
    """

    def __init__(self, name: str, total: int | None, unit: str) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.note = ""
        self.started = time.monotonic()
        self._first = 0

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count `n` more units; `note` replaces the remark behind the bar."""
        self.done += n
        self._show(note)

    def resume_at(self, done: int) -> None:
        """Start from `done` units made before an interruption; they do not count as speed."""
        self.done = self._first = done
        self.started = time.monotonic()
        self._show("")

    def retotal(self, total: int) -> None:
        """Change how many units there are, when a plan is corrected under way."""
        self.total = total
        self._show("")

    def seconds_left(self) -> float | None:
        """Seconds until the end at the speed so far; None when it cannot be known."""
        made = self.done - self._first
        if self.total is None or made <= 0:
            return None
        elapsed = time.monotonic() - self.started
        return max(0.0, elapsed / made * (self.total - self.done))

    def state(self) -> str:
        """``37/100 steps, 2 min left, Dice 0.71``: all that one line can say."""
        parts = [f"{self.done}/{self.total}" if self.total is not None else f"{self.done}"]
        parts[0] += f" {plural(self.unit, self.total if self.total is not None else self.done)}"
        left = self.seconds_left()
        if left is not None and (self.total is None or self.done < self.total):
            parts.append(f"{duration(left)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)

    def _show(self, note: str) -> None:
        self.note = note or self.note


class Outlet(Protocol):
    """Where a process that nobody watches sends its stages and lines."""

    def stage(
        self, name: str, total: int | None, unit: str
    ) -> contextlib.AbstractContextManager[Bar]:
        """A stage that is shown elsewhere; arguments as for `acinus.progress.stage`."""

    def say(self, text: str) -> None:
        """A line that is shown elsewhere."""


_outlet: Outlet | None = None


def show_elsewhere(outlet: Outlet | None) -> None:
    """Send all stages and lines of this process, of all its threads, to an outlet.

    Args:
        outlet: Takes them; None: standard error again.
    """
    global _outlet
    _outlet = outlet


class _PlainBar(Bar):
    """Begin, end, and a line about every ten seconds."""

    def __init__(self, name: str, total: int | None, unit: str) -> None:
        super().__init__(name, total, unit)
        self._last = self.started
        count = f" ({total} {plural(unit, total)})" if total is not None else ""
        _write(f"{name}{count} …")

    def _show(self, note: str) -> None:
        super()._show(note)
        now = time.monotonic()
        if now - self._last >= PLAIN_SECONDS:
            self._last = now
            _write(f"{self.name}: {self.state()}")

    def end(self, how: str) -> None:
        note = f", {self.note}" if self.note else ""
        _write(f"{self.name}: {how} after {duration(time.monotonic() - self.started)}{note}")


class _RichBar(Bar):
    """A task of the live display."""

    def __init__(
        self, name: str, total: int | None, unit: str, display: Progress, task: TaskID
    ) -> None:
        super().__init__(name, total, unit)
        self._display = display
        self._task = task
        self._show("")

    def _show(self, note: str) -> None:
        super()._show(note)
        self._display.update(self._task, completed=self.done, total=self.total, state=self.state())


class _Live:
    """The one live display of this process and how many stages use it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.display: Progress | None = None
        self.users = 0

    def enter(self) -> Progress:
        with self.lock:
            if self.display is None:
                self.display = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(bar_width=28),
                    TextColumn("{task.fields[state]}"),
                    TimeElapsedColumn(),
                    console=Console(stderr=True),
                    transient=True,
                )
                self.display.start()
            self.users += 1
            return self.display

    def leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0 and self.display is not None:
                self.display.stop()
                self.display = None


_live = _Live()


@contextlib.contextmanager
def stage(name: str, total: int | None = None, unit: str = "step") -> Iterator[Bar]:
    """Show a stage while the block runs; yields the bar to advance.

    Args:
        name: What is done, e.g. ``"Training fold 0"``.
        total: Number of units, at least 0; None when unknown.
        unit: What is counted, singular.
    """
    if _quiet.get():
        yield Bar(name, total, unit)
        return
    if _outlet is not None:
        with _outlet.stage(name, total, unit) as distant:
            yield distant
        return
    if not _on_terminal():
        plain = _PlainBar(name, total, unit)
        how = "stopped"
        try:
            yield plain
            how = "done"
        finally:
            plain.end(how)
        return
    display = _live.enter()
    task = display.add_task(name, total=total, state="")
    bar = _RichBar(name, total, unit, display, task)
    try:
        yield bar
        elapsed = duration(time.monotonic() - bar.started)
        note = f", {bar.note}" if bar.note else ""
        with contextlib.suppress(OSError, ValueError):
            display.console.print(Text(f"✓ {name}: {elapsed}{note}"))
    finally:
        display.remove_task(task)
        _live.leave()


def track(
    items: Iterable[T], name: str, *, total: int | None = None, unit: str = "case"
) -> Iterator[T]:
    """The items one by one, with a stage that advances after each.

    Args:
        items: What is worked through.
        name: Name of the stage.
        total: Number of items; None takes the length where there is one.
        unit: What is counted, singular.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with stage(name, total=total, unit=unit) as bar:
        for item in items:
            yield item
            bar.advance(1)


def say(text: str) -> None:
    """One plain line on standard error, above the bar where one is shown."""
    if _quiet.get():
        return
    if _outlet is not None:
        _outlet.say(text)
        return
    display = _live.display
    if display is not None:
        display.console.print(Text(text))
    else:
        _write(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show nothing while the block runs (in this thread and context only)."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8 s``, ``4 min 10 s``, ``2 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def plural(unit: str, n: int) -> str:
    """``1 step``, ``2 steps``, ``3 batches``, ``4 bodies``; the word only, for `n` of them."""
    if n == 1:
        return unit
    if unit.endswith(("s", "x", "ch", "sh")):
        return f"{unit}es"
    if unit.endswith("y") and unit[-2:-1] not in "aeiou":
        return f"{unit[:-1]}ies"
    return f"{unit}s"


def _on_terminal() -> bool:
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


def _write(text: str) -> None:
    # A terminal that is gone, or a log on a full disk, must not end the work of a night.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
