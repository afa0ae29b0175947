"""Structure by structure: a model beside a second reader, on the same cases.

Enters: scores of a model's hold-out and of part ``readings``. Leaves: a row per arm, who and label;
for people the readers and the arms side by side. Both are scored against the first reading, so that
either number says how far somebody lies from the same drawing. Whether the model is no worse than
the readers is another question, with a margin: see `acinus.evaluate.tables.readings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from acinus.evaluate.clusters import COUNTS, note_on_clusters, with_clusters
from acinus.evaluate.score_table import annotated_scores
from acinus.evaluate.structures import select
from acinus.evaluate.tables.evaluation import summary_row
from acinus.evaluate.tables.numbers import Kind, records, table_of
from acinus.evaluate.tables.readings import READINGS, model_against
from acinus.evaluate.tables.summaries import shown_table
from acinus.evaluate.wording import ALL_LABELS, NONE, interval, label_title, mean_and_sd, signed
from acinus.measure.statistics import paired_difference
from acinus.measure.statistics.bootstrap import SEED

HUMAN_COLUMNS: dict[str, Kind] = {
    "arm": "str",
    "who": "str",
    "label": "str",
    "n": "int64",
    "n_undefined": "int64",
    "n_failed": "int64",
    **COUNTS,
    "mean": "float64",
    "sd": "float64",
    "low": "float64",
    "high": "float64",
    "difference": "float64",
    "difference_low": "float64",
    "difference_high": "float64",
}
"""who: a reading, or ``model``; all of an arm are over the same structures, n_failed of which
could not be judged for one of them and are in no figure; mean to high: Dice against the first
reading, with the bootstrapped 95% interval of the mean over clusters; difference: model minus the
first of the readings, NaN for readings."""

MODEL = "model"

Published = Mapping[str, tuple[float, float]]
"""Label to the mean and the standard deviation of a published agreement of readers."""


def human_table(scores: pd.DataFrame, *, seed: int = SEED) -> pd.DataFrame:
    """Dice of the second readers and of the model, on the cases of the hold-out.

    Args:
        scores: Score table; readings that repeat the first one are left out.
        seed: Of the bootstrap.

    Returns:
        The columns of `HUMAN_COLUMNS`; a row over all labels ends each group.
    """
    dice = annotated_scores(scores[scores["metric"] == "dice"])
    tested = select(dice, model="final", part="holdout")
    read = select(dice, part=READINGS)
    rows: list[dict[str, Any]] = []
    for arm, own in tested.groupby("arm", sort=False):
        of_arm = read[read["arm"] == arm]
        names = [
            name for name in dict.fromkeys(of_arm["model"])
            if (read["model"] == model_against(str(name))).any()
        ]  # fmt: skip
        readers = {str(name): of_arm[of_arm["model"] == name] for name in names}
        if not readers:
            continue
        given = _in_all([own, *readers.values()])
        judged = _in_all([one[one["status"] != "failed"] for one in (own, *readers.values())])
        (model, *found) = (_of_keys(one, judged) for one in (own, *readers.values()))
        labels = list(dict.fromkeys(own["label"]))
        for label in [*labels, *([ALL_LABELS] if len(labels) > 1 else [])]:
            lost = [key for key in given - judged if label in (key[1], ALL_LABELS)]
            known = {"arm": arm, "label": label, "n_failed": len(lost)}
            for name, reader in zip(readers, found, strict=True):
                row = known | {"who": name} | _summary(_of(reader, label), seed)
                rows.append(row | dict.fromkeys(_DIFFERENCE))
            row = known | {"who": MODEL} | _summary(_of(model, label), seed)
            rows.append(row | _difference(_of(model, label), _of(found[0], label), seed))
    return table_of(rows, HUMAN_COLUMNS)


_DIFFERENCE = ("difference", "difference_low", "difference_high")


Key = tuple[str, str]
"""Case and label."""


def _keys(scores: pd.DataFrame) -> list[Key]:
    return list(zip(scores["case"].astype(str), scores["label"].astype(str), strict=True))


def _in_all(scores: Sequence[pd.DataFrame]) -> set[Key]:
    """Structures that every one has."""
    return set.intersection(*(set(_keys(one)) for one in scores))


def _of_keys(scores: pd.DataFrame, keys: set[Key]) -> pd.DataFrame:
    return scores[[key in keys for key in _keys(scores)]]


def _of(scores: pd.DataFrame, label: str) -> pd.DataFrame:
    return scores if label == ALL_LABELS else scores[scores["label"] == label]


def _summary(found: pd.DataFrame, seed: int) -> dict[str, Any]:
    names = ("n", "n_undefined", *COUNTS, "mean", "sd", "low", "high")
    if found.empty:
        nothing = {name: 0 if name.startswith("n") else None for name in names}
        return nothing | {"clustered_by": ""}
    row = summary_row(found, "dice", seed)
    return {name: row[name] for name in names}


def _difference(model: pd.DataFrame, reader: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Model minus reader, over structures, clusters resampled."""
    keys = ["case", "cluster", "label"]
    one, other = (with_clusters(scores)[[*keys, "value"]] for scores in (model, reader))
    both = one.merge(other, on=keys)
    found = paired_difference(
        both["value_x"].tolist(), both["value_y"].tolist(), both["cluster"].tolist(), seed=seed
    )
    return dict(zip(_DIFFERENCE, (found.mean, found.low, found.high), strict=True))


