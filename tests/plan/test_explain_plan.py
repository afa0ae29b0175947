"""A plan in plain words: nothing is left out, and each reason stands beside its value."""

from __future__ import annotations

from acinus.plan import load_recipe, make_plan
from acinus.plan.explain import WIDTH, explain_plan
from made_plan import made_fingerprint, made_plan, unread_dataset

PLAN = make_plan(
    unread_dataset(),
    made_fingerprint([(3.0, 0.5, 0.5)] * 3, [(30, 320, 300)] * 3),
    load_recipe("nnunet-3d", {"train": {"lr": 0.02}}),
    seed=1,
)


def test_every_decision_is_named_once() -> None:
    text = explain_plan(PLAN)
    silent = {key for key, one in PLAN.decisions.items() if one.value is None or one.value == {}}
    for key in PLAN.decisions:
        assert text.count(f"[{key}]") == (key not in silent), key


def test_a_rule_is_given_with_its_reason_and_its_facts() -> None:
    text = " ".join(explain_plan(PLAN).split())
    assert (
        "patches a step [train.batch]: 2 why: nnU-Net: what the memory holds, no more than 5% of "
        "the dataset's voxels, at least 2 (from the data) from: fits memory 2; largest by share"
    ) in text
    assert "voxel spacing across slices, rows and columns, mm [prepare.spacing_mm]: 3, 0.5" in text
    assert "kernels 1×3×3 2 times, 3×3×3" in text
    assert "number of cases 3" in text


def test_the_source_of_a_stated_value_is_told() -> None:
    text = " ".join(explain_plan(PLAN).split())
    assert "learning rate [train.lr]: 0.02 (set by you)" in text
    assert "optimiser [train.optimiser]: sgd (as published)" in text
    assert "[train.mirroring]: swap (our choice)" in text


def test_stages_come_in_the_order_of_the_run() -> None:
    text = explain_plan(PLAN)
    headings = ["Rules", "Preparation:", "Network", "Loss:", "Patches:", "Augmentation:"]
    headings += ["Training", "Prediction", "Folds and hold-out"]
    places = [text.index(f"\n\n{heading}") for heading in headings]
    assert places == sorted(places)
    assert "Other settings" not in text


def test_lines_fit_the_width_and_warnings_come_last() -> None:
    text = explain_plan(PLAN, warnings=["label 'a' is small.", "label 'b' is small."])
    assert all(len(line) <= WIDTH for line in text.splitlines())
    assert text.endswith("\nWarnings\n  label 'a' is small.\n  label 'b' is small.\n")
    assert "Warnings" not in explain_plan(PLAN)


def test_a_plan_for_slices_is_explained_too() -> None:
    text = explain_plan(made_plan())
    assert text.startswith("Plan for Made by the recipe unet-2d\n")
    assert "[prepare.spacing_mm]: as scanned, 1, 1" in text


def test_the_plan_of_what_locates_says_so_and_credits_nobody() -> None:
    text = explain_plan(made_plan({"prepare": {"grow_mm": 3.0}}))
    assert text.startswith("Plan of the coarse network that locates for Made by the recipe unet-2d")
    assert "[prepare.grow_mm]: 3 (set by the locate stage)" in " ".join(text.split())
    assert "set by you" not in text
