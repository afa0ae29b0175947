"""The synthetic orbit cohort, written as one nnU-Net raw dataset per sequence.

Enters: number of patients and a seed. Leaves: folders with images, references,
two further readings, ``dataset.json``, ``participants.tsv`` and ``truth.csv``,
marked synthetic in every file. The same seed gives the same bytes, whatever the
number of processes: every patient and every sequence has its own random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from acinus.cohort.dataset import write_dataset_json
from acinus.cohort.participants import write_participants
from acinus.cohort.phantom.acquisition import ARTEFACT_REASONS, acquire, draw_scanner
from acinus.cohort.phantom.anatomy import Head, draw_head
from acinus.cohort.phantom.counts import Counts, Patient, draw_patients
from acinus.cohort.phantom.geometry import Position, ScanPlan, draw_position, plan_scan
from acinus.cohort.phantom.glands import measure_volume_ml
from acinus.cohort.phantom.making import (
    READING_FOLDERS,
    Row,
    claim_folder,
    make_patients,
    refuse_small,
    write_scan,
)
from acinus.cohort.phantom.painting import paint_slices
from acinus.cohort.phantom.readers import LABELS, READER_ERRORS, draw_reading
from acinus.cohort.phantom.tissues import SEQUENCES, find_sequence
from acinus.cohort.phantom.tissues import Sequence as ScanSequence
from acinus.errors import ConfigError
from acinus.files import write_text

Size = Literal["mixed", 256, 512]

DESCRIPTION = "synthetic orbit phantom"
"""Written to the header of every NIfTI file."""

FORMAT = 1
"""Raised when the same seed gives other bytes than before."""

ALL_SEQUENCES = ("AX-T1", "AX-T1-FS", "POST-AX-T1", "POST-AX-T1-FS")


@dataclass(frozen=True)
class _Task:
    """What a worker needs to make one patient."""

    out: Path
    seed: int
    patient: Patient
    size: int | None
    sequences: tuple[str, ...]


def make_orbit_cohort(
    out: Path,
    *,
    patients: int,
    seed: int,
    size: Size = "mixed",
    sequences: Sequence[str] = ALL_SEQUENCES,
    counts: Counts = "all",
    jobs: int = 1,
) -> list[Path]:
    """Write a synthetic cohort of orbital MRI with known glands.

    The same call on its own folder goes on where it was stopped.

    Args:
        out: Folder that receives one dataset folder per sequence.
        patients: Number of patients assessed, >= 1.
        seed: Any integer >= 0; the same seed gives the same bytes.
        size: Pixels along a row; ``"mixed"`` draws 256 or 512 per patient.
        sequences: Names of `SEQUENCES`.
        counts: ``"paper"``: some scans are missing or spoilt, in the study's
            proportions; ``"all"``: every patient has every sequence.
        jobs: Processes, >= 1.

    Returns:
        The dataset folders, in the order of their numbers.

    Raises:
        ConfigError: A number or a name is not possible.
        DataError: The folder cannot be written, the disk is full, or a dataset
            folder holds something else.
    """
    _refuse_impossible(patients, seed, size, counts, jobs)
    wanted = {find_sequence(name).name for name in sequences}
    if not wanted:
        raise ConfigError("sequences must name at least one sequence; got none.")
    ordered = tuple(name for name in SEQUENCES if name in wanted)
    made_from = {
        "format": FORMAT,
        "patients": patients,
        "seed": seed,
        "size": size,
        "counts": counts,
    }
    for name in ordered:
        claim_folder(Path(out) / SEQUENCES[name].dataset, made_from)
    people = draw_patients(np.random.default_rng([seed, 0]), patients, counts)
    tasks = [
        _Task(Path(out), seed, patient, None if size == "mixed" else size, ordered)
        for patient in people
    ]
    rows = make_patients(_make_patient, tasks, title="Making synthetic orbits", jobs=jobs)
    return [_finish_dataset(Path(out), name, people, rows) for name in ordered]


def _refuse_impossible(patients: int, seed: int, size: object, counts: object, jobs: int) -> None:
    refuse_small(patients=(patients, 1), seed=(seed, 0), jobs=(jobs, 1))
    refuse_size(size)
    if counts not in ("paper", "all"):
        raise ConfigError(f"counts must be 'paper' or 'all'; got {counts!r}.")


def refuse_size(size: object) -> None:
    """Refuse a number of pixels that orbits are not made with; ConfigError."""
    if size not in ("mixed", 256, 512):
        raise ConfigError(f"size must be 256, 512 or 'mixed'; got {size!r}.")


def patient_head(seed: int, patient: Patient) -> Head:
    """The head of one patient of the cohort with that seed."""
    rng = np.random.default_rng([seed, 1, patient.index])
    return draw_head(rng, age=patient.age, sex=patient.sex, condition=patient.condition)


def _make_patient(task: _Task) -> list[Row]:
    """Write every scan of one patient; rows of the truth tables."""
    patient = task.patient
    head = patient_head(task.seed, patient)
    position = draw_position(np.random.default_rng([task.seed, 2, patient.index]), task.size)
    volumes = [measure_volume_ml(gland) for gland in head.glands]
    rows: list[Row] = []
    for name in task.sequences:
        sequence = SEQUENCES[name]
        is_made, _ = patient.scan(name)
        if is_made:
            plan = _make_scan(task, sequence, head, position)
            rows.append(_truth_row(patient, sequence, plan, volumes))
    return rows


def _make_scan(task: _Task, sequence: ScanSequence, head: Head, position: Position) -> ScanPlan:
    patient = task.patient
    number = list(SEQUENCES).index(sequence.name)
    streams = [np.random.default_rng([task.seed, 3, patient.index, number, k]) for k in range(5)]
    plan = plan_scan(streams[0], position)
    folder, name = task.out / sequence.dataset, f"{patient.participant_id}.nii.gz"
    image_path = folder / "imagesTr" / f"{patient.participant_id}_0000.nii.gz"
    label_paths = [folder / place / name for place in READING_FOLDERS.values()]
    if all(path.is_file() for path in (image_path, *label_paths)):
        return plan
    _, artefact = patient.scan(sequence.name)
    state = draw_scanner(streams[1], patient.field_strength_t, artefact)
    painted = paint_slices(head, plan, sequence, patient.field_strength_t)
    image = acquire(painted, plan, sequence, state, streams[1])
    write_scan(image, plan.affine, image_path, description=DESCRIPTION)
    for reading, path, rng in zip(READING_FOLDERS, label_paths, streams[2:], strict=True):
        blur = sequence.reader_blur if reading == "reference" else 1.0
        labels = draw_reading(head, plan, READER_ERRORS[reading].times(blur), rng)
        write_scan(labels, plan.affine, path, description=DESCRIPTION)
    return plan


def _truth_row(
    patient: Patient, sequence: ScanSequence, plan: ScanPlan, volumes: list[float]
) -> Row:
    return {
        "sequence": sequence.name,
        "case": patient.participant_id,
        "condition": patient.condition,
        "volume_right_ml": round(volumes[0], 4),
        "volume_left_ml": round(volumes[1], 4),
        "artefact": patient.scan(sequence.name)[1] or "",
        "pixel_mm": round(plan.pixel_mm, 4),
        "slice_mm": round(plan.slice_mm, 4),
        "thickness_mm": plan.thickness_mm,
        "n_slices": plan.shape[0],
    }


def _finish_dataset(out: Path, name: str, people: list[Patient], rows: list[Row]) -> Path:
    """Write the tables and ``dataset.json`` of one sequence."""
    sequence = SEQUENCES[name]
    folder = out / sequence.dataset
    own = pd.DataFrame([{**row, "synthetic": "true"} for row in rows if row["sequence"] == name])
    write_text(folder / "truth.csv", own.to_csv(index=False, lineterminator="\n"))
    write_participants(folder / "participants.tsv", participants_table(people))
    scans = {p.participant_id: p.scan(name) for p in people}
    exclude = {i: ARTEFACT_REASONS[a] for i, (made, a) in scans.items() if made and a}
    kept = sum(made and artefact is None for made, artefact in scans.values())
    write_dataset_json(
        folder,
        name=sequence.dataset,
        channel_names=[name],
        labels=LABELS,
        n_training=kept,
        file_ending=".nii.gz",
        description=(
            f"Synthetic: {DESCRIPTION}, {name}. Computed from geometric bodies and the "
            "spin-echo equation; no patient was scanned. Not for clinical use."
        ),
        sides={"lacrimal_right": "right", "lacrimal_left": "left"},
        mirror_pairs=[["lacrimal_right", "lacrimal_left"]],
        synthetic=True,
        exclude=exclude,
    )
    return folder


def participants_table(people: list[Patient]) -> pd.DataFrame:
    """One row for each patient assessed, whether or not a scan of theirs was kept."""
    return pd.DataFrame(
        {
            "participant_id": [p.participant_id for p in people],
            "age": [p.age for p in people],
            "sex": [p.sex or None for p in people],
            "field_strength_t": [p.field_strength_t for p in people],
            "group": [p.condition for p in people],
            "synthetic": ["true" for _ in people],
        }
    )
