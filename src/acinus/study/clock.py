"""The time a command has used, over all its interruptions.

Enters: a budget in seconds and the folder of the run. Leaves: seconds left.
Only time in which a process of the run was alive counts; the wait between a
kill and the next start does not. A thread notes the time every few seconds:
noting it after stages was rejected, since a kill would give a stage's time back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil

from acinus.errors import DataError
from acinus.files import read_json, write_json

AIM = 0.955
"""Share of a time budget that planning aims at: it must end at 90 to 100%."""

NOTED_EVERY_S = 2.0
"""Seconds between two notes of the time used: what a kill can give back at most."""


class Clock:
    """Wall time of a run.

    Args:
        path: File that keeps the seconds of earlier processes.
        budget_s: Ceiling, s; None: no ceiling.
    """

    def __init__(self, path: Path, budget_s: float | None) -> None:
        self.path, self.budget_s = path, budget_s
        self._before_s = _noted_s(path)
        self._begin = time.monotonic() - _seconds_of_command()

    @property
    def used_s(self) -> float:
        """Seconds used by all processes of the run so far."""
        return self._before_s + time.monotonic() - self._begin

    @property
    def left_s(self) -> float:
        """Seconds until the share of the budget that is aimed at; may be negative."""
        if self.budget_s is None:
            return float("inf")
        return AIM * self.budget_s - self.used_s

    def save(self) -> None:
        """Keep the seconds used, for the next process after a kill."""
        write_json(self.path, {"seconds": round(self.used_s, 2)})

    @contextmanager
    def running(self) -> Iterator[None]:
        """Note the time used every few seconds, and at the end of the block."""
        stop = Event()

        def note() -> None:
            while not stop.wait(NOTED_EVERY_S):
                # A full disk is reported by the work itself, which writes more than this.
                with suppress(DataError, OSError):
                    self.save()

        self.save()
        notes = Thread(target=note, name="clock", daemon=True)
        notes.start()
        try:
            yield
        finally:
            stop.set()
            notes.join()
            with suppress(DataError, OSError):
                self.save()


def _noted_s(path: Path) -> float:
    if not path.is_file():
        return 0.0
    noted = read_json(path)
    seconds = noted.get("seconds") if isinstance(noted, dict) else None
    if not isinstance(seconds, int | float):
        raise DataError(
            f"{path}: must hold the seconds used so far; got {noted!r}. Delete it to begin anew."
        )
    return float(seconds)


def _seconds_of_command() -> float:
    """Age of this process if it is the command line, s; a notebook may have run for days."""
    program = Path(sys.argv[0])
    as_module = program.stem == "__main__" and "acinus" in program.parts
    if program.stem != "acinus" and not as_module:
        return 0.0
    return max(0.0, time.time() - psutil.Process().create_time())
