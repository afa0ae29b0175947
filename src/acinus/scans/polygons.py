"""Outlines of masks and masks of outlines, in one plane, to the voxel.

Enters: 2D masks, or polygons in index coordinates, where the centre of pixel (row, column) is
at (row, column). Leaves: the other. Outlines run along the edges of pixels, half a pixel off
the centres: every reader that asks whether a centre lies inside gets the same mask back, and
the area is that of the pixels. Outlines through the middles between centres (marching squares)
were rejected: they halve a single pixel; outlines through centres lose half a pixel all round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acinus.scans.components import bounding_box
from acinus.types import Array, Mask

Points = NDArray[np.float64]
"""(n, 2) corners of a polygon, (row, column); the last is joined to the first."""

_BRIDGE = 0.25
"""Where in a row of pixels a keyhole runs, above the centres: it must cross none of them."""

_RIGHT, _DOWN, _LEFT, _UP = range(4)


def fill_polygon(points: Points, shape: tuple[int, int]) -> Mask:
    """Pixels whose centre lies inside a polygon, by the even-odd rule.

    A keyhole, whose two sides cancel, leaves its hole empty. A centre exactly on an outline
    counts as inside on the low side only, so that two neighbours never share one.

    Args:
        points: (n, 2) corners; may lie outside of the image.
        shape: (rows, columns).

    Returns:
        (rows, columns) bool; empty for fewer than three corners.
    """
    filled = np.zeros(shape, dtype=bool)
    ends = np.roll(points, -1, axis=0)
    low = np.ceil(np.minimum(points[:, 0], ends[:, 0])).clip(0, shape[0]).astype(np.int64)
    high = np.ceil(np.maximum(points[:, 0], ends[:, 0])).clip(0, shape[0]).astype(np.int64)
    counts = high - low
    if not counts.any():
        return filled
    # Every row that a side crosses, side after side: `of` is the side, `row` the row.
    of = np.repeat(np.arange(len(points)), counts)
    row = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts) + low[of]
    slope = (ends[of, 1] - points[of, 1]) / (ends[of, 0] - points[of, 0])
    crossing = points[of, 1] + (row - points[of, 0]) * slope
    first = np.ceil(crossing).clip(0, shape[1]).astype(np.int64)
    top, left = int(row.min()), int(first.min())
    flips = np.zeros((int(row.max()) - top + 1, int(first.max()) - left + 1), dtype=np.int32)
    np.add.at(flips, (row - top, first - left), 1)
    box = filled[top : top + flips.shape[0], left : left + flips.shape[1]]
    box[:] = (np.cumsum(flips, axis=1) % 2 == 1)[:, : box.shape[1]]
    return filled


def outline_mask(mask: Mask) -> list[Points]:
    """Outlines of a mask, one a part, holes joined to them by keyholes.

    Parts that touch at a corner only are outlined apart.

    Args:
        mask: (rows, columns) bool.

    Returns:
        Polygons along the edges of pixels; none for an empty mask.
    """
    box = bounding_box(mask)
    if box is None:
        return []
    corners, following, places = _unit_edges(np.asarray(mask[box], dtype=bool))
    start = [(row - 0.5 + box[0].start, column - 0.5 + box[1].start) for row, column in corners]
    after = following.tolist()
    outer: list[Array] = []
    holes: list[Array] = []
    for loop in _loops(following):
        (outer if signed_area(corners[loop]) > 0 else holes).append(loop)
    holes.sort(key=lambda loop: corners[loop, 1].min())
    for loop in holes:
        _join(loop, corners, places, start, after)
    return [_straight(_walk(loop[0], start, after)) for loop in outer]


def _unit_edges(mask: Mask) -> tuple[Array, Array, list[Array]]:
    """Edges between inside and outside, with the inside on the right hand.

    Returns:
        (n, 2) corner at which each begins, (n,) the edge that follows it, and for each of the
        four directions a map from the corner to the edge that begins there, -1: none.
    """
    rows, columns = mask.shape
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # Corner (row, column) is the upper left one of the pixel of that index.
    begins = np.zeros((4, rows + 1, columns + 1), dtype=bool)
    begins[_RIGHT, :-1, :-1] = inside & ~padded[:-2, 1:-1]
    begins[_DOWN, :-1, 1:] = inside & ~padded[1:-1, 2:]
    begins[_LEFT, 1:, 1:] = inside & ~padded[2:, 1:-1]
    begins[_UP, 1:, :-1] = inside & ~padded[1:-1, :-2]
    where = np.argwhere(begins)
    edge_at = np.full(begins.shape, -1, dtype=np.int64)
    edge_at[tuple(where.T)] = np.arange(len(where))
    direction, corner = where[:, 0], where[:, 1:]
    step = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
    end = corner + step[direction]
    following = np.full(len(where), -1, dtype=np.int64)
    # Turning right first stays with the pixel where two parts touch at a corner.
    for turn in (-1, 0, 1):
        found = edge_at[(direction + turn) % 4, end[:, 0], end[:, 1]]
        following = np.where(found >= 0, found, following)
    return corner, following, list(edge_at)


def _loops(following: Array) -> list[Array]:
    """Edges of each closed way, in order."""
    after = following.tolist()
    seen = [False] * len(after)
    loops = []
    for first in range(len(after)):
        if seen[first]:
            continue
        loop = []
        edge = first
        while not seen[edge]:
            seen[edge] = True
            loop.append(edge)
            edge = after[edge]
        loops.append(np.array(loop))
    return loops


def signed_area(corners: Array) -> float:
    """Area of a polygon, pixels; positive where it runs clockwise on the screen.

    Args:
        corners: (n, 2) row and column.
    """
    row, column = corners.T
    return float(np.sum(column * np.roll(row, -1) - np.roll(column, -1) * row)) / 2


def _join(
    hole: Array,
    corners: Array,
    places: list[Array],
    start: list[tuple[float, float]],
    after: list[int],
) -> None:
    """Join a hole to what lies left of it in its row, by a keyhole through the pixels between.

    What lies there is an outer outline or a hole that was joined before, since holes come in
    the order of their columns.
    """
    row, column = min(
        (tuple(corners[edge]) for edge in hole if places[_DOWN][tuple(corners[edge])] == edge),
        key=lambda corner: corner[1],
    )
    own = int(places[_DOWN][row, column])
    left = int(np.flatnonzero(places[_UP][row + 1, :column] >= 0)[-1])
    other = int(places[_UP][row + 1, left])
    height = start[own][0] + 0.5 - _BRIDGE  # this side of the hole runs down from its begin
    there, here = (height, start[other][1]), (height, start[own][1])
    there_in, here_in, here_out, there_out = range(len(start), len(start) + 4)
    start += [there, here, here, there]
    after += [here_in, after[own], there_out, after[other]]
    after[other], after[own] = there_in, here_out


def _walk(
    first: int, start: list[tuple[float, float]], after: list[int]
) -> list[tuple[float, float]]:
    points = [start[first]]
    edge = after[first]
    while edge != first:
        points.append(start[edge])
        edge = after[edge]
    return points


def _straight(points: list[tuple[float, float]]) -> Points:
    """The polygon without the corners at which it goes straight on."""
    here = np.array(points)
    into, out = here - np.roll(here, 1, 0), np.roll(here, -1, 0) - here
    turns = into[:, 0] * out[:, 1] != into[:, 1] * out[:, 0]
    back = np.sum(into * out, axis=1) < 0
    return np.asarray(here[turns | back])
