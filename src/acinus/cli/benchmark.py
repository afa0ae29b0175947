"""``acinus benchmark``: how fast this machine is, and how much memory it takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acinus

Out = Annotated[Path, Parameter(help="Receives benchmark.json and benchmark.csv.")]


def benchmark(dataset: Path | None = None, /, *, out: Out = Path("benchmark")) -> int:
    """Measure preparation per case, training steps, prediction per volume and peak memory.

    ```console
    acinus benchmark
    ```

    Args:
        dataset: Dataset to measure with; default: a synthetic cohort that is made for it.
        out: Receives ``benchmark.json`` and ``benchmark.csv``.
    """
    sys.stdout.write(acinus.benchmark(dataset, out=out).rstrip("\n") + "\n")
    return 0
