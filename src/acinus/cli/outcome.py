"""How the end of a run is shown, and which exit status it has."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ALL_FAILED = 2
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


def show_judged(failed: Mapping[str, str], remarks: Sequence[str], n_judged: int) -> int:
    """Exit status of a comparison of folders, after saying what was strange and what failed.

    Args:
        failed: Case to the reason why it could not be judged.
        remarks: Sentences about what a reader of the table must know.
        n_judged: Cases that could be judged.
    """
    for sentence in remarks:
        sys.stderr.write(f"warning: {sentence}\n")
    for case, reason in failed.items():
        sys.stderr.write(f"failed: case '{case}': {reason}\n")
    if not failed:
        return 0
    return SOME_FAILED if n_judged else ALL_FAILED
