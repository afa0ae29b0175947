"""What the grid of an arm keeps of its references: voxels lost, and the best that it allows.

Enters: a prepared case and its reference. Leaves: a row a label with its voxels on the prepared
grid and the Dice of the reference after the way there and back. The way back is that of a
prediction: a network that says exactly what was prepared scores this, so that it is the ceiling of
the arm. Soft probabilities could lie a little above it, which no network was seen to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from acinus.errors import DataError
from acinus.measure.overlap import dice
from acinus.prepare import Store, mirrored, with_other_side
from acinus.prepare.geometry import Geometry
from acinus.prepare.native import restore
from acinus.scans import Volume
from acinus.types import IGNORE, Array, Labelmap

PLANES = 16
"""Prepared planes that are turned into class maps together."""


def grid_rows(
    store: Store,
    case: str,
    reference: Volume,
    regions: Mapping[str, tuple[int, ...]],
    *,
    arm: str,
    mirror_table: Sequence[int] = (),
) -> list[dict[str, str | int | float | None]]:
    """A row a label: voxels on the prepared grid, and the Dice of the way there and back.

    Args:
        store: Prepared cases of the arm; one that is not in it has no rows.
        case: Its id.
        reference: The label map on its native grid.
        regions: Label to its values in the label map.
        arm: Its name.
        mirror_table: As `Plan.mirror_table`, for boxes that are kept as in a mirror.
    """
    try:
        facts = [
            (entry, store.facts(entry), sought)
            for entry, sought in store.labels_of_entries(case).items()
        ]
    except DataError:
        return []
    voxels = dict.fromkeys(regions, 0)
    back = np.zeros(reference.shape, np.uint8)
    for entry, known, sought in facts:
        # Boxes overlap; of each label the prediction comes from the box where it is sought.
        own = {name: values for name, values in regions.items() if sought is None or name in sought}
        label = np.array(store.label(entry))
        if known.mirrored:
            label = with_other_side(label, mirror_table)
        label[~np.isin(label, [IGNORE, *(v for values in own.values() for v in values)])] = 0
        for name, values in own.items():
            voxels[name] += int(np.isin(label, values).sum())
        piece = _there_and_back(label, known.geometry)
        piece = mirrored(piece) if known.mirrored else piece
        start = _first_voxel(reference, piece)
        part = tuple(slice(a, a + n) for a, n in zip(start, piece.shape, strict=True))
        back[part] = np.where(piece.array > 0, piece.array, back[part])
    rows: list[dict[str, str | int | float | None]] = []
    for name, values in regions.items():
        drawn, kept = np.isin(reference.array, values), np.isin(back, values)
        score = dice(drawn, kept, reference.spacing_mm)
        rows.append(
            {
                "arm": arm,
                "case": case,
                "label": name,
                "voxels": voxels[name],
                "ceiling": score.value,
            }
        )
    return rows


def _there_and_back(label: Labelmap, geometry: Geometry) -> Volume:
    """A prepared label map on the native grid of its case, as a prediction comes back."""
    values = [int(v) for v in np.unique(label) if v not in (0, IGNORE)]
    table = torch.tensor([0, *values], dtype=torch.uint8)

    def slabs() -> Iterator[Tensor]:
        for first in range(0, label.shape[0], PLANES):
            planes = torch.from_numpy(np.array(label[first : first + PLANES]))
            maps = [planes == value for value in values]
            nothing = ~torch.stack(maps).any(dim=0) if maps else torch.ones_like(planes).bool()
            yield torch.stack([nothing, *maps]).float()

    return restore(slabs(), geometry, lambda maps: table[maps.argmax(dim=1)])


def _first_voxel(whole: Volume, piece: Volume) -> Array:
    """(Z, Y, X) index at which a part of a scan begins."""
    moved = piece.affine[:3, 3] - whole.affine[:3, 3]
    return np.round(np.linalg.solve(whole.affine[:3, :3], moved)[::-1]).astype(int)
