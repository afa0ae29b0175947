"""Arms against arms, and variants of the training against the final choice.

Enters: a score table with several arms or models. Leaves: paired differences
over the participants that both have, one value per participant. Comparing two
arms by their means alone was rejected: they may rest on different patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS, group_words, observed, with_clusters
from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select, structures
from acinus.evaluate.tables.evaluation import TABLE_3_METRICS, outcome_counts, undefined_words
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import (
    ALL_LABELS,
    decimals,
    interval,
    label_title,
    mean_and_sd,
    metric_title,
    p_value,
    signed,
)
from acinus.measure.statistics import (
    PairedDifference,
    adjusted_p,
    paired_difference,
    summarise,
)
from acinus.measure.statistics.bootstrap import SEED

ARM_COLUMNS: dict[str, Kind] = {
    "a": "str",
    "b": "str",
    "label": "str",
    "metric": "str",
    "unit": "str",
    "n": "int64",
    "n_undefined": "int64",
    **COUNTS,
    "mean_a": "float64",
    "mean_b": "float64",
    "difference": "float64",
    "sd": "float64",
    "low": "float64",
    "high": "float64",
    "dz": "float64",
    "t_p": "float64",
    "t_p_holm": "float64",
    "wilcoxon_p": "float64",
    "wilcoxon_p_holm": "float64",
    "reason": "str",
}
"""n: structures with both values; n_undefined: structures of common participants that
lack one; difference: a minus b, mean over clusters with its 95% interval; dz: Cohen's, the
difference in standard deviations of it; holm: p-values corrected for all rows of the table."""

VARIANT_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "model": "str",
    "setting": "str",
    "choice": "str",
    "metric": "str",
    "unit": "str",
    "n": "int64",
    "n_undefined": "int64",
    "n_failed": "int64",
    "n_missed": "int64",
    "mean": "float64",
    "sd": "float64",
    "low": "float64",
    "high": "float64",
    **COUNTS,
    "difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
    "wilcoxon_p": "float64",
    "wilcoxon_p_holm": "float64",
    "reason": "str",
}
"""mean, sd: over all structures; n_missed: structures drawn and not predicted, which have no
distance; difference: variant minus baseline within participants; holm: p corrected for all rows
of the table."""


def arm_comparison(
    scores: pd.DataFrame,
    a: str,
    b: str,
    *,
    metrics: Sequence[str] = TABLE_3_METRICS,
    model: str = "final",
    part: str = "holdout",
    seed: int = SEED,
) -> pd.DataFrame:
    """Arm `a` minus arm `b` over the participants that both arms have.

    Args:
        scores: Score table.
        a: First arm.
        b: Second arm.
        metrics: Metrics to compare; ones that an arm lacks are left out.
        model: Which model's rows.
        part: Which part's rows.
        seed: Of the bootstrap.

    Returns:
        The columns of `ARM_COLUMNS`; for each metric the row over all labels,
        then one per label. Several cases of a participant in an arm count with
        their mean.
    """
    chosen = annotated_scores(select(scores, model=model, part=part))
    rows: list[dict[str, Any]] = []
    for metric in metrics:
        of_metric = chosen[(chosen["metric"] == metric) & chosen["arm"].isin([a, b])]
        if set(of_metric["arm"]) != ({a, b}):
            continue
        labels = list(dict.fromkeys(of_metric["label"]))
        unit = str(of_metric["unit"].iloc[0])
        for label in [*([ALL_LABELS] if len(labels) > 1 else []), *labels]:
            of_label = of_metric if label == ALL_LABELS else of_metric[of_metric["label"] == label]
            first, second = (of_label[of_label["arm"] == arm] for arm in (a, b))
            known = {"a": a, "b": b, "label": label, "metric": metric, "unit": unit}
            found, counts = _paired(first, second, seed)
            rows.append(known | counts | _difference_row(found))
    return corrected(table_of(rows, ARM_COLUMNS))


def display_arm_comparison(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The comparison for people: both means, difference with interval and size, p-values."""
    a, b = (str(numbers[one].iloc[0]) if len(numbers) else one.upper() for one in ("a", "b"))
    rows = [
        {
            "Metric": metric_title(row["metric"]),
            "Organ": label_title(row["label"], names),
            a: decimals(row["mean_a"]),
            b: decimals(row["mean_b"]),
            "Difference (95% interval)": _difference_words(row["difference"], row),
            "Cohen's d": signed(row["dz"]),
            "p, Wilcoxon": p_value(row["wilcoxon_p"]),
            "p, corrected": p_value(row["wilcoxon_p_holm"]),
            "p, paired t-test": p_value(row["t_p"]),
            "Patients": f"{row['n_participants']}{group_words(row)}",
            "Remark": _remark(row),
        }
        for row in records(numbers)
    ]
    columns = [
        "Metric",
        "Organ",
        a,
        b,
        "Difference (95% interval)",
        "Cohen's d",
        "p, Wilcoxon",
        "p, corrected",
        "p, paired t-test",
        "Patients",
        "Remark",
    ]
    return pd.DataFrame(rows, columns=columns)


