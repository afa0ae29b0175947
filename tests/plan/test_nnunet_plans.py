"""Our planning against plans that nnU-Net 2.8.1 wrote, field by field.

``tests/data/nnunet_plans`` holds its answers to made fingerprints (recorded by
``scripts/record_nnunet_plans.py``); ``../shared/data/nnunet_plans`` those for scans.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acinus import progress
from acinus.cohort import open_dataset
from acinus.plan import take_fingerprint
from acinus.plan.nnunet import (
    NnunetPlan,
    PlanningFacts,
    plan_configurations,
    planning_facts,
)

RECORDED = Path(__file__).parents[1] / "data" / "nnunet_plans"
REAL = Path(os.environ.get("ACINUS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
PLANNERS = {
    "plain": ("plain", "m", 8.0),
    "resenc_m": ("residual", "m", 8.0),
    "resenc_l": ("residual", "l", 24.0),
    "resenc_xl": ("residual", "xl", 40.0),
}
SCHEMES = {
    "z_score": "ZScoreNormalization",
    "ct": "CTNormalization",
    "none": "NoNormalization",
    "rescale_0_1": "RescaleTo01Normalization",
    "rgb_0_1": "RGBTo01Normalization",
}
NAMES_ONLY = {
    "dataset_name",
    "plans_name",
    "experiment_planner_used",
    "label_manager",
    "image_reader_writer",
    "foreground_intensity_properties_per_channel",
}
"""Fields of a plans file that repeat the input or name a class, and decide nothing."""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def plan(facts: PlanningFacts, planner: str, memory_gb: float | None = None) -> NnunetPlan:
    encoder, preset, gb = PLANNERS[planner]
    return plan_configurations(
        facts,
        encoder=encoder,
        preset=preset,
        memory_gb=memory_gb or gb,  # type: ignore[arg-type]
    )


def made_facts(dataset: dict[str, Any]) -> PlanningFacts:
    return PlanningFacts(
        spacings_mm=np.array(dataset["spacings"]),
        shapes_vox=np.array(dataset["shapes"]),
        median_share=dataset.get("share", 1.0),
        channel_names=tuple(dataset.get("channels", ["MR"])),
        n_outputs=dataset.get("labels", 1) + 1,
        n_training=dataset.get("n_training", len(dataset["shapes"])),
    )


def resampling(order: int, *, is_seg: bool) -> dict[str, Any]:
    return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}


def as_nnunet(ours: NnunetPlan) -> dict[str, Any]:
    """Our plan in the words of a plans file: all its fields but `NAMES_ONLY`."""
    blocks_key = {"plain_unet": "n_conv_per_stage", "resenc_unet": "n_blocks_per_stage"}
    class_name = {"plain_unet": "PlainConvUNet", "resenc_unet": "ResidualEncoderUNet"}
    configurations: dict[str, Any] = {}
    for name, one in ours.configurations.items():
        levels, n_dims = one.topology, len(one.patch_vox)
        configurations[name] = {
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": one.batch,
            "patch_size": one.patch_vox,
            "median_image_size_in_voxels": one.median_vox,
            "spacing": one.spacing_mm,
            "normalization_schemes": [SCHEMES[kind] for kind in ours.normalisation],
            "use_mask_for_norm": ours.nonzero_only,
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": resampling(3, is_seg=False),
            "resampling_fn_seg_kwargs": resampling(1, is_seg=True),
            "resampling_fn_probabilities_kwargs": resampling(1, is_seg=False),
            "batch_dice": one.batch_dice,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet."
                + class_name[ours.preset.network],
                "arch_kwargs": {
                    "n_stages": levels.n_levels,
                    "features_per_stage": levels.features,
                    "conv_op": f"torch.nn.modules.conv.Conv{n_dims}d",
                    "kernel_sizes": levels.kernels,
                    "strides": levels.strides,
                    blocks_key[ours.preset.network]: levels.blocks(ours.preset),
                    "n_conv_per_stage_decoder": [ours.preset.decoder_convs] * (levels.n_levels - 1),
                    "conv_bias": True,
                    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{n_dims}d",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
    if "3d_lowres" in configurations:
        configurations["3d_lowres"]["next_stage"] = "3d_cascade_fullres"
        configurations["3d_cascade_fullres"] = {
            "inherits_from": "3d_fullres",
            "previous_stage": "3d_lowres",
        }
    back = [ours.order.index(axis) for axis in range(3)]
    plans = {
        "original_median_spacing_after_transp": ours.median_spacing_mm,
        "original_median_shape_after_transp": ours.median_vox,
        "transpose_forward": ours.order,
        "transpose_backward": back,
        "configurations": configurations,
    }
    return dict(json.loads(json.dumps(plans)))  # tuples as lists


def decided(plans: dict[str, Any]) -> dict[str, Any]:
    """A plans file without its names and paths."""
    kept = {key: value for key, value in plans.items() if key not in NAMES_ONLY}
    kept["configurations"] = {
        name: {key: value for key, value in one.items() if key != "data_identifier"}
        for name, one in plans["configurations"].items()
    }
    return kept


def made_rows() -> list[Any]:
    rows = read(RECORDED / "made.json")
    return [pytest.param(row, id=f"{row['name']}-{row['planner']}") for row in rows]


@pytest.mark.parametrize("row", made_rows())
def test_a_recorded_plan_is_reproduced_field_by_field(row: dict[str, Any]) -> None:
    ours = as_nnunet(plan(made_facts(row["dataset"]), row["planner"]))
    assert ours == decided(row["plans"])


def test_random_datasets_are_planned_alike() -> None:
    rows = read(RECORDED / "random.json")
    assert len(rows) == 206
    assert sum("3d_lowres" in row["plans"] for row in rows) > 50
    for number, row in enumerate(rows):
        ours = plan(made_facts(row["dataset"]), row["planner"], row["gb"])
        answer: dict[str, Any] = {"order": list(ours.order)}
        for name, one in ours.configurations.items():
            answer[name] = {
                "spacing": list(one.spacing_mm),
                "patch": list(one.patch_vox),
                "batch": one.batch,
                "batch_dice": one.batch_dice,
                "strides": " ".join("".join(map(str, step)) for step in one.topology.strides),
                "kernels": " ".join("".join(map(str, k)) for k in one.topology.kernels),
                "features": one.topology.features[-1],
            }
        assert answer == row["plans"], f"row {number}"


@pytest.mark.parametrize(
    ("name", "planner"),
    [
        ("Hippocampus208", "plain"),
        *((name, key) for name in ("OrbitMRI", "BrainIso") for key in list(PLANNERS)[:3]),
    ],
)
def test_plans_for_scans_are_reproduced(name: str, planner: str) -> None:
    folder = REAL / "nnunet_plans"
    if not folder.is_dir():
        pytest.skip(f"no recorded plans at {folder}")
    variant = "" if planner == "plain" else f"{planner}_"
    facts = read(folder / f"{name}_fingerprint.json")
    header_path = folder / f"{name}_dataset.json"
    if not header_path.is_file():
        header_path = REAL / "Dataset004_Hippocampus" / "dataset.json"
    header = read(header_path)
    ours = plan(
        PlanningFacts(
            spacings_mm=np.array(facts["spacings"]),
            shapes_vox=np.array(facts["shapes_after_crop"]),
            median_share=facts["median_relative_size_after_cropping"],
            channel_names=tuple(header["channel_names"].values()),
            n_outputs=len(header["labels"]),
            n_training=header["numTraining"],
        ),
        planner,
    )
    assert as_nnunet(ours) == decided(read(folder / f"{name}_{variant}plans.json"))


@pytest.mark.slow
def test_scans_are_planned_as_nnunet_plans_them_from_the_files_on() -> None:
    recorded = REAL / "nnunet_plans" / "Hippocampus208_plans.json"
    if not recorded.is_file():
        pytest.skip(f"no recorded plans at {recorded}")
    with progress.quiet():
        dataset = open_dataset(REAL / "Dataset004_Hippocampus")
        facts = planning_facts(dataset, take_fingerprint(dataset))
    assert as_nnunet(plan(facts, "plain")) == decided(read(recorded))
