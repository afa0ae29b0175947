"""Figure 5: predicted against reference volumes, and the case that lost most.

Enters: volumes of the hold-out in the score table. Leaves: a scatter plot per arm
with Pearson's r and its p, naive and with the structures of one participant
treated as a cluster, and below it the case of the largest underestimation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError, GridError
from acinus.evaluate.clusters import people_words
from acinus.evaluate.wording import label_title
from acinus.report.choose import largest_underestimation, overall, wide_scores
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import number_text, p_text
from acinus.report.style import (
    INK,
    MARKERS,
    MUTED,
    PAGE_WIDTH_IN,
    PREDICTION,
    REFERENCE,
    new_figure,
    plain_grid,
    report_style,
    save_figure,
)
from acinus.report.views import (
    CaseView,
    draw_letters,
    draw_note,
    draw_outline,
    draw_scale_bar,
    show_plane,
    spread_slices,
    view_case,
    whole_window,
    window_about,
)

_NUMBER = 5
_TITLE = "Volumes: reference against prediction"
_COLUMNS = ["arm", "case", "participant", "label", "side"]
_VOLUMES = ["reference_volume_ml", "prediction_volume_ml"]


def draw_agreement(content: ReportContent, folders: Folders, agreement: pd.DataFrame) -> FigureView:
    """Figure 5 of the report.

    Args:
        content: What the report is made from.
        folders: Where to write.
        agreement: See `acinus.evaluate.tables.volume_agreement`.
    """
    points = {arm.name: _points(content, arm) for arm in content.pictured}
    if not any(len(rows) for rows in points.values()):
        return FigureView(_NUMBER, _TITLE, absent="no hold-out prediction has a volume.")
    everything = pd.concat([rows for rows in points.values() if len(rows)], ignore_index=True)
    csv = write_table(everything[_COLUMNS + _VOLUMES], folders.tables / "figure-5.csv")
    arms = [arm for arm in content.pictured if len(points[arm.name])]
    cases, trouble = _cases(content, arms)
    with report_style():
        parts = []
        for start in range(0, len(arms), 2):
            pair = arms[start : start + 2]
            figure = _draw(pair, points, agreement, cases, everything)
            suffix = "" if len(arms) <= 2 else chr(ord("a") + start // 2)
            path = folders.figures / f"figure-5{suffix}.png"
            save_figure(figure, path, synthetic=content.synthetic)
            parts.append((path, _caption(pair, cases, trouble if start == 0 else [])))
    return FigureView(_NUMBER, _TITLE, tuple(parts), (csv,))


def _points(content: ReportContent, arm: ArmContent) -> pd.DataFrame:
    wide = wide_scores(content, arm.name)
    if not set(_VOLUMES) <= set(wide.columns):
        return pd.DataFrame(columns=_COLUMNS + _VOLUMES)
    rows = wide.dropna(subset=_VOLUMES)
    return rows.assign(arm=arm.name, side=[arm.sides.get(name, "") for name in rows["label"]])


def _cases(
    content: ReportContent, arms: list[ArmContent]
) -> tuple[dict[str, tuple[CaseView, str]], list[str]]:
    views, trouble = {}, []
    for arm in arms:
        chosen = largest_underestimation(content, arm)
        if chosen is None or chosen[0] not in arm.predictions:
            trouble.append(f"{arm.name}: no case is underestimated.")
            continue
        try:
            views[arm.name] = (view_case(arm, chosen[0]), chosen[1])
        except (DataError, GridError) as error:
            trouble.append(str(error))
    return views, trouble


def _draw(
    arms: list[ArmContent],
    points: dict[str, pd.DataFrame],
    agreement: pd.DataFrame,
    cases: dict[str, tuple[CaseView, str]],
    everything: pd.DataFrame,
) -> Any:
    side, above = 3.35, 0.3
    pictures = any(arm.name in cases for arm in arms)
    below = 2.0 if pictures else 0.0
    total = side + above + below
    figure = new_figure(total)
    limit = 1.08 * float(everything[_VOLUMES].to_numpy().max() or 1.0)
    first = 0.0 if len(arms) == 2 else (PAGE_WIDTH_IN - side) / 2
    for column, arm in enumerate(arms):
        left = first + column * PAGE_WIDTH_IN / 2
        axes = figure.add_axes(
            (
                (left + 0.52) / PAGE_WIDTH_IN,
                (below + 0.42) / total,
                (side - 0.68) / PAGE_WIDTH_IN,
                (side - 0.68) / total,
            )
        )
        _scatter(axes, arm, points[arm.name], agreement, limit)
        if arm.name in cases:
            _draw_case(figure, arm, *cases[arm.name], left=left, width=side, total=total)
    return figure


def _scatter(
    axes: Any, arm: ArmContent, rows: pd.DataFrame, agreement: pd.DataFrame, limit: float
) -> None:
    axes.plot([0, limit], [0, limit], color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=1)
    axes.text(0.95 * limit, 0.97 * limit, "identity", color=MUTED, fontsize=6.5, rotation=45,
              ha="right", va="bottom", rotation_mode="anchor")  # fmt: skip
    groups = rows["side"] if arm.sides else rows["label"]
    markers = ["o", "^", "s", "D", "v", "P"]
    for i, (name, some) in enumerate(rows.groupby(groups, sort=False)):
        marker = MARKERS.get(str(name), markers[i % len(markers)])
        axes.scatter(
            some[_VOLUMES[0]], some[_VOLUMES[1]], s=26, marker=marker, facecolor=PREDICTION,
            edgecolor="white", linewidth=0.6, alpha=0.9, zorder=3, clip_on=False,
            label=str(name) if arm.sides else label_title(str(name)),
        )  # fmt: skip
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= limit]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.set_xlabel("Reference volume (mL)")
    axes.set_ylabel("Predicted volume (mL)")
    axes.set_title(arm.name, pad=27)
    plain_grid(axes, "both")
    axes.legend(loc="best", handletextpad=0.1, borderaxespad=0.2)
    axes.text(0.0, 1.02, _statistics(arm, agreement), transform=axes.transAxes, va="bottom",
              fontsize=7, linespacing=1.3, color=INK)  # fmt: skip


def _statistics(arm: ArmContent, agreement: pd.DataFrame) -> str:
    row = overall(agreement, arm.name)
    if row is None:
        return ""
    if not np.isfinite(row["r"]):
        return f"n = {int(row['n'])}: too few for r"
    return (
        f"r = {number_text(row['r'])}, n = {int(row['n'])} in {people_words(row)}\n"
        f"{p_text(row['p_naive'])} (naive), {p_text(row['p_clustered'])} (clustered)"
    )


def _draw_case(
    figure: Any, arm: ArmContent, view: CaseView, label: str, *, left: float, width: float,
    total: float,
) -> None:  # fmt: skip
    masks = [arm.mask(m, label) for m in (view.reference, view.prediction) if m is not None]
    mask = np.logical_or.reduce(masks)
    window = window_about(view, mask, margin_mm=10.0)
    edge = float(window.size[1:].max())
    window = window.resized(np.array([window.size[0], edge, edge])).inside(whole_window(view))
    panel, gap = (width - 0.08) / 2, 0.05
    figure.text(
        (left + 0.04) / PAGE_WIDTH_IN, (0.05 + panel + 0.1) / total,
        f"Largest underestimation: {view.case}, {label_title(label)}", fontsize=7, va="center",
    )  # fmt: skip
    for column, index in enumerate(spread_slices(mask, 2)):
        box = (
            (left + 0.04 + column * (panel + gap)) / PAGE_WIDTH_IN,
            0.05 / total,
            panel / PAGE_WIDTH_IN,
            panel / total,
        )
        axes = figure.add_axes(box)
        show_plane(axes, view, "axial", index, window)
        spacing = (view.spacing_mm[1], view.spacing_mm[2])
        for labelmap, color in ((view.reference, REFERENCE), (view.prediction, PREDICTION)):
            if labelmap is not None:
                draw_outline(axes, arm.mask(labelmap[index], label), spacing, color)
        draw_letters(axes, "axial", size=6)
        draw_note(axes, f"slice {index + 1}/{view.image.shape[0]}", size=6.0)
        if column == 0:
            draw_scale_bar(axes)


def _caption(
    arms: list[ArmContent], cases: dict[str, tuple[CaseView, str]], trouble: list[str]
) -> str:
    words = [
        "Each point is one structure of one hold-out case; the dashed line is identity. r is "
        "Pearson's; p naive takes all structures as independent, p clustered treats those of one "
        "participant, or of a group that the split keeps together, as a cluster."
    ]
    for arm in arms:
        if arm.name not in cases:
            continue
        view, label = cases[arm.name]
        ml = float(np.prod(view.spacing_mm)) / 1000.0
        drawn, found = (
            0.0 if labelmap is None else float(arm.mask(labelmap, label).sum()) * ml
            for labelmap in (view.reference, view.prediction)
        )
        words.append(
            f"Below, {arm.name}: the largest underestimation, {label_title(label)} of {view.case} "
            f"({found:.2f} mL predicted of {drawn:.2f} mL; reference orange, prediction blue)."
        )
    return " ".join(words + trouble)
