"""The hold-out with channels left out: which sets, on which cases, and the same as `predict`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acinus import progress
from acinus.cohort import Split, open_dataset, read_split
from acinus.evaluate import read_scores
from acinus.evaluate.tables import MISSING_CHANNELS
from acinus.files import read_json
from acinus.plan import Decision, Plan, read_plan
from acinus.predict import predict_paths
from acinus.report.content import ArmContent, ReportContent
from acinus.report.protocols import draft_protocols
from acinus.scans import read_volume
from acinus.study import evaluate_run, plan_dataset, train_run
from acinus.study.arm import is_finished
from acinus.study.folders import RunFolder
from acinus.study.job import ArmJob
from acinus.study.locating import locator_arm
from acinus.study.missing import missing_sets
from acinus.study.session import reopen_session
from made_located import located_plan
from made_plan import made_plan, unread_dataset
from tiny_cohort import QUICK, make_dataset

LACKING_IN_TRAINING, LACKING_IN_HOLDOUT = "p00", "p05"
"""Participants whose T2 is not there."""


def plan_of(n_channels: int, dropout: float = 0.3) -> Plan:
    names = tuple(f"C{number}" for number in range(n_channels))
    changes = {"augment": {"channel_dropout": dropout}}
    return made_plan(changes, dataset=unread_dataset(channel_names=names))


@pytest.mark.parametrize(
    ("n_channels", "n_sets"), [(1, 0), (2, 2), (3, 6), (4, 14), (5, 10), (7, 14)]
)
def test_every_set_that_leaves_a_channel_or_single_ones_of_many(
    n_channels: int, n_sets: int
) -> None:
    sets = missing_sets(plan_of(n_channels))
    assert len(set(sets)) == len(sets) == n_sets
    assert all(0 < len(one) < n_channels for one in sets)
    assert [len(one) for one in sets] == sorted(len(one) for one in sets)
    if n_channels > 4:
        assert {len(one) for one in sets} == {1, n_channels - 1}


def test_a_model_that_always_saw_all_channels_is_not_asked() -> None:
    assert missing_sets(plan_of(3, dropout=0.0)) == []


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_what_finds_the_places_learns_to_do_without_as_well(dropout: float) -> None:
    decided = Decision(value=dropout, rule="asked for", source="user")
    plan = located_plan({}).with_decisions({"augment.channel_dropout": decided})
    folder = RunFolder(Path("run"))
    job = ArmJob(
        name="arm", model="final", dataset=unread_dataset(), recipe=plan.settings,
        split=Split((), (), 0), folder=folder, store=folder.store, seed=0, budget=None,
        measures=("dice",), explain=False, share_left_s=None,
    )  # fmt: skip
    found = locator_arm(job, plan)
    assert found is not None
    assert found.recipe.augment.channel_dropout == dropout


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two channels with channel dropout, hardly trained; two cases lack the second one."""
    folder = tmp_path_factory.mktemp("missing")
    people = [f"p{number:02d}" for number in range(7)]
    dataset = make_dataset(
        folder / "Dataset004_Two", people, n_channels=2, allow_missing_channels=True
    )
    for case in (LACKING_IN_TRAINING, LACKING_IN_HOLDOUT):
        (dataset / "imagesTr" / f"{case}_0001.nii.gz").unlink()
    settings = (*QUICK, "augment.channel_dropout=0.3")
    with progress.quiet():
        plan_dataset(
            dataset, out=folder / "run", settings=settings, folds=1, budget="3steps", holdout=3
        )
        train_run(folder / "run")
        evaluate_run(folder / "run")
    return folder / "run"


def test_scores_stand_in_the_table_of_the_run(evaluated: Path) -> None:
    scores = read_scores(evaluated / "scores.csv")
    holdout = set(read_split(evaluated / "split.json").holdout)
    assert LACKING_IN_HOLDOUT in holdout and LACKING_IN_TRAINING not in holdout
    found = scores[scores["part"] == MISSING_CHANNELS]
    assert list(dict.fromkeys(found["model"])) == ["without T1", "without T2"]
    for _, some in found.groupby("model"):
        assert set(some["case"]) == holdout - {LACKING_IN_HOLDOUT}
    assert set(scores.loc[scores["part"] == "holdout", "case"]) == holdout
    assert set(found["metric"]) == set(scores["metric"])


def test_label_maps_are_those_of_predicting_with_the_channel_left_out(
    evaluated: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(evaluated.parent / "Dataset004_Two")
    ours = evaluated / "predictions" / MISSING_CHANNELS / "set-02"
    cases = sorted(path.name for path in ours.iterdir())
    assert len(cases) == 2
    with progress.quiet():
        for case in (dataset.case(name.removesuffix(".nii.gz")) for name in cases):
            predict_paths(
                evaluated / "model", case.images[0], tmp_path / "out", without=["T2"], device="cpu"
            )
    for name in cases:
        one, other = read_volume(ours / name), read_volume(tmp_path / "out" / name)
        assert np.array_equal(one.array, other.array)
        assert np.allclose(one.affine, other.affine)
    whole = evaluated / "predictions" / "holdout" / cases[0]
    assert not np.array_equal(read_volume(whole).array, read_volume(ours / cases[0]).array)


def test_what_is_done_is_not_done_again(evaluated: Path) -> None:
    table = evaluated / "missing_channels.csv"
    before, text = table.stat().st_mtime_ns, table.read_text(encoding="utf-8")
    with progress.quiet():
        evaluate_run(evaluated)
        assert table.stat().st_mtime_ns == before
        (job,) = reopen_session(evaluated).final_jobs()
        plan = read_plan(job.folder.plan)
        assert is_finished(job, plan, evaluated=True)
        table.unlink()
        assert not is_finished(job, plan, evaluated=True)
        evaluate_run(evaluated)
    assert table.read_text(encoding="utf-8") == text


def test_the_model_knows_what_its_training_cases_lacked(evaluated: Path) -> None:
    assert read_json(evaluated / "model" / "model.json")["lacked_channels"] == ["T2"]


def test_the_report_has_the_table_only_where_channels_were_left_out(evaluated: Path) -> None:
    scores = read_scores(evaluated / "scores.csv")
    arm = ArmContent(
        str(scores["arm"].iloc[0]), "Two", {"gland_right": 1, "gland_left": 2},
        channel_names=("T1", "T2"),
    )  # fmt: skip
    content = ReportContent("Two", "two", "run", [arm], scores)
    (draft,) = draft_protocols(content)
    key, title, _, shown, caption = draft
    assert (key, title) == ("missing", "What a missing channel costs")
    assert list(shown["Missing"]) == ["nothing", "T1", "T2"]
    assert "each alone" not in caption, "two channels have no other sets"
    more = ArmContent(arm.name, "Five", arm.labels, channel_names=("A", "B", "C", "D", "E"))
    (draft,) = draft_protocols(ReportContent("Five", "five", "run", [more], scores))
    assert "5 channels: each alone and all but one were left out, not every set" in draft[-1]
    plain = scores[scores["part"] != MISSING_CHANNELS]
    assert list(draft_protocols(ReportContent("Two", "two", "run", [arm], plain))) == []
