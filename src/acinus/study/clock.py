"""The time a command has used, over all its interruptions.

Enters: a budget in seconds and the folder of the run. Leaves: seconds left.
Only time in which a process of the run was alive counts; the wait between a
kill and the next start does not.
"""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from acinus.files import read_json, write_json

AIM = 0.965
"""Share of a time budget that planning aims at: it must end at 90 to 100%."""


class Clock:
    """Wall time of a run.

    Args:
        path: File that keeps the seconds of earlier processes.
        budget_s: Ceiling, s; None: no ceiling.
    """

    def __init__(self, path: Path, budget_s: float | None) -> None:
        self.path, self.budget_s = path, budget_s
        self._before_s = float(read_json(path)["seconds"]) if path.is_file() else 0.0
        since_birth_s = max(0.0, time.time() - psutil.Process().create_time())
        self._begin = time.monotonic() - since_birth_s

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
