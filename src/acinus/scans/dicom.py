"""One DICOM series as a volume: geometry from positions, values rescaled.

Enters: the slices of one series. Leaves: a volume in RAS+ mm. Oblique stacks
stay oblique; a tilted gantry stays as shear in the affine unless an orthogonal
grid is asked for. Uneven, missing and repeated slices are refused with the
measured distances unless repair is asked for: reading through SimpleITK's
series reader was rejected since it only warns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError
from acinus.scans.dtypes import smallest_integers
from acinus.scans.hounsfield import HU_RANGE, OUTSIDE_HU
from acinus.scans.mend import even_stack, without_tilt
from acinus.scans.series import Series, choose_series, list_series
from acinus.scans.slices import Slice, dicom_faults, open_dicom
from acinus.scans.stack import stack_grid, tilt_degrees
from acinus.scans.volume import Grid, Volume
from acinus.types import Array


def read_dicom_folder(folder: Path, *, series: str | None = None) -> Volume:
    """The chosen series of a folder; see `choose_series` for `series`."""
    return read_series(_choose(folder, series))


def read_dicom_grid(folder: Path, *, series: str | None = None) -> Grid:
    """The grid of the chosen series, from the headers."""
    chosen = _choose(folder, series)
    return stack_grid(chosen.slices, chosen.description)


def read_series(series: Series, *, repair: bool = False, orthogonal: bool = False) -> Volume:
    """The series as (Z, Y, X) values after rescale slope and intercept.

    Values are integers where slope is 1 and intercept whole in all slices, else
    float32. Voxels outside of the field of view of a CT whose padding value is no HU are
    `OUTSIDE_HU`. ``meta["notes"]`` tells what was done to the stack,
    ``meta["interpolated"]`` the indices of slices that were not measured, and
    ``meta["even_grid"]`` the grid before a tilt was removed.

    Args:
        series: As listed.
        repair: Leave out copies, and interpolate between slices where they are
            missing or unevenly spaced.
        orthogonal: Shift the slices of a tilted gantry in their planes, by
            linear interpolation, onto a grid without shear.

    Raises:
        DataError: Slices are uneven, missing or repeated, or a file cannot be
            decoded.
    """
    slices: Sequence[Slice] = series.slices
    if not (repair and series.faults):
        stack_grid(slices, series.description, series.skipped)  # refused before pixels are read
    padded: list[int] = []
    layers = list(_decode(slices, padded))
    tilt = tilt_degrees(slices)
    notes: list[str] = []
    if sum(padded):
        notes.append(
            f"{sum(padded)} voxels outside of the field of view, PixelPaddingValue "
            f"{series.tags.get('PixelPaddingValue')}, are set to {OUTSIDE_HU} HU"
        )
    interpolated: tuple[int, ...] = ()
    if repair and series.faults:
        mended = even_stack(slices, layers, series.description)
        grid, layers, interpolated = mended.grid, mended.layers, mended.interpolated
        notes += mended.notes
    else:
        grid = stack_grid(slices, series.description, series.skipped)
    array = _stack(layers)
    even_grid = grid
    if orthogonal and tilt:
        grid, array, note = without_tilt(grid, array, tilt)
        notes.append(note)
        tilt = 0.0
    meta: dict[str, Any] = {
        "path": str(slices[0].path.parent),
        "format": "DICOM",
        "modality": series.modality,
        "description": series.description,
        "series_uid": series.uid,
        "study_uid": series.study_uid,
        "patient_id": series.patient_id,
        "tilt_degrees": tilt,
        "skipped": dict(series.skipped),
        "notes": tuple(notes),
        "interpolated": interpolated,
        "even_grid": even_grid,
    }
    return Volume(array, grid.affine, meta)


def _choose(folder: Path, wanted: str | None) -> Series:
    try:
        return choose_series(list_series(folder), wanted)
    except DataError as error:
        text = str(error)
        raise DataError(text if text.startswith(str(folder)) else f"{folder}: {text}") from error


def _stack(layers: list[Array]) -> Array:
    """(Z, Y, X) of (Y, X) layers, in the smallest type that holds them all; empties the list."""
    dtype = np.result_type(*{layer.dtype for layer in layers})
    if dtype.kind == "f":
        dtype = np.dtype(np.float32)
    array = np.empty((len(layers), *layers[0].shape), dtype)
    for z in reversed(range(len(layers))):
        array[z] = layers.pop()
    return smallest_integers(array) if dtype.kind in "iu" else array


def _decode(slices: Sequence[Slice], padded: list[int]) -> Iterator[Array]:
    """(Y, X) values of each slice after rescaling; each file is opened as seldom as possible.

    Args:
        slices: In the order of the result.
        padded: Gets the number of voxels that are padding, of slices whose padding is no HU.
    """
    for path, own in groupby(slices, key=lambda item: item.path):
        frames = list(own)
        try:
            header = open_dicom(path)
            for item, stored in zip(frames, _stored(header, frames), strict=True):
                if stored.shape != (item.n_rows, item.n_columns):
                    raise ValueError(f"pixels have shape {stored.shape}")
                outside = _outside(stored, item)
                if outside is None:
                    yield _rescaled(stored, item)
                    continue
                padded.append(int(np.count_nonzero(outside)))
                values = _rescaled(np.where(outside, stored.max(), stored), item)
                yield np.where(outside, values.dtype.type(OUTSIDE_HU), values)
        except DataError:
            raise
        except dicom_faults() as error:
            raise _undecodable(path, error) from error


def _stored(header: Any, frames: Sequence[Slice]) -> Iterator[Array]:
    """(Y, X) stored values of some slices of one file."""
    from pydicom.pixels import iter_pixels

    yield from iter_pixels(header, indices=[item.frame or 0 for item in frames], raw=True)


def _outside(stored: Array, item: Slice) -> Array | None:
    """(Y, X) where a CT is padded with what is no HU; None: its padding is none of these."""
    if item.tags.get("Modality", "").upper() != "CT":
        return None
    try:
        padding = int(item.tags.get("PixelPaddingValue", ""))
    except ValueError:
        return None
    if padding * item.slope + item.intercept >= HU_RANGE[0]:
        return None
    found: Array = stored == padding
    return found


def _rescaled(stored: Array, item: Slice) -> Array:
    """Stored values times slope plus intercept, in a small type."""
    if stored.dtype.kind in "iu" and item.slope == 1 and item.intercept.is_integer():
        shift = int(item.intercept)
        low, high = int(stored.min()) + shift, int(stored.max()) + shift
        small = np.result_type(np.int16, np.min_scalar_type(low), np.min_scalar_type(high))
        wide = np.result_type(small, np.min_scalar_type(shift))  # -40000 may lead to small values
        return (stored.astype(wide) + wide.type(shift)).astype(small, copy=False)
    return np.asarray(stored * item.slope + item.intercept, dtype=np.float32)


def _undecodable(path: Path, error: BaseException) -> DataError:
    reason = " ".join(str(error).split())[-200:]
    return DataError(
        f"{path}: must hold the whole pixels of a slice; they cannot be read ({reason}). "
        "Export the series again, uncompressed if possible."
    )
