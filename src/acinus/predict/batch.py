"""Segment many scans with one model; one that fails does not stop the others.

Enters: a model folder and whatever `find_scans` understands. Leaves: label
maps on the grids of their inputs, or DICOM on their source series, ``predictions.csv``,
and on request a picture with the contours of each case. While the network works on one
scan, the next is read and the last is written; tiles of several scans are not mixed
in one batch, since one tile keeps a CPU busy and results would depend on the
company of a scan.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from acinus import progress
from acinus.cohort.export import WRITERS, DicomFormat, export_volume
from acinus.errors import AcinusError, ConfigError, DataError, GridError, unknown_name
from acinus.files import write_text
from acinus.predict.findings import TABLE_COLUMNS, examine, finding_rows
from acinus.predict.memory import check_memory, parse_memory
from acinus.predict.model import Model, Postprocess, load_model
from acinus.predict.overlay import write_overlay
from acinus.predict.source import Scan, find_scans
from acinus.prepare import PreparedCase
from acinus.scans import (
    KNOWN_SUFFIXES,
    LabelledStructure,
    Origin,
    Series,
    Volume,
    write_volume,
)
from acinus.version import __version__

T = TypeVar("T")

SYNTHETIC_WARNING = (
    "Warning: this model learned from synthetic images only. Its labels on real scans are "
    "unverified and must not be used for patients."
)


OutputFormat = Literal["nifti"] | DicomFormat
"""What is written; ``nifti`` stands for label maps of any known suffix."""

DICOM_SUFFIX = ".dcm"

LARGE_VOX = 2**24
"""Voxels of a scan from which the memory that it will need is looked at beforehand."""


@dataclass(frozen=True)
class PredictOutcome:
    """What a batch made.

    Attributes:
        written: Label maps, or DICOM objects.
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
    device: str = "auto",
    precision: str = "auto",
    mirroring: bool | None = None,
    memory: str | None = None,
    format: OutputFormat = "nifti",
    allow_wrong_side: bool = False,
) -> PredictOutcome:
    """Segment a file, a folder of scans or a DICOM series.

    Args:
        model: Model folder, or that of an ensemble.
        source: File, folder of files, nnU-Net images folder, or DICOM folder.
        out: Folder for the label maps, or the file of a single one.
        series: Which DICOM series.
        overlay: Also write ``CASE.png`` with the contours.
        postprocess: What is done after the network.
        folds: Only these folds; None: all.
        device: See `load_model`.
        precision: See `load_model`.
        mirroring: See `load_model`.
        memory: Most memory that this process shall take, such as ``4GB``; a case that needs
            more fails. None: a case that will hardly fit into what is free is attempted, with
            a warning.
        format: Label maps, or DICOM SEG or RTSTRUCT on the series that was segmented.
        allow_wrong_side: Write DICOM even if a structure lies on the other side than its code
            tells; else such a case fails.

    Raises:
        AcinusError: Nothing can be segmented: the model or source is unusable, or DICOM is
            wanted of scans that are none.
    """
    if format not in ("nifti", *WRITERS):
        raise ConfigError(unknown_name("format", format, ("nifti", *WRITERS)))
    ceiling = None if memory is None else parse_memory(memory)
    loaded = load_model(model, folds=folds, device=device, precision=precision, mirroring=mirroring)
    scans = find_scans(source, len(loaded.plan.dataset.channel_names), series)
    if loaded.plan.dataset.synthetic:
        progress.say(SYNTHETIC_WARNING)
    _refuse_other_input(scans, format, source)
    suffixes = KNOWN_SUFFIXES if format == "nifti" else (DICOM_SUFFIX,)
    single = out.name.lower().endswith(suffixes)
    if single and len(scans) > 1:
        raise DataError(f"{out}: {len(scans)} scans need a folder to be written to; got a file.")
    folder = out.parent if single else out
    if not single and out.is_file():
        raise DataError(
            f"{out}: must be a folder, or the name of a result ({', '.join(suffixes)}); "
            "it is a file of another kind. Choose another output."
        )
    suffix = ".nii.gz" if format == "nifti" else DICOM_SUFFIX
    targets = [out if single else folder / f"{scan.case}{suffix}" for scan in scans]
    _refuse_overwriting(scans, targets)
    job = _Job(loaded, postprocess, overlay, ceiling, format, allow_wrong_side)
    rows: list[dict[str, object]] = []
    written: list[Path] = []
    failed: dict[str, str] = {}
    with progress.stage("Segmenting", total=len(scans), unit="scan") as bar:
        for scan, target, result in job.run(scans, targets):
            if isinstance(result, AcinusError):
                failed[scan.case] = str(result)
            else:
                rows += result
                written.append(target)
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


def _refuse_other_input(scans: Sequence[Scan], format: OutputFormat, source: Path) -> None:
    """DICOM is written on a source series, which a NIfTI file does not tell."""
    if format != "nifti" and not all(isinstance(scan.channels[0], Series) for scan in scans):
        raise ConfigError(
            f"--format {format} writes on the DICOM series that is segmented; {source} holds other "
            "files. Give the DICOM folder, or write the label map on it with 'acinus export'."
        )


def _refuse_overwriting(scans: Sequence[Scan], targets: Sequence[Path]) -> None:
    """A label map must not take the place of a scan."""
    sources = {
        path.resolve()
        for scan in scans
        for part in scan.channels
        for path in ((part,) if isinstance(part, Path) else part.paths if part else ())
    }
    for target in targets:
        if target.resolve() in sources:
            raise DataError(
                f"{target}: a label map must not replace the scan that it is made from. "
                "Choose another output folder or name."
            )


