"""Signals against numbers worked out by hand, and the order of contrasts."""

from __future__ import annotations

import math

import pytest

from acinus.cohort.phantom.tissues import (
    SEQUENCES,
    TISSUES,
    find_sequence,
    shorten_t1,
    spin_echo,
    tissue_signal,
)
from acinus.errors import ConfigError


def test_spin_echo_equals_hand_computed_numbers() -> None:
    # TR = T1 ln 2 recovers one half; TE = T2 ln 2 keeps one half.
    half = spin_echo(
        0.8, 1000.0, 100.0, repetition_ms=1000 * math.log(2), echo_ms=100 * math.log(2)
    )
    assert half == pytest.approx(0.2, abs=1e-12)
    # Subcutaneous fat at 1.5 T: 0.95 (1 - e^(-520/343)) e^(-11/58) = 0.95 * 0.78041 * 0.82725
    fat = spin_echo(0.95, 343, 58, repetition_ms=520, echo_ms=11)
    assert fat == pytest.approx(0.95 * 0.78041 * 0.82725, rel=1e-4)


def test_contrast_agent_adds_rates() -> None:
    # 1/T1 = 1 /s; 3.6 L/(mmol s) * 0.5 mmol/L adds 1.8 /s: 2.8 /s is 357.14 ms.
    assert shorten_t1(1000.0, 0.5, 3.6) == pytest.approx(357.142857)
    assert shorten_t1(1000.0, 0.0, 3.6) == 1000.0


@pytest.mark.parametrize("tissue", sorted(TISSUES))
@pytest.mark.parametrize("field", [1.5, 3.0])
def test_signals_are_shares_of_the_density(tissue: str, field: float) -> None:
    for sequence in SEQUENCES.values():
        water, fat = tissue_signal(TISSUES[tissue], sequence, field)
        assert 0.0 <= water + fat <= TISSUES[tissue].density
        assert min(water, fat) >= 0.0


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_order_of_contrasts_in_each_sequence(field: float) -> None:
    left = 0.14  # of the fat signal, after suppression

    def shown(tissue: str, name: str) -> float:
        sequence = SEQUENCES[name]
        water, fat = tissue_signal(TISSUES[tissue], sequence, field)
        return water + fat * (left if sequence.fat_suppressed else 1.0)

    gland, fat, muscle = ("gland", "orbital_fat", "eye_muscle")
    assert shown(gland, "AX-T1") < 0.65 * shown(fat, "AX-T1")
    assert shown(gland, "AX-T1") == pytest.approx(shown(muscle, "AX-T1"), rel=0.35)
    assert shown(gland, "AX-T1") == pytest.approx(shown("lid", "AX-T1"), rel=0.35)
    assert shown(gland, "AX-T1-FS") > 1.5 * shown(fat, "AX-T1-FS")
    assert shown(gland, "POST-AX-T1-FS") > 2.5 * shown(fat, "POST-AX-T1-FS")
    assert shown(gland, "POST-AX-T1-FS") > 1.2 * shown(muscle, "POST-AX-T1-FS")
    assert shown(muscle, "POST-AX-T1-FS") > shown(fat, "POST-AX-T1-FS")
    assert shown(gland, "POST-AX-T1") > 1.3 * shown(gland, "AX-T1")


def test_unknown_sequence_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown sequence 'AX-T2'\. Known: .*AX-T1"):
        find_sequence("AX-T2")
