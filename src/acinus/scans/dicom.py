"""One DICOM series as a volume: geometry from positions, values rescaled.

Enters: the files of one series. Leaves: a volume in RAS+ mm whose slice
spacing is the distance of positions, never SliceThickness. Oblique stacks stay
oblique; a tilted gantry stays as shear in the affine. Uneven, missing and
repeated slices are refused with the measured distances: reading through
SimpleITK's series reader was rejected since it only warns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError
from acinus.scans.dtypes import smallest_integers
from acinus.scans.itk import LPS_TO_RAS
from acinus.scans.orientation import require_usable_affine
from acinus.scans.series import (
    SAME_POSITION_MM,
    Series,
    Slice,
    choose_series,
    dicom_faults,
    list_series,
    open_dicom,
    slice_of,
    sort_slices,
)
from acinus.scans.volume import Grid, Volume
from acinus.types import Affine, Array

GAP_TOLERANCE = 0.02
"""Largest deviation of a slice from even spacing, as a share of the spacing."""

GAP_TOLERANCE_MM = 0.01
"""Deviation that is always accepted, mm: rounding of positions."""

TILT_TOLERANCE_DEG = 0.1
"""Angle between the stack and the normal of its slices above which it is noted as tilted."""


def read_dicom_folder(folder: Path, *, series: str | None = None) -> Volume:
    """The chosen series of a folder; see `choose_series` for `series`."""
    return read_series(_choose(folder, series))


def read_dicom_grid(folder: Path, *, series: str | None = None) -> Grid:
    """The grid of the chosen series, from the headers."""
    chosen = _choose(folder, series)
    slices = [_slice(open_dicom(path, stop_before_pixels=True), path) for path in chosen.paths]
    return stack_grid(sort_slices(slices), chosen.description)


def read_series(series: Series) -> Volume:
    """The series as (Z, Y, X) values after rescale slope and intercept.

    Values are integers where slope is 1 and intercept whole in all slices, else
    float32.

    Raises:
        DataError: Slices are uneven, missing or repeated, or a file cannot be
            decoded.
    """
    loaded = [_load(path) for path in series.paths]
    order = sort_slices([item for item, _ in loaded])
    by_path = {item.path: pixels for item, pixels in loaded}
    grid = stack_grid(order, series.description, series.skipped)
    array = np.stack([by_path[item.path] for item in order])
    if array.dtype.kind in "iu":
        array = smallest_integers(array)
    meta: dict[str, Any] = {
        "path": str(series.paths[0].parent),
        "format": "DICOM",
        "modality": series.modality,
        "description": series.description,
        "series_uid": series.uid,
        "study_uid": series.study_uid,
        "patient_id": series.patient_id,
        "tilt_degrees": _tilt_degrees(order),
        "skipped": dict(series.skipped),
    }
    return Volume(array, grid.affine, meta)


def stack_grid(
    slices: Sequence[Slice], description: str, skipped: dict[str, int] | None = None
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
    step = _step(slices, where, skipped or {})
    lps = np.eye(4)
    lps[:3, 0] = first.orientation[0] * first.pixel_mm[1]
    lps[:3, 1] = first.orientation[1] * first.pixel_mm[0]
    lps[:3, 2] = step
    lps[:3, 3] = first.position
    affine: Affine = LPS_TO_RAS @ lps
    require_usable_affine(affine, where)
    return Grid((len(slices), first.n_rows, first.n_columns), affine)


def _choose(folder: Path, wanted: str | None) -> Series:
    try:
        return choose_series(list_series(folder), wanted)
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith(str(folder)) else f"{folder}: {text}") from error


def _step(slices: Sequence[Slice], where: str, skipped: dict[str, int]) -> np.ndarray:
    """(3,) LPS mm from one slice to the next."""
    first = slices[0]
    if len(slices) == 1:
        if first.thickness_mm is None:
            raise DataError(
                f"{where}: a single slice must state SliceThickness or SpacingBetweenSlices; "
                "found neither. Give the whole series."
            )
        return first.normal * first.thickness_mm
    positions = np.array([item.position for item in slices])
    along = positions @ first.normal
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    tolerance = max(GAP_TOLERANCE_MM, GAP_TOLERANCE * usual)
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    even = positions[0] + np.arange(len(slices))[:, np.newaxis] * step
    off = np.linalg.norm(positions - even, axis=1)
    if np.any(gaps < SAME_POSITION_MM):
        raise _repeated(slices, gaps, where)
    if np.any(np.abs(gaps - usual) > tolerance):
        raise _uneven(slices, along, where, skipped)
    if off.max() > tolerance:
        worst = int(np.argmax(off))
        raise DataError(
            f"{where}: slices must lie on a straight line within {tolerance:.3g} mm; "
            f"{slices[worst].path.name} lies {off[worst]:.3g} mm beside it. "
            "Export the series again, or resample it with another program first."
        )
    return np.asarray(step)


def _repeated(slices: Sequence[Slice], gaps: np.ndarray, where: str) -> DataError:
    n_repeats = int(np.sum(gaps < SAME_POSITION_MM))
    at = int(np.argmax(gaps < SAME_POSITION_MM))
    one, other = slices[at], slices[at + 1]
    copies = one.tags.get("SOPInstanceUID") == other.tags.get("SOPInstanceUID")
    return DataError(
        f"{where}: each position must hold one slice; found {n_repeats} repeated, first "
        f"{one.path.name} and {other.path.name} at {one.along_mm:.3f} mm along the normal, "
        f"{'copies of one image' if copies else 'two different images'}. "
        "Remove the copies, or export the time points or echoes as series of their own."
    )


def _uneven(
    slices: Sequence[Slice], along: np.ndarray, where: str, skipped: dict[str, int]
) -> DataError:
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    at = int(np.argmax(np.abs(gaps - usual)))
    n_missing = round(float(gaps[at]) / usual) - 1
    whole = n_missing >= 1 and abs(float(gaps[at]) - (n_missing + 1) * usual) < 0.1 * usual
    guess = f" ({n_missing} missing there)" if whole else ""
    left_out = "".join(f"; {n} files were skipped: {reason}" for reason, n in skipped.items())
    return DataError(
        f"{where}: slices must be evenly spaced; found distances of {gaps.min():.4g} to "
        f"{gaps.max():.4g} mm, median {usual:.4g} mm, the most unusual {gaps[at]:.4g} mm between "
        f"{slices[at].path.name} and {slices[at + 1].path.name}{guess}{left_out}. "
        "Export the whole series again, or resample it with another program first."
    )


def _tilt_degrees(slices: Sequence[Slice]) -> float:
    """Angle between the way from slice to slice and the slices' normal; 0 if below tolerance."""
    step = slices[-1].position - slices[0].position
    length = float(np.linalg.norm(step))
    if length == 0:
        return 0.0
    cosine = min(1.0, abs(float(step @ slices[0].normal)) / length)
    degrees = float(np.degrees(np.arccos(cosine)))
    return degrees if degrees > TILT_TOLERANCE_DEG else 0.0


