"""The three samplings, against regions computed slice by slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_store import ball_case, write_store

from acinus.errors import ConfigError, DataError
from acinus.plan import Choice
from acinus.train import SAMPLINGS, PatchSource

N_DRAWS = 2000


def sites(name: str, label: np.ndarray) -> object:
    return SAMPLINGS[name].factory(label)


def every_voxel(label: np.ndarray) -> list[tuple[int, int, int]]:
    return [tuple(int(i) for i in voxel) for voxel in np.ndindex(label.shape)]


@pytest.fixture
def label() -> np.ndarray:
    return ball_case(0, (6, 24, 40))[1]


def test_all_three_samplings_of_the_study_are_there() -> None:
    assert SAMPLINGS.names() == ["foreground", "random", "region"]


def test_the_region_is_the_foreground_summed_over_the_slices(label: np.ndarray) -> None:
    total = np.zeros(label.shape[1:], int)
    for one_slice in label:
        total += one_slice > 0
    region = sites("region", label)
    found = np.array([region.contains(voxel) for voxel in every_voxel(label)])
    np.testing.assert_array_equal(found.reshape(label.shape), np.repeat(total[None] > 0, 6, axis=0))


def test_the_foreground_sites_are_the_labelled_voxels(label: np.ndarray) -> None:
    foreground = sites("foreground", label)
    found = np.array([foreground.contains(voxel) for voxel in every_voxel(label)])
    np.testing.assert_array_equal(found.reshape(label.shape), label > 0)


def test_random_prefers_nothing(label: np.ndarray, rng: np.random.Generator) -> None:
    nowhere = sites("random", label)
    assert nowhere.draw(rng) is None
    assert not any(nowhere.contains(voxel) for voxel in every_voxel(label))


@pytest.mark.parametrize("name", ["foreground", "region"])
def test_draws_stay_in_the_set_reach_all_of_it_and_treat_labels_alike(
    name: str, rng: np.random.Generator
) -> None:
    label = np.zeros((4, 20, 20), np.uint8)
    label[1, 2:4, 2:4] = 1  # 4 voxels of a small label
    label[2, 8:18, 8:18] = 2  # 100 of a large one
    preferred = sites(name, label)
    drawn = [preferred.draw(rng) for _ in range(N_DRAWS)]
    assert all(preferred.contains(voxel) for voxel in drawn)
    assert {voxel for voxel in drawn if voxel[1] < 6} == {
        voxel for voxel in every_voxel(label) if preferred.contains(voxel) and voxel[1] < 6
    }
    assert np.mean([voxel[1] < 6 for voxel in drawn]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("name", ["foreground", "region"])
def test_the_stated_share_of_patches_is_drawn_in_the_set(
    tmp_path: Path, label: np.ndarray, rng: np.random.Generator, name: str, share: float
) -> None:
    # Patches of one voxel: the patch is the drawn voxel.
    image = np.arange(label.size, dtype=np.float32).reshape(1, *label.shape)
    store = write_store(tmp_path, {"a": (image, label)})
    source = PatchSource(store, ["a"], Choice(name=name, config={"share": share}), (1, 1))
    batch = source.batch(N_DRAWS, rng)
    middle = batch.image[:, 0, batch.rim_vox[0], batch.rim_vox[1]].long().numpy()
    preferred = sites(name, label)
    voxels = zip(*np.unravel_index(middle, label.shape), strict=True)
    inside = [preferred.contains(tuple(int(i) for i in voxel)) for voxel in voxels]
    assert np.mean(inside) == pytest.approx(share, abs=0.04)


def test_half_of_the_patches_come_from_the_region_unless_stated(
    tmp_path: Path, label: np.ndarray
) -> None:
    store = write_store(tmp_path, {"a": (label[None].astype(np.float32), label)})
    assert PatchSource(store, ["a"], Choice(name="region"), (16, 16)).share == 0.5


def test_foreground_is_seen_most_under_foreground_then_region_then_random(tmp_path: Path) -> None:
    label = np.zeros((10, 96, 96), np.uint8)
    label[4:7, 40:48, 60:68] = 1
    store = write_store(tmp_path, {"a": (np.zeros((1, *label.shape), np.float32), label)})
    shares = {
        name: PatchSource(store, ["a"], Choice(name=name), (16, 16)).share_with_foreground(
            N_DRAWS, np.random.default_rng(5)
        )
        for name in SAMPLINGS.names()
    }
    assert shares["random"] < 0.06
    assert shares["random"] + 0.05 < shares["region"] < shares["foreground"] - 0.2
    # All patches around a labelled voxel show it, half of the patches are drawn there.
    assert 0.5 <= shares["foreground"] < 0.56
    # A patch around the region shows the label in 3 of 10 slices.
    assert shares["region"] == pytest.approx(0.5 * 0.3, abs=0.04)


@pytest.mark.parametrize("name", ["foreground", "random", "region"])
def test_an_empty_label_falls_back_to_anywhere(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    image = np.random.default_rng(0).normal(size=(1, 5, 24, 24)).astype(np.float32)
    store = write_store(tmp_path, {"a": (image, np.zeros(image.shape[1:], np.uint8))})
    source = PatchSource(store, ["a"], Choice(name=name), (8, 8))
    batch = source.batch(40, rng)
    assert not batch.has_foreground.any()
    assert len(np.unique(batch.image.numpy().reshape(40, -1), axis=0)) > 30
    assert source.share_with_foreground(40, rng) == 0


@pytest.mark.parametrize("name", ["foreground", "region"])
def test_a_label_that_fills_the_image_leaves_no_background_and_does_not_hang(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    full = np.ones((2, 8, 8), np.uint8)
    store = write_store(tmp_path, {"a": (full[None].astype(np.float32), full)})
    batch = PatchSource(store, ["a"], Choice(name=name), (4, 4)).batch(20, rng)
    assert batch.has_foreground.all()


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (Choice(name="regoin"), r"unknown sampling 'regoin'.*Did you mean 'region'\?"),
        (
            Choice(name="region", config={"shares": 0.4}),
            r"sampling 'region': unknown key 'shares'\. Did you mean 'share'\?",
        ),
        (Choice(name="region", config={"share": 1.5}), r"'share': .* less than or equal to 1"),
    ],
)
def test_an_unknown_sampling_or_setting_is_named(
    tmp_path: Path, label: np.ndarray, choice: Choice, sentence: str
) -> None:
    store = write_store(tmp_path, {"a": (label[None].astype(np.float32), label)})
    with pytest.raises(ConfigError, match=sentence):
        PatchSource(store, ["a"], choice, (8, 8))


def test_no_case_to_draw_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one case must be there to draw patches from"):
        PatchSource(write_store(tmp_path, {}), [], Choice(name="random"), (8, 8))
