"""What comparing gave, for programs and for people.

Enters: rows of comparisons. Leaves: a table and sentences about what it rests on,
and data for JSON. Stars for small p-values were rejected: they hide how large a
difference is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import note_on_clusters
from acinus.evaluate.comparing.contestants import Structure
from acinus.evaluate.comparing.rows import PAIRED, UNPAIRED
from acinus.evaluate.comparing.subgroups import Grouping
from acinus.evaluate.tables.numbers import records
from acinus.evaluate.wording import (
    NONE,
    decimals,
    interval,
    label_title,
    metric_title,
    p_value,
    signed,
)
from acinus.progress import plural

CENTRE = "centre"
"""What rows of external tables are by."""

DROP = "Drop from A to B, %"

MOST_LISTED = 8
"""Most cases that a sentence lists; all stand in ``missing.csv`` and JSON."""


@dataclass(frozen=True)
class Lack:
    """Structures that one contestant has no row for and another has.

    Attributes:
        contestant: Who lacks them.
        other: Who has them.
        structures: Case and label, sorted.
    """

    contestant: str
    other: str
    structures: tuple[Structure, ...]


@dataclass(frozen=True)
class Comparisons:
    """What comparing gave.

    Attributes:
        table: `COMPARISON_COLUMNS`, a row for each comparison.
        contestants: Name to score table, in order; external ones last.
        parts: Name to the part of its table that was compared.
        measures: Names, in order.
        correction: The way p-values were corrected, in words.
        lacks: What each contestant of a pair lacks, where it lacks something.
        groupings: Subgroups, in order.
    """

    table: pd.DataFrame
    contestants: Mapping[str, Path]
    parts: Mapping[str, str]
    measures: tuple[str, ...]
    correction: str
    lacks: tuple[Lack, ...]
    groupings: tuple[Grouping, ...]

    def shown(self) -> pd.DataFrame:
        """A row of texts for each comparison; without unpaired ones there are no drops."""
        table = pd.DataFrame([_texts(row) for row in records(self.table)])
        has_drops = (self.table["kind"] == UNPAIRED).any()
        return table if has_drops else table.drop(columns=DROP)

    def blocks(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """For each pair of sides a heading and the rows without what the heading says."""
        for (a, b), rows in self.shown().groupby(["A", "B"], sort=False):
            empty = [DROP] if DROP in rows and (rows[DROP] == NONE).all() else []
            yield f"A: {a}   B: {b}", rows.drop(columns=["A", "B", *empty])

    def notes(self) -> list[str]:
        """Sentences: how it was tested and corrected, and what was left out."""
        return [
            f"Part: {_parts_words(self.parts)}. {_unit_sentence(self.table)}",
            *_test_sentences(self.table),
            *(text for one in self.groupings for text in _group_sentences(one)),
            *(_lack_sentence(lack) for lack in self.lacks),
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON-able data; None where there is no number."""
        return {
            "parts": dict(self.parts),
            "measures": list(self.measures),
            "correction": self.correction,
            "contestants": {name: str(path) for name, path in self.contestants.items()},
            "groups": [
                {
                    "column": one.column,
                    "edges": list(one.edges),
                    "n_participants": {group: len(those) for group, those in one.members.items()},
                    "unknown": list(one.unknown),
                }
                for one in self.groupings
            ],
            "missing": [
                {"contestant": lack.contestant, "other": lack.other, "case": case, "label": label}
                for lack in self.lacks
                for case, label in lack.structures
            ],
            "comparisons": [
                {key: None if _is_gap(value) else value for key, value in row.items()}
                for row in records(self.table)
            ],
        }


def _parts_words(parts: Mapping[str, str]) -> str:
    """``holdout``, or the part of each contestant where they differ."""
    found = list(dict.fromkeys(parts.values()))
    if len(found) == 1:
        return found[0]
    return ", ".join(f"{part} of '{name}'" for name, part in parts.items())


