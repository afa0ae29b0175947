"""Rules: facts to decisions, as pure functions.

Enters: a fingerprint and a recipe. Leaves: `Decision` values with the rule's
name and the facts used, so that a plan can answer "why 0.45 mm?".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from acinus.config import Settings
from acinus.plan.fingerprint import Fingerprint
from acinus.plan.settings import Provenance

PLANES = {"Z": ("Z", "Y", "X"), "Y": ("Y", "Z", "X"), "X": ("X", "Z", "Y")}
"""Slice axis to the anatomical axes of the prepared array (slice, row, column)."""

ANISOTROPY = 1.5
"""Coarsest over next coarsest spacing from which slices follow the acquisition."""

FEW_VOXELS = 50
"""A structure of fewer voxels at the planned spacing is warned about."""

THIN_VOXELS = 3.0
"""A structure that extends over fewer voxels along an axis is warned about."""


class Decision(Settings):
    """One decision of a plan.

    Attributes:
        value: What was decided.
        rule: The rule's name and sense, in one line.
        source: Paper, ours, data, budget or user.
        facts: The numbers that the rule used.
    """

    value: Any
    rule: str
    source: Provenance
    facts: dict[str, Any] = Field(default_factory=dict)


def decide_slice_axis(fingerprint: Fingerprint) -> Decision:
    """Axis that slices are stacked along: the coarsest, or Z where none stands out."""
    median = np.median([case.spacing_mm for case in fingerprint.cases.values()], axis=0)
    order = np.argsort(median)
    stands_out = median[order[2]] > ANISOTROPY * median[order[1]]
    axis = "ZYX"[order[2]] if stands_out else "Z"
    return Decision(
        value=axis,
        rule=f"slices follow the coarsest axis if it is {ANISOTROPY} times coarser, else Z",
        source="data",
        facts={"median_spacing_zyx_mm": [round(float(value), 4) for value in median]},
    )


def decide_spacing(fingerprint: Fingerprint, slice_axis: str) -> Decision:
    """Common isometric in-plane spacing: the median over cases and both in-plane axes."""
    rows = in_plane_spacings_mm(fingerprint, slice_axis)
    value = float(np.median(rows))
    return Decision(
        value=(None, round(value, 4), round(value, 4)),
        rule="slices as scanned; median in-plane spacing of all cases and both in-plane axes",
        source="data",
        facts={
            "smallest_mm": round(float(rows.min()), 4),
            "largest_mm": round(float(rows.max()), 4),
            "n_cases": len(rows),
        },
    )


def decide_patch(
    fingerprint: Fingerprint,
    slice_axis: str,
    spacing_mm: tuple[float | None, float | None, float | None],
    wanted_vox: tuple[int, ...],
    stride: tuple[int, ...],
) -> Decision:
    """The wanted patch, no larger than the median prepared slice, divisible by the stride.

    Args:
        fingerprint: Facts of the dataset.
        slice_axis: Anatomical axis of the slices.
        spacing_mm: (S, R, Q) spacing after preparation, mm; None: as scanned.
        wanted_vox: (Y, X) patch of the recipe.
        stride: (Y, X) total stride of the network.
    """
    axes = ["ZYX".index(name) for name in PLANES[slice_axis][1:]]
    sizes = np.array(
        [
            [
                case.shape_vox[axis] * case.spacing_mm[axis] / (step or case.spacing_mm[axis])
                for axis, step in zip(axes, spacing_mm[1:], strict=True)
            ]
            for case in fingerprint.cases.values()
        ]
    )
    median = np.median(sizes, axis=0)
    patch = tuple(
        max(step, math.ceil(min(wanted, size) / step) * step)
        for wanted, size, step in zip(wanted_vox, median, stride, strict=True)
    )
    changed = patch != tuple(wanted_vox)
    return Decision(
        value=patch,
        rule="the recipe's patch, no larger than the median slice, divisible by the stride",
        source="data" if changed else "ours",
        facts={
            "recipe_vox": list(wanted_vox),
            "median_slice_vox": [round(float(size), 1) for size in median],
            "stride_vox": list(stride),
        },
    )


def decide_steps_per_epoch(
    fingerprint: Fingerprint, slice_axis: str, batch: int, share: float
) -> Decision:
    """As many steps as show each training slice once.

    Args:
        fingerprint: Facts of the dataset.
        slice_axis: Anatomical axis of the slices.
        batch: Patches a step.
        share: Share of the cases that a fold trains on.
    """
    axis = "ZYX".index(slice_axis)
    n_slices = sum(case.shape_vox[axis] for case in fingerprint.cases.values())
    return Decision(
        value=max(1, round(n_slices * share / batch)),
        rule="one patch per training slice and epoch",
        source="ours",
        facts={"n_slices": n_slices, "share_of_cases_trained_on": round(share, 3), "batch": batch},
    )


def small_structure_warnings(
    fingerprint: Fingerprint,
    spacing_mm: tuple[float | None, float | None, float | None],
    slice_axis: str = "Z",
) -> list[str]:
    """A sentence for every label whose median case is a few voxels at the planned spacing.

    Args:
        fingerprint: Facts of the dataset.
        spacing_mm: (S, R, Q) spacing after preparation, mm; None: as scanned.
        slice_axis: Anatomical axis of S.
    """
    axes = ["ZYX".index(name) for name in PLANES[slice_axis]]
    warnings = []
    for label in fingerprint.labels:
        rows = []
        for case in fingerprint.cases.values():
            if label not in case.extent_mm:
                continue
            own = [case.spacing_mm[axis] for axis in axes]
            planned = [step or own_mm for step, own_mm in zip(spacing_mm, own, strict=True)]
            extent = [case.extent_mm[label][axis] for axis in axes]
            n_voxels = case.volume_ml[label] * 1000 / math.prod(planned)
            rows.append((n_voxels, *(mm / step for mm, step in zip(extent, planned, strict=True))))
        if not rows:
            continue
        n_voxels, *extent_vox = (float(value) for value in np.median(rows, axis=0))
        if n_voxels >= FEW_VOXELS and min(extent_vox) >= THIN_VOXELS:
            continue
        size = " x ".join(f"{value:.1f}" for value in extent_vox)
        warnings.append(
            f"label '{label}' is small at the planned spacing: about {n_voxels:.0f} voxels, {size} "
            f"in its box, in the median of the {len(rows)} cases that show it. It can get lost; a "
            "finer prepare.spacing_mm shows more of it if the scans are finer."
        )
    return warnings


def in_plane_spacings_mm(fingerprint: Fingerprint, slice_axis: str) -> np.ndarray:
    """(n_cases, 2) in-plane spacings (row, column), mm."""
    axes = ["ZYX".index(name) for name in PLANES[slice_axis][1:]]
    return np.array([[case.spacing_mm[a] for a in axes] for case in fingerprint.cases.values()])
