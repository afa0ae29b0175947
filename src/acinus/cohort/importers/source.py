"""What an importer finds in a folder of a public dataset, before anything is written.

Enters: a folder in the layout in which a dataset is published. Leaves: a `Source`: its cases with
their files and label tables, what cannot be a case, and what is left out on purpose. Copying
while looking was rejected: a wrong folder must be noticed before the first byte is written.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from acinus.config import Settings
from acinus.errors import DataError
from acinus.registry import Registry

DEPTH = 3
"""Levels of folders below the given one in which a layout is looked for."""

NO_LABEL = "must have a label; there is none"


@dataclass(frozen=True)
class Channel:
    """Where one channel of a case is stored.

    Attributes:
        path: An image file, or a folder with one DICOM series.
        volume: Which volume along the fourth axis of the file; None: the file is one volume.
    """

    path: Path
    volume: int | None = None


@dataclass(frozen=True)
class LabelFile:
    """One label map of a case.

    Attributes:
        path: The file.
        values: Every value but 0 that may occur in it, to the structure it stands for.
    """

    path: Path
    values: Mapping[int, str]


@dataclass(frozen=True)
class SourceCase:
    """A case as it is published.

    Attributes:
        case_id: Its name in the new dataset.
        participant_id: Whose scan it is; the case's name is this or begins with it and ``_``.
        channels: One per channel name; None where the case lacks it.
        labels: Label maps; several are united.
        facts: Columns of ``participants.tsv``.
    """

    case_id: str
    participant_id: str
    channels: tuple[Channel | None, ...]
    labels: tuple[LabelFile, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A dataset as it is published.

    Attributes:
        root: The folder in which the layout was found.
        channel_names: One per channel.
        labels: Structures, in the order in which they are numbered from 1.
        cases: Those that have an image and a label.
        faults: Case to the reason why it cannot be imported.
        left_out: File or folder to the reason why it is not imported, all on purpose.
        has_own_origin: Whether label maps may state another origin than their image: then they
            are placed by the directions of their axes.
        regions: Instead of structures, regions that unite some of them and lie within each other;
            the first structure of each is in no smaller one.
    """

    root: Path
    channel_names: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[SourceCase, ...]
    faults: dict[str, str] = field(default_factory=dict)
    left_out: dict[Path, str] = field(default_factory=dict)
    has_own_origin: bool = False
    regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Importer(ABC):
    """How one public dataset is laid out; the docstring of each says where that is stated.

    Attributes:
        title: Name of the dataset.
        expects: What the folder must hold, for messages.
        licence: Under which it is published; empty where each dataset has its own.
        address: Where it is published.
    """

    title: ClassVar[str]
    expects: ClassVar[str]
    licence: ClassVar[str] = ""
    address: ClassVar[str] = ""

    @abstractmethod
    def find(self, folder: Path) -> Path | None:
        """The folder at or below the given one that has this layout; None if there is none."""

    @abstractmethod
    def read(self, root: Path, choices: Settings) -> Source:
        """The cases of a folder that `find` gave.

        Raises:
            DataError: The folder says what cannot be.
            ConfigError: A choice does not fit what is there.
        """


IMPORTERS: Registry[type[Importer]] = Registry("layout of a public dataset")
"""Every layout by the name under which ``acinus import`` knows it."""


def folders_at(folder: Path, depth: int = DEPTH) -> Iterator[Path]:
    """The folder and those below it, the nearest first; hidden ones and links are left out."""
    level = [folder]
    for _ in range(depth + 1):
        yield from level
        level = [
            path
            for parent in level
            for path in sorted(parent.iterdir())
            if path.is_dir() and not path.is_symlink() and not is_hidden(path)
        ]


def first_folder(folder: Path, fits: Callable[[Path], bool]) -> Path | None:
    """The nearest folder at or below the given one that fits."""
    return next((one for one in folders_at(folder) if fits(one)), None)


def named_files(folder: Path, pattern: str) -> dict[str, Path]:
    """First group of the pattern to the file, for files of a folder whose whole name fits.

    Args:
        folder: A missing one holds nothing.
        pattern: Regular expression with a group.

    Raises:
        DataError: Two files have one name, such as ``a.nii`` and ``a.nii.gz``.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = re.fullmatch(pattern, path.name)
        if not match or is_hidden(path) or path.is_dir():
            continue
        if match[1] in found:
            raise DataError(
                f"{path}: a case must have one file; '{found[match[1]].name}' is of the same "
                "case. Take one of them away."
            )
        found[match[1]] = path
    return found


def has_file(folder: Path, pattern: str) -> bool:
    """Whether a file of the folder fits the regular expression."""
    return folder.is_dir() and any(
        re.fullmatch(pattern, path.name) and not is_hidden(path) for path in folder.iterdir()
    )


def beside(root: Path, pattern: str) -> list[Path]:
    """Files that lie beside a dataset: in its folder, one below, or the nearest of three above.

    Args:
        root: Of the dataset.
        pattern: For `Path.glob`.
    """
    found = sorted([*root.glob(pattern), *root.glob(f"*/{pattern}")])
    for above in root.resolve().parents[:3]:
        found = found or sorted(above.glob(pattern))
    return found


def is_hidden(path: Path) -> bool:
    """Whether it is no part of a dataset: a hidden file, or what macOS adds to archives."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def paired(
    images: Mapping[str, Path],
    labels: Mapping[str, Path],
    values: Mapping[int, str],
    facts: Callable[[str], Mapping[str, Any]],
    person: Callable[[str], str] = str,
) -> tuple[list[SourceCase], dict[str, str]]:
    """One-channel cases that have an image and a label of one name, and what is wrong with others.

    Args:
        images: Case to image.
        labels: Case to label map.
        values: Value to structure, in every label map.
        facts: Columns of ``participants.tsv`` of a case.
        person: Whose scan a case is; by default its own.
    """
    cases, faults = [], {}
    for case in sorted({*images, *labels}):
        if case not in labels:
            faults[case] = f"{images[case]}: {NO_LABEL} of this name."
        elif case not in images:
            faults[case] = f"{labels[case]}: must have an image of its name; there is none."
        else:
            label = LabelFile(labels[case], values)
            cases.append(
                SourceCase(
                    case, person(case), (Channel(images[case]),), (label,), dict(facts(case))
                )
            )
    return cases, faults


def numbered(names: Sequence[str]) -> dict[int, str]:
    """``{1: first name, 2: second, …}``."""
    return dict(enumerate(names, start=1))


def structure_name(text: str) -> str:
    """A published name as ours: lower case, without blanks: ``left_kidney``."""
    return "_".join(text.strip().lower().replace("-", " ").replace("/", " or ").split())
