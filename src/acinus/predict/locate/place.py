"""What a locator says of one place, and what became of its box.

Enters: label maps at coarse resolution. Leaves: boxes in the world, one a place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acinus.scans import Volume
from acinus.scans.box import Box, box_of_voxels, crop
from acinus.scans.components import bounding_box, label_components
from acinus.types import Mask

LARGE_SHARE = 0.2
"""A component counts from this share of the largest one of its label on: one label may stand for
both sides."""

LabelValues = Mapping[str, tuple[int, ...]]
"""Label to the values that stand for it in a label map."""


@dataclass(frozen=True)
class Place:
    """A place where labels are sought.

    Attributes:
        name: Of the place.
        labels: That belong to it; others are left out of its box.
        box: In the world; None if it was not found.
        reason: Why there is no box; empty if there is one.
    """

    name: str
    labels: tuple[str, ...]
    box: Box | None
    reason: str = ""


def sized(box: Box, box_mm: tuple[float, float, float] | None) -> Box:
    """The box, or where a plan states a size one of that size about its centre.

    Args:
        box: In the world.
        box_mm: (Z, Y, X) size, mm; None: as it is.
    """
    return box if box_mm is None else box.sized(box_mm[::-1])


def places_in(
    labelmap: Volume,
    places: Sequence[tuple[str, tuple[str, ...]]],
    values: LabelValues,
    margin_mm: float,
    *,
    box_mm: tuple[float, float, float] | None = None,
    grown_mm: float = 0.0,
    large_only: bool = True,
) -> list[Place]:
    """The box of each place around what a label map shows of its labels, with a margin.

    Args:
        labelmap: Any grid.
        places: Each with its labels.
        values: What stands for each label.
        margin_mm: On each side.
        box_mm: See `sized`.
        grown_mm: By how much the labels of the map are grown, see `grow_labels`; it is taken off
            as far as the margin makes up for it, since beside another label none could grow.
        large_only: Whether of each label only components count that are not much smaller than
            its largest: at coarse resolution small ones are mostly chance finds, and one far away
            makes a box of half the scan.
    """
    found = []
    drawn = bounding_box(labelmap.array != 0)
    if drawn is not None:
        labelmap = crop(labelmap, drawn)  # of a whole body in one look, not in one a label
    for name, labels in places:
        box: Box | None = None
        for label in labels:
            mask = np.isin(labelmap.array, values[label])
            part = bounding_box(_large_parts(mask) if large_only else mask)
            if part is None:
                continue
            here = box_of_voxels(labelmap.grid, part).shrunk(min(grown_mm, margin_mm))
            box = here if box is None else box.united(here)
        if box is None:
            found.append(Place(name, labels, None, f"nothing of {name} was found"))
        else:
            found.append(Place(name, labels, sized(box.grown(margin_mm, margin_mm), box_mm)))
    return found


def _large_parts(mask: Mask) -> Mask:
    """The components of a mask that are large enough beside its largest."""
    parts, n = label_components(mask)
    sizes = np.bincount(parts.ravel(), minlength=n + 1)
    sizes[0] = 0
    return np.asarray((sizes >= max(1.0, LARGE_SHARE * sizes.max()))[parts])
