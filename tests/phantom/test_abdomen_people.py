"""Who is in the abdominal cohort: the study's tables, scaled."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from acinus.cohort.phantom.abdomen_people import (
    LEAST_PEOPLE,
    MR_CENTRES,
    Person,
    choose_read,
    draw_people,
)
from acinus.cohort.phantom.counts import portions


@pytest.fixture(scope="module")
def study() -> list[Person]:
    """As many MR patients as the study had: 499."""
    return draw_people(np.random.default_rng(3), 832)


def test_scans_per_centre_are_those_of_table_2(study: list[Person]) -> None:
    scans = Counter((p.site, c) for p in study for c in p.contrasts if c != "CT")
    for site, centre in MR_CENTRES.items():
        assert scans[site, "T1"] == pytest.approx(centre.t1, abs=4)
        assert scans[site, "T2"] == pytest.approx(centre.t2, abs=4)
    both = sum(p.contrasts == ("T1", "T2") for p in study)
    assert both == pytest.approx(2 * 385 - 499 - 3, abs=6)  # 767 scans of 499 participants


def test_ages_and_sexes_are_those_of_table_2(study: list[Person]) -> None:
    for site, centre in MR_CENTRES.items():
        own = [p for p in study if p.site == site]
        women = np.mean([p.sex == "F" for p in own])
        assert women == pytest.approx(centre.female, abs=0.03)
        rows = [p.row for p in own]
        if centre.median_age is None:
            assert all(row["age"] is None and row["scanner"] is None for row in rows)
        else:
            years = [p.age for p in own]
            assert np.median(years) == pytest.approx(centre.median_age, abs=6)
            assert {p.maker for p in own} <= set(centre.scanners)


def test_ct_collections_keep_their_proportions(study: list[Person]) -> None:
    sites = Counter(p.site for p in study if p.modality == "CT")
    total = sum(sites.values())
    assert sites["internal"] / total == pytest.approx(1000 / 1350, abs=0.01)
    assert sites["external2"] / total == pytest.approx(120 / 1350, abs=0.01)


def test_no_external_site_is_left_without_cases() -> None:
    people = draw_people(np.random.default_rng(0), 60)
    assert [p.index for p in people] == list(range(60))
    scans = Counter((p.site, c) for p in people for c in p.contrasts)
    assert min(scans.values()) >= 3
    assert len({p.site for p in draw_people(np.random.default_rng(0), LEAST_PEOPLE)}) == 9


def test_readings_are_scaled_and_come_from_all_centres(study: list[Person]) -> None:
    scanned = [p for p in study if "T1" in p.contrasts]
    read = choose_read(np.random.default_rng(1), scanned)
    assert len(read["second"]) == pytest.approx(50, abs=1)
    assert len(read["repeat"]) == pytest.approx(20, abs=1)
    assert read["repeat"] < read["second"]
    sites = {p.participant_id: p.site for p in scanned}
    assert {sites[i] for i in read["repeat"]} == set(MR_CENTRES)


def test_portions_keep_a_least_number() -> None:
    shares = np.array([1000.0, 200.0, 120.0, 30.0])
    for n in (4, 12, 13, 24, 1350):
        least = min(3, n // 4)
        numbers = portions(shares, n, least)
        assert numbers.sum() == n and numbers.min() >= least
    np.testing.assert_array_equal(portions(shares, 1350), shares)
