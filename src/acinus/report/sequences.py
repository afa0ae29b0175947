"""Which sequences are needed: its tables, its sentences and figure 19.

Enters: the scores of a study whose arms are subsets of the channels. Leaves: drafts of two tables,
sentences, and a figure whose rows are the subsets, with a matrix of which sequences each has, as
UpSet plots have it (Lex et al. 2014, IEEE Trans Vis Comput Graph 20(12):1983-1992). Names of sets
on the axis were rejected: they are long, and who compares wants to see which sequence is where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.tables import (
    display,
    factor_sentence,
    factor_table,
    note,
    sequence_sentence,
    sequence_table,
)
from acinus.evaluate.wording import metric_title
from acinus.report.choose import all_scores
from acinus.report.content import ReportContent, SequenceContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import is_number
from acinus.report.record import NOTHING, Draft
from acinus.report.style import (
    ARM_COLORS,
    HAIRLINE,
    INK,
    MUTED,
    PAGE_WIDTH_IN,
    PANEL,
    new_figure,
    plain_grid,
    report_style,
    save_figure,
)

SEQUENCES = 19
"""Number of the figure in the report."""

_TITLE = "Which sequences are needed"
_FACTORS_TITLE = "What each factor of the sequences adds"
_COLORS = {"not inferior": "#2E7D4F", "undecided": "#8A949C", "inferior": "#B03A5B"}
_MARKERS = {"not inferior": "o", "undecided": "s", "inferior": "X"}

_ROW_IN = 0.25
_CELL_IN = 0.27
_LEFT_IN = 0.12
_MEAN_IN = 0.62
_VERDICT_IN = 0.95
_AXIS_IN = 0.46
_FACTORS_IN = 1.95


def sequence_numbers(content: ReportContent) -> pd.DataFrame:
    """Every set against the full one, see `acinus.evaluate.tables.sequence_table`."""
    one = content.sequences
    if one is None:
        return NOTHING
    scores = all_scores(content)
    return sequence_table(scores, one.sets, margin=one.margin, measure=one.measure)


def factor_numbers(content: ReportContent) -> pd.DataFrame:
    """Effects of the two factors, see `acinus.evaluate.tables.factor_table`; empty without any."""
    one = content.sequences
    if one is None or not one.cells:
        return NOTHING
    return factor_table(all_scores(content), one.cells, one.factors, measure=one.measure)


def draft_sequences(content: ReportContent) -> Iterator[Draft]:
    """Drafts of the tables of sets and of factors; none in a study of other arms."""
    if content.sequences is None:
        return
    for key, table, title, raw in (
        ("sequences", "sequence_table", _TITLE, sequence_numbers(content)),
        ("factors", "factor_table", _FACTORS_TITLE, factor_numbers(content)),
    ):
        if len(raw):
            yield key, title, raw, display(table, raw), note(table, raw)
        elif key == "sequences":
            yield key, title, None, NOTHING, "No prediction of the hold-out was scored."


def sequence_words(content: ReportContent) -> list[str]:
    """The smallest set that is not inferior, and what each factor adds, a sentence each."""
    sets, factors = sequence_numbers(content), factor_numbers(content)
    words = [sequence_sentence(sets)] if len(sets) else []
    return words + ([factor_sentence(factors)] if len(factors) else [])


def draw_sequences(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 19 of the report: difference of every set from the full one, and the factors."""
    one = content.sequences
    table = sequence_numbers(content)
    if one is None or table.empty:
        return FigureView(SEQUENCES, _TITLE, absent="no prediction of the hold-out was scored.")
    factors = factor_numbers(content)
    csv = write_table(table, folders.tables / f"figure-{SEQUENCES}.csv")
    with report_style():
        figure = _draw(one, table, factors)
        path = folders.figures / f"figure-{SEQUENCES}.png"
        save_figure(figure, path, synthetic=content.synthetic)
    caption = (
        "A row is a set of sequences; filled dots say which it has. Points: difference of the mean "
        f"{metric_title(one.measure)} from that of all sequences together, over the patients of "
        "the hold-out, with its 95% interval by t; > 0 is better. Dashed: the margin stated "
        "beforehand; shaded: a loss that matters. Circle: not inferior, square: undecided, cross: "
        "inferior, as in the table."
    )
    if len(factors):
        caption += (
            " Below left: mean of each single sequence by its two factors; lines that are not "
            "parallel are an interaction. Below right: effects with their 95% intervals by t."
        )
    return FigureView(SEQUENCES, _TITLE, ((path, caption),), (csv,))


