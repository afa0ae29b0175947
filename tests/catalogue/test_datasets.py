"""The catalogue, and datasets from a local server to our layout."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from range_server import RangeServer

from acinus import progress
from acinus.cli import main
from acinus.cohort import open_dataset
from acinus.cohort.catalogue import get_dataset, read_catalogue
from acinus.cohort.catalogue.unpack import unpack
from acinus.cohort.importers import IMPORTERS
from acinus.errors import ConfigError, DataError
from public_layouts import make_amos, make_msd, make_pansegdata, make_pddca


@pytest.fixture(autouse=True)
def without_progress():
    with progress.quiet():
        yield


def packed(folder: Path, kind: str = "zip") -> bytes:
    archive = shutil.make_archive(str(folder.parent / f"{folder.name}-packed"), kind, folder)
    return Path(archive).read_bytes()


@pytest.fixture
def shop(tmp_path):
    """A server with some datasets, and its catalogue."""
    contents = {}
    for name, make, kind in (("msd", make_msd, "tar"), ("pan", make_pansegdata, "zip")):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
        contents[f"/{name}"] = packed(tmp_path / name, kind)
    make_pddca(tmp_path / "heads")
    for part, kind in ((1, "zip"), (3, "gztar")):
        folder = tmp_path / "heads" / f"PDDCA-1.4.1_part{part}"
        contents[f"/heads{part}"] = packed(folder, kind)
    (tmp_path / "amos").mkdir()
    make_amos(tmp_path / "amos")
    meta = tmp_path / "amos" / "labeled_data_meta_0000_0599.csv"
    contents["/meta"] = meta.read_bytes()
    meta.unlink()
    contents["/amos"] = packed(tmp_path / "amos")
    server = RangeServer(contents)
    at = server.address
    (tmp_path / "catalogue.yaml").write_text(f"""
task:
  title: A task
  about: Made for a test.
  structures: [pancreas]
  modality: CT
  licence: CC0
  address: {at}
  files: [{{name: Task07_Pancreas.tar, url: "{at}/msd", bytes: {len(contents["/msd"])}}}]
  importer: msd
pan:
  title: Pancreas
  about: Made for a test.
  structures: [pancreas]
  modality: MRI
  address: {at}
  files: [{{name: both.zip, url: "{at}/pan"}}]
  importer: pansegdata
  choices: {{modality: t2}}
heads:
  title: Heads
  about: Made for a test.
  structures: [mandible]
  modality: CT
  address: {at}
  files:
    - {{name: PDDCA-1.4.1_part1.zip, url: "{at}/heads1"}}
    - {{name: PDDCA-1.4.1_part3.tar.gz, url: "{at}/heads3"}}
  importer: pddca
amos-ct: &amos
  title: Amos
  about: Made for a test.
  structures: [pancreas]
  modality: CT
  address: {at}
  files:
    - {{name: amos22.zip, url: "{at}/amos"}}
    - {{name: labeled_data_meta_0000_0599.csv, url: "{at}/meta", is_archive: false}}
  folder: amos22
  importer: amos
  choices: {{modality: ct}}
amos-mri:
  <<: *amos
  choices: {{modality: mri}}
closed:
  title: Closed
  about: Made for a test.
  structures: [pancreas]
  modality: CT
  address: https://example.org/closed
  by_hand: Registration is needed.
  importer: btcv
half:
  title: Half
  about: Made for a test.
  structures: [pancreas]
  modality: CT
  address: https://example.org/half
  files: [{{name: labels.zip, url: "{at}/pan"}}]
  by_hand: Get the images by hand.
  importer: nih-pancreas
plain:
  title: Plain
  about: Made for a test.
  structures: [gland]
  modality: CT
  address: https://example.org/plain
  files: [{{name: plain.zip, url: "{at}/pan"}}]
