"""What must be known of a whole scan before a part of it is prepared.

Enters: the channels of a scan, slab by slab. Leaves: where they are not 0, and the intensities of
each. A part that was normalised by its own voxels would be darker or brighter than its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acinus.errors import DataError
from acinus.plan.settings import PrepareSettings
from acinus.prepare.normalise import Intensities, channel_normalisation
from acinus.scans.box import Slices
from acinus.scans.components import bounding_box
from acinus.scans.slabs import SlabReader, run_length


@dataclass(frozen=True)
class WholeScan:
    """What a part of a scan takes from the whole.

    Attributes:
        region: (Z, Y, X) voxels that are prepared: all, or those in the box that is not 0.
        intensities: Of each channel in that region; None where its normalisation needs none.
    """

    region: Slices
    intensities: tuple[Intensities | None, ...]


def look_over(sources: Sequence[SlabReader | None], settings: PrepareSettings) -> WholeScan:
    """Read a scan once, or twice where its border of zeros is cut away.

    Args:
        sources: One a channel, on one grid; None is missing.
        settings: Resolved settings of a plan.

    Raises:
        DataError: A channel lacks planes.
        PlanError: The settings are not resolved for these channels.
    """
    there = [one for one in sources if one is not None]
    z, y, x = there[0].grid.shape
    region: Slices = (slice(0, z), slice(0, y), slice(0, x))
    if settings.crop_to_nonzero:
        region = _nonzero(there) or region
    schemes = channel_normalisation(settings, len(sources))
    return WholeScan(
        region,
        tuple(
            _intensities(one, region)
            if one is not None and how in ("z_score", "min_max", "rescale_0_1")
            else None
            for one, (how, _) in zip(sources, schemes, strict=True)
        ),
    )


def _nonzero(sources: Sequence[SlabReader]) -> Slices | None:
    """The box of what is not 0 in any channel; None if nothing is."""
    found: list[slice] | None = None
    for source in sources:
        for start, planes in source.slabs(run_length(source.grid)):
            part = bounding_box(planes != 0)
            if part is None:
                continue
            here = [slice(part[0].start + start, part[0].stop + start), *part[1:]]
            found = [
                slice(min(a.start, b.start), max(a.stop, b.stop))
                for a, b in zip(found or here, here, strict=True)
            ]
    if found is None:
        return None
    z, y, x = found
    return z, y, x


def _intensities(source: SlabReader, region: Slices) -> Intensities:
    """Mean and deviation from those of slabs, joined as Chan et al. 1983 do."""
    n, mean, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
    z = region[0]
    for start, planes in source.slabs(run_length(source.grid), z.stop):
        part = planes[max(0, z.start - start) : max(0, z.stop - start), region[1], region[2]]
        if not part.size:
            continue
        values = part.astype(np.float64)
        own, apart = float(values.mean()), float(values.mean()) - mean
        values -= own
        squares += float(np.vdot(values, values)) + apart**2 * n * part.size / (n + part.size)
        mean += apart * part.size / (n + part.size)
        n += part.size
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    if not n:
        raise DataError("a channel must have voxels; none could be read.")
    return Intensities(low, high, mean, math.sqrt(squares / n))
