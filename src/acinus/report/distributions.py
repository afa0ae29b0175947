"""Figures 9 and 10: every case's Dice, and the comparison of what was varied.

Enters: the score table. Leaves: strip and box plots with each case as a point,
and per varied setting the mean of each value with its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.wording import label_title
from acinus.report.choose import wide_scores
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import broken
from acinus.report.style import (
    INK,
    MARKERS,
    MUTED,
    PREDICTION,
    new_figure,
    plain_grid,
    report_style,
    save_figure,
)

_SPREAD_TITLE = "Dice of every case"
_VARIANT_TITLE = "What was varied"
_SPREAD_NUMBER, _VARIANT_NUMBER = 9, 10


def draw_spread(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 9 of the report: Dice per structure and arm, every hold-out case visible."""
    tables = []
    for arm in content.arms:
        wide = wide_scores(content, arm.name)
        if "dice" in wide:
            tables.append(wide[["case", "participant", "label", "dice"]].assign(arm=arm.name))
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["dice"])
    if not rows["dice"].notna().any():
        return FigureView(
            _SPREAD_NUMBER, _SPREAD_TITLE, absent="no hold-out case has a Dice score."
        )
    csv = write_table(rows, folders.tables / "figure-9.csv")
    with report_style():
        figure = _draw_spread(content.arms, rows)
        path = save_figure(figure, folders.figures / "figure-9.png", synthetic=content.synthetic)
    undefined, defined = int(rows["dice"].isna().sum()), int(rows["dice"].notna().sum())
    caption = (
        f"Each point is one structure of one hold-out case (n = {defined}); "
        "box: quartiles and median, whiskers: the most extreme values within 1.5 interquartile "
        "ranges; the dark diamond is the mean."
    )
    if undefined:
        caption += f" {undefined} undefined or failed values are not drawn."
    return FigureView(_SPREAD_NUMBER, _SPREAD_TITLE, ((path, caption),), (csv,))


def _draw_spread(arms: Sequence[ArmContent], rows: pd.DataFrame) -> Any:
    groups = [
        (
            arm,
            label,
            rows.loc[(rows["arm"] == arm.name) & (rows["label"] == label), "dice"].dropna(),
        )
        for arm in arms
        for label in arm.labels
    ]
    groups = [group for group in groups if len(group[2])]
    total = 0.62 + 0.42 * len(groups)
    figure = new_figure(total)
    axes = figure.add_axes((0.29, 0.42 / total, 0.69, 1 - 0.5 / total))
    for y, (arm, label, values) in enumerate(groups):
        _strip(axes, y, values.to_numpy(), MARKERS.get(arm.sides.get(label, ""), "o"))
    axes.set_yticks(range(len(groups)))
    axes.set_yticklabels(
        [
            f"{broken(arm.name)}\n{label_title(label)} (n = {len(values)})"
            for arm, label, values in groups
        ]
    )
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice")
    plain_grid(axes, "x")
    return figure


def _strip(axes: Any, y: float, values: Any, marker: str) -> None:
    line = {"color": MUTED, "linewidth": 0.8}
    axes.boxplot(
        [values], positions=[y], orientation="horizontal", widths=0.5, showfliers=False,
        patch_artist=True, boxprops={"facecolor": "#EEF3F8", "edgecolor": MUTED, "linewidth": 0.8},
        medianprops={"color": INK, "linewidth": 1.3}, whiskerprops=line, capprops=line,
        manage_ticks=False,
    )  # fmt: skip
    jitter = spread_equal(values) * 0.3
    axes.scatter(values, y + jitter, s=15, marker=marker, facecolor=PREDICTION, edgecolor="white",
                 linewidth=0.5, zorder=3)  # fmt: skip
    axes.plot(values.mean(), y, marker="D", color=INK, ms=4.5, mec="white", mew=0.7, zorder=4)


def spread_equal(values: Any) -> Any:
    """Offsets in [-0.5, 0.5] by rank in turn, the same every time: no random jitter."""
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return ((order * 2) % 5 - 2) / 4.0


def draw_variants(content: ReportContent, folders: Folders, variants: pd.DataFrame) -> FigureView:
    """Figure 10 of the report.

    Args:
        content: What the report is made from.
        folders: Where to write.
        variants: Columns ``setting``, ``value``, ``model``, ``arm``, ``n``, ``mean``, ``low``,
            ``high``, ``chosen`` (see `acinus.report.tables`).
    """
    if variants.empty or not variants["mean"].notna().any():
        return FigureView(_VARIANT_NUMBER, _VARIANT_TITLE, absent="nothing was varied in this run.")
    csv = write_table(variants, folders.tables / "figure-10.csv")
    with report_style():
        scores = content.scores
        values = scores[(scores["part"] == "holdout") & (scores["metric"] == "dice")]
        figure = _draw_variants(content.arms, variants, values)
        path = save_figure(figure, folders.figures / "figure-10.png", synthetic=content.synthetic)
    caption = (
        "Faint: every structure of the hold-out. Dot and line: their mean Dice with its "
        "bootstrapped 95% interval; one setting changed at a time; blue: the value that the main "
        "model has. The hold-out is small: intervals that overlap decide nothing."
    )
    return FigureView(_VARIANT_NUMBER, _VARIANT_TITLE, ((path, caption),), (csv,))


def _draw_variants(arms: Sequence[ArmContent], variants: pd.DataFrame, values: pd.DataFrame) -> Any:
    settings = list(dict.fromkeys(variants["setting"]))
    names = [arm.name for arm in arms if (variants["arm"] == arm.name).any()]
    counts = [variants.loc[variants["setting"] == name, "value"].nunique() for name in settings]
    total = 0.26 * sum(counts) + 0.34 * len(settings) + 0.5
    figure = new_figure(total)
    grid = figure.add_gridspec(
        len(settings), len(names), left=0.15, right=0.985, top=1 - 0.28 / total, bottom=0.4 / total,
        height_ratios=counts, hspace=0.55, wspace=0.08,
    )  # fmt: skip
    for r, setting in enumerate(settings):
        for c, name in enumerate(names):
            axes = figure.add_subplot(grid[r, c])
            rows = variants[(variants["setting"] == setting) & (variants["arm"] == name)]
            _points(axes, rows, values)
            axes.set_xlim(-0.02, 1.02)
            if c:
                axes.set_yticklabels([])
            axes.set_title(f"{name}: {setting}" if r == 0 else setting)
            if r == len(settings) - 1:
                axes.set_xlabel("mean Dice (95% interval)")
            else:
                axes.set_xticklabels([])
    return figure


def _points(axes: Any, rows: pd.DataFrame, values: pd.DataFrame) -> None:
    for y, row in enumerate(rows.to_dict("records")):
        own = values[(values["model"] == row["model"]) & (values["arm"] == row["arm"])]["value"]
        axes.scatter(own, np.full(len(own), y), s=9, color=MUTED, alpha=0.3, linewidth=0)
        color = PREDICTION if row["chosen"] else MUTED
        if np.isfinite(row["low"]) and np.isfinite(row["high"]):
            axes.plot([row["low"], row["high"]], [y, y], color=color, lw=1.6)
        if np.isfinite(row["mean"]):
            axes.plot(row["mean"], y, "o", color=color, ms=5)
            axes.annotate(f"{row['mean']:.2f}", (row["mean"], y), xytext=(0, 4), fontsize=6.5,
                          textcoords="offset points", ha="center")  # fmt: skip
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels(list(rows["value"]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    plain_grid(axes, "x")
