"""NIfTI files (.nii, .nii.gz): geometry by the rules of the standard, checked to the last byte.

Enters: NIfTI-1 and NIfTI-2, one file each. Leaves: volumes in RAS+ mm. The
sform holds if its code is not 0, else the qform; with neither, left and right
would be guessed, so the file is refused. Reading through SimpleITK was
rejected: it refuses sheared axes and axes rounded to single precision.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError
from acinus.files import whole_file
from acinus.scans.content import require_file, unreadable
from acinus.scans.dtypes import storable
from acinus.scans.orientation import affine_problem, require_usable_affine
from acinus.scans.volume import Grid, Volume
from acinus.types import Affine, Array, Shape

_KIND = "a whole NIfTI image (.nii, or .nii.gz compressed with gzip)"
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
"""xyzt_units: metre, millimetre, micrometre; unknown counts as millimetre."""

_MOST_GZIP_SHRINKS = 1032
"""Largest ratio of uncompressed to compressed bytes that deflate can reach."""

_LEVEL = 1
"""Of gzip: the noise of a scan does not compress further; level 5 takes four times as long for
the same size."""
_VOXELS_FROM = 352
"""First byte of the voxels in a file that is written: after the header and no extension."""

_SCANNER_CODE = 1
"""NIFTI_XFORM_SCANNER_ANAT, written where the input had no code of its own."""

_CODES = "nifti_codes"
"""Key of what is known besides: codes of sform and qform as they are to be written."""


def read_nifti(path: Path) -> Volume:
    """The image with its values scaled as the header says.

    Unscaled integers keep their type; scaled ones become float32.

    Raises:
        DataError: No whole NIfTI image, no usable affine, or more than three axes.
    """
    with _explain(path), _open(path) as stream:
        image = _parse(stream, path)
        grid, meta = _geometry(image.header, path)
        array = np.asanyarray(image.dataobj)
        while stream.read(1 << 20):  # a gzip file tells by its last bytes whether it is sound
            pass
    array = array.reshape(grid.shape[::-1], order="F").T
    if array.dtype.kind == "f" and image.dataobj.dtype.kind in "iu":
        array = array.astype(np.float32)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if array.dtype.kind not in "iu":
        array = storable(array, path)
    return Volume(array, grid.affine, meta)


def read_nifti_volume(path: Path, number: int) -> Volume:
    """One volume of a file that holds several along its fourth axis.

    Args:
        path: A NIfTI file with four axes.
        number: Which volume, from 0.

    Raises:
        DataError: No whole NIfTI image, no usable affine, not four axes, or fewer volumes.
    """
    with _explain(path), _open(path) as stream:
        image = _parse(stream, path, several=True)
        shape = tuple(int(n) for n in image.header.get_data_shape())
        n_volumes = shape[3] if len(shape) == 4 else 0
        if number >= n_volumes:
            raise DataError(
                f"{path}: must hold at least {number + 1} volumes along the fourth axis; found "
                f"shape (x, y, z, ...) {shape}."
            )
        affine, codes = _affine(image.header, path)
        array = np.asanyarray(image.dataobj[..., number])
    if array.dtype.kind == "f" and image.dataobj.dtype.kind in "iu":
        array = array.astype(np.float32)
    array = np.ascontiguousarray(array.T, dtype=array.dtype.newbyteorder("="))
    return Volume(array, affine, {"path": str(path), "format": "NIfTI", _CODES: codes})


def read_nifti_grid(path: Path) -> Grid:
    """The grid alone, from the header."""
    return read_nifti_header(path)[0]


def read_nifti_header(path: Path) -> tuple[Grid, dict[str, Any]]:
    """The grid and what is known besides, as of a volume; voxels are not read."""
    with _explain(path), _open(path) as stream:
        return _geometry(_parse(stream, path).header, path)


def geometry_codes(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a label map inherits of its image: how its geometry is to be understood, no more.

    The description is left behind: it is that of the image, and may say more than a result should.

    Args:
        meta: What is known of the image besides its voxels.
    """
    return {_CODES: meta[_CODES]} if _CODES in meta else {}


