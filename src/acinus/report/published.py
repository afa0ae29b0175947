"""Published figures beside those of this report, for orientation.

Enters: what a study states as published. Leaves: a draft of a table. A figure of the published
study names what it is about: an arm, and where it is not of the hold-out a ``centre`` (or
``all internal``), a ``reading``, a ``network`` or ``cases`` of the volumetry. Nothing is tested
against a published number: other patients, other references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus.evaluate.tables import (
    centre_table,
    network_table,
    reading_table,
    volumetry_table,
)
from acinus.evaluate.wording import label_title, mean_and_sd, metric_title, quartiles
from acinus.measure import MEASURES
from acinus.report.choose import all_scores, overall
from acinus.report.content import MEASURED, ReportContent
from acinus.report.numbers import MISSING, count_text, is_number, number_text
from acinus.report.record import NOTHING, Draft

TITLES = {
    "pearson_r": "Pearson r of volumes",
    "n_train_participants": "Training participants",
    "n_holdout_participants": "Hold-out participants",
    "n_training_slices": "Training slices",
    "n_cases": "Cases",
    "absolute_error_percent": "Mean absolute volume error (%)",
    "absolute_error_ml": "Mean absolute volume error (mL)",
    "r_squared": "R² of volumes",
    "drop_percent": "Change of Dice against internal (%)",
    "parameters": "Parameters",
    "as_in_table_5": "Multiply-adds with normalisations (G)",
    "pass_s_mean": "Seconds of a pass",
    "dice": "Dice score",
    "iou": "IOU score",
    "hausdorff_95_mm": "HD95 (mm)",
}
"""What a published figure is called; other measures by their own title."""

PLACES = {"centre": "centre", "reading": "reading", "network": "network", "cases": "cases"}
"""Keys of a published figure that say of which table it is, and the column of that table."""

_SPREAD = (("value", "mean"), ("sd", "sd"), ("q25", "q25"), ("q75", "q75"))


def draft_published(
    content: ReportContent, evaluation: pd.DataFrame, agreement: pd.DataFrame
) -> Draft:
    """Published figures beside ours.

    Args:
        content: What the report is made from.
        evaluation: See `acinus.evaluate.tables.evaluation_table`.
        agreement: See `acinus.evaluate.tables.volume_agreement`.
    """
    title = "Published figures beside ours, for orientation"
    if not content.published:
        return "published", title, None, NOTHING, ""
    tables = _tables(content, evaluation, agreement)
    rows = [
        {**figure, **_ours(content, tables, figure)}
        for figure in content.published.get("figures", ())
    ]
    raw = pd.DataFrame(rows)
    if raw.empty:
        return "published", title, None, NOTHING, "No published figure was given."
    of_what = [_of_what(row) for row in rows]
    shown = pd.DataFrame(
        {
            "Scan type": [row.get("arm", "") for row in rows],
            **({"Of": of_what} if any(of_what) else {}),
            "Figure": [_figure_name(row) for row in rows],
            "Published": [_figure_text(row, "") for row in rows],
            "Here": [_figure_text(row, "here_") for row in rows],
        }
    )
    data = "made images" if content.synthetic else "other images"
    caption = (
        f"Published: {content.published.get('source', 'source not given').rstrip('.')}. Here: "
        f"{data}, other participants and other references. The numbers stand side by side for "
        "orientation and are not a comparison."
    )
    return "published", title, raw, shown, caption


def _tables(
    content: ReportContent, evaluation: pd.DataFrame, agreement: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The tables that the published figures are of."""
    wanted = {key for figure in (content.published or {}).get("figures", ()) for key in figure}
    scores = all_scores(content)
    sites = {arm.name: arm.sites for arm in content.arms if arm.site_column}
    made = {"": evaluation, "agreement": agreement, "cost": content.costs}
    if "centre" in wanted:
        made["centre"] = centre_table(scores, sites)
    if "reading" in wanted:
        made["reading"] = reading_table(scores)
    if "network" in wanted:
        made["network"] = network_table(scores)
    if "cases" in wanted:
        made["cases"] = volumetry_table(scores)
    return made


def _ours(
    content: ReportContent, tables: Mapping[str, pd.DataFrame], figure: Mapping[str, Any]
) -> dict[str, Any]:
    """The figure of this report that stands beside a published one."""
    arm = next((one for one in content.arms if one.name == figure.get("arm")), None)
    metric = str(figure.get("metric"))
    place = next((key for key in PLACES if key in figure), "")
    if place:
        return _of_place(tables, figure, place, metric)
    if arm is None:
        return {}
    counts = {
        "n_train_participants": len(arm.train_participants),
        "n_holdout_participants": len(arm.holdout_participants),
        "n_training_slices": arm.n_training_slices,
    }
    if metric in counts:
        return {"here_value": counts[metric]}
    label = figure.get("label")
    table = tables["agreement"] if metric == "pearson_r" else tables[""]
    if label:
        rows = table[(table["arm"] == arm.name) & (table["label"] == label)]
        if metric != "pearson_r":
            rows = rows[rows["metric"] == metric]
        row = _first(rows)
    else:
        row = overall(table, arm.name, "" if metric == "pearson_r" else metric)
    if row is None:
        return {}
    if metric == "pearson_r":
        return {"here_value": row["r"]}
    return {f"here_{name}": row[key] for name, key in _SPREAD}


def _of_place(
    tables: Mapping[str, pd.DataFrame], figure: Mapping[str, Any], place: str, metric: str
) -> dict[str, Any]:
    """The same figure of a centre, reading, network or group of cases."""
    table = tables[place]
    if place == "network" and metric in tables["cost"].columns:
        table = tables["cost"]
        table = table[table["source"] == MEASURED]
    found = table[table[PLACES[place]] == figure[place]] if len(table) else table
    for key in ("arm", "label"):
        if key in figure and key in found:
            found = found[found[key] == figure[key]]
    is_column = metric in found.columns
    if "metric" in found:
        found = found[found["metric"] == ("dice" if is_column else metric)]
    row = _first(found)
    if row is None:
        return {}
    if not is_column:
        return {f"here_{name}": row[key] for name, key in _SPREAD if key[0] != "q"}
    factor = {"as_in_table_5": 1e-9, "drop_percent": -1}.get(metric, 1)
    return {"here_value": row[metric] * factor}


def _first(rows: pd.DataFrame) -> dict[str, Any] | None:
    return None if rows.empty else {str(k): v for k, v in rows.iloc[0].items()}


def _of_what(row: Mapping[str, Any]) -> str:
    return next((str(row[key]) for key in PLACES if key in row), "")


def _figure_name(row: Mapping[str, Any]) -> str:
    metric = str(row["metric"])
    title = metric_title(metric) if metric in MEASURES else metric.replace("_", " ")
    label = row.get("label")
    return TITLES.get(metric, title) + (f", {label_title(str(label))}" if label else "")


def _figure_text(row: Mapping[str, Any], prefix: str) -> str:
    value, sd = row.get(f"{prefix}value"), row.get(f"{prefix}sd")
    if not is_number(value):
        return MISSING
    metric = str(row["metric"])
    if metric.startswith("n_") or metric == "parameters":
        return count_text(value)
    if not is_number(sd):
        return number_text(value, 4 if metric == "pass_s_mean" else 2)
    text = mean_and_sd(float(value), float(sd))  # type: ignore[arg-type]
    q25, q75 = row.get(f"{prefix}q25"), row.get(f"{prefix}q75")
    if is_number(q25) and is_number(q75):
        text += f" ({quartiles(float(q25), float(q75))})"  # type: ignore[arg-type]
    return text
