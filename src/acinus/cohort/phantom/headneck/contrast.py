"""What each tissue looks like: Hounsfield units, MR physics, or anything at all.

Enters: random numbers and the name of a contrast. Leaves: mean and texture of
every tissue. T1, T2 and FLAIR follow from relaxation times, so their contrasts
agree among themselves; ``random`` draws the modality, the timing and often each
tissue by itself, so that a network cannot rely on any fixed contrast (the idea of
Billot et al. 2023, Med Image Anal 86:102789). Hounsfield units are of textbooks;
those of the glands lie near the report's Figures 33 to 38 (parotid lower than the
other two). Extra relaxation times are ours, as in the orbit phantom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np

from acinus.cohort.phantom.tissues import RELAXIVITY, TISSUES, Tissue, shorten_t1
from acinus.types import Array

Contrast = Literal["ct", "t1", "t2", "random"]
CONTRASTS: tuple[Contrast, ...] = get_args(Contrast)

Modality = Literal["CT", "MR"]

MORE_TISSUES: dict[str, Tissue] = {
    "artery": Tissue((1440, 1930), (120, 90), 0.25, contrast_mmol=1.2),
    "submandibular": Tissue((900, 1100), (70, 68), 0.88, fat=0.1, contrast_mmol=0.45),
    "tooth": Tissue((1000, 1000), (3, 3), 0.05),
    "filling": Tissue((1000, 1000), (1, 1), 0.0),
    "cord": Tissue((750, 900), (76, 74), 0.72),
    "node": Tissue((1000, 1300), (70, 70), 0.84, contrast_mmol=0.3),
    "thyroid": Tissue((900, 1100), (65, 65), 0.85, contrast_mmol=0.6),
    "lung": Tissue((1100, 1200), (25, 20), 0.15, contrast_mmol=0.2),
    "liver": Tissue((550, 800), (46, 40), 0.8, contrast_mmol=0.4),
    "spleen": Tissue((1050, 1300), (75, 65), 0.85, contrast_mmol=0.5),
    "kidney": Tissue((950, 1150), (75, 70), 0.87, contrast_mmol=0.7),
    "heart": Tissue((1050, 1350), (55, 48), 0.7, contrast_mmol=1.0),
    "bowel": Tissue((1100, 1300), (70, 65), 0.8, contrast_mmol=0.3),
    "bladder": Tissue((3500, 3600), (900, 900), 1.0),
    "couch": Tissue((1000, 1000), (1, 1), 0.0),
    "couch_core": Tissue((1000, 1000), (1, 1), 0.0),
}
"""Tissues that the orbit phantom does not have."""

PHYSICS: dict[str, Tissue] = {**TISSUES, **MORE_TISSUES}
CODES: dict[str, int] = {name: code for code, name in enumerate(PHYSICS)}
"""Tissue to its value in painted maps; air is 0."""

HU: dict[str, tuple[float, float, float]] = {
    "air": (-1000, 0, 0),
    "fat": (-100, 10, 2),
    "orbital_fat": (-90, 10, 3),
    "marrow": (260, 80, 15),
    "diploe": (420, 90, 20),
    "cortical_bone": (1150, 110, 0),
    "muscle": (55, 10, 12),
    "eye_muscle": (45, 8, 30),
    "gland": (42, 8, 35),
    "skin": (25, 12, 8),
    "lid": (25, 8, 15),
    "mucosa": (35, 8, 40),
    "cartilage": (80, 15, 5),
    "white_matter": (29, 3, 4),
    "grey_matter": (37, 3, 7),
    "cerebellum": (35, 4, 6),
    "parotid": (5, 16, 30),
    "csf": (8, 3, 0),
    "dura": (55, 6, 50),
    "optic_nerve": (32, 5, 4),
    "sclera": (55, 5, 10),
    "choroid": (45, 5, 30),
    "vitreous": (8, 3, 0),
    "lens": (80, 5, 0),
    "venous_blood": (45, 4, 110),
    "flow_void": (45, 4, 150),
    "pituitary": (45, 5, 60),
    "artery": (45, 4, 150),
    "submandibular": (45, 9, 40),
    "tooth": (1900, 250, 0),
    "filling": (1800, 100, 0),
    "cord": (36, 4, 3),
    "node": (40, 5, 40),
    "thyroid": (100, 10, 80),
    "lung": (-840, 50, 10),
    "liver": (57, 8, 50),
    "spleen": (48, 6, 65),
    "kidney": (35, 8, 130),
    "heart": (42, 6, 110),
    "bowel": (0, 60, 20),
    "bladder": (6, 3, 5),
    "couch": (-150, 20, 0),
    "couch_core": (-930, 10, 0),
}
"""Tissue to mean, texture and enhancement by full contrast agent, HU."""

METAL_HU = 6000.0
INFILTRATED = 0.6
"""Share of random looks in which fat lies within the lacrimal glands, as it does with age."""
MOST_FAT = 0.5
"""Most of a gland that is fat then."""
FAT_OF_FAST_ECHOES = 2.0
"""Factor on the T2 of fat: trains of echoes leave fat bright."""


@dataclass(frozen=True, eq=False)
class Look:
    """How one scan shows the tissues.

    Attributes:
        modality: Whether values are Hounsfield units or magnitudes.
        kind: What was drawn, for the table of truths.
        mean: (n tissues,) by `CODES`; HU, or a magnitude with about 1 for the brightest.
        texture: (n tissues,) standard deviation within a tissue.
        agent: Share of the full contrast agent, 0 without.
        metal: Whether fillings are metal.
        clumps: Share of the texture's variance in clumps of some millimetres, in [0, 1].
    """

    modality: Modality
    kind: str
    mean: Array
    texture: Array
    agent: float
    metal: bool
    clumps: float = 0.0


def draw_look(rng: np.random.Generator, contrast: Contrast) -> Look:
    """A look of the given contrast.

    Args:
        rng: Source of randomness.
        contrast: ``"ct"``, ``"t1"``, ``"t2"``, or ``"random"`` for any of these, for
            inversion recovery, and for looks that no scanner makes.
    """
    if contrast == "ct":
        return _ct(rng)
    spin: tuple[float, float, float | None]
    if contrast == "t1":
        post = rng.random() < 0.4
        agent = float(rng.uniform(0.6, 1.2)) if post else 0.0
        spin = (rng.uniform(430, 750), rng.uniform(8, 17), None)
        return _mr(rng, "t1", *spin, agent, _suppression(rng, 0.25), 0.05)
    if contrast == "t2":
        spin = (rng.uniform(3300, 6500), rng.uniform(78, 125), None)
        return _mr(rng, "t2", *spin, 0.0, _suppression(rng, 0.25), 0.05)
    drawn = rng.choice(
        ["ct", "t1", "t2", "flair", "any_mr", "any"], p=[0.15, 0.2, 0.12, 0.13, 0.15, 0.25]
    )
    return _uneven(rng, _drawn(rng, drawn))


def _drawn(rng: np.random.Generator, drawn: str) -> Look:
    """One of the kinds that ``random`` draws from."""
    if drawn in ("ct", "t1", "t2"):
        return draw_look(rng, cast("Contrast", drawn))
    spin: tuple[float, float, float | None]
    if drawn == "flair":
        spin = (rng.uniform(7000, 11500), rng.uniform(80, 150), rng.uniform(2050, 2800))
        return _mr(rng, "flair", *spin, 0.0, _suppression(rng, 0.3), 0.08)
    if drawn == "any_mr":
        repetition = float(np.exp(rng.uniform(np.log(300), np.log(8000))))
        inversion = float(rng.uniform(150, 2800)) if rng.random() < 0.3 else None
        agent = float(rng.uniform(0.3, 1.3)) if rng.random() < 0.4 else 0.0
        echo = float(np.exp(rng.uniform(np.log(6), np.log(130))))
        return _mr(rng, "any_mr", repetition, echo, inversion, agent, _suppression(rng, 0.3), 0.15)
    return _anything(rng)


def _uneven(rng: np.random.Generator, look: Look) -> Look:
    """The look with tissues that are less uniform: fat within glands, septa within fat, clumps."""
    mean, texture = look.mean.copy(), look.texture * np.exp(rng.uniform(0.0, 0.9))
    gland, fat, muscle = (CODES[name] for name in ("gland", "orbital_fat", "eye_muscle"))
    away = mean[fat] - mean[gland]
    if rng.random() < INFILTRATED:
        share = rng.uniform(0.0, MOST_FAT)
        mean[gland] += share * away
        texture[gland] += 0.5 * share * abs(away)
    texture[fat] += rng.uniform(0.0, 0.15) * abs(mean[fat] - mean[muscle])
    return replace(look, mean=mean, texture=texture, clumps=float(rng.uniform(0.0, 0.8)))


def _suppression(rng: np.random.Generator, chance: float) -> float:
    """Share of the signal of fat that is suppressed."""
    return float(rng.uniform(0.7, 0.97)) if rng.random() < chance else 0.0


def _ct(rng: np.random.Generator) -> Look:
    table = np.array([HU[name] for name in CODES], float)
    agent = float(rng.uniform(0.4, 1.2)) if rng.random() < 0.5 else 0.0
    mean = table[:, 0] + agent * table[:, 2] + rng.normal(0.0, 0.35, len(table)) * table[:, 1]
    mean[CODES["air"]] = -1000.0
    fatty = rng.normal(0.0, 22.0)
    mean[CODES["parotid"]] += fatty
    mean[CODES["submandibular"]] += 0.4 * fatty
    metal = bool(rng.random() < 0.6)
    if metal:
        mean[CODES["filling"]] = METAL_HU
    return Look("CT", "ct_agent" if agent else "ct", mean, table[:, 1], agent, metal)


def _mr(
    rng: np.random.Generator,
    kind: str,
    repetition_ms: float,
    echo_ms: float,
    inversion_ms: float | None,
    agent: float,
    suppressed: float,
    jitter: float,
) -> Look:
    """Signals from relaxation times, each tissue a little different from the table's."""
    column = int(rng.integers(2))
    mean = np.empty(len(PHYSICS))
    for code, tissue in enumerate(PHYSICS.values()):
        t1 = shorten_t1(
            tissue.t1_ms[column], tissue.contrast_mmol * agent, RELAXIVITY[(1.5, 3.0)[column]]
        )
        t2 = tissue.t2_ms[column]
        if tissue.fat > 0.5 and repetition_ms > 1500:
            t2 *= FAT_OF_FAST_ECHOES
        recovered = 1.0 - np.exp(-repetition_ms / t1)
        if inversion_ms is not None:
            recovered = 1.0 - 2.0 * np.exp(-inversion_ms / t1) + np.exp(-repetition_ms / t1)
        signal = tissue.density * abs(recovered) * np.exp(-echo_ms / t2)
        mean[code] = signal * (1.0 - tissue.fat * suppressed)
    mean *= np.exp(rng.normal(0.0, jitter, mean.size))
    mean /= np.sort(mean)[-4]
    texture = mean * (0.04 + 0.04 * rng.random(mean.size))
    texture[CODES["parotid"]] *= 2.0
    name = kind + ("_agent" if agent else "") + ("_fs" if suppressed else "")
    return Look("MR", name, mean, texture, agent, metal=bool(rng.random() < 0.3))


