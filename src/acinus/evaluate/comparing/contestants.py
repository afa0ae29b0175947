"""Who is compared: score tables, and the arms and models within them.

Enters: run folders, folders with ``scores.csv``, or CSV files. Leaves: one
contestant for each arm and model, with a name of its own. Telling two
contestants apart by their number was rejected: a table would need a legend.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from acinus.cohort.participants import ID_COLUMN, owners_of
from acinus.errors import ConfigError, DataError, unknown_name
from acinus.evaluate.clusters import clusters_of
from acinus.evaluate.score_table import NOT_ANNOTATED, read_scores

SCORES = "scores.csv"

PARTS = ("holdout", "validation")
"""Parts of a run's score table."""

Structure = tuple[str, str]
"""Case and label."""


@dataclass(frozen=True)
class Observation:
    """A value of a structure, or why there is none.

    Attributes:
        value: None where undefined or failed.
        state: ``"ok"``, ``"undefined"``, ``"failed"`` or ``"not annotated"``.
    """

    value: float | None
    state: str


@dataclass(frozen=True)
class Contestant:
    """One model of one arm of one score table.

    Attributes:
        name: Unique among those compared.
        path: The score table.
        scores: Its rows of the part that is compared.
    """

    name: str
    path: Path
    scores: pd.DataFrame

    @property
    def part(self) -> str:
        """Part of the table that is compared."""
        return str(self.scores["part"].iloc[0])

    @cached_property
    def metrics(self) -> set[str]:
        """Names of the measures."""
        return set(self.scores["metric"])

    @cached_property
    def patients(self) -> dict[str, str]:
        """Case to patient; a case without one is its own."""
        cases = self.scores.drop_duplicates("case")
        pairs = zip(cases["case"], cases["participant"], strict=True)
        return {str(case): str(patient or case) for case, patient in pairs}

    @cached_property
    def clusters(self) -> dict[str, str]:
        """Case to the group of patients that its table takes as one observation, where it does."""
        cases = self.scores.drop_duplicates("case")
        grouped = cases[cases["cluster"] != cases["participant"]]
        return {
            str(case): str(cluster)
            for case, cluster in zip(grouped["case"], grouped["cluster"], strict=True)
        }

    def values_of(self, metric: str) -> dict[Structure, Observation]:
        """Every structure with its value of a measure.

        Raises:
            DataError: A structure has two rows or an infinite value.
        """
        rows = self.scores[self.scores["metric"] == metric]
        twice = rows[rows.duplicated(["case", "label"])]
        if len(twice):
            raise DataError(
                f"{self.path}: a case must have one row for each label and measure; case "
                f"'{twice['case'].iloc[0]}' has several for {twice['label'].iloc[0]}, {metric}. "
                "Keep one of them."
            )
        endless = rows[rows["value"].isin([math.inf, -math.inf])]
        if len(endless):
            raise DataError(
                f"{self.path}: values must be finite, or empty where undefined; case "
                f"'{endless['case'].iloc[0]}' has an infinite {metric}. Leave it empty with status "
                "'undefined' and a reason."
            )
        columns = (rows[name] for name in ("case", "label", "value", "status", "reason"))
        return {
            (str(case), str(label)): _observation(value, status, reason)
            for case, label, value, status, reason in zip(*columns, strict=True)
        }


def read_contestants(
    sources: Iterable[Path | str], *, part: str | None, is_external: bool = False
) -> list[Contestant]:
    """Contestants in the order of `sources`, each with the rows of one part.

    Args:
        sources: Run folder, folder with ``scores.csv``, or CSV file, each; ``"NAME=PATH"``
            gives a name, else it is that of the folder.
        part: ``"holdout"`` or ``"validation"``; of a table that knows neither, such as
            another program's, its only part is taken. None: the hold-out where all such
            tables have one, else the only part that all have.
        is_external: Whether the tables need not share a part: each gives its hold-out, or
            else its only part.

    Raises:
        DataError: A table cannot be read, or lacks the part.
    """
    tables = _read_tables(sources)
    if not is_external:
        part = part or _common_part(tables)
    found = []
    for name, path, table in tables:
        chosen = _part_of(path, set(table["part"]), part, is_external)
        found += _split_table(name, path, table[table["part"] == chosen])
    return found


def _read_tables(sources: Iterable[Path | str]) -> list[tuple[str, Path, pd.DataFrame]]:
    """Name, path and rows of each score table.

    Raises:
        DataError: A table cannot be read or has no rows.
    """
    found = []
    for source in sources:
        name, path = _name_and_path(source)
        table = read_scores(path)
        if table.empty:
            raise DataError(f"{path}: a score table must have rows; it has none.")
        found.append((name, path, table))
    return found


def _split_table(name: str, path: Path, table: pd.DataFrame) -> list[Contestant]:
    """A contestant for each arm and model; what differs is added to the name.

    Args:
        name: Of the table.
        path: Of the table.
        table: Its rows, of one part.
    """
    keys = table[["arm", "model"]].drop_duplicates()
    arms, models = (sorted(set(keys[column])) for column in ("arm", "model"))
    models = sorted(models, key=lambda model: model != "final")
    found = []
    for arm in arms:
        for model in models:
            rows = table[(table["arm"] == arm) & (table["model"] == model)]
            parts = [name, *([arm] if len(arms) > 1 else []), *([model] if len(models) > 1 else [])]
            if len(rows):
                found.append(Contestant("/".join(parts), path, rows))
    return found


