"""A study of sequences: sets of channels as arms, from the file to the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from acinus import progress
from acinus.config import validate
from acinus.errors import ConfigError
from acinus.evaluate import read_scores
from acinus.files import read_json
from acinus.plan import parse_settings, read_plan
from acinus.predict import predict_paths
from acinus.report import style
from acinus.scans import read_volume
from acinus.study import Study, read_study, run_study
from acinus.study.sequences import SequencesSettings, set_name
from acinus.study.stated import study_of_file
from tiny_cohort import QUICK, make_dataset

CHANNELS = ["T1", "T1 (FS)", "post/T1", "post/T1 (FS)"]
FACTORS = {"contrast": CHANNELS[2:], "suppression": [CHANNELS[1], CHANNELS[3]]}


def stated(**changes: Any) -> dict[str, Any]:
    return {"dataset": "/data/D1", "channels": CHANNELS, "margin": 0.05, **changes}


def study(**changes: Any) -> Study:
    data = {"study": "s", "sequences": stated(**changes)}
    return validate(Study, data, where="study.yaml")


def test_all_sets_are_arms_that_can_be_folders_smallest_first() -> None:
    arms = study().arms
    assert len(arms) == 15
    assert [len(arm.channels or ()) for arm in arms.values()] == [1] * 4 + [2] * 6 + [3] * 4 + [4]
    assert list(arms)[:5] == ["T1", "T1_FS_", "post_T1", "post_T1_FS_", "T1+T1_FS_"]
    assert {arm.dataset for arm in arms.values()} == {"/data/D1"}
    assert not any(set(name) & set("/\\ ()") for name in arms)


def test_the_full_set_is_always_there_and_last() -> None:
    assert len(study(largest=1).arms) == len(study(largest=4).arms) - 10
    few = study(subsets=[[CHANNELS[2], CHANNELS[0]], [CHANNELS[1]]])
    assert [arm.channels for arm in few.arms.values()] == [
        [CHANNELS[1]],
        [CHANNELS[0], CHANNELS[2]],
        CHANNELS,
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"margin": None}, "sequences.margin"),
        ({"margin": 0}, "greater than 0"),
        ({"subsets": [["T2"]]}, "unknown channel in sequences.subsets 'T2'"),
        ({"subsets": [["T1", "T1"]]}, "each once; got T1, T1"),
        ({"subsets": [[]]}, "each once; got none"),
        ({"channels": ["T1", "T1"]}, "each once"),
        ({"channels": ["T1/", "T1("]}, "two are 't1_'"),
        ({"channels": ["a" * 80, "b" * 80]}, "at most 150 characters"),
        ({"largest": 1, "subsets": [["T1"]]}, "leave one of them out"),
        ({"measure": "dise"}, "Did you mean 'dice'"),
        ({"measure": "assd_mm"}, "one of the measures of the study"),
        ({"factors": {"contrast": [CHANNELS[2]]}}, "must be two; got contrast"),
        ({"factors": {**FACTORS, "suppression": [CHANNELS[3]]}}, "one channel without contrast"),
        ({"factors": FACTORS, "subsets": [["T1"]]}, "add .*to subsets"),
    ],
)
def test_sequences_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        study(**changes)


def test_arms_and_sequences_are_two_ways_to_say_one_thing() -> None:
    arms = {"A": {"dataset": "/data/D1"}}
    with pytest.raises(ConfigError, match="state one of the two"):
        validate(Study, {"study": "s", "sequences": stated(), "arms": arms}, where="x")
    with pytest.raises(ConfigError, match="'sequences' must be given"):
        validate(Study, {"study": "s"}, where="x")


def test_a_study_of_sequences_survives_its_file() -> None:
    one = study(largest=2, factors=FACTORS)
    data = one.model_dump(mode="json", exclude_unset=True)
    assert "arms" not in data
    assert validate(Study, data, where="again") == one


def test_the_shipped_study_is_small_by_default_and_whole_on_request() -> None:
    path = Path(__file__).parents[2] / "studies" / "lacrimal-sequences.yaml"
    given: dict[str, Any] = dict.fromkeys(("budget", "folds", "seed", "data", "arms"))
    small = study_of_file(path, settings=(), vary=True, **given)
    whole = study_of_file(path, settings=(), vary=True, full=True, **given)
    assert len(small.arms) == 9 and len(whole.arms) == 15
    assert set(small.arms) < set(whole.arms)
    chosen = study_of_file(path, settings=(), vary=True, **{**given, "arms": ["AX-T1"]})
    assert list(chosen.arms) == ["AX-T1", set_name(whole.sequences.channels)]  # type: ignore[union-attr]


def test_names_of_sets_stay_inside_their_folder() -> None:
    assert set_name([".."]) == "_"
    assert set_name(["a/b", "c"]) == "a_b+c"
    assert SequencesSettings.model_validate(stated()).sets()["T1"] == ("T1",)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study of two channels: three arms, four steps each, figures at low resolution."""
    patch = pytest.MonkeyPatch()
    patch.setattr(style, "DPI", 50)
    root = tmp_path_factory.mktemp("sequences")
    names = {"0": "T1", "1": "post/T1"}
    make_dataset(root / "Dataset001_Balls", n_channels=2, channel_names=names)
    data = {
        "study": "sequences",
        "recipe": "unet-2d",
        "data": str(root),
        "sequences": {
            "dataset": "Dataset001_Balls",
            "channels": ["T1", "post/T1"],
            "margin": 0.1,
        },
        "split": {"holdout": 3, "seed": 7},
        "folds_trained": 1,
        "measure": ["dice"],
        "explain": {"method": "none"},
        "budget": "4steps",
        "set": parse_settings(QUICK),
    }
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with progress.quiet():
        run_study(path, out=root / "out")
    yield root / "out"
    patch.undo()


