"""Cases that lack a channel: who may predict them, what the network sees, and what is said."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from acinus import Volume, progress
from acinus.cli import main
from acinus.errors import ConfigError, DataError
from acinus.networks import build_network
from acinus.predict import load_model, predict_paths, write_model
from acinus.predict.ensemble import write_ensemble
from acinus.predict.folder import weight_name
from acinus.predict.missing import missing_words
from acinus.prepare import prepare_case
from acinus.train.augment import draw_changes
from acinus.train.augment.channels import drop_channels
from made_plan import made_fingerprint, made_plan, unread_dataset
from tiny_cohort import affine_of, head, save

NAMES = ("T1", "T2", "FLAIR")


def a_model(
    folder: Path, names: Sequence[str] = NAMES, *, dropout: float = 0.3, lacked: Sequence[str] = ()
) -> Path:
    """A model folder whose network has weights by chance: it answers, by all of its channels."""
    fingerprint = made_fingerprint()
    fingerprint = fingerprint.model_copy(
        update={
            "channel_names": tuple(names),
            "foreground": dict.fromkeys(names, fingerprint.foreground["T1"]),
        }
    )
    plan = made_plan(
        {"augment": {"channel_dropout": dropout}, "predict": {"postprocess": "none"}},
        dataset=unread_dataset(channel_names=tuple(names)),
        fingerprint=fingerprint,
    )
    network = build_network(
        plan.settings.network.name,
        plan.settings.network.config,
        n_channels=plan.n_channels,
        n_classes=plan.n_classes,
        seed=3,
    )
    weights = folder / weight_name(0)
    weights.parent.mkdir(parents=True)
    save_file({name: one.contiguous() for name, one in network.state_dict().items()}, weights)
    write_model(
        folder, plan, [0], {}, n_training_cases=4, n_training_participants=4, lacked_channels=lacked
    )
    return folder


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three channels that was trained with channel dropout."""
    return a_model(tmp_path_factory.mktemp("models") / "dropped")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three channels that always saw all of them."""
    return a_model(tmp_path_factory.mktemp("models") / "plain", dropout=0.0)


def channels_of_a_case(n: int = 3) -> list[Volume]:
    return [
        Volume(head(np.random.default_rng(10 + channel))[0] + 7 * channel, affine_of())
        for channel in range(n)
    ]


def put_case(folder: Path, case: str, channels: Sequence[int] = (0, 1, 2)) -> None:
    for channel in channels:
        image = head(np.random.default_rng([channel, *case.encode()]))[0]
        save(image, affine_of(), folder / f"{case}_{channel:04d}.nii.gz")


def array_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def table_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def test_the_network_sees_a_missing_channel_as_training_takes_one_away(dropped: Path) -> None:
    model, given = load_model(dropped), channels_of_a_case()
    prepared = model.prepare([given[0], None, given[2]]).image
    trained = torch.from_numpy(prepare_case(given, model.plan.settings.prepare).image)[None]
    drawn = draw_changes(model.plan, 1, np.random.default_rng(0))
    drop_channels(trained, replace(drawn, absent=np.array([[False, True, False]])))
    np.testing.assert_array_equal(prepared, trained[0].numpy())
    assert prepared[0].any() and not prepared[1].any() and prepared[2].any()


@pytest.mark.parametrize("gone", [(0,), (1,), (0, 2), (1, 2)])
def test_a_missing_file_and_leaving_it_out_give_the_same_voxels(
    dropped: Path, tmp_path: Path, gone: tuple[int, ...]
) -> None:
    put_case(tmp_path / "whole", "a")
    put_case(tmp_path / "lacking", "a", [n for n in range(3) if n not in gone])
    names = [NAMES[n] for n in gone]
    with progress.quiet():
        left_out = predict_paths(dropped, tmp_path / "whole", tmp_path / "out", without=names)
        missing = predict_paths(dropped, tmp_path / "lacking", tmp_path / "out2")
        whole = predict_paths(dropped, tmp_path / "whole", tmp_path / "out3")
    assert left_out.written[0].read_bytes() == missing.written[0].read_bytes()
    assert not np.array_equal(array_of(left_out.written[0]), array_of(whole.written[0]))
    assert left_out.missing == missing.missing == {"a": tuple(names)}
    assert whole.missing == {}


def test_what_was_missing_is_in_the_log_the_output_and_the_table(
    dropped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_case(tmp_path / "in", "a")
    put_case(tmp_path / "in", "b", [0, 2])
    put_case(tmp_path / "in", "c", [1])
    assert main(["predict", str(dropped), str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "Segmented without a channel: b (T2) and c (T1, FLAIR)" in printed.out
    assert "Channels are missing: b (T2) and c (T1, FLAIR)." in printed.err
    table = table_of(tmp_path / "out")
    assert [table[case]["missing_channels"] for case in "abc"] == ["", "T2", "T1; FLAIR"]
    assert "channel 'T2' is missing" in table["b"]["warnings"]
    assert "channel" not in table["a"]["warnings"]


def test_what_was_left_out_is_told_from_what_was_missing(
    dropped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_case(tmp_path / "in", "a")
    put_case(tmp_path / "in", "b", [0, 1])
    words = ["predict", str(dropped), str(tmp_path / "in"), str(tmp_path / "out")]
    assert main([*words, "--without", "T2"]) == 0
    printed = capsys.readouterr()
    assert "Left out of every case: T2." in printed.err
    assert "Channels are missing: b (FLAIR)." in printed.err
    assert "Segmented without a channel: a (T2) and b (T2, FLAIR)" in printed.out
    warnings = table_of(tmp_path / "out")["b"]["warnings"]
    assert "channel 'T2' was left out; channel 'FLAIR' is missing" in warnings


def test_a_model_that_always_saw_a_channel_refuses_to_do_without(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_case(tmp_path / "in", "b", [0, 2])
    words = ["predict", str(plain), str(tmp_path / "in"), str(tmp_path / "out")]
    assert main(words) == 2, "nothing was segmented"
    said = capsys.readouterr().err
    for part in (
        "failed: b: ",
        "b_0000.nii.gz",
        "channel 'T2' must be there and is missing",
        "trained for scans of T1, T2, FLAIR that have all of them",
        "Give its file, or train a model",
        "--set augment.channel_dropout=0.3",
    ):
        assert part in said
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    put_case(tmp_path / "in", "a")
    assert main(words) == 3, "one of two"
    assert (tmp_path / "out" / "a.nii.gz").exists()
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    with pytest.raises(ConfigError, match="--without T1: channel 'T1' must be there"):
        predict_paths(plain, tmp_path / "in", tmp_path / "none", without=["T1"])
    assert not (tmp_path / "none").exists()


def test_from_python_as_from_the_command_line(dropped: Path, plain: Path) -> None:
    _, t2, flair = channels_of_a_case()
    assert load_model(dropped).predict([None, None, flair]).shape == flair.shape
    for refused in (load_model(plain).predict, load_model(plain).prepare):
        with pytest.raises(DataError, match="channels 'T1', 'FLAIR' must be there and are missing"):
            refused([None, t2, None])
    for model in (dropped, plain):
        with pytest.raises(DataError, match=r"one of the channels \(T1, T2, FLAIR\).*none is"):
            load_model(model).predict([None, None, None])
    assert load_model(dropped).may_lack == set(NAMES)
    assert load_model(plain).may_lack == set()


@pytest.mark.parametrize(
    ("without", "words"),
    [
        (["T3"], r"unknown channel 'T3'. Known: FLAIR, T1, T2. Did you mean 'T1'|'T2'"),
        (["0001"], "unknown channel '0001'"),
        (["t1"], "Did you mean 'T1'"),
        (["T1", "T2", "FLAIR"], "must leave at least one of the channels"),
    ],
)
def test_what_cannot_be_left_out_is_refused_before_anything_is_read(
    dropped: Path, tmp_path: Path, without: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        predict_paths(dropped, tmp_path / "nowhere", tmp_path / "out", without=without)


def test_a_case_of_which_nothing_remains_does_not_stop_the_others(
    dropped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_case(tmp_path / "in", "a")
    put_case(tmp_path / "in", "b", [1])
    words = ["predict", str(dropped), str(tmp_path / "in"), str(tmp_path / "out")]
    assert main([*words, "--without", "T2", "--without", "T2"]) == 3
    said = capsys.readouterr().err
    assert "case 'b': at least one of the channels (T1, T2, FLAIR) must be there" in said
    assert (tmp_path / "out" / "a.nii.gz").exists()


def test_a_channel_that_is_left_out_is_not_read_and_not_replaced(
    dropped: Path, tmp_path: Path
) -> None:
    put_case(tmp_path / "in", "a")
    scan = tmp_path / "in" / "a_0001.nii.gz"
    scan.write_bytes(b"no scan")
    with progress.quiet():
        outcome = predict_paths(dropped, tmp_path / "in", tmp_path / "out", without=["T2"])
        assert outcome.failed == {}
        with pytest.raises(DataError, match="must not replace the scan"):
            predict_paths(dropped, tmp_path / "in", scan, without=["T2"])
    assert scan.read_bytes() == b"no scan"


def test_channels_that_training_cases_lacked_may_be_missing(tmp_path: Path) -> None:
    model = load_model(a_model(tmp_path / "model", dropout=0.0, lacked=["T2"]))
    t1, _, flair = channels_of_a_case()
    assert model.predict([t1, None, flair]).shape == t1.shape
    with pytest.raises(DataError, match=r"channel 'FLAIR' must.*that may lack 'T2' alone"):
        model.predict([t1, None, None])


def test_an_ensemble_lacks_what_all_of_its_members_can(dropped: Path, tmp_path: Path) -> None:
    lacked = a_model(tmp_path / "lacked", dropout=0.0, lacked=["T2"])
    members = {"a": dropped, "b": lacked}
    write_ensemble(tmp_path / "both", members, {}, validation_dice={}, n_validation_cases=0)
    assert load_model(tmp_path / "both").may_lack == {"T2"}


def test_the_only_channel_is_never_taken_away(tmp_path: Path) -> None:
    model = a_model(tmp_path / "model", ["T1"], dropout=0.5)
    assert load_model(model).may_lack == set()
    with pytest.raises(DataError, match=r"at least one of the channels \(T1\)"):
        load_model(model).predict([None])
    with pytest.raises(ConfigError, match="it names the only one"):
        predict_paths(model, tmp_path / "in", tmp_path / "out", without=["T1"])


def test_a_numbered_file_stands_for_its_case(dropped: Path, tmp_path: Path) -> None:
    put_case(tmp_path / "in", "a")
    put_case(tmp_path / "in", "b", [2])
    with progress.quiet():
        one = predict_paths(dropped, tmp_path / "in" / "a_0001.nii.gz", tmp_path / "out")
        both = predict_paths(dropped, tmp_path / "in", tmp_path / "out2")
        alone = predict_paths(dropped, tmp_path / "in" / "b_0002.nii.gz", tmp_path / "b.nii.gz")
    assert [path.name for path in one.written] == ["a.nii.gz"]
    assert one.written[0].read_bytes() == both.written[0].read_bytes()
    assert alone.missing == {"b": ("T1", "T2")}
    save(head(np.random.default_rng(1))[0], affine_of(), tmp_path / "scan.nii.gz")
    with pytest.raises(DataError, match="needs 3 channels a case"):
        predict_paths(dropped, tmp_path / "scan.nii.gz", tmp_path / "out3")


def test_words_name_a_few_cases_and_count_the_others() -> None:
    cases = {f"p{n}": ("T2",) for n in range(8)}
    assert missing_words({"a": ("T1", "T2"), "b": ()}) == "a (T1, T2)"
    assert missing_words({}) == ""
    assert re.fullmatch(r"(p\d \(T2\), ){4}p4 \(T2\) and 3 more", missing_words(cases))
