"""Structures of RTSTRUCT and SEG objects as one label map on the grid of a case.

Enters: objects that refer to a series, the table of names, and the grid that
the series was written on. Leaves: a label map, which labels were drawn, and
remarks. Structures may touch: few shared voxels go to the label that comes
first; more are refused, since one of the two would be cut.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.cohort.convert.mapping import ExportMapping
from acinus.errors import DataError, GridError
from acinus.progress import plural
from acinus.scans import (
    DicomSegments,
    Grid,
    Series,
    StoredSegmentation,
    Volume,
    on_disk,
    read_dicom_seg,
    read_rtstruct,
    resample_onto,
    stack_grid,
)
from acinus.scans.coding import Side
from acinus.types import Labelmap, Mask

MOST_SHARED = 0.05
"""Largest share of a structure that may be inside another one: contours that touch."""

CHANGED_SHARE = 0.1
"""Change of a structure's volume by moving it to another grid that is told, of that as drawn."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A label map and how it came about.

    Attributes:
        labelmap: Label values on the grid of the image.
        n_voxels: Label that has a structure to its number of voxels, by value.
        lost: Labels whose structure was drawn and has no voxel: neither there nor absent.
        notes: What a user must know.
        sides: Side of each label that has one: as stated, or else as its structure is coded.
        coded: Label whose side is that of a code to the structure that has it, in words.
    """

    labelmap: Volume
    n_voxels: dict[str, int]
    lost: tuple[str, ...]
    notes: tuple[str, ...]
    sides: dict[str, Side]
    coded: dict[str, str]


def draw_labels(
    objects: Sequence[tuple[Series, StoredSegmentation]],
    mapping: ExportMapping,
    image: Volume,
    written: Mapping[int, Volume],
) -> Drawn:
    """The label map of a case.

    Args:
        objects: Each with the series that it was drawn on; no label is in two of them.
        mapping: Names and sides of the labels.
        image: The first channel as written: perhaps repaired, or freed of tilt.
        written: `id` of each series that became a channel to its image as read: perhaps repaired.

    Raises:
        DataError: An object cannot be read, structures overlap, or a coded side
            contradicts the label's.
        GridError: Structures do not lie on the series.
    """
    labels = np.zeros(image.shape, np.uint8)
    notes: list[str] = []
    names: set[str] = set()
    lost: list[str] = []
    unnamed: set[str] = set()
    coded: dict[str, set[Side | None]] = {}
    coded_by: dict[str, str] = {}
    for series, one in objects:
        with _file_of(one) as file:
            repaired = written.get(id(series)) if series.faults else None
            made = () if repaired is None else repaired.meta.get("interpolated", ())
            if made and any(fault.code == "uneven" for fault in series.faults):
                raise DataError(
                    f"{one.kind} '{one.label}': the slices that it was drawn on must be evenly "
                    "spaced; they are not, and the repaired image has others. Export the series "
                    "again, or convert it without labels."
                )
            grid = _stored_grid(series) if repaired is None else repaired.meta["even_grid"]
            drawn = _read(one, file, grid, series)
            notes += [*drawn.notes, *_other_frame(one, series)]
            if not drawn.grid.matches(image.grid):
                notes.append(f"labels of {one.kind} '{one.label}' moved to the image's grid")
            fitting = mapping.labels_of([name for name in drawn.names if name in one.names])
            unnamed |= {name for name, own in fitting.items() if not own}
            wanted = [structure for structure in drawn.structures if fitting.get(structure.name)]
            for structure in sorted(wanted, key=lambda s: mapping.values[fitting[s.name][0]]):
                label = fitting[structure.name][0]
                side = mapping.labels[label].side
                if side is not None and set(structure.sides) - {side}:
                    raise DataError(
                        f"structure '{structure.name}' is coded as {' and '.join(structure.sides)};"
                        f" its label '{label}' is stated to be {side}. Correct 'roi' or 'side'."
                    )
                if len(structure.sides) > 1:
                    notes.append(
                        f"structure '{structure.name}' is coded as {' and '.join(structure.sides)}:"
                        " its side is not checked"
                    )
                mask = drawn.draw(structure)
                n_filled = _fill_interpolated(mask, made)
                if n_filled:
                    notes.append(
                        f"structure '{structure.name}': filled from its neighbours on {n_filled} "
                        f"interpolated {plural('slice', n_filled)}, on which nothing is drawn"
                    )
                before = mask
                mask = _on_grid(before, drawn.grid, image)
                notes += _paint(labels, mask, label, mapping)
                if mask.any():
                    coded.setdefault(label, set()).add(structure.side)
                    coded_by[label] = f"structure '{structure.name}' of {one.kind} '{one.label}'"
                    notes += _moved(structure.name, before, drawn.grid, mask, image)
                    names.add(label)
                elif before.any() or structure.number in drawn.outlined:
                    lost.append(label)
                    notes.append(_without_voxel(structure.name, before, drawn.grid))
                elif mapping.missing == "absent":
                    names.add(label)
                else:  # planning systems put empty structures of a template into every set
                    notes.append(f"structure '{structure.name}' is empty and counts as not drawn")
    if unnamed:
        notes.append(f"structures without a label: {', '.join(sorted(unnamed))}")
    n_voxels = {
        name: int(np.count_nonzero(labels == value))
        for name, value in mapping.values.items()
        if name in names
    }
    # A label of structures on both sides has none.
    agreed = {label: own.pop() for label, own in coded.items() if len(own) == 1}
    by_code = {label: side for label, side in agreed.items() if side is not None}
    unstated = {label: coded_by[label] for label in by_code if label not in mapping.sides}
    sides = by_code | mapping.sides
    return Drawn(
        labelmap=image.with_array(labels),
        n_voxels=n_voxels,
        lost=tuple(lost),
        notes=tuple(notes),
        sides=sides,
        coded=unstated,
    )


@contextmanager
def _file_of(one: StoredSegmentation) -> Iterator[Path]:
    """A file of the object, or of its copy out of an archive; a damaged archive is told."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context(on_disk(one.path))
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"{one.path}: {one.kind} '{one.label}' must be readable; {error}. Export it again."
            ) from error
        yield file


