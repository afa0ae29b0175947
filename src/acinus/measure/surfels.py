"""Surface elements of a mask by marching cubes, and how large they are.

Enters: a mask. Leaves: for every cell of eight neighbouring voxels (four pixels of a slice)
that the surface passes, the area of the surface within it. Cells are named by a code, a bit
for each voxel of the cell, so that a table of 256 areas serves any mask.

The table is computed, not typed in: the surface cuts each edge between an inner and an outer
voxel in its middle; on a face of the cell two cuts are joined, of four those around the voxels
of the side that has fewer in the cell; polygons that do not lie in a plane are divided into
triangles so that their area at cubic voxels is largest. This gives the areas that the reference
implementation uses, for every code and spacing (see the tests).

Source: Lorensen and Cline 1987, SIGGRAPH 163-169; Nikolov et al. 2021, J Med Internet Res
23(7):e26151 (surface elements weighted by area).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from acinus.types import Mask

Corner = tuple[int, ...]
Edge = tuple[Corner, Corner]
Triangle = tuple[int, int, int]


def cell_codes(mask: Mask) -> NDArray[np.uint8]:
    """Code of every cell of a mask, one cell more than voxels along each axis.

    Args:
        mask: (Z, Y, X) or (Y, X) bool; beyond it nothing is.

    Returns:
        Cell i lies between voxels i - 1 and i. 0 and the largest code have no surface.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    for bit, corner in enumerate(_corners(mask.ndim)):
        part = tuple(slice(at, at + size) for at, size in zip(corner, codes.shape, strict=True))
        codes |= padded[part] << bit
    return codes


def cell_areas(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Area of the surface within a cell of each code, mm²; of a slice its length, mm.

    Args:
        spacing_mm: Distance between voxel centres along two or three axes, mm, > 0.

    Returns:
        (256,), of a slice (16,).
    """
    scale = np.asarray(spacing_mm, dtype=np.float64)
    if len(scale) == 2:
        return np.array([np.linalg.norm(vectors * scale, axis=1).sum() for vectors in _lines()])
    faces = scale.prod() / scale
    return np.array([np.linalg.norm(normals * faces, axis=1).sum() for normals in _normals()])


def _corners(n_axes: int) -> list[Corner]:
    return list(itertools.product((0, 1), repeat=n_axes))


def _inside(code: int, n_axes: int) -> dict[Corner, bool]:
    return {corner: bool(code >> bit & 1) for bit, corner in enumerate(_corners(n_axes))}


@cache
def _lines() -> tuple[NDArray[np.float64], ...]:
    """For each code of four pixels the vectors (n, 2) of its lines, in a cell of length 1."""
    square = [(0, 0), (0, 1), (1, 1), (1, 0)]
    found = []
    for code in range(16):
        joined = _joined(square, _inside(code, 2), of_inner=code.bit_count() <= 2)
        lines = [_middle(b) - _middle(a) for a, b in joined]
        found.append(np.array(lines).reshape(-1, 2))
    return tuple(found)


@cache
def _normals() -> tuple[NDArray[np.float64], ...]:
    """For each code the normals (n, 3) of its triangles, as long as their area, in a unit cell."""
    return tuple(_normals_of(code) for code in range(256))


def _normals_of(code: int) -> NDArray[np.float64]:
    # A cell and its complement have one surface; that of the side with fewer voxels is built.
    code = code if code.bit_count() <= 4 else 255 - code
    normals: list[NDArray[np.float64]] = []
    for polygon in _polygons(code):
        points = np.array([_middle(edge) for edge in polygon])
        normals += max(
            ([_normal(points, triangle) for triangle in one] for one in _divisions(len(polygon))),
            key=lambda one: round(sum(float(np.linalg.norm(normal)) for normal in one), 9),
        )
    return np.array(normals).reshape(-1, 3)


def _polygons(code: int) -> list[list[Edge]]:
    """The closed lines along which the surface cuts the faces of a cell, as edges that it cuts."""
    inside = _inside(code, 3)
    next_to: dict[Edge, list[Edge]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        square = [
            (*corner[:axis], side, *corner[axis:]) for corner in ((0, 0), (0, 1), (1, 1), (1, 0))
        ]
        for a, b in _joined(square, inside, of_inner=True):
            next_to.setdefault(a, []).append(b)
            next_to.setdefault(b, []).append(a)
    polygons = []
    left = set(next_to)
    while left:
        polygon = [min(left)]
        while len(polygon) == 1 or polygon[-1] != polygon[0]:
            left.discard(polygon[-1])
            before = polygon[-2] if len(polygon) > 1 else None
            there, back = next_to[polygon[-1]]
            polygon.append(back if there == before else there)
        polygons.append(polygon[:-1])
    return polygons


def _joined(
    square: Sequence[Corner], inside: dict[Corner, bool], *, of_inner: bool
) -> list[tuple[Edge, Edge]]:
    """Pairs of edges of a square that a line joins; of four cuts those around one kind of corner.

    Args:
        square: Four corners, one after the other.
        inside: Whether each lies inside.
        of_inner: Whether lines part inner corners, or outer ones, where either is possible.
    """
    edges = [_edge(square[at], square[(at + 1) % 4]) for at in range(4)]
    cut = [edge for edge in edges if inside[edge[0]] != inside[edge[1]]]
    if len(cut) < 4:
        return [(cut[0], cut[1])] if cut else []
    return [(edges[at - 1], edges[at]) for at in range(4) if inside[square[at]] == of_inner]


def _edge(one: Corner, other: Corner) -> Edge:
    return (one, other) if one < other else (other, one)


def _middle(edge: Edge) -> NDArray[np.float64]:
    return (np.array(edge[0], dtype=np.float64) + np.array(edge[1])) / 2


def _normal(points: NDArray[np.float64], triangle: Triangle) -> NDArray[np.float64]:
    a, b, c = points[list(triangle)]
    return np.asarray(np.cross(b - a, c - a) / 2)


@cache
def _divisions(n_points: int) -> tuple[tuple[Triangle, ...], ...]:
    """All ways to divide a polygon into triangles, as indices of its points."""

    def between(first: int, last: int) -> list[tuple[Triangle, ...]]:
        if last - first < 2:
            return [()]
        return [
            (*left, *right, (first, middle, last))
            for middle in range(first + 1, last)
            for left in between(first, middle)
            for right in between(middle, last)
        ]

    return tuple(between(0, n_points - 1))
