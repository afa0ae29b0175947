"""What the report is told: who was left out, and what the arms have in common."""

from __future__ import annotations

from pathlib import Path

from acinus.cohort import Case
from acinus.study.content import cohort_flow, lines_by_arm
from made_plan import unread_dataset


def case(name: str, participant: str, *, labelled: bool = True) -> Case:
    label = Path(f"{name}.nii.gz") if labelled else None
    return Case(name, participant, (Path(f"{name}_0000.nii.gz"),), label)


def test_the_boxes_of_the_cohort_add_up() -> None:
    """A participant counts once, with the first of the reasons that leaves no case of theirs."""
    cases = (case("P1_a", "P1"), case("P2", "P2"), case("P5", "P5", labelled=False))
    exclude = {"P1_b": "motion", "P3_a": "motion", "P4": "no consent"}
    dataset = unread_dataset(cases=cases, exclude=exclude)
    everyone = ["P1", "P2", "P3", "P4", "P5", "P6"]
    steps = cohort_flow("CT", dataset, cases[:1], cases[1:2], None, everyone)
    assert steps == [
        ("Participants assessed", 6, ""),
        ("Excluded", 1, "motion"),
        ("Excluded", 1, "no consent"),
        ("Excluded", 1, "no usable CT scan"),
        ("Not used", 1, "without a reference"),
        ("With CT and a reference", 2, ""),
        ("Kept for the hold-out test", 1, ""),
        ("Training and validation", 1, ""),
    ]


def test_lines_are_said_once_where_arms_agree_and_by_arm_where_not() -> None:
    lines = {"1 mm": ("CT", "1 mm"), "3 mm": ("CT", "3 mm"), "again": ("CT", "3 mm", "more")}
    assert lines_by_arm(lines) == "CT\n1 mm: 1 mm\n3 mm, again: 3 mm\nagain: more"
    assert lines_by_arm({"only": ("a", "b")}) == "a\nb"
