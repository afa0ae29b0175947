"""Soft Dice loss over the foreground classes.

Enters: logits and class indices. Leaves: a scalar in [0, 1) to minimise.
"""

from __future__ import annotations

from torch import Tensor

from acinus.losses.compared import Compared, Outputs
from acinus.losses.overlap import OverlapConfig, mean_over_classes, soft_overlap


class DiceLoss:
    """Soft Dice loss: 1 - mean over classes of (2 Σ p g + s) / (Σ p² + Σ g + s).

    p is the probability of the class or region, g 1 where the reference has it, s `smooth`; the
    background is left out. In [0, 1): 0 for a perfect prediction; lower is better. A class
    absent from the reference costs Σ p² / (Σ p² + s), hence nothing if it is not predicted;
    batch-wise it is left out where the batch shows other classes, unless `absent` is count.
    With `squared` false, Σ p stands for Σ p².

    Args:
        config: Smoothing, squaring, absent classes, and whether sums run over the batch.
        outputs: What the outputs of the network stand for.

    Source: Milletari et al. 2016, 3DV 565-571 (squared); Drozdzal et al. 2016, LABELS 179-187
    (plain sums). The lacrimal study trains with a Dice loss and does not state its form.
    """

    def __init__(self, config: OverlapConfig, outputs: Outputs) -> None:
        self.config = config
        self.outputs = outputs

    def __call__(self, logits: Tensor, target: Tensor, annotated: Tensor | None = None) -> Tensor:
        """Scalar loss of logits (N, K, ...) against target (N, ...) int64."""
        return self.of(self.outputs.compare(logits, target, annotated))

    def of(self, compared: Compared) -> Tensor:
        """Scalar loss of a prediction beside its reference."""
        sums = soft_overlap(compared, batch=self.config.batch, squared=self.config.squared)
        smooth = self.config.smooth
        dice = (2 * sums.product + smooth) / (sums.prediction + sums.reference + smooth)
        return mean_over_classes(1 - dice, sums, self.config)
