"""A case as a reader looks at it: canonical volumes, planes in mm, windows, outlines.

Enters: the paths of an arm. Leaves: slices with their place in mm and the limits
of the axes that show them. Turning arrays for display was rejected: a picture
drawn at its coordinates and an axis that runs the radiological way cannot be
mirrored by mistake, and outlines share the coordinates.

Coordinates of a case are (S, A, R) mm from the centre of its first canonical
voxel; axes of the arrays likewise, see `acinus.scans.canonical`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acinus.errors import DataError, GridError
from acinus.report.content import ArmContent
from acinus.report.style import PREDICTION_SHADES, REFERENCE_SHADES, bare_axes
from acinus.scans import canonical, read_labelmap, read_volume
from acinus.types import Array, Labelmap, Mask, Spacing

Plane = Literal["axial", "coronal", "sagittal"]

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")

_ACROSS = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Array axis (S, A, R) that a plane cuts."""

_LETTERS = {"axial": tuple("RLAP"), "coronal": tuple("RLSI"), "sagittal": tuple("APSI")}
"""Letters at the left, right, upper and lower edge of a plane as shown."""


@dataclass(frozen=True, eq=False)
class CaseView:
    """One case on its canonical grid.

    Attributes:
        case: Its name.
        image: (S, A, R) intensities of the first channel.
        reference: (S, A, R) label map, or None.
        prediction: (S, A, R) label map, or None.
        spacing_mm: (S, A, R) distance between voxel centres, mm.
        shown: (low, high) intensities that are black and white.
    """

    case: str
    image: Array
    reference: Labelmap | None
    prediction: Labelmap | None
    spacing_mm: Spacing
    shown: tuple[float, float]

    def structures(self) -> Mask:
        """(S, A, R) what a figure is centred on: the reference, or the prediction without one.

        A prediction far away or everywhere must not push the reference out of the picture.
        """
        if self.reference is not None and (self.reference > 0).any():
            return np.asarray(self.reference > 0)
        return self.drawn()

    def drawn(self) -> Mask:
        """(S, A, R) where reference or prediction has any label."""
        mask = np.zeros(self.image.shape, dtype=bool)
        for labelmap in (self.reference, self.prediction):
            if labelmap is not None:
                mask |= labelmap > 0
        return mask


def view_case(arm: ArmContent, case: str) -> CaseView:
    """Read image, reference and prediction of a case onto one canonical grid.

    Raises:
        DataError: The case has no image or a file cannot be read.
        GridError: The label maps lie on another grid than the image.
    """
    paths = [path for path in arm.images.get(case, ()) if path is not None]
    if not paths:
        raise DataError(f"case '{case}' of arm '{arm.name}': an image is needed for its figure.")
    return view_files(
        case,
        paths[0],
        arm.references.get(case),
        arm.predictions.get(case),
        where=f"case '{case}' of arm '{arm.name}'",
        ignore_label=arm.ignore_label,
    )


def view_files(
    case: str,
    image_path: Path,
    reference: Path | None,
    prediction: Path | None,
    *,
    where: str,
    ignore_label: int | None = None,
) -> CaseView:
    """Read image, reference and prediction onto one canonical grid.

    Args:
        case: Its name.
        image_path: The channel that is shown.
        reference: Label map, or None.
        prediction: Label map, or None.
        where: What messages begin with.
        ignore_label: Value of voxels that the reference says nothing about.

    Raises:
        DataError: A file cannot be read.
        GridError: The label maps lie on another grid than the image.
    """
    image = canonical(read_volume(image_path))
    maps: dict[str, Labelmap | None] = {"reference": None, "prediction": None}
    for role, path in (("reference", reference), ("prediction", prediction)):
        if path is None:
            continue
        volume = canonical(read_labelmap(path))
        if not volume.grid.matches(image.grid):
            raise GridError(
                f"{where}: image and {role} must share a grid; image "
                f"{image.shape}, {role} {volume.shape}, corners "
                f"{volume.grid.displacement_mm(image.grid):.2f} mm apart."
            )
        maps[role] = volume.array
    if maps["reference"] is not None and ignore_label is not None:
        maps["reference"] = np.where(maps["reference"] == ignore_label, 0, maps["reference"])
    finite = image.array[np.isfinite(image.array)]
    low, high = np.percentile(finite, [0.5, 99.7]) if finite.size else (0.0, 1.0)
    if maps["reference"] is not None and (maps["reference"] > 0).any():
        high = max(high, np.nanpercentile(image.array[maps["reference"] > 0], 98))
    return CaseView(
        case,
        image.array,
        maps["reference"],
        maps["prediction"],
        image.spacing_mm,
        (float(low), float(max(high, low + 1e-6))),
    )


