"""Figure 7: where the network looked, at each depth, laid out along the U.

Enters: Grad-CAM maps of one axial slice. Leaves: encoder down the left, bottleneck
below, decoder up the right, as the network is drawn; a grid where the number of
maps does not fit a U.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError
from acinus.evaluate.wording import label_title
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.maps import PlaneMap, read_maps
from acinus.report.style import (
    INK,
    MUTED,
    PAGE_WIDTH_IN,
    PREDICTION,
    REFERENCE,
    bare_axes,
    new_figure,
    report_style,
    save_figure,
)
from acinus.report.views import draw_note, draw_outline

HEAT = "inferno"
"""Colour map of the heat: perceptually even, legible in grey and to the colour blind."""

_LEGEND = (
    "Gradient-weighted class activation maps from the first layer of the encoder, down to the "
    "bottleneck and up to the last layer of the decoder; bright places raise the network's score "
    "for the label most, each map scaled to its own largest value. Reference in orange. The CSV "
    "gives the share of each map's heat that lies inside the reference."
)
_LETTER_IN = 0.07
"""Width of a letter of a heading, inches."""

_NUMBER = 7
_TITLE = "Where the network looked (Grad-CAM)"


def draw_saliency(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 7 of the report, a picture per arm that has maps."""
    parts: list[tuple[Path, str]] = []
    trouble: list[str] = []
    rows: list[dict[str, object]] = []
    for position, arm in enumerate(content.arms):
        if arm.gradcam is None:
            trouble.append(f"{arm.name}: Grad-CAM was not computed.")
            continue
        try:
            maps = read_maps(Path(arm.gradcam), ("image", "reference", "maps", "names"))
        except DataError as error:
            trouble.append(str(error))
            continue
        with report_style():
            figure = _draw(arm, maps)
            path = folders.figures / f"figure-7{chr(ord('a') + position)}.png"
            save_figure(
                figure, path, synthetic=content.synthetic, all_colors=len(content.arms) <= 2
            )
        rows += _numbers(arm, maps)
        parts.append((path, f"{_LEGEND if not parts else ''} {_words(arm, maps)}".strip()))
    if not parts:
        return FigureView(_NUMBER, _TITLE, absent=" ".join(trouble))
    if trouble:
        parts[-1] = (parts[-1][0], f"{parts[-1][1]} {' '.join(trouble)}")
    csv = write_table(pd.DataFrame(rows), folders.tables / "figure-7.csv")
    return FigureView(_NUMBER, _TITLE, tuple(parts), (csv,))


def write_saliency_figure(maps: Path, path: Path, *, name: str, synthetic: bool) -> Path:
    """The figure of one file of maps by itself; returns its path.

    Args:
        maps: ``.npz`` as in `ArmContent.gradcam`.
        path: PNG to write.
        name: Heading, such as the name of the model's dataset.
        synthetic: Whether the images are made rather than acquired.

    Raises:
        DataError: The maps are missing or damaged.
    """
    arrays = read_maps(maps, ("image", "reference", "maps", "names"))
    arm = ArmContent(name=name, dataset_name=name, labels={}, gradcam=maps)
    with report_style():
        save_figure(_draw(arm, arrays), path, synthetic=synthetic, all_colors=True)
    return path


def _words(arm: ArmContent, maps: PlaneMap) -> str:
    where = [arm.name]
    if maps.case:
        where.append(f"case {maps.case}")
    if maps.slice_index is not None:
        where.append(f"slice {maps.slice_index + 1}")
    if maps.label:
        where.append(label_title(maps.label))
    return ", ".join(where) + "."


