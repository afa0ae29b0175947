"""Fingerprints whose structures are placed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from acinus.plan import Fingerprint
from acinus.plan.fingerprint import CaseFacts
from made_plan import made_fingerprint

Triple = tuple[float, float, float]


def case_facts(
    shape_vox: tuple[int, int, int] = (32, 64, 64),
    spacing_mm: Triple = (1.0, 1.0, 1.0),
    *,
    extent_mm: Mapping[str, Triple] | None = None,
    volume_ml: Mapping[str, float] | None = None,
    centroid_mm: Mapping[str, Triple] | None = None,
) -> CaseFacts:
    """Facts of a case, (Z, Y, X) throughout; labels that are not named are absent."""
    volumes = dict(volume_ml or {})
    return CaseFacts(
        shape_vox=shape_vox,
        spacing_mm=spacing_mm,
        cropped_vox=shape_vox,
        cropped_share=1.0,
        intensity={},
        volume_ml=volumes,
        voxels={name: round(ml * 1000 / math.prod(spacing_mm)) for name, ml in volumes.items()},
        extent_mm=dict(extent_mm or {}),
        centroid_mm=dict(centroid_mm or {}),
        slices_with_foreground=2,
        foreground_box=None,
    )


def fingerprint_of(cases: Sequence[CaseFacts], **changes: Any) -> Fingerprint:
    """A fingerprint of these cases."""
    named = {f"p{number:02d}": case for number, case in enumerate(cases)}
    return made_fingerprint().model_copy(update={"cases": named, **changes})
