"""What a person should look at in a predicted label map.

Enters: a label map, its image and what the model knows. Leaves: a row a label
with volume, components and warnings. Correcting a suspicious prediction was
rejected: it is reported, and changed only where the user asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acinus.cohort.check_side import side_findings
from acinus.plan import Plan
from acinus.scans import Volume, canonical, label_components
from acinus.types import Labelmap, Mask

TABLE_COLUMNS = (
    "case",
    "part",
    "model",
    "label",
    "volume_ml",
    "components",
    "seconds",
    "warnings",
)
"""Columns of ``predictions.csv``; one row a case and label."""


@dataclass(frozen=True)
class LabelFinding:
    """One label of one predicted case.

    Attributes:
        label: Name.
        volume_ml: Predicted volume, mL.
        components: Connected parts, counted with 26 neighbours.
        warnings: Short texts; empty if there is nothing to look at.
    """

    label: str
    volume_ml: float
    components: int
    warnings: tuple[str, ...]


def examine(labelmap: Volume, image: Volume, plan: Plan) -> list[LabelFinding]:
    """Findings for every label of the plan's dataset."""
    dataset = plan.dataset
    values = {name: dataset.regions.get(name, (value,)) for name, value in dataset.labels.items()}
    misplaced = side_findings(
        "",
        canonical(labelmap),
        canonical(image),
        values,
        dataset.sides,
        dataset.mirror_pairs,
    )
    findings = []
    for name, those in values.items():
        mask = _mask(labelmap.array, those)
        volume_ml = float(mask.sum()) * labelmap.grid.voxel_volume_ml
        warnings = []
        if not mask.any():
            warnings.append("empty")
        else:
            if _touches_border(mask):
                warnings.append("touches the border")
            if any(f"'{name}'" in finding.found for finding in misplaced):
                warnings.append("wrong side")
            warnings += _volume_warning(volume_ml, dataset.volume_ranges_ml.get(name))
        n_components = label_components(mask)[1] if mask.any() else 0
        findings.append(LabelFinding(name, volume_ml, n_components, tuple(warnings)))
    return findings


def finding_rows(
    findings: Sequence[LabelFinding], *, case: str, part: str, model: str, seconds: float
) -> list[dict[str, object]]:
    """Rows of ``predictions.csv``."""
    return [
        {
            "case": case,
            "part": part,
            "model": model,
            "label": finding.label,
            "volume_ml": round(finding.volume_ml, 4),
            "components": finding.components,
            "seconds": round(seconds, 3),
            "warnings": "; ".join(finding.warnings),
        }
        for finding in findings
    ]


def _mask(array: Labelmap, values: tuple[int, ...]) -> Mask:
    """Voxels that have one of the values."""
    mask: Mask = array == values[0]
    for value in values[1:]:
        mask |= array == value
    return mask


def _touches_border(mask: Mask) -> bool:
    """Whether a mask reaches a face of an axis with more than one voxel."""
    for axis, size in enumerate(mask.shape):
        if size > 1 and (np.take(mask, 0, axis).any() or np.take(mask, -1, axis).any()):
            return True
    return False


def _volume_warning(volume_ml: float, range_ml: tuple[float, float] | None) -> list[str]:
    if range_ml is None or range_ml[0] <= volume_ml <= range_ml[1]:
        return []
    return [f"volume outside of the training range {range_ml[0]:.2f}-{range_ml[1]:.2f} mL"]