def _numbers(arm: ArmContent, maps: PlaneMap) -> list[dict[str, object]]:
    inside = maps.arrays["reference"] > 0
    rows: list[dict[str, object]] = []
    for depth, (name, heat) in enumerate(
        zip(maps.arrays["names"], maps.arrays["maps"], strict=True), start=1
    ):
        total = float(heat.sum())
        share = float(heat[inside].sum()) / total if total > 0 else np.nan
        rows.append(
            {
                "arm": arm.name, "case": maps.case, "label": maps.label, "depth": depth,
                "name": str(name), "share_of_heat_in_reference": share,
                "share_of_area_in_reference": float(inside.mean()),
            }
        )  # fmt: skip
    return rows


def _draw(arm: ArmContent, maps: PlaneMap) -> Any:
    n = len(maps.arrays["maps"])
    return _draw_u(arm, maps, n // 3) if n % 3 == 0 and n >= 6 else _draw_grid(arm, maps, n)


def _draw_u(arm: ArmContent, maps: PlaneMap, third: int) -> Any:
    """A third of the maps down the left, a third along the bottom, a third up the right.

    The image stands large between them.
    """
    columns = third + 2
    gap, head = 0.1, 0.2
    width = (PAGE_WIDTH_IN - (columns - 1) * gap) / columns
    height = width * maps.height_over_width
    row = height + head + gap
    total = third * row
    figure = new_figure(total)
    places = [(0, r) for r in range(third)]
    places += [(1 + c, third - 1) for c in range(third)]
    places += [(columns - 1, third - 1 - r) for r in range(third)]
    corners = [(c * (width + gap), total - r * row) for c, r in places]
    for depth, corner in enumerate(corners):
        _panel(figure, maps, depth, corner, width, height, total, head)
    for i, (x, y) in enumerate(corners[:-1]):
        if i < third - 1:
            _arrow(figure, (x + width / 2, y - head - height), (x + width / 2, y - row), total)
        elif i >= 2 * third:
            _arrow(figure, (x + width / 2, y), (x + width / 2, y + gap), total)
        else:
            level = y - head - height / 2
            _arrow(figure, (x + width, level), (x + width + gap, level), total)
    room = third * (width + gap) - gap
    tall = (third - 1) * row - head - gap - 0.42
    wide = min(room, tall / maps.height_over_width)
    tall = wide * maps.height_over_width
    corner = (width + gap + (room - wide) / 2, total)
    _input_panel(figure, arm, maps, corner, wide, tall, total, head)
    _color_bar(figure, (PAGE_WIDTH_IN / 2 - 0.75, total - head - tall - 0.3), total)
    return figure


def _draw_grid(arm: ArmContent, maps: PlaneMap, n: int) -> Any:
    columns, gap, head = 4 if maps.height_over_width > 1 else 3, 0.1, 0.2
    width = (PAGE_WIDTH_IN - (columns - 1) * gap) / columns
    height = width * maps.height_over_width
    n_rows = -(-(n + 1) // columns)
    total = n_rows * (height + head + gap) + 0.5
    figure = new_figure(total)
    _input_panel(figure, arm, maps, (0.0, total), width, height, total, head)
    for depth in range(n):
        r, c = divmod(depth + 1, columns)
        corner = (c * (width + gap), total - r * (height + head + gap))
        _panel(figure, maps, depth, corner, width, height, total, head)
    _color_bar(figure, (0.1, 0.32), total)
    return figure


def _place(
    figure: Any, corner: tuple[float, float], width: float, height: float, total: float, head: float
) -> Any:
    left, top = corner
    box = (
        left / PAGE_WIDTH_IN,
        (top - head - height) / total,
        width / PAGE_WIDTH_IN,
        height / total,
    )
    axes = figure.add_axes(box)
    bare_axes(axes)
    return axes


def _panel(
    figure: Any, maps: PlaneMap, depth: int, corner: tuple[float, float], width: float,
    height: float, total: float, head: float,
) -> None:  # fmt: skip
    axes = _place(figure, corner, width, height, total, head)
    _gray(axes, maps)
    heat = np.clip(maps.picture("maps")[depth], 0, 1)
    axes.imshow(heat, cmap=HEAT, vmin=0, vmax=1, extent=maps.extent_mm,
                alpha=0.2 + 0.6 * heat**0.7, interpolation="bilinear")  # fmt: skip
    _outline(axes, maps, "reference", REFERENCE, width=0.45)
    name = str(maps.arrays["names"][depth])
    note = str(maps.arrays["notes"][depth]) if "notes" in maps.arrays else ""
    if note:
        draw_note(axes, "\n".join(textwrap.wrap(note, 26)), corner="lower left", size=6)
    figure.text(corner[0] / PAGE_WIDTH_IN, (corner[1] - 0.55 * head) / total,
                _heading(depth + 1, name), fontsize=7.5, fontweight="bold",
                va="center")  # fmt: skip


def _heading(depth: int, name: str) -> str:
    """``(7) decoder`` for the name ``decoder 7``; other names in full."""
    words = name.split()
    return f"({depth}) {' '.join(words[:-1]) if words[-1:] == [str(depth)] else name}"


def _input_panel(
    figure: Any, arm: ArmContent, maps: PlaneMap, corner: tuple[float, float], width: float,
    height: float, total: float, head: float,
) -> None:  # fmt: skip
    axes = _place(figure, corner, width, height, total, head)
    _gray(axes, maps)
    _outline(axes, maps, "reference", REFERENCE)
    if "prediction" in maps.arrays:
        _outline(axes, maps, "prediction", PREDICTION)
    words = "image, reference" + (" and prediction" if "prediction" in maps.arrays else "")
    named = f"{arm.name}: {words}"
    if len(named) * _LETTER_IN > width:
        named = words if len(words) * _LETTER_IN <= width else "image"
    figure.text(corner[0] / PAGE_WIDTH_IN, (corner[1] - 0.55 * head) / total, named,
                fontsize=7.5, fontweight="bold", va="center")  # fmt: skip


def _gray(axes: Any, maps: PlaneMap) -> None:
    image = maps.picture("image")
    low, high = np.percentile(image, [0.5, 99.7])
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=maps.extent_mm,
                interpolation="bilinear")  # fmt: skip


def _outline(axes: Any, maps: PlaneMap, name: str, color: str, *, width: float = 0.9) -> None:
    """Outline of a map on a picture whose first row is on top."""
    mask = maps.picture(name)[::-1] > 0
    extent = maps.extent_mm
    spacing = maps.spacing_mm
    shifted = axes.transData
    draw_outline(axes, mask, spacing, color, width=width)
    from matplotlib.transforms import Affine2D

    offset = Affine2D().translate(spacing[1] / 2, spacing[0] / 2) + shifted
    for collection in axes.collections:
        collection.set_transform(offset)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])


def _arrow(figure: Any, start: tuple[float, float], end: tuple[float, float], total: float) -> None:
    from matplotlib.patches import FancyArrowPatch

    points = [(x / PAGE_WIDTH_IN, y / total) for x, y in (start, end)]
    figure.add_artist(
        FancyArrowPatch(*points, transform=figure.transFigure, arrowstyle="-|>", mutation_scale=7,
                        color=MUTED, linewidth=1.0, shrinkA=0, shrinkB=0)
    )  # fmt: skip


def _color_bar(figure: Any, corner: tuple[float, float], total: float) -> None:
    axes = figure.add_axes(
        (corner[0] / PAGE_WIDTH_IN, corner[1] / total, 1.5 / PAGE_WIDTH_IN, 0.09 / total)
    )
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=HEAT, aspect="auto")
    bare_axes(axes)
    axes.text(0, -0.4, "none", transform=axes.transAxes, fontsize=6.5, va="top", color=INK)
    axes.text(1, -0.4, "most", transform=axes.transAxes, fontsize=6.5, va="top", ha="right")
    axes.set_title("influence on the label", fontsize=6.5, fontweight="normal", pad=2, loc="center")
