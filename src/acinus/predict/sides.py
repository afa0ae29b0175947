"""Parts of a structure that lie on the other side of the patient: found, and renamed if asked.

Enters: label maps, of a scan or of its boxes, and the scan. Leaves: connected parts beyond the
midline. Where a structure and its partner are both there, the middle between them is the midline,
which a raised arm or a couch does not move; else it is that of the body. One centroid a structure
was rejected: two parts, one on either side, have theirs in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from acinus.cohort.check_side import SIDE_MARGIN_MM, midline_mm
from acinus.plan import Plan
from acinus.predict.locate import Located, Piece, Place
from acinus.scans import Volume, canonical
from acinus.scans.components import bounding_box, label_components
from acinus.types import Array, Mask

NEIGHBOURHOOD_MM = 20.0
"""The midline of the body is looked for once in a square of this edge of rows and slices."""


@dataclass(frozen=True, eq=False)
class SidePart:
    """A connected part of a structure that has a side.

    Attributes:
        label: The structure.
        piece: Index of the label map that shows it.
        box: Slices of that label map.
        mask: Its voxels in the box.
        volume_ml: Its volume.
        world_mm: (3,) right, anterior and superior coordinate of its centroid.
        is_left_out: Whether no result shows it: in the box of its partner it has no place.
    """

    label: str
    piece: int
    box: tuple[slice, ...]
    mask: Mask
    volume_ml: float
    world_mm: Array
    is_left_out: bool = False


def parts_on_wrong_side(
    labelmaps: Sequence[Volume | None],
    image: Volume,
    plan: Plan,
    sought: Sequence[Sequence[str]] | None = None,
) -> list[SidePart]:
    """Connected parts that lie beyond the midline, seen from the side of their structure.

    Args:
        labelmaps: Parts of one scan, or the whole; None for a box that was not found.
        image: The scan, at any resolution.
        plan: Labels, sides and mirror pairs.
        sought: For each label map the structures that are looked for in it; None: all.
    """
    sides, regions = plan.dataset.sides, plan.dataset.regions
    parts: dict[str, list[SidePart]] = {name: [] for name in plan.dataset.labels if name in sides}
    for index, labelmap in enumerate(labelmaps):
        for name, found in parts.items():
            if labelmap is not None and (sought is None or name in sought[index]):
                values = regions.get(name, (plan.dataset.labels[name],))
                found += _parts(labelmap, name, values, index)
    by_volume = attrgetter("volume_ml")
    largest = {name: max(some, key=by_volume) for name, some in parts.items() if some}
    partners, midline = partners_of(plan), _Midline(canonical(image))
    wrong = []
    for name, some in parts.items():
        sign = 1.0 if sides[name] == "right" else -1.0
        other = largest.get(partners.get(name, ""))
        for one in some:
            between = None
            if other is not None and sides[other.label] != sides[name]:
                own_mm, other_mm = largest[name].world_mm[0], other.world_mm[0]
                if sign * (own_mm - other_mm) > 2 * SIDE_MARGIN_MM:
                    between = (own_mm + other_mm) / 2, SIDE_MARGIN_MM
            middle_mm, margin_mm = between or midline.at(one.world_mm)
            if sign * (one.world_mm[0] - middle_mm) < -margin_mm:
                wrong.append(one)
    return wrong


def parts_of_boxes_on_wrong_side(located: Located, plan: Plan) -> list[SidePart]:
    """The same of a scan that was segmented in boxes, seen in its overview.

    In a box the network may call a part by the name of the partner, whose own box is elsewhere;
    `SidePart.piece` of those counts on from the number of pieces.
    """
    partners, n_pieces = partners_of(plan), len(located.pieces)
    parts = parts_on_wrong_side(
        [piece.labelmap for piece in located.pieces] + [piece.astray for piece in located.pieces],
        located.overview,
        plan,
        [piece.place.labels for piece in located.pieces]
        + [
            [partners[name] for name in piece.place.labels if name in partners]
            for piece in located.pieces
        ],
    )
    return [replace(one, is_left_out=one.piece >= n_pieces) for one in parts]


def partners_of(plan: Plan) -> dict[str, str]:
    """Structure to that with which it changes places when right and left do."""
    return {a: b for pair in plan.dataset.mirror_pairs for a, b in (pair, pair[::-1])}


def side_notes(
    parts: Sequence[SidePart], partners: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Structure to what must be said of its parts on the wrong side.

    Args:
        parts: Those parts.
        partners: To whom they were given; None: they are as they were.
    """
    notes: dict[str, list[str]] = {}
    for name, is_left_out in dict.fromkeys((one.label, one.is_left_out) for one in parts):
        volumes = [
            one.volume_ml for one in parts if (one.label, one.is_left_out) == (name, is_left_out)
        ]
        in_parts = f" in {len(volumes)} parts" if len(volumes) > 1 else ""
        done = ", left out of the label map" if is_left_out else ""
        if partners and name in partners:
            done = f", relabelled as {partners[name]}"
        said = f"{sum(volumes):.2f} mL{in_parts} on the wrong side{done}"
        notes.setdefault(name, []).append(said)
    return {name: "; ".join(said) for name, said in notes.items()}


