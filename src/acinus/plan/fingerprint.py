"""Facts about a dataset that the rules decide from.

Enters: a dataset. Leaves: `Fingerprint`, kept as ``fingerprint.json`` with the
hash of the dataset, so that unchanged data are not read twice. Facts only; no
decision is taken here. Cases are read by threads, one a core: unpacking and the
sums over voxels run outside of Python's lock, and processes would have to be
started and sent the volumes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from acinus import progress
from acinus.cohort import Case, Dataset
from acinus.config import Settings, validate
from acinus.errors import DataError
from acinus.files import read_json, write_json
from acinus.plan.intensity import ForegroundIntensity, Sample, combine_samples, take_sample
from acinus.scans import Volume, canonical, read_labelmap, read_volume
from acinus.types import Array

FORMAT = 3

MOST_THREADS = 8
"""Cases read at a time; each holds its volumes in memory."""

BLOCK_VOXELS = 1 << 18
"""Voxels that are summed at a time, in double precision."""

Box = tuple[slice, slice, slice]


class CaseFacts(Settings):
    """One case in canonical axes (Z, Y, X towards superior, anterior, right)."""

    shape_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    in_single_precision: bool = False
    """Whether the file keeps the spacing so, as NIfTI does: 1.8 mm are 1.79999995 mm there."""
    cropped_vox: tuple[int, int, int]
    """Shape of the box of all voxels that are not 0 in every channel (nnU-Net's crop)."""
    cropped_share: float
    """Share of the voxels that lie in that box."""
    intensity: dict[str, dict[str, float]]
    """Per channel: min, max, mean, sd, and percentiles p0.5, p50, p99.5, of all voxels."""
    volume_ml: dict[str, float]
    """Per label; 0 where the label is absent."""
    voxels: dict[str, int]
    """Per label; 0 where the label is absent."""
    extent_mm: dict[str, tuple[float, float, float]]
    """Per present label: (Z, Y, X) size of its bounding box."""
    centroid_mm: dict[str, tuple[float, float, float]]
    """Per present label: (Z, Y, X) mean position, mm along the axes from the first voxel."""
    slices_with_foreground: int
    """Along the canonical Z axis."""
    foreground_box: tuple[tuple[float, float], ...] | None
    """(Z, Y, X) start and end of the box of all labels, as shares of the image; None: no label."""


class Fingerprint(Settings):
    """All facts, with the hash of the dataset they were read from."""

    format: int = FORMAT
    dataset: str
    dataset_hash: str
    labels: dict[str, int]
    channel_names: tuple[str, ...]
    foreground: dict[str, ForegroundIntensity]
    """Per channel: intensities of labelled voxels, those to be ignored included (as nnU-Net);
    lacks channels in which no case has one."""
    cases: dict[str, CaseFacts]


def take_fingerprint(dataset: Dataset, path: Path | None = None) -> Fingerprint:
    """Facts of every labelled case; read from `path` if it holds those of the same data.

    Raises:
        DataError: No case has a label, or image and label of one do not fit together.
    """
    dataset_hash = dataset.fingerprint_hash()
    if path is not None and path.is_file():
        kept = read_json(path)
        if kept.get("dataset_hash") == dataset_hash and kept.get("format") == FORMAT:
            return validate(Fingerprint, kept, where=str(path))
    if not dataset.labelled_cases:
        raise DataError(f"{dataset.folder}: at least one case must have a label; none has one.")
    facts: dict[str, CaseFacts] = {}
    samples: dict[str, list[Sample]] = {name: [] for name in dataset.channel_names}
    for case_id, one, parts in _read_cases(dataset):
        facts[case_id] = one
        for name, sample in parts.items():
            samples[name].append(sample)
    combined = {name: combine_samples(parts) for name, parts in samples.items()}
    fingerprint = Fingerprint(
        dataset=dataset.name,
        dataset_hash=dataset_hash,
        labels=dict(dataset.labels),
        channel_names=dataset.channel_names,
        foreground={name: one for name, one in combined.items() if one is not None},
        cases=facts,
    )
    if path is not None:
        write_fingerprint(fingerprint, path)
    return fingerprint


def write_fingerprint(fingerprint: Fingerprint, path: Path) -> None:
    """Keep the facts for `take_fingerprint`, which then reads no scan."""
    write_json(path, fingerprint.model_dump(mode="json"))


def case_facts(case: Case, dataset: Dataset) -> tuple[CaseFacts, dict[str, Sample]]:
    """Facts of one labelled case, and its foreground intensities per channel.

    Raises:
        DataError: Image or label is missing, or they do not have one shape.
    """
    images = {
        name: canonical(read_volume(image))
        for name, image in zip(dataset.channel_names, case.images, strict=True)
        if image is not None
    }
    if case.label is None or not images:
        raise DataError(f"case '{case.case_id}': must have an image and a label.")
    label = canonical(read_labelmap(case.label))
    first = next(iter(images.values()))
    for volume in (*images.values(), label):
        if volume.shape != first.shape:
            raise DataError(
                f"case '{case.case_id}': channels and label must share a grid; shapes "
                f"(Z, Y, X) {first.shape} and {volume.shape}. Export them on one grid, or list "
                "the case under 'exclude'."
            )
    boxes = _label_boxes(label.array)
    facts = CaseFacts(
        shape_vox=first.shape,
        spacing_mm=first.grid.stored_spacing_mm,
        in_single_precision=any(
            image is not None and image.name.lower().endswith((".nii", ".nii.gz"))
            for image in case.images
        ),
        **_crop_facts([image.array for image in images.values()]),
        intensity={name: _intensity(image.array) for name, image in images.items()},
        **_label_facts(label, boxes, dataset),
    )
    if not boxes:
        return facts, {}
    box = _unite_boxes(list(boxes.values()))
    labelled = label.array[box] > 0
    drawn = {name: take_sample(image.array[box][labelled]) for name, image in images.items()}
    return facts, {name: sample for name, sample in drawn.items() if sample is not None}


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


def _read_cases(dataset: Dataset) -> Iterator[tuple[str, CaseFacts, dict[str, Sample]]]:
    """Facts and samples of the labelled cases, in their order."""
    cases = dataset.labelled_cases
    n_threads = max(1, min(MOST_THREADS, os.cpu_count() or 1, len(cases)))
    with (
        progress.stage("Reading facts", total=len(cases), unit="case") as bar,
        ThreadPoolExecutor(n_threads) as pool,
    ):
        jobs = [pool.submit(case_facts, case, dataset) for case in cases]
        try:
            for case, job in zip(cases, jobs, strict=True):
                yield case.case_id, *job.result()
                bar.advance(1)
        finally:
            pool.shutdown(cancel_futures=True)


def _label_facts(label: Volume, boxes: Mapping[int, Box], dataset: Dataset) -> dict[str, Any]:
    """Size and place of every label or region; an ignore label is no foreground here."""
    spacing_mm = np.array(label.spacing_mm)
    facts: dict[str, Any] = {"voxels": {}, "volume_ml": {}, "extent_mm": {}, "centroid_mm": {}}
    found: list[Box] = []
    for name, painted in dataset.labels.items():
        values = [value for value in dataset.regions.get(name, (painted,)) if value in boxes]
        masks = {value: label.array[boxes[value]] == value for value in values}
        n_voxels = sum(int(mask.sum()) for mask in masks.values())
        facts["voxels"][name] = n_voxels
        facts["volume_ml"][name] = n_voxels * label.grid.voxel_volume_ml
        if n_voxels:
            box = _unite_boxes([boxes[value] for value in values])
            found.append(box)
            size = np.array([edge.stop - edge.start for edge in box])
            sums = sum(_index_sums(mask, boxes[value]) for value, mask in masks.items())
            facts["extent_mm"][name] = tuple((size * spacing_mm).tolist())
            facts["centroid_mm"][name] = tuple(np.round(sums / n_voxels * spacing_mm, 3).tolist())
    if not found:
        return {**facts, "foreground_box": None, "slices_with_foreground": 0}
    box = _unite_boxes(found)
    part = label.array[box]
    drawn = (part > 0) & (part != dataset.ignore_label) if dataset.ignore_label else part > 0
    return {
        **facts,
        "foreground_box": tuple(
            (round(edge.start / n, 4), round(edge.stop / n, 4))
            for edge, n in zip(box, label.shape, strict=True)
        ),
        "slices_with_foreground": int(drawn.any(axis=(1, 2)).sum()),
    }


def _label_boxes(array: Array) -> dict[int, Box]:
    """Bounding box of each value above 0."""
    # Imported here: the module of measurements takes a while to load.
    from scipy.ndimage import find_objects

    return {value: box for value, box in enumerate(find_objects(array), start=1) if box is not None}


def _index_sums(mask: Array, box: Box) -> Array:
    """(3,) sums over the voxels of a mask of their (z, y, x) indices in the whole array."""
    sums = []
    for axis, edge in enumerate(box):
        counts = mask.sum(axis=tuple(other for other in range(3) if other != axis))
        sums.append(float(counts @ np.arange(edge.start, edge.stop)))
    return np.array(sums)


def _unite_boxes(boxes: Sequence[Box]) -> Box:
    z, y, x = (
        slice(min(edge.start for edge in edges), max(edge.stop for edge in edges))
        for edges in zip(*boxes, strict=True)
    )
    return z, y, x


def _crop_facts(arrays: Sequence[Array]) -> dict[str, Any]:
    """Box of the voxels at which any channel is not 0; the whole image if there is none.

    nnU-Net fills holes of that region first, which never changes its box.
    """
    shape = arrays[0].shape
    filled = arrays[0] != 0
    for array in arrays[1:]:
        filled |= array != 0
    size = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        present = np.flatnonzero(filled.any(axis=others))
        size.append(int(present[-1] - present[0] + 1) if len(present) else shape[axis])
    return {"cropped_vox": tuple(size), "cropped_share": float(np.prod(size) / np.prod(shape))}


def _intensity(array: Array) -> dict[str, float]:
    values = array.ravel()
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        values = values if finite.all() else values[finite]
    step = max(1, values.size // 200_000)
    low, middle, high = np.percentile(values[::step], (0.5, 50, 99.5))
    mean, sd = _moments(values, shift=float(middle))
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": mean,
        "sd": sd,
        "p0.5": float(low),
        "p50": float(middle),
        "p99.5": float(high),
    }


def _moments(values: Array, *, shift: float) -> tuple[float, float]:
    """Mean and standard deviation, block by block: a copy in double precision is four times a CT.

    Args:
        values: (n,) finite, n >= 1.
        shift: About their middle; sums of differences from it do not cancel.
    """
    total = squares = 0.0
    for start in range(0, values.size, BLOCK_VOXELS):
        block = values[start : start + BLOCK_VOXELS] - np.float64(shift)
        total += float(block.sum())
        squares += float(block @ block)
    apart = total / values.size
    return shift + apart, float(np.sqrt(max(squares / values.size - apart**2, 0.0)))
