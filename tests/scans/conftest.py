"""Affines in every orientation, for round trips through turning and through files."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

SPACING_XYZ = (0.7, 0.9, 3.3)


def _turned(order: tuple[int, ...], signs: tuple[int, ...], rotation: np.ndarray) -> np.ndarray:
    axes = np.zeros((3, 3))
    for voxel_axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        axes[world, voxel_axis] = sign * SPACING_XYZ[voxel_axis]
    affine = np.eye(4)
    affine[:3, :3] = rotation @ axes
    affine[:3, 3] = (-31.5, 12.25, 100.125)
    return affine


def _rotation(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    a, b, c = np.radians([x_deg, y_deg, z_deg])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@pytest.fixture(scope="session")
def affines() -> list[np.ndarray]:
    """All 48 orientations, straight and oblique: 96 affines."""
    turns = [np.eye(3), _rotation(-21, 13, 8)]
    return [
        _turned(order, signs, turn)
        for turn in turns
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]


@pytest.fixture(scope="session")
def sheared_affine() -> np.ndarray:
    """An LPS stack with the gantry tilted by 15 degrees."""
    affine = np.diag([-0.5, -0.5, 2.0, 1.0])
    affine[1, 2] = 2.0 * np.tan(np.radians(15))
    return affine
