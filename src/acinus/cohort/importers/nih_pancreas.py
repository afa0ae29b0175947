"""NIH Pancreas-CT as it is published."""

from __future__ import annotations

import re
from pathlib import Path

from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    folders_at,
    has_file,
    named_files,
    numbered,
    paired,
)
from acinus.config import Settings
from acinus.errors import DataError

PATIENT = r"PANCREAS_(\d{4})"
IMAGE = rf"{PATIENT}\.nii(?:\.gz)?"
LABEL = r"label(\d{4})\.nii(?:\.gz)?"

DEPTH = 3
"""``manifest-…/Pancreas-CT/PANCREAS_0001`` below the folder."""

WITHDRAWN = {
    "0025": "withdrawn by TCIA: a copy of case 2",
    "0070": "withdrawn by TCIA: a copy of case 2",
}
"""Number to the reason why the case is left out although its label is still in the download."""


@IMPORTERS.register("nih-pancreas")
class NihPancreas(Importer):
    """NIH Pancreas-CT: the pancreas on portal venous CT of 80 people, as DICOM.

    ``manifest-…/Pancreas-CT/PANCREAS_0001/STUDY/SERIES/*.dcm``, as the NBIA Data Retriever writes
    it, and ``TCIA_pancreas_labels-02-05-2017/label0001.nii.gz``. Already converted images
    ``PANCREAS_0001.nii.gz`` will do as well. Cases 25 and 70 of the first release are copies of
    case 2, were withdrawn, and are left out even where they are there.

    The slices are stored with rows towards the front (ImageOrientationPatient 1, 0, 0, 0, -1, 0)
    and the label maps with x to the left, y to the front and z downwards, by their headers (LAI).
    Both are taken by the directions that they state, so that no flip is guessed; the origin of a
    label may differ from that of its series and is then that of the series.

    Source: https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU; Roth et al. 2015, MICCAI, LNCS
    9349:556-564.
    """

    title = "NIH Pancreas-CT"
    expects = "Pancreas-CT/PANCREAS_0001/ (DICOM) and TCIA_pancreas_labels-…/label0001.nii.gz"
    licence = "CC BY 3.0"
    address = "https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU"

    def find(self, folder: Path) -> Path | None:
        """The folder itself, if patients and label maps lie in it or below."""
        places = list(folders_at(folder, DEPTH))
        has_images = any(re.fullmatch(PATIENT, one.name) or has_file(one, IMAGE) for one in places)
        has_labels = any(has_file(one, LABEL) for one in places)
        return folder if has_images and has_labels else None

    def read(self, root: Path, choices: Settings) -> Source:
        """All cases, named ``nih_0001`` and so on."""
        images: dict[str, Path] = {}
        labels: dict[str, Path] = {}
        for place in folders_at(root, DEPTH):
            patient = re.fullmatch(PATIENT, place.name)
            if patient and any(place.rglob("*.dcm")):
                _file(images, patient[1], place)
            for found, pattern in ((images, IMAGE), (labels, LABEL)):
                for number, path in named_files(place, pattern).items():
                    _file(found, number, path)
        left_out = {
            path: WITHDRAWN[number]
            for number, path in [*images.items(), *labels.items()]
            if number in WITHDRAWN
        }
        images, labels = (
            {f"nih_{one}": path for one, path in found.items() if one not in WITHDRAWN}
            for found in (images, labels)
        )
        cases, faults = paired(images, labels, numbered(("pancreas",)), lambda case: {})
        names = ("pancreas",)
        return Source(root, ("CT",), names, tuple(cases), faults, left_out, has_own_origin=True)


def _file(found: dict[str, Path], number: str, path: Path) -> None:
    if number in found:
        raise DataError(
            f"{path}: a case must have one image and one label; {found[number]} is of the same "
            "case. Take one of them away."
        )
    found[number] = path
