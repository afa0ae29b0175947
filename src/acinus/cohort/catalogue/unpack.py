"""Archives unpacked without trusting them.

Enters: a zip or tar. Leaves: its files below one folder, all or none. Names that lead out of the
folder, links and devices are refused, and so is more than the disk holds.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from acinus.errors import DataError
from acinus.files import whole_folder
from acinus.progress import stage

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
)
"""What the standard library raises on archives that are damaged."""

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
"""Errors that no archive is to blame for."""


class DamagedArchiveError(DataError):
    """An archive whose bytes are not those that were packed."""


def unpack(archive: Path, folder: Path, *, room_bytes: int) -> Path:
    """The folder with the files of an archive.

    Args:
        archive: A zip or tar, compressed or not.
        folder: To write; replaced if it is there.
        room_bytes: Most that may come out of it.

    Raises:
        DamagedArchiveError: It is damaged.
        DataError: It is no zip or tar, is encrypted, holds what it should not, or more than there
            is room for.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                _unzip(packed, archive, folder, room_bytes)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                _untar(tar, archive, folder, room_bytes)
        else:
            raise DataError(f"{archive}: must be a zip or tar; it is neither. Download it anew.")
    except _DAMAGED as error:
        raise DamagedArchiveError(
            f"{archive}: must be a whole archive; {error}. Download it anew."
        ) from error
    except RuntimeError as error:  # of the standard library: encrypted, or packed otherwise
        raise DataError(
            f"{archive}: must be an archive without a password, packed as zip and tar usually are; "
            f"{error}. Unpack it by hand."
        ) from error
    return folder


def _unzip(packed: zipfile.ZipFile, archive: Path, folder: Path, room_bytes: int) -> None:
    members = packed.infolist()
    for one in members:
        is_link = stat.S_ISLNK(one.external_attr >> 16)
        _require_inside(archive, one.filename, "a link" if is_link else "")
    _require_room(archive, sum(one.file_size for one in members), room_bytes)
    with (
        whole_folder(folder) as beside,
        stage(f"Unpacking {archive.name}", total=len(members), unit="file") as bar,
    ):
        for one in members:
            one.filename = one.filename.replace("\\", "/")  # as some programs write folders
            with _named(archive, one.filename):
                packed.extract(one, beside)
            bar.advance()


def _untar(tar: tarfile.TarFile, archive: Path, folder: Path, room_bytes: int) -> None:
    members = tar.getmembers()
    for one in members:
        _require_inside(
            archive, one.name, "" if one.isfile() or one.isdir() else "a link or device"
        )
    _require_room(archive, sum(one.size for one in members), room_bytes)
    with (
        whole_folder(folder) as beside,
        stage(f"Unpacking {archive.name}", total=len(members), unit="file") as bar,
    ):
        for one in members:
            with _named(archive, one.name):
                tar.extract(one, beside, set_attrs=False)
            bar.advance()


@contextmanager
def _named(archive: Path, name: str) -> Iterator[None]:
    """Name the member whose name no folder can hold, such as one below a file."""
    try:
        yield
    except (OSError, ValueError) as error:  # a NUL in the name
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"{archive}: must hold files that can lie in one folder; {name!r} cannot "
            f"({why}). Download it anew, or unpack it by hand."
        ) from error


def _require_inside(archive: Path, name: str, kind: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
        kind = "a name that leads out of the folder"
    if kind:
        raise DataError(
            f"{archive}: must hold plain files below one folder; '{name}' is {kind}. Do not use "
            "this archive."
        )


def _require_room(archive: Path, n_bytes: int, room_bytes: int) -> None:
    if n_bytes > room_bytes:
        raise DataError(
            f"{archive}: the disk must have room for {n_bytes / 1e9:.1f} GB that it unpacks to; "
            f"{room_bytes / 1e9:.1f} GB are free. Free some space, or unpack elsewhere by hand."
        )
