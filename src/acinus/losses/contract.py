"""What every loss is: a function of logits, reference and what was annotated.

Enters: nothing. Leaves: the type that training and deep supervision call.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Loss(Protocol):
    """A scalar >= 0 to minimise."""

    def __call__(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Scalar float32 loss.

        Args:
            logits: (N, K, ...spatial).
            target: (N, ...spatial) int64, class indices or, with regions, label values;
                voxels equal to `acinus.types.IGNORE` cost nothing.
            annotated: (N, K') bool, K' the foreground classes or regions; False: not annotated
                in the case of this sample. Softmax: its probability counts as background;
                regions: left out. None: everything was annotated.

        Raises:
            GridError: The shapes do not fit together.
        """
