"""nnU-Net's foreground oversampling: a fixed share of every batch is centred on a label.

Source: Isensee et al. 2021, Nat Methods 18:203-211, and nnU-Net 2.8.1: of a
batch of n the last n - round(n · (1 - share)) patches; a label is drawn first,
then one of its voxels.
"""

from __future__ import annotations

from collections.abc import Mapping

from acinus.train.sampling.foreground import foreground_sites
from acinus.train.sampling.sites import SAMPLINGS, SamplingConfig, Sites
from acinus.types import Array


class OversampleConfig(SamplingConfig):
    """nnU-Net's share."""

    share: float = 0.33
    fixed: bool = True


@SAMPLINGS.register("oversample", config=OversampleConfig)
def oversample_sites(label: Array, voxels: Mapping[int, Array]) -> Sites:
    """A third of every batch centred on a label, the rest anywhere (nnU-Net)."""
    return foreground_sites(label, voxels)
