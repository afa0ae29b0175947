"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acinus import files
from acinus.errors import DataError
from acinus.files import (
    TEMPORARY_PREFIX,
    explain_os_errors,
    hash_data,
    hash_file,
    hash_file_once,
    read_json,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scan.nii.gz"
    with whole_file(path) as beside:
        beside.write_bytes(b"half")
        assert not path.exists()
        assert beside.name.startswith(TEMPORARY_PREFIX)
        assert beside.name.endswith(".nii.gz")
    assert path.read_bytes() == b"half"
    assert names(path.parent) == ["scan.nii.gz"]


def test_a_fault_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="boom"), whole_file(path) as beside:
        beside.write_text("new, half")
        raise RuntimeError("boom")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["plan.yaml"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with whole_folder(folder) as beside:
        (beside / "a").write_text("1")
        (beside / "b").write_text("1")
    with whole_folder(folder) as beside:
        (beside / "a").write_text("2")
    assert names(folder) == ["a"]
    with pytest.raises(RuntimeError, match="boom"), whole_folder(folder) as beside:
        raise RuntimeError("boom")
    assert (folder / "a").read_text() == "2"
    assert names(tmp_path) == ["model"]


def test_a_kill_leaves_no_whole_looking_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    code = (
        "import sys, time\nfrom acinus.files import whole_file\n"
        f"with whole_file({str(path)!r}) as beside:\n"
        "    beside.write_text('half')\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    assert not path.exists()
    assert all(name.startswith(TEMPORARY_PREFIX) for name in names(tmp_path))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_explained(tmp_path: Path, number: int) -> None:
    with pytest.raises(DataError) as caught, explain_os_errors(tmp_path / "store" / "a.npy"):
        raise OSError(number, os.strerror(number))
    text = str(caught.value)
    assert "a.npy: the disk must have room" in text
    assert "start the same command again" in text


def test_a_folder_that_may_not_be_written_is_explained(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"must be writable; .*Choose another output folder"),
        explain_os_errors(tmp_path),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_other_faults_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explain_os_errors(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "No such file")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 64 KiB; skipped where this process may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = hasattr(libc, "mount") and not libc.mount(
        b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=64k"
    )
    if not mounted:
        pytest.skip("a small disk cannot be mounted here (needs root on Linux)")
    yield folder
    libc.umount2(str(folder).encode(), 2)


def test_a_disk_that_is_really_full(tiny_disk: Path) -> None:
    path = tiny_disk / "table.csv"
    write_text(path, "old")
    with pytest.raises(DataError, match=r"table\.csv: the disk must have room"):
        write_text(path, "x" * 1_000_000)
    assert path.read_text() == "old"
    assert names(tiny_disk) == ["table.csv"]


def test_json_round_trip_and_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_json(path, {"spacing_mm": [3.0, 0.5, 0.5], "name": "Drüse"})
    assert read_json(path) == {"spacing_mm": [3.0, 0.5, 0.5], "name": "Drüse"}
    assert "Drüse" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"dice": math.nan})
    assert read_json(path)["name"] == "Drüse"
    with pytest.raises(DataError, match=r"gone\.json: no such file"):
        read_json(tmp_path / "gone.json")
    path.write_text('{"half": ')
    with pytest.raises(DataError, match=r"facts\.json: must be a readable JSON file"):
        read_json(path)


def test_hashes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"acinus" * 100_000)
    assert hash_file(path) == hashlib.sha256(b"acinus" * 100_000).hexdigest()
    assert hash_data({"a": 1, "b": [2, 3]}) == hash_data({"b": [2, 3], "a": 1})
    assert hash_data({"a": 1}) != hash_data({"a": 2})


def test_a_settled_file_is_hashed_once_and_a_touched_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.nii.gz"
    read: list[Path] = []
    monkeypatch.setattr(files, "hash_file", lambda path: read.append(path) or hash_file(path))
    path.write_bytes(b"young")
    assert hash_file_once(path) == hash_file_once(path) == hash_file(path)
    assert len(read) == 2
    monkeypatch.setattr(files, "SETTLED_S", -1.0)
    assert hash_file_once(path) == hash_file_once(path) == hash_file(path)
    assert len(read) == 3
    # As many bytes as before, put in its place as `whole_file` does.
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").replace(path)
    assert hash_file_once(path) == hash_file(path)
    assert len(read) == 4


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("23040 requested and 8064 written"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_every_library_s_word_for_a_full_disk_is_understood(
    tmp_path: Path, error: Exception
) -> None:
    said = r"array.npy: the disk must have room"
    with pytest.raises(DataError, match=said), whole_file(tmp_path / "array.npy"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="something else"), whole_file(tmp_path / "a.npy"):
        raise RuntimeError("something else")
    assert list(tmp_path.iterdir()) == []
