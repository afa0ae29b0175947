"""Structures that are brighter or darker than any that was labelled.

Enters: patches, their labels and shifts. Leaves: the same patches, the voxels of each
structure shifted. A fatty gland, or one with contrast agent, differs from its neighbours by
more than few cases show; changes of the whole patch do not make one. Shifting only where a
case's own mean lies apart was rejected: it needs the means of all cases.

Source: intensities drawn for each label are those of Billot et al. 2023, Med Image Anal
86:102789 (SynthSeg); here they are added to the real image.
"""

from __future__ import annotations

import numpy as np
import torch

from acinus.networks.device import upload
from acinus.train.augment.changes import Changes

N_VALUES = 256
"""Values of a label map; those without a shift, as that of ignored voxels, stay."""


def shift_structures(image: torch.Tensor, label: torch.Tensor, changes: Changes) -> None:
    """Shift the structures of patches in place, within the range of each patch and channel.

    Args:
        image: (N, C, S, R, Q) float32; channels beyond those of `changes` stay as they are.
        label: (N, S, R, Q) uint8.
        changes: One entry a patch.
    """
    chosen = np.flatnonzero((changes.label_shifts != 0).any(axis=(1, 2)))
    if not len(chosen):
        return
    shifts = changes.label_shifts[chosen]
    table = np.zeros((*shifts.shape[:2], N_VALUES), dtype=np.float32)
    table[:, :, : shifts.shape[2]] = shifts
    rows = upload(chosen, image.device)
    part = image[:, : shifts.shape[1]][rows]
    voxels = part.flatten(2)
    low, high = voxels.amin(dim=2, keepdim=True), voxels.amax(dim=2, keepdim=True)
    values = label[rows].flatten(1).long()[:, None].expand(voxels.shape)
    shifted = upload(table, image.device).gather(2, values).add_(voxels)
    shifted = torch.minimum(torch.maximum(shifted, low), high)
    image[:, : shifts.shape[1]].index_copy_(0, rows, shifted.view_as(part))
