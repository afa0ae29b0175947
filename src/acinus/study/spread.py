"""The arms of a study spread over workers: a task for each fold, one to finish each arm.

Enters: planned and prepared arms. Leaves: their run folders, the same as if one
process had done one fold after the other. What lies finished in a folder is not
given to a worker again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from acinus import progress
from acinus.cohort import Case, Dataset
from acinus.errors import ConfigError, DataError
from acinus.networks.device import best_device
from acinus.plan import Plan, read_plan
from acinus.study.arm import (
    ArmJob,
    complete_arm,
    evaluate_arm,
    finish_s,
    is_finished,
    is_trained,
    train_one_fold,
    validation_s,
)
from acinus.study.folders import RunFolder
from acinus.study.on_ray import ray_workers
from acinus.study.parallel import Task, Workers, local_workers, work_off
from acinus.study.shares import deadline

Place = Literal["here", "ray"]
"""Where work is done that can be spread: on this machine, or on a Ray cluster."""


@contextmanager
def open_workers(on: Place, jobs: Sequence[ArmJob], n: int) -> Iterator[Workers | None]:
    """Workers for arms, or None where one thing is done after the other in this process.

    Args:
        on: Where.
        jobs: Arms that will be spread.
        n: Tasks at a time; on Ray, 1 means as many as find room.

    Raises:
        ConfigError: The number is not positive, or Ray is not installed.
    """
    if n < 1:
        raise ConfigError(f"--jobs must be at least 1; got {n}.")
    if on == "ray":
        settings = [job.recipe.train for job in jobs]
        n_threads, n_gpus = 1, 0
        for train in settings:
            device = best_device() if train.device == "auto" else train.device
            on_gpu = device == "cuda"
            n_threads = max(n_threads, train.threads * (1 if on_gpu else train.devices))
            n_gpus = max(n_gpus, train.devices if on_gpu else 0)
        with ray_workers(n_threads, n_gpus, n if n > 1 else None) as workers:
            yield workers
    elif n > 1:
        with local_workers(n) as workers:
            yield workers
    else:
        yield None


@dataclass
class _Arm:
    """An arm under way.

    Attributes:
        job: As any process can do it: no clock, absolute paths.
        plan: Of the arm.
        folds: Folds that are not trained yet.
    """

    job: ArmJob
    plan: Plan
    folds: list[int]


def spread_arms(
    jobs: Sequence[ArmJob],
    workers: Workers,
    *,
    left_s: Callable[[], float] | None,
    evaluate: bool,
) -> None:
    """Train all folds of the arms side by side, and finish each arm when its last fold is done.

    Args:
        jobs: Planned and prepared.
        workers: Do the tasks.
        left_s: Seconds left for all of this; None without a time budget.
        evaluate: Whether each arm is predicted, scored and explained too, or only its model
            completed.
    """
    arms = [_open_arm(job, max(1, workers.n_places // len(jobs))) for job in jobs]
    waiting = [(arm, fold) for arm in arms for fold in arm.folds]
    by_name = {_fold_name(arm.job, fold): (arm, fold) for arm, fold in waiting}
    title = "Trainings, all arms" if len(jobs) > 1 else "Trainings, all folds"
    with progress.stage(title, total=len(waiting), unit="training") as bar:

        def tasks() -> Iterator[Task]:
            for arm in arms:
                if not arm.folds and is_finished(arm.job, evaluated=evaluate):
                    finish_task(arm.job, evaluate)
                elif not arm.folds:
                    yield _finish_task(arm, evaluate=evaluate)
            for index, (arm, fold) in enumerate(waiting):
                end = None
                if left_s is not None:
                    kept_s = _still_to_finish_s(arms, workers.n_places)
                    end = deadline(
                        left_s() - kept_s,
                        index,
                        len(waiting),
                        workers.n_places,
                        validation_s(arm.job, fold),
                    )
                yield _fold_task(arm, fold, end, evaluate=evaluate)

        def then(task: Task) -> Iterator[Task]:
            if task.name not in by_name:
                return
            arm, fold = by_name[task.name]
            bar.advance(1)
            arm.folds.remove(fold)
            if not arm.folds and task.work is train_task:
                yield _finish_task(arm, evaluate=evaluate)

        work_off(tasks(), workers, then=then)


def train_task(job: ArmJob, fold: int, end: float | None) -> None:
    """Train and validate a fold: what a worker does with its arm's folder.

    Args:
        job: Planned and prepared.
        fold: From 0.
        end: When the training must end, seconds since the epoch; None without a clock.
    """
    plan = _plan_of(job)
    train_one_fold(job, plan, fold, None if end is None else lambda: end - time.time())


def train_and_finish_task(job: ArmJob, fold: int, end: float | None, evaluate: bool) -> None:
    """Train the only fold that an arm lacks and finish the arm."""
    train_task(job, fold, end)
    finish_task(job, evaluate)


def finish_task(job: ArmJob, evaluate: bool) -> None:
    """Complete the model of a trained arm and, if wanted, predict, score and explain."""
    plan = _plan_of(job)
    complete_arm(job, plan)
    if evaluate:
        evaluate_arm(job, plan)


def _open_arm(job: ArmJob, n_scorers: int) -> _Arm:
    """The arm as any process can do it; what is trained is looked at here, which costs nothing."""
    plan = read_plan(job.folder.plan)
    to_train = []
    for fold in plan.folds_to_train:
        if is_trained(job, plan, fold):
            train_one_fold(job, plan, fold)
        else:
            to_train.append(fold)
    return _Arm(_anywhere(job, n_scorers), plan, to_train)


def _anywhere(job: ArmJob, n_scorers: int) -> ArmJob:
    """A job without a clock whose paths do not depend on the working folder."""
    return replace(
        job,
        dataset=_absolute(job.dataset),
        folder=RunFolder(job.folder.root.resolve()),
        store=job.store.resolve(),
        share_left_s=None,
        jobs=n_scorers,
    )


def _absolute(dataset: Dataset) -> Dataset:
    def resolved(path: Path | None) -> Path | None:
        return None if path is None else path.resolve()

    def moved(case: Case) -> Case:
        images = tuple(resolved(path) for path in case.images)
        return replace(case, images=images, label=resolved(case.label))

    return replace(
        dataset,
        folder=dataset.folder.resolve(),
        cases=tuple(moved(case) for case in dataset.cases),
    )


def _plan_of(job: ArmJob) -> Plan:
    if not job.folder.plan.is_file():
        raise DataError(
            f"{job.folder.plan}: must be seen by every worker, and is not. Choose an --out folder "
            "on a disk that all machines of the cluster share, under the same path."
        )
    return read_plan(job.folder.plan)


def _title(job: ArmJob) -> str:
    return job.name if job.model == "final" else f"{job.name}, {job.model}"


def _fold_name(job: ArmJob, fold: int) -> str:
    return f"{_title(job)}, fold {fold + 1}"


def _fold_task(arm: _Arm, fold: int, end: float | None, *, evaluate: bool) -> Task:
    train = arm.plan.settings.train
    on_gpu = train.device == "cuda"
    is_last = arm.folds == [fold]
    return Task(
        name=_fold_name(arm.job, fold),
        work=train_and_finish_task if is_last else train_task,
        arguments=(arm.job, fold, end, evaluate) if is_last else (arm.job, fold, end),
        prefix=f"{_title(arm.job)}: ",
        n_threads=train.threads * (1 if on_gpu else train.devices),
        n_devices=train.devices if on_gpu else 0,
    )


def _finish_task(arm: _Arm, *, evaluate: bool) -> Task:
    train = arm.plan.settings.train
    return Task(
        name=_title(arm.job),
        work=finish_task,
        arguments=(arm.job, evaluate),
        prefix=f"{_title(arm.job)}: ",
        n_threads=train.threads,
        n_devices=int(train.device == "cuda"),
    )


def _still_to_finish_s(arms: Sequence[_Arm], n_places: int) -> float:
    """Seconds that finishing the arms will take: side by side, but none faster than it can."""
    each = [finish_s(arm.job, arm.plan) for arm in arms if arm.folds]
    return max([sum(each) / n_places, *each], default=0.0)
