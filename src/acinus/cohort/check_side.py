"""Whether a structure lies on the side of the patient that ``sides`` states.

Enters: a label map and its image in canonical order. Leaves: findings. World
coordinates are RAS+: x grows towards the patient's right (NIfTI standard,
``+x = Right``), so a right structure has the larger x. Comparing array halves was
rejected: it takes a flipped file for a correct one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from acinus.cohort.finding import Finding, Severity
from acinus.cohort.side_names import pairs_by_name
from acinus.scans import Volume
from acinus.scans.coding import Side
from acinus.types import Array

SIDE_MARGIN_MM = 5.0
"""A centroid must lie so far beyond the midline, or its partner, to count as wrong, mm."""

SIDE_MARGIN_SHARE = 0.15
"""It must also lie beyond the midline by this share of half the width of the body."""

BAND_MM = 10.0
"""The midline is sought in the rows and slices of the structure and so far around, mm."""

LOWEST_AIR = -1100.0
"""No air is darker, HU; images of other kinds do not reach so far down."""

EDGE_SHARE = 0.03
"""Outermost share of the columns on either side that must be nearly without body for
the body to be seen whole between right and left."""

_REMEDY = (
    "Swap the labels, or correct the orientation of the file; if the labels are right, "
    "correct 'sides'."
)


_CODE_REMEDY = "Correct the code of the side, the name in the mapping, or the file's orientation."


def side_findings(
    case_id: str,
    label: Volume,
    image: Volume | None,
    values: Mapping[str, tuple[int, ...]],
    sides: Mapping[str, Side],
    mirror_pairs: tuple[tuple[str, str], ...],
    coded: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Structures on the wrong side.

    Two partners of a mirror pair, stated or by their names (`pairs_by_name`), are compared
    with each other: an error where the right one lies left of the left one. Otherwise a
    structure is compared with the midline of the body at its height: an error if the body is
    seen whole, else, in a crop, a warning. A raised arm moves that midline: where a partner
    lies on the other side, and so far away that the midline may lie between them, it is a
    warning, too.

    Args:
        case_id: The case.
        label: Label map, canonical: X grows towards the patient's right.
        image: Image on the same grid, canonical; None: the middle of the field of
            view stands for the midline.
        values: Structure to the values that stand for it in the label map.
        sides: Structure to side.
        mirror_pairs: Structures that swap when left and right swap.
        coded: Structure whose side nobody stated to what codes it, in a few words.
    """
    coded = coded or {}
    sided = {name: values[name] for name in sides if name in values}
    if not sided:
        return []
    from scipy import ndimage  # here: it takes a while to load

    highest = max(value for those in sided.values() for value in those)
    boxes = ndimage.find_objects(np.maximum(label.array, 0), highest)
    box_of = {
        name: box
        for name, those in sided.items()
        if (box := _common_box([boxes[value - 1] for value in those])) is not None
    }
    index = {name: _centroid(label.array, sided[name], box) for name, box in box_of.items()}
    world_x = {name: float(label.grid.world(zyx)[0]) for name, zyx in index.items()}
    findings: list[Finding] = []
    swapped: set[str] = set()
    apart_mm: dict[str, float] = {}
    by_name = pairs_by_name({name: sides[name] for name in sided}, mirror_pairs)
    for pair in (*mirror_pairs, *by_name):
        if set(pair) <= set(box_of):
            right, left = sorted(pair, key=lambda name: sides[name], reverse=True)
            if sides[right] == "right" and world_x[right] < world_x[left] - SIDE_MARGIN_MM:
                swapped |= set(pair)
                findings.append(_swapped(case_id, right, left, world_x, coded))
            elif sides[right] != sides[left]:
                apart_mm |= dict.fromkeys(pair, world_x[right] - world_x[left])
    for name, box in box_of.items():
        if name not in swapped:
            findings += _beyond_midline(
                case_id,
                name,
                sides[name],
                index[name],
                box,
                image,
                label,
                apart_mm.get(name, 0.0),
                coded,
            )
    return findings


def midline_mm(image: Volume, zyx: Array) -> tuple[float, float, bool]:
    """Where the middle of the body lies at a voxel, and how far from there is surely beyond it.

    Args:
        image: Canonical: X grows towards the patient's right.
        zyx: Index of the voxel.

    Returns:
        World x of the middle, mm; a margin, mm, larger where the body is not seen whole; whether
        it is.
    """
    z, y, _ = (round(float(value)) for value in zyx)
    low, high, is_whole = _lateral_extent(image, (slice(z, z + 1), slice(y, y + 1), slice(None)))
    middle = np.array([zyx[0], zyx[1], (low + high) / 2])
    return float(image.grid.world(middle)[0]), _margin_mm(image, low, high, is_whole), is_whole


def _margin_mm(image: Volume, low: float, high: float, is_whole: bool) -> float:
    share = SIDE_MARGIN_SHARE if is_whole else 2 * SIDE_MARGIN_SHARE
    return max(SIDE_MARGIN_MM, share * (high - low) / 2 * image.spacing_mm[2])


