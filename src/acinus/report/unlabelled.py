"""Figure 18: what the model made of scans without a reference, to be looked at.

Enters: scans that were segmented, with volumes and warnings. Leaves: a table, and a picture an
arm with three slices of each scan. No score is made up for them: nobody has drawn what is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.errors import DataError, GridError
from acinus.evaluate.wording import label_title
from acinus.report.content import ArmContent, ReportContent, UnlabelledScan
from acinus.report.figure import FigureView, Folders, write_table
from acinus.report.numbers import number_text
from acinus.report.record import NOTHING, Draft
from acinus.report.style import PAGE_WIDTH_IN, new_figure, report_style, save_figure
from acinus.report.views import (
    CaseView,
    Plane,
    Window,
    draw_labels,
    draw_letters,
    draw_note,
    draw_scale_bar,
    fullest_index,
    label_colors,
    show_plane,
    view_files,
    window_about,
)

UNLABELLED = 18
"""Number of the figure in the report."""

UNVERIFIED = (
    "Nobody has drawn a reference on these scans, and nobody has verified these outlines. They "
    "show what the model does on scans of another origin than those it learned from; they say "
    "nothing about how often it is right."
)

SCANS_A_PICTURE = 8
"""Scans of one picture, which are in memory together."""
MARGIN_MM = 22.0
"""What is shown around everything drawn, mm."""
LEAST_MM = 60.0
"""Least height of a picture, mm."""

_TITLE = "Scans without a reference"
_GAP_IN = 0.04
_HEAD_IN = 0.26


def draft_unlabelled(content: ReportContent) -> Draft:
    """A row a scan and label: volume, what would be usual, warnings."""
    rows = [
        row for arm in content.arms for scan in arm.unlabelled for row in _rows(content, arm, scan)
    ]
    if not rows:
        return "unlabelled", _TITLE, None, NOTHING, ""
    raw = pd.DataFrame(rows)
    low, high = raw["expected_low_ml"], raw["expected_high_ml"]
    usual = raw["volume_ml"].between(low, high)
    shown = pd.DataFrame(
        {
            "Scan type": raw["arm"],
            "Scan": [f"{row.group}: {row.case}" for row in raw.itertuples()],
            "Organ": [label_title(label) if label else "" for label in raw["label"]],
            "Volume (mL)": [number_text(value) for value in raw["volume_ml"]],
            "Usual (mL)": [
                "" if pd.isna(a) else f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True)
            ],
            "Within": [
                "" if pd.isna(a) else ("yes" if is_usual else "no")
                for a, is_usual in zip(low, usual, strict=True)
            ],
            "To look at": raw["warnings"],
        }
    )
    if len(content.arms) == 1:
        shown = shown.drop(columns="Scan type")
    caption = "Volumes are those of the model. " + UNVERIFIED
    return "unlabelled", _TITLE, raw, shown, caption


def draft_series_agreement(content: ReportContent) -> Draft:
    """A row a patient and label: how far the outlines on the patient's scans agree."""
    key, title = "series_agreement", "Scans of one patient against each other"
    tables = [
        arm.series_agreement.assign(arm=arm.name)
        for arm in content.arms
        if len(arm.series_agreement)
    ]
    if not tables:
        return key, title, None, NOTHING, ""
    raw = pd.concat(tables, ignore_index=True)
    rows = []
    for (arm, group, label), pairs in raw.groupby(["arm", "group", "label"], sort=False):
        defined = pairs["dice"].dropna()
        spread = f" ({number_text(defined.min())} to {number_text(defined.max())})"
        rows.append(
            {
                "Scan type": arm,
                "Patient": group,
                "Organ": label_title(str(label)),
                "Scans": len(set(pairs["first"]) | set(pairs["second"])),
                "Pairs": len(pairs),
                "Without a value": len(pairs) - len(defined),
                "Dice, mean (range)": number_text(defined.mean()) + spread if len(defined) else "",
            }
        )
    shown = pd.DataFrame(rows)
    if len(content.arms) == 1:
        shown = shown.drop(columns="Scan type")
    caption = (
        "Dice of the model's outlines on each two scans of a patient, on the grid of the first. It "
        "compares the model with itself: outlines that differ cannot all be right, and outlines "
        "that agree may all be wrong. Without a value: outlined on neither scan, or where one of "
        "them did not look. A patient who moved between two scans lowers it, too."
    )
    return key, title, raw, shown, caption


def _rows(content: ReportContent, arm: ArmContent, scan: UnlabelledScan) -> list[dict[str, Any]]:
    what: dict[str, Any] = {"arm": arm.name, "group": scan.group, "case": scan.case}
    if scan.failed:
        return [what | {"label": "", "volume_ml": np.nan, "expected_low_ml": np.nan,
                        "expected_high_ml": np.nan, "warnings": scan.failed}]  # fmt: skip
    rows = []
    for label, volume_ml in scan.volumes_ml.items():
        low, high = content.expected_ml.get(label, (np.nan, np.nan))
        rows.append(
            what
            | {
                "label": label,
                "volume_ml": volume_ml,
                "expected_low_ml": low,
                "expected_high_ml": high,
                "warnings": scan.warnings.get(label, ""),
            }
        )
    return rows


