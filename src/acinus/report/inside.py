"""What lies inside the labels: tables and figure 15, volumes and values of every label.

Enters: the tables of values, confusion and prepared voxels, where a study asked for
them. Leaves: drafts of six tables, and for each arm strips of every case: the rest, the
hold-out's references, and its predictions, right beside left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.tables import (
    anomaly_table,
    display,
    grid_table,
    holdout_check,
    inside_pairs,
    mirroring_table,
    note,
)
from acinus.evaluate.wording import label_title
from acinus.report.choose import all_scores
from acinus.report.content import ArmContent, ReportContent
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.record import NOTHING, Draft
from acinus.report.style import (
    MARKERS,
    MUTED,
    PREDICTION,
    REFERENCE,
    new_figure,
    plain_grid,
    report_style,
    save_figure,
)

INSIDE = 15
"""Number of the figure in the report."""

_TITLE = "Volumes and values inside every label"
_PANELS = (("volume_ml", "Volume (mL)"), ("mean", "Mean value inside the label"))


def draft_inside(content: ReportContent) -> Iterator[Draft]:
    """Drafts of the tables on what lies inside labels, none without values; and of mirroring."""
    for key, table, title, raw in _mirroring(content):
        yield key, title, raw, display(table, raw), note(table, raw)
    if content.values.empty:
        return
    made = (
        ("holdout", "holdout_check", "Is the hold-out like the rest?",
         holdout_check(content.values)),
        ("inside", "inside_pairs", "Label against prediction, right against left",
         inside_pairs(content.values, content.mirror_pairs)),
        ("confusion", "confusion_table", "What was taken for what", content.confusion),
        ("grid", "grid_table", "What each grid keeps",
         grid_table(content.values, content.prepared)),
        ("anomalies", "anomaly_table", "What stands out among the references",
         anomaly_table(content.values)),
    )  # fmt: skip
    for key, table, title, raw in made:
        if raw.empty:
            yield key, title, None, NOTHING, ""
        else:
            yield key, title, raw, display(table, raw), note(table, raw)


def _mirroring(content: ReportContent) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """The table of mirroring, where the study varied it."""
    models = {
        str(one["value"]): str(one["model"])
        for one in content.variants
        if one["setting"] == "train.mirroring"
    }
    if len(models) > 1:
        title = "Right and left under plain, no and swapped mirroring"
        raw = mirroring_table(all_scores(content), models)
        if len(raw):
            yield "mirroring", "mirroring_table", title, raw


def draw_inside(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 15 of the report, a picture an arm: every case's volume and mean value, by role.

    All arms share their axes, so that pictures can be laid side by side.
    """
    values = content.values
    if values.empty:
        return FigureView(INSIDE, _TITLE, absent="the study does not ask for it.")
    csv = write_table(values, folders.tables / f"figure-{INSIDE}.csv")
    seen = values[values["voxels"] > 0]
    arms = [arm for arm in content.arms if (seen["arm"] == arm.name).any()]
    ranges = {name: _range(seen[name]) for name, _ in _PANELS}
    parts: list[tuple[Path, str]] = []
    for position, arm in enumerate(arms):
        suffix = "" if len(arms) == 1 else chr(ord("a") + position)
        path = folders.figures / f"figure-{INSIDE}{suffix}.png"
        with report_style():
            figure = _draw(seen[seen["arm"] == arm.name], arm, ranges)
            save_figure(figure, path, synthetic=content.synthetic)
        parts.append((path, f"{arm.name}. {_KEY}" if not parts else f"{arm.name}, as above."))
    if not parts:
        return FigureView(INSIDE, _TITLE, csv=(csv,), absent="all labels are empty.")
    return FigureView(INSIDE, _TITLE, tuple(parts), (csv,))


_KEY = (
    "Each point is a case: grey, references of the cases that are not held out; orange, references "
    "of the hold-out; blue, its predictions; the line is their median. Circles: right; triangles: "
    "left. Empty labels are not drawn."
)


def _range(values: pd.Series) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _draw(rows: pd.DataFrame, arm: ArmContent, ranges: Mapping[str, tuple[float, float]]) -> Any:
    labels = [label for label in arm.labels if (rows["label"] == label).any()]
    total = 0.75 + 0.42 * len(labels)
    figure = new_figure(total)
    for column, (variable, title) in enumerate(_PANELS):
        axes = figure.add_axes((0.2 + 0.41 * column, 0.5 / total, 0.37, 1 - 0.62 / total))
        for y, label in enumerate(labels):
            own = rows[rows["label"] == label]
            marker = MARKERS.get(arm.sides.get(label, ""), "o")
            for offset, color, chosen in (
                (-0.26, MUTED, (own["role"] == "reference") & (own["part"] != "holdout")),
                (0.0, REFERENCE, (own["role"] == "reference") & (own["part"] == "holdout")),
                (0.26, PREDICTION, own["role"] == "prediction"),
            ):
                points = own.loc[chosen, variable].to_numpy(float)
                height = np.full(points.size, y + offset)
                axes.scatter(
                    points,
                    height,
                    s=13,
                    marker=marker,
                    facecolor=color,
                    edgecolor="none",
                    alpha=0.6,
                )
                if points.size:
                    middle, reach = float(np.median(points)), (y + offset - 0.11, y + offset + 0.11)
                    axes.plot([middle] * 2, reach, color=color, lw=1.6, zorder=3)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)))
        names = [label_title(label) for label in labels]
        axes.set_yticklabels(names if column == 0 else [""] * len(names))
        if variable == "volume_ml":
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        axes.update_datalim([(end, 0) for end in ranges[variable]])
        axes.autoscale_view(scaley=False)
        axes.set_xlabel(title)
        plain_grid(axes, "x")
    return figure
