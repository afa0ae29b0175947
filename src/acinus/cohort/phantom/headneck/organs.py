"""What one head and neck holds: organs as signed distances in head coordinates.

Enters: real maps or formulas. Leaves: a frozen `Anatomy`, whichever of the two it
came from, so that one painter builds skull, skin and everything else around both.
Head coordinates are (right, anterior, superior) mm with the origin midway between
the globes, as in the orbit phantom.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.ndimage import map_coordinates

from acinus.cohort.phantom.anatomy import Head
from acinus.cohort.phantom.shapes import Triple
from acinus.types import Affine, Array

LABELS = MappingProxyType(
    {
        "lacrimal_right": 1,
        "lacrimal_left": 2,
        "parotid_right": 3,
        "parotid_left": 4,
        "submandibular_right": 5,
        "submandibular_left": 6,
    }
)

GLANDS = ("lacrimal", "parotid", "submandibular")

MIRROR_PAIRS = tuple((f"{g}_right", f"{g}_left") for g in GLANDS)


def labels_of(glands: Sequence[str]) -> dict[str, int]:
    """Labels of some kinds of glands, numbered from 1 in the order of `LABELS`."""
    names = [name for name in LABELS if name.rsplit("_", 1)[0] in glands]
    return {name: value for value, name in enumerate(names, start=1)}


FAR_MM = 40.0
"""Distance that stands for all that is farther from an organ, mm."""


@dataclass(frozen=True, eq=False)
class Organ:
    """A signed distance known on a lattice of voxels, `FAR_MM` outside of it.

    Attributes:
        values: (Z, Y, X) float32, mm, negative inside.
        index_from_head: (4, 4), head coordinates to (x, y, z) indices of `values`.
    """

    values: Array
    index_from_head: Affine

    def __call__(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance at points of the head, mm."""
        m = self.index_from_head
        at = [m[a, 0] * x + m[a, 1] * y + m[a, 2] * z + m[a, 3] for a in (2, 1, 0)]
        near = np.ones(np.shape(x), bool)
        for axis, n in enumerate(self.values.shape):
            near &= (at[axis] >= 0) & (at[axis] <= n - 1)
        out = np.full(np.shape(x), FAR_MM, np.float32)
        if near.any():
            points = [p[near] for p in at]
            out[near] = map_coordinates(self.values, points, order=1, output=np.float32)
        return out

    @property
    def box(self) -> Array:
        """(2, 3) lowest and highest (right, anterior, superior) that the lattice reaches, mm."""
        last = np.array(self.values.shape[::-1]) - 1.0
        corners = np.array(np.meshgrid(*[(0.0, 1.0)] * 3)).reshape(3, -1).T * last
        head_from_index = np.linalg.inv(self.index_from_head)
        placed = corners @ head_from_index[:3, :3].T + head_from_index[:3, 3]
        return np.stack([placed.min(axis=0), placed.max(axis=0)])


def sample_organ(
    distance: Callable[[Array, Array, Array], Array], low: Triple, high: Triple, step_mm: float
) -> Organ:
    """An organ from a formula, sampled on an upright lattice over a box.

    Args:
        distance: (right, anterior, superior) points, mm, to the signed distance, mm.
        low, high: Corners of the box, mm.
        step_mm: Pitch of the lattice.
    """
    x, y, z = (
        np.arange(a, b + step_mm, step_mm, dtype=np.float32) for a, b in zip(low, high, strict=True)
    )
    z_grid, y_grid, x_grid = np.meshgrid(z, y, x, indexing="ij")
    index = np.eye(4)
    index[:3, :3] /= step_mm
    index[:3, 3] = -np.array([x[0], y[0], z[0]]) / step_mm
    return Organ(np.asarray(distance(x_grid, y_grid, z_grid), np.float32), index)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One head and neck.

    Attributes:
        source: Whose organs these are: a case of the real maps, or ``"made"``.
        head: Proportions of what is painted around the organs.
        globes: Centres of the right and left globe.
        organs: Name (``brain``, ``brainstem``, ``canal``, ``cord``, ``mandible``,
            ``nerve_right`` ...) to its signed distance. An absent organ is painted
            from the head's proportions, or not at all.
        glands: Reading (``reference``, ``second``) to gland to signed distance;
            a gland that is missing in the reading is absent.
        spine: (N, 3) points (right, anterior, superior) of the spinal canal's
            middle, from superior to inferior.
        chin: Foremost point of the mandible.
        teeth_z: Height of the plane between upper and lower teeth.
    """

    source: str
    head: Head
    globes: tuple[Triple, Triple]
    organs: Mapping[str, Organ]
    glands: Mapping[str, Mapping[str, Organ]]
    spine: Array
    chin: Triple
    teeth_z: float

    def canal(self, z: Array) -> tuple[Array, Array]:
        """Right and anterior position of the spinal canal at heights, mm."""
        down = self.spine[np.argsort(self.spine[:, 2])]
        return (
            np.interp(z, down[:, 2], down[:, 0]).astype(np.float32),
            np.interp(z, down[:, 2], down[:, 1]).astype(np.float32),
        )
