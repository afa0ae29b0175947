"""Figures 16 and 17: how values are distributed inside labels, and what was taken for what.

Enters: percentiles of the values inside every label of every case, and the table of confusion.
Leaves: for each arm densities of the references of the rest and of the hold-out and of its
predictions, right beside left; and matrices of confusion, a panel a model. Every case weighs the
same, however large its gland.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate import PROFILE_COLUMNS
from acinus.evaluate.wording import label_title
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.style import (
    INK,
    MUTED,
    PREDICTION,
    REFERENCE,
    new_figure,
    plain_grid,
    report_style,
    save_figure,
)
from acinus.types import Array

PROFILES, CONFUSION = 16, 17
"""Numbers of the figures in the report."""

BINS = 36
"""Bars of a density between its ends."""

_PROFILE_TITLE = "Distribution of the values inside every label"
_CONFUSION_TITLE = "What was taken for what"
_PERCENTILES = [name for name in PROFILE_COLUMNS if name[1:].isdigit()]
_GROUPS = (
    ("the rest", MUTED, "reference", "train"),
    ("hold-out", REFERENCE, "reference", "holdout"),
    ("prediction", PREDICTION, "prediction", "holdout"),
)


def draw_profiles(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 16 of the report, a picture an arm."""
    profiles = content.profiles
    if profiles.empty:
        return FigureView(PROFILES, _PROFILE_TITLE, absent="the study does not ask for it.")
    csv = write_table(profiles, folders.tables / f"figure-{PROFILES}.csv")
    parts: list[tuple[Path, str]] = []
    for number, arm in enumerate(content.arms):
        rows = profiles[profiles["arm"] == arm.name]
        if rows.empty:
            continue
        path = folders.figures / f"figure-{PROFILES}-{number + 1}.png"
        with report_style():
            figure = _draw_profiles(rows, arm, content.mirror_pairs)
            save_figure(figure, path, synthetic=content.synthetic)
        parts.append((path, f"{arm.name}. {_KEY}" if not parts else f"{arm.name}, as above."))
    return FigureView(PROFILES, _PROFILE_TITLE, tuple(parts), (csv,))


_KEY = (
    "Density of the values of the first channel (HU for CT) inside each label, every case weighing "
    "the same: filled, references of the cases that are not held out; orange, references of the "
    "hold-out; blue, its predictions."
)


def _draw_profiles(rows: pd.DataFrame, arm: ArmContent, pairs: Sequence[tuple[str, str]]) -> Any:
    grid = _side_by_side(arm, rows, pairs)
    total = 0.75 + 1.25 * len(grid)
    figure = new_figure(total)
    panels = figure.subplots(
        len(grid), 2, squeeze=False,
        gridspec_kw={"left": 0.045, "right": 0.985, "top": 1 - 0.49 / total,
                     "bottom": 0.4 / total, "hspace": 0.55, "wspace": 0.08},
    )  # fmt: skip
    for line, labels in zip(panels, grid, strict=True):
        ends = _ends(rows[rows["label"].isin([name for name in labels if name])])
        tallest = 0.0
        for axes, label in zip(line, labels, strict=True):
            if label is None:
                axes.set_axis_off()
                continue
            own = rows[rows["label"] == label]
            tallest = max(tallest, _density(axes, own, ends))
            axes.set_title(f"{label_title(label)} ({_counts(own)})")
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            plain_grid(axes, "x")
        for axes in line:
            axes.set_ylim(0, 1.08 * tallest or 1)
            axes.set_xlim(ends[0], ends[-1])
    drawn = [axes.get_legend_handles_labels() for axes in panels.ravel()]
    # A gland that was never predicted has no curve of predictions; another one may.
    named = {word: handle for pair in drawn for handle, word in zip(*pair, strict=True)}
    words = [name for name, *_ in _GROUPS if name in named]
    handles = [named[word] for word in words]
    figure.legend(handles, words, loc="upper right", ncols=3, handlelength=1.4, borderaxespad=0.3)
    for axes in panels[-1]:
        axes.set_xlabel("Value inside the label")
    return figure


