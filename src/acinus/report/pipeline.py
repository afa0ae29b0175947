"""Figure 4: the pipeline as it ran, stage by stage, with the numbers of this run.

Enters: (stage, text) pairs and one case for small pictures. Leaves: a row of
boxes with arrows. A picture belongs to a stage by a word in its name; a stage
without one is drawn without picture.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError, GridError
from acinus.report.choose import median_case, typical_cases
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import join_words, plural
from acinus.report.style import (
    INK,
    MUTED,
    PAGE_WIDTH_IN,
    PANEL,
    PREDICTION,
    REFERENCE,
    REGION,
    bare_axes,
    new_figure,
    report_style,
    save_figure,
)
from acinus.report.views import (
    CaseView,
    Window,
    draw_labels,
    fullest_index,
    label_colors,
    show_plane,
    view_case,
    whole_window,
    window_about,
)
from acinus.types import Array

_NUMBER = 4
_TITLE = "The pipeline as it ran"
_LINE_IN = 0.125
_MAX_COLUMNS = 6
_BOX_MARGIN_MM = 15.0
"""About the margin of a box of a locate stage."""

_Sketch = Callable[[Any, ArmContent, CaseView], None]


def draw_pipeline(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 4 of the report; stages from the arms where none are given."""
    stages = list(content.pipeline) or _stages_from_arms(content)
    csv = write_table(
        pd.DataFrame(stages, columns=["stage", "text"]), folders.tables / "figure-4.csv"
    )
    arm, view = _picture_case(content)
    with report_style():
        figure = _draw(stages, arm, view)
        path = save_figure(figure, folders.figures / "figure-4.png", synthetic=content.synthetic)
    caption = "Stages in the order in which they ran, with the numbers of this run."
    if view is not None and arm is not None:
        caption += (
            f" Small pictures: case {view.case} of {arm.name}; reference orange, prediction blue."
        )
        if not arm.localisation.empty:
            caption += " Boxes are sketched around each structure; one of them is shown magnified."
    return FigureView(_NUMBER, _TITLE, ((path, caption),), (csv,))


def _stages_from_arms(content: ReportContent) -> list[tuple[str, str]]:
    scans = join_words(
        [f"{arm.name} ({plural(len(arm.references), 'case')})" for arm in content.arms]
    )
    stages = [("Input", f"{scans}; labels {', '.join(content.labels)}")]
    folds = content.split.get("folds", ())
    if folds:
        stages.append(("Training", f"{plural(len(folds), 'fold')} by participant"))
    n = sum(len(arm.predictions) for arm in content.arms)
    return [*stages, ("Output", f"{plural(n, 'hold-out label map')}")]


def _picture_case(content: ReportContent) -> tuple[ArmContent | None, CaseView | None]:
    typical = typical_cases(content)
    for arm in content.arms:
        case = median_case(content, arm) or typical.get(arm.name)
        if case is None:
            continue
        try:
            return arm, view_case(arm, case)
        except (DataError, GridError):
            continue
    return None, None


def _draw(stages: Sequence[tuple[str, str]], arm: ArmContent | None, view: CaseView | None) -> Any:
    columns = math.ceil(len(stages) / math.ceil(len(stages) / _MAX_COLUMNS))
    gap = 0.16 if columns < _MAX_COLUMNS else 0.12
    width = (PAGE_WIDTH_IN - (columns - 1) * gap) / columns
    blocks = [stages[i : i + columns] for i in range(0, len(stages), columns)]
    wrapped = [[_wrap(text, width) for _, text in block] for block in blocks]
    picture = width - 0.14 if view is not None else 0.0
    heads = [[textwrap.wrap(name, int(width / 0.078)) for name, _ in block] for block in blocks]
    heights = [
        max(len(lines) for lines in block) * _LINE_IN
        + max(len(lines) for lines in head) * 0.14
        + picture
        + 0.34
        for block, head in zip(wrapped, heads, strict=True)
    ]
    total = sum(heights) + 0.16 * len(heights) + 0.06
    figure = new_figure(total)
    canvas = figure.add_axes((0, 0, 1, 1))
    canvas.set(xlim=(0, PAGE_WIDTH_IN), ylim=(0, total))
    canvas.axis("off")
    top = total - 0.02
    for block, lines, head, height in zip(blocks, wrapped, heads, heights, strict=True):
        for i, (name, _) in enumerate(block):
            left = i * (width + gap)
            deepest = 0.14 * max(len(words) for words in head)
            _stage(canvas, left, top, width, height, head[i], lines[i], deepest + picture)
            sketch = _sketch_of(name)
            if sketch is not None and view is not None and arm is not None:
                bottom = top - 0.06 - deepest - picture
                box = (
                    (left + 0.07) / PAGE_WIDTH_IN,
                    bottom / total,
                    picture / PAGE_WIDTH_IN,
                    picture / total,
                )
                axes = figure.add_axes(box)
                sketch(axes, arm, view)
            if i + 1 < len(block):
                _arrow(canvas, left + width, left + width + gap, top - height / 2)
        top -= height + 0.16
    return figure


