"""Axial maps that the making wing left as ``.npz``: samplings and saliency.

Enters: a file of plain arrays. Leaves: pictures in radiological orientation with
their size in mm. Pickled arrays are refused, as everywhere.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acinus.errors import DataError
from acinus.types import Array


@dataclass(frozen=True, eq=False)
class PlaneMap:
    """Arrays over one axial slice.

    Attributes:
        arrays: Name to array, (..., Y, X) as stored.
        display: Whether row 0 is the top of the picture and column 0 its left; if
            not, rows increase towards anterior and columns towards the right.
        spacing_mm: (Y, X) distance between pixel centres, mm; (1, 1) if not stored.
    """

    arrays: Mapping[str, Array]
    display: bool
    spacing_mm: tuple[float, float]

    def picture(self, name: str) -> Array:
        """(..., Y, X) array with the top row first and the patient's right at the left."""
        array = self.arrays[name]
        return array if self.display else array[..., ::-1, ::-1]

    @property
    def size_mm(self) -> tuple[float, float]:
        """(height, width) of the slice, mm."""
        rows, columns = self.arrays["image"].shape[-2:]
        return rows * self.spacing_mm[0], columns * self.spacing_mm[1]

    @property
    def height_over_width(self) -> float:
        """Shape of the picture."""
        return self.size_mm[0] / self.size_mm[1]

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) for a picture whose first row is on top."""
        height, width = self.size_mm
        return 0.0, width, 0.0, height

    @property
    def case(self) -> str:
        """Case of the slice; empty if not stored."""
        return str(self.arrays["case"]) if "case" in self.arrays else ""

    @property
    def label(self) -> str:
        """Label of the map; empty if not stored."""
        return str(self.arrays["label"]) if "label" in self.arrays else ""

    @property
    def plane(self) -> str:
        """``axial``, ``coronal`` or ``sagittal``; axial if not stored."""
        return str(self.arrays["plane"]) if "plane" in self.arrays else "axial"

    @property
    def slice_index(self) -> int | None:
        """Index of the slice in its volume; None if not stored."""
        return int(self.arrays["slice_index"]) if "slice_index" in self.arrays else None


def read_maps(path: Path, needed: Sequence[str]) -> PlaneMap:
    """Maps of a file.

    Args:
        path: ``.npz`` file.
        needed: Names of arrays that must be there with the (Y, X) of ``image``.

    Raises:
        DataError: The file is missing, no ``.npz`` of plain arrays, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: must be an .npz file of plain arrays; {error}.") from None
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(f"{path}: must hold {', '.join(needed)}; lacks {', '.join(missing)}.")
    plane = arrays["image"].shape[-2:]
    for name in needed:
        if arrays[name].ndim >= 2 and arrays[name].shape[-2:] != plane:
            raise DataError(
                f"{path}: '{name}' must have the plane {plane} of the image; got "
                f"{arrays[name].shape[-2:]}."
            )
    spacing = np.ravel(arrays.get("spacing_mm", (1.0, 1.0)))[-2:]
    display = bool(arrays.get("display", False))
    return PlaneMap(arrays, display, (float(spacing[0]), float(spacing[1])))