def _side_by_side(
    arm: ArmContent, rows: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> list[list[str | None]]:
    """Lines of two labels: partners, right first; then the others, two by two."""
    there = [label for label in arm.labels if (rows["label"] == label).any()]
    lines: list[list[str | None]] = []
    for right, left in pairs:
        if right in there or left in there:
            lines.append([one if one in there else None for one in (right, left)])
    alone = [label for label in there if not any(label in pair for pair in pairs)]
    for first in range(0, len(alone), 2):
        lines.append([alone[first], alone[first + 1] if first + 1 < len(alone) else None])
    return lines


def _counts(rows: pd.DataFrame) -> str:
    """``n = 60, 5, 5``: how many cases each group of a panel has, in the order of the legend."""
    is_part = rows["part"] == "holdout"
    sizes = [
        int(((rows["role"] == role) & (is_part == (part == "holdout"))).sum())
        for _, _, role, part in _GROUPS
    ]
    return f"n = {', '.join(map(str, sizes))}"


def _ends(rows: pd.DataFrame) -> Array:
    """Edges of the bars: from the 1st to the 99th percentile of the references, and a little."""
    drawn = rows[rows["role"] == "reference"]
    values = (drawn if len(drawn) else rows)[_PERCENTILES].to_numpy(float).ravel()
    low, high = np.percentile(values, [1, 99])
    room = 0.08 * (high - low) or 1.0
    return np.linspace(low - room, high + room, BINS + 1)


def _density(axes: Any, rows: pd.DataFrame, ends: Array) -> float:
    """Draw the groups of one label; the tallest bar."""
    tallest = 0.0
    for name, color, role, part in _GROUPS:
        is_part = (rows["part"] == "holdout") == (part == "holdout")
        own = rows[(rows["role"] == role) & is_part]
        if own.empty:
            continue
        values = own[_PERCENTILES].to_numpy(float).ravel()
        counts, _ = np.histogram(values, ends)
        share = counts / values.size
        if role == "reference" and part == "train":
            axes.stairs(share, ends, fill=True, color=color, alpha=0.28, label=name)
        else:
            axes.stairs(share, ends, color=color, lw=1.4, label=name)
        tallest = max(tallest, float(share.max()))
    return tallest


def draw_confusion(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 17 of the report: a line an arm, a panel a model."""
    table = content.confusion
    if table.empty:
        absent = "the study does not ask for it, or its labels overlap."
        return FigureView(CONFUSION, _CONFUSION_TITLE, absent=absent)
    csv = write_table(table, folders.tables / f"figure-{CONFUSION}.csv")
    path = folders.figures / f"figure-{CONFUSION}.png"
    with report_style():
        save_figure(_draw_confusion(table), path, synthetic=content.synthetic)
    caption = (
        "Share of each reference label (lines) that was predicted as each label (columns), in %, "
        "over the hold-out together; blank: none. The darker, the more; what lies off the "
        "diagonal is wrong."
    )
    return FigureView(CONFUSION, _CONFUSION_TITLE, ((path, caption),), (csv,))


def _draw_confusion(table: pd.DataFrame) -> Any:
    arms, models = list(dict.fromkeys(table["arm"])), list(dict.fromkeys(table["model"]))
    columns = max(2, len(models))
    side, foot = 5.5 / columns, 0.95
    total = foot + (side + 0.32) * len(arms)
    figure = new_figure(total)
    left, gap = 1.25 / 7.1, 0.12 / 7.1
    width = (1 - left - 0.02 - gap * (columns - 1)) / columns
    for r, arm in enumerate(arms):
        bottom = (foot + (side + 0.32) * (len(arms) - 1 - r)) / total
        for c, model in enumerate(models):
            own = table[(table["arm"] == arm) & (table["model"] == model)]
            if own.empty:
                continue
            axes = figure.add_axes((left + c * (width + gap), bottom, width, side / total))
            axes.set_title(arm if len(models) == 1 else f"{arm}: {_short(model)}", fontsize=7.5)
            _matrix(axes, own, names=c == 0, feet=r == len(arms) - 1)
    return figure


def _short(model: str) -> str:
    return "main model" if model == "final" else model.replace("train.", "").replace("=", ": ")


def _matrix(axes: Any, own: pd.DataFrame, *, names: bool, feet: bool) -> None:
    labels = list(dict.fromkeys(own["reference"]))
    shares = own.pivot(index="reference", columns="prediction", values="share")
    values = 100 * shares.loc[labels, labels].to_numpy(float)
    axes.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, vmax=115, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value) or value < 0.05:
            continue
        text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
        color = "white" if value > 60 else INK
        axes.text(j, i, text, ha="center", va="center", fontsize=6, color=color)
    titles = [label_title(label) for label in labels]
    axes.set_xticks(range(len(labels)))
    axes.set_yticks(range(len(labels)))
    axes.set_yticklabels(titles if names else [], fontsize=6.5)
    axes.set_xticklabels(titles if feet else [], fontsize=6.5, rotation=55, ha="right")
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
