"""What nnU-Net's own transforms made of one small image, recorded with fixed parameters.

``tests/data/nnunet_augmentation.json`` holds an image (8, 10, 14), parameters and results of
batchgeneratorsv2 0.3.6, rounded to 4 digits: each transform's ``_apply_to_image`` was called with
the parameters given there, `SpatialTransform` with constant angles and scaling.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_batch import changed

from acinus.train.patches import Batch

RECORD: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "nnunet_augmentation.json").read_text(encoding="utf-8")
)
IMAGE = torch.tensor(RECORD["image"]).view(1, 1, *RECORD["shape"])


def batch_of(image: torch.Tensor, patch: tuple[int, ...]) -> Batch:
    rims = [(size - inside) // 2 for size, inside in zip(image.shape[2:], patch, strict=True)]
    label = torch.zeros(1, *image.shape[2:], dtype=torch.uint8)
    return Batch(image, label, (rims[0], rims[1], rims[2]), ("a",))


@pytest.mark.parametrize(
    "field", ["blur_sigma_vox", "gains", "contrasts", "resolutions", "gammas", "gammas_inverted"]
)
def test_a_change_of_intensity_is_nnunets(field: str) -> None:
    image, _ = changed(batch_of(IMAGE, IMAGE.shape[2:]), **{field: RECORD[field]["value"]})
    np.testing.assert_allclose(image.flatten().numpy(), RECORD[field]["result"], atol=2e-4)


def test_rotation_about_three_axes_and_scaling_are_nnunets() -> None:
    record = RECORD["volume"]
    batch = batch_of(IMAGE, tuple(record["patch"]))
    image, _ = changed(batch, angles=record["angles"], scales=1 / record["step"])
    np.testing.assert_allclose(image.flatten().numpy(), record["result"], atol=2e-4)


def test_rotation_and_scaling_of_a_slice_are_nnunets() -> None:
    record = RECORD["slice"]
    batch = batch_of(IMAGE[:, :, 3:4], (1, *record["patch"]))
    angles = (record["angle"], 0, 0)
    image, _ = changed(batch, n_dims=2, angles=angles, scales=1 / record["step"], in_plane=True)
    np.testing.assert_allclose(image.flatten().numpy(), record["result"], atol=2e-4)


def test_slices_of_a_volume_are_turned_like_single_ones() -> None:
    record = RECORD["slice"]
    batch = batch_of(IMAGE, (4, *record["patch"]))
    fields = {"angles": (record["angle"], 0, 0), "scales": 1 / record["step"], "in_plane": True}
    image, _ = changed(batch, **fields)
    # Slice 3 of the cut is slice 1 of a patch of four without two slices of rim on either side.
    np.testing.assert_allclose(image[0, 0, 1].flatten().numpy(), record["result"], atol=2e-4)
    alone, _ = changed(replace(batch, image=batch.image * 2), **fields)
    torch.testing.assert_close(alone, image * 2)
