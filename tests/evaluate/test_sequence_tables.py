"""Which sequences are needed: verdicts, correction, the smallest set, effects of two factors."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from acinus.evaluate.score_table import SCORE_COLUMNS
from acinus.evaluate.tables import (
    display,
    factor_sentence,
    factor_table,
    sequence_sentence,
    sequence_table,
    smallest_set,
)
from acinus.evaluate.tables.sequences import ONE_SIDED_LEVEL

LABELS = ("gland_right", "gland_left")
CHANNELS = ("A", "B", "C")
SETS = {"+".join(s): s for n in (1, 2, 3) for s in combinations(CHANNELS, n)}
N_PATIENTS = 12


def scores(
    loss: dict[str, float], *, noise: float = 0.01, metric: str = "dice", seed: int = 3
) -> pd.DataFrame:
    """Two glands of each patient by every arm; the second gland has the errors of the first."""
    rng = np.random.default_rng(seed)
    people = rng.normal(0.8, 0.05, N_PATIENTS)
    rows = []
    for arm, short in loss.items():
        errors = rng.normal(0, noise, N_PATIENTS)
        for number, (patient, error) in enumerate(zip(people, errors, strict=True)):
            for label in LABELS:
                rows.append(row(arm, number, label, metric, patient - short + error))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def row(arm: str, number: int, label: str, metric: str, value: float) -> dict[str, object]:
    is_known = bool(np.isfinite(value))
    return {
        "case": f"case{number}", "participant": f"p{number}", "arm": arm, "model": "final",
        "part": "holdout", "label": label, "metric": metric, "value": value, "unit": "",
        "status": "ok" if is_known else "undefined", "reason": "" if is_known else "made",
    }  # fmt: skip


def of(table: pd.DataFrame, name: str) -> pd.Series:
    return table.set_index("set").loc[name]


LOSS = {"A": 0.2, "B": 0.01, "C": 0.005, "A+B": 0.0, "A+C": 0.2, "B+C": 0.0, "A+B+C": 0.0}


def test_a_set_is_judged_by_patients_against_the_full_one() -> None:
    table = sequence_table(scores(LOSS), SETS, margin=0.05)
    assert list(table["set"]) == list(SETS)
    assert list(table["role"]) == ["subset"] * 6 + ["full"]
    verdicts = table.set_index("set")["verdict"]
    assert verdicts["A"] == verdicts["A+C"] == "inferior"
    assert set(verdicts[["B", "C", "A+B", "B+C"]]) == {"not inferior"}
    assert verdicts["A+B+C"] == ""
    wide = scores(LOSS).pivot_table(index="participant", columns="arm", values="value")
    differences = wide["B"] - wide["A+B+C"]
    expected = stats.ttest_1samp(differences, -0.05, alternative="greater")
    found = of(table, "B")
    assert (found["n"], found["n_pairs"], found["n_participants"]) == (24, 24, 12)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert found["difference"] == pytest.approx(differences.mean())
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))


def test_the_smallest_set_has_fewest_sequences_and_then_the_best_mean() -> None:
    table = sequence_table(scores(LOSS), SETS, margin=0.05)
    chosen = smallest_set(table)
    assert chosen is not None
    assert chosen["set"] == max("BC", key=lambda name: of(table, name)["mean"])
    words = sequence_sentence(table)
    assert f"is {chosen['set']} (" in words and "of 2 such sets of this size" in words
    assert "4 not inferior, 2 inferior, 0 undecided of 6 sets" in words


def test_no_set_is_named_where_none_is_shown_to_be_enough() -> None:
    unsure = scores(LOSS, noise=0.3)
    table = sequence_table(unsure, SETS, margin=0.01)
    assert "not inferior" not in set(table["verdict"])
    assert smallest_set(table) is None
    assert sequence_sentence(table).startswith("No smaller set is shown to be not inferior")


def test_a_verdict_that_the_number_of_sets_takes_away_is_undecided() -> None:
    for seed in range(40):
        close = scores(dict.fromkeys(SETS, 0.0), noise=0.045, seed=seed)
        table = sequence_table(close, SETS, margin=0.05)
        lost = table[
            (table["verdict_alone"] == "not inferior") & (table["verdict"] != "not inferior")
        ]
        kept = table[table["verdict"] == "not inferior"]
        assert (kept["p_adjusted"] < ONE_SIDED_LEVEL).all()
        assert (table["p_adjusted"].dropna() >= table["p"].dropna()).all()
        if len(lost):
            assert set(lost["verdict"]) == {"undecided"}
            assert (lost["p"] < ONE_SIDED_LEVEL).all()
            assert set(lost["reason"]) == {"not inferior if it were the only set"}
            return
    pytest.fail("no cohort of the forty lost a verdict: the correction does nothing")


def test_a_value_that_only_the_full_set_has_forbids_not_inferior() -> None:
    made = scores(LOSS)
    gone = (made["arm"] == "B") & (made["case"] == "case0") & (made["label"] == LABELS[0])
    made.loc[gone, ["value", "status", "reason"]] = [np.nan, "undefined", "prediction empty"]
    found = of(sequence_table(made, SETS, margin=0.05), "B")
    assert (found["n_lost"], found["n_undefined"], found["n_missed"]) == (1, 1, 1)
    assert found["verdict"] == "undecided"
    assert "no value for 1 that the full set has one for" in found["reason"]


def test_nothing_is_decided_against_a_full_set_that_finds_nothing() -> None:
    poor = scores(dict.fromkeys(SETS, 0.77))
    table = sequence_table(poor, SETS, margin=0.05)
    assert set(table["verdict_alone"]) >= {"not inferior"}
    assert set(table["verdict"]) == {"undecided", ""}
    assert smallest_set(table) is None


def test_of_a_distance_smaller_is_better() -> None:
    worse = {name: -short for name, short in LOSS.items()}
    table = sequence_table(
        scores(worse, metric="hausdorff_95_mm"), SETS, margin=0.05, measure="hausdorff_95_mm"
    )
    assert of(table, "A")["verdict"] == "inferior" and of(table, "A")["difference"] < 0
    chosen = smallest_set(table)
    assert chosen is not None
    assert chosen["set"] == min("BC", key=lambda name: of(table, name)["mean"])


CELLS = {(False, False): "n", (False, True): "f", (True, False): "c", (True, True): "b"}
FACTORS = ("contrast_agent", "fat_suppression")


def test_effects_of_two_factors_are_those_of_a_linear_model() -> None:
    gains = {"n": 0.0, "f": -0.03, "c": -0.08, "b": -0.15}  # as losses
    made = scores(gains, noise=0.02)
    table = factor_table(made, CELLS, FACTORS).set_index("effect")
    means = made.groupby("arm")["value"].mean()
    # y = m + c C + f F + i C F, solved over the four means
    design = np.array([[1, a, b, a * b] for a, b in CELLS])
    _, c, f, i = np.linalg.solve(design.astype(float), means[list(CELLS.values())])
    assert table.loc["interaction", "difference"] == pytest.approx(i)
    assert table.loc["contrast_agent", "difference"] == pytest.approx(c + i / 2)
    assert table.loc["fat_suppression", "difference"] == pytest.approx(f + i / 2)
    wide = made.pivot_table(index="participant", columns="arm", values="value")
    one = wide["b"] - wide["c"] - wide["f"] + wide["n"]
    assert table.loc["interaction", "p"] == pytest.approx(stats.ttest_1samp(one, 0).pvalue)
    assert table.loc["interaction", "n_participants"] == N_PATIENTS
    words = factor_sentence(factor_table(made, CELLS, FACTORS))
    assert "contrast agent +0.09" in words or "contrast agent +0.10" in words


def test_a_structure_without_a_value_in_one_arm_has_no_part_in_the_effects() -> None:
    made = scores(dict.fromkeys(CELLS.values(), 0.0))
    gone = (made["arm"] == "f") & (made["participant"] == "p0")
    made.loc[gone, ["value", "status", "reason"]] = [np.nan, "undefined", "both empty"]
    table = factor_table(made, CELLS, FACTORS)
    assert set(table["n_participants"]) == {N_PATIENTS - 1}
    assert set(table["n_undefined"]) == {2}
    assert len(display("factor_table", table)) == 3
