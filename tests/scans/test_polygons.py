"""Outlines and masks: each gives the other back, and matplotlib agrees on what lies inside."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from scipy import ndimage

from acinus.scans.polygons import Points, fill_polygon, outline_mask


def area(points: Points) -> float:
    row, column = points.T
    return abs(float(np.sum(column * np.roll(row, -1) - np.roll(column, -1) * row))) / 2


def by_matplotlib(points: Points, shape: tuple[int, int]) -> np.ndarray:
    centres = np.argwhere(np.ones(shape, bool))
    return Outline(np.vstack([points, points[:1]])).contains_points(centres).reshape(shape)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9, 1.0])
def test_outlines_give_any_mask_back_with_its_area(share: float, rng: np.random.Generator) -> None:
    for trial in range(40):
        shape = tuple(int(n) for n in rng.integers(1, 13, 2))
        mask = rng.random(shape) < share
        if trial % 2:
            mask = ndimage.gaussian_filter(rng.random(shape), 1.0) < share
        outlines = outline_mask(mask)
        assert len(outlines) == ndimage.label(mask)[1]  # holes are no outlines of their own
        filled = [fill_polygon(one, shape) for one in outlines]
        np.testing.assert_array_equal(sum(map(np.int64, filled), np.zeros(shape)), mask)
        assert sum(map(area, outlines)) == pytest.approx(mask.sum())
        for one, ours in zip(outlines, filled, strict=True):
            np.testing.assert_array_equal(by_matplotlib(one, shape), ours)


def test_outlines_have_no_needless_corners() -> None:
    box = np.zeros((6, 9), bool)
    box[1:5, 2:8] = True
    (outline,) = outline_mask(box)
    assert {tuple(corner) for corner in outline} == {(r, c) for r in (0.5, 4.5) for c in (1.5, 7.5)}
    assert len(outline) == 4


def test_polygons_fill_like_matplotlib_wherever_they_lie(rng: np.random.Generator) -> None:
    shape = (12, 17)
    for _ in range(12):
        points = rng.uniform(-6, 22, (int(rng.integers(3, 9)), 2))
        crossings = np.zeros(shape, int)  # even-odd by counting, pixel after pixel
        for a, b in zip(points, np.roll(points, -1, 0), strict=True):
            for row, column in np.argwhere(np.ones(shape, bool)):
                if (a[0] <= row) != (b[0] <= row):
                    at = a[1] + (row - a[0]) / (b[0] - a[0]) * (b[1] - a[1])
                    crossings[row, column] += at < column
        np.testing.assert_array_equal(fill_polygon(points, shape), crossings % 2 == 1)


def test_a_line_fills_nothing() -> None:
    line = np.array([(1.0, 1.0), (1.0, 5.0), (1.0, 3.0)])
    assert not fill_polygon(line, (4, 7)).any()
    assert outline_mask(np.zeros((3, 4), bool)) == []
