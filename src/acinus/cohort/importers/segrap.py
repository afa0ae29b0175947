"""SegRap 2023 as it is published."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from acinus.cohort.importers.source import IMPORTERS, Importer, Source, folders_at, named_files
from acinus.cohort.importers.structures import MaskedScan, masked_cases
from acinus.config import Settings

IMAGES = {"plain": "image", "contrast": "image_contrast"}
"""Scan to the name of its file, and its channel below."""

CHANNELS = {"plain": "CT", "contrast": "CT_contrast"}


class SegRapChoices(Settings):
    """What to take of SegRap.

    Attributes:
        scans: Channels: the CT without and with contrast medium, which are aligned.
    """

    scans: tuple[Literal["plain", "contrast"], ...] = ("plain", "contrast")


@IMPORTERS.register("segrap", config=SegRapChoices)
class SegRap(Importer):
    """SegRap 2023: 45 organs at risk and the tumour on CT of nasopharyngeal carcinoma.

    ``SegRap2023_Training_Set_120cases/segrap_0000`` with ``image.nii.gz``,
    ``image_contrast.nii.gz`` and a mask per structure, ``Parotid_L.nii.gz`` … ``GTVp.nii.gz``;
    120 cases. The archive of label maps (``…_OneHot_Labels``) holds the same organs cut into parts
    that do not overlap; it is not read.

    Source: https://segrap2023.grand-challenge.org/dataset/; Luo et al.,
    doi:10.1016/j.media.2024.103447.
    """

    title = "SegRap 2023"
    expects = "segrap_0000/image.nii.gz, image_contrast.nii.gz and Parotid_L.nii.gz"
    licence = "see https://segrap2023.grand-challenge.org/dataset/"
    address = "https://segrap2023.grand-challenge.org/dataset/"

    def find(self, folder: Path) -> Path | None:
        """The folder that holds the folders of cases."""
        return next((one for one in folders_at(folder) if _cases_in(one)), None)

    def read(self, root: Path, choices: Settings) -> Source:
        """All cases, with the scans that were chosen as channels."""
        scans = tuple(dict.fromkeys(cast(SegRapChoices, choices).scans))
        found: list[MaskedScan] = []
        left_out: dict[Path, str] = {}
        for folder in _cases_in(root):
            files = named_files(folder, r"(.+)\.nii\.gz")
            images = {scan: files.pop(name, None) for scan, name in IMAGES.items()}
            left_out |= {
                path: "this scan was not asked for"
                for scan, path in images.items()
                if path is not None and scan not in scans
            }
            first, *others = (images[scan] for scan in scans)
            found.append(
                MaskedScan(folder, folder.name, folder.name, first, files, others=tuple(others))
            )
        cases, faults, labels = masked_cases(found)
        names = tuple(CHANNELS[scan] for scan in scans)
        return Source(root, names, labels, tuple(cases), faults, left_out)


def _cases_in(folder: Path) -> list[Path]:
    """Folders of cases with an image."""
    found = sorted(folder.glob("segrap_*"))
    return [
        one for one in found if any((one / f"{name}.nii.gz").is_file() for name in IMAGES.values())
    ]
