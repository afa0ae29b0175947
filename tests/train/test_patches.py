"""Patches are true cuts of the image, with zeros where it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_store import write_store

from acinus.plan import Choice
from acinus.train import PatchSource

N = 60


def numbered(shape: tuple[int, int, int], n_channels: int = 1) -> np.ndarray:
    """Every voxel has a number of its own, from 1."""
    one = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    return np.stack([one + 10000 * channel for channel in range(n_channels)])


def source_of(
    folder: Path, image: np.ndarray, label: np.ndarray, patch: tuple[int, int], name: str = "random"
) -> PatchSource:
    store = write_store(folder, {"a": (image, label)})
    return PatchSource(store, ["a"], Choice(name=name), patch)


@pytest.mark.parametrize("shape", [(3, 40, 36), (3, 16, 16), (3, 10, 36), (3, 9, 7), (1, 17, 15)])
@pytest.mark.parametrize("patch", [(16, 16), (8, 24)])
def test_patches_are_cuts_of_the_image_padded_with_zeros(
    tmp_path: Path, rng: np.random.Generator, shape: tuple[int, int, int], patch: tuple[int, int]
) -> None:
    image = numbered(shape, n_channels=2)
    label = (image[0] % 3).astype(np.uint8)
    batch = source_of(tmp_path, image, label, patch, "foreground").batch(N, rng)
    rim = batch.rim_vox
    cut = tuple(p + 2 * r for p, r in zip(patch, rim, strict=True))
    assert batch.image.shape == (N, 2, *cut)
    assert batch.label.shape == (N, *cut)
    pad = tuple(patch[axis] + rim[axis] for axis in (0, 1))
    padding = ((0, 0), (pad[0],) * 2, (pad[1],) * 2)
    padded = np.pad(image[0], padding)
    padded_label = np.pad(label, padding)
    for index in range(N):
        found = batch.image[index, 0].numpy()
        # Any voxel of the image tells where this patch was cut.
        row, column = (int(i[0]) for i in np.nonzero(found))
        s, r, q = (int(i[0]) for i in np.nonzero(padded == found[row, column]))
        where = (s, slice(r - row, r - row + cut[0]), slice(q - column, q - column + cut[1]))
        np.testing.assert_array_equal(found, padded[where])
        np.testing.assert_array_equal(batch.label[index].numpy(), padded_label[where])
        np.testing.assert_array_equal(
            batch.image[index, 1].numpy(), np.where(found > 0, found + 10000, 0)
        )


@pytest.mark.parametrize("size", [(40, 36), (16, 16), (17, 60)])
def test_the_patch_proper_never_leaves_an_image_that_can_hold_it(
    tmp_path: Path, rng: np.random.Generator, size: tuple[int, int]
) -> None:
    image = numbered((2, *size))
    label = np.zeros(image.shape[1:], np.uint8)
    label[:, 0, 0] = label[:, -1, -1] = 1  # draws at the corners
    batch = source_of(tmp_path, image, label, (16, 16), "foreground").batch(N, rng)
    rows, columns = batch.rim_vox
    assert (batch.image[:, :, rows:-rows, columns:-columns] > 0).all()


def test_an_image_smaller_than_the_patch_lies_in_its_middle(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = numbered((1, 9, 6))
    label = np.ones(image.shape[1:], np.uint8)
    batch = source_of(tmp_path, image, label, (16, 16)).batch(3, rng)
    inner = batch.image[:, 0, 2:-2, 2:-2].numpy()
    expected = np.zeros((16, 16), np.float32)
    expected[3:12, 5:11] = image[0, 0]
    for one in inner:
        np.testing.assert_array_equal(one, expected)
    assert batch.has_foreground.all()


def test_has_foreground_speaks_of_the_patch_without_its_rim(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = numbered((2, 40, 40))
    label = np.zeros(image.shape[1:], np.uint8)
    label[0, 20:23, 20:23] = 1
    batch = source_of(tmp_path, image, label, (16, 16)).batch(400, rng)
    inner = batch.label[:, 2:-2, 2:-2].numpy().any(axis=(1, 2))
    whole = batch.label.numpy().any(axis=(1, 2))
    np.testing.assert_array_equal(batch.has_foreground, inner)
    assert inner.sum() < whole.sum()


@pytest.mark.parametrize("name", ["foreground", "region", "random"])
def test_the_share_with_foreground_is_that_of_the_batches(tmp_path: Path, name: str) -> None:
    image = numbered((4, 40, 40))
    label = np.zeros(image.shape[1:], np.uint8)
    label[1, 20:26, 8:14] = 1
    source = source_of(tmp_path, image, label, (16, 16), name)
    counted = source.batch(1500, np.random.default_rng(1)).has_foreground.mean()
    stated = source.share_with_foreground(1500, np.random.default_rng(2))
    assert stated == pytest.approx(counted, abs=0.05)


def test_a_preferred_voxel_lies_anywhere_in_the_patch_but_at_its_edge(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = numbered((1, 101, 101))
    label = np.zeros(image.shape[1:], np.uint8)
    label[0, 50, 50] = 1
    store = write_store(tmp_path, {"a": (image, label)})
    source = PatchSource(store, ["a"], Choice(name="foreground", config={"share": 1.0}), (16, 16))
    batch = source.batch(600, rng)
    _, rows, columns = np.nonzero(batch.label[:, 2:-2, 2:-2].numpy())
    assert len(rows) == 600
    assert set(rows) == set(columns) == set(range(2, 14))


def test_cases_are_drawn_in_proportion_to_their_slices(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    cases = {
        name: (numbered((n, 20, 20)), np.zeros((n, 20, 20), np.uint8))
        for name, n in {"few": 2, "many": 6}.items()
    }
    source = PatchSource(write_store(tmp_path, cases), list(cases), Choice(name="random"), (8, 8))
    drawn = source.batch(1200, rng).cases
    assert np.mean([case == "many" for case in drawn]) == pytest.approx(0.75, abs=0.05)


def test_the_generator_alone_decides_a_batch(tmp_path: Path) -> None:
    image = numbered((3, 40, 40))
    label = (image[0] % 7 == 0).astype(np.uint8)
    source = source_of(tmp_path, image, label, (16, 16), "region")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (source.batch(8, np.random.default_rng(seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
