"""A simple body below the neck, so that the head must be found in a large volume.

Enters: an `Anatomy`, random numbers. Leaves: a coarse `Layer` with trunk, lungs,
heart, liver, spleen, kidneys, bowel, bladder, spine, pelvis, arms up or down, legs.
It serves to look unlike a head and to be large; its organs carry no label and no
claim on anatomy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from acinus.cohort.phantom.anatomy import Body, body
from acinus.cohort.phantom.headneck.contrast import CODES
from acinus.cohort.phantom.headneck.layers import Layer, paint_box
from acinus.cohort.phantom.headneck.neck import beside_canal, neck_bodies, neck_skin
from acinus.cohort.phantom.headneck.organs import Anatomy
from acinus.cohort.phantom.shapes import box, capsule, ellipsoid, join
from acinus.types import Array

Extent = Literal["none", "torso", "whole"]

BOTTOM_MM = {"torso": -760.0, "whole": -1720.0}
"""Lower end of the body, mm below the globes."""
TOP_MM = -120.0
SHOULDER_MM = -235.0


def paint_body(anatomy: Anatomy, rng: np.random.Generator, extent: Extent, step_mm: float) -> Layer:
    """The body's layer; the neck reaches into the head's layer.

    Args:
        anatomy: The head and neck that the body hangs on.
        rng: Draws size, arms and breathing.
        extent: ``"torso"`` or ``"whole"``.
        step_mm: Edge of a voxel.
    """
    size = float(np.exp(rng.normal(0.0, 0.07)))
    arms_up = bool(rng.random() < 0.5)
    bend = float(rng.uniform(0.0, 25.0))
    top = 190.0 if arms_up else TOP_MM
    reach = ((-290.0, 290.0), (-300.0, 90.0), (BOTTOM_MM[extent], top))

    def paint(x: Array, y: Array, z: Array) -> Array:
        tissues = np.zeros(x.shape, np.uint8)
        for item in _bodies(anatomy, x, y, z, size, arms_up, bend):
            distance = item.combine(*item.fields) if item.combine else item.fields[0]
            tissues[distance < 0] = CODES[item.tissue]
        return tissues

    return paint_box(paint, reach, step_mm)


def _bodies(
    anatomy: Anatomy, x: Array, y: Array, z: Array, size: float, arms_up: bool, bend: float
) -> Iterator[Body]:
    right, anterior = anatomy.canal(np.array([-225.0]))
    cx, cy = float(right[0]), float(anterior[0]) + 70.0
    x, y = x - cx, (y - cy) / size
    side = np.abs(x) / size
    limbs = [_arm(side, y, z, arms_up, bend)]
    trunk = np.full_like(x, 60.0)
    if z.max() < SHOULDER_MM + 90:
        chest = box(side, y, z, (0, 0, -430), (165, 105, 225), 95.0)
        belly = box(side, y, z, (0, 2, -720), (155, 100, 190), 90.0)
        trunk = join(chest, belly, 60.0)
        limbs.append(_legs(side, y, z))
    skin = limbs[0]
    for limb in limbs[1:]:
        skin = join(skin, limb, 25.0)
    skin = join(skin, trunk, 25.0)
    neck = np.maximum(neck_skin(anatomy, x + cx, y * size + cy, z), SHOULDER_MM - 40.0 - z)
    neck = np.maximum(neck, z - TOP_MM)
    skin = join(skin, neck, 30.0)
    yield body("skin", skin)
    yield body("fat", skin + 3.0)
    yield body("muscle", skin + 14.0)
    yield from _limb_bones(side, y, z, arms_up, bend)
    if z.max() < SHOULDER_MM + 60:
        yield from _trunk_organs(x, side, y, z, trunk)
    if z.min() > SHOULDER_MM - 30:
        yield from neck_bodies(
            anatomy, x + cx, y * size + cy, z, np.maximum(neck, skin), np.zeros_like(x)
        )
    else:
        yield from _spine(anatomy, x + cx, y * size + cy, z)


def _arm_joints(arms_up: bool, bend: float) -> tuple[tuple[float, float, float], ...]:
    if arms_up:
        return (170.0, -5.0, -265.0), (205.0, 20.0, -40.0), (110.0 + bend, 30.0, 170.0)
    return (175.0, -5.0, -285.0), (215.0, -25.0, -560.0), (205.0 - bend, 15.0, -800.0)


def _arm(side: Array, y: Array, z: Array, arms_up: bool, bend: float) -> Array:
    shoulder, elbow, hand = _arm_joints(arms_up, bend)
    upper = capsule(side, y, z, shoulder, elbow, (58.0, 42.0))
    lower = capsule(side, y, z, elbow, hand, (42.0, 26.0))
    return join(upper, lower, 10.0)


def _legs(side: Array, y: Array, z: Array) -> Array:
    thigh = capsule(side, y, z, (88.0, 0.0, -860.0), (80.0, 5.0, -1270.0), (82.0, 58.0))
    calf = capsule(side, y, z, (80.0, 5.0, -1270.0), (75.0, -5.0, -1660.0), (56.0, 36.0))
    return join(thigh, calf, 15.0)


def _limb_bones(side: Array, y: Array, z: Array, arms_up: bool, bend: float) -> Iterator[Body]:
    shoulder, elbow, hand = _arm_joints(arms_up, bend)
    bones = capsule(side, y, z, shoulder, elbow, (14.0, 12.0))
    bones = np.minimum(bones, capsule(side, y, z, elbow, hand, (13.0, 9.0)))
    bones = np.minimum(
        bones, capsule(side, y, z, (92.0, -5.0, -800.0), (78.0, 5.0, -1265.0), (18, 20))
    )
    bones = np.minimum(
        bones, capsule(side, y, z, (78.0, 5.0, -1275.0), (75.0, -5.0, -1650.0), (18, 13))
    )
    yield body("cortical_bone", bones)
    yield body("marrow", bones + 4.0)
    blade = box(side, y, z, (95, -82, -330), (45, 5, 60), 4.0)
    collar = capsule(side, y, z, (20, 62, -262), (150, 20, -255), (7.0, 7.0))
    yield body("cortical_bone", np.minimum(blade, collar))


def _trunk_organs(x: Array, side: Array, y: Array, z: Array, trunk: Array) -> Iterator[Body]:
    inside = trunk + 22.0
    ribs = np.maximum(np.abs(trunk + 19.0) - 4.0, np.abs(np.mod(z + 0.35 * y, 30.0) - 15.0) - 5.0)
    ribs = np.maximum(np.maximum(ribs, np.abs(z + 400.0) - 175.0), 12.0 - side)
    yield body("cortical_bone", ribs)
    yield body("cortical_bone", box(x, y, z, (0, 88, -380), (17, 6, 80), 4.0))
    hollow = np.maximum(inside, np.abs(z + 630.0) - 235.0)
    yield body("fat", hollow)
    lungs = ellipsoid(side, y, z, (78, 0, -425), (62, 82, 165))
    lungs = np.maximum(np.maximum(lungs, inside), -565.0 - z - 0.3 * y)
    yield body("lung", lungs)
    branches = np.abs(np.sin(0.11 * x + 0.05 * z)) + np.abs(np.sin(0.12 * y - 0.06 * z))
    yield body("venous_blood", np.maximum(lungs + 6.0, (branches - 0.22) * 12.0))
    yield body("heart", np.maximum(ellipsoid(x, y, z, (-22, 35, -480), (55, 45, 62)), inside))
    yield body("artery", capsule(x, y, z, (-10, 0, -370), (-12, -50, -620), (12.0, 10.0)))
    yield body("air", capsule(x, y, z, (0, 5, -230), (0, -20, -370), (8.0, 8.0)))
    yield body("liver", np.maximum(ellipsoid(x, y, z, (70, 15, -610), (92, 78, 72)), inside))
    yield body("spleen", np.maximum(ellipsoid(x, y, z, (-105, -40, -610), (30, 38, 52)), inside))
    yield body("kidney", ellipsoid(side, y, z, (62, -52, -690), (26, 26, 52)))
    loops = np.sin(0.09 * x) + np.sin(0.08 * y + 1.0) + np.sin(0.085 * z)
    gut = ellipsoid(x, y, z, (0, 25, -770), (115, 60, 90))
    yield body("bowel", np.maximum(np.maximum(gut, inside), (0.25 - loops) * 9.0))
    yield body("air", np.maximum(np.maximum(gut, inside), (1.5 - loops) * 9.0))
    pelvis = np.maximum(
        np.abs(ellipsoid(x, y, z, (0, -5, -850), (132, 88, 95))) - 8.0, z + 770.0 + 0.4 * y
    )
    yield body("cortical_bone", np.maximum(pelvis, 25.0 - side))
    yield body("bladder", ellipsoid(x, y, z, (0, 35, -860), (42, 32, 32)))


def _spine(anatomy: Anatomy, x: Array, y: Array, z: Array) -> Iterator[Body]:
    u, v = beside_canal(anatomy, x, y, z)
    inside = np.maximum(np.abs(z + 520.0) - 330.0, 0.0)
    trunk = np.hypot(u * 0.8, v - 22.0) - 19.0 + inside
    disc = np.abs(np.mod(z, 30.0) - 15.0) - 11.5
    yield body("cartilage", trunk + 1.5)
    yield body("marrow", np.maximum(trunk, disc))
    wings = np.maximum(np.maximum(np.abs(u) - 32.0, np.abs(v + 2.0) - 6.0), disc + 5.0) + inside
    thorn = np.maximum(np.maximum(np.abs(u) - 4.0, np.abs(v + 22.0) - 20.0), disc + 4.0) + inside
    yield body("cortical_bone", np.minimum(wings, thorn))
    yield body("csf", np.hypot(u, v) - 8.5 + inside)
    yield body("cord", np.hypot(u, v) - 5.0 + inside)
