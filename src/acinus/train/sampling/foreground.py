"""Sampling (ii) of the lacrimal MRI study: equally from foreground and background.

Source: lacrimal MRI study, section 2.3 and Figure 2, method 2. That a label is
drawn first and then one of its voxels is ours, so that a small label is seen
as often as a large one.
"""

from __future__ import annotations

import numpy as np

from acinus.train.sampling.sites import SAMPLINGS, SamplingConfig, Sites, Voxel
from acinus.types import IGNORE, Array


class _Foreground:
    def __init__(self, label: Array) -> None:
        values = [int(value) for value in np.unique(label) if 0 < value != IGNORE]
        self._voxels = [np.argwhere(label == value).astype(np.int32) for value in values]
        self._mask = (label > 0) & (label != IGNORE)

    def draw(self, rng: np.random.Generator) -> Voxel | None:
        if not self._voxels:
            return None
        voxels = self._voxels[rng.integers(len(self._voxels))]
        s, r, q = voxels[rng.integers(len(voxels))]
        return int(s), int(r), int(q)

    def contains(self, voxel: Voxel) -> bool:
        return bool(self._mask[voxel])


@SAMPLINGS.register("foreground", config=SamplingConfig)
def foreground_sites(label: Array) -> Sites:
    """Half of the patches at labelled voxels, half at background."""
    return _Foreground(label)
