"""Samplings: which voxels training patches are drawn around."""

from acinus.train.sampling.foreground import foreground_sites
from acinus.train.sampling.oversample import OversampleConfig, oversample_sites
from acinus.train.sampling.random import random_sites
from acinus.train.sampling.rarity import RarityConfig, rarity_sites
from acinus.train.sampling.region import region_sites
from acinus.train.sampling.sites import SAMPLINGS, PooledSites, SamplingConfig, Sites, Voxel

__all__ = [
    "SAMPLINGS",
    "OversampleConfig",
    "PooledSites",
    "RarityConfig",
    "SamplingConfig",
    "Sites",
    "Voxel",
    "foreground_sites",
    "oversample_sites",
    "random_sites",
    "rarity_sites",
    "region_sites",
]
