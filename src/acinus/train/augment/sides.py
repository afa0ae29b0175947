"""Labels of mirror pairs change places when a patch is flipped from left to right.

Enters: the flips of a batch. Leaves: label maps in which right is right again.
Left alone, a mirrored patch would teach that the sides are interchangeable
(nnU-Net issues 869, 2225).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from acinus.networks.device import upload
from acinus.plan import Plan
from acinus.types import Array


@dataclass(frozen=True)
class SideSwap:
    """Which labels change places when an axis is flipped.

    Attributes:
        table: New value of each label value; index is the old value, values beyond it stay.
        axis: 0, 1 or 2 for S, R or Q, the one that crosses the sagittal plane.
        previous: For each label that a cascade shows as a channel of the image, the one that
            takes its place; empty without a cascade.
    """

    table: tuple[int, ...]
    axis: int
    previous: tuple[int, ...] = ()


def side_swap(plan: Plan) -> SideSwap:
    """The label swap of a plan; the identity where mirroring is plain."""
    swaps = plan.settings.train.mirroring == "swap"
    table = plan.mirror_table if swaps else tuple(range(len(plan.mirror_table)))
    n_previous = len(plan.previous_values)
    previous = plan.mirrored_labels[:n_previous] if swaps else tuple(range(n_previous))
    return SideSwap(table, plan.axes.index("X"), previous)


def swap_sides(label: torch.Tensor, flips: Array, swap: SideSwap) -> torch.Tensor:
    """Label maps (N, S, R, Q) uint8 with the partners of flipped patches exchanged."""
    flipped = np.flatnonzero(flips[:, swap.axis])
    if not len(flipped) or swap.table == tuple(range(len(swap.table))):
        return label
    values = np.arange(256, dtype=np.uint8)
    values[: len(swap.table)] = swap.table
    table = upload(values, label.device)
    rows = upload(flipped, label.device)
    return label.index_copy(0, rows, table[label[rows].int()])


def mirrored_annotation(
    annotated: torch.Tensor | None, flips: Array, plan: Plan
) -> torch.Tensor | None:
    """Which labels were annotated, (N, K), after flips: partners that change places change it.

    Args:
        annotated: (N, K) bool before the flips; None: all labels, which no flip changes.
        flips: (N, 3) bool, as of `Changes`.
        plan: Says which labels are partners, and whether they are swapped.
    """
    if annotated is None or plan.settings.train.mirroring != "swap":
        return annotated
    order = torch.tensor(plan.mirrored_labels, device=annotated.device)
    flipped = np.ascontiguousarray(flips[:, plan.axes.index("X")])
    rows = upload(flipped, annotated.device)
    return torch.where(rows[:, None], annotated[:, order], annotated)
