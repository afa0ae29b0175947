"""Patches: drawn by a sampling, cut from memory maps, stacked as a batch.

Enters: a store, the training cases and a random generator. Leaves: images and
labels with a rim of context, so that rotation and scaling find real voxels at
the border. The generator of a step depends on nothing but seed, fold and step:
a run that goes on after a kill draws what it would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acinus.errors import DataError
from acinus.plan import Choice
from acinus.prepare import Store
from acinus.train.sampling import SAMPLINGS, SamplingConfig, Sites, Voxel
from acinus.types import Array

RIM = 0.125
"""Context on each side of a patch that is cut along, as share of the patch."""

BORDER = 0.125
"""A preferred voxel lies at least this share of the patch away from its edge."""

MAX_DRAWS = 20
"""Draws of a background voxel before one of the preferred set is accepted."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches with their rim.

    Attributes:
        image: (N, C, R, Q) float32 including the rim.
        label: (N, R, Q) uint8 including the rim.
        rim_vox: (row, column) voxels of rim on each side.
        cases: Case of each patch.
        has_foreground: (N,) bool, whether the patch proper contains a label.
    """

    image: torch.Tensor
    label: torch.Tensor
    rim_vox: tuple[int, int]
    cases: tuple[str, ...]
    has_foreground: Array


@dataclass(frozen=True, eq=False)
class _Source:
    case_id: str
    image: Array
    label: Array
    sites: Sites


class PatchSource:
    """Draws batches from the prepared cases.

    Args:
        store: Prepared cases.
        case_ids: Cases to draw from.
        sampling: Which sampling, with its settings.
        patch_vox: (R, Q) patch without rim.
    """

    def __init__(
        self, store: Store, case_ids: Sequence[str], sampling: Choice, patch_vox: tuple[int, ...]
    ) -> None:
        if not case_ids:
            raise DataError("at least one case must be there to draw patches from; none is.")
        entry = SAMPLINGS[sampling.name]
        config = SAMPLINGS.configure(sampling.name, sampling.config)
        self.share = config.share if isinstance(config, SamplingConfig) else 0.5
        self.patch_vox = (patch_vox[0], patch_vox[1])
        self.rim_vox = (math.ceil(RIM * patch_vox[0]), math.ceil(RIM * patch_vox[1]))
        self._sources = []
        for case_id in case_ids:
            label = store.label(case_id)
            self._sources.append(
                _Source(case_id, store.image(case_id), label, entry.factory(np.asarray(label)))
            )
        n_slices = np.array([source.label.shape[0] for source in self._sources], dtype=float)
        self._weights = n_slices / n_slices.sum()

    def batch(self, n: int, rng: np.random.Generator) -> Batch:
        """`n` patches; cases are drawn in proportion to their number of slices."""
        images, labels, cases, foreground = [], [], [], []
        for index in rng.choice(len(self._sources), size=n, p=self._weights):
            source = self._sources[index]
            start = self._start(source, rng)
            image, label = self._cut(source, start)
            images.append(image)
            labels.append(label)
            cases.append(source.case_id)
            rows, columns = self.rim_vox
            foreground.append(
                bool(
                    label[
                        rows : rows + self.patch_vox[0], columns : columns + self.patch_vox[1]
                    ].any()
                )
            )
        return Batch(
            image=torch.from_numpy(np.stack(images)),
            label=torch.from_numpy(np.stack(labels)),
            rim_vox=self.rim_vox,
            cases=tuple(cases),
            has_foreground=np.array(foreground),
        )

    def share_with_foreground(self, n: int, rng: np.random.Generator) -> float:
        """Share of `n` drawn patches that contain at least one labelled voxel."""
        hits = 0
        for index in rng.choice(len(self._sources), size=n, p=self._weights):
            source = self._sources[index]
            s, r, q = self._start(source, rng)
            rows, columns = max(r, 0), max(q, 0)
            hits += bool(
                source.label[s, rows : r + self.patch_vox[0], columns : q + self.patch_vox[1]].any()
            )
        return hits / n

    def _start(self, source: _Source, rng: np.random.Generator) -> Voxel:
        """Slice, and first row and column of the patch; negative where the image is smaller."""
        target = self._target(source, rng)
        starts = []
        for position, size, patch in zip(
            target[1:], source.label.shape[1:], self.patch_vox, strict=True
        ):
            if size <= patch:
                starts.append(-((patch - size) // 2))
                continue
            border = int(BORDER * patch)
            offset = int(rng.integers(border, patch - border))
            starts.append(min(max(position - offset, 0), size - patch))
        return target[0], starts[0], starts[1]

    def _target(self, source: _Source, rng: np.random.Generator) -> Voxel:
        if rng.random() < self.share:
            voxel = source.sites.draw(rng)
            if voxel is not None:
                return voxel
        voxel = _anywhere(source.label.shape, rng)
        for _ in range(MAX_DRAWS):
            if not source.sites.contains(voxel):
                break
            voxel = _anywhere(source.label.shape, rng)
        return voxel

    def _cut(self, source: _Source, start: Voxel) -> tuple[Array, Array]:
        rows, columns = (
            patch + 2 * rim for patch, rim in zip(self.patch_vox, self.rim_vox, strict=True)
        )
        image = np.zeros((source.image.shape[0], rows, columns), dtype=np.float32)
        label = np.zeros((rows, columns), dtype=np.uint8)
        first = start[1] - self.rim_vox[0], start[2] - self.rim_vox[1]
        (r0, r1, tr), (q0, q1, tq) = (
            _overlap(begin, size, limit)
            for begin, size, limit in zip(
                first, (rows, columns), source.label.shape[1:], strict=True
            )
        )
        image[:, tr : tr + r1 - r0, tq : tq + q1 - q0] = source.image[:, start[0], r0:r1, q0:q1]
        label[tr : tr + r1 - r0, tq : tq + q1 - q0] = source.label[start[0], r0:r1, q0:q1]
        return image, label


def _anywhere(shape: tuple[int, ...], rng: np.random.Generator) -> Voxel:
    s, r, q = (int(rng.integers(size)) for size in shape)
    return s, r, q


def _overlap(begin: int, size: int, limit: int) -> tuple[int, int, int]:
    """First and last index within the image, and where they go in the patch."""
    first, last = max(begin, 0), min(begin + size, limit)
    return first, max(first, last), first - begin
