"""Reading and writing scans by the suffix of their name.

Enters: a file, or a folder with a DICOM series. Leaves: volumes and grids.
Which function reads which suffix stands in one table, `FORMATS`; guessing a
format by trial was rejected, since a wrong guess hides a broken file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from acinus.errors import DataError
from acinus.scans.content import describe_content, require_file
from acinus.scans.dicom import read_dicom_folder, read_dicom_grid
from acinus.scans.dtypes import as_labelmap
from acinus.scans.itk import read_itk, read_itk_grid, write_itk
from acinus.scans.nifti import read_nifti, read_nifti_grid, write_nifti
from acinus.scans.segments import (
    read_segment_labelmap,
    segments_of,
    write_segments,
)
from acinus.scans.volume import Grid, Volume


@dataclass(frozen=True)
class Format:
    """How files of one suffix are read and written."""

    read: Callable[[Path], Volume]
    read_grid: Callable[[Path], Grid]
    write: Callable[[Volume, Path], None]


def _read_segmentation_grid(path: Path) -> Grid:
    return read_segment_labelmap(path).grid


def _write_segmentation(volume: Volume, path: Path) -> None:
    labelmap = volume.with_array(as_labelmap(volume.array, path))
    write_segments(segments_of(labelmap), path)


_ITK = Format(read_itk, read_itk_grid, write_itk)
_NIFTI = Format(read_nifti, read_nifti_grid, write_nifti)

SEGMENTS = ".seg.nrrd"
"""Suffix of segmentations of 3D Slicer."""

FORMATS: dict[str, Format] = {
    SEGMENTS: Format(read_segment_labelmap, _read_segmentation_grid, _write_segmentation),
    ".nii.gz": _NIFTI,
    ".nii": _NIFTI,
    ".nrrd": _ITK,
    ".mha": _ITK,
    ".mhd": _ITK,
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
    if path.is_dir():
        return read_dicom_folder(path, series=series)
    return _format_of(path).read(path)


def read_labelmap(
    path: Path | str, *, names: Mapping[str, int] | None = None, grid: Grid | None = None
) -> Volume:
    """A label map: the values as integers.

    Args:
        path: A file with one of `KNOWN_SUFFIXES`.
        names: For a .seg.nrrd file, segment name to label; segments not named
            are left out. Without it the values stored in the file are used.
        grid: For a .seg.nrrd file, the grid of the segmented image, which the
            file itself may not tell in full.

    Raises:
        DataError: The file cannot be read, some values are not whole numbers,
            or segments overlap.
        GridError: The segments do not lie on `grid`.
    """
    if suffix_of(path) == SEGMENTS:
        return read_segment_labelmap(path, names, grid=grid)
    volume = read_volume(path)
    return volume.with_array(as_labelmap(volume.array, path))


def read_grid(path: Path | str, *, series: str | None = None) -> Grid:
    """Where the voxels of a file or DICOM series lie, from its header alone.

    Args:
        path: As for `read_volume`.
        series: As for `read_volume`.

    Raises:
        DataError: The header cannot be read or gives no usable geometry.
    """
    path = Path(path)
    if path.is_dir():
        return read_dicom_grid(path, series=series)
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
