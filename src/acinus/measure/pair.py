"""A reference mask and a predicted mask on one grid, with the work that measures share.

Enters: two bool masks ``(Z, Y, X)``, their spacing, and perhaps the voxels that the
reference says nothing about and the reference of the partner on the other side. Leaves:
voxel counts and surface distances, each computed once and only if a measure asks for it.
Handing every measure the bare masks was rejected: Dice, IoU and two kinds of
Hausdorff distance would count and transform the same voxels again and again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_erosion,
    distance_transform_edt,
    generate_binary_structure,
    label,
)
from scipy.spatial import KDTree

from acinus.errors import DataError, GridError
from acinus.measure.surfels import cell_areas, cell_codes
from acinus.scans.components import bounding_box
from acinus.types import Array, Mask

Nearest = Callable[[Mask, Mask, Sequence[float]], NDArray[np.float64]]
"""From source and target voxels and their spacing to a distance for each source."""

BOTH_EMPTY = "both masks empty"
REFERENCE_EMPTY = "reference empty"
PREDICTION_EMPTY = "prediction empty"
NO_SURFACE = "no surface outside ignored voxels"

SPARSE_BOX_VOXELS_PER_BORDER_VOXEL = 20
"""Boxes with more voxels than this for each border voxel are searched with a tree.

