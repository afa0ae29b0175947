"""A small dataset on disk, written with nibabel and not with the code under test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

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
    wide = int(rng.integers(3, 5))
    label[17 : 17 + wide, 12:15, 5:8] = 1
    label[7 - wide : 7, 12:15, 5:8] = 2
    image[label > 0] += 80
    return image, label


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a faultless dataset and gives its folder."""

    def make(
        name: str = "Dataset001_Glands",
        case_ids: list[str] | None = None,
        *,
        n_channels: int = 1,
        participants: str | None = None,
        seed: int = 2018,
        **header: Any,
    ) -> Path:
        folder = tmp_path / name
        rng = np.random.default_rng(seed)
        case_ids = case_ids or [f"p{number:02d}" for number in range(6)]
        for case_id in case_ids:
            image, label = head_and_glands(rng)
            for channel in range(n_channels):
                path = folder / "imagesTr" / f"{case_id}_{channel:04d}.nii.gz"
                write_nifti(path, image + 7 * channel, centred_affine())
            write_nifti(folder / "labelsTr" / f"{case_id}.nii.gz", label, centred_affine())
        data = {
            "name": name,
            "channel_names": {str(n): f"T{n + 1}" for n in range(n_channels)},
            "labels": {"background": 0, "gland_right": 1, "gland_left": 2},
            "numTraining": len(case_ids),
            "file_ending": ".nii.gz",
            "sides": {"gland_right": "right", "gland_left": "left"},
            "mirror_pairs": [["gland_right", "gland_left"]],
            **header,
        }
        data = {key: value for key, value in data.items() if value is not None}
        (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
        if participants is not None:
            (folder / "participants.tsv").write_text(participants, encoding="utf-8")
        return folder

    return make
