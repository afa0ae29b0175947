"""One comparison, one row: paired within the same cases, or unpaired between patients.

Enters: structures with their values. Leaves: rows of `COMPARISON_COLUMNS`, p-values
not yet corrected. Leaving out cases that one side lacks without a count was
rejected: a model that fails on the hardest case would win by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from acinus.evaluate.comparing.contestants import Observation, Structure
from acinus.evaluate.tables.numbers import Kind
from acinus.evaluate.wording import ALL_LABELS
from acinus.measure import MEASURES
from acinus.measure.statistics import paired_difference, unpaired_difference

PAIRED, UNPAIRED = "paired", "unpaired"

COMPARISON_COLUMNS: dict[str, Kind] = {
    "kind": "str",
    "a": "str",
    "b": "str",
    "by": "str",
    "group_a": "str",
    "group_b": "str",
    "label": "str",
    "metric": "str",
    "unit": "str",
    "better": "str",
    "n_structures_a": "int64",
    "n_structures_b": "int64",
    "n_cases_a": "int64",
    "n_cases_b": "int64",
    "n_participants_a": "int64",
    "n_participants_b": "int64",
    "n_missing_a": "int64",
    "n_missing_b": "int64",
    "n_undefined_a": "int64",
    "n_undefined_b": "int64",
    "n_failed_a": "int64",
    "n_failed_b": "int64",
    "n_not_annotated": "int64",
    "mean_a": "float64",
    "mean_b": "float64",
    "difference": "float64",
    "sd": "float64",
    "low": "float64",
    "high": "float64",
    "drop_percent": "float64",
    "drop_low": "float64",
    "drop_high": "float64",
    "dz": "float64",
    "hedges_g": "float64",
    "g_low": "float64",
    "g_high": "float64",
    "t_test": "str",
    "t_p": "float64",
    "t_p_corrected": "float64",
    "rank_test": "str",
    "rank_method": "str",
    "rank_p": "float64",
    "rank_p_corrected": "float64",
    "correction": "str",
    "n_t_tests": "int64",
    "n_rank_tests": "int64",
    "reason": "str",
}
"""n_structures: with both values (paired) or a value (unpaired), which the means are over,
a participant counting once; n_missing: structures that only the other side has; n_undefined,
n_failed: of the structures that both have (paired) or of the group; n_not_annotated: left out,
drawn by nobody; difference: a minus b; low to high: 95% bootstrap interval over participants;
drop: unpaired, from a to b in % of a; better: which values are; n_t_tests, n_rank_tests:
p-values that each correction is over."""

Values = Mapping[Structure, Observation]


def paired_row(
    first: Values,
    second: Values,
    patients: Mapping[str, str],
    metric: str,
    label: str,
    *,
    members: Collection[str] | None = None,
    seed: int,
) -> dict[str, Any]:
    """`first` minus `second` within the same cases and labels.

    Args:
        first: Structures of one contestant.
        second: Of the other.
        patients: Case to patient.
        metric: Measure of the values.
        label: One label, or `ALL_LABELS`.
        members: Patients of a subgroup; None takes all.
        seed: Of the bootstrap.
    """
    left, right = (
        {key: one[key] for key in _chosen(one, patients, label, members)} for one in (first, second)
    )
    unjudged = _not_annotated(left) | _not_annotated(right)
    common = sorted((left.keys() & right.keys()) - unjudged)
    found = paired_difference(
        [left[key].value for key in common],
        [right[key].value for key in common],
        [patients[case] for case, _ in common],
        seed=seed,
    )
    both = [k for k in common if left[k].value is not None and right[k].value is not None]
    n_cases = len({case for case, _ in both})
    reasons = dict.fromkeys(part for part in (found.reason, found.effect.reason) if part)
    return {
        "kind": PAIRED,
        "label": label,
        **_measure_columns(metric),
        "n_structures_a": found.n,
        "n_structures_b": found.n,
        "n_cases_a": n_cases,
        "n_cases_b": n_cases,
        "n_participants_a": found.n_clusters,
        "n_participants_b": found.n_clusters,
        "n_missing_a": len(right.keys() - left.keys() - unjudged),
        "n_missing_b": len(left.keys() - right.keys() - unjudged),
        **_gaps(left, common, "a"),
        **_gaps(right, common, "b"),
        "n_not_annotated": len(unjudged),
        "mean_a": found.mean_a,
        "mean_b": found.mean_b,
        "difference": found.mean,
        "sd": found.sd,
        "low": found.low,
        "high": found.high,
        **dict.fromkeys(("drop_percent", "drop_low", "drop_high")),
        "dz": found.effect.dz,
        "hedges_g": found.effect.hedges_g,
        "g_low": found.effect.low,
        "g_high": found.effect.high,
        "t_test": "paired t-test",
        "t_p": found.t_p,
        "rank_test": "Wilcoxon signed-rank",
        "rank_method": found.wilcoxon_method,
        "rank_p": found.wilcoxon_p,
        "reason": "; ".join(reasons),
    }


def unpaired_row(
    first: tuple[Values, Mapping[str, str], Collection[str] | None],
    second: tuple[Values, Mapping[str, str], Collection[str] | None],
    metric: str,
    label: str,
    *,
    seed: int,
) -> dict[str, Any]:
    """First group minus second, of different patients, with the relative drop.

    Args:
        first: Structures, case to patient, and the patients of the group (None: all).
        second: The same of the other group.
        metric: Measure of the values.
        label: One label, or `ALL_LABELS`.
        seed: Of the bootstrap.
    """
    sides, keys, members = [], [], []
    n_unjudged = 0
    for values, patients, chosen in (first, second):
        mine = {key: values[key] for key in _chosen(values, patients, label, chosen)}
        unjudged = _not_annotated(mine)
        n_unjudged += len(unjudged)
        judged = sorted(mine.keys() - unjudged)
        sides.append(mine)
        keys.append(judged)
        members.append([patients[case] for case, _ in judged])
    found = unpaired_difference(
        [sides[0][key].value for key in keys[0]],
        [sides[1][key].value for key in keys[1]],
        *members,
        seed=seed,
    )
    n_cases = [
        len({key[0] for key in judged if side[key].value is not None})
        for side, judged in zip(sides, keys, strict=True)
    ]
    return {
        "kind": UNPAIRED,
        "label": label,
        **_measure_columns(metric),
        "n_structures_a": found.n_a,
        "n_structures_b": found.n_b,
        "n_cases_a": n_cases[0],
        "n_cases_b": n_cases[1],
        "n_participants_a": found.n_clusters_a,
        "n_participants_b": found.n_clusters_b,
        "n_missing_a": 0,
        "n_missing_b": 0,
        **_gaps(sides[0], keys[0], "a"),
        **_gaps(sides[1], keys[1], "b"),
        "n_not_annotated": n_unjudged,
        "mean_a": found.mean_a,
        "mean_b": found.mean_b,
        "difference": found.mean,
        "sd": None,
        "low": found.low,
        "high": found.high,
        "drop_percent": found.drop_percent,
        "drop_low": found.drop_low,
        "drop_high": found.drop_high,
        "dz": None,
        "hedges_g": found.hedges_g,
        "g_low": found.g_low,
        "g_high": found.g_high,
        "t_test": "Welch's unpaired t-test",
        "t_p": found.welch_p,
        "rank_test": "Mann-Whitney",
        "rank_method": found.rank_method,
        "rank_p": found.rank_p,
        "reason": found.reason,
    }


def labels_of(*of: Values) -> list[str]:
    """All labels together, where there are several, then each, sorted."""
    labels = sorted({label for values in of for _, label in values})
    return [*([ALL_LABELS] if len(labels) > 1 else []), *labels]


def _chosen(
    values: Values, patients: Mapping[str, str], label: str, members: Collection[str] | None
) -> Iterable[Structure]:
    return (
        key
        for key in values
        if label in (ALL_LABELS, key[1]) and (members is None or patients[key[0]] in members)
    )


def _not_annotated(values: Values) -> set[Structure]:
    return {key for key, one in values.items() if one.state == "not annotated"}


def _gaps(values: Values, keys: Iterable[Structure], side: str) -> dict[str, int]:
    states = Counter(values[key].state for key in keys)
    return {
        f"n_undefined_{side}": states["undefined"],
        f"n_failed_{side}": states["failed"],
    }


def _measure_columns(metric: str) -> dict[str, str]:
    """Name, unit and better direction; a measure of another program has neither."""
    if metric not in MEASURES:
        return {"metric": metric, "unit": "", "better": ""}
    known = MEASURES[metric].factory
    return {"metric": metric, "unit": known.unit, "better": known.better}
