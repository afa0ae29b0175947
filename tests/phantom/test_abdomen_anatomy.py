"""Laws of the abdominal phantom's parts: shapes, volumes, readers, signals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from acinus.cohort.phantom.abdomen import draw_pancreas_reading, person_trunk
from acinus.cohort.phantom.abdomen_images import paint_trunk
from acinus.cohort.phantom.abdomen_people import Person
from acinus.cohort.phantom.abdomen_sites import Lying, Scanner, draw_scanner, plan_abdomen
from acinus.cohort.phantom.abdomen_tissues import (
    ORGANS,
    MrProtocol,
    ct_value,
    mr_signal,
    spoiled_echo,
)
from acinus.cohort.phantom.pancreas import Settling, draw_pancreas, measure_volume_ml
from acinus.cohort.phantom.readers import seen_share
from acinus.cohort.phantom.shapes import capsule, ellipsoid, superellipse, tube
from acinus.cohort.phantom.tissues import spin_echo
from acinus.cohort.phantom.trunk_parts import trunk_extent_mm

PERSON = Person("ct_001", 4, "CT", "internal", 60, "F", "", None, "cyst", ("CT",))


def test_a_tube_is_the_union_of_its_rods() -> None:
    rng = np.random.default_rng(0)
    x, y, z = rng.uniform(-30, 30, (3, 500))
    points, radii = [(0.0, 0.0, 0.0), (10.0, 5.0, 0.0), (12.0, 5.0, 9.0)], [3.0, 2.0, 4.0]
    rods = [capsule(x, y, z, points[k], points[k + 1], (radii[k], radii[k + 1])) for k in range(2)]
    np.testing.assert_allclose(tube(x, y, z, points, radii), np.minimum(*rods))


def test_a_superellipse_of_power_two_is_an_ellipse() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(2, 60, (2, 300))
    flat = ellipsoid(x, y, np.zeros_like(x), (0, 0, 0), (40.0, 25.0, 1e4))
    np.testing.assert_allclose(superellipse(x, y, (40.0, 25.0), 2.0), flat, atol=0.02)
    boxier = superellipse(x, y, (40.0, 25.0), 4.0)
    assert (boxier <= flat + 0.05)[np.abs(flat) < 3].all()


@pytest.mark.parametrize("condition", ["normal", "atrophic", "cyst"])
def test_volumes_are_plausible_and_rightly_measured(condition: str) -> None:
    settling = Settling(1.04, ((2.0, -1.0, 1.5, 0.02, 0.01, 0.015, 0.7),))
    rng = np.random.default_rng(5)
    pancreas = draw_pancreas(rng, settling, age=58, sex="M", condition=condition)  # type: ignore[arg-type]
    # An independent count: random points of the box.
    centre, reach = np.asarray(pancreas.centre), np.asarray(pancreas.reach_mm)
    points = centre + np.random.default_rng(6).uniform(-1, 1, (120_000, 3)) * reach
    inside = pancreas.distance_mm(*points.T.astype(np.float32)) < 0
    counted = inside.mean() * np.prod(2 * reach) / 1000.0
    measured = measure_volume_ml(pancreas)
    assert measured == pytest.approx(counted, rel=0.06)
    low, high = (24, 44) if condition == "atrophic" else (40, 122)
    assert low < measured < high
    # Nothing reaches the box: no reading is cut off.
    edge = np.abs(points[inside] - centre) > reach - 3.0
    assert not edge.any()
    assert (pancreas.cyst is not None) == (condition == "cyst")


def test_a_reader_who_stops_before_the_ends_draws_less() -> None:
    pancreas = person_trunk(3, PERSON).pancreas
    whole = measure_volume_ml(replace(pancreas, cyst=None))
    cut = measure_volume_ml(replace(pancreas, cyst=None, seen=(0.1, 0.8)))
    assert 0.4 * whole < cut < 0.9 * whole


def test_readings_share_the_grid_and_the_second_draws_tighter() -> None:
    trunk = person_trunk(3, PERSON)
    still = Lying((0, 0, 0), (0, 0, 0))
    plan = plan_abdomen(np.random.default_rng(0), PERSON, "small", still, trunk_extent_mm(trunk))
    sizes = {
        reading: draw_pancreas_reading(trunk, plan, reading, np.random.default_rng(2)).sum()
        for reading in ("reference", "second")
    }
    assert 0 < sizes["second"] < sizes["reference"]
    window, share = seen_share(trunk.pancreas, plan, None, np.random.default_rng(0))
    voxel_ml = abs(np.linalg.det(plan.affine[:3, :3])) / 1000.0
    assert share.sum() * voxel_ml == pytest.approx(measure_volume_ml(trunk.pancreas), rel=0.06)

    # What is painted as pancreas is what the truth says: one tissue, painted alone.
    def look(tissue: str) -> tuple[float, ...]:
        return (1.0 if tissue in ("pancreas", "duct", "bile", "cyst") else 0.0,)

    painted = paint_trunk(trunk, plan, look)[0][window]
    certain = share > 0.98
    assert certain.sum() > 50
    assert painted[certain].mean() > 0.93


def test_a_spoiled_echo_at_90_degrees_recovers_like_a_spin_echo() -> None:
    expected = spin_echo(0.9, 800.0, 50.0, repetition_ms=400.0, echo_ms=10.0)
    found = spoiled_echo(0.9, 800.0, 50.0, repetition_ms=400.0, echo_ms=10.0, flip_deg=90.0)
    assert found == pytest.approx(expected)
    ernst = np.degrees(np.arccos(np.exp(-5.0 / 800.0)))
    signals = [
        spoiled_echo(1.0, 800.0, 1e6, repetition_ms=5.0, echo_ms=0.0, flip_deg=ernst + d)
        for d in (-1.0, 0.0, 1.0)
    ]
    assert max(signals) == signals[1]


def test_contrast_agent_and_phase_change_what_they_should() -> None:
    liver, artery = ORGANS["liver"], ORGANS["artery"]
    assert ct_value(liver, dose=0.0, early=0.5) == liver.plain_hu
    assert ct_value(artery, dose=1.0, early=1.0) > ct_value(artery, dose=1.0, early=0.0)
    assert ct_value(liver, dose=1.0, early=1.0) < ct_value(liver, dose=1.0, early=0.0)
    t1 = MrProtocol("T1", 4.2, 1.9, flip_deg=12.0, fat_suppressed=True)
    t2 = MrProtocol("T2", 4500.0, 85.0)
    for field in (1.5, 3.0):
        assert mr_signal(liver, t1, field, 1.0)[0] > 1.3 * mr_signal(liver, t1, field, 0.0)[0]
        assert mr_signal(liver, t2, field, 1.0) == mr_signal(liver, t2, field, 0.0)
        # Fluid is bright on T2 and dark on T1; the pancreas outshines the liver on T2.
        bile = ORGANS["bile"]
        assert mr_signal(bile, t2, field)[0] > 3 * mr_signal(liver, t2, field)[0]
        assert mr_signal(bile, t1, field)[0] < 0.5 * mr_signal(liver, t1, field)[0]
        assert mr_signal(ORGANS["pancreas"], t2, field)[0] > mr_signal(liver, t2, field)[0]


def test_external_centres_are_noisier_and_less_even() -> None:
    def scanners(site: str) -> list[Scanner]:
        rng = np.random.default_rng(4)
        person = replace(PERSON, modality="MR", site=site, field_strength_t=1.5)
        return [draw_scanner(rng, person, "small") for _ in range(40)]

    inside, outside = scanners("centre1"), scanners("centre5")
    assert np.mean([s.noise for s in outside]) > 1.4 * np.mean([s.noise for s in inside])
    assert np.std([s.shading for s in outside]) > 1.5 * np.std([s.shading for s in inside])


def test_global_random_state_is_untouched() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    person_trunk(1, PERSON)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
