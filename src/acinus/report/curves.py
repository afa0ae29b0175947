"""Figure 8: how training went, fold by fold.

Enters: the history of each arm. Leaves: training and validation loss, validation
Dice and learning rate against the epoch; the mean over folds drawn on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import join_words, plural
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

_LONG_NAME = 16
"""Letters of an arm's name from which it stands on a line of its own."""

_NUMBER = 8
_TITLE = "Training"


def draw_curves(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 8 of the report; absent if no arm has a history."""
    arms = [arm for arm in content.pictured if len(arm.history)]
    if not arms:
        return FigureView(_NUMBER, _TITLE, absent="no training history was recorded.")
    table = pd.concat([arm.history.assign(arm=arm.name) for arm in arms], ignore_index=True)
    table = table[["arm", *(name for name in table.columns if name != "arm")]]
    csv = write_table(table, folders.tables / "figure-8.csv")
    with report_style():
        figure = _draw(arms)
        path = save_figure(figure, folders.figures / "figure-8.png", synthetic=content.synthetic)
    return FigureView(_NUMBER, _TITLE, ((path, _caption(arms)),), (csv,))


def _draw(arms: Sequence[ArmContent]) -> Any:
    row = 1.85
    total = row * len(arms) + 0.22
    figure = new_figure(total)
    grid = figure.add_gridspec(
        len(arms), 3, left=0.06, right=0.985, top=1 - 0.42 / total, bottom=0.48 / total,
        wspace=0.32, hspace=0.62,
    )  # fmt: skip
    for r, arm in enumerate(arms):
        history = arm.history
        losses, dice, rate = (figure.add_subplot(grid[r, c]) for c in range(3))
        _series(losses, history, "train_loss", MUTED, "training")
        _series(losses, history, "validation_loss", REFERENCE, "validation")
        losses.set_title(f"{arm.name}: loss" if len(arm.name) <= _LONG_NAME else "loss")
        if len(arm.name) > _LONG_NAME:
            losses.annotate(
                arm.name, (0, 1), xytext=(0, 18), xycoords="axes fraction",
                textcoords="offset points", fontsize=8.5, fontweight="bold",
            )  # fmt: skip
        losses.legend(loc="upper right", handlelength=1.2, borderaxespad=0.1)
        _series(dice, history, "validation_dice", PREDICTION, "")
        dice.set_title("validation Dice")
        dice.set_ylim(0, 1)
        _series(rate, history, "learning_rate", INK, "", folds=False)
        rate.set_title("learning rate")
        rate.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        rate.set_ylim(bottom=0)
        for axes in (losses, dice, rate):
            plain_grid(axes)
            axes.margins(x=0.02)
            axes.locator_params(axis="x", integer=True, nbins=6)
            if r == len(arms) - 1:
                axes.set_xlabel("epoch")
    return figure


def _series(
    axes: Any, history: pd.DataFrame, column: str, color: str, label: str, *, folds: bool = True
) -> None:
    if column not in history:
        return
    rows = history.assign(y=pd.to_numeric(history[column], errors="coerce")).dropna(subset=["y"])
    if rows.empty:
        return
    if folds and rows["fold"].nunique() > 1:
        for _, some in rows.groupby("fold"):
            axes.plot(some["epoch"], some["y"], color=color, lw=0.7, alpha=0.35)
    # The clock gives folds different numbers of epochs: a mean of the last one alone is none.
    by_epoch = rows.groupby("epoch")["y"]
    mean = by_epoch.mean()[by_epoch.count() == by_epoch.count().max()]
    marker = "o" if len(mean) == 1 else None
    axes.plot(mean.index, mean, color=color, lw=1.5, label=label or None, marker=marker, ms=3)


def _caption(arms: Sequence[ArmContent]) -> str:
    last = []
    for arm in arms:
        history = arm.history
        folds, epochs = history["fold"].nunique(), int(history["epoch"].nunique())
        last.append(f"{arm.name} {plural(folds, 'fold')}, {plural(epochs, 'epoch')}")
    lines = ""
    if any(arm.history["fold"].nunique() > 1 for arm in arms):
        lines = "Thin lines: single folds; thick line: their mean. "
    return (
        f"{lines}Validation loss and Dice: on patches of the fold left out, never on the hold-out. "
        f"{join_words(last)}."
    )
