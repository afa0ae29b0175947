"""Equality with the losses of nnU-Net: tests/data/nnunet_losses.json holds its results.

The file was made by scripts/record_nnunet_losses.py with nnunetv2 2.8.1; the inputs follow from
the formulas repeated here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acinus.losses import DeepSupervision, build_loss
from acinus.types import IGNORE

RECORDED = json.loads(
    (Path(__file__).parents[1] / "data/nnunet_losses.json").read_text(encoding="utf-8")
)["cases"]
SIZE = (2, 3, 4, 5, 6)
REGIONS = ((1, 2, 3), (2, 3), (3,))


def made_logits() -> torch.Tensor:
    count = np.arange(np.prod(SIZE), dtype=np.float64)
    return torch.from_numpy(3 * np.sin(1.7 * count + 0.3)).reshape(SIZE).float()


def made_target(n_values: int, *, ignore: bool, absent: bool) -> torch.Tensor:
    n, _, *size = SIZE
    count = np.arange(n * np.prod(size))
    values = ((7 * count * count + 3 * count) % 11) % n_values
    if absent:
        values[values == 2] = 0
    if ignore:
        values[count % 5 == 0] = IGNORE
    return torch.from_numpy(values).reshape(n, *size)


@pytest.mark.parametrize("case", RECORDED)
def test_losses_and_gradients_equal_those_of_nnunet(case: dict[str, Any]) -> None:
    regions = REGIONS if case["regions"] else None
    config = {"smooth": 1e-5, "squared": False, "absent": "count", "batch": case["batch"]}
    if case["regions"] and case["ignore"]:
        config["ce_weight"] = float(len(REGIONS))  # nnU-Net then sums over regions
    loss = build_loss("dice_ce", config, 3, regions=regions)
    logits = made_logits().requires_grad_()
    target = made_target(4 if regions else 3, ignore=case["ignore"], absent=case["absent"])
    value = loss(logits, target)
    value.backward()
    assert logits.grad is not None
    assert float(value.detach()) == pytest.approx(case["loss"] + 1, rel=2e-6)
    found = logits.grad.flatten()[::30].numpy()
    np.testing.assert_allclose(found, case["gradient"], rtol=1e-4, atol=2e-8)


def test_deep_supervision_weighs_levels_as_nnunet() -> None:
    """1, 1/2, 1/4, 0 over their sum, on targets of nearest voxels."""
    target = torch.from_numpy(np.random.default_rng(0).integers(0, 3, size=(2, 8, 12, 10)))
    generator = torch.Generator().manual_seed(0)
    sizes = [(8, 12, 10), (8, 6, 5), (4, 3, 3), (2, 2, 2)]
    levels = [torch.randn(2, 3, *size, generator=generator) for size in sizes]
    loss = build_loss("dice_ce", {}, 3)
    targets = [
        torch.nn.functional.interpolate(target[:, None].double(), size, mode="nearest-exact")[:, 0]
        for size in sizes
    ]
    parts = [loss(logits, part.long()) for logits, part in zip(levels, targets, strict=True)]
    expected = (parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75
    torch.testing.assert_close(DeepSupervision(loss)(levels, target), expected)


def test_one_level_is_the_loss_itself() -> None:
    logits, target = made_logits(), made_target(3, ignore=False, absent=False)
    loss = build_loss("dice", {}, 3)
    torch.testing.assert_close(DeepSupervision(loss)([logits], target), loss(logits, target))
    two = DeepSupervision(loss)([logits, logits[..., ::2, ::2, ::2]], target)
    torch.testing.assert_close(two, loss(logits, target))
