"""Labels of mirror pairs change places when a patch is flipped from left to right.

Enters: the flips of a batch. Leaves: label maps in which right is right again.
Left alone, a mirrored patch would teach that the sides are interchangeable
(nnU-Net issues 869, 2225).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from acinus.plan import Plan
from acinus.types import Array


@dataclass(frozen=True)
class SideSwap:
    """Which labels change places when an axis is flipped.

    Attributes:
        table: New value of each label value; index is the old value, values beyond it stay.
        axis: 0, 1 or 2 for S, R or Q, the one that crosses the sagittal plane.
    """

    table: tuple[int, ...]
    axis: int


def side_swap(plan: Plan) -> SideSwap:
    """The label swap of a plan; the identity where mirroring is plain."""
    swaps = plan.settings.train.mirroring == "swap"
    table = plan.mirror_table if swaps else tuple(range(len(plan.mirror_table)))
    return SideSwap(table, plan.axes.index("X"))


def swap_sides(label: torch.Tensor, flips: Array, swap: SideSwap) -> torch.Tensor:
    """Label maps (N, S, R, Q) uint8 with the partners of flipped patches exchanged."""
    flipped = np.flatnonzero(flips[:, swap.axis])
    if not len(flipped) or swap.table == tuple(range(len(swap.table))):
        return label
    values = np.arange(256, dtype=np.uint8)
    values[: len(swap.table)] = swap.table
    table = torch.from_numpy(values).to(label.device)
    rows = torch.from_numpy(flipped).to(label.device)
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
    names, pairs = list(plan.dataset.labels), plan.dataset.mirror_pairs
    partner = {name: other for a, b in pairs for name, other in ((a, b), (b, a))}
    places = [names.index(partner.get(name, name)) for name in names]
    order = torch.tensor(places, device=annotated.device)
    flipped = np.ascontiguousarray(flips[:, plan.axes.index("X")])
    rows = torch.from_numpy(flipped).to(annotated.device)
    return torch.where(rows[:, None], annotated[:, order], annotated)
