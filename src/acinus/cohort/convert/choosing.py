"""Which series and segmentations of a study become a case.

Enters: an export and a mapping. Leaves: tasks, and for every study that cannot
become one the reason with its candidates. Nothing is chosen silently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from acinus.cohort.convert.identities import study_of
from acinus.cohort.convert.mapping import MODALITIES, ExportMapping
from acinus.errors import DataError
from acinus.scans import Export, Series, StoredSegmentation, describe_series
from acinus.scans.references import Image
from acinus.scans.slices import Slice
from acinus.scans.stack import SAME_POSITION_MM


@dataclass(frozen=True)
class Choice:
    """What becomes one case.

    Attributes:
        case_id: The case.
        channels: One series per channel; None where it is missing.
        segmentations: Objects that name a label, each with the channel that it was drawn on.
    """

    case_id: str
    channels: tuple[Series | None, ...] = field(repr=False)
    segmentations: tuple[tuple[Series, StoredSegmentation], ...] = field(repr=False)

    @property
    def first(self) -> Series:
        """The first channel that is there: the label map has its grid."""
        return next(one for one in self.channels if one is not None)


@dataclass(frozen=True)
class Chosen:
    """What a mapping makes of an export.

    Attributes:
        choices: By case.
        failed: Case, or object, to the reason why it cannot be converted.
        left_out: Remarks on what no rule asks for.
    """

    choices: tuple[Choice, ...]
    failed: dict[str, str]
    left_out: tuple[str, ...]


def choose_cases(
    export: Export, mapping: ExportMapping, case_of: Mapping[tuple[str, str], str]
) -> Chosen:
    """The cases of an export.

    Args:
        export: What was found.
        mapping: What is wanted.
        case_of: Person and study to case id.
    """
    studies: dict[str, list[Series]] = defaultdict(list)
    for one in export.series:
        studies[case_of[study_of(one)]].append(one)
    objects, failed, left_out = _by_case(export, case_of)
    choices = []
    for case, series in sorted(studies.items()):
        if mapping.excludes(case):
            left_out.append(f"{case}: excluded in the mapping")
            continue
        failed |= _unknown_modalities(case, series, mapping)
        try:
            channels = _channels(series, mapping)
            left_out += _left_out(case, series, channels)
            if not any(channels):
                continue
            belongs = _by_series(objects.get(case, ()), channels)
            left_out += _unused(case, series, channels, belongs)
            left_out += _lost_images(case, channels, belongs, export.series)
            drawn = [(one, item) for one in channels if one for item in belongs.get(id(one), [])]
            own = _segmentations(drawn, mapping)
            left_out += _without_known(case, [item for _, item in drawn], mapping)
        except DataError as error:
            failed[case] = str(error)
            continue
        choices.append(Choice(case, channels, own))
    return Chosen(tuple(choices), failed, tuple(left_out))


def _channels(series: Sequence[Series], mapping: ExportMapping) -> tuple[Series | None, ...]:
    channels: list[Series | None] = []
    for name, rule in mapping.channels.items():
        fitting = [one for one in series if rule.fits(one)]
        if len(fitting) > 1:
            raise DataError(
                f"channel '{name}' must be one series; {len(fitting)} fit. Narrow its rule by "
                f"description, orientation or slices:\n{_listed(fitting)}"
            )
        channels.append(fitting[0] if fitting else None)
    taken = [one for one in channels if one is not None]
    twice = next((one for at, one in enumerate(taken) if one in taken[:at]), None)
    if twice is not None:
        names = [name for name, one in zip(mapping.channels, channels, strict=True) if one is twice]
        raise DataError(
            f"a series must be one channel; '{twice.description}' fits {' and '.join(names)}. "
            "Narrow their rules."
        )
    lacking = [name for name, one in zip(mapping.channels, channels, strict=True) if one is None]
    if taken and lacking and not mapping.allow_missing_channels:
        raise DataError(
            f"channel '{lacking[0]}' must be there; no series fits its rule. Widen the rule, or "
            f"set allow_missing_channels. Found:\n{_listed(series)}"
        )
    return tuple(channels)


def _listed(series: Sequence[Series]) -> str:
    """Numbered lines without ids of DICOM."""
    return describe_series(series, with_uid=False)


def _left_out(case: str, series: Sequence[Series], channels: Sequence[Series | None]) -> list[str]:
    """A remark on the series that no rule asks for, if there are any."""
    rest = [one for one in series if not any(one is channel for channel in channels)]
    if len(rest) == len(series):
        return [f"{case}: none of {len(series)} series fits a rule: {_briefly(rest)}"]
    return [f"{case}: no rule asks for {_briefly(rest)}"] if rest else []


def _briefly(series: Sequence[Series]) -> str:
    return ", ".join(
        f"'{one.description}' ({one.modality}{'' if one.kind == 'original' else f', {one.kind}'})"
        for one in series
    )


def _unknown_modalities(
    case: str, series: Sequence[Series], mapping: ExportMapping
) -> dict[str, str]:
    """Series that no rule takes since their modality is none of a body's volumes."""
    return {
        f"{case} series '{one.description}'": (
            f"modality '{one.modality}' is not known to be a volume of a body "
            f"({', '.join(MODALITIES)}); name it in a channel's rule to convert it all the same."
        )
        for one in series
        if one.modality not in MODALITIES
        and not any(rule.fits(one) for rule in mapping.channels.values())
    }