def _wrap(text: str, width: float) -> list[str]:
    characters = int((width - 0.1) / 0.0615)
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, characters) or [""]
    return lines


def _stage(
    canvas: Any, left: float, top: float, width: float, height: float, head: list[str],
    lines: list[str], above_text: float,
) -> None:  # fmt: skip
    from matplotlib.patches import FancyBboxPatch

    canvas.add_patch(
        FancyBboxPatch((left, top - height), width, height, facecolor=PANEL, edgecolor=MUTED,
                       linewidth=0.7, boxstyle="round,pad=0,rounding_size=0.05")
    )  # fmt: skip
    for i, words in enumerate(head):
        canvas.text(left + width / 2, top - 0.1 - 0.14 * i, words, fontsize=7.8, fontweight="bold",
                    ha="center", va="center")  # fmt: skip
    y = top - above_text - 0.2
    for i, words in enumerate(lines):
        canvas.text(left + 0.07, y - i * _LINE_IN, words, fontsize=7.0, va="center", color=INK)


def _arrow(canvas: Any, start: float, end: float, y: float) -> None:
    from matplotlib.patches import FancyArrowPatch

    canvas.add_patch(
        FancyArrowPatch((start, y), (end, y), arrowstyle="-|>", mutation_scale=9, color=MUTED,
                        linewidth=1.2, shrinkA=1, shrinkB=1)
    )  # fmt: skip


def _sketch_of(stage: str) -> _Sketch | None:
    """The small picture of a stage, by the first known word in its name."""
    words = {
        "input": _sketch_input, "scan": _sketch_input, "locali": _sketch_localisation,
        "patch": _sketch_patches,
        "prepar": _sketch_preparation,
        "preproc": _sketch_preparation, "network": _sketch_network, "train": _sketch_network,
        "inference": _sketch_inference, "predict": _sketch_inference, "output": _sketch_output,
        "evaluat": _sketch_output,
    }  # fmt: skip
    lower = stage.lower()
    return next((sketch for word, sketch in words.items() if word in lower), None)


def _square(view: CaseView, window: Window) -> Window:
    edge = float(window.size[1:].max())
    return window.resized(np.array([window.size[0], edge, edge])).inside(whole_window(view))


def _near_window(view: CaseView) -> Window:
    return _square(view, window_about(view, view.structures(), margin_mm=8))


def _sketch_input(axes: Any, arm: ArmContent, view: CaseView) -> None:
    index = fullest_index(view.structures(), "axial")
    show_plane(axes, view, "axial", index, _square(view, whole_window(view)))


def _sketch_preparation(axes: Any, arm: ArmContent, view: CaseView) -> None:
    index = fullest_index(view.structures(), "axial")
    show_plane(axes, view, "axial", index, _near_window(view))
    draw_labels(axes, view, "reference", "axial", index, label_colors(arm, "reference"), width=0.8)


def _boxes(arm: ArmContent, view: CaseView) -> list[Window]:
    """About where the boxes of a locate stage lie: around each structure, largest first."""
    shown = view.prediction if view.prediction is not None else view.reference
    if shown is None:
        return []
    masks = [shown == value for value in arm.labels.values() if (shown == value).any()]
    masks.sort(key=lambda mask: int(np.count_nonzero(mask)), reverse=True)
    return [window_about(view, mask, margin_mm=_BOX_MARGIN_MM) for mask in masks]


def _seen(arm: ArmContent, view: CaseView) -> Window:
    """What the segment stage sees: the scan or, behind a locate stage, the largest of its boxes."""
    boxes = [] if arm.localisation.empty else _boxes(arm, view)
    return boxes[0] if boxes else whole_window(view)


def _sketch_localisation(axes: Any, arm: ArmContent, view: CaseView) -> None:
    """A coronal slice of the scan with boxes about the structures."""
    whole = whole_window(view)
    edge = float(whole.size[[0, 2]].max())
    window = whole.resized(np.array([edge, whole.size[1], edge]))
    show_plane(axes, view, "coronal", fullest_index(view.structures(), "coronal"), window)
    for box in _boxes(arm, view):
        _frame(axes, np.array(box.low)[[0, 2]], box.size[[0, 2]], REGION, width=0.7)


