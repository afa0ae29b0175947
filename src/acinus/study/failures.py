"""What of a run or study could not be judged or segmented, in words.

Enters: the folder of a run or study. Leaves: a sentence each, by which a command line sets its
exit status.
"""

from __future__ import annotations

import csv
from pathlib import Path

from acinus.files import read_json

RECORD = "scans.json"
"""Below the folder ``unlabelled`` of an arm: what became of each scan without a reference."""


def failed_cases(root: Path) -> list[str]:
    """A sentence for each case that could not be judged, and each scan that was not segmented.

    Args:
        root: Folder of the run or study, with its score table.
    """
    with (root / "scores.csv").open(encoding="utf-8", newline="") as stream:
        failed = [row for row in csv.DictReader(stream) if row["status"] == "failed"]
    sentences = sorted({f"{row['arm']}, {row['case']}: {row['reason']}" for row in failed})
    return [*sentences, *failed_scans(root)]


def failed_scans(root: Path) -> list[str]:
    """A sentence for each scan without a reference that could not be segmented.

    Args:
        root: Folder of a run or study.
    """
    records = {"": root / "unlabelled" / RECORD}
    records |= {
        f"{path.parent.parent.name}, ": path for path in root.glob(f"arms/*/unlabelled/{RECORD}")
    }
    return sorted(
        f"{arm}{group}, {scan['case']}: {scan['failed']}"
        for arm, path in records.items()
        if path.is_file()
        for group, scans in read_json(path).items()
        for scan in scans
        if scan["failed"]
    )
