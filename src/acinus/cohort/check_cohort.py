"""Faults that only show between cases: copies, outliers, structures that nobody has.

Enters: the facts of all cases. Leaves: findings. Outliers are judged by a robust
z-score on logarithms, |log v - median| / max(1.4826 MAD, floor), since spacing,
volume and intensity scale differ by factors; the floor keeps a cohort of equal
values from calling a small difference an outlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from acinus.cohort.check_case import CaseFacts
from acinus.cohort.finding import MOST_SINGLE, Finding, error, some_of, warning

OUTLIER_Z = 5.0
"""Robust z-score above which a value is an outlier."""

N_FOR_OUTLIERS = 6
"""With fewer cases than this no outliers are sought."""

SPACING_FLOOR = float(np.log(1.5)) / OUTLIER_Z
"""Spacings within a factor 1.5 of the median are never outliers."""

VOLUME_FLOOR = float(np.log(3.0)) / OUTLIER_Z
"""Volumes within a factor 3 of the median are never outliers."""

INTENSITY_FLOOR = float(np.log(10.0)) / OUTLIER_Z
"""Intensity scales within a factor 10 of the median are never outliers."""


def check_cohort(
    facts: Sequence[CaseFacts],
    values: Mapping[str, tuple[int, ...]],
    channel_names: Sequence[str],
) -> list[Finding]:
    """Findings between the cases.

    Volumes are compared over cases in which the structure was annotated and no voxel ignored.

    Args:
        facts: One per case, sorted by case.
        values: Structure to the values that stand for it in a label map.
        channel_names: One per channel.
    """
    findings = [*_copies(facts), *_absent(facts, values)]
    for axis, name in enumerate(("Z (superior)", "Y (anterior)", "X (right)")):
        spacings = {f.case_id: f.spacing_mm[axis] for f in facts if f.spacing_mm is not None}
        findings += _outliers(
            "spacing",
            spacings,
            SPACING_FLOOR,
            f"spacing along {name}",
            "mm",
            "Check the header; exclude the case if the scan is of another kind.",
        )
    for structure in values:
        volumes = {
            f.case_id: f.volumes_ml[structure]
            for f in facts
            if structure in f.volumes_ml and not f.is_partly_ignored
        }
        findings += _outliers(
            "volume",
            volumes,
            VOLUME_FLOOR,
            f"volume of '{structure}'",
            "mL",
            "Look at the label map: parts may be missing or belong to another structure.",
        )
    for number, channel in enumerate(channel_names):
        scales = {f.case_id: f.scales[number] for f in facts if f.scales.get(number, 0.0) > 0}
        findings += _outliers(
            "intensity",
            scales,
            INTENSITY_FLOOR,
            f"intensity (99th percentile) of channel {number} ({channel})",
            "",
            "Nothing, where each image is normalised by itself (min_max, z_score); else export "
            "these images again with the rescaling of the others.",
        )
    return findings


def robust_z(values: Sequence[float], floor: float) -> np.ndarray:
    """(n,) signed robust z-scores of the logarithms of positive values.

    Args:
        values: (n,) > 0.
        floor: Least standard deviation of the logarithms that is assumed.
    """
    logs = np.log(np.asarray(values, dtype=float))
    centre = np.median(logs)
    spread = 1.4826 * np.median(np.abs(logs - centre))
    return np.asarray((logs - centre) / max(float(spread), floor))


def _outliers(
    code: str, values: Mapping[str, float], floor: float, what: str, unit: str, remedy: str
) -> Iterator[Finding]:
    if len(values) < N_FOR_OUTLIERS:
        return
    scores = dict(zip(values, robust_z(list(values.values()), floor), strict=True))
    median = _number(float(np.median(list(values.values()))), unit)
    for direction in (1, -1):
        far = [case for case, z in scores.items() if z * direction > OUTLIER_Z]
        if len(far) <= MOST_SINGLE:
            for case in far:
                found = (
                    f"{what} is {_number(values[case], unit)}; the median of {len(values)} cases "
                    f"is {median} (robust z {scores[case]:.1f}, OUTLIER_Z is {OUTLIER_Z:g})"
                )
                yield warning(code, case, found, remedy)
            continue
        low, high = min(values[case] for case in far), max(values[case] for case in far)
        found = (
            f"{what} is far {'above' if direction > 0 else 'below'} the median {median} in "
            f"{len(far)} of {len(values)} cases: {_number(low, unit)} to {_number(high, unit)} "
            f"(robust z beyond OUTLIER_Z, {OUTLIER_Z:g}): {some_of(far)}"
        )
        yield warning(code, "", found, remedy)


def _copies(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    images: dict[str, list[tuple[str, str]]] = {}
    label_maps: dict[str, list[str]] = {}
    for case in facts:
        for name, digest in case.image_hashes.items():
            images.setdefault(digest, []).append((case.case_id, name))
        if case.label_hash:
            label_maps.setdefault(case.label_hash, []).append(case.case_id)
    for owners in images.values():
        first_case, first_name = owners[0]
        for case_id, name in owners[1:]:
            yield error(
                "identical-images",
                case_id,
                f"{name} has the same voxels as {first_name} (case '{first_case}')",
                "Keep one of them, or replace the copy by the right image.",
            )
    for cases in label_maps.values():
        for case_id in cases[1:]:
            yield warning(
                "identical-labels",
                case_id,
                f"the label has the same voxels as that of case '{cases[0]}'",
                "Replace the copy by the right label, or exclude the case.",
            )


def _absent(facts: Sequence[CaseFacts], values: Mapping[str, tuple[int, ...]]) -> Iterator[Finding]:
    if not any(case.read for case in facts):
        return
    for structure, those in values.items():
        telling = [case for case in facts if structure in case.read]
        if any(structure in case.volumes_ml for case in telling):
            continue
        value = f"value {those[0]}" if len(those) == 1 else f"values {', '.join(map(str, those))}"
        found = f"'{structure}' ({value}) is in none of the {len(telling)} label maps read"
        remedy = "Remove it from 'labels', or correct its value."
        if not telling:
            found = f"'{structure}' is listed under 'annotated' for no case"
            remedy = "Add it to 'annotated' where it is drawn, or remove it from 'labels'."
        yield error("label-in-no-case", "", found, remedy)


def _number(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".strip()
