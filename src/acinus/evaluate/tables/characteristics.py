"""Who was in training and test: age and sex, with tests (Tables 1 and 2 of the lacrimal study).

Enters: the participants of a dataset and who is in which part. Leaves: numbers,
and the same in the paper's layout. The paper's tests are kept: Student's
unpaired t-test for age, chi-squared for sex with "unreported" as a category.
Beside them stand the ones one would choose: Welch's, and chi-squared over the
reported sexes alone.

What reproduces from the printed figures: both age p-values (0.29 and 0.17) lie
within the rounding of the printed means and deviations for Student's test, not
for Welch's; the sex p-value of Table 1 (0.63) is exact. That of Table 2 (0.48)
does not: its printed counts give 0.53.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import PARTICIPANT
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.wording import count_and_share, decimals, mean_and_sd, p_value
from acinus.measure.statistics import chi_squared, two_sample_t

COLUMNS: dict[str, Kind] = {
    "variable": "str",
    "level": "str",
    "train_n": "int64",
    "train_mean": "float64",
    "train_sd": "float64",
    "train_total": "int64",
    "test_n": "int64",
    "test_mean": "float64",
    "test_sd": "float64",
    "test_total": "int64",
    "test": "str",
    "statistic": "float64",
    "df": "float64",
    "p": "float64",
    "smallest_expected": "float64",
    "train_clusters": "int64",
    "test_clusters": "int64",
    "clustered_by": "str",
    "reason": "str",
}
"""n counts the participants that the row is about, total all of that part; clusters: independent
observations that its test is over, each what clustered_by says."""

NOT_RECORDED = "not recorded"
UNREPORTED = "Unreported"
AGE_COLUMNS = ("age", "age_years")
SEX_COLUMNS = ("sex", "gender")
SEX_WORDS = {"m": "M", "male": "M", "f": "F", "female": "F"}
UNREPORTED_WORDS = ("", "n/a", "na", "nan", "none", "null", "unknown", "u", "unreported", "<na>")

_EMPTY: dict[str, Any] = {
    name: {"str": "", "int64": 0, "float64": None}[kind] for name, kind in COLUMNS.items()
}


def characteristics(
    participants: pd.DataFrame | None,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    groups: Mapping[str, str] | None = None,
    group_by: str = PARTICIPANT,
) -> pd.DataFrame:
    """Age and sex of training and test participants, with the tests between them.

    Args:
        participants: Table with ``participant_id`` and, where recorded, ``age``
            in years and ``sex`` (M, F or empty); None where there is none.
        train_ids: Participants of training (and validation).
        test_ids: Participants held out. Ids that the table lacks count as unreported.
        groups: Participant to a group that is one observation in the tests, with the mean age and
            the sex of its members; groups of both sexes are in no test of sex. None: each
            participant is one.
        group_by: What groups share, for the note.

    Returns:
        The columns of `COLUMNS`. Rows: ``age`` by Student's test, ``sex`` by
        chi-squared with its levels M, F, (others), Unreported, then ``age`` by
        Welch's test and ``sex`` by chi-squared without the unreported. A
        variable that is not recorded has one row that says so.
    """
    parts = {"train": list(train_ids), "test": list(test_ids)}
    ages = _column(participants, parts, AGE_COLUMNS)
    sexes = _column(participants, parts, SEX_COLUMNS)
    of = groups or {}
    age_rows = [_missing("age")] if ages is None else _age_rows(ages, of)
    sex_rows = [_missing("sex")] if sexes is None else _sex_rows(sexes, of)
    rows = [age_rows[0], *sex_rows[: len(sex_rows) - 1 or 1], *age_rows[1:]]
    rows += sex_rows[-1:] if len(sex_rows) > 1 else []
    totals = {f"{part}_total": len(ids) for part, ids in parts.items()}
    unit = group_by if groups else PARTICIPANT
    return table_of([{**_EMPTY, **row, **totals, "clustered_by": unit} for row in rows], COLUMNS)


def display_characteristics(numbers: pd.DataFrame) -> pd.DataFrame:
    """The table in the paper's layout: Variables, Train, Test, p-value."""
    return pd.DataFrame(
        [_display_row(row) for row in records(numbers)],
        columns=["Variables", "Train", "Test", "p-value"],
    )


def _column(
    participants: pd.DataFrame | None, parts: dict[str, list[str]], names: Sequence[str]
) -> dict[str, pd.Series] | None:
    """The first of the named columns for each part; None if the table has none of them."""
    if participants is None or "participant_id" not in participants.columns:
        return None
    name = column_named(participants, names)
    if name is None:
        return None
    by_id = participants.drop_duplicates("participant_id").set_index("participant_id")[name]
    by_id.index = by_id.index.astype(str)
    return {part: by_id.reindex([str(one) for one in ids]) for part, ids in parts.items()}


