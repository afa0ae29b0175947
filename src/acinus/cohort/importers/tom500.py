"""TOM500 as it is published."""

from __future__ import annotations

from collections.abc import Sequence
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
    structure_name,
)
from acinus.config import Settings
from acinus.errors import ConfigError

STRUCTURES = (
    "optic_nerve",
    "orbital_fat",
    "lacrimal",
    "eyeball",
    "superior_rectus_and_levator",
    "inferior_rectus",
    "medial_rectus",
    "lateral_rectus",
    "superior_oblique",
)
"""The nine structures in the order of the publication, right and left in one label each."""

PARTS = {"train": "train", "validation": "val"}

NAME = r"(.+?)(?:[_-](?:image|img|label|mask|seg))?\.nii(?:\.gz)?"


class Tom500Choices(Settings):
    """What to take of TOM500.

    Attributes:
        names: The structure of every label value, from 1. Must be given: the download has no
            table of values that could be checked, and a guess would teach a muscle as a gland.
        parts: Published parts: train, validation.
    """

    names: tuple[str, ...] = ()
    parts: tuple[Literal["train", "validation"], ...] = ("train", "validation")


@IMPORTERS.register("tom500", config=Tom500Choices)
class Tom500(Importer):
    """TOM500: the lacrimal gland and eight more structures on coronal T2 MRI of the orbit.

    ``TOM500/train/image/*.nii.gz`` with ``train/label`` (400 patients), the same in ``val`` (100).
    Right and left are one label: sides are not told.

    Source: https://doi.org/10.6084/m9.figshare.27133389; Scientific Data 2025,
    doi:10.1038/s41597-025-04427-9.
    """

    title = "TOM500"
    expects = "train/image/*.nii.gz and train/label/*.nii.gz"
    licence = "CC0 1.0"
    address = "https://doi.org/10.6084/m9.figshare.27133389"

    def find(self, folder: Path) -> Path | None:
        """The folder that holds ``train`` or ``val``."""
        return first_folder(
            folder,
            lambda one: any(
                has_file(one / part / "image", NAME) and (one / part / "label").is_dir()
                for part in PARTS.values()
            ),
        )

    def read(self, root: Path, choices: Settings) -> Source:
        """The cases of the chosen parts, named ``tom500_`` and their published name."""
        chosen = cast(Tom500Choices, choices)
        values = _values(chosen.names)
        cases: list[SourceCase] = []
        faults: dict[str, str] = {}
        left_out: dict[Path, str] = {}
        for part, folder in PARTS.items():
            if part not in chosen.parts:
                left_out[root / folder] = f"part '{part}' was not asked for"
                continue
            images, labels = (
                {
                    f"tom500_{name.removeprefix('tom500_')}": path
                    for name, path in named_files(root / folder / kind, NAME).items()
                }
                for kind in ("image", "label")
            )
            found, wrong = paired(
                images,
                labels,
                values,
                lambda case, part=part: {"part": part},  # type: ignore[misc]
            )
            cases += found
            faults |= wrong
        return Source(root, ("T2",), STRUCTURES, tuple(cases), faults, left_out)


def _values(names: Sequence[str]) -> dict[int, str]:
    """Label value to structure, as a person stated it."""
    given = [structure_name(name) for name in names]
    if sorted(given) != sorted(STRUCTURES):
        raise ConfigError(
            f"names must be the nine structures {', '.join(STRUCTURES)}, in the order of their "
            f"label values from 1; got {', '.join(given) or 'none'}. Look at a label map over its "
            "image: TOM500 is published without a table of values."
        )
    return numbered(given)
