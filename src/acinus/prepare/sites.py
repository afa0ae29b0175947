"""Where the labels of a prepared case lie: a sample of voxels for each.

Enters: a prepared label map. Leaves: voxel indices, stored beside the arrays, so
that a training draws labelled voxels at once instead of searching large volumes
when it starts. All voxels of large labels were rejected: a liver has millions,
and 10,000 of them are drawn from as evenly.
"""

from __future__ import annotations

import hashlib

import numpy as np

from acinus.prepare.resample import label_boxes
from acinus.types import IGNORE, Array

MOST_SITES = 10_000
"""Voxels kept of one label of one case."""


def label_sites(label: Array, case_id: str, most: int = MOST_SITES) -> dict[int, Array]:
    """A sample of the voxels of each label, the same for the same case.

    Args:
        label: (S, R, Q) uint8 prepared label map.
        case_id: Seeds the draw.
        most: Voxels kept of a label; all where it has no more.

    Returns:
        Value to (n, 3) int32 indices (s, r, q) in rising order, n >= 1. 255 is left
        out. Where the reference is silent in part (255), the key 0 holds annotated
        background, so that patches can be drawn from what is annotated.
    """
    seed = hashlib.sha256(case_id.encode()).digest()[:8]
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    boxes = label_boxes(label)
    if IGNORE in boxes:
        del boxes[IGNORE]
        boxes = {0: (slice(0, None), slice(0, None), slice(0, None)), **boxes}
    sites = {}
    for value, box in boxes.items():
        part = label[box]
        flat = np.flatnonzero(part == value)
        if len(flat) > most:
            flat = np.sort(rng.choice(flat, size=most, replace=False, shuffle=False))
        if len(flat):
            found = np.stack(np.unravel_index(flat, part.shape), axis=1)
            sites[value] = (found + [edge.start for edge in box]).astype(np.int32)
    return sites


def sites_as_table(sites: dict[int, Array]) -> Array:
    """(n, 4) rows (value, s, r, q) to be stored, in the smallest unsigned type that holds them."""
    rows = [
        np.concatenate([np.full((len(found), 1), value, dtype=np.int32), found], axis=1)
        for value, found in sites.items()
    ]
    table = np.concatenate(rows) if rows else np.zeros((0, 4), dtype=np.int32)
    return table.astype(np.min_scalar_type(int(table.max(initial=0))))


def sites_from_table(table: Array) -> dict[int, Array]:
    """The sites that `sites_as_table` laid out."""
    values, starts = np.unique(table[:, 0], return_index=True)
    ends = [*starts, len(table)][1:]
    return {
        int(value): np.ascontiguousarray(table[start:end, 1:], dtype=np.int32)
        for value, start, end in zip(values, starts, ends, strict=True)
    }
