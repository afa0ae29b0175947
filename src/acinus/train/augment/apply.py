"""Doing: drawn changes, applied to a batch where it lies, on a CPU or a GPU.

Enters: a batch with its rim and `Changes`. Leaves: what the network and the
loss see. The result of a patch depends on nothing but the patch and its own
changes. Only small tables of numbers travel to the device, and nothing is
waited for.
"""

from __future__ import annotations

import torch

from acinus.train.augment.changes import Changes
from acinus.train.augment.channels import drop_channels
from acinus.train.augment.intensity import change_intensities
from acinus.train.augment.previous import change_previous
from acinus.train.augment.sides import SideSwap, swap_sides
from acinus.train.augment.spatial import change_space
from acinus.train.augment.structures import shift_structures
from acinus.train.patches import Batch


@torch.no_grad()
def apply_changes(
    batch: Batch, changes: Changes, swap: SideSwap, n_dims: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Changed patches without rim, on the device of the batch, which is left as it is.

    Args:
        batch: Patches with rim.
        changes: One entry a patch. Channels beyond theirs, which show what the low resolution
            of a cascade found, keep their intensities.
        swap: Labels that change places when the sagittal axis is flipped.
        n_dims: 2 for slices, whose axis S is left out of the result, 3 for volumes.

    Returns:
        Image (N, C, *patch) float32 and label (N, *patch) int64.
    """
    image, label = change_space(batch.image, batch.label, batch.rim_vox, changes)
    label = swap_sides(label, changes.flips, swap)
    empty = {channel: image[:, channel] == 0 for channel in changes.keep_zeros}
    shift_structures(image, label, changes)
    change_intensities(image, changes)
    for channel, voxels in empty.items():
        image[:, channel].masked_fill_(voxels, 0.0)
    drop_channels(image, changes)
    if swap.previous:
        change_previous(image[:, -len(swap.previous) :], changes, swap)
    if n_dims == 2:
        image, label = image[:, :, 0], label[:, 0]
    return image, label.long()
