"""Centres: who came from where, and how much a model loses outside those it learned from.

Enters: participants with their centre, and scores: those of the folds' validation are internal,
those of the hold-out external. Leaves: Tables 2 and 4 of PanSegNet (Zhang et al. 2025, Medical
Image Analysis 99:103382). A p-value alone was rejected: beside it stand the drop in % and its
interval, since with few cases no drop is significant and with many any is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import note_on_clusters, with_clusters
from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select
from acinus.evaluate.tables.characteristics import (
    AGE_COLUMNS,
    SEX_COLUMNS,
    SEX_WORDS,
    column_named,
)
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import (
    SUMMARY_COLUMNS,
    gaps_words,
    group_rows,
    on_lines,
    shown_groups,
    shown_metrics,
    shown_table,
)
from acinus.evaluate.wording import NONE, decimals, p_value, signed
from acinus.measure.statistics import adjusted_p, unpaired_difference
from acinus.measure.statistics.bootstrap import SEED

INTERNAL, EXTERNAL = "internal", "external"
COMBINED = "all internal"
"""Name of the row over all internal centres, with which each external one is compared."""

OWN_FOLD = "the network of the fold that left the case out"
"""What segments internal cases."""

SCANNER_COLUMNS = ("scanner", "manufacturer", "imaging_device", "scanner_model")
FIELD_COLUMNS = ("field_strength_t", "field_strength")

PEOPLE_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "centre": "str",
    "role": "str",
    "participants": "int64",
    "cases": "int64",
    "female": "int64",
    "male": "int64",
    "sex_unreported": "int64",
    "age_n": "int64",
    "age_median": "float64",
    "age_min": "float64",
    "age_max": "float64",
    "scanner": "str",
    "field_strength_t": "str",
}

CENTRE_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "centre": "str",
    "role": "str",
    "segmented_by": "str",
    **SUMMARY_COLUMNS,
    "drop_percent": "float64",
    "drop_low": "float64",
    "drop_high": "float64",
    "hedges_g": "float64",
    "welch_p": "float64",
    "welch_p_corrected": "float64",
    "rank_p": "float64",
    "test_reason": "str",
}
"""segmented_by: which network; drop: from all internal centres to this one, in % of the internal
mean, with its 95% bootstrap interval; below 0 where the external mean is higher. Corrected: by Holm
over the external centres of an arm and metric."""

_TESTED = {
    "drop_percent": "drop_percent",
    "drop_low": "drop_low",
    "drop_high": "drop_high",
    "hedges_g": "hedges_g",
    "welch_p": "welch_p",
    "rank_p": "rank_p",
    "test_reason": "reason",
}


def centre_people(
    arm: str,
    participants: pd.DataFrame,
    centres: Mapping[str, str],
    external: Collection[str],
    n_cases: Mapping[str, int],
) -> pd.DataFrame:
    """Who was examined at each centre of an arm.

    Args:
        arm: Name of the arm.
        participants: Table with ``participant_id`` and, where recorded, age, sex and scanner.
        centres: Participant to centre, of those in the study.
        external: Centres kept for the test.
        n_cases: Participant to number of cases.

    Returns:
        Columns of `PEOPLE_COLUMNS`, internal centres first, by name.
    """
    table = participants.drop_duplicates("participant_id").set_index("participant_id")
    table.index = table.index.astype(str)
    rows = []
    for centre in _in_order(set(centres.values()), external):
        people = [person for person, where in centres.items() if where == centre]
        mine = table.reindex(people)
        ages = pd.to_numeric(_values(mine, AGE_COLUMNS), errors="coerce").dropna()
        sexes = [SEX_WORDS.get(str(one).strip().lower(), "") for one in _values(mine, SEX_COLUMNS)]
        rows.append(
            {
                "arm": arm,
                "centre": centre,
                "role": EXTERNAL if centre in external else INTERNAL,
                "participants": len(people),
                "cases": sum(n_cases.get(person, 0) for person in people),
                "female": sexes.count("F"),
                "male": sexes.count("M"),
                "sex_unreported": len(people) - sexes.count("F") - sexes.count("M"),
                "age_n": len(ages),
                "age_median": ages.median() if len(ages) else None,
                "age_min": ages.min() if len(ages) else None,
                "age_max": ages.max() if len(ages) else None,
                "scanner": _distinct(_values(mine, SCANNER_COLUMNS)),
                "field_strength_t": _distinct(_values(mine, FIELD_COLUMNS)),
            }
        )
    return table_of(rows, PEOPLE_COLUMNS)


def display_people(numbers: pd.DataFrame) -> pd.DataFrame:
    """The people of each centre in words."""
    return shown_table(
        [
            {
                "Scan type": row["arm"],
                "Centre": row["centre"],
                "Used as": row["role"],
                "Participants": str(row["participants"]),
                "Scans": str(row["cases"]),
                "Female": str(row["female"]),
                "Male": str(row["male"]),
                "Sex not reported": str(row["sex_unreported"]) if row["sex_unreported"] else "",
                "Median age (range), years": (
                    f"{decimals(row['age_median'], 0)} ({decimals(row['age_min'], 0)} to "
                    f"{decimals(row['age_max'], 0)})"
                    if row["age_n"]
                    else NONE
                ),
                "Scanner": row["scanner"],
                "Field (T)": row["field_strength_t"],
            }
            for row in records(numbers)
        ],
        ("Scan type", "Centre", "Participants"),
    )


def centre_table(
    scores: pd.DataFrame,
    centres: Mapping[str, Mapping[str, str]],
    *,
    networks: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    model: str = "final",
    seed: int = SEED,
) -> pd.DataFrame:
    """Scores by centre: internal ones out of fold, external ones with their drop and its test.

    Args:
        scores: Score table.
        centres: Arm to participant to centre; arms without an entry are left out.
        networks: Arm to what segmented its external cases, in words; None: not told.
        metrics: None: all that have no table of their own.
        model: Which model's rows.
        seed: Of the bootstrap.

    Returns:
        Columns of `CENTRE_COLUMNS`. Internal cases are those of the part ``validation``, which
        no network that segmented them had seen; external ones are those of ``holdout``.
    """
    chosen = annotated_scores(select(scores, model=model))
    metrics = shown_metrics(chosen) if metrics is None else metrics
    rows: list[dict[str, Any]] = []
    for arm, where in centres.items():
        mine = chosen[chosen["arm"] == arm]
        inside = mine[mine["part"] == "validation"]
        outside = mine[mine["part"] == "holdout"]
        groups = [(centre, INTERNAL, found) for centre, found in _by_centre(inside, where)]
        if len(set(where.values()) - set(outside["participant"].map(where))) > 1:
            groups.append((COMBINED, INTERNAL, inside))
        groups += [(centre, EXTERNAL, found) for centre, found in _by_centre(outside, where)]
        of_arm = [
            {
                "arm": arm,
                "centre": centre,
                "role": role,
                "segmented_by": (
                    OWN_FOLD if role == INTERNAL else (networks or {}).get(arm, "its model")
                ),
                **row,
                **(_test(inside, found, row, seed) if role == EXTERNAL else _NO_TEST),
            }
            for centre, role, found in groups
            for row in group_rows(found, metrics, seed=seed)
        ]
        rows += _corrected(of_arm)
    return table_of(rows, CENTRE_COLUMNS)


def display_centres(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Table 4 in the paper's layout, with the drop of the first metric."""
    rows = []
    for first, cells in shown_groups(numbers, {"arm": "Scan type", "centre": "Centre"}, names):
        if first["centre"] != COMBINED:
            cells["Centre"] += f"\n{first['role']}"
        has_drop = not math.isnan(first["drop_percent"])
        cells["Change, %\n(95% interval)"] = (
            on_lines(signed(-first["drop_percent"], 1), -first["drop_high"], -first["drop_low"], 1)
            if has_drop
            else ""
        )
        cells["p (Holm)"] = (
            f"{p_value(first['welch_p'])}\n({p_value(first['welch_p_corrected'])})"
            if first["role"] == EXTERNAL
            else ""
        )
        rows.append(cells)
    return shown_table(rows, ("Scan type", "Centre", "n"))


