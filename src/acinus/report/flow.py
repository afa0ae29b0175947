"""Figure 3: from participants assessed to training, validation and test.

Enters: the cohort flow of each arm, its participants and the split. Leaves: boxes
and arrows, steps that all arms share drawn once, and the grid of folds.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from acinus.report.content import ArmContent, FlowStep, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import count_text, plural
from acinus.report.style import (
    HAIRLINE,
    INK,
    MUTED,
    PAGE_WIDTH_IN,
    PANEL,
    PREDICTION,
    REFERENCE,
    new_figure,
    report_style,
    save_figure,
)

_NUMBER = 3
_TITLE = "Cohort flow, hold-out and folds"
_DRAWN = ("holdout", "holdout_needs", "folds", "needs")
"""Conditions of the split that the figure shows or that have a sentence of their own."""

_LINE_IN = 0.135
_STEP_GAP_IN = 0.2
_MAX_ARMS = 3


@dataclass(frozen=True)
class _Box:
    """Where a box was drawn, inches: its centre line and its ends."""

    middle: float
    top: float
    bottom: float


def draw_flow(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 3 of the report."""
    csv = write_table(_flow_table(content), folders.tables / "figure-3.csv")
    with report_style():
        paths = []
        arms = content.cohorts
        for start in range(0, len(arms), _MAX_ARMS):
            figure = _draw(content, arms[start : start + _MAX_ARMS])
            suffix = "" if len(arms) <= _MAX_ARMS else chr(ord("a") + start // _MAX_ARMS)
            path = folders.figures / f"figure-3{suffix}.png"
            paths.append(save_figure(figure, path, synthetic=content.synthetic))
    captions = [_caption(content), *["Further arms, as above."] * (len(paths) - 1)]
    return FigureView(_NUMBER, _TITLE, tuple(zip(paths, captions, strict=True)), (csv,))


def _flow_table(content: ReportContent) -> pd.DataFrame:
    rows = []
    for arm in content.cohorts:
        steps = [*_before_split(arm), *_split_steps(arm)]
        rows += [
            {"arm": arm.name, "step": i, "text": text, "count": n, "reason": reason}
            for i, (text, n, reason) in enumerate(steps, start=1)
        ]
    return pd.DataFrame(rows, columns=["arm", "step", "text", "count", "reason"])


def _before_split(arm: ArmContent) -> list[FlowStep]:
    """Steps up to the split, which is drawn from the participants themselves."""
    everyone = len({*arm.train_participants, *arm.holdout_participants})
    steps: list[FlowStep] = []
    for step in arm.flow or [("Participants", everyone, "")]:
        if any(word in step[0].lower() for word in ("hold-out", "training", "validation")):
            break
        steps.append(step)
    return steps


def _split_steps(arm: ArmContent) -> list[FlowStep]:
    steps: list[FlowStep] = [
        ("Training and validation: participants", len(arm.train_participants), ""),
        ("Hold-out test: participants", len(arm.holdout_participants), ""),
    ]
    if arm.n_training_slices is not None:
        steps.insert(1, ("Training and validation: slices", arm.n_training_slices, ""))
    return steps


def _shared_steps(arms: Sequence[ArmContent]) -> int:
    """Number of first steps that all arms have alike; 0 for one arm."""
    if len(arms) < 2:
        return 0
    n = 0
    for steps in zip(*(_before_split(arm) for arm in arms), strict=False):
        if len(set(steps)) > 1:
            break
        n += 1
    return n


def _draw(content: ReportContent, arms: list[ArmContent]) -> Any:
    shared = _shared_steps(arms)
    column = PAGE_WIDTH_IN / max(len(arms), 1)
    main = min(2.3, 0.56 * column) if len(arms) > 1 else 2.6
    folds = [list(fold) for fold in content.split.get("folds", ())]
    top_steps = _before_split(arms[0])[:shared]
    top_height = _steps_height(top_steps, 2.4, 1.9)
    side = _side_width(column, main)
    below = max(_steps_height(_before_split(arm)[shared:], main, side) for arm in arms)
    split = 0.29 + max(_LINE_IN * _split_lines(arm, column) + 0.12 for arm in arms)
    grid = 0.24 * len(folds) + 0.58 if len(folds) > 1 else 0.04
    total = 0.04 + top_height + below + split + grid
    figure = new_figure(total)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, PAGE_WIDTH_IN), ylim=(0, total))
    axes.axis("off")
    start = _draw_steps(axes, top_steps, PAGE_WIDTH_IN / 2, total - 0.04, 2.4, 1.9)
    first_top = total - 0.04 - top_height
    for i, arm in enumerate(arms):
        middle = _column_middle(i, column, main, len(arms))
        parent = None
        if start is not None:
            _elbow(axes, start, middle, first_top)
            parent = _Box(middle, first_top, first_top)
        end = _draw_steps(axes, _before_split(arm)[shared:], middle, first_top, main, side, parent)
        level = first_top - below + _STEP_GAP_IN
        if end is not None:
            _line(axes, (middle, end.bottom), (middle, level))
        _draw_split(axes, arm, folds, middle, level, column)
    return figure


