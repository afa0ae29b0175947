"""Models against models, and centres or other groups of patients against each other.

Enters: score tables. Leaves: a row for each comparison with numbers of cases,
means, difference and interval, effect size, tests and corrected p-values, and
which cases were left out. A p-value without the size of what it is about was
rejected: with enough cases any two models differ.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from acinus.cohort.participants import ID_COLUMN
from acinus.errors import ConfigError, DataError, unknown_name
from acinus.evaluate.comparing.contestants import (
    Contestant,
    People,
    check_measures,
    check_names,
    joint_people,
    read_contestants,
)
from acinus.evaluate.comparing.result import CENTRE, Comparisons, Lack
from acinus.evaluate.comparing.rows import (
    COMPARISON_COLUMNS,
    Values,
    labels_of,
    paired_row,
    unpaired_row,
)
from acinus.evaluate.comparing.subgroups import Grouping, group_patients, read_people
from acinus.evaluate.tables.numbers import table_of
from acinus.files import whole_file
from acinus.measure.statistics import CORRECTIONS, adjusted_p
from acinus.measure.statistics.bootstrap import SEED

VOLUME = "reference_volume_ml"
"""Measure that patients can be grouped by as by a column of ``participants.tsv``."""

Correction = Literal["holm", "bonferroni", "benjamini_hochberg"]


def compare_scores(
    sources: Sequence[Path | str],
    *,
    measures: Sequence[str] = ("dice",),
    part: str | None = None,
    external: Sequence[Path | str] = (),
    participants: Path | str | None = None,
    group_by: str | None = None,
    by: Sequence[str] = (),
    bands: int = 2,
    first: str | None = None,
    correction: Correction = "holm",
    out: Path | str | None = None,
    seed: int = SEED,
) -> Comparisons:
    """Every pair of contestants by the same cases; groups of patients by unpaired tests.

    Right and left structures and several scans of a patient count as one observation, their
    mean: in intervals, tests and effect sizes. The t-tests and the rank tests of all
    comparisons are each corrected together.

    Args:
        sources: Run folders, folders with ``scores.csv``, or CSV files; ``"NAME=PATH"`` names
            one. Of a table with several arms or models each is a contestant.
        measures: Registered names that all tables have.
        part: ``"holdout"`` or ``"validation"``; of a table that knows neither, its only part is
            taken. None: the hold-out where all have one, else the validation; with `external`
            the validation.
        external: Score tables of other centres: their hold-out, or only part. The one contestant is
            compared with each, and the drop is relative to it.
        participants: ``participants.tsv``, for `by`; it also says which cases are of one patient
            where the score tables do not.
        group_by: Column of it whose values are one observation, such as the anatomy that copies
            were made of. None: the groups that the split of a run kept together, as its score
            table states them, else each patient.
        by: Columns of it, or ``reference_volume_ml``, the mean of a patient's structures. Pairs
            are compared within each subgroup too, and each contestant between the first and
            every other subgroup.
        bands: Groups of a column with many numbers, cut at quantiles; 2 cuts at the median.
        first: Group that the others are compared with; by default that of the first row.
        correction: Key of `CORRECTIONS`.
        out: Folder for ``comparisons.csv`` and ``missing.csv``; None writes nothing.
        seed: Of the bootstrap.

    Returns:
        A row for each pair of contestants, label, measure and subgroup, and for each
        contestant between subgroups or to external centres; over all labels too, if several.

    Raises:
        ConfigError: There is one contestant only, two have one name, or a measure, column,
            group or correction is unknown.
        DataError: A table cannot be used, or no pair has a case in common.
    """
    if correction not in CORRECTIONS:
        raise ConfigError(unknown_name("correction", correction, CORRECTIONS))
    if participants is None and any(column != VOLUME for column in by):
        raise ConfigError("--by must come with --participants, the table with that column.")
    if participants is None and group_by is not None:
        raise ConfigError("--group-by must come with --participants, the table of that column.")
    table = None if participants is None else read_people(participants)
    people = pd.DataFrame() if table is None else table.set_index(ID_COLUMN)
    if external and part is None:
        part = "validation"
    inner = read_contestants(sources, part=part)
    outer = read_contestants(external, part=None, is_external=True)
    _check_contestants(inner, outer)
    check_measures([*inner, *outer], measures)
    cohort = joint_people(inner, table, group_by)
    if VOLUME in by and VOLUME not in people.columns:
        people = people.join(_volumes(inner, cohort.patients), how="outer")
    patients = set(cohort.patients.values())
    groupings = group_patients(people, by, patients, n_bands=bands, first=first) if by else []
    strangers = {one.name: joint_people([one], table, group_by) for one in outer}
    rows: list[dict[str, Any]] = []
    for metric in dict.fromkeys(measures):
        values = {one.name: one.values_of(metric) for one in (*inner, *outer)}
        rows += _paired_rows(inner, values, cohort, groupings, metric, seed)
        rows += _group_rows(inner, values, cohort, groupings, metric, seed)
        rows += _centre_rows(inner, strangers, values, cohort, metric, seed)
    found = Comparisons(
        table_of(_corrected(rows, correction), COMPARISON_COLUMNS),
        {one.name: one.path for one in (*inner, *outer)},
        {one.name: one.part for one in (*inner, *outer)},
        tuple(dict.fromkeys(measures)),
        CORRECTIONS[correction],
        tuple(_lacks(inner, tuple(measures))),
        tuple(groupings),
    )
    if out is not None:
        write_comparisons(found, out)
    return found


def write_comparisons(found: Comparisons, out: Path | str) -> None:
    """Write ``comparisons.csv`` and ``missing.csv``; numbers keep all their digits.

    Args:
        found: What comparing gave.
        out: Folder.
    """
    missing = pd.DataFrame(
        [(lack.contestant, lack.other, *one) for lack in found.lacks for one in lack.structures],
        columns=["contestant", "other", "case", "label"],
    )
    for name, table in (("comparisons.csv", found.table), ("missing.csv", missing)):
        with whole_file(Path(out) / name) as beside:
            table.to_csv(beside, index=False, lineterminator="\n")


def _check_contestants(inner: Sequence[Contestant], outer: Sequence[Contestant]) -> None:
    check_names([one.name for one in (*inner, *outer)])
    names = ", ".join(f"'{one.name}'" for one in inner) or "none"
    if outer and len(inner) != 1:
        raise ConfigError(
            f"external tables must be compared with one model; got {names}. "
            "Name one run, of one arm and model."
        )
    if not outer and len(inner) < 2:
        raise ConfigError(
            f"a comparison must have two contestants or more; got {names}. "
            "Name another run or score table, or an external one (--external)."
        )
    structures = [{*zip(one.scores["case"], one.scores["label"], strict=True)} for one in inner]
    if not outer and not any(a & b for a, b in itertools.combinations(structures, 2)):
        raise DataError(
            f"two contestants must have a case and label in common; {names} have none. "
            "Cases are matched by their names."
        )


def _paired_rows(
    inner: Sequence[Contestant],
    values: Mapping[str, Values],
    cohort: People,
    groupings: Sequence[Grouping],
    metric: str,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """All cases, then each subgroup."""
    for a, b in itertools.combinations([one.name for one in inner], 2):
        subgroups = [("", "", None)] + [
            (one.column, group, members) for one in groupings for group, members in _items(one)
        ]
        for (by, group, members), label in itertools.product(
            subgroups, labels_of(values[a], values[b])
        ):
            row = paired_row(
                values[a], values[b], cohort, metric, label, members=members, seed=seed
            )
            yield row | {"a": a, "b": b, "by": by, "group_a": group, "group_b": group}


def _group_rows(
    inner: Sequence[Contestant],
    values: Mapping[str, Values],
    cohort: People,
    groupings: Sequence[Grouping],
    metric: str,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Each contestant between the first group and every other."""
    for contestant, grouping in itertools.product(inner, groupings):
        (first, members), *others = _items(grouping)
        mine = values[contestant.name]
        for (group, rest), label in itertools.product(others, labels_of(mine)):
            row = unpaired_row(
                (mine, cohort, members), (mine, cohort, rest), metric, label, seed=seed
            )
            yield row | {
                "a": contestant.name,
                "b": contestant.name,
                "by": grouping.column,
                "group_a": first,
                "group_b": group,
            }


