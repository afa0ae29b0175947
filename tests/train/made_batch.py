"""Batches made by hand: noise or smooth images, with labels and a rim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from acinus.train.augment import Changes, SideSwap, apply_changes, no_changes
from acinus.train.patches import Batch

SLICES = (1, 24, 32)
VOLUME = (12, 16, 22)
PLAIN = SideSwap((0, 1), 2)


def made_batch(
    n: int = 3, patch: Sequence[int] = VOLUME, channels: int = 2, seed: int = 0, sigma: float = 0.0
) -> Batch:
    """Images of unit spread, noise or band-limited, with a quarter of a patch as rim.

    The label is 1 or 2 where the first channel is high, on either side of the middle column,
    3 where it is low, and 255 in the first rows of the patch proper.
    """
    rim = tuple(size // 4 if size > 1 else 0 for size in patch)
    cut = tuple(size + 2 * margin for size, margin in zip(patch, rim, strict=True))
    image = np.random.default_rng(seed).normal(size=(n, channels, *cut))
    if sigma:
        image = ndimage.gaussian_filter(image, (0, 0, sigma, sigma, sigma), mode="wrap")
    image = (image / image.std()).astype(np.float32)
    label = np.zeros((n, *cut), np.uint8)
    middle = cut[2] // 2
    label[..., :middle] = (image[:, 0] > 0.7)[..., :middle]
    label[..., middle:] = 2 * (image[:, 0] > 0.7)[..., middle:]
    label[image[:, 0] < -0.7] = 3
    label[:, :, rim[1] : rim[1] + 2] = 255
    return Batch(
        torch.from_numpy(image), torch.from_numpy(label), (rim[0], rim[1], rim[2]), ("a",) * n
    )


def inner(array: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The patch proper of images (N, C, S, R, Q) or labels (N, S, R, Q)."""
    cut = tuple(
        slice(rim, size - rim)
        for rim, size in zip(batch.rim_vox, batch.label.shape[1:], strict=True)
    )
    return array[(..., *cut)]


def changed(
    batch: Batch, swap: SideSwap = PLAIN, n_dims: int = 3, **fields: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch after nothing but the changes that are named."""
    return apply_changes(batch, changes_of(batch, **fields), swap, n_dims)


def changes_of(batch: Batch, **fields: Any) -> Changes:
    """No changes but those that are named; arrays are broadcast to their shape."""
    nothing = no_changes(*batch.image.shape[:2])
    stated = {name: getattr(nothing, name) for name in nothing.__dataclass_fields__}
    for name, value in fields.items():
        before = stated[name]
        stated[name] = (
            np.broadcast_to(np.asarray(value), before.shape).astype(before.dtype)
            if isinstance(before, np.ndarray)
            else value
        )
    return Changes(**stated)
