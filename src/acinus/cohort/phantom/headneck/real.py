"""Anatomy from real organ maps: 21 organs and six glands drawn by two readers.

Enters: a folder of organ maps, with the readings beside it. Leaves: an `Anatomy`
per case. Maps have slices of 2.5 mm: between slices the signed distance is
interpolated, which keeps drawn areas and gives smooth sides (Raya and Udupa 1990,
IEEE Trans Med Imaging 9:32). At its first and last slice a thin gland would lose a
part of its height by that, an eighth of a lacrimal gland's volume; its outline is
moved outwards until the drawn volume is there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt, zoom

from acinus.cohort.phantom.anatomy import draw_head
from acinus.cohort.phantom.headneck.organs import LABELS, Anatomy, Organ
from acinus.cohort.phantom.making import Reading
from acinus.errors import DataError
from acinus.files import hash_data, hash_file
from acinus.scans import read_labelmap
from acinus.types import Affine, Array

ORGANS = {
    "brain": 1,
    "brainstem": 2,
    "canal": 3,
    "cord": 4,
    "mandible": 5,
    "nerve_right": 12,
    "nerve_left": 13,
}
"""Organ to its value in the maps (Nikolov et al. 2021, as distributed for this use)."""
GLOBES = (10, 11)
"""Values of the right and left globe."""
MAP_VALUES = 21
READINGS: dict[Reading, str] = {"reference": "oncologist", "second": "radiographer"}
"""Reading to its folder beside the maps."""

BRAIN_ELEVATION = np.radians(14.0)
"""Angle of the brain's middle over the plane through the globes, as the head is painted."""
PADS_MM = {"brain": 30.0, "mandible": 30.0}
SUBVOXELS = (5, 3, 3)
"""Parts of a voxel (Z, Y, X) by which volumes between slices are counted."""
PAD_MM = 16.0
"""How far around an organ its distance is known, mm."""


def list_sources(folder: Path) -> list[str]:
    """Cases of a folder of organ maps, sorted.

    Raises:
        DataError: The folder holds no maps, or a reading of a case is missing.
    """
    folder = Path(folder)
    cases = sorted(p.name.removesuffix(".nii.gz") for p in folder.glob("*.nii.gz"))
    if not cases:
        raise DataError(
            f"{folder}: must hold organ maps CASE.nii.gz, with the readings beside it in "
            f"{', '.join(READINGS.values())}; there are none. Name another folder with --anatomy."
        )
    for reading in READINGS.values():
        for case in cases:
            path = folder.parent / reading / f"{case}.nii.gz"
            if not path.is_file():
                raise DataError(
                    f"{path}: must hold the {reading}'s glands of '{case}'; no such file."
                )
    return cases


def hash_sources(folder: Path, cases: Sequence[str]) -> dict[str, str]:
    """Case to one hash of its map and its readings: a corrected file makes another cohort."""
    return {
        case: hash_data(
            [
                hash_file(place / f"{case}.nii.gz")
                for place in (folder, *(folder.parent / one for one in READINGS.values()))
            ]
        )
        for case in cases
    }


def source_patient(case: str) -> str:
    """Whose map a case is: ``0522c0727a`` and ``0522c0727b`` are one patient."""
    return re.sub(r"(?<=\d)[a-z]$", "", case)


