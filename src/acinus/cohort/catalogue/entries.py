"""The catalogue of public datasets, one entry each.

Enters: a YAML file; our own lies beside this one. Leaves: checked entries. An unknown fact is
absent: a guessed licence is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from acinus.config import Settings, key_lines, read_yaml_mapping, validate
from acinus.errors import ConfigError, unknown_name


class PublicFile(Settings):
    """One file of a dataset.

    Attributes:
        name: What it is called on disk.
        url: Where it comes from, http or https.
        bytes: Its size, where known.
        sha256: Checksum, hexadecimal, where known.
        md5: The same by MD5; used where there is no SHA-256.
        is_archive: Whether it is a zip or tar that is unpacked.
    """

    name: str
    url: str
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    is_archive: bool = True

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not name or Path(name).name != name or name.startswith("."):
            raise ValueError("must be a file name without folders")
        return name

    @field_validator("url")
    @classmethod
    def _web(cls, url: str) -> str:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("must begin with http:// or https://")
        return url


class PublicDataset(Settings):
    """What is known of a public dataset.

    Attributes:
        title: Its name.
        about: What it holds, in one or two sentences.
        structures: What is drawn.
        modality: CT, MRI and which sequences.
        n_cases: Scans, where known.
        n_labelled: Those with public labels.
        licence: Under which it is published, where known.
        citation: What to cite.
        address: Where it is published.
        files: What can be downloaded without a login.
        folder: Below which the files go; entries with the same files share it. Default: the name.
        by_hand: What a person must do; empty: nothing.
        importer: Layout for ``acinus import``, where there is one.
        choices: Of the importer.
        asks: Further choices that a person must make, with what stands for them in a command.
        shares_patients_with: Entries with the same patients: no external test for each other.
        facts_from: Where the facts were read.
    """

    title: str
    about: str
    structures: tuple[str, ...]
    modality: str
    n_cases: int | None = None
    n_labelled: int | None = None
    licence: str | None = None
    citation: str | None = None
    address: str
    files: tuple[PublicFile, ...] = ()
    folder: str | None = None
    by_hand: str = ""
    importer: str | None = None
    choices: Mapping[str, str] = Field(default_factory=dict)
    asks: Mapping[str, str] = Field(default_factory=dict)
    shares_patients_with: tuple[str, ...] = ()
    facts_from: tuple[str, ...] = ()

    @field_validator("folder")
    @classmethod
    def _stays_below(cls, folder: str | None) -> str | None:
        if folder is not None and not re.fullmatch(r"[\w-][\w.-]*", folder):
            raise ValueError("must be the plain name of a folder")
        return folder

    @property
    def size_bytes(self) -> int | None:
        """Of all files; None if one is not known."""
        sizes = [one.bytes for one in self.files if one.is_archive]
        known = [size for size in sizes if size is not None]
        return sum(known) if known and len(known) == len(sizes) else None

    def import_command(self, folder: str = "FOLDER", dataset: str = "DATASET") -> str:
        """The command that turns the unpacked download into a dataset; empty without importer.

        Args:
            folder: Of the unpacked download.
            dataset: To write.
        """
        if self.importer is None:
            return ""
        said = {**self.choices, **self.asks}
        words = [f"--{key.replace('_', '-')} {value}" for key, value in said.items()]
        return " ".join(["acinus import", self.importer, folder, dataset, *words])


def read_catalogue(path: Path | str | None = None) -> dict[str, PublicDataset]:
    """Name to dataset.

    Args:
        path: A catalogue in YAML; None: the one that comes with Acinus.

    Raises:
        ConfigError: It is missing, is no YAML, or an entry says what cannot be.
    """
    if path is None:
        with resources.as_file(resources.files(__package__) / "datasets.yaml") as own:
            return _entries(own)
    return _entries(Path(path))


def dataset_entry(catalogue: dict[str, PublicDataset], name: str) -> PublicDataset:
    """The dataset of a name.

    Args:
        catalogue: Of `read_catalogue`.
        name: Key of it.

    Raises:
        ConfigError: There is none.
    """
    if name not in catalogue:
        raise ConfigError(unknown_name("dataset", name, catalogue))
    return catalogue[name]


def _entries(path: Path) -> dict[str, PublicDataset]:
    data = read_yaml_mapping(path)
    lines = key_lines(path.read_text(encoding="utf-8"))
    return {name: _entry(path, name, value, lines) for name, value in data.items()}


def _entry(path: Path, name: str, value: Any, lines: dict[tuple[str, ...], int]) -> PublicDataset:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: '{name}' must hold 'key: value' lines; got {value!r}.")
    if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*", name):
        raise ConfigError(
            f"{path}: names of datasets must be plain names of folders, numbers in quotes; got "
            f"{name!r}."
        )
    own = {keys[1:]: line for keys, line in lines.items() if keys[:1] == (name,)}
    return validate(PublicDataset, value, where=f"{path}, {name},", lines=own)
