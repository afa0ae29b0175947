"""The model beside a second reader, and mirroring told short: against sums by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from acinus.evaluate import score_table
from acinus.evaluate.tables import (
    READINGS,
    display,
    display_human,
    human_table,
    mirroring_table,
    model_against,
    note,
)

LABELS = ("lacrimal_right", "lacrimal_left")


def row(case: str, label: str, metric: str, value: float, **what: str) -> dict:
    known = {"arm": "1 mm", "model": "final", "part": "holdout"} | what
    person = case.rsplit("_", 1)[0]
    return known | {
        "case": case,
        "participant": person,
        "label": label,
        "metric": metric,
        "value": value,
        "unit": "1",
        "status": "ok",
        "reason": "",
    }


@pytest.fixture
def scores() -> pd.DataFrame:
    """Three people with two cases each; two of them held out; the reader read all of them."""
    rows = []
    for person in "abc":
        for copy in "12":
            case = f"{person}_{copy}"
            for k, label in enumerate(LABELS):
                shade = 0.01 * (ord(person) - ord("a")) + 0.02 * k
                for name in ("second reader", "again"):
                    value = (0.7 if name == "second reader" else 0.95) + shade
                    rows.append(row(case, label, "dice", value, model=name, part=READINGS))
                if person != "a":
                    rows.append(row(case, label, "dice", 0.6 + 2 * shade))
                    against = model_against("second reader")
                    rows.append(row(case, label, "dice", 0.5, model=against, part=READINGS))
    return score_table(rows)


def test_reader_and_model_stand_on_the_same_cases_of_the_holdout(scores: pd.DataFrame) -> None:
    found = human_table(scores).set_index(["who", "label"])
    assert set(found.index.get_level_values("who")) == {"second reader", "model"}  # not "again"
    reader, model = (found.loc[(who, "lacrimal_left")] for who in ("second reader", "model"))
    assert (reader["n"], reader["n_participants"], model["n"]) == (4, 2, 4)
    assert reader["mean"] == pytest.approx(np.mean([0.73, 0.74]))
    assert model["mean"] == pytest.approx(np.mean([0.66, 0.68]))
    assert model["difference"] == pytest.approx(-0.065)
    assert np.isnan(model["difference_low"])  # of two people there is no interval
    assert found.loc[("model", "all"), "n"] == 8
    shown = display_human(human_table(scores), published={"lacrimal_right": (0.68, 0.1)})
    assert list(shown.columns) == [
        "Organ",
        "n",
        "Second reader",
        "Model, 1 mm",
        "Published readers",
    ]
    assert list(shown["Published readers"]) == ["0.68 ± 0.10", "–", "–"]
    assert shown.loc[0, "n"] == "4 in 2"


def test_what_could_not_be_judged_for_one_is_left_out_for_all(scores: pd.DataFrame) -> None:
    read = (scores["model"] == "second reader") & (scores["case"] == "b_1")
    seen = (scores["model"] == "final") & (scores["case"] == "c_2")
    lost = scores.copy()
    lost.loc[read | seen, ["value", "status", "reason"]] = [np.nan, "failed", "another grid"]
    found = human_table(lost).set_index(["who", "label"])
    kept = scores[~scores["case"].isin(["b_1", "c_2"])]
    for who, part in (("second reader", READINGS), ("model", "holdout")):
        one = found.loc[(who, "lacrimal_left")]
        name = "final" if who == "model" else who
        rows = kept[(kept["model"] == name) & (kept["part"] == part)]
        rows = rows[(rows["label"] == "lacrimal_left") & (rows["participant"] != "a")]
        assert (one["n"], one["n_failed"]) == (2, 2)
        assert one["mean"] == pytest.approx(rows["value"].mean())
    assert "Up to 2 structures of a row could not be judged" in note(
        "human_table", human_table(lost)
    )


def test_a_reading_of_one_dataset_stands_once_for_all_arms(scores: pd.DataFrame) -> None:
    both = pd.concat([scores, scores.assign(arm="9 mm")], ignore_index=True)
    shown = display("human_table", human_table(both))
    assert list(shown.columns) == ["Organ", "n", "Second reader", "Model, 1 mm", "Model, 9 mm"]
    other = both.copy()
    moved = (other["arm"] == "9 mm") & (other["model"] == "second reader")
    other.loc[moved, "value"] -= 0.2
    shown = display("human_table", human_table(other))
    assert [name for name in shown.columns if "reader" in name] == [
        "Second reader (1 mm)",
        "Second reader (9 mm)",
    ]
    assert "same" not in note("human_table", human_table(scores.iloc[:0]))


def test_mirroring_sums_what_lies_on_the_wrong_side() -> None:
    rows = []
    for model, wrong in (("final", 0.0), ("train.mirroring=plain", 2.0)):
        for case in ("a_1", "b_1"):
            for label in LABELS:
                is_wrong = wrong and case == "b_1"
                for metric, value in {
                    "dice": 0.5 if is_wrong else 0.9,
                    "side_errors": wrong if case == "b_1" else 0.0,
                    "side_error_ml": 0.25 * wrong if case == "b_1" else 0.0,
                    "reference_volume_ml": 1.0,
                    "prediction_volume_ml": 1.0,
                }.items():
                    rows.append(row(case, label, metric, value, model=model))
    models = {"swap": "final", "plain": "train.mirroring=plain", "none": "train.mirroring=none"}
    found = mirroring_table(score_table(rows), models).set_index("mirroring")
    assert list(found.index) == ["swap", "plain"]  # none was not trained
    assert found.loc["swap", "side_errors"] == 0
    plain = found.loc["plain"]
    assert (plain["side_errors"], plain["structures_with_errors"]) == (4, 2)
    assert plain["structures_judged"] == 4
    assert plain["side_error_ml"] == pytest.approx(1.0)
    assert plain["dice"] == pytest.approx(0.7)
    shown = display("mirroring_table", found.reset_index())
    assert (shown.loc[1, "n"], shown.loc[1, "Undefined, failed"]) == ("4", "0, 0")
    assert shown.loc[1, "Share of the predicted volume"] == "25.0%"
