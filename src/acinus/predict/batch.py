"""Segment many scans with one model; one that fails does not stop the others.

Enters: a model folder and whatever `find_scans` understands. Leaves: label
maps on the grids of their inputs, ``predictions.csv``, and on request a
picture with the contours of each case.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acinus import progress
from acinus.errors import AcinusError, DataError
from acinus.files import write_text
from acinus.predict.findings import TABLE_COLUMNS, examine, finding_rows
from acinus.predict.model import Model, Postprocess, load_model
from acinus.predict.overlay import write_overlay
from acinus.predict.source import Scan, find_scans
from acinus.scans import KNOWN_SUFFIXES, write_volume

SYNTHETIC_WARNING = (
    "Warning: this model learned from synthetic images only. Its labels on real scans are "
    "unverified and must not be used for patients."
)


@dataclass(frozen=True)
class PredictOutcome:
    """What a batch made.

    Attributes:
        written: Label maps.
        failed: Case to reason.
        table: ``predictions.csv``.
    """

    written: tuple[Path, ...]
    failed: dict[str, str]
    table: Path


def predict_paths(
    model: Path,
    source: Path,
    out: Path,
    *,
    series: str | None = None,
    overlay: bool = False,
    postprocess: Postprocess = "plan",
    folds: Sequence[int] | None = None,
) -> PredictOutcome:
    """Segment a file, a folder of scans or a DICOM series.

    Args:
        model: Model folder.
        source: File, folder of files, nnU-Net images folder, or DICOM folder.
        out: Folder for the label maps, or the file of a single one.
        series: Which DICOM series.
        overlay: Also write ``CASE.png`` with the contours.
        postprocess: What is done after the network.
        folds: Only these folds; None: all.

    Raises:
        AcinusError: Nothing can be segmented: the model or source is unusable.
    """
    loaded = load_model(model, folds=folds)
    scans = find_scans(source, len(loaded.plan.dataset.channel_names), series)
    if loaded.plan.dataset.synthetic:
        progress.say(SYNTHETIC_WARNING)
    single = out.name.lower().endswith(tuple(KNOWN_SUFFIXES))
    if single and len(scans) > 1:
        raise DataError(f"{out}: {len(scans)} scans need a folder to be written to; got a file.")
    folder = out.parent if single else out
    rows: list[dict[str, object]] = []
    written: list[Path] = []
    failed: dict[str, str] = {}
    with progress.stage("Segmenting", total=len(scans), unit="scan") as bar:
        for scan in scans:
            target = out if single else folder / f"{scan.case}.nii.gz"
            try:
                rows += _predict_scan(loaded, scan, target, postprocess, overlay)
                written.append(target)
            except AcinusError as error:
                failed[scan.case] = str(error)
            bar.advance(1, note=scan.case)
    table = folder / "predictions.csv"
    write_text(table, table_text(rows))
    return PredictOutcome(tuple(written), failed, table)


def table_text(rows: Sequence[dict[str, object]]) -> str:
    """``predictions.csv`` from its rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, TABLE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _predict_scan(
    model: Model, scan: Scan, target: Path, postprocess: Postprocess, overlay: bool
) -> list[dict[str, object]]:
    begin = time.monotonic()
    channels = scan.read()
    labelmap = model.predict(channels, postprocess=postprocess)
    write_volume(labelmap, target)
    seconds = time.monotonic() - begin
    image = next(channel for channel in channels if channel is not None)
    findings = examine(labelmap, image, model.plan)
    if overlay:
        write_overlay(image, labelmap, model.labels, target.parent / f"{scan.case}.png")
    if model.plan.dataset.synthetic:
        findings = [
            type(finding)(
                finding.label,
                finding.volume_ml,
                finding.components,
                (*finding.warnings, "model learned from synthetic images"),
            )
            for finding in findings
        ]
    return finding_rows(findings, case=scan.case, part="new", model="final", seconds=seconds)
