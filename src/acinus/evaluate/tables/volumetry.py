"""Volumetry: predicted against reference volumes, and the volume error that a Dice allows.

Enters: scores of a model. Leaves: a row per arm and group of cases with R², slope, concordance,
errors in % and mL and limits of agreement (Figure 7 of PanSegNet and its text), and what the Dice
of the cases says about their volumes (Figure 9). Of the paper's equations 9 and 10 hold; its
bound on the mean error from the mean Dice (13 and 14) reverses Jensen's inequality, so that the
mean of the bounds stands here instead, see `acinus.measure.statistics.volumetry`.

Source: Zhang et al. 2025, Medical Image Analysis 99:103382.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from acinus.evaluate.clusters import COUNTS, note_on_clusters, observed
from acinus.evaluate.structures import ABSENT, FAILED, select, structures
from acinus.evaluate.tables.centres import EXTERNAL, INTERNAL
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import NONE, decimals, interval, label_title, signed
from acinus.measure.statistics import (
    Volumetry,
    dice_for_volume_error,
    limits_of_agreement,
    mean_volume_error_bound,
    volume_comparison,
    volume_error_bounds,
)
from acinus.measure.statistics.bootstrap import SEED

EVERYWHERE = "all"
WANTED_ERRORS = (0.03, 0.05, 0.1, 0.2)
"""Volume errors for which the Dice that guarantees them is told, shares of the volume."""

_MEASURED = ("dice", "reference_volume_ml", "prediction_volume_ml")

_FIGURES = (
    "n",
    "n_undefined",
    "r_squared",
    "r",
    "concordance",
    "slope",
    "slope_low",
    "slope_high",
    "intercept_ml",
    "bias_ml",
    "bias_percent",
    "absolute_error_ml",
    "absolute_error_percent",
)

VOLUMETRY_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "cases": "str",
    "label": "str",
    **COUNTS,
    **{name: "int64" if name.startswith("n") else "float64" for name in _FIGURES},
    "limit_lower_ml": "float64",
    "limit_upper_ml": "float64",
    "reason": "str",
}
"""As `acinus.measure.statistics.Volumetry`, and bias with limits of agreement, predicted minus
reference, a cluster counting once."""

BOUND_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "label": "str",
    "n": "int64",
    "n_undefined": "int64",
    "mean_dice": "float64",
    "mean_absolute_error_percent": "float64",
    "mean_bound_percent": "float64",
    "false_bound_percent": "float64",
    "wanted_error_percent": "float64",
    "dice_needed": "float64",
    "n_with_that_dice": "int64",
    "n_within_that_error": "int64",
    "reason": "str",
}
"""mean_bound: mean of 2/d - 2, which no mean error exceeds; false_bound: 2/mean(d) - 2 of the
paper's equation 14, which a mean error may exceed; n_undefined: structures without Dice or volume
error, since nothing was drawn, in none of the figures; n_with_that_dice: cases whose Dice
guarantees the wanted error; n_within_that_error: cases that have it."""


def volume_cases(scores: pd.DataFrame, *, model: str = "final") -> pd.DataFrame:
    """Every case that the model had not learned from, with Dice, volumes and its error.

    Structures that were neither drawn nor predicted are left out: two volumes of 0 mL agree in
    nothing but their absence, and would raise every correlation.

    Returns:
        Columns arm, cases (``internal`` or ``external``), case, participant, cluster, label, dice,
        reference_volume_ml, prediction_volume_ml, volume_error (share of the reference; NaN where
        that is empty), lowest and highest error that the Dice allows (NaN: without bound).
    """
    wide = structures(select(scores, model=model))
    wide = wide.reindex(columns=[*dict.fromkeys([*wide.columns, *_MEASURED])])
    wide = wide[
        wide["part"].isin(["holdout", "validation"]) & ~wide["outcome"].isin([FAILED, ABSENT])
    ]
    reference, prediction = wide["reference_volume_ml"], wide["prediction_volume_ml"]
    error = (prediction - reference) / reference.where(reference > 0)
    dice = wide["dice"].astype("float64")
    bounds = [volume_error_bounds(one) for one in dice]
    return pd.DataFrame(
        {
            "arm": wide["arm"],
            "cases": wide["part"].map({"validation": INTERNAL, "holdout": EXTERNAL}),
            "case": wide["case"],
            "participant": wide["participant"],
            "cluster": wide["cluster"],
            "label": wide["label"],
            "dice": dice,
            "reference_volume_ml": reference,
            "prediction_volume_ml": prediction,
            "volume_error": error,
            "lowest_error": [np.nan if b.low is None else b.low for b in bounds],
            "highest_error": [np.nan if b.high is None else b.high for b in bounds],
        }
    ).reset_index(drop=True)


def volumetry_table(
    scores: pd.DataFrame, *, model: str = "final", seed: int = SEED
) -> pd.DataFrame:
    """Agreement of volumes of each arm and label: internal, external and all cases.

    Args:
        scores: Score table.
        model: Which model's rows.
        seed: Of the bootstrap.

    Returns:
        Columns of `VOLUMETRY_COLUMNS`.
    """
    rows: list[dict[str, Any]] = []
    for (arm, label), found in volume_cases(scores, model=model).groupby(
        ["arm", "label"], sort=False
    ):
        for name in (INTERNAL, EXTERNAL, EVERYWHERE):
            some = found if name == EVERYWHERE else found[found["cases"] == name]
            if some.empty:
                continue
            reference = some["reference_volume_ml"].tolist()
            prediction = some["prediction_volume_ml"].tolist()
            clusters = some["cluster"].tolist()
            result = volume_comparison(reference, prediction, clusters, seed=seed)
            limits = limits_of_agreement(prediction, reference, clusters)
            rows.append(
                {
                    "arm": arm,
                    "cases": name,
                    "label": label,
                    **observed(some.dropna(subset=["reference_volume_ml", "prediction_volume_ml"])),
                    **{figure: getattr(result, figure) for figure in _FIGURES},
                    "bias_ml": limits.bias,
                    "limit_lower_ml": limits.lower,
                    "limit_upper_ml": limits.upper,
                    "reason": "; ".join(_remarks(result)),
                }
            )
    return table_of(rows, VOLUMETRY_COLUMNS)


def _remarks(found: Volumetry) -> list[str]:
    """Why figures are missing, and of how many cases the percentages are not."""
    remarks = list(dict.fromkeys(found.reasons.values()))
    if 0 < found.n_reference_zero < found.n:
        remarks.append(f"% without {found.n_reference_zero} whose reference is empty")
    return remarks


def display_volumetry(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The volumetry in words."""
    several = numbers["label"].nunique() > 1
    return shown_table(
        [
            {
                "Scan type": row["arm"],
                "Cases": row["cases"],
                **({"Organ": label_title(row["label"], names)} if several else {}),
                "n": str(row["n"]),
                "R²": decimals(row["r_squared"]),
                "Pearson r": decimals(row["r"]),
                "Concordance": decimals(row["concordance"]),
                "Slope\n(95% interval)": f"{decimals(row['slope'])}\n"
                f"({interval(row['slope_low'], row['slope_high'])})",
                "Mean absolute\nerror": f"{decimals(row['absolute_error_percent'], 1)}%\n"
                f"{decimals(row['absolute_error_ml'])} mL",
                "Bias\n(limits) in mL": f"{signed(row['bias_ml'])}\n"
                f"({interval(row['limit_lower_ml'], row['limit_upper_ml'])})",
                "Remark": row["reason"],
            }
            for row in records(numbers)
        ],
        ("Scan type", "Cases", "n"),
    )


