"""The synthetic head and neck cohort, written as one nnU-Net raw dataset per contrast.

Enters: number of patients, a seed, and, if wished, a folder of real organ maps.
Leaves: folders with images, references, a second reading, ``dataset.json``,
``participants.tsv`` and ``truth.csv``, marked synthetic in every file. A worker
makes all patients of one source, whose tissues it paints once; it holds one scan
at a time. Every patient and contrast has its own random numbers, so the same seed
gives the same bytes whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import numpy as np
import pandas as pd

from acinus.cohort.dataset import write_dataset_json
from acinus.cohort.participants import write_participants
from acinus.cohort.phantom.headneck.contrast import CONTRASTS, HU, Contrast, draw_look
from acinus.cohort.phantom.headneck.faults import add_couch, finish_ct, finish_mr
from acinus.cohort.phantom.headneck.layers import STEPS, Layer, paint_layers
from acinus.cohort.phantom.headneck.made import make_anatomy
from acinus.cohort.phantom.headneck.organs import GLANDS, MIRROR_PAIRS, Anatomy, labels_of
from acinus.cohort.phantom.headneck.pose import draw_pose
from acinus.cohort.phantom.headneck.protocol import Size, draw_grid
from acinus.cohort.phantom.headneck.real import (
    READINGS,
    hash_sources,
    list_sources,
    read_anatomy,
    source_patient,
)
from acinus.cohort.phantom.headneck.scan import draw_labels, dress, render
from acinus.cohort.phantom.headneck.torso import Extent, paint_body
from acinus.cohort.phantom.making import (
    READING_FOLDERS,
    Row,
    claim_folder,
    make_patients,
    refuse_small,
    write_scan,
)
from acinus.errors import ConfigError, unknown_name
from acinus.files import write_text

DESCRIPTION = "synthetic head and neck phantom"
"""Written to the header of every NIfTI file."""
FORMAT = 2
"""Raised when the same seed gives other bytes than before; since 2 each side is a place of its
own."""
FORMAT_OF_MAPS = 4
"""The same for cohorts made from maps; since 2 the participant is the map's patient."""
LOOKS: dict[Contrast, int] = {"random": 2}
"""The same for one contrast alone; since 2 tissues of random looks are uneven."""

PLACES = {"orbit": ("lacrimal",), "neck": ("parotid", "submandibular")}
"""Place to the glands that a locate stage seeks in one box, on either side."""

DATASETS: MappingProxyType[Contrast, str] = MappingProxyType(
    {
        "ct": "Dataset031_HeadNeckCT",
        "t1": "Dataset032_HeadNeckT1",
        "t2": "Dataset033_HeadNeckT2",
        "random": "Dataset034_HeadNeckAny",
    }
)
"""Contrast to the folder that it is written to."""
CHANNELS: dict[Contrast, str] = {"ct": "CT", "t1": "T1", "t2": "T2", "random": "any"}
DEFORM_MM = 2.5
"""Standard deviation of the deformation that makes a patient out of a source, mm."""


@dataclass(frozen=True)
class _Task:
    """All patients that a worker makes from one source."""

    out: Path
    seed: int
    contrasts: tuple[Contrast, ...]
    anatomy: Path | None
    source: str
    patients: tuple[int, ...]
    width: int
    body: Extent
    size: Size
    labels: dict[str, int]