@dataclass(frozen=True)
class Window:
    """A box in a case: lower and upper corner, (S, A, R) mm."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    @property
    def centre(self) -> Array:
        """(S, A, R) mm."""
        return (np.array(self.low) + np.array(self.high)) / 2

    @property
    def size(self) -> Array:
        """(S, A, R) mm."""
        return np.array(self.high) - np.array(self.low)

    def cut_to(self, other: Window) -> Window:
        """The part inside another box."""
        return Window(
            _corner(np.maximum(self.low, other.low)), _corner(np.minimum(self.high, other.high))
        )

    def inside(self, whole: Window) -> Window:
        """Moved, not cut, to lie inside another box; centred in it where it is larger."""
        low, size = np.array(self.low), self.size
        first, room = np.array(whole.low), whole.size
        moved = np.clip(low, first, first + np.maximum(room - size, 0))
        moved = np.where(size > room, whole.centre - size / 2, moved)
        return Window(_corner(moved), _corner(moved + size))

    def resized(self, size_mm: Array) -> Window:
        """A box of another size about the same centre."""
        half = np.asarray(size_mm, dtype=float) / 2
        return Window(_corner(self.centre - half), _corner(self.centre + half))


def _corner(point: Array) -> tuple[float, float, float]:
    s, a, r = (float(value) for value in point)
    return s, a, r


def whole_window(view: CaseView) -> Window:
    """The box of the whole volume, to the outer faces of its voxels."""
    spacing = np.array(view.spacing_mm)
    shape = np.array(view.image.shape)
    return Window(_corner(-spacing / 2), _corner((shape - 0.5) * spacing))


def window_about(view: CaseView, mask: Mask, *, margin_mm: float) -> Window:
    """The box of a mask with a margin; of the whole volume if the mask is empty."""
    whole = whole_window(view)
    where = np.argwhere(mask)
    if not where.size:
        return whole
    spacing = np.array(view.spacing_mm)
    low = (where.min(axis=0) - 0.5) * spacing - margin_mm
    high = (where.max(axis=0) + 0.5) * spacing + margin_mm
    return Window(_corner(np.maximum(low, whole.low)), _corner(np.minimum(high, whole.high)))


def fullest_index(mask: Mask, plane: Plane) -> int:
    """Index of the slice with the largest area of a mask; the middle one if it is empty."""
    axis = _ACROSS[plane]
    areas = mask.sum(axis=tuple(a for a in range(3) if a != axis))
    return int(np.argmax(areas)) if areas.any() else mask.shape[axis] // 2


def spread_slices(mask: Mask, n: int) -> list[int]:
    """Axial indices, from superior to inferior, spread over the area of a mask.

    Args:
        mask: (S, A, R) what the slices shall show.
        n: Wanted number; fewer if the volume has fewer slices.

    Returns:
        Different indices at equal steps of the cumulative area, filled up with
        neighbours where the mask has fewer slices than `n`.
    """
    n = min(n, mask.shape[0])
    areas = mask.sum(axis=(1, 2)).astype(float)
    if not areas.any():
        areas[:] = 1.0
    steps = (np.arange(n) + 0.5) / n
    chosen = list(dict.fromkeys(np.searchsorted(np.cumsum(areas) / areas.sum(), steps).tolist()))
    by_distance = sorted(range(mask.shape[0]), key=lambda z: abs(z - np.mean(chosen)))
    chosen += [z for z in by_distance if z not in chosen]
    return sorted(chosen[:n], reverse=True)


def show_plane(axes: Any, view: CaseView, plane: Plane, index: int, window: Window) -> None:
    """Draw one slice in radiological orientation: patient right at the left edge.

    Sagittal slices have anterior at the left edge.

    Args:
        axes: Matplotlib axes.
        view: The case.
        plane: Which plane.
        index: Slice along the axis that the plane cuts.
        window: What the axes show; parts outside the volume are black.
    """
    bare_axes(axes)
    axis = _ACROSS[plane]
    rows, columns = (a for a in range(3) if a != axis)
    whole = whole_window(view)
    low, high = view.shown
    axes.imshow(
        np.take(view.image, index, axis=axis),
        cmap="gray",
        vmin=low,
        vmax=high,
        origin="lower",
        interpolation="bilinear",
        extent=(whole.low[columns], whole.high[columns], whole.low[rows], whole.high[rows]),
        aspect="equal",
    )
    axes.set_xlim(window.high[columns], window.low[columns])
    axes.set_ylim(window.low[rows], window.high[rows])


def outline_segments(mask: Array, spacing_mm: tuple[float, float]) -> Array:
    """Edges between inside and outside of a 2D mask, along the faces of its pixels.

    Args:
        mask: (H, W) bool.
        spacing_mm: (row, column) distance between pixel centres, mm.

    Returns:
        (n, 2, 2) segments, as long as they run straight, each two points (column, row)
        in mm from the centre of pixel (0, 0).
    """
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    level = _runs(padded[1:, 1:-1] != padded[:-1, 1:-1])
    upright = _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)[..., ::-1]
    segments = np.concatenate([level, upright]) - 0.5
    return segments * np.array([spacing_mm[1], spacing_mm[0]])


def _runs(edges: Array) -> Array:
    """Runs of True along the rows of (H, W), as (n, 2, 2) segments (column, row)."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    return np.stack([np.stack([start, row], 1), np.stack([end, row], 1)], 1).astype(float)


