"""``acinus report``: write the report of a run or a study anew."""

from __future__ import annotations

from pathlib import Path

import acinus
from acinus.cli.outcome import show_outcome


def report(run: Path, /) -> int:
    """Write the tables, figures and the HTML report of an evaluated run or study.

    ```console
    acinus report runs/glands
    ```

    Args:
        run: Folder of a run or study that is evaluated.
    """
    path = acinus.report_run(run)
    return show_outcome(path, acinus.failed_cases(run))
