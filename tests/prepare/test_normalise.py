"""Intensities against their formulas, written out with plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.errors import DataError, PlanError
from acinus.plan.settings import ChannelIntensity, PrepareSettings
from acinus.prepare import normalise
from acinus.prepare.normalise import channel_normalisation

DTYPES = ["float32", "float64", "int16", "uint8", "uint16", ">i2"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_min_max_maps_the_smallest_to_0_and_the_largest_to_1(
    rng: np.random.Generator, dtype: str
) -> None:
    array = rng.uniform(3, 250, (4, 5, 6)).astype(dtype)
    values = array.astype(np.float64)
    expected = (values - values.min()) / (values.max() - values.min())
    result = normalise(array, "min_max")
    assert result.dtype == np.float32
    assert (result.min(), result.max()) == (0.0, 1.0)
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_z_score_has_mean_0_and_sd_1(rng: np.random.Generator, dtype: str) -> None:
    array = rng.uniform(3, 250, (4, 5, 6)).astype(dtype)
    values = array.astype(np.float64)
    result = normalise(array, "z_score")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, (values - values.mean()) / values.std(), atol=1e-5)
    assert result.mean() == pytest.approx(0, abs=1e-6)
    assert result.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("how", ["min_max", "z_score"])
def test_a_linear_change_of_the_scanner_changes_nothing(rng: np.random.Generator, how: str) -> None:
    array = rng.normal(50, 9, (4, 5, 6))
    np.testing.assert_allclose(normalise(3.5 * array - 20, how), normalise(array, how), atol=1e-5)


@pytest.mark.parametrize("how", ["min_max", "z_score", "rescale_0_1"])
def test_a_constant_image_is_all_zero(how: str) -> None:
    result = normalise(np.full((2, 3, 4), 7, np.int16), how)
    assert result.dtype == np.float32
    assert not result.any()


@pytest.mark.parametrize("value", [0.1, -1024.3, 3e4])
def test_a_constant_that_is_no_round_number_is_all_zero(value: float) -> None:
    # The mean of many equal numbers is off by its rounding, and so would the result be.
    assert not normalise(np.full((30, 70, 90), value, np.float32), "z_score").any()


def test_a_large_offset_costs_no_digits(rng: np.random.Generator) -> None:
    array = (30_000 + rng.normal(0, 10, (20, 60, 50))).astype(np.float32)
    values = array.astype(np.float64)
    expected = (values - values.mean()) / values.std()
    np.testing.assert_allclose(normalise(array, "z_score"), expected, atol=5e-4)


def test_ct_is_clipped_and_measured_by_the_dataset(rng: np.random.Generator) -> None:
    array = rng.normal(0, 400, (5, 6, 7)).astype(np.int16)
    known = ChannelIntensity(mean=40.0, sd=30.0, low=-160.0, high=240.0)
    expected = (np.clip(array.astype(np.float64), -160, 240) - 40) / 30
    np.testing.assert_allclose(normalise(array, "ct", intensity=known), expected, atol=1e-5)
    # The image itself has no say: shifted, it stays shifted.
    moved = normalise(array + 20, "ct", intensity=known)
    assert (moved - normalise(array, "ct", intensity=known)).max() == pytest.approx(20 / 30)
    with pytest.raises(PlanError, match=r"prepare\.intensity must be given for 'ct'"):
        normalise(array, "ct")


def test_colours_are_divided_by_255(rng: np.random.Generator) -> None:
    array = rng.integers(0, 256, (1, 8, 9)).astype(np.uint8)
    np.testing.assert_allclose(normalise(array, "rgb_0_1"), array / 255, atol=1e-7)
    with pytest.raises(DataError, match=r"from 0 to 255; got -3 to 256\. Give the channel"):
        normalise(np.array([-3, 256]), "rgb_0_1")


def test_none_leaves_the_values(rng: np.random.Generator) -> None:
    array = rng.normal(5, 9, (3, 4)).astype(">f8")
    result = normalise(array, "none")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, array.astype(np.float32))


def test_z_scores_of_a_part_leave_the_rest(rng: np.random.Generator) -> None:
    array = rng.normal(50, 9, (4, 5, 6))
    inside = rng.random((4, 5, 6)) < 0.4
    array[~inside] = 0
    values = array[inside]
    expected = np.zeros_like(array)
    expected[inside] = (values - values.mean()) / values.std()
    np.testing.assert_allclose(normalise(array, "z_score", inside=inside), expected, atol=1e-5)
    nothing = np.zeros_like(inside)
    np.testing.assert_array_equal(normalise(array, "z_score", inside=nothing), array.astype("f4"))


def test_each_channel_has_its_own() -> None:
    known = ChannelIntensity(mean=1, sd=2, low=0, high=3)
    settings = PrepareSettings(normalisation=("ct", "z_score"), intensity=(known, known))
    assert channel_normalisation(settings, 2) == (("ct", known), ("z_score", known))
    one = PrepareSettings(normalisation="min_max")
    assert channel_normalisation(one, 2) == (("min_max", None),) * 2


@pytest.mark.parametrize("how", ["min_max", "z_score"])
def test_the_callers_array_is_left_alone(rng: np.random.Generator, how: str) -> None:
    array = rng.normal(50, 9, (4, 5, 6)).astype(np.float32)
    before = array.copy()
    normalise(array, how)
    np.testing.assert_array_equal(array, before)
