"""Score tables compared: known differences, other programs' tests, what is left out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import acinus
from acinus.cli import main
from acinus.errors import ConfigError, DataError
from acinus.evaluate import read_scores, score_table, write_scores
from acinus.evaluate.score_table import NOT_ANNOTATED
from acinus.measure.statistics import unpaired_difference

LABELS = ("gland_left", "gland_right")


def row(case, label, value, *, participant=None, model="final", part="holdout", metric="dice"):
    """A row; None is an undefined value, a text the reason of a failed one."""
    status = "ok" if isinstance(value, float) else "undefined" if value is None else "failed"
    reason = {"ok": "", "undefined": "prediction empty", "failed": value}[status]
    if value == NOT_ANNOTATED:
        status = "undefined"
    return {
        "case": case,
        "participant": participant or case,
        "arm": "Dataset001_Glands",
        "model": model,
        "part": part,
        "label": label,
        "metric": metric,
        "value": value if status == "ok" else math.nan,
        "unit": "1",
        "status": status,
        "reason": reason,
    }


def save(folder: Path, rows) -> Path:
    write_scores(score_table(rows), folder / "scores.csv")
    return folder


def one_label(folder: Path, values, **known) -> Path:
    return save(folder, [row(f"c{n:02d}", "gland", v, **known) for n, v in enumerate(values)])


@pytest.fixture
def noisy(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of 14 patients with both glands; the first is 0.05 better."""
    rng = np.random.default_rng(1)
    rows: dict[str, list] = {"a": [], "b": []}
    for patient in range(14):
        level = rng.normal(0.75, 0.06)
        for name, better in (("a", 0.05), ("b", 0.0)):
            shift = better + rng.normal(0, 0.04)
            for label in LABELS:
                value = float(level + shift + rng.normal(0, 0.01))
                rows[name].append(row(f"p{patient:02d}", label, value))
    return save(tmp_path / "a", rows["a"]), save(tmp_path / "b", rows["b"])


def only(table: pd.DataFrame, **wanted) -> pd.Series:
    kept = table
    for column, value in wanted.items():
        kept = kept[kept[column] == value]
    assert len(kept) == 1
    return kept.iloc[0]


