"""Patches of slices and volumes are true cuts of the image, with zeros where it ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_store import write_store

import acinus.train.patches as patches_module
from acinus.plan import Choice
from acinus.prepare import Store
from acinus.train import PatchSource
from acinus.train.patches import Batch
from acinus.types import IGNORE

N = 40
Patch = tuple[int, ...]
PATCHES: list[Patch] = [(16, 16), (8, 24), (4, 8, 12), (1, 8, 12), (5, 9, 7)]
SHAPES = [(3, 40, 36), (3, 16, 16), (3, 10, 36), (3, 9, 7), (1, 17, 15), (11, 12, 13)]


def numbered(shape: tuple[int, int, int], n_channels: int = 1) -> np.ndarray:
    """Every voxel has a number of its own, from 1."""
    one = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    return np.stack([one + 10000 * channel for channel in range(n_channels)])


def source_of(
    folder: Path,
    image: np.ndarray,
    label: np.ndarray,
    patch: Patch,
    name: str = "random",
    config: dict[str, Any] | None = None,
    **options: Any,
) -> PatchSource:
    store = write_store(folder, {"a": (image, label)})
    return PatchSource(store, ["a"], Choice(name=name, config=config or {}), patch, **options)


def proper(array: torch.Tensor, batch: Batch) -> np.ndarray:
    """The patch without its rim."""
    inner = tuple(
        slice(rim, size - rim) for rim, size in zip(batch.rim_vox, array.shape[-3:], strict=True)
    )
    return array[(..., *inner)].numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("reach", [True, False])
def test_patches_are_cuts_of_the_image_padded_with_zeros(
    tmp_path: Path, rng: np.random.Generator, shape: tuple[int, int, int], patch: Patch, reach: bool
) -> None:
    image = numbered(shape, n_channels=2)
    label = (image[0] % 3).astype(np.uint8)
    source = source_of(tmp_path, image, label, patch, "foreground", reach=reach)
    batch = source.batch(N, rng)
    whole = (1, *patch)[-3:]
    assert batch.rim_vox == tuple(
        math.ceil(size / 8) if reach and size > 1 else 0 for size in whole
    )
    cut = tuple(size + 2 * rim for size, rim in zip(whole, batch.rim_vox, strict=True))
    assert batch.image.shape == (N, 2, *cut)
    assert batch.label.shape == (N, *cut)
    assert batch.image.dtype == torch.float32
    assert batch.label.dtype == torch.uint8
    padded = np.pad(image[0], [(size, size) for size in cut])
    padded_label = np.pad(label, [(size, size) for size in cut])
    for index in range(N):
        found = batch.image[index, 0].numpy()
        # Any voxel of the image tells where this patch was cut.
        inside = np.argwhere(found)[0]
        there = np.argwhere(padded == found[tuple(inside)])[0]
        where = tuple(slice(a - b, a - b + n) for a, b, n in zip(there, inside, cut, strict=True))
        np.testing.assert_array_equal(found, padded[where])
        np.testing.assert_array_equal(batch.label[index].numpy(), padded_label[where])
        np.testing.assert_array_equal(
            batch.image[index, 1].numpy(), np.where(found > 0, found + 10000, 0)
        )


@pytest.mark.parametrize("size", [(40, 36), (16, 16), (17, 60)])
@pytest.mark.parametrize("patch", [(16, 16), (2, 16, 16)])
def test_the_patch_proper_never_leaves_an_image_that_can_hold_it(
    tmp_path: Path, rng: np.random.Generator, size: tuple[int, int], patch: Patch
) -> None:
    image = numbered((3, *size))
    label = np.zeros(image.shape[1:], np.uint8)
    label[:, 0, 0] = label[:, -1, -1] = 1  # draws at the corners
    batch = source_of(tmp_path, image, label, patch, "foreground").batch(N, rng)
    assert (proper(batch.image, batch) > 0).all()


@pytest.mark.parametrize("name", ["random", "foreground", "region", "rarity"])
def test_an_image_smaller_than_the_patch_lies_in_its_middle(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    image = numbered((3, 9, 6))
    label = np.ones(image.shape[1:], np.uint8)
    batch = source_of(tmp_path, image, label, (6, 16, 16), name).batch(3, rng)
    expected = np.zeros((6, 16, 16), np.float32)
    expected[1:4, 3:12, 5:11] = image[0]
    for one in proper(batch.image, batch):
        np.testing.assert_array_equal(one[0], expected)
    assert batch.has_foreground.all()


def test_every_slice_and_every_place_is_reached(tmp_path: Path, rng: np.random.Generator) -> None:
    image = numbered((4, 10, 10))
    label = np.zeros(image.shape[1:], np.uint8)
    batch = source_of(tmp_path, image, label, (8, 8), reach=False).batch(3000, rng)
    first = batch.image[:, 0, 0, 0, 0].numpy()
    assert len(set(first)) == 4 * 3 * 3
    batch = source_of(tmp_path, image, label, (3, 8, 8), reach=False).batch(400, rng)
    assert len(set(batch.image[:, 0, 0, 0, 0].numpy())) == 2 * 3 * 3


@pytest.mark.parametrize("patch", [(16, 16), (2, 16, 16)])
def test_has_foreground_speaks_of_the_patch_without_its_rim(
    tmp_path: Path, rng: np.random.Generator, patch: Patch
) -> None:
    image = numbered((2, 40, 40))
    label = np.zeros(image.shape[1:], np.uint8)
    label[0, 20:23, 20:23] = 1
    label[1, :4] = IGNORE  # is no foreground
    batch = source_of(tmp_path, image, label, patch).batch(400, rng)
    inner = (proper(batch.label, batch) == 1).any(axis=(1, 2, 3))
    whole = (batch.label.numpy() == 1).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(batch.has_foreground, inner)
    assert inner.sum() < whole.sum()


@pytest.mark.parametrize("patch", [(16, 16), (2, 16, 16)])
@pytest.mark.parametrize("name", ["foreground", "region", "random", "oversample"])
def test_the_share_with_foreground_is_that_of_the_batches(
    tmp_path: Path, name: str, patch: Patch
) -> None:
    image = numbered((4, 40, 40))
    label = np.zeros(image.shape[1:], np.uint8)
    label[1, 20:26, 8:14] = 1
    source = source_of(tmp_path, image, label, patch, name)
    counted = source.batch(1500, np.random.default_rng(1)).has_foreground.mean()
    stated = source.share_with_foreground(1500, np.random.default_rng(2))
    assert stated == pytest.approx(counted, abs=0.05)


def test_a_preferred_voxel_lies_anywhere_in_the_patch_but_at_its_edge(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = numbered((101, 101, 1))
    label = np.zeros(image.shape[1:], np.uint8)
    label[50, 50, 0] = 1
    source = source_of(tmp_path, image, label, (16, 16, 1), "foreground", {"share": 1.0})
    batch = source.batch(600, rng)
    _, slices, rows, _ = np.nonzero(proper(batch.label, batch))
    assert len(rows) == 600
    assert set(rows) == set(slices) == set(range(2, 14))


def cases_of(n_slices: dict[str, int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        name: (numbered((n, 20, 20)), np.zeros((n, 20, 20), np.uint8))
        for name, n in n_slices.items()
    }


@pytest.mark.parametrize(
    ("patch", "name", "share"),
    [((8, 8), "random", 0.75), ((2, 8, 8), "random", 0.5), ((8, 8), "oversample", 0.5)],
    ids=["slices", "volumes", "slices as nnU-Net draws them"],
)
def test_slices_come_from_all_slices_alike_and_volumes_from_all_cases(
    tmp_path: Path, rng: np.random.Generator, patch: Patch, name: str, share: float
) -> None:
    cases = cases_of({"few": 2, "many": 6})
    source = PatchSource(write_store(tmp_path, cases), list(cases), Choice(name=name), patch)
    drawn = source.batch(1200, rng).cases
    assert np.mean([case == "many" for case in drawn]) == pytest.approx(share, abs=0.05)


# nnU-Net's oversampling -----------------------------------------------------------------------


def starts_of(batch: Batch, shape: tuple[int, int, int]) -> np.ndarray:
    """(N, 3) first voxel of each patch of a numbered image, by any voxel that it shows."""
    rows = []
    for one in batch.image[:, 0].numpy():
        inside = np.argwhere(one)[0]
        rows.append(np.unravel_index(int(one[tuple(inside)]) - 1, shape) - inside)
    return np.array(rows)


@pytest.mark.parametrize("n", [2, 3, 9, 12])
@pytest.mark.parametrize("share", [0.33, 0.5, 1.0, 0.0])
def test_the_last_patches_of_a_batch_are_centred_on_a_label_and_the_others_lie_anywhere(
    tmp_path: Path, rng: np.random.Generator, n: int, share: float
) -> None:
    """By nnU-Net 2.8.1: patch j is forced unless j < round(n · (1 - share))."""
    shape, patch = (20, 30, 40), (6, 8, 10)
    label = np.zeros(shape, np.uint8)
    label[12, 11, 21] = 1
    label[1, 28, 38] = 2
    options = {"config": {"share": share}, "reach": False}
    source = source_of(tmp_path, numbered(shape), label, patch, "oversample", **options)
    n_forced = n - round(n * (1 - share))
    anywhere = []
    for _ in range(20):
        starts = starts_of(source.batch(n, rng), shape)
        for start in starts[n - n_forced :]:
            # The second lies near the start of one axis and beyond the last whole patch of others.
            assert tuple(start) in {(9, 7, 16), (0, 24, 33)}
        anywhere += list(starts[: n - n_forced])
    if anywhere:
        assert np.min(anywhere) >= 0
        assert (np.max(anywhere, axis=0) <= np.subtract(shape, patch)).all()
        assert len({tuple(start) for start in anywhere}) > 0.8 * len(anywhere)


def test_batches_of_two_of_nnunet_show_a_label_in_one_patch(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    label = np.zeros((4, 60, 60), np.uint8)
    label[2, 30, 30] = 1
    source = source_of(tmp_path, numbered(label.shape), label, (2, 8, 8), "oversample", reach=False)
    shown = np.array([source.batch(2, rng).has_foreground for _ in range(100)])
    assert shown[:, 1].all()
    assert shown[:, 0].mean() < 0.1


def test_labels_are_drawn_alike_then_their_voxels_in_slices_too(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    label = np.zeros((6, 20, 20), np.uint8)
    label[1, 5, 5] = 1
    label[3:5, 8:18, 8:18] = 2
    options = {"config": {"share": 1.0}, "reach": False}
    source = source_of(tmp_path, numbered(label.shape), label, (9, 9), "oversample", **options)
    batch = source.batch(600, rng)
    middle = batch.label[:, 0, 4, 4].numpy()
    assert set(middle) == {1, 2}
    assert np.mean(middle == 1) == pytest.approx(0.5, abs=0.07)
    assert set(starts_of(batch, label.shape)[:, 0]) == {1, 3, 4}


# Where batches are made -----------------------------------------------------------------------


def test_flags_of_annotation_follow_the_cases(tmp_path: Path, rng: np.random.Generator) -> None:
    cases = cases_of({"a": 2, "b": 2, "c": 2})
    flags = {"a": [True, False, True], "b": [False, True, True]}
    source = PatchSource(
        write_store(tmp_path, cases), list(cases), Choice(name="random"), (8, 8), annotated=flags
    )
    batch = source.batch(40, rng)
    assert batch.annotated is not None
    expected = [flags.get(case, [True, True, True]) for case in batch.cases]
    assert batch.annotated.tolist() == expected
    assert set(batch.cases) == set(cases)
    plain = PatchSource(Store(tmp_path), list(cases), Choice(name="random"), (8, 8))
    assert plain.batch(2, rng).annotated is None


@pytest.mark.parametrize(("free", "kept"), [(10**6, 0.0), (10**6, 0.99e6), (10, 0.0)])
def test_cases_stay_on_the_device_where_they_fit_into_its_memory(
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    kept: float,
) -> None:
    """A CUDA device is told by its name; what it has free is made up."""
    store = write_store(tmp_path, cases_of({"a": 2, "b": 3}))
    source = PatchSource(store, ["a", "b"], Choice(name="random"), (8, 8))
    assert source.is_resident  # on a CPU the memory maps are read where they are
    monkeypatch.setattr(patches_module, "free_bytes", lambda device: free)
    source.device = torch.device("cuda")
    n_bytes = sum(store.image(case).nbytes + store.label(case).nbytes for case in ("a", "b"))
    assert source._home(store, ["a", "b"], kept).type == (
        "cuda" if n_bytes < (free - kept) / 2 else "cpu"
    )
    assert not source.is_resident


@pytest.mark.parametrize("patch", [(16, 16), (2, 16, 16)])
def test_the_generator_alone_decides_a_batch(tmp_path: Path, patch: Patch) -> None:
    image = numbered((3, 40, 40))
    label = (image[0] % 7 == 0).astype(np.uint8)
    source = source_of(tmp_path, image, label, patch, "region")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (source.batch(8, np.random.default_rng(seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_batch_is_its_own_memory(tmp_path: Path, rng: np.random.Generator) -> None:
    """Augmentation changes it in place; the prepared arrays must stay as they are."""
    image = numbered((3, 20, 20))
    label = np.ones(image.shape[1:], np.uint8)
    source = source_of(tmp_path, image, label, (3, 20, 20), reach=False)
    batch = source.batch(2, rng)
    batch.image.zero_()
    batch.label.zero_()
    np.testing.assert_array_equal(source.batch(1, rng).image[0].numpy(), image)


def test_rarity_weighs_values_also_where_there_are_regions(tmp_path: Path) -> None:
    """Values 1, 2, 4 of tumours, whose regions are numbered 1, 2, 3."""
    label = np.zeros((4, 60, 60), np.uint8)
    label[:, :30, :30] = 1
    label[:, 40:44, 40:44] = 2
    label[:, 50:54, 10:14] = 4
    store = write_store(tmp_path, {"a": (label[None].astype(np.float32), label)})
    sampling = Choice(name="rarity", config={"share": 1.0})
    shares = []
    for regions in (None, ((1, 2, 4), (2, 4), (4,))):
        source = PatchSource(store, ["a"], sampling, [1, 1], reach=False, regions=regions)
        centres = source.batch(1500, np.random.default_rng(1)).label.flatten().numpy()
        shares.append([float(np.mean(centres == value)) for value in (1, 2, 4)])
    assert shares[0] == shares[1]
    assert shares[0][1] == pytest.approx(shares[0][2], abs=0.06)
    assert shares[0][1] > 3 * shares[0][0]


def test_with_regions_each_region_is_drawn_as_often(tmp_path: Path) -> None:
    """As nnU-Net: the large label belongs to one region, the small one to all three."""
    label = np.zeros((4, 60, 60), np.uint8)
    label[:, :30, :30] = 1
    label[:, 40:44, 40:44] = 2
    label[:, 50:54, 10:14] = 3
    store = write_store(tmp_path, {"a": (label[None].astype(np.float32), label)})
    sampling = Choice(name="oversample", config={"share": 1.0})
    shares = []
    for regions in (None, ((1, 2, 3), (2, 3), (3,))):
        source = PatchSource(store, ["a"], sampling, [1, 1], reach=False, regions=regions)
        centres = source.batch(1500, np.random.default_rng(1)).label.flatten().numpy()
        shares.append([float(np.mean(centres == value)) for value in (1, 2, 3)])
    assert shares[0] == pytest.approx([1 / 3] * 3, abs=0.05)
    # A third of the draws each: the whole (nearly all label 1), 2 and 3 alike, 3 alone.
    sites = {value: (label == value).sum() for value in (1, 2, 3)}
    whole = np.array([sites[v] for v in (1, 2, 3)]) / sum(sites.values())
    expected = (whole + np.array([0, 0.5, 0.5]) + np.array([0, 0, 1])) / 3
    assert shares[1] == pytest.approx(expected, abs=0.06)
