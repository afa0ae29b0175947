"""``acinus train``: prepare and train what a plan says."""

from __future__ import annotations

import sys
from pathlib import Path

import acinus
from acinus.cli.options import Jobs


def train(run: Path, /, *, dataset: Path | None = None, jobs: Jobs = 1) -> int:
    """Prepare the data and train the folds of a planned run; resumes where it was stopped.

    ```console
    acinus train runs/glands
    ```

    Args:
        run: Folder that 'acinus plan' or 'acinus run' made.
        dataset: Where the dataset lies now, if it was moved since it was planned.
        jobs: Processes.
    """
    acinus.train_run(run, dataset=dataset, jobs=jobs)
    sys.stdout.write(f"Model: {run / 'model'}\n")
    return 0
