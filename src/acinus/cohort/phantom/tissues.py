"""Relaxation times and the spin-echo equation: what a tissue looks like in a sequence.

Enters: a tissue, a field strength, a sequence. Leaves: the signal of its water
and of its fat, in units of the signal of pure water without relaxation.
Intensities drawn by hand per sequence were rejected: with the physics, the
contrast of all sequences at both field strengths agrees by itself.

Sources: T1 of white and grey matter: Rooney et al. 2007, Magn Reson Med 57:308
(1.5 T) and Wansapura et al. 1999, J Magn Reson Imaging 9:531 (3 T). Their T2,
skeletal muscle, optic nerve, blood: Stanisz et al. 2005, Magn Reson Med 54:507.
Subcutaneous fat and marrow: de Bazelaire et al. 2004, Radiology 230:652.
Relaxivity of gadoterate (Dotarem) in plasma: Rohrer et al. 2005, Invest Radiol
40:715 (3.6 and 3.5 L/(mmol s) at 1.5 and 3 T). All are rounded, some moved a
little towards what clinical images show; fluids are from the usual tables. For
the lacrimal gland, parotid, skin, lid, mucosa, sclera and lens no measured pair
was at hand: their values are ours, chosen so that the contrast is that of
clinical orbital MRI (gland near muscle before, bright after contrast).
Concentrations of the contrast agent are ours too.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from acinus.errors import ConfigError, unknown_name

RELAXIVITY = MappingProxyType({1.5: 3.6, 3.0: 3.5})
"""Longitudinal relaxivity of gadoterate by field strength in tesla, L/(mmol s)."""


@dataclass(frozen=True)
class Tissue:
    """What the signal of a tissue follows from.

    Attributes:
        t1_ms: Longitudinal relaxation time at 1.5 T and 3 T, ms.
        t2_ms: Transverse relaxation time at 1.5 T and 3 T, ms.
        density: Proton density, 1 is pure water.
        fat: Share of the protons that is fat, which fat suppression acts on.
        contrast_mmol: Concentration of contrast agent after injection, mmol/L.
    """

    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    density: float
    fat: float = 0.0
    contrast_mmol: float = 0.0


TISSUES: MappingProxyType[str, Tissue] = MappingProxyType(
    {
        "air": Tissue((1000, 1000), (50, 50), 0.0),
        "fat": Tissue((343, 382), (58, 68), 0.95, fat=0.9, contrast_mmol=0.02),
        "orbital_fat": Tissue((335, 375), (60, 70), 0.98, fat=0.93, contrast_mmol=0.03),
        "marrow": Tissue((420, 460), (50, 50), 0.62, fat=0.75, contrast_mmol=0.05),
        "diploe": Tissue((480, 520), (49, 49), 0.45, fat=0.65, contrast_mmol=0.08),
        "cortical_bone": Tissue((1000, 1000), (5, 5), 0.12),
        "muscle": Tissue((1008, 1412), (44, 50), 0.82, fat=0.04, contrast_mmol=0.12),
        "eye_muscle": Tissue((950, 1330), (47, 52), 0.84, contrast_mmol=0.26),
        "gland": Tissue((860, 1150), (62, 66), 0.85, fat=0.04, contrast_mmol=0.75),
        "skin": Tissue((880, 1100), (42, 40), 0.75, fat=0.06, contrast_mmol=0.22),
        "lid": Tissue((920, 1250), (46, 48), 0.80, fat=0.08, contrast_mmol=0.30),
        "mucosa": Tissue((1150, 1450), (75, 75), 0.86, contrast_mmol=0.42),
        "cartilage": Tissue((900, 1150), (35, 35), 0.65, contrast_mmol=0.1),
        "white_matter": Tissue((656, 832), (72, 69), 0.70),
        "grey_matter": Tissue((1188, 1331), (95, 99), 0.82, contrast_mmol=0.02),
        "cerebellum": Tissue((1000, 1180), (82, 84), 0.79, contrast_mmol=0.02),
        "parotid": Tissue((600, 680), (60, 60), 0.9, fat=0.35, contrast_mmol=0.35),
        "csf": Tissue((4200, 4300), (2000, 2000), 1.0),
        "dura": Tissue((1000, 1200), (40, 40), 0.6, contrast_mmol=0.45),
        "optic_nerve": Tissue((815, 1083), (77, 78), 0.72),
        "sclera": Tissue((950, 1100), (20, 20), 0.55, contrast_mmol=0.1),
        "choroid": Tissue((1000, 1300), (50, 50), 0.7, contrast_mmol=0.45),
        "vitreous": Tissue((3900, 4200), (900, 900), 1.0),
        "lens": Tissue((1050, 1250), (28, 27), 0.72),
        "venous_blood": Tissue((1441, 1932), (120, 90), 0.55, contrast_mmol=2.2),
        "flow_void": Tissue((1000, 1000), (20, 20), 0.08),
        "pituitary": Tissue((900, 1150), (70, 70), 0.8, contrast_mmol=0.8),
    }
)


@dataclass(frozen=True)
class Sequence:
    """One of the sequences of the orbital protocol.

    Attributes:
        name: As in the paper.
        dataset: Folder that the sequence is written to.
        fat_suppressed: Whether the signal of fat is suppressed.
        contrast: Whether it is acquired after contrast agent.
        repetition_ms: Repetition time at 1.5 T and 3 T, ms.
        echo_ms: Echo time, ms.
        reader_blur: Factor on the boundary errors of readings: an edge that is
            seen less well is drawn less well.
    """

    name: str
    dataset: str
    fat_suppressed: bool
    contrast: bool
    repetition_ms: tuple[float, float]
    echo_ms: float
    reader_blur: float


SEQUENCES: MappingProxyType[str, Sequence] = MappingProxyType(
    {
        s.name: s
        for s in (
            Sequence("AX-T1", "Dataset001_OrbitT1", False, False, (520, 640), 11, 1.35),
            Sequence("POST-AX-T1-FS", "Dataset002_OrbitPostFS", True, True, (560, 680), 11, 1.0),
            Sequence("AX-T1-FS", "Dataset003_OrbitT1FS", True, False, (560, 680), 11, 1.2),
            Sequence("POST-AX-T1", "Dataset004_OrbitPostT1", False, True, (520, 640), 11, 1.3),
        )
    }
)
"""All sequences by name, in the order of their dataset numbers."""


def find_sequence(name: str) -> Sequence:
    """The sequence of that name; ConfigError names the known ones."""
    if name not in SEQUENCES:
        raise ConfigError(unknown_name("sequence", name, SEQUENCES))
    return SEQUENCES[name]


def spin_echo(
    density: float, t1_ms: float, t2_ms: float, *, repetition_ms: float, echo_ms: float
) -> float:
    """Signal of a spin echo: density (1 - exp(-TR/T1)) exp(-TE/T2).

    Args:
        density: Proton density, 1 is pure water.
        t1_ms: Longitudinal relaxation time, ms, > 0.
        t2_ms: Transverse relaxation time, ms, > 0.
        repetition_ms: TR, ms.
        echo_ms: TE, ms.

    Returns:
        Signal in [0, density].
    """
    recovered = -np.expm1(-repetition_ms / t1_ms)
    return float(density * recovered * np.exp(-echo_ms / t2_ms))


def shorten_t1(t1_ms: float, contrast_mmol: float, relaxivity: float) -> float:
    """T1 with contrast agent, ms: 1/T1' = 1/T1 + relaxivity * concentration.

    Args:
        t1_ms: T1 without agent, ms.
        contrast_mmol: Concentration, mmol/L, >= 0.
        relaxivity: L/(mmol s).
    """
    return 1000.0 / (1000.0 / t1_ms + relaxivity * contrast_mmol)


def tissue_signal(
    tissue: Tissue, sequence: Sequence, field_strength_t: float, uptake: float = 1.0
) -> tuple[float, float]:
    """Signal of a tissue's water and of its fat, before fat suppression.

    Args:
        tissue: The tissue.
        sequence: Its timing, and whether contrast agent was given.
        field_strength_t: 1.5 or 3.0.
        uptake: Factor on the concentration of contrast agent.

    Returns:
        (water, fat), both >= 0; their sum is the signal without suppression.
    """
    column = 0 if field_strength_t < 2 else 1
    t1_ms = tissue.t1_ms[column]
    if sequence.contrast:
        relaxivity = RELAXIVITY[1.5 if column == 0 else 3.0]
        t1_ms = shorten_t1(t1_ms, tissue.contrast_mmol * uptake, relaxivity)
    signal = spin_echo(
        tissue.density,
        t1_ms,
        tissue.t2_ms[column],
        repetition_ms=sequence.repetition_ms[column],
        echo_ms=sequence.echo_ms,
    )
    return signal * (1.0 - tissue.fat), signal * tissue.fat