def nifti_planes(path: Path, n_planes: int, stop: int | None = None) -> Iterator[Array]:
    """The values of a file in runs of planes, in its order; types as of `read_nifti`.

    Args:
        path: The file.
        n_planes: Planes (Y, X) of a run; the last run may have fewer.
        stop: Planes from this one on are not read; None: all are, and the file is checked to its
            last byte.

    Raises:
        DataError: As of `read_nifti`.
    """
    with _explain(path), _open(path) as stream:
        image = _parse(stream, path)
        shape = _geometry(image.header, path)[0].shape
        kept, slope, offset = image.dataobj.dtype, image.dataobj.slope, image.dataobj.inter
        if kept.kind not in "iuf":
            raise ValueError(f"voxels of type {kept} are no single numbers")
        stream.seek(image.dataobj.offset)
        end = shape[0] if stop is None else min(stop, shape[0])
        for start in range(0, end, n_planes):
            n = min(n_planes, end - start)
            raw = stream.read(n * math.prod(shape[1:]) * kept.itemsize)
            planes = np.frombuffer(raw, dtype=kept)
            if planes.size != n * math.prod(shape[1:]):
                raise EOFError("the file ends before its voxels do")
            planes = planes.reshape(n, *shape[1:])
            if slope != 1 or offset != 0:
                planes = planes * np.float32(slope) + np.float32(offset)
            planes = planes.astype(planes.dtype.newbyteorder("="), copy=False)
            yield planes if planes.dtype.kind in "iu" else storable(planes, path)
        while stop is None and stream.read(1 << 20):
            pass


def write_nifti(volume: Volume, path: Path) -> None:
    """Write the volume with its affine as sform, and as qform where that can hold it.

    A qform cannot hold shear; it is then marked unused, so that no program
    takes it for the geometry.

    Raises:
        DataError: The affine is singular, or the voxels are no single numbers.
    """
    array = storable(volume.array, path)
    image = _image(array, volume.affine, volume.meta, path)
    with whole_file(path) as beside, _create(beside) as stream:
        image.to_stream(stream)


def write_nifti_planes(
    planes: Iterator[Array], grid: Grid, meta: Mapping[str, Any], path: Path
) -> None:
    """Write a label map that comes plane by plane; geometry as of `write_nifti`.

    Args:
        planes: Runs (n, Y, X) uint8, all planes of the grid in order.
        grid: Of the whole label map.
        meta: As of a volume.
        path: The file, written in place: give one beside the wanted one, and rename it.
    """
    # An array of no extent in memory stands for the voxels: the header asks for shape and type.
    blank = np.broadcast_to(np.uint8(0), grid.shape)
    header = _image(blank, grid.affine, meta, path).header
    head = io.BytesIO()
    header["vox_offset"] = _VOXELS_FROM
    header.set_slope_inter(1, 0)
    header.write_to(head)
    with _create(path) as stream:
        stream.write(head.getvalue().ljust(_VOXELS_FROM, b"\0"))
        for run in planes:
            stream.write(np.ascontiguousarray(run, dtype=np.uint8).data)


def _image(array: Array, affine: Affine, meta: Mapping[str, Any], path: Path) -> Any:
    """The nibabel image of (Z, Y, X) voxels, its header complete."""
    import nibabel

    require_usable_affine(affine, path)
    image = nibabel.Nifti1Image(array.T, affine, dtype=array.dtype)
    header = image.header
    sform_code, qform_code = meta.get(_CODES, (_SCANNER_CODE, _SCANNER_CODE))
    header.set_sform(affine, code=sform_code)
    header.set_qform(affine, code=qform_code, strip_shears=True)
    z, y, x = array.shape
    if not Grid((z, y, x), header.get_qform()).matches(Grid((z, y, x), affine)):
        header["qform_code"] = 0
    header.set_xyzt_units("mm")
    description = str(meta.get("description", ""))
    header["descrip"] = description.encode("ascii", "replace")[:79]
    return image


@contextmanager
def _open(path: Path) -> Iterator[BufferedIOBase]:
    if path.name.lower().endswith(".gz"):
        with gzip.open(path, "rb") as stream:
            yield stream
    else:
        with path.open("rb") as plain:
            yield plain


@contextmanager
def _create(path: Path) -> Iterator[BufferedIOBase]:
    """A stream to write to; gzip without time or name, so that equal volumes give equal bytes."""
    with path.open("wb") as raw:
        if path.name.lower().endswith(".gz"):
            with gzip.GzipFile("", "wb", compresslevel=_LEVEL, fileobj=raw, mtime=0) as stream:
                yield stream
        else:
            yield raw


