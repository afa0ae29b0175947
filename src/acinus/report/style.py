"""One look for all figures: colours, type, size, and how a figure becomes a file.

Enters: figures drawn with matplotlib. Leaves: PNG files of page width, small
enough to stand inside one HTML file, with the synthetic mark where it is due.
pyplot was rejected: it keeps figures and settings in global state, and a report
may be written from any thread.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from acinus.files import whole_file

PAGE_WIDTH_IN = 7.1
"""Width of a figure, inches: the text width of an A4 page with 15 mm margins."""

DPI = 170
"""Resolution of the figures, dots per inch; 1207 pixels across the page."""

REFERENCE = "#F28E1C"
"""Orange: what a person drew."""

PREDICTION = "#2F8DE4"
"""Blue: what the model drew."""

REGION = "#D62728"
"""Red: where patches are drawn from."""

GREEN, RED = "#4FE36B", "#FF3B30"
"""Prediction and reference where both lie in one picture, as published for the pancreas. They
differ in lightness too, for who does not tell them by hue."""

INTERNAL_FILL, EXTERNAL_FILL = "#14508C", "#7FBCEB"
"""Dark and light blue: centres that the model learned from, and others."""

ARM_COLORS = ("#14508C", "#D1662C", "#3B8F5A", "#8A4FA3", "#7A6A2F", "#B03A5B")
"""Colours of arms that share axes."""

REFERENCE_SHADES = (REFERENCE, "#FFD08A", "#B85C00", "#FFF0C2")
"""Orange, one shade per label where labels have no side."""

PREDICTION_SHADES = (PREDICTION, "#A6D4FF", "#0B5CAD", "#D9F0FF")
"""Blue, in the order of `REFERENCE_SHADES`."""

INK = "#1B242C"
MUTED = "#5B6771"
HAIRLINE = "#D5DBE0"
PANEL = "#F4F6F8"
SYNTHETIC_INK = "#8A2F6B"
"""Purple of the synthetic mark in figures; the banner of the page has the same."""

MARKERS = {"right": "o", "left": "^"}
"""Marker of a side in scatter and strip plots; also told apart without colour."""

SYNTHETIC_MARK = "SYNTHETIC IMAGES"

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.solid_capstyle": "round",
    "text.parse_math": False,
}


@contextmanager
def report_style() -> Iterator[None]:
    """Report settings of matplotlib inside the block; the caller's return after it.

    Mathematics in text is off: a ``$`` in a case name is a ``$``.
    """
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(height_in: float, width_in: float = PAGE_WIDTH_IN) -> Any:
    """An empty white figure of page width with an Agg canvas, outside pyplot.

    Args:
        height_in: Height, inches.
        width_in: Width, inches.

    Returns:
        ``matplotlib.figure.Figure``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path, *, synthetic: bool, all_colors: bool = False) -> Path:
    """Write a figure as a PNG of at most 256 colours, marked if synthetic.

    Args:
        figure: A matplotlib figure.
        path: File to write, ``.png``.
        synthetic: Whether to print `SYNTHETIC_MARK` in a strip below.
        all_colors: Whether to keep every colour, for heat maps; three times the size.

    Returns:
        The path.
    """
    picture = _pixels(figure)
    if synthetic:
        strip = _pixels(_mark_strip(figure.get_figwidth()))
        marked = Image.new("RGB", (picture.width, picture.height + strip.height), "white")
        marked.paste(picture, (0, 0))
        marked.paste(strip, (0, picture.height))
        picture = marked
    if not all_colors:
        picture = picture.quantize(256, kmeans=1)
        levels = picture.getpalette() or []
        picture.putpalette([255 if level >= 250 else level for level in levels])
    with whole_file(path) as beside:
        picture.save(beside, format="PNG", optimize=True, dpi=(DPI, DPI))
    return path


def _pixels(figure: Any) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    buffer.seek(0)
    with Image.open(buffer) as picture:
        return picture.convert("RGB")


def _mark_strip(width_in: float) -> Any:
    """A strip that goes under a figure, so that the mark never lies on anything."""
    strip = new_figure(0.16, width_in)
    strip.text(
        1 - 0.03 / width_in,
        0.5,
        SYNTHETIC_MARK,
        ha="right",
        va="center",
        fontsize=6.5,
        fontweight="bold",
        color=SYNTHETIC_INK,
    )
    return strip


def bare_axes(axes: Any, *, face: str = "black") -> None:
    """Take ticks and frame from axes that show a picture.

    Args:
        axes: Axes to change.
        face: Colour outside the picture.
    """
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor(face)
    for spine in axes.spines.values():
        spine.set_visible(False)


def plain_grid(axes: Any, which: str = "y") -> None:
    """Hairlines behind the data.

    Args:
        axes: Axes to change.
        which: ``"x"``, ``"y"`` or ``"both"``.
    """
    axes.grid(True, axis=which, color=HAIRLINE, linewidth=0.6)
    axes.set_axisbelow(True)