def variant_comparison(
    scores: pd.DataFrame,
    *,
    metrics: Sequence[str] = TABLE_3_METRICS,
    baseline: str = "final",
    part: str = "holdout",
    seed: int = SEED,
) -> pd.DataFrame:
    """Every model of every arm over all labels, and its difference to the baseline.

    Args:
        scores: Score table whose `model` is the baseline or names settings, as in
            ``"sampling=random"``.
        metrics: Metrics in the order of rows; ones that were not taken are left out.
        baseline: Model that the others are compared with.
        part: Which part's rows.
        seed: Of the bootstrap.

    Returns:
        The columns of `VARIANT_COLUMNS`; the baseline comes first in each arm.
    """
    chosen = annotated_scores(select(scores, part=part))
    outcomes = structures(chosen).groupby(["arm", "model"])
    n_missed = {key: outcome_counts(found)["n_missed"] for key, found in outcomes}
    rows: list[dict[str, Any]] = []
    for arm, of_arm in chosen.groupby("arm", sort=False):
        models = sorted(dict.fromkeys(of_arm["model"]), key=lambda name: name != baseline)
        for model in models:
            for metric in metrics:
                of_metric = of_arm[of_arm["metric"] == metric]
                found = of_metric[of_metric["model"] == model]
                if found.empty:
                    continue
                base = of_metric[of_metric["model"] == baseline]
                known = {"arm": arm, "model": model, "metric": metric, **_setting_of(model)}
                missed = {"n_missed": n_missed[arm, model]}
                rows.append(known | missed | _variant_row(found, base, model == baseline, seed))
    return corrected(table_of(rows, VARIANT_COLUMNS))


def corrected(numbers: pd.DataFrame) -> pd.DataFrame:
    """The table with its p-values corrected for all of its rows, each kind of test by itself.

    Args:
        numbers: From `arm_comparison` or `variant_comparison`, or several of one kind together.
    """
    adjusted = {
        f"{name}_holm": pd.Series(adjusted_p(numbers[name]).p, numbers.index, dtype="float64")
        for name in ("wilcoxon_p", "t_p")
        if name in numbers
    }
    return numbers.assign(**adjusted)


def display_variants(numbers: pd.DataFrame) -> pd.DataFrame:
    """The variants for people: a row per arm and variant, mean ± sd and difference per metric."""
    rows = []
    for (arm, _), group in numbers.groupby(["arm", "model"], sort=False):
        first = group.iloc[0]
        row = {"Scan type": arm, "Setting": first["setting"], "Choice": first["choice"]}
        for one in records(group):
            title = metric_title(one["metric"])
            row[f"{title} (mean ± sd)"] = mean_and_sd(one["mean"], one["sd"])
            row[f"{title}, difference to final"] = _variant_difference(one)
        row["n"] = str(int((group["n"] + group["n_undefined"]).max()))
        row["Missed"] = str(int(group["n_missed"].max()))
        row["Undefined"] = undefined_words(group)
        row["Failed"] = str(int(group["n_failed"].max()))
        rows.append(row)
    columns = ["Scan type", "Setting", "Choice"]
    for metric in dict.fromkeys(numbers["metric"]):
        title = metric_title(metric)
        columns += [f"{title} (mean ± sd)", f"{title}, difference to final"]
    counts = ["n", "Missed", "Undefined", "Failed"]
    return pd.DataFrame(rows, columns=[*columns, *counts]).fillna("")