def draw_unlabelled(content: ReportContent, folders: Folders) -> FigureView:
    """Figure 18 of the report, a picture per arm; absent if a study names no such scans."""
    parts: list[tuple[Path, str]] = []
    trouble: list[str] = []
    names: list[str] = []
    for position, arm in enumerate(content.arms):
        stem = f"figure-{UNLABELLED}{chr(ord('a') + position)}"
        segmented = [scan for scan in arm.unlabelled if scan.image is not None]
        learned = "; the model learned from synthetic images" if arm.synthetic else ""
        for first in range(0, len(segmented), SCANS_A_PICTURE):
            blocks = _read(segmented[first : first + SCANS_A_PICTURE], trouble)
            if not blocks:
                continue
            more = "" if len(segmented) <= SCANS_A_PICTURE else f"-{first // SCANS_A_PICTURE + 1}"
            path = folders.figures / f"{stem}{more}.png"
            with report_style():
                # The mark of synthetic images belongs to those that the model learned from.
                save_figure(_draw(arm, blocks), path, synthetic=False)
            parts.append((path, f"{arm.name}{learned}."))
        if arm.unlabelled:
            volumes = [row for scan in arm.unlabelled for row in _rows(content, arm, scan)]
            names.append(write_table(pd.DataFrame(volumes), folders.tables / f"{stem}.csv"))
    if not parts:
        named = any(arm.unlabelled for arm in content.arms)
        why = "none could be segmented." if named else "the study names none."
        return FigureView(UNLABELLED, _TITLE, absent=" ".join(trouble) or why)
    legend = (
        "Outlines of the model (blue). Left and middle: the axial slices with most of each of "
        "the first two labels; right: the coronal slice with most of both. "
    )
    parts[0] = (parts[0][0], legend + parts[0][1])
    if trouble:
        parts[-1] = (parts[-1][0], f"{parts[-1][1]} {' '.join(trouble)}")
    return FigureView(UNLABELLED, _TITLE, tuple(parts), tuple(names))


def _read(
    scans: Sequence[UnlabelledScan], trouble: list[str]
) -> list[tuple[UnlabelledScan, CaseView]]:
    """Scans with what is shown of them; why others are not is added to `trouble`."""
    blocks = []
    for scan in scans:
        try:
            if scan.image is not None:
                where = f"scan '{scan.case}' of {scan.group}"
                view = view_files(scan.case, scan.image, None, scan.prediction, where=where)
                blocks.append((scan, view))
        except (DataError, GridError) as error:
            trouble.append(str(error))
    return blocks


def _draw(arm: ArmContent, blocks: list[tuple[UnlabelledScan, CaseView]]) -> Any:
    planes: tuple[Plane, ...] = ("axial", "axial", "coronal")
    width = (PAGE_WIDTH_IN - 2 * _GAP_IN) / 3
    windows = [_window(view) for _, view in blocks]
    heights = [
        width * float(max(window.size[0], window.size[1]) / window.size[2]) for window in windows
    ]
    total = sum(_HEAD_IN + height + _GAP_IN for height in heights) + 0.05
    figure = new_figure(total)
    colors = label_colors(arm, "prediction")
    top = total
    for (scan, view), window, height in zip(blocks, windows, heights, strict=True):
        volumes = ", ".join(
            f"{label_title(label).lower()} {number_text(ml)} mL"
            for label, ml in scan.volumes_ml.items()
        )
        figure.text(
            0.0, (top - 0.58 * _HEAD_IN) / total, f"{scan.group}  ·  {scan.case}",
            fontsize=8.5, fontweight="bold", va="center",
        )  # fmt: skip
        figure.text(
            1.0, (top - 0.58 * _HEAD_IN) / total, volumes, fontsize=7.5, ha="right", va="center"
        )
        top -= _HEAD_IN
        for column, (plane, index) in enumerate(zip(planes, _indices(arm, view), strict=True)):
            left = column * (width + _GAP_IN)
            axes = figure.add_axes(
                (
                    left / PAGE_WIDTH_IN,
                    (top - height) / total,
                    width / PAGE_WIDTH_IN,
                    height / total,
                )
            )
            shown = _square(window, plane, height / width)
            show_plane(axes, view, plane, index, shown)
            draw_labels(axes, view, "prediction", plane, index, colors)
            draw_letters(axes, plane, size=6)
            n = view.image.shape[0 if plane == "axial" else 1]
            draw_note(axes, f"slice {index + 1}/{n}", size=6)
            if column == 0:
                draw_scale_bar(axes)
        top -= height + _GAP_IN
    return figure


def _indices(arm: ArmContent, view: CaseView) -> tuple[int, int, int]:
    """Axial slices with most of the first two labels; the coronal one with most of both."""
    drawn = view.prediction if view.prediction is not None else np.zeros(view.image.shape, int)
    one, *others = (arm.mask(drawn, label) for label in list(arm.labels)[:2])
    two = others[0] if others else one
    either = one | two
    return (
        fullest_index(one if one.any() else either, "axial"),
        fullest_index(two if two.any() else either, "axial"),
        fullest_index(either, "coronal"),
    )


def _window(view: CaseView) -> Window:
    """Around all that is drawn, at least `LEAST_MM` high, within the scan where it fits."""
    window = window_about(view, view.drawn(), margin_mm=MARGIN_MM)
    s, a, r = window.size
    return window.resized(np.array([max(s, LEAST_MM), max(a, LEAST_MM), max(r, 2 * LEAST_MM)]))


def _square(window: Window, plane: Plane, ratio: float) -> Window:
    """The window with the height that a panel of this height over width shows."""
    s, _, r = window.size
    height = r * ratio
    return window.resized(np.array([height if plane == "coronal" else s, height, r]))