def note_on_volumetry(numbers: pd.DataFrame) -> str:
    """What the figures are, and what counts as one observation."""
    return f"{_NOTE_ON_VOLUMETRY} {note_on_clusters(numbers)}"


_NOTE_ON_VOLUMETRY = (
    "Internal: out of fold; external: centres kept for the test. R² is the square of Pearson's r: "
    "blind to a constant or proportional error, which concordance, slope and errors show. Slope of "
    "the line predicted = intercept + slope · reference. Errors in % of each reference. Bias: "
    "predicted minus reference, with Bland and Altman's limits of agreement. Left out: structures "
    "neither drawn nor predicted."
)


def bound_table(scores: pd.DataFrame, *, model: str = "final") -> pd.DataFrame:
    """What the Dice of the cases guarantees about their volumes, a row per wanted error.

    Returns:
        Columns of `BOUND_COLUMNS`, for each arm and label.
    """
    rows: list[dict[str, Any]] = []
    cases = volume_cases(scores, model=model)
    for (arm, label), found in cases.groupby(["arm", "label"], sort=False):
        known = found.dropna(subset=["dice", "volume_error"])
        errors, dice = known["volume_error"].abs(), known["dice"]
        bound = mean_volume_error_bound(dice.tolist())
        mean = float(dice.mean()) if len(dice) else float("nan")
        false_bound = 2 / mean - 2 if mean > 0 else None
        for wanted in WANTED_ERRORS:
            needed = dice_for_volume_error(wanted)
            rows.append(
                {
                    "arm": arm,
                    "label": label,
                    "n": len(known),
                    "n_undefined": len(found) - len(known),
                    "mean_dice": mean,
                    "mean_absolute_error_percent": 100 * errors.mean(),
                    "mean_bound_percent": None if bound.value is None else 100 * bound.value,
                    "false_bound_percent": None if false_bound is None else 100 * false_bound,
                    "wanted_error_percent": 100 * wanted,
                    "dice_needed": needed,
                    "n_with_that_dice": int((dice >= needed).sum()),
                    "n_within_that_error": int((errors <= wanted).sum()),
                    "reason": bound.reason,
                }
            )
    return table_of(rows, BOUND_COLUMNS)


