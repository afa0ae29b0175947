"""Downloads from a local server: whole, resumed, changed, damaged, refused, without room."""

from __future__ import annotations

import errno
import hashlib
import http.client
import shutil
import ssl
from pathlib import Path

import numpy as np
import pytest
from range_server import RangeServer

from acinus import progress
from acinus.cohort.catalogue.download import bytes_missing, download, partial_of
from acinus.cohort.catalogue.entries import PublicFile
from acinus.errors import DataError

BODY = np.random.default_rng(1).bytes(3_000_000)
SHA = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


@pytest.fixture
def server():
    one = RangeServer({"/data.zip": BODY})
    yield one
    one.close()


def file(server: RangeServer, **facts) -> PublicFile:
    known = {"name": "data.zip", "url": f"{server.address}/data.zip", "is_archive": False}
    return PublicFile(**{**known, **facts})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("facts", [{}, {"sha256": SHA}, {"md5": MD5.upper()}, {"bytes": len(BODY)}])
def test_a_file_comes_whole_and_once(facts, server, tmp_path) -> None:
    path = download(file(server, **facts), tmp_path / "new" / "folder")
    assert path.read_bytes() == BODY
    assert names(path.parent) == ["data.zip"]
    download(file(server, **facts), path.parent)
    assert len(server.requests) == 1
    assert bytes_missing(file(server, bytes=len(BODY)), path.parent) == 0


def test_a_file_that_was_put_there_by_hand_is_checked_too(server, tmp_path) -> None:
    (tmp_path / "data.zip").write_bytes(BODY[:-1] + b"?")
    with pytest.raises(DataError, match="must have sha256"):
        download(file(server, sha256=SHA), tmp_path)
    assert names(tmp_path) == ["data.zip.wrong"]
    assert not server.requests


def test_what_breaks_off_is_asked_for_from_there(server, tmp_path) -> None:
    server.cut = 1_200_000
    path = download(file(server, sha256=SHA), tmp_path)
    assert path.read_bytes() == BODY
    asked = [ranges for _, ranges in server.requests]
    assert asked == ["", "bytes=1200000-", "bytes=2400000-"]


def test_the_next_call_goes_on_where_this_one_ended(server, tmp_path) -> None:
    server.cut = 100_000
    with pytest.raises(DataError, match=r"broke off after 500000 of 3000000 bytes.*goes on"):
        download(file(server, bytes=len(BODY), sha256=SHA), tmp_path)
    assert partial_of(tmp_path / "data.zip").read_bytes() == BODY[:500_000]
    assert not (tmp_path / "data.zip").exists()
    assert bytes_missing(file(server, bytes=len(BODY)), tmp_path) == 2_500_000
    server.cut, server.requests = None, []
    assert download(file(server, sha256=SHA), tmp_path).read_bytes() == BODY
    assert server.requests == [("/data.zip", "bytes=500000-")]
    assert names(tmp_path) == ["data.zip"]


@pytest.mark.parametrize(
    "fault", [ssl.SSLError(1, "bad record"), OSError(errno.ENETUNREACH, "Network is unreachable")]
)
def test_a_fault_of_any_layer_of_the_network_is_a_connection_that_broke(
    fault: OSError, server, tmp_path, monkeypatch
) -> None:
    real, n_read = http.client.HTTPResponse.read, []

    def read(self, *given):
        n_read.append(1)
        if len(n_read) == 2:
            raise fault
        return real(self, *given)

    monkeypatch.setattr(http.client.HTTPResponse, "read", read)
    assert download(file(server, sha256=SHA), tmp_path).read_bytes() == BODY
    assert len(server.requests) == 2


@pytest.mark.parametrize("change", ["another file", "no ranges"])
def test_a_part_that_cannot_be_continued_is_begun_anew(change, server, tmp_path) -> None:
    server.cut = 100_000
    with pytest.raises(DataError, match="broke off"):
        download(file(server), tmp_path)
    server.cut = None
    if change == "another file":
        server.etag, server.contents["/data.zip"] = '"two"', BODY[::-1]
    else:
        server.knows_ranges = False
    assert download(file(server), tmp_path).read_bytes() == server.contents["/data.zip"]


