"""Sampling by rarity: tiny labels and labels of few cases are drawn more often than others.

Enters: the voxels of all training cases. Leaves: for each case a preferred set, a chance for
each of its labels, and a chance for the case itself. Of the patches of the preferred set the
label is drawn first, with the weight

    w = max(V, V_max / most^(1 / power)) ^ -power,

V being the label's voxels in all training cases together (so a label of few voxels and one of
few cases are both rare) and V_max those of the largest label; then one of the cases that show
the label, all alike; then one of its voxels there. With power 0.5 a label of a hundredth of the
voxels is drawn ten times as often, which is the most unless said otherwise.

Weights by 1 / V were rejected: a label of a few voxels would fill the batches and be learned by
heart; labels alike, as the sampling `foreground` has them within a case, leave a label of few
cases as rare as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from acinus.train.sampling.sites import SAMPLINGS, SamplingConfig, Sites, Voxel
from acinus.types import IGNORE, Array


class RarityConfig(SamplingConfig):
    """How much rarer labels are preferred."""

    by_region: ClassVar[bool] = False  # what is rare is told by the values of the label map
    power: float = Field(0.5, ge=0, le=1)
    """Weight of a label: its voxels in all training cases to the power of minus this; 0: all
    labels alike."""
    most: float = Field(10.0, ge=1)
    """The rarest label is drawn at most so many times as often as the largest."""


class RareSites:
    """Labelled voxels of one case.

    Args:
        label: (S, R, Q) uint8.
        voxels: Label value to (n, 3) indices of some of its voxels.
    """

    def __init__(self, label: Array, voxels: Mapping[int, Array]) -> None:
        self._label = label
        self._voxels = {value: found for value, found in voxels.items() if 0 < value != IGNORE}
        self.counts = _counts(label) if self._voxels else {}
        self._chances = np.full(len(self._voxels), 1 / max(len(self._voxels), 1))

    def pool(self, everyone: Sequence[RareSites], config: SamplingConfig) -> float:
        """Weight the labels by their rarity among all cases; returns the weight of this case."""
        settings = config if isinstance(config, RarityConfig) else RarityConfig()
        weights = label_weights([case.counts for case in everyone], settings)
        n_cases = Counter(value for case in everyone for value in case._voxels)
        shares = np.array([weights[value] / n_cases[value] for value in self._voxels])
        if len(shares):
            self._chances = shares / shares.sum()
        return float(shares.sum())

    def draw(self, rng: np.random.Generator) -> Voxel | None:
        """A voxel of a label drawn by rarity; None if the case has no label."""
        if not self._voxels:
            return None
        voxels = list(self._voxels.values())[rng.choice(len(self._chances), p=self._chances)]
        s, r, q = voxels[rng.integers(len(voxels))]
        return int(s), int(r), int(q)

    def contains(self, voxel: Voxel) -> bool:
        """Whether a voxel has a label."""
        return bool(0 < self._label[voxel] != IGNORE)


def label_weights(counts: Sequence[Mapping[int, int]], config: RarityConfig) -> dict[int, float]:
    """How often each label is drawn for a patch of the preferred set; they sum to 1.

    Args:
        counts: For each training case, label value to number of voxels, > 0.
        config: Power and limit.
    """
    totals: Counter[int] = Counter()
    for case in counts:
        totals.update(case)
    if not totals:
        return {}
    largest = max(totals.values())
    limit = largest / config.most ** (1 / config.power) if config.power else largest
    weights = {value: max(n, limit) ** -config.power for value, n in sorted(totals.items())}
    total = sum(weights.values())
    return {value: weight / total for value, weight in weights.items()}


def _counts(label: Array) -> dict[int, int]:
    """Voxels of each label, slice by slice so that memory stays small."""
    totals = np.zeros(256, dtype=np.int64)
    for plane in label:
        totals += np.bincount(plane.ravel(), minlength=256)
    return {value: int(totals[value]) for value in range(1, IGNORE) if totals[value]}


@SAMPLINGS.register("rarity", config=RarityConfig)
def rarity_sites(label: Array, voxels: Mapping[int, Array]) -> Sites:
    """Half of the patches at labelled voxels, tiny and seldom labels more often than others."""
    return RareSites(label, voxels)