@contextmanager
def _explain(path: Path) -> Iterator[None]:
    """Turn whatever a broken file makes the libraries raise into one DataError."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    require_file(path)
    try:
        yield
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: must be readable; {error.strerror}.") from error
    except (OSError, EOFError, zlib.error, ValueError, ImageFileError, HeaderDataError) as error:
        raise unreadable(path, _KIND, error) from error


def _parse(stream: BufferedIOBase, path: Path, *, several: bool = False) -> Any:
    """The nibabel image over an open stream, its header checked against the file's length."""
    import nibabel

    head = stream.read(540)
    stream.seek(0)
    if head[344:347] == b"n+1":
        kind: Any = nibabel.Nifti1Image
    elif head[4:7] == b"n+2":
        kind = nibabel.Nifti2Image
    else:
        raise ValueError("no NIfTI header")
    # Not mapped: a volume must outlive its file, and changes of it.
    image = kind.from_file_map(kind.make_file_map({"image": stream}), mmap=False)
    shape = image.header.get_data_shape()
    three_axes(tuple(int(n) for n in (shape[:3] if several else shape)), path)
    n_bytes = math.prod(shape) * image.header.get_data_dtype().itemsize
    shrinks = _MOST_GZIP_SHRINKS if path.name.lower().endswith(".gz") else 1
    if n_bytes > path.stat().st_size * shrinks:
        raise EOFError(
            f"the header announces {n_bytes} bytes of voxels, the file has {path.stat().st_size}"
        )
    return image


def _geometry(header: Any, path: Path) -> tuple[Grid, dict[str, Any]]:
    """Grid and what else is known, from a nibabel header."""
    affine, codes = _affine(header, path)
    shape = tuple(int(n) for n in header.get_data_shape())
    meta: dict[str, Any] = {"path": str(path), "format": "NIfTI", _CODES: codes}
    description = bytes(header["descrip"].item()).decode("latin-1").strip("\0 ")
    if description:
        meta["description"] = description
    return Grid(three_axes(shape, path), affine), meta


def three_axes(shape_xyz: tuple[int, ...], path: Path) -> Shape:
    """(Z, Y, X) of a file's shape; axes after the third must have length 1.

    Raises:
        DataError: There are more than three axes, or one has no voxels.
    """
    if not shape_xyz or min(shape_xyz) < 1:
        raise DataError(
            f"{path}: must hold voxels; found shape {shape_xyz}. Export the scan again."
        )
    if math.prod(shape_xyz[3:]) != 1:
        raise DataError(
            f"{path}: must be one three-dimensional image; found {len(shape_xyz)} axes, shape "
            f"(x, y, z, ...) {shape_xyz}. Save the volume that is wanted (one time point, echo "
            "or channel) to a file of its own."
        )
    x, y, z = (*shape_xyz, 1, 1)[:3]
    return z, y, x


def _affine(header: Any, path: Path) -> tuple[Affine, tuple[int, int]]:
    """RAS+ mm affine by sform, else qform, and the codes with which it is to be written again."""
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code <= 0 and qform_code <= 0:
        raise DataError(
            f"{path}: the header must say where the voxels lie (sform_code or qform_code above "
            "0); both are 0, so left and right are unknown. Export the scan again with its "
            "geometry."
        )
    source = "sform" if sform_code > 0 else "qform"
    affine = np.array(header.get_sform() if source == "sform" else header.get_qform(), float)
    problem = affine_problem(affine)
    if problem:
        hint = ""
        if source == "sform" and qform_code > 0 and not affine_problem(header.get_qform()):
            hint = " The qform is usable: set sform_code to 0 if it is the right one."
        raise DataError(
            f"{path}: the {source} affine must place the voxels in space (three independent "
            f"axes, mm); found {problem}. Export the scan again with its geometry.{hint}"
        )
    codes = (sform_code, qform_code) if source == "sform" else (qform_code, qform_code)
    if source == "sform" and qform_code > 0 and not _is_qform(header, affine):
        codes = (sform_code, sform_code)  # the qform speaks of another space, which is not kept
    affine[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    return affine, codes


def _is_qform(header: Any, affine: Affine) -> bool:
    """Whether the qform says the same as an affine in the units of the header."""
    x, y, z = (int(n) for n in (*header.get_data_shape(), 1, 1)[:3])
    try:
        qform = header.get_qform()
    except ValueError:  # its quaternion is none
        return False
    return Grid((z, y, x), qform).matches(Grid((z, y, x), affine))
