"""A small faultless dataset on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_dataset import centred_affine, head_and_glands, write_nifti


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