def relabelled(labelmap: Volume, parts: Sequence[SidePart], plan: Plan) -> Volume:
    """The label map with its parts given to their partners, where they have one."""
    array, table = np.array(labelmap.array), np.array(plan.mirror_table)
    for one in parts:
        # From what was predicted: of nested structures the inner one is a part of both.
        array[one.box][one.mask] = table[labelmap.array[one.box][one.mask]]
    return labelmap.with_array(array)


def relabelled_pieces(located: Located, parts: Sequence[SidePart], plan: Plan) -> Located:
    """The same for a scan in boxes; what changes its name becomes a piece of its own."""
    partners, pieces = partners_of(plan), list(located.pieces)
    n_pieces = len(pieces)
    moving = [one for one in parts if one.label in partners]
    for index in sorted({one.piece for one in moving}):
        piece, own = pieces[index % n_pieces], [one for one in moving if one.piece == index]
        source = piece.labelmap if index < n_pieces else piece.astray
        if source is None:
            continue
        kept, moved = np.array(source.array), np.zeros_like(source.array)
        new = relabelled(source, own, plan).array
        for one in own:
            moved[one.box][one.mask] = new[one.box][one.mask]
            kept[one.box][one.mask] = 0
        left = source.with_array(kept)
        pieces[index % n_pieces] = (
            replace(piece, labelmap=left) if index < n_pieces else replace(piece, astray=left)
        )
        names = tuple(dict.fromkeys(partners[one.label] for one in own))
        place = Place(piece.place.name, names, piece.place.box)
        pieces.append(Piece(place, piece.part, source.with_array(moved), piece.n_growths))
    return replace(located, pieces=tuple(pieces))


class _Midline:
    """Where the middle of the body lies; looked for once a neighbourhood.

    Args:
        image: Canonical: X grows towards the patient's right.
    """

    def __init__(self, image: Volume) -> None:
        self.image = image
        self.known: dict[tuple[int, int], tuple[float, float]] = {}

    def at(self, world_mm: Array) -> tuple[float, float]:
        """World x and margin, mm, as of `midline_mm`."""
        affine = self.image.affine
        index = np.linalg.solve(affine[:3, :3], world_mm - affine[:3, 3])[::-1]
        index = np.clip(index, 0, np.array(self.image.shape) - 1)
        mm = index * self.image.spacing_mm
        key = int(mm[0] // NEIGHBOURHOOD_MM), int(mm[1] // NEIGHBOURHOOD_MM)
        if key not in self.known:
            self.known[key] = midline_mm(self.image, index)
        return self.known[key]


def _parts(labelmap: Volume, name: str, values: Sequence[int], piece: int) -> list[SidePart]:
    mask = np.isin(labelmap.array, values)
    around = bounding_box(mask)
    if around is None:
        return []
    from scipy import ndimage  # here: it takes a while to load

    numbers, _ = label_components(mask[around])
    found = []
    for number, inner in enumerate(ndimage.find_objects(numbers), start=1):
        box = tuple(
            slice(a.start + b.start, a.start + b.stop) for a, b in zip(around, inner, strict=True)
        )
        own = numbers[inner] == number
        centre = np.argwhere(own).mean(axis=0) + [edge.start for edge in box]
        volume_ml = float(own.sum()) * labelmap.grid.voxel_volume_ml
        found.append(SidePart(name, piece, box, own, volume_ml, labelmap.grid.world(centre)))
    return found