def read_anatomy(folder: Path, case: str, rng: np.random.Generator) -> Anatomy:
    """The anatomy of one case.

    Args:
        folder: Organ maps; the readings lie in folders beside it.
        case: Name of the case.
        rng: Draws what the maps do not tell: sinuses, folds of the brain, scalp.

    Raises:
        DataError: A file is unreadable, lacks an organ that everything else hangs on,
            or has another grid than the map.
    """
    path = Path(folder) / f"{case}.nii.gz"
    volume = read_labelmap(path)
    values, affine = volume.array, volume.affine
    if values.min() < 0:
        raise DataError(
            f"{path}: an organ map must hold the numbers of organs, from 0 on; found "
            f"{values.min()}. Correct the file."
        )
    counts = np.bincount(values.ravel().astype(np.intp, copy=False), minlength=MAP_VALUES + 1)
    for name, value in {**ORGANS, "globe_right": GLOBES[0], "globe_left": GLOBES[1]}.items():
        if counts[value] == 0 and not name.startswith("nerve"):
            raise DataError(f"{path}: must hold {name} as value {value}; it does not.")
    points = {
        value: _points(values, value, affine)
        for value in (*GLOBES, *ORGANS.values())
        if counts[value]
    }
    to_head = _head_from_world(*(points[v].mean(axis=0) for v in (*GLOBES, ORGANS["brain"])))
    placed = {value: _move(to_head, p) for value, p in points.items()}
    _refuse_other_world(path, points, placed)
    organs: dict[str, Organ] = {
        name: _distance(values == value, affine, to_head, PADS_MM.get(name, PAD_MM))
        for name, value in ORGANS.items()
        if counts[value]
    }
    glands: dict[str, dict[str, Organ]] = {
        reading: _read_glands(
            Path(folder).parent / place / f"{case}.nii.gz", volume.array, affine, to_head
        )
        for reading, place in READINGS.items()
    }
    globes = [placed[v].mean(axis=0) for v in GLOBES]
    voxel_ml = abs(np.linalg.det(affine[:3, :3]))
    radius = (0.75 / np.pi * voxel_ml * (counts[GLOBES[0]] + counts[GLOBES[1]]) / 2) ** (1 / 3)
    brain, jaw = placed[ORGANS["brain"]], placed[ORGANS["mandible"]]
    head = draw_head(rng, age=60, sex="", condition="normal")
    head = replace(
        head,
        width=float(np.ptp(brain[:, 0]) / 138.0),
        length=float((-82.0 - brain[:, 1].min()) / 86.0 + 0.01),
        height=float((brain[:, 2].max() + 1.0) / 92.0),
        globe_x_mm=float((globes[0][0] - globes[1][0]) / 2),
        globe_radius_mm=float(np.clip(radius, 11.2, 13.2)),
        proptosis_mm=(float(globes[0][1]), float(globes[1][1])),
    )
    return Anatomy(
        source=case,
        head=head,
        globes=tuple((float(g[0]), float(g[1]), float(g[2])) for g in globes),  # type: ignore[arg-type]
        organs=organs,
        glands=glands,
        spine=_spine(placed[ORGANS["canal"]], path),
        chin=_chin(jaw),
        teeth_z=_teeth_height(jaw),
    )


def _refuse_other_world(path: Path, points: dict[int, Array], placed: dict[int, Array]) -> None:
    """A map whose affine and values contradict each other would make a head upside down."""
    right, left = (float(points[value][:, 0].mean()) for value in GLOBES)
    jaw = float(placed[ORGANS["mandible"]][:, 2].mean())
    if right <= left or jaw >= 0:
        raise DataError(
            f"{path}: the right globe (value {GLOBES[0]}) must lie right of the left one "
            f"({GLOBES[1]}) in the world and the mandible below both; x is {right:.0f} and "
            f"{left:.0f} mm, growing towards the patient's right, and the mandible lies "
            f"{abs(jaw):.0f} mm {'above' if jaw >= 0 else 'below'} them. Correct the affine of the "
            "file or its values."
        )


def _points(values: Array, value: int, affine: Affine) -> Array:
    """(N, 3) world positions of up to about 20000 voxels of a value, mm."""
    z, y, x = np.nonzero(values == value)
    step = max(1, x.size // 20000)
    index = np.stack([x[::step], y[::step], z[::step]], axis=1)
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])


def _move(affine: Affine, points: Array) -> Array:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def _head_from_world(right: Array, left: Array, brain: Array) -> Affine:
    """Origin midway between the globes, x along them, the brain's middle at its elevation."""
    origin = (right + left) / 2
    e_x = (right - left) / np.linalg.norm(right - left)
    back = origin - brain
    back -= (back @ e_x) * e_x
    back /= np.linalg.norm(back)
    up = np.cross(e_x, back)
    c, s = np.cos(BRAIN_ELEVATION), np.sin(BRAIN_ELEVATION)
    e_y, e_z = c * back + s * up, c * up - s * back
    affine = np.eye(4)
    affine[:3, :3] = np.stack([e_x, e_y, e_z])
    affine[:3, 3] = -affine[:3, :3] @ origin
    return affine


