"""Stored voxels of each label: true, spread evenly, the same for the same case."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.prepare import label_sites
from acinus.prepare.sites import sites_as_table, sites_from_table
from acinus.types import IGNORE


def test_small_labels_are_kept_whole(rng: np.random.Generator) -> None:
    label = rng.choice(np.array([0, 1, 2, 7], np.uint8), (6, 7, 8), p=[0.9, 0.05, 0.04, 0.01])
    sites = label_sites(label, "p01")
    assert set(sites) == set(np.unique(label)) - {0}
    for value, found in sites.items():
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, np.argwhere(label == value))


def test_large_labels_are_sampled_evenly_without_repeats() -> None:
    label = np.zeros((20, 30, 40), np.uint8)
    label[2:18, 3:27, 4:36] = 1
    found = label_sites(label, "p01", most=3000)[1]
    assert len(np.unique(found, axis=0)) == len(found) == 3000
    assert label[tuple(found.T)].all()
    middle, half = np.array([9.5, 14.5, 19.5]), np.array([16, 24, 32])
    # The mean of 3000 uniform draws has a standard error of size / sqrt(12 * 3000).
    assert np.all(np.abs(found.mean(axis=0) - middle) < 4 * half / np.sqrt(12 * 3000))


def test_the_case_seeds_the_draw() -> None:
    label = np.ones((10, 10, 10), np.uint8)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (label_sites(label, name, most=50)[1] for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_ignored_voxels_are_no_sites_and_make_annotated_background_known() -> None:
    label = np.full((3, 4, 5), IGNORE, np.uint8)
    label[1] = 0
    label[1, 2, 3] = 4
    sites = label_sites(label, "p01")
    assert set(sites) == {0, 4}
    np.testing.assert_array_equal(sites[4], [[1, 2, 3]])
    np.testing.assert_array_equal(sites[0], np.argwhere(label == 0))
    label[1] = IGNORE
    assert label_sites(label, "p01") == {}


@pytest.mark.parametrize("size", [(2, 3, 4), (1, 2, 300), (1, 1, 70_000)])
def test_sites_survive_their_table(size: tuple[int, int, int]) -> None:
    label = np.zeros(size, np.uint8)
    label[-1, -1, -2:] = 200, 7
    sites = label_sites(label, "p01")
    table = sites_as_table(sites)
    assert table.dtype.kind == "u"
    again = sites_from_table(table)
    assert list(again) == list(sites) == [7, 200]
    for value in sites:
        np.testing.assert_array_equal(again[value], sites[value])
        assert again[value].dtype == np.int32
    assert sites_from_table(sites_as_table({})) == {}
