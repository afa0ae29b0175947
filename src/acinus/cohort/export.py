"""Label maps to DICOM, on the series that they belong to.

Enters: a label map, what its values mean, a series. Leaves: a DICOM SEG or RTSTRUCT that a PACS
or a planning system takes. A structure whose side contradicts its place in the patient is
refused: a laterality code is believed by whoever reads it. Swapping it without a word was
rejected, since either the label or the geometry may be what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from acinus import progress
from acinus.cohort.labels_file import read_labels
from acinus.cohort.side_parts import placement_findings
from acinus.errors import ConfigError, DataError
from acinus.scans import (
    LabelledStructure,
    Origin,
    Series,
    Volume,
    canonical,
    choose_series,
    list_series,
    read_labelmap,
    read_named_segments,
    read_series,
    write_dicom_seg,
    write_rtstruct,
)
from acinus.scans.dicom_source import on_series
from acinus.scans.formats import SEGMENTS, suffix_of

DicomFormat = Literal["dicom-seg", "rtstruct"]

WRITERS: Mapping[DicomFormat, Callable[..., None]] = {
    "dicom-seg": write_dicom_seg,
    "rtstruct": write_rtstruct,
}


def export_labelmap(
    labelmap: Path | str,
    series_folder: Path | str,
    out: Path | str,
    *,
    labels: Path | str,
    format: DicomFormat = "dicom-seg",
    series: str | None = None,
    algorithm: str = "",
    manual: bool = False,
    allow_wrong_side: bool = False,
) -> None:
    """Write a label map of any program as DICOM on its source series.

    Args:
        labelmap: File of the label map; its voxels are those of the series, in any order of
            axes.
        series_folder: Folder with the DICOM images that were segmented.
        out: The file to write.
        labels: JSON file with ``labels`` as in ``dataset.json``; ``sides`` and ``mirror_pairs``
            are read where present, a side may also be told by a name.
        format: What to write.
        series: Which series of the folder: number in the list, UID or part of the description.
        algorithm: Name of the program that made it.
        manual: Whether a person drew it instead.
        allow_wrong_side: Write even if a structure lies on the other side than stated.

    Raises:
        ConfigError: The format is unknown, `out` is a folder or a file that is read, or nobody
            made the label map.
        DataError: A file is missing or says what cannot be, the label map has values that
            `labels` does not name, or a structure lies on the wrong side.
        GridError: The label map does not hold the voxels of the series.
    """
    if format not in WRITERS:
        raise ConfigError(f"format must be one of {', '.join(WRITERS)}; got '{format}'.")
    if bool(algorithm) == manual:
        raise ConfigError(
            "DICOM must tell who made a segmentation: either a program (--algorithm NAME) or a "
            f"person (--manual); got {'both' if manual else 'neither'}."
        )
    if Path(out).is_dir():
        raise ConfigError(f"{out}: must be the name of a file, such as result.dcm; got a folder.")
    named = read_labels(labels)
    structures = [
        LabelledStructure(name, values, named.side_of(name))
        for name, values in named.values.items()
    ]
    if suffix_of(labelmap) == SEGMENTS:  # whose numbers depend on the order of drawing
        volume = read_named_segments(labelmap, named.labels)
        if volume.meta["unnamed"]:
            raise DataError(
                f"{labelmap}: every segment must have a name in {labels}; "
                f"'{volume.meta['unnamed'][0]}' has none. Add it to 'labels', or rename it in "
                "Slicer."
            )
    else:
        volume = read_labelmap(labelmap)
    _refuse_unnamed(volume, structures, named.ignore_label, labelmap, labels)
    found = list_series(series_folder)
    chosen = choose_series(found, series)
    read = {Path(labelmap), Path(labels), *(path for one in found for path in one.paths)}
    if Path(out).resolve() in {path.resolve() for path in read}:
        raise ConfigError(
            f"{out}: must not replace what is read: an image of the series, the label map or its "
            "names. Choose another file."
        )
    export_volume(
        volume,
        chosen,
        out,
        structures=structures,
        mirror_pairs=named.mirror_pairs or tuple(named.pairs().values()),
        format=format,
        origin=Origin("", "", "MANUAL") if manual else Origin(algorithm, "version not stated"),
        allow_wrong_side=allow_wrong_side,
    )


def export_volume(
    labelmap: Volume,
    series: Series,
    out: Path | str,
    *,
    structures: Sequence[LabelledStructure],
    mirror_pairs: tuple[tuple[str, str], ...],
    format: DicomFormat,
    origin: Origin,
    image: Volume | None = None,
    allow_wrong_side: bool = False,
) -> None:
    """Write a label map as DICOM on its source series, if its sides are where they should be.

    Args:
        labelmap: Integers on the voxels of the series, in any order of axes.
        series: The images that were segmented.
        out: The file to write.
        structures: What the values mean.
        mirror_pairs: Labels that swap when left and right swap.
        format: What to write.
        origin: Who made it.
        image: The series as read; None: it is read where a side must be checked.
        allow_wrong_side: Write even if a structure lies on the other side than stated.

    Raises:
        DataError: A structure lies on the wrong side, or the series cannot carry a result.
        GridError: The label map does not hold the voxels of the series.
    """
    if not allow_wrong_side:
        _refuse_wrong_sides(labelmap, series, image, structures, mirror_pairs)
    WRITERS[format](labelmap, structures, series, out, origin=origin)


def _refuse_wrong_sides(
    labelmap: Volume,
    series: Series,
    image: Volume | None,
    structures: Sequence[LabelledStructure],
    mirror_pairs: tuple[tuple[str, str], ...],
) -> None:
    sides = {one.name: one.side for one in structures if one.side is not None}
    if not sides:
        return
    _refuse_contradictions(structures)
    scan = image or read_series(series)
    found = placement_findings(
        "",
        canonical(on_series(labelmap, scan.grid, series)),
        canonical(scan),
        {one.name: one.values for one in structures},
        sides,
        mirror_pairs,
    )
    for finding in found:
        if finding.severity == "error":
            raise DataError(
                f"every structure must lie on the side that its code tells; {finding.found}. "
                "Correct the labels or the orientation of the file, or write it all the same "
                "(--allow-wrong-side)."
            )
    for finding in found:
        progress.say(f"Warning: {finding.found}. {finding.remedy}")


def _refuse_contradictions(structures: Sequence[LabelledStructure]) -> None:
    """A region of one side must not unite structures of the other."""
    for region in structures:
        for one in structures:
            is_within = set(one.values) <= set(region.values)
            if is_within and None not in (one.side, region.side) and one.side != region.side:
                raise DataError(
                    f"every structure must lie on the side that its code tells; '{region.name}' is "
                    f"stated to be {region.side} and unites '{one.name}', which is {one.side}. "
                    "Correct 'sides', or write it all the same (--allow-wrong-side)."
                )


def _refuse_unnamed(
    volume: Volume,
    structures: Sequence[LabelledStructure],
    ignored: int | None,
    where: Path | str,
    labels: Path | str,
) -> None:
    named = {value for one in structures for value in one.values} | {0, ignored}
    unnamed = [int(value) for value in np.unique(volume.array) if int(value) not in named]
    if unnamed:
        raise DataError(
            f"{where}: every value must have a name in {labels}; {unnamed[0]} has none "
            f"({len(unnamed)} in all). Add it to 'labels'."
        )
