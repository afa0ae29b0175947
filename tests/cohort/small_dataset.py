"""Parts of a small dataset, written with nibabel and not with the code under test."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE_XYZ = (24, 20, 12)
SPACING_XYZ = (2.0, 2.0, 3.0)


def write_nifti(path: Path, array_xyz: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array_xyz, affine), path)


def centred_affine(
    shape_xyz: tuple[int, int, int] = SHAPE_XYZ,
    spacing_xyz: tuple[float, float, float] = SPACING_XYZ,
) -> np.ndarray:
    """RAS+ affine whose world origin is the middle of the array."""
    affine = np.diag([*spacing_xyz, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape_xyz) - 1) / 2
    return affine


def head_and_glands(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, z) image of a noisy head, and labels: 1 in the right gland, 2 in the left.

    x grows towards the patient's right, as the affine of `centred_affine` says.
    """
    image = rng.normal(100, 10, SHAPE_XYZ).astype(np.float32)
    label = np.zeros(SHAPE_XYZ, np.uint8)
    label[17:21, 12:15, 5:8] = 1
    label[3:7, 12:15, 5:8] = 2
    label[rng.random(SHAPE_XYZ) < 0.2] = 0
    image[label > 0] += 80
    return image, label
