"""``acinus export``: a label map as DICOM on its source series."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import acinus
from acinus.cli.options import Series


def export(
    labelmap: Path,
    series_folder: Annotated[Path, Parameter(name="SERIES")],
    out: Annotated[Path, Parameter(name="OUTPUT")],
    /,
    *,
    labels: Path,
    format: Literal["dicom-seg", "rtstruct"] = "dicom-seg",
    series: Series = None,
    algorithm: str = "",
    manual: bool = False,
    allow_wrong_side: bool = False,
) -> int:
    """Write a label map, of any program or person, as DICOM on the series that was segmented.

    ```console
    acinus export labels.nii.gz dicom-folder seg.dcm --labels dataset.json --algorithm nnU-Net
    acinus export drawn.nii.gz dicom-folder rt.dcm --labels dataset.json --manual --format rtstruct
    ```

    Args:
        labelmap: File of the label map; it must hold the voxels of the series.
        series_folder: Folder with the DICOM images.
        out: The file to write.
        labels: JSON file with 'labels' that map names to values, as in dataset.json.
        format: DICOM segmentation object, or structure set for radiotherapy.
        series: Which DICOM series.
        algorithm: Name of the program that made the label map.
        manual: A person drew it.
        allow_wrong_side: Write even if a structure lies on the other side of the patient than
            its code tells.
    """
    acinus.export_labelmap(
        labelmap,
        series_folder,
        out,
        labels=labels,
        format=format,
        series=series,
        algorithm=algorithm,
        manual=manual,
        allow_wrong_side=allow_wrong_side,
    )
    sys.stdout.write(f"{out}\n")
    return 0
