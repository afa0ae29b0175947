"""A BIDS dataset with segmentations among its derivatives."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from acinus.cohort.importers.source import (
    IMPORTERS,
    NO_LABEL,
    Channel,
    Importer,
    LabelFile,
    Source,
    SourceCase,
    first_folder,
    is_hidden,
    structure_name,
)
from acinus.cohort.participants import ID_COLUMN, read_participants
from acinus.config import Settings
from acinus.errors import ConfigError, DataError
from acinus.scans import KNOWN_SUFFIXES, strip_suffix

DESCRIPTION = "dataset_description.json"

MASKS = ("mask", "seg")
"""Suffixes of files with one structure, named by the entity ``label`` or else ``desc``."""

OF_THE_RESULT = frozenset({"label", "desc", "res", "den", "atlas", "seg"})
"""Entities of a derivative that say nothing about the image it was made from."""

OWN_SPACE = ("orig", None)


class BidsChoices(Settings):
    """What to take of a BIDS dataset.

    Attributes:
        channels: Images, by suffix and entities that tell them apart: T1w, acq-venous_T1w.
        derivative: Folder below ``derivatives`` with the segmentations, where several have some.
    """

    channels: tuple[str, ...] = ("T1w",)
    derivative: str | None = None


@dataclass(frozen=True)
class _Named:
    """A file with what its name says: entities such as ``{"sub": "01"}`` and a suffix."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def case(self) -> str:
        """``sub-01``, or ``sub-01_ses-2``."""
        return "_".join(f"{key}-{self.entities[key]}" for key in ("sub", "ses") if key in self)

    def __contains__(self, key: str) -> bool:
        return key in self.entities


@IMPORTERS.register("bids", config=BidsChoices)
class Bids(Importer):
    """BIDS: images by subject and session, segmentations below ``derivatives``.

    ``sub-01[/ses-1]/anat/sub-01[_ses-1]_T1w.nii.gz`` with, in one folder of ``derivatives``,
    ``…_dseg.nii.gz`` (a label map; its table ``…dseg.tsv`` with ``index`` and ``name`` lies beside
    it or in a folder above) or ``…_label-NAME_mask.nii.gz`` (one structure each, united; where
    two overlap the case fails). Columns of ``participants.tsv`` are kept. Segmentations in
    another space than the image's are left out.

    Source: https://bids-specification.readthedocs.io, "Derivatives: imaging" (version 1.8).
    """

    title = "BIDS"
    expects = f"{DESCRIPTION}, sub-01/anat/sub-01_T1w.nii.gz and derivatives/…/sub-01/anat/…_dseg"
    licence = ""
    address = "https://bids.neuroimaging.io"

    def find(self, folder: Path) -> Path | None:
        """The folder with the subjects."""
        return first_folder(
            folder, lambda one: (one / DESCRIPTION).is_file() and any(one.glob("sub-*/"))
        )

    def read(self, root: Path, choices: Settings) -> Source:
        """All subjects and sessions."""
        chosen = cast(BidsChoices, choices)
        left_out: dict[Path, str] = {}
        masks = _segmentations(_derivative(root, chosen.derivative), left_out)
        table = root / "participants.tsv"
        people = _people(table)
        cases, faults = [], {}
        for case, files in sorted(_by_case(_images(root)).items()):
            try:
                channels = [_one(files, wanted) for wanted in chosen.channels]
                labels = _labels_of(channels[0], masks.get(case, []))
            except DataError as fault:
                faults[case] = str(fault)
                continue
            owner = case.split("_")[0]
            facts = people.get(owner, {})
            cases.append(
                SourceCase(case, owner, tuple(Channel(one.path) for one in channels), labels, facts)
            )
        tables = [file.values for one in cases for file in one.labels]
        numbered = sorted({pair for table in tables for pair in table.items()})
        names = tuple(dict.fromkeys(name for _, name in numbered))
        for name in (DESCRIPTION, "participants.tsv", "participants.json", "README", "CHANGES"):
            left_out[root / name] = "about the whole dataset"
        return Source(root, chosen.channels, names, tuple(cases), faults, left_out)


def _parse(path: Path) -> _Named | None:
    """A file by its name; None if it does not follow BIDS."""
    *pairs, suffix = strip_suffix(path).split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if len(entities) != len(pairs) or "sub" not in entities or not suffix:
        return None
    return _Named(path, entities, suffix)


def _named_below(folder: Path) -> Iterator[_Named]:
    for path in sorted(folder.rglob("sub-*")):
        if path.is_file() and path.name.lower().endswith(KNOWN_SUFFIXES) and not is_hidden(path):
            found = _parse(path)
            if found:
                yield found


def _images(root: Path) -> Iterator[_Named]:
    for subject in sorted(root.glob("sub-*")):
        yield from _named_below(subject)


