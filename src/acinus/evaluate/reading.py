"""The two label maps of a case, files of scans or DICOM segmentation objects, on one grid.

Enters: two paths and a table of names. Leaves: two volumes. A DICOM SEG stores no grid of its
own beyond its frames, so that it is read on the grid of the other file, or, of two, on the
smallest that holds both. Refusing two SEGs whose empty slices were left out differently was
rejected: most writers leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from acinus.errors import DataError, GridError
from acinus.scans import (
    KNOWN_SUFFIXES,
    Grid,
    Volume,
    read_dicom_seg,
    read_grid,
    read_labelmap,
    read_named_segments,
    strip_suffix,
)
from acinus.scans.dicom_seg import OFF_GRID_VOX
from acinus.scans.formats import SEGMENTS, suffix_of

DICOM_SUFFIX = ".dcm"

JUDGED_SUFFIXES = (*KNOWN_SUFFIXES, DICOM_SUFFIX)
"""What a label map to be judged may end with."""


def is_dicom(path: Path) -> bool:
    """Whether a file is to be read as DICOM SEG, by its suffix."""
    return path.name.lower().endswith(DICOM_SUFFIX)


def case_name(path: Path) -> str:
    """The name of a label map without its suffix."""
    return path.name[: -len(DICOM_SUFFIX)] if is_dicom(path) else strip_suffix(path)


def read_pair(
    reference: Path, prediction: Path, labels: Mapping[str, int], regions: Mapping[str, object]
) -> tuple[Volume, Volume]:
    """Label maps of a case.

    Args:
        reference: File of the expert's.
        prediction: File of the program's.
        labels: Name of a segment to its value, for DICOM and for segmentations of 3D Slicer.
        regions: Names that unite several values; files of named segments are refused where there
            are any.

    Returns:
        Reference and prediction; on different grids only if they do not hold the same voxels.
        A label map from DICOM tells in its ``meta``, as ``unnamed``, which segments have no
        label and were left out.

    Raises:
        DataError: A file is missing or unreadable, segments overlap, or names do not fit.
    """
    for path, role in ((reference, "reference"), (prediction, "prediction")):
        if not path.exists():
            raise DataError(f"{path}: the {role} of this case must be here and is missing.")
        if has_names(path) and regions:
            raise DataError(
                f"{path}: named segments stand for one value each; 'labels' unites several as "
                f"'{next(iter(regions))}'. Convert the files to label maps."
            )
    if has_names(reference) and has_names(prediction):
        grids = [_grid(path) for path in (reference, prediction)]
        grid = common_grid(*grids) or grids[0]
        return _on(reference, labels, grid), _on(prediction, labels, grid)
    if has_names(reference):
        predicted = read_labelmap(prediction)
        return _on(reference, labels, predicted.grid), predicted
    drawn = read_labelmap(reference)
    if has_names(prediction):
        return drawn, _on(prediction, labels, drawn.grid)
    return drawn, read_labelmap(prediction)


def has_names(path: Path) -> bool:
    """Whether a file tells its structures by name: numbers in it depend on who wrote it."""
    return is_dicom(path) or suffix_of(path) == SEGMENTS


def _grid(path: Path) -> Grid:
    return read_dicom_seg(path).grid if is_dicom(path) else read_grid(path)


def common_grid(one: Grid, other: Grid) -> Grid | None:
    """The smallest grid that holds two others; None if their voxels differ.

    Args:
        one: Its axes are kept.
        other: Axes possibly permuted and flipped.
    """
    into = np.linalg.inv(one.affine) @ other.affine
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]).T
    corners = corners * (np.array(other.shape[::-1]) - 1)[:, np.newaxis]
    exact = into[:3, :3] @ corners + into[:3, 3:]
    turn = np.rint(into[:3, :3])
    index = turn @ corners + np.rint(into[:3, 3:])
    if not np.array_equal(turn.T @ turn, np.eye(3)) or np.abs(exact - index).max() > OFF_GRID_VOX:
        return None
    low = np.minimum(index.min(axis=1), 0).astype(int)
    high = np.maximum(index.max(axis=1), np.array(one.shape[::-1]) - 1).astype(int)
    affine = one.affine.copy()
    affine[:3, 3] += one.affine[:3, :3] @ low
    x, y, z = (high - low + 1).tolist()
    return Grid((z, y, x), affine)


def _on(path: Path, labels: Mapping[str, int], grid: Grid) -> Volume:
    """Named segments on a grid, or on their own where they do not fit: the caller tells how far."""

    def read(onto: Grid | None) -> Volume:
        if is_dicom(path):
            return read_dicom_seg(path, onto).labelmap(labels)
        return read_named_segments(path, labels, grid=onto)

    try:
        return read(grid)
    except GridError:
        return read(None)
