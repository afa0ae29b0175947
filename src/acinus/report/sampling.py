"""Figure 2: where each sampling takes its patches, and how often it meets a structure.

Enters: one slice with its foreground and region, and measured shares. Leaves: the
three samplings of the lacrimal study side by side in red, and the one that was used
if it is another, with bars of the share of patches that contain foreground.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError
from acinus.evaluate.wording import label_title
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.maps import PlaneMap, read_maps
from acinus.report.numbers import count_text, in_sentence, join_words, share_text
from acinus.report.style import (
    HAIRLINE,
    INK,
    MUTED,
    PAGE_WIDTH_IN,
    PANEL,
    REGION,
    bare_axes,
    new_figure,
    report_style,
    save_figure,
)

SAMPLINGS = {
    "random": "anywhere in the image, all places alike",
    "foreground": "half of the patches about the structures, half elsewhere",
    "region": "half of the patches in the structures summed over all slices",
}
"""Words of each sampling, in the order of the paper."""

FURTHER = {
    "oversample": "a third of each batch about the structures, the rest anywhere (nnU-Net)",
    "rarity": "half of the patches about the structures, small and rare ones more often",
}
"""Samplings that are drawn if they were used."""

_ROMAN = ("i", "ii", "iii", "iv", "v")

_NEARLY_ALL = 0.95
"""Share of patches with a structure from which samplings hardly differ."""

_NUMBER = 2
_TITLE = "Where each sampling takes its patches"


def draw_sampling(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 2 of the report; absent if no arm has measured shares or a map."""
    shares = [arm.sampling.assign(arm=arm.name) for arm in content.arms if len(arm.sampling)]
    drawn, trouble = _maps(content.arms)
    if not shares and drawn is None:
        return FigureView(
            _NUMBER, _TITLE, absent=trouble or "the samplings were not measured in this run."
        )
    table = pd.concat(shares, ignore_index=True) if shares else pd.DataFrame()
    csv: tuple[str, ...] = ()
    if len(table):
        first = ["arm", "sampling", "share_with_foreground", "n"]
        table = table[first + [name for name in table.columns if name not in first]]
        csv = (write_table(table, folders.tables / "figure-2.csv"),)
    with report_style():
        figure = _draw(content.arms, table, drawn)
        path = save_figure(figure, folders.figures / "figure-2.png", synthetic=content.synthetic)
    caption = _caption(content, table, drawn, trouble)
    return FigureView(_NUMBER, _TITLE, ((path, caption),), csv)


def _shown(arms: Sequence[ArmContent]) -> list[str]:
    """The samplings of the paper, and those that were used beside them."""
    used = [str(arm.settings.get("sampling")) for arm in arms]
    return [*SAMPLINGS, *(name for name in FURTHER if name in used)]


def _heading(column: int, sampling: str, used: set[str]) -> str:
    text = f"({_ROMAN[column]}) {sampling}"
    return f"{text}, used" if sampling in used else text


def _maps(arms: Sequence[ArmContent]) -> tuple[tuple[ArmContent, PlaneMap] | None, str]:
    trouble = []
    for arm in arms:
        if arm.sampling_maps is None:
            continue
        try:
            return (arm, read_maps(Path(arm.sampling_maps), ("image", "foreground", "region"))), ""
        except DataError as error:
            trouble.append(str(error))
    return None, " ".join(trouble)


def _draw(
    arms: Sequence[ArmContent], table: pd.DataFrame, drawn: tuple[ArmContent, PlaneMap] | None
) -> Any:
    gap, head = 0.1, 0.22
    shown = _shown(arms)
    width = (PAGE_WIDTH_IN - (len(shown) - 1) * gap) / len(shown)
    picture = width * drawn[1].height_over_width if drawn else 0.0
    names = [arm.name for arm in arms if len(table) and (table["arm"] == arm.name).any()]
    bars = 0.3 * len(names) + 0.5 if names else 0.12
    total = head + picture + bars
    figure = new_figure(total)
    used = {str(arm.settings.get("sampling")) for arm in arms}
    for column, sampling in enumerate(shown):
        left = column * (width + gap) / PAGE_WIDTH_IN
        if drawn:
            axes = figure.add_axes((left, bars / total, width / PAGE_WIDTH_IN, picture / total))
            _draw_region(axes, drawn[1], sampling)
        figure.text(left, 1 - 0.45 * head / total, _heading(column, sampling, used),
                    fontweight="bold", fontsize=8.5, va="center")  # fmt: skip
        if names:
            box = (left, 0.16 / total, width / PAGE_WIDTH_IN, (bars - 0.24) / total)
            _draw_bars(figure.add_axes(box), table[table["sampling"] == sampling], names)
    return figure


def _draw_region(axes: Any, maps: PlaneMap, sampling: str) -> None:
    bare_axes(axes)
    image = maps.picture("image")
    low, high = np.percentile(image, [0.5, 99.7])
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=maps.extent_mm,
                interpolation="bilinear", aspect="equal")  # fmt: skip
    if sampling == "random":
        weight = np.ones(image.shape, dtype=bool)
    else:
        weight = maps.picture("region" if sampling == "region" else "foreground").astype(bool)
    red = np.zeros((*weight.shape, 4))
    red[weight] = (0.84, 0.15, 0.16, 0.22 if sampling == "random" else 0.75)
    axes.imshow(red, extent=maps.extent_mm, interpolation="nearest", aspect="equal")


def _draw_bars(axes: Any, rows: pd.DataFrame, names: list[str]) -> None:
    for level, name in enumerate(names):
        some = rows[rows["arm"] == name]
        share = float(some["share_with_foreground"].iloc[0]) if len(some) else float("nan")
        axes.barh(level, 1.0, height=0.34, color=PANEL, edgecolor=HAIRLINE, linewidth=0.5)
        if np.isfinite(share):
            axes.barh(level, share, height=0.34, color=REGION)
        words = (
            f"{name}: {share_text(share)} of {count_text(some['n'].iloc[0])}" if len(some) else name
        )
        axes.text(0, level - 0.27, words, fontsize=7, va="bottom", color=INK)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.6, -0.85)
    bare_axes(axes, face="none")
    axes.text(0, len(names) - 0.72, "0", fontsize=6, color=MUTED, va="top")
    axes.text(1, len(names) - 0.72, "100%", fontsize=6, color=MUTED, va="top", ha="right")


def _caption(
    content: ReportContent,
    table: pd.DataFrame,
    drawn: tuple[ArmContent, PlaneMap] | None,
    trouble: str,
) -> str:
    labels = join_words([in_sentence(label_title(name)) for name in content.labels])
    listed = [
        f"({_ROMAN[column]}) {name}: {(SAMPLINGS | FURTHER)[name]}"
        for column, name in enumerate(_shown(content.arms))
    ]
    words = [f"Red: the places that a sampling favours. {'; '.join(listed)}."]
    if len(table):
        words.append(
            f"Bars: share of the patches that contain any of {labels}, of n patches drawn."
        )
        if (table["share_with_foreground"] > _NEARLY_ALL).all():
            words.append(
                "Patches are so large beside the image that each sampling shows the structures."
            )
    else:
        words.append("The shares were not measured.")
    if drawn:
        arm, maps = drawn
        where = f"{maps.plane} slice of {arm.name}"
        if maps.case:
            where += f", {maps.case}"
        if maps.slice_index is not None:
            where += f", slice {maps.slice_index + 1}"
        words.append(f"Shown: {where}.")
    if trouble:
        words.append(trouble)
    return " ".join(words)
