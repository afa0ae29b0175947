"""``acinus demo``: the whole chain on a small synthetic cohort."""

from __future__ import annotations

from pathlib import Path

import acinus
from acinus.cli.options import Out, Seed
from acinus.cli.outcome import show_outcome


def demo(*, out: Out = Path("demo"), seed: Seed = 2018, minutes: float = 5.6) -> int:
    """Make a small cohort of synthetic orbits, run a study of two MRI sequences on it, report.

    Needs no data of yours and no network.

    ```console
    acinus demo --out demo
    ```

    Args:
        out: Folder of the cohort, the models and the report.
        seed: Seed of the cohort and the training.
        minutes: Ceiling on the wall time of the whole command, minutes.
    """
    outcome = acinus.run_demo(out, seed=seed, minutes=minutes)
    return show_outcome(outcome.report, outcome.failed, outcome.summary)