def _stored_grid(series: Series) -> Grid:
    """Where the slices of a series lie in the files: with the shear of a tilted gantry."""
    return stack_grid(series.slices, series.description)


def _read(one: StoredSegmentation, file: Path, grid: Grid, series: Series) -> DicomSegments:
    try:
        if one.kind == "RTSTRUCT":
            return read_rtstruct(file, grid, series, names=one.names)
        return read_dicom_seg(file, grid)
    except (DataError, GridError) as error:
        found = str(error).replace(str(file), str(one.path))
        raise type(error)(f"{one.kind} '{one.label}': {found}") from error


def _other_frame(one: StoredSegmentation, series: Series) -> list[str]:
    """A note on a SEG of another frame of reference than its series.

    Contours are judged one by one where they are read: each may name an image.

    Raises:
        DataError: It names no image of the series either: its positions mean other places.
    """
    own = series.tags.get("FrameOfReferenceUID", "")
    if one.kind != "SEG" or not own or not one.frames_of_reference:
        return []
    if own in one.frames_of_reference:
        return []
    images = {item.tags.get("SOPInstanceUID", "") for item in series.slices}
    if not images & {uid for uid, _ in one.images}:
        raise DataError(
            f"SEG '{one.label}': must lie in the frame of reference of '{series.description}', or "
            "name its images; it does neither. Give the series that was segmented."
        )
    return [
        f"SEG '{one.label}' lies in another frame of reference than the images that it names; "
        "look whether it fits"
    ]


def _fill_interpolated(mask: Mask, made: Sequence[int]) -> int:
    """Fill interpolated slices from the nearest measured one; how many were filled.

    Only where nothing is drawn on them, and the structure is there below and above: one that
    ends beside a lost slice may as well have ended on it.

    Args:
        mask: (Z, Y, X), changed.
        made: Indices of the interpolated slices; neither the first nor the last is one.
    """
    measured = np.setdiff1d(np.arange(len(mask)), made)
    n_filled = 0
    for z in made:
        below, above = measured[measured < z][-1], measured[measured > z][0]
        if not mask[z].any() and mask[below].any() and mask[above].any():
            mask[z] = mask[below if z - below <= above - z else above]
            n_filled += 1
    return n_filled


def _on_grid(mask: Mask, grid: Grid, image: Volume) -> Mask:
    """A mask on the grid of the image."""
    if grid.matches(image.grid):
        return mask
    moved = resample_onto(Volume(mask.astype(np.uint8), grid.affine), image.grid, order=0)
    return moved.array > 0


def _moved(name: str, before: Mask, grid: Grid, after: Mask, image: Volume) -> list[str]:
    """A note on a structure that has another volume on the image's grid than as drawn."""
    drawn_ml, here_ml = _volume_ml(before, grid), _volume_ml(after, image.grid)
    if abs(here_ml - drawn_ml) <= CHANGED_SHARE * drawn_ml:
        return []
    return [f"structure '{name}' has {here_ml:.3g} mL on the image's grid, {drawn_ml:.3g} as drawn"]


def _without_voxel(name: str, before: Mask, grid: Grid) -> str:
    """What is told of a structure that was drawn and has no voxel."""
    if before.any():
        return (
            f"structure '{name}', of {_volume_ml(before, grid):.3g} mL as drawn, has no voxel on "
            "the image's grid and counts as not annotated; let the series that it was drawn on be "
            "the first channel"
        )
    return (
        f"structure '{name}' has contours, but none holds the centre of a voxel; it counts as not "
        "annotated"
    )


def _volume_ml(mask: Mask, grid: Grid) -> float:
    return np.count_nonzero(mask) * grid.voxel_volume_ml


def _paint(labels: Labelmap, mask: Mask, label: str, mapping: ExportMapping) -> list[str]:
    """Paint a mask where nothing is yet; remarks on what it shares with other labels."""
    shared = np.bincount(labels[mask], minlength=len(mapping.labels) + 1)
    notes = []
    for name, value in mapping.values.items():
        n_shared = int(shared[value])
        if not n_shared:
            continue
        smaller = min(int(shared.sum()), int(np.count_nonzero(labels == value)))
        if n_shared > MOST_SHARED * smaller:
            raise DataError(
                f"structures must not overlap by more than {MOST_SHARED:.0%}; '{label}' and "
                f"'{name}' share {n_shared} voxels, {n_shared / smaller:.0%} of the smaller. "
                "Correct the structures, or leave one of them out of 'labels'."
            )
        notes.append(f"{n_shared} voxels of '{label}' and '{name}' went to '{name}'")
    labels[mask & (labels == 0)] = mapping.values[label]
    return notes
