"""Where patches are drawn from: the interface that every sampling fulfils.

Enters: the prepared label map of one training case. Leaves: `Sites`, which
draw voxels and say whether a voxel belongs to them. A weight map per voxel was
rejected: it costs memory per case and hides which set a patch came from.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from pydantic import Field

from acinus.config import Settings
from acinus.registry import Registry
from acinus.types import Array

Voxel = tuple[int, int, int]
"""(slice, row, column) index on the prepared grid."""


class Sites(Protocol):
    """The set of voxels of one case that a sampling prefers."""

    def draw(self, rng: np.random.Generator) -> Voxel | None:
        """A random voxel of the set; None if the set is empty."""
        ...

    def contains(self, voxel: Voxel) -> bool:
        """Whether a voxel belongs to the set."""
        ...


class SamplingConfig(Settings):
    """Settings that all samplings share."""

    share: float = Field(0.5, ge=0, le=1)
    """Share of the patches drawn from the preferred set; the others from outside of it."""
    fixed: bool = False
    """True: nnU-Net's way: of every batch the last batch - round(batch · (1 - share)) patches
    are centred on a preferred voxel, the others lie anywhere. False: drawn patch by patch, the
    preferred voxel anywhere in the patch but near its border."""


class Sampling(Protocol):
    """A way to prefer voxels: from a label map to the preferred set."""

    __doc__: str | None

    def __call__(self, label: Array) -> Sites:
        """Preferred voxels of one case; `label` is (S, R, Q) integer."""
        ...


SAMPLINGS: Registry[Sampling] = Registry("sampling")


class NoSites:
    """The empty set: every draw falls back to the whole image."""

    def draw(self, rng: np.random.Generator) -> Voxel | None:
        """Nothing to prefer."""
        return None

    def contains(self, voxel: Voxel) -> bool:
        """No voxel belongs to the empty set."""
        return False
