"""Equality with nnU-Net's preparation: tests/data/nnunet_preparation.json holds its results.

The file was made by scripts/record_nnunet_preparation.py with nnunetv2 2.8.1 and batchgenerators
0.25.5; the inputs follow from the formulas repeated here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acinus.plan.settings import ChannelIntensity, PrepareSettings
from acinus.prepare import PreparedCase, prepare_case, restore
from acinus.prepare.resample import coarse_axis, resample_image, resample_label
from acinus.scans import Volume

RECORDED = json.loads(
    (Path(__file__).parents[1] / "data/nnunet_preparation.json").read_text(encoding="utf-8")
)
RESAMPLED: tuple[tuple[Any, Any, Any], ...] = (
    ((5, 11, 9), (3.0, 0.8, 0.9), (1.6, 1.0, 1.1)),
    ((12, 8, 7), (0.7, 0.8, 0.9), (3.4, 0.8, 1.0)),
    ((9, 8, 6), (0.7, 0.8, 2.9), (1.0, 1.0, 1.2)),
    ((6, 12, 10), (1.0, 0.5, 0.5), (1.0, 1.0, 1.0)),
    ((1, 12, 10), (1.0, 0.5, 0.5), (1.0, 0.7, 0.7)),
    ((8, 9, 7), (1.5, 1.5, 0.4), (1.0, 1.0, 0.6)),
)
COARSE = (0, 0, 2, None, None, None)
PREPARED: dict[str, dict[str, Any]] = {
    "z_score": {"n_channels": 2, "old": (2.5, 0.9, 1.0), "new": (2.5, 1.2, 1.2)},
    "ct": {"n_channels": 1, "old": (1.6, 0.9, 1.0), "new": (1.2, 1.2, 1.2)},
}
SIZE = (8, 14, 12)


def made_image(shape: tuple[int, ...], phase: float = 0.0) -> np.ndarray:
    count = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    z, y, x = np.indices(shape)
    smooth = np.cos(0.7 * z + phase) + np.sin(0.4 * y) * np.cos(0.5 * x)
    return np.asarray(smooth + np.sin(1.7 * count + phase), dtype=np.float32)


def made_label(shape: tuple[int, ...]) -> np.ndarray:
    z, y, x = ((index + 0.5) / size for index, size in zip(np.indices(shape), shape, strict=True))
    label = np.zeros(shape, np.uint8)
    label[(z - 0.45) ** 2 + (y - 0.4) ** 2 + (x - 0.4) ** 2 < 0.08] = 1
    label[(z - 0.6) ** 2 + (y - 0.55) ** 2 + (x - 0.6) ** 2 < 0.05] = 2
    label[x > 0.8] = 3
    return label


def made_case(n_channels: int) -> tuple[np.ndarray, np.ndarray]:
    inside = np.zeros(SIZE, bool)
    inside[1:-1, 2:-3, 3:-1] = True
    inside[3:5, 5:8, 6:8] = False
    channels = [40 * made_image(SIZE, phase) + 20 for phase in range(n_channels)]
    label = made_label(SIZE)
    return np.stack(channels) * inside, np.where(inside, label, 0).astype(np.uint8)


def made_logits(shape: tuple[int, ...]) -> np.ndarray:
    z, y, x = np.indices(shape) / np.array(shape)[:, None, None, None]
    waves = [np.cos(5 * z + k) + np.sin(6 * y - k) * np.cos(4 * x + 2 * k) for k in range(3)]
    return np.stack(waves).astype(np.float32)


def digits(text: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.array([int(one) for one in text], np.uint8).reshape(shape)


def most_probable(maps: torch.Tensor) -> torch.Tensor:
    return maps.argmax(dim=1).to(torch.uint8)


@pytest.mark.parametrize("number", range(len(RESAMPLED)))
def test_splines_and_the_coarse_axis_are_nnunets(number: int) -> None:
    shape, old, new = RESAMPLED[number]
    recorded = RECORDED["resampled"][number]
    size = tuple(recorded["size"])
    coarse = coarse_axis(old, new)
    assert coarse == COARSE[number]
    image = torch.from_numpy(made_image(shape))
    cubic = resample_image(image, size, "cubic", coarse)
    np.testing.assert_allclose(cubic.numpy().ravel(), recorded["cubic"], atol=2e-5)
    label = resample_label(made_label(shape), size, "cubic", coarse)
    np.testing.assert_array_equal(label, digits(recorded["label"], size))


def prepared(name: str) -> tuple[PreparedCase, np.ndarray]:
    case = PREPARED[name]
    channels, label = made_case(case["n_channels"])
    affine = np.diag([*case["old"][::-1], 1.0])
    settings = PrepareSettings(
        normalisation=name,
        normalise_nonzero=name == "z_score",
        intensity=(ChannelIntensity(mean=30, sd=25, low=-40, high=90),) if name == "ct" else None,
        crop_to_nonzero=True,
        spacing_mm=case["new"],
        interpolation="cubic",
        slice_axis="Z",
    )
    volumes = [Volume(channel, affine) for channel in channels]
    return prepare_case(volumes, settings, Volume(label, affine)), label


@pytest.mark.parametrize("name", PREPARED)
def test_crop_intensities_and_resampling_together_are_nnunets(name: str) -> None:
    recorded = RECORDED["prepared"][name]
    case, _ = prepared(name)
    assert case.image.shape[1:] == tuple(recorded["size"])
    np.testing.assert_allclose(case.image.ravel(), recorded["image"], atol=3e-5)
    assert case.label is not None
    np.testing.assert_array_equal(case.label, digits(recorded["label"], case.label.shape))


@pytest.mark.parametrize("name", PREPARED)
@pytest.mark.parametrize("n_planes", [1, 3, 100])
def test_the_way_back_of_logits_is_nnunets(name: str, n_planes: int) -> None:
    case, label = prepared(name)
    logits = torch.from_numpy(made_logits(case.image.shape[1:]))
    back = restore(logits.split(n_planes, dim=1), case.geometry, most_probable)
    expected = digits(RECORDED["prepared"][name]["restored"], label.shape)
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(back.array, expected)
