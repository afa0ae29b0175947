"""Work side by side on this machine: each task in a process of its own.

Enters: tasks that know nothing but paths and plain data. Leaves: what they write.
The number of threads of a task is that of its plan, so that its results do not
depend on how many run beside it. A pool of lasting workers was rejected: when
the system ends one of them, a pool gives up the tasks of all the others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch

from acinus import progress
from acinus.errors import AcinusError
from acinus.study.relay import Ended, Event, Reached, Receiver, Said, Sender
from acinus.train.processes import (
    GRACE_S,
    Failure,
    follow_parent,
    how_it_ended,
    raise_failure,
    send_failure,
)

MOST_STARTS = 2
"""A task whose process was ended by the system is started once more."""


@dataclass(frozen=True)
class Task:
    """A piece of work that any process can do, on any machine that sees the same files.

    Attributes:
        name: In messages, such as ``"AX-T1, fold 2"``.
        work: Function at the top of a module.
        arguments: Of `work`; picklable, with absolute paths.
        prefix: In front of its lines of progress.
        n_threads: Threads that it computes with.
        n_devices: GPUs that it computes on; 0: none.
    """

    name: str
    work: Callable[..., None]
    arguments: tuple[Any, ...] = ()
    prefix: str = ""
    n_threads: int = 1
    n_devices: int = 0


class Workers(Protocol):
    """Something that does several tasks at a time."""

    n_places: int
    """Tasks that it does at a time."""

    share_machine: bool
    """Whether all of them compute on this machine, with any of its cores."""

    def start(self, task: Task) -> None:
        """Begin a task; there must be a free place."""

    def wait(self) -> list[Task]:
        """Wait until at least one task is done; those that are.

        Raises:
            AcinusError: A task failed; its own error, of whatever type it was.
        """

    def close(self) -> None:
        """Stop what is running."""


def work_off(
    tasks: Iterable[Task], workers: Workers, *, then: Callable[[Task], Iterable[Task]]
) -> None:
    """Do all tasks, as many at a time as there are places.

    Args:
        tasks: In the order in which they are started; each is asked for when a place is free.
        workers: Do them; closed by the caller.
        then: Tasks that follow from one that is done; they go before those that wait.

    Raises:
        AcinusError: A task failed; no further one is started.
    """
    coming, following = iter(tasks), list[Task]()
    n_running, is_empty = 0, False
    while True:
        while n_running < workers.n_places and not (is_empty and not following):
            if following:
                workers.start(following.pop(0))
            elif (task := next(coming, None)) is not None:
                workers.start(task)
            else:
                is_empty = True
                continue
            n_running += 1
        if not n_running:
            return
        for done in workers.wait():
            n_running -= 1
            following += then(done)


@dataclass
class _Running:
    """A task under way and the process that does it."""

    task: Task
    place: int
    process: Any
    messages: Connection
    receiver: Receiver
    is_done: bool = False
    failure: Failure | None = None


@dataclass
class Processes:
    """Workers on this machine: a process for each task, so many at a time.

    Attributes:
        n_places: Processes at a time.
        share_machine: True.
    """

    n_places: int
    share_machine: bool = True
    _running: list[_Running] = field(default_factory=list)
    _starts: dict[str, int] = field(default_factory=dict)

    def start(self, task: Task) -> None:
        """Begin a task in a fresh process."""
        taken = {one.place for one in self._running}
        place = next(place for place in range(self.n_places) if place not in taken)
        context = get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        devices = devices_of_place(place, task.n_devices)
        process = context.Process(target=_work, args=(theirs, task, devices), name=task.name)
        process.start()
        theirs.close()
        self._starts[task.name] = self._starts.get(task.name, 0) + 1
        self._running.append(_Running(task, place, process, ours, Receiver(task.prefix)))

    def wait(self) -> list[Task]:
        """Wait until at least one task is done; those that are."""
        while True:
            ready = connection.wait([one.messages for one in self._running])
            for one in list(self._running):
                if one.messages in ready:
                    self._listen(one)
            ended = [one for one in self._running if one.messages.closed]
            self._running = [one for one in self._running if not one.messages.closed]
            for one in ended:
                one.process.join()
                if one.failure is not None:
                    raise_failure(one.failure)
                if not one.is_done:
                    self._start_again(one)
            done = [one.task for one in ended if one.is_done]
            if done:
                return done

    def close(self) -> None:
        """Tell all processes to stop, and end those that do not."""
        for one in self._running:
            one.receiver.close()
            one.messages.close()
            one.process.terminate()
        for one in self._running:
            one.process.join(GRACE_S)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
        self._running.clear()

    def _listen(self, one: _Running) -> None:
        """Take what a process says; a process that is gone closes its end."""
        try:
            message: Event | Failure | None = one.messages.recv()
        except (EOFError, OSError):
            one.receiver.close()
            one.messages.close()
            return
        if isinstance(message, Said | Reached | Ended):
            one.receiver.show(message)
        else:
            one.is_done, one.failure = message is None, message

    def _start_again(self, one: _Running) -> None:
        how = how_it_ended(one.process.exitcode)
        if self._starts[one.task.name] >= MOST_STARTS:
            raise AcinusError(
                f"{one.task.name}: a worker process must run to its end; it {how}, "
                f"{MOST_STARTS} times. What was finished is kept. Start the same command again "
                "with fewer --jobs, or with a smaller train.batch; it goes on from here."
            )
        progress.say(f"Warning: {one.task.name}: its worker process {how}; it is started again.")
        self.start(one.task)


@contextmanager
def local_workers(n: int) -> Iterator[Workers]:
    """Workers on this machine for the length of the block; all end with it.

    Args:
        n: Processes at a time, at least 1.
    """
    workers = Processes(n)
    try:
        yield workers
    finally:
        workers.close()


def devices_of_place(place: int, n_devices: int) -> str | None:
    """GPUs for the task at a place, as ``CUDA_VISIBLE_DEVICES`` names them; None: no choice.

    Args:
        place: Number of the place, from 0.
        n_devices: GPUs that the task computes on.
    """
    n_here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if n_here < 2 or not n_devices:
        return None
    stated = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = stated.split(",") if stated else [str(index) for index in range(n_here)]
    first = place * n_devices
    return ",".join(names[(first + offset) % n_here] for offset in range(min(n_devices, n_here)))


def _work(messages: Connection, task: Task, devices: str | None) -> None:
    """What a worker process does from its start to its end."""
    follow_parent()
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices
    lock = threading.Lock()

    def send(message: Event | Failure | None) -> None:
        with lock, suppress(BrokenPipeError):  # Nobody listens any more: this process must stop.
            messages.send(message)

    progress.show_elsewhere(Sender(send))
    try:
        task.work(*task.arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, another process must show it
        send_failure(error, send)
    else:
        send(None)
