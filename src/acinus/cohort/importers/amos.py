"""AMOS 2022 as it is published."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    SourceCase,
    beside,
    first_folder,
    has_file,
    named_files,
    numbered,
    paired,
)
from acinus.config import Settings
from acinus.errors import DataError
from acinus.files import read_json

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
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
    "duodenum",
    "bladder",
    "prostate_or_uterus",
)
"""By label value, from 1."""

PUBLISHED_AS = {
    "gall bladder": "gallbladder",
    "arota": "aorta",
    "postcava": "inferior_vena_cava",
    "prostate/uterus": "prostate_or_uterus",
    "urinary bladder": "bladder",
}
"""Names in the published ``dataset.json`` that are not ours with blanks for underscores."""

LAST_CT = 500
"""Cases of a higher number are MRI, the others CT."""

IMAGE = r"(amos_\d{4})\.nii\.gz"

META = "labeled_data_meta_0000_0599.csv"


class AmosChoices(Settings):
    """What to take of AMOS.

    Attributes:
        modality: CT (numbers up to 500) or MRI (above).
        parts: Published parts with labels: train, validation.
    """

    modality: Literal["ct", "mri"]
    parts: tuple[Literal["train", "validation"], ...] = ("train", "validation")


@IMPORTERS.register("amos", config=AmosChoices)
class Amos(Importer):
    """AMOS 2022: 15 abdominal organs on CT and MRI.

    ``imagesTr/amos_0001.nii.gz`` with ``labelsTr/amos_0001.nii.gz``, the same in ``imagesVa`` and
    ``labelsVa``; ``imagesTs`` has no public labels. Label values as in the published
    ``dataset.json``. Numbers above 500 are MRI. Age, sex, site and scanner are in
    ``labeled_data_meta_0000_0599.csv``, which is a file of its own on Zenodo; it is used where it
    lies in the folder or above it.

    Source: https://zenodo.org/records/7262581; Ji et al. 2022, arXiv:2206.08023.
    """

    title = "AMOS 2022"
    expects = "imagesTr/amos_0001.nii.gz and labelsTr/amos_0001.nii.gz"
    licence = "CC BY 4.0"
    address = "https://zenodo.org/records/7262581"

    def find(self, folder: Path) -> Path | None:
        """The folder that holds ``imagesTr``."""
        return first_folder(folder, lambda one: has_file(one / "imagesTr", IMAGE))

    def read(self, root: Path, choices: Settings) -> Source:
        """The cases of one modality."""
        _check_table(root)
        chosen = cast(AmosChoices, choices)
        people = _people(root)
        cases: list[SourceCase] = []
        faults: dict[str, str] = {}
        left_out = _not_imported(root)
        for part, ending in (("train", "Tr"), ("validation", "Va")):
            images = named_files(root / f"images{ending}", IMAGE)
            labels = named_files(root / f"labels{ending}", IMAGE)
            wanted = part in chosen.parts
            for case, path in [*images.items(), *labels.items()]:
                if not wanted:
                    left_out[path.parent] = f"part '{part}' was not asked for"
                elif _modality(case) != chosen.modality:
                    left_out[path] = f"{_modality(case).upper()}; only {chosen.modality} is wanted"
            if wanted:
                found, wrong = paired(
                    {case: path for case, path in images.items() if path not in left_out},
                    {case: path for case, path in labels.items() if path not in left_out},
                    numbered(ORGANS),
                    lambda case, part=part: {"part": part, **people.get(case, {})},  # type: ignore[misc]
                )
                cases += found
                faults |= wrong
        channel = "CT" if chosen.modality == "ct" else "MRI"
        return Source(root, (channel,), ORGANS, tuple(cases), faults, left_out)


def _check_table(root: Path) -> None:
    """Nothing, if the published ``dataset.json`` names the organs as we do, or is not there.

    Raises:
        DataError: It gives a value to another organ.
    """
    path = root / "dataset.json"
    if not path.is_file():
        return
    header = read_json(path)
    stated = header.get("labels") if isinstance(header, dict) else None
    if not isinstance(stated, dict):
        raise DataError(f"{path}: must give 'labels' as a table of numbers and names.")
    for value, name in numbered(ORGANS).items():
        found = str(stated.get(str(value), name)).lower()
        if PUBLISHED_AS.get(found, found.replace(" ", "_")) != name:
            raise DataError(
                f"{path}: label {value} of AMOS must be {name}; found '{found}'. "
                "Is this another dataset, or another release?"
            )


def _modality(case: str) -> str:
    return "mri" if int(case.removeprefix("amos_")) > LAST_CT else "ct"


def _not_imported(root: Path) -> dict[Path, str]:
    found = {root / "dataset.json": "replaced by the new one", root / META: "read for participants"}
    reason = "published without labels"
    return found | {root / name: reason for name in ("imagesTs", "labelsTs")}


def _people(root: Path) -> dict[str, Mapping[str, Any]]:
    """Case to age, sex, site and scanner, from the published table where there is one."""
    found = beside(root, META)
    if not found:
        return {}
    with found[0].open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    people: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        number = (row.get("amos_id") or "").strip()
        if number.isdigit():
            people[f"amos_{int(number):04d}"] = {
                "age": _age(row.get("Patient's Age") or ""),
                "sex": row.get("Patient's Sex") or None,
                "site": row.get("Site") or None,
                "scanner": row.get("Manufacturer's Model Name") or None,
            }
    return people


def _age(text: str) -> int | None:
    """Years of a DICOM age string such as ``055Y``; None for other units or nothing."""
    digits = text.strip().removesuffix("Y")
    return int(digits) if digits.isdigit() else None
