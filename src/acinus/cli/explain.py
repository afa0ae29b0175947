"""``acinus explain``: where the network looked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import acinus
from acinus.cli.options import Series


def explain(
    model: Path,
    image: Path,
    /,
    *,
    label: str | None = None,
    slice_index: Annotated[int | None, Parameter(name="--slice")] = None,
    out: Path = Path("explanation"),
    series: Series = None,
) -> int:
    """Draw Grad-CAM at all depths of the network for one slice of an image.

    ```console
    acinus explain runs/glands/model scan.nii.gz --label lacrimal_right --out explanation
    ```

    Args:
        model: Model folder, e.g. RUN/model.
        image: The image, a file or DICOM folder.
        label: Label by name; default: the one with the largest prediction.
        slice_index: Slice, counted from 0 along the axis the network was trained across;
            default: the one with most of the label in the prediction.
        out: Folder of the figure.
        series: Which DICOM series.
    """
    path = acinus.explain_image(
        model, image, label=label, slice_index=slice_index, out=out, series=series
    )
    sys.stdout.write(f"Figure: {path}\n")
    return 0
