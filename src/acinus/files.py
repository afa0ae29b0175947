"""Files that are whole or absent: write beside, then rename; hashes and stamps.

Enters: what a stage made. Leaves: files that a later stage may trust. A full
disk or a kill leaves the old file or none, and a temporary name that no stage
reads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acinus.errors import DataError

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
"""How NumPy says that not all of an array could be written."""

SETTLED_S = 2.0
"""Age of a file from which its times are trusted to show the next change."""

_HASHES: dict[Path, tuple[tuple[int, ...], str]] = {}
"""Path to what it looked like and its hash, of this process."""

TEMPORARY_PREFIX = ".partial-"
"""Begin of the names that a stage writes under before it renames."""


@contextlib.contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """A path beside `path` to write to; renamed onto it if the block succeeds.

    The temporary name keeps the suffixes, so that writers that choose a format
    by suffix work.

    Raises:
        DataError: The disk is full or the folder cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{path.name}")
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """A folder beside `path` to fill; replaces `path` if the block succeeds."""
    path = Path(path)
    beside = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:8]}-{path.name}")
    with explain_os_errors(path):
        beside.mkdir(parents=True)
        try:
            yield beside
            if path.exists():
                shutil.rmtree(path)
            beside.replace(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


@contextlib.contextmanager
def explain_os_errors(path: Path | str) -> Iterator[None]:
    """Turn a full disk or missing permission into a DataError that names `path`."""
    try:
        yield
    except Exception as error:  # What writes has no common error: see `_is_full`.
        if _is_full(error):
            raise DataError(
                f"{path}: the disk must have room for this file and is full. "
                "Free some space and start the same command again; it goes on from here."
            ) from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataError(
                f"{path}: must be writable; {error.strerror}. Choose another output folder."
            ) from error
        raise


def _is_full(error: Exception) -> bool:
    """Whether an error of any library means that the disk is full.

    NumPy raises an OSError without a number, safetensors and ITK errors of their own;
    they pass on the system's words, or count what was written.
    """
    if isinstance(error, DataError):
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    text = str(error).lower()
    return _SHORT_WRITE.search(text) is not None or any(
        os.strerror(number).lower() in text for number in (errno.ENOSPC, errno.EDQUOT)
    )


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, data: Any) -> None:
    """Write JSON with sorted indentation, whole or not at all."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: The file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: must be a readable JSON file; {error}.") from None


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_file_once(path: Path | str) -> str:
    """SHA-256 of a file's bytes, read again by this process only when the file was touched.

    For large files that several stages of one command ask for. Touched means another
    size, inode or time of change; a file younger than `SETTLED_S` is always read,
    since its times may be too coarse to show the next change.
    """
    path = Path(path)
    found = path.stat()
    state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    kept = _HASHES.get(path)
    if kept is not None and kept[0] == state:
        return kept[1]
    digest = hash_file(path)
    if time.time() - max(found.st_mtime, found.st_ctime) > SETTLED_S:
        _HASHES[path] = state, digest
    return digest


def hash_data(data: Any) -> str:
    """SHA-256 of JSON-able data, independent of key order."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
