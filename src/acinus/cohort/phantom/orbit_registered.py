"""The four orbital sequences of each patient on one grid: one dataset with four channels.

Enters: number of patients and a seed. Leaves: a dataset folder as of the cohort of single
sequences, with one reference for all four. The head does not move between the sequences and one
grid holds them all, as after a perfect registration: what a channel adds is its contrast alone.
Resampling the single sequences onto one grid was rejected: each has a reference of its own, and
interpolation would blur three of the four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from acinus.cohort.dataset import write_dataset_json
from acinus.cohort.participants import write_participants
from acinus.cohort.phantom.acquisition import acquire, draw_scanner
from acinus.cohort.phantom.counts import Patient, draw_patients
from acinus.cohort.phantom.geometry import ScanPlan, draw_position, plan_scan
from acinus.cohort.phantom.glands import measure_volume_ml
from acinus.cohort.phantom.making import (
    READING_FOLDERS,
    Row,
    claim_folder,
    make_patients,
    refuse_small,
    write_scan,
)
from acinus.cohort.phantom.orbit import (
    ALL_SEQUENCES,
    DESCRIPTION,
    Size,
    participants_table,
    patient_head,
    refuse_size,
)
from acinus.cohort.phantom.painting import paint_slices
from acinus.cohort.phantom.readers import LABELS, READER_ERRORS, draw_reading
from acinus.cohort.phantom.tissues import SEQUENCES
from acinus.files import write_text

REGISTERED = "Dataset005_OrbitRegistered"
"""Folder of the dataset."""

FORMAT = 1
"""Raised when the same seed gives other bytes than before."""


@dataclass(frozen=True)
class _Task:
    """What a worker needs to make one patient."""

    folder: Path
    seed: int
    patient: Patient
    size: int | None


def make_registered_orbits(
    out: Path, *, patients: int, seed: int, size: Size = "mixed", jobs: int = 1
) -> Path:
    """Write synthetic orbital MRI whose four sequences are channels of one dataset.

    T1 without and with fat suppression, before and after contrast agent, in the order of
    `ALL_SEQUENCES`. Every patient has all of them, with the head that `make_orbit_cohort` gives
    the patient of that seed. The reader sees all four; the second and the repeated reading too.

    Args:
        out: Folder that receives the dataset's folder.
        patients: Number of patients, >= 1.
        seed: Any integer >= 0; the same seed gives the same bytes.
        size: Pixels along a row; ``"mixed"`` draws 256 or 512 per patient.
        jobs: Processes, >= 1.

    Returns:
        The dataset's folder.

    Raises:
        ConfigError: A number is not possible.
        DataError: The folder cannot be written, the disk is full, or it holds something else.
    """
    refuse_small(patients=(patients, 1), seed=(seed, 0), jobs=(jobs, 1))
    refuse_size(size)
    folder = Path(out) / REGISTERED
    claim_folder(folder, {"format": FORMAT, "patients": patients, "seed": seed, "size": size})
    people = draw_patients(np.random.default_rng([seed, 0]), patients, "all")
    fixed = None if size == "mixed" else size
    tasks = [_Task(folder, seed, patient, fixed) for patient in people]
    rows = make_patients(_make_patient, tasks, title="Making synthetic orbits", jobs=jobs)
    _write_tables(folder, people, rows)
    return folder


def _make_patient(task: _Task) -> list[Row]:
    patient = task.patient
    head = patient_head(task.seed, patient)
    position = draw_position(np.random.default_rng([task.seed, 2, patient.index]), task.size)
    plan = plan_scan(np.random.default_rng([task.seed, 4, patient.index]), position)
    name = patient.participant_id
    for channel, sequence_name in enumerate(ALL_SEQUENCES):
        path = task.folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz"
        if path.is_file():
            continue
        sequence = SEQUENCES[sequence_name]
        rng = np.random.default_rng([task.seed, 5, patient.index, channel])
        state = draw_scanner(rng, patient.field_strength_t)
        painted = paint_slices(head, plan, sequence, patient.field_strength_t)
        image = acquire(painted, plan, sequence, state, rng)
        write_scan(image, plan.affine, path, description=DESCRIPTION)
    for number, (reading, place) in enumerate(READING_FOLDERS.items()):
        path = task.folder / place / f"{name}.nii.gz"
        if not path.is_file():
            rng = np.random.default_rng([task.seed, 6, patient.index, number])
            labels = draw_reading(head, plan, READER_ERRORS[reading], rng)
            write_scan(labels, plan.affine, path, description=DESCRIPTION)
    return [_truth_row(patient, plan, [measure_volume_ml(gland) for gland in head.glands])]


def _truth_row(patient: Patient, plan: ScanPlan, volumes_ml: Sequence[float]) -> Row:
    return {
        "case": patient.participant_id,
        "condition": patient.condition,
        "volume_right_ml": round(volumes_ml[0], 4),
        "volume_left_ml": round(volumes_ml[1], 4),
        "pixel_mm": round(plan.pixel_mm, 4),
        "slice_mm": round(plan.slice_mm, 4),
        "thickness_mm": plan.thickness_mm,
        "n_slices": plan.shape[0],
    }


def _write_tables(folder: Path, people: list[Patient], rows: list[Row]) -> None:
    """Write the tables and ``dataset.json``, which comes last."""
    truth = pd.DataFrame([{**row, "synthetic": "true"} for row in rows])
    write_text(folder / "truth.csv", truth.to_csv(index=False, lineterminator="\n"))
    write_participants(folder / "participants.tsv", participants_table(people))
    write_dataset_json(
        folder,
        name=REGISTERED,
        channel_names=ALL_SEQUENCES,
        labels=LABELS,
        n_training=len(people),
        file_ending=".nii.gz",
        description=(
            f"Synthetic: {DESCRIPTION}, {', '.join(ALL_SEQUENCES)} on one grid without motion "
            "between them. Computed from geometric bodies and the spin-echo equation; no patient "
            "was scanned. Not for clinical use."
        ),
        sides={"lacrimal_right": "right", "lacrimal_left": "left"},
        mirror_pairs=[["lacrimal_right", "lacrimal_left"]],
        synthetic=True,
    )
