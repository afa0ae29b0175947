"""Two factors of the sequences, such as contrast agent and fat suppression: what each adds.

Enters: scores of four arms that have both, one or none of two factors, on the same cases. Leaves:
the main effect of each factor and their interaction, within patients, with intervals. Comparing
the sequence that has both with the one that has none was rejected: it cannot tell the factors
apart, which is the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import (
    COUNTS,
    group_words,
    note_on_clusters,
    observed,
    people_words,
)
from acinus.evaluate.structures import select, structures
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.summaries import on_lines, shown_table
from acinus.evaluate.wording import metric_title, p_value, signed
from acinus.measure import MEASURES
from acinus.measure.statistics import adjusted_p, paired_difference
from acinus.measure.statistics.bootstrap import SEED

INTERACTION = "interaction"
"""Effect that neither factor has alone."""

FACTOR_COLUMNS: dict[str, Kind] = {
    "effect": "str",
    "of": "str",
    "measure": "str",
    "n": "int64",
    "n_undefined": "int64",
    **COUNTS,
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "bootstrap_low": "float64",
    "bootstrap_high": "float64",
    "p": "float64",
    "p_adjusted": "float64",
    "reason": "str",
}
"""effect: name of a factor, or ``interaction``; of: which sequences are subtracted; n: structures
with a value in all four arms; difference: > 0 if the factor makes it better, mean over clusters
with its 95% intervals by t and by bootstrap; p: paired t-test, two-sided, and corrected by Holm
over the three effects."""


def factor_table(
    scores: pd.DataFrame,
    cells: Mapping[tuple[bool, bool], str],
    factors: tuple[str, str],
    *,
    measure: str = "dice",
    model: str = "final",
    seed: int = SEED,
) -> pd.DataFrame:
    """Main effects and interaction of two factors on the hold-out.

    With y(a, b) the value of a structure by the arm that has the first factor if a and the second
    if b: the main effect of the first is the mean of y(1, b) - y(0, b) over b; the interaction is
    [y(1, 1) - y(1, 0)] - [y(0, 1) - y(0, 0)], by how much more the second factor adds where the
    first is there.

    Args:
        scores: Score table.
        cells: Whether an arm has the first and the second factor, to the arm; all four.
        factors: Names of the factors.
        measure: What is compared; where lower is better, differences are turned round.
        model: Which model of each arm.
        seed: Of the bootstrap.

    Returns:
        Columns of `FACTOR_COLUMNS`, three rows; empty without scores.

    Source: Fisher 1935, The Design of Experiments, chapter VI.
    """
    wide = structures(select(scores, model=model, part="holdout"))
    if measure not in wide:
        return table_of([], FACTOR_COLUMNS)
    sign = 1.0 if MEASURES[measure].factory.better == "higher" else -1.0
    chosen = wide[wide["arm"].isin(list(cells.values()))]
    values = chosen.set_index(["participant", "cluster", "case", "label", "arm"])[measure].unstack(
        "arm"
    )
    values = sign * values.reindex(columns=list(cells.values()))
    people = values.index.to_frame(index=False)
    units = [str(one) for one in people["cluster"]]
    rows: list[dict[str, Any]] = []
    for name, scale, plus, minus in _contrasts(cells, factors):
        found = paired_difference(
            (scale * values[plus].mean(axis=1, skipna=False)).tolist(),
            (scale * values[minus].mean(axis=1, skipna=False)).tolist(),
            units,
            seed=seed,
        )
        rows.append(
            {
                "effect": name,
                "of": f"{', '.join(plus)} minus {', '.join(minus)}",
                "measure": measure,
                "n": found.n,
                "n_undefined": found.n_undefined,
                **observed(people[values.notna().all(axis=1).to_numpy()]),
                "difference": found.mean,
                "low": found.t_low,
                "high": found.t_high,
                "bootstrap_low": found.low,
                "bootstrap_high": found.high,
                "p": found.t_p,
                "reason": found.reason,
            }
        )
    corrected = adjusted_p([row["p"] for row in rows]).p
    return table_of(
        [row | {"p_adjusted": p} for row, p in zip(rows, corrected, strict=True)], FACTOR_COLUMNS
    )


def factor_sentence(numbers: pd.DataFrame) -> str:
    """The three effects in words."""
    rows = records(numbers)
    first, second = (str(row["effect"]).replace("_", " ") for row in rows[:2])
    effects = "; ".join(
        f"{str(row['effect']).replace('_', ' ')} {_effect(row).replace(chr(10), ' ')}, p "
        f"{p_value(row['p_adjusted'])}"
        for row in rows
    )
    return (
        f"What each factor adds to {metric_title(rows[0]['measure'])} in the four single sequences "
        f"({people_words(rows[0])}; 95% intervals; p corrected by Holm): {effects}. "
        f"The interaction is by how much more {second} adds with {first} than without."
    )


def display_factors(numbers: pd.DataFrame, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A row an effect."""
    return shown_table(
        [
            {
                "Effect": str(row["effect"]).replace("_", " ").capitalize(),
                "Sequences": row["of"].replace(" minus ", "\nminus "),
                "n": f"{row['n']} in {row['n_participants']}{group_words(row)}",
                f"{metric_title(row['measure'])}\n(95% interval)": _effect(row),
                "p\n(Holm)": f"{p_value(row['p'])}\n({p_value(row['p_adjusted'])})",
            }
            for row in records(numbers)
        ],
        ("Effect", "n"),
    )


def note_on_factors(numbers: pd.DataFrame) -> str:
    """What the effects are, and what counts as one observation."""
    return f"{_NOTE_ON_FACTORS} {note_on_clusters(numbers)}"


_NOTE_ON_FACTORS = (
    "Single sequences only; n: structures that have a value with all four, in participants. Main "
    "effect: with the factor minus without it, mean of both states of the other factor. "
    "Interaction: by how much more the second factor adds where the first is there. > 0 is better. "
    "Within units, one value each; 95% interval by t; p: paired t-test, two-sided, in "
    "brackets corrected by Holm over the three effects."
)


def _contrasts(
    cells: Mapping[tuple[bool, bool], str], factors: tuple[str, str]
) -> list[tuple[str, float, list[str], list[str]]]:
    """Effect, scale, arms whose mean is taken and arms whose mean is subtracted."""
    neither, second, first, both = (
        cells[a, b] for a, b in ((False, False), (False, True), (True, False), (True, True))
    )
    return [
        (factors[0], 1.0, [first, both], [neither, second]),
        (factors[1], 1.0, [second, both], [neither, first]),
        # (both - first) - (second - neither), a sum of four and not a mean of two.
        (INTERACTION, 2.0, [neither, both], [first, second]),
    ]


def _effect(row: Mapping[str, Any]) -> str:
    return on_lines(signed(row["difference"], 3), row["low"], row["high"], 3)
