"""Tables of centres, readings, networks and volumetry, against SciPy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from acinus.evaluate import score_table
from acinus.evaluate.tables import (
    bound_table,
    centre_people,
    centre_table,
    display,
    model_against,
    network_table,
    noninferiority_to_readings,
    note,
    reading_table,
    volume_cases,
    volumetry_table,
)
from acinus.measure.statistics.bootstrap import FEWEST_CLUSTERS

METRICS = {"dice": "1", "hausdorff_95_mm": "mm"}


def rows(case, dice, *, arm="T1", model="final", part="validation", drawn=50.0, predicted=None):
    """Rows of one case; a Dice of None is a missed structure that has no distance."""
    missed = dice == 0
    predicted = (0.0 if missed else drawn) if predicted is None else predicted
    values = {
        "dice": dice,
        "hausdorff_95_mm": None if missed else 10 * (1 - dice),
        "reference_volume_ml": drawn,
        "prediction_volume_ml": predicted,
    }
    for metric, value in values.items():
        yield {
            "case": case,
            "participant": case,
            "arm": arm,
            "model": model,
            "part": part,
            "label": "pancreas",
            "metric": metric,
            "value": math.nan if value is None else value,
            "unit": METRICS.get(metric, "mL"),
            "status": "undefined" if value is None else "ok",
            "reason": "prediction empty" if value is None else "",
        }


def table(groups):
    """Scores from ((prefix, dices, changes of the row), …)."""
    return score_table(
        [
            row
            for prefix, dices, more in groups
            for number, dice in enumerate(dices)
            for row in rows(f"{prefix}{number}", dice, **more)
        ]
    )


A, B = [0.9, 0.86, 0.91, 0.88], [0.84, 0.87, 0.83]
C, D = [0.7, 0.75, 0.69], [0.8, 0.0, 0.78]
SITES = {f"{site}{n}": f"centre-{site}" for site in "abcd" for n in range(5)}
SCORES = table(
    [
        ("a", A, {}),
        ("b", B, {}),
        ("c", C, {"part": "holdout"}),
        ("d", D, {"part": "holdout"}),
        ("a", [0.1] * 4, {"model": "loss=dice"}),
    ]
)


def of(numbers: pd.DataFrame, **wanted) -> pd.Series:
    for column, value in wanted.items():
        numbers = numbers[numbers[column] == value]
    assert len(numbers) == 1
    return numbers.iloc[0]


def test_internal_centres_are_out_of_fold_and_external_ones_are_tested_against_them():
    numbers = centre_table(SCORES, {"T1": SITES})
    dice = numbers[numbers["metric"] == "dice"]
    assert list(dice["centre"]) == [
        "centre-a", "centre-b", "all internal", "centre-c", "centre-d",
    ]  # fmt: skip
    combined = of(dice, centre="all internal")
    assert combined["mean"] == pytest.approx(np.mean(A + B))
    assert combined["median"] == pytest.approx(np.median(A + B))
    assert math.isnan(combined["welch_p"])
    p = {}
    for centre, values in (("centre-c", C), ("centre-d", D)):
        row = of(dice, centre=centre)
        p[centre] = stats.ttest_ind(A + B, values, equal_var=False).pvalue
        assert row["role"] == "external"
        assert row["welch_p"] == pytest.approx(p[centre])
        assert row["drop_percent"] == pytest.approx(100 * (1 - np.mean(values) / np.mean(A + B)))
        if min(len(A + B), len(values)) >= FEWEST_CLUSTERS:
            assert row["drop_low"] < row["drop_percent"] < row["drop_high"]
        else:
            assert math.isnan(row["drop_low"])
    small, large = sorted(p, key=p.get)
    assert of(dice, centre=small)["welch_p_corrected"] == pytest.approx(2 * p[small])
    assert of(dice, centre=large)["welch_p_corrected"] == pytest.approx(max(2 * p[small], p[large]))


def test_what_is_undefined_or_missed_stands_beside_the_means():
    numbers = centre_table(SCORES, {"T1": SITES})
    distance = of(numbers, centre="centre-d", metric="hausdorff_95_mm")
    assert (distance["n"], distance["n_undefined"], distance["n_missed"]) == (2, 1, 1)
    shown = display("centre_table", numbers)
    row = shown[shown["Centre"].str.startswith("centre-d")].iloc[0]
    assert row["Undefined"] == "HD95 1"
    assert row["n"] == "3"
    assert row["Dice"].split("\n")[1] == "0.78"
    assert row["Change, %\n(95% interval)"].startswith("−")
    assert "undefined and in no mean: 1." in note("centre_table", numbers)


def test_an_undefined_value_of_two_internal_centres_is_counted_once():
    scores = table([("a", A, {}), ("b", [0.0, 0.8], {}), ("c", C, {"part": "holdout"})])
    numbers = centre_table(scores, {"T1": SITES})
    assert of(numbers, centre="all internal", metric="hausdorff_95_mm")["n_undefined"] == 1
    assert "undefined and in no mean: 1." in note("centre_table", numbers)


def test_one_case_a_centre_has_no_test_and_says_so():
    scores = table([("a", A, {}), ("c", [0.7], {"part": "holdout"})])
    row = of(centre_table(scores, {"T1": SITES}), centre="centre-c", metric="dice")
    assert math.isnan(row["welch_p"]) and "at least 2 patients" in row["test_reason"]
    assert row["drop_percent"] > 0


def test_people_are_counted_by_centre_and_what_is_not_recorded_stays_open():
    participants = pd.DataFrame(
        {
            "participant_id": ["a0", "a1", "c0", "c1"],
            "sex": ["F", "male", "f", None],
            "age": [60, 70, None, None],
            "scanner": ["GE", "Siemens", None, None],
        }
    )
    centres = {person: SITES[person] for person in participants["participant_id"]}
    numbers = centre_people(
        "T1", participants, centres, ["centre-c"], {"a0": 2, "a1": 1, "c0": 1, "c1": 1}
    )
    inside, outside = (of(numbers, centre=f"centre-{name}") for name in "ac")
    assert (inside["role"], outside["role"]) == ("internal", "external")
    assert tuple(inside[["participants", "cases", "female", "male"]]) == (2, 3, 1, 1)
    assert (inside["age_median"], inside["scanner"]) == (65.0, "GE, Siemens")
    assert (outside["sex_unreported"], outside["age_n"], outside["scanner"]) == (1, 0, "")
    assert display("centre_people", numbers)["Median age (range), years"].tolist() == [
        "65 (60 to 70)",
        "–",
    ]


def test_readings_are_summed_up_with_their_volumes():
    readings = {"part": "readings", "model": "second"}
    scores = score_table(
        [
            row
            for number, (dice, second) in enumerate([(0.8, 40.0), (0.9, 55.0), (0.85, 46.0)])
            for row in rows(f"r{number}", dice, predicted=second, **readings)
        ]
    )
    row = of(reading_table(scores), metric="dice")
    assert (row["reading"], row["n"]) == ("second", 3)
    differences = np.array([40.0, 55.0, 46.0]) - 50
    assert row["bias_ml"] == pytest.approx(differences.mean())
    assert row["limit_upper_ml"] == pytest.approx(
        differences.mean() + 1.96 * differences.std(ddof=1)
    )


def test_a_model_within_the_margin_of_the_readers_is_not_inferior():
    cases = [f"r{number}" for number in range(12)]
    noise = np.linspace(-0.01, 0.01, len(cases))
    found = {}
    for loss in (0.0, 0.2):
        made = []
        for case, shift in zip(cases, noise, strict=True):
            made += rows(case, 0.85 + shift, part="readings", model="second")
            made += rows(case, 0.86 - loss, part="holdout")
            made += rows(case, 0.84 - loss, part="readings", model=model_against("second"))
        made += rows("only-read", 0.1, part="readings", model="second")
        groups = {"T1": [("pancreas", "", ["pancreas"])]}
        table = noninferiority_to_readings(score_table(made), groups, margin=0.05)
        found[loss] = of(table, readers="first, second")
    assert [found[loss]["verdict"] for loss in (0.0, 0.2)] == ["not inferior", "inferior"]
    assert (found[0.0]["n_structures"], found[0.0]["n_clusters"]) == (len(cases), len(cases))
    assert found[0.2]["model_mean"] == pytest.approx(0.65)


def test_networks_are_compared_with_the_first_by_case_and_corrected():
    first, second, third = [0.9, 0.8, 0.85, 0.7], [0.85, 0.79, 0.8, 0.6], [0.91, 0.79, 0.86, 0.7]
    scores = table(
        [
            ("n", dices, {"part": "benchmark", "model": name})
            for name, dices in (("Pan", first), ("Plain", second), ("Res", third))
        ]
    )
    numbers = network_table(scores)
    p = [stats.ttest_rel(other, first).pvalue for other in (second, third)]
    plain, res = (of(numbers, network=name, metric="dice") for name in ("Plain", "Res"))
    assert plain["difference"] == pytest.approx(np.mean(second) - np.mean(first))
    assert plain["t_p"] == pytest.approx(p[0])
    assert plain["t_p_corrected"] == pytest.approx(2 * p[0])
    assert res["t_p_corrected"] == pytest.approx(max(p[1], 2 * p[0]))
    pan = of(numbers, network="Pan", metric="dice")
    assert math.isnan(pan["difference"]) and pan["compared_with"] == "Pan"
    shown = display("network_table", numbers)
    assert shown.iloc[0]["Dice difference\n(95% interval)"] == "compared with"


def test_volumetry_tells_internal_from_external_and_lies_within_the_bounds():
    scores = score_table(
        [
            row
            for number, (dice, drawn, predicted) in enumerate(
                [(0.9, 40, 44), (0.8, 60, 50), (0.5, 50, 150), (1.0, 30, 30)]
            )
            for row in rows(
                f"v{number}",
                dice,
                drawn=drawn,
                predicted=predicted,
                part="holdout" if number > 1 else "validation",
            )
        ]
    )
    cases = volume_cases(scores)
    assert list(cases["cases"]) == ["internal", "internal", "external", "external"]
    np.testing.assert_allclose(cases["volume_error"], [0.1, -1 / 6, 2.0, 0.0])
    assert cases["volume_error"].between(cases["lowest_error"], cases["highest_error"]).all()
    external = of(volumetry_table(scores), cases="external")
    assert external["absolute_error_percent"] == pytest.approx(100.0)
    assert "at least 3 cases" in external["reason"]
    everyone = of(volumetry_table(scores), cases="all")
    assert everyone["r_squared"] == pytest.approx(
        stats.pearsonr([40, 60, 50, 30], [44, 50, 150, 30])[0] ** 2
    )


def test_volumes_of_absent_structures_do_not_raise_a_correlation():
    volumes = [(40, 44), (60, 50), (50, 80), (0, 12), (0, 0), (0, 0)]
    scores = score_table(
        [
            row
            for number, (drawn, predicted) in enumerate(volumes)
            for row in rows(f"v{number}", 0.7, drawn=drawn, predicted=predicted)
        ]
    )
    found = of(volumetry_table(scores), cases="internal")
    assert found["n"] == 4
    assert found["r"] == pytest.approx(stats.pearsonr(*zip(*volumes[:4], strict=True))[0])
    assert found["reason"] == "% without 1 whose reference is empty"


def test_the_published_bound_from_the_mean_dice_is_broken_by_two_cases():
    scores = score_table(
        [
            *rows("x", 1.0, drawn=10.0, predicted=10.0),
            *rows("y", 0.5, drawn=10.0, predicted=30.0),
        ]
    )
    row = of(bound_table(scores), wanted_error_percent=5.0)
    assert row["mean_absolute_error_percent"] == pytest.approx(100.0)
    assert row["mean_bound_percent"] == pytest.approx(100.0)
    assert row["false_bound_percent"] == pytest.approx(100 * 2 / 3)
    assert row["dice_needed"] == pytest.approx(0.9756, abs=1e-4)
    assert (row["n_with_that_dice"], row["n_within_that_error"]) == (1, 1)
    assert "Error ≤ 5%:\nby Dice ≥ 0.976 / in fact" in display("bound_table", bound_table(scores))