def test_a_pair_agrees_with_scipy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    b = rng.uniform(0.5, 0.9, 12)
    a = b + rng.normal(0.03, 0.04, 12)
    runs = one_label(tmp_path / "a", a.tolist()), one_label(tmp_path / "b", b.tolist())
    found = only(acinus.compare_scores(runs).table)
    assert found["difference"] == pytest.approx((a - b).mean())
    assert (found["mean_a"], found["mean_b"]) == pytest.approx((a.mean(), b.mean()))
    assert found["t_p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found["rank_p"] == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue)
    assert found["rank_method"] == "exact"
    assert found["dz"] == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert found["low"] < found["difference"] < found["high"]
    assert found["g_low"] < found["hedges_g"] < found["g_high"]
    bootstrap = stats.bootstrap((a - b,), np.mean, method="percentile", n_resamples=5000, rng=3)
    ends = bootstrap.confidence_interval.low, bootstrap.confidence_interval.high
    assert (found["low"], found["high"]) == pytest.approx(ends, abs=0.002)


@pytest.mark.parametrize(
    ("method", "theirs"),
    [("holm", "holm"), ("bonferroni", "bonferroni"), ("benjamini_hochberg", "fdr_bh")],
)
def test_the_correction_is_over_all_rows(
    noisy: tuple[Path, Path], tmp_path: Path, method, theirs
) -> None:
    third = tmp_path / "c"
    scores = read_scores(noisy[0] / "scores.csv")
    noise = np.random.default_rng(5).normal(-0.01, 0.03, len(scores))
    write_scores(scores.assign(value=scores["value"] + noise), third / "scores.csv")
    table = acinus.compare_scores([*noisy, third], correction=method).table
    assert len(table) == 3 * 3
    for one in ("t", "rank"):
        p, corrected = table[f"{one}_p"], table[f"{one}_p_corrected"]
        assert corrected.tolist() == pytest.approx(multipletests(p, method=theirs)[1].tolist())
        assert (corrected >= p).all()
        assert (table[f"n_{one}_tests"] == 9).all()


def test_exchanged_contestants_flip_signs(noisy: tuple[Path, Path]) -> None:
    there, back = (acinus.compare_scores(pair).table for pair in (noisy, noisy[::-1]))
    for one, other in (
        ("difference", "difference"),
        ("low", "high"),
        ("hedges_g", "hedges_g"),
        ("g_low", "g_high"),
        ("dz", "dz"),
    ):
        assert there[one].tolist() == pytest.approx((-back[other]).tolist())
    for same in ("t_p", "rank_p", "t_p_corrected", "sd", "n_cases_a"):
        assert there[same].tolist() == pytest.approx(back[same].tolist())


def test_the_order_of_rows_changes_nothing(noisy: tuple[Path, Path], tmp_path: Path) -> None:
    mixed = []
    for number, folder in enumerate(noisy):
        scores = read_scores(folder / "scores.csv").sample(frac=1, random_state=number)
        write_scores(scores, tmp_path / "mixed" / folder.name / "scores.csv")
        mixed.append(tmp_path / "mixed" / folder.name)
    pd.testing.assert_frame_equal(
        acinus.compare_scores(noisy).table, acinus.compare_scores(mixed).table
    )


def test_glands_of_a_patient_are_one_observation(noisy: tuple[Path, Path], tmp_path: Path) -> None:
    clustered = only(acinus.compare_scores(noisy).table, label="all")
    assert (clustered["n_structures_a"], clustered["n_participants_a"]) == (28, 14)
    apart = []
    for folder in noisy:
        scores = read_scores(folder / "scores.csv")
        scores["case"] += scores["label"]
        scores["participant"] = scores["case"]
        write_scores(scores, tmp_path / "apart" / folder.name / "scores.csv")
        apart.append(tmp_path / "apart" / folder.name)
    plain = only(acinus.compare_scores(apart).table, label="all")
    assert plain["difference"] == pytest.approx(clustered["difference"])
    widths = [one["high"] - one["low"] for one in (clustered, plain)]
    assert widths[0] > 1.2 * widths[1]
    assert clustered["t_p"] > plain["t_p"]


def test_what_is_left_out_is_counted_and_listed(tmp_path: Path) -> None:
    a = [0.9, 0.8, None, 0.7, "unreadable", 0.6, NOT_ANNOTATED]
    b = [0.8, None, 0.7, 0.75, 0.5, 0.5, 0.4, 0.3, 0.2]
    runs = one_label(tmp_path / "a", a), one_label(tmp_path / "b", b)
    found = acinus.compare_scores(runs, out=tmp_path / "out")
    one = only(found.table)
    assert one["n_cases_a"] == 3
    assert (one["n_undefined_a"], one["n_undefined_b"]) == (1, 1)
    assert (one["n_failed_a"], one["n_failed_b"]) == (1, 0)
    assert (one["n_missing_a"], one["n_missing_b"]) == (2, 0)
    assert one["n_not_annotated"] == 1
    assert one["difference"] == pytest.approx((0.1 - 0.05 + 0.1) / 3)
    assert "'a' lacks 2 structures of 'b': c07 gland, c08 gland." in found.notes()
    shown = found.shown().iloc[0]["Left out"]
    assert shown.startswith("A: 2 missing, 1 undefined, 1 failed; B: 1 undefined; 1 not annotated")
    missing = pd.read_csv(tmp_path / "out" / "missing.csv")
    assert missing.to_numpy().tolist() == [["a", "b", "c07", "gland"], ["a", "b", "c08", "gland"]]
    written = pd.read_csv(tmp_path / "out" / "comparisons.csv")
    assert written["difference"].tolist() == found.table["difference"].tolist()


def test_arms_and_models_of_one_table_are_contestants(tmp_path: Path) -> None:
    rows = [
        row(f"c{n}", "gland", float(value) + n / 100, model=model)
        for model, value in (("loss=dice", 0.5), ("final", 0.6))
        for n in range(5)
    ]
    table = acinus.compare_scores([save(tmp_path / "study", rows)]).table
    found = only(table)
    assert (found["a"], found["b"]) == ("study/final", "study/loss=dice")
    assert found["difference"] == pytest.approx(0.1)
    assert math.isnan(found["t_p"])
    assert "all differences are equal" in found["reason"]


def test_patients_of_another_table_are_believed_where_one_names_none(tmp_path: Path) -> None:
    values = [0.5, 0.6, 0.7, 0.8]
    ours = [
        row(f"p{n // 2}_{n}", "gland", v, participant=f"p{n // 2}") for n, v in enumerate(values)
    ]
    theirs = [row(f"p{n // 2}_{n}", "gland", v / 2) for n, v in enumerate(values)]
    runs = save(tmp_path / "ours", ours), save(tmp_path / "theirs", theirs)
    for pair in (runs, runs[::-1]):
        assert only(acinus.compare_scores(pair).table)["n_participants_a"] == 2
    other = [row(f"p{n // 2}_{n}", "gland", v, participant="x") for n, v in enumerate(values)]
    with pytest.raises(DataError, match="case 'p0_0' must belong to one participant"):
        acinus.compare_scores([runs[0], save(tmp_path / "other", other)])


def people(path: Path, **columns) -> Path:
    table = pd.DataFrame({"participant_id": [f"p{n:02d}" for n in range(13)], **columns})
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def test_subgroups_within_and_between(noisy: tuple[Path, Path], tmp_path: Path) -> None:
    sites = ["north"] * 5 + ["south"] * 8
    ages = [float(20 + 3 * n) for n in range(13)]
    table = people(tmp_path / "participants.tsv", site=sites, age=ages)
    found = acinus.compare_scores(noisy, participants=table, by=["site", "age"])
    rows = found.table
    assert len(rows) == 3 * (1 + 2 + 2) + 2 * 3 * 2
    scores = [read_scores(folder / "scores.csv") for folder in noisy]
    means = [one.groupby("participant")["value"].mean().iloc[:13].to_numpy() for one in scores]
    north = only(rows, kind="paired", group_a="north", label="all")
    assert north["n_participants_a"] == 5
    assert north["difference"] == pytest.approx((means[0] - means[1])[:5].mean())
    between = only(rows, kind="unpaired", a="a", by="site", label="all")
    assert (between["group_a"], between["group_b"]) == ("north", "south")
    first, second = means[0][:5], means[0][5:]
    assert between["t_p"] == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)
    assert between["rank_p"] == pytest.approx(
        stats.mannwhitneyu(first, second, method="exact").pvalue
    )
    drop = 100 * (first.mean() - second.mean()) / first.mean()
    assert between["drop_percent"] == pytest.approx(drop)
    assert between["drop_low"] < drop < between["drop_high"]
    young = only(rows, kind="paired", group_a="≤ 38", label="all")
    assert young["n_participants_a"] == 7
    notes = " ".join(found.notes())
    assert "age is cut at 38, quantiles of the patients" in notes
    assert "1 patient without site, in no group of it: p13." in notes
    turned = acinus.compare_scores(noisy, participants=table, by=["site"], first="south").table
    assert set(turned[turned["kind"] == "unpaired"]["group_a"]) == {"south"}
    quarters = acinus.compare_scores(noisy, participants=table, by=["age"], bands=4)
    assert list(quarters.groupings[0].members) == ["≤ 29", "> 29 to 38", "> 38 to 47", "> 47"]


