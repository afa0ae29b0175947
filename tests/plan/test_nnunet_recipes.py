"""The recipes named after nnU-Net train as nnU-Net 2.8.1 does, number by number.

The numbers are those of its ``nnUNetTrainer`` (training/nnUNetTrainer/nnUNetTrainer.py) and of
its predictor (inference/predict_from_raw_data.py), as read in the installed package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acinus.plan import list_recipes, load_recipe
from acinus.plan.recipe import flatten
from acinus.train.augment.changes import _scales

RECIPES = [name for name, _ in list_recipes() if name.startswith("nnunet-")]

TRAINING: dict[str, Any] = {
    "train.optimiser": "sgd",
    "train.lr": 0.01,
    "train.momentum": 0.99,  # Nesterov
    "train.weight_decay": 3e-5,
    "train.schedule": "polynomial",
    "train.warmup": 0.0,
    "train.epochs": 1000,
    "train.steps_per_epoch": 250,
    "train.gradient_clip": 12.0,
    "train.deep_supervision": True,
    "train.average_decay": None,
    "folds": 5,
    "folds_trained": None,
    "loss.name": "dice_ce",
    "sampling.name": "oversample",
    "augment.rotate": 0.2,
    "augment.scale": 0.2,
    "augment.noise": 0.1,
    "augment.noise_sd": 0.1,
    "augment.blur": 0.2,
    "augment.blur_sigma_vox": (0.5, 1.0),
    "augment.brightness": 0.15,
    "augment.brightness_range": (0.75, 1.25),
    "augment.contrast": 0.15,
    "augment.contrast_range": (0.75, 1.25),
    "augment.low_res": 0.25,
    "augment.low_res_range": (0.5, 1.0),
    "augment.gamma_inverted": 0.1,
    "augment.gamma": 0.3,
    "augment.gamma_range": (0.7, 1.5),
    "augment.flip": 0.5,
    "predict.overlap": 0.5,
    "predict.blend": "gaussian",
    "predict.use_mirroring": True,
    "predict.average": "logits",
    "prepare.crop_to_nonzero": True,
    "prepare.interpolation": "cubic",
}


def test_there_is_a_recipe_for_every_configuration() -> None:
    found = {
        (r.nnunet.configuration, r.nnunet.encoder, r.nnunet.memory_gb)
        for r in map(load_recipe, RECIPES)
    }
    assert found >= {
        ("2d", "plain", 8),
        ("3d_fullres", "plain", 8),
        ("3d_lowres", "plain", 8),
        ("3d_fullres", "residual", 8),
        ("3d_fullres", "residual", 24),
        ("3d_fullres", "residual", 40),
    }


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("setting", TRAINING)
def test_the_training_is_nnunets(name: str, setting: str) -> None:
    settings = flatten(load_recipe(name).model_dump(mode="python"))
    assert settings[setting] == TRAINING[setting]


@pytest.mark.parametrize("name", RECIPES)
def test_a_third_of_each_batch_shows_a_label_and_the_loss_is_not_smoothed_much(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.sampling.config == {"share": 0.33}
    assert recipe.loss.config == {"squared": False, "smooth": 1e-5, "absent": "count"}


@pytest.mark.parametrize("name", RECIPES)
def test_steps_between_voxels_are_uniform_from_0_7_to_1_4(name: str) -> None:
    """nnU-Net multiplies coordinates by its scale, so that a large one shows more."""
    drawn = _scales(np.random.default_rng(1), load_recipe(name).augment.scale_range, 20_000)
    steps = 1 / drawn
    assert steps.min() == pytest.approx(0.7, abs=1e-3)
    assert steps.max() == pytest.approx(1.4, abs=1e-3)
    assert np.mean(steps) == pytest.approx(1.05, abs=0.01)
