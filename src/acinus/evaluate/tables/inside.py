"""Tables of what lies inside labels: is the hold-out like the rest, label like prediction?

Enters: the table of values per case, label and role. Leaves: numbers, and the same
for people. Differences between groups of patients are tested with Mann-Whitney,
within patients with Wilcoxon; p-values of a table are adjusted together (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS, note_on_clusters, observed, with_clusters
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import (
    NONE,
    decimals,
    label_title,
    mean_and_sd,
    p_value,
)
from acinus.measure.statistics import (
    ALPHA,
    adjusted_p,
    detectable_difference,
    least_rank_p,
    paired_difference,
    unpaired_difference,
)

BACKGROUND = "background"
"""Of tables of confusion: where no label is."""

VARIABLES = {"volume_ml": "Volume (in mL)", "mean": "Mean value inside"}

HOLDOUT_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "label": "str",
    "variable": "str",
    "n_rest": "int64",
    "people_rest": "int64",
    "mean_rest": "float64",
    "sd_rest": "float64",
    "n_holdout": "int64",
    "people_holdout": "int64",
    "mean_holdout": "float64",
    "sd_holdout": "float64",
    **COUNTS,
    "p": "float64",
    "p_holm": "float64",
}

PAIRED_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "comparison": "str",
    "label": "str",
    "variable": "str",
    "n": "int64",
    "mean_first": "float64",
    "sd_first": "float64",
    "mean_second": "float64",
    "sd_second": "float64",
    "difference": "float64",
    **COUNTS,
    "p": "float64",
    "p_holm": "float64",
}
"""comparison: ``label against prediction`` or ``right against left``; difference: first minus
second, of the cases that have both, mean over clusters."""


def holdout_check(values: pd.DataFrame) -> pd.DataFrame:
    """Whether the hold-out's references differ from the rest in volume or mean value.

    Args:
        values: Columns of `VALUE_COLUMNS`.

    Returns:
        The columns of `HOLDOUT_COLUMNS`; empty labels are left out of both variables. Arms with
        the same references (one dataset on several grids) are one row.
    """
    values = with_clusters(values)
    drawn = values[(values["role"] == "reference") & (values["voxels"] > 0)]
    rows: list[dict[str, Any]] = []
    parts = [
        (arm, label, group)
        for arm, references in by_references(drawn)
        for label, group in references.groupby("label", sort=False)
    ]
    for arm, label, group in parts:
        test, rest = group[group["part"] == "holdout"], group[group["part"] != "holdout"]
        for variable in VARIABLES:
            a, b = test[variable], rest[variable]
            found = unpaired_difference(list(a), list(b), list(test.cluster), list(rest.cluster))
            rows.append(
                {
                    "arm": arm,
                    "label": label,
                    "variable": variable,
                    "n_rest": len(b),
                    "people_rest": found.n_clusters_b,
                    "mean_rest": b.mean(),
                    "sd_rest": b.std(),
                    "n_holdout": len(a),
                    "people_holdout": found.n_clusters_a,
                    "mean_holdout": a.mean(),
                    "sd_holdout": a.std(),
                    **observed(group),
                    "p": found.rank_p,
                }
            )
    return table_of(_adjust(rows), HOLDOUT_COLUMNS)


def by_references(drawn: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Names of arms that have the same references, joined by commas, with these once.

    The same test for each of them would be counted, and corrected for, as so many.

    Args:
        drawn: Values of references.
    """
    found: list[tuple[list[str], pd.DataFrame]] = []
    for arm, group in drawn.groupby("arm", sort=False):
        facts = group.drop(columns="arm").reset_index(drop=True)
        twins = next((names for names, other in found if other.equals(facts)), None)
        if twins is None:
            found.append(([str(arm)], facts))
        else:
            twins.append(str(arm))
    yield from ((", ".join(names), facts) for names, facts in found)


