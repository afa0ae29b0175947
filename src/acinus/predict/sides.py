"""Parts of a structure that lie on the other side of the patient: found, and renamed if asked.

Enters: label maps, of a scan or of its boxes, and the scan. Leaves: connected parts beyond the
midline. Where a structure and its partner are both there, that is the plane halfway between them
and at a right angle to the line between them, which a raised arm, a couch or a turned head does not
move; else it is the middle of the body. One centroid a structure was rejected: two parts, one on
either side, have theirs in the middle. So was the largest part: of a gland that is called right and
left in halves, it may lie beside its partner's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acinus.cohort import mirror_partners
from acinus.cohort.check_side import SIDE_MARGIN_MM, midline_mm
from acinus.plan import Plan
from acinus.predict.locate import Located, Piece, Place
from acinus.scans import Volume, canonical
from acinus.scans.components import bounding_box, label_components
from acinus.types import Array, Mask

NEIGHBOURHOOD_MM = 20.0
"""The midline of the body is looked for once in a square of this edge of rows and slices."""

MAIN_SHARE = 0.25
"""A part of at least this share of the largest may tell where its structure lies: the outermost
of those does."""


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
        across_mm: Least and greatest right coordinate of its box.
        is_left_out: Whether no result shows it: in the box of its partner it has no place.
        is_sure: Whether its partner or a body that is seen whole tells; else the image may show
            one side only.
    """

    label: str
    piece: int
    box: tuple[slice, ...]
    mask: Mask
    volume_ml: float
    world_mm: Array
    across_mm: tuple[float, float]
    is_left_out: bool = False
    is_sure: bool = True


@dataclass(frozen=True, eq=False)
class _Plane:
    """What parts right from left.

    Attributes:
        middle_mm: (3,) world point on it.
        to_right: (3,) unit vector towards the patient's right.
        margin_mm: So far beyond it a part is surely on the other side.
        is_sure: See `SidePart`.
    """

    middle_mm: Array
    to_right: Array
    margin_mm: float
    is_sure: bool = True

    def has_beyond(self, world_mm: Array, side: str) -> bool:
        """Whether a point lies on the other side than stated."""
        to_right_mm = float((world_mm - self.middle_mm) @ self.to_right)
        return (to_right_mm if side == "right" else -to_right_mm) < -self.margin_mm


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
    partners, midline = partners_of(plan), _Midline(canonical(image))
    main = {name: _main_part(some, sides[name]) for name, some in parts.items() if some}
    wrong = []
    for name, own in main.items():
        other = main.get(partners.get(name, ""))
        between = None
        if other is not None and sides[other.label] != sides[name]:
            right, left = (own, other) if sides[name] == "right" else (other, own)
            between = _plane_between(right, left, midline)
        for one in parts[name]:
            plane = between or midline.at(one.world_mm)
            if plane.has_beyond(one.world_mm, sides[name]):
                wrong.append(replace(one, is_sure=plane.is_sure))
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
    return mirror_partners(plan.dataset.mirror_pairs)


