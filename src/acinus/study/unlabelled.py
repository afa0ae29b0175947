"""Scans without a reference: what the final model of an arm makes of them, to be looked at.

Enters: an arm whose model is complete, and where the scans lie. Leaves: label maps, their
volumes and warnings, and the records that the report shows. Nothing is scored: there is nothing
to hold a result against.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from acinus.cohort import Dataset
from acinus.errors import ConfigError
from acinus.files import hash_file, read_json, write_json, write_text
from acinus.measure import MEASURES
from acinus.plan import read_plan
from acinus.predict import (
    ALL_SERIES,
    Scan,
    device_at_hand,
    find_scans,
    holds_dicom,
    predict_paths,
)
from acinus.report.content import UnlabelledScan
from acinus.scans import Grid, Series, Volume, read_volume, resample_onto, write_volume
from acinus.study.failures import RECORD
from acinus.study.folders import RunFolder
from acinus.study.job import ArmJob
from acinus.study.schema import UnlabelledSettings
from acinus.study.stamps import once
from acinus.train.fold import pinned_threads

LEAST_SEEN = 0.95
"""Share of an outline that the other scan must have shown to be compared with it."""

AGREEMENT = "agreement.csv"
"""File with the Dice of each two scans of one patient."""
AGREEMENT_COLUMNS = ("group", "first", "second", "label", "dice")


def segment_unlabelled(job: ArmJob, settings: UnlabelledSettings | None) -> None:
    """Segment scans without a reference; nothing where a study names none.

    A scan that cannot be segmented is kept with the reason; the others go on.

    Args:
        job: The arm, its model complete.
        settings: Where the scans lie; None: there are none.

    Raises:
        ConfigError: A volume is expected of what is no label.
        DataError: A place is not there, or holds nothing that can be read.
    """
    if settings is None:
        return
    folder = job.folder.unlabelled
    record, agreement = folder / RECORD, folder / AGREEMENT
    found = find_unlabelled(job.dataset, settings)

    def work() -> None:
        groups = [
            _segment(job, Path(settings.scans[name]), scans, folder / name)
            for name, scans in found.items()
        ]
        made = dict(zip(found, groups, strict=True))
        write_json(record, made)
        rows = [
            {"group": name, **row}
            for name in settings.one_patient
            for row in compare_scans(_predictions(made[name], folder), job.dataset.values)
        ]
        table = pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))
        write_text(agreement, table.to_csv(index=False, lineterminator="\n"))

    key = [
        hash_file(job.folder.model / "model.json"),
        settings.scans,
        settings.one_patient,
        [[name, scan.case, *_hashes(scan)] for name, scans in found.items() for scan in scans],
    ]
    once(job.folder.root, "unlabelled", key, work, results=[record, agreement, *_files_of(record)])


def compare_scans(
    predictions: Mapping[str, Path], values: Mapping[str, Sequence[int]]
) -> Iterator[dict[str, Any]]:
    """Dice of the outlines of each two scans of one patient, on the grid of the first.

    Args:
        predictions: Scan to its label map, all in one world.
        values: Label name to the values that are this label.

    Yields:
        ``first``, ``second``, ``label`` and ``dice``, which is NaN if neither scan has it, or if
        it lies where the other scan did not look.
    """
    dice = MEASURES["dice"].factory
    maps = {case: read_volume(path) for case, path in predictions.items()}
    for (first, one), (second, other) in itertools.combinations(maps.items(), 2):
        moved = resample_onto(other, one.grid, order=0).array
        seen = _covered(other, one.grid)
        seen_back = _covered(one, other.grid)
        for label, own in values.items():
            left, right = np.isin(one.array, own), np.isin(other.array, own)
            score = math.nan
            if _is_within(left, seen) and _is_within(right, seen_back):
                score = float(dice(left, np.isin(moved, own), one.spacing_mm))
            yield {"first": first, "second": second, "label": label, "dice": score}


def _covered(scan: Volume, grid: Grid) -> np.ndarray:
    """Voxels of a grid that a scan shows."""
    whole = scan.with_array(np.ones(scan.shape, dtype=np.uint8))
    return np.asarray(resample_onto(whole, grid, order=0).array, dtype=bool)


def _is_within(mask: np.ndarray, seen: np.ndarray) -> bool:
    """Whether what was outlined lies where the other scan looked, but for what its edge cuts."""
    return not mask.any() or bool((mask & seen).sum() >= LEAST_SEEN * mask.sum())


def _predictions(scans: Sequence[dict[str, Any]], folder: Path) -> dict[str, Path]:
    return {one["case"]: folder / one["prediction"] for one in scans if "prediction" in one}


def read_agreement(folder: RunFolder) -> pd.DataFrame:
    """What `segment_unlabelled` compared, columns `AGREEMENT_COLUMNS`; empty if nothing."""
    path = folder.unlabelled / AGREEMENT
    if not path.is_file():
        return pd.DataFrame(columns=list(AGREEMENT_COLUMNS))
    return pd.read_csv(path, dtype={"group": str, "first": str, "second": str, "label": str})


def _files_of(record: Path) -> list[Path]:
    """Images and label maps that a record speaks of; none where there is no record."""
    if not record.is_file():
        return []
    return [
        record.parent / one[name]
        for scans in read_json(record).values()
        for one in scans
        for name in ("image", "prediction")
        if name in one
    ]


def read_unlabelled(folder: RunFolder) -> tuple[UnlabelledScan, ...]:
    """What `segment_unlabelled` left for the report; nothing where it was not asked for."""
    record = folder.unlabelled / RECORD
    if not record.is_file():
        return ()
    return tuple(
        UnlabelledScan(group, **_with_paths(facts, record.parent))
        for group, scans in read_json(record).items()
        for facts in scans
    )


def find_unlabelled(dataset: Dataset, settings: UnlabelledSettings) -> dict[str, list[Scan]]:
    """The scans of each group, before anything is trained that could not be shown.

    Args:
        dataset: Of the arm.
        settings: Where the scans lie.

    Raises:
        ConfigError: A volume is expected of what is no label.
        DataError: A place is not there, or holds nothing that can be read.
    """
    for label in settings.expected_ml:
        if label not in dataset.labels:
            raise ConfigError(
                f"unlabelled.expected_ml must name labels of {dataset.name}, "
                f"{', '.join(dataset.labels)}; got '{label}'."
            )
    numbers = dataset.channel_numbers or range(len(dataset.channel_names))
    channels = dict(zip(numbers, dataset.channel_names, strict=True))
    places = {name: Path(place) for name, place in settings.scans.items()}
    is_view = dataset.channel_numbers is not None
    return {
        name: find_scans(at, channels, _series(at), is_view=is_view) for name, at in places.items()
    }


def _series(place: Path) -> str | None:
    """Of a DICOM folder all series; other scans have none to choose."""
    return ALL_SERIES if holds_dicom(place) else None


def _hashes(scan: Scan) -> Iterator[str]:
    for channel in scan.channels:
        paths = channel.paths if isinstance(channel, Series) else (channel,)
        yield from (hash_file(path) for path in paths if path is not None)


def _segment(job: ArmJob, place: Path, scans: list[Scan], folder: Path) -> list[dict[str, Any]]:
    """Label maps of the scans of one group; what `UnlabelledScan` holds of each."""
    train = read_plan(job.folder.plan).settings.train
    with pinned_threads(train.threads):
        device = device_at_hand(train.device)
        outcome = predict_paths(
            job.folder.model, place, folder, series=_series(place), device=device
        )
    table = pd.read_csv(outcome.table, keep_default_na=False, dtype={"case": str})
    made = []
    for scan in scans:
        # Folders of an export are often named after the patient.
        failed = outcome.failed.get(scan.case, "")
        for known in (place.resolve(), place):
            failed = failed.replace(f"{known}{os.sep}", "").replace(str(known), place.name)
        facts: dict[str, Any] = {"case": scan.case, "failed": failed}
        if not facts["failed"]:
            rows = table[table["case"] == scan.case].set_index("label")
            facts |= {
                # From the folder of all groups, which may move; scans stay where they are.
                "image": _from(_image(scan, folder), folder.parent),
                "prediction": _from(folder / f"{scan.case}.nii.gz", folder.parent),
                "volumes_ml": rows["volume_ml"].astype(float).to_dict(),
                "warnings": rows["warnings"].to_dict(),
            }
        made.append(facts)
    return made


def _from(path: Path, folder: Path) -> str:
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return str(path.resolve())


def _image(scan: Scan, folder: Path) -> Path:
    """The first channel as a file: of a DICOM series a copy without its header's names."""
    first = next(channel for channel in scan.channels if channel is not None)
    if isinstance(first, Path):
        return first
    path = folder / "images" / f"{scan.case}.nii.gz"
    image = next(channel for channel in scan.read() if channel is not None)
    write_volume(Volume(image.array, image.affine), path)
    return path


def _with_paths(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    places = {name: folder / facts[name] for name in ("image", "prediction") if name in facts}
    return facts | places
