"""Labels grown on a coarse grid, so that what is smaller than its voxels can be found on it.

Enters: a label map on a fine grid and as it was resampled to a coarse one. Leaves: the coarse one
in which every label that the scan shows is there. Majority decides in resampling, and a lacrimal
gland is the majority in no voxel of 6 mm.
"""

from __future__ import annotations

import numpy as np

from acinus.prepare.resample import label_boxes
from acinus.types import IGNORE, Array


def grow_labels(label: Array, resampled: Array, spacing_mm: Array, grow_mm: float) -> Array:
    """A coarse label map with each label grown: no label of the fine one is missing in it.

    A coarse voxel belongs to a label if one in which a voxel of the label lies is at most
    `grow_mm` away, centre to centre; of several labels to the nearest, then to the one that has
    fewest voxels. Voxels of no known label stay unknown.

    Args:
        label: (S, R, Q) uint8, the fine map.
        resampled: (S, R, Q) uint8, the same on the coarse grid.
        spacing_mm: (S, R, Q) of the coarse grid, mm.
        grow_mm: At least 0.

    Returns:
        (S, R, Q) uint8, new.
    """
    # Imported here: the module of filters takes a while to load.
    from scipy.ndimage import distance_transform_edt

    n_new = np.array(resampled.shape)
    rim_vox = np.floor(grow_mm / np.asarray(spacing_mm) + 1e-6).astype(int)
    nearest_mm = np.full(resampled.shape, np.inf)
    grown = np.where(resampled == IGNORE, IGNORE, 0).astype(np.uint8)
    seeds = {}
    for value, box in label_boxes(label).items():
        if value != IGNORE:
            inside = np.argwhere(label[box] == value) + [edge.start for edge in box]
            seeds[value] = np.floor((inside + 0.5) * n_new / label.shape).astype(int)
    for value in sorted(seeds, key=lambda one: len(seeds[one])):
        low = np.maximum(seeds[value].min(axis=0) - rim_vox, 0)
        high = np.minimum(seeds[value].max(axis=0) + rim_vox + 1, n_new)
        is_away = np.ones(high - low, dtype=bool)
        is_away[tuple((seeds[value] - low).T)] = False
        away_mm = distance_transform_edt(is_away, sampling=spacing_mm)
        region = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        takes = (away_mm <= grow_mm + 1e-3) & (away_mm < nearest_mm[region])
        takes &= grown[region] != IGNORE
        grown[region][takes] = value
        nearest_mm[region][takes] = away_mm[takes]
    return grown
