"""Connected parts of a structure that lie on the other side of the patient than it is stated.

Enters: label maps, of a scan or of its boxes, and the scan. Leaves: parts beyond the midline, or
findings about them. Where a structure and its partner are both there, the midline is the plane
halfway between them and at a right angle to the line between them, which a raised arm, a couch or a
turned head does not move; else it is the middle of the body. One centroid a structure was rejected:
two parts, one on either side, have theirs in the middle. So was the largest part: of a gland that
is called right and left in halves, it may lie beside its partner's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acinus.cohort.check_side import SIDE_MARGIN_MM, midline_mm, side_findings
from acinus.cohort.dataset import mirror_partners
from acinus.cohort.finding import Finding, Severity
from acinus.cohort.side_names import pairs_by_name
from acinus.progress import plural
from acinus.scans import Volume, canonical
from acinus.scans.coding import Side
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


def parts_beyond_midline(
    labelmaps: Sequence[Volume | None],
    image: Volume,
    values: Mapping[str, tuple[int, ...]],
    sides: Mapping[str, Side],
    mirror_pairs: tuple[tuple[str, str], ...],
    sought: Sequence[Sequence[str]] | None = None,
) -> list[SidePart]:
    """Connected parts that lie beyond the midline, seen from the side of their structure.

    Args:
        labelmaps: Parts of one scan, or the whole; None for a box that was not found.
        image: The scan, at any resolution.
        values: Structure to the values that stand for it in the label maps.
        sides: Structure to side.
        mirror_pairs: Structures that swap when left and right swap.
        sought: For each label map the structures that are looked for in it; None: all.
    """
    parts: dict[str, list[SidePart]] = {name: [] for name in values if name in sides}
    for index, labelmap in enumerate(labelmaps):
        for name, found in parts.items():
            if labelmap is not None and (sought is None or name in sought[index]):
                found += _parts(labelmap, name, values[name], index)
    partners, midline = mirror_partners(mirror_pairs), _Midline(canonical(image))
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


def placement_findings(
    case_id: str,
    label: Volume,
    image: Volume | None,
    values: Mapping[str, tuple[int, ...]],
    sides: Mapping[str, Side],
    mirror_pairs: tuple[tuple[str, str], ...],
    coded: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Structures on the wrong side, whole (`side_findings`) or with connected parts.

    Parts are an error where they are a large share of the structure and surely there, else a
    warning: a few voxels are a slip of the pen. Without an image nothing is said of them.

    Args:
        case_id: The case.
        label: Label map, canonical: X grows towards the patient's right.
        image: Image on the same grid, canonical; None: there is none.
        values: Structure to the values that stand for it in the label map.
        sides: Structure to side.
        mirror_pairs: Structures that swap when left and right swap.
        coded: As of `side_findings`.
    """
    told = side_findings(case_id, label, image, values, sides, mirror_pairs, coded)
    if image is None:
        return told
    known = {name: side for name, side in sides.items() if name in values}
    pairs = (*mirror_pairs, *pairs_by_name(known, mirror_pairs))
    wrong = [
        one
        for one in parts_beyond_midline([label], image, values, known, pairs)
        if not any(f"'{one.label}'" in finding.found for finding in told)
    ]
    return told + list(_of_parts(case_id, label, wrong, values, known))


def _of_parts(
    case_id: str,
    label: Volume,
    wrong: Sequence[SidePart],
    values: Mapping[str, tuple[int, ...]],
    sides: Mapping[str, Side],
) -> Iterator[Finding]:
    for name in dict.fromkeys(one.label for one in wrong):
        own = [one for one in wrong if one.label == name]
        volume_ml = sum(one.volume_ml for one in own)
        n_voxels = np.count_nonzero(np.isin(label.array, values[name]))
        share = volume_ml / (n_voxels * label.grid.voxel_volume_ml)
        is_sure = all(one.is_sure for one in own)
        severity: Severity = "error" if share >= MAIN_SHARE and is_sure else "warning"
        other = "left" if sides[name] == "right" else "right"
        found = (
            f"'{name}' must lie on the {sides[name]}; {volume_ml:.2g} mL of it, {share:.0%}, lie "
            f"on the {other}, in {len(own)} {plural('part', len(own))}"
        )
        remedy = (
            f"Give what lies on the {other} to its partner, or remove it; look at the orientation "
            "of the file, too."
        )
        if not is_sure:
            remedy = f"Nothing, if the image shows one side only; else: {remedy}"
        yield Finding(severity, "wrong-side", case_id, found, remedy)


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