""")
    yield server, tmp_path / "catalogue.yaml"
    server.close()


def test_our_catalogue_is_sound() -> None:
    entries = read_catalogue()
    assert {"tom500", "han-seg", "head-neck-oar", "msd-hippocampus"} <= set(entries)
    # What its text asks for is in the command, too.
    assert entries["tom500"].import_command("A", "B") == (
        "acinus import tom500 A B --names NAME_OF_1 NAME_OF_2 ..."
    )
    for name, one in entries.items():
        assert one.importer is None or one.importer in IMPORTERS, name
        if one.importer:
            IMPORTERS.configure(one.importer, one.choices)
        assert one.files or one.by_hand, name
        assert one.facts_from, name
        assert set(one.shares_patients_with) <= set(entries), name
        assert one.n_labelled is None or one.n_cases is None or one.n_labelled <= one.n_cases
        for file in one.files:
            assert file.sha256 is None or len(file.sha256) == 64
            assert file.md5 is None or len(file.md5) == 32
            assert file.is_archive == file.name.endswith((".zip", ".tar")), file.name
    used = {one.importer for one in entries.values()}
    assert used >= set(IMPORTERS.names()) - {"bids"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("ftp://x/y", "must begin with http:// or https://"),
    ],
)
def test_only_the_web_is_asked(change, sentence, shop, tmp_path) -> None:
    server, catalogue = shop
    catalogue.write_text(catalogue.read_text().replace(f"{server.address}/msd", change))
    with pytest.raises(ConfigError, match=sentence):
        read_catalogue(catalogue)


def test_a_name_with_folders_or_an_unknown_key_is_refused(shop) -> None:
    _, catalogue = shop
    text = catalogue.read_text()
    catalogue.write_text(text.replace("name: both.zip", "name: ../../both.zip"))
    with pytest.raises(ConfigError, match="must be a file name without folders"):
        read_catalogue(catalogue)
    catalogue.write_text(text.replace("licence: CC0", "license: CC0"))
    with pytest.raises(ConfigError, match=r"line 7.*unknown key 'license'.*'licence'"):
        read_catalogue(catalogue)


def test_a_name_that_yaml_takes_for_a_number_is_refused(shop) -> None:
    _, catalogue = shop
    text = catalogue.read_text()
    (name, *_) = text.split(":")
    catalogue.write_text(text.replace(f"{name}:", "404:", 1))
    with pytest.raises(ConfigError, match="numbers in quotes; got 404"):
        read_catalogue(catalogue)


def test_a_dataset_comes_converted_and_is_not_fetched_twice(shop, tmp_path) -> None:
    server, catalogue = shop
    out = tmp_path / "downloads"
    got = get_dataset("task", out, convert=tmp_path / "D1", catalogue=catalogue)
    assert got.imported is not None
    assert (got.imported.n_cases, got.left_to_do) == (2, "")
    assert open_dataset(tmp_path / "D1").labels == {"pancreas": 1, "cancer": 2}
    get_dataset("task", out, convert=tmp_path / "D2", labels=("cancer",), catalogue=catalogue)
    assert open_dataset(tmp_path / "D2").labels == {"cancer": 1}
    assert len(server.requests) == 1
    get_dataset("pan", out, convert=tmp_path / "D3", catalogue=catalogue)
    assert open_dataset(tmp_path / "D3").channel_names == ("T2",)


def test_every_part_of_a_dataset_is_unpacked_though_names_have_dots(shop, tmp_path) -> None:
    _, catalogue = shop
    got = get_dataset("heads", tmp_path / "d", convert=tmp_path / "D", catalogue=catalogue)
    assert got.imported is not None
    assert got.imported.n_cases == 2
    folders = sorted(path.name for path in (tmp_path / "d/heads").iterdir() if path.is_dir())
    assert folders == ["PDDCA-1.4.1_part1", "PDDCA-1.4.1_part3"]


def test_entries_of_one_download_share_it(shop, tmp_path) -> None:
    server, catalogue = shop
    out = tmp_path / "downloads"
    get_dataset("amos-ct", out, convert=tmp_path / "ct", catalogue=catalogue)
    get_dataset("amos-mri", out, convert=tmp_path / "mri", catalogue=catalogue)
    assert [path for path, _ in server.requests] == ["/amos", "/meta"]
    table = open_dataset(tmp_path / "ct").participants.set_index("participant_id")
    assert table.loc["amos_0001", "age"] == 55
    assert open_dataset(tmp_path / "mri").channel_names == ("MRI",)


def test_what_needs_a_person_says_where_and_what_then(shop, tmp_path, capsys) -> None:
    _, catalogue = shop
    words = ["--out", str(tmp_path / "d"), "--catalogue", str(catalogue)]
    assert main(["datasets", "get", "closed", *words]) == 2
    fault = capsys.readouterr().err
    assert "Registration is needed. Address: https://example.org/closed." in fault
    assert f"acinus import btcv {tmp_path / 'd' / 'closed'} DATASET" in fault
    assert not (tmp_path / "d").exists()
    assert main(["datasets", "get", "half", *words]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"1 file in {tmp_path / 'd' / 'half'}\nLeft to do: Get the images")
    assert main(["datasets", "get", "half", *words, "--convert", str(tmp_path / "D")]) == 3
    assert main(["datasets", "get", "plain", *words, "--convert", str(tmp_path / "D")]) == 2
    assert "there is no importer" in capsys.readouterr().err


def test_no_room_is_said_before_the_first_byte(shop, tmp_path, monkeypatch) -> None:
    server, catalogue = shop
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 100))
    with pytest.raises(DataError, match=r"the disk must have room for 0.00 GB; 0.00 GB are free"):
        get_dataset("task", tmp_path / "d", catalogue=catalogue)
    assert server.requests == []


def test_the_list_the_facts_and_the_command(shop, tmp_path, capsys, monkeypatch) -> None:
    _, catalogue = shop
    assert main(["datasets"]) == 0
    assert "pansegdata-t2" in capsys.readouterr().out
    assert main(["datasets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tom500"]["licence"] == "CC0 1.0"
    assert main(["datasets", "show", "abdomenct-1k"]) == 0
    shown = capsys.readouterr().out
    assert "shares patients with: msd-pancreas" in shown
    assert "licence" not in shown
    assert main(["datasets", "show", "abdomenct"]) == 2
    assert "Did you mean 'abdomenct-1k'?" in capsys.readouterr().err
    monkeypatch.setenv("ACINUS_CATALOGUE", str(catalogue))
    assert main(["datasets", "get", "task", "--out", str(tmp_path / "d")]) == 0
    assert (tmp_path / "d/task/Task07_Pancreas.tar").is_file()


def tar_with(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w") as tar:
        good, bad = tarfile.TarInfo("good.txt"), tarfile.TarInfo(name)
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        bad.type, bad.linkname = kind, "/etc/passwd"
        tar.addfile(bad, io.BytesIO(b""))
    return path


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("../out.txt", tarfile.REGTYPE, "a name that leads out of the folder"),
        ("/etc/out.txt", tarfile.REGTYPE, "a name that leads out of the folder"),
        ("link", tarfile.SYMTYPE, "a link or device"),
        ("link", tarfile.LNKTYPE, "a link or device"),
        ("device", tarfile.CHRTYPE, "a link or device"),
    ],
)
def test_hostile_tars_leave_nothing(name, kind, found, tmp_path) -> None:
    archive = tar_with(tmp_path / "a.tar", name, kind)
    with pytest.raises(DataError, match=found):
        unpack(archive, tmp_path / "out" / "a", room_bytes=10**9)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"]
)
def test_hostile_zips_leave_nothing(name, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed_zip:
        packed_zip.writestr("good.txt", "good")
        packed_zip.writestr(name, "bad")
    with pytest.raises(DataError, match="a name that leads out of the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out" / "a", room_bytes=10**9)
    assert not (tmp_path / "out").exists()


def test_links_bombs_and_broken_archives_are_refused(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as packed_zip:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        packed_zip.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="'link' is a link"):
        unpack(tmp_path / "link.zip", tmp_path / "out", room_bytes=10**9)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed_zip:
        packed_zip.writestr("zeros", bytes(5_000_000))
    with pytest.raises(DataError, match=r"the disk must have room for 0.0 GB that it unpacks to"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out", room_bytes=4_000_000)
    whole = (tmp_path / "bomb.zip").read_bytes()
    (tmp_path / "bomb.zip").write_bytes(whole[:200])
    with pytest.raises(DataError, match="must be a zip or tar; it is neither"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out", room_bytes=10**9)
    damaged = bytearray(whole)
    damaged[60] ^= 255
    (tmp_path / "bomb.zip").write_bytes(damaged)
    with pytest.raises(DataError, match="must be a whole archive"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out", room_bytes=10**9)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "names", [("a", "a/b.txt"), ("x" * 300,)], ids=["below a file", "too long"]
)
def test_names_that_no_folder_holds_are_told(names, kind, tmp_path) -> None:
    path = tmp_path / f"odd.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "text")
    else:
        with tarfile.open(path, "w") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = 4
                archive.addfile(info, io.BytesIO(b"text"))
    with pytest.raises(
        DataError, match=rf"odd\.{kind}: must hold files that can lie in one folder"
    ):
        unpack(path, tmp_path / "out", room_bytes=10**6)
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]


def test_folders_of_windows_in_a_zip_are_folders(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "a\\b.txt"
        archive.writestr(info, "text")
    unpack(tmp_path / "w.zip", tmp_path / "out", room_bytes=10**6)
    assert (tmp_path / "out" / "a" / "b.txt").read_text() == "text"


def test_archives_without_an_ending_or_of_one_stem_are_all_unpacked(shop, tmp_path) -> None:
    server, catalogue = shop
    at = server.address
    text = catalogue.read_text()
    catalogue.write_text(
        text.replace("name: Task07_Pancreas.tar", "name: download")
        .replace("PDDCA-1.4.1_part1.zip", "heads.zip")
        .replace("PDDCA-1.4.1_part3.tar.gz", "heads.tar.gz")
    )
    assert at in text and "heads.zip" in catalogue.read_text()
    got = get_dataset("task", tmp_path / "d", convert=tmp_path / "D1", catalogue=catalogue)
    assert got.imported is not None and got.imported.n_cases == 2
    got = get_dataset("heads", tmp_path / "d", convert=tmp_path / "D2", catalogue=catalogue)
    assert got.imported is not None and got.imported.n_cases == 2


def test_patients_shared_with_a_dataset_of_another_catalogue_are_shown(
    shop, tmp_path, capsys
) -> None:
    _, catalogue = shop
    text = catalogue.read_text()
    catalogue.write_text(
        text.replace("importer: msd", "importer: msd\n  shares_patients_with: [x1]")
    )
    assert main(["datasets", "show", "task", "--catalogue", str(catalogue)]) == 0
    assert "shares patients with: x1" in capsys.readouterr().out


@pytest.mark.parametrize("is_known", [False, True])
def test_an_archive_that_was_damaged_on_the_way_is_fetched_anew(
    is_known: bool, shop, tmp_path
) -> None:
    """Where no checksum says that it is as published; where one does, it would come again so."""
    server, catalogue = shop
    good = server.contents["/pan"]
    damaged, middle = bytearray(good), len(good) // 2
    damaged[middle : middle + 64] = bytes(64)
    server.contents["/pan"] = bytes(damaged)
    if is_known:
        entries = yaml.safe_load(catalogue.read_text())
        entries["pan"]["files"][0]["sha256"] = hashlib.sha256(damaged).hexdigest()
        catalogue.write_text(yaml.safe_dump(entries))
    out = tmp_path / "d"
    with pytest.raises(DataError, match="must be a whole archive") as told:
        get_dataset("pan", out, convert=tmp_path / "D", catalogue=catalogue)
    assert ("start again to download it" in str(told.value)) is not is_known
    server.contents["/pan"] = good
    if is_known:
        with pytest.raises(DataError, match="must be a whole archive"):
            get_dataset("pan", out, convert=tmp_path / "D", catalogue=catalogue)
        return
    assert get_dataset("pan", out, convert=tmp_path / "D", catalogue=catalogue).imported
    assert len(list(out.rglob("*.wrong"))) == 1


def test_a_name_with_a_nul_is_told(tmp_path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"path": "a\0b.txt"}
        tar.addfile(info, io.BytesIO(b""))
    with pytest.raises(DataError, match=r"must hold files that can lie in one folder; 'a"):
        unpack(tmp_path / "a.tar", tmp_path / "out", room_bytes=10**6)
    assert not (tmp_path / "out").exists()
