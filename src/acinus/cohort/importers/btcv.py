"""BTCV (abdomen) as it is published."""

from __future__ import annotations

from pathlib import Path

from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    first_folder,
    has_file,
    named_files,
    numbered,
    paired,
)
from acinus.config import Settings

ORGANS = (
    "spleen",
    "right_kidney",
    "left_kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_and_splenic_vein",
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
)
"""By label value, from 1."""

IMAGE = r"img(\d{4})\.nii(?:\.gz)?"
LABEL = r"label(\d{4})\.nii(?:\.gz)?"


@IMPORTERS.register("btcv")
class Btcv(Importer):
    """BTCV abdomen: 13 organs on portal venous CT, 30 cases with public labels.

    ``RawData/Training/img/img0001.nii.gz`` with ``RawData/Training/label/label0001.nii.gz``;
    ``RawData/Testing/img`` (20 scans) has no public labels.

    Source: https://www.synapse.org/Synapse:syn3193805 (abdomen, RawData.zip; after registration);
    Landman et al. 2015, MICCAI Multi-Atlas Labeling Beyond the Cranial Vault.
    """

    title = "BTCV (abdomen)"
    expects = "Training/img/img0001.nii.gz and Training/label/label0001.nii.gz"
    licence = "see https://www.synapse.org/Synapse:syn3193805"
    address = "https://www.synapse.org/Synapse:syn3193805"

    def find(self, folder: Path) -> Path | None:
        """The folder ``Training``."""
        return first_folder(
            folder, lambda one: has_file(one / "img", IMAGE) and (one / "label").is_dir()
        )

    def read(self, root: Path, choices: Settings) -> Source:
        """All labelled cases, named ``btcv_0001`` and so on."""
        images, labels = (
            {f"btcv_{number}": path for number, path in named_files(root / part, name).items()}
            for part, name in (("img", IMAGE), ("label", LABEL))
        )
        cases, faults = paired(images, labels, numbered(ORGANS), lambda case: {})
        return Source(root, ("CT",), ORGANS, tuple(cases), faults)
