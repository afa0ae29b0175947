"""Surfaces weighed by area: against DeepMind's surface-distance, by hand, by their laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from slow_distances import CASES, SPACINGS, ellipsoid

from acinus.measure import measure_case
from acinus.measure.surfels import cell_areas, cell_codes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

NAMES = (
    "area_asd_reference_mm",
    "area_asd_prediction_mm",
    "area_hausdorff_94.7_mm",
    "area_hausdorff_61.8_mm",
    "area_surface_dice_1mm",
)
# Odd percentiles: where the area reaches a round share exactly, rounding would choose.
SPACING_MM = st.tuples(*[st.floats(0.2, 5.0)] * 3)


def theirs(reference, prediction, spacing_mm):
    deepmind = pytest.importorskip("surface_distance")
    found = deepmind.compute_surface_distances(reference, prediction, spacing_mm)
    return [
        *deepmind.compute_average_surface_distance(found),
        deepmind.compute_robust_hausdorff(found, 94.7),
        deepmind.compute_robust_hausdorff(found, 61.8),
        deepmind.compute_surface_dice_at_tolerance(found, 1),
    ]


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("name", CASES)
def test_hard_cases_equal_the_reference_implementation(name, spacing_mm):
    scores = measure_case(*CASES[name], spacing_mm, NAMES)
    expected = theirs(*CASES[name], spacing_mm)
    assert [score.value for score in scores.values()] == pytest.approx(expected, abs=1e-9)


@given(masks=arrays.arrays(np.bool_, (2, 4, 5, 6)), spacing_mm=SPACING_MM)
@settings(max_examples=40, deadline=None)
def test_random_masks_equal_the_reference_implementation(masks, spacing_mm):
    if not masks.any(axis=(1, 2, 3)).all():
        return
    ours = [score.value for score in measure_case(*masks, spacing_mm, NAMES).values()]
    assert ours == pytest.approx(theirs(*masks, spacing_mm), abs=1e-9)


@given(masks=arrays.arrays(np.bool_, (2, 6, 7)), spacing_mm=st.tuples(*[st.floats(0.2, 5.0)] * 2))
@settings(max_examples=30, deadline=None)
def test_slices_equal_the_reference_implementation(masks, spacing_mm):
    if not masks.any(axis=(1, 2)).all():
        return
    ours = [score.value for score in measure_case(*masks, spacing_mm, NAMES).values()]
    assert ours == pytest.approx(theirs(*masks, spacing_mm), abs=1e-9)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 1.3, 2.9), (4.0, 0.5, 0.2)])
def test_the_area_of_every_code_equals_the_table_of_the_reference_implementation(spacing_mm):
    tables = pytest.importorskip("surface_distance.lookup_tables")
    table = np.asarray(tables.create_table_neighbour_code_to_surface_area(spacing_mm))
    kernel = np.array([[[128, 64], [32, 16]], [[8, 4], [2, 1]]])
    corners = list(itertools.product((0, 1), repeat=3))
    code = [
        sum(int(kernel[corner]) for bit, corner in enumerate(corners) if ours >> bit & 1)
        for ours in range(256)
    ]
    np.testing.assert_allclose(cell_areas(spacing_mm), table[code], atol=1e-12)


def test_the_area_of_a_box_is_that_of_its_faces_but_for_cut_corners():
    spacing = (2.0, 1.0, 0.5)
    mask = np.zeros((9, 12, 30), bool)
    mask[2:7, 3:9, 4:24] = True
    a, b, c = (n * step for n, step in zip((5, 6, 20), spacing, strict=True))
    area = cell_areas(spacing)[cell_codes(mask)].sum()
    assert area < 2 * (a * b + b * c + a * c)
    assert area == pytest.approx(2 * (a * b + b * c + a * c), rel=0.12)


def test_the_area_of_a_ball_is_near_that_of_a_sphere():
    """Above it, since steps of voxels are rougher than the sphere."""
    spacing, radius = (1.5, 1.0, 0.8), 24.0
    shape = [int(2 * radius / step) + 5 for step in spacing]
    ball = ellipsoid(shape, [(n - 1) / 2 for n in shape], [radius / step for step in spacing])
    area = cell_areas(spacing)[cell_codes(ball)].sum()
    assert 1 < area / (4 * math.pi * radius**2) < 1.12


def test_codes_name_the_voxels_of_a_cell():
    mask = np.zeros((2, 2), bool)
    mask[0, 1] = True
    codes = cell_codes(mask)
    assert codes.shape == (3, 3)
    # The cell's corners in the order (0, 0), (0, 1), (1, 0), (1, 1), a bit each.
    assert codes.tolist() == [[0, 8, 4], [0, 2, 1], [0, 0, 0]]


@given(spacing_mm=SPACING_MM)
@settings(max_examples=10, deadline=None)
def test_a_cell_and_its_complement_have_one_surface(spacing_mm):
    areas = cell_areas(spacing_mm)
    np.testing.assert_allclose(areas, areas[::-1])
    assert areas[0] == areas[255] == 0 and (areas[1:255] > 0).all()


def test_a_cell_with_ignored_voxels_has_no_surface():
    reference = np.zeros((4, 8, 8), bool)
    reference[1:3, 2:6, 2:6] = True
    prediction = np.roll(reference, 1, axis=2)
    ignored = np.zeros_like(reference)
    ignored[:, :, :4] = True
    cut = measure_case(reference, prediction, (1, 1, 1), NAMES, ignored=ignored)
    assert cut["area_asd_reference_mm"].is_defined
    everything = measure_case(
        reference, prediction, (1, 1, 1), NAMES, ignored=np.ones_like(reference)
    )
    assert everything["area_asd_reference_mm"].reason == "both masks empty"


@pytest.mark.parametrize(("drawn", "predicted"), [(False, False), (True, False), (False, True)])
def test_empty_masks(drawn, predicted):
    reference, prediction = np.zeros((2, 2, 3, 3), bool)
    reference[0, 0, 0], prediction[0, 0, 0] = drawn, predicted
    scores = measure_case(reference, prediction, (1, 1, 1), NAMES)
    *distances, share = scores.values()
    assert all(not one.is_defined and one.reason for one in distances)
    assert share.value == (0 if drawn or predicted else None)
