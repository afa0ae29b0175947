"""Our training steps per second on a prepared run, for `against_nnunet.py`."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from acinus.files import read_json
from acinus.networks.device import has_fast_bfloat16
from acinus.plan import read_plan
from acinus.prepare import Store
from acinus.train import FoldJob
from acinus.train.allocator import keep_memory
from acinus.train.fold import Training, pinned_threads


def time_our_steps(
    run: Path, precision: str, n_steps: int, device: str, compiled: str = "auto"
) -> dict[str, object]:
    """Steps per second, sampling and augmentation included; the first few do not count.

    Args:
        run: Folder of a planned and prepared run.
        precision: ``float32``, ``bfloat16`` or ``auto``.
        n_steps: Steps that are timed.
        device: ``cpu`` or ``cuda``.
        compiled: ``train.compile``.
    """
    plan = read_plan(run / "plan.yaml")
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(torch.device(device)) else "float32"
    values = {"train.precision": precision, "train.device": device, "train.compile": compiled}
    n_warm = 8 if device == "cuda" else 3
    changed = {
        name: plan.decisions[name].model_copy(update={"value": value})
        for name, value in values.items()
    }
    plan = plan.with_decisions(changed)
    store = Store(run / "store")
    holdout = set(read_json(run / "split.json")["holdout"])
    cases = tuple(
        sorted(
            path.name.removesuffix(".image.npy")
            for path in store.folder.glob("*.image.npy")
            if path.name.removesuffix(".image.npy") not in holdout
        )
    )
    keep_memory()
    with TemporaryDirectory() as scratch, pinned_threads(plan.settings.train.threads):
        folder = Path(scratch)
        training = Training(
            FoldJob(plan, store, 0, cases, cases[:4], folder / "t", folder / "w.safetensors")
        )
        for step in range(n_warm):
            training.step(step)
        _synchronise(device)
        begin = time.perf_counter()
        for step in range(n_warm, n_warm + n_steps):
            training.step(step)
        _synchronise(device)
        seconds = time.perf_counter() - begin
        training.close()
    return {
        "steps_per_s": n_steps / seconds,
        "precision": precision,
        "compiled": compiled,
        "batch": plan.settings.train.batch,
        "patch": list(plan.settings.train.patch_vox),
    }


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
