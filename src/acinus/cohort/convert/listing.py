"""What an export holds, series by series, under pseudonyms.

Enters: a folder or zip archive. Leaves: rows for a table and the same as JSON.
Ids of the headers are in neither, unless they are asked for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from acinus.cohort.convert.censor import Censor
from acinus.cohort.convert.choosing import placed_parts
from acinus.cohort.convert.export import ids_path
from acinus.cohort.convert.identities import Identities, disagreements, participant_of, study_of
from acinus.cohort.convert.mapping import MODALITIES, read_mapping
from acinus.scans import (
    Series,
    list_export,
    mixed_values,
    oblique_degrees,
    require_series,
    tilt_degrees,
)
from acinus.scans.stack import Fault
from acinus.types import Spacing


@dataclass(frozen=True)
class ListedSeries:
    """One series of an export.

    Attributes:
        number: From 1, in the order of the list.
        case: Pseudonym of the person, with the number of the study.
        study: StudyDescription, without what identifies a person.
        description: SeriesDescription likewise, and in brackets what tells apart
            the parts of a divided series.
        modality: e.g. ``"CT"``.
        kind: Original, derived, localizer or secondary capture.
        orientation: Axial, sagittal or coronal, whichever is closest.
        oblique_degrees: Angle of the slices to that plane.
        n_slices: Number of slices.
        spacing_mm: (Z, Y, X).
        matrix: Rows and columns.
        faults: What must be known before it is converted.
        structures: Names in RTSTRUCT and SEG objects that refer to it.
        headers: Ids of the headers, where they were asked for.
    """

    number: int
    case: str
    study: str
    description: str
    modality: str
    kind: str
    orientation: str
    oblique_degrees: float
    n_slices: int
    spacing_mm: Spacing
    matrix: tuple[int, int]
    faults: tuple[str, ...]
    structures: tuple[str, ...]
    headers: dict[str, str] | None = None


@dataclass(frozen=True)
class ExportListing:
    """What an export holds.

    Attributes:
        series: Every series.
        skipped: Reason to number of files that are no slices.
        faulty: Reason to number of files, of those that could not be read.
        unmatched: Segmentation objects that refer to no series of the export.
    """

    series: tuple[ListedSeries, ...]
    skipped: dict[str, int]
    faulty: dict[str, int]
    unmatched: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same in types of JSON."""
        return asdict(self)


def list_scans(
    source: Path | str,
    dataset: Path | str | None = None,
    *,
    mapping: Path | str | None = None,
    ids: Path | str | None = None,
    identities: bool = False,
    jobs: int = 1,
) -> ExportListing:
    """What a folder or archive holds; nothing is written.

    Args:
        source: Folder or zip archive, of any depth and order.
        dataset: The dataset to be made; pseudonyms that it has already are used. Without it and
            `ids` they are those of a new dataset.
        mapping: YAML file with the rules, for the prefix of pseudonyms.
        ids: Table of ids of an earlier conversion.
        identities: Also list PatientID, StudyInstanceUID and SeriesInstanceUID.
        jobs: Processes that read headers side by side.

    Raises:
        DataError: There is no such folder, or it holds no series.
    """
    source = Path(source)
    export = list_export(source, jobs=jobs)
    series = require_series(export, source)
    prefix = read_mapping(mapping).prefix
    if dataset is None and ids is None:
        known = Identities(Path(), prefix)  # a table that lies here by chance is another export's
    else:
        known = Identities.read(ids_path(Path(dataset or ""), ids), prefix)
    case_of = known.assign(series)
    doubts = disagreements(series, case_of)
    censor = Censor(export, source)
    series = tuple(sorted(series, key=lambda one: case_of[study_of(one)]))
    names: dict[int, list[str]] = {}
    unmatched = []
    parts = [part for whole in export.segmentations for part in placed_parts(whole, series)]
    for one, found in parts:
        if not found:
            unmatched.append(censor(f"{one.kind} '{one.label}': {', '.join(one.names)}"))
        for fitting in found:
            names.setdefault(id(fitting), []).extend(one.names)
    listed = tuple(
        ListedSeries(
            number=number,
            case=case_of[study_of(one)],
            study=censor(one.tags.get("StudyDescription", "").strip()),
            description=censor(one.description),
            modality=one.modality,
            kind=one.kind,
            orientation=one.plane,
            oblique_degrees=round(oblique_degrees(one.slices[0].normal), 1),
            n_slices=one.n_slices,
            spacing_mm=tuple(round(value, 4) for value in one.spacing_mm),  # type: ignore[arg-type]
            matrix=(one.slices[0].n_rows, one.slices[0].n_columns),
            faults=tuple(
                censor(text)
                for text in _faults(one, doubts.get(participant_of(case_of[study_of(one)])))
            ),
            structures=tuple(censor(name) for name in names.get(id(one), ())),
            headers=_headers(one) if identities else None,
        )
        for number, one in enumerate(series, start=1)
    )
    skipped = Counter(censor(one.reason) for one in export.skipped if not one.is_fault)
    faulty = Counter(censor(one.reason) for one in export.skipped if one.is_fault)
    return ExportListing(listed, dict(skipped), dict(faulty), tuple(unmatched))


def _faults(one: Series, doubt: str | None) -> list[str]:
    faults = [fault.found + _repair_of(fault) for fault in one.faults] + mixed_values(one)
    tilt = tilt_degrees(one.slices)
    if tilt:
        faults.append(f"gantry tilt of {tilt:.3g} degrees, resampled when converted")
    if one.modality not in MODALITIES:
        faults.append(f"modality '{one.modality}' is not known to be a volume of a body")
    return [*faults, doubt] if doubt else faults


def _repair_of(fault: Fault) -> str:
    """What --repair does about a fault, as the end of a sentence."""
    if fault.code == "repeated":
        return "; --repair leaves one out if their pixels are the same"
    return "; --repair would mend it" if fault.is_repairable else ""


def _headers(one: Series) -> dict[str, str]:
    return {
        "patient_id": one.patient_id,
        "study_uid": one.study_uid,
        "series_uid": one.uid,
    }
