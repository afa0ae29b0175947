"""How each centre scans: grids, protocols, noise and shading, the shift between centres.

Enters: a site, a contrast, a size, random numbers. Leaves: the grid of a scan with the
trunk's pose in it, and the scanner's state. Centres 1 and 2 of MR and the internal
collection of CT are alike; the others differ from them in resolution and thickness,
noise, shading and contrast. The differences are ours: the PanSegNet study reports that
there are shifts, not what they consist of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from acinus.cohort.phantom.abdomen_people import Person
from acinus.cohort.phantom.abdomen_tissues import MrProtocol
from acinus.cohort.phantom.geometry import ScanPlan, rotation
from acinus.cohort.phantom.shapes import triple

Size = Literal["small", "full"]

DATASETS = {
    "T1": "Dataset021_PancreasT1",
    "T2": "Dataset022_PancreasT2",
    "CT": "Dataset023_PancreasCT",
}
"""Contrast to the folder that it is written to."""

MATRIX: dict[tuple[str, Size], tuple[int, int, float]] = {
    ("MR", "small"): (64, 80, 6.0),
    ("MR", "full"): (208, 256, 4.0),
    ("CT", "small"): (64, 80, 6.0),
    ("CT", "full"): (256, 256, 2.5),
}
"""Rows, columns and slice distance (mm) of a site without a shift.

Small keeps the whole field of view, coarsely, so that a study of many trainings fits two
cores. Real CT has 512 x 512 pixels: full has half, to keep a cohort affordable.
"""
LENGTH_MM = {"MR": 172.0, "CT": 190.0}
"""Covered along the trunk."""
ROOM = 1.07
"""Width of the field of view over that of the trunk."""


USUAL_T1 = MrProtocol("T1", 4.2, 1.9, flip_deg=12.0, fat_suppressed=True)
USUAL_T2 = MrProtocol("T2", 4500.0, 85.0)


@dataclass(frozen=True)
class Site:
    """What differs at a site; 1 is like at the internal ones.

    Attributes:
        finer: Factor on the number of pixels.
        slice: Factor on the distance of slices.
        noise: Factor on the noise.
        shading: Factor on the bias field of MR.
        leak: Fat signal left by suppression on MR.
        t1, t2: Protocols of MR.
        dose, early: Strength and phase of the enhancement on CT.
        blur_mm: Softness of the reconstruction, full width at half maximum.
    """

    finer: float = 1.0
    slice: float = 1.0
    noise: float = 1.0
    shading: float = 1.0
    leak: float = 0.10
    t1: MrProtocol = USUAL_T1
    t2: MrProtocol = USUAL_T2
    dose: float = 1.0
    early: float = 0.0
    blur_mm: float = 0.0


SITES: dict[str, Site] = {
    "centre1": Site(),
    "centre2": Site(finer=0.95, slice=1.08, noise=1.15),
    "centre3": Site(
        slice=1.25,
        noise=1.3,
        shading=1.5,
        t1=MrProtocol("T1", 3.6, 1.3, flip_deg=10.0, uptake=0.8, fat_suppressed=True),
        t2=MrProtocol("T2", 3000.0, 70.0),
    ),
    "centre4": Site(
        finer=0.85,
        slice=1.35,
        noise=1.5,
        shading=2.2,
        leak=0.22,
        t1=MrProtocol("T1", 5.5, 2.4, flip_deg=15.0, uptake=0.6, fat_suppressed=True),
        t2=MrProtocol("T2", 6000.0, 110.0),
        blur_mm=1.5,
    ),
    "centre5": Site(
        finer=1.1,
        slice=0.9,
        noise=1.8,
        shading=2.6,
        leak=0.26,
        t1=MrProtocol("T1", 3.9, 1.2, flip_deg=9.0, uptake=0.5, fat_suppressed=True),
        t2=MrProtocol("T2", 2500.0, 95.0, fat_suppressed=True),
    ),
    "internal": Site(),
    "external1": Site(slice=1.0, noise=1.5, dose=0.65, early=0.3),
    "external2": Site(finer=1.05, slice=0.85, noise=1.9, early=0.9),
    "external3": Site(finer=0.9, slice=1.25, noise=1.3, dose=0.85, blur_mm=2.0),
}


@dataclass(frozen=True)
class Scanner:
    """Faults of one scan.

    Attributes:
        noise: Standard deviation in voxels of the scan: over `gain` on MR, HU on CT.
        shading: (9,) coefficients of the coil's smooth sensitivity.
        leak: Share of the fat signal that suppression leaves.
        gain: Written value of the liver's signal on MR, before contrast agent.
        dose, early: Strength and phase of the enhancement on CT.
        uptake: Factor on the concentrations of contrast agent on MR.
        blur_mm: Softness of the reconstruction.
    """

    noise: float
    shading: tuple[float, ...]
    leak: float
    gain: float
    dose: float
    early: float
    uptake: float
    blur_mm: float


def draw_scanner(rng: np.random.Generator, person: Person, size: Size) -> Scanner:
    """Faults of a usual scan at the person's site."""
    site = SITES[person.site]
    varied = site.noise * float(np.exp(rng.normal(0.0, 0.15)))
    if person.modality == "CT":
        noise = (14.0 if size == "full" else 8.0) * varied
    else:
        snr = 1.0 if (person.field_strength_t or 1.5) < 2 else 1.4
        noise = (0.11 if size == "full" else 0.06) * varied / snr
    return Scanner(
        noise=noise,
        shading=tuple(float(v) for v in site.shading * rng.normal(0.0, 0.09, 9)),
        leak=float(np.clip(site.leak * np.exp(rng.normal(0.0, 0.3)), 0.02, 0.7)),
        gain=float(rng.uniform(150.0, 700.0)),
        dose=float(np.clip(site.dose * np.exp(rng.normal(0.0, 0.12)), 0.2, 1.4)),
        early=float(np.clip(site.early + rng.normal(0.0, 0.12), -0.2, 1.0)),
        uptake=float(np.exp(rng.normal(0.0, 0.12))),
        blur_mm=site.blur_mm,
    )


