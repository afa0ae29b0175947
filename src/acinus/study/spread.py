"""The arms of a study spread over workers: a task for each fold, one to finish each arm.

Enters: planned and prepared arms. Leaves: their run folders, the same as if one
process had done one fold after the other. What lies finished in a folder is not
given to a worker again.
"""

from __future__ import annotations

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
from acinus.progress import Bar
from acinus.study.arm import (
    complete_arm,
    evaluate_arm,
    finish_s,
    is_finished,
    is_trained,
    train_one_fold,
    validation_s,
)
from acinus.study.folders import RunFolder
from acinus.study.job import ArmJob
from acinus.study.on_ray import ray_workers
from acinus.study.parallel import Task, Workers, local_workers, work_off
from acinus.study.shares import START_S, clock_of, deadline

Place = Literal["here", "ray"]
"""Where work is done that can be spread: on this machine, or on a Ray cluster."""


def refuse_no_jobs(n: int) -> None:
    """Raise ConfigError unless something can be done at a time."""
    if n < 1:
        raise ConfigError(f"--jobs must be at least 1; got {n}.")


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
    refuse_no_jobs(n)
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
    n_scorers = workers.n_places // len(jobs) if workers.share_machine else 1
    spread = _Spread([_open_arm(job, max(1, n_scorers)) for job in jobs], workers, left_s, evaluate)
    title = "Trainings, all arms" if len(jobs) > 1 else "Trainings, all folds"
    n_trainings = sum(len(arm.folds) for arm in spread.arms)
    with progress.stage(title, total=n_trainings, unit="training") as bar:
        work_off(spread.tasks(), workers, then=lambda task: spread.follow(task, bar))
    if spread.finish_here:
        finish_task(spread.arms[0].job, evaluate)


@dataclass
class _Spread:
    """Which tasks there are, and which follow from them; attributes as for `spread_arms`."""

    arms: list[_Arm]
    workers: Workers
    left_s: Callable[[], float] | None
    evaluate: bool

    @property
    def finish_here(self) -> bool:
        """Whether this process finishes the arm: it has nothing else to do, and need not start."""
        return len(self.arms) == 1

    def tasks(self) -> Iterator[Task]:
        """What must be done first, in the order of arms and folds; deadlines from when asked."""
        for arm in self.arms:
            if not arm.folds and is_finished(arm.job, arm.plan, evaluated=self.evaluate):
                finish_task(arm.job, self.evaluate)
            elif not arm.folds and not self.finish_here:
                yield self._finish_task(arm)
        waiting = [(arm, fold) for arm in self.arms for fold in arm.folds]
        for index, (arm, fold) in enumerate(waiting):
            yield self._fold_task(arm, fold, self._deadline(arm, fold, index, len(waiting)))

    def follow(self, task: Task, bar: Bar) -> Iterator[Task]:
        """What follows from a task that is done: the finish of an arm, after its last fold."""
        if task.work is finish_task:
            return
        bar.advance(1)
        job, fold = task.arguments[:2]
        arm = next(one for one in self.arms if one.job is job)
        arm.folds.remove(fold)
        if not arm.folds and not self.finish_here and task.work is train_task:
            yield self._finish_task(arm)

    def _deadline(self, arm: _Arm, fold: int, index: int, n: int) -> float | None:
        if self.left_s is None:
            return None
        n_places = self.workers.n_places
        # Finishing goes side by side too, but no arm faster than it can.
        start_s = 0.0 if self.finish_here else START_S
        each_s = [start_s + finish_s(one.job, one.plan) for one in self.arms if one.folds]
        kept_s = max([sum(each_s) / n_places, *each_s])
        now_s = clock_of(shares_machine=self.workers.share_machine)()
        after_s = validation_s(arm.job, fold)
        return deadline(now_s, self.left_s() - kept_s, index, n, n_places, after_s)

    def _fold_task(self, arm: _Arm, fold: int, end: float | None) -> Task:
        """The task of a fold; the only one that an arm lacks finishes the arm too."""
        words = (arm.job, fold, end, self.workers.share_machine)
        name = f"{_title(arm.job)}, fold {fold + 1}"
        if arm.folds == [fold] and not self.finish_here:
            return _task(arm, name, train_and_finish_task, (*words, self.evaluate))
        return _task(arm, name, train_task, words)

    def _finish_task(self, arm: _Arm) -> Task:
        return _task(arm, _title(arm.job), finish_task, (arm.job, self.evaluate))


def train_task(job: ArmJob, fold: int, end: float | None, shares_machine: bool) -> None:
    """Train and validate a fold: what a worker does with its arm's folder.

    Args:
        job: Planned and prepared.
        fold: From 0.
        end: When the training must end, s by `clock_of`; None without a clock.
        shares_machine: Whether who set the end runs on this machine.
    """
    plan, now = _plan_of(job), clock_of(shares_machine=shares_machine)
    train_one_fold(job, plan, fold, None if end is None else lambda: end - now())


def train_and_finish_task(
    job: ArmJob, fold: int, end: float | None, shares_machine: bool, evaluate: bool
) -> None:
    """Train the only fold that an arm lacks and finish the arm."""
    train_task(job, fold, end, shares_machine)
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


def _task(arm: _Arm, name: str, work: Callable[..., None], arguments: tuple[object, ...]) -> Task:
    """A task with what it needs of a machine."""
    train = arm.plan.settings.train
    on_gpu = train.device == "cuda"
    return Task(
        name=name,
        work=work,
        arguments=arguments,
        prefix=f"{_title(arm.job)}: ",
        n_threads=train.threads * (1 if on_gpu else train.devices),
        n_devices=train.devices if on_gpu else 0,
    )