def check_names(names: Sequence[str]) -> None:
    """Refuse a name that two contestants have.

    Raises:
        ConfigError: There is one.
    """
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ConfigError(
            f"contestants must have different names; two are called '{twice[0]}'. "
            "Give one another name: NAME=PATH."
        )


def check_measures(contestants: Sequence[Contestant], measures: Sequence[str]) -> None:
    """Refuse measures that a contestant lacks.

    Raises:
        ConfigError: No measure is named, or one is in no table or not in all.
    """
    if not measures:
        raise ConfigError("--measure must name at least one measure; got none.")
    known = {name for one in contestants for name in one.metrics}
    for name in measures:
        if name not in known:
            raise ConfigError(unknown_name("measure", name, known))
        for one in contestants:
            if name not in one.metrics:
                raise ConfigError(
                    f"measure '{name}' must be in every table; '{one.name}' lacks it and has: "
                    f"{', '.join(sorted(one.metrics))}."
                )


@dataclass(frozen=True)
class People:
    """Whose the cases of one cohort are.

    Attributes:
        patients: Case to patient.
        clusters: Case to what counts as one observation: the patient, or a group.
    """

    patients: dict[str, str]
    clusters: dict[str, str]


def joint_people(
    contestants: Sequence[Contestant], table: pd.DataFrame | None, group_by: str | None
) -> People:
    """Patient and cluster of each case over all contestants.

    Args:
        contestants: Of one cohort.
        table: ``participants.tsv``; None: the score tables alone tell.
        group_by: Column of it whose values are one observation. None: the groups that the score
            tables state, else each patient.

    Raises:
        ConfigError: The table has no such column.
        DataError: Two tables name different patients or groups for a case, or a patient has no
            value of the column.
    """
    patients = joint_patients(contestants, table)
    if group_by is not None and table is not None:
        of = clusters_of(set(patients.values()), table, group_by, where="--participants")
        return People(patients, {case: of[patient] for case, patient in patients.items()})
    clusters: dict[str, str] = {}
    for one in contestants:
        for case, cluster in one.clusters.items():
            if clusters.setdefault(case, cluster) != cluster:
                raise DataError(
                    f"case '{case}' must belong to one group in all tables; got "
                    f"'{clusters[case]}' and '{cluster}' in '{one.name}'."
                )
    return People(patients, patients | clusters)


def joint_patients(
    contestants: Sequence[Contestant], table: pd.DataFrame | None = None
) -> dict[str, str]:
    """Case to patient over all contestants.

    A table that takes each case for its own patient says nothing about patients; the
    others are believed, and ``participants.tsv`` where its ids fit.

    Args:
        contestants: Of one cohort.
        table: ``participants.tsv``, matched with cases as in a dataset.

    Raises:
        DataError: Two tables name different patients for a case.
    """
    patients: dict[str, str] = {}
    said_by: dict[str, str] = {}
    for one in contestants:
        for case, patient in one.patients.items():
            before = patients.setdefault(case, patient)
            if before == patient:
                said_by.setdefault(case, one.name)
            elif before == case:
                patients[case], said_by[case] = patient, one.name
            elif patient != case:
                raise DataError(
                    f"case '{case}' must belong to one participant in all tables; got "
                    f"'{before}' in '{said_by[case]}' and '{patient}' in '{one.name}'."
                )
    if table is None:
        return patients
    known, owners = set(table[ID_COLUMN]), owners_of(patients, table)
    return {
        case: patient if patient in known else owners.get(case, patient)
        for case, patient in patients.items()
    }


def _name_and_path(source: Path | str) -> tuple[str, Path]:
    path, name = Path(source), ""
    before, sign, rest = str(source).partition("=")
    if not path.exists() and sign and "/" not in before:
        name, path = before, Path(rest)
    if path.is_dir():
        return name or path.resolve().name, path / SCORES
    return name or (path.resolve().parent.name if path.name == SCORES else path.stem), path


def _common_part(tables: Sequence[tuple[str, Path, pd.DataFrame]]) -> str:
    """Part of the tables that know hold-out and validation."""
    parts = {path: set(table["part"]) for _, path, table in tables}
    ours = {path: those & set(PARTS) for path, those in parts.items() if those & set(PARTS)}
    common = set.intersection(*ours.values()) if ours else {PARTS[0]}
    if not common:
        each = "; ".join(f"{path}: {', '.join(sorted(those))}" for path, those in parts.items())
        raise DataError(f"the tables must share a part to be compared; got {each}.")
    return PARTS[0] if PARTS[0] in common else common.pop()


def _part_of(path: Path, parts: set[str], wanted: str | None, is_external: bool) -> str:
    for one in (wanted, PARTS[0] if is_external else None):
        if one in parts:
            return str(one)
    if len(parts) == 1 and (is_external or not parts & set(PARTS)):
        return next(iter(parts))
    raise DataError(
        f"{path}: must have scores of the part '{wanted or PARTS[0]}'; it has: "
        f"{', '.join(sorted(parts))}."
    )


def _observation(value: float, status: str, reason: str) -> Observation:
    if reason == NOT_ANNOTATED:
        return Observation(None, "not annotated")
    if status != "ok" or pd.isna(value):
        return Observation(None, status if status != "ok" else "undefined")
    return Observation(float(value), "ok")
