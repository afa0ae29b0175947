"""Intensities against their formulas, written out with plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.prepare import normalise

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


@pytest.mark.parametrize("how", ["min_max", "z_score"])
def test_a_constant_image_is_all_zero(how: str) -> None:
    result = normalise(np.full((2, 3, 4), 7, np.int16), how)
    assert result.dtype == np.float32
    assert not result.any()


@pytest.mark.parametrize("how", ["min_max", "z_score"])
def test_the_callers_array_is_left_alone(rng: np.random.Generator, how: str) -> None:
    array = rng.normal(50, 9, (4, 5, 6)).astype(np.float32)
    before = array.copy()
    normalise(array, how)
    np.testing.assert_array_equal(array, before)
