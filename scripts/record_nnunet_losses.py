"""Record nnU-Net's losses on small made-up tensors, as oracle of a test.

Runs where nnunetv2 is installed (development only)::

    python scripts/record_nnunet_losses.py tests/data/nnunet_losses.json

Inputs follow from formulas, so that the file holds results only and the test can rebuild them.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

SIZE = (2, 3, 4, 5, 6)
"""N, K, Z, Y, X."""
REGIONS = ((1, 2, 3), (2, 3), (3,))


def made_logits() -> torch.Tensor:
    """(N, K, Z, Y, X) between -3 and 3, without a random generator."""
    count = np.arange(np.prod(SIZE), dtype=np.float64)
    return torch.from_numpy(3 * np.sin(1.7 * count + 0.3)).reshape(SIZE).float()


def made_target(n_values: int, ignore: bool, absent: bool) -> torch.Tensor:
    """(N, Z, Y, X) int64 label values; `ignore`: some are 255; `absent`: none is 2."""
    n, _, *size = SIZE
    count = np.arange(n * np.prod(size))
    values = ((7 * count * count + 3 * count) % 11) % n_values
    if absent:
        values[values == 2] = 0
    if ignore:
        values[count % 5 == 0] = 255
    return torch.from_numpy(values).reshape(n, *size)


def nnunet_loss(regions: bool, batch: bool, ignore: bool) -> Any:
    """The loss as nnUNetTrainer builds it."""
    from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    dice = {"batch_dice": batch, "smooth": 1e-5, "do_bg": regions, "ddp": False}
    if regions:
        return DC_and_BCE_loss(
            {}, dice, use_ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss
        )
    return DC_and_CE_loss(
        dice, {}, ignore_label=255 if ignore else None, dice_class=MemoryEfficientSoftDiceLoss
    )


def nnunet_target(target: torch.Tensor, regions: bool, ignore: bool) -> torch.Tensor:
    """Label values in the form that the loss takes."""
    if not regions:
        return target[:, None].float()
    masks = [torch.isin(target, torch.tensor(values)) for values in REGIONS]
    if ignore:
        masks.append(target == 255)
    return torch.stack(masks, dim=1).float()


def record(regions: bool, batch: bool, ignore: bool, absent: bool) -> dict[str, Any]:
    """One case: what was asked, the loss, and its gradient at 24 places."""
    logits = made_logits().requires_grad_()
    target = made_target(4 if regions else 3, ignore, absent)
    loss = nnunet_loss(regions, batch, ignore)
    value = loss(logits, nnunet_target(target, regions, ignore))
    value.backward()
    slopes = torch.zeros_like(logits) if logits.grad is None else logits.grad
    return {
        "regions": regions,
        "batch": batch,
        "ignore": ignore,
        "absent": absent,
        "loss": float(value.detach()),
        "gradient": [float(slope) for slope in slopes.flatten()[::30]],
    }


def main(path: Path) -> None:
    """Write all combinations."""
    both = (False, True)
    cases = [record(r, b, i, a) for r in both for b in both for i in both for a in both]
    made_by = f"scripts/record_nnunet_losses.py with nnunetv2 {version('nnunetv2')}"
    path.write_text(json.dumps({"made_by": made_by, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
