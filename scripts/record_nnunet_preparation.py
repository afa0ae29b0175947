"""Record nnU-Net's preparation of small made-up cases and its way back, as oracle of a test.

Runs where nnunetv2 and scikit-image are installed (development only)::

    python scripts/record_nnunet_preparation.py tests/data/nnunet_preparation.json

Inputs follow from formulas, so that the file holds results only and the test can rebuild them.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

RESAMPLED: tuple[tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]], ...] = (
    ((5, 11, 9), (3.0, 0.8, 0.9), (1.6, 1.0, 1.1)),
    ((12, 8, 7), (0.7, 0.8, 0.9), (3.4, 0.8, 1.0)),
    ((9, 8, 6), (0.7, 0.8, 2.9), (1.0, 1.0, 1.2)),
    ((6, 12, 10), (1.0, 0.5, 0.5), (1.0, 1.0, 1.0)),
    ((1, 12, 10), (1.0, 0.5, 0.5), (1.0, 0.7, 0.7)),
    ((8, 9, 7), (1.5, 1.5, 0.4), (1.0, 1.0, 0.6)),
)
"""Shape, spacing and new spacing: coarse first axis by the old or the new spacing, coarse last
axis, none coarse, a single slice, two axes coarse (which count as none)."""

PREPARED: dict[str, dict[str, Any]] = {
    "z_score": {"n_channels": 2, "old": (2.5, 0.9, 1.0), "new": (2.5, 1.2, 1.2)},
    "ct": {"n_channels": 1, "old": (1.6, 0.9, 1.0), "new": (1.2, 1.2, 1.2)},
}
CT = {"mean": 30.0, "std": 25.0, "percentile_00_5": -40.0, "percentile_99_5": 90.0}
SIZE = (8, 14, 12)


def made_image(shape: tuple[int, ...], phase: float = 0.0) -> np.ndarray:
    """float32 between -3 and 3, rough and smooth parts, without a random generator."""
    count = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    z, y, x = np.indices(shape)
    smooth = np.cos(0.7 * z + phase) + np.sin(0.4 * y) * np.cos(0.5 * x)
    return np.asarray(smooth + np.sin(1.7 * count + phase), dtype=np.float32)


def made_label(shape: tuple[int, ...]) -> np.ndarray:
    """uint8: two balls that touch and a slab along the last axis."""
    z, y, x = ((index + 0.5) / size for index, size in zip(np.indices(shape), shape, strict=True))
    label = np.zeros(shape, np.uint8)
    label[(z - 0.45) ** 2 + (y - 0.4) ** 2 + (x - 0.4) ** 2 < 0.08] = 1
    label[(z - 0.6) ** 2 + (y - 0.55) ** 2 + (x - 0.6) ** 2 < 0.05] = 2
    label[x > 0.8] = 3
    return label


def made_case(n_channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Channels (C, Z, Y, X) with a border of zeros and a cavity, and a label within."""
    inside = np.zeros(SIZE, bool)
    inside[1:-1, 2:-3, 3:-1] = True
    inside[3:5, 5:8, 6:8] = False
    channels = [40 * made_image(SIZE, phase) + 20 for phase in range(n_channels)]
    label = made_label(SIZE)
    return np.stack(channels) * inside, np.where(inside, label, 0).astype(np.uint8)


def made_logits(shape: tuple[int, ...]) -> np.ndarray:
    """(3, ...) float32, smooth enough to have regions."""
    z, y, x = np.indices(shape) / np.array(shape)[:, None, None, None]
    waves = [np.cos(5 * z + k) + np.sin(6 * y - k) * np.cos(4 * x + 2 * k) for k in range(3)]
    return np.stack(waves).astype(np.float32)


def main(path: Path) -> None:
    """Write the oracle file."""
    # nnU-Net's imports reach torchvision, whose operators need not exist beside a CPU torch.
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    made = {
        "made_by": "scripts/record_nnunet_preparation.py",
        "nnunetv2": version("nnunetv2"),
        "batchgenerators": version("batchgenerators"),
        "resampled": [_resampled(*case) for case in RESAMPLED],
        "prepared": {name: _prepared(name, **case) for name, case in PREPARED.items()},
    }
    path.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")


def _resampled(shape: Any, old: Any, new: Any) -> dict[str, Any]:
    from nnunetv2.preprocessing.resampling.default_resampling import (
        compute_new_shape,
        resample_data_or_seg_to_shape,
    )

    size = compute_new_shape(shape, old, new)
    fit = partial(resample_data_or_seg_to_shape, new_shape=size, order_z=0, force_separate_z=None)
    spacing = {"current_spacing": old, "new_spacing": new}
    image, label = made_image(shape)[None], made_label(shape)[None].astype(np.int8)
    return {
        "size": [int(n) for n in size],
        "cubic": _numbers(fit(image, order=3, is_seg=False, **spacing)),
        "label": _digits(fit(label, order=1, is_seg=True, **spacing)),
    }


def _prepared(name: str, n_channels: int, old: Any, new: Any) -> dict[str, Any]:
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    scheme = "CTNormalization" if name == "ct" else "ZScoreNormalization"
    fit = partial(resample_data_or_seg_to_shape, order_z=0, force_separate_z=None)
    labels = SimpleNamespace(
        has_regions=False,
        foreground_labels=[1, 2, 3],
        has_ignore_label=False,
        convert_logits_to_segmentation=lambda logits: torch.as_tensor(logits).argmax(0).numpy(),
    )
    plans = SimpleNamespace(
        transpose_forward=[0, 1, 2],
        transpose_backward=[0, 1, 2],
        foreground_intensity_properties_per_channel={str(n): CT for n in range(n_channels)},
        get_label_manager=lambda _: labels,
    )
    configuration = SimpleNamespace(
        spacing=list(new),
        normalization_schemes=[scheme] * n_channels,
        use_mask_for_norm=[name == "z_score"] * n_channels,
        resampling_fn_data=partial(fit, order=3, is_seg=False),
        resampling_fn_seg=partial(fit, order=1, is_seg=True),
        resampling_fn_probabilities=partial(fit, order=1, is_seg=False),
    )
    channels, label = made_case(n_channels)
    data, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        channels, label[None].astype(np.int8), {"spacing": list(old)}, plans, configuration, {}
    )
    restored = convert_predicted_logits_to_segmentation_with_correct_shape(
        made_logits(data.shape[1:]),
        plans,
        configuration,
        labels,
        {**properties, "spacing": list(old)},
        num_threads_torch=1,
    )
    return {
        "size": list(data.shape[1:]),
        "image": _numbers(data),
        # nnU-Net marks what lies outside of the image by -1 until it draws patches.
        "label": _digits(np.maximum(seg, 0)),
        "restored": _digits(restored),
    }


def _numbers(array: np.ndarray) -> list[float]:
    return [float(f"{value:.5f}") for value in array.ravel()]


def _digits(array: np.ndarray) -> str:
    return "".join(str(int(value)) for value in array.ravel())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
