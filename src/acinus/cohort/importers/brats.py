"""BraTS as it is published, the releases up to 2021 and the adult glioma release of 2023."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from acinus.cohort.importers.source import (
    IMPORTERS,
    NO_LABEL,
    Channel,
    Importer,
    LabelFile,
    Source,
    SourceCase,
    folders_at,
    is_hidden,
    named_files,
)
from acinus.config import Settings

STRUCTURES = ("necrotic_core", "edema", "enhancing_tumour")
"""What is drawn: up to 2021 the values 1, 2 and 4, from 2023 on 1, 2 and 3."""

REGIONS = {
    "whole_tumour": ("edema", "necrotic_core", "enhancing_tumour"),
    "tumour_core": ("necrotic_core", "enhancing_tumour"),
    "enhancing_tumour": ("enhancing_tumour",),
}
"""The nested regions that the challenge judges, and what each unites."""

CHANNELS = ("FLAIR", "T1", "T1ce", "T2")


@dataclass(frozen=True)
class _Release:
    """How files of a case are named: its folder, between it and the sequence, the sequences."""

    case: re.Pattern[str]
    between: str
    sequences: tuple[str, str, str, str]
    values: tuple[int, int, int]


RELEASES = (
    _Release(
        re.compile(r"([Bb]ra[Tt][Ss](?:20)?\d\d_(?:\w+_)?\d+)"),
        "_",
        ("flair", "t1", "t1ce", "t2"),
        (1, 2, 4),
    ),
    _Release(re.compile(r"(BraTS-GLI-\d{5})-\d{3}"), "-", ("t2f", "t1n", "t1c", "t2w"), (1, 2, 3)),
)
"""Up to 2021, and 2023."""


class BratsChoices(Settings):
    """What to take of BraTS.

    Attributes:
        structures: ``parts``: necrotic core, edema and enhancing tumour, which exclude each
            other; ``regions``: the nested whole tumour, tumour core and enhancing tumour.
    """

    structures: Literal["parts", "regions"] = "parts"


@IMPORTERS.register("brats", config=BratsChoices)
class Brats(Importer):
    """BraTS: glioma on four MRI sequences, without skull, 1 mm.

    Up to 2021 ``BraTS2021_00000/BraTS2021_00000_flair.nii.gz``, or ``Brats18_2013_10_1`` and the
    like in folders of grades, with ``_t1``, ``_t1ce``, ``_t2`` and ``_seg`` (enhancing tumour is
    4). 2023: ``BraTS-GLI-00000-000`` with files that end in ``-t2f.nii.gz``, ``-t1n``, ``-t1c``,
    ``-t2w`` and ``-seg`` (enhancing tumour is 3); the last number counts the examinations of a
    patient. The post-treatment release of 2024 is named alike and has a fourth value, the
    resection cavity: its cases fail.
    """

    title = "BraTS"
    expects = "BraTS2021_00000/BraTS2021_00000_flair.nii.gz or BraTS-GLI-00000-000/…-t2f.nii.gz"
    address = "https://www.synapse.org/brats"

    def find(self, folder: Path) -> Path | None:
        """The folder that holds all folders of cases; up to 2019 they lie by grade, HGG and LGG."""
        places = [one for one in folders_at(folder) if any(True for _ in _cases(one))]
        return Path(os.path.commonpath(places)) if places else None

    def read(self, root: Path, choices: Settings) -> Source:
        """All cases with a segmentation; those of the validation part have none."""
        chosen = cast(BratsChoices, choices)
        cases: list[SourceCase] = []
        faults: dict[str, str] = {}
        found = (case for place in folders_at(root) for case in _cases(place))
        for folder, patient, release in found:
            start = re.escape(f"{folder.name}{release.between}")
            files = named_files(folder, start + r"(\w+)\.nii(?:\.gz)?")
            missing = [name for name in release.sequences if name not in files]
            if missing:
                faults[folder.name] = f"{folder}: must have four sequences; no {missing[0]}."
            elif "seg" not in files:
                faults[folder.name] = f"{folder}: {NO_LABEL}."
            else:
                values = dict(zip(release.values, STRUCTURES, strict=True))
                cases.append(
                    SourceCase(
                        folder.name,
                        patient,
                        tuple(Channel(files[name]) for name in release.sequences),
                        (LabelFile(files["seg"], values),),
                    )
                )
        regions = REGIONS if chosen.structures == "regions" else {}
        return Source(root, CHANNELS, STRUCTURES, tuple(cases), faults, regions=regions)


def _cases(root: Path) -> Iterator[tuple[Path, str, _Release]]:
    """Folder, patient and release of every case in a folder."""
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or is_hidden(folder):
            continue
        for release in RELEASES:
            if match := release.case.fullmatch(folder.name):
                yield folder, match[1], release
