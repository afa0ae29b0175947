"""A label map put on the grid of its image, without ever guessing.

Enters: a label map and the grid of the image. Leaves: the same labels on exactly that grid, and
in words what had to be done. Resampling was rejected: an importer hands on what readers drew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acinus.errors import DataError, GridError
from acinus.scans import (
    Grid,
    Volume,
    axis_codes,
    on_grid_of,
    oriented,
    place_on_grid,
    read_volume,
)
from acinus.scans.dtypes import as_labelmap
from acinus.scans.itk import read_itk
from acinus.scans.orientation import describe_grid

NEAR_VOXELS = 0.1
"""Largest displacement of a corner at which a label lies on its image but for the rounding of its
header, as a share of the smallest spacing."""

NEAR_INTEGER = 1e-3
"""Largest distance of a stored label value from a whole number that counts as rounding."""

HINT = (
    "Correct the file, or import with --trust-voxels if you know that both are stored in the same "
    "order and only the header of the label is wrong"
)


def read_whole_labels(path: Path, grid: Grid) -> tuple[Volume, str]:
    """A label map with integer values, and a note if they were stored a little off.

    Args:
        path: The file. Of a ``.seg.nrrd`` the stored values count, whatever names it gives them.
        grid: Of the image; a segmentation that was cut to its structure is put in its place.

    Raises:
        DataError: It cannot be read, or a value is no whole number.
        GridError: It was cut, and from another grid.
    """
    volume = _stored(path, grid)
    array, note = volume.array, ""
    if array.dtype.kind == "f" and np.isfinite(array).all():
        whole = np.rint(array)
        off = float(np.abs(array - whole).max(initial=0.0))
        if 0 < off <= NEAR_INTEGER:
            array, note = whole, f"label values up to {off:.2g} off whole numbers were rounded"
    return volume.with_array(as_labelmap(array, path)), note


def _stored(path: Path, grid: Grid) -> Volume:
    if not path.name.endswith(".seg.nrrd"):
        return read_volume(path)
    volume = read_itk(path)
    try:
        return volume if volume.shape == grid.shape else place_on_grid(volume, grid)
    except GridError as error:
        raise GridError(f"{path}: {error}") from error


def label_on_grid(
    label: Volume, grid: Grid, *, has_own_origin: bool = False, trust_voxels: bool = False
) -> tuple[Volume, str]:
    """The label map on the grid of its image, and in words what was done; empty if nothing.

    Args:
        label: On its own grid.
        grid: Of the image.
        has_own_origin: Whether the label may state another origin; the directions and the
            spacing of its axes must fit then.
        trust_voxels: Whether a label of the same shape is taken voxel by voxel whatever its
            header says.

    Raises:
        GridError: It lies elsewhere; the message has both grids.
    """
    apart = label.grid.displacement_mm(grid)
    if label.grid.matches(grid):
        return label, ""
    if apart <= NEAR_VOXELS * min(grid.spacing_mm):
        moved = Volume(label.array, grid.affine, label.meta)
        return moved, f"the label's header was off by {apart:.2g} mm and has the image's now"
    try:
        return on_grid_of(label, grid), "the label's axes were put in the order of the image's"
    except (GridError, DataError):
        pass
    if has_own_origin:
        turned = oriented(label, axis_codes(grid.affine))
        same_axes = turned.shape == grid.shape and np.allclose(
            turned.affine[:3, :3], grid.affine[:3, :3], atol=1e-3
        )
        if same_axes:
            off = float(np.linalg.norm(turned.affine[:3, 3] - grid.affine[:3, 3]))
            return Volume(turned.array, grid.affine, label.meta), (
                f"the label states another origin, {off:.3g} mm off, and was placed by the "
                "directions of its axes"
            )
    if trust_voxels and label.shape == grid.shape:
        return Volume(label.array, grid.affine, label.meta), (
            f"the label's header ({describe_grid(label.grid)}) disagreed with the image's and was "
            "passed over (--trust-voxels)"
        )
    hint = HINT if label.shape == grid.shape else "Correct the file"
    raise GridError(
        f"image and label must share a grid; image: {describe_grid(grid)}; label: "
        f"{describe_grid(label.grid)}. {hint}."
    )
