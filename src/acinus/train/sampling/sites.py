"""Where patches are drawn from: the interface that every sampling fulfils.

Enters: the prepared label map of one training case and a sample of the voxels of
each label. Leaves: `Sites`, which draw voxels and say whether a voxel belongs to
them. A weight map per voxel was rejected: it costs memory per case and hides which
set a patch came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

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


@runtime_checkable
class PooledSites(Sites, Protocol):
    """Sites that depend on what all training cases show."""

    def pool(self, everyone: Sequence[Any], config: SamplingConfig) -> float:
        """Learn from the sites of all cases, this one among them.

        Returns:
            How often this case is drawn for a patch of the preferred set, in proportion to
            the other cases; 0 if it has nothing to prefer.
        """
        ...


class SamplingConfig(Settings):
    """Settings that all samplings share."""

    by_region: ClassVar[bool] = True
    """Whether the voxels of class regions are pooled, as nnU-Net draws them."""

    share: float = Field(0.5, ge=0, le=1)
    """Share of the patches drawn from the preferred set; the others from outside of it."""
    fixed: bool = False
    """True: nnU-Net's way: of every batch the last batch - round(batch · (1 - share)) patches
    are centred on a preferred voxel, the others lie anywhere. False: drawn patch by patch, the
    preferred voxel anywhere in the patch but near its border."""


class Sampling(Protocol):
    """A way to prefer voxels: from a label map to the preferred set."""

    __doc__: str | None

    def __call__(self, label: Array, voxels: Mapping[int, Array]) -> Sites:
        """Preferred voxels of one case.

        Args:
            label: (S, R, Q) uint8, often a memory map: read what is needed of it.
            voxels: Label value to (n, 3) int32 indices of some or all of its voxels, as
                `acinus.prepare.Store.sites` gives them.
        """
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