def _by_case(files: Iterator[_Named]) -> dict[str, list[_Named]]:
    found: dict[str, list[_Named]] = {}
    for one in files:
        found.setdefault(one.case, []).append(one)
    return found


def _one(files: list[_Named], wanted: str) -> _Named:
    """The image that a channel such as ``acq-venous_T1w`` names."""
    *pairs, suffix = wanted.split("_")
    asked = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if len(asked) != len(pairs):
        raise ConfigError(f"a channel must read like T1w or acq-venous_T1w; got '{wanted}'.")
    fitting = [
        one
        for one in files
        if one.suffix == suffix and all(one.entities.get(key) == asked[key] for key in asked)
    ]
    if len(fitting) == 1:
        return fitting[0]
    found = ", ".join(one.path.name for one in fitting or files)
    raise DataError(
        f"must have one image '{wanted}'; found {len(fitting) or 'none'} ({found}). Name the "
        "entities that tell them apart, such as acq-venous_T1w."
    )


def _derivative(root: Path, wanted: str | None) -> Path:
    """The folder with the segmentations."""
    base = root / "derivatives"
    if wanted is not None:
        if not (base / wanted).is_dir():
            raise ConfigError(
                f"{base / wanted}: must be a folder with segmentations; there is none."
            )
        return base / wanted
    found = [
        one
        for one in (sorted(base.iterdir()) if base.is_dir() else ())
        if one.is_dir() and any(named.suffix in ("dseg", *MASKS) for named in _named_below(one))
    ]
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise ConfigError(
            f"{base}: must have one folder with segmentations (…_dseg or …_mask); found {names}. "
            "Name it with --derivative."
        )
    return found[0]


def _segmentations(folder: Path, left_out: dict[Path, str]) -> dict[str, list[_Named]]:
    """Case to the files with its labels; those in another space are noted."""
    found: dict[str, list[_Named]] = {}
    for one in _named_below(folder):
        if one.suffix not in ("dseg", *MASKS):
            continue
        if one.entities.get("space") not in OWN_SPACE:
            left_out[one.path] = f"in space {one.entities['space']}, not that of the image"
        else:
            found.setdefault(one.case, []).append(one)
    for table in folder.rglob("*dseg.tsv"):
        left_out[table] = "the table of labels"
    return found


def _labels_of(image: _Named, masks: list[_Named]) -> tuple[LabelFile, ...]:
    """The label files that were made from an image."""
    own = [one for one in masks if _is_of(one, image)]
    maps = [one for one in own if one.suffix == "dseg"]
    if len(maps) > 1:
        names = ", ".join(one.path.name for one in maps)
        raise DataError(f"{image.path}: must have one …_dseg; found {names}. Keep one of them.")
    if maps:
        return (LabelFile(maps[0].path, _table_of(maps[0].path)),)
    named = []
    for one in own:
        name = one.entities.get("label") or one.entities.get("desc")
        if not name:
            raise DataError(
                f"{one.path}: must name its structure, as in …_label-pancreas_mask; it does not."
            )
        named.append(LabelFile(one.path, {1: structure_name(name)}))
    if not named:
        raise DataError(f"{image.path}: {NO_LABEL} (…_dseg or …_mask) in the derivatives.")
    return tuple(named)


def _is_of(mask: _Named, image: _Named) -> bool:
    """Whether everything that the mask's name says of its source fits the image."""
    source = {
        key: value
        for key, value in mask.entities.items()
        if key not in OF_THE_RESULT and key != "space"
    }
    return all(image.entities.get(key) == value for key, value in source.items())


def _table_of(path: Path) -> dict[int, str]:
    """Value to name, from the table of a ``dseg`` file: beside it, or in a folder above."""
    beside = path.with_name(f"{strip_suffix(path)}.tsv")
    candidates = [beside, *(one / "dseg.tsv" for one in path.parents[:5])]
    candidates += [
        found for one in path.parents[:5] for found in sorted(one.glob("desc-*_dseg.tsv"))
    ]
    table = next((one for one in candidates if one.is_file()), None)
    if table is None:
        raise DataError(
            f"{path}: must have a table dseg.tsv with 'index' and 'name' beside it or above; there "
            "is none."
        )
    with table.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    try:
        named = {int(row["index"]): structure_name(row["name"]) for row in rows}
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{table}: must have the columns 'index' (whole numbers) and 'name', with tabs between."
        ) from None
    return {value: name for value, name in named.items() if value != 0}


def _people(table: Path) -> dict[str, Mapping[str, Any]]:
    """Participant to the other columns of ``participants.tsv``."""
    if not table.is_file():
        return {}
    rows = read_participants(table).to_dict("records")
    return {
        str(row[ID_COLUMN]): {str(key): value for key, value in row.items() if key != ID_COLUMN}
        for row in rows
    }
