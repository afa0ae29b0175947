"""The cohort's tables against the study's counts."""

from __future__ import annotations

import numpy as np
import pytest

from acinus.cohort.phantom.counts import Patient, draw_patients


def _usable(patients: list[Patient], sequence: str) -> set[str]:
    return {p.participant_id for p in patients if p.scan(sequence) == (True, None)}


@pytest.mark.parametrize("seed", [0, 2018])
def test_86_patients_reproduce_the_study(seed: int) -> None:
    patients = draw_patients(np.random.default_rng(seed), 86, "paper")
    t1, post = _usable(patients, "AX-T1"), _usable(patients, "POST-AX-T1-FS")
    assert (len(patients), len(t1 | post), len(t1), len(post), len(t1 & post)) == (
        86,
        81,
        80,
        74,
        73,
    )
    sexes = [p.sex for p in patients]
    assert (sexes.count("F"), sexes.count("M"), sexes.count("")) == (55, 26, 5)
    # Tables 1 and 2: training plus test patients of each sequence.
    by_id = {p.participant_id: p.sex for p in patients}
    assert [sum(by_id[i] == s for i in t1) for s in ("M", "F", "")] == [23, 53, 4]
    assert [sum(by_id[i] == s for i in post) for s in ("M", "F", "")] == [21, 48, 5]
    ages = np.array([p.age for p in patients])
    assert 17 <= ages.min() <= 22 and 85 <= ages.max() <= 90
    assert ages.mean() == pytest.approx(54, abs=2)
    assert ages.std() == pytest.approx(20, abs=2)


@pytest.mark.parametrize("n", [1, 2, 12, 40, 200])
def test_all_counts_give_every_patient_every_sequence(n: int) -> None:
    patients = draw_patients(np.random.default_rng(3), n, "all")
    for sequence in ("AX-T1", "POST-AX-T1-FS", "AX-T1-FS", "POST-AX-T1"):
        assert len(_usable(patients, sequence)) == n


@pytest.mark.parametrize("n", [12, 40, 172])
def test_paper_counts_scale(n: int) -> None:
    patients = draw_patients(np.random.default_rng(3), n, "paper")
    assert len(patients) == n
    assert len(_usable(patients, "AX-T1")) == pytest.approx(80 / 86 * n, abs=2)
    assert len(_usable(patients, "POST-AX-T1-FS")) == pytest.approx(74 / 86 * n, abs=2)


def test_ids_sort_as_the_patients() -> None:
    ids = [p.participant_id for p in draw_patients(np.random.default_rng(0), 1200, "all")]
    assert ids == sorted(ids) and len(set(ids)) == 1200
    few = draw_patients(np.random.default_rng(0), 12, "all")
    assert few[0].participant_id == "orbit_001"