@dataclass(frozen=True)
class Lying:
    """How a person lies; shared by the person's scans.

    Attributes:
        angles: Pitch, roll and yaw of the trunk, degrees.
        shift_mm: Of the trunk in the field of view, (right, anterior, superior).
    """

    angles: tuple[float, float, float]
    shift_mm: tuple[float, float, float]


def draw_lying(rng: np.random.Generator) -> Lying:
    """A usual pose."""
    angles, shift = rng.normal(0.0, [1.5, 1.5, 2.5]), rng.normal(0.0, [4.0, 3.0, 7.0])
    return Lying(triple(angles), triple(shift))


def plan_abdomen(
    rng: np.random.Generator,
    person: Person,
    size: Size,
    lying: Lying,
    extent_mm: tuple[float, float, float],
) -> ScanPlan:
    """The grid of one scan, and the trunk in it after another breath.

    Args:
        rng: Source of randomness.
        person: Whose scan; the site decides on the grid.
        size: Small or full.
        lying: Pose of the person.
        extent_mm: Width and depth of the trunk, and where its middle lies (anterior).
    """
    site = SITES[person.site]
    rows, columns, step = MATRIX[person.modality, size]
    rows, columns = (8 * round(n * site.finer / 8) for n in (rows, columns))
    pixel = ROOM * max(extent_mm[0] / columns, extent_mm[1] / rows) * rng.uniform(1.0, 1.04)
    step *= site.slice
    n_slices = round(LENGTH_MM[person.modality] / step)
    affine = np.eye(4)
    affine[:3, :3] = rotation(*rng.normal(0.0, 0.5, 3)) @ np.diag([-pixel, -pixel, step])
    world_from_body = np.eye(4)
    world_from_body[:3, :3] = rotation(*(np.asarray(lying.angles) + rng.normal(0.0, 0.5, 3)))
    breath = rng.normal(0.0, [1.0, 1.5, 3.5])
    world_from_body[:3, 3] = np.asarray(lying.shift_mm) + breath
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2, (n_slices - 1) / 2])
    affine[:3, 3] = [0.0, extent_mm[2], 0.0] - affine[:3, :3] @ middle
    affine = np.round(affine, 6)
    return ScanPlan(
        shape=(n_slices, rows, columns),
        affine=affine,
        body_from_world=np.asarray(np.linalg.inv(world_from_body), dtype=np.float64),
        n_acquired=columns,
        thickness_mm=float(step),
    )
