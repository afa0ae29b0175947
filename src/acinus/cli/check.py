"""``acinus check``: every fault of a dataset in one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acinus
from acinus.cli.tables import print_table
from acinus.progress import plural

FAULTY = 1


def check(dataset: Path, /, *, as_json: Annotated[bool, Parameter(name="--json")] = False) -> int:
    """Look for faults in a dataset; report all of them, with what to do about each.

    Exit status 1 when there are errors, 0 when there are warnings only.

    ```console
    acinus check Dataset001_Glands
    acinus check Dataset001_Glands --json > faults.json
    ```

    Args:
        dataset: Folder in nnU-Net's raw layout: dataset.json, imagesTr, labelsTr.
        as_json: Print JSON instead of a table.
    """
    found = acinus.check_dataset(dataset)
    n_errors = sum(finding.severity == "error" for finding in found.findings)
    n_warnings = len(found.findings) - n_errors
    if as_json:
        summary = {
            "dataset": str(dataset),
            "n_cases": found.n_cases,
            "n_errors": n_errors,
            "n_warnings": n_warnings,
            "findings": [
                {
                    "severity": finding.severity,
                    "code": finding.code,
                    "case": finding.case,
                    "found": finding.found,
                    "remedy": finding.remedy,
                }
                for finding in found.findings
            ],
        }
        sys.stdout.write(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        return FAULTY if n_errors else 0
    if found.findings:
        rows = [
            (finding.severity, finding.case, finding.found, finding.remedy)
            for finding in found.findings
        ]
        print_table(("severity", "case", "found", "what to do"), rows)
    sys.stdout.write(
        f"{found.n_cases} {plural('case', found.n_cases)} checked: "
        f"{n_errors} {plural('error', n_errors)}, "
        f"{n_warnings} {plural('warning', n_warnings)}.\n"
    )
    return FAULTY if n_errors else 0
