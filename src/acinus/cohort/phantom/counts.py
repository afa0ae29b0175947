"""Who is in the cohort, with which scans: counts and tables as in the study.

Enters: the number of patients. Leaves: one `Patient` each, without images. The
study's counts for 86 patients: 86 assessed, 81 kept, 80 with AX-T1, 74 with
POST-AX-T1-FS, 73 with both; 55 women, 26 men, 5 unreported; age 17-90.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from acinus.cohort.phantom.acquisition import Artefact
from acinus.cohort.phantom.glands import CONDITION_SHARES, Condition
from acinus.types import Array

Counts = Literal["paper", "all"]
Availability = Literal["both", "t1_only", "post_only", "excluded"]

PAPER_CELLS: dict[tuple[Availability, str], int] = {
    ("both", "F"): 48,
    ("both", "M"): 21,
    ("both", ""): 4,
    ("t1_only", "F"): 5,
    ("t1_only", "M"): 2,
    ("post_only", ""): 1,
    ("excluded", "F"): 2,
    ("excluded", "M"): 3,
}
"""Patients by available scans and sex; the only table that agrees with Tables 1
and 2 and with the totals of the study (its 55 + 26 + 5 are 86, not 81)."""

AGE_YEARS = (55.0, 32.0, 17, 90)
"""Mean and sd of the normal distribution, cut to the range, years."""


@dataclass(frozen=True)
class Patient:
    """One row of the participants' table.

    Attributes:
        participant_id: ``orbit_001`` and so on; also the case id.
        index: Place in the cohort, from 0; seeds everything about the patient.
        age: Years.
        sex: ``"F"``, ``"M"`` or empty for unreported.
        field_strength_t: 1.5 or 3.0.
        condition: State of the glands.
        availability: Which scans are usable.
    """

    participant_id: str
    index: int
    age: int
    sex: str
    field_strength_t: float
    condition: Condition
    availability: Availability

    def scan(self, sequence: str) -> tuple[bool, Artefact | None]:
        """Whether a scan of that sequence was made, and the artefact that spoils it."""
        artefacts: tuple[Artefact, ...] = ("motion", "metal", "motion", "spike")
        own = artefacts[self.index % len(artefacts)]
        if self.availability == "excluded":
            return True, own
        lost = {"t1_only": "POST-AX-T1-FS", "post_only": "AX-T1"}.get(self.availability)
        if sequence != lost:
            return True, None
        return (True, own) if self.index % 2 else (False, None)


def draw_patients(rng: np.random.Generator, n: int, counts: Counts) -> list[Patient]:
    """The cohort's patients, in the order of their ids.

    Args:
        rng: Source of randomness.
        n: Number of patients assessed, >= 1.
        counts: ``"paper"`` scales the study's table to `n`; ``"all"`` gives every
            patient every sequence and excludes nobody.
    """
    width = max(3, len(str(n)))
    cells = _cells(n, counts)
    order = rng.permutation(n)
    ages = _ages(rng, n)
    shares = np.array(list(CONDITION_SHARES.values()))
    kinds = list(CONDITION_SHARES)
    states = [kinds[i] for i in np.repeat(np.arange(len(kinds)), portions(shares, n))]
    state_order = rng.permutation(n)
    fields = rng.permutation(np.where(np.arange(n) < round(0.55 * n), 1.5, 3.0))
    return [
        Patient(
            participant_id=f"orbit_{i + 1:0{width}d}",
            index=i,
            age=int(ages[i]),
            sex=cells[order[i]][1],
            field_strength_t=float(fields[i]),
            condition=states[state_order[i]],
            availability=cells[order[i]][0],
        )
        for i in range(n)
    ]


def _cells(n: int, counts: Counts) -> list[tuple[Availability, str]]:
    names = list(PAPER_CELLS)
    numbers = portions(np.array(list(PAPER_CELLS.values()), float), n)
    cells = [name for name, number in zip(names, numbers, strict=True) for _ in range(number)]
    if counts == "all":
        return [("both", sex) for _, sex in cells]
    return cells


def portions(shares: Array, n: int, least: int = 0) -> Array:
    """Whole numbers that sum to `n` and are nearest to the shares (largest remainders).

    Args:
        shares: Any positive scale.
        n: Their sum.
        least: None is smaller; what small shares gain is taken from those above theirs.
            At most `n` divided by the number of shares.
    """
    exact = shares / shares.sum() * n
    whole = np.maximum(np.floor(exact).astype(int), least)
    while whole.sum() < n:
        whole[np.argmax(exact - whole)] += 1
    while whole.sum() > n:
        whole[np.argmax(np.where(whole > least, whole - exact, -np.inf))] -= 1
    return np.asarray(whole)


def _ages(rng: np.random.Generator, n: int) -> Array:
    """Ages whose distribution is that of the study even in a small cohort."""
    mean, sd, low, high = AGE_YEARS
    bottom, top = ndtr((low - mean) / sd), ndtr((high - mean) / sd)
    quantile = (rng.permutation(n) + rng.random(n)) / n
    years = mean + sd * ndtri(bottom + (top - bottom) * quantile)
    return np.clip(np.rint(years), low, high).astype(int)