def column_named(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    """The first of some names that a table has as a column, in whatever case; None if none."""
    by_lower = {str(column).lower(): str(column) for column in table.columns}
    return next((by_lower[one] for one in names if one in by_lower), None)


def _missing(variable: str) -> dict[str, Any]:
    return {"variable": variable, "reason": NOT_RECORDED}


def _age_rows(ages: dict[str, pd.Series], groups: Mapping[str, str]) -> list[dict[str, Any]]:
    years = {part: pd.to_numeric(found, errors="coerce") for part, found in ages.items()}
    everyone = two_sample_t(years["train"].tolist(), years["test"].tolist())
    if everyone.n == 0:
        return [_missing("age")]
    units = [years[part].groupby(_units(years[part], groups)).mean() for part in ("train", "test")]
    found = two_sample_t(units[0].tolist(), units[1].tolist())
    known = {
        "variable": "age",
        "train_n": everyone.n_a,
        "train_mean": everyone.mean_a,
        "train_sd": everyone.sd_a,
        "test_n": everyone.n_b,
        "test_mean": everyone.mean_b,
        "test_sd": everyone.sd_b,
        "train_clusters": found.n_a,
        "test_clusters": found.n_b,
        "reason": found.reason,
    }
    student = {
        "test": "Student's t-test",
        "statistic": found.student_t,
        "df": found.student_df,
        "p": found.student_p,
    }
    welch = {
        "test": "Welch's t-test",
        "statistic": found.welch_t,
        "df": found.welch_df,
        "p": found.welch_p,
    }
    return [known | student, known | welch]


def _units(of: pd.Series, groups: Mapping[str, str]) -> list[str]:
    """The group of each participant of an index; a participant without one is one."""
    return [groups.get(str(person), str(person)) for person in of.index]


def _sex_rows(sexes: dict[str, pd.Series], groups: Mapping[str, str]) -> list[dict[str, Any]]:
    named = {part: [_sex(one) for one in found] for part, found in sexes.items()}
    others = sorted({*named["train"], *named["test"]} - {"M", "F", UNREPORTED})
    levels = ["M", "F", *others, UNREPORTED]
    counts = [[named[part].count(level) for part in ("train", "test")] for level in levels]
    if sum(map(sum, counts[:-1])) == 0:
        return [_missing("sex")]
    units = {part: _alike(named[part], _units(found, groups)) for part, found in sexes.items()}
    tested = [[units[part].count(level) for part in ("train", "test")] for level in levels]
    return [
        _chi_squared_row("chi-squared test", counts, tested),
        *[
            {"variable": "sex", "level": level, "train_n": train, "test_n": test}
            for level, (train, test) in zip(levels, counts, strict=True)
        ],
        _chi_squared_row("chi-squared test without unreported", counts[:-1], tested[:-1]),
    ]


def _alike(levels: Sequence[str], units: Sequence[str]) -> list[str]:
    """Level of each unit whose members have one and the same."""
    found = pd.Series(list(levels), dtype="str").groupby(list(units), sort=False)
    return [str(one.iloc[0]) for _, one in found if one.nunique() == 1]


def _chi_squared_row(test: str, counts: list[list[int]], tested: list[list[int]]) -> dict[str, Any]:
    found = chi_squared(tested)
    return {
        "variable": "sex",
        "train_n": sum(row[0] for row in counts),
        "test_n": sum(row[1] for row in counts),
        "train_clusters": sum(row[0] for row in tested),
        "test_clusters": sum(row[1] for row in tested),
        "test": test + (", Yates-corrected" if found.is_yates_corrected else ""),
        "statistic": found.statistic,
        "df": found.df,
        "p": found.p,
        "smallest_expected": found.smallest_expected,
        "reason": found.reason,
    }


def _sex(value: object) -> str:
    word = str(value).strip()
    if word.lower() in UNREPORTED_WORDS:
        return UNREPORTED
    return SEX_WORDS.get(word.lower(), word)


def _display_row(row: dict[str, Any]) -> dict[str, str]:
    """One row of the layout: what it is about, both parts, the p-value or why there is none."""
    p = row["reason"] or p_value(row["p"])
    train, test = "", ""
    if row["variable"] == "age":
        title = "Age in years (mean ± sd)"
        if row["test"].startswith("Welch"):
            title = "Age, variances not taken as equal"
        elif row["reason"] == NOT_RECORDED:
            train = test = NOT_RECORDED
        else:
            train, test = (
                mean_and_sd(row[f"{part}_mean"], row[f"{part}_sd"], 1) for part in ("train", "test")
            )
    elif row["level"]:
        title = row["level"]
        train = count_and_share(row["train_n"], row["train_total"])
        test = count_and_share(row["test_n"], row["test_total"])
        p = ""
    elif "without unreported" in row["test"]:
        title = "Sex, without unreported"
    else:
        title = "Sex"
        if row["reason"] == NOT_RECORDED:
            train = test = NOT_RECORDED
    if train == NOT_RECORDED:
        p = ""
    return {"Variables": title, "Train": train, "Test": test, "p-value": p}


def note_on_characteristics(numbers: pd.DataFrame) -> str:
    """Which tests were made, on how many, and where they are rough."""
    parts = []
    age = numbers[(numbers["variable"] == "age") & (numbers["test"] == "Student's t-test")]
    if len(age):
        row = age.iloc[0]
        parts.append(
            "Age: two-tailed unpaired t-test with equal variances, "
            f"{row['train_n']} and {row['test_n']} participants with known age."
        )
    sex = numbers[numbers["test"].str.startswith("chi-squared")]
    if len(sex):
        parts.append("Sex: chi-squared test with unreported as a category, and without.")
        smallest = sex["smallest_expected"].min()
        if smallest < 5:
            parts.append(
                f"The smallest expected count is {decimals(smallest, 1)}; below 5 the "
                "p-value of a chi-squared test is rough."
            )
    grouped = numbers[numbers["clustered_by"] != PARTICIPANT]
    if len(grouped):
        column = grouped["clustered_by"].iloc[0]
        parts.append(
            f"Tests take participants of one '{column}' as one observation, with their mean age; "
            "those of both sexes are in no test of sex."
        )
    return " ".join(parts)
