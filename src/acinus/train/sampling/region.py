"""Sampling (iii) of the lacrimal MRI study: equally from background and expected region.

The region is the foreground summed along the slice axis: wherever any slice of
the case has a label, every slice of that column counts, whether the structure
is there or not. It shows the network slices just above and below the
structure, which the study used to reduce false positives. Slices of which the
reference says nothing there are left out.

Source: lacrimal MRI study, section 2.3 and Figure 2, method 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from acinus.train.sampling.sites import SAMPLINGS, SamplingConfig, Sites, Voxel
from acinus.types import IGNORE, Array


class _Region:
    def __init__(self, label: Array) -> None:
        self._label = label
        self._mask = np.asarray(((label > 0) & (label != IGNORE)).any(axis=0))
        values = [int(value) for value in np.unique(label) if 0 < value != IGNORE]
        self._columns = [
            np.argwhere((label == value).any(axis=0)).astype(np.int32) for value in values
        ]

    def draw(self, rng: np.random.Generator) -> Voxel | None:
        if not self._columns:
            return None
        columns = self._columns[rng.integers(len(self._columns))]
        r, q = columns[rng.integers(len(columns))]
        judged = np.flatnonzero(self._label[:, r, q] != IGNORE)
        return int(judged[rng.integers(len(judged))]), int(r), int(q)

    def contains(self, voxel: Voxel) -> bool:
        return bool(self._mask[voxel[1:]] and self._label[voxel] != IGNORE)


@SAMPLINGS.register("region", config=SamplingConfig)
def region_sites(label: Array, voxels: Mapping[int, Array]) -> Sites:
    """Half of the patches where any slice of the case has a label, half elsewhere."""
    return _Region(label)
