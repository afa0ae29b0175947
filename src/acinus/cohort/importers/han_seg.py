"""HaN-Seg as it is published."""

from __future__ import annotations

import re
from pathlib import Path

from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    first_folder,
    named_files,
)
from acinus.cohort.importers.structures import MaskedScan, masked_cases
from acinus.config import Settings

CASE = r"case_\d+"
MRI = "IMG_MR_T1.nrrd"


@IMPORTERS.register("han-seg")
class HanSeg(Importer):
    """HaN-Seg: 30 organs at risk on CT of the head and neck.

    ``HaN-Seg/set_1/case_01/case_01_IMG_CT.nrrd`` with one mask per organ on its grid,
    ``case_01_OAR_Glnd_Lacrimal_L.seg.nrrd`` and so on: 42 cases, of which some lack an organ. The
    MRI beside, ``case_01_IMG_MR_T1.nrrd``, lies on a grid of its own that is not registered to the
    CT; the masks do not fit it, so it is left out. Organs overlap by some voxels.

    Source: https://zenodo.org/records/7442914; Podobnik et al. 2023, Medical Physics
    50(3):1917-1927.
    """

    title = "HaN-Seg"
    expects = "set_1/case_01/case_01_IMG_CT.nrrd and case_01_OAR_Parotid_L.seg.nrrd"
    licence = "CC BY-NC-ND 4.0"
    address = "https://zenodo.org/records/7442914"

    def find(self, folder: Path) -> Path | None:
        """The folder of the case folders: ``set_1``."""
        return first_folder(
            folder, lambda one: any((case / _ct_of(case)).is_file() for case in _cases_in(one))
        )

    def read(self, root: Path, choices: Settings) -> Source:
        """All cases, the CT as the only channel."""
        scans, left_out = [], {}
        for folder in _cases_in(root):
            image, name = folder / _ct_of(folder), folder.name
            masks = named_files(folder, rf"{name}_OAR_(.+)\.seg\.nrrd")
            scans.append(MaskedScan(folder, name, name, image if image.is_file() else None, masks))
            left_out[folder / f"{name}_{MRI}"] = "MRI that is not registered to the CT"
        cases, faults, labels = masked_cases(scans)
        return Source(root, ("CT",), labels, tuple(cases), faults, left_out)


def _cases_in(folder: Path) -> list[Path]:
    return [
        one for one in sorted(folder.iterdir()) if re.fullmatch(CASE, one.name) and one.is_dir()
    ]


def _ct_of(case: Path) -> str:
    return f"{case.name}_IMG_CT.nrrd"