def _column_middle(i: int, column: float, main: float, n: int) -> float:
    """Centre of the boxes of a column; exclusions stand at their right."""
    return i * column + (column / 2 if n == 1 else main / 2 + 0.05)


def _side_width(column: float, main: float) -> float:
    return min(1.9, column - main - 0.3) if column < PAGE_WIDTH_IN else 1.9


def _wrapped(step: FlowStep, width: float) -> list[str]:
    text, count, reason = step
    characters = max(int(width / 0.068), 8)
    number = f"(n\u00a0=\u00a0{count_text(count)})"
    words = f"{text} {number}" + (f": {reason}" if reason else "")
    return textwrap.wrap(words, characters) or [""]


def _steps_height(steps: list[FlowStep], main: float, side: float) -> float:
    return sum(
        _LINE_IN * len(_wrapped(step, side if step[2] else main)) + 0.14 + _STEP_GAP_IN
        for step in steps
    )


def _draw_steps(
    axes: Any, steps: list[FlowStep], middle: float, top: float, main: float, side: float,
    last: _Box | None = None,
) -> _Box | None:  # fmt: skip
    """Boxes from top to bottom; exclusions to the right of the line. Returns the last box."""
    for step in steps:
        width = side if step[2] else main
        lines = _wrapped(step, width)
        height = _LINE_IN * len(lines) + 0.14
        if step[2]:
            left = middle + 0.22
            _box(axes, left, top, width, height, lines, face="white", size=7)
            level = top - height / 2
            _line(axes, (middle, level), (left, level), arrow=True)
        else:
            if last is not None:
                _line(axes, (middle, last.bottom), (middle, top), arrow=True)
            _box(axes, middle - width / 2, top, width, height, lines, face=PANEL)
            last = _Box(middle, top, top - height)
        top -= height + _STEP_GAP_IN
    if last is not None and steps and steps[-1][2]:
        end = top + _STEP_GAP_IN
        _line(axes, (middle, last.bottom), (middle, end))
        last = _Box(middle, last.top, end)
    return last


def _split_room(column: float) -> tuple[float, float, float]:
    """Widths, inches, of both boxes together, of training and of the hold-out."""
    room = min(column - 0.15, 3.4)
    return room, 0.58 * room, 0.37 * room


def _train_lines(arm: ArmContent, column: float) -> list[str]:
    words = [
        f"{arm.name}: training and validation, "
        + plural(len(arm.train_participants), "participant").replace(" ", "\u00a0")
    ]
    if arm.n_training_slices is not None:
        words.append(plural(arm.n_training_slices, "slice"))
    words += _site_counts(arm, arm.train_participants)
    characters = int(_split_room(column)[1] / 0.066)
    return [line for text in words for line in textwrap.wrap(text, characters)]


def _test_lines(arm: ArmContent) -> list[str]:
    words = ["External test" if arm.external_sites else "Hold-out test"]
    words.append(plural(len(arm.holdout_participants), "participant"))
    return words + _site_counts(arm, arm.holdout_participants)


def _site_counts(arm: ArmContent, people: Sequence[str]) -> list[str]:
    """``centre1: 12`` for each centre of some participants; empty where centres are not told."""
    sites = [arm.sites[person] for person in people if person in arm.sites]
    return [f"{site}:\u00a0{sites.count(site)}" for site in sorted(set(sites))]


def _split_lines(arm: ArmContent, column: float) -> int:
    """Lines of text in the taller box of the split."""
    return max(len(_train_lines(arm, column)), len(_test_lines(arm)))


