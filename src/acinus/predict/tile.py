"""Sliding window: overlapping tiles are predicted in batches and blended into one map.

Enters: an image (C, ...spatial) and a function from a batch of tiles to class probabilities.
Leaves: probabilities (K, ...spatial) on the image's grid, whole or as finished slabs along the
first spatial axis, so that a large scan never holds the probabilities of all its voxels.

A patch may have fewer axes than the image: a 2D patch (Y, X) on (C, Z, Y, X) predicts each
slice by itself, and tiles of the same place on many slices travel as one batch. Blending is
linear, so a `forward` that averages the folds of an ensemble gives the average of their maps.

Rejected: weighting by distance to the tile's border (no better than the Gaussian, and its sum
is uneven), and moving a last tile beyond the image, which invents voxels inside a scan that is
large enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from acinus.errors import ConfigError, DataError, GridError

Forward = Callable[[Tensor], Tensor]
"""Tiles (n, C, ...patch) to probabilities (n, K, ...patch), K constant."""

Blend = Literal["constant", "gaussian"]
Padding = Literal["edge", "minimum", "zero"]

GAUSSIAN_SIGMA = 1 / 8
"""Standard deviation of the Gaussian weights as a share of the patch (as in nnU-Net)."""


@dataclass(frozen=True)
class Slab:
    """Finished probabilities of a part of the image.

    Attributes:
        start: First index along the image's first spatial axis.
        probs: (K, n, ...spatial) float32, n consecutive planes from `start`.
    """

    start: int
    probs: Tensor


def predict_tiled(
    forward: Forward,
    image: Tensor,
    patch_vox: Sequence[int],
    *,
    overlap: float = 0.25,
    blend: Blend = "gaussian",
    batch: int = 16,
    padding: Padding = "edge",
) -> Tensor:
    """Probabilities (K, ...spatial) float32 of the whole image, on its device.

    Args:
        forward: Predicts a batch of tiles; called without gradients.
        image: (C, ...spatial), (C, Y, X) or (C, Z, Y, X).
        patch_vox: Size of a tile along the last axes; one axis fewer than the image has means
            slice by slice.
        overlap: Least share that neighbouring tiles have in common, in [0, 1).
        blend: Weights inside a tile: all equal, or a Gaussian with a standard deviation of an
            eighth of the patch.
        batch: Most tiles per call of `forward`.
        padding: What surrounds an image smaller than the patch, see `pad_to`.

    Raises:
        ConfigError: Overlap, blend, batch or the axes of the patch are not possible.
        DataError: The image has no voxel.
        GridError: `forward` answers with another size.
    """
    slabs = stream_tiled(
        forward, image, patch_vox, overlap=overlap, blend=blend, batch=batch, padding=padding
    )
    return torch.cat([slab.probs for slab in slabs], dim=1)


def stream_tiled(
    forward: Forward,
    image: Tensor,
    patch_vox: Sequence[int],
    *,
    overlap: float = 0.25,
    blend: Blend = "gaussian",
    batch: int = 16,
    padding: Padding = "edge",
) -> Iterator[Slab]:
    """Slabs of `predict_tiled` in order, without gap or overlap; arguments and errors as there.

    Held at once: slice by slice the probabilities of at most `batch` slices, otherwise those of
    two patch depths.
    """
    patch = tuple(int(size) for size in patch_vox)
    _check(image, patch, overlap, blend, batch, padding)
    window = _Window(forward, patch, overlap, tile_weights(patch, blend).to(image.device), batch)
    if image.ndim - 1 == len(patch):
        rows = window.rows(image[None], padding)
        return (Slab(start, probs[0]) for start, probs in rows)
    return _slice_wise(window, image, batch, padding)


def tile_positions(size_vox: int, patch_vox: int, overlap: float) -> tuple[int, ...]:
    """First indices of the tiles along one axis: evenly spread from border to border.

    Args:
        size_vox: Length of the axis, >= 1.
        patch_vox: Length of a tile, >= 1.
        overlap: Least share of a tile that it has in common with the next, in [0, 1).

    Returns:
        Increasing indices; only 0 if one tile covers the axis.
    """
    if size_vox <= patch_vox:
        return (0,)
    # The tiny term keeps 10 * (1 - 0.9) from being read as 0.999…
    step = max(1, math.floor(patch_vox * (1 - overlap) + 1e-9))
    span = size_vox - patch_vox
    n_steps = math.ceil(span / step)
    return tuple(index * span // n_steps for index in range(n_steps + 1))


def tile_weights(patch_vox: Sequence[int], blend: Blend) -> Tensor:
    """Weights (...patch) float32 of the voxels of a tile, in (0, 1], symmetric."""
    weights = torch.ones(tuple(patch_vox))
    if blend == "constant":
        return weights
    for axis, size in enumerate(patch_vox):
        distance = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
        profile = torch.exp(-0.5 * (distance / (size * GAUSSIAN_SIGMA)) ** 2)
        shape = [size if other == axis else 1 for other in range(len(patch_vox))]
        weights = weights * profile.float().reshape(shape)
    return weights / weights.max()


def pad_to(
    image: Tensor, size_vox: Sequence[int], padding: Padding = "edge"
) -> tuple[Tensor, tuple[slice, ...]]:
    """Image grown around its centre to at least a size, and where the old one lies in it.

    Args:
        image: (..., *spatial), the last axes are those of `size_vox`.
        size_vox: Least size of the last axes; an axis that is large enough stays.
        padding: ``edge`` repeats the outermost voxel; ``minimum`` is the least value of each
            image and channel (air on MRI and CT); ``zero`` is 0, which is the minimum after
            min-max rescaling and the mean after z-scores. Take what training took.

    Returns:
        The image (itself if it is large enough), and the slices of the last axes with which
        `cut_out` gives the old image back.
    """
    n_axes = len(size_vox)
    places: list[slice] = []
    grown = image
    for axis, wanted in zip(range(image.ndim - n_axes, image.ndim), size_vox, strict=True):
        size = image.shape[axis]
        before = max(0, wanted - size) // 2
        places.append(slice(before, before + size))
        if wanted > size:
            source = torch.arange(-before, wanted - before, device=image.device)
            grown = grown.index_select(axis, source.clamp(0, size - 1))
    if padding != "edge" and grown is not image:
        axes = tuple(range(image.ndim - n_axes, image.ndim))
        floor = image.amin(dim=axes, keepdim=True) if padding == "minimum" else image.new_zeros(1)
        filled = floor.expand(grown.shape).clone()
        cut_out(filled, places).copy_(image)
        grown = filled
    return grown, tuple(places)


def cut_out(tensor: Tensor, places: Sequence[slice]) -> Tensor:
    """View of the part of the last axes that `places`, from `pad_to`, name."""
    for axis, place in zip(range(tensor.ndim - len(places), tensor.ndim), places, strict=True):
        tensor = tensor.narrow(axis, place.start, place.stop - place.start)
    return tensor


@dataclass(frozen=True)
class _Window:
    """How a stack of images is tiled; `weights` has the shape of `patch`."""

    forward: Forward
    patch: tuple[int, ...]
    overlap: float
    weights: Tensor
    batch: int

    def rows(self, images: Tensor, padding: Padding) -> Iterator[tuple[int, Tensor]]:
        """Finished planes of images (N, C, ...spatial): first index and (N, K, n, ...spatial)."""
        grown, inside = pad_to(images, self.patch, padding)
        depth, size = self.patch[0], grown.shape[2:]
        places = [
            tile_positions(length, tile, self.overlap)
            for length, tile in zip(size, self.patch, strict=True)
        ]
        share = _plane_weights(self.weights, places[1:], size[1:])
        held: Tensor | None = None  # sums of the planes that later tiles still reach
        mass = torch.zeros_like(share)
        for start, after in itertools.zip_longest(places[0], places[0][1:]):
            total = self._row(grown.narrow(2, start, depth), places[1:])
            total, mass = (total if held is None else total + held), share + mass
            n_done = depth if after is None else after - start
            done = total[:, :, :n_done] / mass[:n_done]
            held, mass = _shift(total, 2, n_done), _shift(mass, 0, n_done)
            first, last = max(start, inside[0].start), min(start + n_done, inside[0].stop)
            if first < last:
                planes = done.narrow(2, first - start, last - first)
                yield first - inside[0].start, cut_out(planes, inside[1:])

    @torch.no_grad()
    def _row(self, band: Tensor, places: Sequence[tuple[int, ...]]) -> Tensor:
        """Weighted sums (N, K, depth, ...) of all tiles in a band (N, C, depth, ...)."""
        total: Tensor | None = None
        corners = list(itertools.product(*places))
        for images, corner_group in _groups(band.shape[0], corners, self.batch):
            tiles = torch.cat([self._cut(band[images], corner) for corner in corner_group])
            probs = self.forward(tiles)
            if probs.shape[0] != tiles.shape[0] or probs.shape[2:] != tiles.shape[2:]:
                raise GridError(
                    f"forward must answer tiles {tuple(tiles.shape)} with probabilities of the "
                    f"same number and size; got {tuple(probs.shape)}."
                )
            weighted = probs.to(band.device, torch.float32) * self.weights
            if total is None:
                total = weighted.new_zeros(band.shape[0], probs.shape[1], *band.shape[2:])
            for corner, part in zip(corner_group, weighted.chunk(len(corner_group)), strict=True):
                self._cut(total[images], corner).add_(part)
        if total is None:
            raise DataError("an image to predict must have voxels; got none.")
        return total

    def _cut(self, band: Tensor, corner: Sequence[int]) -> Tensor:
        """View of one tile place in (N, C, depth, ...)."""
        for axis, (start, size) in enumerate(zip(corner, self.patch[1:], strict=True), start=3):
            band = band.narrow(axis, start, size)
        return band


def _slice_wise(window: _Window, image: Tensor, batch: int, padding: Padding) -> Iterator[Slab]:
    for start in range(0, image.shape[1], batch):
        slices = image[:, start : start + batch].movedim(1, 0)
        planes = [probs for _, probs in window.rows(slices, padding)]
        yield Slab(start, torch.cat(planes, dim=2).movedim(0, 1))


def _groups(
    n_images: int, corners: Sequence[tuple[int, ...]], batch: int
) -> Iterator[tuple[slice, Sequence[tuple[int, ...]]]]:
    """Batches of tiles: as many images as fit, then as many places as fit."""
    n_together = min(n_images, batch)
    n_places = max(1, batch // n_together)
    for start in range(0, n_images, n_together):
        for first in range(0, len(corners), n_places):
            yield slice(start, start + n_together), corners[first : first + n_places]


def _plane_weights(
    weights: Tensor, places: Sequence[tuple[int, ...]], size_vox: Sequence[int]
) -> Tensor:
    """Sum (depth, ...size) of the weights of all tiles of one row."""
    total = weights.new_zeros(weights.shape[0], *size_vox)
    for corner in itertools.product(*places):
        where = [slice(s, s + n) for s, n in zip(corner, weights.shape[1:], strict=True)]
        total[:, *where] += weights
    return total


def _shift(sums: Tensor, axis: int, n_planes: int) -> Tensor:
    """The planes after the first `n_planes`, filled up with zeros behind."""
    kept = sums.narrow(axis, n_planes, sums.shape[axis] - n_planes)
    empty = list(sums.shape)
    empty[axis] = n_planes
    return torch.cat([kept, sums.new_zeros(empty)], dim=axis)


def _check(
    image: Tensor, patch: tuple[int, ...], overlap: float, blend: str, batch: int, padding: str
) -> None:
    if image.ndim - 1 - len(patch) not in (0, 1) or not patch:
        raise ConfigError(
            f"patch_vox must have as many axes as the image (C, ...spatial) or one fewer; got "
            f"patch {patch} and image {tuple(image.shape)}."
        )
    if image.numel() == 0:
        raise DataError(
            f"an image to predict must have voxels on every axis; got {tuple(image.shape)}."
        )
    if min(patch) < 1 or batch < 1:
        raise ConfigError(f"patch_vox and batch must be at least 1; got {patch} and {batch}.")
    if not 0 <= overlap < 1:
        raise ConfigError(f"overlap must be at least 0 and below 1; got {overlap}.")
    if blend not in ("constant", "gaussian"):
        raise ConfigError(f"blend must be 'constant' or 'gaussian'; got '{blend}'.")
    if padding not in ("edge", "minimum", "zero"):
        raise ConfigError(f"padding must be 'edge', 'minimum' or 'zero'; got '{padding}'.")
