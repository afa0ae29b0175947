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
from dataclasses import dataclass, replace
from pathlib import Path

from acinus import progress
from acinus.errors import AcinusError, DataError, GridError
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
    if not single and out.is_file():
        raise DataError(
            f"{out}: must be a folder, or the name of a label map ({', '.join(KNOWN_SUFFIXES)}); "
            "it is a file of another kind. Choose another output."
        )
    targets = [out if single else folder / f"{scan.case}.nii.gz" for scan in scans]
    _refuse_overwriting(scans, targets)
    rows: list[dict[str, object]] = []
    written: list[Path] = []
    failed: dict[str, str] = {}
    with progress.stage("Segmenting", total=len(scans), unit="scan") as bar:
        for scan, target in zip(scans, targets, strict=True):
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


def _refuse_overwriting(scans: Sequence[Scan], targets: Sequence[Path]) -> None:
    """A label map must not take the place of a scan."""
    sources = {part.resolve() for scan in scans for part in scan.channels if isinstance(part, Path)}
    for target in targets:
        if target.resolve() in sources:
            raise DataError(
                f"{target}: a label map must not replace the scan that it is made from. "
                "Choose another output folder or name."
            )


def _predict_scan(
    model: Model, scan: Scan, target: Path, postprocess: Postprocess, overlay: bool
) -> list[dict[str, object]]:
    begin = time.monotonic()
    channels = scan.read()
    try:
        labelmap = model.predict(channels, postprocess=postprocess)
    except (DataError, GridError) as error:
        raise DataError(f"{scan.where}: {error}") from error
    write_volume(labelmap, target)
    seconds = time.monotonic() - begin
    image = next(channel for channel in channels if channel is not None)
    findings = examine(labelmap, image, model.plan)
    if overlay:
        write_overlay(image, labelmap, model.labels, target.parent / f"{scan.case}.png")
    notes = [
        f"channel '{name}' is missing"
        for name, channel in zip(model.plan.dataset.channel_names, channels, strict=True)
        if channel is None
    ]
    if model.plan.dataset.synthetic:
        notes.append("model learned from synthetic images")
    findings = [replace(one, warnings=(*one.warnings, *notes)) for one in findings]
    return finding_rows(findings, case=scan.case, part="new", model="final", seconds=seconds)
