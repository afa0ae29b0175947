"""Connected components of a mask: labels, the largest one, their volumes.

Enters: one (Z, Y, X) mask. Leaves: components numbered from 1. The work is done
inside the bounding box of the mask, since small structures fill little of a scan.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from acinus.scans.volume import Grid
from acinus.types import Labelmap, Mask

Connectivity = Literal[6, 18, 26]
"""Neighbours that count as touching: by faces, also edges, also corners."""

_REACH: dict[int, int] = {6: 1, 18: 2, 26: 3}


def label_components(mask: Mask, connectivity: Connectivity = 26) -> tuple[Labelmap, int]:
    """Components of a mask, numbered from 1, and how many there are.

    Args:
        mask: (Z, Y, X) bool; an empty one has 0 components.
        connectivity: Neighbours that count as touching.
    """
    from scipy import ndimage  # here: it takes a while to load

    labels = np.zeros(mask.shape, dtype=np.int32)
    box = bounding_box(mask)
    if box is None:
        return labels, 0
    structure = ndimage.generate_binary_structure(3, _REACH[connectivity])
    inside, n_components = ndimage.label(mask[box], structure=structure)
    labels[box] = inside
    return labels, int(n_components)


def largest_component(mask: Mask, connectivity: Connectivity = 26) -> Mask:
    """The component with most voxels; an empty mask stays empty, of equals the first is kept.

    Args:
        mask: (Z, Y, X) bool.
        connectivity: Neighbours that count as touching.
    """
    labels, n_components = label_components(mask, connectivity)
    if n_components == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(labels.ravel(), minlength=n_components + 1)[1:]
    return np.asarray(labels == int(np.argmax(sizes)) + 1)


def component_volumes_ml(
    mask: Mask, grid: Grid, connectivity: Connectivity = 26
) -> tuple[float, ...]:
    """Volume of each component, mL, largest first; empty for an empty mask.

    Args:
        mask: (Z, Y, X) bool on `grid`.
        grid: Where the voxels lie.
        connectivity: Neighbours that count as touching.
    """
    labels, _ = label_components(mask, connectivity)
    sizes = np.bincount(labels.ravel())[1:]
    return tuple(float(n) * grid.voxel_volume_ml for n in sorted(sizes, reverse=True))


def bounding_box(mask: Mask) -> tuple[slice, ...] | None:
    """Smallest box that holds all voxels of a mask of any number of axes; None if it has none."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        part = mask[tuple(box)]
        found = np.flatnonzero(np.any(part, axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if found.size == 0:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)
