"""Faults of one case, and the facts that tell whether it fits the others.

Enters: the files of one case. Leaves: `CaseFacts`, small and picklable, since a
worker process may make them. Every file is read to its end, one channel at a time,
so that a worker holds one label and two images at most.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from acinus.cohort.finding import Finding, error, warning
from acinus.cohort.side_parts import placement_findings
from acinus.errors import AcinusError
from acinus.scans import GRID_TOLERANCE_MM, Grid, Volume, axis_codes, canonical, read_volume
from acinus.scans.coding import Side
from acinus.types import Array, Spacing

SMALLEST_SPACING_MM = 0.02
LARGEST_SPACING_MM = 30.0
"""Spacings outside these are no MRI or CT of a patient: most often a wrong unit."""

N_SAMPLED = 200_000
"""At least so many evenly spread voxels stand for the intensities of an image."""

_CODE_BY_WORDS = (("three-dimensional", "not-3d"), ("affine", "affine"), ("_code", "affine"))
"""Words of the readers' errors to codes; whatever else keeps a file from being read is
``unreadable``."""


@dataclass(frozen=True)
class CaseFiles:
    """What a worker needs to know of a case and its dataset.

    Attributes:
        case_id: The case.
        images: One file per channel, None where it is missing.
        label: The segmentation, None where it is missing.
        values: Structure to the values that stand for it in the label map.
        sides: Structure to side.
        mirror_pairs: Structures that swap when left and right swap.
        ignore_label: Value of voxels that the label map says nothing about.
        annotated: Structures that were annotated in the case; None: all.
    """

    case_id: str
    images: tuple[Path | None, ...]
    label: Path | None
    values: Mapping[str, tuple[int, ...]]
    sides: Mapping[str, Side]
    mirror_pairs: tuple[tuple[str, str], ...]
    ignore_label: int | None = None
    annotated: tuple[str, ...] | None = None

    def is_annotated(self, structure: str) -> bool:
        """Whether a structure was annotated in the case."""
        return self.annotated is None or structure in self.annotated


@dataclass
class CaseFacts:
    """What one case shows.

    Attributes:
        case_id: The case.
        findings: Its faults.
        spacing_mm: (Z, Y, X) of the first readable channel in canonical order; None without.
        image_hashes: File name to hash of the voxels, for images that are not constant.
        label_hash: Hash of the voxels of the label; empty if unreadable or without structure.
        scales: Channel number to the 99th percentile of absolute intensity.
        volumes_ml: Structure to volume, for those that are present and annotated.
        read: Structures that the label map tells of; empty if it could not be read.
        is_partly_ignored: Whether some voxels say nothing, so that volumes are not whole.
    """

    case_id: str
    findings: list[Finding] = field(default_factory=list)
    spacing_mm: Spacing | None = None
    image_hashes: dict[str, str] = field(default_factory=dict)
    label_hash: str = ""
    scales: dict[int, float] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    is_partly_ignored: bool = False


def check_case(files: CaseFiles) -> CaseFacts:
    """All faults of one case, and its facts.

    Args:
        files: The case.
    """
    facts = CaseFacts(files.case_id)
    label = _load(files.label, facts) if files.label else None
    if label is not None:
        label = _check_label(label, files, facts)
    first: tuple[str, Grid] | None = None
    frame: Volume | None = None
    for number, path in enumerate(files.images):
        image = _load(path, facts) if path else None
        if image is None or path is None:
            continue
        _check_image(image, path, number, facts)
        if first is None:
            first = (path.name, image.grid)
            facts.spacing_mm = canonical_spacing(image.grid)
            facts.findings += _check_spacing(files.case_id, path.name, image.grid)
            frame = image if files.sides else None
        else:
            facts.findings += grid_findings(files.case_id, first, path.name, image.grid)
    if label is None or files.label is None:
        return facts
    if first is not None:
        facts.findings += grid_findings(files.case_id, first, files.label.name, label.grid)
    shares_grid = frame is not None and frame.grid.matches(label.grid)
    facts.findings += placement_findings(
        files.case_id,
        canonical(label),
        canonical(frame) if frame is not None and shares_grid else None,
        files.values,
        files.sides,
        files.mirror_pairs,
    )
    return facts


def grid_findings(
    case_id: str, first: tuple[str, Grid], other_name: str, other: Grid
) -> Iterator[Finding]:
    """An error if a file of a case lies on another grid than its first image.

    Args:
        case_id: The case.
        first: Name and grid of the first image.
        other_name: Name of the other file.
        other: Its grid.
    """
    name, grid = first
    if grid.matches(other):
        return
    advice = "Export it again on the grid of the image, or list the case under 'exclude'."
    if grid.shape != other.shape:
        found = f"shape (Z, Y, X) {grid.shape} of {name}, but {other.shape} of {other_name}"
    else:
        found = (
            f"{other_name} lies up to {grid.displacement_mm(other):.3g} mm from {name} "
            f"(corner voxels; GRID_TOLERANCE_MM is {GRID_TOLERANCE_MM})"
        )
    if axis_codes(grid.affine) != axis_codes(other.affine):
        found += f"; axes {axis_codes(grid.affine)} and {axis_codes(other.affine)}"
    elif not np.allclose(grid.spacing_mm, other.spacing_mm, rtol=1e-3):
        found += f"; spacing {_mm(grid.spacing_mm)} and {_mm(other.spacing_mm)} mm"
    yield error("grid", case_id, found, advice)


def canonical_spacing(grid: Grid) -> Spacing:
    """(Z, Y, X) spacing with Z closest to superior, Y to anterior, X to right, mm."""
    by_letter = dict(zip(axis_codes(grid.affine), grid.spacing_mm[::-1], strict=True))
    x, y, z = (
        next(mm for letter, mm in by_letter.items() if letter in pair)
        for pair in ("LR", "PA", "IS")
    )
    return z, y, x


def _load(path: Path, facts: CaseFacts) -> Volume | None:
    """The volume in a file, or None after noting why it cannot be read."""
    try:
        return read_volume(path)
    except AcinusError as fault:
        text = str(fault)
    except (OSError, EOFError, ValueError, RuntimeError, MemoryError) as fault:
        text = f"{path}: must be a readable image; found {type(fault).__name__} ({fault})."
    code = next((code for words, code in _CODE_BY_WORDS if words in text), "unreadable")
    text = " ".join(text.replace(str(path), path.name).split())
    found, *remedy = re.split(r"\. (?=[A-Z])", text, maxsplit=1)
    advice = remedy[0] if remedy else "Export the file again, or list the case under 'exclude'."
    facts.findings.append(error(code, facts.case_id, found.rstrip("."), advice))
    return None


def _check_image(image: Volume, path: Path, channel: int, facts: CaseFacts) -> None:
    array = image.array
    is_finite = np.isfinite(array) if array.dtype.kind == "f" else None
    if is_finite is not None and not is_finite.all():
        facts.findings.append(_not_finite(path, array, is_finite, facts.case_id))
        array = np.where(is_finite, array, array.dtype.type(0))
    low, high = array.min(), array.max()
    if low == high:
        facts.findings.append(
            error(
                "constant-image",
                facts.case_id,
                f"{path.name}: all {array.size} voxels are {float(low):g}",
                "Export the image again, or list the case under 'exclude'.",
            )
        )
        return
    facts.image_hashes[path.name] = hash_voxels(array)
    step = max(1, array.size // N_SAMPLED)
    facts.scales[channel] = float(np.percentile(np.abs(array.ravel()[::step].astype(float)), 99))


def _check_label(label: Volume, files: CaseFiles, facts: CaseFacts) -> Volume | None:
    """The label with integer voxels, or None after noting that it has none."""
    name = files.label.name if files.label else ""
    array = label.array
    if array.dtype.kind == "f":
        is_finite = np.isfinite(array)
        if not is_finite.all():
            facts.findings.append(_not_finite(Path(name), array, is_finite, files.case_id))
            array = np.where(is_finite, array, array.dtype.type(0))
        is_whole = array == np.rint(array)
        if not is_whole.all():
            facts.findings.append(
                error(
                    "label-not-integer",
                    files.case_id,
                    f"{name}: {int((~is_whole).sum())} voxels are not whole numbers, "
                    f"e.g. {float(array[~is_whole][0]):.6g}",
                    "Resample labels with nearest neighbour, or check that this is the label "
                    "and not the image.",
                )
            )
            return None
        array = array.astype(np.int64)
    present = count_values(array)
    facts.findings += _label_values(name, present, files)
    facts.findings += _not_annotated(name, present, files)
    facts.read = frozenset(filter(files.is_annotated, files.values))
    facts.is_partly_ignored = files.ignore_label in present
    for structure in facts.read:
        n_voxels = sum(present.get(value, 0) for value in files.values[structure])
        if n_voxels:
            facts.volumes_ml[structure] = n_voxels * label.grid.voxel_volume_ml
    if set(present) - {0, files.ignore_label}:
        facts.label_hash = hash_voxels(array)
    return label.with_array(array)


def _label_values(name: str, present: Mapping[int, int], files: CaseFiles) -> Iterator[Finding]:
    if not set(present) - {0, files.ignore_label}:
        which = "background or ignored" if files.ignore_label in present else "background"
        yield warning(
            "label-empty",
            files.case_id,
            f"{name}: all voxels are {which}",
            "Keep it if the patient lacks every structure; else segment it or exclude the case.",
        )
    known = {0, *(value for values in files.values.values() for value in values)}
    if files.ignore_label is not None:
        known.add(files.ignore_label)
    strange = {value: n for value, n in present.items() if value not in known}
    if strange and files.values:
        listed = ", ".join(f"{value} ({n} voxels)" for value, n in list(strange.items())[:5])
        more = f" and {len(strange) - 5} more values" if len(strange) > 5 else ""
        yield error(
            "label-values",
            files.case_id,
            f"{name}: values that dataset.json does not name: {listed}{more}; it names "
            f"{', '.join(str(value) for value in sorted(known))}",
            "Name the values under 'labels', or correct the label map.",
        )


def _not_annotated(name: str, present: Mapping[int, int], files: CaseFiles) -> Iterator[Finding]:
    """Structures in the label map that were not annotated, and lie in no annotated region."""
    told = {
        value for one, values in files.values.items() if files.is_annotated(one) for value in values
    }
    for structure, values in files.values.items():
        n_voxels = sum(present.get(value, 0) for value in values if value not in told)
        if n_voxels and not files.is_annotated(structure):
            yield warning(
                "label-not-annotated",
                files.case_id,
                f"{name}: {n_voxels} voxels of '{structure}', which 'annotated' does not list for "
                "this case; they count as background or unknown",
                "Add it to 'annotated' if it is drawn in full, or remove it from the label map.",
            )


def _check_spacing(case_id: str, name: str, grid: Grid) -> Iterator[Finding]:
    if not all(SMALLEST_SPACING_MM <= mm <= LARGEST_SPACING_MM for mm in grid.spacing_mm):
        yield warning(
            "spacing",
            case_id,
            f"{name}: spacing (Z, Y, X) {_mm(grid.spacing_mm)} mm; plausible is "
            f"{SMALLEST_SPACING_MM} to {LARGEST_SPACING_MM}",
            "Check the header: the unit may be wrong.",
        )


def _not_finite(path: Path, array: Array, is_finite: Array, case_id: str) -> Finding:
    n_nan, n_bad = int(np.isnan(array).sum()), int((~is_finite).sum())
    return error(
        "not-finite",
        case_id,
        f"{path.name}: {n_nan} voxels are NaN and {n_bad - n_nan} infinite, of {array.size}",
        "Replace them, export the file again, or list the case under 'exclude'.",
    )


def hash_voxels(array: Array) -> str:
    """Hash of shape and values of a (Z, Y, X) array, whatever its type and geometry."""
    digest = hashlib.sha256(repr(array.shape).encode())
    for plane in array:
        digest.update(np.ascontiguousarray(plane, dtype=np.float32).data)
    return digest.hexdigest()


def count_values(array: Array) -> dict[int, int]:
    """Each value of a (Z, Y, X) integer array with its number of voxels, ascending."""
    total: Counter[int] = Counter()
    for plane in array:
        if plane.min() >= 0 and plane.max() < 2**16:
            counts = np.bincount(plane.ravel())
            values = np.flatnonzero(counts)
            total.update(dict(zip(values.tolist(), counts[values].tolist(), strict=True)))
        else:
            values, counts = np.unique(plane, return_counts=True)
            total.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return dict(sorted(total.items()))


def _mm(spacing: Spacing) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in spacing) + ")"
