"""Which files of a dataset folder belong to which case.

Enters: a folder in nnU-Net raw layout (``imagesTr/CASE_0000.nii.gz``,
``labelsTr/CASE.nii.gz``) and the ending of its files. Leaves: images by case and
channel, labels by case, and the files that fit nowhere. Nothing is opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

IMAGES = "imagesTr"
LABELS = "labelsTr"
HEADER = "dataset.json"
PARTICIPANTS = "participants.tsv"

COMPANIONS = {".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz")}
"""Endings of the files that hold the voxels where the named file is a header only."""


@dataclass(frozen=True)
class Layout:
    """The files of a dataset.

    Attributes:
        images: Case to channel number to file.
        labels: Case to file.
        strays: Files in the image and label folders that are neither.
    """

    images: dict[str, dict[int, Path]]
    labels: dict[str, Path]
    strays: tuple[Path, ...]

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Every case that has an image or a label, sorted."""
        return tuple(sorted({*self.images, *self.labels}))


def list_layout(folder: Path, file_ending: str) -> Layout:
    """The files of a dataset folder, sorted to cases by name.

    Hidden files are passed over. A missing folder counts as empty. A link to a file
    that is not there counts as a file, so that it is not taken for a missing case.

    Args:
        folder: The dataset.
        file_ending: Ending of images and labels, e.g. ``".nii.gz"``.
    """
    images: dict[str, dict[int, Path]] = {}
    labels: dict[str, Path] = {}
    strays: list[Path] = []
    companions = COMPANIONS.get(file_ending, ())
    image_name = re.compile(rf"(?P<case>.+)_(?P<channel>\d{{4}}){re.escape(file_ending)}")
    for path in _visible(folder / IMAGES):
        match = image_name.fullmatch(path.name)
        if match and not path.is_dir():
            images.setdefault(match["case"], {})[int(match["channel"])] = path
        elif not path.name.endswith(companions):
            strays.append(path)
    for path in _visible(folder / LABELS):
        case = path.name.removesuffix(file_ending)
        if case and case != path.name and not path.is_dir():
            labels[case] = path
        elif not path.name.endswith(companions):
            strays.append(path)
    return Layout(images, labels, tuple(strays))


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
