"""From the words of a command line to an exit status.

Enters: tokens. Leaves: 0 done; 1 faults found by ``acinus check``; 2 wrong use
or unusable input; 3 done, but some cases failed; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from io import TextIOWrapper

from cyclopts.exceptions import CycloptsError

from acinus.cli.commands import app
from acinus.errors import AcinusError

UNUSABLE = 2
STOPPED = 130
"""128 + SIGINT, as shells count."""
PIPE_CLOSED = 141
"""128 + SIGPIPE, as shells count."""

SPIN_COUNT = "1000"
"""Rounds that an idle thread of GNU OpenMP waits awake before it sleeps. Its default of
300,000 made a training step four to fifteen times slower on two cores that another
program used as well; a thousand rounds cost nothing measurable on an idle machine."""


def main(tokens: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        tokens: Words after ``acinus``; None takes those of this process.
    """
    # Read by the OpenMP library when torch is first imported, by worker processes too.
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    _print_anywhere()
    words = list(sys.argv[1:] if tokens is None else tokens)
    use_debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not use_debug:
        warnings.showwarning = _show_warning
    try:
        status = app(words, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:
        return _leave_closed_pipe()
    except KeyboardInterrupt:
        _tell("\nstopped; start the same command again to go on.", use_debug)
        return STOPPED
    except CycloptsError as error:
        chain = " ".join(("acinus", *(error.command_chain or ())))
        _tell(f"acinus: {_one_line(error)} See '{chain} --help'.", use_debug)
        return UNUSABLE
    except Exception as error:  # noqa: BLE001 - the last door before the person who waits
        _tell(f"acinus: {explain(error)}", use_debug)
        return UNUSABLE
    return int(status or 0)


def _print_anywhere() -> None:
    """A terminal that knows only ASCII shows '?' for '±' and does not end a long run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def explain(error: BaseException) -> str:
    """What a fault means to the person who started the command.

    Args:
        error: Any exception of a command.

    Returns:
        One sentence or more; of an `AcinusError` its own words.
    """
    if isinstance(error, AcinusError):
        return str(error)
    if _is_want_of_memory(error):
        return (
            "the memory of this machine must hold the work and does not. "
            "Use fewer workers (--jobs 1), a smaller train.batch or train.patch_vox "
            "(--set), or a machine with more memory."
        )
    if isinstance(error, BrokenProcessPool):
        return (
            "a worker process was ended by the system, most often for want of memory. "
            "Start the same command again with --jobs 1; it goes on from here."
        )
    if isinstance(error, OSError) and error.strerror:
        return _explain_os_error(error)
    return (
        f"{type(error).__name__}: {_one_line(error)}\n"
        "This is a fault of Acinus, not of your data: please report it with the command and "
        "the output of the same command with --debug."
    )


def _explain_os_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{place}the disk must have room for the results and is full. "
            "Free some space and start the same command again; it goes on from here."
        )
    return f"{place}must be a file or folder that can be used; {error.strerror}."


def _is_want_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text)
    )


def _leave_closed_pipe() -> int:
    """The reader of a pipe has gone (``acinus check … | head``): say nothing more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def _tell(text: str, use_debug: bool) -> None:
    if use_debug:
        traceback.print_exc()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """A warning as one line without the place in the code; --debug shows that."""
    sys.stderr.write(f"warning: {' '.join(str(message).split())}\n")
