"""``acinus readers``: how well several readers, or readings, agree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acinus
from acinus.cli.outcome import show_judged
from acinus.cli.tables import print_table


def readers(
    *folders: Annotated[Path, Parameter(name="FOLDER")],
    labels: Path,
    out: Path,
    participants: Path | None = None,
    margin: float = 10.0,
    jobs: int | None = None,
) -> int:
    """Compare two or more readers, or repeated readings, case by case and label by label.

    Dice, Cohen's kappa, HD95, ASSD and volumes of every pair of readers go to agreement.csv; the
    table, right and left apart and together, with intraclass correlation and limits of agreement
    of the volumes, to readers.csv.

    ```console
    acinus readers reader_a reader_b --labels dataset.json --out agreement
    ```

    Args:
        folders: Two or more folders of label maps or DICOM segmentations (.dcm); cases are
            paired by file name.
        labels: JSON file with 'labels' that map names to values, as in dataset.json.
        out: Folder of the tables.
        participants: A participants.tsv, where a patient has several cases.
        margin: Of the box around both masks within which kappa is computed, mm.
        jobs: Processes. Default: one for each core.
    """
    found = acinus.compare_readers(
        folders, labels=labels, out=out, participants=participants, margin_mm=margin, jobs=jobs
    )
    table = found.display()
    print_table(list(table.columns), table.to_numpy().tolist())
    sys.stdout.write(f"{found.note}\n")
    sys.stdout.write(f"Agreement: {out / 'agreement.csv'}\nTable: {out / 'readers.csv'}\n")
    return show_judged(found.failed, found.remarks, found.n_judged)
