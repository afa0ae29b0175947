"""``acinus ensemble``: the best of several runs, or two of them together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import acinus


def ensemble(
    runs: Annotated[tuple[Path, ...], Parameter(name="RUN")],
    /,
    *,
    out: Path,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> int:
    """Compare finished runs of one dataset, alone and in pairs, and keep the best.

    Every case is predicted by the folds that have not learned from it, and the pair or single
    model with the highest mean validation Dice is written as a folder that 'acinus predict' takes
    like any model. Runs may differ in recipe, spacing and patch.

    ```console
    acinus ensemble runs/slices runs/volumes --out models/both
    ```

    Args:
        runs: Run folders, two or more.
        out: Folder of the ensemble.
        device: Where the networks work; auto: a GPU if this machine has one.
    """
    outcome = acinus.ensemble_runs(runs, out=out, device=device)
    for names, dice in outcome.choice.validation_dice.items():
        sys.stdout.write(f"{names}: Dice {dice:.4f} over {outcome.n_cases} validation cases\n")
    sys.stdout.write(f"chosen: {' + '.join(outcome.choice.members)}, in {outcome.folder}\n")
    return 0
