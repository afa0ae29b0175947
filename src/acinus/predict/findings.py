"""What a person should look at in a predicted label map.

Enters: a label map, its image and what the model knows. Leaves: a row a label
with volume, components and warnings. Correcting a suspicious prediction was
rejected: it is reported, and changed only where the user asks for it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acinus.cohort.check_side import side_findings
from acinus.cohort.finding import Finding
from acinus.plan import Plan
from acinus.predict.locate import Located, Piece
from acinus.predict.sides import (
    labels_of_box_part,
    labels_of_part,
    partners_of,
    parts_of_boxes_on_wrong_side,
    parts_on_wrong_side,
    side_notes,
    values_by_label,
)
from acinus.scans import Grid, Volume, canonical, label_components, resample_onto
from acinus.scans.box import Slices
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
    "missing_channels",
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


def examine(
    labelmap: Volume, image: Volume, plan: Plan, notes: Mapping[str, str] | None = None
) -> list[LabelFinding]:
    """Findings for every label of the plan's dataset.

    Args:
        labelmap: As it is written.
        image: The scan.
        plan: Labels and sides.
        notes: Label to what must be said of its side, and of what was removed; None: what the
            label map shows.
    """
    if notes is None:
        parts = parts_on_wrong_side([labelmap], image, plan)
        notes = side_notes(parts, plan, labels_of_part(labelmap))
    misplaced, labels = _misplaced(labelmap, image, plan), tuple(plan.dataset.labels)
    return with_notes(_examine(labelmap, plan, misplaced, labels), notes)


def with_notes(findings: Sequence[LabelFinding], notes: Mapping[str, str]) -> list[LabelFinding]:
    """Findings with a warning more for some labels."""
    return [
        replace(one, warnings=(*one.warnings, notes[one.label])) if one.label in notes else one
        for one in findings
    ]


def examine_located(
    located: Located, plan: Plan, notes: Mapping[str, str] | None = None
) -> list[LabelFinding]:
    """Findings for every label, of a scan that was segmented in boxes.

    Sides are looked at in the overview, since the midline of the body lies outside of the boxes.

    Args:
        located: The boxes; where they overlap the first one counts, as in the file.
        plan: Labels and sides.
        notes: As of `examine`.
    """
    coarse = np.zeros(located.overview.shape, dtype=np.uint8)
    for piece in located.pieces:
        if piece.labelmap is not None:
            here = resample_onto(piece.labelmap, located.overview.grid, order=0)
            np.copyto(coarse, here.array, where=coarse == 0)
    misplaced = _misplaced(located.overview.with_array(coarse), located.overview, plan)
    partners, found = partners_of(plan), dict[str, LabelFinding]()
    for piece in _as_written(located.pieces):
        labels = piece.place.labels
        if piece.labelmap is None or piece.part is None:
            reason = piece.place.reason
            found |= {name: LabelFinding(name, 0.0, 0, ("empty", reason)) for name in labels}
            continue
        at_border = _ends_with(piece.part, located.grid)
        for one in _examine(piece.labelmap, plan, misplaced, labels, at_border):
            more = ["cut off by its box"] if one.label in piece.cut else []
            partner = partners.get(one.label)
            if not one.components and partner in piece.others:
                more.append(f"its box shows {partner} instead")
            one = replace(one, warnings=(*one.warnings, *more))
            found[one.label] = _joined(found.get(one.label), one)
    named = [found[name] for name in plan.dataset.labels if name in found]
    if notes is None:
        parts = parts_of_boxes_on_wrong_side(located, plan)
        notes = side_notes(parts, plan, labels_of_box_part(located, located))
    return with_notes(named, notes)


def _as_written(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces without the voxels that an earlier one holds, see `acinus.scans.slabs.paste`."""
    earlier: list[Piece] = []
    for piece in pieces:
        if piece.labelmap is None or piece.part is None:
            yield piece
            continue
        array = np.array(piece.labelmap.array)
        for other in earlier:
            if other.labelmap is None or other.part is None:
                continue
            shared = [
                (max(a.start, b.start), min(a.stop, b.stop))
                for a, b in zip(piece.part, other.part, strict=True)
            ]
            if all(low < high for low, high in shared):
                here, there = (
                    tuple(
                        slice(low - edge.start, high - edge.start)
                        for (low, high), edge in zip(shared, part, strict=True)
                    )
                    for part in (piece.part, other.part)
                )
                array[here][other.labelmap.array[there] != 0] = 0
        earlier.append(piece)
        yield replace(piece, labelmap=piece.labelmap.with_array(array))


