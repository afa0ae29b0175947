"""How the end of a run is shown, and which exit status it has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

SOME_FAILED = 3


def show_outcome(report: Path | None, failed: Sequence[str], summary: Sequence[str] = ()) -> int:
    """Exit status of a run, after saying what failed and where the report is.

    Args:
        report: The report, or None where none could be written.
        failed: One sentence for each case or arm that failed.
        summary: One sentence for each arm with what it reached.
    """
    for sentence in failed:
        sys.stderr.write(f"failed: {sentence}\n")
    for sentence in summary:
        sys.stdout.write(f"{sentence}\n")
    if report is not None:
        sys.stdout.write(f"Report: {report}\n")
    return SOME_FAILED if failed else 0
