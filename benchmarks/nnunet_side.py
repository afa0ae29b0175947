"""What nnU-Net does in `against_nnunet.py`, run by the Python of its own environment.

Development only: nothing of Acinus is imported here, and nnunetv2 is no
dependency of the project. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch

# Its import chain reaches torchvision, which has no CPU build; two declared names are enough.
try:
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
except RuntimeError:
    pass


def make_trainer(dataset: str, configuration: str, plans: str, device: str):  # type: ignore[no-untyped-def]
    """A trainer of fold 0, initialised, with its loaders."""
    from nnunetv2.run.run_training import get_trainer_from_args

    return get_trainer_from_args(
        dataset, configuration, 0, "nnUNetTrainer", plans, device=torch.device(device)
    )


def time_steps(trainer, n_warm: int, n_steps: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Steps per second with its loader, and the share of the time spent waiting for it."""
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    trainer.network.train()
    waiting = 0.0
    for index in range(n_warm + n_steps):
        if index == n_warm:
            _synchronise(trainer.device)
            begin, waiting = time.perf_counter(), 0.0
        before = time.perf_counter()
        batch = next(loader)
        waiting += time.perf_counter() - before
        trainer.train_step(batch)
    _synchronise(trainer.device)
    seconds = time.perf_counter() - begin
    return {
        "steps_per_s": n_steps / seconds,
        "share_waiting_for_loader": waiting / seconds,
        "batch": trainer.configuration_manager.batch_size,
        "patch": list(trainer.configuration_manager.patch_size),
    }


def train_briefly(trainer, n_steps: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """A checkpoint after a few steps on a schedule that ends with them."""
    trainer.num_epochs = 1
    trainer.num_iterations_per_epoch = n_steps
    trainer.num_val_iterations_per_epoch = 1
    begin = time.perf_counter()
    trainer.run_training()
    return {"seconds": time.perf_counter() - begin, "steps": n_steps}


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["steps", "train"])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--configuration", default="3d_fullres")
    parser.add_argument("--plans", default="nnUNetPlans")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    trainer = make_trainer(given.dataset, given.configuration, given.plans, given.device)
    if given.work == "steps":
        facts = time_steps(trainer, given.warm, given.steps)
    else:
        facts = train_briefly(trainer, given.steps)
    print(f"\nRESULT {json.dumps(facts)}", flush=True)
    # Its loader's processes would otherwise be waited for.
    sys.stdout.flush()
    import os

    os._exit(0)


if __name__ == "__main__":
    main()
