"""Scans that are never held whole: read slab by slab, written slab by slab.

Enters: scans, and a model with a locate stage or one for which they are too large. Leaves: label
maps on the grids of their inputs, the rows of ``predictions.csv`` and those of ``boxes.csv``. One
scan after the other: reading the next one ahead would hold more than the boxes of one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from acinus import progress
from acinus.errors import AcinusError, DataError, GridError, MemoryLimitError
from acinus.predict.findings import examine_located, finding_rows
from acinus.predict.locate import Located
from acinus.predict.locate.stage import GROUP_VOX
from acinus.predict.memory import check_memory, room_for
from acinus.predict.missing import missing_channels, missing_notes
from acinus.predict.model import Model, Postprocess, assembled, refuse_nothing_found
from acinus.predict.overlay import write_overlay
from acinus.predict.parts import segment_in_parts
from acinus.predict.results import Results
from acinus.predict.sides import (
    labels_of_box_part,
    parts_of_boxes_on_wrong_side,
    relabelled_pieces,
    side_notes,
)
from acinus.predict.source import Scan
from acinus.scans import read_series, resample_onto
from acinus.scans.box import Slices, hull
from acinus.scans.nifti import geometry_codes
from acinus.scans.series import Series
from acinus.scans.slabs import (
    SlabReader,
    VolumeSlabs,
    are_slabs,
    open_slabs,
    read_parts,
    write_pieces,
)

CORNERS = tuple(f"{end}_{axis}_mm" for end in ("low", "high") for axis in "ras")
"""Faces of a box in the RAS+ world."""

BOX_COLUMNS = (
    "case",
    "place",
    "labels",
    *CORNERS,
    "growths",
    *(f"last_{name}" for name in CORNERS),
    "last_voxels",
    "cut",
    "locate_seconds",
    "segment_seconds",
    "reason",
)
"""Columns of ``boxes.csv``: a row a case and place; the box as it was found and, after its growths,
as it was segmented at last, mm, and in voxels of the scan (Z, Y, X, each from:to); the labels that
this one cuts off, joined by semicolons like those of the place; seconds of the whole case; why
there is no box."""

Rows = list[dict[str, object]]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class LocatedJob:
    """How scans are segmented in boxes, or without a locator in parts; see `predict_paths`.

    Attributes:
        model: What segments them.
        postprocess: What is done after the network.
        overlay: Whether pictures are made.
        memory_bytes: Most that this process may take; None: what is free.
        results: In which form results are written.
        relabel_sides: Whether parts on the wrong side are given to their partners.
        boxes: Receives the rows of ``boxes.csv``; of parts there are none.
    """

    model: Model
    postprocess: Postprocess
    overlay: bool
    memory_bytes: int | None
    results: Results
    relabel_sides: bool
    boxes: Rows

    def run(
        self, scans: Sequence[Scan], targets: Sequence[Path]
    ) -> Iterator[tuple[Scan, Path, Rows | AcinusError]]:
        """Each scan with its target and its rows, or with the reason why there are none."""
        for scan, target in zip(scans, targets, strict=True):
            yield scan, target, caught(self._segment, scan, target)

    def _segment(self, scan: Scan, target: Path) -> Rows:
        begin = time.monotonic()

        def watch(needed: int) -> None:
            warning = check_memory(needed, self.memory_bytes, scan.case)
            if warning is not None:
                progress.say(f"Warning: {warning}")

        try:
            self.model.refuse_missing(scan.channels)
        except DataError as error:
            raise DataError(f"{scan.where}: {error}") from error
        is_written_whole = self.results.are_dicom or not are_slabs(target)
        if each := sum(map(_bytes_at_once, scan.channels)) + 2 * is_written_whole:
            watch(each * math.prod(scan.grid().shape))
        sources = [_open(channel) for channel in scan.channels]
        notes: list[str] = []
        try:
            if self.model.locator is None:
                located, n_parts = segment_in_parts(self.model, sources, self._room, watch)
                notes.append(f"segmented in {n_parts} parts")
            else:
                located = self.model.predict_located(sources, postprocess="none", watch=watch)
                refuse_nothing_found(located)
        except MemoryLimitError:  # it names the case
            raise
        except (DataError, GridError) as error:
            raise DataError(f"{scan.where}: {error}") from error
        first = next(one for one in sources if one is not None)
        plan = self.model.plan
        # Sides first: the largest component may be the one on the wrong side.
        parts = parts_of_boxes_on_wrong_side(located, plan)
        before = located
        if self.relabel_sides:
            located = relabelled_pieces(located, parts, plan)
        located = self.model.clean_located(located, self.postprocess)
        now = labels_of_box_part(before, located)
        of_sides = side_notes(parts, plan, now, are_relabelled=self.relabel_sides)
        if self.model.locator is not None:
            self.boxes.extend(box_rows(located, scan.case))
        if self.results.are_dicom:
            self.results.write(
                assembled(located), target, scan=scan, image=None, plan=self.model.plan
            )
        else:
            write_pieces(located.parts(), located.grid, geometry_codes(first.meta), target)
        if self.overlay:
            _draw(first, located, self.model, target.parent / f"{scan.case}.png")
        missing = missing_channels(self.model.channel_names, sources)
        notes += missing_notes(missing, scan.left_out)
        if plan.dataset.synthetic:
            notes.append("model learned from synthetic images")
        findings = examine_located(located, plan, of_sides)
        findings = [replace(one, warnings=(*one.warnings, *notes)) for one in findings]
        seconds = time.monotonic() - begin
        return finding_rows(
            findings, case=scan.case, part="new", model="final", seconds=seconds, missing=missing
        )

    def _room(self) -> int:
        """Bytes that may be taken beside those that are."""
        return room_for(self.memory_bytes)


def caught(work: Callable[..., T], *arguments: object) -> T | AcinusError:
    """What a work answers, or the fault that ends it for one scan and no other."""
    try:
        return work(*arguments)
    except AcinusError as error:
        return error
    except (MemoryError, OSError) as error:
        why = str(error) or "the memory of this machine does not suffice"
        return DataError(f"it must be readable, and fit into memory and on the disk; {why}.")


def box_rows(located: Located, case: str) -> Rows:
    """Rows of ``boxes.csv`` of one case."""
    rows: Rows = []
    for piece in (one for one in located.pieces if not one.is_moved):
        box = piece.box(located.grid)
        row: dict[str, object] = dict.fromkeys(BOX_COLUMNS, "")
        row |= {
            "case": case,
            "place": piece.place.name,
            "labels": ";".join(piece.place.labels),
            "growths": piece.n_growths,
            "cut": ";".join(piece.cut),
            "locate_seconds": round(located.locate_s, 3),
            "segment_seconds": round(located.segment_s, 3),
            "reason": piece.place.reason,
        }
        if piece.part is not None:
            row["last_voxels"] = " ".join(f"{edge.start}:{edge.stop}" for edge in piece.part)
        for prefix, one in (("", piece.place.box), ("last_", box)):
            if one is not None:
                corners = (*one.low_mm, *one.high_mm)
                row |= {
                    f"{prefix}{name}": round(value, 6)  # faces of voxels: coarser takes a layer in
                    for name, value in zip(CORNERS, corners, strict=True)
                }
        rows.append(row)
    return rows


def _bytes_at_once(channel: Path | Series | None) -> int:
    """For each voxel of a channel, while it is read; 0 where that goes slab by slab.

    The library that reads files holds a copy of its own meanwhile.
    """
    if channel is None:
        return 0
    if isinstance(channel, Series):
        return 4
    return 0 if are_slabs(channel) else 8


def _open(channel: Path | Series | None) -> SlabReader | None:
    if channel is None:
        return None
    if isinstance(channel, Series):
        return VolumeSlabs(read_series(channel))
    return open_slabs(channel)


def _draw(source: SlabReader, located: Located, model: Model, path: Path) -> None:
    """The contours on the part of the scan that holds all boxes, or on each if that is large, or on
    the overview if each is."""
    around = hull(part for part, _ in located.parts())
    if _n_voxels(around) > GROUP_VOX:
        held = [one for one in located.parts() if one[1].any()] or located.parts()
        if max(_n_voxels(part) for part, _ in held) > GROUP_VOX:
            coarse = resample_onto(assembled(located, around), located.overview.grid, order=0)
            write_overlay([(located.overview, coarse)], model.labels, path)
            return
        images = read_parts(source, [part for part, _ in held])
        shown = [
            (image, image.with_array(own)) for image, (_, own) in zip(images, held, strict=True)
        ]
        write_overlay(shown, model.labels, path)
        return
    image = read_parts(source, [around])[0]
    write_overlay([(image, assembled(located, around))], model.labels, path)


def _n_voxels(part: Slices) -> int:
    return math.prod(edge.stop - edge.start for edge in part)
