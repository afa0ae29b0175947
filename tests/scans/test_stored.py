"""Folders and archives: everything is found, nothing hostile is read, nothing is unpacked."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from acinus.errors import DataError
from acinus.scans import list_export, read_series, require_series
from acinus.scans import stored as stored_module
from acinus.scans.stored import list_stored, on_disk, open_stored
from made_export import ct_values, write_series


def reasons(source: Path) -> list[tuple[str, str, bool]]:
    return [(one.path.name, one.reason, one.is_fault) for one in list_stored(source)[1]]


def zipped(folder: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                out.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


def test_a_zip_gives_the_same_series_as_its_folder(tmp_path) -> None:
    values = ct_values()
    write_series(tmp_path / "a" / "b" / "c", values)
    (tmp_path / "a" / "readme").write_text("hello")
    plain = list_export(tmp_path / "a")
    packed = list_export(zipped(tmp_path / "a", tmp_path / "export.ZIP"))
    assert [one.reason for one in packed.skipped] == ["not DICOM (a member of an archive)"]
    one, other = read_series(plain.series[0]), read_series(packed.series[0])
    np.testing.assert_array_equal(one.array, values)
    np.testing.assert_array_equal(other.array, values)
    np.testing.assert_array_equal(one.affine, other.affine)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "export.ZIP"]


def test_archives_in_a_folder_are_looked_into(tmp_path) -> None:
    write_series(tmp_path / "one", ct_values())
    (tmp_path / "all").mkdir()
    zipped(tmp_path / "one", tmp_path / "all" / "patient.zip", "./DICOM//")
    export = list_export(tmp_path / "all")
    assert [one.n_slices for one in export.series] == [6]
    assert read_series(export.series[0]).shape == (6, 10, 12)
    with on_disk(export.series[0].paths[0]) as copy:
        assert copy.read_bytes() == open_stored(export.series[0].paths[0]).read()
    assert not copy.exists()


def test_names_that_lead_out_of_an_archive_are_not_read(tmp_path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for name in ("../../evil", "/etc/evil", "a\\..\\..\\evil", "C:/evil"):
            out.writestr(name, b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(link, "/etc/passwd")
        out.writestr("inner.zip", b"PK\x03\x04")
        out.writestr("fine", b"x")
    files, skipped = list_stored(archive)
    assert [path.name for path in files] == ["fine"]
    found = [one.reason for one in skipped]
    assert found.count("in an archive under a name that leads out of it") == 4
    assert found.count("a link in an archive") == 1
    assert sum(reason.startswith("an archive in an archive") for reason in found) == 1
    assert all(one.is_fault for one in skipped)
    assert not (tmp_path.parent / "evil").exists()


def test_a_zip_bomb_is_told_by_its_directory(tmp_path, monkeypatch) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("bomb", bytes(2_000_000))
        out.writestr("fine", os.urandom(200_000))
    monkeypatch.setattr(stored_module, "HARMLESS_BYTES", 1_000_000)
    files, skipped = list_stored(archive)
    assert [path.name for path in files] == ["fine"]
    assert skipped[0].reason.startswith("in an archive, unpacked ") and skipped[0].is_fault
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for number in range(3):
            out.writestr(f"part{number}", bytes(900_000))
    files, skipped = list_stored(archive)
    assert files == [] and "times its own size" in skipped[0].reason
    monkeypatch.setattr(stored_module, "MAX_MEMBERS", 2)
    assert "claims to hold 3 files" in list_stored(archive)[1][0].reason


def test_a_member_that_lies_about_its_size_cannot_fill_the_memory(tmp_path) -> None:
    """The stream ends at the size that the directory states, and the checksum is then wrong."""
    archive = tmp_path / "lie.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("lie", bytes(100_000))
    data = archive.read_bytes()
    size = (100_000).to_bytes(4, "little")
    archive.write_bytes(data.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(zipfile.BadZipFile):
        open_stored(archive / "lie").read()
    assert list_export(archive).series == ()


def test_damaged_and_encrypted_archives_do_not_stop_the_others(tmp_path) -> None:
    write_series(tmp_path / "good", ct_values())
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 and no more")
    archive = zipped(tmp_path / "good", tmp_path / "secret.zip")
    data = bytearray(archive.read_bytes())
    for at in (data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02")):
        data[at + (6 if data[at + 2] == 3 else 8)] |= 1
    archive.write_bytes(bytes(data))
    export = list_export(tmp_path)
    assert len(export.series) >= 1
    found = {one.reason for one in export.skipped if one.is_fault}
    assert any(reason.startswith("a damaged zip archive") for reason in found)
    assert "encrypted in an archive" in found


def test_members_that_are_packed_by_an_unknown_method_are_told(tmp_path) -> None:
    """Deflate64, as Windows packs archives of more than 2 GB."""
    write_series(tmp_path / "good", ct_values())
    archive = zipped(tmp_path / "good", tmp_path / "export.zip")
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        first = opened.infolist()[0]
    for at in (data.find(b"PK\x03\x04") + 8, data.find(b"PK\x01\x02") + 10):
        data[at] = 9
    archive.write_bytes(data)
    files, skipped = list_stored(archive)
    assert len(files) == 5
    assert [(one.path.name, one.is_fault) for one in skipped] == [(first.filename, True)]
    assert "packed by a method that cannot be read (unpack it first)" in skipped[0].reason


def test_links_in_circles_end(tmp_path) -> None:
    root = tmp_path / "export"
    write_series(root / "a", ct_values())
    (root / "a" / "up").symlink_to(root)
    (root / "again").symlink_to(root / "a")
    (root / "file").symlink_to(next((root / "a").glob("IM*")))
    (root / "nowhere").symlink_to(root / "gone")
    (root / "x").symlink_to(root / "y")
    (root / "y").symlink_to(root / "x")
    outside = tmp_path / "outside"
    write_series(outside, ct_values(seed=8), series="second")
    (outside / "loop").symlink_to(outside)
    (root / "elsewhere").symlink_to(outside)
    export = list_export(root)
    assert [one.n_slices for one in export.series] == [6, 6]
    assert all(not one.faults for one in export.series)
    assert {name for name, *_ in reasons(root)} == {
        "up", "again", "file", "nowhere", "x", "y", "loop"
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_in_an_archive_hides_nothing(tmp_path) -> None:
    """By its name only the last of both would be opened, whatever was looked at before."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for name in ("IM1", "./IM1", "IM2"):
            out.writestr(name, name)
    files, skipped = list_stored(tmp_path / "a.zip")
    assert [path.name for path in files] == ["IM2"]
    assert {one.reason for one in skipped} == {"in an archive under a name that stands there twice"}


def test_a_damaged_member_packed_by_lzma_is_told(tmp_path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_LZMA) as out:
        out.writestr("IM1", os.urandom(400))
    data = bytearray(archive.read_bytes())
    data[42:60] = b"\xff" * 18
    archive.write_bytes(data)
    with pytest.raises(DataError, match="must hold the DICOM slices"):
        require_series(list_export(archive), archive)


def test_a_folder_that_two_links_name_is_read_once(tmp_path) -> None:
    outside, root = tmp_path / "shared" / "outside", tmp_path / "export"
    write_series(outside, ct_values())
    (outside / "up").symlink_to(tmp_path / "shared")
    root.mkdir()
    for name in ("one", "two"):
        (root / name).symlink_to(outside)
    (found,) = list_export(root).series
    assert found.n_slices == 6 and not found.faults


def test_a_pipe_is_not_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reasons(tmp_path) == [("pipe", "no regular file", False)]


def test_something_else_is_refused(tmp_path) -> None:
    (tmp_path / "scan.nii").write_bytes(b"x")
    for path, found in ((tmp_path / "scan.nii", "another kind"), (tmp_path / "no", "nothing")):
        with pytest.raises(DataError, match=rf"must be a folder or a zip archive.*{found}"):
            list_stored(path)