def _sketch_seen(axes: Any, arm: ArmContent, view: CaseView) -> Window:
    """The axial slice of most structures in what the segment stage sees; returns that."""
    seen = _seen(arm, view)
    index = fullest_index(view.structures(), "axial")
    show_plane(axes, view, "axial", index, _square(view, seen))
    return seen


def _patch_size_mm(arm: ArmContent, seen: Window) -> Array:
    """(A, R) extent of a patch, mm, at most what is seen; a third of it where it is not known."""
    size = seen.size[1:]
    patch = size / 3 if arm.patch_mm is None else np.array(arm.patch_mm[1:])
    return np.asarray(np.minimum(patch, size))


def _frame(axes: Any, corner: Array, size: Array, color: str, *, width: float) -> None:
    """A rectangle from its corner and size, mm: (A, R), or (S, R) in a coronal slice."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((corner[1], corner[0]), size[1], size[0], fill=False, edgecolor=color, lw=width,
                  clip_on=False)
    )  # fmt: skip


def _sketch_patches(axes: Any, arm: ArmContent, view: CaseView) -> None:
    """Frames of the size of a patch about the structures and elsewhere, inside what is seen."""
    seen = _sketch_seen(axes, arm, view)
    mask = view.structures()
    where = np.argwhere(mask[fullest_index(mask, "axial")])
    spacing = np.array(view.spacing_mm[1:])
    low, high = np.array(seen.low[1:]), np.array(seen.high[1:])
    inside = where[((where * spacing >= low) & (where * spacing <= high)).all(axis=1)]
    centre = inside.mean(axis=0) * spacing if len(inside) else (low + high) / 2
    size = _patch_size_mm(arm, seen)
    corners: list[Array] = []
    for shift in ((0.0, 0.0), (-0.1, 0.7), (-0.5, -0.6), (-1.2, 0.2)):
        corner = np.clip(centre + np.array(shift) * size - size / 2, low, high - size)
        if all(np.abs(corner - other).max() > 1.0 for other in corners):
            corners.append(corner)
    for corner in corners:
        _frame(axes, corner, size, REGION, width=0.9)


def _sketch_inference(axes: Any, arm: ArmContent, view: CaseView) -> None:
    """What is seen under its tiles, of the size of a patch and with their overlap."""
    seen = _sketch_seen(axes, arm, view)
    whole, low = seen.size[1:], np.array(seen.low[1:])
    size = _patch_size_mm(arm, seen)
    step = size * (1 - float(arm.settings.get("overlap", 0.25)))
    n = np.ceil(np.maximum(whole - size, 0) / step - 1e-6).astype(int) + 1
    rows, columns = (
        np.linspace(0, room, count) for room, count in zip(whole - size, n, strict=True)
    )
    for row, column in itertools.product(rows, columns):
        _frame(axes, low + np.array([row, column]), size, "white", width=0.5)


def _sketch_output(axes: Any, arm: ArmContent, view: CaseView) -> None:
    index = fullest_index(view.structures(), "axial")
    show_plane(axes, view, "axial", index, _near_window(view))
    draw_labels(axes, view, "reference", "axial", index, label_colors(arm, "reference"), width=2.0)
    draw_labels(
        axes, view, "prediction", "axial", index, label_colors(arm, "prediction"), width=0.8
    )


def _sketch_network(axes: Any, arm: ArmContent, view: CaseView) -> None:
    """A U with as many levels as the network; bars get shorter and wider on the way down."""
    from matplotlib.patches import Rectangle

    bare_axes(axes, face="white")
    axes.set(xlim=(0, 10), ylim=(0, 10))
    n = int(arm.settings.get("levels") or 5)
    for level in range(n):
        depth = level / max(n - 1, 1)
        height, wide = (1.9 - 1.3 * depth) * min(1, 5 / n), 0.45 + 0.65 * depth
        y = 8.6 - 7.0 * depth
        if level == n - 1:
            axes.add_patch(Rectangle((4.4, y - height / 2), 1.2, height, color=MUTED))
            continue
        left, right = 1.1 + 3.0 * depth, 8.9 - 3.0 * depth
        for x, color in ((left, PREDICTION), (right, REFERENCE)):
            axes.add_patch(Rectangle((x - wide / 2, y - height / 2), wide, height, color=color))
        axes.plot([left + wide, right - wide], [y, y], color=MUTED, lw=0.7, ls=":")