def test_a_part_without_notes_is_not_trusted(server, tmp_path) -> None:
    partial_of(tmp_path / "data.zip").write_bytes(b"of another program")
    assert download(file(server), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"sha256": "0" * 64}, f"must have sha256 {'0' * 64}; it has {SHA}"),
        ({"md5": "0" * 32}, f"must have md5 {'0' * 32}; it has {MD5}"),
        ({"bytes": 7}, "must have 7 bytes; it has 3000000"),
    ],
)
def test_a_wrong_file_is_kept_aside(facts, sentence, server, tmp_path) -> None:
    with pytest.raises(DataError, match=sentence) as fault:
        download(file(server, **facts), tmp_path)
    assert "data.zip.wrong and not used" in str(fault.value)
    assert names(tmp_path) == ["data.zip.wrong"]
    assert (tmp_path / "data.zip.wrong").read_bytes() == BODY
    assert download(file(server, sha256=SHA), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_a_server_that_refuses_is_quoted(status, server, tmp_path) -> None:
    server.status = status
    with pytest.raises(DataError, match=f"it answers {status} .*Try again later"):
        download(file(server), tmp_path)
    assert names(tmp_path) == []


def test_redirections_in_a_circle_are_told_in_one_line(server, tmp_path) -> None:
    asked = file(server)
    server.leads_to = asked.url
    with pytest.raises(DataError) as fault:
        download(asked, tmp_path)
    assert "it answers 302 (it leads in a circle). Try again later" in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_server_that_is_not_there(server, tmp_path) -> None:
    gone = file(server)
    server.close()
    with pytest.raises(DataError, match="the server must be reachable"):
        download(gone, tmp_path)


def test_without_a_length_the_checksum_decides(server, tmp_path) -> None:
    server.tells_length = False
    assert download(file(server, sha256=SHA), tmp_path / "a").read_bytes() == BODY
    server.cut = 1000
    with pytest.raises(DataError, match="must have sha256"):
        download(file(server, sha256=SHA), tmp_path / "b")


def test_a_full_disk_leaves_a_part_to_go_on_from(server, tmp_path, monkeypatch) -> None:
    opened = Path.open
    n_writes = 0

    def limited(self, mode="r", *rest, **more):
        stream = opened(self, mode, *rest, **more)
        if self.suffix != ".part":
            return stream
        write = stream.write

        class Limited:
            def __enter__(self):
                return self

            def __exit__(self, *parts):
                stream.close()

            def write(self, chunk):
                nonlocal n_writes
                n_writes += 1
                if n_writes > 1:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(chunk)

        return Limited()

    monkeypatch.setattr(Path, "open", limited)
    with pytest.raises(DataError, match="the disk must have room"):
        download(file(server), tmp_path)
    monkeypatch.undo()
    kept = partial_of(tmp_path / "data.zip").stat().st_size
    assert 0 < kept < len(BODY)
    server.requests = []
    assert download(file(server, sha256=SHA), tmp_path).read_bytes() == BODY
    assert server.requests == [("/data.zip", f"bytes={kept}-")]
    shutil.rmtree(tmp_path)


def test_what_is_no_archive_is_set_aside(server, tmp_path) -> None:
    with pytest.raises(DataError, match="must be a zip or tar; 3000000 bytes of something else"):
        download(file(server, is_archive=True), tmp_path)
    assert names(tmp_path) == ["data.zip.wrong"]


def test_a_page_in_place_of_the_file_is_refused(server, tmp_path) -> None:
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="it sends a page, perhaps one that asks to log in"):
        download(file(server), tmp_path)
    assert not (tmp_path / "data.zip").exists()


def test_a_server_that_goes_on_with_another_file_is_not_trusted(server, tmp_path) -> None:
    server.cut = 100_000
    with pytest.raises(DataError, match="broke off"):
        download(file(server), tmp_path)
    server.cut, server.etag, server.compares = None, '"two"', False
    with pytest.raises(DataError, match="has changed on the server"):
        download(file(server), tmp_path)
    assert download(file(server), tmp_path).read_bytes() == BODY


def test_a_weak_mark_of_the_version_does_not_cost_the_part(server, tmp_path) -> None:
    """Servers that compress on the way mark files so; the checksum tells whether they changed."""
    server.etag, server.cut = 'W/"one"', 1_200_000
    assert download(file(server, sha256=SHA), tmp_path).read_bytes() == BODY
    assert [ranges for _, ranges in server.requests] == ["", "bytes=1200000-", "bytes=2400000-"]


def test_a_part_whose_notes_are_lost_goes_on_where_a_checksum_decides(server, tmp_path) -> None:
    partial_of(tmp_path / "data.zip").write_bytes(BODY[:70_000])
    assert download(file(server, sha256=SHA), tmp_path).read_bytes() == BODY
    assert server.requests == [("/data.zip", "bytes=70000-")]


def test_a_server_may_send_less_than_the_rest_at_a_time(server, tmp_path) -> None:
    """As some proxies do: none of ten answers is the end of the file but the last."""
    server.cut = 100_000
    with pytest.raises(DataError, match="broke off"):
        download(file(server), tmp_path)
    server.cut, server.most = None, 300_000
    assert download(file(server), tmp_path).read_bytes() == BODY
