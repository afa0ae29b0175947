"""A dataset of synthetic volumes of 40×512×512 voxels, for `against_nnunet.py`.

Heads of an ellipsoid and noise with a bright and a dark ball, 3.5 × 0.43 × 0.43 mm: no anatomy,
but the size of an MRI of the orbits. Marked as synthetic.

    python benchmarks/large_phantom.py FOLDER/Dataset040_Large
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE_ZYX = (40, 512, 512)
SPACING_XYZ = (0.43, 0.43, 3.5)


def make(folder: Path, n_cases: int) -> None:
    """Write the dataset in nnU-Net's raw layout."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    affine = np.diag([*SPACING_XYZ, 1.0])
    z, y, x = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in SHAPE_ZYX)]
    inside = (y / 0.92) ** 2 + (x / 0.8) ** 2 + (z / 1.2) ** 2 < 1
    for number in range(n_cases):
        rng = np.random.default_rng([40, number])
        image = np.where(inside, 100.0, 5.0) + rng.normal(0, 8, SHAPE_ZYX)
        label = np.zeros(SHAPE_ZYX, np.uint8)
        for value, side in ((1, 1), (2, -1)):
            cz, cy, cx = np.array([0.1, 0.4, 0.4 * side]) + rng.uniform(-0.03, 0.03, 3)
            ball = ((z - cz) / 0.25) ** 2 + ((y - cy) / 0.06) ** 2 + ((x - cx) / 0.05) ** 2 < 1
            label[ball] = value
            image[ball] += 60 if value == 1 else -60
        case = f"synthetic_{number:03d}"
        for part, array, ending in (
            ("imagesTr", np.clip(image, 0, None).astype(np.int16), "_0000"),
            ("labelsTr", label, ""),
        ):
            path = folder / part / f"{case}{ending}.nii.gz"
            nib.save(nib.Nifti1Image(np.ascontiguousarray(array.T), affine), path)
    header = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "ball_right": 1, "ball_left": 2},
        "numTraining": n_cases,
        "file_ending": ".nii.gz",
        "description": "Synthetic.",
    }
    (folder / "dataset.json").write_text(json.dumps(header), encoding="utf-8")


def main() -> None:
    """Parse and make."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=6)
    given = parser.parse_args()
    make(given.folder, given.cases)


if __name__ == "__main__":
    main()
