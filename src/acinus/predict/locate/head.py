"""The head on a CT, by rules: bone that encloses soft tissue, and the outline of the body.

Enters: a CT in HU at coarse resolution. Leaves: a box in the world from the vertex, or where the
scan ends, to below the chin; or the reason why there is no head. The cranial cavity is the one
large room of soft tissue that bone encloses in every axial slice: no couch, arm, pelvis or rib
cage does that, and it needs neither a vertex nor a known order of the slices. Rejected: the
highest part of the body (arms are raised beside the head), the narrow neck between head and
shoulders (absent from scans of the head alone), and templates (they need a registration).
"""

from __future__ import annotations

import numpy as np

from acinus.errors import DataError
from acinus.scans import Volume, canonical
from acinus.scans.box import Box, box_of_voxels
from acinus.scans.components import bounding_box
from acinus.scans.hounsfield import wrong_rescale
from acinus.types import Array, Mask

BONE_HU = 180.0
"""Skull of a few mm, averaged over a coarse voxel with what is beside it, lies above."""

BODY_HU = -300.0
"""Skin lies above, couch foam and air below."""

TISSUE_HU = (-60.0, 130.0)
"""Median of what the skull holds: brain, blood, fluid; lung and bowel gas lie far below."""

SLICE_CM2 = (12.0, 300.0)
"""Enclosed areas of a cranial cavity: a spinal canal has about 3 cm², a chest 500."""

MOST_AIR_SHARE, AIR_HU = 0.1, -400.0
"""A room with more air is none of the brain's: a chest, a sinus."""

LEAST_CAVITY_ML = 150.0
"""A smaller enclosed room is no cranial cavity; an adult's has about 1,400 mL, if seen whole."""

ABOVE_MM, BELOW_MM = 25.0, (125.0, 165.0, 205.0)
"""From the cavity to above the scalp; and to below the chin and the submandibular glands: least,
where the vertex is missing, and most."""

LEAST_ROOM_ML, HOLE_MM = 20.0, 60.0
"""A hole in the skull opens the slices that show it, and parts the cavity: rooms of this size, one
above the other, belong together over gaps of so much."""

VERTEX_TO_NECK_MM = 255.0
"""From the top of the cavity to below the submandibular glands. The floor of the cavity tells less:
in some skulls bone still encloses the slices behind the nose, in others it does not."""

OUTLINE_MM = 15.0
"""To the sides beyond the outline of the slices that show the cavity: a jaw is not right below
them where a head is inclined."""

BESIDE_MM, BEFORE_MM, BEHIND_MM = 45.0, 75.0, 35.0
"""From the cavity to beyond the ears, the nose and the back of the head, where no outline ends it
before."""


