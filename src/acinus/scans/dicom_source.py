"""What a DICOM result is written on: the headers of its source series, and who made it.

Enters: a series and a label map on its grid. Leaves: headers in the order of the slices, with
whatever the standard wants of every object filled in. Taking patient and study from options was
rejected: a result must land in the study that it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acinus.errors import DataError, GridError
from acinus.scans.coding import Laterality, Side
from acinus.scans.orientation import on_grid_of
from acinus.scans.series import Series
from acinus.scans.slices import Slice, open_dicom
from acinus.scans.stack import stack_grid
from acinus.scans.volume import Grid, Volume
from acinus.types import Labelmap, Mask
from acinus.version import __version__

MANUFACTURER = "Acinus"

SERIES_NUMBER_STEP = 1000
"""Added to the number of the source series, so that the result is listed beside it."""

UNICODE = "ISO_IR 192"
"""SpecificCharacterSet of what is written; texts of the source are turned into it."""

Maker = Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]

_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""What every object must have, if only empty; exports without names often lack them."""


_MUST_BE_THERE = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
"""What a result refers to."""


@dataclass(frozen=True)
class LabelledStructure:
    """A structure of a label map.

    Attributes:
        name: Its label.
        values: Values that stand for it, above 0.
        side: Side of the patient, where it has one.
    """

    name: str
    values: tuple[int, ...]
    side: Side | None = None

    def mask(self, labelmap: Labelmap) -> Mask:
        """Where it is.

        Args:
            labelmap: (Z, Y, X) integers, or a part of them.
        """
        return np.asarray(np.isin(labelmap, self.values))


@dataclass(frozen=True)
class Origin:
    """Who made a segmentation.

    Attributes:
        algorithm: Name of the model or program; empty: a person drew it.
        version: Its version.
        maker: Whether a program, a person with a program, or a person made it.
        warning: What whoever looks at it must know; empty: nothing.
    """

    algorithm: str
    version: str = __version__
    maker: Maker = "AUTOMATIC"
    warning: str = ""

    @property
    def text(self) -> str:
        """Who made it, in words."""
        return f"{self.algorithm} {self.version}".strip() or "drawn by a person"

    @property
    def short_warning(self) -> str:
        """The warning as far as a short text of DICOM (64 characters) holds it."""
        return self.warning[:64]


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The images that were segmented.

    Attributes:
        series: Where they came from.
        headers: pydicom datasets without pixels, one a slice of the grid; that of a multi-frame
            object stands for each of its slices.
        slices: Where each lies.
        grid: Of the stack.
    """

    series: Series
    headers: tuple[Any, ...]
    slices: tuple[Slice, ...]
    grid: Grid

    @property
    def is_multi_frame(self) -> bool:
        """Whether all slices are frames of one object."""
        return self.slices[0].frame is not None


def series_number(header: Any) -> int:
    """Number of the result's series: `SERIES_NUMBER_STEP` above its source, where that fits."""
    number = int(header.get("SeriesNumber") or 0) + SERIES_NUMBER_STEP
    return number if number < 2**31 else SERIES_NUMBER_STEP


def dicom_names(structures: Sequence[LabelledStructure]) -> list[str]:
    """Names of structures as DICOM texts hold them: 64 characters, no backslash, none twice.

    Args:
        structures: Of one label map.
    """
    names: list[str] = []
    for one in structures:
        plain = "".join(char if char.isprintable() and char != "\\" else " " for char in one.name)
        name = plain.strip()[:64].strip() or "structure"
        number, free = 1, name
        while free in names:
            number += 1
            free = f"{name[:58]} ({number})"
        names.append(free)
    return names


def mark_of(header: Any) -> str:
    """``"SYNTHETIC "`` for a result on images that are marked as computed; else empty."""
    return "SYNTHETIC " if header.get("SyntheticData") == "YES" else ""


def on_series(labelmap: Volume, grid: Grid, series: Series) -> Volume:
    """A label map in the order of the voxels of a series; axes are turned where need be.

    Args:
        labelmap: Integers.
        grid: Of the series.
        series: For messages.

    Raises:
        GridError: The label map does not hold the voxels of the series.
    """
    try:
        return on_grid_of(labelmap, grid)
    except GridError as error:
        raise GridError(
            f"the label map must lie on the grid of series '{series.description}': {error}"
        ) from error


def _header(path: Path) -> Any:
    """A header with all that a result needs of it."""
    header = open_dicom(path, stop_before_pixels=True)
    lacking = [keyword for keyword in _MUST_BE_THERE if not header.get(keyword)]
    if lacking:
        raise DataError(
            f"{path}: must state {', '.join(_MUST_BE_THERE)}, since results refer to them; "
            f"{lacking[0]} is missing. Export the series again, or write NIfTI."
        )
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def read_source(series: Series) -> SourceSeries:
    """Headers of a series, in the order of its slices.

    Raises:
        DataError: It is neither a stack of single slices nor one multi-frame object, or lacks
            what a result refers to.
    """
    files = dict.fromkeys(item.path for item in series.slices)
    if len(files) > 1 and any(item.frame is not None for item in series.slices):
        raise DataError(
            f"{series.slices[0].path}: results are written on series of single slices, or on one "
            f"multi-frame object; '{series.description}' has {len(files)} objects. Write NIfTI "
            "instead."
        )
    opened = {path: _header(path) for path in files}
    headers = [opened[item.path] for item in series.slices]
    grid = stack_grid(series.slices, series.description, series.skipped)
    return SourceSeries(series, tuple(headers), series.slices, grid)


def laterality_of(
    structure: LabelledStructure, structures: Sequence[LabelledStructure]
) -> Laterality | None:
    """Side of a structure as stated, or of a region by what it unites; None: it has none.

    A region has a side, or both, where structures with a side make up all of it. What only holds
    some of them, such as a tumour with a part on the right, has none: nobody stated it.

    Args:
        structure: One of the structures.
        structures: Of one label map.
    """
    if structure.side is not None:
        return structure.side
    own = set(structure.values)
    within = [one for one in structures if one.side is not None and set(one.values) <= own]
    sides: set[Side] = {one.side for one in within if one.side is not None}
    if own != {value for one in within for value in one.values}:
        return None
    return sides.pop() if len(sides) == 1 else "both"


def are_apart(structures: Sequence[LabelledStructure]) -> bool:
    """Whether no value belongs to two structures.

    Args:
        structures: Of one label map.
    """
    values = [value for one in structures for value in one.values]
    return len(set(values)) == len(values)
