"""Which share of the processor's matrix-product peak a training step reaches.

The peak is what this machine's own large square matrix product reaches, in float32 and in
bfloat16, with the plan's number of threads. The operations of a step are those of its
convolutions, forward and backward, by PyTorch's counter (a multiplication and an addition are
two). Normalisation, activation, sampling and augmentation are in the time and not in the
operations.

    acinus run Dataset004_Hippocampus --budget 15m --folds 1 --out RUN
    python benchmarks/peak_share.py RUN
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from benchmarks_steps import time_our_steps
from torch.utils.flop_counter import FlopCounterMode

from acinus.plan import Plan, read_plan
from acinus.train import seeded_network
from acinus.train.build import training_forward

SIZE = 3072


def peak_flops(dtype: torch.dtype, n_runs: int = 6) -> float:
    """Operations a second of a product of two square matrices, the best of some runs."""
    one, other = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(n_runs):
        begin = time.perf_counter()
        torch.mm(one, other)
        best = min(best, time.perf_counter() - begin)
    return 2 * SIZE**3 / best


def step_flops(plan: Plan) -> int:
    """Operations of the convolutions of a step, forward and backward."""
    network = seeded_network(plan, 0).train()
    image = torch.zeros(1, plan.n_channels, *plan.settings.train.patch_vox)
    if plan.settings.train.batch > 1:  # normalisation over a batch needs two
        image = torch.cat([image, image])
    forward = training_forward(network, plan.settings.train)
    counter = FlopCounterMode(display=False)
    with counter:
        answer = forward(image)
        levels = answer if isinstance(answer, list | tuple) else [answer]
        sum(level.sum() for level in levels).backward()
    return int(counter.get_total_flops() * plan.settings.train.batch / len(image))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a planned and prepared run")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    plan = read_plan(given.run / "plan.yaml")
    torch.set_num_threads(plan.settings.train.threads)
    flops = step_flops(plan)
    print(f"a step: {flops / 1e9:.0f} GFLOP in convolutions, {plan.settings.train.threads} threads")
    print("| precision | matrix product, GFLOP/s | steps/s | training step, GFLOP/s | share |")
    print("|---|---|---|---|---|")
    for precision, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        peak = peak_flops(dtype)
        facts = time_our_steps(given.run, precision, given.steps, "cpu")
        reached = flops * float(str(facts["steps_per_s"]))
        print(
            f"| {precision} | {peak / 1e9:.0f} | {facts['steps_per_s']:.2f} | "
            f"{reached / 1e9:.0f} | {reached / peak:.0%} |"
        )


if __name__ == "__main__":
    main()
