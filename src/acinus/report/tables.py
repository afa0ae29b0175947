"""The tables of the report: numbers from `acinus.evaluate`, words for the page, CSV for both.

Enters: what the report is made from. Leaves: numbered tables in the order in
which the page shows them, each with two files: the numbers unrounded, and the
table as it stands on the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import group_words
from acinus.evaluate.structures import select, structures
from acinus.evaluate.tables import (
    arm_comparison,
    characteristics,
    corrected,
    display,
    evaluation_table,
    localisation_table,
    note,
    shapiro_table,
    side_error_table,
    variant_comparison,
    volume_agreement,
    worst_cases,
)
from acinus.evaluate.tables.characteristics import AGE_COLUMNS, SEX_COLUMNS, column_named
from acinus.evaluate.tables.summaries import shown_metrics
from acinus.evaluate.wording import interval, label_title, mean_and_sd
from acinus.report.choose import HOLDOUT, all_scores, overall
from acinus.report.content import FINAL_MODEL, ReportContent
from acinus.report.figure import Folders, TableView, write_table
from acinus.report.inside import draft_inside
from acinus.report.numbers import MISSING, count_text, is_number, join_words, number_text
from acinus.report.protocols import draft_protocols
from acinus.report.published import draft_published
from acinus.report.record import (
    NOTHING,
    Draft,
    draft_decisions,
    draft_provenance,
    draft_recipe,
    draft_split,
    draft_trainings,
)
from acinus.report.unlabelled import draft_series_agreement, draft_unlabelled

N_WORST = 10
"""Structures in the table of the worst."""

MOST_COMPARED = 3
"""Arms that are compared with each other, the first of a study."""

N_WARNINGS = 20
"""Warnings in their table; all of them are in its CSV."""

GLANCE_MEASURES = {
    "iou_mean": "IoU, mean",
    "hausdorff_95_mm_median": "HD95, median (mm)",
    "volume_r": "Volumes, Pearson r",
}
"""Columns of the table at a glance that are shown where anything was measured."""

HEADINGS = {"p, glands as patients": "p, structures as independent"}
"""Column heads that the report writes otherwise, to fit any structure."""


@dataclass(frozen=True)
class Numbers:
    """The unrounded numbers that text and figures of the report share.

    Attributes:
        evaluation: See `evaluation_table`, with a row over all labels of an arm.
        agreement: See `volume_agreement`.
        comparison: See `arm_comparison`, all pairs of arms.
        variants: Columns of `variant_comparison` and ``value``, ``chosen``; Dice only.
    """

    evaluation: pd.DataFrame
    agreement: pd.DataFrame
    comparison: pd.DataFrame
    variants: pd.DataFrame


def compute_numbers(content: ReportContent) -> Numbers:
    """All numbers of the hold-out that more than one part of the report shows."""
    scores = all_scores(content)
    # Sets of sequences are compared with the full set, in a table of their own.
    compared = [] if content.sequences is not None else list(content.arms)[:MOST_COMPARED]
    metrics = shown_metrics(scores)
    pairs = [
        arm_comparison(scores, a.name, b.name, metrics=metrics)
        for a, b in combinations(compared, 2)
    ]
    return Numbers(
        evaluation_table(scores, metrics=metrics, with_all=len(content.labels) > 1),
        volume_agreement(scores, mirror_pairs=content.mirror_pairs),
        corrected(pd.concat(pairs, ignore_index=True)) if pairs else pd.DataFrame(),
        _variant_numbers(content, scores),
    )


def _variant_numbers(content: ReportContent, scores: pd.DataFrame) -> pd.DataFrame:
    """A row per setting, value and arm with mean Dice and interval, in the order given."""
    found = variant_comparison(scores, metrics=("dice",))
    rows = []
    for variant in content.variants:
        for row in found[found["model"] == variant["model"]].to_dict("records"):
            chosen = variant["model"] == FINAL_MODEL
            named = {"setting": variant["setting"], "value": variant["value"], "chosen": chosen}
            rows.append({**row, **named})
    columns = ["setting", "value", "chosen", *(c for c in found.columns if c != "setting")]
    return pd.DataFrame(rows, columns=columns)


def make_tables(content: ReportContent, numbers: Numbers, folders: Folders) -> list[TableView]:
    """All tables, numbered in order, with their CSV files written."""
    made: list[TableView] = []
    trainings = [draft_trainings(content)]
    # Beside a paper the first tables have its numbers; else all are numbered as they stand.
    early, late = ([], trainings) if content.published else (trainings, [])
    drafts = [
        *_characteristics(content),
        *early,
        _evaluation(content, numbers),
        _sides(content),
        *draft_inside(content),
        _localisation(content),
        _agreement(numbers),
        *_comparisons(content, numbers),
        *draft_protocols(content),
        draft_unlabelled(content),
        draft_series_agreement(content),
        _variants(content),
        _worst(content),
        _warnings(content),
        draft_published(content, numbers.evaluation, numbers.agreement),
        _validation(content),
        _shapiro(content),
        *late,
        draft_decisions(content),
        draft_recipe(content),
        draft_split(content),
        draft_provenance(content),
    ]
    number = 0
    for key, title, raw, shown, caption in drafts:
        if raw is None or shown.empty:
            made.append(TableView(title, key=key, absent=caption))
            continue
        number += 1
        name = f"table-{number}"
        csv = write_table(raw, folders.tables / f"{name}.csv")
        shown = _readable(shown.rename(columns=HEADINGS))
        write_table(shown, folders.tables / f"{name}-as-shown.csv")
        place = (content.published or {}).get("places", {}).get(key)
        title = f"{title} [{place}]" if place else title
        made.append(_view(number, key, title, shown, caption, csv))
    return made


def _readable(shown: pd.DataFrame) -> pd.DataFrame:
    """The table without columns that say nothing, its intervals on lines of their own."""
    said = [
        name for name in shown.columns
        if not shown[name].isna().all() and not shown[name].isin(["", MISSING]).all()
    ]  # fmt: skip
    kept = shown[said].copy()
    for name in said:
        if "interval" in name or "difference" in name:
            kept[name] = [
                str(cell).replace(" (", "\n(").replace("), p", ")\np") for cell in kept[name]
            ]
    return kept


def _view(
    number: int, key: str, title: str, shown: pd.DataFrame, caption: str, csv: str
) -> TableView:
    rows = [["" if pd.isna(cell) else str(cell) for cell in row] for row in shown.to_numpy()]
    return TableView(
        title=f"Table {number}. {title}",
        header=[str(name) for name in shown.columns],
        rows=rows,
        caption=caption,
        csv=csv,
        key=key,
    )


def _characteristics(content: ReportContent) -> Iterator[Draft]:
    for arm in content.cohorts:
        title = f"Baseline characteristics of participants having {arm.name}"
        if len(content.cohorts) == 1:
            title = "Baseline characteristics of the participants"
        if arm.participants is None or not _says_anything(arm.participants):
            lack = (
                "no table of participants"
                if arm.participants is None
                else ("neither age nor sex of its participants")
            )
            why = f"{arm.name}: the dataset has {lack}."
            yield "characteristics", title, None, NOTHING, why
            continue
        raw = characteristics(
            arm.participants,
            list(arm.train_participants),
            list(arm.holdout_participants),
            content.split.get("groups"),
            str(content.split.get("by", "")),
        )
        counts = (
            f"Train: {len(arm.train_participants)} participants (training and validation), "
            f"test: {len(arm.holdout_participants)} (hold-out). "
        )
        shown = display("characteristics", raw)
        yield "characteristics", title, raw, shown, counts + note("characteristics", raw)


def _says_anything(participants: pd.DataFrame) -> bool:
    """Whether any participant has an age, a sex or a field strength."""
    names = (column_named(participants, AGE_COLUMNS), column_named(participants, SEX_COLUMNS))
    known = participants[[name for name in (*names, "field_strength_t") if name in participants]]
    return bool((known.notna() & (known.astype(str) != "")).to_numpy().any())


def _evaluation(content: ReportContent, numbers: Numbers) -> Draft:
    title = "Evaluation metrics on the hold-out"
    raw = numbers.evaluation
    if raw.empty:
        return "evaluation", title, None, NOTHING, "No prediction of the hold-out was scored."
    caption = note("evaluation_table", raw) + (
        " HD95 is the larger of the two directed 95th percentiles of surface distance."
    )
    return "evaluation", title, raw, display("evaluation_table", raw), caption


def _sides(content: ReportContent) -> Draft:
    title = "Side errors on the hold-out"
    raw = side_error_table(all_scores(content))
    if raw.empty:
        return "sides", title, None, NOTHING, ""
    return "sides", title, raw, display("side_error_table", raw), note("side_error_table", raw)


def _localisation(content: ReportContent) -> Draft:
    title = "Localisation: how well the boxes were found"
    tables = [arm.localisation.assign(arm=arm.name) for arm in content.arms]
    found = pd.concat([one for one in tables if len(one)] or [pd.DataFrame()], ignore_index=True)
    if found.empty:
        return "localisation", title, None, NOTHING, ""
    raw = localisation_table(found)
    caption = note("localisation_table", raw)
    return "localisation", title, raw, display("localisation_table", raw), caption


def _comparisons(content: ReportContent, numbers: Numbers) -> Iterator[Draft]:
    if len(content.arms) < 2 or content.sequences is not None:
        return
    if numbers.comparison.empty:
        why = "The arms have no scored participants in common."
        yield "comparison", "Comparison of scan types", None, NOTHING, why
        return
    left_out = [arm.name for arm in content.arms[MOST_COMPARED:]]
    more = f" Not compared: {join_words(left_out)}." if left_out else ""
    for (a, b), raw in numbers.comparison.groupby(["a", "b"], sort=False):
        raw = raw.reset_index(drop=True)
        if not raw["n_participants"].any():
            continue  # other people: what differs is told by centre or not at all
        title = f"{a} minus {b}"
        caption = note("arm_comparison", raw) + more
        yield "comparison", title, raw, display("arm_comparison", raw), caption


def _agreement(numbers: Numbers) -> Draft:
    title = "Agreement of volumes on the hold-out"
    raw = numbers.agreement
    if raw.empty:
        return "agreement", title, None, NOTHING, "No volume of the hold-out was measured."
    return "agreement", title, raw, display("volume_agreement", raw), note("volume_agreement", raw)


def _variants(content: ReportContent) -> Draft:
    title = "What was varied, one thing at a time"
    if not content.variants:
        return "variants", title, None, NOTHING, "Nothing was varied in this run."
    scores = all_scores(content)
    raw = variant_comparison(scores, metrics=shown_metrics(scores))
    chosen = {str(one["setting"]): str(one["value"]) for one in content.variants
              if one["model"] == FINAL_MODEL}  # fmt: skip
    if raw.empty or set(raw["model"]) <= {FINAL_MODEL}:
        return "variants", title, None, NOTHING, "No variant was scored."
    words = ", ".join(f"{setting} {value}" for setting, value in chosen.items())
    shown = display("variant_comparison", raw)
    shown.loc[shown["Setting"] == FINAL_MODEL, "Choice"] = words
    return "variants", title, raw, shown, note("variant_comparison", raw)


def _worst(content: ReportContent) -> Draft:
    title = "Failed and worst structures of the hold-out"
    raw = worst_cases(all_scores(content), n=N_WORST)
    if raw.empty:
        return "worst", title, None, NOTHING, "No prediction of the hold-out was scored."
    return "worst", title, raw, display("worst_cases", raw), note("worst_cases", raw)


def _warnings(content: ReportContent) -> Draft:
    title = "Warnings of the prediction"
    tables = [
        arm.predictions_table.assign(arm=arm.name)
        for arm in content.arms
        if {"case", "label", "warnings"} <= set(arm.predictions_table.columns)
    ]
    if not tables:
        return "warnings", title, None, NOTHING, "Predictions were not recorded."
    raw = pd.concat(tables, ignore_index=True)
    for column, wanted in (("part", HOLDOUT), ("model", FINAL_MODEL)):
        if column in raw:
            raw = raw[raw[column] == wanted]
    raw = raw[raw["warnings"].fillna("").astype(str).str.strip() != ""]
    if raw.empty:
        return "warnings", title, None, NOTHING, "No prediction of the hold-out had a warning."
    raw = _weightiest_first(raw)
    first = raw.head(N_WARNINGS)
    shown = pd.DataFrame(
        {
            "Case": first["case"],
            "Scan type": first["arm"],
            "Organ": [label_title(str(name)) for name in first["label"]],
            "Volume (in mL)": [number_text(v) for v in first.get("volume_ml", [None] * len(first))],
            "Warning": first["warnings"],
        }
    )
    caption = "Given at prediction, without knowledge of the reference."
    if len(raw) > len(first):
        caption += f" The first {len(first)} of {len(raw)}; the CSV has all."
    return "warnings", title, raw, shown, caption


def _weightiest_first(warned: pd.DataFrame) -> pd.DataFrame:
    """Rows on a wrong side first, then empty ones, then the others as they come."""
    words = warned["warnings"].astype(str)
    rank = 2 - words.str.contains("empty").astype(int) - 2 * words.str.contains("wrong side")
    return warned.iloc[rank.to_numpy().argsort(kind="stable")].reset_index(drop=True)


def _validation(content: ReportContent) -> Draft:
    title = "Evaluation metrics in cross-validation"
    scores = all_scores(content)
    raw = evaluation_table(scores, metrics=shown_metrics(scores), part="validation")
    if raw.empty:
        return "validation", title, None, NOTHING, "Validation cases were not scored one by one."
    caption = (
        "Each case by the model of the fold that left it out. Choices were made on these cases, "
        "so that they flatter; the hold-out is the test. " + note("evaluation_table", raw)
    )
    return "validation", title, raw, display("evaluation_table", raw), caption


def _shapiro(content: ReportContent) -> Draft:
    title = "Test of normality (Shapiro-Wilk)"
    scores = all_scores(content)
    raw = shapiro_table(scores, metrics=shown_metrics(scores))
    if raw.empty:
        return "shapiro", title, None, NOTHING, "No prediction of the hold-out was scored."
    return "shapiro", title, raw, display("shapiro_table", raw), note("shapiro_table", raw)


def write_raw_tables(content: ReportContent, folders: Folders) -> list[str]:
    """All scores, long and wide, as CSV; returns the names of the files."""
    scores = all_scores(content)
    wide = structures(select(scores, model=FINAL_MODEL))
    return [
        write_table(scores, folders.tables / "scores.csv"),
        write_table(wide, folders.tables / "structures.csv"),
    ]


def glance_table(content: ReportContent, numbers: Numbers, folders: Folders) -> TableView:
    """The main numbers of each arm, for the summary; without columns that hold no number."""
    rows: list[dict[str, Any]] = []
    for arm in content.arms:
        dice = overall(numbers.evaluation, arm.name, "dice")
        if dice is None:
            continue
        iou = overall(numbers.evaluation, arm.name, "iou") or {}
        far = overall(numbers.evaluation, arm.name, "hausdorff_95_mm") or {}
        volume = overall(numbers.agreement, arm.name) or {}
        row = {
            "arm": arm.name,
            "n_structures": dice["n"],
            "n_participants": dice["n_participants"],
            "n_clusters": dice["n_clusters"],
            "clustered_by": dice["clustered_by"],
            "n_missed": dice["n_missed"],
            "n_failed": dice["n_failed"],
            "dice_mean": dice["mean"],
            "dice_sd": dice["sd"],
            "dice_low": dice["low"],
            "dice_high": dice["high"],
            "iou_mean": iou.get("mean"),
            "hausdorff_95_mm_median": far.get("median"),
            "volume_r": volume.get("r"),
        }
        rows.append(row)
    if not rows:
        return TableView("At a glance", absent="No prediction of the hold-out was scored.")
    csv = write_table(pd.DataFrame(rows), folders.tables / "summary.csv")
    measured = {key for row in rows for key, value in row.items() if is_number(value)}
    columns = {
        "Scan type": [row["arm"] for row in rows],
        "Structures in participants": [
            f"{count_text(row['n_structures'])} in {count_text(row['n_participants'])}"
            + group_words(row)
            for row in rows
        ],
        "Dice, mean ± sd (95% interval of the mean)": [
            f"{mean_and_sd(row['dice_mean'], row['dice_sd'])} "
            f"({interval(row['dice_low'], row['dice_high'])})"
            for row in rows
        ],
        **{
            title: [number_text(row[key]) for row in rows]
            for key, title in GLANCE_MEASURES.items()
            if key in measured
        },
        "Missed / failed": [
            f"{count_text(row['n_missed'])} / {count_text(row['n_failed'])}" for row in rows
        ],
    }
    names = "Dice and IoU run" if "iou_mean" in measured else "Dice runs"
    caption = f"Hold-out only. {names} from 0 (no overlap) to 1 (identical)."
    shown = [list(cells) for cells in zip(*columns.values(), strict=True)]
    return TableView("At a glance", list(columns), shown, caption, csv, key="glance")