@dataclass(frozen=True, eq=False)
class _Read:
    """A scan that was read and prepared.

    Attributes:
        channels: As read.
        prepared: One a member of the model.
        seconds: What it took.
    """

    channels: list[Volume | None]
    prepared: tuple[PreparedCase, ...]
    seconds: float

    @property
    def image(self) -> Volume:
        """The first channel that is there."""
        return next(channel for channel in self.channels if channel is not None)


Rows = list[dict[str, object]]


@dataclass(frozen=True, eq=False)
class _Job:
    """How a batch of scans is segmented; see `predict_paths`."""

    model: Model
    postprocess: Postprocess
    overlay: bool
    memory_bytes: int | None
    format: OutputFormat
    allow_wrong_side: bool

    def run(
        self, scans: Sequence[Scan], targets: Sequence[Path]
    ) -> Iterator[tuple[Scan, Path, Rows | AcinusError]]:
        """Each scan with its target and its rows, or with the reason why there are none."""
        n_ahead = 0 if self.memory_bytes is not None else 1
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            ahead = [reader.submit(_caught, self.read, scan) for scan in scans[:n_ahead]]
            before: Future[Rows | AcinusError] | None = None
            try:
                for number, (scan, target) in enumerate(zip(scans, targets, strict=True)):
                    ahead += [
                        reader.submit(_caught, self.read, later)
                        for later in scans[number + len(ahead) : number + n_ahead + 1]
                    ]
                    found = _caught(self.segment, scan, ahead.pop(0).result())
                    if before is not None:
                        yield scans[number - 1], targets[number - 1], before.result()
                    before = writer.submit(_caught, self.finish, scan, target, found)
                if before is not None:
                    yield scans[-1], targets[-1], before.result()
            finally:
                reader.shutdown(cancel_futures=True)

    def read(self, scan: Scan) -> _Read:
        """A scan read, checked and prepared for all members."""
        begin = time.monotonic()
        channels = scan.read()
        try:
            checked = self.model.channels(channels)
            prepared = tuple(member.prepare(checked) for member in self.model.members)
        except (DataError, GridError) as error:
            raise DataError(f"{scan.where}: {error}") from error
        return _Read(channels, prepared, time.monotonic() - begin)

    def segment(self, scan: Scan, read: _Read | AcinusError) -> tuple[_Read, Volume, float]:
        """Its label map, before post-processing, and the seconds that it took."""
        if isinstance(read, AcinusError):
            raise read
        if self.memory_bytes is not None or read.image.array.size > LARGE_VOX:
            needed = self.model.case_bytes(*read.prepared)
            warning = check_memory(needed, self.memory_bytes, scan.case)
            if warning is not None:
                progress.say(f"Warning: {warning}")
        begin = time.monotonic()
        labelmap = self.model.predict_prepared(*read.prepared, postprocess="none")
        return read, labelmap, time.monotonic() - begin

    def finish(
        self, scan: Scan, target: Path, found: tuple[_Read, Volume, float] | AcinusError
    ) -> Rows:
        """Clean, write and examine a label map; its rows of ``predictions.csv``."""
        if isinstance(found, AcinusError):
            raise found
        read, labelmap, seconds = found
        begin = time.monotonic()
        labelmap = self.model.clean(labelmap, self.postprocess)
        self.write(scan, read, labelmap, target)
        plan = self.model.plan
        findings = examine(labelmap, read.image, plan)
        if self.overlay:
            picture = target.parent / f"{scan.case}.png"
            write_overlay(read.image, labelmap, self.model.labels, picture)
        notes = [
            f"channel '{name}' is missing"
            for name, channel in zip(plan.dataset.channel_names, read.channels, strict=True)
            if channel is None
        ]
        if plan.dataset.synthetic:
            notes.append("model learned from synthetic images")
        findings = [replace(one, warnings=(*one.warnings, *notes)) for one in findings]
        seconds += read.seconds + time.monotonic() - begin
        return finding_rows(findings, case=scan.case, part="new", model="final", seconds=seconds)

    def write(self, scan: Scan, read: _Read, labelmap: Volume, target: Path) -> None:
        """A label map in the wanted format."""
        series = scan.channels[0]
        if self.format == "nifti" or not isinstance(series, Series):
            write_volume(labelmap, target)
            return
        dataset = self.model.plan.dataset
        export_volume(
            labelmap,
            series,
            target,
            structures=[
                LabelledStructure(
                    name, dataset.regions.get(name, (value,)), dataset.sides.get(name)
                )
                for name, value in dataset.labels.items()
            ],
            mirror_pairs=dataset.mirror_pairs,
            format=self.format,
            origin=self.model_origin(),
            image=read.image,
            allow_wrong_side=self.allow_wrong_side,
        )

    def model_origin(self) -> Origin:
        """Which model made the labels, for the header of a DICOM object."""
        plan = self.model.plan
        return Origin(
            f"Acinus {plan.recipe} ({plan.dataset.name})",
            f"{__version__}, plan {plan.hash()[:12]}",
            warning=SYNTHETIC_WARNING.removeprefix("Warning: ") if plan.dataset.synthetic else "",
        )


def _caught(work: Callable[..., T], *arguments: object) -> T | AcinusError:
    """What a work answers, or the fault that ends it for one scan."""
    try:
        return work(*arguments)
    except AcinusError as error:
        return error
