"""Figures 12 and 14: volumes against volumes, and the volume error that a Dice allows.

Enters: volumes and Dice of every case that the model had not learned from. Leaves: per arm the
scatter with its line and R², below it Bland and Altman's plot; and the bounds of equations 9 and
10 of PanSegNet (Zhang et al. 2025, Medical Image Analysis 99:103382) with the cases within.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.tables import EXTERNAL, INTERNAL, volume_cases
from acinus.measure.statistics import (
    dice_for_volume_error,
    limits_of_agreement,
    volume_comparison,
)
from acinus.report.choose import all_scores
from acinus.report.content import ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import number_text
from acinus.report.style import (
    ARM_COLORS,
    EXTERNAL_FILL,
    INK,
    INTERNAL_FILL,
    MUTED,
    PAGE_WIDTH_IN,
    new_figure,
    plain_grid,
    report_style,
    save_figure,
)

VOLUMES, BOUNDS = 12, 14
"""Numbers of the figures in the report."""

MARKED_ERRORS = (0.05, 0.1)
"""Volume errors whose Dice is marked, shares of the volume."""

_VOLUME_TITLE = "Volumes of the cases that the model had not learned from"
_BOUND_TITLE = "The volume error that a Dice allows"
_MOST_COLUMNS = 3


def draw_volumes(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 12 of the report."""
    cases = _cases(content)
    names = [arm.name for arm in content.arms if (cases["arm"] == arm.name).any()]
    if not names:
        return FigureView(VOLUMES, _VOLUME_TITLE, absent="no volume was measured.")
    csv = write_table(cases, folders.tables / f"figure-{VOLUMES}.csv")
    parts = []
    with report_style():
        for start in range(0, len(names), _MOST_COLUMNS):
            some = names[start : start + _MOST_COLUMNS]
            suffix = "" if len(names) <= _MOST_COLUMNS else chr(ord("a") + start // _MOST_COLUMNS)
            path = folders.figures / f"figure-{VOLUMES}{suffix}.png"
            save_figure(_draw_volumes(some, cases), path, synthetic=content.synthetic)
            parts.append((path, _VOLUME_CAPTION if start == 0 else "Further arms, as above."))
    return FigureView(VOLUMES, _VOLUME_TITLE, tuple(parts), (csv,))


_VOLUME_CAPTION = (
    "Above: predicted against reference volume; dashed: identity, solid: least-squares line of all "
    "cases, R² the square of Pearson's r, where there is one organ (the table has each). Below: "
    "difference (predicted minus reference) against the mean of both; solid: bias, dashed: limits "
    "of agreement (± 1.96 standard deviations of a single difference; a participant or group with "
    "several counts once in the bias). Dark: internal centres, out of fold; light: "
    "external centres."
)


def _cases(content: ReportContent) -> pd.DataFrame:
    cases = volume_cases(all_scores(content))
    arms = [arm.name for arm in content.arms if arm.site_column]
    return cases[cases["arm"].isin(arms)].reset_index(drop=True)


def _draw_volumes(names: Sequence[str], cases: pd.DataFrame) -> Any:
    side, left, gap = (PAGE_WIDTH_IN - 0.1) / max(len(names), 2), 0.5, 0.08
    panel = side - left - gap
    lower = 1.45
    total = 0.44 + panel + 0.62 + lower + 0.42
    figure = new_figure(total)
    for column, name in enumerate(names):
        rows = cases[cases["arm"] == name]
        start = (column * side + left) / PAGE_WIDTH_IN
        wide = panel / PAGE_WIDTH_IN
        above = figure.add_axes((start, (total - 0.44 - panel) / total, wide, panel / total))
        _scatter(above, name, rows, is_first=column == 0)
        below = figure.add_axes((start, 0.42 / total, wide, lower / total))
        _bland_altman(below, rows, is_first=column == 0)
    return figure


def _points(axes: Any, x: pd.Series, y: pd.Series, roles: pd.Series) -> None:
    for role, color in ((INTERNAL, INTERNAL_FILL), (EXTERNAL, EXTERNAL_FILL)):
        mine = roles == role
        if mine.any():
            axes.scatter(
                x[mine], y[mine], s=20, facecolor=color, edgecolor="white", linewidth=0.5,
                alpha=0.95, zorder=3, clip_on=False, label=role,
            )  # fmt: skip


def _scatter(axes: Any, name: str, rows: pd.DataFrame, *, is_first: bool) -> None:
    reference, prediction = rows["reference_volume_ml"], rows["prediction_volume_ml"]
    limit = 1.06 * float(max(reference.max(), prediction.max(), 1e-6))
    axes.plot([0, limit], [0, limit], color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=1)
    found = volume_comparison(reference.tolist(), prediction.tolist())
    words = f"n = {found.n}"
    # Over organs of different size a line would show that they differ in size.
    if rows["label"].nunique() > 1:
        words = f"{words}, all organs"
    elif found.slope is not None and found.intercept_ml is not None:
        ends = np.array([float(reference.min()), float(reference.max())])
        axes.plot(ends, found.intercept_ml + found.slope * ends, color=INK, lw=1.2, zorder=2)
        words = f"R² = {number_text(found.r_squared)}, slope {number_text(found.slope)}, {words}"
    axes.text(0.0, 1.02, words, transform=axes.transAxes, fontsize=7, va="bottom")
    _points(axes, reference, prediction, rows["cases"])
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal", xlabel="Reference volume (mL)")
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= limit]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_title(name, pad=15)
    if is_first:
        axes.set_ylabel("Predicted volume (mL)")
        axes.legend(loc="upper left", handletextpad=0.1, borderaxespad=0.2)
    plain_grid(axes, "both")


