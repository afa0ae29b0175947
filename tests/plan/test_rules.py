"""Rules on fingerprints made by hand, against values worked out by hand."""

from __future__ import annotations

import pytest

from acinus.plan.rules import (
    ANISOTROPY,
    decide_patch,
    decide_slice_axis,
    decide_spacing,
    decide_steps_per_epoch,
    small_structure_warnings,
)
from made_plan import made_fingerprint

SHAPE = (10, 100, 80)


@pytest.mark.parametrize(
    ("spacing_mm", "axis"),
    [
        ((3.0, 0.5, 0.5), "Z"),
        ((0.5, 3.0, 0.5), "Y"),
        ((0.5, 0.5, 3.0), "X"),
        ((1.0, 1.0, 1.0), "Z"),
        ((1.0, ANISOTROPY, 1.0), "Z"),
        ((1.0, ANISOTROPY + 0.1, 1.0), "Y"),
        ((1.0, 3.0, 2.9), "Z"),
    ],
)
def test_slices_follow_the_one_coarse_axis(
    spacing_mm: tuple[float, float, float], axis: str
) -> None:
    decision = decide_slice_axis(made_fingerprint([spacing_mm], [SHAPE]))
    assert decision.value == axis
    assert decision.source == "data"
    assert decision.facts == {"median_spacing_zyx_mm": list(spacing_mm)}


def test_the_slice_axis_is_that_of_the_median_case() -> None:
    spacings = [(3.0, 0.5, 0.5), (0.5, 3.0, 0.5), (4.0, 0.5, 0.6)]
    assert decide_slice_axis(made_fingerprint(spacings, [SHAPE] * 3)).value == "Z"


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        # Rows and columns of each slice: Z (Y, X), Y (Z, X), X (Z, Y).
        ("Z", 0.45),  # median of 0.4 0.3 0.5 0.7
        ("Y", 1.85),  # median of 3 0.3 4 0.7
        ("X", 1.75),  # median of 3 0.4 4 0.5
    ],
)
def test_the_common_spacing_is_the_median_over_cases_and_both_axes(
    axis: str, expected: float
) -> None:
    fingerprint = made_fingerprint([(3.0, 0.4, 0.3), (4.0, 0.5, 0.7)], [SHAPE] * 2)
    decision = decide_spacing(fingerprint, axis)
    assert decision.value[0] is None  # slices stay as scanned
    assert decision.value[1:] == pytest.approx((expected, expected))
    assert decision.facts["n_cases"] == 2


def test_the_spacing_states_the_extremes_it_was_chosen_from() -> None:
    fingerprint = made_fingerprint([(3.0, 0.4, 0.3), (4.0, 0.5, 0.7)], [SHAPE] * 2)
    facts = decide_spacing(fingerprint, "Z").facts
    assert (facts["smallest_mm"], facts["largest_mm"]) == (0.3, 0.7)


@pytest.mark.parametrize(
    ("wanted", "stride", "spacing_mm", "expected"),
    [
        ((32, 32), (16, 16), 0.5, (32, 32)),  # slices of 100 x 80 at 0.5 mm hold it
        ((128, 128), (16, 16), 0.5, (112, 80)),  # 100 is rounded up to 112
        ((128, 128), (16, 16), 1.0, (64, 48)),  # at 1 mm only 50 x 40 voxels
        ((128, 64), (8, 16), 0.5, (104, 64)),
        ((64, 64), (128, 128), 0.5, (128, 128)),  # never below the stride
    ],
)
def test_a_patch_is_no_larger_than_the_slice_rounded_up_to_the_stride(
    wanted: tuple[int, int],
    stride: tuple[int, int],
    spacing_mm: float,
    expected: tuple[int, int],
) -> None:
    fingerprint = made_fingerprint([(3.0, 0.5, 0.5)], [SHAPE])
    decision = decide_patch(fingerprint, "Z", (None, spacing_mm, spacing_mm), wanted, stride)
    assert decision.value == expected
    assert all(size % step == 0 for size, step in zip(decision.value, stride, strict=True))
    assert decision.source == ("ours" if expected == wanted else "data")


@pytest.mark.parametrize(("axis", "expected"), [("Z", (96, 80)), ("Y", (64, 80)), ("X", (64, 96))])
def test_a_patch_is_measured_in_the_plane_of_the_slices(
    axis: str, expected: tuple[int, int]
) -> None:
    # At 0.5 mm: 60 x 96 x 80 voxels along Z, Y, X.
    fingerprint = made_fingerprint([(3.0, 0.5, 0.5)], [(10, 96, 80)])
    assert decide_patch(fingerprint, axis, (None, 0.5, 0.5), (512, 512), (16, 16)).value == expected


@pytest.mark.parametrize(("axis", "n_slices"), [("Z", 30), ("Y", 190), ("X", 160)])
def test_an_epoch_shows_each_training_slice_once(axis: str, n_slices: int) -> None:
    fingerprint = made_fingerprint([(3.0, 0.5, 0.5)] * 2, [(10, 100, 80), (20, 90, 80)])
    decision = decide_steps_per_epoch(fingerprint, axis, batch=4, share=0.6)
    assert decision.value == round(n_slices * 0.6 / 4)
    assert decision.facts["n_slices"] == n_slices


def test_an_epoch_has_at_least_one_step() -> None:
    fingerprint = made_fingerprint([(3.0, 0.5, 0.5)], [(2, 100, 80)])
    assert decide_steps_per_epoch(fingerprint, "Z", batch=64, share=0.5).value == 1


def test_a_structure_of_a_few_voxels_is_warned_about_at_the_planned_spacing() -> None:
    # Median of 0.5, 1.5, 2.5 mL: 1.5 mL, 6 x 5 x 5 mm.
    fingerprint = made_fingerprint([(3.0, 0.5, 0.5)] * 3, [SHAPE] * 3)
    assert small_structure_warnings(fingerprint, (None, 0.5, 0.5)) == [
        "label 'gland_right' is small at the planned spacing: about 2000 voxels, 2.0 x 10.0 x 10.0 "
        "in its box, in the median of the 3 cases that show it. It can get lost; a finer "
        "prepare.spacing_mm shows more of it if the scans are finer."
    ]
    assert small_structure_warnings(fingerprint, (1.0, 1.0, 1.0)) == []
    (coarse,) = small_structure_warnings(fingerprint, (4.0, 4.0, 4.0))
    assert "about 23 voxels, 1.5 x 1.2 x 1.2 in its box" in coarse


def test_the_size_of_a_structure_is_measured_along_the_axes_of_the_plan() -> None:
    fingerprint = made_fingerprint([(0.5, 3.0, 0.5)], [SHAPE])
    (warning,) = small_structure_warnings(fingerprint, (None, 1.0, 1.0), "Y")
    assert "1.7 x 6.0 x 5.0 in its box" in warning