def test_volume_bands_and_patients_of_the_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    runs = []
    for name in "ab":
        rows = []
        for n in range(10):
            rows.append(row(f"p{n:02d}_1", "gland", float(rng.uniform(0.5, 0.9))))
            rows.append(row(f"p{n:02d}_2", "gland", float(rng.uniform(0.5, 0.9))))
            for visit in (1, 2):
                case = f"p{n:02d}_{visit}"
                rows.append(row(case, "gland", float(n + 1), metric="reference_volume_ml"))
        runs.append(save(tmp_path / name, rows))
    alone = acinus.compare_scores(runs, by=["reference_volume_ml"])
    assert list(alone.groupings[0].members) == ["≤ 5.5", "> 5.5"]
    assert alone.table["n_participants_a"].tolist() == [20, 10, 10, 10, 10]
    table = people(tmp_path / "participants.tsv", site=["x"] * 13)
    known = acinus.compare_scores(runs, by=["reference_volume_ml"], participants=table)
    assert known.table["n_participants_a"].tolist() == [10, 5, 5, 5, 5]
    assert known.table["n_cases_a"].tolist() == [20, 10, 10, 10, 10]


def test_external_centres_are_compared_with_the_validation(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    inside, outside = rng.normal(0.9, 0.02, 20), rng.normal(0.72, 0.05, 12)
    run = one_label(tmp_path / "run", inside.tolist(), part="validation")
    far = one_label(tmp_path / "far", outside.tolist(), part="new")
    found = acinus.compare_scores([run], external=[far])
    one = only(found.table)
    assert found.parts == {"run": "validation", "far": "new"}
    assert "Part: validation of 'run', new of 'far'." in found.notes()[0]
    assert (one["kind"], one["a"], one["b"], one["by"]) == ("unpaired", "run", "far", "centre")
    assert one["drop_percent"] == pytest.approx(100 * (1 - outside.mean() / inside.mean()))
    assert one["t_p"] == pytest.approx(stats.ttest_ind(inside, outside, equal_var=False).pvalue)
    assert (one["n_participants_a"], one["n_participants_b"]) == (20, 12)


def test_unpaired_effect_and_intervals_against_the_plain_way() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(1.0, 0.2, 9), rng.normal(0.8, 0.4, 14)
    found = unpaired_difference(a.tolist(), b.tolist())
    pooled = math.sqrt((8 * a.var(ddof=1) + 13 * b.var(ddof=1)) / 21)
    factor = math.gamma(21 / 2) / math.sqrt(21 / 2) / math.gamma(10)
    assert found.hedges_g == pytest.approx(factor * (a.mean() - b.mean()) / pooled)
    draws = [(rng.choice(a, 9), rng.choice(b, 14)) for _ in range(4000)]

    def g(x, y):
        spread = math.sqrt((8 * x.var(ddof=1) + 13 * y.var(ddof=1)) / 21)
        return factor * (x.mean() - y.mean()) / spread

    for statistic, ends in (
        (lambda x, y: x.mean() - y.mean(), (found.low, found.high)),
        (lambda x, y: 100 * (1 - y.mean() / x.mean()), (found.drop_low, found.drop_high)),
        (g, (found.g_low, found.g_high)),
    ):
        low, high = np.percentile([statistic(x, y) for x, y in draws], [2.5, 97.5])
        assert ends == pytest.approx((low, high), abs=0.06 * (high - low))


def test_unpaired_few_tied_or_no_values() -> None:
    tied = unpaired_difference([0.0, 0.5, 0.5], [0.5, 0.8, 0.9, 0.9])
    assert tied.rank_method == "exact, all divisions permuted"
    assert tied.hedges_g is not None
    assert (tied.g_low, tied.reason.startswith("an interval needs")) == (None, True)
    assert (tied.low, tied.drop_low) == (None, None)
    zero = unpaired_difference([0.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4])
    assert zero.drop_percent is None
    assert "relative drop" in zero.reason
    assert unpaired_difference([0.5], [0.2, 0.3]).reason.startswith("needs at least 2 patients")
    none = unpaired_difference([None, None], [0.2, 0.3])
    assert (none.n_undefined_a, none.mean, none.reason) == (2, None, "a group has no value")
    many = unpaired_difference(np.arange(40.0), np.arange(40.0) + 0.5)
    assert many.rank_method == "normal approximation"


def test_the_command(noisy: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    words = ["compare", *map(str, noisy), "--measure", "dice", "--correction", "bonferroni"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    for text in ("All structures", "14 (14)", "Hedges' g", "exact", "Part: holdout."):
        assert text in out
    assert "corrected by Bonferroni (family-wise error rate) over 3 t-tests" in out
    assert (tmp_path / "out" / "comparisons.csv").exists()
    table = people(
        tmp_path / "participants.tsv", site=["x"] * 6 + ["y"] * 7, sex=list("MF") * 6 + ["M"]
    )
    words += ["--participants", str(table), "--by", "site,sex", "--json"]
    assert main(words) == 0
    data = json.loads(capsys.readouterr().out)
    assert [group["column"] for group in data["groups"]] == ["site", "sex"]
    assert len(data["comparisons"]) == 3 * 5 + 2 * 2 * 3
    assert data["contestants"] == {one.name: str(one / "scores.csv") for one in noisy}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("{a}", "must have two contestants or more; got 'a'"),
        ("{a} {a}", "two are called 'a'"),
        ("{a} {strange}", "must have a case and label in common; 'a', 'strange' have none"),
        ("{a} {bare}", "missing: participant"),
        ("{a} {b} --measure dise", "Did you mean 'dice'?"),
        ("{a} {b} --measure ravd", "'a' lacks it and has: dice"),
        ("{a} {b} --part validation", "it has: holdout"),
        ("{a} {b} --by site", "--by must come with --participants"),
        ("{a} {b} --participants {people} --by sit", "Did you mean 'site'?"),
        ("{a} {b} --participants {people} --by same", "two groups or more; got: 1"),
        ("{a} {b} --participants {people} --by site --first nord", "Did you mean 'north'?"),
        ("{a} {b} --participants {people} --by site --bands 1", "at least 2; got 1"),
        ("{a} {b} --external {strange} --part holdout", "must be compared with one model"),
        ("{a} {b} --by reference_volume_ml", "must find that measure in a score table"),
        ("{a} nowhere", "no such file"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path: Path, capsys, words: str, sentence: str) -> None:
    values = [0.5, 0.6, 0.8]
    ravd = [row(f"c{n:02d}", "gland", v, metric="ravd") for n, v in enumerate(values)]
    plain = [row(f"c{n:02d}", "gland", v) for n, v in enumerate(values)]
    places = {
        "a": one_label(tmp_path / "a", values),
        "b": save(tmp_path / "b", plain + ravd),
        "strange": save(tmp_path / "strange", [row("x", "gland", 0.5)]),
        "bare": tmp_path / "bare.csv",
        "people": tmp_path / "participants.tsv",
    }
    read_scores(places["a"] / "scores.csv").drop(columns="participant").to_csv(
        places["bare"], index=False
    )
    places["people"].write_text(
        "participant_id\tsite\tsame\nc00\tnorth\t1\nc01\tsouth\t1\nc02\tsouth\t1\n"
    )
    assert main(["compare", *words.format(**places).split()]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_parts_are_chosen_and_said(tmp_path: Path) -> None:
    both = [
        row(f"{part[0]}{n}", "gland", 0.5 + n / 10, part=part)
        for part in ("holdout", "validation")
        for n in range(3)
    ]
    ours = save(tmp_path / "ours", both)
    folds = save(tmp_path / "folds", [one for one in both if one["part"] == "validation"])
    theirs = save(tmp_path / "theirs", [{**one, "part": "new"} for one in both])
    for sources, part, parts, cases in (
        ([ours, folds], None, ["validation", "validation"], 3),
        ([ours, theirs], None, ["holdout", "new"], 3),
        ([ours, theirs], "validation", ["validation", "new"], 3),
        ([theirs, f"x={theirs}"], None, ["new", "new"], 6),
    ):
        found = acinus.compare_scores(sources, part=part)
        assert list(found.parts.values()) == parts
        assert only(found.table)["n_cases_a"] == cases
    with pytest.raises(DataError, match="'holdout'; it has: validation"):
        acinus.compare_scores([ours, folds], part="holdout")
    only_test = save(tmp_path / "test", [one for one in both if one["part"] == "holdout"])
    with pytest.raises(DataError, match="must share a part"):
        acinus.compare_scores([folds, only_test])


def test_names_are_given_before_paths(tmp_path: Path) -> None:
    one = one_label(tmp_path / "x" / "glands", [0.5, 0.6])
    other = one_label(tmp_path / "y" / "loss=dice", [0.4, 0.6])
    found = acinus.compare_scores([f"old={one}", other, f"new={other / 'scores.csv'}"])
    assert list(found.contestants) == ["old", "loss=dice", "new"]


def test_a_structure_with_two_rows_is_refused(tmp_path: Path) -> None:
    twice = save(tmp_path / "a", [row("c", "gland", 0.5), row("c", "gland", 0.6)])
    with pytest.raises(DataError, match="case 'c' has several for gland, dice"):
        acinus.compare_scores([twice, save(tmp_path / "b", [row("c", "gland", 0.5)])])


def test_an_infinite_value_is_refused_with_its_case(tmp_path: Path) -> None:
    runs = [one_label(tmp_path / name, [0.5, 0.6]) for name in "ab"]
    scores = read_scores(runs[0] / "scores.csv")
    scores.loc[1, "value"] = math.inf
    write_scores(scores, runs[0] / "scores.csv")
    with pytest.raises(DataError, match="case 'c01' has an infinite dice"):
        acinus.compare_scores(runs)


def test_an_unknown_correction_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'holm'"):
        acinus.compare_scores([], correction="holms")
