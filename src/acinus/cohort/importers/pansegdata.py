"""PanSegData as it is published."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, cast

from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    beside,
    folders_at,
    has_file,
    named_files,
    numbered,
    paired,
)
from acinus.config import Settings
from acinus.errors import ConfigError, DataError
from acinus.files import read_json

IMAGE = r"([A-Z]{2,4}_\d{3,5})_0000\.nii\.gz"
LABEL = r"([A-Z]{2,4}_\d{3,5})\.nii\.gz"

MAPPING = "T?-name_mapping.json"

NOT_INCLUDED = "Not included"


class PanSegDataChoices(Settings):
    """What to take of PanSegData.

    Attributes:
        modality: T1 or T2; needed where both are in the folder, or its name tells neither.
    """

    modality: Literal["t1", "t2"] | None = None


@IMPORTERS.register("pansegdata", config=PanSegDataChoices)
class PanSegData(Importer):
    """PanSegData: the pancreas on T1 (385) and T2 (382) MRI of five centres.

    ``t1/imagesTr/NYU_0001_0000.nii.gz`` with ``t1/labelsTr/NYU_0001.nii.gz``, the same below
    ``t2``; the letters are the centre. Numbers of T1 and T2 are independent of each other: the
    same patient has other numbers in the two. ``T1-name_mapping.json`` (original name to file
    name) lies beside and becomes the column ``source_name``: then centre and original name make
    the participant, whom T1 and T2 share. Without it nobody knows who is who, and T1 and T2 are of
    different participants. In 66 T1 cases the header of the label disagrees with that of its
    image; these fail unless voxels are trusted. Others have reported that images of centre MCF are
    stored turned against their headers: look at them before use.

    Source: https://osf.io/kysnj/; Zhang et al. 2025, Medical Image Analysis 99:103382.
    """

    title = "PanSegData"
    expects = "t1/imagesTr/NYU_0001_0000.nii.gz and t1/labelsTr/NYU_0001.nii.gz (or t2)"
    licence = "CC BY-NC 4.0"
    address = "https://osf.io/kysnj/"

    def find(self, folder: Path) -> Path | None:
        """The folder that holds ``t1`` and ``t2``, at any depth, or is one of them."""
        parts = [one for one in folders_at(folder) if _is_part(one)]
        if not parts or parts[0] == folder:
            return parts[0] if parts else None
        if parts[0].name.lower() not in ("t1", "t2"):
            return parts[0]
        return Path(os.path.commonpath([one.parent for one in parts]))

    def read(self, root: Path, choices: Settings) -> Source:
        """The cases of one modality."""
        modality = cast(PanSegDataChoices, choices).modality
        parts = {one.name.lower(): one for one in folders_at(root) if _is_part(one)}
        part, modality = _chosen_part(root, parts, modality)
        names = _original_names(root, modality)
        cases, faults = paired(
            named_files(part / "imagesTr", IMAGE),
            named_files(part / "labelsTr", LABEL),
            numbered(("pancreas",)),
            lambda case: {"site": case.split("_")[0], "source_name": names.get(case)},
            lambda case: _person(case, names.get(case), modality),
        )
        left_out = {one: f"only {modality} is wanted" for one in parts.values() if one != part}
        left_out |= dict.fromkeys(beside(root, MAPPING), "names of the cases")
        return Source(part, (modality.upper(),), ("pancreas",), tuple(cases), faults, left_out)


def _person(case: str, source_name: str | None, modality: str) -> str:
    """Centre and original name, in which zeros before a number do not count, or else the case."""
    if source_name is None:
        return f"{case}_{modality}"
    plain = re.sub(r"0+(?=\d)", "", re.sub(r"\W+", "-", source_name.strip().lower()))
    site = case.split("_")[0]
    return f"{site}_{plain.removeprefix(f'{site.lower()}_')}"


def _is_part(folder: Path) -> bool:
    return has_file(folder / "imagesTr", IMAGE)


def _chosen_part(
    root: Path, parts: dict[str, Path], modality: Literal["t1", "t2"] | None
) -> tuple[Path, Literal["t1", "t2"]]:
    """The folder with ``imagesTr``, and which modality it is."""
    named = [name for name in ("t1", "t2") if name in parts]
    if modality is None and len(named) != 1:
        raise ConfigError(
            f"{root}: must say which modality is wanted; found "
            f"{' and '.join(named) or 'a folder whose name does not tell'}. Give --modality t1 or "
            "t2."
        )
    chosen = modality or ("t1" if named == ["t1"] else "t2")
    if chosen in parts:
        return parts[chosen], chosen
    if root in parts.values() and root.name.lower() not in ("t1", "t2"):
        return root, chosen
    raise DataError(f"{root}: must hold {chosen}/imagesTr; found {', '.join(sorted(parts))}.")


def _original_names(root: Path, modality: str) -> dict[str, str]:
    """Case to its name at the centre; empty where no mapping lies beside."""
    for path in beside(root, MAPPING):
        if path.name.startswith(modality.upper()):
            data = read_json(path)
            return {
                new.removesuffix(".nii.gz").removesuffix("_0000"): old.removesuffix(".nii.gz")
                for old, new in data.items()
                if new != NOT_INCLUDED
            }
    return {}
