"""Reading and writing scans by the suffix of their name.

Enters: a file, or a folder with a DICOM series. Leaves: volumes and grids.
Which function reads which suffix stands in one table, `FORMATS`; guessing a
format by trial was rejected, since a wrong guess hides a broken file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acinus.errors import DataError
from acinus.scans.content import describe_content, require_file
from acinus.scans.dtypes import as_labelmap
from acinus.scans.nifti import read_nifti, read_nifti_grid, write_nifti
from acinus.scans.volume import Grid, Volume


@dataclass(frozen=True)
class Format:
    """How files of one suffix are read and written."""

    read: Callable[[Path], Volume]
    read_grid: Callable[[Path], Grid]
    write: Callable[[Volume, Path], None]


_NIFTI = Format(read_nifti, read_nifti_grid, write_nifti)

FORMATS: dict[str, Format] = {
    ".nii.gz": _NIFTI,
    ".nii": _NIFTI,
}
"""Suffix to functions; a longer suffix stands before the one it ends with."""

KNOWN_SUFFIXES: tuple[str, ...] = tuple(FORMATS)


def suffix_of(path: Path | str) -> str:
    """The known suffix of a name, in lower case; empty if none fits."""
    name = Path(path).name.lower()
    return next((suffix for suffix in KNOWN_SUFFIXES if name.endswith(suffix)), "")


def strip_suffix(path: Path | str) -> str:
    """The file's name without its known suffix: ``a_0000.nii.gz`` gives ``a_0000``."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(name))]


def read_volume(path: Path | str, *, series: str | None = None) -> Volume:
    """The scan in a file, or one DICOM series of a folder.

    Args:
        path: A file with one of `KNOWN_SUFFIXES`, or a folder with DICOM files.
        series: Which series of a folder: its number in the list, its UID, or
            part of its description.

    Raises:
        DataError: The file cannot be read, or the folder holds several series
            and `series` does not choose one.
    """
    path = Path(path)
    return _format_of(path).read(path)


def read_labelmap(path: Path | str) -> Volume:
    """A label map: the values as integers.

    Raises:
        DataError: The file cannot be read, or some values are not whole numbers.
    """
    volume = read_volume(path)
    return volume.with_array(as_labelmap(volume.array, path))


def read_grid(path: Path | str) -> Grid:
    """Where the voxels of a file lie, from its header alone.

    Raises:
        DataError: The header cannot be read or gives no usable geometry.
    """
    path = Path(path)
    return _format_of(path).read_grid(path)


def write_volume(volume: Volume, path: Path | str) -> None:
    """Write a volume in the format of the suffix, whole or not at all.

    Integers and booleans are stored as the smallest of uint8, uint16, int16 and
    int32 that holds them.

    Raises:
        DataError: The suffix is not known, or the affine is singular.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if not suffix:
        raise DataError(
            f"{path}: the name must end with one of {', '.join(KNOWN_SUFFIXES)}; "
            f"found '{''.join(path.suffixes) or 'no suffix'}'."
        )
    FORMATS[suffix].write(volume, path)


def _format_of(path: Path) -> Format:
    """The format of a file that exists.

    Raises:
        DataError: There is no such file, or its suffix is not known.
    """
    require_file(path)
    suffix = suffix_of(path)
    if not suffix:
        raise DataError(
            f"{path}: the name must end with one of {', '.join(KNOWN_SUFFIXES)}; found "
            f"{describe_content(path)}. Rename it, or for DICOM give the folder of the series."
        )
    return FORMATS[suffix]
