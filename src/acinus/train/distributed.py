"""One training over several GPUs, or over several processes on a CPU.

Enters: a job whose plan asks for more than one device. Leaves: what one process
would leave, up to rounding. The process that calls is member 0 of the team; it
starts the others, which end with it. Wrapping the network in
DistributedDataParallel was rejected: it averages the losses of parts, see
`team.py`, and calls no other method of a network than its forward pass.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from acinus import progress
from acinus.errors import AcinusError, PlanError
from acinus.plan import Plan
from acinus.train.fold import train_fold
from acinus.train.job import FoldJob, is_trained
from acinus.train.processes import (
    Failure,
    follow_parent,
    how_it_ended,
    raise_failure,
    send_failure,
)

PATIENCE = timedelta(minutes=30)
"""How long a member waits for the others; member 0 looks and saves while they wait."""

NEWS_S = 2.0
"""Seconds in which the news that another process is gone arrives."""

READY, DONE = "ready", "done"
"""What a helper says before it joins, and when it has nothing more to do."""

LOCAL_INTERFACE = {"linux": "lo", "darwin": "lo0"}
"""All members are on one machine: none of them listens beyond it."""


def train_on_devices(job: FoldJob) -> None:
    """Train, or go on training, a fold on as many devices as its plan says.

    Raises:
        PlanError: There are fewer devices, or the batch cannot be shared by them.
        AcinusError: As for `train_fold`; or a member of the team was ended by the system.
    """
    n = job.plan.settings.train.devices
    if n == 1 or is_trained(job):
        train_fold(job)
        return
    refuse_uneven(job.plan)
    backend = _backend(job.plan)
    with TemporaryDirectory() as scratch, _helpers(job, Path(scratch), backend) as helpers:
        try:
            with _joined(Path(scratch), 0, n, backend) as team:
                train_fold(job, team)
        except Exception:
            _raise_what_helpers_said(helpers, job)
            raise
        for helper in helpers:
            helper.process.join()


def refuse_uneven(plan: Plan) -> None:
    """Nothing, if the batch of a plan can be shared by its devices.

    Raises:
        PlanError: The batch is no multiple of the number of devices.
    """
    n, batch = plan.settings.train.devices, plan.settings.train.batch
    if batch % n:
        nearest = sorted({max(n, batch - batch % n), batch - batch % n + n})
        raise PlanError(
            f"train.batch must be a multiple of train.devices, which share it; got {batch} patches "
            f"and {n} devices. Nearest valid: {', '.join(str(one) for one in nearest)}."
        )


class Group:
    """A member of a team of processes, see `team.py`.

    Args:
        rank: Number of this member.
        n: Number of members.
    """

    def __init__(self, rank: int, n: int) -> None:
        self.rank, self.n = rank, n

    def part(self, n: int) -> slice:
        """Places of this member's patches in a batch of `n`."""
        share = n // self.n
        return slice(self.rank * share, (self.rank + 1) * share)

    def arrange(self, network: nn.Module) -> None:
        """Make batch norms see the parts of all members.

        On a CPU torch has no such layer: there each member normalises by its own part.
        """
        if next(network.parameters()).device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)  # its layers, in place

    def gather(
        self, levels: Any, label: Tensor, annotated: Tensor | None
    ) -> tuple[Any, Tensor, Tensor | None]:
        """Logits, labels and annotation of the whole batch; gradients reach the own part only."""
        whole_label = self._whole(label.to(torch.uint8)).long()
        flags = None if annotated is None else self._whole(annotated.to(torch.uint8)).bool()
        if isinstance(levels, Tensor):
            return self._whole(levels.float()), whole_label, flags
        return [self._whole(level.float()) for level in levels], whole_label, flags

    def sum_gradients(self, network: nn.Module) -> None:
        """Add the gradients of all members, in one message."""
        gradients = [one.grad for one in network.parameters() if one.grad is not None]
        flat = torch.cat([one.reshape(-1) for one in gradients])
        dist.all_reduce(flat)
        parts = flat.split([one.numel() for one in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def agree(self, values: Tensor) -> Tensor:
        """The mean of what all members have."""
        total = values.clone()
        dist.all_reduce(total)
        return total / self.n

    def tell(self, words: Any) -> Any:
        """What member 0 says."""
        said = [words]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def _whole(self, part: Tensor) -> Tensor:
        """(N, ...) of all members from the (N / n, ...) of each; the own part keeps its graph."""
        own = part.detach().contiguous()
        parts = [torch.empty_like(own) for _ in range(self.n)]
        dist.all_gather(parts, own)
        parts[self.rank] = part
        return torch.cat(parts)


@dataclass
class _Helper:
    """Another member, as member 0 knows it."""

    rank: int
    process: BaseProcess
    messages: Connection
    is_ready: Event = field(default_factory=Event)
    is_gone: Event = field(default_factory=Event)
    failure: Failure | None = None

    def listen(self, backend: str) -> None:
        """Take what it says until it is done or gone; a thread of member 0 does this."""
        try:
            for word in iter(self.messages.recv, DONE):
                if word == READY:
                    self.is_ready.set()
                else:
                    self.failure = word
                    break
            else:
                return
        except (EOFError, OSError):
            pass
        self.is_gone.set()
        self.is_ready.set()
        if backend == "nccl" and dist.group.WORLD is not None:
            # Gloo notices that a member is gone; NCCL would wait for it until its patience ends.
            dist.group.WORLD.abort()


def _backend(plan: Plan) -> str:
    train = plan.settings.train
    if train.device == "cuda":
        here = torch.cuda.device_count()
        if train.devices > here:
            raise PlanError(
                f"train.devices must be at most the number of GPUs of this machine, {here}; got "
                f"{train.devices}. Go on where the plan was made, or plan anew with "
                f"--set train.devices={max(here, 1)}."
            )
        return "nccl"
    if train.device != "cpu":
        raise PlanError(
            f"train.devices must be 1 on device '{train.device}'; got {train.devices}. Several "
            "share a training on cuda or cpu only."
        )
    return "gloo"


@contextmanager
def _helpers(job: FoldJob, scratch: Path, backend: str) -> Iterator[list[_Helper]]:
    """The other members, ready to join, for the length of the block."""
    context = get_context("spawn")
    n, helpers = job.plan.settings.train.devices, list[_Helper]()
    plain = replace(job, seconds_left=None)  # a clock is member 0's
    try:
        for rank in range(1, n):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (rank, n, scratch, backend, plain, theirs)
            process = context.Process(target=_help, args=arguments, name=f"member {rank}")
            process.start()
            theirs.close()
            helpers.append(_Helper(rank, process, ours))
            Thread(target=helpers[-1].listen, args=(backend,), daemon=True).start()
        for helper in helpers:
            helper.is_ready.wait()
        if any(helper.is_gone.is_set() for helper in helpers):
            _raise_what_helpers_said(helpers, job)
        yield helpers
    finally:
        for helper in helpers:
            helper.process.kill()  # It writes no file, and may wait within a library.
            helper.process.join()


def _help(
    rank: int, n: int, scratch: Path, backend: str, job: FoldJob, messages: Connection
) -> None:
    """What another member does from its start to its end."""
    follow_parent()
    try:
        messages.send(READY)
        with progress.quiet(), _joined(scratch, rank, n, backend) as team:
            train_fold(job, team)
        messages.send(DONE)
    except Exception as error:  # noqa: BLE001 - whatever it is, another process must show it
        send_failure(error, messages.send)


@contextmanager
def _joined(scratch: Path, rank: int, n: int, backend: str) -> Iterator[Group]:
    """This process as a member of a team for the length of the block."""
    interface = LOCAL_INTERFACE.get(sys.platform)
    names = {"gloo": "GLOO_SOCKET_IFNAME", "nccl": "NCCL_SOCKET_IFNAME"}
    if interface is not None:
        os.environ.setdefault(names[backend], interface)
    if backend == "nccl":
        torch.cuda.set_device(rank)
    store = dist.FileStore(str(scratch / "meeting"), n)
    dist.init_process_group(backend, store=store, rank=rank, world_size=n, timeout=PATIENCE)
    try:
        yield Group(rank, n)
    finally:
        dist.destroy_process_group()


def _raise_what_helpers_said(helpers: Sequence[_Helper], job: FoldJob) -> None:
    """The error of a helper, if one has failed: then member 0 only noticed that it is gone."""
    end = time.monotonic() + NEWS_S
    while time.monotonic() < end and not any(helper.is_gone.is_set() for helper in helpers):
        time.sleep(0.05)
    gone = [helper for helper in helpers if helper.is_gone.is_set()]
    for helper in gone:
        if helper.failure is not None:
            raise_failure(helper.failure)
    for helper in gone:
        helper.process.join()
        raise AcinusError(
            f"training fold {job.fold + 1}: process {helper.rank + 1} of {len(helpers) + 1} must "
            f"run to the end of the training; it {how_it_ended(helper.process.exitcode)}. The "
            "state after the last epoch is kept. Start the same command again; it goes on from "
            "there."
        ) from None
