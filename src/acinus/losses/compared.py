"""Logits beside their reference, as all losses need them: computed once, in float32.

Enters: logits, a reference of label values, what was annotated. Leaves: foreground
probabilities, their reference as masks, which voxels and classes may be judged, and the
cross-entropy. Classes exclude each other (softmax) or are regions of their own (sigmoid); the
losses do not know which. A softmax for the Dice part and another within the cross-entropy were
rejected, and so was every branch on values of tensors: it would make a GPU wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from acinus.errors import ConfigError, GridError
from acinus.types import IGNORE

Regions = tuple[tuple[int, ...], ...]
"""For each output of the network the label values it unites, from 1 to 254."""


class Compared(ABC):
    """Prediction beside reference. K' is the number of foreground classes, V of voxels.

    Attributes:
        judged: (N, 1, V) float32, 1 where the reference says something, 0 where it is IGNORE.
        known: (N, K') float32, 1 where the class was annotated; None: all were.
    """

    judged: Tensor
    known: Tensor | None

    @abstractmethod
    def probs(self) -> Tensor:
        """(N, K', V) float32 probabilities of the foreground classes, not of the background."""

    @abstractmethod
    def reference(self) -> Tensor:
        """(N, K', V) float32, 1 where the reference shows the class, 0 elsewhere."""

    @abstractmethod
    def cross_entropy(self, weights: Tensor | None = None) -> Tensor:
        """Mean of - log p of what the reference says, over the judged voxels; 0 without any.

        Args:
            weights: (K' + 1,), of the background and of each class; None: all alike.
        """


@dataclass(frozen=True)
class ComparedClasses(Compared):
    """Classes that exclude each other: softmax."""

    log_probs: Tensor
    """(N, K, V) float32, background first."""
    target: Tensor
    """(N, V) int64, class indices and IGNORE."""
    judged: Tensor
    known: Tensor | None
    background: Tensor | None
    """(N, 1, V) float32, log-probability of the background together with the classes that were
    not annotated; None: the background is the first class alone."""

    def probs(self) -> Tensor:
        """Softmax without the background."""
        return self.log_probs[:, 1:].exp()

    def reference(self) -> Tensor:
        """Where the target is the class."""
        classes = torch.arange(1, self.log_probs.shape[1], device=self.target.device)
        return (self.target[:, None] == classes[:, None]).to(torch.float32)

    def cross_entropy(self, weights: Tensor | None = None) -> Tensor:
        """Mean over voxels, weighted by the class of the reference."""
        picked = self.target[:, None].where(self.judged > 0, 0)  # IGNORE is no index
        costs = -self.log_probs.gather(1, picked)
        if self.background is not None:
            costs = torch.where(picked == 0, -self.background, costs)
        if weights is None:
            return (costs * self.judged).sum() / self.judged.sum().clamp(min=1)
        each = weights.to(costs)[picked] * self.judged
        return (costs * each).sum() / each.sum().clamp(min=TINY)


@dataclass(frozen=True)
class ComparedRegions(Compared):
    """Regions that may overlap: one sigmoid each, no background."""

    logits: Tensor
    """(N, K', V) float32."""
    inside: Tensor
    """(N, K', V) float32, 1 inside the region."""
    judged: Tensor
    known: Tensor | None

    def probs(self) -> Tensor:
        """A sigmoid each."""
        return torch.sigmoid(self.logits)

    def reference(self) -> Tensor:
        """Where the target is one of the region's values."""
        return self.inside

    def cross_entropy(self, weights: Tensor | None = None) -> Tensor:
        """Mean of the binary cross-entropies over known regions and voxels."""
        costs = functional.binary_cross_entropy_with_logits(
            self.logits, self.inside, reduction="none"
        )
        each = self.judged if self.known is None else self.judged * self.known[:, :, None]
        each = each.expand_as(costs)
        if weights is not None:
            weights = weights.to(costs)
            each = each * torch.lerp(weights[0], weights[1:, None], self.inside)
        return (costs * each).sum() / each.sum().clamp(min=TINY)


TINY = 1e-8
"""Least divisor of a mean over no voxels: its numerator is exactly 0 then."""


class Outputs:
    """What the outputs of a network stand for; compares them with a reference.

    Args:
        n_classes: Outputs: classes with the background, or regions.
        regions: Label values of each output, if the outputs are regions.

    Raises:
        ConfigError: Regions and outputs differ in number, or a region is empty or holds the
            background or IGNORE.
    """

    def __init__(self, n_classes: int, regions: Regions | None = None) -> None:
        self.n_classes = n_classes
        self.regions = regions
        if regions is None:
            if n_classes < 2:
                raise ConfigError(
                    f"a loss must have at least 2 classes (background included); got {n_classes}."
                )
            return
        if len(regions) != n_classes:
            raise ConfigError(
                f"a loss over regions must have one output a region; got {n_classes} outputs and "
                f"{len(regions)} regions."
            )
        for values in regions:
            if not values or min(values) < 1 or max(values) >= IGNORE:
                raise ConfigError(
                    f"a region must unite label values from 1 to {IGNORE - 1}; got {values}."
                )

    @property
    def n_foreground(self) -> int:
        """Outputs that are judged one by one: all but the background."""
        return self.n_classes - (1 if self.regions is None else 0)

    def compare(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Compared:
        """Logits beside the reference, in float32.

        Args:
            logits: (N, K, ...spatial), any real numbers.
            target: (N, ...spatial) int64, class indices from 0 to K - 1, for regions label
                values; IGNORE where nothing is known.
            annotated: (N, K') bool, False: class k + 1 (region k) was not annotated in the
                case of sample n. None: all were.

        Raises:
            GridError: The shapes do not fit together.
        """
        self._check_shapes(logits, target, annotated)
        outputs = logits.flatten(2).float()
        target = target.flatten(1)
        judged = (target != IGNORE).to(torch.float32)[:, None]
        known = None if annotated is None else annotated.to(torch.float32)
        if self.regions is not None:
            inside = self._inside(target)
            return ComparedRegions(outputs, inside, judged, known)
        log_probs = torch.log_softmax(outputs, dim=1)
        if annotated is None:
            return ComparedClasses(log_probs, target, judged, known, background=None)
        background, target = marginal(log_probs, target, annotated)
        return ComparedClasses(log_probs, target, judged, known, background)

    def _inside(self, target: Tensor) -> Tensor:
        """(N, K', V) float32 from label values (N, V)."""
        masks = []
        for values in self.regions or ():
            mask = target == values[0]
            for value in values[1:]:
                mask = mask | (target == value)
            masks.append(mask)
        return torch.stack(masks, dim=1).to(torch.float32)

    def _check_shapes(self, logits: Tensor, target: Tensor, annotated: Tensor | None) -> None:
        expected = (logits.shape[0], *logits.shape[2:])
        if tuple(target.shape) != expected:
            raise GridError(
                f"loss target must have shape {expected}, as the logits {tuple(logits.shape)} "
                f"without their class axis; got {tuple(target.shape)}."
            )
        if logits.shape[1] != self.n_classes:
            raise GridError(
                f"logits must have {self.n_classes} outputs along axis 1; got "
                f"{tuple(logits.shape)}."
            )
        if annotated is not None and tuple(annotated.shape) != (len(logits), self.n_foreground):
            raise GridError(
                f"'annotated' must have shape {(len(logits), self.n_foreground)}, a row for each "
                f"sample and a column for each foreground class; got {tuple(annotated.shape)}."
            )


def marginal(log_probs: Tensor, target: Tensor, annotated: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of the background and target where some classes were not annotated.

    There, background means "background or one of those classes": its probability is their sum.

    Args:
        log_probs: (N, K, V).
        target: (N, V) int64; the value of a class that was not annotated becomes background.
        annotated: (N, K - 1) bool.

    Returns:
        (N, 1, V) log-probability and (N, V) target.

    Source: Fidon et al. 2021, MICCAI 647-657; Shi et al. 2021, Med Image Anal 70:101979.
    """
    first = annotated.new_ones((len(annotated), 1))
    apart = torch.cat([~first, annotated], dim=1)  # (N, K): not part of the background
    joined = log_probs.masked_fill(apart[:, :, None], -torch.inf)
    # A sum of all probabilities can round to slightly more than 1; no probability exceeds it.
    background = torch.logsumexp(joined, dim=1, keepdim=True).clamp(max=0.0)
    certain = torch.cat([first, annotated], dim=1).gather(1, target.where(target != IGNORE, 0))
    return background, target.where(certain, 0).where(target != IGNORE, IGNORE)