Placed = tuple[StoredSegmentation, tuple[Series, ...]]
"""An object, and the series that it may have been drawn on; all of one grid."""


def _by_case(
    export: Export, case_of: Mapping[tuple[str, str], str]
) -> tuple[dict[str, list[Placed]], dict[str, str], list[str]]:
    """Objects by the case of the series that they refer to, those that fit none, and remarks."""
    objects: dict[str, list[Placed]] = defaultdict(list)
    failed: dict[str, str] = {}
    remarks = []
    for whole in export.segmentations:
        for one, found in placed_parts(whole, export.series):
            cases = sorted({case_of[study_of(series)] for series in found})
            name = f"{one.title} ({one.path})"
            if not found:
                failed[name] = (
                    "must refer to a series of the export; it refers to "
                    f"{'another one' if one.series_uids else 'none'}. Export the images that it "
                    "was drawn on as well."
                )
            elif not all(_are_on_one_grid(found[0], other) for other in found[1:]):
                failed[name] = (
                    f"must say on which of {len(found)} series it was drawn, which have different "
                    f"grids: {_briefly(found)}. Export it again with references to its images."
                )
            elif len(cases) > 1:
                failed[name] = (
                    f"must say in which of {len(cases)} studies it was drawn; series of "
                    f"{' and '.join(cases)} fit alike: {_briefly(found)}. Export it again with "
                    "references to its images."
                )
            else:
                (case,) = cases
                if not one.series_uids and not one.images:
                    remarks.append(
                        f"{case}: {one.title} names no series; taken as drawn on what lies in its "
                        f"frame of reference: {_briefly(found)}"
                    )
                objects[case].append((one, found))
    return objects, failed, remarks


def _by_series(
    objects: Sequence[Placed], channels: Sequence[Series | None]
) -> dict[int, list[StoredSegmentation]]:
    """Objects by the identity of their series: where several fit alike, one that is a channel."""
    belongs: dict[int, list[StoredSegmentation]] = defaultdict(list)
    for one, possible in objects:
        chosen = [series for series in possible if any(series is channel for channel in channels)]
        belongs[id((chosen or possible)[0])].append(one)
    return belongs


def placed_parts(one: StoredSegmentation, series: Sequence[Series]) -> tuple[Placed, ...]:
    """An object with the series that it was drawn on, or those that fit alike; none: not there.

    An object that names images of several series, as planning systems list all that was shown,
    is asked for those of its single contours or frames: each structure belongs to the series
    that most of its own images are of, so that one object can become several parts. Where that
    is told by nothing, the object's own study goes before others, and images as measured before
    pictures for planning. What refers to no image and no series was drawn on one in its frame of
    reference, which is all that contours must name.

    Args:
        one: The object.
        series: All series of the export.
    """
    fitting = _fitting(one, series)
    if sum(_n_shared(candidate, one.images) > 0 for candidate in fitting) < 2:
        return ((one, _best(one, fitting, one.images)),)
    names: dict[tuple[int, ...], list[str]] = defaultdict(list)
    best: dict[tuple[int, ...], tuple[Series, ...]] = {}
    silent = []
    for name in one.names:
        own = _best(one, fitting, one.drawn_images.get(name, frozenset()))
        if name not in one.drawn_images or not own:
            silent.append(name)
            continue
        key = tuple(id(candidate) for candidate in own)
        best[key] = own
        names[key].append(name)
    if not names:
        return ((one, _best(one, fitting, one.images)),)
    if len(names) == 1:
        return ((one, next(iter(best.values()))),)
    # Structures without contours, as of a template, go with most of the others.
    names[max(names, key=lambda key: len(names[key]))] += silent
    return tuple(
        (replace(one, names=tuple(own), is_part=True), best[key]) for key, own in names.items()
    )


def _fitting(one: StoredSegmentation, series: Sequence[Series]) -> list[Series]:
    """The series that an object refers to."""
    if one.series_uids or one.images:
        fitting = [
            candidate
            for candidate in series
            if candidate.uid in one.series_uids
            or (not one.series_uids and _n_shared(candidate, one.images))
        ]
    else:
        fitting = [
            candidate
            for candidate in series
            if candidate.kind == "original"
            and candidate.tags.get("FrameOfReferenceUID") in one.frames_of_reference
        ]
    if len(fitting) > 1 and one.patient_id:
        return [c for c in fitting if c.patient_id == one.patient_id] or fitting
    return fitting