def _bland_altman(axes: Any, rows: pd.DataFrame, *, is_first: bool) -> None:
    reference, prediction = rows["reference_volume_ml"], rows["prediction_volume_ml"]
    found = limits_of_agreement(prediction.tolist(), reference.tolist(), rows["cluster"].tolist())
    dashes = (0, (4, 3))
    for value, style in ((found.bias, "-"), (found.lower, dashes), (found.upper, dashes)):
        if value is not None:
            axes.axhline(value, color=INK if style == "-" else MUTED, lw=0.9, ls=style, zorder=1)
            axes.text(
                1.0, value, f"{value:+.1f}".replace("-", "−"), transform=axes.get_yaxis_transform(),
                fontsize=6.5, ha="right", va="center", color=INK, zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
    _points(axes, (reference + prediction) / 2, prediction - reference, rows["cases"])
    axes.set_xlabel("Mean of both (mL)")
    axes.margins(x=0.06, y=0.14)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + 0.16 * (high - low))  # room for the numbers at the lines
    if is_first:
        axes.set_ylabel("Predicted − reference (mL)")
    plain_grid(axes, "both")


def draw_bounds(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 14 of the report."""
    cases = _cases(content).dropna(subset=["dice", "volume_error"])
    if cases.empty:
        return FigureView(BOUNDS, _BOUND_TITLE, absent="no case has a Dice and a volume.")
    csv = write_table(cases, folders.tables / f"figure-{BOUNDS}.csv")
    names = [arm.name for arm in content.arms if (cases["arm"] == arm.name).any()]
    with report_style():
        figure = _draw_bounds(names, cases)
        path = folders.figures / f"figure-{BOUNDS}.png"
        save_figure(figure, path, synthetic=content.synthetic)
    marks = ", ".join(f"{dice_for_volume_error(e):.3f} for {100 * e:g}%" for e in MARKED_ERRORS)
    caption = (
        "Left: relative volume error against Dice d with the upper bound 2/d − 2 and the lower "
        "2/(2 − d) − 2; right: its absolute value with its bound, the upper one. Every pair of "
        "masks lies between the bounds; each point is one structure of one case. Dotted: the "
        f"smallest Dice that guarantees an error ({marks}). Filled: internal; open: external."
    )
    return FigureView(BOUNDS, _BOUND_TITLE, ((path, caption),), (csv,))


def _draw_bounds(names: Sequence[str], cases: pd.DataFrame) -> Any:
    total = 3.1
    figure = new_figure(total)
    grid = figure.add_gridspec(
        1, 2, left=0.085, right=0.985, top=1 - 0.28 / total, bottom=0.44 / total, wspace=0.22
    )
    left, right = (figure.add_subplot(grid[0, column]) for column in range(2))
    low = float(np.clip(np.floor(10 * cases["dice"].min() - 0.5) / 10, 0.0, 0.8))
    dice = np.linspace(max(low, 0.02), 1.0, 400)
    upper, lower = 200 / dice - 200, 200 / (2 - dice) - 200
    largest = float(100 * cases["volume_error"].abs().max())
    reach = max(60.0, 1.2 * largest)
    left.fill_between(dice, lower, upper, color="#EEF3F8", zorder=0)
    left.plot(dice, upper, color="#C0392B", lw=1.2, label="upper bound")
    left.plot(dice, lower, color="#2F6DB5", lw=1.2, label="lower bound")
    right.fill_between(dice, 0, upper, color="#EEF3F8", zorder=0)
    right.plot(dice, upper, color="#C0392B", lw=1.2, label="bound")
    for axes, errors in ((left, cases["volume_error"]), (right, cases["volume_error"].abs())):
        for i, name in enumerate(names):
            color = ARM_COLORS[i % len(ARM_COLORS)]
            for role in (INTERNAL, EXTERNAL):
                mine = (cases["arm"] == name) & (cases["cases"] == role)
                axes.scatter(
                    cases.loc[mine, "dice"], 100 * errors[mine], s=15, zorder=3, linewidth=0.8,
                    facecolor=color if role == INTERNAL else "white", edgecolor=color,
                    label=name if role == INTERNAL else None,
                )  # fmt: skip
        axes.set_xlim(low, 1.005)
        axes.set_xlabel("Dice")
        plain_grid(axes, "both")
    left.axhline(0, color=MUTED, lw=0.7)
    left.set_ylim(-min(reach, 102.0), reach)
    left.set_ylabel("Volume error (%)")
    left.set_title("Signed")
    right.set_ylim(0, reach)
    right.set_ylabel("Absolute volume error (%)")
    right.set_title("Absolute")
    for error in MARKED_ERRORS:
        needed = dice_for_volume_error(error)
        right.plot([low, needed, needed], [100 * error, 100 * error, 0], color=INK, lw=0.8, ls=":")
    needs = "\n".join(
        f"error ≤ {100 * error:g}%: Dice ≥ {dice_for_volume_error(error):.3f}"
        for error in MARKED_ERRORS
    )
    right.text(0.985, 0.97, needs, transform=right.transAxes, ha="right", va="top", fontsize=6.8)
    left.legend(loc="upper right", fontsize=6.8, borderaxespad=0.2)
    return figure
