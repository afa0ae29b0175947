"""Parts of a scan as in a mirror, so that a left gland looks like a right one.

Enters: volumes. Leaves: the same grid with right and left exchanged within it; of label maps the
names change places as well. Mirrored twice, a volume is what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acinus.scans import Volume
from acinus.scans.orientation import array_axis_of
from acinus.types import Labelmap


def mirrored(volume: Volume) -> Volume:
    """The voxels in reverse order along the axis closest to right-left, as a view."""
    axis = array_axis_of(volume.affine, "R")
    return volume.with_array(np.flip(volume.array, axis))


def mirrored_labels(labelmap: Volume, table: Sequence[int]) -> Volume:
    """The same of a label map, with the labels of the other side.

    Args:
        labelmap: Values that are not in the table stay.
        table: New value of each label value, as `Plan.mirror_table`.
    """
    turned = mirrored(labelmap)
    return turned.with_array(with_other_side(turned.array, table))


def with_other_side(labels: Labelmap, table: Sequence[int]) -> Labelmap:
    """A copy of some labels with those of the other side; `table` as of `mirrored_labels`."""
    result = np.array(labels)
    for old, new in enumerate(table):
        if old != new:
            result[labels == old] = new
    return result
