"""Figure 6: reference above, prediction below, for a typical and the worst case.

Enters: hold-out predictions with their scores. Leaves: a picture per arm with
three axial slices of each case, and the reason why the worst one went badly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError, GridError
from acinus.report.choose import case_dice, median_case, worst_case
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.reasons import reason_for_case
from acinus.report.style import PAGE_WIDTH_IN, new_figure, report_style, save_figure
from acinus.report.views import (
    CaseView,
    Window,
    draw_labels,
    draw_letters,
    draw_note,
    draw_scale_bar,
    label_colors,
    show_plane,
    spread_slices,
    view_case,
    whole_window,
    window_about,
)

N_SLICES = 3
"""Slices shown of a case."""

MARGIN_MM = 18.0
"""What is shown around everything drawn, mm."""

NEAR_MM = 15.0
"""How far beyond that a prediction may widen the picture, mm; the rest is cut off."""

_NUMBER = 6
_TITLE = "Reference and prediction on representative slices"
_LEGEND = (
    "Upper row of each case: reference (orange); lower row: prediction (blue). Three axial slices "
    "from superior to inferior, spread over the area of the reference; what lies further away is "
    "cut off."
)
_GAP_IN = 0.04
_HEAD_IN = 0.3
_ROLE_IN = 0.2


def draw_overlays(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 6 of the report, a picture per arm; absent if no arm has a prediction."""
    parts: list[tuple[Path, str]] = []
    trouble: list[str] = []
    numbers: list[dict[str, object]] = []
    for position, arm in enumerate(content.pictured):
        blocks = []
        for role, case in _cases(content, arm):
            try:
                view = view_case(arm, case)
            except (DataError, GridError) as error:
                trouble.append(str(error))
                continue
            reason = reason_for_case(content, arm, view)
            blocks.append((role, view, reason))
            numbers.append(_row(content, arm, role, view, reason))
        if not blocks:
            trouble.append(f"{arm.name}: no hold-out prediction was scored.")
            continue
        with report_style():
            figure = _draw(content, arm, [(role, view) for role, view, _ in blocks])
            path = folders.figures / f"figure-6{chr(ord('a') + position)}.png"
            save_figure(figure, path, synthetic=content.synthetic)
        words = "; ".join(_words(role, view, reason) for role, view, reason in blocks)
        parts.append((path, f"{_LEGEND if not parts else ''} {arm.name}: {words}.".strip()))
    if not parts:
        return FigureView(_NUMBER, _TITLE, absent=" ".join(trouble))
    if trouble:
        parts[-1] = (parts[-1][0], f"{parts[-1][1]} {' '.join(trouble)}")
    csv = write_table(pd.DataFrame(numbers), folders.tables / "figure-6.csv")
    return FigureView(_NUMBER, _TITLE, tuple(parts), (csv,))


def _cases(content: ReportContent, arm: ArmContent) -> list[tuple[str, str]]:
    median, worst = median_case(content, arm), worst_case(content, arm)
    pairs = [("median case", median), ("worst case", worst)]
    shown = [(role, case) for role, case in pairs if case is not None]
    if len(shown) == 2 and shown[0][1] == shown[1][1]:
        return [
            ("only case" if len(case_dice(content, arm.name)) == 1 else "worst case", shown[0][1])
        ]
    return shown


def _words(role: str, view: CaseView, reason: str) -> str:
    return f"{role} {view.case}, {reason or 'nothing of note'}"


def _row(
    content: ReportContent, arm: ArmContent, role: str, view: CaseView, reason: str
) -> dict[str, object]:
    dice = case_dice(content, arm.name)
    return {
        "arm": arm.name,
        "role": role,
        "case": view.case,
        "mean_dice": dice.get(view.case, np.nan),
        "reason": reason,
    }


def _draw(content: ReportContent, arm: ArmContent, blocks: list[tuple[str, CaseView]]) -> Any:
    windows = [_window(view) for _, view in blocks]
    width = (PAGE_WIDTH_IN - _ROLE_IN - (N_SLICES - 1) * _GAP_IN) / N_SLICES
    heights = [width * float(window.size[1] / window.size[2]) for window in windows]
    total = sum(_HEAD_IN + 2 * (height + _GAP_IN) for height in heights) + 0.05
    figure = new_figure(total)
    dice = case_dice(content, arm.name)
    top = total
    for (role, view), window, height in zip(blocks, windows, heights, strict=True):
        value = dice.get(view.case, np.nan)
        score = f"mean Dice {value:.2f}" if np.isfinite(value) else "Dice undefined"
        figure.text(
            0.0, (top - 0.58 * _HEAD_IN) / total,
            f"{arm.name}  ·  {role}: {view.case}  ·  {score}",
            fontsize=8.5, fontweight="bold", va="center",
        )  # fmt: skip
        top -= _HEAD_IN
        indices = spread_slices(view.structures(), N_SLICES)
        for role_name in ("reference", "prediction"):
            figure.text(
                0.35 * _ROLE_IN / PAGE_WIDTH_IN, (top - height / 2) / total, role_name.capitalize(),
                rotation=90, ha="center", va="center", fontsize=8,
            )  # fmt: skip
            for column, index in enumerate(indices):
                left = _ROLE_IN + column * (width + _GAP_IN)
                box = (
                    left / PAGE_WIDTH_IN,
                    (top - height) / total,
                    width / PAGE_WIDTH_IN,
                    height / total,
                )
                axes = figure.add_axes(box)
                _draw_panel(axes, arm, view, role_name, index, window)
                if column == 0 and role_name == "reference":
                    draw_scale_bar(axes)
            top -= height + _GAP_IN
    return figure


def _draw_panel(
    axes: Any, arm: ArmContent, view: CaseView, role: Any, index: int, window: Window
) -> None:
    show_plane(axes, view, "axial", index, window)
    anything = draw_labels(axes, view, role, "axial", index, label_colors(arm, role))
    draw_letters(axes, "axial", size=6)
    draw_note(axes, f"slice {index + 1}/{view.image.shape[0]}", size=6.5)
    if not anything:
        draw_note(axes, "nothing in this slice", corner="lower right", size=6.5)


def _window(view: CaseView) -> Window:
    """Axial window about the structures and predictions near them, at most 2.4 times wider."""
    near = window_about(view, view.structures(), margin_mm=MARGIN_MM)
    reach = near.resized(near.size + 2 * NEAR_MM)
    window = window_about(view, view.drawn(), margin_mm=MARGIN_MM).cut_to(reach)
    s, a, r = window.size
    size = np.array([s, max(a, r / 2.4), r]) if a < r else np.array([s, a, a])
    return window.resized(size).inside(whole_window(view))
