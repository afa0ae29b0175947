"""What every synthetic cohort needs: a claimed folder, patients side by side, NIfTI files.

Enters: what a cohort is made from, and the function that makes one patient.
Leaves: folders that say where they come from, and files whose bytes depend on
their content only.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from acinus import progress
from acinus.errors import ConfigError, DataError
from acinus.files import read_json, whole_file, write_json
from acinus.types import Affine, Array

MARKER = "phantom.json"
"""File of a dataset folder that says from which numbers it was made."""

Reading = Literal["reference", "second", "repeat"]

READING_FOLDERS: dict[Reading, str] = {
    "reference": "labelsTr",
    "second": "readings/second",
    "repeat": "readings/repeat",
}

Row = dict[str, object]
Task = TypeVar("Task")


def refuse_small(**numbers: tuple[int, int]) -> None:
    """Refuse a number below its least value.

    Args:
        numbers: Name to the number given and the least possible.

    Raises:
        ConfigError: The message names it.
    """
    for name, (value, least) in numbers.items():
        if value < least:
            raise ConfigError(f"{name} must be at least {least}; got {value}.")


def claim_folder(folder: Path, made: Mapping[str, object]) -> None:
    """Mark a folder as belonging to the cohort made from these numbers.

    Raises:
        DataError: It holds other files, or a cohort made from other numbers.
    """
    marker = folder / MARKER
    if marker.is_file():
        found = read_json(marker)
        if found == made:
            return
        if any(path != marker for path in folder.iterdir()):
            raise DataError(
                f"{folder}: must be empty or hold the same synthetic cohort {made}; it was made "
                f"with {found}. Choose another output folder, or remove this one."
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"{folder}: must be empty or hold the same synthetic cohort; it holds other files. "
            "Choose another output folder."
        )
    write_json(marker, dict(made))


def make_patients(
    make: Callable[[Task], list[Row]],
    tasks: Sequence[Task],
    *,
    title: str,
    jobs: int,
    sizes: Sequence[int] | None = None,
) -> list[Row]:
    """Rows of all patients, in the order of the tasks, whatever the number of processes.

    Args:
        make: Writes the scans of a task; a function of a module, so that it can be sent.
        tasks: One per patient, or of several patients that share work.
        title: Shown beside the progress.
        jobs: Processes, >= 1.
        sizes: Patients of each task; None: one each.
    """
    rows: list[Row] = []
    sizes = [1] * len(tasks) if sizes is None else sizes
    with progress.stage(title, total=sum(sizes), unit="patient") as bar:
        for made, size in zip(_run(make, tasks, jobs), sizes, strict=True):
            rows.extend(made)
            bar.advance(size)
    return rows


def _run(
    make: Callable[[Task], list[Row]], tasks: Sequence[Task], jobs: int
) -> Iterator[list[Row]]:
    if jobs == 1 or len(tasks) == 1:
        yield from map(make, tasks)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context) as pool:
        yield from pool.map(make, tasks)


def write_scan(array: Array, affine: Affine, path: Path, *, description: str) -> None:
    """Write a NIfTI file whose bytes depend on its content only.

    Args:
        array: (Z, Y, X) int16 or uint8.
        affine: (4, 4), voxel index (x, y, z, 1) to RAS+ mm.
        path: Ends in ``.nii.gz``.
        description: For the file's header; says that the scan is synthetic.
    """
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    image.header["descrip"] = description.encode()
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    with whole_file(path) as beside:
        beside.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
