"""Pictures: which side is where, what a window does, where a contour runs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from acinus.errors import GridError
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


def landmarks(affine: np.ndarray) -> Volume:
    """A canonical volume of 5 x 6 x 7 with right 1, anterior 2 and superior 3 at its ends."""
    array = np.zeros((5, 6, 7), dtype=np.int16)
    array[2, 3, 6], array[2, 5, 3], array[4, 3, 3] = 1, 2, 3
    return canonical(Volume(array, affine))


@pytest.mark.parametrize(
    ("plane", "index", "places"),
    [
        ("axial", 2, {1: "left", 2: "top"}),
        ("coronal", 3, {1: "left", 3: "top"}),
        ("sagittal", 3, {2: "left", 3: "top"}),
    ],
)
def test_slices_are_shown_as_radiologists_see_them(plane, index, places) -> None:
    volume = landmarks(np.diag([0.5, 0.6, 3.0, 1.0]))
    pixels, spacing = plane_slice(volume, plane, index)
    for value, place in places.items():
        row, column = np.argwhere(pixels == value)[0]
        assert (column if place == "left" else row) == 0
    expected = {"axial": (0.6, 0.5), "coronal": (3.0, 0.5), "sagittal": (3.0, 0.6)}[plane]
    np.testing.assert_allclose(spacing, expected)


def test_other_axes_and_indices_are_refused() -> None:
    with pytest.raises(GridError, match=r"must be canonical.*found LPS"):
        plane_slice(Volume(np.zeros((3, 4, 5)), np.diag([-1.0, -1.0, 1.0, 1.0])), "axial", 0)
    with pytest.raises(IndexError, match="axial slice must be 0 to 2; got 3"):
        plane_slice(Volume(np.zeros((3, 4, 5)), np.eye(4)), "axial", 3)


def test_window_spans_black_to_white() -> None:
    pixels = np.array([[-5.0, 0.0, 50.0, 100.0, 900.0, np.nan, np.inf, -np.inf]])
    assert window(pixels, 0, 100).tolist() == [[0, 0, 128, 255, 255, 0, 255, 0]]
    assert not window(pixels, 3, 3).any()


def test_the_outline_runs_inside_the_mask() -> None:
    mask = np.zeros((7, 7), dtype=bool)
    mask[1:6, 1:6] = True
    grey = to_rgb(np.full((7, 7), 40, np.uint8))
    drawn = draw_contours(grey, mask, (255, 0, 0))
    red = (drawn == (255, 0, 0)).all(axis=-1)
    ring = mask.copy()
    ring[2:5, 2:5] = False
    assert np.array_equal(red, ring)
    assert (grey == 40).all()
    assert (drawn[~ring] == 40).all()


def test_the_outline_is_thin_on_an_enlarged_picture() -> None:
    mask = np.zeros((5, 5), dtype=bool)
    mask[2, 2] = True
    picture = enlarge(to_rgb(np.zeros((5, 5), np.uint8)), 4)
    red = (draw_contours(picture, mask, (9, 9, 9)) == 9).all(axis=-1)
    assert red.sum() == 4 * 4 - 2 * 2
    assert (draw_contours(picture, mask, (9, 9, 9), width=2) == 9).all(axis=-1).sum() == 16
    assert np.array_equal(draw_contours(picture, mask & False, (9, 9, 9)), picture)
    with pytest.raises(GridError, match=r"picture \(20, 20\) and mask \(6, 5\)"):
        draw_contours(picture, np.zeros((6, 5), bool), (9, 9, 9))


def test_square_pixels_keep_the_proportions() -> None:
    pixels = np.zeros((6, 20), dtype=bool)
    pixels[2:4, 8:12] = True  # 8 mm high, 2 mm wide
    square = square_pixels(pixels, (4.0, 0.5), 0.5, order=0)
    assert square.shape == (48, 20) and square.dtype == bool
    assert square.sum() * 0.25 == pytest.approx(8 * 2)
    smooth = square_pixels(pixels.astype(float), (4.0, 0.5), 0.5)
    assert smooth.shape == (48, 20) and smooth.dtype == np.float32
    assert smooth.min() >= 0 and smooth.max() <= 1


def test_png_returns_the_pixels(tmp_path, rng) -> None:
    picture = rng.integers(0, 255, (5, 6, 3)).astype(np.uint8)
    write_png(picture, tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
