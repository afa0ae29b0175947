"""``acinus convert``: an export of DICOM files as a dataset."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acinus
from acinus.cli.options import Jobs
from acinus.cli.outcome import ALL_FAILED, SOME_FAILED
from acinus.cli.tables import print_table
from acinus.errors import ConfigError
from acinus.progress import plural

MOST_ALIKE = 20
"""Most lines on what failed for one reason; a damaged disk has thousands."""


def convert(
    source: Path,
    dataset: Path | None = None,
    /,
    *,
    mapping: Annotated[Path | None, Parameter(name="--map")] = None,
    only_list: Annotated[bool, Parameter(name="--list")] = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    repair: bool = False,
    ids: Path | None = None,
    identities: bool = False,
    jobs: Jobs = 1,
) -> int:
    """Turn an export of DICOM files, a folder or zip archive, into a dataset.

    Series are chosen by the rules of a mapping file; two that fit one rule are an error. RTSTRUCT
    and SEG objects become label maps. No name, birth date or id of the headers is written, but to
    the table of ids beside the dataset. Exit status 3 when some studies or files failed.

    ```console
    acinus convert export.zip --list
    acinus convert export Dataset001_Glands --map mapping.yaml --jobs 2
    ```

    Args:
        source: Folder or zip archive, of any depth and order.
        dataset: Folder to write; the same folder again goes on. Not needed with --list.
        mapping: YAML file: which series are the channels, which structures the labels.
        only_list: List what is there, and write nothing.
        as_json: Print JSON instead of a table or sentences.
        repair: Leave out copies of slices, interpolate missing and unevenly spaced ones.
        ids: Table that links pseudonyms to the headers. Default: DATASET-ids.tsv beside the
            dataset.
        identities: List PatientID and UIDs as well.
        jobs: Processes that read headers, then convert cases, side by side.
    """
    if only_list:
        found = acinus.list_scans(
            source, dataset, mapping=mapping, ids=ids, identities=identities, jobs=jobs
        )
        return _list(found, as_json)
    if dataset is None:
        raise ConfigError(
            "a dataset folder must be given to convert into, or --list to see what is there; "
            "got neither."
        )
    outcome = acinus.convert_export(
        source, dataset, mapping=mapping, ids=ids, repair=repair, jobs=jobs
    )
    return _show(outcome, as_json)


def _list(found: acinus.ExportListing, as_json: bool) -> int:
    status = SOME_FAILED if found.faulty else 0
    if as_json:
        sys.stdout.write(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n")
        return status
    columns = ["#", "case", "study", "description", "modality", "orientation", "slices",
               "spacing (mm)", "matrix", "structures", "remarks"]  # fmt: skip
    with_headers = any(one.headers for one in found.series)
    print_table(
        [*columns, "headers"] if with_headers else columns, [_row(one) for one in found.series]
    )
    for reason, n in {**found.skipped, **found.faulty}.items():
        sys.stdout.write(f"{n} {plural('file', n)} passed over: {reason}\n")
    for text in found.unmatched:
        sys.stdout.write(f"refers to no series that is here: {text}\n")
    return status


def _row(one: acinus.ListedSeries) -> list[str]:
    oblique = f", oblique {one.oblique_degrees:g}°" if one.oblique_degrees else ""
    kind = [] if one.kind == "original" else [one.kind]
    row = [
        str(one.number),
        one.case,
        one.study,
        one.description,
        one.modality,
        one.orientation + oblique,
        str(one.n_slices),
        " x ".join(f"{value:.4g}" for value in one.spacing_mm),
        " x ".join(str(n) for n in one.matrix),
        ", ".join(one.structures),
        "; ".join([*kind, *one.faults]),
    ]
    if one.headers:
        row.append(" ".join(f"{key}={value}" for key, value in one.headers.items()))
    return row


def _show(outcome: acinus.ConvertOutcome, as_json: bool) -> int:
    status = 0
    if outcome.failed:
        status = SOME_FAILED if outcome.written else ALL_FAILED
    if as_json:
        data = {
            "dataset": str(outcome.dataset),
            "written": list(outcome.written),
            "failed": outcome.failed,
            "notes": {case: list(notes) for case, notes in outcome.notes.items()},
            "left_out": list(outcome.left_out),
            "skipped": outcome.skipped,
            "ids": str(outcome.ids),
        }
        sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        return status
    for case, notes in outcome.notes.items():
        sys.stderr.writelines(f"note: {case}: {note}\n" for note in notes)
    sys.stderr.writelines(f"left out: {text}\n" for text in outcome.left_out)
    sys.stderr.writelines(
        f"passed over: {n} {plural('file', n)}: {why}\n" for why, n in outcome.skipped.items()
    )
    sys.stderr.writelines(_failures(outcome.failed))
    n = len(outcome.written)
    sys.stdout.write(f"{n} {plural('case', n)} in {outcome.dataset}; who is who: {outcome.ids}\n")
    if outcome.written and not outcome.is_dataset:
        sys.stdout.write(
            "The mapping names no labels, so there is no dataset.json: the images can be segmented "
            "with 'acinus predict', not trained on.\n"
        )
    return status


def _failures(failed: dict[str, str]) -> Iterator[str]:
    """Lines on what failed, not more than `MOST_ALIKE` for one reason."""
    shown = Counter[str]()
    for what, why in failed.items():
        shown[why] += 1
        if shown[why] <= MOST_ALIKE:
            yield f"failed: {what}: {why}\n"
    for why, n in shown.items():
        if n > MOST_ALIKE:
            yield f"failed: {n - MOST_ALIKE} more for one reason (--json names them): {why}\n"
