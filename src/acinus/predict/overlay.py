"""A picture per case: slices with the contours of the predicted labels.

Enters: image and label map on one grid, of a scan or of parts of it. Leaves: one PNG,
radiological view (patient's right on the left), slices from inferior to superior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from acinus.scans import Volume, canonical
from acinus.scans.picture import (
    draw_contours,
    enlarge,
    plane_slice,
    square_pixels,
    to_rgb,
    window,
    write_png,
)
from acinus.types import Array

COLORS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
)
"""Okabe and Ito's colours, which colour-blind people tell apart."""

MAX_SLICES = 12
ENLARGEMENT = 2


def write_overlay(
    shown: Sequence[tuple[Volume, Volume]], labels: Mapping[str, int], path: Path
) -> None:
    """Write a sheet of up to twelve slices that hold a label; the middle ones if none does.

    Args:
        shown: Image and label map on one grid, of a scan or of parts of it, which share the sheet.
        labels: Label to its value.
        path: The PNG.
    """
    n_each = max(1, MAX_SLICES // len(shown))
    pictures = [one for image, marks in shown for one in _pictures(image, marks, labels, n_each)]
    write_png(_sheet(pictures), path)


def _pictures(
    image: Volume, labelmap: Volume, labels: Mapping[str, int], n_most: int
) -> list[Array]:
    shown, marks = canonical(image), canonical(labelmap)
    low, high = np.percentile(shown.array, (0.5, 99.5))
    pictures = []
    for index in _slices(marks.array, n_most):
        pixels, spacing_mm = plane_slice(shown, "axial", index)
        pixel_mm = min(spacing_mm)
        grey = window(square_pixels(pixels, spacing_mm, pixel_mm), float(low), float(high))
        rgb = enlarge(to_rgb(grey), ENLARGEMENT)
        for number, value in enumerate(labels.values()):
            mask, _ = plane_slice(marks, "axial", index)
            square = square_pixels(mask == value, spacing_mm, pixel_mm, order=0)
            rgb = draw_contours(rgb, square.astype(bool), COLORS[number % len(COLORS)], width=2)
        pictures.append(rgb)
    return pictures


def _slices(labelmap: Array, n_most: int) -> list[int]:
    present = np.flatnonzero((labelmap > 0).any(axis=(1, 2)))
    if not len(present):
        middle, n_slices = labelmap.shape[0] // 2, labelmap.shape[0]
        present = np.arange(max(0, middle - 2), min(n_slices, middle + 2))
    step = max(1, -(-len(present) // n_most))
    return [int(index) for index in present[::step]]


def _sheet(pictures: list[Array]) -> np.ndarray:
    columns = min(4, len(pictures))
    rows = -(-len(pictures) // columns)
    height, width = (max(one.shape[axis] for one in pictures) for axis in (0, 1))
    sheet = np.zeros((rows * height, columns * width, 3), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = row * height, column * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
