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
from acinus.scans import KNOWN_SUFFIXES, Grid, Volume, read_dicom_seg, read_labelmap, strip_suffix
from acinus.scans.dicom_seg import OFF_GRID_VOX

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
        labels: Name of a segment to its value, for DICOM.
        regions: Names that unite several values; DICOM is refused where there are any.

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
        if is_dicom(path) and regions:
            raise DataError(
                f"{path}: segments of DICOM stand for one value each; 'labels' unites several as "
                f"'{next(iter(regions))}'. Convert the files to label maps."
            )
    if is_dicom(reference) and is_dicom(prediction):
        grids = [read_dicom_seg(path).grid for path in (reference, prediction)]
        grid = common_grid(*grids) or grids[0]
        return _on(reference, labels, grid), _on(prediction, labels, grid)
    if is_dicom(reference):
        predicted = read_labelmap(prediction)
        return _on(reference, labels, predicted.grid), predicted
    drawn = read_labelmap(reference)
    if is_dicom(prediction):
        return drawn, _on(prediction, labels, drawn.grid)
    return drawn, read_labelmap(prediction)


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
    """A DICOM SEG on a grid, or on its own where it does not fit: the caller tells how far."""
    try:
        return read_dicom_seg(path, grid).labelmap(labels)
    except GridError:
        return read_dicom_seg(path).labelmap(labels)