def _paired(
    first: pd.DataFrame, second: pd.DataFrame, seed: int
) -> tuple[PairedDifference, dict[str, Any]]:
    """First minus second value of each structure of the participants that both have, and `COUNTS`.

    Several values of a structure count with the mean of the defined ones.
    """
    keys = ["participant", "cluster", "label"]
    left, right = (
        with_clusters(one).groupby(keys, sort=False)["value"].mean().rename(name)
        for name, one in (("first", first), ("second", second))
    )
    common = set(first["participant"]) & set(second["participant"])
    pairs = pd.concat([left, right], axis=1).reset_index()
    pairs = pairs[pairs["participant"].isin(common)]
    values = (pairs[name].tolist() for name in ("first", "second", "cluster"))
    return paired_difference(*values, seed=seed), observed(pairs.dropna(subset=["first", "second"]))


def _difference_row(found: PairedDifference) -> dict[str, Any]:
    return {
        "n": found.n,
        "n_undefined": found.n_undefined,
        "mean_a": found.mean_a,
        "mean_b": found.mean_b,
        "difference": found.mean,
        "sd": found.sd,
        "low": found.low,
        "high": found.high,
        "dz": found.effect.dz,
        "t_p": found.t_p,
        "t_p_holm": None,
        "wilcoxon_p": found.wilcoxon_p,
        "wilcoxon_p_holm": None,
        "reason": found.reason,
    }


def _variant_row(
    found: pd.DataFrame, base: pd.DataFrame, is_baseline: bool, seed: int
) -> dict[str, Any]:
    judged = with_clusters(found[found["status"] != "failed"])
    summary = summarise(judged["value"].tolist(), cluster=judged["cluster"].tolist(), seed=seed)
    row = {
        "unit": found["unit"].iloc[0],
        "n": summary.n,
        "n_undefined": summary.n_undefined,
        "n_failed": len(found) - len(judged),
        "mean": summary.mean,
        "sd": summary.sd,
        "low": summary.low,
        "high": summary.high,
        **observed(judged[judged["value"].notna()]),
        "difference": None,
        "difference_low": None,
        "difference_high": None,
        "wilcoxon_p": None,
        "wilcoxon_p_holm": None,
        "reason": "" if is_baseline else "no baseline to compare with",
    }
    if is_baseline or base.empty:
        return row
    paired, counts = _paired(found, base, seed)
    return row | {
        **counts,
        "difference": paired.mean,
        "difference_low": paired.low,
        "difference_high": paired.high,
        "wilcoxon_p": paired.wilcoxon_p,
        "reason": paired.reason,
    }


def _setting_of(model: str) -> dict[str, str]:
    """``sampling=random,loss=dice`` as setting ``sampling, loss`` and choice ``random, dice``."""
    parts = [part.strip().partition("=") for part in model.split(",")]
    if not all(equals for _, equals, _ in parts):
        return {"setting": model, "choice": ""}
    return {
        "setting": ", ".join(key for key, _, _ in parts),
        "choice": ", ".join(value for _, _, value in parts),
    }


def _difference_words(difference: float, row: Mapping[str, Any]) -> str:
    return f"{signed(difference)} ({interval(row['low'], row['high'])})"


def _variant_difference(row: Mapping[str, Any]) -> str:
    if pd.isna(row["difference"]):
        return row["reason"] or "–"
    ends = interval(row["difference_low"], row["difference_high"])
    p, holm = p_value(row["wilcoxon_p"]), p_value(row["wilcoxon_p_holm"])
    return f"{signed(row['difference'])} ({ends}), p {p}, corrected {holm}"


def _remark(row: Mapping[str, Any]) -> str:
    left_out = f"{row['n_undefined']} without both values" if row["n_undefined"] else ""
    return "; ".join(part for part in (row["reason"], left_out) if part)
