"""Scans that are too large for the memory: the parts, and that they make what the whole makes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch
from test_batch import labels_of, table_of
from torch import Tensor

import acinus.predict.batch as batch_module
import acinus.predict.parts as parts_module
from acinus import progress
from acinus.errors import MemoryLimitError
from acinus.networks.contract import SegmentationNetwork
from acinus.plan import Plan
from acinus.predict import load_model, predict_paths
from acinus.predict.memory import MINIMUM_SHARE
from acinus.predict.model import Member, Model, assembled
from acinus.predict.parts import ROOM_SHARE, parts_that_fit, rim_vox, segment_in_parts, why_whole
from acinus.prepare import look_over, normalise
from acinus.scans import Grid, Volume, oriented
from acinus.scans.slabs import VolumeSlabs
from made_plan import made_plan, unread_dataset
from tiny_cohort import affine_of, dice, head, save

TALL = (120, 48, 48)


@pytest.fixture(autouse=True)
def _without_progress() -> object:
    with progress.quiet():
        yield


class Thresholds(SegmentationNetwork):
    """A label above a value and another below one, voxel by voxel: nothing around matters."""

    def __init__(self, n_dims: int, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.n_dims, self.stride, self.n_channels, self.n_classes = n_dims, (1,) * n_dims, 1, 3
        self.low, self.high = low, high
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        seen = self.weight * images
        return torch.cat([torch.zeros_like(seen), seen - self.high, self.low - seen], dim=1)


def plan_of(n_dims: int = 3, patch_vox: tuple[int, int, int] = (8, 16, 16), **changes: Any) -> Plan:
    volumes = (
        {"network": {"name": "unet_3d", "config": {"features": [4, 8]}}} if n_dims == 3 else {}
    )
    prepare = {"spacing_mm": [None, None, None], **changes.pop("prepare", {})}
    return made_plan(
        {
            **volumes,
            "prepare": prepare,
            "train": {"patch_vox": patch_vox[3 - n_dims :], "mirroring": "none"},
            "predict": {"overlap": 0.5},
            **changes,
        },
        dataset=unread_dataset(channel_names=("T1",)),
    )


def model_of(plan: Plan) -> Model:
    ends = (0.1, 0.7) if plan.settings.prepare.normalisation == "min_max" else (-1.2, 1.0)
    network = Thresholds(plan.n_dims, *ends).eval()
    return Model((Member(plan, (network,)),), {}, "float32")


def tall_scan(seed: int = 3) -> Volume:
    image, _ = head(np.random.default_rng(seed), TALL)
    return Volume(image, affine_of(TALL))


def unlimited() -> int:
    return 2**62


def room_for_parts(model: Model, grid: Grid, n: int, share: float = ROOM_SHARE) -> int:
    """Bytes that suffice for about an nth of a scan with its rims, and for all labels."""
    rims, _ = rim_vox([member.plan for member in model.members], grid)
    z, y, x = grid.shape
    part = Grid((min(z, -(-z // n) + 2 * rims[0]), y, x), grid.affine)
    return math.ceil(model.part_bytes(part) / share) + z * y * x


# The parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_parts_fill_the_scan_once_and_see_a_rim(n: int) -> None:
    model, grid = model_of(plan_of()), tall_scan().grid
    region = (slice(3, 117), slice(0, 48), slice(5, 48))
    room = int(ROOM_SHARE * (room_for_parts(model, grid, n) - math.prod(grid.shape)))
    parts = parts_that_fit(model, grid, region, room, lambda _: None)
    counts = np.zeros(grid.shape, int)
    rims, _ = rim_vox([model.plan], grid)
    for part in parts:
        counts[part.kept] += 1
        for kept, seen, rim, whole in zip(part.kept, part.seen, rims, region, strict=True):
            assert seen.start == max(whole.start, kept.start - rim)
            assert seen.stop == min(whole.stop, kept.stop + rim)
        size = tuple(edge.stop - edge.start for edge in part.seen)
        assert model.part_bytes(Grid(size, grid.affine)) <= room
    assert counts.sum() == counts[region].sum() == np.prod([e.stop - e.start for e in region])
    assert counts.max() == 1
    assert len(parts) <= max(1, 2 * n)


def test_a_scan_that_fits_is_one_part() -> None:
    model, grid = model_of(plan_of()), tall_scan().grid
    z, y, x = (slice(0, n) for n in grid.shape)
    (part,) = parts_that_fit(model, grid, (z, y, x), unlimited(), lambda _: None)
    assert part.seen == part.kept == (z, y, x)


def test_the_smallest_parts_are_refused_where_even_they_do_not_fit() -> None:
    model, grid = model_of(plan_of()), tall_scan().grid
    z, y, x = (slice(0, n) for n in grid.shape)
    asked: list[int] = []

    def watch(needed: int) -> None:
        asked.append(needed)
        raise MemoryLimitError("too large")

    with pytest.raises(MemoryLimitError):
        parts_that_fit(model, grid, (z, y, x), 1000, watch)
    assert 1000 < asked[0] < model.part_bytes(grid)


@pytest.mark.parametrize("codes", ["RAS", "SPL", "AIR"])
def test_rims_lie_along_the_axes_of_the_file(codes: str) -> None:
    """Half of a patch of 8 x 16 x 16 voxels of 3 x 1 x 1 mm, and two voxels for interpolation."""
    grid = oriented(tall_scan(), codes).grid
    rims, is_whole = rim_vox([plan_of()], grid)
    of_axis = dict(zip("ZYX", (8 / 2 + 2, 16 / 2 + 2, 16 / 2 + 2), strict=True))
    names = {"R": "X", "L": "X", "A": "Y", "P": "Y", "I": "Z", "S": "Z"}
    assert rims == [of_axis[names[letter]] for letter in reversed(codes)]
    assert is_whole == [False] * 3


def test_slices_are_cut_between_and_a_fixed_plane_stays_whole() -> None:
    grid = tall_scan().grid
    rims, is_whole = rim_vox([plan_of(2, prepare={"size_vox": [64, 64]})], grid)
    assert rims[0] == 2  # of interpolation; slices know nothing of each other
    assert is_whole == [False, True, True]


def test_some_models_must_see_the_whole() -> None:
    assert why_whole(model_of(plan_of())) is None
    for prepare in (
        {"normalise_nonzero": True},
        {"size_vox": [32, 32], "crop_to_nonzero": True},
    ):
        assert why_whole(model_of(plan_of(2, prepare=prepare))) is not None
    plan = plan_of()
    cascade = Model((Member(plan, (Thresholds(3).eval(),), model_of(plan)),), {}, "float32")
    assert "cascade" in str(why_whole(cascade))


# Intensities of the whole -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["z_score", "min_max", "rescale_0_1"])
@pytest.mark.parametrize("crop", [False, True])
def test_parts_are_normalised_as_the_whole(how: str, crop: bool, rng: np.random.Generator) -> None:
    array = rng.normal(300, 40, (40, 30, 20)).astype(np.float32)
    array[:7], array[:, :, 15:] = 0, 0
    settings = plan_of(prepare={"normalisation": how, "crop_to_nonzero": crop}).settings.prepare
    whole = look_over([VolumeSlabs(Volume(array, np.eye(4)))], settings)
    inside = (slice(7, 40), slice(0, 30), slice(0, 15)) if crop else (slice(0, 40),) * 3
    assert not crop or whole.region == inside
    region = array[inside]
    (intensities,) = whole.intensities
    assert intensities is not None
    assert intensities.mean == pytest.approx(region.mean(dtype=np.float64))
    assert intensities.sd == pytest.approx(region.std(dtype=np.float64))
    expected = normalise(region, how)  # type: ignore[arg-type]
    for first, last in pairwise((0, 11, 25, len(region))):
        part = normalise(region[first:last], how, whole=intensities)  # type: ignore[arg-type]
        np.testing.assert_allclose(part, expected[first:last], atol=2e-5)


# The labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_dims", [2, 3])
@pytest.mark.parametrize("codes", ["RAS", "SPL"])
@pytest.mark.parametrize(
    "prepare", [{}, {"normalisation": "min_max"}, {"crop_to_nonzero": True}], ids=str
)
def test_parts_make_the_labels_that_the_whole_makes(
    n_dims: int, codes: str, prepare: dict[str, Any]
) -> None:
    scan = oriented(tall_scan(), codes)
    model = model_of(plan_of(n_dims, prepare=prepare))
    expected = model.predict(scan)
    room = room_for_parts(model, scan.grid, 4)
    located, n_parts = segment_in_parts(model, [VolumeSlabs(scan)], lambda: room, lambda _: None)
    assert n_parts > 1
    np.testing.assert_array_equal(assembled(located).array, expected.array)
    assert located.pieces[0].cut == ()
    assert set(np.unique(expected.array)) == {0, 1, 2}


def test_an_oblique_scan_at_another_spacing_differs_at_edges_alone() -> None:
    turn = np.eye(4)
    c, s = np.cos(0.4), np.sin(0.4)
    turn[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    scan = tall_scan()
    scan = Volume(scan.array, turn @ scan.affine)
    model = model_of(plan_of(prepare={"spacing_mm": [2.2, 1.3, 1.3]}))
    expected = model.predict(scan).array
    room = room_for_parts(model, scan.grid, 3)
    located, _ = segment_in_parts(model, [VolumeSlabs(scan)], lambda: room, lambda _: None)
    found = assembled(located).array
    for value in (1, 2):
        assert dice(found == value, expected == value) > 0.97


def test_a_scan_without_labels_has_an_empty_map() -> None:
    scan = tall_scan()
    scan = scan.with_array(np.zeros_like(scan.array))
    located, _ = segment_in_parts(
        model_of(plan_of()), [VolumeSlabs(scan)], unlimited, lambda _: None
    )
    assert not assembled(located).array.any()
    assert assembled(located).shape == scan.shape


# The command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_scan_beyond_the_ceiling_goes_in_parts(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    shape = (300, 64, 64)
    image, _ = head(np.random.default_rng(4), shape)
    scan = save(image, affine_of(shape), tmp_path / "scan.nii.gz")
    expected = predict_paths(model_folder, scan, tmp_path / "whole" / f"scan{suffix}")
    model, grid = load_model(model_folder), Grid(shape, affine_of(shape))
    # As if the program took nothing, and kept nothing: the ceiling is one of the scan.
    monkeypatch.setattr(parts_module, "ROOM_SHARE", 1.0)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: SimpleNamespace(rss=0))
    ceiling = f"{room_for_parts(model, grid, 4, 1.0) / 1e6:.3f}MB"
    target = tmp_path / "parts" / f"scan{suffix}"
    found = predict_paths(model_folder, scan, target, memory=ceiling, overlay=True)
    assert found.failed == {}
    rows, before = table_of(tmp_path / "parts"), table_of(tmp_path / "whole")
    assert all("segmented in" in row["warnings"] for row in rows)
    assert [row["label"] for row in rows] == [row["label"] for row in before]
    for row, one in zip(rows, before, strict=True):
        assert float(row["volume_ml"]) == pytest.approx(float(one["volume_ml"]), rel=0.02)
    if suffix == ".nii.gz":
        ours, theirs = labels_of(found.written[0]), labels_of(expected.written[0])
        for value in (1, 2):
            assert dice(ours == value, theirs == value) > 0.97
    assert not (tmp_path / "parts" / "boxes.csv").exists()
    assert (tmp_path / "parts" / "scan.png").is_file()


def test_a_scan_beyond_what_is_free_goes_in_parts_between_others(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a ceiling; the others are segmented at once."""
    for name, n in (("a", 10), ("b", 240), ("c", 12)):
        shape = (n, 48, 48)
        image, _ = head(np.random.default_rng(n), shape)
        save(image, affine_of(shape), tmp_path / "in" / f"{name}.nii.gz")
    expected = predict_paths(model_folder, tmp_path / "in", tmp_path / "whole")
    monkeypatch.setattr(batch_module, "LARGE_VOX", 15 * 48 * 48)
    shape = (240, 48, 48)
    needed = room_for_parts(load_model(model_folder), Grid(shape, affine_of(shape)), 4, 1.0)
    monkeypatch.setattr(parts_module, "ROOM_SHARE", 1.0)
    free = psutil.virtual_memory()._replace(available=int(needed / MINIMUM_SHARE))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    found = predict_paths(model_folder, tmp_path / "in", tmp_path / "parts")
    assert found.failed == {}
    assert [path.name for path in found.written] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    notes = {row["case"]: row["warnings"] for row in table_of(tmp_path / "parts")}
    assert {case for case, said in notes.items() if "parts" in said} == {"b"}
    for ours, theirs in zip(found.written, expected.written, strict=True):
        for value in (1, 2):
            assert dice(labels_of(ours) == value, labels_of(theirs) == value) > 0.95


