"""Sampling (ii) of the lacrimal MRI study: equally from foreground and background.

Source: lacrimal MRI study, section 2.3 and Figure 2, method 2. That a label is
drawn first and then one of its voxels is ours, so that a small label is seen
as often as a large one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from acinus.train.sampling.sites import SAMPLINGS, SamplingConfig, Sites, Voxel
from acinus.types import IGNORE, Array


class _Foreground:
    def __init__(self, label: Array, voxels: Mapping[int, Array]) -> None:
        self._label = label
        self._voxels = [found for value, found in voxels.items() if 0 < value != IGNORE]

    def draw(self, rng: np.random.Generator) -> Voxel | None:
        if not self._voxels:
            return None
        voxels = self._voxels[rng.integers(len(self._voxels))]
        s, r, q = voxels[rng.integers(len(voxels))]
        return int(s), int(r), int(q)

    def contains(self, voxel: Voxel) -> bool:
        return bool(0 < self._label[voxel] != IGNORE)


@SAMPLINGS.register("foreground", config=SamplingConfig)
def foreground_sites(label: Array, voxels: Mapping[int, Array]) -> Sites:
    """Half of the patches at labelled voxels, half at background."""
    return _Foreground(label, voxels)
