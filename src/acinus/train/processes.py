"""Processes that end with the one who started them, and whose errors arrive there as they were.

Enters: a process that was started to do a part of the work. Leaves: its error with
its own traceback, or a sentence on how the system ended it. The futures of the
standard library were rejected: one process that is killed takes its siblings along.
"""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from types import FrameType
from typing import NoReturn

GRACE_S = 15.0
"""Seconds that a process has to leave whole files behind once it is told to stop."""

TOLD_TO_STOP = 128 + signal.SIGTERM
"""Exit status of a process that stopped because it was told to."""


@dataclass(frozen=True)
class Failure:
    """An error of another process: itself where it can travel, and how it came about."""

    error: Exception | None
    text: str
    traceback: str


class OtherTraceback(Exception):
    """How an error came about in another process; the cause of that error in this one."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def follow_parent() -> None:
    """Make this process end with the one that started it, and leave Ctrl-C to that one.

    Told to stop, it raises SystemExit, so that files which are being written are cleared away.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def send_failure(error: Exception, send: Callable[[Failure], None]) -> None:
    """Send an error to another process.

    Args:
        error: As it was caught.
        send: Pickles what it is given; may fail.
    """
    steps = "".join(traceback.format_exception(error))
    text = f"{type(error).__name__}: {error}"
    try:
        copy.copy(error)  # is made from its arguments, as it will be where it arrives
        send(Failure(error, text, steps))
    except Exception:  # noqa: BLE001 - an error of any library may refuse to travel, in any way
        send(Failure(None, text, steps))


def raise_failure(failure: Failure) -> NoReturn:
    """Raise the error of another process as it was, with its own traceback as its cause."""
    error = failure.error or RuntimeError(failure.text)
    raise error from OtherTraceback(failure.traceback)


def how_it_ended(status: int | None) -> str:
    """Words for a process that is gone without a word: ``was ended by the system (SIGKILL, …)``.

    Args:
        status: Exit status, negative for a signal.
    """
    if status == TOLD_TO_STOP:
        status = -signal.SIGTERM
    if status is not None and status < 0:
        names = {number.value: number.name for number in signal.Signals}
        name = names.get(-status, str(-status))
        why = ", most often for want of memory" if name == "SIGKILL" else ""
        return f"was ended by the system ({name}{why})"
    return f"ended with status {status} before its work was done"


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(TOLD_TO_STOP)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(TOLD_TO_STOP)  # It waits within a library, perhaps for a process that is gone.
