"""Labels grown on a coarse grid, so that what is smaller than its voxels can be found on it.

Enters: a label map on a fine grid and as it was resampled to a coarse one. Leaves: the coarse one
in which every label that the scan shows is there. Majority decides in resampling, and a lacrimal
gland is the majority in hardly any voxel of 6 mm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acinus.prepare.resample import label_boxes
from acinus.types import IGNORE, Array, Mask


def grow_labels(
    label: Array, resampled: Array, spacing_mm: Sequence[float], grow_mm: float
) -> Array:
    """A coarse label map with each label grown: none of the fine one is missing in it.

    The cells of a label are the coarse voxels in which the centre of one of its voxels lies, and
    those that resampling gave it. Every voxel within `grow_mm` of a cell, centre to centre, belongs
    to the label of the nearest one; of several as near to the one of fewest voxels. A label that
    would be left with nothing, since all its cells are another's, keeps the one that holds most of
    it, unless that is all that the other has. What is unknown stays so, but for cells.

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

    rim_vox = np.floor(grow_mm / np.asarray(spacing_mm) + 1e-6).astype(int)
    nearest_mm = np.full(resampled.shape, np.inf)
    grown = np.where(resampled == IGNORE, IGNORE, 0).astype(np.uint8)
    majority = label_boxes(resampled)
    counts = {
        value: _counts(label[box] == value, box, label.shape, resampled.shape)
        for value, box in label_boxes(label).items()
        if value != IGNORE
    }
    smallest_first = sorted(counts, key=lambda value: int(counts[value][0].sum()))
    for value in smallest_first:
        count, start = counts[value]
        low, high = start, start + count.shape
        if value in majority:
            low = np.minimum(low, [edge.start for edge in majority[value]])
            high = np.maximum(high, [edge.stop for edge in majority[value]])
        low, high = np.maximum(low - rim_vox, 0), np.minimum(high + rim_vox, resampled.shape)
        region = _slices(low, high)
        cells = resampled[region] == value
        cells[_slices(start - low, start - low + count.shape)] |= count > 0
        away_mm = distance_transform_edt(~cells, sampling=spacing_mm)
        takes = (away_mm <= grow_mm + 1e-3) & (away_mm < nearest_mm[region])
        takes &= (grown[region] != IGNORE) | (away_mm == 0)
        grown[region][takes] = value
        nearest_mm[region][takes] = away_mm[takes]
    for value in smallest_first:
        count, start = counts[value]
        if not (grown == value).any():
            fullest = tuple(np.add(np.unravel_index(int(count.argmax()), count.shape), start))
            if np.count_nonzero(grown == grown[fullest]) > 1:
                grown[fullest] = value
    return grown


def _counts(
    mask: Mask, box: Sequence[slice], old: Sequence[int], new: Sequence[int]
) -> tuple[Array, Array]:
    """Voxels of a fine mask in each coarse voxel around it.

    Args:
        mask: Within its box.
        box: (S, R, Q) of the fine grid.
        old: (S, R, Q) size of the fine grid.
        new: (S, R, Q) size of the coarse grid over the same extent.

    Returns:
        (S, R, Q) counts, and where they begin on the coarse grid.
    """
    count: Array = mask
    low = []
    for axis, (edge, n_old, n_new) in enumerate(zip(box, old, new, strict=True)):
        cell = ((np.arange(edge.start, edge.stop) + 0.5) * n_new / n_old).astype(int)
        present, starts = np.unique(cell, return_index=True)
        summed = np.add.reduceat(count, starts, axis=axis, dtype=np.int32)
        shape = list(summed.shape)
        shape[axis] = int(present[-1] - present[0]) + 1
        count = np.zeros(shape, dtype=np.int32)  # slices thicker than coarse voxels leave gaps
        count[(slice(None),) * axis + (present - present[0],)] = summed
        low.append(int(present[0]))
    return count, np.array(low)


def _slices(low: Array, high: Array) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
