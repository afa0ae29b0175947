"""Batches ahead of the step that needs them.

Enters: a function from a step to its batch. Leaves: batches in order. Where the
data do not stay on the device that trains, threads read the next ones while it
computes: cutting from a memory map releases Python's lock, and a failure keeps
its own traceback. Processes were rejected: their failure shows as a worker that
"is no longer alive", and each copies the tables of the sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Draws ahead of time.

    Args:
        draw: The batch of a step; depends on nothing but the step.
        n_ahead: Batches that are drawn before they are asked for; 0: none, and no thread.
    """

    def __init__(self, draw: Callable[[int], T], n_ahead: int) -> None:
        self.draw, self.n_ahead = draw, n_ahead
        self._waiting: dict[int, Future[T]] = {}
        self._pool = ThreadPoolExecutor(n_ahead, "batches") if n_ahead else None

    def take(self, step: int) -> T:
        """The batch of a step; an error of its drawing is raised here as it was."""
        if self._pool is None:
            return self.draw(step)
        for coming in range(step, step + self.n_ahead + 1):
            if coming not in self._waiting:
                self._waiting[coming] = self._pool.submit(self.draw, coming)
        for gone in [other for other in self._waiting if other < step]:
            self._waiting.pop(gone).cancel()
        return self._waiting.pop(step).result()

    def close(self) -> None:
        """Drop what is waiting."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()
