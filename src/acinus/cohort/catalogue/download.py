"""One file over HTTP: resumed where it was cut off, checked, and whole or not there.

Enters: an address and what is known of the file. Leaves: the file under its name, or a part of it
under another from which the next call goes on. Only the standard library: a download happens
once, and needs no library for it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import ssl
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from acinus.cohort.catalogue.entries import PublicFile
from acinus.errors import DataError
from acinus.files import explain_os_errors, write_json
from acinus.progress import stage
from acinus.version import __version__

TIMEOUT_S = 60.0
"""Longest silence of a server, seconds."""

CHUNK_BYTES = 1 << 20

MEGABYTE = 1_000_000

TRIES = 5
"""Times that a connection is made anew, as long as each brings at least one byte."""


def partial_of(target: Path) -> Path:
    """Where the part of a file that has come so far is kept.

    Args:
        target: The whole file.
    """
    return target.with_name(f"{target.name}.part")


def download(file: PublicFile, folder: Path) -> Path:
    """The file in a folder, downloaded unless it is there.

    A part that is there is continued if the server still has the same file. What does not fit
    its checksum is kept as ``NAME.wrong`` and not used.

    Args:
        file: What to get.
        folder: Where to put it.

    Raises:
        DataError: The server refuses or breaks off, the disk is full, or size or checksum do not
            fit. After all but the last the same call goes on where this one ended.
    """
    target = folder / file.name
    if target.exists():
        with explain_os_errors(target):
            _check(file, target, None)  # who cannot download puts files there by hand
        return target
    part = partial_of(target)
    with explain_os_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        n_cut = 0
        while n_cut < TRIES:
            before = _size(part)
            total, promised = _receive(file, part)
            if total is None or _size(part) >= total or _size(part) <= before:
                break
            n_cut += _size(part) < promised  # some servers send no more than a part at a time
        _check(file, part, total)
        part.replace(target)
        _notes_of(part).unlink(missing_ok=True)
    return target


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, which need not exist.

    Args:
        folder: Any path.
    """
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def bytes_missing(file: PublicFile, folder: Path) -> int | None:
    """How much of a file has still to come; None if its size is not known.

    Args:
        file: What to get.
        folder: Where it goes.
    """
    if (folder / file.name).exists():
        return 0
    if file.bytes is None:
        return None
    return max(0, file.bytes - _size(partial_of(folder / file.name)))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _notes_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _receive(file: PublicFile, part: Path) -> tuple[int | None, int]:
    """Append what the server sends to the part.

    Returns:
        The size of the whole, None if it is not told; and the size that the part has if all came
        that this answer promised.

    A connection that breaks off ends this without an error: what came is kept.
    """
    start = _size(part)
    request = urllib.request.Request(file.url, headers={"User-Agent": f"acinus/{__version__}"})
    version = _known_version(part)
    if version.startswith("W/"):  # weak: bytes may differ, and no server may go by it
        version = ""
    if start and (version or file.sha256 or file.md5):  # either tells a file that has changed
        request.add_header("Range", f"bytes={start}-")
        if version:
            request.add_header("If-Range", version)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return _append(answer, file, part)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing left to send
            return start, start
        raise DataError(
            f"{file.url}: the server must send the file; it answers {error.code} "
            f"({_reason(error)}). Try again later, or get it by hand into {part.parent}."
        ) from error
    except urllib.error.URLError as error:
        raise DataError(
            f"{file.url}: the server must be reachable; {error.reason}. Check the network; the "
            "same command goes on from here."
        ) from error
    except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
        raise DataError(
            f"{file.url}: the connection broke off ({type(error).__name__}). The same command goes "
            "on from here."
        ) from error


def _reason(error: urllib.error.HTTPError) -> str:
    """What a server says in one line; of a circle of redirections Python writes several."""
    is_circle = 300 <= error.code < 400 and "redirect error" in str(error.reason)
    return "it leads in a circle" if is_circle else " ".join(str(error.reason).split())


def _append(answer: Any, file: PublicFile, part: Path) -> tuple[int | None, int]:
    """Write the body of an answer; returns as `_receive`."""
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    continues = answer.status == 206
    known = _known_version(part)
    if continues and version and known and version != known:
        # The server goes on with another file than it began with.
        part.unlink()
        _notes_of(part).unlink(missing_ok=True)
        raise DataError(
            f"{file.url}: the file has changed on the server since its download began. Start again "
            "to download it anew."
        )
    begins = answer.headers.get("Content-Range", "")
    if continues and begins and not begins.startswith(f"bytes {_size(part)}-"):
        raise DataError(
            f"{file.url}: the server must go on at byte {_size(part)}; it sends {begins}. Remove "
            f"{part} and start again to download it anew."
        )
    is_page = answer.headers.get_content_type() == "text/html"
    if is_page and not file.name.endswith((".htm", ".html")):
        raise DataError(
            f"{file.url}: the server must send the file; it sends a page, perhaps one that asks to "
            f"log in. Get it by hand into {part.parent}."
        )
    version = version or (known if continues else "")
    length = answer.headers.get("Content-Length")
    start = _size(part) if continues else 0
    total = promised = start + int(length) if length and length.isdigit() else None
    if continues and (whole := re.search(r"/(\d+)$", begins)):
        total = int(whole[1])  # what comes now may be less than the rest
    write_json(_notes_of(part), {"url": file.url, "version": version})
    expected = None if total is None else round(total / MEGABYTE)
    with (
        part.open("ab" if continues else "wb") as stream,
        stage(f"Downloading {file.name}", total=expected, unit="MB") as bar,
    ):
        bar.resume_at(start // MEGABYTE)
        done = start
        while True:
            try:
                chunk = answer.read(CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:  # of the network, in any layer
                if total is None:  # nobody could see that it is too little
                    raise DataError(
                        f"{file.url}: the connection broke off after {done} bytes. The same "
                        "command goes on from here."
                    ) from error
                break
            if not chunk:
                break
            stream.write(chunk)
            done += len(chunk)
            bar.advance(done // MEGABYTE - bar.done)
    return total, promised or 0


def _known_version(part: Path) -> str:
    """What the server said of the file when the part began; empty if that is not known."""
    try:
        version = json.loads(_notes_of(part).read_text(encoding="utf-8")).get("version", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return str(version)


def _check(file: PublicFile, part: Path, total: int | None) -> None:
    """Nothing, if the part is the whole file and fits its checksum."""
    found, wanted = _size(part), file.bytes if file.bytes is not None else total
    if total is not None and found < total:
        raise DataError(
            f"{file.url}: the connection broke off after {found} of {total} bytes. The same "
            "command goes on from here."
        )
    if wanted is not None and found != wanted:
        raise _wrong(file, part, f"must have {wanted} bytes; it has {found}")
    for name, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected:
            with part.open("rb") as stream:
                got = hashlib.file_digest(stream, name).hexdigest()
            if got != expected.lower():
                raise _wrong(file, part, f"must have {name} {expected}; it has {got}")
            return
    if file.is_archive and not (zipfile.is_zipfile(part) or tarfile.is_tarfile(part)):
        raise _wrong(file, part, f"must be a zip or tar; {found} bytes of something else came")


def _wrong(file: PublicFile, part: Path, sentence: str) -> DataError:
    aside = part.with_name(f"{file.name}.wrong")
    part.replace(aside)
    _notes_of(part).unlink(missing_ok=True)
    return DataError(
        f"{file.url}: {sentence}. It is kept as {aside} and not used: the file may have changed "
        "since it was entered in the catalogue, or was damaged on the way. Start again to download "
        "it anew."
    )
