"""What a report says about trainings: rows from their files, notes and caveats from the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acinus.files import write_json, write_text
from acinus.plan import Decision, Plan
from acinus.study.folders import RunFolder
from acinus.study.trainings import (
    caveats,
    mirrored_directions,
    training_notes,
    training_table,
    unseen_labels,
)
from made_plan import made_fingerprint, made_plan

VOLUMES = {"train": {"patch_vox": [8, 16, 16]}, "network": {"name": "unet_3d"}}


def trained(root: Path, fold: int, *, epochs: int = 3, lost: tuple[str, ...] = (), **facts: Any):
    folder = RunFolder(root).training(fold)
    done = {
        "train_cases": ["a", "b", "c"],
        "epochs": epochs,
        "steps": 2 * epochs,
        "seconds": 4.5,
        "collapsed": list(lost),
        "kept": "best" if lost else "last",
    }
    write_json(folder / "done.json", done | facts)
    rows = "".join(f"{fold},{epoch},{0.1 * epoch:.1f}\n" for epoch in range(1, epochs))
    write_text(folder / "history.csv", f"fold,epoch,validation_dice\n{rows}{fold},{epochs},\n")


def decided(plan: Plan, name: str, **decision: Any) -> Plan:
    return plan.with_decisions({name: Decision(**{"rule": "a rule", "source": "data", **decision})})


def notes(plan: Plan, root: Path, **kept: Any) -> str:
    table = training_table(plan, RunFolder(root), [4, 5])
    return "\n".join(training_notes(plan, kept.get("fingerprint"), table, RunFolder(root)))


def test_a_row_a_training_from_its_own_files(tmp_path):
    plan = made_plan()
    trained(tmp_path, 0)
    trained(tmp_path, 1, lost=("gland_left",))
    table = training_table(plan, RunFolder(tmp_path), [4, 5])
    assert table["fold"].tolist() == [0, 1]
    assert table["train_cases"].tolist() == [3, 3]
    assert table["validation_cases"].tolist() == [4, 5]
    assert table["steps"].tolist() == [6, 6]
    assert table["validation_dice"].tolist() == pytest.approx([0.2, 0.2])  # the last look that saw
    assert table["kept"].tolist() == ["last", "best"]
    assert table["lost"].tolist() == ["", "gland_left"]
    assert training_table(plan, RunFolder(tmp_path / "nothing"), [4, 5]).empty


def test_where_and_on_what_is_said_of_slices_and_of_volumes(tmp_path):
    slices = notes(decided(made_plan(), "train.precision", value="float32"), tmp_path)
    assert "2D patches of single slices, 16 × 16 voxels, 4 in a step." in slices
    assert "on the CPU with 1 thread, numbers of 32 bits" in slices
    volumes = decided(made_plan(VOLUMES), "train.precision", value="bfloat16")
    said = notes(volumes, tmp_path)
    assert "3D patches, 8 × 16 × 16 voxels" in said and "bfloat16" in said
    assert "slice" not in said


def test_folds_that_were_not_trained_are_explained(tmp_path):
    assert "folds" not in notes(made_plan(), tmp_path)
    asked = decided(made_plan(), "folds_trained", value=1, source="user")
    assert "1 of 2 folds was trained, as asked for." in notes(asked, tmp_path)
    fitted = decided(
        made_plan(), "folds_trained", value=1, source="budget",
        rule="one model where time is short", facts={"steps_of_one_training": 310},
    )  # fmt: skip
    said = notes(fitted, tmp_path)
    assert "1 of 2 folds was trained, for the budget" in said
    assert "one model where time is short (steps of one training 310)." in said


def test_a_batch_that_was_stepped_down_is_told_with_its_reason(tmp_path):
    plan = decided(
        made_plan(), "train.batch", value=2, facts={"batch_wanted": 8, "usable_gib": 1.5}
    )
    assert "stepped down from 8 to 2 patches" in notes(plan, tmp_path)
    assert "(1.5 GiB)" in notes(plan, tmp_path)
    assert "stepped down" not in notes(decided(made_plan(), "train.batch", value=2), tmp_path)


def test_what_went_otherwise_than_planned_is_told(tmp_path):
    trained(tmp_path, 0, epochs=2)
    trained(tmp_path, 1)
    kept = RunFolder(tmp_path).training(1) / "not_finite_step_17.safetensors"
    kept.write_bytes(b"")
    said = notes(made_plan(), tmp_path)
    assert "Fold 1 had 2 epochs in place of the 3 planned, as the time allowed" in said
    trained(tmp_path / "longer", 0, epochs=4)
    said_of_longer = notes(made_plan(), tmp_path / "longer")
    assert "Fold 1 had 4 epochs in place of the 3 planned" in said_of_longer
    assert "Fold 2: the loss was not finite once" in said and kept.name in said
    assert "Fold 2 had" not in said and "Fold 1: the loss" not in said


def test_small_structures_are_warned_of(tmp_path):
    plan = decided(made_plan(), "prepare.spacing_mm", value=[None, 5.0, 5.0])
    said = notes(plan, tmp_path, fingerprint=made_fingerprint())
    assert "label 'gland_right' is small at the planned spacing" in said


@pytest.mark.parametrize(
    ("changes", "directions", "words"),
    [
        ({}, ["left and right"], "random: left-right, the labels of each pair swapped."),
        ({"mirroring": "plain"}, ["left and right"], "random: left-right."),
        ({"mirroring": "none"}, [], "were not mirrored"),
        ({"mirror_axes": ()}, [], "were not mirrored"),
        (
            {"mirror_axes": ("Z", "Y")},
            ["front and back"],
            "random: front-back.",
        ),  # slices have no Z
    ],
)
def test_mirroring_is_said_as_it_was(tmp_path, changes, directions, words):
    plan = made_plan()
    for name, value in changes.items():
        plan = decided(plan, f"train.{name}", value=value)
    assert mirrored_directions(plan) == directions
    assert words in notes(plan, tmp_path)


def test_plain_mirroring_is_a_caveat_and_swapping_is_none(tmp_path):
    table = training_table(made_plan(), RunFolder(tmp_path), [4, 5])
    assert caveats(made_plan(), table) == []
    plain = decided(made_plan(), "train.mirroring", value="plain")
    (sentence,) = caveats(plain, table)
    assert "left and right structures may be confused" in sentence
    assert "too" not in sentence
    (both,) = caveats(decided(plain, "predict.use_mirroring", value=True), table)
    assert both.endswith("Predictions were averaged over such flips too.")
    assert caveats(decided(plain, "train.mirror_axes", value=("Y",)), table) == []
    dataset = plain.dataset.model_copy(update={"sides": {}})  # pairs alone tell as much
    assert caveats(plain.model_copy(update={"dataset": dataset}), table) == [sentence]


def test_a_label_that_was_lost_is_a_caveat(tmp_path):
    trained(tmp_path, 0)
    trained(tmp_path, 1, lost=("gland_left",))
    table = training_table(made_plan(), RunFolder(tmp_path), [4, 5])
    (sentence,) = caveats(made_plan(), table)
    assert sentence.startswith("Fold 2 learned and then lost gland_left")
    assert "best state on the validation patches" in sentence


def test_what_no_case_that_was_learned_from_shows_is_a_caveat(tmp_path):
    plan, fingerprint = made_plan(), made_fingerprint()
    (known,) = fingerprint.cases.values()
    volumes = {"one": {"gland_right": 1.0}, "both": {"gland_right": 1.0, "gland_left": 0.8}}
    cases = {name: known.model_copy(update={"volume_ml": ml}) for name, ml in volumes.items()}
    fingerprint = fingerprint.model_copy(update={"cases": cases})
    assert unseen_labels(fingerprint, ["one"]) == ["gland_left"]
    assert unseen_labels(fingerprint, ["one", "both"]) == []
    trained(tmp_path, 0, train_cases=["one"])
    trained(tmp_path, 1, train_cases=["one", "both"])
    table = training_table(plan, RunFolder(tmp_path), [4, 5], fingerprint)
    assert table["unseen"].tolist() == ["gland_left", ""]
    (sentence,) = caveats(plan, table)
    assert sentence.startswith("Fold 1 learned from no case that shows gland_left")
