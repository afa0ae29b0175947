"""A view of some channels: which files it has, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from acinus.cohort import open_dataset, select_channels
from acinus.errors import DataError
from acinus.predict.source import find_scans

NAMES = ("T1", "T2", "post")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of empty files; nothing here reads an image."""
    files = [f"imagesTr/a_{n:04d}.nii.gz" for n in range(3)]
    files += ["imagesTr/b_0001.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz"]
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    write_header(tmp_path, NAMES)
    return tmp_path


def write_header(folder: Path, names: tuple[str, ...]) -> None:
    channels = ", ".join(f'"{number}": "{name}"' for number, name in enumerate(names))
    (folder / "dataset.json").write_text(
        f'{{"channel_names": {{{channels}}}, "labels": {{"background": 0, "x": 1}}, '
        '"numTraining": 2, "file_ending": ".nii.gz", "allow_missing_channels": true}',
        encoding="utf-8",
    )


def test_a_view_has_the_files_of_its_channels_in_the_order_of_the_dataset(folder: Path) -> None:
    whole = open_dataset(folder)
    view = select_channels(whole, ["post", "T1"])
    assert (view.channel_names, view.channel_numbers) == (("T1", "post"), (0, 2))
    (case,) = view.cases  # b has neither
    assert [path.name for path in case.images if path] == ["a_0000.nii.gz", "a_0002.nii.gz"]
    assert case.label == whole.case("a").label
    assert view.fingerprint_hash() != whole.fingerprint_hash()
    assert select_channels(whole, ["post", "T2", "T1"]) is whole


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["T3"], "unknown channel 'T3'"),
        (["T1", "T1"], "each wanted channel once"),
        ([], "got none"),
    ],
)
def test_channels_that_cannot_be_chosen_are_refused(
    folder: Path, names: list[str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        select_channels(open_dataset(folder), names)


def test_two_channels_of_one_name_cannot_be_told_apart(folder: Path) -> None:
    write_header(folder, ("T1", "T1", "post"))
    whole = open_dataset(folder)
    with pytest.raises(DataError, match="2 are called 'T1'"):
        select_channels(whole, ["T1"])
    assert select_channels(whole, ["post"]).channel_numbers == (2,)


def test_a_model_of_some_channels_passes_over_the_others(folder: Path) -> None:
    scans = find_scans(folder / "imagesTr", {1: "T2", 2: "post"}, is_view=True)
    named = {scan.case: [path and Path(str(path)).name for path in scan.channels] for scan in scans}
    assert named == {"a": ["a_0001.nii.gz", "a_0002.nii.gz"], "b": ["b_0001.nii.gz", None]}


def test_the_first_channels_are_some_channels_too(folder: Path) -> None:
    images = folder / "imagesTr"
    scans = find_scans(images, {0: "T1"}, is_view=True)
    names = [path and Path(str(path)).name for scan in scans for path in scan.channels]
    assert names == ["a_0000.nii.gz", None], "b has no such channel"
    with pytest.raises(DataError, match="since the model has 1; got 0001"):
        find_scans(images, {0: "T1"})
    [one] = find_scans(images / "a_0000.nii.gz", {1: "T2"}, is_view=True)
    assert one.channels == (images / "a_0001.nii.gz",), "a file stands for its case"


def test_a_folder_without_a_needed_channel_names_the_files_that_are(folder: Path) -> None:
    with pytest.raises(DataError, match=r"CASE_0007.nii.gz \(T9\); no file is of such a channel"):
        find_scans(folder / "imagesTr", {7: "T9"}, is_view=True)
