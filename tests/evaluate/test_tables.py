"""The tables of a study: layout, counting of what is missing, pairing, and the paper's figures."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from acinus.errors import ConfigError
from acinus.evaluate import CONFUSION_COLUMNS, VALUE_COLUMNS, score_table
from acinus.evaluate.localisation import LOCALISATION_COLUMNS
from acinus.evaluate.structures import structures
from acinus.evaluate.tables import (
    TABLES,
    anomaly_table,
    arm_comparison,
    bound_table,
    centre_people,
    centre_table,
    characteristics,
    corrected,
    display,
    evaluation_table,
    factor_table,
    grid_table,
    holdout_check,
    human_table,
    inside_pairs,
    localisation_table,
    mirroring_table,
    missing_table,
    network_table,
    noninferiority_to_readings,
    note,
    reading_table,
    sequence_table,
    shapiro_table,
    side_error_table,
    variant_comparison,
    volume_agreement,
    volume_pairs,
    volumetry_table,
    worst_cases,
)
from acinus.evaluate.tables.numbers import table_of
from acinus.evaluate.wording import label_title, p_value, signed

POST, AX = "POST-AX-T1-FS", "AX-T1"
LABELS = ("lacrimal_right", "lacrimal_left")
UNITS = {"hausdorff_95_mm": "mm", "reference_volume_ml": "mL", "prediction_volume_ml": "mL"}


def rows_of(
    case, label, dice, *, hd95=2.0, drawn=0.6, predicted=0.5, arm=POST, model="final", reason=""
):
    """Rows of one structure; `reason` makes it a failed one, None an undefined value."""
    iou = None if dice is None else dice / (2 - dice)
    values = {
        "dice": dice,
        "iou": iou,
        "hausdorff_95_mm": hd95,
        "reference_volume_ml": drawn,
        "prediction_volume_ml": predicted,
    }
    why = "prediction empty" if drawn else "reference empty" if predicted else "both masks empty"
    for metric, value in values.items():
        status = "failed" if reason else "undefined" if value is None else "ok"
        yield {
            "case": case,
            "participant": case.split("-")[0],
            "arm": arm,
            "model": model,
            "part": "holdout",
            "label": label,
            "metric": metric,
            "value": math.nan if status != "ok" else value,
            "unit": UNITS.get(metric, "1"),
            "status": status,
            "reason": {"ok": "", "undefined": why, "failed": reason}[status],
        }


def cohort(rng, *, arms=((POST, 0.1), (AX, 0.0)), models=("final",), patients=14):
    rows = []
    for (arm, better), model in itertools.product(arms, models):
        for patient in range(patients):
            eye = rng.normal(0, 0.1)
            for label in LABELS:
                dice = float(np.clip(0.65 + better + eye + rng.normal(0, 0.05), 0.05, 0.99))
                drawn = float(0.6 + eye)
                rows += rows_of(
                    f"p{patient:02d}",
                    label,
                    dice,
                    hd95=float(rng.gamma(2, 1.5)),
                    drawn=drawn,
                    predicted=drawn * float(rng.uniform(0.7, 1.2)),
                    arm=arm,
                    model=model,
                )
    return score_table(rows)


def people(train, test, ages=None):
    """Participants with the counts of M, F and unreported of each part."""
    sexes = [sex for counts in (train, test) for sex, n in counts.items() for _ in range(n)]
    ids = [f"p{number:03d}" for number in range(len(sexes))]
    table = pd.DataFrame({"participant_id": ids, "sex": sexes})
    if ages is not None:
        table["age"] = ages
    n_train = sum(train.values())
    return table, ids[:n_train], ids[n_train:]


def test_table_1_has_the_papers_layout_and_counts():
    table, train, test = people({"M": 19, "F": 43, "": 4}, {"M": 4, "F": 10})
    table["age"] = np.r_[np.linspace(20, 90, 66), np.linspace(25, 70, 14)]
    numbers = characteristics(table, train, test)
    shown = display("characteristics", numbers)
    assert list(shown.columns) == ["Variables", "Train", "Test", "p-value"]
    assert shown.iloc[1:5].values.tolist() == [
        ["Sex", "", "", "0.63"],
        ["M", "19 (29%)", "4 (29%)", ""],
        ["F", "43 (65%)", "10 (71%)", ""],
        ["Unreported", "4 (6%)", "0 (0%)", ""],
    ]
    years = table["age"]
    age = shown.iloc[0]
    assert age["Variables"] == "Age in years (mean ± sd)"
    assert age["Train"] == f"{years[:66].mean():.1f} ± {years[:66].std():.1f}"
    student = stats.ttest_ind(years[:66], years[66:]).pvalue
    assert age["p-value"] == p_value(student)
    assert shown.iloc[5]["p-value"] == p_value(
        stats.ttest_ind(years[:66], years[66:], equal_var=False).pvalue
    )
    assert shown.iloc[6].tolist() == ["Sex, without unreported", "", "", "1.00"]
    assert "smallest expected count is 0.7" in note("characteristics", numbers)
    assert "66 and 14 participants" in note("characteristics", numbers)


def test_sexes_and_ages_in_other_words():
    table = pd.DataFrame(
        {
            "participant_id": list("abcdef"),
            "Sex": ["male", "f", "F", None, "n/a", "X"],
            "AGE": ["40", "50", "n/a", None, "60", "70"],
        }
    )
    numbers = characteristics(table, list("abc"), [*"def", "stranger"])
    shown = display("characteristics", numbers).set_index("Variables")
    assert shown.loc["M", "Train"] == "1 (33%)"
    assert shown.loc["F", "Train"] == "2 (67%)"
    assert shown.loc["X", "Test"] == "1 (25%)"
    assert shown.loc["Unreported", "Test"] == "3 (75%)"
    assert shown.loc["Age in years (mean ± sd)", "Train"] == "45.0 ± 7.1"
    age = numbers[numbers["test"] == "Student's t-test"].iloc[0]
    assert (age["train_n"], age["train_total"], age["test_n"], age["test_total"]) == (2, 3, 2, 4)


@pytest.mark.parametrize(
    "table",
    [
        None,
        pd.DataFrame({"participant_id": ["a", "b"]}),
        pd.DataFrame({"participant_id": ["a", "b"], "age": ["", None], "sex": ["", "n/a"]}),
    ],
)
def test_what_is_not_recorded_is_said(table):
    shown = display("characteristics", characteristics(table, ["a"], ["b"]))
    assert shown.values.tolist() == [
        ["Age in years (mean ± sd)", "not recorded", "not recorded", ""],
        ["Sex", "not recorded", "not recorded", ""],
    ]


def test_tests_that_cannot_be_made_show_the_reason():
    table, train, test = people({"M": 1}, {"M": 1}, ages=[40.0, 50.0])
    shown = display("characteristics", characteristics(table, train, test))
    assert shown.iloc[0].tolist() == [
        "Age in years (mean ± sd)",
        "40.0 ± –",
        "50.0 ± –",
        "needs at least 2 values in each group; got 1",
    ]
    assert shown.iloc[1]["p-value"] == "only one category has observations"


def test_table_3_has_the_papers_layout():
    rows = []
    for case, right, left in (("a", 0.8, 0.6), ("b", 0.9, 0.7), ("c", 0.7, 0.8), ("d", 0.6, 0.9)):
        rows += rows_of(case, LABELS[0], right, hd95=1.0)
        rows += rows_of(case, LABELS[1], left, hd95=3.0)
    shown = display(
        "evaluation_table",
        evaluation_table(score_table(rows)),
        {"lacrimal_right": "Right lacrimal gland"},
    )
    assert list(shown.columns) == [
        "Organ",
        "Scan type",
        "Dice score\n(mean ± sd)\n(25%–75% IQR)",
        "IOU score\n(mean ± sd)\n(25%–75% IQR)",
        "HD95 (in mm)\n(mean ± sd)\n(25%–75% IQR)",
        "n",
        "Missed",
        "Undefined",
        "Failed",
    ]
    first = shown.iloc[0]
    values = [0.8, 0.9, 0.7, 0.6]
    low, high = np.percentile(values, [25, 75])
    assert first["Organ"] == "Right lacrimal gland" and first["Scan type"] == POST
    assert first.iloc[2] == f"0.75 ± {np.std(values, ddof=1):.2f}\n{low:.2f} to {high:.2f}"
    assert first.iloc[4] == "1.00 ± 0.00\n1.00 to 1.00"
    assert first.iloc[5:].tolist() == ["4", "0", "0", "0"]
    assert shown["Organ"].tolist() == ["Right lacrimal gland", "Left lacrimal"]


def test_missed_undefined_and_failed_are_counted_beside_the_mean():
    rows = []
    rows += rows_of("a", LABELS[0], 0.8)
    rows += rows_of("b", LABELS[0], 0.6)
    rows += rows_of("c", LABELS[0], 0.0, hd95=None, predicted=0.0)
    rows += rows_of("d", LABELS[0], None, hd95=None, drawn=0.0, predicted=0.0)
    rows += rows_of("e", LABELS[0], 0.9, reason="e.nii.gz: missing")
    rows += rows_of("f", LABELS[0], 0.0, hd95=None, drawn=0.0)
    numbers = evaluation_table(score_table(rows)).set_index("metric")
    dice, hd95 = numbers.loc["dice"], numbers.loc["hausdorff_95_mm"]
    assert (dice["n"], dice["n_undefined"], dice["n_failed"]) == (4, 1, 1)
    assert (dice["n_missed"], dice["n_false_finds"], dice["n_participants"]) == (1, 1, 4)
    assert dice["mean"] == pytest.approx((0.8 + 0.6 + 0 + 0) / 4)
    assert (hd95["n"], hd95["n_undefined"]) == (2, 3)
    assert "needs at least 3 values; got 2" in hd95["reason"]
    shown = display("evaluation_table", numbers.reset_index()).iloc[0]
    assert shown["n"] == "5" and shown["Missed"] == "1" and shown["Failed"] == "1"
    assert shown["Undefined"] == "Dice score: 1, IOU score: 1, HD95 (in mm): 3"
    text = note("evaluation_table", numbers.reset_index())
    assert "5 undefined values left out" in text and "3 values of failed cases" in text


def test_all_structures_pool_with_patients_as_clusters(rng):
    scores = cohort(rng)
    numbers = evaluation_table(scores, with_all=True)
    assert list(dict.fromkeys(numbers["label"])) == [*LABELS, "all"]
    assert list(dict.fromkeys(numbers["arm"])) == [POST, AX]
    pooled = numbers[(numbers["label"] == "all") & (numbers["metric"] == "dice")].iloc[0]
    values = scores[(scores["arm"] == POST) & (scores["metric"] == "dice")]["value"]
    assert (pooled["n"], pooled["n_participants"]) == (28, 14)
    assert pooled["mean"] == pytest.approx(values.mean())
    naive = values.std() / math.sqrt(28) * 2 * 1.96
    assert pooled["high"] - pooled["low"] > 1.15 * naive


def test_shapiro_table_equals_scipy(rng):
    scores = cohort(rng)
    numbers = shapiro_table(scores)
    assert len(numbers) == 2 * 2 * 3
    for row in numbers.to_dict("records"):
        of_row = scores.loc[
            (scores["arm"] == row["arm"])
            & (scores["label"] == row["label"])
            & (scores["metric"] == row["metric"]),
            "value",
        ]
        assert row["shapiro_p"] == pytest.approx(stats.shapiro(of_row).pvalue)
    assert display("shapiro_table", numbers)["n"].tolist() == ["14"] * 12


def test_volume_agreement_gives_naive_and_clustered_figures(rng):
    scores = cohort(rng)
    pairs = volume_pairs(scores)
    # Of organs of different size a common correlation would show that they differ in size.
    assert volume_agreement(scores)["label"].tolist() == [*LABELS] * 2
    numbers = volume_agreement(scores, mirror_pairs=[(LABELS[0], LABELS[1])])
    assert numbers["label"].tolist() == ["all", *LABELS] * 2
    both = pairs[pairs["arm"] == POST]
    x, y = both["reference_volume_ml"], both["prediction_volume_ml"]
    first = numbers.iloc[0]
    assert (first["n"], first["n_participants"]) == (28, 14)
    assert first["r"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert first["p_naive"] == pytest.approx(stats.pearsonr(x, y).pvalue)
    assert first["p_clustered"] != pytest.approx(first["p_naive"])
    assert first["low"] < first["r"] < first["high"]
    assert first["bias_ml"] == pytest.approx((y - x).mean())
    differences = (y - x).groupby(both["participant"])
    variance = differences.mean().var() + differences.var().mean() / 2  # of two glands a patient
    limits = (y - x).mean() + np.array([-1.96, 1.96]) * np.sqrt(variance)
    assert (first["agreement_low_ml"], first["agreement_high_ml"]) == pytest.approx(tuple(limits))


def test_volumes_keep_missed_and_leave_out_failed_and_absent():
    rows = [
        *rows_of("a", LABELS[0], 0.8),
        *rows_of("b", LABELS[0], 0.0, hd95=None, predicted=0.0),
        *rows_of("c", LABELS[0], None, hd95=None, drawn=0.0, predicted=0.0),
        *rows_of("d", LABELS[0], 0.9, reason="broken"),
    ]
    assert volume_pairs(score_table(rows))["case"].tolist() == ["a", "b"]
    numbers = volume_agreement(score_table(rows))
    assert numbers["label"].tolist() == [LABELS[0]]
    assert numbers["reason"].tolist() == ["needs at least 3 pairs; got 2"]
    assert display("volume_agreement", numbers)["Remark"].tolist() == numbers["reason"].tolist()


def test_arms_are_compared_within_common_participants(rng):
    scores = cohort(rng)
    only_post = list(rows_of("p99", LABELS[0], 0.01))
    numbers = arm_comparison(
        pd.concat([scores, score_table(only_post)], ignore_index=True), POST, AX
    )
    assert numbers["label"].tolist() == ["all", *LABELS] * 3
    means = scores[scores["metric"] == "dice"].groupby(["arm", "participant"])["value"].mean()
    a, b = means[POST].to_numpy(), means[AX].to_numpy()
    first = numbers.iloc[0]
    assert (first["n"], first["n_participants"], first["n_undefined"]) == (28, 14, 0)
    assert first["difference"] == pytest.approx((a - b).mean())
    assert first["t_p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert first["wilcoxon_p"] == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert first["low"] < first["difference"] < first["high"]
    reverse = arm_comparison(scores, AX, POST).iloc[0]
    assert reverse["difference"] == pytest.approx(-first["difference"])
    assert list(display("arm_comparison", numbers).columns[2:4]) == [POST, AX]


def test_arm_comparison_says_what_it_left_out():
    rows = [
        *rows_of("a", LABELS[0], 0.8),
        *rows_of("a", LABELS[0], 0.7, arm=AX),
        *rows_of("b", LABELS[0], 0.8),
        *rows_of("b", LABELS[0], 0.0, hd95=None, predicted=0.0, arm=AX),
        *rows_of("c", LABELS[0], 0.8),
    ]
    numbers = arm_comparison(score_table(rows), POST, AX).set_index("metric")
    assert numbers.loc["dice", "n_participants"] == 2
    assert numbers.loc["hausdorff_95_mm", ["n", "n_undefined"]].tolist() == [1, 1]
    shown = display("arm_comparison", numbers.reset_index())
    assert "1 without both values" in shown["Remark"].iloc[2]
    assert len(arm_comparison(score_table(rows), POST, "T2")) == 0


def test_variants_are_compared_with_the_final_model(rng):
    scores = cohort(rng, models=("loss=jaccard", "final", "sampling=random,loss=dice"))
    numbers = variant_comparison(scores, metrics=["dice"])
    of_post = numbers[numbers["arm"] == POST]
    assert of_post["model"].tolist() == ["final", "loss=jaccard", "sampling=random,loss=dice"]
    assert of_post["setting"].tolist() == ["final", "loss", "sampling, loss"]
    assert of_post["choice"].tolist() == ["", "jaccard", "random, dice"]
    assert np.isnan(of_post["difference"].iloc[0])
    rows = scores[(scores["arm"] == POST) & (scores["metric"] == "dice")]
    means = rows.groupby(["model", "participant"])["value"].mean()
    expected = (means["loss=jaccard"] - means["final"]).mean()
    assert of_post["difference"].iloc[1] == pytest.approx(expected)
    shown = display("variant_comparison", numbers)
    assert shown["Dice score, difference to final"].iloc[0] == "–"
    assert len(shown) == 6
    alone = variant_comparison(scores[scores["model"] == "loss=jaccard"], metrics=["dice"])
    assert alone["reason"].tolist() == ["no baseline to compare with"] * 2


def test_a_variant_that_misses_glands_does_not_look_precise(rng):
    """Its mean distance is of those that it found, and beside it stands how many it missed."""
    rows = []
    for number in range(8):
        rows += rows_of(f"c{number}", LABELS[0], 0.7, hd95=5.0)
        missed = number >= 2
        rows += [
            {**row, "model": "loss=dice"}
            for row in rows_of(f"c{number}", LABELS[0], 0.0 if missed else 0.9,
                               hd95=None if missed else 1.0, predicted=0.0 if missed else 0.6)
        ]  # fmt: skip
    numbers = variant_comparison(score_table(rows), metrics=["dice", "hausdorff_95_mm"])
    shown = display("variant_comparison", numbers).set_index("Setting")
    assert (shown.loc["loss", "Missed"], shown.loc["final", "Missed"]) == ("6", "0")
    assert shown.loc["loss", "Undefined"] == "HD95 (in mm): 6"
    assert (shown.loc["loss", "n"], shown.loc["loss", "Failed"]) == ("8", "0")


def test_p_values_are_corrected_for_all_rows_of_a_table(rng):
    numbers = variant_comparison(cohort(rng, models=("final", "loss=jaccard", "loss=focal")))
    raw = numbers["wilcoxon_p"].dropna()
    assert len(raw) > 2
    holm = numbers.loc[raw.index, "wilcoxon_p_holm"]
    assert holm.min() == pytest.approx(min(1.0, raw.min() * len(raw)))
    assert (holm >= raw).all() and holm[raw.sort_values().index].is_monotonic_increasing
    pair = arm_comparison(cohort(rng), POST, AX)
    twice = corrected(pd.concat([pair, pair.assign(b="other")], ignore_index=True))
    n = int(twice["t_p"].notna().sum())
    assert twice["t_p_holm"].min() == pytest.approx(min(1.0, twice["t_p"].min() * n))


def test_worst_cases_come_first_with_their_reason():
    rows = [
        *rows_of("good", LABELS[0], 0.9),
        *rows_of("low", LABELS[0], 0.3, drawn=1.0, predicted=0.4, hd95=25.0),
        *rows_of("big", LABELS[0], 0.5, drawn=0.5, predicted=1.0),
        *rows_of("apart", LABELS[0], 0.0, hd95=60.0),
        *rows_of("missed", LABELS[0], 0.0, hd95=None, predicted=0.0),
        *rows_of("extra", LABELS[0], 0.0, hd95=None, drawn=0.0),
        *rows_of("absent", LABELS[0], None, hd95=None, drawn=0.0, predicted=0.0),
        *rows_of("failed", LABELS[0], 0.9, reason="failed.nii.gz: truncated"),
    ]
    numbers = worst_cases(score_table(rows), n=None)
    found = numbers.set_index("case")
    order = ["failed", "missed", "apart", "extra", "low", "big", "good"]
    assert numbers["case"].tolist() == order
    assert found.loc["failed", "reason"] == "failed.nii.gz: truncated"
    assert found.loc["missed", "reason"] == "nothing was predicted; 0.60 mL were drawn"
    assert found.loc["apart", "reason"] == "the prediction lies beside the structure"
    assert found.loc["extra", "reason"] == "0.50 mL were predicted; nothing was drawn"
    assert found.loc["low", "reason"] == (
        "predicted only 40% of the volume, voxels up to 25 mm (HD95) away"
    )
    assert found.loc["big", "reason"] == "predicted 2.0 times the volume"
    assert found.loc["good", "reason"] == "volume agrees, outlines differ"
    assert worst_cases(score_table(rows), n=2)["case"].tolist() == order[:2]
    assert display("worst_cases", numbers)["Dice"].tolist()[:3] == ["–", "0.00", "0.00"]


def test_outcomes_are_told_without_volumes_too():
    found = [
        *rows_of("a", LABELS[0], 0.7),
        *rows_of("b", LABELS[0], 0.0, hd95=None, predicted=0.0),
        *rows_of("c", LABELS[0], 0.0, hd95=9.0),
        *rows_of("d", LABELS[0], None, hd95=None, drawn=0.0, predicted=0.0),
    ]
    rows = [row for row in found if not row["metric"].endswith("_ml")]
    wide = structures(score_table(rows))
    assert wide["outcome"].tolist() == ["found", "missed", "no overlap", "absent"]
    assert len(volume_pairs(score_table(rows))) == 0


PREPARED = pd.DataFrame(
    {"arm": [], "case": [], "label": [], "voxels": [], "ceiling": []}, dtype=object
)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_is_complete_without_rows(name):
    make = {
        "characteristics": lambda: characteristics(None, [], []).iloc[:0],
        "evaluation_table": lambda: evaluation_table(score_table([])),
        "shapiro_table": lambda: shapiro_table(score_table([])),
        "side_error_table": lambda: side_error_table(score_table([])),
        "volume_agreement": lambda: volume_agreement(score_table([])),
        "arm_comparison": lambda: arm_comparison(score_table([]), POST, AX),
        "variant_comparison": lambda: variant_comparison(score_table([])),
        "worst_cases": lambda: worst_cases(score_table([])),
        "centre_people": lambda: centre_people(
            "A", pd.DataFrame({"participant_id": []}), {}, [], {}
        ),
        "centre_table": lambda: centre_table(score_table([]), {"A": {}}),
        "reading_table": lambda: reading_table(score_table([])),
        "noninferiority_table": lambda: noninferiority_to_readings(score_table([]), {}, margin=0.1),
        "network_table": lambda: network_table(score_table([])),
        "sequence_table": lambda: sequence_table(score_table([]), {"A": ["A"]}, margin=0.1),
        "factor_table": lambda: factor_table(score_table([]), {}, ("a", "b")),
        "missing_table": lambda: missing_table(score_table([])),
        "volumetry_table": lambda: volumetry_table(score_table([])),
        "bound_table": lambda: bound_table(score_table([])),
        "localisation_table": lambda: localisation_table(
            pd.DataFrame(columns=[*LOCALISATION_COLUMNS, "arm", "part"])
        ),
        "holdout_check": lambda: holdout_check(table_of([], VALUE_COLUMNS)),
        "inside_pairs": lambda: inside_pairs(table_of([], VALUE_COLUMNS), []),
        "grid_table": lambda: grid_table(table_of([], VALUE_COLUMNS), PREPARED),
        "anomaly_table": lambda: anomaly_table(table_of([], VALUE_COLUMNS)),
        "human_table": lambda: human_table(score_table([])),
        "mirroring_table": lambda: mirroring_table(score_table([]), {"swap": "final"}),
        "confusion_table": lambda: table_of([], CONFUSION_COLUMNS),
    }[name]
    numbers = make()
    assert len(numbers) == 0 and len(numbers.columns) > 5
    shown = display(name, numbers)
    assert len(shown) == 0 and len(shown.columns) > 0
    assert isinstance(note(name, numbers), str)


def test_wording():
    assert label_title("lacrimal_right") == "Right lacrimal"
    assert label_title("Anterior") == "Anterior"
    assert label_title("left-gland") == "Left gland"
    assert label_title("right") == "Right"
    assert [p_value(p) for p in (0.0004, 0.004, 0.294, math.nan)] == [
        "< 0.001",
        "0.004",
        "0.29",
        "–",
    ]
    assert [signed(v) for v in (-0.031, 0.031, -0.001)] == ["−0.03", "+0.03", "0.00"]
    with pytest.raises(ConfigError, match=r"unknown table 'evaluation'.*'evaluation_table'"):
        display("evaluation", score_table([]))