def _draw_split(
    axes: Any, arm: ArmContent, folds: list[list[str]], middle: float, top: float, column: float
) -> None:
    room, wide, narrow = _split_room(column)
    left = (middle // column) * column + 0.05
    if column >= PAGE_WIDTH_IN:
        left = middle - room / 2
    level = top - 0.24
    train = _train_lines(arm, column)
    test = _test_lines(arm)
    height = _LINE_IN * max(len(train), len(test), 2) + 0.12
    _box(axes, left, level, wide, height, train, face="#E3F0FC")
    _box(axes, left + room - narrow, level, narrow, height, test, face="#FDEBD3")
    _line(axes, (middle, top), (middle, top - 0.12))
    centres = (left + wide / 2, left + room - narrow / 2)
    _line(axes, (min(*centres, middle), top - 0.12), (max(*centres, middle), top - 0.12))
    for centre in centres:
        _line(axes, (centre, top - 0.12), (centre, level), arrow=True)
    if len(folds) > 1:
        _draw_folds(axes, arm, folds, left, level - height, room, centres[1])


def _draw_folds(
    axes: Any, arm: ArmContent, folds: list[list[str]], left: float, top: float, room: float,
    test_middle: float,
) -> None:  # fmt: skip
    """A row per model, a square per fold: validation orange, training blue, as in the paper."""
    from matplotlib.patches import Rectangle

    n = len(folds)
    trained = set(range(n) if arm.trained_folds is None else arm.trained_folds)
    mine = set(arm.train_participants)
    counts = [len(mine & set(fold)) for fold in folds]
    start, cell = left + 0.52, min((0.58 * room - 0.52) / n, 0.36)
    y = top - 0.3
    axes.text(left, top - 0.14, f"{n} folds by participant", fontsize=7, color=MUTED, va="center")
    for model in range(n):
        is_trained = model in trained
        axes.text(left, y - 0.1, f"fold {model + 1}", fontsize=7, va="center",
                  color=INK if is_trained else MUTED)  # fmt: skip
        for fold in range(n):
            validation = fold == model
            color = REFERENCE if validation else PREDICTION
            axes.add_patch(
                Rectangle((start + fold * cell, y - 0.2), cell - 0.03, 0.2, linewidth=0,
                          facecolor=color if is_trained else HAIRLINE,
                          alpha=1.0 if validation else 0.55)
            )  # fmt: skip
            axes.text(start + (fold + 0.5) * cell - 0.015, y - 0.105, str(counts[fold]),
                      fontsize=6.5, ha="center", va="center",
                      color=INK if is_trained else MUTED)  # fmt: skip
        y -= 0.24
    key = "orange: validation,\nblue: training; participants"
    key += "; grey: not trained" if len(trained) < n else ""
    axes.text(left, y - 0.02, key, fontsize=6.5, color=MUTED, va="top",
              linespacing=1.2)  # fmt: skip
    right = start + n * cell
    level = (top - 0.3 + y) / 2
    _line(axes, (right + 0.04, level), (test_middle - 0.02, level))
    _line(axes, (test_middle, level), (test_middle, top), arrow=True)
    judged = "one model" if len(trained) == 1 else f"mean of {len(trained)} models"
    if arm.n_models_used == 1 < len(trained):
        judged = f"the best of {len(trained)} models"
    axes.text(test_middle, level - 0.06, f"{judged},\nscored once", fontsize=6.5,
              ha="center", va="top", color=MUTED, linespacing=1.2)  # fmt: skip


def _box(
    axes: Any, left: float, top: float, width: float, height: float, lines: Sequence[str], *,
    face: str, size: float = 7.5,
) -> None:  # fmt: skip
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch((left, top - height), width, height, facecolor=face, edgecolor=MUTED,
                       linewidth=0.7, boxstyle="round,pad=0,rounding_size=0.05")
    )  # fmt: skip
    y = top - height / 2 + _LINE_IN * (len(lines) - 1) / 2
    for i, line in enumerate(lines):
        axes.text(left + width / 2, y - i * _LINE_IN, line, ha="center", va="center", fontsize=size)


def _line(
    axes: Any, start: tuple[float, float], end: tuple[float, float], *, arrow: bool = False
) -> None:
    from matplotlib.patches import FancyArrowPatch

    if arrow:
        axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=7, color=MUTED,
                            linewidth=0.9, shrinkA=0, shrinkB=0)
        )  # fmt: skip
    else:
        axes.plot([start[0], end[0]], [start[1], end[1]], color=MUTED, linewidth=0.9)


def _elbow(axes: Any, start: _Box, middle: float, top: float) -> None:
    """A line down from a box, across, and down to another column."""
    bend = top + 0.1
    _line(axes, (start.middle, start.bottom), (start.middle, bend))
    _line(axes, (start.middle, bend), (middle, bend))
    _line(axes, (middle, bend), (middle, top), arrow=True)


def _caption(content: ReportContent) -> str:
    split = content.split
    words = ["Participants from the start to training and test."]
    if split.get("folds"):
        who = "Folds are drawn" if content.has_centres else "Hold-out and folds are drawn"
        words.append(
            f"{who} by participant, so that no participant is in two parts, "
            "and a participant with several scans is in the same part for all of them."
        )
    words += _conditions(dict(split.get("conditions") or {}))
    if "seed" in split:
        words.append(f"Seed of the split: {split['seed']}.")
    return " ".join(words)


def _conditions(conditions: Mapping[str, Any]) -> list[str]:
    """Sentences on how the hold-out was drawn; what was not asked for is not mentioned."""
    words = []
    if conditions.get("holdout_needs") == "all_arms":
        words.append("Only participants that have all arms could be drawn for the hold-out.")
    for key, value in conditions.items():
        if key not in _DRAWN and value not in (None, "", [], {}):
            words.append(f"{key.replace('_', ' ').capitalize()}: {value}.")
    return words