def _centre_rows(
    inner: Sequence[Contestant],
    strangers: Mapping[str, People],
    values: Mapping[str, Values],
    cohort: People,
    metric: str,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """The internal contestant against every external centre."""
    for a, (b, theirs) in itertools.product([one.name for one in inner], strangers.items()):
        for label in labels_of(values[a], values[b]):
            row = unpaired_row(
                (values[a], cohort, None), (values[b], theirs, None), metric, label, seed=seed
            )
            names = {"a": a, "b": b, "group_a": "internal", "group_b": "external"}
            yield row | names | {"by": CENTRE}


def _items(grouping: Grouping) -> list[tuple[str, frozenset[str]]]:
    return list(grouping.members.items())


def _corrected(
    rows: Sequence[Mapping[str, Any]], correction: Correction
) -> Iterator[dict[str, Any]]:
    """Rows with the p-values of the whole command corrected: t-tests together, ranks together."""
    t = adjusted_p([row["t_p"] for row in rows], correction)
    ranks = adjusted_p([row["rank_p"] for row in rows], correction)
    for row, t_p, rank_p in zip(rows, t.p, ranks.p, strict=True):
        yield {
            **row,
            "t_p_corrected": t_p,
            "rank_p_corrected": rank_p,
            "correction": t.name,
            "n_t_tests": t.n,
            "n_rank_tests": ranks.n,
        }


def _volumes(inner: Sequence[Contestant], patients: Mapping[str, str]) -> pd.Series:
    """Mean drawn volume of each patient's structures, mL.

    Raises:
        ConfigError: No contestant has volumes.
    """
    values: dict[str, list[float]] = {}
    for one in inner:
        for (case, _), found in one.values_of(VOLUME).items():
            if found.value is not None:
                values.setdefault(patients[case], []).append(found.value)
    if not values:
        raise ConfigError(f"--by {VOLUME} must find that measure in a score table; none has it.")
    return pd.Series({who: sum(found) / len(found) for who, found in values.items()}, name=VOLUME)


def _lacks(inner: Sequence[Contestant], measures: Sequence[str]) -> Iterator[Lack]:
    known = {
        one.name: {key for metric in measures for key in one.values_of(metric)} for one in inner
    }
    for a, b in itertools.permutations(known, 2):
        absent = known[b] - known[a]
        if absent:
            yield Lack(a, b, tuple(sorted(absent)))
