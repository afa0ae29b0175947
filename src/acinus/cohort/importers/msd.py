"""A task of the Medical Segmentation Decathlon as it is published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acinus.cohort.importers.source import (
    IMPORTERS,
    NO_LABEL,
    Channel,
    Importer,
    LabelFile,
    Source,
    SourceCase,
    first_folder,
    folders_at,
    structure_name,
)
from acinus.config import Settings
from acinus.errors import AcinusError, DataError
from acinus.files import read_json
from acinus.scans import strip_suffix

HEADER = "dataset.json"


@IMPORTERS.register("msd")
class Msd(Importer):
    """A task of the Medical Segmentation Decathlon, such as Task07_Pancreas.

    ``dataset.json`` with ``modality`` and ``labels`` (number to name) and ``training``, a list of
    ``{"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"}``; ``test`` lists images
    without labels. Where there are several modalities they are the fourth axis of one file, and
    become one file each.

    Source: http://medicaldecathlon.com; Antonelli et al. 2022, Nature Communications 13:4128.
    """

    title = "Medical Segmentation Decathlon"
    expects = "dataset.json with 'modality', 'labels' and 'training', and imagesTr, labelsTr"
    licence = "CC BY-SA 4.0"
    address = "http://medicaldecathlon.com"

    def find(self, folder: Path) -> Path | None:
        """The folder with the ``dataset.json``.

        Raises:
            DataError: There are several tasks.
        """
        root = first_folder(folder, lambda one: bool(_header(one)))
        if root is None or root == folder:
            return root
        names = [one.name for one in folders_at(root.parent, depth=1) if _header(one)]
        if len(names) > 1:
            raise DataError(
                f"{folder}: must hold one task of the Medical Segmentation Decathlon; holds "
                f"{', '.join(names)}. Name the folder of the one that you want."
            )
        return root

    def read(self, root: Path, choices: Settings) -> Source:
        """The cases that ``training`` lists."""
        header = _header(root)
        names = _in_order(header["modality"], root / HEADER, "modality", first=0)
        labels = _in_order(header["labels"], root / HEADER, "labels", first=0)[1:]
        values = dict(enumerate((structure_name(one) for one in labels), start=1))
        cases, faults = [], {}
        for entry in header["training"]:
            image, label = (root / str(entry.get(key, "")) for key in ("image", "label"))
            case = strip_suffix(image)
            if not image.is_file():
                faults[case] = f"{image}: {HEADER} lists it; there is no such file."
            elif not label.is_file():
                faults[case] = f"{image}: {NO_LABEL} at {label}."
            else:
                several = len(names) > 1
                channels = tuple(
                    Channel(image, number if several else None) for number in range(len(names))
                )
                cases.append(SourceCase(case, case, channels, (LabelFile(label, values),)))
        left_out = {root / HEADER: "replaced by the new one"}
        left_out[root / "imagesTs"] = "published without labels"
        return Source(root, names, tuple(values.values()), tuple(cases), faults, left_out)


def _header(folder: Path) -> Mapping[str, Any]:
    """The ``dataset.json`` of a task; empty if there is none."""
    if not (folder / HEADER).is_file():
        return {}
    try:
        data = read_json(folder / HEADER)
    except AcinusError:
        return {}
    is_task = (
        isinstance(data, dict)
        and isinstance(data.get("modality"), dict)
        and isinstance(data.get("labels"), dict)
        and isinstance(data.get("training"), list)
        and all(isinstance(entry, dict) for entry in data["training"])
    )
    return data if is_task else {}


def _in_order(table: Mapping[str, Any], path: Path, key: str, *, first: int) -> tuple[str, ...]:
    """The names of a table of numbers, which must be complete from `first`."""
    wanted = [str(number) for number in range(first, first + len(table))]
    if sorted(table, key=lambda one: (len(one), one)) != wanted:
        raise DataError(
            f"{path}: '{key}' must be numbered {', '.join(wanted)}; got {', '.join(table)}. "
            "Number them without gaps, in the label maps too."
        )
    return tuple(str(table[number]) for number in wanted)
