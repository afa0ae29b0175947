"""``acinus evaluate``: score the predictions of a trained run."""

from __future__ import annotations

import sys
from pathlib import Path

import acinus


def evaluate(run: Path, /) -> int:
    """Predict the validation and hold-out cases of a trained run and score them.

    ```console
    acinus evaluate runs/glands
    ```

    Args:
        run: Folder of a run whose model is trained.
    """
    acinus.evaluate_run(run)
    sys.stdout.write(f"Scores: {run / 'scores.csv'}\n")
    return 0