@pytest.mark.slow
def test_every_set_is_tested_on_the_same_people(out: Path) -> None:
    scores = read_scores(out / "scores.csv")
    tested = scores[scores["part"] == "holdout"].groupby("arm")["case"].unique().map(sorted)
    assert set(tested.index) == {"T1", "post_T1", "T1+post_T1"}
    assert len({tuple(cases) for cases in tested}) == 1
    assert list(tested.iloc[0]) == read_json(out / "split.json")["holdout"]
    assert list(read_study(out / "study.yaml").arms) == ["T1", "post_T1", "T1+post_T1"]


@pytest.mark.slow
def test_a_model_knows_its_channels_and_takes_their_files_from_a_folder(
    out: Path, tmp_path: Path
) -> None:
    plan = read_plan(out / "arms" / "post_T1" / "model" / "plan.yaml")
    assert plan.dataset.channels == {1: "post/T1"} and plan.n_channels == 1
    both = read_plan(out / "arms" / "T1+post_T1" / "model" / "plan.yaml")
    assert both.dataset.channels == {0: "T1", 1: "post/T1"}
    assert "channel_numbers" not in both.model_dump(mode="json")["dataset"]
    images = out.parent / "Dataset001_Balls" / "imagesTr"
    with progress.quiet():
        predict_paths(out / "arms" / "post_T1" / "model", images, tmp_path / "made")
    case = read_json(out / "split.json")["holdout"][0]
    made = read_volume(tmp_path / "made" / f"{case}.nii.gz")
    kept = read_volume(out / "arms" / "post_T1" / "predictions" / "holdout" / f"{case}.nii.gz")
    assert np.array_equal(made.array, kept.array)
    assert np.allclose(made.affine, kept.affine)


@pytest.mark.slow
def test_the_report_says_which_sequences_are_needed(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Which sequences are needed" in page
    assert "margin of 0.1 in Dice" in page
    assert (out / "figures" / "figure-19.png").is_file()
    table = pd.read_csv(out / "tables" / "figure-19.csv")
    assert list(table["channels"]) == ["T1", "post/T1", "T1, post/T1"]
    assert set(table["n"]) == {6}
