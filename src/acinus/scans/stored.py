"""Files of a folder or of zip archives, found and read where they lie.

Enters: a folder or a zip archive. Leaves: paths, and a reason for each that is
passed over. A member of an archive has the path ``archive.zip/its/name`` and is
opened by `open_stored`. Unpacking was rejected: what is never written cannot
fill a disk, and no name in an archive can reach outside it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from acinus.errors import DataError

ARCHIVE_SUFFIX = ".zip"

MAX_MEMBERS = 1_000_000
"""Most files in one archive."""

MAX_MEMBER_BYTES = 8 * 2**30
"""Most bytes of one file of an archive, unpacked: beyond any enhanced object."""

MAX_ARCHIVE_BYTES = 2**41
"""Most bytes of all files of an archive, unpacked (2 TiB)."""

MAX_RATIO = 200
"""Most that an archive may shrink as a whole, or one large member of it; scans reach about 20,
and what deflate can do at most is 1,032."""

HARMLESS_BYTES = 32 * 2**20
"""Unpacked size up to which the ratio is not looked at: empty masks shrink far."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""How members may be packed."""


@dataclass(frozen=True)
class Skipped:
    """A file that is passed over.

    Attributes:
        path: The file, or the folder or link.
        reason: In a few words, without the path.
        is_fault: Whether something may be lost by that; False for what is no image anyway.
        tags: What its header says about the person, by DICOM keyword.
    """

    path: Path
    reason: str
    is_fault: bool = True
    tags: Mapping[str, str] = field(default_factory=dict, repr=False)


def list_stored(source: Path) -> tuple[list[Path], list[Skipped]]:
    """Every regular file of a folder with its subfolders, or of a zip archive, sorted.

    Archives in the folder are looked into, archives in archives are not. Links are
    followed, but no folder is entered twice.

    Raises:
        DataError: There is no such folder or archive.
    """
    if source.is_dir():
        return _list_folder(source)
    if source.is_file() and source.name.lower().endswith(ARCHIVE_SUFFIX):
        return _list_archive(source)
    found = "a file of another kind" if source.exists() else "nothing there"
    raise DataError(
        f"{source}: must be a folder or a zip archive (.zip); found {found}. Give the folder that "
        "holds the files; unpack archives of other kinds first."
    )


def open_stored(path: Path) -> BinaryIO:
    """A stream of a file or of a member of an archive.

    Raises:
        OSError: The file cannot be opened.
        zipfile.BadZipFile: The archive is damaged.
        KeyError: The archive has no such member.
    """
    archive, member = _split(path)
    if archive is None:
        return path.open("rb")
    opened, members = _opened(archive, archive.stat().st_mtime_ns)
    return cast(BinaryIO, opened.open(members[member]))


def is_member(path: Path) -> bool:
    """Whether a path names a member of an archive."""
    return _split(path)[0] is not None


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """The path of a file, or of a copy of a member while the block runs, for other readers."""
    if not is_member(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="acinus-") as folder:
        copy = Path(folder) / "member"
        with open_stored(path) as stream, copy.open("wb") as out:
            shutil.copyfileobj(stream, out, 2**20)
        yield copy


@lru_cache(maxsize=4)
def _opened(archive: Path, _changed: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """An open archive and its members by name; its directory is read once, not once a member."""
    opened = zipfile.ZipFile(archive)
    return opened, {str(PurePosixPath(info.filename)): info for info in opened.infolist()}


def _split(path: Path) -> tuple[Path | None, str]:
    for parent in path.parents:
        if parent.name.lower().endswith(ARCHIVE_SUFFIX) and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None, ""


def _list_folder(root: Path) -> tuple[list[Path], list[Skipped]]:
    files: list[Path] = []
    skipped: list[Skipped] = []
    entered: set[Path] = set()

    def unreadable(error: OSError) -> None:
        skipped.append(
            Skipped(Path(error.filename), f"a folder that may not be read ({error.strerror})")
        )

    for name, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        folder = Path(name)
        entered.add(folder.resolve())
        for inner in sorted(folders):
            path = folder / inner
            target = path.resolve()
            is_back = path.is_symlink() and _leads_into(target, entered, root.resolve())
            if is_back or target in entered:
                skipped.append(Skipped(path, "a link back into the folders that are read", False))
                folders.remove(inner)
            entered.add(target)
        folders.sort()
        for inner in sorted(names):
            reason = _passed_over(folder / inner, root.resolve())
            if reason:
                skipped.append(Skipped(folder / inner, reason, is_fault=False))
            elif inner.lower().endswith(ARCHIVE_SUFFIX):
                members, left_out = _list_archive(folder / inner)
                files += members
                skipped += left_out
            else:
                files.append(folder / inner)
    return sorted(files), skipped


def _leads_into(target: Path, entered: set[Path], root: Path) -> bool:
    return target in entered or target.is_relative_to(root) or root.is_relative_to(target)


def _passed_over(path: Path, root: Path) -> str:
    """Why an entry of a folder is no file to read, or an empty string."""
    try:
        kind = path.stat().st_mode
        is_linked_twice = path.is_symlink() and path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link to nothing, or links in a circle
        return "a link that leads nowhere"
    if not stat.S_ISREG(kind):
        return "no regular file"
    return "a link to a file that is read elsewhere" if is_linked_twice else ""


def _list_archive(archive: Path) -> tuple[list[Path], list[Skipped]]:
    try:
        members = [m for m in zipfile.ZipFile(archive).infolist() if not m.is_dir()]
        n_bytes = archive.stat().st_size
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        return [], [Skipped(archive, f"a damaged zip archive ({why})")]
    total = sum(member.file_size for member in members)
    for found, most in (
        (f"{len(members)} files", len(members) > MAX_MEMBERS),
        (f"{total / 2**40:.3g} TiB of files", total > MAX_ARCHIVE_BYTES),
        (f"{total // n_bytes} times its own size", _is_bomb(total, n_bytes)),
    ):
        if most:
            return [], [Skipped(archive, f"a zip archive that claims to hold {found}")]
    files: dict[Path, None] = {}
    skipped = []
    named = Counter(str(PurePosixPath(member.filename)) for member in members)
    for member in members:
        reason = _hostile(member)
        if not reason and named[str(PurePosixPath(member.filename))] > 1:
            reason = "in an archive under a name that stands there twice"
        if reason:
            skipped.append(Skipped(archive / member.filename.lstrip("/"), reason))
        else:
            files[archive / PurePosixPath(member.filename)] = None
    return sorted(files), skipped


def _hostile(member: zipfile.ZipInfo) -> str:
    """Why a member is not read, or an empty string."""
    parts = re.split(r"[\\/]", member.filename)
    if not parts[0] or parts[0].endswith(":") or ".." in parts:
        return "in an archive under a name that leads out of it"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link in an archive"
    if member.filename.lower().endswith(ARCHIVE_SUFFIX):
        return "an archive in an archive (unpack the outer one, and give its folder)"
    if member.flag_bits & 1:
        return "encrypted in an archive"
    if member.compress_type not in _METHODS:
        return "in an archive, packed by a method that cannot be read (unpack it first)"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"in an archive, unpacked {member.file_size / 2**30:.3g} GiB"
    if _is_bomb(member.file_size, member.compress_size):
        n_times = member.file_size // max(1, member.compress_size)
        return f"in an archive, unpacked {n_times} times its size"
    return ""


def _is_bomb(n_unpacked: int, n_packed: int) -> bool:
    return n_unpacked > HARMLESS_BYTES and n_unpacked > MAX_RATIO * max(1, n_packed)