def display_bounds(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Which Dice guarantees which volume error, and how many cases have either."""
    several = numbers["label"].nunique() > 1
    rows = []
    for (arm, label), group in numbers.groupby(["arm", "label"], sort=False):
        found = records(group)
        one = found[0]
        row = {"Scan type": str(arm)}
        if several:
            row["Organ"] = label_title(str(label), names)
        row |= {
            "n": str(one["n"]),
            "Undefined": str(one["n_undefined"]),
            "Mean Dice": decimals(one["mean_dice"], 3),
            "Mean absolute\nvolume error": _percent(one["mean_absolute_error_percent"]),
            "Its bound: mean\nof 2/d − 2": _percent(one["mean_bound_percent"])
            if not one["reason"]
            else f"none: {one['reason']}",
        }
        for wanted in found:
            row[
                f"Error ≤ {wanted['wanted_error_percent']:g}%:\nby Dice ≥ "
                f"{wanted['dice_needed']:.3f} / in fact"
            ] = f"{wanted['n_with_that_dice']} / {wanted['n_within_that_error']}"
        rows.append(row)
    return shown_table(rows, ("Scan type", "n"))


NOTE_ON_BOUNDS = (
    "A Dice d bounds the relative volume error: 2/(2 − d) − 2 ≤ error ≤ 2/d − 2, and no pair of "
    "masks breaks it. Undefined: found where nothing was drawn, so without relative error; in no "
    "figure. Columns at the right: cases whose Dice guarantees the error, and cases that "
    "have it in fact, since most errors of shape cancel in the volume. The mean Dice gives no such "
    "bound: Dice of 1 and 0.5 allow errors of 0 and 200% (a prediction of three times the volume, "
    "around the reference, has Dice 0.5), mean 100%, where 2/0.75 − 2 would allow 67% (the "
    "published equations 13 and 14)."
)


def _percent(value: float) -> str:
    return NONE if value != value else f"{value:.1f}%"
