"""AbdomenCT-1K as it is published."""

from __future__ import annotations

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

ORGANS = ("liver", "kidneys", "spleen", "pancreas")
"""By label value, from 1. Both kidneys are one label."""

IMAGE = r"(Case_\d{5})_0000\.nii\.gz"
LABEL = r"(Case_\d{5})\.nii\.gz"


@IMPORTERS.register("abdomenct-1k")
class AbdomenCT1K(Importer):
    """AbdomenCT-1K: liver, kidneys, spleen and pancreas on CT, 1,000 cases with public labels.

    ``Case_00001_0000.nii.gz`` in ``AbdomenCT-1K-ImagePart1`` to ``3`` (or in one folder), label
    maps ``Case_00001.nii.gz`` in ``Mask`` (from ``Mask.7z``). The labels of 62 images are kept
    back, so an image without a label is no fault here. The scans come from LiTS, KiTS19, MSD
    Spleen, MSD Pancreas, NIH Pancreas-CT and one hospital more: most patients of those datasets
    are in this one as well, under other names.

    Source: https://zenodo.org/records/5903099, 5903846 and 5903769; Ma et al. 2022, IEEE TPAMI
    44(10):6695-6714.
    """

    title = "AbdomenCT-1K"
    expects = (
        "AbdomenCT-1K-ImagePart1/Case_00001_0000.nii.gz and Mask/Case_00001.nii.gz, unpacked side "
        "by side"
    )
    licence = "see https://github.com/JunMa11/AbdomenCT-1K"
    address = "https://github.com/JunMa11/AbdomenCT-1K"

    def find(self, folder: Path) -> Path | None:
        """The folder itself, if images and label maps lie in it or below."""
        places = list(folders_at(folder, 2))
        has_both = all(any(has_file(one, name) for one in places) for name in (IMAGE, LABEL))
        return folder if has_both else None

    def read(self, root: Path, choices: Settings) -> Source:
        """All cases with a public label."""
        images: dict[str, Path] = {}
        labels: dict[str, Path] = {}
        for place in folders_at(root, 2):
            for found, pattern in ((images, IMAGE), (labels, LABEL)):
                for case, path in named_files(place, pattern).items():
                    if case in found:
                        raise DataError(
                            f"{path}: a case must have one file; {found[case]} is of the same "
                            "case. Take one of them away."
                        )
                    found[case] = path
        left_out = {path: "no public label" for case, path in images.items() if case not in labels}
        kept = {case: path for case, path in images.items() if case in labels}
        cases, faults = paired(kept, labels, numbered(ORGANS), lambda case: {})
        return Source(root, ("CT",), ORGANS, tuple(cases), faults, left_out)
