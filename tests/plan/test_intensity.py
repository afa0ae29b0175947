"""Samples of foreground intensities and what they add up to, against the voxels themselves."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.plan.intensity import MOST_SORTED, MOST_VALUES, combine_samples, take_sample


@pytest.mark.parametrize("kind", ["normal", "skewed", "whole"])
def test_one_large_case_keeps_its_statistics(kind: str) -> None:
    rng = np.random.default_rng(5)
    voxels = {
        "normal": rng.normal(40, 90, 2 * MOST_SORTED + 7),
        "skewed": rng.lognormal(3, 1.5, 2 * MOST_SORTED + 7),
        "whole": rng.integers(-1024, 3000, 2 * MOST_SORTED + 7),
    }[kind]
    sample = take_sample(voxels)
    assert sample is not None
    assert len(sample.values) <= MOST_VALUES
    assert sample.shares.sum() == pytest.approx(1)
    got = combine_samples([sample])
    assert got is not None
    assert got.mean == pytest.approx(voxels.mean(), rel=1e-9)
    assert got.sd == pytest.approx(voxels.std(), rel=1e-9)
    assert (got.min, got.max) == (voxels.min(), voxels.max())
    for value, percentile in ((got.low, 0.5), (got.median, 50), (got.high, 99.5)):
        # In ranks, since the tail of a skewed distribution is stretched.
        assert 100 * np.mean(voxels <= value) == pytest.approx(percentile, abs=0.05)


def test_few_voxels_are_kept_exactly() -> None:
    sample = take_sample(np.array([3.0, 1.0, 3.0, 2.0]))
    assert sample is not None
    assert sample.values.tolist() == [1, 2, 3]
    assert sample.shares.tolist() == [0.25, 0.25, 0.5]


def test_what_is_not_finite_is_left_out() -> None:
    sample = take_sample(np.array([np.nan, 4.0, np.inf]))
    assert sample is not None
    assert sample.values.tolist() == [4.0]
    assert take_sample(np.array([np.nan])) is None
    assert take_sample(np.array([], dtype=np.int16)) is None
    assert combine_samples([]) is None