def _texts(row: Mapping[str, Any]) -> dict[str, str]:
    places = 3 if row["unit"] in ("1", "") else 2
    rank_p = _p_pair(row["rank_p"], row["rank_p_corrected"])
    return {
        "A": _side(row, "a"),
        "B": _side(row, "b"),
        "Measure": metric_title(row["metric"]),
        "Label": label_title(row["label"]),
        "Cases (units)": _counts(row),
        "Mean A": decimals(row["mean_a"], places),
        "Mean B": decimals(row["mean_b"], places),
        "A − B (95% interval)": _estimate(row["difference"], row["low"], row["high"], places),
        DROP: _estimate(row["drop_percent"], row["drop_low"], row["drop_high"], 1),
        "Hedges' g (95% interval)": _estimate(row["hedges_g"], row["g_low"], row["g_high"], 2),
        "p of t, corrected": _p_pair(row["t_p"], row["t_p_corrected"]),
        "p of ranks, corrected": f"{rank_p} {row['rank_method']}".rstrip(),
        "Left out": _left_out(row),
    }


def _unit_sentence(table: pd.DataFrame) -> str:
    """What counts as one observation, and how many there are."""
    both = [
        table[["clustered_by", *names.values()]].rename(columns={v: k for k, v in names.items()})
        for names in (
            {f"n_{what}": f"n_{what}_{side}" for what in ("participants", "clusters")}
            for side in ("a", "b")
        )
    ]
    return f"{note_on_clusters(pd.concat(both))} Intervals are 95% bootstrap intervals."


def _test_sentences(table: pd.DataFrame) -> Iterator[str]:
    kinds = set(table["kind"])
    if PAIRED in kinds:
        yield (
            "Same cases: paired t-test; Wilcoxon signed-rank test, differences of 0 dropped; "
            "Hedges' g of the differences. All tests are two-sided."
        )
    if UNPAIRED in kinds:
        yield (
            "Different patients: Welch's unpaired t-test, Mann-Whitney test, both two-sided; "
            "Hedges' g by the pooled deviation; a drop below 0 is a rise."
        )
    n_t, n_ranks = (int(table[name].iloc[0]) for name in ("n_t_tests", "n_rank_tests"))
    yield (
        f"p, then p corrected by {table['correction'].iloc[0]} over {n_t} {plural('t-test', n_t)} "
        f"and, apart, {n_ranks} rank {plural('test', n_ranks)}."
    )


def _group_sentences(grouping: Grouping) -> Iterator[str]:
    if grouping.edges:
        edges = ", ".join(f"{edge:g}" for edge in grouping.edges)
        yield f"{grouping.column} is cut at {edges}, quantiles of the patients compared."
    if grouping.unknown:
        n = len(grouping.unknown)
        listed = _listed(list(grouping.unknown))
        yield f"{n} {plural('patient', n)} without {grouping.column}, in no group of it: {listed}."


def _is_gap(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _side(row: Mapping[str, Any], side: str) -> str:
    if not row["by"] or row["by"] == CENTRE:
        return str(row[side])
    return f"{row[side]}, {row['by']} {row[f'group_{side}']}"


def _counts(row: Mapping[str, Any]) -> str:
    sides = [f"{row[f'n_cases_{side}']} ({row[f'n_clusters_{side}']})" for side in ("a", "b")]
    return sides[0] if row["kind"] == PAIRED else " / ".join(sides)


def _estimate(value: float, low: float, high: float, places: int) -> str:
    if math.isnan(value):
        return NONE
    ends = "" if math.isnan(low) else f" ({interval(low, high, places)})"
    return signed(value, places) + ends


def _p_pair(p: float, corrected: float) -> str:
    return NONE if math.isnan(p) else f"{p_value(p)}, {p_value(corrected)}"


def _left_out(row: Mapping[str, Any]) -> str:
    parts = []
    for side in ("a", "b"):
        counts = [
            f"{row[f'n_{what}_{side}']} {what}"
            for what in ("missing", "undefined", "failed")
            if row[f"n_{what}_{side}"]
        ]
        parts += [f"{side.upper()}: {', '.join(counts)}"] if counts else []
    if row["n_not_annotated"]:
        parts.append(f"{row['n_not_annotated']} not annotated")
    parts += [row["reason"]] if row["reason"] else []
    return "; ".join(parts) or "0"


def _lack_sentence(lack: Lack) -> str:
    n = len(lack.structures)
    listed = _listed([f"{case} {label}" for case, label in lack.structures])
    return f"'{lack.contestant}' lacks {n} {plural('structure', n)} of '{lack.other}': {listed}."


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
