"""Reading MetaImage files (.mha, .mhd).

Enters: one three-dimensional image, raw or zlib-compressed, in the file itself
or one data file beside it. Leaves: values and affine in RAS+ mm. ITK's reader
was rejected: it fills short data with zeros, and damaged headers make it write
beyond its memory, which ends the process. ITK remains the writer, and the
oracle of the tests.

Source: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from acinus.errors import DataError
from acinus.scans.content import require_file, unreadable
from acinus.scans.orientation import require_usable_affine
from acinus.types import Affine, Array

_KIND = "a whole MetaImage (.mha, or .mhd beside its data file)"

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""MetaImage element type to numpy type; MET_LONG differs between machines and is refused."""

_LONGEST_HEADER = 1 << 16
"""Bytes within which the header must end."""

_MOST_ZLIB_SHRINKS = 1032
"""Largest ratio of uncompressed to compressed bytes that deflate can reach."""


@dataclass(frozen=True, eq=False)
class MetaHeader:
    """What a MetaImage header says.

    Attributes:
        shape: (Z, Y, X) voxels.
        n_channels: Values a voxel.
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        dtype: Type of the stored values, with byte order.
        data: File that holds the values.
        start: Where they begin in it, bytes; None: they are its last bytes.
        compressed: Whether they are zlib-compressed.
    """

    shape: tuple[int, int, int]
    n_channels: int
    affine: Affine
    dtype: np.dtype
    data: Path
    start: int | None
    compressed: bool

    @property
    def n_bytes(self) -> int:
        """Length of the uncompressed values."""
        z, y, x = self.shape
        return z * y * x * self.n_channels * self.dtype.itemsize


def read_metaimage_header(path: Path) -> MetaHeader:
    """Geometry and layout, from the header alone.

    Raises:
        DataError: The file is no MetaImage, has more than three axes, or no
            usable geometry.
    """
    require_file(path)
    try:
        with path.open("rb") as stream:
            fields = _fields(stream)
            start = stream.tell()
        header = _header(fields, path, start)
    except DataError:
        raise
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise unreadable(path, _KIND, error) from error
    require_usable_affine(header.affine, path)
    return header


def read_metaimage_values(header: MetaHeader, path: Path) -> Array:
    """(Z, Y, X) values, or (Z, Y, X, channels) if there are several a voxel.

    Args:
        header: What `read_metaimage_header` returned for the file.
        path: The file, for messages.

    Raises:
        DataError: The data are missing, or of another length than announced.
    """
    try:
        with header.data.open("rb") as stream:
            if header.start is None:
                stream.seek(max(0, header.data.stat().st_size - header.n_bytes))
            else:
                stream.seek(header.start)
            values = _inflate(stream, header) if header.compressed else stream.read(header.n_bytes)
    except (OSError, ValueError, zlib.error) as error:
        raise unreadable(path, _KIND, error) from error
    if len(values) != header.n_bytes:
        message = f"the header announces {header.n_bytes} bytes of voxels, there are {len(values)}"
        raise unreadable(header.data, _KIND, EOFError(message))
    shape = (*header.shape, header.n_channels) if header.n_channels > 1 else header.shape
    array = np.frombuffer(values, dtype=header.dtype).reshape(shape)
    return array.astype(header.dtype.newbyteorder("="))


def _fields(stream: BinaryIO) -> dict[str, str]:
    """Keys and values up to ElementDataFile; the stream is left behind that line."""
    fields: dict[str, str] = {}
    while stream.tell() < _LONGEST_HEADER:
        key, equals, value = stream.readline(_LONGEST_HEADER).decode("latin-1").partition("=")
        if not equals:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields
    raise ValueError("no MetaImage header")


def _header(fields: dict[str, str], path: Path, start: int) -> MetaHeader:
    sizes = [int(part) for part in fields["DimSize"].split()]
    n_axes = int(fields["NDims"])
    if len(sizes) != n_axes or min(sizes) < 1:
        raise ValueError(f"NDims {n_axes} with DimSize {fields['DimSize']}")
    if n_axes < 3 or any(size > 1 for size in sizes[3:]):
        raise DataError(
            f"{path}: must be one three-dimensional image; found {n_axes} axes, size (x, y, z, "
            f"...) {tuple(sizes)}. Save the volume that is wanted to a file of its own."
        )
    if not _is_true(fields.get("BinaryData", "True")):
        raise ValueError("text instead of binary data")
    if fields["ElementType"] not in _TYPES:
        raise ValueError(f"ElementType {fields['ElementType']}")
    data, data_start = _data_place(fields, path, start)
    most_significant_first = _is_true(
        fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    )
    header = MetaHeader(
        shape=(sizes[2], sizes[1], sizes[0]),
        n_channels=int(fields.get("ElementNumberOfChannels", "1")),
        affine=_affine(fields, n_axes),
        dtype=np.dtype((">" if most_significant_first else "<") + _TYPES[fields["ElementType"]]),
        data=data,
        start=data_start,
        compressed=_is_true(fields.get("CompressedData", "False")),
    )
    if header.n_channels < 1:
        raise ValueError(f"ElementNumberOfChannels {header.n_channels}")
    if data.is_file():
        shrinks = _MOST_ZLIB_SHRINKS if header.compressed else 1
        if header.n_bytes > data.stat().st_size * shrinks:
            message = f"the header announces {header.n_bytes} bytes of voxels"
            raise unreadable(data, _KIND, EOFError(message))
    return header


def _data_place(fields: dict[str, str], path: Path, start: int) -> tuple[Path, int | None]:
    """File of the values and where they begin; HeaderSize -1 means at its end."""
    name = fields["ElementDataFile"]
    if name.upper() == "LOCAL":
        return path, start
    if name.upper().startswith("LIST") or "%" in name:
        raise ValueError("data in several files; save the image as one .mha")
    skip = int(fields.get("HeaderSize", "0"))
    return path.parent / name, None if skip < 0 else skip


def _affine(fields: dict[str, str], n_axes: int) -> Affine:
    """RAS+ affine; MetaImage lists the LPS direction of each axis in turn."""
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), [1.0] * n_axes)
    origin = _numbers(fields, ("Offset", "Position", "Origin"), [0.0] * n_axes)
    unit = [float(value) for value in np.eye(n_axes).ravel()]
    matrix = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), unit)
    directions = np.array(matrix).reshape(n_axes, n_axes)[:3, :3].T
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(spacing[:3])
    affine[:3, 3] = origin[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _numbers(fields: dict[str, str], keys: tuple[str, ...], default: list[float]) -> list[float]:
    """The first of several spellings of a field, as many numbers as the default has."""
    text = next((fields[key] for key in keys if key in fields), None)
    if text is None:
        return default
    numbers = [float(part) for part in text.split()]
    if len(numbers) != len(default):
        raise ValueError(f"{keys[0]} must have {len(default)} numbers, has {len(numbers)}")
    return numbers


def _inflate(stream: BinaryIO, header: MetaHeader) -> bytes:
    """At most one byte more than announced, so that data that are too long show."""
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
    return inflate.decompress(stream.read(), header.n_bytes + 1)


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1")
