"""Who may take how much of a time budget when trainings run side by side.

Enters: the clock, the number of trainings and of places. Leaves: seconds for the
plan of an arm, and a deadline for each training when it is started. Dividing the
time of all places by the number of trainings was rejected: five trainings on two
places take three rounds, not two and a half.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import torch

from acinus.networks.device import best_device
from acinus.plan.settings import TrainSettings

START_S = 5.0
"""Set aside for the start of a process, which imports torch before it does anything, s."""


def rounds(n_trainings: int, n_places: int) -> int:
    """How often a place is taken anew until all trainings are done.

    Args:
        n_trainings: Trainings of equal length, at least 0.
        n_places: Trainings at a time, at least 1.
    """
    return -(-n_trainings // n_places)


def crowding(n_places: int, n_threads: int, device: str) -> float:
    """How many times as long a step takes when others train on the same machine.

    Args:
        n_places: Trainings at a time.
        n_threads: Threads of each.
        device: ``cpu``, ``cuda`` or ``mps``.

    Returns:
        At least 1: threads over cores, or trainings over GPUs, where there are more. What the
        trainings take of each other's memory bandwidth is not in it; the clock corrects for that
        under way.
    """
    if device != "cpu":
        return max(1.0, n_places / max(1, torch.cuda.device_count()))
    alone = max(1.0, n_threads / n_cores())
    return max(1.0, n_places * n_threads / n_cores()) / alone


def n_cores_of(train: TrainSettings) -> int:
    """Cores of one training: on a CPU each of its processes has its threads."""
    device = best_device() if train.device == "auto" else train.device
    return train.threads * (1 if device == "cuda" else train.devices)


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def planned_share(
    left_s: Callable[[], float], trainings: Sequence[int], index: int, n_places: int
) -> Callable[[], float]:
    """Seconds that an arm would have by itself, with all places, for its own rounds.

    Arms are planned one after the other before any is trained. What planning the
    earlier ones took is set aside for each that is still to be planned.

    Args:
        left_s: Seconds left for everything, now.
        trainings: Number of trainings of each arm, in the order of planning.
        index: Which of the arms asks.
        n_places: Trainings at a time.
    """
    begin_s = left_s()
    share = rounds(trainings[index], n_places) / rounds(sum(trainings), n_places)

    def share_left_s() -> float:
        now_s = left_s()
        per_plan_s = (begin_s - now_s) / (index + 1)
        return share * (now_s - per_plan_s * (len(trainings) - index - 1))

    return share_left_s


def clock_of(*, shares_machine: bool) -> Callable[[], float]:
    """The clock by which a training in another process ends, s.

    On one machine the one that all its processes share, which neither the sleep of a laptop nor
    a corrected date moves; else the time of day.
    """
    return time.monotonic if shares_machine else time.time


def deadline(
    now_s: float, left_s: float, index: int, n_trainings: int, n_places: int, after_s: float
) -> float:
    """When a training that starts now must end, s by the clock of `now_s`.

    All are given the same time, also where a place is free while another does the last round:
    they shall be alike.

    Args:
        now_s: What `clock_of` shows.
        left_s: Seconds left for all trainings that wait, with what follows each.
        index: How many were started before this one.
        n_trainings: How many there are.
        n_places: Trainings at a time.
        after_s: What follows this training within its share: its validation.
    """
    n_rounds_left = rounds(n_trainings, n_places) - index // n_places
    return now_s + left_s / n_rounds_left - after_s
