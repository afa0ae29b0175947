"""Volumes, shapes and places of the true glands."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.cohort.phantom.counts import draw_patients
from acinus.cohort.phantom.glands import (
    VOLUME_RANGE_ML,
    Gland,
    draw_gland,
    draw_volumes_ml,
    measure_volume_ml,
)
from acinus.types import Array

GLOBE = (32.5, 0.0, 0.0)


def _gland(rng: np.random.Generator, volume_ml: float, side: int = 1) -> Gland:
    return draw_gland(
        rng,
        side=side,
        globe=(side * GLOBE[0], 0.0, 0.0),
        globe_radius_mm=12.0,
        volume_ml=volume_ml,
        is_bulging=volume_ml > 1.0,
        age=50,
    )


def _points(gland: Gland, step_mm: float = 0.5) -> Array:
    """World points inside the gland, counted on a plain grid."""
    reach = np.arange(-24.0, 24.0, step_mm)
    axes = [c + reach for c in gland.centre]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    inside = gland.distance_mm(x, y, z) < 0
    return np.column_stack([x[inside], y[inside], z[inside]])


@pytest.mark.parametrize("volume_ml", [0.16, 0.6, 1.9])
def test_volume_is_what_was_asked_for(rng: np.random.Generator, volume_ml: float) -> None:
    gland = _gland(rng, volume_ml)
    counted_ml = len(_points(gland)) * 0.5**3 / 1000.0
    assert counted_ml == pytest.approx(volume_ml, rel=0.03)
    assert measure_volume_ml(gland) == pytest.approx(counted_ml, rel=0.02)


@pytest.mark.parametrize("side", [1, -1])
def test_gland_lies_superolateral_of_the_globe(rng: np.random.Generator, side: int) -> None:
    offsets = []
    for _ in range(5):
        gland = _gland(rng, 0.6, side)
        points = _points(gland, 0.8)
        lateral, _, superior = (points - np.asarray(gland.globe)).mean(axis=0) * [side, 1, 1]
        offsets.append((lateral, superior))
        assert np.linalg.norm(points - np.asarray(gland.globe), axis=1).min() >= 12.0
    lateral, superior = np.mean(offsets, axis=0)
    assert 10.0 < lateral < 15.0
    assert 1.0 < superior < 7.0


def test_distance_is_about_in_millimetres(rng: np.random.Generator) -> None:
    gland = _gland(rng, 0.6)
    x, y, z = (np.array([c]) for c in gland.centre)
    outward = np.asarray(gland.direction)
    far = gland.distance_mm(x + 8 * outward[0], y + 8 * outward[1], z + 8 * outward[2])
    near = gland.distance_mm(x + 5 * outward[0], y + 5 * outward[1], z + 5 * outward[2])
    assert far[0] - near[0] == pytest.approx(3.0, abs=0.6)
    assert gland.distance_mm(x, y, z)[0] < 0


def test_volumes_are_distributed_like_the_real_ones() -> None:
    patients = draw_patients(np.random.default_rng(5), 400, "all")
    rng = np.random.default_rng(6)
    drawn = np.array([draw_volumes_ml(rng, p.condition, p.age)[0] for p in patients])
    normal = drawn[[p.condition == "normal" for p in patients]]
    # Real: mean 0.63, sd 0.17, 0.32 to 1.04 mL, right and left correlated with 0.72.
    assert normal.mean() == pytest.approx(0.62, abs=0.04)
    assert normal.std() == pytest.approx(0.17, abs=0.03)
    assert np.corrcoef(normal.T)[0, 1] == pytest.approx(0.72, abs=0.12)
    assert drawn.min() >= VOLUME_RANGE_ML[0] and drawn.max() <= VOLUME_RANGE_ML[1]
    assert drawn.min() < 0.25 and drawn.max() > 1.5
    assert drawn.mean() == pytest.approx(0.64, abs=0.06)


def test_one_sided_disease_spares_a_side() -> None:
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(20):
        (right, left), _ = draw_volumes_ml(rng, "one_sided", 54)
        ratios.append(max(right, left) / min(right, left))
    assert np.median(ratios) > 1.5