def _best(
    one: StoredSegmentation, fitting: Sequence[Series], images: frozenset[Image]
) -> tuple[Series, ...]:
    """Of fitting series those with most of some images; none if there are images of no series."""

    def key(candidate: Series) -> tuple[int, bool, bool]:
        is_of_study = candidate.study_uid == one.study_uid
        return _n_shared(candidate, images), is_of_study, candidate.kind == "original"

    best = max(map(key, fitting), default=(0, False, False))
    if images and best[0] == 0:
        return ()
    return tuple(candidate for candidate in fitting if key(candidate) == best)


def _n_shared(candidate: Series, images: frozenset[Image]) -> int:
    """How many slices of a series are among some images."""
    # An image that is named with frames is not meant as a whole.
    with_frames = {uid for uid, frame in images if frame is not None}
    named = {image for image in images if image[1] is not None or image[0] not in with_frames}
    return sum(
        bool({(item.tags.get("SOPInstanceUID", ""), frame) for frame in _frames(item)} & named)
        for item in candidate.slices
    )


def _are_on_one_grid(one: Series, other: Series) -> bool:
    def places(series: Series) -> np.ndarray:
        first = series.slices[0]
        corners = [item.position for item in series.slices]
        return np.array([*corners, *first.orientation, (*first.pixel_mm, 0.0)])

    sizes = {(s.n_slices, s.slices[0].n_rows, s.slices[0].n_columns) for s in (one, other)}
    return len(sizes) == 1 and np.allclose(places(one), places(other), atol=SAME_POSITION_MM)


def _frames(item: Slice) -> tuple[int | None, ...]:
    """How a reference may call a slice: by its frame, or without for the whole file."""
    return (None,) if item.frame is None else (None, item.frame + 1)


def _unused(
    case: str,
    series: Sequence[Series],
    channels: Sequence[Series | None],
    belongs: Mapping[int, Sequence[StoredSegmentation]],
) -> list[str]:
    """Remarks on objects that were drawn on a series that is no channel."""
    return [
        f"{case}: {drawn.title} was drawn on '{one.description}', no channel"
        for one in series
        if not any(one is channel for channel in channels)
        for drawn in belongs.get(id(one), [])
    ]


def _without_known(
    case: str, objects: Sequence[StoredSegmentation], mapping: ExportMapping
) -> list[str]:
    """Remarks on objects of which no structure is a label, with its names: one may be misspelt."""
    return [
        f"{case}: no label names a structure of {one.kind} '{one.label}': {', '.join(one.names)}"
        for one in objects
        if mapping.labels
        and mapping.is_wanted(one.label)
        and not any(mapping.labels_of(one.names).values())
    ]


def _lost_images(
    case: str,
    channels: Sequence[Series | None],
    belongs: Mapping[int, Sequence[StoredSegmentation]],
    series: Sequence[Series],
) -> list[str]:
    """Remarks on images that an object was drawn on and the export lacks: no gap tells of them."""
    there = {item.tags.get("SOPInstanceUID", "") for one in series for item in one.slices}
    lost = [
        (drawn, len({uid for uid, _ in drawn.images} - there))
        for channel in channels
        if channel is not None
        for drawn in belongs.get(id(channel), [])
    ]
    return [
        f"{case}: {drawn.title} refers to {n} images that the export lacks; the "
        "series may have lost slices"
        for drawn, n in lost
        if n
    ]


def _segmentations(
    found: Sequence[tuple[Series, StoredSegmentation]], mapping: ExportMapping
) -> tuple[tuple[Series, StoredSegmentation], ...]:
    """The objects to draw labels from.

    Raises:
        DataError: A name fits several labels, or a label has several structures.
    """
    wanted = [(series, one) for series, one in found if mapping.is_wanted(one.label)]
    named: dict[str, list[str]] = defaultdict(list)
    for _, one in wanted:
        for name, labels in mapping.labels_of(one.names).items():
            if len(labels) > 1:
                raise DataError(
                    f"a structure must be one label; '{name}' fits {' and '.join(labels)}. Make "
                    "their 'roi' or 'pattern' narrower."
                )
        for name in one.names:
            for label in mapping.labels_of([name])[name]:
                named[label].append(f"'{name}' of {one.kind} '{one.label}'")
    for label, places in named.items():
        if len(places) > 1:
            raise DataError(
                f"label '{label}' must be one structure; {len(places)} fit: {', '.join(places)}. "
                "Name the right one in 'roi', or the right object in 'segmentation'."
            )
    return tuple(pair for pair in wanted if any(mapping.labels_of(pair[1].names).values()))
