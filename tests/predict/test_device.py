"""Where prediction works, and what happens when memory runs out: told, and never a wrong guess."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import pytest
import torch
from torch import nn

from acinus import progress
from acinus.errors import ConfigError, DataError
from acinus.networks import build_network
from acinus.networks.device import has_fast_bfloat16, is_out_of_memory
from acinus.predict import device as devices
from acinus.predict.device import (
    device_at_hand,
    prediction_device,
    tile_batch,
    use_precision,
    within_memory,
)
from acinus.predict.memory import check_memory, parse_memory, tile_bytes
from made_plan import made_plan

CUDA = torch.device("cuda")
CPU = torch.device("cpu")


def test_a_device_that_is_not_here_is_named() -> None:
    assert prediction_device("cpu") == CPU
    assert prediction_device("auto").type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"got 'cuda', here: cpu.*Use --device auto"):
            prediction_device("cuda")
    with pytest.raises(ConfigError, match=r"unknown device 'gpu'\. Known: auto, cpu, cuda, mps"):
        prediction_device("gpu")


def test_a_model_of_a_cluster_is_judged_on_what_there_is() -> None:
    assert device_at_hand("cpu") == "cpu"
    if not torch.cuda.is_available():
        with progress.quiet():
            assert device_at_hand("cuda") in ("cpu", "mps")
        assert not has_fast_bfloat16(CUDA)


def test_a_library_without_memory_is_out_of_memory() -> None:
    for text in ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "CUDA out of memory."):
        assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("size mismatch"))


def test_bfloat16_is_used_where_it_is_fast_and_training_did_not_refuse_it() -> None:
    fast = "bfloat16" if has_fast_bfloat16(CPU) else "float32"
    coarse, exact = (made_plan({"train": {"precision": name}}) for name in ("bfloat16", "float32"))
    assert use_precision("auto", coarse, CPU) == fast
    assert use_precision("auto", exact, CPU) == "float32"
    assert use_precision("bfloat16", exact, CPU) == "bfloat16"


def test_small_tiles_travel_together_and_large_ones_alone() -> None:
    plan = made_plan({"train": {"patch_vox": [64, 64], "batch": 12}})
    assert tile_batch(plan, CPU) == 16
    assert tile_batch(plan, CUDA) == 256
    large = made_plan({"train": {"patch_vox": [512, 512], "batch": 12}})
    assert tile_batch(large, CPU) == 1
    assert tile_batch(large, CUDA) == 12


class OnGpu(nn.Module):
    """Says that it is on a GPU, until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.is_moved = False

    def cpu(self) -> OnGpu:
        self.is_moved = True
        return self


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    monkeypatch.setattr(devices, "device_of", lambda networks: CUDA)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return lines


def limited(room: int, tried: list[tuple[bool, int]]) -> object:
    """Work that fits `room` tiles on a GPU, and any number on the CPU."""

    def work(networks: Sequence[nn.Module], batch: int) -> str:
        on_cpu = all(network.is_moved for network in networks)
        tried.append((on_cpu, batch))
        if not on_cpu and batch > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return "done"

    return work


PLAN = made_plan({"train": {"patch_vox": [512, 512], "batch": 8}})


def test_fewer_tiles_go_at_once_when_the_gpu_is_full(said: list[str]) -> None:
    tried: list[tuple[bool, int]] = []
    network = OnGpu()
    assert within_memory(limited(3, tried), [network], PLAN) == "done"
    assert tried == [(False, 8), (False, 4), (False, 2)]
    assert said == [
        "The memory of the device 'cuda' does not hold 8 tiles at once; going on with 4.",
        "The memory of the device 'cuda' does not hold 4 tiles at once; going on with 2.",
    ]
    assert not network.is_moved


def test_the_cpu_does_it_when_not_even_one_tile_fits(said: list[str]) -> None:
    tried: list[tuple[bool, int]] = []
    network = OnGpu()
    assert within_memory(limited(0, tried), [network], PLAN) == "done"
    assert tried == [(False, 8), (False, 4), (False, 2), (False, 1), (True, 1)]
    assert "does not hold one tile of (512, 512) voxels; this case goes on on the CPU" in said[-1]
    assert not network.is_moved, "a copy is moved: other threads go on with this one"


def test_other_faults_of_a_gpu_are_not_hidden(said: list[str]) -> None:
    def work(networks: Sequence[nn.Module], batch: int) -> str:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        within_memory(work, [OnGpu()], PLAN)
    assert said == []


def test_a_cpu_without_memory_says_what_to_do() -> None:
    def work(networks: Sequence[nn.Module], batch: int) -> str:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
        )

    with pytest.raises(DataError, match=r"must hold the image.*\(512, 512\) voxels.*crop the scan"):
        within_memory(work, [nn.Conv2d(1, 1, 1)], PLAN)


def test_memory_is_read_with_its_unit() -> None:
    assert parse_memory("4GB") == 4_000_000_000
    assert parse_memory(" 800 mb") == 800_000_000
    for text in ("4", "GB", "-1GB", "4TB", "nanGB", ""):
        with pytest.raises(ConfigError, match="--memory must be a size such as 4GB"):
            parse_memory(text)


def test_the_memory_of_a_tile_is_that_of_its_largest_tensors() -> None:
    """Two levels of 4 and 8 features, by hand: beside the skip (4) lie, at the joint of the
    decoder, the upsampled features (4) and both together (8), each of full resolution."""
    network = build_network(
        "unet_2d", {"features": [4, 8], "normalisation": "none"}, n_channels=1, n_classes=2, seed=0
    ).eval()
    pixel = 4 * 16 * 16
    assert 16 * pixel <= tile_bytes(network, (16, 16)) <= 24 * pixel
    assert tile_bytes(network, (64, 64)) == pytest.approx(16 * tile_bytes(network, (16, 16)))
    assert not network._forward_hooks
    assert not any(module._forward_hooks for module in network.modules())


def test_a_ceiling_refuses_and_free_memory_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte = 10**9
    with pytest.raises(DataError, match=r"'p1'.*below --memory 2\.00 GB; it needs about \d+"):
        check_memory(5 * gigabyte, 2 * gigabyte, "p1")
    assert check_memory(10, 10**12, "p1") is None
    free = psutil.virtual_memory()._replace(available=3 * gigabyte)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert check_memory(gigabyte, None, "p1") is None
    warning = check_memory(5 * gigabyte, None, "p1")
    assert warning is not None
    assert "'p1': predicting it needs about 5.0 GB more, and 3.0 GB are free" in warning


def test_arrays_of_networks_know_their_device() -> None:
    assert devices.device_of([]) == CPU
    assert devices.device_of([nn.ReLU(), nn.Conv2d(1, 1, 1)]) == CPU
