"""A public dataset from its address to our layout.

Enters: a name of the catalogue. Leaves: its files, checked, and on request the dataset. What needs
a person (a registration, an archive that Python cannot open) is said with the address and the
command to run afterwards; doing half of it and calling it done was rejected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acinus.cohort.catalogue.download import bytes_missing, download, free_bytes
from acinus.cohort.catalogue.entries import PublicDataset, dataset_entry, read_catalogue
from acinus.cohort.catalogue.unpack import DamagedArchiveError, unpack
from acinus.cohort.importers import Imported, import_dataset
from acinus.cohort.importers.importing import require_free
from acinus.errors import ConfigError, DataError
from acinus.progress import say


@dataclass(frozen=True)
class Got:
    """What was got of a public dataset.

    Attributes:
        folder: Of the files.
        files: Downloaded and checked.
        imported: The dataset made from it; None if it was not asked for or not possible.
        left_to_do: What a person must do; empty if nothing.
    """

    folder: Path
    files: tuple[Path, ...]
    imported: Imported | None
    left_to_do: str


def get_dataset(
    name: str,
    out: Path | str,
    *,
    convert: Path | str | None = None,
    labels: Sequence[str] = (),
    catalogue: Path | str | None = None,
) -> Got:
    """Download a public dataset, and turn it into our layout on request.

    A download that was interrupted goes on where it ended. Nothing is downloaded twice.

    Args:
        name: In the catalogue.
        out: Folder in which the dataset gets one for its files.
        convert: Dataset to write; None: only download.
        labels: Structures to keep in it; empty: all.
        catalogue: Another catalogue in YAML.

    Raises:
        ConfigError: The name is unknown, or the dataset cannot be converted.
        DataError: It needs a registration, the disk has no room, or a download fails.
    """
    entry = dataset_entry(read_catalogue(catalogue), name)
    place = Path(out) / (entry.folder or name)
    if convert is not None and entry.importer is None:
        raise ConfigError(
            f"'{name}' cannot be converted: there is no importer for its layout. Leave --convert "
            "out, and lay it out as the documentation says."
        )
    if not entry.files:
        raise DataError(f"'{name}' ({entry.title}) must be got by hand. {_steps(entry, place)}")
    if convert is not None:
        require_free(Path(convert))  # now, and not after gigabytes
    _state_size(entry, place)
    files = tuple(download(one, place) for one in entry.files)
    if convert is None or entry.by_hand:
        return Got(place, files, None, _steps(entry, place) if entry.by_hand else "")
    archives = [path for file, path in zip(entry.files, files, strict=True) if file.is_archive]
    stems = [_without_ending(path.name) for path in archives]
    known = {path: file for file, path in zip(entry.files, files, strict=True)}
    for path, stem in zip(archives, stems, strict=True):
        is_own = stem != path.name and stems.count(stem) == 1
        folder = place / (stem if is_own else f"{path.name}.unpacked")
        _unpack_once(path, folder, is_sure=bool(known[path].sha256 or known[path].md5))
    choices: dict[str, Any] = dict(entry.choices)
    imported = import_dataset(entry.importer or "", place, convert, labels=labels, **choices)
    return Got(place, files, imported, "")


def _without_ending(name: str) -> str:
    """``a-1.4_part1`` of ``a-1.4_part1.tar.gz``."""
    return re.sub(r"(\.tar)?\.[A-Za-z0-9]+$", "", name)


def _unpack_once(archive: Path, folder: Path, *, is_sure: bool) -> None:
    """Unpack an archive, and put it aside if it was damaged on the way.

    Args:
        archive: A zip or tar.
        folder: To write.
        is_sure: Whether a checksum says that the archive is as it was published.
    """
    if folder.is_dir():
        return
    try:
        unpack(archive, folder, room_bytes=free_bytes(folder))
    except DamagedArchiveError as error:
        if is_sure:
            raise
        aside = archive.with_name(f"{archive.name}.wrong")
        archive.replace(aside)
        raise DataError(
            f"{error} It is kept as {aside} and not used: start again to download it."
        ) from error


def _state_size(entry: PublicDataset, place: Path) -> None:
    """Say how much has to come and what is free; refuse what cannot fit."""
    missing = [bytes_missing(one, place) for one in entry.files]
    known = sum(size for size in missing if size is not None)
    free = free_bytes(place)
    size = f"{known / 1e9:.2f} GB"
    if None in missing:
        size = f"at least {size}" if known else "files of unknown size"
    say(
        f"{entry.title}: {size} to download into {place}, where "
        f"{free / 1e9:.1f} GB are free. Licence: {entry.licence or 'see ' + entry.address}."
    )
    if known > free:
        raise DataError(
            f"{place}: the disk must have room for {known / 1e9:.2f} GB; {free / 1e9:.2f} GB are "
            "free. Choose another folder (--out), or free some space."
        )


def _steps(entry: PublicDataset, place: Path) -> str:
    """What to do by hand, and the command afterwards."""
    command = entry.import_command(str(place))
    then = f" Unpack everything below {place}, then run: {command}" if command else ""
    return f"{entry.by_hand.rstrip('.')}. Address: {entry.address}.{then}"