def display_human(
    numbers: pd.DataFrame,
    names: Mapping[str, str] | None = None,
    published: Published | None = None,
) -> pd.DataFrame:
    """A row a structure: n, readers, the model of each arm, and published readers if given."""
    rows: dict[str, dict[str, str]] = {}
    arms = list(dict.fromkeys(numbers["arm"]))
    shared = _same_in_all(numbers, arms)
    for row in records(numbers):
        cells = rows.setdefault(row["label"], {"Organ": label_title(row["label"], names)})
        cells.setdefault("n", f"{row['n']} in {row['n_participants']}")
        cell = mean_and_sd(row["mean"], row["sd"])
        if row["who"] != MODEL:
            heading = str(row["who"]) if shared else f"{row['who']} ({row['arm']})"
            heading = heading[0].upper() + heading[1:]
            cells.setdefault(heading, f"{cell}\n({interval(row['low'], row['high'])})")
            continue
        ends = interval(row["difference_low"], row["difference_high"])
        cells[f"Model, {row['arm']}"] = f"{cell}\n{signed(row['difference'])} ({ends})"
    if published:
        for label, cells in rows.items():
            known = published.get(label)
            cells["Published readers"] = NONE if known is None else mean_and_sd(*known)
    return shown_table(list(rows.values()), ("Organ", "n"))


def _same_in_all(numbers: pd.DataFrame, arms: Sequence[str]) -> bool:
    """Whether the readings say the same in all arms, which are then one dataset."""
    read = numbers[numbers["who"] != MODEL]
    found = [read[read["arm"] == arm].drop(columns="arm").reset_index(drop=True) for arm in arms]
    return all(one.equals(found[0]) for one in found)


def note_on_human(numbers: pd.DataFrame) -> str:
    """What stands beside what."""
    undefined = int(numbers["n_undefined"].max()) if len(numbers) else 0
    gaps = (
        f" Up to {undefined} structures of a column were drawn by neither and are in no mean."
        if undefined
        else ""
    )
    failed = (
        int(numbers.loc[numbers["label"] != ALL_LABELS, "n_failed"].max()) if len(numbers) else 0
    )
    if failed:
        gaps += (
            f" Up to {failed} structures of a row could not be judged for the model or a reader, "
            "and are left out for all."
        )
    return (
        "Dice against the first reading, on the structures of the hold-out that all have: of the "
        "second reader, with the 95% interval of the mean below, and of the model of each scan "
        "type, with its difference to the reader and the interval of that; n: structures in "
        "participants. A structure that one drew and the other did not counts 0."
        f"{gaps} {note_on_clusters(numbers)}"
    )
