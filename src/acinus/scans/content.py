"""What a file holds by its first bytes, for sentences a user can act on.

Enters: a path. Leaves: a few words ("a text file that begins 'hello'"), and the
one DataError that all readers raise for a file they cannot read. The messages
of the libraries underneath were rejected: they name neither the file nor a remedy.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from acinus.errors import DataError

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"NRRD", "an NRRD file"),
    (0, b"ObjectType", "a MetaImage header"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\x89HDF", "an HDF5 file"),
    (128, b"DICM", "a DICOM file"),
    (344, b"n+1", "an uncompressed NIfTI image"),
    (344, b"ni1", "the header of a two-file NIfTI image"),
    (4, b"n+2", "an uncompressed NIfTI-2 image"),
)
"""Offset, bytes there, and what such a file is."""

_N_BYTES = 540
"""As many first bytes as the longest header looked at (NIfTI-2)."""


def describe_content(path: Path) -> str:
    """What the file is by its first bytes, in a few words."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_N_BYTES)
    except OSError as error:
        return f"a file that cannot be opened ({error.strerror})"
    if not head:
        return "an empty file"
    if head[:2] == b"\x1f\x8b":
        return _describe_compressed(path)
    return _describe_bytes(head)


def _describe_compressed(path: Path) -> str:
    try:
        with gzip.open(path) as stream:
            head = stream.read(_N_BYTES)
    except (OSError, EOFError, zlib.error):
        return "a gzip file that is cut off or damaged"
    return f"a gzip file that holds {_describe_bytes(head)}" if head else "a gzip file of nothing"


def _describe_bytes(head: bytes) -> str:
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    text = head[:120].decode("utf-8", errors="replace")
    if "\ufffd" not in text and all(sign.isprintable() or sign.isspace() for sign in text):
        return f"a text file that begins {' '.join(text.split())[:40]!r}"
    return f"bytes that begin {head[:8].hex(' ')}"


def unreadable(path: Path, kind: str, error: BaseException) -> DataError:
    """The error for a file that is not a whole file of its kind.

    Args:
        path: The file.
        kind: What it must be, e.g. ``"a whole NIfTI image"``.
        error: What the library underneath said.
    """
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    found = describe_content(path)
    if isinstance(error, EOFError):
        found = f"a truncated file of {path.stat().st_size} bytes"
    return DataError(
        f"{path}: must be {kind}; found {found} ({reason}). "
        "Export or copy the scan again, or remove the file."
    )


def require_file(path: Path) -> None:
    """Refuse a path that is no file.

    Raises:
        DataError: Nothing is there, or a folder is.
    """
    if path.is_dir():
        raise DataError(f"{path}: must be a file; found a folder.")
    if not path.exists():
        raise DataError(f"{path}: no such file. Check the spelling and where the command runs.")
