"""``acinus predict``: segment new scans with a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import acinus
from acinus.cli.options import Series
from acinus.cli.outcome import ALL_FAILED, SOME_FAILED
from acinus.errors import ConfigError
from acinus.progress import plural


def predict(
    model: Path,
    source: Annotated[Path, Parameter(name="INPUT")],
    out: Annotated[Path, Parameter(name="OUTPUT")],
    /,
    *,
    series: Series = None,
    overlay: bool = False,
    postprocess: Literal["plan", "none", "largest_component"] = "plan",
    folds: Annotated[tuple[int, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    mirroring: Annotated[
        bool | None, Parameter(negative="--no-mirroring", show_default=False)
    ] = None,
    memory: str | None = None,
    format: Literal["nifti", "dicom-seg", "rtstruct"] = "nifti",
    allow_wrong_side: bool = False,
    locator_mask: Path | None = None,
    without: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    relabel_sides: bool = False,
) -> int:
    """Segment a file, a folder of files, an nnU-Net images folder or a DICOM folder.

    Label maps are written on the grid of the input, with predictions.csv beside them. A case
    that fails does not stop the others.

    ```console
    acinus predict runs/glands/model scan.nii.gz labels --overlay
    acinus predict runs/glands/model dicom-folder labels --series "AX T1"
    acinus predict runs/glands/model dicom-folder result.dcm --format dicom-seg
    acinus predict runs/glands/model imagesTs labels --without T2
    ```

    Args:
        model: Model folder, e.g. RUN/model, or that of an ensemble.
        source: What to segment.
        out: Folder of the label maps, or the file of a single one.
        series: Which DICOM series: its number, UID or part of its description; all: each of them.
        overlay: Also write a PNG per case with the contours drawn on its slices.
        postprocess: What is done after the network: as the plan decided, nothing, or only the
            largest component of each label is kept.
        folds: Use only the networks of these folds, such as --folds 1 3, counted from 1 as in the
            report: fold 1 lies in fold_0 of the model folder. Default: the mean of all.
        device: Where the networks work; auto: a GPU if this machine has one.
        precision: Of matrix products; auto: bfloat16 where the device has it fast, unless the
            model was trained in float32.
        mirroring: Average over mirrored images, along the axes that training allowed; this takes
            two to eight times as long. Default: as the plan decided.
        memory: Most memory that the command may take, such as 4GB. A scan that needs more goes in
            overlapping parts; what does not fit even so is refused beforehand, with what it would
            need. Default: what this machine has free.
        format: Label maps, or DICOM on the series that was segmented, for a PACS or a planning
            system.
        allow_wrong_side: Write DICOM even if a structure lies on the other side of the patient
            than its code tells.
        locator_mask: Mask of the scan that another program made, such as a skull; a model with a
            locate stage then segments in the box around it, and not where it finds its places.
        without: Channels, by name, that are left out of every case as if their files were not
            there, such as --without T2 FLAIR; for a model that was trained with channel dropout.
        relabel_sides: Give parts of a structure that lie on the wrong side of the patient the name
            of its partner, such as lacrimal_left for lacrimal_right. They are reported either way.
    """
    outcome = acinus.predict_paths(
        model,
        source,
        out,
        series=series,
        overlay=overlay,
        postprocess=postprocess,
        folds=_from_zero(folds),
        device=device,
        precision=precision,
        mirroring=mirroring,
        memory=memory,
        format=format,
        allow_wrong_side=allow_wrong_side,
        locator_mask=locator_mask,
        without=without,
        relabel_sides=relabel_sides,
    )
    for case, reason in outcome.failed.items():
        sys.stderr.write(f"failed: {case}: {reason}\n")
    n_written = len(outcome.written)
    kind = "label map" if format == "nifti" else "DICOM object"
    sys.stdout.write(f"{n_written} {plural(kind, n_written)} in {out}; {outcome.table}\n")
    if outcome.missing:
        sys.stdout.write(f"Segmented without a channel: {outcome.missing_words}\n")
    if not outcome.failed:
        return 0
    return SOME_FAILED if outcome.written else ALL_FAILED


def _from_zero(folds: tuple[int, ...]) -> tuple[int, ...] | None:
    """Folds as the model folder numbers them; None: all."""
    for fold in folds:
        if fold < 1:
            raise ConfigError(f"--folds must be counted from 1, as in the report; got {fold}.")
    return tuple(fold - 1 for fold in folds) or None
