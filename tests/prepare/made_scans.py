"""Scans made by hand, in every order of their axes, and a network that is certain of the label."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from acinus.prepare import PreparedCase, restore
from acinus.scans import Volume

ORIENTATIONS = [
    (order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)
]
"""All 48 ways to store three axes."""

OBLIQUE = Rotation.from_euler("xyz", (12, -9, 17), degrees=True).as_matrix()

FINEST_AND_COARSE = {"Z": (3.0, 0.7, 0.5), "Y": (0.5, 3.0, 0.7), "X": (0.7, 0.5, 3.0)}
"""Slice axis to (Z, Y, X) mm of an acquisition in slices along it."""


def glands(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Canonical (Z, Y, X) labels: a right ball 1, a left ellipsoid 2; 33 mm along each axis."""
    shape = [round(33 / step) for step in spacing_mm]
    z, y, x = (
        (np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing_mm, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    label = np.zeros(shape, np.uint8)
    label[(z - 1) ** 2 + (y - 3) ** 2 + (x - 8) ** 2 <= 7.0**2] = 1
    label[((z + 2) / 8) ** 2 + ((y + 2) / 9) ** 2 + ((x + 8) / 6) ** 2 <= 1] = 2
    return label


def stored(
    canonical_zyx: np.ndarray,
    spacing_mm: tuple[float, float, float],
    order: tuple[int, ...] = (0, 1, 2),
    flips: tuple[bool, ...] = (False, False, False),
    turned: np.ndarray | None = None,
) -> Volume:
    """The same scan with its axes stored in another order; axis by axis, by hand."""
    directions = np.diag(spacing_mm)  # row: array axis Z, Y, X; column: world S, A, R
    array, origin = canonical_zyx, np.array([-40.0, 25.0, 7.0])
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis)
            origin = origin + directions[axis] * (array.shape[axis] - 1)
            directions = directions * np.where(np.arange(3) == axis, -1, 1)[:, None]
    array, directions = np.transpose(array, order), directions[list(order)]
    affine = np.eye(4)
    affine[:3, :3] = directions[::-1, ::-1].T
    affine[:3, 3] = origin[::-1]
    if turned is not None:
        affine[:3, :] = turned @ affine[:3, :]
    return Volume(array, affine)


def most_probable(probs: torch.Tensor) -> torch.Tensor:
    return probs.argmax(dim=1).to(torch.uint8)


def restored(case: PreparedCase, n_classes: int = 3) -> Volume:
    """The prepared label, as if a network had been certain of it, on the native grid."""
    assert case.label is not None
    probs = torch.nn.functional.one_hot(torch.from_numpy(case.label).long(), n_classes)
    return restore([probs.permute(3, 0, 1, 2).float()], case.geometry, most_probable)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))
