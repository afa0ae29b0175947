"""Slices as pictures: radiological display, grey window, contours, PNG.

Enters: canonical volumes and masks. Leaves: (H, W) and (H, W, 3) uint8 arrays.
Shared by the overlays of prediction and by the report, so it needs neither
matplotlib nor torch. Filled overlays were rejected: they hide the edge that a
reader judges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from acinus.errors import DataError, GridError
from acinus.files import whole_file
from acinus.scans.orientation import axis_codes
from acinus.scans.volume import Volume
from acinus.types import Array, Mask

Plane = Literal["axial", "coronal", "sagittal"]

_AXIS: dict[str, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Array axis that the plane cuts across."""


def plane_slice(volume: Volume, plane: Plane, index: int) -> tuple[Array, tuple[float, float]]:
    """One slice as a radiologist sees it.

    The patient's right is on the left of axial and coronal pictures; anterior
    is up in axial ones and left in sagittal ones; superior is up otherwise.

    Args:
        volume: Canonical volume (see `canonical`).
        plane: Plane of the slice.
        index: From the inferior, posterior or left end.

    Returns:
        (H, W) values, a view, and (row, column) pixel spacing, mm.

    Raises:
        GridError: The volume is not canonical.
        IndexError: There is no such slice.
    """
    codes = axis_codes(volume.affine)
    if codes != "RAS":
        raise GridError(
            f"a volume to be shown must be canonical (axes RAS); found {codes}. "
            "Call acinus.scans.canonical first."
        )
    axis = _AXIS[plane]
    n_slices = volume.shape[axis]
    if not 0 <= index < n_slices:
        raise IndexError(f"{plane} slice must be 0 to {n_slices - 1}; got {index}.")
    pixels = np.take(volume.array, index, axis=axis)[::-1, ::-1]
    spacing = [mm for other, mm in enumerate(volume.spacing_mm) if other != axis]
    return pixels, (spacing[0], spacing[1])


def window(pixels: Array, low: float, high: float) -> np.ndarray:
    """Grey values of a slice: `low` and below is black, `high` and above white.

    Args:
        pixels: (H, W) values; those that are not finite become black.
        low: Value shown black.
        high: Value shown white; if not above `low` the picture is black.

    Returns:
        (H, W) uint8.
    """
    values = np.nan_to_num(np.asarray(pixels, dtype=np.float32), nan=low, posinf=high, neginf=low)
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def to_rgb(grey: np.ndarray) -> np.ndarray:
    """(H, W) uint8 grey values as (H, W, 3) uint8, a copy."""
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def square_pixels(
    pixels: Array, spacing_mm: tuple[float, float], pixel_mm: float, *, order: Literal[0, 1] = 1
) -> Array:
    """A slice resampled to square pixels, so that its proportions are right on a screen.

    Args:
        pixels: (H, W) values or bool mask.
        spacing_mm: (row, column) distance between pixel centres, mm.
        pixel_mm: Side of the pixels wanted, mm.
        order: 0 nearest (masks, keeps the dtype), 1 linear (float32).

    Returns:
        (H', W') covering the same area, at least one pixel each way.
    """
    dtype = pixels.dtype if order == 0 else np.dtype(np.float32)
    sizes = [
        max(1, round(n * mm / pixel_mm)) for n, mm in zip(pixels.shape, spacing_mm, strict=True)
    ]
    centres = [
        np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        for size, n in zip(sizes, pixels.shape, strict=True)
    ]
    if order == 0:
        rows, columns = (np.floor(axis + 0.5).astype(int) for axis in centres)
        return np.asarray(pixels[np.ix_(rows, columns)])
    from scipy import ndimage  # here: it takes a while to load

    grid = np.meshgrid(*centres, indexing="ij")
    return np.asarray(
        ndimage.map_coordinates(pixels.astype(dtype), grid, order=1, mode="nearest"), dtype=dtype
    )


def draw_contours(
    rgb: np.ndarray, mask: Mask, color: tuple[int, int, int], width: int = 1
) -> np.ndarray:
    """A picture with the outline of a mask drawn on it.

    The outline runs inside the mask along its edge. The picture may be larger
    than the mask by a whole factor; the mask is enlarged to it, so that the
    line is thin beside the voxels.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (H / n, W / n) bool for some whole n >= 1; an empty one draws nothing.
        color: Red, green, blue, 0 to 255.
        width: Thickness of the line in pixels of the picture, >= 1.

    Returns:
        (H, W, 3) uint8, a copy.

    Raises:
        GridError: The picture is no whole multiple of the mask.
    """
    factor = rgb.shape[0] // mask.shape[0] if mask.shape[0] else 0
    if factor < 1 or rgb.shape[:2] != (mask.shape[0] * factor, mask.shape[1] * factor):
        raise GridError(
            "a picture must be a whole multiple of its mask; got picture "
            f"{rgb.shape[:2]} and mask {mask.shape}. Resample the mask to the picture."
        )
    from scipy import ndimage  # here: it takes a while to load

    large = np.kron(mask, np.ones((factor, factor), dtype=bool)).astype(bool)
    cross = ndimage.generate_binary_structure(2, 1)
    inner = ndimage.binary_erosion(large, cross, iterations=max(1, width), border_value=1)
    drawn = rgb.copy()
    drawn[large & ~inner] = color
    return drawn


def enlarge(rgb: np.ndarray, factor: int) -> np.ndarray:
    """A picture with every pixel repeated `factor` times both ways, (H, W) or (H, W, 3)."""
    return np.repeat(np.repeat(rgb, factor, axis=0), factor, axis=1)


def write_png(picture: np.ndarray, path: Path | str) -> None:
    """Write (H, W) or (H, W, 3) uint8 as PNG, whole or not at all.

    Raises:
        DataError: The file cannot be written, or the picture is not uint8.
    """
    from PIL import Image

    if picture.dtype != np.uint8:
        raise DataError(f"{path}: a picture must be uint8; got {picture.dtype}.")
    with whole_file(path) as beside:
        Image.fromarray(np.ascontiguousarray(picture)).save(beside, format="PNG")
