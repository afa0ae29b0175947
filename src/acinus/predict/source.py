"""What a user may point at: a file, a folder of files, an images folder, a DICOM folder.

Enters: a path. Leaves: scans to segment, each with its name and its channels.
Guessing among several DICOM series was rejected: they are listed, and one is
chosen by the user.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from acinus.errors import DataError
from acinus.scans import (
    KNOWN_SUFFIXES,
    Series,
    Volume,
    choose_series,
    list_series,
    read_series,
    read_volume,
    strip_suffix,
)

CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
"""nnU-Net's file names: case, underscore, four digits of the channel."""


@dataclass(frozen=True)
class Scan:
    """One case to segment.

    Attributes:
        case: Name of the label map that will be written.
        channels: One source a channel: a file, a DICOM series, or None if it is missing.
    """

    case: str
    channels: tuple[Path | Series | None, ...]

    def read(self) -> list[Volume | None]:
        """The volumes of all channels."""
        return [
            None
            if channel is None
            else (read_series(channel) if isinstance(channel, Series) else read_volume(channel))
            for channel in self.channels
        ]


def find_scans(source: Path, n_channels: int, series: str | None = None) -> list[Scan]:
    """The scans that a path stands for.

    Args:
        source: File, folder of files, nnU-Net images folder, or DICOM folder.
        n_channels: Channels that the model needs.
        series: Which DICOM series: number in the list, UID or part of the description.

    Raises:
        DataError: Nothing readable is there, or several series and none chosen.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder.")
    if source.is_file():
        _one_channel(source, n_channels)
        return [Scan(_case_name(source), (source,))]
    files = sorted(
        path
        for path in source.iterdir()
        if path.is_file() and path.name.lower().endswith(tuple(KNOWN_SUFFIXES))
    )
    if not files:
        return [_from_dicom(source, n_channels, series)]
    numbered = [CHANNEL.match(strip_suffix(path)) for path in files]
    if all(numbered):
        return _from_images_folder(files, n_channels)
    _one_channel(source, n_channels)
    return [Scan(_case_name(path), (path,)) for path in files]


def _from_dicom(folder: Path, n_channels: int, series: str | None) -> Scan:
    found = list_series(folder)
    if not found:
        raise DataError(
            f"{folder}: must hold scans ({', '.join(sorted(KNOWN_SUFFIXES))}) or DICOM images; "
            "found neither."
        )
    _one_channel(folder, n_channels)
    chosen = choose_series(found, series)
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", chosen.description).strip("_") or "series"
    return Scan(name, (chosen,))


def _from_images_folder(files: list[Path], n_channels: int) -> list[Scan]:
    cases: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in files:
        match = CHANNEL.match(strip_suffix(path))
        if match is not None:
            cases[match["case"]][int(match["channel"])] = path
    return [
        Scan(case, tuple(channels.get(index) for index in range(max(n_channels, 1))))
        for case, channels in sorted(cases.items())
    ]


def _one_channel(source: Path, n_channels: int) -> None:
    if n_channels != 1:
        raise DataError(
            f"{source}: the model needs {n_channels} channels a case. Give a folder with files "
            "named CASE_0000.nii.gz, CASE_0001.nii.gz and so on."
        )


def _case_name(path: Path) -> str:
    stem = strip_suffix(path)
    match = CHANNEL.match(stem)
    return match["case"] if match else stem