A stray voxel on the far side of the head makes the common box as large as the
scan, and a distance transform of it takes seconds; a tree over the few border
voxels takes milliseconds. Both are exact. From about this ratio on the tree was
the faster one for balls, pairs of balls and scattered noise.
"""


@dataclass(frozen=True, eq=False)
class Surfels:
    """Surface elements of one mask.

    Attributes:
        distances_mm: (n,) to the nearest surface element of the other mask.
        areas: (n,) mm², of a slice lengths, mm.
    """

    distances_mm: NDArray[np.float64]
    areas: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lesions:
    """Connected components of two masks and how they overlap.

    Attributes:
        n_reference: Components of the reference.
        n_prediction: Components of the prediction.
        ours: (k,) component of the reference in each overlapping pair, from 0.
        theirs: (k,) component of the prediction in it, from 0.
        iou: (k,) intersection over union of the pair.
    """

    n_reference: int
    n_prediction: int
    ours: NDArray[np.intp]
    theirs: NDArray[np.intp]
    iou: NDArray[np.float64]

    def matched(self, threshold: float) -> NDArray[np.intp]:
        """Which of the pairs match one to one, with an IoU above a threshold in [0, 1)."""
        candidates = np.flatnonzero(self.iou > threshold)
        if threshold >= 0.5 or candidates.size == 0:
            return candidates
        gain = np.zeros((self.n_reference, self.n_prediction))
        gain[self.ours[candidates], self.theirs[candidates]] = self.iou[candidates]
        rows, columns = scipy.optimize.linear_sum_assignment(gain, maximize=True)
        chosen = np.zeros_like(gain, dtype=bool)
        chosen[rows, columns] = True
        return candidates[chosen[self.ours[candidates], self.theirs[candidates]]]


class MaskPair:
    """Two masks on one grid; counts and distances are computed on first use.

    Args:
        reference: (Z, Y, X) bool, or (Y, X) of a single slice, what an expert drew.
        prediction: Same axes, same grid.
        spacing_mm: Distance between voxel centres in the same order, mm, > 0.
        voxel_volume_ml: Volume of a voxel, mL; by default the product of the
            spacing, which is right unless the grid is sheared (a CT with
            tilted gantry).
        ignored: (Z, Y, X) bool, voxels that the reference says nothing about; they are
            taken out of all masks. None: there are none.
        partner: (Z, Y, X) bool, reference of the structure that takes this one's place when
            right and left swap; None: there is none.

    Raises:
        GridError: The shapes differ or are not three-dimensional.
        DataError: A mask is not bool, or the spacing is not positive.
    """

    def __init__(
        self,
        reference: Mask,
        prediction: Mask,
        spacing_mm: Sequence[float],
        voxel_volume_ml: float | None = None,
        *,
        ignored: Mask | None = None,
        partner: Mask | None = None,
    ) -> None:
        self.reference = checked_mask(reference, "reference")
        self.prediction = checked_mask(prediction, "prediction")
        self.ignored = None if ignored is None else checked_mask(ignored, "mask of ignored voxels")
        self.partner = None if partner is None else checked_mask(partner, "partner's reference")
        if self.reference.shape != self.prediction.shape:
            raise GridError(
                "reference and prediction must share a grid; got shapes "
                f"{self.reference.shape} and {self.prediction.shape}. "
                "Put the prediction back on the grid of the reference."
            )
        if self.ignored is not None:
            self.reference = self.reference & ~self.ignored
            self.prediction = self.prediction & ~self.ignored
            if self.partner is not None:
                self.partner = self.partner & ~self.ignored
        else:
            self._crop()
        self.spacing_mm = _checked_spacing(spacing_mm, self.reference.ndim)
        self.voxel_volume_ml = (
            math.prod(self.spacing_mm) / 1000.0 if voxel_volume_ml is None else voxel_volume_ml
        )

    def _crop(self) -> None:
        """Keep the box around all masks: what lies beyond is empty in each, and takes time.

        Ignored voxels beyond it would be lost.
        """
        masks = self.reference | self.prediction
        if self.partner is not None:
            masks |= self.partner
        box = bounding_box(masks)
        if box is None:
            return
        self.reference, self.prediction = self.reference[box], self.prediction[box]
        if self.partner is not None:
            self.partner = self.partner[box]

    @cached_property
    def n_reference(self) -> int:
        """Voxels in the reference."""
        return int(np.count_nonzero(self.reference))

    @cached_property
    def n_prediction(self) -> int:
        """Voxels in the prediction."""
        return int(np.count_nonzero(self.prediction))

    @cached_property
    def n_overlap(self) -> int:
        """Voxels in both."""
        return int(np.count_nonzero(self.reference & self.prediction))

    @property
    def n_missed(self) -> int:
        """Voxels of the reference that were not predicted (false negative)."""
        return self.n_reference - self.n_overlap

    @property
    def n_false(self) -> int:
        """Predicted voxels that the reference has not (false positive)."""
        return self.n_prediction - self.n_overlap

    def n_neither(self, margin_mm: float) -> int:
        """Voxels of neither mask (true negative) around them, ignored ones left out.

        Args:
            margin_mm: The region is the box around both masks, wider by this on each side, mm,
                rounded to whole voxels; it may reach beyond the image, where nothing is.
        """
        box = bounding_box(self.reference | self.prediction)
        if box is None:
            return 0
        wider = [
            (part.start - round(margin_mm / step), part.stop + round(margin_mm / step))
            for part, step in zip(box, self.spacing_mm, strict=True)
        ]
        n_all = math.prod(stop - start for start, stop in wider)
        if self.ignored is not None:
            inside = tuple(slice(max(start, 0), stop) for start, stop in wider)
            n_all -= int(np.count_nonzero(self.ignored[inside]))
        return n_all - self.n_reference - self.n_false

    @property
    def emptiness(self) -> str:
        """Which mask is empty, in words; ``""`` if none is."""
        if self.n_reference == 0 and self.n_prediction == 0:
            return BOTH_EMPTY
        if self.n_reference == 0:
            return REFERENCE_EMPTY
        return PREDICTION_EMPTY if self.n_prediction == 0 else ""

    @cached_property
    def surface_distances_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance of every border voxel to the nearest border voxel of the other mask.

        A border voxel is a voxel of a mask that has a face neighbour outside
        it; what lies beyond the image counts as outside, as in MedPy and MONAI.
        An ignored neighbour does not count as outside: whether the structure
        goes on there is not known, so the cut is no surface.
        The box around both masks suffices: border voxels and their nearest
        partners all lie within it.

        Returns:
            Reference to prediction (n,) and prediction to reference (m,), mm,
            in no particular order; both empty if a mask has no border voxel.
        """
        box = bounding_box(self.reference | self.prediction)
        if box is None:
            return np.empty(0), np.empty(0)
        ignored = None
        if self.ignored is not None:
            box = widened(box, self.ignored.shape)
            ignored = self.ignored[box]
        reference = border(self.reference[box], ignored)
        prediction = border(self.prediction[box], ignored)
        if not (reference.any() and prediction.any()):
            return np.empty(0), np.empty(0)
        nearest = self._nearest(reference, prediction)
        return (
            nearest(reference, prediction, self.spacing_mm),
            nearest(prediction, reference, self.spacing_mm),
        )

    @cached_property
    def outside_distances_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance of every voxel that only one mask has to the nearest voxel of the other.

        Returns:
            Of the voxels of the reference (n_missed,) and of the prediction (n_false,), mm, in no
            particular order; both empty if a mask is empty.
        """
        box = bounding_box(self.reference | self.prediction)
        if box is None or self.emptiness:
            return np.empty(0), np.empty(0)
        reference, prediction = self.reference[box], self.prediction[box]
        missed, false = reference & ~prediction, prediction & ~reference
        return (
            nearest_by_transform(missed, prediction, self.spacing_mm),
            nearest_by_transform(false, reference, self.spacing_mm),
        )

    @cached_property
    def surfels(self) -> tuple[Surfels, Surfels]:
        """Surface elements by marching cubes, of the reference and of the prediction.

        They lie between voxels; what is beyond the image counts as outside. A cell with an
        ignored voxel has none. Both are empty if a mask has none.
        """
        box = bounding_box(self.reference | self.prediction)
        nothing = Surfels(np.empty(0), np.empty(0))
        if box is None:
            return nothing, nothing
        known = None
        if self.ignored is not None:
            box = widened(box, self.ignored.shape)
            known = cell_codes(self.ignored[box]) == 0
        codes = [cell_codes(mask[box]) for mask in (self.reference, self.prediction)]
        full = 2 ** (2**self.reference.ndim) - 1
        surfaces = [(code != 0) & (code != full) for code in codes]
        if known is not None:
            surfaces = [surface & known for surface in surfaces]
        if not all(surface.any() for surface in surfaces):
            return nothing, nothing
        areas = cell_areas(self.spacing_mm)
        ours, theirs = surfaces
        nearest = self._nearest(ours, theirs)
        return (
            Surfels(nearest(ours, theirs, self.spacing_mm), areas[codes[0][ours]]),
            Surfels(nearest(theirs, ours, self.spacing_mm), areas[codes[1][theirs]]),
        )

    @property
    def lack_of_surfels(self) -> str:
        """Why there are no surface elements, in words; ``""`` if there are."""
        if self.emptiness:
            return self.emptiness
        return NO_SURFACE if self.surfels[0].areas.size == 0 else ""

    @staticmethod
    def _nearest(ours: Mask, theirs: Mask) -> Nearest:
        """The faster way to find nearest voxels: see `SPARSE_BOX_VOXELS_PER_BORDER_VOXEL`."""
        n_borders = np.count_nonzero(ours) + np.count_nonzero(theirs)
        sparse = ours.size > SPARSE_BOX_VOXELS_PER_BORDER_VOXEL * n_borders
        return nearest_by_tree if sparse else nearest_by_transform

    @cached_property
    def lesions(self) -> Lesions:
        """Connected components with all neighbours (26 of a voxel, 8 of a pixel), and overlaps."""
        box = bounding_box(self.reference | self.prediction)
        if box is None:
            nothing = np.zeros(0, dtype=np.intp)
            return Lesions(0, 0, nothing, nothing, np.zeros(0))
        whole = generate_binary_structure(self.reference.ndim, self.reference.ndim)
        ours, n_ours = label(self.reference[box], structure=whole)
        theirs, n_theirs = label(self.prediction[box], structure=whole)
        both = (ours > 0) & (theirs > 0)
        pairs, n_shared = np.unique(
            (ours[both].astype(np.int64) - 1) * max(n_theirs, 1) + theirs[both] - 1,
            return_counts=True,
        )
        rows, columns = np.divmod(pairs, max(n_theirs, 1))
        sizes = [
            np.bincount(parts.ravel(), minlength=n + 1)[1:]
            for parts, n in ((ours, n_ours), (theirs, n_theirs))
        ]
        union = sizes[0][rows] + sizes[1][columns] - n_shared
        return Lesions(n_ours, n_theirs, rows, columns, n_shared / union)

    @property
    def lack_of_surface(self) -> str:
        """Why there are no surface distances, in words; ``""`` if there are."""
        if self.emptiness:
            return self.emptiness
        return NO_SURFACE if self.surface_distances_mm[0].size == 0 else ""


def widened(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A box with one more voxel on each side, within a shape."""
    return tuple(
        slice(max(part.start - 1, 0), min(part.stop + 1, size))
        for part, size in zip(box, shape, strict=True)
    )


