"""How a result is written: as a label map, or as DICOM on the series that was segmented.

Enters: label maps, whole or in pieces, and the scans that they belong to. Leaves: one file each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acinus.cohort.export import WRITERS, DicomFormat, export_volume
from acinus.errors import ConfigError, unknown_name
from acinus.plan import Plan
from acinus.predict.source import Scan
from acinus.scans import (
    KNOWN_SUFFIXES,
    LabelledStructure,
    Origin,
    Series,
    Volume,
    write_volume,
)
from acinus.scans.nifti import geometry_codes
from acinus.version import __version__

SYNTHETIC_WARNING = (
    "Warning: this model learned from synthetic images only. Its labels on real scans are "
    "unverified and must not be used for patients."
)

OutputFormat = Literal["nifti"] | DicomFormat
"""What is written; ``nifti`` stands for label maps of any known suffix."""

DICOM_SUFFIX = ".dcm"


@dataclass(frozen=True)
class Results:
    """In which form results are written.

    Attributes:
        format: Label maps, or DICOM SEG or RTSTRUCT.
        allow_wrong_side: Write DICOM even if a structure lies on the other side than its code
            tells.

    Raises:
        ConfigError: The format is unknown.
    """

    format: OutputFormat = "nifti"
    allow_wrong_side: bool = False

    def __post_init__(self) -> None:
        if self.format not in ("nifti", *WRITERS):
            raise ConfigError(unknown_name("format", self.format, ("nifti", *WRITERS)))

    @property
    def are_dicom(self) -> bool:
        """Whether they are written on a source series."""
        return self.format != "nifti"

    @property
    def suffix(self) -> str:
        """Of a file that is named after its case."""
        return DICOM_SUFFIX if self.are_dicom else ".nii.gz"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of a file that the user may name."""
        return (DICOM_SUFFIX,) if self.are_dicom else tuple(KNOWN_SUFFIXES)

    def refuse_other_input(self, scans: Sequence[Scan], source: Path) -> None:
        """DICOM is written on a source series, which a NIfTI file does not tell.

        Raises:
            ConfigError: A scan is no DICOM series.
        """
        if self.are_dicom and not all(isinstance(scan.channels[0], Series) for scan in scans):
            raise ConfigError(
                f"--format {self.format} writes on the DICOM series that is segmented; {source} "
                "holds other files. Give the DICOM folder, or write the label map on it with "
                "'acinus export'."
            )

    def write(
        self, labelmap: Volume, target: Path, *, scan: Scan, image: Volume | None, plan: Plan
    ) -> None:
        """Write a label map in the wanted form.

        Args:
            labelmap: (Z, Y, X) on the grid of the scan.
            target: The file.
            scan: What was segmented.
            image: Its first channel as read; None: read again where a side must be checked.
            plan: Of the model.

        Raises:
            DataError: A structure lies on the wrong side, or the file cannot be written.
        """
        series = scan.channels[0]
        if self.format == "nifti" or not isinstance(series, Series):
            meta = {} if image is None else geometry_codes(image.meta)
            write_volume(Volume(labelmap.array, labelmap.affine, meta), target)
            return
        dataset = plan.dataset
        export_volume(
            labelmap,
            series,
            target,
            structures=[
                LabelledStructure(
                    name, dataset.regions.get(name, (value,)), dataset.sides.get(name)
                )
                for name, value in dataset.labels.items()
            ],
            mirror_pairs=dataset.mirror_pairs,
            format=self.format,
            origin=_origin(plan),
            image=image,
            allow_wrong_side=self.allow_wrong_side,
        )


def _origin(plan: Plan) -> Origin:
    """Which model made the labels, for the header of a DICOM object."""
    return Origin(
        f"Acinus {plan.recipe} ({plan.dataset.name})",
        f"{__version__}, plan {plan.hash()[:12]}",
        warning=SYNTHETIC_WARNING.removeprefix("Warning: ") if plan.dataset.synthetic else "",
    )