def _distance(mask: Array, affine: Affine, to_head: Affine, pad_mm: float) -> Organ:
    """Signed distance around a mask, on the mask's own voxels."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    window, first = [], []
    for axis in range(3):
        line = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        pad = int(np.ceil(pad_mm / spacing[axis]))
        low = max(int(line[0]) - pad, 0)
        window.append(slice(low, min(int(line[-1]) + 1 + pad, mask.shape[axis])))
        first.append(low)
    inside = mask[tuple(window)]
    outside_mm = distance_transform_edt(~inside, spacing)
    inside_mm = distance_transform_edt(inside, spacing)
    half = 0.5 * float(spacing.min())
    values = np.where(inside, half - inside_mm, outside_mm - half).astype(np.float32)
    index = np.asarray(np.linalg.inv(to_head @ affine), np.float64)
    index[:3, 3] -= first[::-1]
    return Organ(values, index)


def _read_glands(path: Path, values: Array, affine: Affine, to_head: Affine) -> dict[str, Organ]:
    drawn = read_labelmap(path)
    if drawn.array.shape != values.shape or not np.allclose(drawn.affine, affine, atol=1e-3):
        raise DataError(
            f"{path}: must lie on the grid of the organ map, {values.shape}; got "
            f"{drawn.array.shape}. Resample it onto the map."
        )
    glands = {
        name: _with_drawn_volume(_distance(mask, affine, to_head, PAD_MM), int(mask.sum()))
        for name, value in LABELS.items()
        if (mask := drawn.array == value).any()
    }
    for right in glands:
        left = right.replace("_right", "_left")
        if left == right or left not in glands:
            continue
        x_mm = [
            float(_points(drawn.array, LABELS[name], affine)[:, 0].mean()) for name in (right, left)
        ]
        if x_mm[0] <= x_mm[1]:
            raise DataError(
                f"{path}: '{right}' must lie right of '{left}' in the world; their centres lie at "
                f"x = {x_mm[0]:.0f} and {x_mm[1]:.0f} mm, which grows towards the patient's right. "
                "Correct the affine of the file or its values."
            )
    return glands


def _with_drawn_volume(organ: Organ, n_voxels: int) -> Organ:
    """The organ, its surface moved so that what it encloses has the volume of so many voxels."""
    near = [
        slice(max(0, int(line.min()) - 2), int(line.max()) + 3)
        for line in np.nonzero(organ.values < 0)
    ]
    fine = zoom(
        organ.values[tuple(near)], SUBVOXELS, order=1, mode="nearest", grid_mode=True
    ).ravel()
    n = n_voxels * int(np.prod(SUBVOXELS))
    level = float(np.partition(fine, n)[n]) if n < fine.size else 0.0
    return replace(organ, values=organ.values - np.float32(level))


def _spine(canal: Array, path: Path) -> Array:
    """Middle of the canal every 10 mm, smoothed, and carried on straight at both ends."""
    heights = np.arange(np.ceil(canal[:, 2].min()) + 5, canal[:, 2].max() - 5, 10.0)
    rows = [
        canal[np.abs(canal[:, 2] - h) < 6].mean(axis=0)
        for h in heights
        if (np.abs(canal[:, 2] - h) < 6).any()
    ]
    if not rows:
        raise DataError(
            f"{path}: must hold more than 10 mm of the spinal canal (value {ORGANS['canal']}), by "
            f"which the neck is bent; it holds {np.ptp(canal[:, 2]):.0f} mm."
        )
    line = np.stack(rows)
    line[:, 0] = np.polyval(np.polyfit(line[:, 2], line[:, 0], 1), line[:, 2])
    top = line[-1] + [0.0, 2.0, 20.0]
    return np.vstack([line, top])


def _chin(jaw: Array) -> tuple[float, float, float]:
    """Foremost point of the lower part of the mandible."""
    middle = jaw[np.abs(jaw[:, 0] - np.median(jaw[:, 0])) < 15]
    point = middle[middle[:, 1] > middle[:, 1].max() - 6].mean(axis=0)
    return (float(point[0]), float(middle[:, 1].max()), float(middle[:, 2].min()))


def _teeth_height(jaw: Array) -> float:
    """Upper edge of the mandible's front, a little higher: where the teeth meet."""
    middle = jaw[(np.abs(jaw[:, 0]) < 14) & (jaw[:, 1] > jaw[:, 1].max() - 16)]
    return float(middle[:, 2].max() + 4.0)
