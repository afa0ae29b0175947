"""The device that trains: named, measured, and not trusted with products that it gets wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import acinus.networks.device as device_module
import acinus.plan.plan as plan_module
from acinus.errors import PlanError
from acinus.networks import SegmentationNetwork, build_network
from acinus.networks.device import (
    autocast,
    best_device,
    free_bytes,
    has_fast_bfloat16,
    is_out_of_memory,
    miscounts_bfloat16,
    open_device,
)
from made_plan import made_plan

CPU = torch.device("cpu")


def test_a_device_is_opened_or_those_that_are_here_are_named() -> None:
    assert open_device("cpu") == CPU
    assert open_device("auto").type == best_device()
    if not torch.cuda.is_available():
        with pytest.raises(PlanError) as error:
            open_device("cuda")
        assert str(error.value) == (
            "train.device must be one that this machine has; got 'cuda', here: cpu. Go on where "
            "the plan was made, or plan anew with --set train.device=cpu."
        )


def test_the_best_device_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert best_device() == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert best_device() == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert best_device() == "cuda"
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert open_device("cuda") == torch.device("cuda", 3)  # of this process, in every thread
    assert open_device("cuda").type == "cuda"


def test_free_memory_is_that_of_the_machine() -> None:
    assert 0 < free_bytes(CPU) <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("capabilities", "is_fast"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"avx2": True}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_fast_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], is_fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_fast_bfloat16(CPU) is is_fast
    assert not has_fast_bfloat16(torch.device("mps"))


@pytest.mark.parametrize(
    ("capability", "is_fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_bfloat16_is_fast_on_newer_gpus(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], is_fast: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_fast_bfloat16(torch.device("cuda")) is is_fast


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("sizes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", "bfloat16"), ("float32", "float32")])
def test_products_are_in_the_precision_of_the_plan_for_the_length_of_the_block(
    precision: str, dtype: str
) -> None:
    numbers = torch.ones(2, 2)
    with autocast(CPU, precision):
        assert str((numbers @ numbers).dtype) == f"torch.{dtype}"
    assert (numbers @ numbers).dtype == torch.float32


# Gradients in bfloat16 --------------------------------------------------------------------------

FLAT = {"features": [4, 8, 8], "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2]]}
NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], bool]] = {
    "2 slices deep down": ("unet_3d", {"features": [4, 8]}, (4, 8, 8), True),
    "2 slices throughout": ("plain_unet", {**FLAT, "kernels": [[3, 3, 3]]}, (2, 16, 16), True),
    "2 slices, flat kernels": ("plain_unet", {**FLAT, "kernels": [[1, 3, 3]]}, (2, 16, 16), False),
    "2 rows": ("plain_unet", {"features": [4, 8], "kernels": [[3, 3, 3]]}, (6, 4, 8), False),
    "3 slices": ("plain_unet", {**FLAT, "kernels": [[3, 3, 3]]}, (3, 16, 16), False),
    "1 slice": ("plain_unet", {**FLAT, "kernels": [[3, 3, 3]]}, (1, 16, 16), True),
    "4 slices, kernel of 5": ("plain_unet", {**FLAT, "kernels": [[5, 3, 3]]}, (4, 16, 16), True),
    "slices": ("unet_2d", {"features": [4, 8]}, (4, 4), False),
}


def network_of(name: str, config: dict[str, Any]) -> SegmentationNetwork:
    return build_network(name, config, n_channels=1, n_classes=3, seed=0)


def gradients(network: SegmentationNetwork, size: tuple[int, ...], precision: str) -> torch.Tensor:
    images = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1))
    network.train()
    network.zero_grad()
    with autocast(CPU, precision):
        logits = network(images)
    logits.float().square().sum().backward()
    return torch.cat([weight.grad.flatten() for weight in network.parameters()])


@pytest.mark.parametrize("which", NETWORKS)
def test_networks_whose_gradients_go_wrong_are_told_from_their_shape(which: str) -> None:
    name, config, size, is_wrong = NETWORKS[which]
    network = network_of(name, config)
    assert miscounts_bfloat16(network, size) is is_wrong
    assert miscounts_bfloat16(network.to("meta"), size) is is_wrong


@pytest.mark.parametrize("which", [name for name, facts in NETWORKS.items() if not facts[3]])
def test_gradients_of_the_others_are_those_of_float32(which: str) -> None:
    """Garbage from memory was off by 1e1 to 1e38 times the largest gradient."""
    name, config, size, _ = NETWORKS[which]
    network = network_of(name, config)
    exact = gradients(network, size, "float32")
    for _ in range(3):
        garbage = [torch.full((n,), 1e30) for n in range(1, 40_000, 997)]
        del garbage
        coarse = gradients(network, size, "bfloat16")
        assert (coarse - exact).norm() < 0.2 * exact.norm()


def test_a_plan_takes_bfloat16_only_where_gradients_are_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan_module, "has_fast_bfloat16", lambda device: True)

    def planned(n_slices: int, **train: Any) -> str:
        changes = {
            "network": {"name": "unet_3d", "config": {"features": [4, 8]}},
            "train": {"patch_vox": [n_slices, 16, 16], "device": "cpu", **train},
        }
        return made_plan(changes).settings.train.precision

    assert planned(8) == "bfloat16"
    assert planned(4) == "float32"
    assert planned(8, precision="bfloat16") == "bfloat16"
    assert planned(4, precision="float32") == "float32"
    with pytest.raises(PlanError) as error:
        planned(4, precision="bfloat16")
    assert str(error.value) == (
        "train.precision=bfloat16 must give the gradients of every layer; on a CPU it does not "
        "where a level has fewer slices than its kernel, as with the patch (4, 16, 16). Choose a "
        "patch of more slices, or leave train.precision out."
    )
    monkeypatch.setattr(device_module.torch.cuda, "is_available", lambda: True)
    assert planned(4, precision="bfloat16", device="cuda") == "bfloat16"


def test_a_container_is_believed_more_than_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of a cluster may take less than the machine has; read files are given back."""
    own = next((line.split("::")[1] for line in _control_groups() if line.startswith("0::")), None)
    if own is None:
        pytest.skip("this system has no control groups of version 2")
    monkeypatch.setattr(device_module, "CONTROL_GROUPS", tmp_path)
    folder = tmp_path / own.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text("4000000\n")
    (folder / "memory.current").write_text("3000000\n")
    (folder / "memory.stat").write_text("anon 5\ninactive_file 500000\n")
    assert free_bytes(CPU) == 1_500_000
    (folder / "memory.max").write_text("max\n")
    assert free_bytes(CPU) > 4_000_000


def _control_groups() -> list[str]:
    path = Path("/proc/self/cgroup")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
