"""Who takes part in one training: this process alone, or several that share each batch.

Enters: what a member of a team computed. Leaves: what all together have. Every
member draws the batch of a step by the same seed and takes its part; the logits
of all parts are brought together and each member computes the loss of the whole
batch, so that losses which are no means over patches (batch-wise Dice) are exact.
Averaging the members' own losses, as is usual, was rejected: it trains another loss.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Team(Protocol):
    """The members of a training, as one of them sees it."""

    rank: int
    """Number of this member; 0 looks, saves and speaks for all."""

    def part(self, n: int) -> slice:
        """Places of this member's patches in a batch of `n`."""

    def arrange(self, network: nn.Module) -> None:
        """Make layers of a network that look at whole batches look at the parts of all."""

    def gather(
        self, levels: Any, label: Tensor, annotated: Tensor | None
    ) -> tuple[Any, Tensor, Tensor | None]:
        """Logits, labels and annotation of the whole batch; gradients reach the own part only.

        Args:
            levels: Logits (n, K, ...) of the finest level, or a list of those of all levels.
            label: (n, ...) int64.
            annotated: (n, K) bool, or None where everything is.
        """

    def sum_gradients(self, network: nn.Module) -> None:
        """Add the gradients of all members; all then have the same."""

    def agree(self, values: Tensor) -> Tensor:
        """The mean of what all members have, so that they decide alike."""

    def tell(self, words: Any) -> Any:
        """What member 0 says."""


class Alone:
    """A team of one.

    Args:
        n_parts: For timing only: takes one of so many parts of each batch, without the others.
    """

    rank = 0

    def __init__(self, n_parts: int = 1) -> None:
        self.n_parts = n_parts

    def part(self, n: int) -> slice:
        """The first part of a batch; all of it where there is one part."""
        return slice(0, max(1, n // self.n_parts))

    def arrange(self, network: nn.Module) -> None:
        """Leave the network as it is."""

    def gather(
        self, levels: Any, label: Tensor, annotated: Tensor | None
    ) -> tuple[Any, Tensor, Tensor | None]:
        """What is given."""
        return levels, label, annotated

    def sum_gradients(self, network: nn.Module) -> None:
        """Nothing: there are no others."""

    def agree(self, values: Tensor) -> Tensor:
        """What is given."""
        return values

    def tell(self, words: Any) -> Any:
        """What is given."""
        return words
