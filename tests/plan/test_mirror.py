"""Axes are mirrored only where that shows anatomy that exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from made_cases import Triple, case_facts, fingerprint_of

from acinus.cohort import Dataset
from acinus.errors import PlanError
from acinus.plan import Decision, Fingerprint
from acinus.plan.mirror import decide_mirror_axes, order_shares
from made_plan import made_plan, unread_dataset

Place = Mapping[str, Triple]


def facts(places: Sequence[Place], labels: Sequence[str]) -> Fingerprint:
    named = {name: value + 1 for value, name in enumerate(labels)}
    volumes = dict.fromkeys(labels, 1.0)
    cases = [case_facts(centroid_mm=place, volume_ml=volumes) for place in places]
    return fingerprint_of(cases, labels=named)


def dataset_of(labels: Sequence[str], **changes: Any) -> Dataset:
    named = {name: value + 1 for value, name in enumerate(labels)}
    return unread_dataset(**{"labels": named, "sides": {}, "mirror_pairs": (), **changes})


def decided(places: Sequence[Place], labels: Sequence[str], **changes: Any) -> Decision:
    return decide_mirror_axes(facts(places, labels), dataset_of(labels, **changes))


def in_order(n: int, n_other_way: int, axis: int) -> list[Place]:
    """Head before tail along an axis, but for some cases; along the others half and half."""
    places = []
    for index in range(n):
        head, tail = [10.0, 10.0, 10.0], [10.0, 10.0, 10.0]
        for other in range(3):
            tail[other] += 5.0 if index % 2 else -5.0
        tail[axis] = 5.0 if index < n_other_way else 15.0
        places.append({"head": tuple(head), "tail": tuple(tail)})
    return places


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("n_other_way", "is_fixed"), [(0, True), (2, True), (3, False), (10, False), (18, True)]
)
def test_an_axis_along_which_labels_keep_their_order_is_not_mirrored(
    axis: int, n_other_way: int, is_fixed: bool
) -> None:
    """Fixed: nine in ten of the cases or more, in either direction."""
    decision = decided(in_order(20, n_other_way, axis), ["head", "tail"])
    name = "ZYX"[axis]
    assert (name not in decision.value) is is_fixed
    assert set(decision.value) >= set("ZYX") - {name}
    assert decision.source == "data"
    assert decision.facts[f"share_of_cases_in_one_order_{name}"] == {
        "head before tail": round(1 - n_other_way / 20, 3)
    }


def test_partners_are_exempt_along_the_axis_on_which_they_are_swapped() -> None:
    places = [
        {"right": (10.0 + n % 2, 10.0, 40.0), "left": (10.5, 10.2 - n % 2, 5.0)} for n in range(10)
    ]
    labels = ["right", "left"]
    assert "X" not in decided(places, labels).value
    pairs = {"mirror_pairs": (("right", "left"),), "sides": {"right": "right", "left": "left"}}
    assert "X" in decided(places, labels, **pairs).value


def test_partners_that_keep_an_order_more_and_less_often_contradict_nothing() -> None:
    """93% of the right glands and 86% of the left ones lie outside of another: that is chance."""
    places = []
    for n in range(30):
        inner_right, inner_left = (20.0 if n < 28 else 8.0), (30.0 if n < 26 else 42.0)
        places.append(
            {
                "right": (10.0 + n % 2, 10.0, 10.0), "left": (10.5, 10.2 - n % 2, 40.0),
                "other_right": (10.0, 10.0 + n % 2, inner_right),
                "other_left": (10.5 - n % 2, 10.5, inner_left),
            }
        )  # fmt: skip
    pairs = (("right", "left"), ("other_right", "other_left"))
    sides = {name: "right" if "right" in name else "left" for pair in pairs for name in pair}
    found = decided(places, list(sides), mirror_pairs=pairs, sides=sides)
    shares = found.facts["share_of_cases_in_one_order_X"]
    assert shares["right before other_right"] > 0.9 > 1 - shares["left before other_left"] > 0.8
    assert "X" in found.value


@pytest.mark.parametrize(
    ("nerve_mm", "is_mirrored"),
    [(20.0, True), (2.0, False), (50.0, False)],
    ids=["between", "left of both", "right of both"],
)
def test_a_structure_between_partners_does_not_keep_them_from_being_swapped(
    nerve_mm: float, is_mirrored: bool
) -> None:
    """Swapped and mirrored, the right gland lies right of the nerve again. A structure on one
    side of both would change sides."""
    places = [
        {
            "right": (10.0 + n % 2, 10.0, 40.0),
            "left": (10.5, 10.2 - n % 2, 5.0),
            "nerve": (10.5 + (n // 2) % 2 - 0.5, 10.1 + (n // 2) % 2 - 0.5, nerve_mm),
        }
        for n in range(12)
    ]
    pairs = {"mirror_pairs": (("right", "left"),), "sides": {"right": "right", "left": "left"}}
    labels = ["right", "left", "nerve"]
    assert ("X" in decided(places, labels, **pairs).value) is is_mirrored
    assert "X" not in decided(places, labels).value


def test_partners_are_no_exception_along_the_other_axes() -> None:
    places = [{"right": (30.0, 10.0, 40.0), "left": (10.0, 10.0, 5.0)} for _ in range(10)]
    pairs = {"mirror_pairs": (("right", "left"),), "sides": {"right": "right", "left": "left"}}
    assert "Z" not in decided(places, ["right", "left"], **pairs).value


def test_a_label_with_a_side_and_no_partner_keeps_left_and_right_apart() -> None:
    decision = decided([], ["spleen"], sides={"spleen": "left"})
    assert decision.value == ("Z", "Y")
    assert decision.facts["labels_with_a_side_and_no_partner"] == ["spleen"]


def test_one_label_and_few_cases_tell_nothing() -> None:
    assert decided([], ["gland"]).value == ("Z", "Y", "X")
    assert decided(in_order(2, 0, 1), ["head", "tail"]).value == ("Z", "Y", "X")
    assert decided(in_order(3, 0, 1), ["head", "tail"]).value != ("Z", "Y", "X")


def test_cases_without_one_of_the_labels_do_not_count() -> None:
    places: list[Place] = [*in_order(4, 0, 1), *[{"head": (1.0, 1.0, 1.0)} for _ in range(30)]]
    shares = order_shares(facts(places, ["head", "tail"]), "Y")
    assert shares == {("head", "tail"): 1.0}


def test_a_plan_takes_the_axes_and_a_user_may_say_otherwise() -> None:
    labels = ["head", "tail"]
    fingerprint, dataset = facts(in_order(20, 0, 1), labels), dataset_of(labels)

    def planned(**train: Any) -> tuple[str, ...]:
        made = made_plan({"train": train}, dataset=dataset, fingerprint=fingerprint)
        return tuple(made.settings.train.mirror_axes)

    assert planned(mirror_axes="auto") == ("Z", "X")
    assert planned(mirror_axes=["Y"]) == ("Y",)


def test_sides_that_cannot_be_swapped_are_refused_where_a_user_asks_for_them() -> None:
    dataset = dataset_of(["spleen"], sides={"spleen": "left"})
    fingerprint = facts([{"spleen": (1.0, 1.0, 1.0)}], ["spleen"])
    with pytest.raises(PlanError, match=r"these have none: spleen\. Add the pairs, or set"):
        made_plan({"train": {"mirror_axes": ["X"]}}, dataset=dataset, fingerprint=fingerprint)
    plain = made_plan(
        {"train": {"mirror_axes": ["X"], "mirroring": "plain"}},
        dataset=dataset,
        fingerprint=fingerprint,
    )
    assert plain.settings.train.mirror_axes == ("X",)
