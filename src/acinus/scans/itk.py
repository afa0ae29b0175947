"""NRRD and MetaImage files (.nrrd, .mha, .mhd) through SimpleITK.

Enters: files whose world is LPS. Leaves: volumes in RAS+ mm; LPS ends here.
An NRRD without a space is refused, since left and right would be guessed;
MetaImage is LPS by definition. Sheared axes are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus.errors import DataError
from acinus.files import TEMPORARY_PREFIX, whole_file, whole_folder
from acinus.scans.content import require_file, unreadable
from acinus.scans.dtypes import storable
from acinus.scans.orientation import require_usable_affine
from acinus.scans.volume import Grid, Volume
from acinus.types import Affine, Array

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
"""(4, 4) between the world of DICOM, NRRD and ITK and ours; it is its own inverse."""

_KINDS = {
    ".nrrd": "a whole NRRD image",
    ".mha": "a whole MetaImage",
    ".mhd": "a MetaImage header beside its whole data file",
}


@dataclass(frozen=True, eq=False)
class ItkImage:
    """What SimpleITK reads.

    Attributes:
        array: (Z, Y, X) or, with several values a voxel, (Z, Y, X, C).
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        metadata: Keys and values of the header.
    """

    array: Array
    affine: Affine
    metadata: dict[str, str]


def read_itk(path: Path) -> Volume:
    """One three-dimensional image.

    Raises:
        DataError: The file is not whole, has no usable geometry, more than
            three axes or several values a voxel.
    """
    image = read_itk_image(path)
    if image.array.ndim == 4:
        raise _wrong_axes(path, f"{image.array.shape[-1]} values a voxel")
    meta = {"path": str(path), "format": path.suffix.lower().lstrip(".").upper()}
    return Volume(image.array, image.affine, meta)


def read_itk_grid(path: Path) -> Grid:
    """The grid alone, from the header."""
    reader = _reader(path)
    affine = _affine(reader, path)
    x, y, z = reader.GetSize()[:3]
    return Grid((z, y, x), affine)


def read_itk_image(path: Path) -> ItkImage:
    """Values, affine and header of a three-dimensional image, layered or not."""
    import SimpleITK as sitk

    reader = _reader(path)
    affine = _affine(reader, path)
    metadata = {key: _text(reader, key) for key in reader.GetMetaDataKeys()}
    _require_whole_raw_data(path, reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    array = sitk.GetArrayFromImage(image)
    if reader.GetDimension() == 4:
        array = array[0]
    if array.dtype.kind not in "iu":
        array = storable(array, path)
    return ItkImage(array, affine, metadata)


def write_itk(volume: Volume, path: Path) -> None:
    """Write a compressed NRRD or MetaImage.

    Raises:
        DataError: The affine is singular, or the voxels are no single numbers.
    """
    import SimpleITK as sitk

    require_usable_affine(volume.affine, path)
    image = sitk.GetImageFromArray(storable(volume.array, path))
    affine = LPS_TO_RAS @ volume.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    if path.name.lower().endswith(".mhd"):
        _write_pair(image, path)
        return
    with whole_file(path) as beside:
        _write(image, beside, path)


def _write(image: Any, beside: Path, path: Path) -> None:
    """Write to `beside`; an error names `path`, where the file is going to be."""
    import SimpleITK as sitk

    try:
        sitk.WriteImage(image, str(beside), useCompression=True)
    except RuntimeError as error:
        raise DataError(
            f"{path}: must be writable; ITK says: {_last_line(error)}. Check that the folder "
            "may be written and the disk has room."
        ) from error


def _write_pair(image: Any, path: Path) -> None:
    """Header and data file; the header makes them count, so it goes first and comes last."""
    folder = path.with_name(f"{TEMPORARY_PREFIX}{path.stem}-parts")
    with whole_folder(folder) as beside:
        _write(image, beside / path.name, path)
    path.unlink(missing_ok=True)
    for part in sorted(folder.iterdir(), key=lambda part: part.name == path.name):
        part.replace(path.with_name(part.name))
    folder.rmdir()


def _reader(path: Path) -> Any:
    """A SimpleITK reader that has read the header."""
    import SimpleITK as sitk

    require_file(path)
    if path.suffix.lower() != ".nrrd" and not _metaimage_header(path).keys() >= _METAIMAGE_KEYS:
        raise unreadable(path, _KINDS[path.suffix.lower()], ValueError("no MetaImage header"))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return reader


def _text(reader: Any, key: str) -> str:
    """A value of the header; empty if it is no text, as in a damaged header."""
    try:
        return str(reader.GetMetaData(key))
    except (TypeError, UnicodeError):
        return ""


def _affine(reader: Any, path: Path) -> Affine:
    """RAS+ affine of the header, after checking that the image has three axes and a space."""
    n_axes, size = reader.GetDimension(), reader.GetSize()
    if n_axes != 3 and not (n_axes == 4 and size[3] == 1):
        raise _wrong_axes(path, f"{n_axes} axes, size {tuple(size)}")
    if path.suffix.lower() == ".nrrd":
        keys = reader.GetMetaDataKeys()
        space = _text(reader, "NRRD_space") if "NRRD_space" in keys else "none"
        if space != "left-posterior-superior":  # ITK turns RAS and LAS into this one
            raise DataError(
                f"{path}: an NRRD header must name its space (left-posterior-superior, "
                f"right-anterior-superior or left-anterior-superior); found {space}, so left and "
                "right are unknown. Export the scan again with its geometry."
            )
    direction = np.array(reader.GetDirection(), float).reshape(n_axes, n_axes)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    affine = LPS_TO_RAS @ affine
    require_usable_affine(affine, path)
    return affine


def _require_whole_raw_data(path: Path, reader: Any) -> None:
    """Refuse uncompressed MetaImage data that are too short; ITK would fill them with zeros."""
    if path.suffix.lower() == ".nrrd":
        return
    header = _metaimage_header(path)
    if header.get("CompressedData", "False").lower() == "true":
        return
    name = header.get("ElementDataFile", "LOCAL")
    data = path if name.upper() == "LOCAL" else path.with_name(name)
    if name.upper().startswith("LIST") or "%" in name or not data.exists():
        return
    n_values = int(np.prod(reader.GetSize())) * reader.GetNumberOfComponents()
    n_bytes = n_values * _BYTES.get(header.get("ElementType", ""), 1)
    if data.stat().st_size < n_bytes:
        raise unreadable(
            data,
            _KINDS[path.suffix.lower()],
            EOFError(f"the header announces {n_bytes} bytes of voxels"),
        )


_METAIMAGE_KEYS = {"NDims", "DimSize", "ElementType", "ElementDataFile"}
"""What a MetaImage header must have; ITK prints complaints of its own about others."""

_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
}
"""Bytes of each MetaImage element type."""


def _metaimage_header(path: Path) -> dict[str, str]:
    header: dict[str, str] = {}
    with path.open("rb") as stream:
        for line in stream:
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals:
                break
            header[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
    return header


def _unreadable(path: Path, error: RuntimeError) -> DataError:
    return unreadable(path, _KINDS[path.suffix.lower()], RuntimeError(_last_line(error)))


def _last_line(error: RuntimeError) -> str:
    """The deepest cause in ITK's many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _wrong_axes(path: Path, found: str) -> DataError:
    return DataError(
        f"{path}: must be one three-dimensional image with one value a voxel; found {found}. "
        "Save the volume that is wanted (one time point, echo or channel) to a file of its own."
    )
