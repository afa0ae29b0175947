"""One comparison, one row: paired within the same cases, or unpaired between patients.

Enters: structures with their values. Leaves: rows of `COMPARISON_COLUMNS`, p-values
not yet corrected. Leaving out cases that one side lacks without a count was
rejected: a model that fails on the hardest case would win by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import observed
from acinus.evaluate.comparing.contestants import Observation, People, Structure
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
    "n_clusters_a": "int64",
    "n_clusters_b": "int64",
    "clustered_by": "str",
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
a cluster counting once: a participant, or a group of them by the column clustered_by; n_missing:
structures that only the other side has; n_undefined, n_failed: of the structures that both have
(paired) or of the group; n_not_annotated: left out, drawn by nobody; difference: a minus b; low to
high: 95% bootstrap interval, clusters resampled; drop: unpaired, from a to b in % of a; better:
which values are; n_t_tests, n_rank_tests: p-values that each correction is over."""

Values = Mapping[Structure, Observation]


def paired_row(
    first: Values,
    second: Values,
    people: People,
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
        people: Patient and cluster of each case.
        metric: Measure of the values.
        label: One label, or `ALL_LABELS`.
        members: Patients of a subgroup; None takes all.
        seed: Of the bootstrap.
    """
    left, right = (
        {key: one[key] for key in _chosen(one, people, label, members)} for one in (first, second)
    )
    unjudged = _not_annotated(left) | _not_annotated(right)
    common = sorted((left.keys() & right.keys()) - unjudged)
    found = paired_difference(
        [left[key].value for key in common],
        [right[key].value for key in common],
        [people.clusters[case] for case, _ in common],
        seed=seed,
    )
    both = [k for k in common if left[k].value is not None and right[k].value is not None]
    n_cases = len({case for case, _ in both})
    counts = _counted(people, both)
    reasons = dict.fromkeys(part for part in (found.reason, found.effect.reason) if part)
    return {
        "kind": PAIRED,
        "label": label,
        **_measure_columns(metric),
        "n_structures_a": found.n,
        "n_structures_b": found.n,
        "n_cases_a": n_cases,
        "n_cases_b": n_cases,
        "n_participants_a": counts["n_participants"],
        "n_participants_b": counts["n_participants"],
        "n_clusters_a": found.n_clusters,
        "n_clusters_b": found.n_clusters,
        "clustered_by": counts["clustered_by"],
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
        "t_test": "paired t-test, two-sided",
        "t_p": found.t_p,
        "rank_test": "Wilcoxon signed-rank, two-sided, differences of 0 dropped",
        "rank_method": found.wilcoxon_method,
        "rank_p": found.wilcoxon_p,
        "reason": "; ".join(reasons),
    }


def unpaired_row(
    first: tuple[Values, People, Collection[str] | None],
    second: tuple[Values, People, Collection[str] | None],
    metric: str,
    label: str,
    *,
    seed: int,
) -> dict[str, Any]:
    """First group minus second, of different patients, with the relative drop.

    Args:
        first: Structures, whose they are, and the patients of the group (None: all).
        second: The same of the other group.
        metric: Measure of the values.
        label: One label, or `ALL_LABELS`.
        seed: Of the bootstrap.
    """
    sides, keys, members, counts = [], [], [], []
    n_unjudged = 0
    for values, people, chosen in (first, second):
        mine = {key: values[key] for key in _chosen(values, people, label, chosen)}
        unjudged = _not_annotated(mine)
        n_unjudged += len(unjudged)
        judged = sorted(mine.keys() - unjudged)
        sides.append(mine)
        keys.append(judged)
        members.append([people.clusters[case] for case, _ in judged])
        counts.append(_counted(people, [key for key in judged if mine[key].value is not None]))
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
        "n_participants_a": counts[0]["n_participants"],
        "n_participants_b": counts[1]["n_participants"],
        "n_clusters_a": found.n_clusters_a,
        "n_clusters_b": found.n_clusters_b,
        "clustered_by": ", ".join(dict.fromkeys(one["clustered_by"] for one in counts)),
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
        "t_test": "Welch's unpaired t-test, two-sided",
        "t_p": found.welch_p,
        "rank_test": "Mann-Whitney, two-sided",
        "rank_method": found.rank_method,
        "rank_p": found.rank_p,
        "reason": "; ".join(
            part for part in (found.reason, _in_both(first, second, members)) if part
        ),
    }


def labels_of(*of: Values) -> list[str]:
    """All labels together, where there are several, then each, sorted."""
    labels = sorted({label for values in of for _, label in values})
    return [*([ALL_LABELS] if len(labels) > 1 else []), *labels]


def _counted(people: People, structures: Sequence[Structure]) -> dict[str, Any]:
    """How many patients and clusters structures are of, and what a cluster is."""
    cases = [case for case, _ in structures]
    return observed(
        pd.DataFrame(
            {
                "participant": [people.patients[case] for case in cases],
                "cluster": [people.clusters[case] for case in cases],
            },
            dtype="str",
        )
    )


def _in_both(
    first: tuple[Values, People, Collection[str] | None],
    second: tuple[Values, People, Collection[str] | None],
    members: Sequence[Collection[str]],
) -> str:
    """That clusters have patients in both groups of one cohort, which the tests take as others."""
    common = set(members[0]) & set(members[1])
    if first[1] is not second[1] or not common:
        return ""
    return f"{len(common)} groups of patients that are not independent are in both, so p is rough"


def _chosen(
    values: Values, people: People, label: str, members: Collection[str] | None
) -> Iterable[Structure]:
    return (
        key
        for key in values
        if label in (ALL_LABELS, key[1]) and (members is None or people.patients[key[0]] in members)
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
