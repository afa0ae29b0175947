"""Segment many scans with one model; one that fails does not stop the others.

Enters: a model folder and whatever `find_scans` understands. Leaves: label
maps on the grids of their inputs, or DICOM on their source series,
``predictions.csv``, and on request a picture with the contours of each case.
While the network works on one scan, the next is read and the last is written;
tiles of several scans are not mixed in one batch, since one tile keeps a CPU
busy and results would depend on the company of a scan.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from acinus import progress
from acinus.errors import AcinusError, ConfigError, DataError, GridError, MemoryLimitError
from acinus.files import write_text
from acinus.predict.findings import examine, finding_rows, table_text
from acinus.predict.located import BOX_COLUMNS, LocatedJob, caught
from acinus.predict.memory import check_memory, parse_memory, reading_bytes
from acinus.predict.missing import (
    check_left_out,
    missing_channels,
    missing_notes,
    missing_words,
    refuse_missing,
)
from acinus.predict.model import Model, Postprocess, load_model
from acinus.predict.overlay import write_overlay
from acinus.predict.parts import why_whole
from acinus.predict.results import DICOM_SUFFIX, SYNTHETIC_WARNING, OutputFormat, Results
from acinus.predict.sides import labels_of_part, parts_on_wrong_side, relabelled, side_notes
from acinus.predict.source import Scan, find_scans
from acinus.prepare import PreparedCase
from acinus.scans import KNOWN_SUFFIXES, Volume

LARGE_VOX = 2**24
"""Voxels of a scan from which the memory that it will need is looked at beforehand."""


@dataclass(frozen=True)
class PredictOutcome:
    """What a batch made.

    Attributes:
        written: Label maps, or DICOM objects.
        failed: Case to reason.
        table: ``predictions.csv``.
        missing: Case to the channels that it was segmented without, if any.
    """

    written: tuple[Path, ...]
    failed: dict[str, str]
    table: Path
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def missing_words(self) -> str:
        """Which cases were segmented without which channels, in words."""
        return missing_words(self.missing)


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
    locator_mask: Path | None = None,
    without: Sequence[str] = (),
    relabel_sides: bool = False,
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
        memory: Most memory that this process shall take, such as ``4GB``; None: what is free. A
            scan that needs more goes in parts, see `predict/parts.py`; one that must be seen
            whole, or whose smallest parts need more, fails under a ceiling, and without one is
            attempted with a warning.
        format: Label maps, or DICOM SEG or RTSTRUCT on the series that was segmented.
        allow_wrong_side: Write DICOM even if a structure lies on the other side than its code
            tells; else such a case fails.
        locator_mask: Label map that another program made of the only scan, such as a skull; its
            box is segmented instead of what the model's own locate stage finds.
        without: Names of channels that are left out of every case on purpose, as if their files
            were not there.
        relabel_sides: Give connected parts of a structure that lie on the wrong side of the
            patient the name of its partner; they are reported in any case.

    Raises:
        AcinusError: Nothing can be segmented: the model or source is unusable, or DICOM is
            wanted of scans that are none.
    """
    results = Results(format, allow_wrong_side)
    ceiling = None if memory is None else parse_memory(memory)
    loaded = load_model(
        model,
        folds=folds,
        device=device,
        precision=precision,
        mirroring=mirroring,
        locator_mask=locator_mask,
    )
    names = loaded.channel_names
    if without:
        check_left_out(names, without)
        try:
            refuse_missing([one for one in names if one in without], names, loaded.may_lack)
        except DataError as error:
            raise ConfigError(f"--without {', '.join(without)}: {error}") from None
    scans = find_scans(
        source,
        loaded.plan.dataset.channels,
        series,
        is_view=loaded.plan.dataset.channel_numbers is not None,
    )
    if loaded.plan.dataset.synthetic:
        progress.say(SYNTHETIC_WARNING)
    if locator_mask is not None and len(scans) > 1:
        raise DataError(
            f"{locator_mask}: a locator mask belongs to one scan; {source} holds {len(scans)}. "
            "Segment them one by one."
        )
    results.refuse_other_input(scans, source)
    single = out.name.lower().endswith(results.suffixes)
    if single and len(scans) > 1:
        raise DataError(f"{out}: {len(scans)} scans need a folder to be written to; got a file.")
    folder = out.parent if single else out
    # A folder named result.nii.gz is nobody's wish.
    is_other_kind = out.name.lower().endswith((DICOM_SUFFIX, *KNOWN_SUFFIXES)) and not out.is_dir()
    if not single and (is_other_kind or out.is_file()):
        raise DataError(
            f"{out}: must be a folder, or the name of a result ({', '.join(results.suffixes)}); "
            "it names a file of another kind. Choose another output, or another --format."
        )
    targets = [out if single else folder / f"{scan.case}{results.suffix}" for scan in scans]
    _refuse_overwriting(scans, targets)
    scans = [scan.without(without, names) for scan in scans] if without else scans
    missing = {scan.case: missing_channels(names, scan.channels) for scan in scans}
    _say_missing(missing, without)
    boxes: Rows = []
    slabwise = LocatedJob(loaded, postprocess, overlay, ceiling, results, relabel_sides, boxes)
    if loaded.locator is None:
        done = _Job(loaded, postprocess, overlay, ceiling, results, relabel_sides, slabwise).run(
            scans, targets
        )
    else:
        done = slabwise.run(scans, targets)
    rows: Rows = []
    written: list[Path] = []
    failed: dict[str, str] = {}
    table = folder / "predictions.csv"
    try:
        with progress.stage("Segmenting", total=len(scans), unit="scan") as bar:
            for scan, target, result in done:
                if isinstance(result, AcinusError):
                    failed[scan.case] = str(result)
                else:
                    rows += result
                    written.append(target)
                bar.advance(1, note=scan.case)
    finally:  # what lies there after an interruption is in the tables, too
        write_text(table, table_text(rows))
        if loaded.locator is not None:
            write_text(folder / "boxes.csv", table_text(boxes, BOX_COLUMNS))
    lacking = {case: some for case, some in missing.items() if some and case not in failed}
    return PredictOutcome(tuple(written), failed, table, lacking)