def side_notes(
    parts: Sequence[SidePart], partners: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Structure to what must be said of its parts on the wrong side.

    Args:
        parts: Those parts.
        partners: To whom they were given; None: they are as they were.
    """
    notes: dict[str, list[str]] = {}
    kinds = [(one.label, one.is_left_out, one.is_sure) for one in parts]
    for name, is_left_out, is_sure in dict.fromkeys(kinds):
        alike = (name, is_left_out, is_sure)
        volumes = [one.volume_ml for one, kind in zip(parts, kinds, strict=True) if kind == alike]
        in_parts = f" in {len(volumes)} parts" if len(volumes) > 1 else ""
        done = ", left out of the label map" if is_left_out else ""
        if partners and name in partners:
            done = f", relabelled as {partners[name]}"
            if not is_sure:
                done = ", not relabelled: the image may show one side only"
        said = f"{sum(volumes):.2f} mL{in_parts} on the wrong side{done}"
        notes.setdefault(name, []).append(said)
    return {name: "; ".join(said) for name, said in notes.items()}


def relabelled(labelmap: Volume, parts: Sequence[SidePart], plan: Plan) -> Volume:
    """The label map with its parts given to their partners, where they have one and it is sure."""
    array, table = np.array(labelmap.array), np.array(plan.mirror_table)
    for one in (one for one in parts if one.is_sure):
        # From what was predicted: of nested structures the inner one is a part of both.
        array[one.box][one.mask] = table[labelmap.array[one.box][one.mask]]
    return labelmap.with_array(array)


def relabelled_pieces(located: Located, parts: Sequence[SidePart], plan: Plan) -> Located:
    """The same for a scan in boxes; what changes its name becomes a piece of its own."""
    partners, pieces = partners_of(plan), list(located.pieces)
    n_pieces = len(pieces)
    moving = [one for one in parts if one.label in partners and one.is_sure]
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
        self.known: dict[tuple[int, int], _Plane] = {}

    def at(self, world_mm: Array) -> _Plane:
        """The sagittal plane through the middle of the body at the height of a point."""
        affine = self.image.affine
        index = np.linalg.solve(affine[:3, :3], world_mm - affine[:3, 3])[::-1]
        index = np.clip(index, 0, np.array(self.image.shape) - 1)
        mm = index * self.image.spacing_mm
        key = int(mm[0] // NEIGHBOURHOOD_MM), int(mm[1] // NEIGHBOURHOOD_MM)
        if key not in self.known:
            middle_mm, margin_mm, is_whole = midline_mm(self.image, index)
            self.known[key] = _sagittal(middle_mm, margin_mm, is_whole)
        return self.known[key]


def _main_part(parts: Sequence[SidePart], side: str) -> SidePart:
    """Of the parts that are not small, the outermost on the side that is stated."""
    least_ml = MAIN_SHARE * max(one.volume_ml for one in parts)
    sign = 1.0 if side == "right" else -1.0
    return max(
        (one for one in parts if one.volume_ml >= least_ml),
        key=lambda one: sign * float(one.world_mm[0]),
    )


def _plane_between(right: SidePart, left: SidePart, midline: _Midline) -> _Plane | None:
    """What parts two partners, if both are where they can be told apart; None: the body tells."""
    line_mm, middle_mm = right.world_mm - left.world_mm, (right.world_mm + left.world_mm) / 2
    apart_mm, body = float(line_mm[0]), midline.at(middle_mm)
    off_mm = abs(float(middle_mm[0] - body.middle_mm[0]))
    if apart_mm > 2 * SIDE_MARGIN_MM:
        # An arm may move the middle of the body beyond both; but pieces that nearly touch
        # besides are of one gland.
        are_beyond = body.is_sure and off_mm > max(apart_mm, body.margin_mm + apart_mm / 2)
        if are_beyond and right.across_mm[0] - left.across_mm[1] < 2 * SIDE_MARGIN_MM:
            return None
        return _Plane(middle_mm, line_mm / np.linalg.norm(line_mm), SIDE_MARGIN_MM)
    if apart_mm < -2 * SIDE_MARGIN_MM and off_mm < -apart_mm / 2:
        return _sagittal(float(middle_mm[0]), SIDE_MARGIN_MM)  # each in the place of the other
    return None


def _sagittal(x_mm: float, margin_mm: float, is_sure: bool = True) -> _Plane:
    return _Plane(np.array([x_mm, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]), margin_mm, is_sure)


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
        volume_ml = np.count_nonzero(own) * labelmap.grid.voxel_volume_ml
        corners = itertools.product(*((edge.start, edge.stop - 1) for edge in box))
        across_mm = [float(labelmap.grid.world(np.array(one, dtype=float))[0]) for one in corners]
        centre = labelmap.grid.world(_centre(own) + [edge.start for edge in box])
        ends_mm = min(across_mm), max(across_mm)
        found.append(SidePart(name, piece, box, own, volume_ml, centre, ends_mm))
    return found


def _centre(mask: Mask) -> Array:
    """(3,) mean index of its voxels, from sums along axes: a list of all would take much memory."""
    counts = [np.count_nonzero(mask, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    return np.array([np.average(np.arange(len(one)), weights=one) for one in counts])
