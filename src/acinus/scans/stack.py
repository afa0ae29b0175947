"""The stack that the slices of a series form: its faults, measured, and its grid.

Enters: slices in the order of their positions. Leaves: every fault with its
numbers, and the grid of an even stack, whose slice spacing is the distance of
positions, never SliceThickness. A tilted gantry stays as shear in the affine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from acinus.errors import DataError
from acinus.scans.itk import LPS_TO_RAS
from acinus.scans.orientation import require_usable_affine
from acinus.scans.slices import Slice
from acinus.scans.volume import Grid
from acinus.types import Affine, Array

SAME_POSITION_MM = 1e-3
"""Slices closer than this along their normal lie at one position, mm."""

GAP_TOLERANCE = 0.02
"""Largest deviation of a slice from even spacing, as a share of the spacing."""

GAP_TOLERANCE_MM = 0.01
"""Deviation that is always accepted, mm: rounding of positions."""

MAX_BRIDGED_GAP = 4.5
"""Widest distance that is bridged by interpolation, in usual distances: three missing slices."""

TILT_TOLERANCE_DEG = 0.1
"""Angle between the stack and the normal of its slices above which it is noted as tilted."""

OBLIQUE_DEG = 1.0
"""Angle between the slices' normal and the closest world axis above which they are oblique."""

Code = Literal["no-thickness", "copies", "repeated", "missing", "uneven", "bent"]


@dataclass(frozen=True)
class Fault:
    """What keeps slices from being an even stack.

    Attributes:
        code: Kind of fault.
        found: What must hold and what was found.
        remedy: What to do about it, outside this program.
        is_repairable: Whether leaving out copies or interpolating between slices makes an even
            stack. Images of different UIDs may be copies, too: only their pixels tell.
    """

    code: Code
    found: str
    remedy: str
    is_repairable: bool = False


def along_mm(slices: Sequence[Slice]) -> Array:
    """(N,) positions along the first slice's normal, mm."""
    return np.asarray(np.array([item.position for item in slices]) @ slices[0].normal)


def usual_gap_mm(slices: Sequence[Slice]) -> float:
    """Median distance of neighbouring positions, mm; of a single slice what its header states,
    or 0."""
    gaps = np.diff(along_mm(slices))
    gaps = gaps[gaps >= SAME_POSITION_MM]
    return float(np.median(gaps)) if len(gaps) else (slices[0].thickness_mm or 0.0)


def gap_tolerance_mm(usual_mm: float) -> float:
    """Largest deviation from even spacing that counts as rounding, mm."""
    return max(GAP_TOLERANCE_MM, GAP_TOLERANCE * usual_mm)


def stack_faults(slices: Sequence[Slice]) -> list[Fault]:
    """Every fault of a stack.

    Args:
        slices: In the order of their positions along the normal.
    """
    if len(slices) == 1:
        return [] if slices[0].thickness_mm is not None else [_NO_THICKNESS]
    along = along_mm(slices)
    repeats = np.diff(along) < SAME_POSITION_MM
    faults = _repeated(slices, repeats)
    kept = [
        slices[0],
        *(item for item, twice in zip(slices[1:], repeats, strict=True) if not twice),
    ]
    if len(kept) > 1:
        faults += _uneven(kept)
        faults += _bent(kept)
    return faults


def stack_grid(
    slices: Sequence[Slice], description: str, skipped: Mapping[str, int] | None = None
) -> Grid:
    """Grid of evenly spaced slices.

    Args:
        slices: In the order of their positions along the normal.
        description: Of the series, for messages.
        skipped: Reason to number of files left out, for messages.

    Raises:
        DataError: The slices are not evenly spaced.
    """
    first = slices[0]
    where = f"{first.path.parent}: DICOM series '{description}'"
    faults = stack_faults(slices)
    if faults:
        left_out = ""
        if {fault.code for fault in faults} & {"missing", "uneven"}:
            left_out = "".join(
                f"; {n} files were skipped: {reason}" for reason, n in (skipped or {}).items()
            )
        found = "; and ".join(fault.found for fault in faults)
        raise DataError(f"{where}: {found}{left_out}. {faults[0].remedy}")
    if len(slices) == 1:
        step = first.normal * (first.thickness_mm or 0.0)
    else:
        step = (slices[-1].position - first.position) / (len(slices) - 1)
    return grid_of(first, step, len(slices), where)


def grid_of(first: Slice, step: np.ndarray, n_slices: int, where: str) -> Grid:
    """Grid of slices like the first one.

    Args:
        first: The slice at index 0.
        step: (3,) from one slice to the next, LPS, mm.
        n_slices: Number of slices.
        where: What the error names.

    Raises:
        DataError: The grid has no volume.
    """
    lps = np.eye(4)
    lps[:3, 0] = first.orientation[0] * first.pixel_mm[1]
    lps[:3, 1] = first.orientation[1] * first.pixel_mm[0]
    lps[:3, 2] = step
    lps[:3, 3] = first.position
    affine: Affine = LPS_TO_RAS @ lps
    require_usable_affine(affine, where)
    return Grid((n_slices, first.n_rows, first.n_columns), affine)


