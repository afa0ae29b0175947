"""A look at held-out patches after every epoch, and what it tells about collapse.

Enters: a network under training and fixed patches of the validation cases.
Leaves: a row of the curves; the labels that were learned and then lost. A quick
look, not a result: reports use whole cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from acinus.networks.device import autocast
from acinus.plan import Choice, Plan
from acinus.train.augment import apply_changes, no_changes, side_swap
from acinus.train.history import Row
from acinus.train.job import FoldJob
from acinus.train.patches import PatchSource
from acinus.types import IGNORE

LEARNED_DICE = 0.1
"""A label that reached this Dice counts as learned."""

LOST_EPOCHS = 3
"""A learned label is lost when its Dice was 0 for so many epochs up to the last one."""

N_LOOKED_AT = 32
"""Patches that are looked at after every epoch, the same ones each time; fewer where they are
large, see `VOXELS_LOOKED_AT`."""

VOXELS_LOOKED_AT = 2**21

VALIDATION_STREAM = 2**40
"""Stream of random numbers that validation patches are drawn from, apart from all steps."""

VOXELS_AT_ONCE = 2**20
"""Voxels of validation patches that go through the network together."""


@dataclass(frozen=True, eq=False)
class Look:
    """Patches to look at.

    Attributes:
        image: (N, C, ...patch).
        label: (N, ...patch) int64.
        annotated: (N, K) bool or None.
    """

    image: torch.Tensor
    label: torch.Tensor
    annotated: torch.Tensor | None


def draw_look(job: FoldJob, device: torch.device) -> Look | None:
    """Fixed patches of the validation cases, half of them where labels are."""
    if not job.validation_cases:
        return None
    patch_voxels = int(np.prod(job.plan.patch_vox))
    n = min(N_LOOKED_AT, max(8, VOXELS_LOOKED_AT // patch_voxels))
    source = PatchSource(
        job.store,
        job.validation_cases,
        Choice(name="region" if job.plan.n_dims == 2 else "foreground"),
        job.plan.settings.train.patch_vox,
        annotated=job.annotation_flags(),
        reach=False,
        previous_values=job.plan.previous_values,
    )
    rng = np.random.default_rng([job.plan.seed, job.fold, VALIDATION_STREAM])
    batch = source.batch(n, rng)
    changes = no_changes(n, n_previous=len(job.plan.previous_values))
    image, label = apply_changes(batch, changes, side_swap(job.plan), job.plan.n_dims)
    annotated = None if batch.annotated is None else batch.annotated.to(device)
    return Look(image.to(device), label.to(device), annotated)


@torch.no_grad()
def measure_look(
    network: nn.Module,
    loss: Callable[..., torch.Tensor],
    look: Look | None,
    plan: Plan,
) -> Row:
    """Loss and Dice of the patches; Dice pools the voxels of all patches.

    Args:
        network: With the weights to judge; left in evaluation mode.
        loss: Of logits, target and annotated.
        look: Patches, or None where no case is held out.
        plan: Labels and precision.
    """
    if look is None:
        return {}
    network.eval()
    n_at_once = max(1, VOXELS_AT_ONCE // look.label[0].numel())
    masks = plan.label_values
    sums = torch.zeros(len(masks), 2, dtype=torch.float64)
    losses = []
    for first in range(0, len(look.label), n_at_once):
        part = slice(first, first + n_at_once)
        label = look.label[part]
        annotated = None if look.annotated is None else look.annotated[part]
        with autocast(label.device, plan.settings.train.precision):
            logits = network(look.image[part]).float()
        losses.append(float(loss(logits, label, annotated)))
        sums += _overlaps(logits, label, annotated, masks, has_regions=bool(plan.dataset.regions))
    row: Row = {"validation_loss": float(np.mean(losses))}
    dice = {
        name: float(both / total)
        for name, (both, total) in zip(plan.dataset.labels, sums.tolist(), strict=True)
        if total
    }
    if dice:
        row["validation_dice"] = float(np.mean(list(dice.values())))
    row.update({f"validation_dice_{name}": value for name, value in dice.items()})
    return row


def lost_labels(
    rows: Sequence[Row], labels: Sequence[str], looks: int = LOST_EPOCHS
) -> tuple[str, ...]:
    """Labels that were learned and whose Dice has been 0 for the last looks.

    Args:
        rows: Of the history.
        labels: Names.
        looks: How many; 1 when a training ends, since nothing can come back then.
    """
    lost = []
    for name in labels:
        values = [
            row[f"validation_dice_{name}"] for row in rows if f"validation_dice_{name}" in row
        ]
        recent = values[-looks:]
        if len(recent) == looks and not any(recent) and max(values) >= LEARNED_DICE:
            lost.append(name)
    return tuple(lost)


def is_best(rows: Sequence[Row]) -> bool:
    """Whether the last row is the best so far: fewest labels lost, then the highest mean Dice."""
    learned: set[str] = set()
    ranks = []
    for row in rows:
        dice = {key: value for key, value in row.items() if key.startswith("validation_dice_")}
        learned |= {key for key, value in dice.items() if value >= LEARNED_DICE}
        n_lost = sum(dice.get(key) == 0 for key in learned)
        ranks.append((-n_lost, row.get("validation_dice", 0.0)))
    return bool(ranks) and ranks[-1] > max(ranks[:-1], default=(0, 0.0))


def _overlaps(
    logits: torch.Tensor,
    label: torch.Tensor,
    annotated: torch.Tensor | None,
    masks: Sequence[tuple[int, ...]],
    *,
    has_regions: bool,
) -> torch.Tensor:
    """(K, 2) doubled intersection and sum of sizes of each name over the annotated patches."""
    winner = logits.argmax(dim=1)
    known = label != IGNORE
    rows = []
    for index, values in enumerate(masks):
        ours = (logits[:, index] > 0) if has_regions else (winner == values[0])
        theirs = torch.isin(label, torch.tensor(values, device=label.device))
        ours, theirs = ours & known, theirs & known
        if annotated is not None:
            chosen = annotated[:, index].to(label.device)
            ours, theirs = ours[chosen], theirs[chosen]
        rows.append([2.0 * float((ours & theirs).sum()), float(ours.sum() + theirs.sum())])
    return torch.tensor(rows, dtype=torch.float64)