def border(mask: Mask, ignored: Mask | None = None) -> Mask:
    """Voxels of a mask with a face neighbour outside it or beyond the image.

    Neighbours that are `ignored`, bool of the same shape, do not count as outside.
    """
    filled = mask if ignored is None else mask | ignored
    faces = generate_binary_structure(mask.ndim, 1)
    return np.asarray(mask & ~binary_erosion(filled, structure=faces))


def nearest_by_transform(
    sources: Mask, targets: Mask, spacing_mm: Sequence[float]
) -> NDArray[np.float64]:
    """Distance of each source voxel to the nearest target voxel, by a distance transform.

    Args:
        sources: (Z, Y, X) bool.
        targets: (Z, Y, X) bool with at least one voxel.
        spacing_mm: (Z, Y, X), mm.

    Returns:
        (n,) mm, float64.
    """
    distances = distance_transform_edt(~targets, sampling=spacing_mm)
    return np.asarray(distances[sources], dtype=np.float64)


def nearest_by_tree(
    sources: Mask, targets: Mask, spacing_mm: Sequence[float]
) -> NDArray[np.float64]:
    """The same distances as `nearest_by_transform`, by a tree over the voxel centres."""
    scale = np.asarray(spacing_mm, dtype=np.float64)
    tree = KDTree(np.argwhere(targets) * scale)
    distances, _ = tree.query(np.argwhere(sources) * scale)
    return np.asarray(distances, dtype=np.float64)


def checked_mask(mask: Array, name: str) -> Mask:
    """The mask, if it is bool and has three axes.

    Args:
        mask: (Z, Y, X) bool.
        name: What it is called in an error.

    Raises:
        DataError: It is not bool.
        GridError: It has not three axes.
    """
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise DataError(
            f"the {name} must be a bool mask of one structure; got {mask.dtype}. "
            "Compare the label map with a value: labelmap == 1."
        )
    if mask.ndim not in (2, 3):
        raise GridError(
            f"the {name} must have three axes (Z, Y, X), or two of a slice; got shape {mask.shape}."
        )
    return mask


def _checked_spacing(spacing_mm: Sequence[float], n_axes: int) -> tuple[float, ...]:
    values = tuple(float(value) for value in spacing_mm)
    if len(values) != n_axes or not all(math.isfinite(value) and value > 0 for value in values):
        raise DataError(
            f"spacing_mm must be {n_axes} distances above 0 mm, in the order of the axes; "
            f"got {values}."
        )
    return values
