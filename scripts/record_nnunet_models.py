"""Record what nnU-Net's networks and its prediction answer, as oracle of tests.

Runs where nnunetv2 is installed (development only)::

    python scripts/record_nnunet_models.py tests/data/nnunet_models.json

Weights and images follow from formulas, so that the file holds names, shapes and answers only.
Networks: names and shapes as saved, and the logits of every level. Predictions: label maps of
nnU-Net's own predictor, folded into run lengths, for volumes in thick slices, slices, regions
and a network with residual blocks.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

THICK = {
    "features_per_stage": [4, 6, 8],
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
}
SLICES = {
    "features_per_stage": [4, 6, 8],
    "kernel_sizes": [[3, 3], [3, 3], [3, 3]],
    "strides": [[1, 1], [2, 2], [2, 2]],
}
NETWORKS: dict[str, dict[str, Any]] = {
    "plain 3d": {**THICK, "n_conv_per_stage": [2, 1, 2], "n_conv_per_stage_decoder": [1, 2]},
    "plain 2d": {**SLICES, "n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 2]},
    "residual 3d": {**THICK, "n_blocks_per_stage": [1, 2, 3], "n_conv_per_stage_decoder": [1, 1]},
    "residual 2d": {**SLICES, "n_blocks_per_stage": [2, 1, 2], "n_conv_per_stage_decoder": [1, 1]},
    "without bias": {
        **SLICES,
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": False,
    },
}
PATCH = {3: (4, 16, 8), 2: (16, 8)}

LABELS = {"background": 0, "body": 1, "core": 2}
REGIONS = {"background": 0, "whole": [1, 2], "core": 2}
PREDICTIONS: dict[str, dict[str, Any]] = {
    "thick slices": {
        "network": "plain 3d",
        "labels": LABELS,
        "spacing": [2.5, 0.8, 0.8],
        "scanned": [2.2, 0.9, 0.75],
        "transpose_forward": [0, 1, 2],
        "normalization": ["ZScoreNormalization", "CTNormalization"],
        "mask": [True, False],
        "mirror": [0, 1, 2],
    },
    "slices": {
        "network": "plain 2d",
        "labels": LABELS,
        "spacing": [0.8, 0.8],
        "scanned": [2.2, 0.9, 0.75],
        "transpose_forward": [0, 1, 2],
        "normalization": ["ZScoreNormalization", "RescaleTo01Normalization"],
        "mask": [False, False],
        "mirror": [0, 1],
    },
    "regions along another axis": {
        "network": "residual 3d",
        "labels": REGIONS,
        "regions_class_order": [1, 2],
        "spacing": [2.0, 1.0, 0.9],
        "scanned": [0.9, 1.0, 2.2],
        "transpose_forward": [2, 0, 1],
        "normalization": ["ZScoreNormalization", "NoNormalization"],
        "mask": [False, False],
        "mirror": None,
    },
}
SHAPE = (9, 29, 23)
INTENSITY = {"mean": 0.1, "std": 0.9, "percentile_00_5": -1.5, "percentile_99_5": 2.0}


def made_weight(name: str, index: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Values of the parameter of that name and number: of the size of a usual draw."""
    n = int(np.prod(shape))
    wave = np.sin(np.arange(n) * 12.9898 + index * 78.233) * 43758.5453
    values = (wave - np.floor(wave)) - 0.5
    if len(shape) == 1:
        values = 0.4 * values + (1.0 if name.endswith("weight") else 0.0)
    else:
        values = values * 3.5 / np.sqrt(n / shape[0])
    if "seg_layers" in name:
        values = values * 8 if len(shape) > 1 else values
        # Rows that sum to 0 leave no class ahead everywhere.
        values = values - values.reshape(shape[0], -1).mean(1).repeat(n // shape[0])
    return torch.tensor(values.reshape(shape), dtype=torch.float32)


def made_image(shape: tuple[int, ...], phase: float) -> np.ndarray:
    """float32 (Z, Y, X): waves in a box, 0 around it."""
    z, y, x = np.indices(shape)
    image = np.sin(0.9 * z + phase) + np.cos(0.35 * y) * np.sin(0.45 * x + phase)
    image = image + 0.2 * np.sin(2.1 * x + 1.3 * y)
    inside = (y > 1) & (y < shape[1] - 3) & (x > 2)
    return np.where(inside, image, 0).astype(np.float32)


def arguments(name: str) -> dict[str, Any]:
    """``arch_kwargs`` as plans state them."""
    stated = NETWORKS[name]
    n_dims = len(stated["kernel_sizes"][0])
    return {
        "n_stages": 3,
        "conv_op": f"torch.nn.modules.conv.Conv{n_dims}d",
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{n_dims}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        **stated,
    }


def architecture(name: str) -> dict[str, Any]:
    """The network as plans state it."""
    kind = "ResidualEncoderUNet" if name.startswith("residual") else "PlainConvUNet"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": arguments(name),
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def build(name: str, n_channels: int, n_outputs: int, *, levels: bool) -> nn.Module:
    """nnU-Net's network with made weights, in evaluation mode."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    stated = architecture(name)
    network = get_network_from_plans(
        stated["network_class_name"],
        stated["arch_kwargs"],
        stated["_kw_requires_import"],
        n_channels,
        n_outputs,
        deep_supervision=levels,
    )
    for index, (key, weight) in enumerate(network.named_parameters()):
        weight.data.copy_(made_weight(key, index, tuple(weight.shape)))
    return network.eval()


def names_of(network: nn.Module) -> list[list[Any]]:
    """Every name of the saved state with the number of its parameter."""
    numbers = {weight.data_ptr(): index for index, weight in enumerate(network.parameters())}
    return [[name, numbers[value.data_ptr()]] for name, value in network.state_dict().items()]


def record_network(name: str) -> dict[str, Any]:
    """Names, shapes and logits of one network."""
    network = build(name, 2, 3, levels=True)
    n_dims = len(NETWORKS[name]["kernel_sizes"][0])
    image = made_image((4, 16, 8), 0.3)[:, : PATCH[3][1]]
    images = np.stack([image, made_image((4, 16, 8), 1.1)])[None]
    if n_dims == 2:
        images = images[:, :, 2]
    with torch.no_grad():
        levels = network(torch.from_numpy(images))
    return {
        "architecture": architecture(name),
        "shapes": [list(weight.shape) for weight in network.parameters()],
        "names": names_of(network),
        "logits": [
            {"shape": list(level.shape), "values": [round(float(v), 6) for v in level.flatten()]}
            for level in levels
        ],
    }


def record_prediction(name: str) -> dict[str, Any]:
    """Label map of two folds for one made case."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    stated = PREDICTIONS[name]
    plans, dataset = plans_of(stated), dataset_of(stated)
    n_outputs = len(stated["labels"]) - (1 if "regions_class_order" in stated else 0)
    folds = []
    network = build(stated["network"], 2, n_outputs, levels=False)
    for fold in (0, 1):
        weights = {}
        for index, (key, value) in enumerate(network.named_parameters()):
            weights[key] = made_weight(key, index + 1000 * fold, tuple(value.shape))
        numbers = {value.data_ptr(): key for key, value in network.named_parameters()}
        folds.append(
            {key: weights[numbers[v.data_ptr()]] for key, v in network.state_dict().items()}
        )
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    manager = PlansManager(plans)
    predictor.manual_initialization(
        network,
        manager,
        manager.get_configuration("made"),
        folds,
        dataset,
        "nnUNetTrainer",
        None if stated["mirror"] is None else tuple(stated["mirror"]),
    )
    predictor.use_mirroring = stated["mirror"] is not None
    image = np.stack([made_image(SHAPE, 0.0), made_image(SHAPE, 0.8)])
    properties = {"spacing": stated["scanned"]}
    labels = predictor.predict_single_npy_array(image, properties).astype(int)
    runs = [[value, len(list(group))] for value, group in groupby(labels.flatten().tolist())]
    return {
        "plans": plans,
        "dataset": dataset,
        "network": stated["network"],
        "shapes": [list(weight.shape) for weight in network.parameters()],
        "scanned": stated["scanned"],
        "mirror": stated["mirror"],
        "shape": list(SHAPE),
        "runs": runs,
    }


def dataset_of(stated: dict[str, Any]) -> dict[str, Any]:
    """Its dataset.json."""
    extra = {key: stated[key] for key in ("regions_class_order",) if key in stated}
    return {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": stated["labels"],
        "numTraining": 4,
        "file_ending": ".nii.gz",
        **extra,
    }


def plans_of(stated: dict[str, Any]) -> dict[str, Any]:
    """Its plans.json."""
    n_dims = len(stated["spacing"])
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    forward = stated["transpose_forward"]
    return {
        "dataset_name": "Dataset999_Made",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": forward,
        "transpose_backward": [int(axis) for axis in np.argsort(forward)],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": INTENSITY, "1": INTENSITY},
        "configurations": {
            "made": {
                "data_identifier": "made",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(PATCH[n_dims]),
                "spacing": stated["spacing"],
                "normalization_schemes": stated["normalization"],
                "use_mask_for_norm": stated["mask"],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
                "architecture": architecture(stated["network"]),
                "batch_dice": n_dims == 2,
            }
        },
    }


def main() -> None:
    """Write the file named on the command line."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, "/nowhere")
    torch.set_num_threads(1)
    made = {
        "made_by": f"scripts/record_nnunet_models.py with nnunetv2 {version('nnunetv2')} and "
        f"dynamic-network-architectures {version('dynamic-network-architectures')}",
        "networks": {name: record_network(name) for name in NETWORKS},
        "predictions": {name: record_prediction(name) for name in PREDICTIONS},
    }
    Path(sys.argv[1]).write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
