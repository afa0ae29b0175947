"""Work side by side: what tasks leave, how their faults are told, and that all end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from acinus import progress
from acinus.errors import AcinusError, DataError
from acinus.study.parallel import Task, devices_of_place, local_workers, work_off

SLEEP_S = 60.0
"""A task that sleeps so long must be stopped by the test."""


def write(path: Path, text: str) -> None:
    with progress.stage("Writing", total=3, unit="word") as bar:
        bar.advance(3)
    progress.say(f"wrote {path.name}")
    path.write_text(text, encoding="utf-8")


def refuse(path: Path) -> None:
    raise DataError(f"{path}: must be whole; it is not. Look at it.")


class AwkwardError(Exception):
    """Made from two arguments, so that it cannot be made again from its message."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def be_awkward() -> None:
    raise AwkwardError("this", "that")


def die_once(path: Path) -> None:
    if not path.is_file():
        path.write_text("was here", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
    path.with_suffix(".done").write_text("done", encoding="utf-8")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(path: Path) -> None:
    """Waits; told to stop, it clears away what it was writing, as `whole_file` does."""
    path.write_text(str(os.getpid()), encoding="utf-8")
    try:
        time.sleep(SLEEP_S)
    finally:
        path.unlink()


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 40
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def nothing(task: Task) -> Iterator[Task]:
    return iter(())


@pytest.mark.slow
def test_tasks_are_done_and_what_follows_from_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def then(task: Task) -> Iterator[Task]:
        if task.name == "one":
            yield Task("three", write, (tmp_path / "three", "3"))

    tasks = [Task(n, write, (tmp_path / n, n), prefix=f"{n}: ") for n in ("one", "two")]
    with local_workers(2) as workers:
        work_off(tasks, workers, then=then)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "three"}
    shown = capsys.readouterr().err.splitlines()
    assert "one: wrote one" in shown
    assert "two: Writing (3 words) …" in shown
    assert any(line.startswith("two: Writing: done") for line in shown)


@pytest.mark.slow
def test_an_error_keeps_its_type_words_and_traceback(tmp_path: Path) -> None:
    path = tmp_path / "asleep"
    tasks = [Task("slow", sleep, (path,)), Task("bad", refuse, (tmp_path / "file",))]
    begin = time.monotonic()
    with pytest.raises(DataError) as caught, local_workers(2) as workers:
        work_off(tasks, workers, then=nothing)
    assert str(caught.value) == f"{tmp_path / 'file'}: must be whole; it is not. Look at it."
    assert "in refuse" in str(caught.value.__cause__)
    assert time.monotonic() - begin < SLEEP_S / 2
    assert not path.exists(), "the other task must stop and clear away"


@pytest.mark.slow
def test_an_error_that_cannot_travel_is_told_in_words() -> None:
    said = "AwkwardError: this and that"
    with pytest.raises(RuntimeError, match=said) as caught, local_workers(1) as workers:
        work_off([Task("awkward", be_awkward)], workers, then=nothing)
    assert "in be_awkward" in str(caught.value.__cause__)


@pytest.mark.slow
def test_a_killed_task_is_started_once_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with local_workers(1) as workers:
        work_off([Task("fold 2", die_once, (tmp_path / "mark",))], workers, then=nothing)
    assert (tmp_path / "mark.done").is_file()
    assert (
        "Warning: fold 2: its worker process was ended by the system (SIGKILL, most often for "
        "want of memory); it is started again." in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_task_that_is_killed_again_ends_the_work_with_a_sentence() -> None:
    with pytest.raises(AcinusError) as caught, local_workers(1) as workers:
        work_off([Task("AX-T1, fold 2", die)], workers, then=nothing)
    assert str(caught.value) == (
        "AX-T1, fold 2: a worker process must run to its end; it was ended by the system "
        "(SIGKILL, most often for want of memory), 2 times. What was finished is kept. Start the "
        "same command again with fewer --jobs, or with a smaller train.batch; it goes on from here."
    )


PROGRAM = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # left ignored by a shell's background
sys.path.insert(0, {tests!r})
from test_parallel import nothing, sleep
from acinus.study.parallel import Task, local_workers, work_off

if __name__ == "__main__":
    tasks = [Task(name, sleep, (Path({folder!r}, name),)) for name in ("one", "two")]
    with local_workers(2) as workers:
        work_off(tasks, workers, then=nothing)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_one_who_started_them(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "program.py"
    text = PROGRAM.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    program.write_text(text, encoding="utf-8")
    marks = [tmp_path / "one", tmp_path / "two"]
    command = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: all(mark.is_file() and mark.read_text() for mark in marks), "not started")
        pids = [int(mark.read_text()) for mark in marks]
        command.send_signal(number)
        command.wait(30)
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids), "workers live on")
        assert not any(mark.exists() for mark in marks), "what they wrote was not cleared away"
    finally:
        command.kill()
        command.communicate()


@pytest.mark.parametrize(
    ("n_gpus", "stated", "place", "n_devices", "chosen"),
    [
        (0, "", 0, 1, None),
        (1, "", 3, 1, None),
        (4, "", 0, 0, None),
        (4, "", 1, 1, "1"),
        (4, "", 5, 1, "1"),
        (4, "", 1, 2, "2,3"),
        (2, "3,5", 1, 1, "5"),
        (2, "", 0, 8, "0,1"),
    ],
)
def test_each_place_has_its_gpus(
    monkeypatch: pytest.MonkeyPatch,
    n_gpus: int,
    stated: str,
    place: int,
    n_devices: int,
    chosen: str | None,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", stated)
    assert devices_of_place(place, n_devices) == chosen
