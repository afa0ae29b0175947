"""Sampling (i) of the lacrimal MRI study: every position alike (its control)."""

from __future__ import annotations

from collections.abc import Mapping

from acinus.train.sampling.sites import SAMPLINGS, NoSites, SamplingConfig, Sites
from acinus.types import Array


@SAMPLINGS.register("random", config=SamplingConfig)
def random_sites(label: Array, voxels: Mapping[int, Array]) -> Sites:
    """Patches anywhere, without regard to the labels (the study's control)."""
    return NoSites()
