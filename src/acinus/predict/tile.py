"""Sliding window: overlapping tiles are predicted in batches and blended into one map.

Enters: an image (C, ...spatial) and a function from a batch of tiles to class maps
(probabilities or logits). Leaves: class maps (K, ...spatial) on the image's grid, whole or as
finished slabs along the first spatial axis, so that a large scan never holds the maps of all
its voxels.

A patch may have fewer axes than the image: a 2D patch (Y, X) on (C, Z, Y, X) predicts each
slice by itself, and tiles of the same place on many slices travel as one batch. Blending is
linear, so a `forward` that averages the folds of an ensemble gives the average of their maps.
Positions and weights of the tiles are those of nnU-Net, so that its models predict alike here.

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
"""Tiles (n, C, ...patch) to class maps (n, K, ...patch), K constant."""

Blend = Literal["constant", "gaussian"]
Padding = Literal["edge", "minimum", "zero"]

GAUSSIAN_SIGMA = 1 / 8
"""Standard deviation of the Gaussian weights as a share of the patch (as in nnU-Net)."""

GAUSSIAN_PEAK = 10.0
"""Peak of nnU-Net's Gaussian before it is rounded to 16 bits, which makes its tails 0."""

SLAB_VALUES = 2**22
"""About as many values has a slab: large enough for speed, small beside the window's sums."""