def note_on_centres(numbers: pd.DataFrame) -> str:
    """How internal and external are meant, and which test."""
    reasons = sorted({str(one) for one in numbers["test_reason"]} - {""})
    first = numbers["metric"].iloc[0] if len(numbers) else ""
    once = numbers[numbers["centre"] != COMBINED]  # its cases stand in the rows of their centres
    return (
        "Internal: cases that a fold left out, segmented by the network that had not seen them, "
        "before post-processing. External: the centres kept for the test, segmented by "
        f"{_networks_words(numbers)}. Each cell: mean ± standard deviation, below it the median, "
        f"over the defined values. {gaps_words(once)} Change: of the mean "
        f"{first.replace('_', ' ')} against all internal cases, in % of their mean, with its 95% "
        "bootstrap interval; p: Welch's unpaired t-test, in brackets corrected by Holm over the "
        f"external centres of a scan type. {note_on_clusters(numbers)}"
        + (f" Without a test: {'; '.join(reasons)}." if reasons else "")
    )


def _networks_words(numbers: pd.DataFrame) -> str:
    """What segmented the external cases: one sentence part, or one for each arm."""
    outside = numbers[numbers["role"] == EXTERNAL].drop_duplicates("arm")
    if outside["segmented_by"].nunique() == 1:
        return str(outside["segmented_by"].iloc[0])
    return "; ".join(f"{row['segmented_by']} ({row['arm']})" for row in records(outside))


_NO_TEST: dict[str, Any] = dict.fromkeys(_TESTED) | {"test_reason": ""}


def _test(
    inside: pd.DataFrame, outside: pd.DataFrame, row: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Internal minus external, of one label and metric."""
    sides = [
        with_clusters(some[(some["label"] == row["label"]) & (some["metric"] == row["metric"])])
        for some in (inside, outside)
    ]
    found = unpaired_difference(
        *(some["value"].tolist() for some in sides),
        *(some["cluster"].tolist() for some in sides),
        seed=seed,
    )
    tested = {name: getattr(found, attribute) for name, attribute in _TESTED.items()}
    if found.welch_p is not None:
        tested["test_reason"] = ""  # what is lacking then is not in this table
    return tested


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an arm with p-values corrected over its external centres."""
    families: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        row["welch_p_corrected"] = None
        if row["role"] == EXTERNAL:
            families.setdefault((row["label"], row["metric"]), []).append(index)
    for members in families.values():
        found = adjusted_p([rows[index]["welch_p"] for index in members])
        for index, p in zip(members, found.p, strict=True):
            rows[index]["welch_p_corrected"] = p
    return rows


def _by_centre(scores: pd.DataFrame, where: Mapping[str, str]) -> list[tuple[str, pd.DataFrame]]:
    centres = scores["participant"].map(where)
    return [(str(name), scores[centres == name]) for name in sorted(centres.dropna().unique())]


def _in_order(centres: Collection[str], external: Collection[str]) -> list[str]:
    return sorted(centres, key=lambda name: (name in external, name))


def _values(table: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    name = column_named(table, names)
    if name is None:
        return pd.Series("", index=table.index)
    return table[name].astype(object).where(table[name].notna(), "")


def _distinct(values: pd.Series) -> str:
    found = sorted({f"{v:g}" if isinstance(v, float) else str(v).strip() for v in values} - {""})
    return ", ".join(found)
