"""What a user may point at: a file, a folder of files, an images folder, a DICOM folder.

Enters: a path. Leaves: scans to segment, each with its name and its channels.
Guessing among several DICOM series was rejected: they are listed, and one is
chosen by the user.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

from acinus.errors import ConfigError, DataError
from acinus.scans import (
    KNOWN_SUFFIXES,
    Grid,
    Series,
    Volume,
    choose_series,
    list_series,
    read_grid,
    read_series,
    read_volume,
    stack_grid,
    strip_suffix,
)

ALL_SERIES = "all"
"""Instead of one DICOM series: every series of the folder, each a scan of its own."""

CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})$")
"""nnU-Net's file names: case, underscore, four digits of the channel."""


@dataclass(frozen=True)
class Scan:
    """One case to segment.

    Attributes:
        case: Name of the label map that will be written.
        channels: One source a channel: a file, a DICOM series, or None if it is missing.
        left_out: Names of the channels that are not read on purpose, whether they are there or not.
    """

    case: str
    channels: tuple[Path | Series | None, ...]
    left_out: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Its files, or the description of its series, for messages; its name without any."""
        sources = [
            str(channel) if isinstance(channel, Path) else f"series '{channel.description}'"
            for channel in self.channels
            if channel is not None
        ]
        return ", ".join(sources) or f"case '{self.case}'"

    def without(self, left_out: Collection[str], names: Sequence[str]) -> Scan:
        """The same case as if it lacked some channels.

        Args:
            left_out: Their names.
            names: Of all channels.
        """
        kept = tuple(
            None if name in left_out else channel
            for name, channel in zip(names, self.channels, strict=True)
        )
        return replace(self, channels=kept, left_out=tuple(left_out))

    def grid(self) -> Grid:
        """Where its voxels lie, by the header of its first channel alone."""
        first = next(channel for channel in self.channels if channel is not None)
        if isinstance(first, Series):
            return stack_grid(first.slices, first.description, first.skipped)
        return read_grid(first)

    def read(self) -> list[Volume | None]:
        """The volumes of all channels."""
        return [
            None
            if channel is None
            else (read_series(channel) if isinstance(channel, Series) else read_volume(channel))
            for channel in self.channels
        ]


def find_scans(
    source: Path,
    channels: Mapping[int, str],
    series: str | None = None,
    *,
    is_view: bool = False,
) -> list[Scan]:
    """The scans that a path stands for.

    Args:
        source: File, folder of files, nnU-Net images folder, or DICOM folder. For a model of
            several channels a file ``CASE_0000`` stands for its case, with the channels beside it.
        channels: That the model needs: number in the names of the files, to name. A model of
            some channels of a dataset passes over the files of the others.
        series: Which DICOM series: number in the list, UID or part of the description; `ALL_SERIES`
            for each of them.
        is_view: Whether the model knows some channels of its dataset only.

    Raises:
        DataError: Nothing readable is there, or several series and none chosen.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder.")
    if source.is_file():
        _refuse_series(source, series)
        if (is_view or len(channels) > 1) and CHANNEL.match(strip_suffix(source)):
            return _from_images_folder(source.parent, _files_of_case(source), channels, is_view)
        _one_channel(source, channels)
        return [Scan(_case_name(source), (source,))]
    files = _files_in(source)
    if not files:
        return _from_dicom(source, channels, series)
    _refuse_series(source, series)
    numbered = [CHANNEL.match(strip_suffix(path)) for path in files]
    if all(numbered):
        return _from_images_folder(source, files, channels, is_view)
    _one_channel(source, channels)
    scans = [Scan(_case_name(path), (path,)) for path in files]
    _refuse_twins(source, scans)
    return scans


def holds_dicom(source: Path) -> bool:
    """Whether a path is a folder that is read as DICOM, since it holds no files of other scans."""
    return source.is_dir() and not _files_in(source)


def _files_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.lower().endswith(tuple(KNOWN_SUFFIXES))
    )


def _files_of_case(source: Path) -> list[Path]:
    """All channels of the case that a numbered file belongs to: one file stands for its case."""
    case = _case_name(source)
    return [
        path
        for path in _files_in(source.parent)
        if (match := CHANNEL.match(strip_suffix(path))) and match["case"] == case
    ]


def _refuse_series(source: Path, series: str | None) -> None:
    if series is not None:
        raise ConfigError(
            f"--series chooses among the DICOM series of a folder; {source} holds other files, "
            f"got '{series}'. Leave it out."
        )


def _refuse_twins(source: Path, scans: list[Scan]) -> None:
    """Two scans whose label maps would have one name: the second would replace the first."""
    sources: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        sources[scan.case] += [part.name for part in scan.channels if isinstance(part, Path)]
    for case, names in sources.items():
        if len(names) > 1:
            raise DataError(
                f"{source}: scans must differ in more than their suffix or channel number; "
                f"{' and '.join(names)} would both be written as {case}. Rename one of them."
            )


def _from_dicom(folder: Path, channels: Mapping[int, str], series: str | None) -> list[Scan]:
    if not any(folder.iterdir()):
        raise DataError(
            f"{folder}: must hold scans ({', '.join(sorted(KNOWN_SUFFIXES))}) or DICOM images; "
            "it is empty."
        )
    found = list_series(folder)
    _one_channel(folder, channels)
    chosen = found if series == ALL_SERIES else [choose_series(found, series)]
    scans: list[Scan] = []
    taken: set[str] = set()
    for one in chosen:
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", one.description).strip("_") or "series"
        numbered = (f"{name}_{number}" for number in count(2))
        free = next(
            some for some in (name, *islice(numbered, len(chosen))) if _key(some) not in taken
        )
        taken.add(_key(free))
        scans.append(Scan(free, (one,)))
    return scans


def _key(name: str) -> str:
    """By which some file systems tell names apart."""
    return name.casefold()


def _from_images_folder(
    folder: Path, files: list[Path], channels: Mapping[int, str], is_view: bool
) -> list[Scan]:
    cases: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in files:
        match = CHANNEL.match(strip_suffix(path))
        if match is None:
            continue
        found, number = cases[match["case"]], int(match["channel"])
        if number not in channels and not is_view:
            raise DataError(
                f"{path}: channels must be numbered 0000 to {len(channels) - 1:04d}, since the "
                f"model has {len(channels)}; got {match['channel']}. Take the file away, or choose "
                "the model of these channels."
            )
        if number in found:
            raise DataError(
                f"{folder}: each channel of a case must be there once; got {found[number].name} "
                f"and {path.name}. Remove one of them."
            )
        found[number] = path
    if not any(number in found for found in cases.values() for number in channels):
        raise DataError(
            f"{folder}: the model needs {_named(channels)}; no file is of such a channel. Number "
            "the files as in the dataset that it was trained on, or choose the model of these "
            "channels."
        )
    return [
        Scan(case, tuple(found.get(number) for number in channels))
        for case, found in sorted(cases.items())
    ]


def _one_channel(source: Path, channels: Mapping[int, str]) -> None:
    if len(channels) != 1:
        raise DataError(
            f"{source}: the model needs {len(channels)} channels a case. Give a folder with "
            f"{_named(channels)}."
        )


def _named(channels: Mapping[int, str]) -> str:
    """The files of the channels, for messages."""
    return ", ".join(f"CASE_{number:04d}.nii.gz ({name})" for number, name in channels.items())


def _case_name(path: Path) -> str:
    stem = strip_suffix(path)
    match = CHANNEL.match(stem)
    return match["case"] if match else stem
