"""``acinus phantom``: synthetic cohorts with known truth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

import acinus
from acinus.cli.options import Jobs

phantom = App(
    name="phantom",
    help="Make synthetic cohorts with known truth.",
    default_parameter=Parameter(negative=()),
    sort_key=2,
)


@phantom.command
def orbit(
    *,
    out: Path,
    patients: int = 86,
    seed: int = 2018,
    size: Literal["mixed", 256, 512] = "mixed",
    counts: Literal["paper", "all"] = "paper",
    registered: bool = False,
    jobs: Jobs = 1,
) -> int:
    """Make a cohort of synthetic orbit MRI: one nnU-Net raw dataset per sequence, or one of all.

    Marked as synthetic in every file. The same seed gives the same bytes.

    ```console
    acinus phantom orbit --patients 86 --seed 2018 --out cohort
    acinus phantom orbit --patients 24 --registered --out cohort
    ```

    Args:
        out: Folder of the datasets.
        patients: Number of patients.
        seed: Seed of the anatomy, the acquisition and the readings.
        size: Pixels in plane, along each side; mixed draws one for each patient.
        counts: paper: some scans are missing or spoilt, in the proportions of the lacrimal
            study; all: every patient has every sequence.
        registered: One dataset whose four channels are the four sequences on one grid, with one
            reference; every patient has all of them.
        jobs: Processes that make patients side by side.
    """
    if registered:
        folder = acinus.make_registered_orbits(
            out, patients=patients, seed=seed, size=size, jobs=jobs
        )
        sys.stdout.write(f"{folder}\n")
        return 0
    for folder in acinus.make_orbit_cohort(
        out, patients=patients, seed=seed, size=size, counts=counts, jobs=jobs
    ):
        sys.stdout.write(f"{folder}\n")
    return 0


@phantom.command
def abdomen(
    *,
    out: Path,
    patients: int = 60,
    seed: int = 2018,
    size: Literal["small", "full"] = "small",
    jobs: Jobs = 1,
) -> int:
    """Make a cohort of synthetic abdominal MR and CT of the pancreas: T1, T2 and CT.

    Five MR centres and four CT collections, which scan differently. Some MR cases are read
    by a second reader, and some again. Marked as synthetic in every file. The same seed
    gives the same bytes.

    ```console
    acinus phantom abdomen --patients 60 --seed 2018 --out cohort
    ```

    Args:
        out: Folder of the datasets.
        patients: Number of people, at least 9; three fifths have MR, the others CT.
        seed: Seed of the anatomy, the acquisition and the readings.
        size: small: the whole field of view at about 4.5 mm in plane, for trainings on a
            CPU; full: about 1.3 mm.
        jobs: Processes that make people side by side.
    """
    for folder in acinus.make_abdomen_cohort(
        out, patients=patients, seed=seed, size=size, jobs=jobs
    ):
        sys.stdout.write(f"{folder}\n")
    return 0


@phantom.command
def headneck(
    *,
    out: Path,
    patients: int = 30,
    seed: int = 2024,
    contrast: Annotated[
        list[Literal["ct", "t1", "t2", "random"]] | None, Parameter(consume_multiple=True)
    ] = None,
    anatomy: Path | None = None,
    body: Literal["none", "torso", "whole"] = "none",
    size: Literal["small", "full"] = "small",
    glands: Annotated[
        list[Literal["lacrimal", "parotid", "submandibular"]] | None,
        Parameter(consume_multiple=True),
    ] = None,
    jobs: Jobs = 1,
) -> int:
    """Make a cohort of synthetic heads and necks: six glands, right and left.

    Computed bodies, or, with --anatomy, the real shapes of drawn organs and glands: each
    patient is one of the maps, deformed, often mirrored with exchanged names, in a contrast,
    on a grid and with the faults of a scanner drawn for it. Marked as synthetic in every
    file. The same seed gives the same bytes.

    ```console
    acinus phantom headneck --patients 30 --out cohort
    acinus phantom headneck --patients 210 --contrast random --anatomy maps/anatomy --out cohort
    ```

    Args:
        out: Folder of the datasets.
        patients: Number of synthetic patients. All that are made from the maps of one real patient
            are one participant, named in column source of participants.tsv.
        seed: Seed of the anatomy, the looks, the acquisition and the second reading.
        contrast: One or more, a dataset each: ct, t1, t2, or random for any contrast. Default: ct.
        anatomy: Folder of organ maps CASE.nii.gz, with the readings in folders oncologist and
            radiographer beside it. Default: computed organs.
        body: How much is scanned below the neck: none, the torso, or the whole body.
        size: small: coarse voxels, for trainings on a CPU; full: grids of clinical scans.
        glands: Which glands are labels. Default: all three.
        jobs: Processes that make patients side by side.
    """
    for folder in acinus.make_headneck_cohort(
        out,
        patients=patients,
        seed=seed,
        contrasts=contrast or ("ct",),
        anatomy=anatomy,
        body=body,
        size=size,
        glands=glands or ("lacrimal", "parotid", "submandibular"),
        jobs=jobs,
    ):
        sys.stdout.write(f"{folder}\n")
    return 0


@phantom.command
def dicom(dataset: Path, /, *, out: Path) -> int:
    """Write a synthetic dataset as a DICOM export: image series and RTSTRUCT, one study a case.

    Folders and files bear meaningless names without endings, as exports of a PACS do: what
    'acinus convert' is for can be tried on it.

    ```console
    acinus phantom dicom cohort/Dataset001_OrbitT1 --out export
    ```

    Args:
        dataset: Folder of a synthetic dataset.
        out: Folder of the export; the same folder again goes on.
    """
    sys.stdout.write(f"{acinus.make_dicom_export(dataset, out)}\n")
    return 0
