"""The head and neck CTs of Nikolov et al. as they are published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, cast

from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    first_folder,
    is_hidden,
    named_files,
)
from acinus.cohort.importers.structures import MaskedScan, masked_cases
from acinus.config import Settings

PARTS = ("test", "validation")
READERS = ("oncologist", "radiographer")
IMAGE = "CT_IMAGE.nrrd"
MASKS = "segmentations"


class HeadNeckOarChoices(Settings):
    """What to take of it.

    Attributes:
        reader: Whose masks: the radiographer's, or those that the oncologist arbitrated. Import
            twice to compare them (``acinus readers``).
        parts: Published parts.
    """

    reader: Literal["oncologist", "radiographer"] = "oncologist"
    parts: tuple[Literal["test", "validation"], ...] = ("test", "validation")


@IMPORTERS.register("head-neck-oar", config=HeadNeckOarChoices)
class HeadNeckOar(Importer):
    """Test and validation CTs of Nikolov et al.: 21 organs at risk of the head and neck, 2 readers.

    ``nrrds/test/oncologist/0522c0057/CT_IMAGE.nrrd`` with one mask per organ,
    ``segmentations/Lacrimal-Lt.nrrd`` and so on; the same below ``nrrds/test/radiographer`` and
    ``nrrds/validation``: 24 and 7 scans. Scans ``0522c0727a`` and ``0522c0727b`` are of one
    patient (7 scans of 6 patients in validation). The spinal cord lies in the spinal canal and
    the lenses in the orbits: these pairs cannot both be labels.

    Source: https://github.com/google-deepmind/tcia-ct-scan-dataset (README and tree); Nikolov et
    al. 2021, J Med Internet Res 23(7):e26151.
    """

    title = "TCIA CT scans with organs at risk (Nikolov et al.)"
    expects = (
        "nrrds/test/oncologist/0522c0057/CT_IMAGE.nrrd and segmentations/Lacrimal-Lt.nrrd (after "
        "git lfs pull)"
    )
    licence = "CC BY 4.0"
    address = "https://github.com/google-deepmind/tcia-ct-scan-dataset"

    def find(self, folder: Path) -> Path | None:
        """The folder ``nrrds``."""
        return first_folder(
            folder,
            lambda one: any((one / part / who).is_dir() for part in PARTS for who in READERS),
        )

    def read(self, root: Path, choices: Settings) -> Source:
        """The chosen parts by the chosen reader."""
        chosen = cast(HeadNeckOarChoices, choices)
        scans: list[MaskedScan] = []
        left_out: dict[Path, str] = {}
        for part in PARTS:
            for reader in READERS:
                folder = root / part / reader
                if part not in chosen.parts:
                    left_out[folder] = f"part '{part}' was not asked for"
                elif reader != chosen.reader:
                    left_out[folder] = f"only the masks of the {chosen.reader} are wanted"
                else:
                    scans += _scans_in(folder, part)
        cases, faults, labels = masked_cases(scans)
        return Source(root, ("CT",), labels, tuple(cases), faults, left_out)


def _scans_in(folder: Path, part: str) -> list[MaskedScan]:
    found = []
    for one in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not one.is_dir() or is_hidden(one):
            continue
        again = re.fullmatch(r"(\d{4}c\d{4})([a-z])", one.name)
        patient = again[1] if again else one.name
        found.append(
            MaskedScan(
                one,
                f"{again[1]}_{again[2]}" if again else one.name,
                patient,
                one / IMAGE if (one / IMAGE).is_file() else None,
                named_files(one / MASKS, r"(.+)\.nrrd"),
                {"part": part},
            )
        )
    return found
