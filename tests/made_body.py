"""A synthetic body on CT, in HU, drawn with ellipsoids: no anatomy is claimed."""

from __future__ import annotations

import numpy as np

from acinus.scans import Volume

SPACING_MM = 5.0


def body(
    *,
    height_mm: float = 700.0,
    width_mm: float = 450.0,
    above_vertex_mm: float = 20.0,
    arms_up: bool = True,
    couch: bool = True,
    head: bool = True,
    below_head_mm: float | None = None,
    seed: int = 2018,
) -> tuple[Volume, np.ndarray]:
    """CT of 5 mm voxels in RAS order, and the centre of the brain in the world, mm.

    Args:
        height_mm: Of the scan, downwards from its top.
        width_mm: Of the square slices.
        above_vertex_mm: Air above the vertex; negative where the scan cuts the head off.
        arms_up: Whether the arms are raised beside the head.
        couch: Whether a couch is behind the body.
        head: Whether there is one.
        below_head_mm: Where the scan ends below the brain's centre; None: at its height.
        seed: Of the noise.
    """
    n_z, n_x = round(height_mm / SPACING_MM), round(width_mm / SPACING_MM)
    z, y, x = (index * SPACING_MM for index in np.indices((n_z, n_x, n_x), sparse=True))
    middle = width_mm / 2
    top = height_mm - above_vertex_mm
    brain = np.array([top - 80, middle, middle])

    def ball(centre: np.ndarray, radii: tuple[float, float, float]) -> np.ndarray:
        parts = zip((z, y, x), centre, radii, strict=True)
        return np.asarray(sum(((a - c) / r) ** 2 for a, c, r in parts) < 1)

    def rod(at_y: float, at_x: float, radius_y: float, radius_x: float) -> np.ndarray:
        return np.asarray(((y - at_y) / radius_y) ** 2 + ((x - at_x) / radius_x) ** 2 < 1)

    array = np.full((n_z, n_x, n_x), -1000.0)
    trunk = rod(middle, middle, 105, 180) & (z < top - 290)
    array[trunk] = 40
    ribs = trunk & ~rod(middle, middle, 95, 170) & (z > top - 520) & (z % 20 < 8)
    array[ribs] = 500
    for side in (-1, 1):
        array[rod(middle, middle + side * 80, 70, 60) & (z > top - 520) & (z < top - 320)] = -850
    array[rod(middle - 60, middle, 16, 16) & (z < top - 150)] = 500
    if head:
        neck = rod(middle - 20, middle, 60, 60) & (z < top - 130) & (z >= top - 300)
        array[neck & (array < -500)] = 40
        array[ball(np.add(brain, (-75, 30, 0)), (75, 65, 60)) & (array < -500)] = 35
        array[ball(brain, (88, 98, 78))] = 35
        skull = ball(brain, (82, 92, 73)) & ~ball(brain, (75, 85, 66))
        array[skull] = 1000
    if arms_up:
        for side in (-1, 1):
            arm = rod(middle, middle + side * 130, 35, 35) & (z > top - 350)
            array[arm] = 40
            array[rod(middle, middle + side * 130, 9, 9) & (z > top - 350)] = 900
    if couch:
        array[np.broadcast_to((y < middle - 118) & (y > middle - 130), array.shape)] = -80
    array += np.random.default_rng(seed).normal(0, 10, array.shape)
    affine = np.diag([SPACING_MM] * 3 + [1.0])
    affine[:3, 3] = -middle, -middle, -height_mm
    first = 0
    if below_head_mm is not None:
        first = max(0, round((brain[0] - below_head_mm) / SPACING_MM))
        affine[2, 3] += first * SPACING_MM
    centre = np.add(brain[::-1], (-middle, -middle, -height_mm))
    return Volume(array[first:].astype(np.int16), affine), centre