@dataclass(frozen=True)
class Slab:
    """Finished class maps of a part of the image.

    Attributes:
        start: First index along the image's first spatial axis.
        maps: (K, n, ...spatial) float32, n consecutive planes from `start`.
    """

    start: int
    maps: Tensor


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
    """Class maps (K, ...spatial) float32 of the whole image, on its device.

    Args:
        forward: Predicts a batch of tiles; called without gradients.
        image: (C, ...spatial), (C, Y, X) or (C, Z, Y, X).
        patch_vox: Size of a tile along the last axes; one axis fewer than the image has means
            slice by slice.
        overlap: Share that neighbouring tiles have in common, in [0, 1), see `tile_positions`.
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
    return torch.cat([slab.maps for slab in slabs], dim=1)


def stream_tiled(
    forward: Forward,
    image: Tensor,
    patch_vox: Sequence[int],
    *,
    overlap: float = 0.25,
    blend: Blend = "gaussian",
    batch: int = 16,
    padding: Padding = "edge",
    device: torch.device | None = None,
) -> Iterator[Slab]:
    """Slabs of `predict_tiled` in order, without gap or overlap; arguments and errors as there.

    Held at once: slice by slice the maps of at most `batch` slices, otherwise those of one
    patch depth.

    Args:
        forward: As there.
        image: As there; it stays where it is.
        patch_vox: As there.
        overlap: As there.
        blend: As there.
        batch: As there.
        padding: As there.
        device: Where tiles are summed and slabs are given; None: where the image is.
    """
    patch = tuple(int(size) for size in patch_vox)
    _check(image, patch, overlap, blend, batch, padding)
    weights = tile_weights(patch, blend).to(device or image.device)
    window = _Window(forward, patch, overlap, weights, batch)
    if image.ndim - 1 == len(patch):
        rows = window.rows(image[None], padding)
        return (Slab(start, maps[0]) for start, maps in rows)
    return _slice_wise(window, image, batch, padding)


def tile_positions(size_vox: int, patch_vox: int, overlap: float) -> tuple[int, ...]:
    """First indices of the tiles along one axis: evenly spread from border to border.

    As few tiles as overlap by the share, spread evenly and rounded to whole voxels (halves to
    even), so that single neighbours may share one voxel less.

    Args:
        size_vox: Length of the axis, >= 1.
        patch_vox: Length of a tile, >= 1.
        overlap: Share of a tile that it has in common with the next, in [0, 1).

    Returns:
        Increasing indices; only 0 if one tile covers the axis.

    Source: nnU-Net, ``inference/sliding_window_prediction.py``.
    """
    if size_vox <= patch_vox:
        return (0,)
    span = size_vox - patch_vox
    # The tiny term keeps 10 * (1 - 0.9) from being read as 0.999…
    n_steps = math.ceil(span / max(1.0, patch_vox * (1 - overlap)) - 1e-9)
    return tuple(round(span / n_steps * index) for index in range(n_steps + 1))


def tile_weights(patch_vox: Sequence[int], blend: Blend) -> Tensor:
    """Weights (...patch) float32 of the voxels of a tile, in (0, 1].

    The Gaussian is nnU-Net's to the bit (but for its scale): centred on voxel n // 2, rounded
    to 16 bits, and where that gives 0 the smallest value that is not.
    """
    weights = torch.ones(tuple(patch_vox), dtype=torch.float64)
    if blend == "constant":
        return weights.float()
    for axis, size in enumerate(patch_vox):
        distance = torch.arange(size, dtype=torch.float64) - size // 2
        profile = torch.exp(-0.5 * (distance / (size * GAUSSIAN_SIGMA)) ** 2)
        shape = [size if other == axis else 1 for other in range(len(patch_vox))]
        weights = weights * profile.reshape(shape)
    rounded = (GAUSSIAN_PEAK * weights).half()
    smallest = rounded[rounded > 0].min()
    return torch.where(rounded == 0, smallest, rounded).float() / GAUSSIAN_PEAK


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
    axes = tuple(range(image.ndim - len(size_vox), image.ndim))
    grown_size = list(image.shape)
    places: list[slice] = []
    for axis, wanted in zip(axes, size_vox, strict=True):
        size = image.shape[axis]
        before = max(0, wanted - size) // 2
        places.append(slice(before, before + size))
        grown_size[axis] = max(wanted, size)
    if grown_size == list(image.shape):
        return image, tuple(places)
    if padding == "edge":
        grown = image
        for axis, place in zip(axes, places, strict=True):
            source = torch.arange(grown_size[axis], device=image.device) - place.start
            grown = grown.index_select(axis, source.clamp(0, image.shape[axis] - 1))
        return grown, tuple(places)
    floor = image.amin(dim=axes, keepdim=True) if padding == "minimum" else image.new_zeros(1)
    grown = floor.expand(grown_size).clone()
    cut_out(grown, places).copy_(image)
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
        sums: Tensor | None = None  # of the planes from `start` on that tiles reach
        mass = torch.zeros_like(share)
        for start, after in itertools.zip_longest(places[0], places[0][1:]):
            sums = self._add_row(sums, grown.narrow(2, start, depth), places[1:])
            mass += share
            n_done = depth if after is None else after - start
            first, last = max(start, inside[0].start), min(start + n_done, inside[0].stop)
            for plane, n_planes in _runs(first, last, sums[:, :, 0].numel()):
                done = sums.narrow(2, plane - start, n_planes) / mass.narrow(
                    0, plane - start, n_planes
                )
                yield plane - inside[0].start, cut_out(done, inside[1:])
            _drop_first(sums, 2, n_done)
            _drop_first(mass, 0, n_done)

    @torch.no_grad()
    def _add_row(
        self, sums: Tensor | None, band: Tensor, places: Sequence[tuple[int, ...]]
    ) -> Tensor:
        """The sums (N, K, depth, ...) with all weighted tiles of a band (N, C, depth, ...)."""
        corners = list(itertools.product(*places))
        for images, corner_group in _groups(band.shape[0], corners, self.batch):
            tiles = torch.cat([self._cut(band[images], corner) for corner in corner_group])
            maps = self.forward(tiles)
            if maps.shape[0] != tiles.shape[0] or maps.shape[2:] != tiles.shape[2:]:
                raise GridError(
                    f"forward must answer tiles {tuple(tiles.shape)} with class maps of the "
                    f"same number and size; got {tuple(maps.shape)}."
                )
            weighted = maps.to(self.weights.device, torch.float32) * self.weights
            if sums is None:
                sums = weighted.new_zeros(band.shape[0], maps.shape[1], *band.shape[2:])
            for corner, part in zip(corner_group, weighted.chunk(len(corner_group)), strict=True):
                self._cut(sums[images], corner).add_(part)
        if sums is None:
            raise DataError("an image to predict must have voxels; got none.")
        return sums

    def _cut(self, band: Tensor, corner: Sequence[int]) -> Tensor:
        """View of one tile place in (N, C, depth, ...)."""
        for axis, (start, size) in enumerate(zip(corner, self.patch[1:], strict=True), start=3):
            band = band.narrow(axis, start, size)
        return band


def _slice_wise(window: _Window, image: Tensor, batch: int, padding: Padding) -> Iterator[Slab]:
    for start in range(0, image.shape[1], batch):
        slices = image[:, start : start + batch].movedim(1, 0)
        planes = [maps for _, maps in window.rows(slices, padding)]
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


def _runs(first: int, last: int, plane_values: int) -> Iterator[tuple[int, int]]:
    """Start and length of the runs that planes `first` to `last` are given in."""
    n_planes = max(1, SLAB_VALUES // max(1, plane_values))
    for start in range(first, last, n_planes):
        yield start, min(n_planes, last - start)


def _drop_first(sums: Tensor, axis: int, n_planes: int) -> None:
    """Move the planes after the first `n_planes` to the front, in place; zeros behind them."""
    n_kept = sums.shape[axis] - n_planes
    for start in range(0, n_kept, n_planes):
        length = min(n_planes, n_kept - start)
        # Never more than n_planes at once: source and target must not overlap.
        sums.narrow(axis, start, length).copy_(sums.narrow(axis, start + n_planes, length))
    sums.narrow(axis, n_kept, n_planes).zero_()


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
