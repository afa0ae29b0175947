"""Writing layered NRRD files the way 3D Slicer does.

Enters: label maps in layers and header keys. Leaves: one gzip-compressed NRRD.
SimpleITK was rejected for this direction: it marks layers as vectors, where
Slicer expects a list.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from acinus.errors import DataError
from acinus.files import whole_file
from acinus.scans.orientation import require_usable_affine
from acinus.types import Affine, Labelmap

_TYPES = {
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "int16": "short",
    "int32": "int",
}


def write_nrrd(layers: Labelmap, affine: Affine, keys: Mapping[str, str], path: Path) -> None:
    """Write layers of one grid, a single layer with three axes.

    Args:
        layers: (Z, Y, X, layers) integers.
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        keys: Header keys and values, written in this order.
        path: File to write.

    Raises:
        DataError: The affine is singular, or labels exceed 32 bits.
    """
    require_usable_affine(affine, path)
    if layers.dtype.name not in _TYPES:
        raise DataError(f"{path}: labels must fit into 32 bits; found {layers.dtype}.")
    n_layers = layers.shape[3]
    listed = n_layers > 1
    lps = affine * np.array([[-1.0], [-1.0], [1.0], [1.0]])
    sizes = ([n_layers] if listed else []) + list(layers.shape[2::-1])
    directions = (["none"] if listed else []) + [_vector(lps[:3, axis]) for axis in range(3)]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        f"type: {_TYPES[layers.dtype.name]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {'list ' if listed else ''}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(lps[:3, 3])}",
        *(f"{key}:={_escape(value)}" for key, value in keys.items()),
    ]
    voxels = np.ascontiguousarray(layers, dtype=layers.dtype.newbyteorder("<")).tobytes()
    with whole_file(path) as beside, beside.open("wb") as stream:
        stream.write(("\n".join(lines) + "\n\n").encode("utf-8"))
        stream.write(gzip.compress(voxels, compresslevel=5, mtime=0))


def _vector(values: np.ndarray) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "")