def _joined(first: LabelFinding | None, second: LabelFinding) -> LabelFinding:
    """What two boxes show of a label; one that shows nothing of it says nothing."""
    if first is None or not first.components:
        return second
    if not second.components:
        return first
    return LabelFinding(
        first.label,
        first.volume_ml + second.volume_ml,
        first.components + second.components,
        tuple(dict.fromkeys((*first.warnings, *second.warnings))),
    )


def _misplaced(labelmap: Volume, image: Volume, plan: Plan) -> list[Finding]:
    dataset = plan.dataset
    return side_findings(
        "",
        canonical(labelmap),
        canonical(image),
        values_by_label(plan),
        dataset.sides,
        dataset.mirror_pairs,
    )


def _ends_with(part: Slices, grid: Grid) -> tuple[tuple[bool, bool], ...]:
    """For each axis whether a part begins, and ends, where its grid does."""
    return tuple(
        (edge.start == 0, edge.stop == n) for edge, n in zip(part, grid.shape, strict=True)
    )


def _examine(
    labelmap: Volume,
    plan: Plan,
    misplaced: Sequence[Finding],
    labels: Sequence[str],
    at_border: Sequence[tuple[bool, bool]] = ((True, True),) * 3,
) -> list[LabelFinding]:
    """Findings for some labels; `at_border` says for each axis which faces are the scan's."""
    dataset, values = plan.dataset, values_by_label(plan)
    findings = []
    for name in labels:
        those = values[name]
        mask = _mask(labelmap.array, those)
        volume_ml = float(mask.sum()) * labelmap.grid.voxel_volume_ml
        warnings = []
        if not mask.any():
            warnings.append("empty")
        else:
            if _touches_border(mask, at_border):
                warnings.append("touches the border")
            if any(f"'{name}'" in finding.found for finding in misplaced):
                warnings.append("wrong side")
            warnings += _volume_warning(volume_ml, dataset.volume_ranges_ml.get(name))
        n_components = label_components(mask)[1] if mask.any() else 0
        findings.append(LabelFinding(name, volume_ml, n_components, tuple(warnings)))
    return findings


def finding_rows(
    findings: Sequence[LabelFinding],
    *,
    case: str,
    part: str,
    model: str,
    seconds: float,
    missing: Sequence[str] = (),
) -> list[dict[str, object]]:
    """Rows of ``predictions.csv``; `missing` names the channels that the case lacked."""
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
            "missing_channels": "; ".join(missing),
        }
        for finding in findings
    ]


def table_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = TABLE_COLUMNS) -> str:
    """A table such as ``predictions.csv`` from its rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _mask(array: Labelmap, values: tuple[int, ...]) -> Mask:
    """Voxels that have one of the values."""
    mask: Mask = array == values[0]
    for value in values[1:]:
        mask |= array == value
    return mask


def _touches_border(mask: Mask, at_border: Sequence[tuple[bool, bool]]) -> bool:
    """Whether a mask reaches a face of the scan, of an axis with more than one voxel."""
    for axis, size in enumerate(mask.shape):
        for end, counts in zip((0, -1), at_border[axis], strict=True):
            if counts and size > 1 and np.take(mask, end, axis).any():
                return True
    return False


def _volume_warning(volume_ml: float, range_ml: tuple[float, float] | None) -> list[str]:
    if range_ml is None or range_ml[0] <= volume_ml <= range_ml[1]:
        return []
    return [f"volume outside of the training range {range_ml[0]:.2f}-{range_ml[1]:.2f} mL"]
