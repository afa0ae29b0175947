"""One case of an export: read, checked, written; nothing of it is left half-way.

Enters: the series and segmentations chosen for it. Leaves: one image a channel,
one label map, and last of all its record, which makes the case count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acinus.cohort.convert.choosing import Choice
from acinus.cohort.convert.identities import age_years, sex_of
from acinus.cohort.convert.labelling import draw_labels
from acinus.cohort.convert.mapping import ExportMapping
from acinus.cohort.layout import IMAGES, LABELS
from acinus.cohort.side_parts import placement_findings
from acinus.errors import AcinusError, DataError
from acinus.files import hash_data, hash_file, read_json, write_json
from acinus.scans import (
    Series,
    Volume,
    canonical,
    mixed_values,
    read_series,
    resample_onto,
    write_volume,
)
from acinus.scans.hounsfield import HU_RANGE, wrong_rescale

ENDING = ".nii.gz"

RECORDS = "convert"
"""Folder of a converted dataset with one record a case."""

FORMAT = 1


@dataclass(frozen=True)
class CaseTask:
    """What a worker needs for one case.

    Attributes:
        choice: What becomes the case.
        mapping: What is wanted.
        dataset: Folder to write to.
        repair: Whether faulty stacks are repaired.
    """

    choice: Choice
    mapping: ExportMapping
    dataset: Path
    repair: bool

    @property
    def record(self) -> Path:
        """The file that makes the case count."""
        return record_path(self.dataset, self.choice.case_id)

    @property
    def stamp(self) -> str:
        """Hash of everything that the case is made from, as 64 hexadecimal digits."""
        wanted = self.mapping.model_dump(mode="json", exclude={"name", "description", "exclude"})
        images = [
            None
            if one is None
            else [
                (item.tags.get("SOPInstanceUID", str(item.path)), item.frame) for item in one.slices
            ]
            for one in self.choice.channels
        ]
        # By identity, not by file: corrected contours come under a new one, often in the old file.
        objects = [
            [one.uid or str(one.path), one.label, *one.names]
            for _, one in self.choice.segmentations
        ]
        return hash_data([FORMAT, wanted, images, objects, self.repair])

    def is_done(self) -> bool:
        """Whether the case was written before, from the same things, and is still there."""
        if not self.record.is_file():
            return False
        record = read_json(self.record)
        return record.get("stamp") == self.stamp and all(
            path.is_file() for path in self._files(record)
        )

    def _files(self, record: dict[str, Any]) -> Iterator[Path]:
        """The files that a record speaks of."""
        for number, name in enumerate(self.mapping.channels):
            if name in record["channels"]:
                yield image_path(self.dataset, self.choice.case_id, number)
        if record["labels"]:
            yield label_path(self.dataset, self.choice.case_id)


def record_path(dataset: Path, case_id: str) -> Path:
    """Where the record of a case lies."""
    return dataset / RECORDS / f"{case_id}.json"


def image_path(dataset: Path, case_id: str, channel: int) -> Path:
    """Where the image of a channel lies; channels are numbered from 0."""
    return dataset / IMAGES / f"{case_id}_{channel:04d}{ENDING}"


def label_path(dataset: Path, case_id: str) -> Path:
    """Where the label map of a case lies."""
    return dataset / LABELS / f"{case_id}{ENDING}"


def convert_case(task: CaseTask) -> dict[str, Any] | str:
    """Write a case; its record, or the reason why it cannot be written."""
    case = task.choice.case_id
    if is_corrected(task.dataset, case):
        return (
            f"{label_path(task.dataset, case)} was changed by hand since it was converted, and "
            "would be replaced. Move it to another place and start the same command again."
        )
    remove_case(task.dataset, case)
    will_draw = bool(task.mapping.labels and task.choice.segmentations)
    begun = {
        "format": FORMAT,
        "stamp": None,
        "case": case,
        "labels": {"begun": 0} if will_draw else {},
    }
    write_json(task.record, begun)  # so that a kill leaves nothing that cannot be told apart
    try:
        return _convert(task)
    except AcinusError as error:
        remove_case(task.dataset, case)
        return str(error)
    except MemoryError:
        remove_case(task.dataset, case)
        return "the memory of this machine must hold the series and does not. Use --jobs 1."


def remove_case(dataset: Path, case_id: str) -> None:
    """Remove the images of a case, its record, and its label map if the record tells of one.

    A label map that somebody drew by hand for images without labels stays.

    Args:
        dataset: The folder.
        case_id: The case.
    """
    record = record_path(dataset, case_id)
    for image in (dataset / IMAGES).glob(f"{case_id}_[0-9][0-9][0-9][0-9]{ENDING}"):
        image.unlink()
    if record.is_file() and read_json(record).get("labels"):
        label_path(dataset, case_id).unlink(missing_ok=True)
    record.unlink(missing_ok=True)


def is_corrected(dataset: Path, case_id: str) -> bool:
    """Whether the label map of a converted case is another than the conversion wrote."""
    record, label = record_path(dataset, case_id), label_path(dataset, case_id)
    if not (record.is_file() and label.is_file()):
        return False
    known = read_json(record).get("label_sha256")
    return known is not None and known != hash_file(label)


def _convert(task: CaseTask) -> dict[str, Any]:
    choice, mapping = task.choice, task.mapping
    tags = choice.first.tags
    notes: list[str] = []
    channels: dict[str, Any] = {}
    first: Volume | None = None
    written: dict[int, Volume] = {}
    for number, (name, series) in enumerate(zip(mapping.channels, choice.channels, strict=True)):
        if series is None:
            continue
        image = _read(series, task)
        if mapping.channels[name].check_hu:
            _refuse_no_hounsfield(image, series)
        notes += [
            f"channel '{name}': {note}" for note in (*mixed_values(series), *image.meta["notes"])
        ]
        written[id(series)] = image
        if first is None:
            first = image
        elif not image.grid.matches(first.grid):
            image = _aligned(image, first, name, mapping)
            notes.append(f"channel '{name}': resampled onto the grid of the first channel")
        if series.tags.get("FrameOfReferenceUID") != tags.get("FrameOfReferenceUID"):
            notes.append(
                f"channel '{name}': in another frame of reference, as if the patient had been "
                "moved in between; look whether it fits"
            )
        write_volume(
            Volume(image.array, image.affine),
            image_path(task.dataset, choice.case_id, number),
        )
        channels[name] = _described(series)
    record: dict[str, Any] = {
        "format": FORMAT,
        "stamp": task.stamp,
        "case": choice.case_id,
        "age": age_years(tags),
        "sex": sex_of(tags),
        "synthetic": tags.get("SyntheticData", "").strip() == "YES",
        "channels": channels,
    }
    if first is not None:
        record |= _label(task, first, written, notes)
    record["notes"] = notes
    return record


def _label(
    task: CaseTask, image: Volume, written: Mapping[int, Volume], notes: list[str]
) -> dict[str, Any]:
    """Write the label map; what the record says of it."""
    choice, mapping = task.choice, task.mapping
    if not (mapping.labels and choice.segmentations):
        if mapping.labels:
            notes.append("no RTSTRUCT or SEG with a known structure refers to it: no label map")
        return {"labels": {}}
    drawn = draw_labels(choice.segmentations, mapping, image, written)
    notes += drawn.notes
    if not drawn.n_voxels:
        notes.append("nothing is drawn in any structure: no label map")
        return {"labels": {}}
    labelmap = drawn.labelmap
    values = {name: (mapping.values[name],) for name in drawn.n_voxels}
    findings = placement_findings(
        choice.case_id,
        canonical(labelmap),
        canonical(image),
        values,
        drawn.sides,
        tuple(pair for pair in mapping.mirror_pairs if set(pair) <= set(drawn.n_voxels)),
        drawn.coded,
    )
    for finding in findings:
        if finding.severity == "error":
            raise DataError(f"{finding.found}. {finding.remedy}")
        notes.append(finding.found)
    target = label_path(task.dataset, choice.case_id)
    write_volume(Volume(labelmap.array, labelmap.affine), target)
    lost = {"lost": list(drawn.lost)} if drawn.lost else {}
    return {"labels": drawn.n_voxels, "label_sha256": hash_file(target), **lost}


def finish_case(task: CaseTask, record: dict[str, Any]) -> None:
    """Make a written case count."""
    write_json(task.record, record)


def _read(series: Series, task: CaseTask) -> Volume:
    try:
        return read_series(series, repair=task.repair, orthogonal=True)
    except DataError as error:
        may_mend = [fault.is_repairable or fault.code == "repeated" for fault in series.faults]
        if task.repair or not may_mend or not all(may_mend):
            raise
        is_sure = all(fault.is_repairable for fault in series.faults)
        if_alike = "" if is_sure else ", if images at one position have the same pixels"
        raise DataError(f"{error} Or let --repair mend it{if_alike}.") from error


def _aligned(image: Volume, first: Volume, name: str, mapping: ExportMapping) -> Volume:
    if not mapping.align:
        apart = first.grid.displacement_mm(image.grid)
        found = (
            f"shapes {first.shape} and {image.shape}"
            if np.isinf(apart)
            else f"{apart:.3g} mm apart"
        )
        raise DataError(
            f"channels must share one grid; '{name}' and the first differ, {found}. Set "
            "'align: true' in the mapping to resample onto the grid of the first."
        )
    return resample_onto(image, first.grid, order=1, fill=float(image.array.min()))


def _refuse_no_hounsfield(image: Volume, series: Series) -> None:
    """Refuse a CT whose values show that rescale slope and intercept are lost or wrong."""
    if series.modality.upper() != "CT":
        return
    lost = [item.name for item in series.slices if not item.is_rescaled]
    if 0 < len(lost) < series.n_slices:
        raise DataError(
            f"series '{series.description}': every slice of a CT must state RescaleSlope and "
            f"RescaleIntercept if one does; {len(lost)} of {series.n_slices} do not, first "
            f"{lost[0]}. Export it again, or set 'check_hu: false' for its channel."
        )
    low, high = float(image.array.min()), float(image.array.max())
    cause = wrong_rescale(image.array)
    if not cause and HU_RANGE[0] <= low and high <= HU_RANGE[1]:
        return
    raise DataError(
        f"series '{series.description}': a CT must hold Hounsfield units, air near -1000, soft "
        f"tissue near 0 and all within {HU_RANGE[0]:g} to {HU_RANGE[1]:g}; found {low:g} to "
        f"{high:g} ({cause or 'rescale wrong'}). Export it again, or set 'check_hu: false' for its "
        "channel."
    )


def _described(series: Series) -> dict[str, Any]:
    return {
        "description": series.description,
        "modality": series.modality,
        "orientation": series.plane,
        "n_slices": series.n_slices,
        "spacing_mm": [round(value, 4) for value in series.spacing_mm],
    }
