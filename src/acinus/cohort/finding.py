"""What a check found: one fault, its values, and what to do.

Enters: nothing. Leaves: `Finding` and `CheckReport`, plain data that a table or
JSON shows as it is. Codes are stable: a program may rely on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning"]
"""error: the case or dataset cannot be used as it is; warning: it can, but look."""

CODES: dict[str, str] = {
    "dataset-json": "a key of dataset.json is missing or cannot be",
    "no-cases": "the dataset has no case, or no case with a label",
    "case-count": "numTraining differs from the cases on disk",
    "unknown-file": "a file belongs to no case",
    "image-missing": "a label has no image",
    "label-missing": "an image has no label",
    "channel-missing": "a case lacks a channel",
    "channel-extra": "a case has a channel that dataset.json does not name",
    "exclude-unknown": "'exclude' names no case and no participant",
    "annotated-unknown": "'annotated' names no case",
    "participants-table": "participants.tsv cannot be read",
    "participant-duplicate": "a participant has several rows",
    "participant-missing": "a case has no row in participants.tsv",
    "participant-without-case": "a participant has no case",
    "participant-value": "an age or sex is implausible",
    "side-not-stated": "a label's name suggests a side that 'sides' does not state",
    "pair-not-stated": "a right and a left structure seem to be partners, which 'mirror_pairs' "
    "does not state",
    "unreadable": "a file is truncated, damaged or of another kind",
    "not-3d": "an image is not three-dimensional",
    "affine": "an affine is zero, singular or absent",
    "grid": "files of one case lie on different grids",
    "not-finite": "an image or label has values that are no finite numbers",
    "constant-image": "all voxels of an image are equal",
    "label-not-integer": "label values are not whole numbers",
    "label-values": "a label map has values that dataset.json does not name",
    "label-not-annotated": "a label map has a structure that 'annotated' does not list",
    "label-empty": "a label map has no structure",
    "label-in-no-case": "no label map has a structure that dataset.json names",
    "wrong-side": "a structure lies on the other side of the patient than stated",
    "identical-images": "two images have the same voxels",
    "identical-labels": "two label maps have the same voxels",
    "spacing": "a spacing is implausible, or far from that of the other cases",
    "volume": "a structure's volume is far from that in the other cases",
    "intensity": "an image's intensities are on another scale than those of the other cases",
}
"""Every code with what it means."""


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        severity: ``"error"`` or ``"warning"``.
        code: One of `CODES`.
        case: The case; empty for the dataset as a whole.
        found: File and values.
        remedy: What to do.
    """

    severity: Severity
    code: str
    case: str
    found: str
    remedy: str


@dataclass(frozen=True)
class CheckReport:
    """All that a check found.

    Attributes:
        findings: Of the dataset first, then case by case, errors before warnings.
        n_cases: Number of cases checked, excluded ones not counted.
    """

    findings: tuple[Finding, ...]
    n_cases: int

    @property
    def has_errors(self) -> bool:
        """Whether a finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def as_rows(self) -> list[dict[str, str]]:
        """One mapping per finding: severity, code, case, found, remedy."""
        return [asdict(finding) for finding in self.findings]


MOST_SINGLE = 5
"""A fault that more cases than this share is told in one finding."""


def some_of(names: Sequence[str], most: int = 8) -> str:
    """Names separated by commas, at most so many of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def each_or_together(
    code: str, cases: Sequence[str], one: str, many: str, remedy: str
) -> Iterator[Finding]:
    """A warning per case, or one for the dataset where more than `MOST_SINGLE` share it.

    Args:
        code: One of `CODES`.
        cases: Those concerned.
        one: What was found, with ``{case}`` for the case.
        many: What was found, with ``{n}`` for the number and ``{cases}`` for some of them.
        remedy: What to do.
    """
    if len(cases) > MOST_SINGLE:
        yield warning(code, "", many.format(n=len(cases), cases=some_of(cases)), remedy)
        return
    for case in cases:
        yield warning(code, case, one.format(case=case), remedy)


def error(code: str, case: str, found: str, remedy: str) -> Finding:
    """A finding that makes the case or dataset unusable as it is."""
    return Finding("error", code, case, found, remedy)


def warning(code: str, case: str, found: str, remedy: str) -> Finding:
    """A finding to look at."""
    return Finding("warning", code, case, found, remedy)
