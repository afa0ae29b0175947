"""Soft overlap of predicted and reference classes: the sums that Dice and Jaccard share.

Enters: prediction beside reference. Leaves: per foreground class the sums of prediction,
reference and their product, and the mean over classes. Plain sums as the only form were
rejected: see `OverlapConfig.squared`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from acinus.config import Settings
from acinus.losses.compared import Compared


class OverlapConfig(Settings):
    """Settings of a loss made of overlaps."""

    smooth: float = Field(1.0, gt=0)
    """Added to numerator and denominator, in voxels: a class that is absent from the reference
    and from the prediction costs nothing, and no division by zero occurs. Ours: the lacrimal
    study does not state one. nnU-Net: 1e-5."""
    batch: bool = True
    """True: one overlap per class over all patches of the batch, which keeps patches without
    the structure from dominating. False: one overlap per patch and class. On hippocampus slices
    (180 steps, three seeds, two labels) the former lost a label once in six, the latter twice."""
    squared: bool = True
    """True: squared probabilities in the denominator, as in the V-Net. A small unsure
    probability far from the structure then costs next to nothing, and two labels that look
    alike, right and left, are both learned: on synthetic orbits (300 steps, the fold where it
    mattered) plain sums left the right gland at Dice 0, squared ones reached 0.81. False: plain
    sums, as in nnU-Net."""
    absent: Literal["skip", "count"] = "skip"
    """What a class costs that no patch of the batch shows, where sums run over the batch. skip:
    nothing, it is left out of the mean; its loss would be Σ p² / (Σ p² + s), which pulls the
    class down everywhere whenever a batch happens not to show it, and of two labels that look
    alike one was lost by it late in training. Its false positives still count through the
    patches that show it; a batch that shows no class is judged by all alike. count: it stays in
    the mean, as in nnU-Net. With sums per patch it always counts."""


@dataclass(frozen=True)
class OverlapSums:
    """Sums over voxels; each tensor is (M, K'), M = 1 for a batch-wise overlap, else N."""

    product: Tensor
    prediction: Tensor
    reference: Tensor
    known: Tensor | None
    """1 where the class was annotated in at least one of the samples summed, else 0; None:
    everywhere."""


def soft_overlap(compared: Compared, *, batch: bool, squared: bool) -> OverlapSums:
    """Sums of probabilities and of the reference per foreground class, in float32.

    Args:
        compared: Prediction beside reference; what is not known of them is left out.
        batch: Whether the sums run over the batch as well.
        squared: Whether probabilities are squared before they are summed by themselves.
    """
    probs, reference = compared.probs(), compared.reference()
    summed = (probs.square() if squared else probs) * compared.judged
    sums = [values.sum(2) for values in (probs * reference, summed, reference)]
    known = compared.known
    if known is not None:
        sums = [values * known for values in sums]
    if batch:
        sums = [values.sum(0, keepdim=True) for values in sums]
        known = None if known is None else known.amax(0, keepdim=True)
    product, predicted, present = sums
    return OverlapSums(product, predicted, present, known)


def mean_over_classes(losses: Tensor, sums: OverlapSums, config: OverlapConfig) -> Tensor:
    """Mean of the losses (M, K') over known classes, absent ones as `OverlapConfig.absent` says.

    A batch of which nothing is known costs 0.
    """
    known = torch.ones_like(losses) if sums.known is None else sums.known
    weights = known
    if config.batch and config.absent == "skip":
        shown = known * (sums.reference > 0)
        weights = torch.where(shown.sum() > 0, shown, known)
    return (losses * weights).sum() / weights.sum().clamp(min=1)
