"""Figures 11 and 13: what the model draws at each centre, and how its Dice shifts from one to next.

Enters: predictions of cases that the model had not learned from, internal by the network of the
fold that left them out, external by the mean of all or the best. Leaves: per arm a picture with
the case of median Dice of every centre, and the Dice of every case by centre. Showing the best
cases was rejected: the median is the one that a reader may expect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError, GridError
from acinus.evaluate.structures import select, structures
from acinus.evaluate.tables import EXTERNAL, INTERNAL
from acinus.evaluate.wording import label_title
from acinus.report.choose import all_scores
from acinus.report.content import FINAL_MODEL, ArmContent, ReportContent
from acinus.report.distributions import spread_equal
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.style import (
    EXTERNAL_FILL,
    GREEN,
    HAIRLINE,
    INK,
    INTERNAL_FILL,
    MUTED,
    PAGE_WIDTH_IN,
    RED,
    new_figure,
    plain_grid,
    report_style,
    save_figure,
)
from acinus.report.views import (
    CaseView,
    Window,
    draw_letters,
    draw_note,
    draw_outline,
    draw_scale_bar,
    fullest_index,
    show_plane,
    view_case,
    whole_window,
    window_about,
)

OVERLAYS, SHIFT = 11, 13
"""Numbers of the figures in the report."""

MARGIN_MM = 14.0
"""What the magnified row shows around the structures, mm."""

_OVERLAY_TITLE = "Segmentation at the median Dice of every centre"
_SHIFT_TITLE = "Dice by centre"
_GAP_IN = 0.05
_HEAD_IN = 0.36
_KEY_IN = 0.24


@dataclass(frozen=True, eq=False)
class _Shown:
    """A case that stands for its centre."""

    centre: str
    role: str
    dice: float
    view: CaseView


def centre_dice(content: ReportContent, arm: ArmContent) -> pd.DataFrame:
    """Dice of every case of an arm that its model had not learned from, with its centre.

    Returns:
        Columns arm, centre, role (``internal`` or ``external``), case, participant, label, dice;
        centres in the order in which they are shown.
    """
    scores = select(all_scores(content), model=FINAL_MODEL)
    scores = scores[(scores["arm"] == arm.name) & scores["part"].isin(["holdout", "validation"])]
    columns = ["arm", "centre", "role", "case", "participant", "label", "dice"]
    wide = structures(scores)
    if "dice" not in wide:
        return pd.DataFrame(columns=columns)
    wide = wide.assign(
        centre=wide["participant"].map(arm.sites),
        role=wide["part"].map({"validation": INTERNAL, "holdout": EXTERNAL}),
    ).dropna(subset=["centre"])
    order = wide["role"].map({INTERNAL: 0, EXTERNAL: 1})
    return wide.assign(order=order).sort_values(["order", "centre"], kind="stable")[columns]


def draw_centre_overlays(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 11 of the report, a picture per arm with centres."""
    parts: list[tuple[Path, str]] = []
    trouble: list[str] = []
    numbers: list[dict[str, object]] = []
    arms = [arm for arm in content.arms if arm.site_column]
    for position, arm in enumerate(arms):
        shown = _median_cases(content, arm, trouble)
        if not shown:
            continue
        numbers += [
            {"arm": arm.name, "centre": one.centre, "role": one.role, "case": one.view.case,
             "mean_dice": one.dice}
            for one in shown
        ]  # fmt: skip
        suffix = chr(ord("a") + position) if len(arms) > 1 else ""
        with report_style():
            figure = _draw_overlays(arm, shown)
            path = folders.figures / f"figure-{OVERLAYS}{suffix}.png"
            save_figure(figure, path, synthetic=content.synthetic)
        words = ", ".join(f"{one.centre} {one.view.case}" for one in shown)
        parts.append((path, f"{_LEGEND if not parts else ''} {arm.name}: {words}.".strip()))
    if not parts:
        return FigureView(OVERLAYS, _OVERLAY_TITLE, absent=" ".join(trouble) or "no case scored.")
    if trouble:
        parts[-1] = (parts[-1][0], f"{parts[-1][1]} {' '.join(trouble)}")
    csv = write_table(pd.DataFrame(numbers), folders.tables / f"figure-{OVERLAYS}.csv")
    return FigureView(OVERLAYS, _OVERLAY_TITLE, tuple(parts), (csv,))