def _say_missing(missing: Mapping[str, Sequence[str]], without: Sequence[str]) -> None:
    """Which channels are left out of all cases, and which cases lack one."""
    if without:
        progress.say(f"Left out of every case: {', '.join(without)}.")
    lacking = {
        case: [name for name in some if name not in without] for case, some in missing.items()
    }
    if any(lacking.values()):
        progress.say(f"Channels are missing: {missing_words(lacking)}.")


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
    results: Results
    relabel_sides: bool
    in_parts: LocatedJob
    """For scans that are too large."""

    def run(
        self, scans: Sequence[Scan], targets: Sequence[Path]
    ) -> Iterator[tuple[Scan, Path, Rows | AcinusError]]:
        """Each scan with its target and its rows, or with the reason why there are none."""
        n_ahead = 0 if self.memory_bytes is not None else 1
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            ahead = [reader.submit(caught, self.read, scan) for scan in scans[:n_ahead]]
            before: Future[Rows | AcinusError] | None = None
            try:
                for number, (scan, target) in enumerate(zip(scans, targets, strict=True)):
                    ahead += [
                        reader.submit(caught, self.read, later)
                        for later in scans[number + len(ahead) : number + n_ahead + 1]
                    ]
                    found = caught(self.segment, scan, ahead.pop(0).result())
                    if before is not None:
                        yield scans[number - 1], targets[number - 1], before.result()
                    if isinstance(found, MemoryLimitError):
                        # Here, not beside the next scan: two of them would not fit either.
                        before = Future()
                        before.set_result(caught(self.segment_in_parts, scan, target, found))
                    else:
                        before = writer.submit(caught, self.finish, scan, target, found)
                if before is not None:
                    yield scans[-1], targets[-1], before.result()
            finally:
                reader.shutdown(cancel_futures=True)

    def segment_in_parts(self, scan: Scan, target: Path, error: MemoryLimitError) -> Rows:
        """The rows of a scan that is too large to be segmented at once.

        Raises:
            MemoryLimitError: `error`, with the reason why it cannot go in parts.
            AcinusError: A part failed.
        """
        reason = why_whole(self.model)
        if reason is not None:
            raise MemoryLimitError(f"{str(error).rstrip('.')}. It cannot go in parts: {reason}.")
        ((_, _, rows),) = self.in_parts.run([scan], [target])
        if isinstance(rows, AcinusError):
            raise rows
        return rows

    def read(self, scan: Scan) -> _Read:
        """A scan read, checked and prepared for all members."""
        begin = time.monotonic()
        try:
            self.model.refuse_missing(scan.channels)
        except DataError as error:
            raise DataError(f"{scan.where}: {error}") from error
        firsts = [member.previous for member in self.model.members if member.previous]
        if needed := self._reading_bytes(scan, firsts):
            self._refuse_too_large(needed, scan)
        channels = scan.read()
        try:
            checked = self.model.channels(channels)
            if self.memory_bytes is not None:
                for first in firsts:
                    needed = first.case_bytes(*(one.prepare(checked) for one in first.members))
                    check_memory(needed, self.memory_bytes, scan.case)
            prepared = tuple(member.prepare(checked) for member in self.model.members)
        except (DataError, GridError) as error:
            raise DataError(f"{scan.where}: {error}") from error
        return _Read(channels, prepared, time.monotonic() - begin)

    def segment(self, scan: Scan, read: _Read | AcinusError) -> tuple[_Read, Volume, float]:
        """Its label map, before post-processing, and the seconds that it took."""
        if isinstance(read, AcinusError):
            raise read
        if self.memory_bytes is not None or read.image.array.size > LARGE_VOX:
            self._refuse_too_large(self.model.case_bytes(*read.prepared), scan)
        begin = time.monotonic()
        labelmap = self.model.predict_prepared(*read.prepared, postprocess="none")
        return read, labelmap, time.monotonic() - begin

    def _reading_bytes(self, scan: Scan, firsts: Sequence[Model]) -> int:
        """What reading a scan will take, bytes; 0 where that is not looked at."""
        try:
            grid = scan.grid()
        except AcinusError:  # said when it is read
            return 0
        if self.memory_bytes is None and math.prod(grid.shape) <= LARGE_VOX:
            return 0
        plans = [one.plan for model in (self.model, *firsts) for one in model.members]
        return reading_bytes(grid, plans)

    def _refuse_too_large(self, needed: int, scan: Scan) -> None:
        """Raise MemoryLimitError unless so many bytes more will do, or parts would not help."""
        warning = check_memory(needed, self.memory_bytes, scan.case)
        if warning is None:
            return
        if why_whole(self.model) is None:
            raise MemoryLimitError(warning)
        progress.say(f"Warning: {warning}")

    def finish(
        self, scan: Scan, target: Path, found: tuple[_Read, Volume, float] | AcinusError
    ) -> Rows:
        """Clean, write and examine a label map; its rows of ``predictions.csv``."""
        if isinstance(found, AcinusError):
            raise found
        read, labelmap, seconds = found
        begin = time.monotonic()
        plan = self.model.plan
        # Sides first: the largest component may be the one on the wrong side.
        parts = parts_on_wrong_side([labelmap], read.image, plan)
        if self.relabel_sides:
            labelmap = relabelled(labelmap, parts, plan)
        labelmap = self.model.clean(labelmap, self.postprocess)
        now = labels_of_part(labelmap)
        of_sides = side_notes(parts, plan, now, are_relabelled=self.relabel_sides)
        self.results.write(labelmap, target, scan=scan, image=read.image, plan=plan)
        findings = examine(labelmap, read.image, plan, of_sides)
        if self.overlay:
            picture = target.parent / f"{scan.case}.png"
            write_overlay([(read.image, labelmap)], self.model.labels, picture)
        missing = missing_channels(self.model.channel_names, read.channels)
        notes = missing_notes(missing, scan.left_out)
        if plan.dataset.synthetic:
            notes.append("model learned from synthetic images")
        findings = [replace(one, warnings=(*one.warnings, *notes)) for one in findings]
        seconds += read.seconds + time.monotonic() - begin
        return finding_rows(
            findings, case=scan.case, part="new", model="final", seconds=seconds, missing=missing
        )