def _draw(one: SequenceContent, table: pd.DataFrame, factors: pd.DataFrame) -> Any:
    rows = table.sort_values(["n_channels", "mean"], ascending=[True, False], kind="stable")
    head = 0.14 + _slanted_in(one.channels)
    below = _FACTORS_IN if len(factors) else 0.0
    body = _ROW_IN * len(rows)
    total = head + body + _AXIS_IN + below
    figure = new_figure(total)

    def axes_at(left: float, width: float, bottom: float, height: float) -> Any:
        return figure.add_axes(
            (left / PAGE_WIDTH_IN, bottom / total, width / PAGE_WIDTH_IN, height / total)
        )

    bottom = below + _AXIS_IN
    matrix_in = _CELL_IN * len(one.channels)
    _matrix(axes_at(_LEFT_IN, matrix_in, bottom, body), one, rows)
    _means(axes_at(_LEFT_IN + matrix_in, _MEAN_IN, bottom, body), rows)
    left = _LEFT_IN + matrix_in + _MEAN_IN
    _points(axes_at(left, PAGE_WIDTH_IN - left - _VERDICT_IN, bottom, body), one, rows)
    if len(factors):
        height = below - 0.78
        _cells(axes_at(0.55, 1.85, 0.44, height), one, table)
        _effects(axes_at(4.45, PAGE_WIDTH_IN - 4.45 - 0.15, 0.44, height), one.measure, factors)
    return figure


def _slanted_in(names: Sequence[str]) -> float:
    """Height of names set at 40 degrees, inches."""
    return 0.12 + 0.06 * max(len(name) for name in names) * float(np.sin(np.radians(40)))


def _bands(axes: Any, rows: pd.DataFrame) -> None:
    """Every second size of set on grey, so that sizes can be told apart."""
    sizes = list(rows["n_channels"])
    for y, size in enumerate(sizes):
        if size % 2:
            axes.axhspan(y - 0.5, y + 0.5, color=PANEL, lw=0, zorder=0)
    axes.set_ylim(len(sizes) - 0.5, -0.5)


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _matrix(axes: Any, one: SequenceContent, rows: pd.DataFrame) -> None:
    _bare(axes)
    _bands(axes, rows)
    axes.set_xlim(-0.5, len(one.channels) - 0.5)
    for y, name in enumerate(rows["set"]):
        has = [x for x, channel in enumerate(one.channels) if channel in one.sets[name]]
        lacks = [x for x in range(len(one.channels)) if x not in has]
        axes.plot([has[0], has[-1]], [y, y], color=INK, lw=1.4, zorder=2)
        axes.scatter(has, [y] * len(has), s=34, color=INK, lw=0, zorder=3)
        axes.scatter(lacks, [y] * len(lacks), s=34, color=HAIRLINE, lw=0, zorder=1)
    for x, channel in enumerate(one.channels):
        axes.annotate(
            channel, (x, -0.5), xytext=(-2, 4), textcoords="offset points", rotation=40,
            ha="left", va="bottom", rotation_mode="anchor", fontsize=7.5, annotation_clip=False,
        )  # fmt: skip


def _means(axes: Any, rows: pd.DataFrame) -> None:
    _bare(axes)
    _bands(axes, rows)
    axes.set_xlim(0, 1)
    for y, mean in enumerate(rows["mean"]):
        text = f"{mean:.3f}" if is_number(mean) else "–"
        axes.text(0.8, y, text, ha="right", va="center", fontsize=7.5)
    axes.text(0.8, 1.01, "mean", transform=axes.transAxes, ha="right", va="bottom", fontsize=6.8,
              color=MUTED)  # fmt: skip


