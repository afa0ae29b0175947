"""The samplings, against regions computed slice by slice and chances stated by formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_store import ball_case, write_store

from acinus.errors import ConfigError, DataError
from acinus.plan import Choice
from acinus.prepare.sites import label_sites
from acinus.train import SAMPLINGS, PatchSource
from acinus.train.sampling.rarity import RarityConfig, label_weights
from acinus.types import IGNORE

N_DRAWS = 2000


def sites(name: str, label: np.ndarray) -> object:
    return SAMPLINGS[name].factory(label, label_sites(label, "a"))


def every_voxel(label: np.ndarray) -> list[tuple[int, int, int]]:
    return [tuple(int(i) for i in voxel) for voxel in np.ndindex(label.shape)]


@pytest.fixture
def label() -> np.ndarray:
    return ball_case(0, (6, 24, 40))[1]


LABELLED = ["foreground", "oversample", "rarity"]
"""Samplings whose preferred set is the labelled voxels."""


def test_the_samplings_that_can_be_named() -> None:
    assert SAMPLINGS.names() == ["foreground", "oversample", "random", "rarity", "region"]


def test_the_region_is_the_foreground_summed_over_the_slices(label: np.ndarray) -> None:
    total = np.zeros(label.shape[1:], int)
    for one_slice in label:
        total += one_slice > 0
    region = sites("region", label)
    found = np.array([region.contains(voxel) for voxel in every_voxel(label)])
    np.testing.assert_array_equal(found.reshape(label.shape), np.repeat(total[None] > 0, 6, axis=0))


@pytest.mark.parametrize("name", LABELLED)
def test_the_foreground_sites_are_the_labelled_voxels(name: str, label: np.ndarray) -> None:
    foreground = sites(name, label)
    found = np.array([foreground.contains(voxel) for voxel in every_voxel(label)])
    np.testing.assert_array_equal(found.reshape(label.shape), label > 0)


def test_random_prefers_nothing(label: np.ndarray, rng: np.random.Generator) -> None:
    nowhere = sites("random", label)
    assert nowhere.draw(rng) is None
    assert not any(nowhere.contains(voxel) for voxel in every_voxel(label))


@pytest.mark.parametrize("name", [*LABELLED, "region"])
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
@pytest.mark.parametrize("name", ["foreground", "rarity", "region"])
def test_the_stated_share_of_patches_is_drawn_in_the_set(
    tmp_path: Path, label: np.ndarray, rng: np.random.Generator, name: str, share: float
) -> None:
    # Patches of one voxel: the patch is the drawn voxel.
    image = np.arange(label.size, dtype=np.float32).reshape(1, *label.shape)
    store = write_store(tmp_path, {"a": (image, label)})
    source = PatchSource(store, ["a"], Choice(name=name, config={"share": share}), (1, 1))
    batch = source.batch(N_DRAWS, rng)
    middle = batch.image[:, 0, 0, batch.rim_vox[1], batch.rim_vox[2]].long().numpy()
    preferred = sites(name, label)
    voxels = zip(*np.unravel_index(middle, label.shape), strict=True)
    inside = [preferred.contains(tuple(int(i) for i in voxel)) for voxel in voxels]
    assert np.mean(inside) == pytest.approx(share, abs=0.04)


def test_half_of_the_patches_come_from_the_region_unless_stated(
    tmp_path: Path, label: np.ndarray
) -> None:
    store = write_store(tmp_path, {"a": (label[None].astype(np.float32), label)})
    assert PatchSource(store, ["a"], Choice(name="region"), (16, 16)).config.share == 0.5


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


@pytest.mark.parametrize("name", SAMPLINGS.names())
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


@pytest.mark.parametrize("name", ["foreground", "rarity", "region"])
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


# Rarity ---------------------------------------------------------------------------------------


def test_weights_follow_the_formula() -> None:
    """100, 400 and 1600 voxels: 4, 2 and 1 times as often as the largest."""
    weights = label_weights([{1: 100, 2: 200}, {2: 200, 3: 1600}], RarityConfig())
    assert weights == pytest.approx({1: 4 / 7, 2: 2 / 7, 3: 1 / 7})
    alike = label_weights([{1: 100, 2: 400}], RarityConfig(power=0))
    assert alike == pytest.approx({1: 0.5, 2: 0.5})
    bounded = label_weights([{1: 1, 2: 10**8}], RarityConfig(most=3))
    assert bounded == pytest.approx({1: 0.75, 2: 0.25})
    steep = label_weights([{1: 10, 2: 40}], RarityConfig(power=1))
    assert steep == pytest.approx({1: 0.8, 2: 0.2})
    assert label_weights([{}, {}], RarityConfig()) == {}


def rare_cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label 1 in every case (256 voxels each), label 2 in the last of four (16 voxels)."""
    cases = {}
    for number in range(4):
        label = np.zeros((4, 32, 32), np.uint8)
        label[1, 4:20, 4:20] = 1
        if number == 3:
            label[2, 26:30, 26:30] = 2
        cases[f"c{number}"] = (np.full((1, *label.shape), number, np.float32), label)
    return cases