_LEGEND = (
    "Green: prediction; red: reference. A column a centre: the case whose mean Dice is the median "
    "of its centre (the lower one of two), in the axial slice where the reference is largest; "
    "above the whole slice, below magnified. Internal cases are segmented by the network that had "
    "not seen them. Dice is of the whole volume, not of the slice."
)


def _median_cases(content: ReportContent, arm: ArmContent, trouble: list[str]) -> list[_Shown]:
    """The case in the middle of each centre that can be shown."""
    table = centre_dice(content, arm)
    seen = replace(arm, predictions={**arm.validation_predictions, **arm.predictions})
    shown = []
    for (role, centre), rows in table.groupby(["role", "centre"], sort=False):
        means = rows.groupby("case")["dice"].mean().dropna().sort_values(kind="stable")
        cases = [case for case in means.index if case in seen.predictions and arm.images.get(case)]
        if not cases:
            trouble.append(f"{arm.name}: no case of {centre} can be shown.")
            continue
        case = str(cases[(len(cases) - 1) // 2])
        try:
            shown.append(_Shown(str(centre), str(role), float(means[case]), view_case(seen, case)))
        except (DataError, GridError) as error:
            trouble.append(str(error))
    return shown


def _draw_overlays(arm: ArmContent, shown: Sequence[_Shown]) -> Any:
    n = max(len(shown), 3)
    width = (PAGE_WIDTH_IN - (n - 1) * _GAP_IN) / n
    whole = [_square(whole_window(one.view)) for one in shown]
    near = [_square(window_about(one.view, one.view.drawn(), margin_mm=MARGIN_MM)) for one in shown]
    height = width * max(float(w.size[1] / w.size[2]) for w in whole)
    total = _HEAD_IN + height + width + 2 * _GAP_IN + _KEY_IN
    figure = new_figure(total)
    for column, one in enumerate(shown):
        left = column * (width + _GAP_IN)
        figure.text(
            left / PAGE_WIDTH_IN, 1 - 0.1 / total, f"{one.centre}, {one.role}",
            fontsize=8, fontweight="bold", va="center",
        )  # fmt: skip
        figure.text(
            left / PAGE_WIDTH_IN, 1 - 0.25 / total, f"{arm.name}, Dice {one.dice:.2f}",
            fontsize=7.5, va="center", color=MUTED,
        )  # fmt: skip
        index = fullest_index(one.view.structures(), "axial")
        top = total - _HEAD_IN
        for window, tall in ((whole[column], height), (near[column], width)):
            box = (
                left / PAGE_WIDTH_IN, (top - tall) / total, width / PAGE_WIDTH_IN, tall / total,
            )  # fmt: skip
            _panel(figure.add_axes(box), arm, one.view, index, window, is_near=tall is width)
            top -= tall + _GAP_IN
    _draw_key(figure, total)
    return figure


def _panel(
    axes: Any, arm: ArmContent, view: CaseView, index: int, window: Window, *, is_near: bool
) -> None:
    show_plane(axes, view, "axial", index, window)
    spacing = (view.spacing_mm[1], view.spacing_mm[2])
    width = 1.3 if is_near else 0.8
    for labelmap, color in ((view.reference, RED), (view.prediction, GREEN)):
        if labelmap is not None:
            for label in arm.labels:
                draw_outline(axes, arm.mask(labelmap[index], label), spacing, color, width=width)
    if is_near:
        draw_scale_bar(axes, 20.0)
    else:
        draw_letters(axes, "axial", size=6)
        draw_note(axes, f"slice {index + 1}/{view.image.shape[0]}", size=6.0)


def _draw_key(figure: Any, total: float) -> None:
    """Which colour is what, drawn: a caption may be lost when a figure is copied."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=GREEN, lw=2, label="prediction"),
        Line2D([], [], color=RED, lw=2, label="reference"),
    ]
    figure.legend(
        handles=handles, loc="lower left", ncols=2, bbox_to_anchor=(0.0, 0.0), fontsize=7.5,
        borderaxespad=0.1, handlelength=1.4,
    )  # fmt: skip


def _square(window: Window) -> Window:
    """The window with its axial sides as long as the longer one."""
    s, a, r = window.size
    return window.resized(np.array([s, max(a, r), max(a, r)]))


def draw_shift(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 13 of the report: Dice of every case by centre, internal dark, external light."""
    arms = [arm for arm in content.arms if arm.site_column]
    tables = {arm.name: centre_dice(content, arm).dropna(subset=["dice"]) for arm in arms}
    arms = [arm for arm in arms if len(tables[arm.name])]
    if not arms:
        return FigureView(SHIFT, _SHIFT_TITLE, absent="no case with a centre has a Dice.")
    whole = pd.concat([tables[arm.name] for arm in arms], ignore_index=True)
    csv = write_table(whole, folders.tables / f"figure-{SHIFT}.csv")
    with report_style():
        figure = _draw_shift(arms, tables)
        path = folders.figures / f"figure-{SHIFT}.png"
        save_figure(figure, path, synthetic=content.synthetic)
    caption = (
        "Each point is one structure of one case. Dark: internal centres, each case segmented by "
        "the network that had not seen it; light: external centres. Box: quartiles and median; "
        "whiskers: the most extreme values within 1.5 interquartile ranges; diamond: mean. Dashed: "
        "median of all internal cases. Where a centre has fewer than five cases only the points "
        "and their mean are drawn."
    )
    return FigureView(SHIFT, _SHIFT_TITLE, ((path, caption),), (csv,))


FEWEST_FOR_BOX = 5
"""Fewest values of which quartiles are drawn."""


def _draw_shift(arms: Sequence[ArmContent], tables: dict[str, pd.DataFrame]) -> Any:
    counts = [_n_groups(tables[arm.name]) for arm in arms]
    total = 2.75
    figure = new_figure(total)
    grid = figure.add_gridspec(
        1, len(arms), left=0.075, right=0.995, top=1 - 0.3 / total, bottom=0.52 / total,
        wspace=0.08, width_ratios=[max(n, 2) for n in counts],
    )  # fmt: skip
    low = min(float(tables[arm.name]["dice"].min()) for arm in arms)
    first = None
    for column, arm in enumerate(arms):
        axes = figure.add_subplot(grid[0, column], sharey=first)
        first = first or axes
        _shift_panel(axes, arm, tables[arm.name])
        axes.set_ylim(max(-0.02, np.floor(low * 10 - 0.5) / 10), 1.01)
        axes.set_title(arm.name)
        if column:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("Dice")
        plain_grid(axes, "y")
    return figure


def _n_groups(table: pd.DataFrame) -> int:
    return len(table[["centre", "label"]].drop_duplicates())


def _shift_panel(axes: Any, arm: ArmContent, table: pd.DataFrame) -> None:
    inside = table.loc[table["role"] == INTERNAL, "dice"]
    if len(inside):
        axes.axhline(inside.median(), color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=1)
    several = len(arm.labels) > 1
    names = []
    groups = table.groupby(["role", "centre", "label"], sort=False)
    for x, ((role, centre, label), rows) in enumerate(groups):
        fill = INTERNAL_FILL if role == INTERNAL else EXTERNAL_FILL
        _column(axes, x, rows["dice"].to_numpy(), fill)
        names.append(
            f"{centre}\n" + (f"{label_title(str(label))}\n" if several else "") + f"n = {len(rows)}"
        )
    room = axes.get_position().width * PAGE_WIDTH_IN / (len(names) + 0.2)
    longest = max(len(line) for name in names for line in name.split("\n"))
    size = float(np.clip(6.8 * room / (longest * 0.058), 5.2, 6.8))
    axes.set_xticks(range(len(names)), names, fontsize=size)
    axes.tick_params(axis="x", labelrotation=90 if len(names) > 8 else 0, length=0)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _column(axes: Any, x: float, values: Any, fill: str) -> None:
    line = {"color": MUTED, "linewidth": 0.8}
    if len(values) >= FEWEST_FOR_BOX:
        axes.boxplot(
            [values], positions=[x], widths=0.62, showfliers=False, patch_artist=True,
            boxprops={"facecolor": fill, "edgecolor": MUTED, "linewidth": 0.8, "alpha": 0.35},
            medianprops={"color": INK, "linewidth": 1.3}, whiskerprops=line, capprops=line,
            manage_ticks=False,
        )  # fmt: skip
    axes.scatter(
        x + spread_equal(values) * 0.4, values, s=13, facecolor=fill, edgecolor="white",
        linewidth=0.4, zorder=3,
    )  # fmt: skip
    axes.plot(x, np.mean(values), marker="D", color=INK, ms=4.2, mec="white", mew=0.7, zorder=4)
    axes.axvline(x, color=HAIRLINE, lw=0.5, zorder=0)
