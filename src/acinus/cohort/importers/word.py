"""WORD as it is published."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from acinus.cohort.importers.source import (
    IMPORTERS,
    Importer,
    Source,
    SourceCase,
    first_folder,
    has_file,
    named_files,
    numbered,
    paired,
)
from acinus.config import Settings

ORGANS = (
    "liver",
    "spleen",
    "left_kidney",
    "right_kidney",
    "stomach",
    "gallbladder",
    "esophagus",
    "pancreas",
    "duodenum",
    "colon",
    "intestine",
    "adrenal_glands",
    "rectum",
    "bladder",
    "left_head_of_femur",
    "right_head_of_femur",
)
"""By label value, from 1. Both adrenal glands are one label."""

IMAGE = r"(word_\d{4})\.nii\.gz"

PARTS = {"train": "Tr", "validation": "Val", "test": "Ts"}


class WordChoices(Settings):
    """What to take of WORD.

    Attributes:
        parts: Published parts: train, validation, test. The labels of test are a download of
            their own; without them the part is left out.
    """

    parts: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")


@IMPORTERS.register("word", config=WordChoices)
class Word(Importer):
    """WORD: 16 abdominal organs on CT.

    ``WORD-V0.1.0/imagesTr/word_0002.nii.gz`` with ``labelsTr/word_0002.nii.gz``, and the same in
    ``imagesVal``, ``labelsVal``, ``imagesTs``, ``labelsTs``: 100, 20 and 30 cases.

    Source: https://github.com/HiLab-git/WORD; Luo et al. 2022, Medical Image Analysis 82:102642.
    """

    title = "WORD"
    expects = "imagesTr/word_0002.nii.gz and labelsTr/word_0002.nii.gz"
    licence = "GPL-3.0, for research only"
    address = "https://github.com/HiLab-git/WORD"

    def find(self, folder: Path) -> Path | None:
        """The folder that holds ``imagesTr``."""
        return first_folder(folder, lambda one: has_file(one / "imagesTr", IMAGE))

    def read(self, root: Path, choices: Settings) -> Source:
        """The cases of the chosen parts."""
        chosen = cast(WordChoices, choices)
        cases: list[SourceCase] = []
        faults: dict[str, str] = {}
        left_out = {root / "dataset.json": "replaced by the new one"}
        for part, ending in PARTS.items():
            images, labels = root / f"images{ending}", root / f"labels{ending}"
            if part not in chosen.parts:
                left_out |= dict.fromkeys((images, labels), f"part '{part}' was not asked for")
            elif part == "test" and not has_file(labels, IMAGE):
                left_out[images] = "its labels are not there (a download of their own)"
            else:
                found, wrong = paired(
                    named_files(images, IMAGE),
                    named_files(labels, IMAGE),
                    numbered(ORGANS),
                    lambda case, part=part: {"part": part},  # type: ignore[misc]
                )
                cases += found
                faults |= wrong
        return Source(root, ("CT",), ORGANS, tuple(cases), faults, left_out)
