"""NRRD files through SimpleITK; MetaImages (.mha, .mhd) written through it.

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
from acinus.scans.metaimage import read_metaimage_header, read_metaimage_values
from acinus.scans.orientation import require_usable_affine
from acinus.scans.volume import Grid, Volume
from acinus.types import Affine, Array

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])
"""(4, 4) between the world of DICOM, NRRD and ITK and ours; it is its own inverse."""

_KIND = "a whole NRRD image"


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
    if path.suffix.lower() == ".nrrd":
        image = read_nrrd_image(path)
    else:
        header = read_metaimage_header(path)
        image = ItkImage(read_metaimage_values(header, path), header.affine, {})
    if image.array.ndim == 4:
        raise _wrong_axes(path, f"{image.array.shape[-1]} values a voxel")
    meta = {"path": str(path), "format": path.suffix.lower().lstrip(".").upper()}
    return Volume(image.array, image.affine, meta)


def read_itk_grid(path: Path) -> Grid:
    """The grid alone, from the header."""
    if path.suffix.lower() != ".nrrd":
        header = read_metaimage_header(path)
        return Grid(header.shape, header.affine)
    reader = _reader(path)
    affine = _affine(reader, path)
    x, y, z = reader.GetSize()[:3]
    return Grid((z, y, x), affine)


def read_nrrd_image(path: Path) -> ItkImage:
    """Values, affine and header of a three-dimensional NRRD, layered or not.

    Raises:
        DataError: The file is not whole, has no usable geometry or more axes.
    """
    import SimpleITK as sitk

    reader = _reader(path)
    affine = _affine(reader, path)
    metadata = {key: _text(reader, key) for key in reader.GetMetaDataKeys()}
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
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.SetImageIO("NrrdImageIO")
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
    space = _text(reader, "NRRD_space") if "NRRD_space" in reader.GetMetaDataKeys() else "none"
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


def _unreadable(path: Path, error: RuntimeError) -> DataError:
    return unreadable(path, _KIND, RuntimeError(_last_line(error)))


def _last_line(error: RuntimeError) -> str:
    """The deepest cause in ITK's many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _wrong_axes(path: Path, found: str) -> DataError:
    return DataError(
        f"{path}: must be one three-dimensional image with one value a voxel; found {found}. "
        "Save the volume that is wanted (one time point, echo or channel) to a file of its own."
    )
