"""How a time budget is divided over trainings side by side."""

from __future__ import annotations

import math
import time

import pytest

from acinus.study.shares import clock_of, crowding, deadline, n_cores, planned_share, rounds


@pytest.mark.parametrize(
    ("n_trainings", "n_places", "n_rounds"),
    [(5, 1, 5), (5, 2, 3), (5, 5, 1), (5, 8, 1), (0, 2, 0), (12, 4, 3)],
)
def test_rounds(n_trainings: int, n_places: int, n_rounds: int) -> None:
    assert rounds(n_trainings, n_places) == n_rounds


def run_rounds(total_s: float, n: int, n_places: int) -> list[float]:
    """Lengths of trainings that each end at their deadline, on a made clock."""
    now_s = 0.0
    running: list[float] = []
    lengths = []
    for index in range(n):
        if len(running) == n_places:
            now_s = min(running)
            running.remove(now_s)
        end_s = deadline(now_s, total_s - now_s, index, n, n_places, 0.0)
        lengths.append(end_s - now_s)
        running.append(end_s)
    assert max(running) <= total_s + 0.01
    return lengths


@pytest.mark.parametrize(("n", "n_places"), [(1, 1), (5, 1), (5, 2), (4, 4), (7, 3), (2, 6)])
def test_trainings_fill_the_time_in_equal_shares(n: int, n_places: int) -> None:
    lengths = run_rounds(900.0, n, n_places)
    assert lengths == pytest.approx([900.0 / math.ceil(n / n_places)] * n, abs=0.1)


def test_what_follows_a_training_is_taken_from_its_share() -> None:
    assert deadline(5.0, 100.0, 0, 4, 2, 7.0) == pytest.approx(48.0)


def test_the_sleep_of_a_laptop_moves_no_deadline_of_its_own_processes() -> None:
    assert clock_of(shares_machine=True) is time.monotonic
    assert clock_of(shares_machine=False) is time.time


def test_arms_are_planned_for_their_part_of_all_rounds() -> None:
    """Three arms of 2, 2 and 4 trainings on 4 places: 2 rounds, the third arm needs one."""
    shares = [planned_share(lambda: 100.0, [2, 2, 4], index, 4) for index in range(3)]
    # By itself each arm would be one round; 2 rounds hold them all.
    assert [share() for share in shares] == pytest.approx([50.0, 50.0, 50.0])


def test_planning_of_the_arms_to_come_is_set_aside() -> None:
    now_s = [100.0]
    shares = [planned_share(lambda: now_s[0], [1, 1, 1], index, 3) for index in range(3)]
    now_s[0] = 90.0  # the first was prepared and timed in 10 s; two more will take as long
    assert shares[0]() == pytest.approx(70.0)
    now_s[0] = 80.0
    assert shares[1]() == pytest.approx(70.0)
    now_s[0] = 70.0
    assert shares[2]() == pytest.approx(70.0)


def test_more_threads_than_cores_make_steps_slower() -> None:
    cores = n_cores()
    assert crowding(1, cores, "cpu") == 1.0
    assert crowding(3, cores, "cpu") == pytest.approx(3.0)
    assert crowding(cores, 1, "cpu") == 1.0
    # What one training alone loses for its own threads was measured with it.
    assert crowding(1, 2 * cores, "cpu") == 1.0
    assert crowding(2, 2 * cores, "cpu") == pytest.approx(2.0)
