"""Patches: drawn by a sampling, cut from the prepared arrays, stacked as a batch.

Enters: a store, the training cases and a random generator. Leaves: images and
labels with a rim of context, so that rotation and scaling find real voxels at
the border, on the device that trains. Where the prepared cases fit into half of
the memory that training leaves free they are loaded once; otherwise they are read
from memory maps. The generator of a step depends on nothing but seed, fold and step: a run
that goes on after a kill draws what it would have drawn.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acinus.errors import DataError
from acinus.networks.device import free_bytes
from acinus.plan import Choice
from acinus.prepare import Store
from acinus.train.sampling import SAMPLINGS, PooledSites, SamplingConfig, Sites, Voxel
from acinus.types import IGNORE, Array

RIM = 0.125
"""Context on each side of a patch that is cut along, as share of the patch."""

BORDER = 0.125
"""A preferred voxel lies at least this share of the patch away from its edge."""

MAX_DRAWS = 20
"""Draws of a background voxel before one of the preferred set is accepted."""

RESIDENT_SHARE = 0.5
"""Share of what a training leaves free of the memory of a GPU that prepared cases may take."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches with their rim.

    Attributes:
        image: (N, C, S, R, Q) float32 including the rim; S is 1 for slices.
        label: (N, S, R, Q) uint8 including the rim.
        rim_vox: (S, R, Q) voxels of rim on each side.
        cases: Case of each patch.
        annotated: (N, K) bool, whether label k + 1 was annotated in the case; None: all were.
    """

    image: torch.Tensor
    label: torch.Tensor
    rim_vox: tuple[int, int, int]
    cases: tuple[str, ...]
    annotated: torch.Tensor | None = None

    @property
    def has_foreground(self) -> Array:
        """(N,) bool, whether the patch proper contains a label."""
        inner = tuple(
            slice(rim, size - rim)
            for rim, size in zip(self.rim_vox, self.label.shape[1:], strict=True)
        )
        label = self.label[(slice(None), *inner)]
        found: Array = ((label > 0) & (label != IGNORE)).flatten(1).any(dim=1).cpu().numpy()
        return found


@dataclass(frozen=True, eq=False)
class _Source:
    case_id: str
    image: torch.Tensor
    label: torch.Tensor
    sites: Sites
    background: Array | None
    """(n, 3) background voxels, where the reference is silent on others; None: all may be."""
    previous: torch.Tensor | None
    """(S, R, Q) labels that the low resolution of a cascade found."""

    @property
    def shape(self) -> tuple[int, int, int]:
        slices, rows, columns = self.label.shape
        return slices, rows, columns


class PatchSource:
    """Draws batches from the prepared cases.

    Args:
        store: Prepared cases.
        case_ids: Cases to draw from.
        sampling: Which sampling, with its settings.
        patch_vox: (R, Q) patch of slices or (S, R, Q) patch of volumes, without rim.
        device: Where batches are made.
        annotated: Case to one flag a label, whether it was annotated; a case not in it has all.
        reach: Whether rotation or scaling may look beyond the patch, so that a rim is cut.
        kept_free: Bytes of the device that the training itself will need.
        previous_values: Labels that a cascade shows as channels of the image, in this order.
        regions: Values of each class region: one of these is drawn, then a voxel of it, as nnU-Net
            does; None: one of the labels.

    Raises:
        DataError: There is no case.
    """

    def __init__(
        self,
        store: Store,
        case_ids: Sequence[str],
        sampling: Choice,
        patch_vox: Sequence[int],
        *,
        device: torch.device | str = "cpu",
        annotated: Mapping[str, Sequence[bool]] | None = None,
        reach: bool = True,
        kept_free: float = 0.0,
        previous_values: Sequence[int] = (),
        regions: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        if not case_ids:
            raise DataError("at least one case must be there to draw patches from; none is.")
        entry = SAMPLINGS[sampling.name]
        config = SAMPLINGS.configure(sampling.name, sampling.config)
        self.config = config if isinstance(config, SamplingConfig) else SamplingConfig()
        slices, rows, columns = (1, *patch_vox)[-3:]
        self.patch_vox = (slices, rows, columns)
        self.n_dims = len(patch_vox)
        self.previous_values = tuple(previous_values)
        self.device = torch.device(device)
        rims = [math.ceil(RIM * size) if reach and size > 1 else 0 for size in self.patch_vox]
        self.rim_vox = (rims[0], rims[1], rims[2])
        self.annotated = {case: torch.tensor(flags) for case, flags in (annotated or {}).items()}
        where = self._home(store, case_ids, kept_free)
        self._sources = []
        pooled = regions if self.config.by_region else None
        for case_id in case_ids:
            label, voxels = store.label(case_id), store.sites(case_id)
            previous = store.previous(case_id) if previous_values else None
            self._sources.append(
                _Source(
                    case_id,
                    _tensor(store.image(case_id)).to(where),
                    _tensor(label).to(where),
                    entry.factory(label, _of_regions(voxels, pooled)),
                    voxels.get(0),
                    None if previous is None else _tensor(previous).to(where),
                )
            )
        self._weights = self._case_weights()
        self._preferred_weights = self._pooled_weights()

    @property
    def is_resident(self) -> bool:
        """Whether all cases stay in the memory of the device."""
        return self._sources[0].image.device.type == self.device.type

    def batch(self, n: int, rng: np.random.Generator, places: slice = slice(None)) -> Batch:
        """`n` patches with their rim, or those at some places of these `n`.

        All `n` are drawn, so that several processes that cut a part each make the batch that one
        would make by itself.
        """
        size = tuple(
            patch + 2 * rim for patch, rim in zip(self.patch_vox, self.rim_vox, strict=True)
        )
        where = self._sources[0].image.device
        drawn = [
            (source, self._start(source, preferred, rng))
            for source, preferred in self._drawn_cases(n, rng)
        ][places]
        n_channels = self._sources[0].image.shape[0] + len(self.previous_values)
        image = torch.zeros(len(drawn), n_channels, *size, device=where)
        label = torch.zeros(len(drawn), *size, dtype=torch.uint8, device=where)
        cases = []
        for place, (source, start) in enumerate(drawn):
            self._cut(source, start, image[place], label[place])
            cases.append(source.case_id)
        annotated = None
        if self.annotated:
            every = torch.ones_like(next(iter(self.annotated.values())))
            rows = [self.annotated.get(case, every) for case in cases]
            annotated = torch.stack(rows).to(self.device)
        return Batch(
            image.to(self.device), label.to(self.device), self.rim_vox, tuple(cases), annotated
        )

    def share_with_foreground(self, n: int, rng: np.random.Generator) -> float:
        """Share of `n` drawn patches that contain at least one labelled voxel."""
        hits = 0
        for source, preferred in self._drawn_cases(n, rng):
            start = self._start(source, preferred, rng)
            inner = tuple(
                slice(max(first, 0), max(first + size, 0))
                for first, size in zip(start, self.patch_vox, strict=True)
            )
            seen = source.label[inner]
            hits += bool(((seen > 0) & (seen != IGNORE)).any())
        return hits / n

    def _home(self, store: Store, case_ids: Sequence[str], kept_free: float) -> torch.device:
        """Where the prepared cases stay: on the device if they fit there, else where they are."""
        if self.device.type != "cuda":
            return torch.device("cpu")
        n_bytes = sum(store.image(case).nbytes + store.label(case).nbytes for case in case_ids)
        fits = n_bytes < RESIDENT_SHARE * (free_bytes(self.device) - kept_free)
        return self.device if fits else torch.device("cpu")

    def _case_weights(self) -> Array:
        """Slices come from all slices alike; volumes, and nnU-Net's slices, from all cases."""
        if self.n_dims == 3 or self.config.fixed:
            return np.full(len(self._sources), 1 / len(self._sources))
        n_slices = np.array([source.shape[0] for source in self._sources], dtype=float)
        weights: Array = n_slices / n_slices.sum()
        return weights

    def _pooled_weights(self) -> Array | None:
        """Chances of the cases for patches of the preferred set, where the sampling says them."""
        pooled = [one.sites for one in self._sources if isinstance(one.sites, PooledSites)]
        weights = np.array([sites.pool(pooled, self.config) for sites in pooled])
        return weights / weights.sum() if weights.sum() > 0 else None

    def _drawn_cases(self, n: int, rng: np.random.Generator) -> Iterator[tuple[_Source, bool]]:
        """Case of each patch, and whether the patch is of the preferred set."""
        drawn = rng.choice(len(self._sources), size=n, p=self._weights)
        for place, index in enumerate(drawn):
            preferred = self._is_preferred(place, n, rng)
            if preferred and self._preferred_weights is not None:
                index = rng.choice(len(self._sources), p=self._preferred_weights)
            yield self._sources[index], preferred

    def _is_preferred(self, place: int, n: int, rng: np.random.Generator) -> bool:
        """Whether the patch at a place of the batch is drawn from the preferred set."""
        if self.config.fixed:
            return place >= round(n * (1 - self.config.share))
        return bool(rng.random() < self.config.share)

    def _start(self, source: _Source, preferred: bool, rng: np.random.Generator) -> Voxel:
        """First voxel of the patch; negative where the image is smaller than the patch."""
        voxel = source.sites.draw(rng) if preferred else None
        if voxel is None and source.background is not None:
            voxel = self._known_background(source, source.background, rng)
        if self.config.fixed:
            return self._centred_start(source, voxel, rng)
        if voxel is None:
            voxel = self._background(source, rng)
        starts = []
        for position, size, patch in zip(voxel, source.shape, self.patch_vox, strict=True):
            if size <= patch:
                starts.append(-((patch - size) // 2))
                continue
            border = int(BORDER * patch)
            offset = int(rng.integers(border, max(patch - border, border + 1)))
            starts.append(min(max(position - offset, 0), size - patch))
        return starts[0], starts[1], starts[2]

    def _centred_start(
        self, source: _Source, voxel: Voxel | None, rng: np.random.Generator
    ) -> Voxel:
        """nnU-Net's: anywhere within the image, or centred on a voxel, not before the image."""
        starts = []
        for axis, (size, patch) in enumerate(zip(source.shape, self.patch_vox, strict=True)):
            lowest = -((patch - size) // 2) if size < patch else 0
            if voxel is not None:
                starts.append(max(lowest, voxel[axis] - patch // 2))
            else:
                starts.append(int(rng.integers(lowest, max(size - patch, lowest) + 1)))
        return starts[0], starts[1], starts[2]

    def _known_background(self, source: _Source, voxels: Array, rng: np.random.Generator) -> Voxel:
        """A voxel that was drawn as background, if possible outside the preferred set."""
        for _ in range(MAX_DRAWS):
            s, r, q = (int(index) for index in voxels[rng.integers(len(voxels))])
            if not source.sites.contains((s, r, q)):
                break
        return s, r, q

    def _background(self, source: _Source, rng: np.random.Generator) -> Voxel:
        voxel = _anywhere(source.shape, rng)
        for _ in range(MAX_DRAWS):
            if not source.sites.contains(voxel):
                break
            voxel = _anywhere(source.shape, rng)
        return voxel

    def _cut(self, source: _Source, start: Voxel, image: torch.Tensor, label: torch.Tensor) -> None:
        """Copy what of the patch with its rim lies in the image; the rest stays 0."""
        read, write = [], []
        for first, rim, size, limit in zip(
            start, self.rim_vox, label.shape, source.shape, strict=True
        ):
            begin = first - rim
            low, high = max(begin, 0), max(min(begin + size, limit), max(begin, 0))
            read.append(slice(low, high))
            write.append(slice(low - begin, high - begin))
        n_scanned = len(source.image)
        image[(slice(n_scanned), *write)] = source.image[(slice(None), *read)]
        label[tuple(write)] = source.label[tuple(read)]
        if source.previous is not None:
            found = source.previous[tuple(read)]
            for channel, value in enumerate(self.previous_values, start=n_scanned):
                image[channel][tuple(write)] = (found == value).to(image)


def _of_regions(
    voxels: Mapping[int, Array], regions: Sequence[tuple[int, ...]] | None
) -> Mapping[int, Array]:
    """Voxels by region, numbered from 1, where there are regions; the background as it is."""
    if regions is None:
        return voxels
    pooled = {0: voxels[0]} if 0 in voxels else {}
    for number, values in enumerate(regions, start=1):
        of_region = [voxels[value] for value in values if value in voxels]
        if of_region:
            pooled[number] = np.concatenate(of_region)
    return pooled


def _tensor(array: Array) -> torch.Tensor:
    """A tensor on the memory of an array; a read-only memory map is never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _anywhere(shape: tuple[int, ...], rng: np.random.Generator) -> Voxel:
    s, r, q = (int(rng.integers(size)) for size in shape)
    return s, r, q
