"""Splits: laws that hold for any cohort, and what is refused with which words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acinus.cohort import (
    Case,
    Dataset,
    check_split,
    make_shares_split,
    make_split,
    open_dataset,
    read_split,
    write_split,
)
from acinus.cohort.assign import draw_holdout
from acinus.cohort.pool import Unit
from acinus.errors import DataError


def dataset_of(
    participants: list[str], table: dict[str, list] | None = None, visits: int = 1
) -> Dataset:
    cases = [
        Case(f"{p}_v{visit}", p, (Path("image"),), Path("label"))
        for p in participants
        for visit in range(visits)
    ]
    frame = None if table is None else pd.DataFrame({"participant_id": participants, **table})
    return Dataset(
        folder=Path("data"),
        name="made",
        channel_names=("T1",),
        labels={"gland": 1},
        file_ending=".nii.gz",
        cases=tuple(cases),
        participants=frame,
    )


def names(numbers: list[int] | range) -> list[str]:
    return [f"p{number:03d}" for number in numbers]


def test_the_cohort_of_the_lacrimal_study_splits_as_published():
    t1 = dataset_of(names(range(80)))
    post = dataset_of(names([*range(7, 80), 80]))
    split = make_split({"AX-T1": t1, "POST": post}, holdout=14, folds=4, seed=2018)
    assert len(split.holdout) == 14
    assert set(split.holdout) <= set(names(range(7, 80)))
    for dataset, n_training in ((t1, 66), (post, 60)):
        sizes = [len(split.cases(dataset, "validation", fold=k)) for k in range(4)]
        assert sum(sizes) == n_training == len(split.cases(dataset, "train"))
        assert max(sizes) - min(sizes) <= 1
        assert len(split.cases(dataset, "holdout")) == 14


@settings(max_examples=60, deadline=None)
@given(
    in_arms=st.lists(st.sampled_from(["a", "b", "ab"]), min_size=14, max_size=50),
    holdout=st.one_of(st.integers(0, 3), st.floats(0, 0.2)),
    folds=st.integers(2, 3),
    seed=st.integers(0, 2**31),
    needs=st.sampled_from(["any", "all_arms"]),
)
def test_any_split_is_a_partition_without_leak_and_balanced(in_arms, holdout, folds, seed, needs):
    in_arms = [*in_arms, *["ab"] * 12]
    arms = {
        arm: dataset_of([f"p{n:02d}" for n, where in enumerate(in_arms) if arm in where], visits=2)
        for arm in "ab"
    }
    split = make_split(arms, holdout=holdout, folds=folds, seed=seed, holdout_needs=needs)
    parts = [split.holdout, *split.folds]
    everyone = [participant for part in parts for participant in part]
    assert sorted(everyone) == [f"p{n:02d}" for n in range(len(in_arms))]
    if needs == "all_arms":
        assert all(in_arms[int(p[1:])] == "ab" for p in split.holdout)
    if isinstance(holdout, int):
        assert len(split.holdout) == holdout
    for dataset in arms.values():
        held = split.cases(dataset, "holdout")
        validated = [c for k in range(folds) for c in split.cases(dataset, "validation", fold=k)]
        assert {c.case_id for c in (*held, *validated)} == {c.case_id for c in dataset.cases}
        assert len(held) + len(validated) == len(dataset.cases)
        sizes = [len(split.cases(dataset, "validation", fold=k)) // 2 for k in range(folds)]
        assert max(sizes) - min(sizes) <= 1
        for fold in range(folds):
            train = {c.participant_id for c in split.cases(dataset, "train", fold=fold)}
            valid = {c.participant_id for c in split.cases(dataset, "validation", fold=fold)}
            assert not train & valid and not (train | valid) & set(split.holdout)
    check_split(split, arms)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=8, max_size=20),
    seed=st.integers(0, 1000),
)
def test_members_of_a_group_stay_together(sizes, seed):
    family = [f"family {n}" for n, size in enumerate(sizes) for _ in range(size)]
    dataset = dataset_of(names(range(len(family))), {"family": family})
    split = make_split({"a": dataset}, holdout=0.2, folds=3, seed=seed, group_by="family")
    of = dict(zip(names(range(len(family))), family, strict=True))
    parts = [{of[p] for p in part} for part in (split.holdout, *split.folds)]
    assert sum(len(part) for part in parts) == len(sizes)
    assert split.by == "family"
    check_split(split, {"a": dataset})


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), n_women=st.integers(10, 50))
def test_strata_keep_their_share(seed, n_women):
    sex = ["F"] * n_women + ["M"] * (60 - n_women)
    dataset = dataset_of(names(range(60)), {"sex": sex})
    split = make_split({"a": dataset}, holdout=12, folds=4, seed=seed, stratify_by="sex")
    women = set(names(range(n_women)))
    assert abs(len(women & set(split.holdout)) - 12 * n_women / 60) <= 1
    counts = [len(women & set(fold)) for fold in split.folds]
    assert max(counts) - min(counts) <= 1


def test_numbers_are_stratified_by_quartile_and_missing_values_by_themselves(rng):
    age = [*np.sort(rng.uniform(20, 90, 40)), *[None] * 8]
    dataset = dataset_of(names(range(48)), {"age": age})
    split = make_split({"a": dataset}, holdout=0, folds=4, seed=3, stratify_by="age")
    assert split.holdout == ()
    for fold in split.folds:
        numbers = [int(p[1:]) for p in fold]
        for first in range(0, 40, 10):
            assert 2 <= sum(first <= n < first + 10 for n in numbers) <= 3
        assert sum(n >= 40 for n in numbers) == 2


def test_same_seed_same_split_whatever_the_order_and_another_seed_another():
    a, b = dataset_of(names(range(30))), dataset_of(names(range(10, 40)))
    turned = replace(a, cases=a.cases[::-1])
    first = make_split({"a": a, "b": b}, holdout=5, folds=3, seed=1)
    assert make_split({"b": b, "a": turned}, holdout=5, folds=3, seed=1).folds == first.folds
    assert make_split({"a": a, "b": b}, holdout=5, folds=3, seed=2).holdout != first.holdout


def test_every_eligible_participant_can_be_held_out():
    dataset = dataset_of(names(range(10)))
    seen = {
        p
        for seed in range(60)
        for p in make_split({"a": dataset}, holdout=2, folds=2, seed=seed).holdout
    }
    assert seen == set(names(range(10)))


def test_global_random_state_is_untouched():
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_split({"a": dataset_of(names(range(12)))}, holdout=2, folds=2, seed=1)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_unlabelled_cases_are_in_no_part():
    dataset = dataset_of(names(range(12)))
    blank = replace(dataset.cases[0], label=None)
    dataset = replace(dataset, cases=(blank, *dataset.cases[1:]))
    split = make_split({"a": dataset}, holdout=2, folds=2, seed=1)
    assert "p000" not in split.participants("train") + split.holdout
    check_split(split, {"a": dataset})


def test_round_trip_through_a_file_with_cases_per_arm(make_dataset, tmp_path: Path):
    dataset = open_dataset(make_dataset())
    split = make_split({"arm": dataset}, holdout=2, folds=2, seed=7)
    write_split(split, tmp_path / "split.json")
    assert read_split(tmp_path / "split.json") == split
    data = json.loads((tmp_path / "split.json").read_text())
    assert (data["format"], data["format_version"]) == ("acinus-split", 1)
    assert data["arms"]["arm"]["holdout"] == list(split.holdout)
    assert [len(fold) for fold in data["arms"]["arm"]["folds"]] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "must be a split written by Acinus"),
        ({"format_version": 9}, "'format_version' must be 1; got 9"),
        ({"folds": "p000"}, "'folds' must be a list"),
        ({"folds": [["p000"], [3]]}, "must list participants by id"),
        ({"holdout": ["p001"], "folds": [["p000"], ["p001"]]}, "'p001' is in the hold-out and"),
        ({"folds": [["p000"], ["p000"]]}, "'p000' is in fold 0 and in fold 1"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path: Path, changes, words):
    split = make_split({"a": dataset_of(names(range(9)))}, holdout=1, folds=2, seed=7)
    path = tmp_path / "split.json"
    write_split(split, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(DataError, match=words):
        read_split(path)


def test_check_names_who_is_missing_unknown_or_apart():
    table = {"site": ["x"] * 3 + [f"s{n}" for n in range(9)]}
    dataset = dataset_of(names(range(12)), table)
    split = make_split({"a": dataset}, holdout=2, folds=2, seed=1, group_by="site")
    with pytest.raises(DataError, match=r"'p012' \(case 'p012_v0'\) is not"):
        check_split(split, {"a": dataset_of(names(range(13)))})
    with pytest.raises(DataError, match="'p011' has none in a"):
        check_split(split, {"a": dataset_of(names(range(11)))})
    apart = replace(dataset, participants=dataset.participants.assign(site="x"))
    with pytest.raises(DataError, match="the members of site 'x' must be in one part"):
        check_split(split, {"a": apart})
    leaking = replace(split, holdout=(*split.holdout, split.folds[1][0]))
    with pytest.raises(DataError, match=f"'{split.folds[1][0]}' is in the hold-out and in fold 1"):
        check_split(leaking, {"a": dataset})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"holdout": 12}, "12 wanted, 12 available"),
        ({"holdout": 9, "folds": 4}, "each of 4 folds; 3 are left after the hold-out"),
        ({"holdout": 1.0}, "a share below 1; got 1.0"),
        ({"holdout": -1}, "a share below 1; got -1"),
        ({"holdout": 1, "folds": 1}, "at least 2 folds; got 1"),
        ({"seed": -2}, "the seed must be 0 or more; got -2"),
        ({"stratify_by": "sexx"}, "unknown column 'sexx'.*Did you mean 'sex'"),
        ({"group_by": "site"}, "'p011' has none"),
        ({"external": {"site": ["x"]}}, "one value of 'site' .* 'p011' has none"),
        ({"external": {"sexx": ["F"]}}, "unknown column 'sexx'.*Did you mean 'sex'"),
        ({"external": {"sex": ["f"]}}, r"unknown value of 'sex' 'f'\. Known: F, M"),
        ({"external": {"sex": ["F", "M"]}}, "everybody of 12 is"),
        ({"external": {"sex": ["F"], "age": [71]}}, "nobody of 12 is"),
        ({"external": {"sex": ["F"]}, "group_by": "pair"}, "'0' must be in one part; 1 of 2"),
    ],
)
def test_requests_that_cannot_be_met(request_, words):
    table = {
        "sex": ["F", "M"] * 6,
        "site": [*["x", "y"] * 5, "z", None],
        "age": [*range(60, 71), 71],
        "pair": [n // 2 for n in range(12)],
    }
    dataset = dataset_of(names(range(12)), table)
    with pytest.raises(DataError, match=words):
        make_split({"a": dataset}, **{"holdout": 2, "folds": 2, "seed": 1, **request_})


def test_external_centres_are_the_whole_holdout_in_every_arm():
    table = {"site": ["a"] * 6 + ["b", "c", "d"] * 2, "scanner": [1, 2] * 6}
    one, two = dataset_of(names(range(12)), table), dataset_of(names(range(12)), table)
    arms = {"T1": one, "T2": two}
    split = make_split(arms, holdout=0.2, folds=3, seed=5, external={"site": ["b", "c"]})
    assert split.holdout == ("p006", "p007", "p009", "p010")
    assert split.conditions["external"] == {"site": ["b", "c"]}
    assert sorted(p for fold in split.folds for p in fold) == [
        *(f"p{n:03d}" for n in range(6)),
        "p008",
        "p011",
    ]
    both = make_split(
        arms, holdout=1, folds=2, seed=5, external={"site": ["a", "b"], "scanner": [2]}
    )
    assert both.holdout == ("p001", "p003", "p005", "p009")
    other = make_split(arms, holdout=0.5, folds=3, seed=6, external={"site": ["b", "c"]})
    assert other.holdout == split.holdout and other.folds != split.folds


def test_arms_may_have_other_centres_and_who_is_external_in_one_is_so_in_all():
    mr = dataset_of(names(range(8)), {"site": ["a"] * 5 + ["b"] * 3})
    both = dataset_of(names(range(4, 16)), {"site": ["x"] * 6 + ["a"] * 6})
    split = make_split(
        {"MR": mr, "CT": both},
        holdout=0.2,
        folds=2,
        seed=5,
        external_by_arm={"MR": {"site": ["b"]}, "CT": {"site": ["a"]}},
    )
    assert split.holdout == tuple(names([5, 6, 7, *range(10, 16)]))
    assert split.conditions["external_by_arm"] == {"MR": {"site": ["b"]}, "CT": {"site": ["a"]}}
    with pytest.raises(DataError, match="unknown value of 'site' 'c'"):
        make_split({"MR": mr}, holdout=1, folds=2, seed=5, external_by_arm={"MR": {"site": ["c"]}})


@given(n=st.integers(6, 60), seed=st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_shares_divide_everyone_once(n: int, seed: int):
    dataset = dataset_of(names(range(n)), {"site": list("ab" * n)[:n]})
    split = make_shares_split(
        "a", dataset, validation=0.05, test=0.2, seed=seed, stratify_by="site"
    )
    parts = [split.holdout, *split.folds]
    assert sorted(p for part in parts for p in part) == names(range(n))
    assert len(split.holdout) == max(1, round(0.2 * n))
    assert len(split.folds[0]) == max(1, round(0.05 * n))
    learned = {c.participant_id for c in split.cases(dataset, "train", fold=0)}
    assert learned == set(split.folds[1])


def test_shares_keep_groups_together():
    family = [f"f{n // 2}" for n in range(20)]
    dataset = dataset_of(names(range(20)), {"family": family})
    split = make_shares_split("a", dataset, validation=0.1, test=0.2, seed=3, group_by="family")
    of = dict(zip(names(range(20)), family, strict=True))
    parts = [{of[p] for p in part} for part in (split.holdout, *split.folds)]
    assert [len(part) for part in parts] == [2, 1, 7]
    assert len(set().union(*parts)) == 10
    check_split(split, {"a": dataset})
    alone = dataset_of(names(range(6)), {"family": ["x"] * 6})
    with pytest.raises(DataError, match="those of one 'family' stay together"):
        make_shares_split("a", alone, validation=0.1, test=0.2, seed=3, group_by="family")


def test_shares_must_leave_somebody_to_train_on():
    with pytest.raises(DataError, match="leave participants to train on; of 3 1 are for the test"):
        make_shares_split("a", dataset_of(names(range(3))), validation=0.6, test=0.3, seed=1)


def test_holdout_in_every_arm_needs_enough_of_them():
    arms = {"a": dataset_of(names(range(10))), "b": dataset_of(names(range(8, 18)))}
    with pytest.raises(DataError, match="3 wanted, 2 available with a labelled case in every arm"):
        make_split(arms, holdout=3, folds=2, seed=1)
    assert len(make_split(arms, holdout=3, folds=2, seed=1, holdout_needs="any").holdout) == 3


def test_groups_too_large_for_a_holdout_do_not_leave_it_empty():
    """Five sites of 20: a tenth is nearer to none than to one of them."""
    site = [f"s{n // 20}" for n in range(100)]
    dataset = dataset_of(names(range(100)), {"site": site})
    with pytest.raises(DataError, match=r"must not be empty.* smallest has 20 of 100"):
        make_split({"a": dataset}, holdout=0.09, folds=4, seed=1, group_by="site")
    split = make_split({"a": dataset}, holdout=0.0, folds=4, seed=1, group_by="site")
    assert split.holdout == ()


def test_a_number_that_groups_do_not_allow_names_the_nearest():
    dataset = dataset_of(names(range(12)), {"site": ["a"] * 4 + ["b"] * 4 + ["c"] * 4})
    with pytest.raises(DataError, match=r"must have 3 participants.*allow 4 as the nearest"):
        make_split({"a": dataset}, holdout=3, folds=2, seed=1, group_by="site")
    share = make_split({"a": dataset}, holdout=0.25, folds=2, seed=1, group_by="site")
    assert len(share.holdout) == 4


def test_folds_are_numbered_from_zero():
    dataset = dataset_of(names(range(6)))
    split = make_split({"a": dataset}, holdout=0, folds=2, seed=1)
    with pytest.raises(DataError, match="one of 0 to 1 of this split; got 2"):
        split.cases(dataset, "train", fold=2)
    with pytest.raises(DataError, match="validation cases belong to a fold"):
        split.cases(dataset, "validation")


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=9),
    wanted=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_drawn_sizes_are_the_nearest_sum_that_exists(sizes, wanted, seed):
    units = [
        Unit(f"g{n}", tuple(f"{n}/{m}" for m in range(size)), "s", (("a", size),))
        for n, size in enumerate(sizes)
    ]
    every = {
        sum(s for k, s in enumerate(sizes) if mask >> k & 1) for mask in range(1 << len(sizes))
    }
    got = sum(unit.size for unit in draw_holdout(units, wanted, np.random.default_rng(seed)))
    assert abs(got - wanted) == min(abs(total - wanted) for total in every)


def test_one_participant_is_told_apart_from_too_few_for_the_folds() -> None:
    for request in ({"holdout": 0.2}, {"holdout": 0, "folds": 2}):
        with pytest.raises(DataError, match=r"at least 2 must have a labelled case; there is 1"):
            make_split({"a": dataset_of(names(range(1)))}, **{"folds": 5, "seed": 1, **request})
