"""What an abdominal tissue looks like: relaxation times for MR, Hounsfield units for CT.

Enters: a tissue, a protocol. Leaves: signal of its water and fat on MR, or its
attenuation on CT. As for the orbit, the contrast follows from physics: a spoiled
gradient echo (T1, venous, fat-suppressed) and a spin echo with a long repetition (T2).

Sources: T1 and T2 of liver, spleen, pancreas, kidney, muscle, marrow and fat at 1.5 and
3 T: de Bazelaire et al. 2004, Radiology 230:652. The T2 of fat is lengthened, since
trains of echoes show it bright; that of the pancreas is lengthened a little towards what
clinical images show. Values of other tissues, concentrations of contrast agent and
attenuations are ours, of the order that radiology textbooks print.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from acinus.cohort.phantom.tissues import RELAXIVITY, Tissue, shorten_t1, spin_echo


@dataclass(frozen=True)
class Organ:
    """What the look of an abdominal tissue follows from.

    Attributes:
        mr: Relaxation times, density, fat and venous concentration of contrast agent.
        plain_hu: Attenuation without contrast agent, HU.
        enhancement_hu: Added in the portal venous phase, HU.
        texture: Relative spread of its signal on MR between neighbouring places.
        vascular: Share of the enhancement that comes early, with the arteries, in [0, 1].
    """

    mr: Tissue
    plain_hu: float
    enhancement_hu: float = 0.0
    texture: float = 0.05
    vascular: float = 0.5


def _fluid(hu: float = 8.0) -> Organ:
    return Organ(Tissue((3600, 4000), (650, 650), 1.0), hu, texture=0.02)


ORGANS: MappingProxyType[str, Organ] = MappingProxyType(
    {
        "air": Organ(Tissue((1000, 1000), (50, 50), 0.0), -1000.0, texture=0.0),
        "lung": Organ(Tissue((1200, 1300), (25, 20), 0.10, contrast_mmol=0.2), -830.0, 30.0),
        "gas": Organ(Tissue((1000, 1000), (50, 50), 0.02), -930.0, texture=0.0),
        "skin": Organ(Tissue((880, 1100), (42, 40), 0.7, contrast_mmol=0.15), 20.0, 15.0),
        "fat": Organ(Tissue((343, 382), (120, 120), 0.93, fat=0.94), -104.0, texture=0.04),
        "visceral_fat": Organ(
            Tissue((343, 382), (115, 115), 0.90, fat=0.90, contrast_mmol=0.02),
            -98.0,
            texture=0.07,
        ),
        "muscle": Organ(Tissue((856, 898), (29, 31), 0.85, contrast_mmol=0.10), 52.0, 10.0),
        "cortical_bone": Organ(Tissue((1000, 1000), (5, 5), 0.15), 420.0, texture=0.02),
        "marrow": Organ(
            Tissue((549, 586), (55, 55), 0.8, fat=0.45, contrast_mmol=0.12), 150.0, 20.0
        ),
        "disc": Organ(Tissue((900, 1000), (60, 58), 0.75, contrast_mmol=0.05), 80.0, 5.0),
        "csf": _fluid(12.0),
        "cord": Organ(Tissue((745, 993), (74, 78), 0.75, contrast_mmol=0.02), 35.0, 3.0),
        "liver": Organ(
            Tissue((586, 809), (46, 38), 0.88, contrast_mmol=0.42), 57.0, 55.0, 0.04, 0.35
        ),
        "spleen": Organ(
            Tissue((1057, 1328), (82, 66), 0.90, contrast_mmol=0.62), 48.0, 72.0, 0.03, 0.7
        ),
        "pancreas": Organ(
            Tissue((584, 725), (58, 52), 0.88, contrast_mmol=0.40), 42.0, 58.0, 0.07, 0.75
        ),
        "duct": _fluid(),
        "cyst": _fluid(10.0),
        "bile": Organ(Tissue((2400, 2700), (500, 500), 1.0), 9.0, texture=0.02),
        "kidney_cortex": Organ(
            Tissue((966, 1142), (87, 78), 0.90, contrast_mmol=1.05), 34.0, 135.0, 0.03, 0.9
        ),
        "kidney_medulla": Organ(
            Tissue((1412, 1545), (88, 82), 0.92, contrast_mmol=0.85), 30.0, 110.0, 0.03, 0.3
        ),
        "bowel_wall": Organ(
            Tissue((780, 960), (60, 54), 0.86, contrast_mmol=0.42), 38.0, 56.0, 0.06, 0.6
        ),
        "chyme": Organ(Tissue((1500, 1700), (180, 170), 0.95), 18.0, texture=0.10),
        "stool": Organ(Tissue((650, 700), (75, 70), 0.6, fat=0.1), 25.0, texture=0.25),
        "artery": Organ(
            Tissue((1441, 1932), (12, 10), 0.9, contrast_mmol=1.1), 42.0, 108.0, 0.02, 1.0
        ),
        "vein": Organ(
            Tissue((1441, 1932), (16, 13), 0.9, contrast_mmol=1.2), 42.0, 126.0, 0.02, 0.35
        ),
        "adrenal": Organ(Tissue((700, 850), (70, 65), 0.85, contrast_mmol=0.45), 25.0, 45.0),
    }
)
"""Every tissue by name. Flowing blood has a short T2 here: spin echoes show it dark."""


@dataclass(frozen=True)
class MrProtocol:
    """How a centre makes a sequence.

    Attributes:
        contrast: ``T1`` or ``T2``.
        repetition_ms, echo_ms: Timing.
        flip_deg: Flip angle of a gradient echo.
        uptake: Factor on the concentrations of contrast agent: dose and phase.
        fat_suppressed: Whether the signal of fat is suppressed.
    """

    contrast: str
    repetition_ms: float
    echo_ms: float
    flip_deg: float = 90.0
    uptake: float = 1.0
    fat_suppressed: bool = False


def spoiled_echo(
    density: float,
    t1_ms: float,
    t2_ms: float,
    *,
    repetition_ms: float,
    echo_ms: float,
    flip_deg: float,
) -> float:
    """Signal of a spoiled gradient echo, with T2 in place of T2*.

    Args:
        density: Proton density, 1 is pure water.
        t1_ms: Longitudinal relaxation time, ms, > 0.
        t2_ms: Transverse relaxation time, ms, > 0.
        repetition_ms: TR, ms.
        echo_ms: TE, ms.
        flip_deg: Flip angle, degrees; 90 gives a spin echo's recovery.

    Returns:
        Signal in [0, density].
    """
    decayed = np.exp(-repetition_ms / t1_ms)
    angle = np.radians(flip_deg)
    steady = np.sin(angle) * (1.0 - decayed) / (1.0 - np.cos(angle) * decayed)
    return float(density * steady * np.exp(-echo_ms / t2_ms))


def mr_signal(
    organ: Organ, protocol: MrProtocol, field_strength_t: float, uptake: float = 1.0
) -> tuple[float, float]:
    """Signal of a tissue's water and of its fat, before fat suppression.

    Args:
        organ: The tissue.
        protocol: Sequence and timing.
        field_strength_t: 1.5 or 3.0.
        uptake: Factor on the concentration of contrast agent in this person's tissue.

    Returns:
        (water, fat), both >= 0.
    """
    tissue = organ.mr
    column = 0 if field_strength_t < 2 else 1
    t1_ms, t2_ms = tissue.t1_ms[column], tissue.t2_ms[column]
    if protocol.contrast == "T2":
        signal = spin_echo(
            tissue.density,
            t1_ms,
            t2_ms,
            repetition_ms=protocol.repetition_ms,
            echo_ms=protocol.echo_ms,
        )
    else:
        agent = tissue.contrast_mmol * uptake * protocol.uptake
        signal = spoiled_echo(
            tissue.density,
            shorten_t1(t1_ms, agent, RELAXIVITY[1.5 if column == 0 else 3.0]),
            t2_ms,
            repetition_ms=protocol.repetition_ms,
            echo_ms=protocol.echo_ms,
            flip_deg=protocol.flip_deg,
        )
    return signal * (1.0 - tissue.fat), signal * tissue.fat


def ct_value(organ: Organ, *, dose: float, early: float, uptake: float = 1.0) -> float:
    """Attenuation of a tissue, HU.

    Args:
        organ: The tissue.
        dose: Factor on all enhancement; 0 is a plain scan.
        early: 0 in the portal venous phase, up to 1 towards the arterial one: what enhances
            with the arteries gains, what enhances late loses.
        uptake: Factor on the enhancement of this person's tissue.
    """
    phase = 1.0 + early * 1.2 * (organ.vascular - 0.6)
    return organ.plain_hu + organ.enhancement_hu * dose * uptake * phase


def fatty(organ: Organ, share: float) -> Organ:
    """A tissue of which fat has replaced a share, for CT and for texture."""
    fat = ORGANS["visceral_fat"]
    return replace(
        organ,
        plain_hu=organ.plain_hu * (1 - share) + fat.plain_hu * share,
        enhancement_hu=organ.enhancement_hu * (1 - share),
        texture=organ.texture + 0.15 * share,
    )