def body_threshold(array: Array) -> float:
    """Intensity that separates body from air, by Otsu's method on 256 bins.

    Args:
        array: Finite intensities, any shape; a sample will do.

    Source: Otsu 1979, IEEE Trans Syst Man Cybern 9(1):62-66.
    """
    low, high = np.percentile(array, (0.5, 99.5))
    if low == high:
        return float(low)
    counts, edges = np.histogram(np.clip(array, low, high), bins=256, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sum_below = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = sum_below / below - (sum_below[-1] - sum_below) / above
        between = np.where((below > 0) & (above > 0), below * above * apart**2, 0.0)
    return float(edges[int(np.argmax(between)) + 1])


def _beyond_midline(
    case_id: str,
    name: str,
    side: Side,
    index_zyx: Array,
    box: tuple[slice, ...],
    image: Volume | None,
    label: Volume,
    partner_apart_mm: float,
    coded: Mapping[str, str],
) -> Iterator[Finding]:
    spacing_x = label.spacing_mm[2]
    low, high, is_whole = 0.0, label.shape[2] - 1.0, False
    if image is not None:
        low, high, is_whole = _lateral_extent(image, box)
    to_the_right = (index_zyx[2] - (low + high) / 2) * spacing_x
    beyond = float(-to_the_right if side == "right" else to_the_right)
    if beyond <= _margin_mm(label, low, high, is_whole):
        return
    is_between = beyond <= partner_apart_mm / 2
    severity: Severity = "error" if is_whole and not is_between else "warning"
    of_what = "the body at its height" if is_whole else "the field of view"
    other = "left" if side == "right" else "right"
    by = f"coded as {side} by {coded[name]}" if name in coded else f"stated to be {side}"
    found = (
        f"'{name}' is {by}; its centroid lies {beyond:.1f} mm {other} of the middle of {of_what} "
        f"(SIDE_MARGIN_MM is {SIDE_MARGIN_MM:g})"
    )
    remedy = advice = _CODE_REMEDY if name in coded else _REMEDY
    if not is_whole:
        advice = f"Nothing, if the image shows one side only; else: {remedy}"
    elif is_between:
        advice = f"Nothing, if an arm or a couch makes the body look wider; else: {remedy}"
    yield Finding(severity, "wrong-side", case_id, found, advice)


def _lateral_extent(image: Volume, box: tuple[slice, ...]) -> tuple[float, float, bool]:
    """First and last column of the body near a box, and whether air is on both sides of it."""
    array = image.array
    bands = []
    for axis in (0, 1):
        reach = int(np.ceil(BAND_MM / image.spacing_mm[axis]))
        bands.append(slice(max(0, box[axis].start - reach), box[axis].stop + reach))
    step = max(1, array.size // 200_000)
    sample = array.ravel()[::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, array.shape[2] - 1.0, False
    # Padding of a CT lies far below its air, and would part the voxels instead of it.
    threshold = body_threshold(np.maximum(sample, LOWEST_AIR))
    per_column = (array[bands[0], bands[1]] > threshold).sum(axis=(0, 1)).astype(float)
    n_columns = len(per_column)
    if per_column.sum() == 0:
        return 0.0, n_columns - 1.0, False
    reached = np.cumsum(per_column) / per_column.sum()
    low, high = (float(np.searchsorted(reached, share)) for share in (0.01, 0.99))
    edge = max(1, round(EDGE_SHARE * n_columns))
    rim = max(per_column[:edge].mean(), per_column[-edge:].mean())
    return low, high, bool(rim < 0.1 * per_column.max())


def _common_box(boxes: Sequence[tuple[slice, ...] | None]) -> tuple[slice, ...] | None:
    """Smallest box around boxes; None if all of them are."""
    given = [box for box in boxes if box is not None]
    if not given:
        return None
    return tuple(
        slice(min(part.start for part in axis), max(part.stop for part in axis))
        for axis in zip(*given, strict=True)
    )


def _centroid(array: Array, values: tuple[int, ...], box: tuple[slice, ...]) -> Array:
    """(Z, Y, X) mean index of the voxels that have one of some values."""
    inside = np.argwhere(np.isin(array[box], values)).mean(axis=0)
    return np.asarray(inside + [piece.start for piece in box])


def _swapped(
    case_id: str,
    right: str,
    left: str,
    world_x: Mapping[str, float],
    coded: Mapping[str, str],
) -> Finding:
    by = " and ".join(coded[name] for name in (right, left) if name in coded)
    why = f", as coded by {by}" if by else ""
    return Finding(
        "error",
        "wrong-side",
        case_id,
        f"'{right}' must lie right of '{left}'{why}; its centroid lies "
        f"{world_x[left] - world_x[right]:.1f} mm left of it (x {world_x[right]:.1f} and "
        f"{world_x[left]:.1f} mm, growing towards the patient's right)",
        _CODE_REMEDY if by else _REMEDY,
    )