ALIKE = (
    ("air", "couch", "couch_core", "filling"),
    ("cortical_bone", "tooth"),
    ("marrow", "diploe"),
    ("fat", "orbital_fat"),
    ("muscle", "eye_muscle", "bowel", "heart"),
    ("csf", "vitreous", "bladder"),
    ("venous_blood", "artery", "flow_void"),
    ("white_matter", "cord", "optic_nerve"),
    ("grey_matter", "cerebellum", "pituitary"),
    ("skin", "lid", "sclera", "cartilage", "dura"),
    ("mucosa", "choroid", "thyroid", "node"),
    ("parotid", "submandibular"),
    ("liver", "spleen", "kidney"),
)
"""Tissues that look alike in most contrasts; `any` looks draw one value for each row."""


def _anything(rng: np.random.Generator) -> Look:
    """A look that no scanner makes: a value for each kind of tissue, out of nothing."""
    mean = rng.uniform(0.05, 1.0, len(CODES))
    for row in ALIKE:
        value = rng.uniform(0.05, 1.0)
        for name in row:
            mean[CODES[name]] = np.clip(value * np.exp(rng.normal(0, 0.12)), 0.0, 1.2)
    mean[[CODES[n] for n in ALIKE[0]]] = 0.0
    gland = mean[CODES["gland"]]
    while abs(gland - mean[CODES["orbital_fat"]]) < 0.12:
        gland = rng.uniform(0.05, 1.0)
    mean[CODES["gland"]] = gland
    if rng.random() < 0.6:
        bone = rng.uniform(0.0, 0.12)
        mean[CODES["cortical_bone"]], mean[CODES["tooth"]] = bone, bone
    texture = rng.uniform(0.01, 0.07, len(CODES))
    texture[CODES["air"]] = 0.0
    return Look("MR", "any", mean, texture, 0.0, metal=False)
