"""Whether two runs have the same results, and how to end one of their processes half-way."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from safetensors.numpy import load_file


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Same plan, same split, and weights and scores equal to the bit."""
    for name in ("scores.csv", "split.json", "plan.yaml", "sampling.csv", "predictions.csv"):
        if name == "predictions.csv":
            assert without_seconds(ours / name) == without_seconds(theirs / name)
        else:
            assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert_same_weights(ours, theirs)


def assert_same_weights(ours: Path, theirs: Path) -> None:
    names = sorted(path.relative_to(theirs) for path in theirs.rglob("weights.safetensors"))
    assert names == sorted(path.relative_to(ours) for path in ours.rglob("weights.safetensors"))
    for name in names:
        weights = load_file(ours / name)
        for key, value in load_file(theirs / name).items():
            np.testing.assert_array_equal(weights[key], value)


def without_seconds(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(stream)
        ]


@contextmanager
def killing_one_that_writes_in(training: Path) -> Iterator[list[int]]:
    """End the child process that trains in a folder, once, after it has trained for a while.

    Yields the process ids that were killed; empty where the training was too quick.
    """
    killed: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not killed and not stop.wait(0.01):
            if (training / "checkpoint.safetensors").is_file():
                for process in psutil.Process().children(recursive=True):
                    if any(training in path.parents for path in files(process)):
                        process.kill()
                        killed.append(process.pid)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield killed
    finally:
        stop.set()
        watcher.join()


def files(process: psutil.Process) -> list[Path]:
    try:
        return [Path(file.path) for file in process.open_files()]
    except psutil.Error:
        return []
