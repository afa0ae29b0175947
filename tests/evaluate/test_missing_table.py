"""What a missing channel costs, against SciPy and by hand."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from acinus.evaluate import score_table
from acinus.evaluate.tables import MISSING_CHANNELS, display, missing_table, note, without_words
from acinus.measure.statistics.bootstrap import FEWEST_CLUSTERS

UNITS = {"dice": "1", "hausdorff_95_mm": "mm"}


def rows(case: str, label: str, dice: float | None, **more: str) -> list[dict[str, Any]]:
    """Rows of a structure; Dice 0 was missed and has no distance, Dice None was never drawn."""
    drawn = 0.0 if dice is None else 2.0
    found = 0.0 if not dice else 2.0
    values = {
        "dice": dice,
        "hausdorff_95_mm": 10 * (1 - dice) if dice else None,
        "reference_volume_ml": drawn,
        "prediction_volume_ml": found,
    }
    reason = "both masks empty" if dice is None else "prediction empty"
    return [
        {
            "case": case,
            "participant": case.split("-")[0],
            "arm": "Orbit",
            "model": "final",
            "part": "holdout",
            "label": label,
            "metric": metric,
            "value": math.nan if value is None else value,
            "unit": UNITS.get(metric, "mL"),
            "status": "undefined" if value is None else "ok",
            "reason": reason if value is None else "",
            **more,
        }
        for metric, value in values.items()
    ]


WHOLE = {"right": [0.9, 0.8, 0.85, 0.88], "left": [0.7, 0.75, 0.72, 0.8]}
NO_T1 = {"right": [0.85, 0.8, 0.7, 0.8], "left": [0.6, 0.0, 0.7, 0.78]}
NO_T2 = {"right": [0.9, 0.79, 0.86, 0.87], "left": [0.7, 0.76, 0.7, None]}
CASES = ["p1-a", "p1-b", "p2-a", "p3-a"]
"""The first two are of one participant."""


def scores_of(**changes: str) -> pd.DataFrame:
    groups = [(WHOLE, {}), (NO_T1, left_out("T1")), (NO_T2, left_out("T2"))]
    return score_table(
        [
            row
            for values, more in groups
            for label, dices in values.items()
            for case, dice in zip(CASES, dices, strict=True)
            for row in rows(case, label, dice, **(more | changes))
        ]
    )


@functools.cache
def made_table() -> pd.DataFrame:
    return missing_table(scores_of())


def left_out(*channels: str) -> dict[str, str]:
    return {"part": MISSING_CHANNELS, "model": without_words(channels)}


def row_of(table: pd.DataFrame, missing: str, label: str, metric: str = "dice") -> dict[str, Any]:
    found = table[
        (table["missing"] == missing) & (table["label"] == label) & (table["metric"] == metric)
    ]
    assert len(found) == 1
    return found.iloc[0].to_dict()


def by_participant(
    first: dict[str, list], second: dict[str, list], labels: list[str]
) -> np.ndarray:
    """Mean difference of each participant over the structures that have both values."""
    people: dict[str, list[float]] = {}
    for label in labels:
        for case, a, b in zip(CASES, first[label], second[label], strict=True):
            if a is not None and b is not None:
                people.setdefault(case.split("-")[0], []).append(a - b)
    return np.array([np.mean(one) for one in people.values()])


@pytest.mark.parametrize("label", ["right", "left", "all"])
def test_differences_are_paired_by_participant_and_corrected_by_holm(label: str) -> None:
    labels = ["right", "left"] if label == "all" else [label]
    table = made_table()
    p = {}
    for name, values in (("T1", NO_T1), ("T2", NO_T2)):
        found = row_of(table, name, label)
        differences = by_participant(values, WHOLE, labels)
        assert found["difference"] == pytest.approx(differences.mean(), abs=1e-12)
        assert found["t_p"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=1e-12)
        if len(differences) >= FEWEST_CLUSTERS:
            assert found["difference_low"] <= found["difference"] <= found["difference_high"]
        else:
            assert np.isnan(found["difference_low"])
        known = [one for each in labels for one in values[each] if one is not None]
        assert found["mean"] == pytest.approx(np.mean(known))
        assert (found["n"], found["n_participants"]) == (len(known), len(differences))
        assert found["compared_with"] == "nothing"
        p[name] = found["t_p"]
    small, large = sorted(p, key=lambda name: p[name])
    assert row_of(table, small, label)["t_p_corrected"] == pytest.approx(min(1, 2 * p[small]))
    corrected = row_of(table, large, label)["t_p_corrected"]
    assert corrected == pytest.approx(min(1, max(2 * p[small], p[large])))


def test_missed_and_undefined_structures_are_counted_and_not_dropped() -> None:
    table = made_table()
    assert row_of(table, "T1", "left")["n_missed"] == 1
    assert row_of(table, "T1", "all")["n_missed"] == 1
    assert row_of(table, "T1", "left")["n"] == 4, "a missed structure has a Dice of 0"
    assert row_of(table, "T1", "left", "hausdorff_95_mm")["n_undefined"] == 1
    assert row_of(table, "T2", "left")["n_undefined"] == 1
    assert row_of(table, "nothing", "all")["n_missed"] == 0
    assert row_of(table, "nothing", "all")["n"] == 8


def test_cases_that_lack_a_channel_by_themselves_are_not_compared() -> None:
    alone = score_table([row for label in WHOLE for row in rows("p9-a", label, 0.1)])
    whole = made_table()
    pd.testing.assert_frame_equal(missing_table(pd.concat([alone, scores_of()])), whole)


def test_arms_are_told_apart_and_other_rows_change_nothing() -> None:
    other = scores_of(arm="Other")
    table = missing_table(pd.concat([scores_of(), other], ignore_index=True))
    assert set(table["arm"]) == {"Orbit", "Other"}
    first = table[table["arm"] == "Orbit"].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, made_table())
    plain = score_table(
        [row for part in ("holdout", "validation") for row in rows("p1-a", "right", 0.5, part=part)]
    )
    assert missing_table(plain).empty, "nothing was left out there"
    mixed = pd.concat([scores_of(), plain.assign(arm="Plain")], ignore_index=True)
    pd.testing.assert_frame_equal(missing_table(mixed), made_table())
    assert list(missing_table(plain).columns) == list(table.columns)


def test_the_page_has_a_row_for_each_set_and_says_what_it_is_over() -> None:
    numbers = made_table()
    shown = display("missing_table", numbers)
    assert list(shown["Missing"]) == ["nothing", "T1", "T2"]
    assert list(shown["n"]) == ["8 (3)", "8 (3)", "7 (3)"]
    assert list(shown["Missed"]) == ["0", "1", "0"]
    assert list(shown["Undefined"]) == ["0", "0", "1"]
    cells = shown.set_index("Missing")
    difference = next(name for name in shown.columns if "difference" in name)
    assert cells.loc["nothing", difference] == "compared with"
    assert cells.loc["T1", difference].startswith("−0.")
    assert cells.loc["T1", "Right"].startswith("0.79 ± ")
    words = note("missing_table", numbers)
    assert "zero in their place" in words and "Holm" in words
    assert display("missing_table", numbers.iloc[:0]).empty