def test_a_rare_label_and_its_only_case_are_drawn_as_often_as_stated(tmp_path: Path) -> None:
    """1024 and 16 voxels: 8 to 1. The other label comes from all four cases alike."""
    cases = rare_cases()
    choice = Choice(name="rarity", config={"share": 1.0})
    source = PatchSource(write_store(tmp_path, cases), list(cases), choice, (1, 1), reach=False)
    batch = source.batch(4 * N_DRAWS, np.random.default_rng(3))
    label = batch.label[:, 0, 0, 0].numpy()
    case = batch.image[:, 0, 0, 0, 0].numpy()
    assert np.mean(label == 2) == pytest.approx(8 / 9, abs=0.01)
    assert set(case[label == 2]) == {3.0}
    shares = [np.mean(case[label == 1] == number) for number in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.06)


def test_other_patches_come_from_all_cases_alike_and_show_no_label(tmp_path: Path) -> None:
    cases = rare_cases()
    choice = Choice(name="rarity", config={"share": 0.0})
    source = PatchSource(write_store(tmp_path, cases), list(cases), choice, (1, 1), reach=False)
    batch = source.batch(N_DRAWS, np.random.default_rng(3))
    shares = [np.mean(batch.image[:, 0, 0, 0, 0].numpy() == number) for number in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.05)
    assert not batch.has_foreground.any()


def test_a_rare_label_is_seen_less_under_foreground(tmp_path: Path) -> None:
    cases = rare_cases()
    store = write_store(tmp_path, cases)
    seen = {}
    for name in ("foreground", "rarity"):
        source = PatchSource(store, list(cases), Choice(name=name), (8, 8), reach=False)
        batch = source.batch(N_DRAWS, np.random.default_rng(3))
        seen[name] = float((batch.label == 2).flatten(1).any(1).float().mean())
    assert seen["rarity"] > 3 * seen["foreground"]


def test_the_same_seed_draws_the_same_patches_of_volumes(tmp_path: Path) -> None:
    cases = rare_cases()
    source = PatchSource(
        write_store(tmp_path, cases), list(cases), Choice(name="rarity"), (2, 8, 8)
    )
    first, second = (source.batch(12, np.random.default_rng(4)) for _ in range(2))
    assert first.cases == second.cases
    assert first.label.equal(second.label)


# Voxels of which the reference says nothing -----------------------------------------------------


@pytest.mark.parametrize("name", SAMPLINGS.names())
def test_ignored_voxels_are_never_preferred(name: str, rng: np.random.Generator) -> None:
    label = np.zeros((4, 20, 20), np.uint8)
    label[1, 2:4, 2:4] = 1
    label[2:, 10:] = IGNORE
    preferred = sites(name, label)
    assert not preferred.contains((3, 15, 15))
    drawn = [preferred.draw(rng) for _ in range(100)]
    if name != "random":
        assert all(voxel[1] < 4 and voxel[2] < 4 for voxel in drawn)


@pytest.mark.parametrize("name", SAMPLINGS.names())
def test_patches_lie_where_the_reference_says_something(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    """One slice of ten was drawn, the others are ignored: every patch shows that slice."""
    label = np.full((10, 40, 40), IGNORE, np.uint8)
    label[6] = 0
    label[6, 10:14, 10:14] = 1
    image = np.broadcast_to(np.arange(10, dtype=np.float32)[:, None, None], label.shape)
    store = write_store(tmp_path, {"a": (np.ascontiguousarray(image)[None], label)})
    batch = PatchSource(store, ["a"], Choice(name=name), (8, 8), reach=False).batch(60, rng)
    assert bool((batch.label != IGNORE).all())
    assert batch.has_foreground.mean() < 0.7


@pytest.mark.parametrize("name", SAMPLINGS.names())
def test_a_reference_that_says_nothing_at_all_falls_back_to_anywhere(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    label = np.full((4, 16, 16), IGNORE, np.uint8)
    store = write_store(tmp_path, {"a": (np.zeros((1, *label.shape), np.float32), label)})
    batch = PatchSource(store, ["a"], Choice(name=name), (8, 8)).batch(8, rng)
    assert not batch.has_foreground.any()
