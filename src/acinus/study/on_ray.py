"""Work spread over a Ray cluster: each task on whichever machine has room for it.

Enters: the same tasks as for the processes of one machine. Leaves: the same files,
on a folder that all machines share. Nothing travels through Ray's object store
but the description of a task: results that live in a store are gone with it.
Ray is an extra, imported here only and only when it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from acinus import progress
from acinus.errors import AcinusError, ConfigError, PlanError
from acinus.study.parallel import Task, Workers
from acinus.train.processes import GRACE_S, OtherTraceback

MOST_RETRIES = 3
"""How often Ray starts a task again whose process or machine was lost; it goes on from its
last checkpoint."""


@dataclass
class RayTasks:
    """Workers of a Ray cluster.

    Attributes:
        n_places: Tasks at a time.
        ray: The imported package, connected.
        share_machine: False, as Ray counts the cores that each task is given.
    """

    n_places: int
    ray: ModuleType
    share_machine: bool = False
    _running: dict[Any, Task] = field(default_factory=dict)

    def start(self, task: Task) -> None:
        """Hand a task to the cluster."""
        remote = self.ray.remote(_perform).options(
            num_cpus=task.n_threads,
            num_gpus=task.n_devices,
            max_retries=MOST_RETRIES,
            name=task.name,
        )
        self._running[remote.remote(task)] = task

    def wait(self) -> list[Task]:
        """Wait until at least one task is done; those that are."""
        ready, _ = self.ray.wait(list(self._running), num_returns=1)
        done = []
        for reference in ready:
            task = self._running.pop(reference)
            self._result(reference, task)
            done.append(task)
        return done

    def close(self) -> None:
        """Tell all running tasks to stop, and end those that do not."""
        for reference in self._running:
            self.ray.cancel(reference)
        if self._running:
            _, alive = self.ray.wait(
                list(self._running), num_returns=len(self._running), timeout=GRACE_S
            )
            for reference in alive:
                self.ray.cancel(reference, force=True)
        self._running.clear()

    def _result(self, reference: Any, task: Task) -> None:
        errors = self.ray.exceptions
        try:
            self.ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from OtherTraceback(str(error))
            raise RuntimeError(f"{task.name}: {error}") from None
        except errors.RayError as error:
            what = str(error).strip().splitlines()[0]
            raise AcinusError(
                f"{task.name}: a worker of the Ray cluster must run to its end; it was lost "
                f"{MOST_RETRIES + 1} times ({what}). What was finished is kept. Start the same "
                "command again; it goes on from here."
            ) from error


@contextmanager
def ray_workers(n_threads: int, n_devices: int, most: int | None) -> Iterator[Workers]:
    """Workers of a Ray cluster for the length of the block.

    The cluster is the one that is connected already, else the one that Ray finds (by
    ``RAY_ADDRESS`` or on this machine), else one that is started on this machine alone.

    Args:
        n_threads: Threads of a task.
        n_devices: GPUs of a task.
        most: Tasks at a time at most; None: as many as find room.

    Raises:
        ConfigError: Ray is not installed.
        PlanError: No machine of the cluster has room for a task.
    """
    ray = _import_ray()
    is_ours = not ray.is_initialized()
    if is_ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would call home
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
    try:
        n_places = _count_places(ray, n_threads, n_devices)
        workers = RayTasks(n_places if most is None else min(most, n_places), ray)
        progress.say(f"Ray: room for {n_places} trainings at a time")
        try:
            yield workers
        finally:
            workers.close()
    finally:
        if is_ours:
            with suppress(KeyboardInterrupt):
                ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise ConfigError(
            "--on ray needs the package ray, which is not installed. Install it with "
            "'pip install acinus[ray]', on every machine of the cluster, or leave --on out."
        ) from error
    return ray


def _count_places(ray: Any, n_threads: int, n_devices: int) -> int:
    """Tasks that find room at a time: a task never spans two machines."""
    n_places, found = 0, []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        has = node["Resources"]
        n_cpus, n_gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0))
        found.append(f"{n_cpus} CPUs and {n_gpus} GPUs")
        n_places += min(n_cpus // n_threads, n_gpus // n_devices if n_devices else n_cpus)
    if not n_places:
        raise PlanError(
            f"a machine of the Ray cluster must have {n_threads} CPUs (train.threads) and "
            f"{n_devices} GPUs for a training; found {'; '.join(found) or 'none'}. Plan anew with "
            "fewer --set train.threads, or add machines."
        )
    return n_places


def _perform(task: Task) -> None:
    """What a worker of the cluster does; its progress is the file that it writes."""
    with progress.quiet():
        task.work(*task.arguments)