def draw_outline(
    axes: Any, mask: Array, spacing_mm: tuple[float, float], color: str, *, width: float = 1.0
) -> None:
    """Outline of a 2D mask with a thin dark seam, so that it shows on any grey."""
    from matplotlib.collections import LineCollection

    segments = outline_segments(mask, spacing_mm)
    if not len(segments):
        return
    for line_color, line_width, alpha in (("black", 1.6 * width, 0.4), (color, width, 1.0)):
        axes.add_collection(
            LineCollection(
                list(segments),
                colors=line_color,
                linewidths=line_width,
                alpha=alpha,
                capstyle="projecting",
            ),
            autolim=False,
        )


def draw_labels(
    axes: Any,
    view: CaseView,
    role: Literal["reference", "prediction"],
    plane: Plane,
    index: int,
    colors: Mapping[int, str],
    *,
    width: float = 1.0,
) -> bool:
    """Outlines of all labels of a slice; returns whether there was any.

    Args:
        axes: Axes that `show_plane` drew on.
        view: The case.
        role: Which label map.
        plane: Which plane.
        index: Slice along the axis that the plane cuts.
        colors: Label value to colour, see `label_colors`.
        width: Line width, points.
    """
    labelmap = view.reference if role == "reference" else view.prediction
    if labelmap is None:
        return False
    axis = _ACROSS[plane]
    rows, columns = (a for a in range(3) if a != axis)
    spacing = (view.spacing_mm[rows], view.spacing_mm[columns])
    flat = np.take(labelmap, index, axis=axis)
    for value, color in colors.items():
        draw_outline(axes, flat == value, spacing, color, width=width)
    return bool(np.isin(flat, list(colors)).any())


def label_colors(arm: ArmContent, role: Literal["reference", "prediction"]) -> dict[int, str]:
    """Label value to colour: one colour where sides tell labels apart, shades otherwise."""
    shades = REFERENCE_SHADES if role == "reference" else PREDICTION_SHADES
    if len(arm.sides) == len(arm.labels):
        return dict.fromkeys(arm.labels.values(), shades[0])
    return {value: shades[i % len(shades)] for i, value in enumerate(arm.labels.values())}


def _seam(width: float) -> dict[str, Any]:
    """A dark seam about white letters and lines, so that they show on white too."""
    from matplotlib.patheffects import withStroke

    return {"path_effects": [withStroke(linewidth=width, foreground="#000000B0")]}


def draw_letters(axes: Any, plane: Plane, *, size: float = 7.0) -> None:
    """R, L, A, P, S, I at the edges, as on a workstation."""
    left, right, upper, lower = _LETTERS[plane]
    style = {"color": "white", "fontsize": size, "transform": axes.transAxes, **_seam(1.6)}
    axes.text(0.015, 0.5, left, ha="left", va="center", **style)
    axes.text(0.985, 0.5, right, ha="right", va="center", **style)
    axes.text(0.5, 0.985, upper, ha="center", va="top", **style)
    axes.text(0.5, 0.015, lower, ha="center", va="bottom", **style)


def draw_scale_bar(axes: Any, length_mm: float = 10.0) -> None:
    """A white bar of `length_mm` with its length, at the lower left corner."""
    x0, x1 = axes.get_xlim()
    y0, y1 = axes.get_ylim()
    direction = np.sign(x1 - x0)
    start = x0 + 0.045 * (x1 - x0)
    height = y0 + 0.055 * (y1 - y0)
    axes.plot(
        [start, start + direction * length_mm], [height, height], color="white", lw=2.0,
        solid_capstyle="butt", scalex=False, scaley=False, **_seam(3.2),
    )  # fmt: skip
    wide = length_mm > 0.16 * abs(x1 - x0)
    axes.text(
        start + (direction * length_mm / 2 if wide else 0.0), height + 0.02 * (y1 - y0),
        f"{length_mm:g} mm",
        color="white", fontsize=6.5, ha="center" if wide else "left", va="bottom", **_seam(1.6),
    )  # fmt: skip


def draw_note(axes: Any, text: str, *, corner: str = "upper left", size: float = 7.0) -> None:
    """White words on a dark plate in a corner of a picture."""
    upper, left = "upper" in corner, "left" in corner
    axes.text(
        0.02 if left else 0.98,
        0.97 if upper else 0.03,
        text,
        transform=axes.transAxes,
        ha="left" if left else "right",
        va="top" if upper else "bottom",
        color="white",
        fontsize=size,
        bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.6},
    )
