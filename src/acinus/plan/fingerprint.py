"""Facts about a dataset that the rules decide from.

Enters: a dataset. Leaves: `Fingerprint`, kept as ``fingerprint.json`` with the
hash of the dataset, so that unchanged data are not read twice. Facts only; no
decision is taken here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from acinus import progress
from acinus.cohort import Case, Dataset
from acinus.config import Settings, validate
from acinus.errors import DataError
from acinus.files import read_json, write_json
from acinus.scans import canonical, read_labelmap, read_volume
from acinus.types import Array

FORMAT = 1


class CaseFacts(Settings):
    """One case in canonical axes (Z, Y, X towards superior, anterior, right)."""

    shape_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    intensity: dict[str, dict[str, float]]
    """Per channel: min, max, mean, sd, and percentiles p0.5, p50, p99.5."""
    volume_ml: dict[str, float]
    """Per label; 0 where the label is absent."""
    extent_mm: dict[str, tuple[float, float, float]]
    """Per present label: (Z, Y, X) size of its bounding box."""
    slices_with_foreground: int
    """Along the canonical Z axis."""


class Fingerprint(Settings):
    """All facts, with the hash of the dataset they were read from."""

    format: int = FORMAT
    dataset: str
    dataset_hash: str
    labels: dict[str, int]
    channel_names: tuple[str, ...]
    cases: dict[str, CaseFacts]


def take_fingerprint(dataset: Dataset, path: Path | None = None) -> Fingerprint:
    """Facts of every labelled case; read from `path` if it holds those of the same data.

    Raises:
        DataError: No case has a label.
    """
    dataset_hash = dataset.fingerprint_hash()
    if path is not None and path.is_file():
        kept = read_json(path)
        if kept.get("dataset_hash") == dataset_hash and kept.get("format") == FORMAT:
            return validate(Fingerprint, kept, where=str(path))
    labelled = [case for case in dataset.cases if case.label is not None]
    if not labelled:
        raise DataError(f"{dataset.folder}: at least one case must have a label; none has one.")
    facts: dict[str, CaseFacts] = {}
    with progress.stage("Reading facts", total=len(labelled), unit="case") as bar:
        for case in labelled:
            facts[case.case_id] = case_facts(case, dataset)
            bar.advance(1)
    fingerprint = Fingerprint(
        dataset=dataset.name,
        dataset_hash=dataset_hash,
        labels=dict(dataset.labels),
        channel_names=dataset.channel_names,
        cases=facts,
    )
    if path is not None:
        write_json(path, fingerprint.model_dump(mode="json"))
    return fingerprint


def case_facts(case: Case, dataset: Dataset) -> CaseFacts:
    """Facts of one labelled case."""
    images = {
        name: canonical(read_volume(image))
        for name, image in zip(dataset.channel_names, case.images, strict=True)
        if image is not None
    }
    if case.label is None or not images:
        raise DataError(f"case '{case.case_id}': must have an image and a label.")
    label = canonical(read_labelmap(case.label))
    first = next(iter(images.values()))
    masks = {name: label.array == value for name, value in dataset.labels.items()}
    return CaseFacts(
        shape_vox=first.shape,
        spacing_mm=first.spacing_mm,
        intensity={name: _intensity(image.array) for name, image in images.items()},
        volume_ml={
            name: float(mask.sum()) * label.grid.voxel_volume_ml for name, mask in masks.items()
        },
        extent_mm={
            name: _extent_mm(mask, label.spacing_mm) for name, mask in masks.items() if mask.any()
        },
        slices_with_foreground=int((label.array > 0).any(axis=(1, 2)).sum()),
    )


def volume_ranges_ml(
    fingerprint: Fingerprint, cases: Mapping[str, object] | None = None
) -> dict[str, tuple[float, float]]:
    """Smallest and largest present volume of each label, mL.

    Args:
        fingerprint: Facts of the dataset.
        cases: Only these cases; None: all.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for label in fingerprint.labels:
        volumes = [
            facts.volume_ml[label]
            for case_id, facts in fingerprint.cases.items()
            if (cases is None or case_id in cases) and facts.volume_ml[label] > 0
        ]
        if volumes:
            ranges[label] = (min(volumes), max(volumes))
    return ranges


def _intensity(array: Array) -> dict[str, float]:
    values = array[np.isfinite(array)].astype(np.float32)
    low, middle, high = np.percentile(values[:: max(1, values.size // 200_000)], (0.5, 50, 99.5))
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
        "sd": float(values.std(dtype=np.float64)),
        "p0.5": float(low),
        "p50": float(middle),
        "p99.5": float(high),
    }


def _extent_mm(mask: Array, spacing_mm: tuple[float, ...]) -> tuple[float, float, float]:
    sizes = []
    for axis, step_mm in enumerate(spacing_mm):
        others = tuple(other for other in range(3) if other != axis)
        present = np.flatnonzero(mask.any(axis=others))
        sizes.append(float(present[-1] - present[0] + 1) * step_mm)
    return sizes[0], sizes[1], sizes[2]
