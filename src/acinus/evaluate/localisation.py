"""How well a locate stage found its places: boxes against references.

Enters: ``boxes.csv`` and reference label maps. Leaves: a row a case and place. A box is judged by
what it holds of the reference, since intersection over union would blame the margin that a box
must have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.scans import Volume, read_labelmap
from acinus.scans.box import Box, Slices, box_of_voxels, voxels_in
from acinus.scans.components import bounding_box
from acinus.types import Mask

LOCALISATION_COLUMNS = (
    "case",
    "place",
    "outcome",
    "share_inside",
    "share_inside_last",
    "filled",
    "margin_mm",
    "box_ml",
    "last_box_ml",
    "reference_ml",
    "growths",
    "locate_seconds",
    "segment_seconds",
    "reason",
)
"""share_inside: of the reference's voxels those in the box as found, [0, 1]; share_inside_last: in
the box as it was segmented at last; filled: volume that the box around the reference shares with
the box as found, over that of the latter; margin_mm: smallest distance between the faces of the
two, negative where the reference comes out; NaN where there is no reference or no box."""

FOUND, CUT, MISSED, ABSENT, FALSE_BOX = "found", "cut", "missed", "absent", "false box"
"""Outcomes. found: the last box holds all of the reference; cut: a part of it; missed: nothing of
it, or there is no box; absent: neither drawn nor boxed; false box: boxed, not drawn."""

CORNERS = tuple(f"{end}_{axis}_mm" for end in ("low", "high") for axis in "ras")


def judge_boxes(
    boxes: pd.DataFrame,
    references: Mapping[str, Path],
    values: Mapping[str, tuple[int, ...]],
    annotated: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """A row a case and place.

    Args:
        boxes: ``boxes.csv``: case, place, labels (joined by semicolons), corners in RAS+ mm.
        references: Case to reference; cases without one are left out.
        values: Label to the values that stand for it in a reference.
        annotated: Case to the labels annotated in it, else all; a place of which none is
            annotated is left out.

    Returns:
        Columns `LOCALISATION_COLUMNS`, in the order of the boxes.
    """
    rows: list[dict[str, Any]] = []
    for case, group in boxes.groupby("case", sort=False):
        if str(case) not in references:
            continue
        reference = read_labelmap(references[str(case)])
        known = set((annotated or {}).get(str(case), values))
        for row in group.to_dict("records"):
            labels = [name for name in str(row["labels"]).split(";") if name in known]
            if labels:
                wanted = [value for name in labels for value in values[name]]
                rows.append(_judge(row, reference, np.isin(reference.array, wanted)))
    return pd.DataFrame(rows, columns=list(LOCALISATION_COLUMNS))


def _judge(row: Mapping[Any, Any], reference: Volume, mask: Mask) -> dict[str, Any]:
    found, last = _box(row, ""), _box(row, "last_")
    part = bounding_box(mask)
    judged: dict[str, Any] = dict.fromkeys(LOCALISATION_COLUMNS, np.nan)
    judged |= {
        "case": row["case"],
        "place": row["place"],
        "growths": int(row["growths"] or 0),
        "locate_seconds": float(row["locate_seconds"]),
        "segment_seconds": float(row["segment_seconds"]),
        "reason": str(row["reason"]),
        "reference_ml": float(mask.sum()) * reference.grid.voxel_volume_ml,
    }
    if found is not None and last is not None:
        judged |= {"box_ml": found.volume_ml, "last_box_ml": last.volume_ml}
    if part is None:
        return judged | {"outcome": ABSENT if found is None else FALSE_BOX}
    if found is None or last is None:
        return judged | {"outcome": MISSED, "share_inside": 0.0, "share_inside_last": 0.0}
    drawn = box_of_voxels(reference.grid, part)
    gaps = np.concatenate(
        [np.subtract(drawn.low_mm, found.low_mm), np.subtract(found.high_mm, drawn.high_mm)]
    )
    # On a turned grid the box in the world is larger than what was segmented.
    inside = _share(mask, _voxels(row["last_voxels"]))
    outcome = FOUND if inside == 1 else CUT if inside > 0 else MISSED
    return judged | {
        "outcome": outcome,
        "share_inside": _share(mask, voxels_in(reference.grid, found)),
        "share_inside_last": inside,
        "filled": drawn.common_ml(found) / found.volume_ml,
        "margin_mm": round(float(gaps.min()), 4) + 0.0,  # no -0
    }


def _share(mask: Mask, part: Slices | None) -> float:
    return 0.0 if part is None else float(mask[part].sum() / mask.sum())


def _voxels(text: str | float) -> Slices | None:
    """Slices (Z, Y, X) as ``boxes.csv`` states them; None for a box outside of the scan."""
    if pd.isna(text) or not str(text):
        return None
    z, y, x = (slice(*map(int, edge.split(":"))) for edge in str(text).split())
    return z, y, x


def _box(row: Mapping[Any, Any], prefix: str) -> Box | None:
    values = [row[f"{prefix}{name}"] for name in CORNERS]
    if any(value == "" or pd.isna(value) for value in values):
        return None
    a, b, c, d, e, f = (float(value) for value in values)
    return Box((a, b, c), (d, e, f))