SCRIPT = """
import json, sys
from pathlib import Path
sys.path[:0] = {path!r}
import torch
import acinus.predict.batch as batch
from test_parts import model_of, plan_of

torch.set_num_threads(1)
batch.load_model = lambda *_, **__: model_of(plan_of(patch_vox=(24, 96, 96)))
found = batch.predict_paths(Path("model"), Path({scan!r}), Path({out!r}), memory={memory!r})
status = Path("/proc/self/status").read_text(encoding="utf-8")
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps({{"peak": peak, "failed": found.failed}}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
def test_the_ceiling_holds_for_a_scan_that_is_larger(tmp_path: Path) -> None:
    """320 MB of voxels in 32 bits, and as much again prepared, within 800 MB with the program."""
    array = np.random.default_rng(0).integers(-1, 2, (320, 500, 500), dtype=np.int16)
    array[100:140, 200:240, 200:240] = 500
    array[200:240, 300:340, 300:340] = -500
    nib.save(nib.Nifti1Image(array.T, np.eye(4)), tmp_path / "scan.nii")
    script = SCRIPT.format(
        path=[str(Path(__file__).parent), str(Path(__file__).parents[1])],
        scan=str(tmp_path / "scan.nii"),
        out=str(tmp_path / "out"),
        memory="800MB",
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["failed"] == {}
    assert found["peak"] < 800e6
    assert "segmented in" in table_of(tmp_path / "out")[0]["warnings"]
    found = labels_of(tmp_path / "out" / "scan.nii.gz")
    np.testing.assert_array_equal(found == 1, array == 500)
    np.testing.assert_array_equal(found == 2, array == -500)
