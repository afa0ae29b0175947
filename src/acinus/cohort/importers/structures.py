"""Cases that are published as one image and one mask file per structure.

Enters: folders with an image and masks. Leaves: cases whose label maps are their masks, under
names that are the same in all of these datasets. Masks of a structure that is not wanted are never
read: in these datasets structures overlap (the spinal cord lies in the spinal canal), and a label
map cannot hold two at one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acinus.cohort.importers.source import NO_LABEL, Channel, LabelFile, SourceCase

SIDES = {"l": "left", "lt": "left", "r": "right", "rt": "right"}

RENAMED = {
    "a_carotid": "carotid_artery",
    "bone_mandible": "mandible",
    "buccalmucosa": "buccal_mucosa",
    "cavity_oral": "oral_cavity",
    "eye_al": "anterior_eye_left",
    "eye_ar": "anterior_eye_right",
    "eye_pl": "posterior_eye_left",
    "eye_pr": "posterior_eye_right",
    "middleear": "middle_ear",
    "oralcavity": "oral_cavity",
    "temporallobe": "temporal_lobe",
    "tympaniccavity": "tympanic_cavity",
    "glnd_lacrimal": "lacrimal",
    "glnd_submand": "submandibular",
    "glnd_thyroid": "thyroid",
    "opticchiasm": "optic_chiasm",
    "chiasm": "optic_chiasm",
    "opticnerve": "optic_nerve",
    "opticnrv": "optic_nerve",
    "spinalcord": "spinal_cord",
}
"""Published name in lower case, without its side, to ours."""


@dataclass(frozen=True)
class MaskedScan:
    """One scan with its masks.

    Attributes:
        folder: Where its files lie.
        case_id: Its name in the new dataset.
        participant_id: Whose scan it is.
        image: None if there is none.
        masks: Published name to the file, 1 where the structure is.
        facts: Columns of ``participants.tsv``.
        others: Further channels on the grid of the image.
    """

    folder: Path
    case_id: str
    participant_id: str
    image: Path | None
    masks: Mapping[str, Path]
    facts: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Path | None, ...] = ()


def masked_cases(
    scans: Iterable[MaskedScan],
) -> tuple[list[SourceCase], dict[str, str], tuple[str, ...]]:
    """Cases, what is wrong with others, and all structures by name."""
    cases: list[SourceCase] = []
    faults: dict[str, str] = {}
    for scan in scans:
        images = [path for path in (scan.image, *scan.others) if path is not None]
        if not images:
            faults[scan.case_id] = f"{scan.folder}: must have an image; there is none."
        elif len(images) <= len(scan.others):
            found = ", ".join(path.name for path in images)
            faults[scan.case_id] = (
                f"{scan.folder}: must have {1 + len(scan.others)} images; found {found} alone."
            )
        elif not scan.masks:
            faults[scan.case_id] = f"{scan.folder}: {NO_LABEL}."
        else:
            labels = tuple(
                LabelFile(path, {1: mask_name(name)}) for name, path in scan.masks.items()
            )
            channels = tuple(Channel(path) for path in images)
            cases.append(
                SourceCase(scan.case_id, scan.participant_id, channels, labels, scan.facts)
            )
    names = {name for case in cases for file in case.labels for name in file.values.values()}
    return cases, faults, tuple(sorted(names))


def mask_name(published: str) -> str:
    """Our name: ``Glnd_Lacrimal_L`` and ``Lacrimal-Lt`` are both ``lacrimal_left``."""
    text = re.sub(r"[-\s]+", "_", published.strip().lower())
    base, _, last = text.rpartition("_")
    if base and last in SIDES:
        return f"{RENAMED.get(base, base)}_{SIDES[last]}"
    return RENAMED.get(text, text)
