"""Modality dropout: channels that are taken away in training, as if a case lacked them.

Enters: patches of several channels. Leaves: the same patches, changed in place, with some
channels zero, which is how a case that lacks a channel is prepared. A network that has seen this
can segment a scan whose sequences are not all there. Taking all channels away was rejected: there
is nothing to learn from an empty patch; so one of those that a case has always stays.

Source: Neverova et al. 2016, IEEE TPAMI 38(8):1692-1706 (ModDrop).
"""

from __future__ import annotations

import numpy as np
import torch

from acinus.networks.device import upload
from acinus.train.augment.changes import Changes


def drop_channels(image: torch.Tensor, changes: Changes) -> None:
    """Set the absent channels of each patch to zero, in place.

    A channel is there if a voxel of the patch is not zero. Where every channel that is there
    would go, the one of them with the lowest rank stays.

    Args:
        image: (N, C, S, R, Q); channels beyond those of `changes` stay as they are.
        changes: One entry a patch and channel.
    """
    chosen = changes.absent.any(axis=1)
    if not chosen.any():
        return
    n_channels = changes.absent.shape[1]
    where = upload(np.flatnonzero(chosen), image.device)
    part = image[where, :n_channels]
    absent = upload(changes.absent[chosen], image.device)
    ranks = upload(changes.absent_ranks[chosen], image.device)
    is_there = (part != 0).flatten(2).any(dim=2)
    spared = ranks.masked_fill(~is_there, n_channels).argmin(dim=1, keepdim=True)
    loses_all = ~(is_there & ~absent).any(dim=1, keepdim=True)
    stays = torch.zeros_like(absent).scatter_(1, spared, loses_all)
    gone = absent & ~stays
    image[where, :n_channels] = part.masked_fill(gone[:, :, None, None, None], 0.0)
