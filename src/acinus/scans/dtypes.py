"""Which number type an array is stored with, and label maps out of any numbers.

Enters: arrays as they come from files or networks. Leaves: types that every
viewer reads. Labels become the smallest of uint8, uint16, int16, int32 that
holds them; 64-bit integers were rejected, many viewers refuse them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acinus.errors import DataError
from acinus.types import Array, Labelmap

_INTEGERS = (np.uint8, np.uint16, np.int16, np.int32, np.int64)


def storable(array: Array, where: str | Path) -> Array:
    """The array in a type that medical formats and viewers know, values unchanged.

    Args:
        array: Booleans, integers or floating point numbers.
        where: Named in the error.

    Returns:
        Booleans and integers as the smallest of uint8, uint16, int16, int32
        that holds the values; half precision as float32; other floating point
        as it is.

    Raises:
        DataError: The values are complex, coloured, text, or exceed 64-bit integers.
    """
    kind = array.dtype.kind
    if kind == "b":
        return array.astype(np.uint8)
    if kind in "iu":
        return smallest_integers(array)
    if kind == "f":
        wanted = np.float64 if array.dtype.itemsize > 4 else np.float32
        return array.astype(wanted, copy=False)
    raise DataError(
        f"{where}: voxels must be single numbers (integer or floating point); "
        f"found {array.dtype}. Convert the image to grey values first."
    )


def smallest_integers(array: Array) -> Labelmap:
    """Integers as the smallest of uint8, uint16, int16, int32, int64 that holds the values."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for dtype in _INTEGERS:
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return array.astype(dtype, copy=False)
    raise DataError(f"integers must fit into 64 bits; found values up to {high}.")


def as_labelmap(array: Array, where: str | Path) -> Labelmap:
    """Whole numbers as integers, whatever type they were stored with.

    Raises:
        DataError: Some values are not whole numbers.
    """
    if array.dtype.kind in "biu":
        return smallest_integers(array.astype(np.uint8) if array.dtype.kind == "b" else array)
    broken = ~np.isfinite(array) | (array != np.rint(array))
    if np.any(broken):
        example = float(array[broken].ravel()[0])
        raise DataError(
            f"{where}: label values must be whole numbers; found {int(broken.sum())} voxels that "
            f"are not, e.g. {example:.6g}. Resample labels with nearest neighbour, "
            "or check that this is the label and not the image."
        )
    return smallest_integers(array.astype(np.int64))