def inside_pairs(values: pd.DataFrame, mirror_pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Label against prediction, and right against left, within the hold-out and all cases.

    Args:
        values: Columns of `VALUE_COLUMNS`.
        mirror_pairs: Labels that are each other's partner, right first.

    Returns:
        The columns of `PAIRED_COLUMNS`; right against left once where arms have the same
        references.
    """
    rows: list[dict[str, Any]] = []
    values = with_clusters(values)
    for arm, group in values.groupby("arm", sort=False):
        drawn = group[group["role"] == "reference"]
        found = group[group["role"] == "prediction"]
        for label in dict.fromkeys(group["label"]):
            first = drawn[(drawn["part"] == "holdout") & (drawn["label"] == label)]
            second = found[found["label"] == label]
            if len(second):
                rows += _paired(str(arm), "label against prediction", label, first, second)
    for arms, drawn in by_references(values[values["role"] == "reference"]):
        for right, left in mirror_pairs:
            first, second = (drawn[drawn["label"] == side] for side in (right, left))
            rows += _paired(arms, "right against left", f"{right}|{left}", first, second)
    kinds = dict.fromkeys(row["comparison"] for row in rows)
    families = [[row for row in rows if row["comparison"] == kind] for kind in kinds]
    return table_of([row for family in families for row in _adjust(family)], PAIRED_COLUMNS)


def _paired(
    arm: str, comparison: str, label: str, first: pd.DataFrame, second: pd.DataFrame
) -> list[dict[str, Any]]:
    joined = first.merge(second, on="case", suffixes=("", "_second"))
    joined = joined[(joined["voxels"] > 0) & (joined["voxels_second"] > 0)]
    if joined.empty:
        return []
    rows = []
    for variable in VARIABLES:
        a, b = joined[variable], joined[f"{variable}_second"]
        found = paired_difference(list(a), list(b), list(joined["cluster"]))
        rows.append(
            {
                "arm": arm,
                "comparison": comparison,
                "label": label,
                "variable": variable,
                "n": len(joined),
                "mean_first": a.mean(),
                "sd_first": a.std(),
                "mean_second": b.mean(),
                "sd_second": b.std(),
                "difference": found.mean,
                **observed(joined),
                "p": found.wilcoxon_p,
            }
        )
    return rows


def _adjust(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    adjusted = adjusted_p([row["p"] for row in rows]).p if rows else ()
    return [{**row, "p_holm": p} for row, p in zip(rows, adjusted, strict=True)]


def display_holdout(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The hold-out beside the rest, for people."""
    return shown_table(
        [
            {
                "Organ": label_title(row["label"], names),
                "Scan type": row["arm"],
                "What": VARIABLES[row["variable"]],
                "Rest, mean ± SD": _group_words(row, "rest"),
                "Hold-out, mean ± SD": _group_words(row, "holdout"),
                "p (Mann-Whitney)": p_value(row["p"]),
                "p (Holm)": p_value(row["p_holm"]),
            }
            for row in records(numbers)
        ],
        ("Organ", "Scan type"),
    )


def _group_words(row: Mapping[str, Any], group: str) -> str:
    words = mean_and_sd(row[f"mean_{group}"], row[f"sd_{group}"])
    n, people = row[f"n_{group}"], row[f"people_{group}"]
    return f"{words} (n = {n})" if n == people else f"{words} (n = {n} of {people} patients)"


def display_inside(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Paired comparisons of what lies inside labels, for people."""
    return shown_table(
        [
            {
                "Organ": " / ".join(label_title(part, names) for part in row["label"].split("|")),
                "Scan type": row["arm"],
                "Compared": row["comparison"],
                "What": VARIABLES[row["variable"]],
                "n": str(row["n"]),
                "First, mean ± SD": mean_and_sd(row["mean_first"], row["sd_first"]),
                "Second, mean ± SD": mean_and_sd(row["mean_second"], row["sd_second"]),
                "Difference": decimals(row["difference"]),
                "p (Wilcoxon)": p_value(row["p"]),
                "p (Holm)": p_value(row["p_holm"]),
            }
            for row in records(numbers)
        ],
        ("Organ", "Scan type"),
    )


def display_confusion(
    numbers: pd.DataFrame, names: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Reference labels as rows, predicted labels as columns, in percent of the reference.

    Of the main models alone. Of the background the volume stands there, in mL: a share of all the
    air would be 0.0%.
    """
    rows = []
    shown = numbers[numbers["model"] == "final"]
    for (arm, reference), group in shown.groupby(["arm", "reference"], sort=False):
        row = {"Reference": label_title(str(reference), names), "Scan type": str(arm)}
        for cell in records(group):
            title = f"as {label_title(cell['prediction'], names)}"
            row[title] = NONE if pd.isna(cell["share"]) else f"{100 * cell['share']:.1f}%"
            if reference == BACKGROUND and cell["prediction"] != BACKGROUND:
                row[title] = f"{cell['volume_ml']:.1f} mL"
        rows.append(row)
    return shown_table(rows, ("Reference", "Scan type"))


def note_on_holdout(numbers: pd.DataFrame) -> str:
    """How many distributions of the hold-out stand out, and what the tests can see at all."""
    tested = int(numbers["p"].notna().sum())
    low = int((numbers["p_holm"] < ALPHA).sum())
    words = f"None of {len(numbers)} distributions could be tested: "
    words += "the hold-out or the rest is a single patient, or nothing varies."
    if tested:
        words = (
            f"Of {tested} distributions that could be tested {low or 'none'} "
            f"differ{'s' if low == 1 else ''} at 0.05 after Holm's correction. "
            f"{_power_words(numbers)}"
        )
        if not low:
            words += " That none differs does not show that the hold-out is representative."
        if tested < len(numbers):
            words += f" {len(numbers) - tested} could not be tested."
    return (
        "References of the hold-out against those of all other cases; empty labels are left out. "
        f"{words} {note_on_clusters(numbers)}"
    )


def _power_words(numbers: pd.DataFrame) -> str:
    """What the tests of a table can show, in words: the power for the smallest groups in it, the
    least p-value for the largest."""
    known = numbers[numbers["p"].notna()]
    sizes = [(int(row["people_holdout"]), int(row["people_rest"])) for row in records(known)]
    n, rest = min(a for a, _ in sizes), min(b for _, b in sizes)
    seen = detectable_difference(n, rest)
    words = (
        f"With {n} independent observations in the hold-out and {rest} others a test finds "
        f"with a probability of 80% only differences of {seen:.1f} standard deviations or more, "
        "before correction."
    )
    least_p = min(least_rank_p(a, b) for a, b in sizes)
    corrected = min(1.0, least_p * len(known))
    if corrected >= ALPHA:
        words += (
            f" The least p-value that ranks of these sizes can give is {p_value(least_p)}, after "
            f"correction for {len(known)} tests {p_value(corrected)}: no difference, however "
            "large, could be significant here."
        )
    return words


def note_on_inside(numbers: pd.DataFrame) -> str:
    """What was compared with what."""
    return (
        "Label against prediction: hold-out cases in which both are present. Right against left: "
        "references of all cases with both sides. Values are those of the first channel, HU for "
        "CT. p-values are adjusted (Holm) over all tests of one kind. "
        f"{''.join(_silent_tests(numbers))}{note_on_clusters(numbers)}"
    )


def _silent_tests(numbers: pd.DataFrame) -> Iterator[str]:
    """A sentence on each kind of tests none of which could be significant."""
    for kind, group in numbers[numbers["p"].notna()].groupby("comparison", sort=False):
        n = int(group["n_clusters"].max())
        corrected = min(1.0, len(group) * 2.0 ** (1 - n))
        if corrected >= ALPHA:
            yield (
                f"{str(kind).capitalize()}: with at most {n} independent observations the least "
                f"p-value of Wilcoxon's test is {p_value(2.0 ** (1 - n))}, after correction for "
                f"{len(group)} tests {p_value(corrected)}, so that no difference could be "
                "significant. "
            )
