"""PDDCA as it is published."""

from __future__ import annotations

import os
from pathlib import Path

from acinus.cohort.importers.source import IMPORTERS, Importer, Source, folders_at, named_files
from acinus.cohort.importers.structures import MaskedScan, masked_cases
from acinus.config import Settings

IMAGE = "img.nrrd"
MASKS = "structures"


@IMPORTERS.register("pddca")
class Pddca(Importer):
    """PDDCA: parotid and submandibular glands and five more organs on CT of the head and neck.

    ``PDDCA-1.4.1_part1/0522c0001/img.nrrd`` with one mask per organ,
    ``structures/Parotid_L.nrrd`` and so on; three parts, side by side: 48 cases, the mandible in
    40. Landmarks (``.fcsv``) are no labels and are listed as not understood.

    Source: https://www.imagenglab.com/newsite/pddca/; Raudaschl et al. 2017, Medical Physics
    44(5):2020-2036.
    """

    title = "PDDCA"
    expects = "PDDCA-1.4.1_part1/0522c0001/img.nrrd and structures/Parotid_L.nrrd"
    address = "https://www.imagenglab.com/newsite/pddca/"

    def find(self, folder: Path) -> Path | None:
        """The nearest folder that holds all cases."""
        cases = _cases_below(folder)
        if not cases:
            return None
        return Path(os.path.commonpath([str(one.parent) for one in cases]))

    def read(self, root: Path, choices: Settings) -> Source:
        """All cases of all parts."""
        scans = [
            MaskedScan(
                folder,
                folder.name,
                folder.name,
                folder / IMAGE if (folder / IMAGE).is_file() else None,
                named_files(folder / MASKS, r"(.+)\.nrrd"),
            )
            for folder in _cases_below(root)
        ]
        cases, faults, labels = masked_cases(scans)
        return Source(root, ("CT",), labels, tuple(cases), faults)


def _cases_below(folder: Path) -> list[Path]:
    """Folders with an image or masks; where nothing has both, none."""
    found = [one for one in folders_at(folder) if one.name != MASKS and (one / MASKS).is_dir()]
    found = [one for one in found if any((one / MASKS).glob("*.nrrd")) or (one / IMAGE).is_file()]
    return found if any((one / IMAGE).is_file() for one in found) else []