def make_headneck_cohort(
    out: Path,
    *,
    patients: int,
    seed: int,
    contrasts: Sequence[Contrast] = ("ct",),
    anatomy: Path | None = None,
    body: Extent = "none",
    size: Size = "small",
    glands: Sequence[str] = GLANDS,
    jobs: int = 1,
) -> list[Path]:
    """Write a synthetic cohort of head and neck scans with known glands.

    The same call on its own folder goes on where it was stopped.

    Args:
        out: Folder that receives one dataset folder per contrast.
        patients: Number of synthetic patients, >= 1, each of them a case. Real maps are
            used in turn, each deformed anew; all cases made from the maps of one real
            patient are one participant, so that no split and no interval takes them for
            several. Column ``source`` of ``participants.tsv`` names the real patient.
        seed: Any integer >= 0; the same seed gives the same bytes.
        contrasts: Names of `DATASETS`.
        anatomy: Folder of real organ maps ``CASE.nii.gz`` with the folders
            ``oncologist`` and ``radiographer`` beside it; None makes anatomy.
        body: How much of the body the scan shows below the head and neck.
        size: ``"full"`` has the grids of clinical scans, ``"small"`` coarser ones.
        glands: Kinds of glands that are drawn as labels; all are there in the images.
        jobs: Processes, >= 1.

    Returns:
        The dataset folders, in the order of their numbers.

    Raises:
        ConfigError: A number or a name is not possible.
        DataError: The maps cannot be used, the folder cannot be written, the disk is
            full, or a dataset folder holds something else.
    """
    _refuse_impossible(patients, seed, contrasts, body, size, glands, jobs)
    labels = labels_of(glands)
    out = Path(out)
    ordered = tuple(c for c in CONTRASTS if c in contrasts)
    sources = list_sources(anatomy) if anatomy is not None else []
    made_from: dict[str, object] = {
        "format": FORMAT_OF_MAPS if sources else FORMAT,
        "kind": "headneck",
        "patients": patients,
        "seed": seed,
        "sources": {} if anatomy is None else hash_sources(Path(anatomy), sources),
        "body": body,
        "size": size,
        **({} if len(labels) == 2 * len(GLANDS) else {"glands": sorted(glands)}),
    }
    for contrast in ordered:
        looks = {"looks": LOOKS[contrast]} if contrast in LOOKS else {}
        claim_folder(out / DATASETS[contrast], {**made_from, **looks})
    width = max(3, len(str(patients)))
    tasks = [
        _Task(out, seed, ordered, anatomy, source, numbers, width, body, size, labels)
        for source, numbers in _share_out(sources, patients)
    ]
    rows = make_patients(
        _make_source,
        tasks,
        title="Making synthetic heads",
        jobs=jobs,
        sizes=[len(task.patients) for task in tasks],
    )
    rows.sort(key=lambda row: str(row["case"]))
    return [_finish_dataset(out, contrast, rows, sources, labels) for contrast in ordered]


def participant_of_source(case: str) -> str:
    """Whose scans those made from a map are: ``synthetic-0522c0727`` for ``0522c0727a``."""
    return f"synthetic-{source_patient(case)}"


def _refuse_impossible(
    patients: int,
    seed: int,
    contrasts: Sequence[str],
    body: str,
    size: str,
    glands: Sequence[str],
    jobs: int,
) -> None:
    refuse_small(patients=(patients, 1), seed=(seed, 0), jobs=(jobs, 1))
    if not contrasts:
        raise ConfigError("contrasts must name at least one contrast; got none.")
    if not glands:
        raise ConfigError(f"glands must name at least one of {', '.join(GLANDS)}; got none.")
    for kind, names, possible in (("contrast", contrasts, CONTRASTS), ("gland", glands, GLANDS)):
        for name in names:
            if name not in possible:
                raise ConfigError(unknown_name(kind, name, possible))
    for name, value, known in (("body", body, get_args(Extent)), ("size", size, get_args(Size))):
        if value not in known:
            raise ConfigError(unknown_name(name, value, known))


def _share_out(sources: list[str], patients: int) -> list[tuple[str, tuple[int, ...]]]:
    """Which patients (from 0) are made of which source; without sources each has its own."""
    if not sources:
        return [("", (i,)) for i in range(patients)]
    used = sources[: min(len(sources), patients)]
    return [(name, tuple(range(k, patients, len(used)))) for k, name in enumerate(used)]


def _make_source(task: _Task) -> list[Row]:
    """Write the scans of all patients of a source; rows of the tables of truths."""
    painted = _paint_source(task)
    return [
        _make_scan(task, contrast, index, *painted)
        for index in task.patients
        for contrast in task.contrasts
    ]


def _paint_source(task: _Task) -> tuple[Anatomy, tuple[Layer, ...]]:
    index = task.patients[0]
    if task.anatomy is None:
        anatomy = make_anatomy(np.random.default_rng([task.seed, 10, index]))
    else:
        rng = np.random.default_rng([task.seed, 11, index])
        anatomy = read_anatomy(task.anatomy, task.source, rng)
    return anatomy, paint_layers(anatomy, STEPS[task.size])