def find_head(image: Volume) -> Box:
    """The box of the head on a CT.

    Args:
        image: HU at a spacing of about 2 to 5 mm, any orientation of the array; the affine must
            be right, since it says where superior and anterior are.

    Returns:
        Box in the world, RAS+ mm: about 20 × 25 × 28 cm for an adult; it ends where the scan ends.

    Raises:
        DataError: There is no head, or the values are no HU.
    """
    ct = canonical(image)
    array = np.asarray(ct.array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise DataError(
            "no head was looked for: voxel values must be finite; some are not. Export the scan "
            "again, or replace them by the value of air."
        )
    if cause := wrong_rescale(array):
        raise DataError(
            f"no head was looked for: values run from {float(array.min()):.0f} to "
            f"{float(array.max()):.0f} and are no Hounsfield units ({cause}). Check that the scan "
            "is a CT in HU, or give a mask with --locator-mask."
        )
    cavity = _cranial_cavity(array, ct.spacing_mm)
    box = bounding_box(cavity)
    if box is None:
        raise DataError(
            "no head was found: no room of soft tissue of at least "
            f"{LEAST_CAVITY_ML:g} mL lies enclosed by bone (above {BONE_HU:g} HU); values run from "
            f"{float(array.min()):.0f} to {float(array.max()):.0f}. Check that the scan is a CT "
            "in HU and shows a head, or give a mask with --locator-mask."
        )
    z, y, x = box
    least_mm, blind_mm, most_mm = BELOW_MM
    below_mm = blind_mm
    if z.stop < array.shape[0]:
        height_mm = (z.stop - z.start) * ct.spacing_mm[0]
        below_mm = min(max(least_mm, VERTEX_TO_NECK_MM - height_mm), most_mm)
    reach = [
        (below_mm, ABOVE_MM),
        (BEHIND_MM, BEFORE_MM),
        (BESIDE_MM, BESIDE_MM),
    ]
    wide = [
        slice(max(0, edge.start - round(low / step)), min(n, edge.stop + round(high / step)))
        for edge, (low, high), step, n in zip(
            (z, y, x), reach, ct.spacing_mm, array.shape, strict=True
        )
    ]
    outline = _outline(array[z] > BODY_HU, cavity[z])
    for axis, edge in enumerate(outline, start=1):
        if edge is not None:
            # The nose and the chin stick out before the slices of the cavity.
            low_mm, high_mm = (0.0, BEFORE_MM / 3) if axis == 1 else (OUTLINE_MM, OUTLINE_MM)
            step = ct.spacing_mm[axis]
            wide[axis] = slice(
                max(wide[axis].start, edge.start - 1 - round(low_mm / step)),
                min(wide[axis].stop, edge.stop + 1 + round(high_mm / step)),
            )
    return box_of_voxels(ct.grid, wide)


def _cranial_cavity(array: Array, spacing_mm: tuple[float, float, float]) -> Mask:
    """The largest room that bone encloses slice by slice and that holds soft tissue."""
    from scipy import ndimage  # here: it takes a while to load

    pixel_cm2 = spacing_mm[1] * spacing_mm[2] / 100
    bone = array > BONE_HU
    enclosed = np.zeros_like(bone)
    for index, plane in enumerate(bone):
        if not plane.any():
            continue
        closed = ndimage.binary_closing(plane, iterations=1) | plane
        rooms, n_rooms = ndimage.label(ndimage.binary_fill_holes(closed) & ~closed)
        if not n_rooms:
            continue
        areas = np.bincount(rooms.ravel())[1:] * pixel_cm2
        for number in np.flatnonzero((areas >= SLICE_CM2[0]) & (areas <= SLICE_CM2[1])) + 1:
            room = rooms == number
            values = array[index][room]
            is_tissue = TISSUE_HU[0] < float(np.median(values)) < TISSUE_HU[1]
            if is_tissue and float(np.mean(values < AIR_HU)) <= MOST_AIR_SHARE:
                enclosed[index] |= room
    parts, n_parts = ndimage.label(enclosed)
    if not n_parts:
        return enclosed
    sizes = np.bincount(parts.ravel())[1:]
    largest = int(np.argmax(sizes)) + 1
    if sizes[largest - 1] * float(np.prod(spacing_mm)) / 1000 < LEAST_CAVITY_ML:
        return np.zeros_like(enclosed)
    return _with_rooms_beyond_holes(parts, largest, spacing_mm)


def _with_rooms_beyond_holes(
    parts: Array, largest: int, spacing_mm: tuple[float, float, float]
) -> Mask:
    """The largest room with those above and below it that a hole in the skull has cut off."""
    from scipy import ndimage  # here: it takes a while to load

    voxel_ml = float(np.prod(spacing_mm)) / 1000
    sizes, boxes = np.bincount(parts.ravel()), ndimage.find_objects(parts)
    cavity = np.asarray(parts == largest)
    others = [
        number
        for number in range(1, len(sizes))
        if number != largest and sizes[number] * voxel_ml >= LEAST_ROOM_ML
    ]
    low, high = boxes[largest - 1][0].start, boxes[largest - 1][0].stop
    while True:
        from_above = cavity.any(axis=0)
        for number in others:
            z = boxes[number - 1][0]
            gap = max(z.start - high, low - z.stop)
            room = (parts == number).any(axis=0)
            is_over = np.count_nonzero(room & from_above) > 0.5 * np.count_nonzero(room)
            if 0 <= gap * spacing_mm[0] <= HOLE_MM and is_over:
                break
        else:
            return cavity
        cavity |= parts == number
        others.remove(number)
        low, high = min(low, z.start), max(high, z.stop)


def _outline(body: Mask, cavity: Mask) -> tuple[slice | None, slice | None]:
    """Rows and columns of the body around the cavity, in the slices of the cavity.

    The part of each slice that holds the cavity, without what only touches it by a thin bridge:
    an arm, a head rest.
    """
    from scipy import ndimage  # here: it takes a while to load

    rows = np.zeros(body.shape[1], dtype=int)
    columns = np.zeros(body.shape[2], dtype=int)
    for plane, inner in zip(body, cavity, strict=True):
        if not inner.any():
            continue
        opened = ndimage.binary_opening(plane, iterations=2) | inner
        parts, _ = ndimage.label(opened)
        number = np.bincount(parts[inner]).argmax()
        head = parts == number
        rows += head.any(axis=1)
        columns += head.any(axis=0)
    ends = []
    for counts in (rows, columns):
        seen = np.flatnonzero(counts > 0)
        ends.append(slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else None)
    return ends[0], ends[1]
