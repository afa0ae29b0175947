"""One case of a public dataset, written in our layout.

Enters: a case as it is published and where it shall go. Leaves: its files, or none of them and
the reason. Images are never changed; a label map is linked as it is wherever neither its values
nor its grid must change.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.cohort.check_case import count_values
from acinus.cohort.importers.align import label_on_grid, read_whole_labels
from acinus.cohort.importers.source import Channel, LabelFile, SourceCase
from acinus.cohort.layout import IMAGES, LABELS
from acinus.errors import AcinusError, DataError
from acinus.scans import Grid, Volume, read_volume, write_volume
from acinus.scans.nifti import read_nifti_volume
from acinus.scans.slabs import open_slabs
from acinus.types import Labelmap

N_PLANES = 16
"""Planes that are held while an image is read to its end."""


@dataclass(frozen=True)
class Place:
    """Where and how cases are written.

    Attributes:
        folder: The new dataset.
        ending: Of all its files.
        labels: Structures, numbered from 1.
        has_own_origin: As of the source.
        use_links: Whether unchanged files are linked.
        trust: Whether a label of the image's shape is taken voxel by voxel.
    """

    folder: Path
    ending: str
    labels: tuple[str, ...]
    has_own_origin: bool
    use_links: bool
    trust: bool


@dataclass(frozen=True)
class Written:
    """What came of one case.

    Attributes:
        fault: Why it is not there; empty if it is.
        notes: What was done to it besides.
        structures: Those that it has.
    """

    fault: str = ""
    notes: tuple[str, ...] = ()
    structures: frozenset[str] = frozenset()


def write_case(case: SourceCase, place: Place) -> Written:
    """Write a case; one that fails leaves no file.

    Args:
        case: As it is published.
        place: Where it goes.
    """
    images = [
        place.folder / IMAGES / f"{case.case_id}_{number:04d}{place.ending}"
        for number in range(len(case.channels))
    ]
    label = place.folder / LABELS / f"{case.case_id}{place.ending}"
    try:
        return _write_label(case, _write_images(case, images, place), label, place)
    except (AcinusError, MemoryError, ValueError, EOFError, OverflowError, OSError) as fault:
        if isinstance(fault, OSError) and fault.errno == errno.ENOSPC:
            raise  # the others would fail as well
        for path in (*images, label):
            path.unlink(missing_ok=True)
        return Written(" ".join(str(fault).split()) or type(fault).__name__)


def _write_images(case: SourceCase, targets: Sequence[Path], place: Place) -> Grid:
    """Write all channels; the grid that they share."""
    grid: Grid | None = None
    for channel, target in zip(case.channels, targets, strict=True):
        if channel is None:
            continue
        own = _write_image(channel, target, place)
        if grid is not None and not grid.matches(own):
            raise DataError(
                f"{channel.path}: all channels of a case must share a grid; this one is "
                f"{grid.displacement_mm(own):.3g} mm off the first."
            )
        grid = grid or own
    if grid is None:
        raise DataError(f"case '{case.case_id}' must have at least one channel.")
    return grid


def _write_image(channel: Channel, target: Path, place: Place) -> Grid:
    """Link, copy or write one channel; its grid."""
    path = channel.path
    if channel.volume is None and path.is_file() and path.name.endswith(place.ending):
        source = open_slabs(path)
        for _ in source.slabs(N_PLANES):
            pass  # to the last byte: what was cut off on the way is told now
        _link_or_copy(path, target, use_links=place.use_links)
        return source.grid
    if channel.volume is not None:
        volume = read_nifti_volume(path, channel.volume)
    else:
        volume = read_volume(path)
    write_volume(volume, target)
    return volume.grid


def _write_label(case: SourceCase, grid: Grid, target: Path, place: Place) -> Written:
    """Unite, renumber and place the labels of a case; link the file if it is as wanted."""
    united: Labelmap | None = None
    notes: list[str] = []
    structures: set[str] = set()
    files = _wanted_files(case, place.labels)
    is_unchanged = len(files) == 1
    for file in files:
        stored, rounded = read_whole_labels(file.path, grid)
        label, moved = label_on_grid(
            stored, grid, has_own_origin=place.has_own_origin, trust_voxels=place.trust
        )
        notes += [note for note in (rounded, moved) if note]
        numbers = _numbers(file, label, place.labels)
        structures |= {file.values[value] for value, number in numbers.items() if number}
        is_unchanged &= not notes and all(old == new for old, new in numbers.items())
        table = np.zeros(max(numbers, default=0) + 1, np.uint8)
        table[list(numbers)] = list(numbers.values())
        renumbered = table[label.array]
        if united is not None and np.any(shared := (renumbered > 0) & (united > 0)):
            raise DataError(
                f"{file.path}: structures must not overlap; {', '.join(file.values.values())} "
                f"shares {int(shared.sum())} voxels with another. Correct one of them, or name "
                "those you want with --labels."
            )
        united = renumbered if united is None else united + renumbered
    only = files[0].path
    if is_unchanged and only.name.endswith(place.ending):
        _link_or_copy(only, target, use_links=place.use_links)
    elif united is not None:
        write_volume(Volume(united, grid.affine), target)
    return Written(notes=tuple(notes), structures=frozenset(structures))


def _wanted_files(case: SourceCase, kept: Sequence[str]) -> list[LabelFile]:
    """The label maps that may hold a kept structure; each must be drawn somewhere.

    A structure that nobody drew in a case must not become its background.
    """
    drawn = {name for file in case.labels for name in file.values.values()}
    absent = [name for name in kept if name not in drawn]
    if absent:
        raise DataError(
            f"{case.labels[0].path.parent}: must have a label of {', '.join(absent)}; there is "
            "none. Name the others with --labels to take this case."
        )
    return [file for file in case.labels if any(name in kept for name in file.values.values())]


def _numbers(file: LabelFile, label: Volume, kept: Sequence[str]) -> dict[int, int]:
    """Every value in a label map to its new one, 0 for structures that are not kept."""
    present = [value for value in count_values(label.array) if value != 0]
    unknown = [value for value in present if value not in file.values]
    if unknown:
        known = ", ".join(f"{value} {name}" for value, name in file.values.items())
        raise DataError(
            f"{file.path}: label values must be {known}; found {', '.join(map(str, unknown))} as "
            "well. Is this another release?"
        )
    names = {value: file.values[value] for value in present}
    return {0: 0} | {
        value: kept.index(name) + 1 if name in kept else 0 for value, name in names.items()
    }


def _link_or_copy(path: Path, target: Path, *, use_links: bool) -> None:
    """Link a file, or copy it where the disk does not allow links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if use_links:
        try:
            os.link(path.resolve(), target)
        except OSError:
            pass
        else:
            return
    shutil.copyfile(path, target)