def _points(axes: Any, one: SequenceContent, rows: pd.DataFrame) -> None:
    _bands(axes, rows)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    ends = [rows["low"], rows["high"], rows["difference"], pd.Series([0.0, -1.25 * one.margin])]
    known = pd.concat(ends).dropna()
    room = 0.06 * max(float(known.max() - known.min()), 1e-6)
    low, high = float(known.min()) - room, float(known.max()) + room
    axes.set_xlim(low, high)
    axes.axvspan(low, -one.margin, color="#B03A5B", alpha=0.07, lw=0, zorder=0.5)
    axes.axvline(-one.margin, color="#B03A5B", lw=1.0, ls=(0, (4, 3)), zorder=1)
    axes.axvline(0.0, color=MUTED, lw=0.9, zorder=1)
    for y, row in enumerate(rows.to_dict("records")):
        if row["role"] == "full":
            axes.plot(0.0, y, "D", color=INK, ms=5, zorder=3)
            axes.text(high, y, "  compared with", va="center", fontsize=7, color=MUTED)
            continue
        color = _COLORS.get(str(row["verdict"]), MUTED)
        if is_number(row["low"]):
            axes.plot([row["low"], row["high"]], [y, y], color=color, lw=1.8, zorder=2)
        if is_number(row["difference"]):
            axes.plot(
                row["difference"], y, _MARKERS.get(str(row["verdict"]), "o"), color=color,
                ms=6.5, mec="white", mew=0.7, zorder=3,
            )  # fmt: skip
        axes.text(high, y, f"  {row['verdict']}", va="center", fontsize=7, color=color)
    top = axes.get_xaxis_transform()
    axes.text(-one.margin, 1.01, f"margin −{one.margin:g} ", transform=top, ha="center",
              va="bottom", fontsize=6.8, color="#B03A5B")  # fmt: skip
    axes.text(0.0, 1.01, "all", transform=top, ha="center", va="bottom", fontsize=6.8, color=MUTED)
    axes.set_xlabel(f"{metric_title(one.measure)}: difference from all sequences")
    axes.xaxis.set_major_formatter(_signed)
    plain_grid(axes, "x")


def _cells(axes: Any, one: SequenceContent, table: pd.DataFrame) -> None:
    """Mean of the four single sequences: the first factor along x, a line for each of the other."""
    means = table.set_index("set")["mean"]
    first, second = (name.replace("_", " ") for name in one.factors)
    lines = {
        has: [float(means.get(one.cells[a, has], np.nan)) for a in (False, True)]
        for has in (False, True)
    }
    for has, values in lines.items():
        color = ARM_COLORS[int(has)]
        is_higher = values[1] >= lines[not has][1]
        axes.plot([0, 1], values, "-o", color=color, lw=1.4, ms=5, mec="white", mew=0.7)
        axes.annotate(
            f"{'with' if has else 'without'}\n{second}", (1, values[1]), xytext=(6, 0),
            textcoords="offset points", va="bottom" if is_higher else "top", fontsize=6.8,
            color=color, annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(-0.15, 1.15)
    axes.margins(y=0.25)
    axes.set_xticks([0, 1], [f"without\n{first}", f"with\n{first}"])
    axes.set_ylabel(f"{metric_title(one.measure)}, mean")
    axes.set_title("Single sequences")
    plain_grid(axes, "y")


def _effects(axes: Any, measure: str, factors: pd.DataFrame) -> None:
    axes.axvline(0.0, color=MUTED, lw=0.9, zorder=1)
    for y, row in enumerate(factors.to_dict("records")):
        if is_number(row["low"]):
            axes.plot([row["low"], row["high"]], [y, y], color=INK, lw=1.8, zorder=2)
        if is_number(row["difference"]):
            axes.plot(row["difference"], y, "o", color=INK, ms=6, mec="white", mew=0.8, zorder=3)
    names = [str(name).replace("_", " ").capitalize() for name in factors["effect"]]
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(f"Effect on {metric_title(measure)}")
    axes.xaxis.set_major_formatter(_signed)
    axes.set_title("What each factor adds")
    plain_grid(axes, "x")


def _signed(value: float, position: int | None = None) -> str:
    """Tick with its sign: ``+0.05``, ``0``, ``−0.05``."""
    text = f"{abs(value):g}"
    return text if float(text) == 0 else ("−" if value < 0 else "+") + text
