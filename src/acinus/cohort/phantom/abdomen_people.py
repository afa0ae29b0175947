"""Who is in the abdominal cohort, where they were scanned, and who is read again.

Enters: the number of people. Leaves: one `Person` each, without images. Shares
follow Tables 2 and 4 of the PanSegNet study: 767 MR scans of 499 participants at
five centres, 1,350 CT scans from one internal and three external collections. Where
a share of a small cohort would leave a site with nobody, the site gets a few people
at the cost of the large ones: an external centre without cases shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from acinus.cohort.phantom.counts import portions
from acinus.types import Array

Modality = Literal["MR", "CT"]
Condition = Literal["normal", "atrophic", "cyst"]

LEAST_PEOPLE = 9
"""One for each of the five centres and four collections."""
LEAST_AT_SITE = 3
"""People at a site, where the cohort is large enough."""
MR_SHARE = 0.6
"""Of the people (ours; the study's 499 of 1,849 would leave its centres empty)."""

MR_PARTICIPANTS, MR_SCANS = 499, 767
"""Of the study; so 268 participants had both sequences."""

CONDITION_SHARES: dict[Condition, float] = {"normal": 0.74, "atrophic": 0.12, "cyst": 0.14}
"""Share of the people by the state of their pancreas (ours)."""


@dataclass(frozen=True)
class MrCentre:
    """A row of Table 2.

    Attributes:
        t1, t2: Participants with a T1 and with a T2 scan.
        female: Share of women among both.
        median_age: Years; None where the study does not say.
        scanners: Makers; empty where the study does not say.
    """

    t1: int
    t2: int
    female: float
    median_age: float | None
    scanners: tuple[str, ...]


MR_CENTRES: dict[str, MrCentre] = {
    "centre1": MrCentre(162, 162, (96 + 96) / 324, 64.0, ("Siemens", "GE")),
    "centre2": MrCentre(151, 150, (87 + 86) / 301, 66.0, ("Siemens", "GE")),
    "centre3": MrCentre(30, 19, (15 + 11) / 49, 63.0, ("Siemens",)),
    "centre4": MrCentre(17, 28, (12 + 19) / 45, None, ()),
    "centre5": MrCentre(25, 23, (14 + 10) / 48, 70.0, ("Siemens", "GE")),
}
"""Centres 1 and 2 are internal, the others external."""

CT_SITES: dict[str, int] = {"internal": 1000, "external1": 200, "external2": 120, "external3": 30}
"""Scans of each collection: AbdomenCT-1K, AMOS, WORD and BTCV in the study."""

AGE_SD, AGE_RANGE, AGE_ELSEWHERE = 13.0, (21, 90), 62.0
"""Years (ours)."""

CASES_READ = {"second": (50, 4), "repeat": (20, 3)}
"""Reading to the cases of the study, of `MR_SCANS` / 2 per sequence, and the least number."""


@dataclass(frozen=True)
class Person:
    """One patient.

    Attributes:
        participant_id: ``mr_001``, ``ct_001`` and so on; also the case id.
        index: Place in the cohort, from 0; seeds everything about the person.
        modality: MR or CT.
        site: Centre or collection.
        age: Years.
        sex: ``"F"`` or ``"M"``.
        maker: Of the scanner; empty if unreported.
        field_strength_t: 1.5 or 3.0; None for CT.
        condition: State of the pancreas.
        contrasts: Scans, of ``T1``, ``T2`` and ``CT``.
    """

    participant_id: str
    index: int
    modality: Modality
    site: str
    age: int
    sex: str
    maker: str
    field_strength_t: float | None
    condition: Condition
    contrasts: tuple[str, ...]

    @property
    def row(self) -> dict[str, object]:
        """Row of the participants' table; what the study leaves open stays open."""
        known = self.site not in MR_CENTRES or bool(MR_CENTRES[self.site].scanners)
        scanner = f"{self.maker} {self.field_strength_t} T" if self.modality == "MR" else "CT"
        return {
            "participant_id": self.participant_id,
            "age": self.age if known else None,
            "sex": self.sex,
            "site": self.site,
            "scanner": scanner if known else None,
            "field_strength_t": self.field_strength_t if known else None,
            "group": self.condition,
            "synthetic": "true",
        }


def draw_people(rng: np.random.Generator, n: int) -> list[Person]:
    """The cohort's people, MR before CT, in the order of their ids.

    Args:
        rng: Source of randomness.
        n: Number of people, >= `LEAST_PEOPLE`.
    """
    n_mr = max(len(MR_CENTRES), min(round(MR_SHARE * n), n - len(CT_SITES)))
    conditions = _shuffled(rng, CONDITION_SHARES, n)
    people = _mr_people(rng, n_mr, conditions)
    return people + _ct_people(rng, n - n_mr, n_mr, conditions)


def _mr_people(rng: np.random.Generator, n: int, conditions: list[Condition]) -> list[Person]:
    scans = np.array([centre.t1 + centre.t2 for centre in MR_CENTRES.values()], float)
    numbers = portions(scans, n, min(LEAST_AT_SITE, n // len(MR_CENTRES)))
    people: list[Person] = []
    for (site, centre), number in zip(MR_CENTRES.items(), numbers, strict=True):
        sexes, ages = _sexes(rng, number, centre.female), _ages(rng, number, centre.median_age)
        for k, contrasts in enumerate(_availability(rng, centre, int(number))):
            people.append(
                Person(
                    participant_id=f"mr_{len(people) + 1:0{_width(n)}d}",
                    index=len(people),
                    modality="MR",
                    site=site,
                    age=int(ages[k]),
                    sex=sexes[k],
                    maker=str(rng.choice(centre.scanners or ("Siemens", "GE"))),
                    field_strength_t=float(rng.choice([1.5, 3.0])),
                    condition=conditions[len(people)],
                    contrasts=contrasts,
                )
            )
    return people


def _ct_people(
    rng: np.random.Generator, n: int, first: int, conditions: list[Condition]
) -> list[Person]:
    numbers = portions(
        np.array(list(CT_SITES.values()), float), n, min(LEAST_AT_SITE, n // len(CT_SITES))
    )
    sites = np.repeat(list(CT_SITES), numbers)
    sexes, ages = _sexes(rng, n, 0.5), _ages(rng, n, None)
    return [
        Person(
            participant_id=f"ct_{k + 1:0{_width(n)}d}",
            index=first + k,
            modality="CT",
            site=str(site),
            age=int(ages[k]),
            sex=sexes[k],
            maker="",
            field_strength_t=None,
            condition=conditions[first + k],
            contrasts=("CT",),
        )
        for k, site in enumerate(sites)
    ]


def _availability(rng: np.random.Generator, centre: MrCentre, n: int) -> list[tuple[str, ...]]:
    """Which sequences each person at a centre has; the first few have both."""
    people = (centre.t1 + centre.t2) * MR_PARTICIPANTS / MR_SCANS
    shares = np.array([centre.t1 + centre.t2 - people, people - centre.t2, people - centre.t1])
    kinds = (("T1", "T2"), ("T1",), ("T2",))
    both = min(n, LEAST_AT_SITE)
    numbers = portions(np.maximum(shares * n / people - [both, 0, 0], 1e-9), n - both)
    rest = np.repeat(np.arange(3), numbers)
    return [kinds[0]] * both + [kinds[k] for k in rng.permutation(rest)]


def choose_read(rng: np.random.Generator, people: list[Person]) -> dict[str, frozenset[str]]:
    """Reading to the participants who are read by a second reader, or once more.

    They come from all centres in turn; who is read once more is also read by a second.

    Args:
        rng: Source of the choice.
        people: Those who have the scan.
    """
    order = [people[k] for k in rng.permutation(len(people))]
    sites = sorted({person.site for person in people})
    place = {p.participant_id: [q for q in order if q.site == p.site].index(p) for p in order}
    order.sort(key=lambda p: (place[p.participant_id], sites.index(p.site)))
    chosen = {}
    for reading, (of_study, least) in CASES_READ.items():
        n = max(least, round(len(people) * of_study / (MR_SCANS / 2)))
        chosen[reading] = frozenset(p.participant_id for p in order[:n])
    return chosen


def _shuffled(rng: np.random.Generator, shares: dict[Condition, float], n: int) -> list[Condition]:
    names = list(shares)
    numbers = portions(np.array(list(shares.values())), n)
    return [names[k] for k in rng.permutation(np.repeat(np.arange(len(names)), numbers))]


def _sexes(rng: np.random.Generator, n: int, female: float) -> list[str]:
    women = round(n * female)
    return [str(sex) for sex in rng.permutation(["F"] * women + ["M"] * (n - women))]


def _ages(rng: np.random.Generator, n: int, median: float | None) -> Array:
    years = rng.normal(AGE_ELSEWHERE if median is None else median, AGE_SD, n)
    return np.asarray(np.clip(np.rint(years), *AGE_RANGE).astype(int))


def _width(n: int) -> int:
    return max(3, len(str(n)))