def _slice(header: Any, path: Path) -> Slice:
    item = slice_of(header, path)
    if isinstance(item, str):
        raise DataError(f"{path}: must be an image slice of a series; found {item}.")
    return item


def _load(path: Path) -> tuple[Slice, Array]:
    """A slice and its (Y, X) values after rescaling."""
    try:
        header = open_dicom(path)
        item = _slice(header, path)
        return item, _rescaled(header, path)
    except DataError:
        raise
    except dicom_faults() as error:
        raise _undecodable(path, error) from error


def _rescaled(header: Any, path: Path) -> Array:
    try:
        stored = header.pixel_array
    except (ValueError, RuntimeError, AttributeError, NotImplementedError) as error:
        if not header.file_meta.TransferSyntaxUID.is_compressed:
            raise _undecodable(path, error) from error
        return _decode_with_itk(path)
    slope = float(header.get("RescaleSlope", 1) or 1)
    intercept = float(header.get("RescaleIntercept", 0) or 0)
    if slope == 1 and intercept.is_integer():
        return np.asarray(stored.astype(np.int64) + int(intercept))
    return np.asarray(stored * slope + intercept, dtype=np.float32)


def _decode_with_itk(path: Path) -> Array:
    """Compressed pixels that pydicom has no decoder for; ITK applies the rescaling itself."""
    import SimpleITK as sitk

    try:
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0])
    except RuntimeError as error:
        raise _undecodable(path, error) from error


def _undecodable(path: Path, error: BaseException) -> DataError:
    reason = " ".join(str(error).split())[-200:]
    return DataError(
        f"{path}: must hold the whole pixels of a slice; they cannot be read ({reason}). "
        "Export the series again, uncompressed if possible."
    )
