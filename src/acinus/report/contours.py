"""Figure 1: the reference as drawn, in three planes, for each arm.

Enters: a case per arm, one participant for all arms where possible. Leaves: a
figure with, per arm, all structures in axial, coronal and sagittal slices at one
scale and, where structures are small or far apart, the largest one magnified.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError, GridError
from acinus.evaluate.wording import label_title
from acinus.report.choose import typical_cases
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.style import PAGE_WIDTH_IN, new_figure, report_style, save_figure
from acinus.report.views import (
    PLANES,
    CaseView,
    Window,
    draw_labels,
    draw_letters,
    draw_note,
    draw_scale_bar,
    fullest_index,
    label_colors,
    show_plane,
    view_case,
    whole_window,
    window_about,
)
from acinus.scans import largest_component
from acinus.types import Mask

CONTEXT_MARGIN_MM = 22.0
"""What is shown around all structures, mm."""

MAGNIFIED_MARGIN_MM = 9.0
"""What is shown around the magnified structure, mm."""

MAGNIFY_FROM = 1.7
"""Magnify where the context is at least this many times wider than the structure's window."""

_NUMBER = 1
_TITLE = "Reference contours in three planes"


def draw_contours(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 1 of the report; absent, with the reason, if no case has image and reference."""
    views: list[tuple[ArmContent, CaseView]] = []
    trouble: list[str] = []
    drawn: set[tuple[object, ...]] = set()
    cases = typical_cases(content)
    for arm in content.arms:
        if arm.name not in cases:
            trouble.append(f"{arm.name}: no case has both image and reference.")
            continue
        try:
            view = view_case(arm, cases[arm.name])
        except (DataError, GridError) as error:
            trouble.append(str(error))
            continue
        # Sets of sequences share references, and many of them the image that would be shown.
        shown = (arm.dataset_folder, tuple(arm.images[cases[arm.name]][:1]))
        if shown not in drawn:
            drawn.add(shown)
            views.append((arm, view))
    if not views:
        return FigureView(_NUMBER, _TITLE, absent=" ".join(trouble))
    layouts = [_layout(view) for _, view in views]
    with report_style():
        figure = _draw(views, layouts)
        path = save_figure(figure, folders.figures / "figure-1.png", synthetic=content.synthetic)
    csv = write_table(_numbers(views), folders.tables / "figure-1.csv")
    return FigureView(_NUMBER, _TITLE, ((path, _caption(views, layouts)),), (csv,))


def _layout(view: CaseView) -> list[tuple[Window, Mask]]:
    """Windows of the rows of an arm: all structures, then the largest one if it is worth it."""
    mask = view.reference > 0 if view.reference is not None else view.drawn()
    context = window_about(view, mask, margin_mm=CONTEXT_MARGIN_MM)
    height = max(context.size[0], context.size[1])
    context = context.resized(np.array([height, height, context.size[2]]))
    context = context.inside(whole_window(view))
    rows = [(context, mask)]
    if mask.any():
        structure = largest_component(mask)
        near = window_about(view, structure, margin_mm=MAGNIFIED_MARGIN_MM)
        near = near.resized(np.full(3, near.size.max()))
        if context.size.max() >= MAGNIFY_FROM * near.size.max():
            rows.append((near, structure))
    return rows


def _draw(
    views: list[tuple[ArmContent, CaseView]], layouts: list[list[tuple[Window, Mask]]]
) -> Any:
    gap, head = 0.04, 0.24
    heights = [[_row_height(window, gap) for window, _ in rows] for rows in layouts]
    total = sum(sum(rows) + gap * len(rows) + head for rows in heights)
    figure = new_figure(total)
    top = total
    for (arm, view), rows, row_heights in zip(views, layouts, heights, strict=True):
        figure.text(
            0.0, (top - 0.5 * head) / total, f"{arm.name}  ·  {view.case}",
            fontsize=8.5, fontweight="bold", va="center",
        )  # fmt: skip
        top -= head
        for (window, mask), height in zip(rows, row_heights, strict=True):
            _draw_row(figure, arm, view, window, mask, top=top, height=height, total=total, gap=gap)
            top -= height + gap
    return figure


def _row_height(window: Window, gap: float) -> float:
    """Height of a row, inches, at which its three planes fill the page at one scale."""
    widths = 2 * window.size[2] + window.size[1]
    return float((PAGE_WIDTH_IN - 2 * gap) * window.size[0] / widths)


def _draw_row(
    figure: Any,
    arm: ArmContent,
    view: CaseView,
    window: Window,
    mask: Mask,
    *,
    top: float,
    height: float,
    total: float,
    gap: float,
) -> None:
    per_mm = height / float(window.size[0])
    left = 0.0
    for plane in PLANES:
        width = per_mm * float(window.size[1] if plane == "sagittal" else window.size[2])
        box = (left / PAGE_WIDTH_IN, (top - height) / total, width / PAGE_WIDTH_IN, height / total)
        axes = figure.add_axes(box)
        index = fullest_index(mask, plane)
        show_plane(axes, view, plane, index, window)
        draw_labels(axes, view, "reference", plane, index, label_colors(arm, "reference"))
        draw_letters(axes, plane)
        draw_note(axes, f"{plane} {index + 1}/{view.image.shape[PLANES.index(plane)]}", size=6.5)
        if plane == "axial":
            draw_scale_bar(axes)
        left += width + gap


def _numbers(views: list[tuple[ArmContent, CaseView]]) -> pd.DataFrame:
    rows = []
    for arm, view in views:
        voxel_ml = float(np.prod(view.spacing_mm)) / 1000.0
        for label in arm.labels:
            mask = np.zeros(0) if view.reference is None else arm.mask(view.reference, label)
            rows.append(
                {
                    "arm": arm.name,
                    "case": view.case,
                    "label": label,
                    "reference_volume_ml": float(mask.sum()) * voxel_ml,
                    "spacing_s_mm": view.spacing_mm[0],
                    "spacing_a_mm": view.spacing_mm[1],
                    "spacing_r_mm": view.spacing_mm[2],
                }
            )
    return pd.DataFrame(rows)


def _caption(
    views: list[tuple[ArmContent, CaseView]], layouts: list[list[tuple[Window, Mask]]]
) -> str:
    arm = views[0][0]
    people = {a.participant(v.case) for a, v in views}
    who = (
        f"participant {next(iter(people))}"
        if len(people) == 1
        else "one participant per arm, since no participant has all of them"
    )
    words = [
        f"Reference (orange) of {who} in the slices where it is largest; all panels of a row "
        "have one scale, and the patient's right is at the left edge."
    ]
    if any(len(rows) > 1 for rows in layouts):
        words.append("Lower rows: the largest structure magnified.")
    spacings = "; ".join(
        f"{a.name} {v.spacing_mm[2]:.2f} × {v.spacing_mm[1]:.2f} mm in the axial plane, "
        f"{v.spacing_mm[0]:.2f} mm between slices"
        for a, v in views
    )
    words.append(f"Voxels: {spacings}.")
    if len(arm.sides) != len(arm.labels) and len(arm.labels) > 1:
        names = ", ".join(label_title(name) for name in arm.labels)
        words.append(f"Shades of orange in the order {names}.")
    return " ".join(words)