def _make_scan(
    task: _Task, contrast: Contrast, index: int, anatomy: Anatomy, layers: tuple[Layer, ...]
) -> Row:
    participant = participant_of_source(task.source) if task.anatomy is not None else "headneck"
    case = f"{participant}_{index + 1:0{task.width}d}"
    number = CONTRASTS.index(contrast)
    streams = [np.random.default_rng([task.seed, 12, index, number, k]) for k in range(5)]
    who = np.random.default_rng([task.seed, 13, index])
    pose = draw_pose(
        who,
        deform_mm=DEFORM_MM,
        may_mirror=task.anatomy is not None,
        turn=1.0 if task.body == "none" else 0.2,
    )
    look = draw_look(streams[0], contrast)
    grid = draw_grid(streams[1], contrast, look.modality, task.body, task.size)
    folder = task.out / DATASETS[contrast]
    readings = {reading: folder / READING_FOLDERS[reading] for reading in READINGS}
    labels = {
        reading: draw_labels(anatomy.glands[reading], grid, pose, task.labels)
        for reading in readings
    }
    image_path = folder / "imagesTr" / f"{case}_0000.nii.gz"
    paths = [image_path, *(place / f"{case}.nii.gz" for place in readings.values())]
    if not all(path.is_file() for path in paths):
        if task.body != "none":
            layers = (*layers, paint_body(anatomy, who, task.body, STEPS[task.size].body))
        is_ct = look.modality == "CT"
        dressed = dress(layers, look, grid.pixel_mm, streams[2])
        image = render(layers, dressed, grid, pose, HU["air"][0] if is_ct else 0.0)
        del dressed
        if is_ct:
            add_couch(image, grid, streams[3], task.body != "none")
        written = (finish_ct if is_ct else finish_mr)(image, grid, streams[4])
        write_scan(written, grid.affine, image_path, description=DESCRIPTION)
        for reading, place in readings.items():
            write_scan(
                labels[reading], grid.affine, place / f"{case}.nii.gz", description=DESCRIPTION
            )
    voxel_ml = abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000.0
    counts = np.bincount(labels["reference"].ravel(), minlength=len(task.labels) + 1)
    return {
        "contrast": contrast,
        "case": case,
        "source": anatomy.source if task.anatomy is not None else case,
        "look": look.kind,
        "mirrored": pose.mirrored,
        "agent": round(look.agent, 3),
        "metal": look.metal,
        "feet_first": grid.feet_first,
        "pixel_mm": round(grid.pixel_mm, 4),
        "slice_mm": round(grid.slice_mm, 4),
        "n_slices": grid.shape[0],
        **{f"{name}_ml": round(float(counts[v]) * voxel_ml, 4) for name, v in task.labels.items()},
    }


def _places(labels: Mapping[str, int]) -> dict[str, list[str]]:
    """Right and left apart: a box of both orbits would be wide, and hold either side's label."""
    places = {
        f"{place}_{side}": [f"{kind}_{side}" for kind in kinds if f"{kind}_{side}" in labels]
        for place, kinds in PLACES.items()
        for side in ("right", "left")
    }
    return {place: glands for place, glands in places.items() if glands}


def _finish_dataset(
    out: Path, contrast: Contrast, rows: list[Row], sources: list[str], labels: dict[str, int]
) -> Path:
    """Write the tables and ``dataset.json`` of one contrast."""
    folder = out / DATASETS[contrast]
    own = [{**row, "synthetic": "true"} for row in rows if row["contrast"] == contrast]
    write_text(folder / "truth.csv", pd.DataFrame(own).to_csv(index=False, lineterminator="\n"))
    people = {
        participant_of_source(str(row["source"])) if sources else str(row["case"]): source_patient(
            str(row["source"])
        )
        for row in own
    }
    write_participants(
        folder / "participants.tsv",
        pd.DataFrame(
            {
                "participant_id": list(people),
                "source": list(people.values()),
                "synthetic": ["true" for _ in people],
            }
        ),
    )
    origin = (
        "Organs and glands are real segmentations, deformed; everything else is computed"
        if sources
        else "Computed from geometric bodies"
    )
    write_dataset_json(
        folder,
        name=DATASETS[contrast],
        channel_names=[CHANNELS[contrast]],
        labels=labels,
        n_training=len(own),
        file_ending=".nii.gz",
        description=(
            f"Synthetic: {DESCRIPTION}, {contrast}. {origin}; no image of a patient is in it. "
            "Not for clinical use."
        ),
        sides={name: name.rsplit("_", 1)[1] for name in labels},
        mirror_pairs=[list(pair) for pair in MIRROR_PAIRS if pair[0] in labels],
        structures=_places(labels),
        synthetic=True,
    )
    return folder
