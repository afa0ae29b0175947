"""The trunk: proportions of one person's abdomen, drawn once and shared by its scans.

Enters: random numbers per person. Leaves: a frozen `Trunk`; `trunk_bodies` gives the
bodies it is painted from. Trunk coordinates are (right, anterior, superior) mm with the
origin in the middle of the abdomen, about at the second lumbar vertebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acinus.cohort.phantom.abdomen_people import Condition
from acinus.cohort.phantom.pancreas import Pancreas, Settling, draw_pancreas
from acinus.cohort.phantom.shapes import Triple, triple

MOVED = (
    "liver",
    "left_lobe",
    "spleen",
    "kidney_right",
    "kidney_left",
    "stomach",
    "duodenum",
    "colon",
    "gallbladder",
    "vessels",
)
"""Parts that have a place and size of their own in each person."""


@dataclass(frozen=True)
class Trunk:
    """Everything about one person's abdomen that shows on a scan.

    Attributes:
        settling: Size and smooth deformation of the whole anatomy.
        fat_mm: Thickness of fat under the skin at the sides, in front, at the back.
        muscle: Factor on the thickness of the muscles.
        visceral: Factor on the depth of the cavity: fat within.
        moved: Part to its shift (right, anterior, superior), mm, and factor on its size.
        loops: Bowel: start, end, radius (mm) of each loop.
        gas: Share of stomach and of colon that is gas.
        stomach_fill: Factor on the stomach's thickness.
        uptake: Tissue to factor on its enhancement.
        pancreas: The pancreas.
        condition: Its state.
        seed: For the texture of the tissues.
    """

    settling: Settling
    fat_mm: Triple
    muscle: float
    visceral: float
    moved: dict[str, tuple[Triple, float]]
    loops: tuple[tuple[Triple, Triple, float], ...]
    gas: tuple[float, float]
    stomach_fill: float
    uptake: dict[str, float]
    pancreas: Pancreas
    condition: Condition
    seed: int


def draw_trunk(rng: np.random.Generator, *, age: int, sex: str, condition: Condition) -> Trunk:
    """A trunk of random proportions.

    Args:
        rng: Source of randomness; the same state gives the same trunk.
        age: Years; muscle and pancreas shrink with age, visceral fat grows.
        sex: ``"F"`` or ``"M"``; male trunks are larger, with less fat under the skin.
        condition: State of the pancreas.
    """
    is_male = sex == "M"
    size = (1.03 if is_male else 0.96) * float(np.exp(rng.normal(0.0, 0.025)))
    waves = np.column_stack(
        [
            rng.normal(0.0, [1.8, 1.8, 1.8], (3, 3)),
            rng.normal(0.0, [0.018, 0.018, 0.02], (3, 3)),
            rng.uniform(0, 2 * np.pi, 3),
        ]
    )
    settling = Settling(size, tuple(tuple(float(v) for v in row) for row in waves))
    fat = float(np.clip(rng.lognormal(np.log(13.0 if is_male else 19.0), 0.4), 5.0, 45.0))
    sides = fat * np.array([1.0, rng.uniform(0.7, 1.3), rng.uniform(0.8, 1.2)])
    moved = {
        part: (
            (float(shift[0]), float(shift[1]), float(shift[2])),
            float(np.exp(rng.normal(0.0, 0.05))),
        )
        for part, shift in zip(
            MOVED, rng.normal(0.0, [3.0, 3.0, 5.0], (len(MOVED), 3)), strict=True
        )
    }
    uptake = {
        name: float(np.exp(rng.normal(0.0, sd)))
        for name, sd in (
            ("liver", 0.12),
            ("spleen", 0.10),
            ("pancreas", 0.12),
            ("kidney_cortex", 0.12),
            ("kidney_medulla", 0.2),
            ("bowel_wall", 0.15),
            ("artery", 0.12),
            ("vein", 0.12),
            ("muscle", 0.1),
        )
    }
    return Trunk(
        settling=settling,
        fat_mm=(float(sides[0]), float(sides[1]), float(sides[2])),
        muscle=float(np.exp(rng.normal(0.0 if is_male else -0.08, 0.1)) - 0.002 * (age - 60)),
        visceral=float(np.clip(rng.normal(1.0 + 0.001 * (age - 60), 0.05), 0.88, 1.15)),
        moved=moved,
        loops=_draw_loops(rng),
        gas=(float(rng.uniform(0.0, 0.8)), float(rng.uniform(0.1, 0.9))),
        stomach_fill=float(np.clip(rng.normal(0.92, 0.15), 0.55, 1.2)),
        uptake=uptake,
        pancreas=draw_pancreas(rng, settling, age=age, sex=sex, condition=condition),
        condition=condition,
        seed=int(rng.integers(2**31)),
    )


def _draw_loops(rng: np.random.Generator) -> tuple[tuple[Triple, Triple, float], ...]:
    """Loops of small bowel: jejunum on the left, ileum below on the right."""
    loops = []
    for low, high, n in (
        ((-90.0, 4.0, -100.0), (-10.0, 66.0, -8.0), 18),
        ((0.0, 15.0, -110.0), (75.0, 66.0, -66.0), 7),
    ):
        for _ in range(n):
            middle = rng.uniform(low, high)
            half = rng.normal(0.0, [18.0, 12.0, 8.0])
            start, end = middle - half, middle + half
            loops.append((triple(start), triple(end), float(rng.uniform(8.5, 13.5))))
    return tuple(loops)
