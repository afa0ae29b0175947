"""Forward, loss and backward of a batch; on a GPU recorded once and replayed from then on.

Enters: what computes a loss and its gradients. Leaves: the same, without its hundreds
of small launches: a small network keeps a GPU waiting for Python for half of a step.
The kernels and their order stay the same. Compiling instead was rejected as the
default: it takes half a minute and needs a compiler on the user's machine.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acinus import progress
from acinus.networks.device import is_out_of_memory

Compute = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From image, label and annotated to the loss, detached; leaves gradients in the weights."""

WARM_STEPS = 3
"""Steps before the recording: the fastest convolutions are searched for in them."""


class Recorded:
    """Computes loss and gradients, from step `WARM_STEPS` on by replaying a recording.

    Batches must all be of one size. A network that cannot be recorded goes on without.

    Args:
        compute: Sets the gradients to None and computes them anew. What it does must not depend
            on values of tensors.
    """

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self._n_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._fails = False
        self._given: list[Tensor] = []
        self._loss: Tensor | None = None

    def __call__(self, image: Tensor, label: Tensor, annotated: Tensor | None) -> Tensor:
        """The loss of a batch; its gradients are in the weights."""
        given = [image, label] if annotated is None else [image, label, annotated]
        self._n_steps += 1
        if self._graph is None and self._n_steps > WARM_STEPS and not self._fails:
            self._record(given)
        if self._graph is None or self._loss is None:
            return self.compute(image, label, annotated)
        for kept, new in zip(self._given, given, strict=True):
            kept.copy_(new)
        self._graph.replay()
        return self._loss.clone()

    def _record(self, given: list[Tensor]) -> None:
        self._given = [one.clone() for one in given]
        image, label = self._given[:2]
        annotated = self._given[2] if len(given) == 3 else None
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may read batches ahead meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._loss = self.compute(image, label, annotated)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._fails, self._loss, self._given = True, None, []
            progress.say(f"This network cannot be recorded, which costs time: {error}")
            return
        self._graph = graph
