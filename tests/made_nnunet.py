"""Results folders as nnU-Net writes them, with made weights, for tests.

Names, shapes and plans come from tests/data/nnunet_models.json, which was made with nnunetv2 by
scripts/record_nnunet_models.py; weights and images follow from the same formulas as there.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

RECORDED = Path(__file__).parent / "data" / "nnunet_models.json"


@cache
def recorded() -> dict[str, Any]:
    return dict(json.loads(RECORDED.read_text(encoding="utf-8")))


def made_weight(name: str, index: int, shape: tuple[int, ...]) -> torch.Tensor:
    n = int(np.prod(shape))
    wave = np.sin(np.arange(n) * 12.9898 + index * 78.233) * 43758.5453
    values = (wave - np.floor(wave)) - 0.5
    if len(shape) == 1:
        values = 0.4 * values + (1.0 if name.endswith("weight") else 0.0)
    else:
        values = values * 3.5 / np.sqrt(n / shape[0])
    if "seg_layers" in name:
        values = values * 8 if len(shape) > 1 else values
        values = values - values.reshape(shape[0], -1).mean(1).repeat(n // shape[0])
    return torch.tensor(values.reshape(shape), dtype=torch.float32)


def made_image(shape: tuple[int, ...], phase: float) -> np.ndarray:
    z, y, x = np.indices(shape)
    image = np.sin(0.9 * z + phase) + np.cos(0.35 * y) * np.sin(0.45 * x + phase)
    image = image + 0.2 * np.sin(2.1 * x + 1.3 * y)
    inside = (y > 1) & (y < shape[1] - 3) & (x > 2)
    return np.where(inside, image, 0).astype(np.float32)


def made_state(network: str, shapes: list[list[int]], fold: int = 0) -> OrderedDict[str, Any]:
    """State of a network as nnU-Net saves it: many names share a tensor."""
    names = recorded()["networks"][network]["names"]
    first = {index: name for name, index in reversed(names)}
    tensors = [
        made_weight(first[index], index + 1000 * fold, tuple(shape))
        for index, shape in enumerate(shapes)
    ]
    return OrderedDict((name, tensors[index]) for name, index in names)


def made_checkpoint(state: Any, **changes: Any) -> dict[str, Any]:
    """Content of checkpoint_final.pth, with NumPy's numbers in the log as genuine ones have."""
    return {
        "network_weights": state,
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []},
        "grad_scaler_state": None,
        "logging": {
            "mean_fg_dice": [np.float32(0.25), np.float64(0.5)],
            "dice_per_class_or_region": [[np.float32(0.1), np.float32(0.4)]],
            "curve": np.arange(3, dtype=np.float32),
            "lrs": [0.01],
        },
        "_best_ema": np.float32(0.4),
        "current_epoch": 6,
        "init_args": {
            "plans": {},
            "configuration": "made",
            "fold": 0,
            "dataset_json": {},
            "device": torch.device("cpu"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **changes,
    }


def write_results(
    folder: Path,
    name: str = "thick slices",
    *,
    plans: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    folds: tuple[str, ...] = ("0", "1"),
    file: str = "checkpoint_final.pth",
    **changes: Any,
) -> Path:
    """A results folder of a recorded prediction; `changes` are laid over its checkpoints."""
    stated = recorded()["predictions"][name]
    folder.mkdir(parents=True, exist_ok=True)
    for text, data in (("plans", plans), ("dataset", dataset)):
        content = stated[text] if data is None else data
        (folder / f"{text}.json").write_text(json.dumps(content), encoding="utf-8")
    axes = stated["mirror"]
    changes.setdefault("inference_allowed_mirroring_axes", None if axes is None else tuple(axes))
    for number, fold in enumerate(folds):
        (folder / f"fold_{fold}").mkdir()
        state = made_state(stated["network"], stated["shapes"], number)
        torch.save(made_checkpoint(state, **changes), folder / f"fold_{fold}" / file)
    return folder