def tilt_degrees(slices: Sequence[Slice]) -> float:
    """Angle between the way from slice to slice and the slices' normal; 0 if below tolerance."""
    step = slices[-1].position - slices[0].position
    length = float(np.linalg.norm(step))
    if length == 0:
        return 0.0
    cosine = min(1.0, abs(float(step @ slices[0].normal)) / length)
    degrees = float(np.degrees(np.arccos(cosine)))
    return degrees if degrees > TILT_TOLERANCE_DEG else 0.0


def plane_name(normal: np.ndarray) -> str:
    """Name of the plane of slices with that (3,) normal; oblique ones get the closest."""
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]


def oblique_degrees(normal: np.ndarray) -> float:
    """Angle between a (3,) unit normal and the closest world axis; 0 if below tolerance."""
    degrees = float(np.degrees(np.arccos(min(1.0, float(np.max(np.abs(normal)))))))
    return degrees if degrees > OBLIQUE_DEG else 0.0


_NO_THICKNESS = Fault(
    "no-thickness",
    "a single slice must state SliceThickness or SpacingBetweenSlices; found neither",
    "Give the whole series.",
)


def _repeated(slices: Sequence[Slice], repeats: np.ndarray) -> list[Fault]:
    if not np.any(repeats):
        return []
    pairs = [(slices[at], slices[at + 1]) for at in np.flatnonzero(repeats).tolist()]
    differing = [
        (one, other)
        for one, other in pairs
        if one.tags.get("SOPInstanceUID") != other.tags.get("SOPInstanceUID")
        or one.frame != other.frame
    ]
    one, other = (differing or pairs)[0]
    kind = "copies of one image"
    if differing:
        is_one_file = one.tags.get("SOPInstanceUID") == other.tags.get("SOPInstanceUID")
        kind = "two frames of one object" if is_one_file else "two images of different UIDs"
    found = (
        f"each position must hold one slice; found {len(pairs)} repeated, first {one.name} and "
        f"{other.name} at {one.along_mm:.3f} mm along the normal, {kind}"
    )
    remedy = "Remove the copies, or export the time points or echoes as series of their own."
    return [Fault("repeated" if differing else "copies", found, remedy, not differing)]


def _uneven(slices: Sequence[Slice]) -> list[Fault]:
    along = along_mm(slices)
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    tolerance = gap_tolerance_mm(usual)
    off = np.abs(gaps - usual)
    drift = np.abs(along - np.linspace(along[0], along[-1], len(along)))
    if max(off.max(), drift.max()) <= tolerance:
        return []
    at = int(np.argmax(off))
    n_missing = np.rint(gaps / usual).astype(int) - 1
    are_whole = np.abs(gaps - (n_missing + 1) * usual) < 0.1 * usual
    guess = f" ({n_missing[at]} missing there)" if n_missing[at] >= 1 and are_whole[at] else ""
    found = (
        f"slices must be evenly spaced; found distances of {gaps.min():.4g} to {gaps.max():.4g} "
        f"mm, median {usual:.4g} mm, the most unusual {gaps[at]:.4g} mm between slices {at + 1} "
        f"and {at + 2} of {len(slices)}, {slices[at].name} and {slices[at + 1].name}{guess}"
    )
    remedy = "Export the whole series again, or resample it with another program first."
    is_missing = bool(np.all(are_whole)) and int(n_missing.max()) > 0
    is_narrow = float(gaps.max()) <= MAX_BRIDGED_GAP * usual
    return [Fault("missing" if is_missing else "uneven", found, remedy, is_narrow)]


def _bent(slices: Sequence[Slice]) -> list[Fault]:
    """Slices that lie beside the line from the first to the last."""
    positions = np.array([item.position for item in slices])
    line = positions[-1] - positions[0]
    line = line / float(np.linalg.norm(line))
    beside = positions - positions[0]
    off = np.linalg.norm(beside - np.outer(beside @ line, line), axis=1)
    tolerance = gap_tolerance_mm(usual_gap_mm(slices))
    if off.max() <= tolerance:
        return []
    worst = int(np.argmax(off))
    found = (
        f"slices must lie on a straight line within {tolerance:.3g} mm; slice {worst + 1} of "
        f"{len(slices)}, {slices[worst].name}, lies {off[worst]:.3g} mm beside it"
    )
    remedy = "Export the series again, or resample it with another program first."
    return [Fault("bent", found, remedy)]
