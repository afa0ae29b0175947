"""Segmentations of 3D Slicer (.seg.nrrd): named, coloured, overlapping, cropped segments.

Enters: files of Slicer 4.10 to 5, with one layer (three axes) or several
(segments that overlap lie in different layers). Leaves: one mask a segment on
the grid of the image that was segmented. Slicer stores only the box around all
segments; the image's full grid is recovered from, in this order, the grid the
caller gives, the reference geometry in the header, or the offset of the box.
Merging into one label map on reading was rejected: overlaps would vanish.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from acinus.errors import DataError, GridError, unknown_name
from acinus.scans.coding import Code, Side
from acinus.scans.dtypes import smallest_integers
from acinus.scans.itk import LPS_TO_RAS, ItkImage, read_nrrd_image
from acinus.scans.nrrd import write_nrrd
from acinus.scans.orientation import place_on_grid
from acinus.scans.volume import Grid, Volume
from acinus.types import Labelmap, Mask

Color = tuple[float, float, float]
"""Red, green, blue in [0, 1]."""

SEGMENT_COLORS: tuple[Color, ...] = (
    (0.90, 0.38, 0.00),
    (0.00, 0.45, 0.70),
    (0.00, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.94, 0.89, 0.26),
    (0.34, 0.71, 0.91),
)
"""Colours told apart by colour-blind readers too (Okabe and Ito)."""

_STATED_TOLERANCE = 0.05
"""Largest distance of the stated geometry's first voxel from the stored ones, voxels."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One named structure.

    Attributes:
        name: As shown in Slicer.
        mask: (Z, Y, X) bool on the grid of the segmented image.
        color: Red, green, blue in [0, 1].
        label: Value in its layer; None lets the writer choose.
        side: Side of the patient, where a DICOM object codes it.
        code: What it is, where a DICOM object codes it.
    """

    name: str
    mask: Volume
    color: Color = SEGMENT_COLORS[0]
    label: int | None = None
    side: Side | None = None
    code: Code | None = None


@dataclass(frozen=True)
class _Entry:
    """A segment as the header describes it."""

    name: str
    layer: int
    label: int
    color: Color


def read_segments(path: Path | str, *, grid: Grid | None = None) -> list[Segment]:
    """All segments, in the file's order, on the grid of the segmented image.

    Args:
        path: A .seg.nrrd file.
        grid: The image's grid. Without it the header's reference geometry is
            used, or else a grid from the image's first voxel to the last stored one.

    Returns:
        Segments; an empty segment has an empty mask.

    Raises:
        DataError: The file is not whole, or its header describes no segments.
        GridError: The segments do not lie on `grid`.
    """
    path = Path(path)
    image = read_nrrd_image(path)
    entries = _entries(image, path)
    whole = grid or _reference_grid(image)
    layers = image.array if image.array.ndim == 4 else image.array[..., np.newaxis]
    segments = []
    for entry in entries:
        stored = Volume(layers[..., entry.layer] == entry.label, image.affine)
        try:
            mask = place_on_grid(stored, whole)
        except GridError as error:
            raise GridError(f"{path}: segment '{entry.name}': {error}") from error
        segments.append(Segment(entry.name, mask, entry.color, entry.label))
    return segments


def read_segment_labelmap(
    path: Path | str, names: Mapping[str, int] | None = None, *, grid: Grid | None = None
) -> Volume:
    """Segments merged into one label map.

    Args:
        path: A .seg.nrrd file.
        names: Segment name to label; segments not named are left out. Without
            it the values stored in the file are used.
        grid: The image's grid, see `read_segments`.

    Raises:
        DataError: A name is not in the file, or two segments with different
            labels overlap.
    """
    path = Path(path)
    segments = read_segments(path, grid=grid)
    known = [segment.name for segment in segments]
    for name in names or {}:
        if name not in known:
            raise DataError(f"{path}: {unknown_name('segment', name, known)}")
    labels = [segment.label if names is None else names.get(segment.name) for segment in segments]
    merged = merge_segments(segments, labels, segments[0].mask.grid, where=path)
    meta = {"path": str(path), "format": "seg.nrrd", "segments": tuple(known)}
    return Volume(merged.array, merged.affine, meta)


def read_named_segments(
    path: Path | str, names: Mapping[str, int], *, grid: Grid | None = None
) -> Volume:
    """A label map by the names of a table that also holds for other files.

    Args:
        path: A .seg.nrrd file.
        names: Segment name to label, see `require_names`.
        grid: The image's grid, see `read_segments`.

    Returns:
        Integers; its ``meta`` tells ``unnamed``, the segments that were left out.

    Raises:
        DataError: Names do not fit, or two segments with different labels overlap.
        GridError: The segments do not lie on `grid`.
    """
    path = Path(path)
    segments = read_segments(path, grid=grid)
    unnamed = require_names(path, names, [segment.name for segment in segments])
    labels = [names.get(segment.name) for segment in segments]
    merged = merge_segments(segments, labels, segments[0].mask.grid, where=path)
    meta = {"path": str(path), "format": "seg.nrrd", "unnamed": unnamed}
    return Volume(merged.array, merged.affine, meta)


def require_names(
    path: Path | str, names: Mapping[str, int], found: Sequence[str]
) -> tuple[str, ...]:
    """Which structures of a file a table does not name.

    A name that the file lacks stays without voxels, unless the file has names that are not in the
    table: a misspelled structure must not look like a missed one.

    Args:
        path: For messages.
        names: Of the table.
        found: In the file.

    Raises:
        DataError: Names are missing on both sides.
    """
    unnamed = tuple(name for name in dict.fromkeys(found) if name not in names)
    missing = [name for name in names if name not in found]
    if unnamed and missing:
        raise DataError(
            f"{path}: every structure of the table must be in the file, or the table name "
            f"all that is in it; '{missing[0]}' is not there, and '{unnamed[0]}' has no label: "
            f"{unknown_name('structure', missing[0], found)} Add the names of the file to "
            "the table."
        )
    return unnamed


def merge_segments(
    segments: Iterable[Segment],
    labels: Iterable[int | None],
    grid: Grid,
    *,
    where: str | Path,
    overlap: Literal["refuse", "order"] = "refuse",
) -> Volume:
    """One label map of segments on one grid.

    Args:
        segments: On `grid`; taken one at a time.
        labels: One a segment; None leaves it out. Segments of one label are united.
        grid: Where the label map lies.
        where: For messages.
        overlap: What happens to a voxel of two labels: refused, or painted in the order of
            the segments, later ones over earlier ones.

    Raises:
        DataError: Segments with different labels overlap.
    """
    array = np.zeros(grid.shape, dtype=np.int32)
    for segment, label in zip(segments, labels, strict=True):
        if label is None:
            continue
        inside = np.asarray(segment.mask.array, dtype=bool)
        taken = inside & (array != 0) & (array != label)
        if overlap == "refuse" and np.any(taken):
            raise DataError(
                f"{where}: segments of a label map must not overlap; '{segment.name}' shares "
                f"{int(taken.sum())} voxels with another one (label {array[taken][0]}). Give "
                "labels by name for segments that do not overlap, or mend them in Slicer."
            )
        array[inside] = label
    return Volume(smallest_integers(array), grid.affine)


def write_segments(segments: Sequence[Segment], path: Path | str) -> None:
    """Write segments so that 3D Slicer shows them as a segmentation.

    Segments that overlap go to different layers.

    Raises:
        DataError: There are no segments.
        GridError: They lie on different grids.
    """
    path = Path(path)
    if not segments:
        raise DataError(f"{path}: a segmentation must have at least one segment; got none.")
    grid = segments[0].mask.grid
    for segment in segments:
        if not segment.mask.grid.matches(grid):
            raise GridError(
                f"{path}: all segments must share a grid; '{segment.name}' has shape "
                f"{segment.mask.shape}, '{segments[0].name}' {grid.shape}, or they lie apart."
            )
    layers, places = _stack_layers(segments)
    header = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ConversionParameters": _geometry_text(grid),
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, (segment, (layer, label)) in enumerate(zip(segments, places, strict=True)):
        key = f"Segment{number}_"
        header |= {
            f"{key}Color": " ".join(f"{part:.6g}" for part in segment.color),
            f"{key}ColorAutoGenerated": "0",
            f"{key}Extent": _extent_text(np.asarray(segment.mask.array, dtype=bool)),
            f"{key}ID": f"Segment_{number + 1}",
            f"{key}LabelValue": str(label),
            f"{key}Layer": str(layer),
            f"{key}Name": segment.name,
            f"{key}NameAutoGenerated": "0",
            f"{key}Tags": "|",
        }
    write_nrrd(layers, grid.affine, header, path)


def segments_of(labelmap: Volume, names: Mapping[str, int] | None = None) -> list[Segment]:
    """A label map as segments.

    Args:
        labelmap: (Z, Y, X) integers.
        names: Segment name to label; without it every value other than 0
            becomes "Segment_VALUE", an empty map one empty "Segment_1".
    """
    if names is None:
        values = [int(value) for value in np.unique(labelmap.array) if value != 0]
        names = {f"Segment_{value}": value for value in values or [1]}
    return [
        Segment(
            name,
            labelmap.with_array(labelmap.array == label),
            SEGMENT_COLORS[number % len(SEGMENT_COLORS)],
            label,
        )
        for number, (name, label) in enumerate(names.items())
    ]


def _entries(image: ItkImage, path: Path) -> list[_Entry]:
    """Segments of the header; Slicer 4.10 states neither layer nor value: one layer each, 1."""
    n_layers = image.array.shape[3] if image.array.ndim == 4 else 1
    entries: list[_Entry] = []
    while f"Segment{len(entries)}_ID" in image.metadata or (
        f"Segment{len(entries)}_Name" in image.metadata
    ):
        number = len(entries)
        try:
            entries.append(_entry(image.metadata, number, n_layers))
        except ValueError as error:
            raise DataError(
                f"{path}: Segment{number} must have whole numbers as Layer and LabelValue; "
                f"found {error}. Save the segmentation again in 3D Slicer."
            ) from error
        if not 0 <= entries[-1].layer < n_layers:
            raise DataError(
                f"{path}: segment '{entries[-1].name}' must lie in one of the {n_layers} layers "
                f"of the file; found Layer {entries[-1].layer}. Save it again in 3D Slicer."
            )
    if not entries:
        raise DataError(
            f"{path}: a .seg.nrrd file must describe its segments (Segment0_Name, ...); found "
            "none. Save it as a segmentation in 3D Slicer, or rename a plain label map to .nrrd."
        )
    places = [(entry.layer, entry.label) for entry in entries]
    for place in places:
        if places.count(place) > 1:
            same = [entry.name for entry in entries if (entry.layer, entry.label) == place]
            raise DataError(
                f"{path}: each segment must have a value of its own in its layer; "
                f"{', '.join(map(repr, same))} share value {place[1]} in layer {place[0]}. "
                "Save the segmentation again in 3D Slicer."
            )
    return entries


def _entry(metadata: Mapping[str, str], number: int, n_layers: int) -> _Entry:
    key = f"Segment{number}_"
    name = metadata.get(f"{key}Name") or metadata.get(f"{key}ID", "")
    layer = int(metadata.get(f"{key}Layer", number if n_layers > 1 else 0))
    label = int(metadata.get(f"{key}LabelValue", 1))
    parts = [float(part) for part in metadata.get(f"{key}Color", "").split()]
    color = (
        (parts[0], parts[1], parts[2])
        if len(parts) == 3
        else SEGMENT_COLORS[number % len(SEGMENT_COLORS)]
    )
    return _Entry(name, layer, label, color)


def _reference_grid(image: ItkImage) -> Grid:
    """Grid of the image that was segmented, as far as the header tells."""
    stored = Grid(image.array.shape[:3], image.affine)
    return _stated_grid(image, stored) or _offset_grid(image, stored)


def _stated_grid(image: ItkImage, stored: Grid) -> Grid | None:
    """The header's "Reference image geometry", if the stored box lies on it.

    Sixteen numbers of the affine, row by row, and six of the extent, separated
    by semicolons. Slicer writes it in RAS; LPS is accepted if that is what fits.
    """
    text = image.metadata.get("Segmentation_ConversionParameters", "")
    fields = [part.split("|") for part in text.split("&")]
    values = next((f[1] for f in fields if len(f) > 1 and f[0] == "Reference image geometry"), "")
    try:
        numbers = [float(part) for part in values.split(";") if part]
    except ValueError:
        return None
    if len(numbers) != 22 or not np.all(np.isfinite(numbers)):
        return None
    extent = np.array(numbers[16:], dtype=int)
    shape_xyz = extent[1::2] - extent[::2] + 1
    if np.any(shape_xyz < 1):
        return None
    matrix = np.array(numbers[:16]).reshape(4, 4)
    matrix[:3, 3] += matrix[:3, :3] @ extent[::2]
    x, y, z = (int(n) for n in shape_xyz)
    filled = np.any(image.array, axis=3) if image.array.ndim == 4 else image.array != 0
    for affine in (matrix, LPS_TO_RAS @ matrix):
        if not np.allclose(affine[:3, :3], stored.affine[:3, :3], rtol=0, atol=1e-3):
            continue
        stated = Grid((z, y, x), affine)
        whole = _snapped(stated, stored)
        apart_mm = float(np.linalg.norm(whole.affine[:3, 3] - affine[:3, 3]))
        if apart_mm <= _STATED_TOLERANCE * min(stored.spacing_mm) and _holds(
            whole, Volume(filled, stored.affine)
        ):
            return whole
    return None


def _holds(whole: Grid, part: Volume) -> bool:
    try:
        place_on_grid(part, whole)
    except GridError:
        return False
    return True


def _snapped(whole: Grid, stored: Grid) -> Grid:
    """`whole` on the voxels of `stored`, whose numbers have more digits than the text."""
    affine = stored.affine.copy()
    affine[:, 3] = stored.affine @ np.rint(np.linalg.inv(stored.affine) @ whole.affine[:, 3])
    return Grid(whole.shape, affine)


def _offset_grid(image: ItkImage, stored: Grid) -> Grid:
    """From the image's first voxel to the last stored one; the image's end is not known."""
    text = image.metadata.get("Segmentation_ReferenceImageExtentOffset", "0 0 0")
    offset_xyz = np.array([int(part) for part in text.split()] if text.split() else [0, 0, 0])
    before_xyz = np.maximum(offset_xyz, 0)
    affine = stored.affine.copy()
    affine[:3, 3] -= stored.affine[:3, :3] @ before_xyz
    z, y, x = (int(n) for n in np.array(stored.shape) + before_xyz[::-1])
    return Grid((z, y, x), affine)


def _stack_layers(segments: Sequence[Segment]) -> tuple[Labelmap, list[tuple[int, int]]]:
    """(Z, Y, X, layers) values, and the layer and value of each segment."""
    layers: list[Labelmap] = []
    used: list[set[int]] = []
    places: list[tuple[int, int]] = []
    for segment in segments:
        mask: Mask = np.asarray(segment.mask.array, dtype=bool)
        for number, layer in enumerate(layers):
            clash = segment.label is not None and segment.label in used[number]
            if not clash and not np.any(layer[mask]):
                break
        else:
            number = len(layers)
            layers.append(np.zeros(mask.shape, dtype=np.int32))
            used.append(set())
        label = segment.label or max(used[number], default=0) + 1
        layers[number][mask] = label
        used[number].add(label)
        places.append((number, label))
    return smallest_integers(np.stack(layers, axis=-1)), places


def _extent_text(mask: Mask) -> str:
    """First and last filled index along x, y and z, as Slicer writes it."""
    numbers: list[str] = []
    for axis in (2, 1, 0):
        others = tuple(other for other in range(3) if other != axis)
        filled = np.flatnonzero(np.any(mask, axis=others))
        numbers += [str(filled[0]), str(filled[-1])] if filled.size else ["0", "-1"]
    return " ".join(numbers)


def _geometry_text(grid: Grid) -> str:
    """The grid as Slicer's conversion parameter "Reference image geometry"."""
    extent = [number for n in grid.shape[::-1] for number in (0, n - 1)]
    numbers = [repr(float(value)) for value in grid.affine.ravel()] + [str(n) for n in extent]
    return f"Reference image geometry|{';'.join(numbers)};|Geometry of the segmented image.&"
